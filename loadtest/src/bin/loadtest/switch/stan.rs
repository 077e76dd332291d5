//! Numbers and times of messages: together they are of one message only, whatever line it goes by.

use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use jiff::tz::Offset;

use loadtest::message::Message;

/// Element 32 of all messages.
pub const ACQUIRER: &str = "353001";

pub struct Stans(AtomicU64);

impl Stans {
    pub fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed % 999_999))
    }

    /// Elements 7 and 11. A number comes again only after a million others, at another second.
    fn next(&self) -> (String, String) {
        let number = self.0.fetch_add(1, Ordering::Relaxed) % 999_999 + 1;
        let now = Offset::UTC.to_datetime(Timestamp::now());
        (now.strftime("%m%d%H%M%S").to_string(), format!("{number:06}"))
    }

    /// A message of the network itself.
    pub fn network(&self, code: &str) -> Message {
        let (sent, stan) = self.next();
        Message::new("0800").with(7, sent).with(11, stan).with(70, code)
    }

    /// The same with a number and times of its own, and the receipt's number that goes with them.
    pub fn dated(&self, message: Message) -> Message {
        let (sent, stan) = self.next();
        let japan = jiff::tz::offset(9).to_datetime(Timestamp::now());
        let receipt = format!("{}{stan}", japan.strftime("%y%j%H").to_string().get(1..7).unwrap_or("000000"));
        message
            .with(7, sent)
            .with(11, stan)
            .with(12, japan.strftime("%H%M%S").to_string())
            .with(13, japan.strftime("%m%d").to_string())
            .with(37, receipt)
    }
}

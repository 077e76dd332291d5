//! Where a story is played: it sends messages, waits for their answers, and has each judged at once.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use super::line::{Heard, Order};
use super::stan::{ACQUIRER, Stans};
use super::story::Story;
use loadtest::clock::nanos;
use loadtest::latency::Latencies;
use loadtest::message::Message;
use loadtest::setup::pause;

/// An answer that takes longer does not come.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a message is sent before it counts as never answered.
const MOST_TRIES: u32 = 200;
const BETWEEN_TRIES: Duration = Duration::from_millis(20);

/// The lines, and what all messages have in common.
pub struct Network<'a> {
    pub lines: Vec<Sender<Order>>,
    /// So many of them are spoken on.
    pub connections: usize,
    pub stans: &'a Stans,
    pub link: std::net::SocketAddr,
    pub merchants: Vec<String>,
}

/// What an order has to be in the books.
#[derive(Clone, Debug)]
pub struct Sold {
    pub story: usize,
    pub order_id: String,
    pub merchant: String,
    pub amount: u64,
    /// What may have become of it; nothing if it must not be there.
    pub statuses: &'static [&'static str],
    /// Element 39 that was told, of a denial.
    pub code: String,
}

/// What all stories of one player came to.
pub struct Notes {
    pub sold: Vec<Sold>,
    /// By story: yen that its customer owes for it.
    pub owed: Vec<(usize, u64)>,
    /// Answers that were not as they had to be, by story.
    pub wrong: Vec<(usize, String)>,
    pub latencies: Latencies,
    pub messages: u64,
    /// Answers of 91, after which the same was sent again.
    pub turned_away: u64,
    /// Messages that lost their connection and were sent again on another.
    pub sent_again: u64,
    pub garbage: u64,
}

impl Notes {
    pub fn new() -> Self {
        Self {
            sold: Vec::new(),
            owed: Vec::new(),
            wrong: Vec::new(),
            latencies: Latencies::default(),
            messages: 0,
            turned_away: 0,
            sent_again: 0,
            garbage: 0,
        }
    }

    pub fn add(&mut self, other: Self) {
        self.sold.extend(other.sold);
        self.owed.extend(other.owed);
        self.wrong.extend(other.wrong);
        self.latencies.add(&other.latencies);
        self.messages += other.messages;
        self.turned_away += other.turned_away;
        self.sent_again += other.sent_again;
        self.garbage += other.garbage;
    }
}

/// What an answer has to be.
#[derive(Clone, Copy, Debug)]
pub enum Must {
    /// 00 with an approval code.
    Approve,
    /// 00, whatever else.
    Accept,
    /// This code, and details that begin so.
    Deny(&'static str, &'static str),
    /// Approved, or denied because its reversal was first.
    ApproveOrBeLate,
    /// Approved, or denied because its advice was first and used the code.
    ApproveOrBeUsed,
}

pub struct Stage<'a> {
    pub network: &'a Network<'a>,
    pub story: Story,
    pub code: &'a str,
    pub notes: &'a mut Notes,
}

/// A message that is under way.
pub struct Asked {
    pub message: Message,
    line: usize,
    answer: Receiver<Heard>,
    sent: Instant,
}

impl Stage<'_> {
    pub fn send(&mut self, line: usize, message: &Message) -> Asked {
        let (to, answer) = channel();
        self.notes.messages += 1;
        let order = Order::Say { message: message.clone(), answer: to };
        if let Some(line) = self.network.lines.get(line % self.network.connections) {
            line.send(order).ok();
        }
        Asked { message: message.clone(), line, answer, sent: Instant::now() }
    }

    /// The decision, however often the message must be sent for it. Nothing if none can be had.
    pub fn hear(&mut self, asked: Asked) -> Option<Message> {
        let message = asked.message.clone();
        let first = asked.sent;
        let mut asked = asked;
        for _ in 0..MOST_TRIES {
            match asked.answer.recv_timeout(PATIENCE) {
                Ok(Heard::Answer(answer)) if answer.get(39) == "91" => self.notes.turned_away += 1,
                Ok(Heard::Answer(answer)) => {
                    if message.mti == "0200" || message.mti == "0100" {
                        self.notes.latencies.record(nanos(first.elapsed()));
                    }
                    return Some(answer);
                }
                Ok(Heard::Lost) => self.notes.sent_again += 1,
                Err(_) => break,
            }
            pause(BETWEEN_TRIES);
            asked = self.send(asked.line + 1, &message.repeated());
        }
        self.wrong(format!("{message}: no answer, however often it was sent"));
        None
    }

    /// Sends it on any line, and judges what comes.
    pub fn ask(&mut self, line: usize, message: &Message, must: Must) -> Option<Message> {
        let asked = self.send(line, message);
        self.judge(asked, must)
    }

    pub fn judge(&mut self, asked: Asked, must: Must) -> Option<Message> {
        let message = asked.message.clone();
        let answer = self.hear(asked)?;
        if let Some(problem) = problem(&message, &answer, must) {
            self.wrong(format!("{message}: answered {answer}: {problem}"));
        }
        Some(answer)
    }

    /// Two answers to the same have to say the same.
    pub fn same(&mut self, message: &Message, first: Option<&Message>, second: Option<&Message>) {
        let (Some(first), Some(second)) = (first, second) else { return };
        if (first.get(38), first.get(39)) != (second.get(38), second.get(39)) {
            self.wrong(format!("{message}: answered {first} and then {second}"));
        }
    }

    pub fn wrong(&mut self, text: String) {
        self.notes.wrong.push((self.story.number, text));
    }

    /// This has to be in the books.
    pub fn book(&mut self, message: &Message, statuses: &'static [&'static str], code: &str) {
        let amount = message.get(4).parse().unwrap_or(0);
        let merchant = message.get(42).trim().to_owned();
        let order_id = order_id(message);
        let story = self.story.number;
        let code = code.to_owned();
        self.notes.sold.push(Sold { story, order_id, merchant, amount, statuses, code });
    }

    pub fn owes(&mut self, yen: u64) {
        self.notes.owed.push((self.story.number, yen));
    }
}

/// The order's id over HTTP.
fn order_id(message: &Message) -> String {
    format!("{}{}{ACQUIRER:0>11}{}", message.get(7), message.get(11), message.get(41).trim())
}

/// What is wrong with an answer, if anything is.
fn problem(message: &Message, answer: &Message, must: Must) -> Option<String> {
    for number in answer.numbers().filter(|number| ![38, 39, 44].contains(number)) {
        if answer.get(number) != message.get(number) {
            return Some(format!("element {number} is not the request's"));
        }
    }
    let echoed: &[u8] = match message.mti.as_bytes() {
        b"0800" | b"0801" => &[7, 11, 70],
        [b'0', b'4', ..] => &[4, 7, 11, 32, 37, 41, 42, 49],
        _ => &[2, 3, 4, 7, 11, 12, 13, 32, 37, 41, 42, 49],
    };
    if let Some(missing) = echoed.iter().find(|number| message.has(**number) && !answer.has(**number)) {
        return Some(format!("element {missing} is missing"));
    }
    let code = answer.get(39);
    let approval = answer.get(38).len();
    let details = answer.get(44);
    let is_approval = code == "00" && approval == 6 && details.is_empty();
    let is_denial = |wanted, begin| code == wanted && approval == 0 && details.starts_with(begin);
    let is_right = match must {
        Must::Approve => is_approval,
        Must::Accept => code == "00" && details.is_empty(),
        Must::Deny(code, details) => is_denial(code, details),
        Must::ApproveOrBeLate => is_approval || is_denial("12", "1201"),
        Must::ApproveOrBeUsed => is_approval || is_denial("54", "5402"),
    };
    (!is_right).then(|| format!("should be {must:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wrong_answer_is_seen() {
        let request = Message::new("0200").with(4, "000000000100").with(7, "1").with(11, "000001");
        let good = request.of_type("0210").with(38, "ABC123").with(39, "00");
        assert_eq!(problem(&request, &good, Must::Approve), None);
        let denial = request.of_type("0210").with(39, "51").with(44, "5101C3U4");
        assert_eq!(problem(&request, &denial, Must::Deny("51", "51")), None);
        for (answer, must) in [
            (good.clone().with(4, "000000000101"), Must::Approve),
            (good.clone().without(4), Must::Approve),
            (good.clone().with(62, "1"), Must::Approve),
            (good.clone().without(38), Must::Approve),
            (good, Must::Deny("51", "51")),
            (denial.clone(), Must::Accept),
            (denial.clone(), Must::Deny("51", "5102")),
            (denial.clone().with(38, "ABC123"), Must::Deny("51", "51")),
            (denial, Must::ApproveOrBeLate),
        ] {
            assert!(problem(&request, &answer, must).is_some(), "{answer} {must:?}");
        }
    }

    #[test]
    fn an_order_id_is_made_of_four_elements() {
        let message = Message::new("0200").with(7, "1123084530").with(11, "004217").with(41, "T01     ");
        assert_eq!(order_id(&message), "112308453000421700000353001T01");
    }
}

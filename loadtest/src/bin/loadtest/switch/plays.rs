//! The stories, each as it is told: what is sent, what has to be answered, what has to be in the books afterwards.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use rand::RngExt;

use super::books::ABSENT;
use super::line::Order;
use super::stage::{Must, Stage};
use super::stan::ACQUIRER;
use super::story::Kind;
use loadtest::message::Message;
use loadtest::setup::pause;

const CAPTURED: &[&str] = &["captured"];
const HELD: &[&str] = &["authorized"];
const DENIED: &[&str] = &["denied"];
const CANCELLED: &[&str] = &["cancelled"];
/// Taken back, whether it or its reversal came first.
const UNDONE: &[&str] = &["cancelled", "denied"];
const PARTLY: &[&str] = &["partially_refunded"];
const REFUNDED: &[&str] = &["refunded"];
const NOWHERE: &[&str] = &[];
/// The sale, or the advice of it.
const EITHER: &[&str] = &["captured", "denied", ABSENT];

/// Above every limit, and still an amount that may be asked for.
const TOO_MUCH: u64 = 9_500_000;
/// A code of a prefix that is nobody's here.
const FOREIGN: &str = "315899007924294301234567";
const OFF: Duration = Duration::from_millis(30);
const LATE: Must = Must::Deny("12", "1201");
/// How long a link has to close that was told nonsense.
const CLOSES_WITHIN: Duration = Duration::from_secs(5);

impl Stage<'_> {
    pub fn play(&mut self) {
        let line = self.die(self.network.connections);
        match self.story.kind {
            Kind::Purchase => drop(self.buy(line)),
            Kind::Hold => self.hold(line),
            Kind::RepeatAnswered => self.repeat_answered(line),
            Kind::RepeatInFlight => self.repeat_in_flight(line),
            Kind::LateAfter => self.late_after(line),
            Kind::LateBefore => self.late_before(line),
            Kind::LateDuring => self.late_during(line),
            Kind::ReversalOfNothing => self.reversal_of_nothing(line),
            Kind::PartialReversal => self.partial_reversal(line),
            Kind::Refund => self.refund(line),
            Kind::OverLimit => self.denied(line, self.code, TOO_MUCH, Must::Deny("51", "51")),
            Kind::ForeignCode => self.denied(line, FOREIGN, self.story.yen, Must::Deny("15", "1501")),
            Kind::UsedCode => self.used_code(line),
            Kind::StandInSale => self.stand_in_sale(line),
            Kind::StandInHold => self.stand_in_hold(line),
            Kind::StandInAnswered => self.stand_in_answered(line),
            Kind::StandInInFlight => self.stand_in_in_flight(line),
            Kind::Echo => self.network(line, "301"),
            Kind::SignOff => {
                self.sign_off(line);
                // Long enough for others to find it so.
                pause(OFF);
                self.network(line, "001");
            }
            Kind::Cut => self.cut(line),
            Kind::Garbage => self.garbage(),
            Kind::AbsurdLength => self.absurd_length(),
        }
    }

    pub fn die(&mut self, sides: usize) -> usize {
        self.story.random.random_range(0..sides)
    }

    /// A sale or a hold at some till.
    pub fn sale(&mut self, mti: &str, code: &str, yen: u64) -> Message {
        let shop = self.die(self.network.merchants.len());
        let till = self.die(40);
        let merchant = self.network.merchants.get(shop).map_or("", String::as_str);
        let message = Message::new(mti)
            .with(3, "000000")
            .with(4, format!("{yen:012}"))
            .with(18, "5499")
            .with(22, "032")
            .with(25, "00")
            .with(32, ACQUIRER)
            .with(41, format!("T{till:<7}"))
            .with(42, format!("{merchant:<15}"))
            .with(43, format!("{:<22} {:<13} {:<3}", "SWITCH MART", "TOKYO", "JP"))
            .with(49, "392")
            .with(62, code);
        self.network.stans.dated(message)
    }

    /// Another message about this one: with a number of its own, and the original named.
    pub fn about(&self, original: &Message, mti: &str) -> Message {
        let named = format!("{}{}{}{ACQUIRER:0>11}{:0>11}", original.mti, original.get(11), original.get(7), "");
        let message = self.network.stans.dated(original.of_type(mti).without(62).without(43).without(48));
        message.with(37, original.get(37)).with(90, named)
    }

    pub fn reversal(&self, original: &Message) -> Message {
        self.about(original, "0420").with(39, "68")
    }

    /// A message and its repeat, one after the other or both at once, by one line or by two: the same answer. Gives it.
    fn twice(&mut self, line: usize, message: &Message, must: Must) -> Option<Message> {
        let at_once = self.die(2) == 0;
        let other = line + self.die(2);
        let first = self.send(line, message);
        let (first, second) = if at_once {
            let second = self.send(other, &message.repeated());
            (self.judge(first, must), self.judge(second, must))
        } else {
            (self.judge(first, must), self.ask(other, &message.repeated(), must))
        };
        self.same(message, first.as_ref(), second.as_ref());
        first
    }

    /// Plain, approved, and owed.
    fn buy(&mut self, line: usize) -> Message {
        let sale = self.sale("0200", self.code, self.story.yen);
        self.ask(line, &sale, Must::Approve);
        self.book(&sale, CAPTURED, "");
        self.owes(self.story.yen);
        sale
    }

    fn denied(&mut self, line: usize, code: &str, yen: u64, must: Must) {
        let sale = self.sale("0200", code, yen);
        let first = self.twice(line, &sale, must);
        self.book(&sale, DENIED, first.as_ref().map_or("", |answer| answer.get(39)));
    }

    /// Set aside, then captured in full or in part, taken back, or left.
    fn hold(&mut self, line: usize) {
        let yen = self.story.yen;
        let hold = self.sale("0100", self.code, yen);
        let held = self.ask(line, &hold, Must::Approve);
        let captured = match self.die(6) {
            0 => {
                self.owes(yen);
                return self.book(&hold, HELD, "");
            }
            1 => {
                let reversal = self.reversal(&hold);
                self.ask(line + 1, &reversal, Must::Accept);
                return self.book(&hold, CANCELLED, "");
            }
            2 => yen / 2,
            _ => yen,
        };
        let capture = self.about(&hold, "0220").with(4, format!("{captured:012}"));
        let first = self.twice(line + 1, &capture, Must::Approve);
        self.same(&capture, held.as_ref(), first.as_ref());
        self.book(&hold, CAPTURED, "");
        self.book(&capture, NOWHERE, "");
        self.owes(captured);
    }

    fn repeat_answered(&mut self, line: usize) {
        let mti = if self.die(3) == 0 { "0100" } else { "0200" };
        let sale = self.sale(mti, self.code, self.story.yen);
        let first = self.ask(line, &sale, Must::Approve);
        for next in [line, line + 1] {
            let again = self.ask(next, &sale.repeated(), Must::Approve);
            self.same(&sale, first.as_ref(), again.as_ref());
        }
        // The same number for something else.
        let other = sale.clone().with(4, format!("{:012}", self.story.yen + 1));
        self.ask(line, &other, Must::Deny("94", "9400"));
        self.book(&sale, if mti == "0100" { HELD } else { CAPTURED }, "");
        self.owes(self.story.yen);
    }

    fn repeat_in_flight(&mut self, line: usize) {
        let mti = if self.die(3) == 0 { "0100" } else { "0200" };
        let sale = self.sale(mti, self.code, self.story.yen);
        let other = line + self.die(2);
        let first = self.send(line, &sale);
        let second = self.send(other, &sale.repeated());
        let (first, second) = (self.judge(first, Must::Approve), self.judge(second, Must::Approve));
        self.same(&sale, first.as_ref(), second.as_ref());
        self.book(&sale, if mti == "0100" { HELD } else { CAPTURED }, "");
        self.owes(self.story.yen);
    }

    /// The reversal is said once more after its acknowledgement, and the sale comes too late.
    fn stays_reversed(&mut self, line: usize, sale: &Message, reversal: &Message) {
        self.ask(line + 1, &reversal.repeated(), Must::Accept);
        self.ask(line, &sale.repeated(), LATE);
    }

    fn late_after(&mut self, line: usize) {
        let sale = self.sale("0200", self.code, self.story.yen);
        self.ask(line, &sale, Must::Approve);
        let reversal = self.reversal(&sale);
        self.ask(line + 1, &reversal, Must::Accept);
        self.stays_reversed(line, &sale, &reversal);
        self.book(&sale, CANCELLED, "");
    }

    fn late_before(&mut self, line: usize) {
        let sale = self.sale("0200", self.code, self.story.yen);
        let reversal = self.reversal(&sale);
        self.ask(line + 1, &reversal, Must::Accept);
        self.ask(line, &sale, LATE);
        self.stays_reversed(line, &sale, &reversal);
        self.book(&sale, DENIED, "12");
    }

    fn late_during(&mut self, line: usize) {
        let sale = self.sale("0200", self.code, self.story.yen);
        let reversal = self.reversal(&sale);
        let other = line + self.die(2);
        let sale_first = self.die(4) > 0;
        let mut both = Vec::new();
        if sale_first {
            both.push(self.send(line, &sale));
        }
        // Somewhat later: while it is decided, written down, or posted.
        pause(Duration::from_micros(self.die(8) as u64 * self.die(800) as u64));
        let reversing = self.send(other, &reversal);
        if !sale_first {
            both.push(self.send(line, &sale));
        }
        self.judge(reversing, Must::Accept);
        for asked in both {
            self.judge(asked, Must::ApproveOrBeLate);
        }
        self.stays_reversed(line, &sale, &reversal);
        self.book(&sale, UNDONE, "");
    }

    fn reversal_of_nothing(&mut self, line: usize) {
        let sale = self.sale("0200", self.code, self.story.yen);
        let reversal = self.reversal(&sale);
        self.ask(line, &reversal, Must::Accept);
        self.ask(line + 1, &reversal.repeated(), Must::Accept);
        self.book(&sale, NOWHERE, "");
    }

    /// A part, the same once more, and then more than is left; sometimes the sale is reversed in the end.
    fn refund(&mut self, line: usize) {
        let yen = self.story.yen;
        let sale = self.sale("0200", self.code, yen);
        let bought = self.ask(line, &sale, Must::Approve);
        let part = yen / 3;
        let refund = self.about(&sale, "0200").with(3, "200000").with(4, format!("{part:012}"));
        let first = self.twice(line + 1, &refund, Must::Approve);
        self.same(&refund, bought.as_ref(), first.as_ref());
        let beyond = self.about(&sale, "0200").with(3, "200000").with(4, format!("{:012}", yen - part + 1));
        self.twice(line, &beyond, Must::Deny("13", "1351"));
        self.book(&refund, NOWHERE, "");
        self.book(&beyond, NOWHERE, "");
        if self.die(3) == 0 {
            // The rest is refunded by it.
            let reversal = self.reversal(&sale);
            self.twice(line, &reversal, Must::Accept);
            return self.book(&sale, REFUNDED, "");
        }
        self.book(&sale, PARTLY, "");
        self.owes(yen - part);
    }

    /// A part of it stands.
    fn partial_reversal(&mut self, line: usize) {
        let (yen, kept) = (self.story.yen, self.story.yen / 4);
        let sale = self.sale("0200", self.code, yen);
        self.ask(line, &sale, Must::Approve);
        let reversal = self.reversal(&sale).with(39, "32").with(95, format!("{kept:012}{:030}", 0));
        self.twice(line + 1, &reversal, Must::Accept);
        self.book(&sale, PARTLY, "");
        self.owes(kept);
    }

    fn used_code(&mut self, line: usize) {
        self.buy(line);
        self.denied(line + 1, self.code, self.story.yen + 9_000, Must::Deny("54", "54"));
    }

    /// Told twice, counted once.
    fn stand_in_sale(&mut self, line: usize) {
        let advice = self.sale("0220", self.code, self.story.yen).with(48, "R91011");
        self.twice(line, &advice, Must::Approve);
        self.book(&advice, CAPTURED, "");
        self.owes(self.story.yen);
    }

    fn stand_in_hold(&mut self, line: usize) {
        let advice = self.sale("0120", self.code, self.story.yen).with(48, "R91011");
        self.twice(line, &advice, Must::Approve);
        let capture = self.about(&advice, "0220");
        self.twice(line + 1, &capture, Must::Approve);
        self.book(&advice, CAPTURED, "");
        self.book(&capture, NOWHERE, "");
        self.owes(self.story.yen);
    }

    /// We did answer; the network, which did not hear it, approved it too, and names it.
    fn stand_in_answered(&mut self, line: usize) {
        let sale = self.buy(line);
        let advice = self.about(&sale, "0220").with(48, "R91011").with(62, self.code);
        self.twice(line, &advice, Must::Accept);
        self.book(&advice, NOWHERE, "");
    }

    /// Whichever of the two comes first, the customer pays once.
    fn stand_in_in_flight(&mut self, line: usize) {
        let sale = self.sale("0200", self.code, self.story.yen);
        let advice = self.about(&sale, "0220").with(48, "R91011").with(62, self.code);
        let asked = self.send(line, &sale);
        pause(Duration::from_micros(self.die(8) as u64 * self.die(800) as u64));
        let other = line + self.die(2);
        self.twice(other, &advice, Must::Accept);
        self.judge(asked, Must::ApproveOrBeUsed);
        self.book(&sale, EITHER, "");
        self.book(&advice, EITHER, "");
        self.owes(self.story.yen);
    }

    pub fn sign_off(&mut self, line: usize) {
        self.network(line, "002");
    }

    fn network(&mut self, line: usize, code: &str) {
        let message = self.network.stans.network(code);
        self.ask(line, &message, Must::Accept);
    }

    /// Everything in flight on the line is repeated, this sale among it.
    fn cut(&mut self, line: usize) {
        let sale = self.sale("0200", self.code, self.story.yen);
        let asked = self.send(line, &sale);
        if let Some(line) = self.network.lines.get(line) {
            line.send(Order::Cut).ok();
        }
        self.judge(asked, Must::Approve);
        self.book(&sale, CAPTURED, "");
        self.owes(self.story.yen);
    }

    /// A length that no message has ends its connection.
    fn absurd_length(&mut self) {
        let told = TcpStream::connect(self.network.link).and_then(|mut stream| {
            stream.set_read_timeout(Some(CLOSES_WITHIN))?;
            stream.write_all(&[0xFF, 0xFF])?;
            stream.read(&mut [0; 64])
        });
        match told {
            Ok(0) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
            other => self.wrong(format!("a length of 0xFFFF did not close the link: {other:?}")),
        }
    }
}

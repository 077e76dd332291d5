//! The flows' messages by ISO 8583, and what the answers say in the words of the other transport.

use super::{Game, Task};
use crate::books::Undo;
use loadtest::decided::Decided;
use loadtest::iso::{ACQUIRER, Pattern, Said, digits, number};
use loadtest::stats::Call;

/// What each number of element 44 says, in the contract's words.
const REASONS: [(&str, &str); 22] = [
    ("1401", "code_invalid"),
    ("5401", "code_expired"),
    ("5402", "code_used"),
    ("5403", "code_voided"),
    ("1501", "issuer_unknown"),
    ("0301", "merchant_unknown"),
    ("5801", "merchant_inactive"),
    ("1402", "customer_unknown"),
    ("4601", "closed"),
    ("6201", "suspended"),
    ("6202", "overdue"),
    ("5701", "identity_required"),
    ("5702", "consent_required"),
    ("5703", "category_not_allowed"),
    ("6101", "over_payment_cap"),
    ("5101", "over_in_store_limit"),
    ("5102", "over_total_limit"),
    ("6501", "too_many_payments"),
    ("9401", "duplicate_suspect"),
    ("1201", "cancelled"),
    ("1202", "currency_not_supported"),
    ("6801", "too_late"),
];

/// Messages that are no sales have numbers of their own, apart from those of all sales of a run: so much is added to
/// the first six digits.
const REVERSAL: u32 = 500_000;
const REFUND: u32 = 250_000;

/// A sale, and what of it goes into its messages.
pub struct Sale<'a> {
    pub order: u64,
    pub yen: u32,
    pub merchant: &'a str,
    /// 24 digits.
    pub code: &'a str,
    pub confirm: bool,
}

pub struct Link {
    sale: Pattern,
    repeat: Pattern,
    /// With a confirmation that the same basket is meant.
    confirmed: [Pattern; 2],
    reversal: Pattern,
    refund: Pattern,
    /// The first six digits of element 7 of all sales.
    run: u32,
}

fn sale(mti: &str, confirm: bool) -> Pattern {
    let mut elements = vec![
        (3, "000000"),
        (4, "000000000000"),
        (7, "0000000000"),
        (11, "000000"),
        (12, "174530"),
        (13, "1123"),
        (22, "033"),
        (32, ACQUIRER),
        (37, "632708000000"),
        (41, "T00     "),
        (42, "               "),
        (49, "392"),
        (62, "000000000000000000000000"),
    ];
    if confirm {
        elements.insert(11, (48, "R90011"));
    }
    Pattern::new(mti, &elements)
}

fn after(mti: &str, processing: &str) -> Pattern {
    let original = "0".repeat(42);
    let elements = [
        (3, processing),
        (4, "000000000000"),
        (7, "0000000000"),
        (11, "000000"),
        (32, ACQUIRER),
        (37, "632708000000"),
        (41, "T00     "),
        (42, "               "),
        (49, "392"),
        (90, original.as_str()),
    ];
    Pattern::new(mti, &elements)
}

/// Elements 7 and 11 of a message of this run.
fn sent(run: u32, order: u64) -> ([u8; 10], [u8; 6]) {
    let run = digits::<6>(u64::from(run));
    let order = digits::<10>(order);
    let (mut sent, mut stan) = ([0; 10], [0; 6]);
    sent[..6].copy_from_slice(&run);
    sent[6..].copy_from_slice(&order[..4]);
    stan.copy_from_slice(&order[4..]);
    (sent, stan)
}

/// The terminal of an order: a hundred registers in each shop.
fn terminal(order: u64) -> [u8; 8] {
    let [tens, ones] = digits::<2>(order);
    [b'T', tens, ones, b' ', b' ', b' ', b' ', b' ']
}

fn padded(merchant: &str) -> [u8; 15] {
    let mut out = [b' '; 15];
    for (place, byte) in out.iter_mut().zip(merchant.bytes()) {
        *place = byte;
    }
    out
}

impl Link {
    /// `run`: six digits, the begin of all order ids.
    pub fn new(run: u32) -> Self {
        Self {
            sale: sale("0200", false),
            repeat: sale("0201", false),
            confirmed: [sale("0200", true), sale("0201", true)],
            reversal: after("0420", "000000"),
            refund: after("0200", "200000"),
            run,
        }
    }

    pub fn put_sale(&self, asked: &Sale<'_>, is_repeat: bool, out: &mut Vec<u8>) {
        let [first, repeat] = &self.confirmed;
        let pattern = match (asked.confirm, is_repeat) {
            (false, false) => &self.sale,
            (false, true) => &self.repeat,
            (true, false) => first,
            (true, true) => repeat,
        };
        let (sent, stan) = sent(self.run, asked.order);
        let values = [
            (4, &digits::<12>(u64::from(asked.yen))[..]),
            (7, &sent),
            (11, &stan),
            (41, &terminal(asked.order)),
            (42, &padded(asked.merchant)),
            (62, asked.code.as_bytes()),
        ];
        pattern.put(out, &values);
    }

    /// As after a timeout.
    pub fn put_reversal(&self, asked: &Sale<'_>, out: &mut Vec<u8>) {
        self.put_after(&self.reversal, REVERSAL, asked, out);
    }

    /// Of `asked.yen`.
    pub fn put_refund(&self, asked: &Sale<'_>, out: &mut Vec<u8>) {
        self.put_after(&self.refund, REFUND, asked, out);
    }

    fn put_after(&self, pattern: &Pattern, apart: u32, asked: &Sale<'_>, out: &mut Vec<u8>) {
        let (original_sent, original_stan) = sent(self.run, asked.order);
        let mut original = *b"020000000000000000000000035300100000000000";
        original[4..10].copy_from_slice(&original_stan);
        original[10..20].copy_from_slice(&original_sent);
        let (sent, stan) = sent((self.run + apart) % 1_000_000, asked.order);
        let values = [
            (4, &digits::<12>(u64::from(asked.yen))[..]),
            (7, &sent),
            (11, &stan),
            (41, &terminal(asked.order)),
            (42, &padded(asked.merchant)),
            (90, &original),
        ];
        pattern.put(out, &values);
    }
}

impl Game {
    /// Writes what is asked of a flow's order as a message; whether there is a link to write to.
    pub(super) fn write_message(&mut self, task: Task, out: &mut Vec<u8>) -> bool {
        let Some(link) = &self.link else { return false };
        let Some(flow) = self.flows.get(task.flow as usize) else { return true };
        let order = self.books.orders.get(flow.order);
        let yen = match order.map(|order| order.undo) {
            Some(Undo::RefundSent(yen)) if task.call == Call::Refund => yen,
            _ => flow.amount,
        };
        let merchant = self.books.merchants.get(usize::from(flow.merchant)).map_or("", String::as_str);
        let confirm = flow.confirm && !flow.is_hurry;
        let asked = Sale { order: flow.order as u64, yen, merchant, code: flow.code.as_str(), confirm };
        match task.call {
            Call::Authorize => link.put_sale(&asked, false, out),
            Call::Retry => link.put_sale(&asked, true, out),
            Call::Cancel => link.put_reversal(&asked, out),
            Call::Refund => link.put_refund(&asked, out),
            Call::Issue | Call::Inquire => return false,
        }
        true
    }
}

/// A decision as the other transport tells it; that an answer is a replay is not told here.
pub fn decided<'a>(frame: &'a [u8], is_replay: bool) -> Option<Decided<'a>> {
    let said = Said::read(frame)?;
    let reason = said.reason.and_then(|digits| REASONS.iter().find(|(other, _)| *other == digits));
    let is_approved = said.code == b"00";
    if !is_approved && reason.is_none() {
        return None;
    }
    Some(Decided {
        authorization_id: said.approval.unwrap_or_default(),
        approval_code: said.approval,
        order_id: "",
        decision: if is_approved { "approved" } else { "denied" },
        status: if is_approved { "captured" } else { "denied" },
        amount: said.yen,
        reason: reason.map(|(_, name)| *name),
        replayed: is_replay,
    })
}

/// The order of an answer to a sale.
pub fn order_of(frame: &[u8]) -> u64 {
    number(frame) % 10_u64.pow(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_an_order_name_it_and_themselves() {
        let link = Link::new(600_123);
        let asked =
            Sale { order: 12_345_678, yen: 1_980, merchant: "load-mrc-001", code: &"9".repeat(24), confirm: true };
        let mut out = Vec::new();
        link.put_sale(&asked, false, &mut out);
        assert_eq!((number(&out), order_of(&out)), (6_001_230_012_345_678, 12_345_678));
        assert!(out.windows(9).any(|part| part == b"006R90011"), "{}", String::from_utf8_lossy(&out));
        out.clear();
        link.put_reversal(&asked, &mut out);
        assert_eq!(number(&out), 1_001_230_012_345_678);
        let original = b"020034567860012300120000035300100000000000";
        assert!(out.ends_with(original), "{}", String::from_utf8_lossy(&out));
    }
}

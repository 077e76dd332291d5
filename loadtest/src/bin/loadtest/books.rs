//! What the outside knows: every order of the run, what was answered, what became of it.

use loadtest::bytes::{put, put_number};
use loadtest::decided::Decided;
use loadtest::iso::ACQUIRER;

/// What was answered to an authorization.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// It never went out.
    NotSent,
    /// It went out and no answer came: it may have been decided or not.
    Nothing,
    Approved,
    Denied,
    /// An error of the call, 503 and 429 among them: nothing may have been recorded.
    NoDecision(u16),
}

/// What was done to an approved order afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undo {
    None,
    /// Sent, not answered.
    CancelSent,
    Cancelled,
    /// Sent, not answered; yen.
    RefundSent(u32),
    Refunded(u32),
}

#[derive(Clone, Debug)]
pub struct Order {
    /// Number in the crowd; none if the code was another issuer's.
    pub customer: Option<u32>,
    pub amount: u32,
    pub merchant: u16,
    pub told: Told,
    pub undo: Undo,
    /// The authorization id.
    pub id: Option<Box<str>>,
}

/// What does not agree. Only the first few are kept in words.
#[derive(Clone, Debug, Default)]
pub struct Differences {
    pub count: u64,
    pub first: Vec<String>,
}

const KEPT: usize = 50;

impl Differences {
    pub fn add(&mut self, text: impl FnOnce() -> String) {
        self.count += 1;
        if self.first.len() < KEPT {
            self.first.push(text());
        }
    }
}

/// Every order of a run.
pub struct Books {
    /// Begin of every order id; no other run has it.
    pub run: String,
    /// Orders are named as by ISO 8583.
    pub by_link: bool,
    pub orders: Vec<Order>,
    pub merchants: Vec<String>,
    pub customer_prefix: String,
    pub differences: Differences,
}

impl Books {
    pub fn order_id(&self, order: usize) -> String {
        if self.by_link {
            return name_by_link(&self.run, order);
        }
        format!("{}-{order}", self.run)
    }

    pub fn write_order_id(&self, out: &mut Vec<u8>, order: usize) {
        out.extend_from_slice(self.run.as_bytes());
        out.push(b'-');
        put_number(out, order as u64);
    }

    /// The order of an id of this run.
    pub fn order_of(&self, id: &str) -> Option<usize> {
        let order = if self.by_link {
            self.order_by_link(id)
        } else {
            id.strip_prefix(&self.run)?.strip_prefix('-')?.parse().ok()
        };
        order.filter(|order| *order < self.orders.len())
    }

    fn order_by_link(&self, id: &str) -> Option<usize> {
        let order = id.strip_prefix(&self.run)?.get(..10)?.parse().ok()?;
        // All of it: the same order at another terminal is another order.
        (name_by_link(&self.run, order) == id).then_some(order)
    }

    pub fn customer_id(&self, customer: u32) -> String {
        format!("{}{customer:06}", self.customer_prefix)
    }

    pub fn write_customer_id(&self, out: &mut Vec<u8>, customer: u32) {
        out.extend_from_slice(self.customer_prefix.as_bytes());
        put(out, format_args!("{customer:06}"));
    }

    pub fn merchant(&self, order: &Order) -> &str {
        self.merchants.get(usize::from(order.merchant)).map_or("", String::as_str)
    }
}

/// How an order that was sent by ISO 8583 is named over HTTP.
fn name_by_link(run: &str, order: usize) -> String {
    format!("{run}{order:010}{ACQUIRER:0>11}T{:02}", order % 100)
}

impl Order {
    /// What is wrong with a stored answer, if anything is.
    pub fn disagreement(&self, stored: &Decided<'_>) -> Option<String> {
        let told = match self.told {
            Told::Approved => Some("approved"),
            Told::Denied => Some("denied"),
            Told::NotSent => return Some(format!("never sent, and yet {}", stored.decision)),
            Told::NoDecision(status) => return Some(format!("answered {status}, and yet {}", stored.decision)),
            Told::Nothing => None,
        };
        if stored.amount != self.amount {
            return Some(format!("{} yen asked for, {} stored", self.amount, stored.amount));
        }
        let told = told?;
        if stored.decision != told {
            return Some(format!("answered {told}, stored {}", stored.decision));
        }
        // By ISO 8583 an approval has its code, and a denial no name at all.
        let is_same = match self.id.as_deref() {
            Some(id) => id == stored.authorization_id || Some(id) == stored.approval_code,
            None => self.told == Told::Denied,
        };
        if !is_same {
            let id = self.id.as_deref().unwrap_or_default();
            return Some(format!("answered as {id}, stored as {}", stored.authorization_id));
        }
        let partly = |yen: u32| if yen == self.amount { "refunded" } else { "partially_refunded" };
        let possible: &[&str] = match (self.told, self.undo) {
            (Told::Denied, _) => &["denied"],
            (_, Undo::None) => &["captured"],
            (_, Undo::Cancelled) => &["cancelled"],
            (_, Undo::CancelSent) => &["captured", "cancelled"],
            (_, Undo::Refunded(yen)) => &[partly(yen)],
            (_, Undo::RefundSent(yen)) => &["captured", partly(yen)],
        };
        let is_possible = possible.contains(&stored.status);
        (!is_possible).then(|| format!("should be {}, is {}", possible.join(" or "), stored.status))
    }

    /// What the customer owes for it, by its stored answer, yen.
    pub fn owed(&self, stored: &Decided<'_>) -> u64 {
        let refunded = match self.undo {
            Undo::RefundSent(yen) | Undo::Refunded(yen) => yen,
            Undo::None | Undo::CancelSent | Undo::Cancelled => 0,
        };
        match stored.status {
            "captured" | "authorized" => u64::from(self.amount),
            "partially_refunded" => u64::from(self.amount - refunded.min(self.amount)),
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(told: Told, undo: Undo) -> Order {
        Order { customer: Some(1), amount: 100, merchant: 0, told, undo, id: Some("aut_1".into()) }
    }

    fn stored<'a>(decision: &'a str, status: &'a str) -> Decided<'a> {
        let (authorization_id, order_id) = ("aut_1", "L-1");
        Decided {
            authorization_id,
            approval_code: None,
            order_id,
            decision,
            status,
            amount: 100,
            reason: None,
            replayed: true,
        }
    }

    #[test]
    fn an_order_by_the_link_has_its_terminal_in_its_name() {
        assert_eq!(name_by_link("600123", 12_345_678), "600123001234567800000353001T78");
    }

    #[test]
    fn every_lie_is_found() {
        let approved = order(Told::Approved, Undo::None);
        assert_eq!(approved.disagreement(&stored("approved", "captured")), None);
        let lies = [
            stored("denied", "denied"),
            stored("approved", "cancelled"),
            Decided { authorization_id: "aut_2", ..stored("approved", "captured") },
            Decided { amount: 99, ..stored("approved", "captured") },
        ];
        for lie in &lies {
            assert!(approved.disagreement(lie).is_some(), "{}", lie.status);
        }
        for told in [Told::NotSent, Told::NoDecision(503)] {
            assert!(order(told, Undo::None).disagreement(&stored("denied", "denied")).is_some());
        }
        assert!(order(Told::Approved, Undo::Cancelled).disagreement(&stored("approved", "captured")).is_some());
        assert!(order(Told::Denied, Undo::None).disagreement(&stored("approved", "captured")).is_some());
    }

    #[test]
    fn what_was_not_answered_may_be_either() {
        let unknown = order(Told::Nothing, Undo::None);
        assert_eq!(unknown.disagreement(&stored("denied", "denied")), None);
        let cancelling = order(Told::Approved, Undo::CancelSent);
        for status in ["captured", "cancelled"] {
            assert_eq!(cancelling.disagreement(&stored("approved", status)), None);
        }
    }

    #[test]
    fn what_is_owed_follows_the_stored_status() {
        let cases = [
            (Undo::None, "captured", 100),
            (Undo::Cancelled, "cancelled", 0),
            (Undo::Refunded(50), "partially_refunded", 50),
            (Undo::Refunded(100), "refunded", 0),
            (Undo::RefundSent(50), "captured", 100),
        ];
        for (undo, status, yen) in cases {
            assert_eq!(order(Told::Approved, undo).owed(&stored("approved", status)), yen, "{status}");
        }
        assert_eq!(order(Told::Denied, Undo::None).owed(&stored("denied", "denied")), 0);
    }
}

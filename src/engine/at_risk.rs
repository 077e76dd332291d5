//! What is lost with a record that was answered and then did not reach the disk, in yen. Where answers may leave before the
//! sync (`journal.sync = "bounded"`), a group may go ahead of it only within a budget of these.

use crate::domain::billing::notes::Cause;
use crate::domain::state::event::{Decided, Event, Outcome};

/// Yen that somebody was told of by the answer to this fact and that a power cut before the sync takes back. Papers answer
/// nobody, and what moves no money can be said again.
pub fn at_risk(event: &Event) -> u64 {
    match event {
        Event::Decided(decided) => approved(decided),
        Event::Advised(advised) => approved(&advised.decided),
        // The late sale that it blocks would be approved, and of its amount nothing is known: never before the sync.
        Event::Tombstoned { .. } => u64::MAX,
        Event::Cancelled(undone) => undone.amount.get(),
        Event::SuspenseCleared { amount, .. } => amount.get(),
        // The goods are gone, and the hold would run out. It is never more than was authorized.
        Event::Captured(captured) => captured.amount.get(),
        Event::Refunded(refunded) => refunded.amount.get(),
        Event::Settled { cause, .. } => match cause {
            Cause::Repayment(payment) | Cause::Final(payment) => payment.amount.get(),
            Cause::Payout { amount, .. } | Cause::Damages { amount, .. } => amount.get(),
            Cause::Calendar => 0,
        },
        Event::Opened { .. }
        | Event::PolicySet { .. }
        | Event::HolidaysSet { .. }
        | Event::MerchantSet(_)
        | Event::CustomerSet { .. }
        | Event::CodeIssued(_)
        | Event::Tok19Issued(_)
        | Event::CodeVoided { .. }
        | Event::HoldExpired(_)
        | Event::RecalledWhole(_)
        | Event::Recalled { .. }
        | Event::Noted { .. } => 0,
    }
}

fn approved(decided: &Decided) -> u64 {
    match decided.outcome {
        Outcome::Approved(_) => decided.input.amount.get(),
        Outcome::Denied { .. } => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::billing::notes::Payment;
    use crate::domain::model::ids::OfficeId;
    use crate::domain::model::money::Yen;
    use crate::domain::model::time::{Date, Millis, Month};
    use crate::domain::state::event::Approval;
    use crate::journal::codec;

    const WHOLE: u64 = 1_980;

    /// One event of each kind, from the golden bytes.
    fn one_of_each() -> Vec<Event> {
        let lines = include_str!("../../tests/golden/events.txt").lines();
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        lines.map(|line| codec::decode(&line.as_bytes().chunks(2).map(byte).collect::<Vec<_>>()).unwrap()).collect()
    }

    #[test]
    fn each_kind_says_what_is_lost_with_it() {
        let all = one_of_each();
        let paid = all.iter().find_map(|event| match event {
            Event::Settled { cause: Cause::Repayment(payment), .. } => Some(payment.amount.get()),
            _ => None,
        });
        let expected = [
            ("opened", 0),
            ("policy", 0),
            ("holidays", 0),
            ("merchant", 0),
            ("customer", 0),
            ("code", 0),
            ("code voided", 0),
            ("denial", 0),
            ("blocked", u64::MAX),
            ("cancel", WHOLE),
            ("capture", WHOLE),
            ("refund", WHOLE),
            ("hold expired", 0),
            ("recalled whole", 0),
            ("repayment", paid.unwrap()),
            ("note", 0),
            ("advice", WHOLE),
            ("suspense cleared", WHOLE),
            ("code of 19 digits", 0),
            ("recalled", 0),
            ("refund at a time", WHOLE),
        ];
        assert_eq!(all.len(), expected.len(), "a new kind stands here too");
        for (event, (name, yen)) in all.iter().zip(expected) {
            assert_eq!(at_risk(event), yen, "{name}: {event:?}");
        }
    }

    #[test]
    fn money_of_the_office_counts_whatever_it_is_for() {
        let settled = one_of_each().into_iter().find_map(|event| match event {
            Event::Settled { books, .. } => Some(books),
            _ => None,
        });
        let (books, id, amount) = (settled.unwrap(), OfficeId::new("P-1").unwrap(), Yen::new(700));
        let payment = Payment { id, amount, paid_at: Millis(0), slip: None };
        let month = Month::parse("2026-11").unwrap();
        for (cause, yen) in [
            (Cause::Calendar, 0),
            (Cause::Repayment(payment), 700),
            (Cause::Final(payment), 700),
            (Cause::Payout { id, amount }, 700),
            (Cause::Damages { id, month, amount }, 700),
        ] {
            assert_eq!(at_risk(&Event::Settled { cause, books: books.clone() }), yen);
        }
    }

    #[test]
    fn an_approval_counts_captured_or_held() {
        let decided = one_of_each().into_iter().find_map(|event| match event {
            Event::Decided(decided) => Some(decided),
            _ => None,
        });
        let mut decided = decided.unwrap();
        for hold_expires_at in [None, Some(Millis(1))] {
            let due = Date::new(2026, 12, 10).unwrap();
            let approval = Approval { month: Month::parse("2026-11").unwrap(), due, points: 0, hold_expires_at };
            decided.outcome = Outcome::Approved(approval);
            assert_eq!(at_risk(&Event::Decided(decided.clone())), WHOLE);
        }
    }
}

//! When a customer is to be told of a bill, and that they were.

use std::sync::Arc;

use super::account::Account;
use super::bill::Bill;
use super::fold::News;
use super::lateness::Rules;
use super::notes::Note;
use super::notices::{Notice, Told};
use crate::domain::model::time::{Date, Millis, Now, VOID_WINDOW};

impl Account {
    /// Takes in what was told.
    pub fn told(&mut self, notices: &[Notice], today: Date) {
        for notice in notices {
            let Some(at) = notice.bill().and_then(|bill| self.place(bill).ok()) else { continue };
            let Some(bill) = self.debt_mut().bills.get_mut(at).map(Arc::make_mut) else { continue };
            bill.told = match notice {
                Notice::BillFixed { .. } => bill.told.with(Told::FIXED),
                Notice::DueSoon { .. } => bill.told.with(Told::DUE_SOON),
                Notice::FellOverdue { .. } => bill.told.with(Told::OVERDUE),
                Notice::OverdueEnded { .. } | Notice::Blocked | Notice::BlockLifted => bill.told.without(Told::OVERDUE),
            };
            if let Notice::BillFixed { slip: Some(slip), .. } = notice
                && !self.notes().is_some_and(|notes| notes.slips.iter().any(|known| known.number == slip.number))
            {
                self.note(&Note::SlipIssued(*slip), today);
            }
        }
    }

    /// What is to be told by now, without the slip of a fixed bill. `is_round` is the day's round; between two of them only
    /// what a fact has changed of being overdue is.
    pub fn to_tell(&self, now: &Now, rules: Rules<'_>, is_round: bool) -> Vec<Notice> {
        let soon = i32::from(rules.terms.on(now.date).billing.due_soon_days);
        let by = self.bill_rules(rules);
        // While there is news of money, that may cover what is overdue.
        let has_news = !self.pending().is_empty();
        let is_news = |bill: &Bill| {
            let is_told = bill.told.has(Told::OVERDUE);
            bill.is_overdue(&by, now) != is_told
                || is_told && has_news
                || is_round && (is_to_fix(bill, now) || is_due_soon(bill, soon, now.date))
        };
        // Most have nothing to be told of, and are looked at every day.
        if !self.listed_bills().iter().any(|bill| is_news(bill)) {
            return Vec::new();
        }
        let was_blocked = self.listed_bills().iter().any(|bill| bill.told.has(Told::OVERDUE));
        let covered = self.as_if_paid(&News::default(), now, rules);
        let mut notices = Vec::new();
        let mut is_blocked = false;
        for at in self.bills_at(now, rules) {
            let (bill, due, owed) = (at.bill.key, at.due, at.owed);
            is_blocked |= at.is_overdue;
            if is_round
                && is_to_fix(&at.bill, now)
                && let Some(month) = bill.month()
            {
                notices.push(Notice::BillFixed {
                    month,
                    method: at.method,
                    due,
                    charged: at.charged,
                    owed,
                    slip: None,
                });
            }
            let is_covered = || covered.as_ref().and_then(|as_if| as_if.bill(bill)).is_some_and(|bill| !bill.is_open());
            if is_round && is_due_soon(&at.bill, soon, now.date) && !owed.total().is_zero() && !is_covered() {
                notices.push(Notice::DueSoon { bill, due, owed });
            }
            match (at.is_overdue, at.bill.told.has(Told::OVERDUE)) {
                (true, false) => notices.push(Notice::FellOverdue { bill, due, owed }),
                (false, true) => notices.push(Notice::OverdueEnded { bill }),
                _ => {}
            }
        }
        match (was_blocked, is_blocked) {
            (false, true) => notices.push(Notice::Blocked),
            (true, false) => notices.push(Notice::BlockLifted),
            _ => {}
        }
        notices
    }
}

/// A month's bill that yesterday's last sale can't be taken off any more. One that an older version issued is told while it
/// is still owed.
fn is_to_fix(bill: &Bill, now: &Now) -> bool {
    let Some(month) = bill.key.month().filter(|_| bill.is_issued() && !bill.told.has(Told::FIXED)) else {
        return false;
    };
    let is_of_now = month.next() == now.month || bill.is_open();
    is_of_now && !bill.net().is_zero() && bill.issued_at.plus(VOID_WINDOW) <= now.at
}

fn is_due_soon(bill: &Bill, days: i32, today: Date) -> bool {
    let is_told = bill.told.has(Told::DUE_SOON)
        || bill.told.has(Told::OVERDUE)
        || bill.written_off_at(Millis(i64::MAX)).is_some();
    let is_soon = |due: Date| today <= due && due <= today.plus_days(days);
    !is_told && bill.is_issued() && bill.due.is_some_and(is_soon) && bill.is_open()
}

//! What a fact does to an account. It stands here once: the engine applies it to the accounts in memory, the ledger to those
//! that it reads, changes and writes back.

use super::event::{Captured, Decided, Event, Outcome, Undone};
use crate::domain::billing::account::{Account, Hold};
use crate::domain::billing::settlement::Back;
use crate::domain::model::ids::Lsn;
use crate::domain::model::purchase::Purchase;
use crate::domain::model::time::Now;

impl Account {
    /// Makes the fact of record `lsn` true of the account of [`Event::effect`].
    pub fn apply(&mut self, event: &Event, lsn: Lsn, now: &Now) {
        match event {
            Event::CustomerSet { profile, .. } => {
                self.set_payment_method(profile.payment_method, now.month);
                self.profile.clone_from(profile);
                self.mark_due_if_closed();
            }
            Event::CodeIssued(issued) | Event::Tok19Issued(issued) => {
                (self.codes_issued, self.live_code) = (issued.counter, Some(issued.handle));
            }
            Event::Decided(decided) => self.approved(decided, lsn, now),
            Event::Advised(advised) => self.approved(&advised.decided, lsn, now),
            Event::Cancelled(undone) | Event::HoldExpired(undone) => self.give_back(undone, now),
            Event::CancelledPaid { undone, books } => {
                self.settle(books, Some(Back::Cancelled(undone.purchase())), lsn, now);
                self.record.unbought();
                self.tidy(now.date);
            }
            Event::Captured(captured) => self.captured(captured, lsn, now),
            Event::SuspenseSettled(settled) => {
                if let Some(charged) = settled.end.charged() {
                    self.captured(charged, lsn, now);
                }
            }
            Event::Refunded(refund) => {
                self.settle(&refund.books, Some(Back::Refunded(refund.purchase(), refund.counts_from(now))), lsn, now);
                self.tidy(now.date);
            }
            Event::Settled { cause, books } => {
                // Bills are kept as long as there is news that may meet them, so the news ends last.
                self.settle(books, None, lsn, now);
                self.end_news(cause);
            }
            Event::Noticed { notices, .. } => {
                self.told(notices, now.date);
                self.tidy(now.date);
            }
            Event::Noted { note, .. } => {
                self.note(note, now.date);
                self.tidy(now.date);
            }
            Event::Opened { .. }
            | Event::PolicySet { .. }
            | Event::HolidaysSet { .. }
            | Event::MerchantSet(_)
            | Event::CodeVoided { .. }
            | Event::Tombstoned { .. }
            | Event::SuspenseCleared { .. }
            | Event::RecalledWhole(_)
            | Event::Recalled { .. } => {}
        }
        if event.moves_room() {
            self.touched = lsn.into();
        }
    }

    fn approved(&mut self, decided: &Decided, lsn: Lsn, now: &Now) {
        let Outcome::Approved(approval) = &decided.outcome else { return };
        let order = lsn;
        let channel = decided.input.channel;
        let amount = decided.input.amount;
        match approval.hold_expires_at {
            Some(expires_at) => self.debt_mut().holds.push(Hold { order, channel, amount, expires_at }),
            None => {
                let purchase = Purchase { order, channel, amount, month: approval.month, at: now.at };
                self.charge(&purchase, approval.due, lsn);
            }
        }
    }

    fn captured(&mut self, captured: &Captured, lsn: Lsn, now: &Now) {
        let &Captured { order, channel, amount, month, due, .. } = captured;
        self.debt_mut().holds.retain(|hold| hold.order != order);
        self.charge(&Purchase { order, channel, amount, month, at: now.at }, due, lsn);
        self.tidy(now.date);
    }

    fn give_back(&mut self, undone: &Undone, now: &Now) {
        if undone.was_hold {
            self.debt_mut().holds.retain(|hold| hold.order != undone.order);
        } else {
            self.uncharge(&undone.purchase());
            self.record.unbought();
        }
        self.tidy(now.date);
    }
}

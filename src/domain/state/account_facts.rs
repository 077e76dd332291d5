//! What a fact does to an account. It stands here once: the engine applies it to the accounts in memory, the ledger to those
//! that it reads, changes and writes back.

use super::event::{Captured, Decided, Event, Outcome, Undone};
use crate::domain::billing::account::{Account, Hold};
use crate::domain::billing::settlement::Back;
use crate::domain::billing::stories::Story;
use crate::domain::model::ids::Lsn;
use crate::domain::model::purchase::Purchase;
use crate::domain::model::time::Now;

impl Account {
    /// Makes the fact of record `lsn` true of the account of [`Event::effect`]. Gives the stories that it lets go.
    pub fn apply(&mut self, event: &Event, lsn: Lsn, now: &Now) -> Vec<Story> {
        // What is over is over, whether it was freed before or not.
        let mut gone = if is_about_money(event) { self.tidy(now.date) } else { Vec::new() };
        match event {
            Event::CustomerSet { profile, .. } => {
                self.set_payment_method(profile.payment_method, now.month);
                self.profile.clone_from(profile);
                self.make_due_if_closed(now);
            }
            Event::CodeIssued(issued) | Event::Tok19Issued(issued) => {
                (self.codes_issued, self.live_code) = (issued.counter, Some(issued.handle));
            }
            Event::Decided(decided) => self.approved(decided, lsn, now),
            Event::Advised(advised) => self.approved(&advised.decided, lsn, now),
            Event::Cancelled(undone) | Event::HoldExpired(undone) => self.give_back(undone),
            Event::CancelledPaid { undone, books } => {
                self.settle(books, Some(Back::Cancelled(undone.purchase())), lsn, now);
                self.record.unbought();
            }
            Event::Captured(captured) => self.captured(captured, lsn, now),
            Event::SuspenseSettled(settled) => {
                if let Some(charged) = settled.end.charged() {
                    self.captured(charged, lsn, now);
                }
            }
            Event::Refunded(refund) => {
                self.settle(&refund.books, Some(Back::Refunded(refund.purchase(), refund.counts_from(now))), lsn, now);
            }
            Event::Settled { cause, books } => {
                // Bills are kept as long as there is news that may meet them, so the news ends last.
                self.settle(books, None, lsn, now);
                self.end_news(cause);
            }
            Event::Noted { note, .. } => self.note(note, now.date),
            Event::Noticed { notices, .. } => self.told(notices, now.date),
            Event::StoriesRecalled { recall, .. } => self.recall(recall, now.date),
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
        if may_end_something(event) {
            gone.append(&mut self.tidy(now.date));
        }
        gone
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
    }

    fn give_back(&mut self, undone: &Undone) {
        if undone.was_hold {
            self.debt_mut().holds.retain(|hold| hold.order != undone.order);
        } else {
            self.uncharge(&undone.purchase());
            self.record.unbought();
        }
    }
}

/// Facts that are worked out with what is not over yet.
const fn is_about_money(event: &Event) -> bool {
    matches!(
        event,
        Event::CancelledPaid { .. }
            | Event::Refunded(_)
            | Event::Settled { .. }
            | Event::Noted { .. }
            | Event::StoriesRecalled { .. }
    )
}

/// Facts after which something may say nothing any more.
const fn may_end_something(event: &Event) -> bool {
    matches!(
        event,
        Event::Cancelled(_)
            | Event::HoldExpired(_)
            | Event::CancelledPaid { .. }
            | Event::Captured(_)
            | Event::Refunded(_)
            | Event::Noted { .. }
            | Event::Noticed { .. }
    )
}

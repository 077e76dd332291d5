//! A state in words, for comparison: two states that answer alike from `now` on read the same, whatever
//! was freed, in which order things were loaded, and where they lie in memory.
//!
//! It holds handles and customer ids in clear; it is for tests and for `verify`, which prints no more than
//! the number of a line.

use std::fmt;

use super::State;
use crate::domain::billing::account::Account;
use crate::domain::model::code::Code;
use crate::domain::model::order::Order;
use crate::domain::model::time::Millis;

impl State {
    /// Writes all that still matters at `now`, a line each, in one fixed order. Settings are left out.
    pub fn describe(&self, now: Millis, out: &mut dyn fmt::Write) -> fmt::Result {
        writeln!(out, "lsn {} time {} sandbox {}", self.lsn, self.time.0, self.sandbox)?;
        if let Some(policy) = &self.policy {
            writeln!(out, "policy {} {:?}", policy.version, policy.text)?;
        }
        writeln!(out, "suspense {}", self.suspense)?;
        writeln!(out, "holidays {:?}", self.calendar_text)?;
        let mut merchants: Vec<_> = self.merchants.values().collect();
        merchants.sort_by_key(|merchant| merchant.id);
        for merchant in merchants {
            writeln!(out, "{merchant:?}")?;
        }
        for account in self.accounts() {
            self.describe_account(account, now, out)?;
        }
        for order in self.orders.all() {
            if self.orders.is_remembered(order, now) {
                self.describe_order(order, now, out)?;
            }
        }
        for receipt in self.receipts.all().filter(|receipt| now < receipt.at.plus(self.settings.orders_retain)) {
            writeln!(out, "{receipt:?}")?;
        }
        let mut codes: Vec<_> = self.codes.iter().filter(|code| now < code.forget_at()).collect();
        codes.sort_by_key(|code| code.id.lsn);
        for code in codes {
            describe_code(code, out)?;
        }
        Ok(())
    }

    fn describe_account(&self, account: &Account, now: Millis, out: &mut dyn fmt::Write) -> fmt::Result {
        // Every field by name, so that a new one can't be forgotten here.
        // Ledgers older than `touched` have it only of accounts that changed since; tests compare it by itself.
        let mut account = account.clone();
        account.tidy(now.date());
        let account = &account;
        let Account {
            id,
            profile,
            codes_issued,
            live_code,
            month: _,
            debt: _,
            record,
            latest_approval: _,
            touched: _,
            let_go,
        } = account;
        let live = live_code.map(crate::domain::model::ids::Handle::get);
        let sums = account.sums();
        write!(out, "customer {id} {profile:?} {record:?} codes {codes_issued} live {live:?} let go {let_go} ")?;
        // Ledgers older than the kinds of slips do not have them, and a slip is soon over.
        let mut notes = account.notes().cloned();
        notes.iter_mut().flat_map(|notes| &mut notes.slips).for_each(|slip| slip.kind = None);
        notes.iter_mut().for_each(|notes| notes.forget_slips(now.date()));
        let notes = notes.filter(|notes| *notes != crate::domain::billing::notes::Notes::default());
        write!(out, "sums {sums:?} {notes:?} ")?;
        // In one order, whether a month is still one sum or a bill.
        let mut bills: Vec<_> = account.bills().collect();
        bills.sort_by_key(|bill| bill.key);
        let mut holds = account.holds().to_vec();
        holds.sort_by_key(|hold| hold.order);
        write!(out, "{bills:?} {holds:?} approvals")?;
        let recent = |order: &&Order| now < order.decided_at.plus(self.settings.orders_retain);
        // Nobody looks at one that was taken back, whether it is still in the chain or not.
        for order in self.approvals(account).take_while(recent).filter(|order| order.stands(now)) {
            write!(out, " {}", order.id.lsn)?;
        }
        writeln!(out)
    }

    fn describe_order(&self, order: &Order, now: Millis, out: &mut dyn fmt::Write) -> fmt::Result {
        let has_key = self.orders.by_key(&order.key, now).is_some_and(|owner| owner.id.lsn == order.id.lsn);
        let handle = order.handle.map(crate::domain::model::ids::Handle::get);
        writeln!(out, "has key {has_key} handle {handle:?} {:?}", Order { earlier: None, ..order.clone() })
    }
}

fn describe_code(code: &Code, out: &mut dyn fmt::Write) -> fmt::Result {
    writeln!(out, "handle {} {code:?}", code.handle.get())
}

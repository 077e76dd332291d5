//! What purchases and codes change of a customer's row: gathered over a transaction and written once a customer,
//! in the order of the table.

use std::collections::HashMap;

use foldhash::fast::FixedState;
use rusqlite::params;

use super::LedgerError;
use super::sqlite_post::Poster;
use crate::domain::account::Channel;
use crate::domain::event::CodeIssued;
use crate::domain::ids::CustomerIx;
use crate::domain::jst::Month;

/// The month's principal moves only if the row holds that month.
const CHANGE: &str = "UPDATE account SET codes_issued = ifnull(?2, codes_issued), live_code = ifnull(?3, live_code),
    in_store = in_store + ?5, online = online + ?6 WHERE customer = ?1 AND (?4 IS NULL OR month = ?4)";

/// What one customer's row is still to be told.
#[derive(Clone, Copy, Debug, Default)]
struct Standing {
    /// Number and handle of the latest code.
    code: Option<(u16, u32)>,
    month: Option<Month>,
    /// Yen to be added to the month's unpaid principal.
    in_store: i64,
    online: i64,
}

/// By customer.
#[derive(Debug, Default)]
pub(super) struct Standings(HashMap<u32, Standing, FixedState>);

impl Poster<'_> {
    /// The customer's newest code.
    pub(super) fn count_code(&mut self, issued: &CodeIssued) {
        self.standings.0.entry(issued.customer.0).or_default().code = Some((issued.counter, issued.handle.get()));
    }

    /// Adds yen to a month's unpaid principal, or takes them off.
    pub(super) fn owe(
        &mut self,
        customer: CustomerIx,
        month: Month,
        channel: Channel,
        amount: i64,
    ) -> Result<(), LedgerError> {
        let waiting = self.standings.0.get(&customer.0).and_then(|standing| standing.month);
        if waiting.is_some_and(|waiting| waiting != month) {
            self.settle(customer)?;
        }
        let standing = self.standings.0.entry(customer.0).or_default();
        standing.month = Some(month);
        *(if channel == Channel::InStore { &mut standing.in_store } else { &mut standing.online }) += amount;
        Ok(())
    }

    /// Writes what was gathered of all customers.
    pub(super) fn finish(mut self) -> Result<(), LedgerError> {
        let mut all: Vec<_> = std::mem::take(&mut self.standings.0).into_iter().collect();
        all.sort_unstable_by_key(|(customer, _)| *customer);
        let mut change = self.db.prepare_cached(CHANGE)?;
        for (customer, standing) in all {
            if change.execute(standing.row(customer))? == 0 {
                self.place_month(customer, standing)?;
            }
        }
        Ok(())
    }

    /// Writes what was gathered of one customer, for a fact that needs the row as it is.
    fn settle(&mut self, customer: CustomerIx) -> Result<(), LedgerError> {
        let Some(standing) = self.standings.0.remove(&customer.0) else { return Ok(()) };
        match self.run(CHANGE, standing.row(customer.0))? {
            0 => self.place_month(customer.0, standing),
            _ => Ok(()),
        }
    }

    /// The row does not hold the month: another table does, or it is new.
    fn place_month(&self, customer: u32, standing: Standing) -> Result<(), LedgerError> {
        let Standing { month, in_store, online, .. } = standing;
        let number = month.map(Month::to_number);
        let rest = Standing { month: None, in_store: 0, online: 0, ..standing };
        self.change("a customer", CHANGE, rest.row(customer))?;
        let add = "UPDATE open_month SET in_store = in_store + ?3, online = online + ?4
            WHERE customer = ?1 AND month = ?2";
        if self.run(add, params![customer, number, in_store, online])? > 0 {
            // The row goes when nothing is unpaid.
            let tidy = "DELETE FROM open_month WHERE customer = ?1 AND month = ?2 AND in_store = 0 AND online = 0";
            return self.run(tidy, params![customer, number]).map(drop);
        }
        self.move_month(customer, None)?;
        let take = "UPDATE account SET month = ?2, in_store = ?3, online = ?4 WHERE customer = ?1";
        self.change("a customer", take, params![customer, number, in_store, online])
    }

    /// Moves the month that the customer's row holds to its own table.
    fn move_month(&self, customer: u32, billed_by: Option<u8>) -> Result<(), LedgerError> {
        let copy = "INSERT INTO open_month SELECT customer, month, ?2, in_store, online FROM account
            WHERE customer = ?1 AND in_store + online > 0";
        self.run(copy, params![customer, billed_by])?;
        let clear = "UPDATE account SET month = NULL, in_store = 0, online = 0 WHERE customer = ?1";
        self.change("a customer", clear, [customer])
    }

    /// The bills already issued keep the method they were issued with.
    pub(super) fn freeze_bills(&mut self, customer: CustomerIx, method: u8) -> Result<(), LedgerError> {
        self.settle(customer)?;
        let this_month = self.now.month.to_number();
        let held = "SELECT 1 FROM account WHERE customer = ?1 AND month < ?2 AND in_store + online > 0";
        if self.db.prepare_cached(held)?.exists(params![customer.0, this_month])? {
            self.move_month(customer.0, Some(method))?;
        }
        let freeze = "UPDATE open_month SET billed_by = ?3 WHERE customer = ?1 AND month < ?2 AND billed_by IS NULL";
        self.run(freeze, params![customer.0, this_month, method]).map(drop)
    }
}

impl Standing {
    fn row(self, customer: u32) -> (u32, Option<u16>, Option<u32>, Option<u16>, i64, i64) {
        let Self { code, month, in_store, online } = self;
        (customer, code.map(|code| code.0), code.map(|code| code.1), month.map(Month::to_number), in_store, online)
    }
}

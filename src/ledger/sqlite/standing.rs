//! What purchases and codes change of a customer's row: gathered over a transaction and written once a customer,
//! in the order of the table.

use std::collections::HashMap;

use foldhash::fast::FixedState;
use rusqlite::params;
use smallvec::SmallVec;

use super::post::{Poster, bits, yen};
use crate::domain::model::ids::{CustomerIx, Lsn};
use crate::domain::model::purchase::{Channel, Purchase};
use crate::domain::model::time::{Month, Now};
use crate::domain::state::event::CodeIssued;
use crate::ledger::LedgerError;

/// The month's principal moves only if the row holds that month, and nothing of the other channel: a second channel
/// gives the month a story.
const CHANGE: &str = "UPDATE account SET codes_issued = ifnull(?2, codes_issued), live_code = ifnull(?3, live_code),
    in_store = in_store + ?5, online = online + ?6, purchases = min(65535, max(0, purchases + ?7)),
    months_active = min(65535, months_active + (ifnull(?8, 0) > ifnull(latest_month, 0))),
    latest_month = iif(ifnull(?8, 0) > ifnull(latest_month, 0), ?8, latest_month), touched = max(touched, ifnull(?10, 0))
    WHERE customer = ?1 AND (?4 IS NULL OR month = ?4 AND iif(?9, online, in_store) = 0)";

/// A purchase, or a part of one that goes back.
#[derive(Clone, Copy, Debug)]
struct Delta {
    purchase: Purchase,
    goes_back: bool,
    now: Now,
}

/// What one customer's row is still to be told.
#[derive(Clone, Debug, Default)]
struct Standing {
    /// Number and handle of the latest code.
    code: Option<(u16, u32)>,
    /// All of one month, in their order.
    deltas: SmallVec<[Delta; 1]>,
    /// Purchases made, less those cancelled.
    bought: i64,
    /// The month of the latest purchase.
    active: Option<Month>,
    /// The last fact that touched what the customer can spend.
    touched: Option<Lsn>,
}

/// By customer.
#[derive(Debug, Default)]
pub(crate) struct Standings(HashMap<u32, Standing, FixedState>);

impl Poster<'_> {
    /// The customer's newest code.
    pub(crate) fn count_code(&mut self, issued: &CodeIssued) {
        self.standings.0.entry(issued.customer.0).or_default().code = Some((issued.counter, issued.handle.get()));
    }

    /// Notes a fact that touched what the customer can spend; it has been posted.
    pub(crate) fn touch(&mut self, customer: CustomerIx, lsn: Lsn) {
        if !self.held.touch(customer, lsn) {
            self.standings.0.entry(customer.0).or_default().touched = Some(lsn);
        }
    }

    /// Counts purchases for the ladder: one, or minus one for a cancelled one.
    pub(crate) fn count_purchase(&mut self, customer: CustomerIx, month: Month, count: i64) -> Result<(), LedgerError> {
        self.let_go(customer)?;
        let active = self.standings.0.get(&customer.0).and_then(|standing| standing.active);
        if active.is_some_and(|active| active != month) {
            self.write_standing(customer)?;
        }
        let standing = self.standings.0.entry(customer.0).or_default();
        standing.bought += count;
        if count > 0 {
            standing.active = Some(month);
        }
        Ok(())
    }

    /// Adds a purchase to a month's unpaid principal, or takes a part of one off.
    pub(crate) fn owe(&mut self, customer: CustomerIx, purchase: Purchase, goes_back: bool) -> Result<(), LedgerError> {
        self.let_go(customer)?;
        let waiting = self.standings.0.get(&customer.0).and_then(|standing| standing.deltas.first());
        if waiting.is_some_and(|delta| delta.purchase.month != purchase.month) {
            self.write_standing(customer)?;
        }
        let now = self.now;
        let standing = self.standings.0.entry(customer.0).or_default();
        standing.deltas.push(Delta { purchase, goes_back, now });
        Ok(())
    }

    /// Writes what was gathered of all customers.
    pub(crate) fn finish(mut self) -> Result<(), LedgerError> {
        let mut all: Vec<_> = std::mem::take(&mut self.standings.0).into_iter().collect();
        all.sort_unstable_by_key(|(customer, _)| *customer);
        let mut change = self.db.prepare_cached(CHANGE)?;
        for (customer, standing) in all {
            if standing.is_plain() && change.execute(standing.row(customer))? == 1 {
                continue;
            }
            self.place_month(CustomerIx(customer), &standing)?;
        }
        self.let_all_go()
    }

    /// Writes what was gathered of one customer, for a fact that needs the row as it is.
    pub(crate) fn write_standing(&mut self, customer: CustomerIx) -> Result<(), LedgerError> {
        let Some(standing) = self.standings.0.remove(&customer.0) else { return Ok(()) };
        if standing.is_plain() && self.run(CHANGE, standing.row(customer.0))? == 1 {
            return Ok(());
        }
        self.place_month(customer, &standing)
    }

    /// The row does not hold the month: another table does, or it is new, or it has a story.
    fn place_month(&mut self, customer: CustomerIx, standing: &Standing) -> Result<(), LedgerError> {
        let mut rest = standing.clone();
        rest.deltas.clear();
        self.change("a customer", CHANGE, rest.row(customer.0))?;
        if !standing.is_plain() || self.has_story(customer, standing)? {
            let now = self.now;
            self.rewrite(customer, &now, |account, spare| {
                for delta in &standing.deltas {
                    if delta.goes_back {
                        account.discharge(spare, &delta.purchase, &delta.now);
                    } else {
                        account.owe(spare, &delta.purchase, delta.now.date);
                    }
                    account.tidy(delta.now.date);
                }
            })?;
            // What comes next may change the customer's rows by themselves.
            return self.let_go(customer);
        }
        let (customer, month) = (customer.0, standing.month().map(Month::to_number));
        let (in_store, online) = standing.sums();
        let add = "UPDATE open_month SET in_store = in_store + ?3, online = online + ?4
            WHERE customer = ?1 AND month = ?2";
        if self.run(add, params![customer, month, in_store, online])? > 0 {
            // The row goes when nothing is unpaid.
            let tidy = "DELETE FROM open_month WHERE customer = ?1 AND month = ?2 AND in_store = 0 AND online = 0";
            return self.run(tidy, params![customer, month]).map(drop);
        }
        self.move_month(customer, None)?;
        let take = "UPDATE account SET month = ?2, in_store = ?3, online = ?4 WHERE customer = ?1";
        self.change("a customer", take, params![customer, month, in_store, online])
    }

    /// Whether the month has a story, or gets one by a second channel.
    fn has_story(&self, customer: CustomerIx, standing: &Standing) -> Result<bool, LedgerError> {
        let other_channel = "SELECT 1 FROM story WHERE customer = ?1 AND kind = 1 AND number = ?2
            UNION ALL SELECT 1 FROM account WHERE customer = ?1 AND month = ?2 AND iif(?3, online, in_store) > 0
            UNION ALL SELECT 1 FROM open_month WHERE customer = ?1 AND month = ?2 AND iif(?3, online, in_store) > 0";
        let asked = params![customer.0, standing.month().map(Month::to_number), standing.is_in_store()];
        Ok(self.db.prepare_cached(other_channel)?.exists(asked)?)
    }

    /// Moves the month that the customer's row holds to its own table.
    fn move_month(&self, customer: u32, billed_by: Option<u8>) -> Result<(), LedgerError> {
        let copy = "INSERT INTO open_month SELECT customer, month, ?2, in_store, online FROM account
            WHERE customer = ?1 AND in_store + online > 0";
        self.run(copy, params![customer, billed_by])?;
        let clear = "UPDATE account SET month = NULL, in_store = 0, online = 0 WHERE customer = ?1";
        self.change("a customer", clear, [customer])
    }
}

impl Standing {
    fn month(&self) -> Option<Month> {
        self.deltas.first().map(|delta| delta.purchase.month)
    }

    fn is_in_store(&self) -> bool {
        self.deltas.first().is_some_and(|delta| delta.purchase.channel == Channel::InStore)
    }

    /// All of one channel.
    fn is_plain(&self) -> bool {
        self.deltas.windows(2).all(|pair| pair[0].purchase.channel == pair[1].purchase.channel)
    }

    /// Yen to be added to the month's unpaid principal, in store and online, where all is of one channel.
    fn sums(&self) -> (i64, i64) {
        let signed = |delta: &Delta| if delta.goes_back { -1 } else { 1 } * yen(delta.purchase.amount);
        let sum = self.deltas.iter().map(signed).sum();
        if self.is_in_store() { (sum, 0) } else { (0, sum) }
    }

    #[expect(clippy::type_complexity, reason = "the parameters of one statement, in their order")]
    fn row(
        &self,
        customer: u32,
    ) -> (u32, Option<u16>, Option<u32>, Option<u16>, i64, i64, i64, Option<u16>, bool, Option<i64>) {
        let (in_store, online) = self.sums();
        let code = self.code;
        let (month, active) = (self.month().map(Month::to_number), self.active.map(Month::to_number));
        let (counter, handle) = (code.map(|code| code.0), code.map(|code| code.1));
        let touched = self.touched.map(|lsn| bits(lsn.0));
        (customer, counter, handle, month, in_store, online, self.bought, active, self.is_in_store(), touched)
    }
}

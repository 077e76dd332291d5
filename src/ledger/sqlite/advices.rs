//! Advices in the tables: a decision like any other, and what went to suspense.

use rusqlite::params;

use super::codes::PAID_BEFORE;
use super::post::{Poster, bits, order_state, yen};
use crate::domain::model::ids::Lsn;
use crate::domain::model::money::Yen;
use crate::domain::model::request::Payer;
use crate::domain::state::event::Advised;
use crate::ledger::LedgerError;

impl Poster<'_> {
    pub(crate) fn advised(&mut self, advised: &Advised, lsn: Lsn) -> Result<(), LedgerError> {
        let decided = &advised.decided;
        self.decided(decided, lsn)?;
        let in_suspense = advised.booked.suspense().is_some();
        let by_code = matches!(&decided.input.payer, Payer::Code(scanned) if scanned.handle().is_some());
        let trial = (by_code && !in_suspense).then_some(PAID_BEFORE);
        // On its own, so that what we decide ourselves costs no column more.
        let mark = "UPDATE decision SET advice = ?2, trial = ?3 WHERE lsn = ?1";
        self.change("an order", mark, params![bits(lsn.0), advised.booked.number(), trial])?;
        if !in_suspense {
            return Ok(());
        }
        let known = advised.known.map(|ix| ix.0);
        let row = params![bits(lsn.0), known, yen(decided.input.amount), self.now.at.0];
        self.run("INSERT INTO suspense VALUES (?1, ?2, ?3, ?4, NULL, NULL)", row).map(drop)
    }

    pub(crate) fn suspense_cleared(&self, order: Lsn, amount: Yen, lsn: Lsn) -> Result<(), LedgerError> {
        let (order, at, now) = (bits(order.0), bits(lsn.0), self.now.at.0);
        let clear = "UPDATE suspense SET cleared_lsn = ?2, cleared_at = ?3
            WHERE order_lsn = ?1 AND amount = ?4 AND cleared_lsn IS NULL";
        self.change("a sale in suspense", clear, params![order, at, now, yen(amount)])?;
        let set = "UPDATE decision SET state = ?2, touched = ?3, touched_at = ?4 WHERE lsn = ?1";
        self.change("an order", set, params![order, order_state::CANCELLED, at, now])
    }
}

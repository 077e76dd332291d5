//! `sokketsu ledger`: what an operator does with the ledger.

use super::serve::backends;
use crate::config::Records;
use crate::domain::model::time::Millis;
use crate::ledger::LedgerError;

/// Makes the ledger's tables, or brings them up to date; says what was done.
pub fn migrate(records: &Records, now: Millis) -> Result<String, LedgerError> {
    backends::migrate(records, now)
}

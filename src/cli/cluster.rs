//! `sokketsu cluster`: what an operator does with a journal in a database.

use super::serve::{ServeError, backends};
use crate::config::Records;
use crate::domain::model::time::Millis;

/// Makes the tables of journal and ledger, or brings them up to date; says what was done.
pub fn init(records: &Records, sandbox: bool, now: Millis) -> Result<String, ServeError> {
    backends::init_cluster(records, sandbox, now)
}

//! `sokketsu cluster`: what an operator does with a journal in a database (`docs/cluster.md`).

pub mod drain;
pub mod merchants;
pub mod moving;
mod status;

use super::serve::backends::MoveError;
use super::serve::{ServeError, backends};
use crate::config::{ConfigError, Records, Shared};
use crate::domain::model::merchant::Merchant;
use crate::domain::model::time::Millis;
use crate::journal::JournalError;

/// Makes the tables of journal and ledger, or brings them up to date, and writes policy and holidays where there are none yet; says
/// what was done. The files are asked for only then.
pub fn init(
    records: &Records,
    sandbox: bool,
    now: Millis,
    load: impl FnOnce() -> Result<Shared, ConfigError>,
) -> Result<String, ServeError> {
    let done = backends::init_cluster(records, sandbox, now)?;
    Ok(format!("{done}\n{}", backends::apply_first(records, sandbox, load)?))
}

/// Writes policy, holidays or both into the cluster; says what has changed.
pub fn apply(shared: &Shared, policy: bool, holidays: bool) -> Result<String, ServeError> {
    backends::apply(shared, policy, holidays)
}

/// The same with merchants.
pub fn apply_merchants(records: &Records, merchants: &[Merchant]) -> Result<String, ServeError> {
    backends::apply_merchants(records, merchants)
}

/// How the cluster stands, as text or as JSON; and whether somebody owns each stream.
pub fn status(records: &Records, as_json: bool) -> Result<(String, bool), ServeError> {
    let status = backends::status(records)?;
    // No map in it has a key that is no text.
    let text = if as_json { serde_json::to_string_pretty(&status).unwrap_or_default() } else { status::text(&status) };
    Ok((text, status.owned))
}

/// A database that is away or taken is there again later.
pub fn exit_code(error: &ServeError) -> u8 {
    match error {
        ServeError::Journal(JournalError::Doubt(_) | JournalError::Fenced(_))
        | ServeError::Move(MoveError::Journal(JournalError::Doubt(_) | JournalError::Fenced(_))) => 75,
        error => error.exit_code(),
    }
}

//! What PostgreSQL's errors mean for the books. A message never has a value of a row: it may be a customer's.

use tokio_postgres::error::SqlState;

use crate::ledger::LedgerError;

impl From<tokio_postgres::Error> for LedgerError {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(told) = error.as_db_error() else { return by_client(&error) };
        let code = told.code();
        let text = format!("{} ({})", told.message(), code.code());
        match code {
            &SqlState::DISK_FULL => Self::Full(text),
            &SqlState::READ_ONLY_SQL_TRANSACTION => {
                Self::Io(format!("{text}: this server takes no writes, it may be a standby"))
            }
            &SqlState::INSUFFICIENT_PRIVILEGE => Self::Refused(format!(
                "{text}: `sokketsu ledger migrate` grants the role sokketsu_ledger what it needs"
            )),
            &SqlState::INVALID_CATALOG_NAME => Self::Refused(format!("{text}: the address names another database")),
            &SqlState::UNDEFINED_TABLE | &SqlState::UNDEFINED_COLUMN => Self::Schema(text),
            code => by_class(code.code().get(..2).unwrap_or_default(), text),
        }
    }
}

fn by_class(class: &str, text: String) -> LedgerError {
    match class {
        // Wrong or missing credentials.
        "28" => LedgerError::Refused(text),
        // Serialization failures, deadlocks, locks not had in time.
        "40" | "55" => LedgerError::Busy(text),
        // Connection, resources, the server is stopping or starting, the system.
        "08" | "53" | "57" | "58" | "25" => LedgerError::Io(text),
        // Values that can't be, constraints, damaged pages.
        "21" | "22" | "23" | "XX" => LedgerError::Corrupt(text),
        _ => LedgerError::Schema(text),
    }
}

/// No server said it.
fn by_client(error: &tokio_postgres::Error) -> LedgerError {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    // The driver tells these apart by their text only.
    let is_refused = ["authentication", "TLS handshake", "password", "channel binding"];
    if is_refused.iter().any(|word| text.contains(word)) {
        return LedgerError::Refused(text);
    }
    if text.contains("deserializing") || text.contains("invalid column") {
        return LedgerError::Schema(text);
    }
    LedgerError::Io(text)
}

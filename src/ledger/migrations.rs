//! How tables come to be: numbered SQL files, each applied once and in order, and known by its hash. By hand: what `refinery`
//! 0.10 would save are a few lines; it takes `rusqlite` up to 0.40 only, and its own table would have to be filled from the one
//! that is in every ledger.

use sha2::{Digest, Sha256};

use super::{Book, EntryKind, LedgerError};
use crate::domain::billing::settlement::StepReason;
use crate::domain::model::customer::{Identity, Status};
use crate::domain::model::denial::Reason;
use crate::domain::model::order::Destination;
use crate::domain::model::payment::PaymentMethod;
use crate::domain::model::purchase::Channel;
use crate::domain::state::receipts::ReceiptKind;

/// A change of the tables. Applied ones never change: their hash is in every ledger.
pub(crate) struct Migration {
    pub version: i64,
    pub name: &'static str,
    pub sql: &'static str,
}

impl Migration {
    pub fn sha256(&self) -> String {
        use std::fmt::Write;
        Sha256::digest(self.sql.as_bytes()).iter().fold(String::with_capacity(64), |mut hex, byte| {
            // Writing to a String cannot fail.
            write!(hex, "{byte:02x}").unwrap_or_default();
            hex
        })
    }
}

/// One that a ledger says was applied.
pub(crate) struct Applied {
    pub version: i64,
    pub name: String,
    pub sha256: String,
}

/// The version of the tables, once it is sure that they are ours and not newer than we are; `applied` are by version.
pub(crate) fn check(applied: &[Applied], ours: &[Migration]) -> Result<i64, LedgerError> {
    let known = ours.last().map_or(0, |last| last.version);
    let mut ours = ours.iter();
    let mut version = 0;
    for found in applied {
        if found.version > known {
            return Err(LedgerError::NewerSchema { found: found.version, known });
        }
        let is_it = |ours: &Migration| {
            ours.version == found.version && ours.name == found.name && ours.sha256() == found.sha256
        };
        if !ours.next().is_some_and(is_it) {
            let (version, name) = (found.version, &found.name);
            return Err(LedgerError::Schema(format!("migration {version} ({name}) is not the one of this program")));
        }
        version = found.version;
    }
    Ok(version)
}

/// The names that the views show for numbers: list, number, name.
pub(crate) fn words() -> Vec<(&'static str, u8, &'static str)> {
    let mut words: Vec<(&str, u8, &str)> = Vec::new();
    words.extend(Channel::ALL.map(|x| ("channel", x as u8, x.name())));
    words.extend(Identity::ALL.map(|x| ("identity", x as u8, x.name())));
    words.extend(Status::ALL.map(|x| ("status", x as u8, x.name())));
    words.extend(PaymentMethod::ALL.map(|x| ("payment_method", x as u8, x.name())));
    words.extend(Destination::ALL.map(|x| ("destination", x as u8, x.name())));
    words.extend(Reason::ALL.map(|x| ("reason", x.number(), x.row().name)));
    words.extend(StepReason::ALL.map(|x| ("step", x as u8, x.name())));
    words.extend(EntryKind::ALL.iter().map(|&x| ("kind", x as u8, x.name())));
    words.extend(Book::ALL.iter().map(|&x| ("account", x as u8, x.name())));
    words.extend(Book::ALL.iter().map(|&x| ("side", x as u8, if x.is_debit() { "debit" } else { "credit" })));
    words.extend(Book::ALL.iter().map(|&x| ("unit", x as u8, x.unit())));
    words.extend(ReceiptKind::ALL.map(|x| ("receipt", x as u8, x.name())));
    words
}

//! How tables come to be: numbered SQL files, each applied once and in order, and known by its hash. By hand: what `refinery`
//! 0.10 would save are a few lines; it takes `rusqlite` up to 0.40 only, and its own table would have to be filled from the one
//! that is in every ledger.

use sha2::{Digest, Sha256};

use crate::hex;

/// A change of the tables. Applied ones never change: their hash is in every database.
pub(crate) struct Migration {
    pub version: i64,
    pub name: &'static str,
    pub sql: &'static str,
}

impl Migration {
    pub fn sha256(&self) -> String {
        let digest: [u8; 32] = Sha256::digest(self.sql.as_bytes()).into();
        hex::encode(&digest).to_string()
    }
}

/// One that a database says was applied.
pub(crate) struct Applied {
    pub version: i64,
    pub name: String,
    pub sha256: String,
}

/// Why tables are not to be touched.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NotOurs {
    /// A newer program made them.
    Newer {
        found: i64,
        known: i64,
    },
    Other {
        version: i64,
        name: String,
    },
}

/// The version of the tables, once it is sure that they are ours and not newer than we are; `applied` are by version.
pub(crate) fn check(applied: &[Applied], ours: &[Migration]) -> Result<i64, NotOurs> {
    let known = ours.last().map_or(0, |last| last.version);
    let mut ours = ours.iter();
    let mut version = 0;
    for found in applied {
        if found.version > known {
            return Err(NotOurs::Newer { found: found.version, known });
        }
        let is_it = |ours: &Migration| {
            ours.version == found.version && ours.name == found.name && ours.sha256() == found.sha256
        };
        if !ours.next().is_some_and(is_it) {
            return Err(NotOurs::Other { version: found.version, name: found.name.clone() });
        }
        version = found.version;
    }
    Ok(version)
}

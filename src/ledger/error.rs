//! What can go wrong with the books: the database is away for a while, or the books are wrong for good.

use crate::domain::model::ids::Lsn;
use crate::migrations::NotOurs;

#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// Somebody else holds the lock longer than we waited.
    #[error("the ledger is locked: {0}")]
    Busy(String),
    #[error("no space is left for the ledger: {0}")]
    Full(String),
    #[error("the ledger can't be reached: {0}")]
    Io(String),
    /// The database is there, and it or we say no: who we are, what our role may do, how the server is set.
    #[error("the ledger's database can't be used so: {0}")]
    Refused(String),
    #[error(
        "the ledger has schema {found}, this program needs {known}: run `sokketsu ledger migrate` as the owner of its tables"
    )]
    NotMigrated { found: i64, known: i64 },
    /// The books contradict themselves or the journal.
    #[error("the ledger is damaged: {0}")]
    Corrupt(String),
    /// The tables are not those that this program made.
    #[error("the ledger's tables are not as expected: {0}")]
    Schema(String),
    #[error("the ledger has schema {found}, this program knows up to {known}: use the newer program")]
    NewerSchema { found: i64, known: i64 },
    /// It is posted anew, by whoever finds the journal whole.
    #[error(
        "the ledger has schema {found}; one of before {oldest} is posted anew from a journal that holds its first record"
    )]
    OlderSchema { found: i64, oldest: i64, posted: Lsn },
    #[error("record {got} does not follow on record {position}")]
    Gap { position: Lsn, got: Lsn },
}

impl LedgerError {
    /// Whether the same call may succeed later without anybody repairing the books.
    pub const fn is_retriable(&self) -> bool {
        match self {
            // Somebody may set a role or a server right meanwhile.
            Self::Busy(_) | Self::Full(_) | Self::Io(_) | Self::Refused(_) => true,
            Self::Corrupt(_)
            | Self::Schema(_)
            | Self::NewerSchema { .. }
            | Self::NotMigrated { .. }
            | Self::OlderSchema { .. }
            | Self::Gap { .. } => false,
        }
    }
}

impl From<NotOurs> for LedgerError {
    fn from(why: NotOurs) -> Self {
        match why {
            NotOurs::Newer { found, known } => Self::NewerSchema { found, known },
            NotOurs::Other { version, name } => {
                Self::Schema(format!("migration {version} ({name}) is not the one of this program"))
            }
        }
    }
}

//! SQLite's tables and how they came to be.

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use crate::domain::model::ids::Lsn;
use crate::domain::model::time::Millis;
use crate::ledger::LedgerError;
use crate::ledger::words::words;
use crate::migrations::{self, Applied, Migration};

/// Applied ones never change: their hash is in every ledger. A change of the tables is a new file.
const MIGRATIONS: &[Migration] = &[
    Migration { version: 1, name: "books", sql: include_str!("schema/0001_books.sql") },
    Migration { version: 2, name: "money", sql: include_str!("schema/0002_money.sql") },
    Migration { version: 3, name: "advices", sql: include_str!("schema/0003_advices.sql") },
    Migration { version: 4, name: "code form", sql: include_str!("schema/0004_code_form.sql") },
    Migration { version: 5, name: "stories", sql: include_str!("schema/0005_stories.sql") },
    Migration { version: 6, name: "key runs", sql: include_str!("schema/0006_key_runs.sql") },
    Migration { version: 7, name: "touched", sql: include_str!("schema/0007_touched.sql") },
    Migration { version: 8, name: "receipt ids", sql: include_str!("schema/0008_receipt_ids.sql") },
    Migration { version: 9, name: "refund time", sql: include_str!("schema/0009_refund_time.sql") },
    Migration { version: 10, name: "beside", sql: include_str!("schema/0010_beside.sql") },
    Migration { version: 11, name: "one form of a bill", sql: include_str!("schema/0011_one_bill.sql") },
    Migration { version: 12, name: "money told apart", sql: include_str!("schema/0012_money.sql") },
    Migration { version: 13, name: "office", sql: include_str!("schema/0013_office.sql") },
    Migration { version: 14, name: "corrections", sql: include_str!("schema/0014_corrections.sql") },
    Migration { version: 15, name: "past stories", sql: include_str!("schema/0015_past_stories.sql") },
    Migration { version: 16, name: "notices", sql: include_str!("schema/0016_notices.sql") },
    Migration { version: 17, name: "both sides", sql: include_str!("schema/0017_sides.sql") },
    Migration { version: 18, name: "about", sql: include_str!("schema/0018_about.sql") },
    Migration { version: 19, name: "stream", sql: include_str!("schema/0019_stream.sql") },
    Migration { version: 20, name: "due", sql: include_str!("schema/0020_due.sql") },
    Migration { version: 21, name: "lists", sql: include_str!("schema/0021_lists.sql") },
];

/// A ledger of before this one that holds records is posted anew: what it lacks only the journal knows.
const POSTED_ANEW: i64 = 17;

/// The schema this program was written for.
pub(crate) const KNOWN: i64 = MIGRATIONS[MIGRATIONS.len() - 1].version;

const APPLIED: &str = "CREATE TABLE IF NOT EXISTS schema_migrations (
    version INTEGER PRIMARY KEY, name TEXT NOT NULL, sha256 TEXT NOT NULL, applied_at INTEGER NOT NULL) STRICT";

/// Brings the tables up to date. `now` is noted beside each file that is applied.
pub(crate) fn migrate(db: &mut Connection, now: Millis) -> Result<(), LedgerError> {
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    tx.execute_batch(APPLIED)?;
    let applied = check(&tx)?;
    tx.commit()?;
    if (1..POSTED_ANEW).contains(&applied) {
        let posted = super::position(db)?;
        if posted > Lsn::ZERO {
            return Err(LedgerError::OlderSchema { found: applied, oldest: POSTED_ANEW, posted });
        }
    }
    apply(db, applied, KNOWN, now)?;
    name_numbers(db)
}

/// Applies the files from behind one version to another.
fn apply(db: &mut Connection, after: i64, upto: i64, now: Millis) -> Result<(), LedgerError> {
    for migration in MIGRATIONS.iter().filter(|migration| migration.version > after && migration.version <= upto) {
        let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        tx.execute_batch(migration.sql)?;
        tx.execute(
            "INSERT INTO schema_migrations VALUES (?1, ?2, ?3, ?4)",
            params![migration.version, migration.name, migration.sha256(), now.0],
        )?;
        tx.commit()?;
    }
    Ok(())
}

/// The version of the tables, once it is sure that they are ours and not newer than we are.
pub(crate) fn check(db: &Connection) -> Result<i64, LedgerError> {
    let mut query = db.prepare("SELECT version, name, sha256 FROM schema_migrations ORDER BY version")?;
    let row = |row: &rusqlite::Row<'_>| Ok(Applied { version: row.get(0)?, name: row.get(1)?, sha256: row.get(2)? });
    let applied: Vec<Applied> = query.query_map([], row)?.collect::<Result<_, _>>()?;
    Ok(migrations::check(&applied, MIGRATIONS)?)
}

/// Writes the names that the views show, where they are new.
fn name_numbers(db: &mut Connection) -> Result<(), LedgerError> {
    let tx = db.transaction()?;
    for (list, number, word) in words() {
        let known: Option<String> = tx
            .prepare_cached("SELECT word FROM word WHERE list = ?1 AND number = ?2")?
            .query_row(params![list, number], |row| row.get(0))
            .optional()?;
        if known.as_deref() != Some(word) {
            tx.execute("INSERT OR REPLACE INTO word VALUES (?1, ?2, ?3)", params![list, number, word])?;
        }
    }
    Ok(tx.commit()?)
}

//! What memory has let go of, in a table of its own: a start does not read it.

use rusqlite::{Connection, params};

use super::accounts::{accounts, numbers};
use super::position;
use super::read::{all, first};
use super::rows::{SqliteRows, bits, too_large};
use crate::domain::billing::stories::{Kept, Story, StoryKey};
use crate::domain::model::ids::{CustomerId, CustomerIx};
use crate::domain::model::time::Date;
use crate::journal::codec::{story_from_bytes, story_to_bytes};
use crate::ledger::LedgerError;
use crate::ledger::posting::Stories;

/// A story's key in the table.
fn key(key: StoryKey) -> (u8, i64) {
    match key {
        StoryKey::Bill(bill) => numbers(bill),
        StoryKey::Outflow(fact) => (3, bits(fact.0)),
    }
}

impl SqliteRows<'_> {
    /// Writes what was let go, and removes what was taken back.
    pub(crate) fn put_stories(&self, customer: CustomerIx, stories: &Stories) -> Result<(), LedgerError> {
        for (of, story) in stories {
            let (kind, number) = key(*of);
            if let Some((kept_until, story)) = story {
                let body = story_to_bytes(story).map_err(too_large)?;
                let row = params![customer.0, kind, number, kept_until.map(Date::to_number), body];
                self.run("INSERT OR REPLACE INTO past_story VALUES (?1, ?2, ?3, ?4, ?5)", row)?;
            } else {
                let gone = "DELETE FROM past_story WHERE customer = ?1 AND kind = ?2 AND number = ?3";
                self.run(gone, params![customer.0, kind, number])?;
            }
        }
        Ok(())
    }

    pub(crate) fn drop_stories(&self, today: Date, most: usize) -> Result<(), LedgerError> {
        let gone = "DELETE FROM past_story WHERE (customer, kind, number) IN
            (SELECT customer, kind, number FROM past_story WHERE kept_until < ?1 ORDER BY kept_until LIMIT ?2)";
        self.run(gone, params![today.to_number(), i64::try_from(most).unwrap_or(i64::MAX)]).map(drop)
    }
}

/// All stories of a customer, at one moment. The account as the tables have it may still list some that memory has let go:
/// nothing was recorded of that.
pub(crate) fn kept(db: &Connection, customer: &CustomerId) -> Result<Kept, LedgerError> {
    let tx = db.unchecked_transaction()?;
    let as_of = position(&tx)?;
    let of = "SELECT customer FROM account WHERE customer_id = ?1";
    let Some(ix) = first(&tx, of, [customer.as_str()], |cells| cells.int(0))? else {
        return Ok(Kept { as_of, stories: Vec::new() });
    };
    let past = "SELECT body FROM past_story WHERE customer = ?1";
    let mut stories = all(&tx, past, [ix], |cells| cells.blob(0, story_from_bytes))?;
    let listed = accounts(&tx, ix, ix + 1)?.pop().and_then(|account| account.debt);
    if let Some(debt) = listed {
        stories.extend(debt.bills.iter().cloned().map(Story::Bill));
        let outflows = debt.outflows.chunk_by(|one, other| one.fact == other.fact);
        stories.extend(outflows.map(|parts| Story::Outflow(parts.to_vec())));
    }
    Ok(Kept { as_of, stories })
}

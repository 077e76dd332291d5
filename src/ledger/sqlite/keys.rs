//! Orders of any age by the register's key. The index on `decision` has the hashes of each block of 65,536 records, so that
//! posting writes to its last block only; to look a key up there costs a probe a block, 15,000 of them at a thousand million
//! records. So the hashes of 64 blocks are written once more, in order: a *run*, where one probe does. Runs are made by the
//! ledger's thread while it has nothing to post. A look-up asks the blocks behind the last whole run, then the runs, newest
//! first: a probe for every four million records, and some 128 for the youngest.

use rusqlite::{Connection, TransactionBehavior, params};

use super::position;
use super::read::{SqliteCells, all, first, order, orders_where};
use crate::domain::model::order::Order;
use crate::domain::model::request::OrderKey;
use crate::ledger::LedgerError;
use crate::ledger::order_rows::key_hash;

/// As in the index `decision_key`.
const BLOCK_BITS: u32 = 16;
const RUN_BITS: u32 = 22;
/// Blocks of a run.
const BLOCKS: i64 = 1 << (RUN_BITS - BLOCK_BITS);
/// Steps in which a run is made: some 4,000 rows each, in some 25 ms.
pub(crate) const SLICES: i64 = 1_024;
/// Hashes have 32 bits.
const SLICE: i64 = (1 << 32) / SLICES;

/// The hashes of some of a block, from the index alone.
pub(crate) const OF_BLOCK: &str =
    "SELECT key_hash, lsn FROM decision WHERE lsn >> 16 = ?1 AND key_hash >= ?2 AND key_hash < ?3";
pub(crate) const OF_RUN: &str = "SELECT lsn FROM key_run WHERE run = ?1 AND key_hash = ?2 ORDER BY lsn DESC";

/// The run that is being made, and how many of its slices are; the runs before it are whole.
fn built(db: &Connection) -> Result<(i64, i64), LedgerError> {
    let built = "SELECT run, slices FROM key_run_built";
    Ok(db.prepare_cached(built)?.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?)
}

/// Makes the next slice of the next run, if all records of that run are posted. Whether more is left to be made.
pub(crate) fn build(db: &mut Connection) -> Result<bool, LedgerError> {
    let (run, slices) = built(db)?;
    let end = run.saturating_add(1) << RUN_BITS;
    if position(db)?.next().0.cast_signed() < end {
        return Ok(false);
    }
    // What is read here changes no more, and there is one writer.
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    {
        let mut rows: Vec<(i64, i64)> = Vec::new();
        for block in run * BLOCKS..(run + 1) * BLOCKS {
            let slice = [block, slices * SLICE, (slices + 1) * SLICE];
            rows.extend(all(&tx, OF_BLOCK, slice, |cells| Ok((cells.int(0)?, cells.int(1)?)))?);
        }
        // In their order each goes behind the one before.
        rows.sort_unstable();
        let mut add = tx.prepare_cached("INSERT INTO key_run VALUES (?1, ?2, ?3)")?;
        for (hash, lsn) in rows {
            add.execute([run, hash, lsn])?;
        }
        let is_whole = slices + 1 == SLICES;
        let next = if is_whole { [run + 1, 0] } else { [run, slices + 1] };
        tx.prepare_cached("UPDATE key_run_built SET run = ?1, slices = ?2")?.execute(next)?;
    }
    tx.commit()?;
    Ok(true)
}

/// The latest decision with this key; a tombstone is none.
pub(crate) fn past_order_by_key(db: &Connection, key: &OrderKey) -> Result<Option<Order>, LedgerError> {
    // First: a run that becomes whole meanwhile is asked block by block.
    let (whole, _) = built(db)?;
    let last: Option<i64> = db.prepare_cached("SELECT max(lsn) FROM decision")?.query_row([], |row| row.get(0))?;
    let hash = key_hash(key);
    let merchant = key.merchant.as_str();
    let order_id = key.order_id.as_str();
    let mut of_block = db.prepare_cached(&orders_where(
        "d.lsn >> 16 = ?1 AND d.key_hash = ?2 AND d.merchant_id = ?3 AND d.order_id = ?4 AND d.state <> 1
        ORDER BY d.lsn DESC LIMIT 1",
    ))?;
    let last = last.map_or(-1, |lsn| lsn >> BLOCK_BITS);
    for block in (whole * BLOCKS..=last).rev() {
        count_probe();
        if let Some(row) = of_block.query(params![block, hash, merchant, order_id])?.next()? {
            return order(db, &SqliteCells(row)).map(Some);
        }
    }
    let mut of_run = db.prepare_cached(OF_RUN)?;
    let at = orders_where("d.lsn = ?1 AND d.merchant_id = ?2 AND d.order_id = ?3 AND d.state <> 1");
    for run in (0..whole).rev() {
        count_probe();
        let mut found = of_run.query(params![run, hash])?;
        while let Some(row) = found.next()? {
            let lsn: i64 = row.get(0)?;
            if let Some(found) = first(db, &at, params![lsn, merchant, order_id], |cells| order(db, cells))? {
                return Ok(Some(found));
            }
        }
    }
    Ok(None)
}

/// Tests count what a look-up costs.
fn count_probe() {
    #[cfg(test)]
    super::keys_tests::PROBES.with(|count| count.set(count.get() + 1));
}

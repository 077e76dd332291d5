//! From the tables back to the engine's state.

use std::path::Path;

use rusqlite::Connection;

use super::accounts::accounts;
use super::parallel;
use super::read::{DECIDED_FROM, SqliteCells, all, first, first_since, orders_where, remembered};
use crate::domain::model::ids::{CustomerIx, Lsn};
use crate::domain::model::money::Yen;
use crate::domain::model::time::Millis;
use crate::domain::state::checkpoint::OrderLoad;
use crate::domain::state::{State, checkpoint};
use crate::ledger::codes::{CodeFact, Codes, ISSUED, issued, tried, voided};
use crate::ledger::loading::{BLOCK, set_receipts, set_rules};
use crate::ledger::parallel::Readers;
use crate::ledger::{LedgerError, answers};

/// Fills a fresh state. Accounts come before orders, which are chained to them.
pub(crate) fn load(path: &Path, state: &mut State) -> Result<(), LedgerError> {
    assert!(state.next_customer() == CustomerIx(0) && state.orders.is_empty(), "the ledger loads a fresh state");
    let mut readers = parallel::open(path)?;
    let db = readers.one()?;
    let posted = first(db, "SELECT lsn, time, sandbox FROM posted", [], |cells| {
        Ok((cells.lsn(0)?, cells.opt(1)?.map(Millis), cells.int(2)? != 0))
    })?;
    let (lsn, time, sandbox) = posted.ok_or_else(|| LedgerError::Corrupt("the position is missing".to_owned()))?;
    let Some(time) = time else { return Ok(()) };
    state.lsn = lsn;
    state.time = time;
    state.sandbox = sandbox;
    state.suspense = suspense(db)?;
    load_rules(db, state)?;
    load_merchants(db, state)?;
    load_accounts(&mut readers, state)?;
    load_codes(&mut readers, state)?;
    load_orders(&mut readers, state)?;
    load_receipts(readers.one()?, state)
}

fn suspense(db: &Connection) -> Result<Yen, LedgerError> {
    let open = "SELECT coalesce(sum(amount), 0) FROM suspense WHERE cleared_lsn IS NULL";
    Ok(first(db, open, [], |cells| cells.yen(0))?.unwrap_or_default())
}

fn load_receipts(db: &Connection, state: &mut State) -> Result<(), LedgerError> {
    let recent = "SELECT lsn, recorded_at, event FROM receipt WHERE recorded_at > ?1 ORDER BY lsn";
    let since = state.time.plus(-state.settings.orders_retain).0;
    set_receipts(state, all(db, recent, [since], answers::receipt)?)
}

fn load_rules(db: &Connection, state: &mut State) -> Result<(), LedgerError> {
    let policies = "SELECT version, text, lsn, set_at FROM policy ORDER BY lsn";
    let holidays = "SELECT text FROM holiday_file ORDER BY lsn DESC LIMIT 1";
    let holidays = first(db, holidays, [], |cells| cells.text(0, |text| Some(text.to_owned())))?;
    set_rules(state, all(db, policies, [], answers::policy_version)?, holidays)
}

fn load_merchants(db: &Connection, state: &mut State) -> Result<(), LedgerError> {
    let merchants = all(db, &format!("SELECT {} FROM merchant", answers::MERCHANT), [], answers::merchant)?;
    state.merchants.extend(merchants.into_iter().map(|merchant| (merchant.id, merchant)));
    Ok(())
}

fn load_accounts(readers: &mut Readers<Connection>, state: &mut State) -> Result<(), LedgerError> {
    let end = "SELECT coalesce(max(customer), -1) + 1 FROM account";
    let end = first(readers.one()?, end, [], |cells| cells.int(0))?.unwrap_or_default();
    let mut load = state.load_accounts();
    readers.in_blocks(
        0..end,
        checkpoint::BLOCK as i64,
        |db, from, to| accounts(db, from, to),
        |accounts| load.take(accounts),
    )?;
    load.finish();
    Ok(())
}

/// The codes still remembered.
fn load_codes(readers: &mut Readers<Connection>, state: &mut State) -> Result<(), LedgerError> {
    let oldest = first(readers.one()?, "SELECT min(lsn) FROM code", [], |cells| cells.opt(0))?.flatten();
    let Some(oldest) = oldest else { return Ok(()) };
    let mut codes = Codes::default();
    readers.in_blocks(
        oldest..state.lsn.next().0.cast_signed(),
        BLOCK,
        |db, from, to| code_facts(db, from, to),
        |facts| {
            facts.into_iter().for_each(|(lsn, fact)| codes.take(lsn, fact));
        },
    )?;
    codes.give(state);
    Ok(())
}

/// What happened to codes in the records from `from` to before `to`.
fn code_facts(db: &Connection, from: i64, to: i64) -> Result<Vec<(Lsn, CodeFact)>, LedgerError> {
    let within = "lsn >= ?1 AND lsn < ?2";
    let given = format!("SELECT {ISSUED} FROM code WHERE {within}");
    let mut facts = all(db, &given, [from, to], issued)?;
    let gone = format!("SELECT lsn, handle, voided_at FROM code_void WHERE {within}");
    facts.extend(all(db, &gone, [from, to], voided)?);
    let tries = format!("SELECT lsn, handle, trial, decided_at FROM decision WHERE {within} AND trial IS NOT NULL");
    facts.extend(all(db, &tries, [from, to], tried)?);
    facts.sort_by_key(|(lsn, _)| *lsn);
    Ok(facts)
}

/// The orders still remembered, by rising lsn: older ones that something changed within the retention, or whose hold
/// is open or ran out within it; then all that were decided within it.
fn load_orders(readers: &mut Readers<Connection>, state: &mut State) -> Result<(), LedgerError> {
    let forgotten = state.time.plus(-state.settings.orders_retain);
    let end = state.lsn.next().0.cast_signed();
    let db = readers.one()?;
    let recent = first_since(db, DECIDED_FROM, end, forgotten.plus(1))?;
    let kept = orders_where(
        "d.lsn < ?1 AND d.lsn IN (
            SELECT lsn FROM decision WHERE touched_at > ?2
            UNION SELECT lsn FROM decision WHERE state = 3 AND hold_expires_at > ?2) ORDER BY d.lsn",
    );
    let mut query = db.prepare_cached(&kept)?;
    let mut rows = query.query([recent, forgotten.0])?;
    while let Some(row) = rows.next()? {
        state.load_order(remembered(db, &SqliteCells(row))?);
    }
    drop(rows);
    drop(query);
    readers.in_blocks(
        recent..end,
        BLOCK,
        |db, from, to| recent_orders(db, from, to),
        |orders| {
            orders.into_iter().for_each(|order| state.load_order(order));
        },
    )
}

fn recent_orders(db: &Connection, from: i64, to: i64) -> Result<Vec<OrderLoad>, LedgerError> {
    let decided = orders_where("d.lsn >= ?1 AND d.lsn < ?2 ORDER BY d.lsn");
    all(db, &decided, [from, to], |cells| remembered(db, cells))
}

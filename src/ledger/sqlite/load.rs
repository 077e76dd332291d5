//! From the tables back to the engine's state.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension};

use super::codes::{Codes, code_facts, oldest_code};
use super::parallel::Readers;
use super::read::{Cells, DECIDED_FROM, all, first, first_since, orders_where, receipt_of, remembered};
use crate::domain::model::ids::{CustomerIx, MerchantId};
use crate::domain::model::merchant::{Merchant, MerchantLimits, MerchantStatus};
use crate::domain::model::money::Yen;
use crate::domain::model::policy::Policy;
use crate::domain::model::time::{BankCalendar, Millis};
use crate::domain::state::checkpoint::OrderLoad;
use crate::domain::state::{State, checkpoint};
use crate::ledger::LedgerError;
use crate::ledger::sqlite::accounts::accounts;

/// Records decoded at once: some milliseconds' work.
const BLOCK: i64 = 8_192;

/// Fills a fresh state. Accounts come before orders, which are chained to them.
pub(crate) fn load(path: &Path, state: &mut State) -> Result<(), LedgerError> {
    assert!(state.next_customer() == CustomerIx(0) && state.orders.is_empty(), "the ledger loads a fresh state");
    let mut readers = Readers::open(path)?;
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
    db.query_row(open, [], |row| Ok(Cells(row).yen(0)))?
}

/// The office's facts of the last days.
fn load_receipts(db: &Connection, state: &mut State) -> Result<(), LedgerError> {
    let recent = "SELECT lsn, recorded_at, event FROM receipt WHERE recorded_at > ?1 ORDER BY lsn";
    for receipt in all(db, recent, [state.time.plus(-state.settings.orders_retain).0], receipt_of)? {
        let key = receipt.event.receipt_key();
        state.receipts.push(key.ok_or_else(|| LedgerError::Corrupt("a receipt is of no fact".to_owned()))?, receipt);
    }
    Ok(())
}

/// The texts are read with care first: taking them in stops the process if they no longer parse.
fn load_rules(db: &Connection, state: &mut State) -> Result<(), LedgerError> {
    let policies = "SELECT version, text, lsn, set_at FROM policy ORDER BY lsn";
    let read = |cells: &Cells<'_>| {
        Ok((cells.num(0)?, cells.text(1, |text| Some(text.to_owned()))?, cells.lsn(2)?, cells.millis(3)?))
    };
    for (version, text, since, at) in all(db, policies, [], read)? {
        Policy::parse(&text).map_err(|error| LedgerError::Corrupt(format!("the policy: {error}")))?;
        state.set_policy(version, &text, since, at.date());
    }
    let holidays: Option<String> = db
        .prepare_cached("SELECT text FROM holiday_file ORDER BY lsn DESC LIMIT 1")?
        .query_row([], |row| row.get(0))
        .optional()?;
    if let Some(text) = holidays {
        BankCalendar::parse(&text).map_err(|error| LedgerError::Corrupt(format!("the holidays: {error}")))?;
        state.set_calendar(&text);
    }
    Ok(())
}

fn load_merchants(db: &Connection, state: &mut State) -> Result<(), LedgerError> {
    let merchants = "SELECT merchant_id, name, mcc, status, per_payment, in_store FROM merchant";
    let merchants = all(db, merchants, [], |cells| {
        Ok(Merchant {
            id: cells.text(0, |text| MerchantId::new(text).ok())?,
            name: cells.text(1, |text| Some(Box::from(text)))?,
            mcc: cells.num(2)?,
            status: cells.one_of(3, &[MerchantStatus::Active, MerchantStatus::Inactive], |status| status as u8)?,
            limits: MerchantLimits { per_payment: cells.opt_yen(4)?, in_store: cells.opt_yen(5)? },
        })
    })?;
    state.merchants.extend(merchants.into_iter().map(|merchant| (merchant.id, merchant)));
    Ok(())
}

fn load_accounts(readers: &mut Readers, state: &mut State) -> Result<(), LedgerError> {
    let end: i64 = readers
        .one()?
        .prepare_cached("SELECT coalesce(max(customer), -1) + 1 FROM account")?
        .query_row([], |row| row.get(0))?;
    let mut load = state.load_accounts();
    readers.in_blocks(0..end, checkpoint::BLOCK as i64, accounts, |accounts| load.take(accounts))?;
    load.finish();
    Ok(())
}

/// The codes still remembered.
fn load_codes(readers: &mut Readers, state: &mut State) -> Result<(), LedgerError> {
    let Some(oldest) = oldest_code(readers.one()?)? else { return Ok(()) };
    let mut codes = Codes::default();
    readers.in_blocks(oldest..state.lsn.next().0.cast_signed(), BLOCK, code_facts, |facts| {
        facts.into_iter().for_each(|(lsn, fact)| codes.take(lsn, fact));
    })?;
    codes.give(state);
    Ok(())
}

/// The orders still remembered, by rising lsn: older ones that something changed within the retention, or whose hold
/// is open or ran out within it; then all that were decided within it.
fn load_orders(readers: &mut Readers, state: &mut State) -> Result<(), LedgerError> {
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
        state.load_order(remembered(db, row)?);
    }
    drop(rows);
    drop(query);
    readers.in_blocks(recent..end, BLOCK, recent_orders, |orders| {
        orders.into_iter().for_each(|order| state.load_order(order));
    })
}

fn recent_orders(db: &Connection, from: i64, to: i64) -> Result<Vec<OrderLoad>, LedgerError> {
    let decided = orders_where("d.lsn >= ?1 AND d.lsn < ?2 ORDER BY d.lsn");
    all(db, &decided, [from, to], |cells| remembered(db, cells.0))
}

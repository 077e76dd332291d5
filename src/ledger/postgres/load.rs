//! From the tables back to the engine's state, by several connections that share one snapshot.

use super::accounts::accounts;
use super::orders::remembered;
use super::session::{LONG, Purpose, SNAPSHOT, Session};
use crate::database::Server;
use crate::domain::model::ids::{CustomerIx, Lsn};
use crate::domain::model::time::Millis;
use crate::domain::state::checkpoint::OrderLoad;
use crate::domain::state::{State, checkpoint};
use crate::ledger::codes::{CodeFact, Codes, ISSUED, issued, tried, voided};
use crate::ledger::loading::{BLOCK, set_receipts, set_rules};
use crate::ledger::parallel::Readers;
use crate::ledger::{LedgerError, answers};

/// Connections of a large load: the server's work for a row is about as much as ours.
const READERS: usize = 4;
/// A load of fewer customers and records is done by one.
const LARGE: i64 = if cfg!(test) { 700 } else { 100_000 };

/// Fills a fresh state, from what the session's transaction sees. Accounts come before orders, which are chained to them.
pub(crate) fn load(first: &mut Session, server: &Server, stream: i16, state: &mut State) -> Result<(), LedgerError> {
    assert!(state.next_customer() == CustomerIx(0) && state.orders.is_empty(), "the ledger loads a fresh state");
    let posted = "SELECT lsn, time, sandbox FROM posted WHERE stream = $1";
    let (lsn, time, sandbox) =
        first.one(posted, &[&stream], |cells| Ok((cells.lsn(0)?, cells.opt(1)?.map(Millis), cells.int(2)? != 0)))?;
    let Some(time) = time else { return Ok(()) };
    state.lsn = lsn;
    state.time = time;
    state.sandbox = sandbox;
    let suspense = "SELECT coalesce(sum(amount), 0)::bigint FROM suspense WHERE stream = $1 AND cleared_lsn IS NULL";
    state.suspense = first.one(suspense, &[&stream], |cells| cells.yen(0))?;
    load_rules(first, stream, state)?;
    load_merchants(first, stream, state)?;
    let customers = "SELECT coalesce(max(customer), -1)::bigint + 1 FROM account WHERE stream = $1";
    let customers = first.one(customers, &[&stream], |cells| cells.int(0))?;
    let is_large = customers > LARGE || state.lsn.0.cast_signed() > LARGE;
    let mut more = if is_large { share_snapshot(first, server)? } else { Vec::new() };
    let mut readers = Readers(std::iter::once(first).chain(&mut more).collect());
    let mut load = state.load_accounts();
    let read = |session: &mut &mut Session, from, to| accounts(session, stream, from, to);
    readers.in_blocks(0..customers, checkpoint::BLOCK as i64, read, |accounts| load.take(accounts))?;
    load.finish();
    load_codes(&mut readers, stream, state)?;
    load_orders(&mut readers, stream, state)?;
    let recent = "SELECT lsn, recorded_at, event FROM receipt WHERE stream = $1 AND recorded_at > $2 ORDER BY lsn";
    let since = state.time.plus(-state.settings.orders_retain).0;
    set_receipts(state, readers.one()?.all(recent, &[&stream, &since], answers::receipt)?)
}

/// More connections that see what the first one sees.
fn share_snapshot(first: &mut Session, server: &Server) -> Result<Vec<Session>, LedgerError> {
    let snapshot = first.one("SELECT pg_export_snapshot()", &[], |cells| {
        // It goes into a statement as it is.
        cells.text(0, |name| name.chars().all(|c| c.is_ascii_hexdigit() || c == '-').then(|| name.to_owned()))
    })?;
    let begin = format!("{SNAPSHOT}; SET TRANSACTION SNAPSHOT '{snapshot}'");
    let open = |_| {
        let mut session = Session::open(server, Purpose::Asking)?;
        session.limit = LONG;
        session.run(&begin).map(|()| session)
    };
    (1..READERS).map(open).collect()
}

fn load_rules(session: &mut Session, stream: i16, state: &mut State) -> Result<(), LedgerError> {
    let policies = "SELECT version, text, lsn, set_at FROM policy WHERE stream = $1 ORDER BY lsn";
    let policies = session.all(policies, &[&stream], answers::policy_version)?;
    let holidays = "SELECT text FROM holiday_file WHERE stream = $1 ORDER BY lsn DESC LIMIT 1";
    let holidays = session.first(holidays, &[&stream], |cells| cells.text(0, |text| Some(text.to_owned())))?;
    set_rules(state, policies, holidays)
}

fn load_merchants(session: &mut Session, stream: i16, state: &mut State) -> Result<(), LedgerError> {
    let merchants = format!("SELECT {} FROM merchant WHERE stream = $1", answers::MERCHANT);
    let merchants = session.all(&merchants, &[&stream], answers::merchant)?;
    state.merchants.extend(merchants.into_iter().map(|merchant| (merchant.id, merchant)));
    Ok(())
}

/// The codes still remembered.
fn load_codes(readers: &mut Readers<&mut Session>, stream: i16, state: &mut State) -> Result<(), LedgerError> {
    let oldest = "SELECT min(lsn) FROM code WHERE stream = $1";
    let Some(oldest) = readers.one()?.one(oldest, &[&stream], |cells| cells.opt(0))? else { return Ok(()) };
    let mut codes = Codes::default();
    let read = |session: &mut &mut Session, from, to| code_facts(session, stream, from, to);
    readers.in_blocks(oldest..state.lsn.next().0.cast_signed(), BLOCK, read, |facts| {
        facts.into_iter().for_each(|(lsn, fact)| codes.take(lsn, fact));
    })?;
    codes.give(state);
    Ok(())
}

/// What happened to codes in the records from `from` to before `to`.
fn code_facts(session: &mut Session, stream: i16, from: i64, to: i64) -> Result<Vec<(Lsn, CodeFact)>, LedgerError> {
    let within = "stream = $1 AND lsn >= $2 AND lsn < $3";
    let given = format!("SELECT {ISSUED} FROM code WHERE {within}");
    let mut facts = session.all(&given, &[&stream, &from, &to], issued)?;
    let gone = format!("SELECT lsn, handle, voided_at FROM code_void WHERE {within}");
    facts.extend(session.all(&gone, &[&stream, &from, &to], voided)?);
    let tries = format!("SELECT lsn, handle, trial, decided_at FROM decision WHERE {within} AND trial IS NOT NULL");
    facts.extend(session.all(&tries, &[&stream, &from, &to], tried)?);
    facts.sort_by_key(|(lsn, _)| *lsn);
    Ok(facts)
}

/// The orders still remembered, by rising lsn: older ones that something changed within the retention, or whose hold
/// is open or ran out within it; then all that were decided within it.
fn load_orders(readers: &mut Readers<&mut Session>, stream: i16, state: &mut State) -> Result<(), LedgerError> {
    let forgotten = state.time.plus(-state.settings.orders_retain);
    let end = state.lsn.next().0.cast_signed();
    let session = readers.one()?;
    let recent = first_decided_since(session, stream, end, forgotten.plus(1))?;
    let kept = "d.stream = $1 AND d.lsn < $2 AND d.lsn IN (
        SELECT lsn FROM decision_now WHERE stream = $1 AND touched_at > $3
        UNION SELECT lsn FROM decided WHERE stream = $1 AND state = 3 AND hold_expires_at > $3) ORDER BY d.lsn";
    for order in remembered(session, stream, kept, &[&stream, &recent, &forgotten.0])? {
        state.load_order(order);
    }
    let decided = "d.stream = $1 AND d.lsn >= $2 AND d.lsn < $3 ORDER BY d.lsn";
    let read = |session: &mut &mut Session, from: i64, to: i64| -> Result<Vec<OrderLoad>, LedgerError> {
        remembered(session, stream, decided, &[&stream, &from, &to])
    };
    readers.in_blocks(recent..end, BLOCK, read, |orders| {
        orders.into_iter().for_each(|order| state.load_order(order));
    })
}

/// The smallest number from which on every decision is of `since` or later. Numbers and times rise together, so no index on
/// times is needed.
fn first_decided_since(session: &mut Session, stream: i16, end: i64, since: Millis) -> Result<i64, LedgerError> {
    let next = "SELECT lsn, decided_at FROM decision WHERE stream = $1 AND lsn >= $2 ORDER BY lsn LIMIT 1";
    let (mut low, mut high) = (0, end);
    while low < high {
        let middle = low + (high - low) / 2;
        let found = session.first(next, &[&stream, &middle], |cells| Ok((cells.int(0)?, cells.int(1)?)))?;
        match found {
            Some((number, time)) if time < since.0 => low = number + 1,
            _ => high = middle,
        }
    }
    Ok(low)
}

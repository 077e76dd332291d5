//! From the tables back to the engine's state.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, Rows};

use super::accounts::{CHANGES, STORIES, story, story_change, with_changes};
use super::codes::{Codes, code_facts, oldest_code};
use super::parallel::Readers;
use super::read::{Cells, DECIDED_FROM, all, first, first_since, orders_where, receipt_of, remembered};
use crate::domain::billing::account::{Account, Debt, Hold};
use crate::domain::billing::bill::OpenMonth;
use crate::domain::billing::ladder::Record;
use crate::domain::billing::notes::Notes;
use crate::domain::model::customer::{Identity, Limits, Profile, Status};
use crate::domain::model::ids::{CustomerId, CustomerIx, Handle, Lsn, MerchantId};
use crate::domain::model::merchant::{Merchant, MerchantLimits, MerchantStatus};
use crate::domain::model::money::Yen;
use crate::domain::model::order::Order;
use crate::domain::model::payment::PaymentMethod;
use crate::domain::model::policy::Policy;
use crate::domain::model::purchase::Channel;
use crate::domain::model::time::{BankCalendar, Date, Millis, Month};
use crate::domain::state::State;
use crate::domain::state::checkpoint;
use crate::journal::codec::Dossier;
use crate::ledger::LedgerError;

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
    let policy: Option<(u32, String, i64)> = db
        .prepare_cached("SELECT version, text, lsn FROM policy ORDER BY lsn DESC LIMIT 1")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    if let Some((version, text, since)) = policy {
        Policy::parse(&text).map_err(|error| LedgerError::Corrupt(format!("the policy: {error}")))?;
        state.set_policy(version, &text, Lsn(since.cast_unsigned()));
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

/// Rows that belong to customers, in their order, read beside the accounts.
struct PerCustomer<'q, T> {
    rows: Rows<'q>,
    read: fn(&Cells<'_>) -> Result<T, LedgerError>,
    next: Option<(CustomerIx, T)>,
}

impl<'q, T> PerCustomer<'q, T> {
    fn new(rows: Rows<'q>, read: fn(&Cells<'_>) -> Result<T, LedgerError>) -> Result<Self, LedgerError> {
        let mut this = Self { rows, read, next: None };
        this.advance()?;
        Ok(this)
    }

    fn advance(&mut self) -> Result<Option<(CustomerIx, T)>, LedgerError> {
        let next = match self.rows.next()? {
            Some(row) => {
                let cells = Cells(row);
                Some((cells.customer(0)?, (self.read)(&cells)?))
            }
            None => None,
        };
        Ok(std::mem::replace(&mut self.next, next))
    }

    fn is_read(&self) -> bool {
        self.next.is_none()
    }

    /// All that belongs to the next customer.
    fn of(&mut self, customer: CustomerIx) -> Result<Vec<T>, LedgerError> {
        let mut all = Vec::new();
        while self.next.as_ref().is_some_and(|(ix, _)| *ix <= customer) {
            match self.advance()? {
                Some((ix, item)) if ix == customer => all.push(item),
                _ => return Err(stray()),
            }
        }
        Ok(all)
    }
}

fn stray() -> LedgerError {
    LedgerError::Corrupt("a row belongs to a customer who is not there".to_owned())
}

fn hold(cells: &Cells<'_>) -> Result<Hold, LedgerError> {
    let channel = cells.channel(2)?;
    Ok(Hold { order: cells.lsn(1)?, channel, amount: cells.yen(3)?, expires_at: cells.millis(4)? })
}

fn account(cells: &Cells<'_>) -> Result<Account, LedgerError> {
    let limits = match (cells.opt_yen(8)?, cells.opt_yen(9)?) {
        (Some(total), Some(in_store)) => Some(Box::new(Limits { total, in_store })),
        _ => None,
    };
    let profile = Profile {
        identity: cells.one_of(2, &Identity::ALL, |identity| identity as u8)?,
        identity_reason: cells.0.get::<_, Option<Box<str>>>(3)?.map(Box::new),
        birth_date: cells.opt_made(4, Date::from_number)?,
        guardian_consent: cells.int(5)? != 0,
        payment_method: cells.one_of(6, &PaymentMethod::ALL, |method| method as u8)?,
        status: cells.one_of(7, &Status::ALL, |status| status as u8)?,
        limits,
        rung: cells.num(10)?,
    };
    let mut account = Account::new(cells.text(1, |text| CustomerId::new(text).ok())?, profile);
    account.codes_issued = cells.num(11)?;
    account.live_code = cells.opt_made(12, Handle::new)?;
    account.record = Record {
        on_time_bills: cells.num(17)?,
        purchases: cells.num(18)?,
        months_active: cells.num(19)?,
        latest: cells.opt_made(20, Month::from_number)?,
    };
    account.touched = cells.lsn(21)?.into();
    account.month = open_month(cells)?;
    Ok(account)
}

/// The columns of [`account`].
const ACCOUNTS: &str = "SELECT customer, customer_id, identity, identity_reason, birth_date, guardian_consent,
    payment_method, status, limit_total, limit_in_store, rung, codes_issued, live_code, credit, month, in_store, online,
    on_time_bills, purchases, months_active, latest_month, touched, beside
    FROM account WHERE customer >= ?1 AND customer < ?2 ORDER BY customer";

/// What the row of one customer says, and whether more of them lies beside it.
pub(crate) fn account_row(db: &Connection, customer: i64) -> Result<Option<(Account, bool)>, LedgerError> {
    first(db, ACCOUNTS, [customer, customer + 1], |cells| Ok((account(cells)?, cells.int(22)? != 0)))
}

/// The accounts from customer `from` to before `to`, all of them.
pub(crate) fn accounts(db: &Connection, from: i64, to: i64) -> Result<Vec<Account>, LedgerError> {
    let mut accounts = db.prepare_cached(ACCOUNTS)?;
    let mut holds = db.prepare_cached(
        "SELECT customer, order_lsn, channel, amount, expires_at FROM hold
        WHERE customer >= ?1 AND customer < ?2 ORDER BY customer, order_lsn",
    )?;
    let mut dossiers = db.prepare_cached(
        "SELECT customer, body FROM dossier WHERE customer >= ?1 AND customer < ?2 ORDER BY customer",
    )?;
    let mut stories = db.prepare_cached(STORIES)?;
    let mut changes = db.prepare_cached(CHANGES)?;
    let mut stories = PerCustomer::new(stories.query([from, to])?, story)?;
    let mut changes = PerCustomer::new(changes.query([from, to])?, story_change)?;
    let mut dossiers = PerCustomer::new(dossiers.query([from, to])?, |cells| cells.blob(1, Dossier::from_bytes))?;
    let mut holds = PerCustomer::new(holds.query([from, to])?, hold)?;
    let mut rows = accounts.query([from, to])?;
    let mut read = Vec::with_capacity(checkpoint::BLOCK);
    for number in from..to {
        let row = rows.next()?.filter(|row| row.get(0) == Ok(number));
        let cells = Cells(row.ok_or_else(|| LedgerError::Corrupt("customers are missing".to_owned()))?);
        let ix = cells.customer(0)?;
        let mut account = account(&cells)?;
        let Dossier { bills: _, credit_since, notes } = dossiers.of(ix)?.pop().unwrap_or_default();
        let debt = Debt {
            holds: holds.of(ix)?.into(),
            bills: with_changes(stories.of(ix)?, changes.of(ix)?)?.into(),
            credit: cells.yen(13)?,
            credit_since,
            notes: (notes != Notes::default()).then(|| Box::new(notes)),
        };
        account.debt = (debt != Debt::default()).then(|| Box::new(debt));
        read.push(account);
    }
    let is_read = [holds.is_read(), dossiers.is_read(), stories.is_read(), changes.is_read()];
    if is_read.contains(&false) {
        return Err(stray());
    }
    Ok(read)
}

/// The month that the customer's own row holds; one without principal says nothing.
fn open_month(cells: &Cells<'_>) -> Result<Option<OpenMonth>, LedgerError> {
    let sums = [(Channel::InStore, cells.yen(15)?), (Channel::Online, cells.yen(16)?)];
    let Some((channel, amount)) = sums.into_iter().find(|(_, amount)| !amount.is_zero()) else { return Ok(None) };
    Ok(Some(OpenMonth { month: cells.month(14)?, channel, amount }))
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
        let (order, recalled) = remembered(db, row)?;
        state.load_order(order, recalled);
    }
    drop(rows);
    drop(query);
    readers.in_blocks(recent..end, BLOCK, recent_orders, |orders| {
        orders.into_iter().for_each(|(order, recalled)| state.load_order(order, recalled));
    })
}

fn recent_orders(db: &Connection, from: i64, to: i64) -> Result<Vec<(Order, bool)>, LedgerError> {
    let decided = orders_where("d.lsn >= ?1 AND d.lsn < ?2 ORDER BY d.lsn");
    all(db, &decided, [from, to], |cells| remembered(db, cells.0))
}

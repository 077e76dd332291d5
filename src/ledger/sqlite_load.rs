//! From the tables back to the engine's state.

use rusqlite::{Connection, OptionalExtension, Rows};

use super::LedgerError;
use super::sqlite_people::code_ending;
use super::sqlite_read::{Cells, first_since, order, orders};
use crate::domain::account::{Account, Hold, Identity, Limits, Profile, Rare, Status};
use crate::domain::bill::{NpBill, OpenMonth, PaymentMethod};
use crate::domain::codes::{Code, Ending};
use crate::domain::ids::{CodeId, CustomerId, CustomerIx, Handle, MerchantId};
use crate::domain::jst::{BankCalendar, Date, Millis};
use crate::domain::merchant::{Merchant, MerchantLimits, MerchantStatus};
use crate::domain::policy::Policy;
use crate::domain::state::State;

/// Fills a fresh state. Accounts come before orders, which are chained to them.
pub(super) fn load(db: &Connection, state: &mut State) -> Result<(), LedgerError> {
    assert!(state.next_customer() == CustomerIx(0) && state.orders.is_empty(), "the ledger loads a fresh state");
    let mut query = db.prepare_cached("SELECT lsn, time, sandbox FROM posted")?;
    let mut rows = query.query([])?;
    let Some(row) = rows.next()? else { return Err(LedgerError::Corrupt("the position is missing".to_owned())) };
    let cells = Cells(row);
    let Some(time) = cells.opt(1)?.map(Millis) else { return Ok(()) };
    (state.lsn, state.time, state.sandbox) = (cells.lsn(0)?, time, cells.int(2)? != 0);
    load_rules(db, state)?;
    load_merchants(db, state)?;
    load_accounts(db, state)?;
    load_codes(db, state)?;
    load_orders(db, state)
}

/// The texts are read with care first: taking them in stops the process if they no longer parse.
fn load_rules(db: &Connection, state: &mut State) -> Result<(), LedgerError> {
    let policy: Option<(u32, String)> = db
        .prepare_cached("SELECT version, text FROM policy ORDER BY lsn DESC LIMIT 1")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    if let Some((version, text)) = policy {
        Policy::parse(&text).map_err(|error| LedgerError::Corrupt(format!("the policy: {error}")))?;
        state.set_policy(version, &text);
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
    let mut query = db.prepare_cached("SELECT merchant_id, name, mcc, status, per_payment, in_store FROM merchant")?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let cells = Cells(row);
        let merchant = Merchant {
            id: cells.text(0, |text| MerchantId::new(text).ok())?,
            name: cells.text(1, |text| Some(Box::from(text)))?,
            mcc: cells.num(2)?,
            status: cells.one_of(3, &[MerchantStatus::Active, MerchantStatus::Inactive], |status| status as u8)?,
            limits: MerchantLimits { per_payment: cells.opt_yen(4)?, in_store: cells.opt_yen(5)? },
        };
        state.merchants.insert(merchant.id, merchant);
    }
    Ok(())
}

/// Rows that belong to customers, in their order, read beside the accounts.
struct Beside<'q, T> {
    rows: Rows<'q>,
    read: fn(&Cells<'_>) -> Result<T, LedgerError>,
    next: Option<(CustomerIx, T)>,
}

impl<'q, T> Beside<'q, T> {
    fn new(rows: Rows<'q>, read: fn(&Cells<'_>) -> Result<T, LedgerError>) -> Result<Self, LedgerError> {
        let mut beside = Self { rows, read, next: None };
        beside.advance()?;
        Ok(beside)
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

    /// All that belongs to the next customer.
    fn of(&mut self, customer: CustomerIx) -> Result<Vec<T>, LedgerError> {
        let mut all = Vec::new();
        while self.next.as_ref().is_some_and(|(ix, _)| *ix <= customer) {
            match self.advance()? {
                Some((ix, item)) if ix == customer => all.push(item),
                _ => return Err(LedgerError::Corrupt("a row belongs to a customer who is not there".to_owned())),
            }
        }
        Ok(all)
    }
}

fn open_month(cells: &Cells<'_>) -> Result<OpenMonth, LedgerError> {
    let billed_by = match cells.opt(2)? {
        Some(_) => Some(cells.one_of(2, &PaymentMethod::ALL, |method| method as u8)?),
        None => None,
    };
    Ok(OpenMonth { month: cells.month(1)?, billed_by, in_store: cells.yen(3)?, online: cells.yen(4)? })
}

fn hold(cells: &Cells<'_>) -> Result<Hold, LedgerError> {
    let (order, channel) = (cells.lsn(1)?, cells.channel(2)?);
    Ok(Hold { order, channel, amount: cells.yen(3)?, expires_at: cells.millis(4)? })
}

fn np_bill(cells: &Cells<'_>) -> Result<NpBill, LedgerError> {
    Ok(NpBill { order: cells.lsn(1)?, due: cells.date(2)?, unpaid: cells.yen(3)? })
}

fn account(cells: &Cells<'_>) -> Result<Account, LedgerError> {
    let limits = match (cells.opt_yen(8)?, cells.opt_yen(9)?) {
        (Some(total), Some(in_store)) => Some(Limits { total, in_store }),
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
    Ok(account)
}

fn load_accounts(db: &Connection, state: &mut State) -> Result<(), LedgerError> {
    let mut accounts = db.prepare_cached(
        "SELECT customer, customer_id, identity, identity_reason, birth_date, guardian_consent, payment_method,
        status, limit_total, limit_in_store, rung, codes_issued, live_code, credit FROM account ORDER BY customer",
    )?;
    let mut months = db.prepare_cached(
        "SELECT customer, month, billed_by, in_store, online FROM open_month ORDER BY customer, month",
    )?;
    let mut holds = db.prepare_cached(
        "SELECT customer, order_lsn, channel, amount, expires_at FROM hold ORDER BY customer, order_lsn",
    )?;
    let mut bills =
        db.prepare_cached("SELECT customer, order_lsn, due, unpaid FROM np_bill ORDER BY customer, charged_lsn")?;
    let mut months = Beside::new(months.query([])?, open_month)?;
    let mut holds = Beside::new(holds.query([])?, hold)?;
    let mut bills = Beside::new(bills.query([])?, np_bill)?;
    let mut rows = accounts.query([])?;
    while let Some(row) = rows.next()? {
        let cells = Cells(row);
        let ix = cells.customer(0)?;
        if ix != state.next_customer() {
            return Err(LedgerError::Corrupt("customers are missing".to_owned()));
        }
        let mut account = account(&cells)?;
        let mut months = months.of(ix)?.into_iter();
        account.month = months.next();
        let (later, credit) = (months.collect(), cells.yen(13)?);
        let rare = Rare { later, holds: holds.of(ix)?.into(), np: bills.of(ix)?.into(), credit };
        account.rare = (rare != Rare::default()).then(|| Box::new(rare));
        state.load_account(account);
    }
    Ok(())
}

/// The codes still remembered, in the order in which they will be forgotten.
fn load_codes(db: &Connection, state: &mut State) -> Result<(), LedgerError> {
    let mut query = db.prepare_cached(
        "SELECT handle, lsn, id_random, customer, counter, random, issued_at, expires_at, ending, ended_by, ended_at,
        wrong_seals, attempts, latest_attempt, generation FROM code WHERE forget_at > ?1 ORDER BY forget_at",
    )?;
    let mut rows = query.query([state.time.0])?;
    while let Some(row) = rows.next()? {
        let cells = Cells(row);
        let handle = cells.made(0, Handle::new)?;
        let ending = match cells.opt_num::<u8>(8)? {
            None => None,
            Some(code_ending::USED) => Some(Ending::Used { by: cells.lsn(9)?, at: cells.millis(10)? }),
            Some(code_ending::VOIDED) => Some(Ending::Voided { at: cells.millis(10)? }),
            Some(_) => return Err(LedgerError::Corrupt("a code ended in no known way".to_owned())),
        };
        state.codes.put(Code {
            id: CodeId { part: handle.part(), lsn: cells.lsn(1)?, random: cells.bits(2)? },
            handle,
            customer: cells.customer(3)?,
            generation: cells.num(14)?,
            counter: cells.num(4)?,
            random: cells.num(5)?,
            issued_at: cells.millis(6)?,
            expires_at: cells.millis(7)?,
            ending,
            wrong_seals: cells.num(11)?,
            attempts: cells.num(12)?,
            latest_attempt: cells.opt(13)?.map(|lsn| crate::domain::ids::Lsn(lsn.cast_unsigned())),
        });
    }
    Ok(())
}

/// The orders still remembered, by rising lsn: older ones that something changed within the retention, or whose hold
/// is open or ran out within it; then all that were decided within it.
fn load_orders(db: &Connection, state: &mut State) -> Result<(), LedgerError> {
    let forgotten = state.time.plus(-state.settings.orders_retain);
    let next = "SELECT lsn, decided_at FROM decision WHERE lsn >= ?1 ORDER BY lsn LIMIT 1";
    let end = state.lsn.next().0.cast_signed();
    let recent = first_since(db, next, end, forgotten.plus(1))?;
    let mut kept = orders(
        db,
        "WHERE d.lsn < ?1 AND d.lsn IN (
            SELECT lsn FROM decision WHERE touched > lsn AND touched_at > ?2
            UNION SELECT lsn FROM decision WHERE state = 3 AND hold_expires_at > ?2) ORDER BY d.lsn",
    )?;
    let mut rows = kept.query([recent, forgotten.0])?;
    while let Some(row) = rows.next()? {
        let (order, recalled) = order(db, row)?;
        state.load_order(order, recalled);
    }
    let mut query = orders(db, "WHERE d.lsn >= ?1 ORDER BY d.lsn")?;
    let mut rows = query.query([recent])?;
    while let Some(row) = rows.next()? {
        let (order, recalled) = order(db, row)?;
        state.load_order(order, recalled);
    }
    Ok(())
}

//! Customers in the tables: read by their numbers, and written back as far as a chunk of facts has changed them.

use std::sync::Arc;

use rusqlite::Rows;
use rusqlite::{Connection, params};

use super::read::Cells;
use super::rows::{SqliteRows, bits, too_large, yen};
use crate::domain::billing::account::{Account, Debt, Hold};
use crate::domain::billing::bill::{Bill, Change as BillChange, OpenMonth};
use crate::domain::billing::notes::Notes;
use crate::domain::model::customer::{Identity, Limits, Profile, Record, Status};
use crate::domain::model::ids::{CustomerId, CustomerIx, Handle, Lsn};
use crate::domain::model::payment::{BillKey, PaymentMethod};
use crate::domain::model::purchase::Channel;
use crate::domain::model::time::{Date, Month};
use crate::domain::state::checkpoint;
use crate::journal::codec::{Dossier, bill_from_bytes, bill_to_bytes, change_from_bytes, change_to_bytes};
use crate::ledger::LedgerError;
use crate::ledger::posting::Change;
use crate::ledger::sqlite::read::first;

/// What staff sets of a customer; the first time it makes the row.
const PROFILE: &str = "INSERT INTO account (customer, customer_id, identity, identity_reason, birth_date,
    guardian_consent, payment_method, status, limit_total, limit_in_store, rung, touched)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
    ON CONFLICT (customer) DO UPDATE SET identity = excluded.identity, identity_reason = excluded.identity_reason,
    birth_date = excluded.birth_date, guardian_consent = excluded.guardian_consent,
    payment_method = excluded.payment_method, status = excluded.status, limit_total = excluded.limit_total,
    limit_in_store = excluded.limit_in_store";

/// Everything else in a customer's row.
const STANDING: &str = "UPDATE account SET codes_issued = ?2, live_code = ?3, credit = ?4, month = ?5, in_store = ?6,
    online = ?7, rung = ?8, on_time_bills = ?9, purchases = ?10, months_active = ?11, latest_month = ?12,
    story_principal = ?13, touched = ?14, beside = ?15, payout_due = ?16, let_go = ?17, recalled_on = ?18
    WHERE customer = ?1";

impl SqliteRows<'_> {
    /// A customer of whom nothing lies beside the row takes one look-up.
    pub(crate) fn read_account(&self, customer: CustomerIx) -> Result<Option<Account>, LedgerError> {
        let at = i64::from(customer.0);
        match account_row(self.db, at)? {
            Some((account, false)) => Ok(Some(account)),
            Some((_, true)) => Ok(accounts(self.db, at, at + 1)?.pop()),
            None => Ok(None),
        }
    }

    pub(crate) fn put_account(&self, customer: CustomerIx, change: &Change<'_>) -> Result<(), LedgerError> {
        let &Change { before, now, is_new, is_profile_set, stories } = change;
        if is_profile_set {
            self.write_profile(customer, now)?;
        }
        // A new row says all of a customer who has neither bought nor been given a code.
        let has_done_nothing =
            now.live_code.is_none() && now.month.is_none() && now.debt.is_none() && now.record == Record::default();
        if is_new && has_done_nothing && stories.is_empty() {
            return Ok(());
        }
        self.write_standing(customer, now)?;
        self.put_stories(customer, stories)?;
        let after = now.debt.as_deref();
        if before == after {
            return Ok(());
        }
        self.write_holds(customer, before.map_or(&[], |debt| &debt.holds), now.holds())?;
        self.write_stories(customer, before.map_or(&[], |debt| &debt.bills), now.listed_bills())?;
        let dossier = Dossier::of(after);
        if Dossier::of(before) == dossier { Ok(()) } else { write_dossier(self.db, customer.0, &dossier) }
    }

    fn write_profile(&self, customer: CustomerIx, account: &Account) -> Result<(), LedgerError> {
        let profile = &account.profile;
        let limits = profile.limits.as_ref();
        let row = params![
            customer.0,
            account.id.as_str(),
            profile.identity as u8,
            profile.identity_reason,
            profile.birth_date.map(Date::to_number),
            profile.guardian_consent,
            profile.payment_method as u8,
            profile.status as u8,
            limits.map(|limits| yen(limits.total)),
            limits.map(|limits| yen(limits.in_store)),
            profile.rung,
            bits(account.touched.get().0),
        ];
        self.change("a customer", PROFILE, row)
    }

    fn write_standing(&self, customer: CustomerIx, account: &Account) -> Result<(), LedgerError> {
        let record = &account.record;
        let of = |channel| account.month.filter(|open| open.channel == channel).map_or(0, |open| yen(open.amount));
        let row = params![
            customer.0,
            account.codes_issued,
            account.live_code.map(Handle::get),
            yen(account.credit()),
            account.month.map(|open| open.month.to_number()),
            of(Channel::InStore),
            of(Channel::Online),
            account.profile.rung,
            record.on_time_bills,
            record.purchases,
            record.months_active,
            record.latest.map(Month::to_number),
            yen(account.listed_bills().iter().map(|bill| bill.unpaid()).sum()),
            bits(account.touched.get().0),
            account.debt.is_some(),
            yen(account.payout_due()),
            (account.let_go > Date::MIN).then(|| account.let_go.to_number()),
            account.debt.as_ref().and_then(|debt| debt.recalled_on).map(Date::to_number),
        ];
        self.change("a customer", STANDING, row)
    }

    /// Both lists are in order of their orders.
    fn write_holds(&self, customer: CustomerIx, before: &[Hold], now: &[Hold]) -> Result<(), LedgerError> {
        let mut old = before.iter().peekable();
        let gone = "DELETE FROM hold WHERE customer = ?1 AND order_lsn = ?2";
        for hold in now {
            while let Some(over) = old.next_if(|old| old.order < hold.order) {
                self.run(gone, params![customer.0, bits(over.order.0)])?;
            }
            if old.next_if(|old| old.order == hold.order).is_none() {
                let order = bits(hold.order.0);
                let amount = yen(hold.amount);
                let row = params![customer.0, order, hold.channel as u8, amount, hold.expires_at.0];
                self.run("INSERT INTO hold VALUES (?1, ?2, ?3, ?4, ?5)", row)?;
            }
        }
        old.try_for_each(|over| self.run(gone, params![customer.0, bits(over.order.0)]).map(drop))
    }

    /// Both lists are in order of their keys.
    fn write_stories(&self, customer: CustomerIx, before: &[Arc<Bill>], now: &[Arc<Bill>]) -> Result<(), LedgerError> {
        let mut old = before.iter().peekable();
        for bill in now {
            while let Some(gone) = old.next_if(|old| old.key < bill.key) {
                self.delete_story(customer, gone.key)?;
            }
            let known = old.next_if(|old| old.key == bill.key);
            // A bill that nothing has changed is still the very same one.
            if known.is_some_and(|known| Arc::ptr_eq(known, bill)) {
                continue;
            }
            write_story(self.db, customer.0, bill, known.map(AsRef::as_ref))?;
        }
        old.try_for_each(|gone| self.delete_story(customer, gone.key))
    }

    fn delete_story(&self, customer: CustomerIx, key: BillKey) -> Result<(), LedgerError> {
        let (kind, number) = numbers(key);
        for table in ["story", "story_change"] {
            let gone = format!("DELETE FROM {table} WHERE customer = ?1 AND kind = ?2 AND number = ?3");
            self.run(&gone, params![customer.0, kind, number])?;
        }
        Ok(())
    }
}

/// A bill's key in the tables.
pub(crate) fn numbers(key: BillKey) -> (u8, i64) {
    match key {
        BillKey::Month(month) => (1, month.to_number() as i64),
        BillKey::Np(order) => (2, bits(order.0)),
    }
}

/// Writes a bill, and of its changes those from the first one on that the tables do not have.
fn write_story(db: &Connection, customer: u32, bill: &Bill, known: Option<&Bill>) -> Result<(), LedgerError> {
    let (kind, number) = numbers(bill.key);
    let body = bill_to_bytes(bill).map_err(too_large)?;
    let put = "INSERT OR REPLACE INTO story VALUES (?1, ?2, ?3, ?4)";
    let is_same = |known: &Bill| bill_to_bytes(known).is_ok_and(|known| known == body);
    if !known.is_some_and(is_same) {
        db.prepare_cached(put)?.execute(params![customer, kind, number, body])?;
    }
    let known = known.map_or(&[][..], |known| known.changes.as_slice());
    let now = bill.changes.as_slice();
    let same = known.iter().zip(now).take_while(|(known, now)| known == now).count();
    let place = |at: usize| i64::try_from(at).unwrap_or(i64::MAX);
    if same < known.len() {
        let gone = "DELETE FROM story_change WHERE customer = ?1 AND kind = ?2 AND number = ?3 AND place >= ?4";
        db.prepare_cached(gone)?.execute(params![customer, kind, number, place(same)])?;
    }
    let mut insert = db.prepare_cached("INSERT INTO story_change VALUES (?1, ?2, ?3, ?4, ?5)")?;
    for (at, change) in now.iter().enumerate().skip(same) {
        insert.execute(params![customer, kind, number, place(at), change_to_bytes(change).map_err(too_large)?])?;
    }
    Ok(())
}

fn write_dossier(db: &Connection, customer: u32, dossier: &Dossier) -> Result<(), LedgerError> {
    if *dossier == Dossier::default() {
        db.prepare_cached("DELETE FROM dossier WHERE customer = ?1")?.execute([customer])?;
        return Ok(());
    }
    let row = params![customer, dossier.to_bytes().map_err(too_large)?];
    db.prepare_cached("INSERT OR REPLACE INTO dossier VALUES (?1, ?2)")?.execute(row)?;
    Ok(())
}

/// The columns of [`story`]: customers from one number to before another, each with its bills by their keys.
pub(crate) const STORIES: &str = "SELECT customer, kind, number, body FROM story
    WHERE customer >= ?1 AND customer < ?2 ORDER BY customer, kind, number";
pub(crate) const CHANGES: &str = "SELECT customer, kind, number, body FROM story_change
    WHERE customer >= ?1 AND customer < ?2 ORDER BY customer, kind, number, place";

pub(crate) fn story(cells: &Cells<'_>) -> Result<Bill, LedgerError> {
    cells.blob(3, bill_from_bytes)
}

pub(crate) fn story_change(cells: &Cells<'_>) -> Result<(BillKey, BillChange), LedgerError> {
    let key = match cells.int(1)? {
        1 => BillKey::Month(cells.month(2)?),
        _ => BillKey::Np(Lsn(cells.bits(2)?)),
    };
    Ok((key, cells.blob(3, change_from_bytes)?))
}

/// One customer's bills with their changes, both in order of the bills' keys.
pub(crate) fn with_changes(
    mut bills: Vec<Bill>,
    changes: Vec<(BillKey, BillChange)>,
) -> Result<Vec<Arc<Bill>>, LedgerError> {
    let mut own = bills.iter_mut().peekable();
    for (key, change) in changes {
        while own.next_if(|bill| bill.key < key).is_some() {}
        match own.peek_mut().filter(|bill| bill.key == key) {
            Some(bill) => bill.changes.add(change),
            None => return Err(LedgerError::Corrupt("a change belongs to a bill that is not there".to_owned())),
        }
    }
    Ok(bills.into_iter().map(Arc::new).collect())
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
    account.let_go = cells.opt_made(23, Date::from_number)?.unwrap_or(Date::MIN);
    account.month = open_month(cells)?;
    Ok(account)
}

/// The columns of [`account`].
const ACCOUNTS: &str = "SELECT customer, customer_id, identity, identity_reason, birth_date, guardian_consent,
    payment_method, status, limit_total, limit_in_store, rung, codes_issued, live_code, credit, month, in_store, online,
    on_time_bills, purchases, months_active, latest_month, touched, beside, let_go, recalled_on
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
        let Dossier { sums, met_at, met_by, outflows, notes, .. } = dossiers.of(ix)?.pop().unwrap_or_default();
        let debt = Debt {
            holds: holds.of(ix)?.into(),
            bills: with_changes(stories.of(ix)?, changes.of(ix)?)?.into(),
            sums: sums.into_iter().collect(),
            met: (met_at, met_by),
            outflows,
            notes: (notes != Notes::default()).then(|| Box::new(notes)),
            recalled_on: cells.opt_made(24, Date::from_number)?,
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

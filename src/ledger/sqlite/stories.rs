//! Customers with bills that have a story, in the tables: read once a transaction, changed by the same functions as in
//! memory, and written back as far as they changed.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::FixedState;
use rusqlite::{Connection, params};

use super::load::accounts;
use super::money::too_large;
use super::post::{Poster, bits, yen};
use super::read::Cells;
use crate::domain::billing::account::Account;
use crate::domain::billing::bill::{Bill, Change, ChangeKind, OpenMonth};
use crate::domain::billing::spare::Spare;
use crate::domain::model::ids::{CustomerIx, Lsn};
use crate::domain::model::payment::BillKey;
use crate::domain::model::time::{Month, Now};
use crate::journal::codec::{Dossier, bill_from_bytes, bill_to_bytes};
use crate::ledger::LedgerError;

/// A customer as the tables have it, and as it is by now.
struct Held {
    before: Account,
    now: Account,
}

/// By customer.
#[derive(Default)]
pub(crate) struct HeldAccounts(HashMap<u32, Held, FixedState>);

impl HeldAccounts {
    /// Whether it holds the customer, whom this fact touched.
    pub(crate) fn touch(&mut self, customer: CustomerIx, lsn: Lsn) -> bool {
        let held = self.0.get_mut(&customer.0);
        held.map(|held| held.now.touched = lsn.into()).is_some()
    }
}

impl Poster<'_> {
    /// Changes a customer by what the domain does with the fact. It is written with the transaction, or before another
    /// statement changes its rows.
    pub(crate) fn rewrite(
        &mut self,
        customer: CustomerIx,
        now: &Now,
        change: impl FnOnce(&mut Account, &mut Spare),
    ) -> Result<(), LedgerError> {
        self.write_standing(customer)?;
        if !self.held.0.contains_key(&customer.0) {
            let at = i64::from(customer.0);
            let Some(before) = accounts(self.db, at, at + 1)?.pop() else {
                return Err(LedgerError::Corrupt("money moves for a customer who is not there".to_owned()));
            };
            let now = before.clone();
            self.held.0.insert(customer.0, Held { before, now });
        }
        if let Some(held) = self.held.0.get_mut(&customer.0) {
            change(&mut held.now, &mut Spare::default());
            held.now.tidy(now.date);
        }
        Ok(())
    }

    /// Writes what is held of a customer, because its rows are to be changed by themselves.
    pub(crate) fn let_go(&mut self, customer: CustomerIx) -> Result<(), LedgerError> {
        match self.held.0.remove(&customer.0) {
            Some(held) => self.write_account(customer, &held),
            None => Ok(()),
        }
    }

    /// Writes all that is held, in the order of the tables.
    pub(crate) fn let_all_go(&mut self) -> Result<(), LedgerError> {
        let mut all: Vec<_> = std::mem::take(&mut self.held.0).into_iter().collect();
        all.sort_unstable_by_key(|(customer, _)| *customer);
        all.iter().try_for_each(|(customer, held)| self.write_account(CustomerIx(*customer), held))
    }

    fn write_account(&self, customer: CustomerIx, Held { before, now }: &Held) -> Result<(), LedgerError> {
        if before == now {
            return Ok(());
        }
        self.write_months(customer, before, now)?;
        self.write_np(customer, before, now)?;
        self.write_stories(customer, before, now)?;
        self.write_dossier(customer, before, now)?;
        let (record, profile) = (&now.record, &now.profile);
        let set = "UPDATE account SET credit = ?2, rung = ?3, on_time_bills = ?4, purchases = ?5, months_active = ?6,
            latest_month = ?7, story_principal = ?8, touched = ?9 WHERE customer = ?1";
        let latest = record.latest.map(Month::to_number);
        let counts = (record.on_time_bills, record.purchases, record.months_active);
        let unpaid = yen(now.stories().iter().map(|bill| bill.unpaid()).sum());
        let (credit, rung, touched) = (yen(now.credit()), profile.rung, bits(now.touched.get().0));
        let row = params![customer.0, credit, rung, counts.0, counts.1, counts.2, latest, unpaid, touched];
        self.change("a customer", set, row)
    }

    /// The newest month is in the customer's row, if nothing has fixed its method.
    fn write_months(&self, customer: CustomerIx, before: &Account, now: &Account) -> Result<(), LedgerError> {
        if before.months().eq(now.months()) {
            return Ok(());
        }
        self.run("DELETE FROM open_month WHERE customer = ?1", [customer.0])?;
        let months: Vec<&OpenMonth> = now.months().collect();
        let newest = months.last().filter(|month| month.billed_by.is_none());
        let set = "UPDATE account SET month = ?2, in_store = ?3, online = ?4 WHERE customer = ?1";
        let in_row = newest.map_or((None, 0, 0), |m| (Some(m.month.to_number()), yen(m.in_store), yen(m.online)));
        self.change("a customer", set, params![customer.0, in_row.0, in_row.1, in_row.2])?;
        for month in months.iter().filter(|month| Some(*month) != newest) {
            let billed_by = month.billed_by.map(|method| method as u8);
            let row = params![customer.0, month.month.to_number(), billed_by, yen(month.in_store), yen(month.online)];
            self.run("INSERT INTO open_month VALUES (?1, ?2, ?3, ?4, ?5)", row)?;
        }
        Ok(())
    }

    /// Both lists are in order of their purchases, and none is added here.
    fn write_np(&self, customer: CustomerIx, before: &Account, now: &Account) -> Result<(), LedgerError> {
        let mut left = now.np_bills().iter().peekable();
        for bill in before.np_bills() {
            let order = bits(bill.order.0);
            match left.next_if(|left| left.order == bill.order) {
                Some(left) if left == bill => {}
                Some(left) => {
                    let set = "UPDATE np_bill SET unpaid = ?3 WHERE customer = ?1 AND order_lsn = ?2";
                    self.run(set, params![customer.0, order, yen(left.unpaid)])?;
                }
                None => {
                    let gone = "DELETE FROM np_bill WHERE customer = ?1 AND order_lsn = ?2";
                    self.run(gone, params![customer.0, order])?;
                }
            }
        }
        Ok(())
    }

    /// Both lists are in order of their keys.
    fn write_stories(&self, customer: CustomerIx, before: &Account, now: &Account) -> Result<(), LedgerError> {
        let mut old = before.stories().iter().peekable();
        for bill in now.stories() {
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

    fn write_dossier(&self, customer: CustomerIx, before: &Account, now: &Account) -> Result<(), LedgerError> {
        let dossier = |account: &Account| Dossier {
            bills: Vec::new(),
            credit_since: account.rare.as_ref().and_then(|rare| rare.credit_since),
            notes: account.notes().cloned().unwrap_or_default(),
        };
        let (before, now) = (dossier(before), dossier(now));
        if before == now {
            return Ok(());
        }
        write_dossier(self.db, customer.0, &now)
    }

    /// The bills of months that have closed keep the method they had. Most customers have none that the method is not
    /// fixed of, and are not read for it.
    pub(crate) fn freeze_bills(
        &mut self,
        customer: CustomerIx,
        after: crate::domain::model::payment::PaymentMethod,
    ) -> Result<(), LedgerError> {
        self.write_standing(customer)?;
        self.let_go(customer)?;
        let in_question = "SELECT 1 FROM open_month WHERE customer = ?1 AND month < ?2 AND billed_by IS NULL
            UNION ALL SELECT 1 FROM account WHERE customer = ?1 AND month < ?2
            UNION ALL SELECT 1 FROM story WHERE customer = ?1 AND kind = 1 AND number < ?2";
        let asked = params![customer.0, self.now.month.to_number()];
        if !self.db.prepare_cached(in_question)?.exists(asked)? {
            return Ok(());
        }
        let now = self.now;
        self.rewrite(customer, &now, |account, _| account.set_payment_method(after, now.month))?;
        self.let_go(customer)
    }
}

/// A bill's key in the tables.
fn numbers(key: BillKey) -> (u8, i64) {
    match key {
        BillKey::Month(month) => (1, month.to_number() as i64),
        BillKey::Np(order) => (2, bits(order.0)),
    }
}

/// Writes a bill, and of its changes those that the tables do not have.
fn write_story(db: &Connection, customer: u32, bill: &Bill, known: Option<&Bill>) -> Result<(), LedgerError> {
    let (kind, number) = numbers(bill.key);
    let body = bill_to_bytes(bill).map_err(too_large)?;
    let put = "INSERT OR REPLACE INTO story VALUES (?1, ?2, ?3, ?4)";
    let is_same = |known: &Bill| bill_to_bytes(known).is_ok_and(|known| known == body);
    if !known.is_some_and(is_same) {
        db.prepare_cached(put)?.execute(params![customer, kind, number, body])?;
    }
    let from = known.map_or(0, |known| known.changes.len());
    let mut insert = db.prepare_cached("INSERT INTO story_change VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?;
    for (place, change) in bill.changes.iter().enumerate().skip(from) {
        let place = i64::try_from(place).unwrap_or(i64::MAX);
        insert.execute(params![customer, kind, number, place, change.at.0, change.kind as u8, yen(change.amount)])?;
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

/// Moves the bills out of the dossiers of a ledger that kept them there.
pub(crate) fn move_stories(db: &Connection) -> Result<(), LedgerError> {
    let mut query = db.prepare("SELECT customer, body FROM dossier")?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let cells = Cells(row);
        let (customer, mut dossier) = (cells.customer(0)?, cells.blob(1, Dossier::from_bytes)?);
        if dossier.bills.is_empty() {
            continue;
        }
        for bill in std::mem::take(&mut dossier.bills) {
            write_story(db, customer.0, &bill, None)?;
        }
        write_dossier(db, customer.0, &dossier)?;
    }
    Ok(())
}

/// The columns of [`story`]: customers from one number to before another, each with its bills by their keys.
pub(crate) const STORIES: &str = "SELECT customer, kind, number, body FROM story
    WHERE customer >= ?1 AND customer < ?2 ORDER BY customer, kind, number";
pub(crate) const CHANGES: &str = "SELECT customer, kind, number, counts_from, what, amount FROM story_change
    WHERE customer >= ?1 AND customer < ?2 ORDER BY customer, kind, number, place";

pub(crate) fn story(cells: &Cells<'_>) -> Result<Bill, LedgerError> {
    cells.blob(3, bill_from_bytes)
}

pub(crate) fn story_change(cells: &Cells<'_>) -> Result<(BillKey, Change), LedgerError> {
    let key = match cells.int(1)? {
        1 => BillKey::Month(cells.month(2)?),
        _ => BillKey::Np(Lsn(cells.bits(2)?)),
    };
    let kind = cells.one_of(4, &ChangeKind::ALL, |kind| kind as u8)?;
    Ok((key, Change { at: cells.millis(3)?, kind, amount: cells.yen(5)? }))
}

/// One customer's bills with their changes, both in order of the bills' keys.
pub(crate) fn with_changes(
    mut bills: Vec<Bill>,
    changes: Vec<(BillKey, Change)>,
) -> Result<Vec<Arc<Bill>>, LedgerError> {
    let mut own = bills.iter_mut().peekable();
    for (key, change) in changes {
        while own.next_if(|bill| bill.key < key).is_some() {}
        match own.peek_mut().filter(|bill| bill.key == key) {
            Some(bill) => bill.changes.push(change),
            None => return Err(LedgerError::Corrupt("a change belongs to a bill that is not there".to_owned())),
        }
    }
    Ok(bills.into_iter().map(Arc::new).collect())
}

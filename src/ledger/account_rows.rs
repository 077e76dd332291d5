//! Customers in the tables: the rows that a chunk of facts leaves of them, and how an account comes back from its rows.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::sync::Arc;
use std::vec::IntoIter;

use super::LedgerError;
use super::cells::Cells;
use super::order_rows::{bits, yen};
use super::tables::{ACCOUNT, DOSSIER, HOLD, PAST_STORY, PROFILE, STANDING, STORY, STORY_CHANGE, Value, row};
use super::transaction::Tables;
use crate::domain::billing::account::{Account, Debt, Hold};
use crate::domain::billing::bill::{Bill, Change as BillChange, OpenMonth};
use crate::domain::billing::notes::Notes;
use crate::domain::billing::stories::{Story, StoryKey};
use crate::domain::model::customer::{Identity, Limits, Profile, Record, Status};
use crate::domain::model::ids::{CustomerId, CustomerIx, Handle, Lsn};
use crate::domain::model::payment::{BillKey, PaymentMethod};
use crate::domain::model::purchase::Channel;
use crate::domain::model::time::{Date, Month};
use crate::journal::TooLarge;
use crate::journal::codec::{
    Dossier, bill_from_bytes, bill_to_bytes, change_from_bytes, change_to_bytes, story_to_bytes,
};

/// What the journal has recorded fits; anything else is a fault of ours.
pub(crate) fn too_large(error: TooLarge) -> LedgerError {
    LedgerError::Corrupt(error.to_string())
}

/// An account that a chunk of facts has changed.
pub(crate) struct Change<'a> {
    /// What lay in tables beside the account's own row.
    pub before: Option<&'a Debt>,
    pub now: &'a Account,
    pub is_new: bool,
    /// Whether staff's side of it was set, not only what it owes and was given.
    pub is_profile_set: bool,
    pub stories: &'a Stories,
}

/// Stories that memory let go of in a chunk, each with the day until which it is kept (none: for good), and those that it
/// took back.
pub(crate) type Stories = BTreeMap<StoryKey, Option<(Option<Date>, Story)>>;

/// Writes an account as far as a chunk has changed it.
pub(crate) fn write_account(
    tables: &mut impl Tables,
    customer: CustomerIx,
    change: &Change<'_>,
) -> Result<(), LedgerError> {
    let &Change { before, now, is_new, is_profile_set, stories } = change;
    if is_new {
        tables.insert(&ACCOUNT, &whole_row(customer, now))?;
    } else {
        if is_profile_set {
            tables.update(&PROFILE, &profile_row(customer, now))?;
        }
        tables.update(&STANDING, &standing_row(customer, now))?;
    }
    write_past_stories(tables, customer, stories)?;
    let after = now.debt.as_deref();
    if before == after {
        return Ok(());
    }
    write_holds(tables, customer, before.map_or(&[], |debt| &debt.holds), now.holds())?;
    write_stories(tables, customer, before.map_or(&[], |debt| &debt.bills), now.listed_bills())?;
    let dossier = Dossier::of(after);
    if Dossier::of(before) == dossier { Ok(()) } else { write_dossier(tables, customer, &dossier) }
}

fn whole_row(customer: CustomerIx, account: &Account) -> Vec<Value<'_>> {
    let [key, profile @ ..] = profile_row(customer, account);
    let [_, standing @ ..] = standing_row(customer, account);
    let mut row = vec![key, account.id.as_str().into()];
    row.extend(profile);
    row.extend(standing);
    row
}

fn profile_row(customer: CustomerIx, account: &Account) -> [Value<'_>; PROFILE.columns.len()] {
    let profile = &account.profile;
    let limits = profile.limits.as_ref();
    row![
        customer.0,
        profile.identity as u8,
        profile.identity_reason.as_ref().map(|reason| &***reason),
        profile.birth_date.map(Date::to_number),
        profile.guardian_consent,
        profile.payment_method as u8,
        profile.status as u8,
        limits.map(|limits| yen(limits.total)),
        limits.map(|limits| yen(limits.in_store)),
    ]
}

fn standing_row(customer: CustomerIx, account: &Account) -> [Value<'_>; STANDING.columns.len()] {
    let record = &account.record;
    let of = |channel| account.month.filter(|open| open.channel == channel).map_or(0, |open| yen(open.amount));
    row![
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
    ]
}

/// Both lists are in order of their orders.
fn write_holds(
    tables: &mut impl Tables,
    customer: CustomerIx,
    before: &[Hold],
    now: &[Hold],
) -> Result<(), LedgerError> {
    let mut old = before.iter().peekable();
    for hold in now {
        while let Some(over) = old.next_if(|old| old.order < hold.order) {
            tables.delete(&HOLD, &row![customer.0, bits(over.order.0)])?;
        }
        if old.next_if(|old| old.order == hold.order).is_none() {
            let (order, channel) = (bits(hold.order.0), hold.channel as u8);
            tables.insert(&HOLD, &row![customer.0, order, channel, yen(hold.amount), hold.expires_at.0])?;
        }
    }
    old.try_for_each(|over| tables.delete(&HOLD, &row![customer.0, bits(over.order.0)]))
}

/// Both lists are in order of their keys.
fn write_stories(
    tables: &mut impl Tables,
    customer: CustomerIx,
    before: &[Arc<Bill>],
    now: &[Arc<Bill>],
) -> Result<(), LedgerError> {
    let mut old = before.iter().peekable();
    for bill in now {
        while let Some(gone) = old.next_if(|old| old.key < bill.key) {
            delete_story(tables, customer, gone.key)?;
        }
        let known = old.next_if(|old| old.key == bill.key);
        // A bill that nothing has changed is still the very same one.
        if known.is_some_and(|known| Arc::ptr_eq(known, bill)) {
            continue;
        }
        write_story(tables, customer, bill, known.map(AsRef::as_ref))?;
    }
    old.try_for_each(|gone| delete_story(tables, customer, gone.key))
}

fn delete_story(tables: &mut impl Tables, customer: CustomerIx, key: BillKey) -> Result<(), LedgerError> {
    let (kind, number) = numbers(key);
    tables.delete(&STORY, &row![customer.0, kind, number])?;
    tables.delete_from(&STORY_CHANGE, &row![customer.0, kind, number, 0_u8])
}

/// A bill's key in the tables.
fn numbers(key: BillKey) -> (u8, i64) {
    match key {
        BillKey::Month(month) => (1, month.to_number().into()),
        BillKey::Np(order) => (2, bits(order.0)),
    }
}

/// Writes a bill, and of its changes those from the first one on that the tables do not have.
fn write_story(
    tables: &mut impl Tables,
    customer: CustomerIx,
    bill: &Bill,
    known: Option<&Bill>,
) -> Result<(), LedgerError> {
    let (kind, number) = numbers(bill.key);
    let body = bill_to_bytes(bill).map_err(too_large)?;
    let is_same = |known: &Bill| bill_to_bytes(known).is_ok_and(|known| known == body);
    if !known.is_some_and(is_same) {
        tables.put(&STORY, &row![customer.0, kind, number, body])?;
    }
    let known = known.map_or(&[][..], |known| known.changes.as_slice());
    let now = bill.changes.as_slice();
    let same = known.iter().zip(now).take_while(|(known, now)| known == now).count();
    let place = |at: usize| i64::try_from(at).unwrap_or(i64::MAX);
    if same < known.len() {
        tables.delete_from(&STORY_CHANGE, &row![customer.0, kind, number, place(same)])?;
    }
    for (at, change) in now.iter().enumerate().skip(same) {
        let body = change_to_bytes(change).map_err(too_large)?;
        tables.insert(&STORY_CHANGE, &row![customer.0, kind, number, place(at), body])?;
    }
    Ok(())
}

fn write_dossier(tables: &mut impl Tables, customer: CustomerIx, dossier: &Dossier) -> Result<(), LedgerError> {
    if *dossier == Dossier::default() {
        return tables.delete(&DOSSIER, &row![customer.0]);
    }
    tables.put(&DOSSIER, &row![customer.0, dossier.to_bytes().map_err(too_large)?])
}

/// Writes what memory let go, and removes what was taken back.
fn write_past_stories(tables: &mut impl Tables, customer: CustomerIx, stories: &Stories) -> Result<(), LedgerError> {
    for (of, story) in stories {
        let (kind, number) = match *of {
            StoryKey::Bill(bill) => numbers(bill),
            StoryKey::Outflow(fact) => (3, bits(fact.0)),
        };
        if let Some((kept_until, story)) = story {
            let body = story_to_bytes(story).map_err(too_large)?;
            let kept_until = kept_until.map(Date::to_number);
            tables.put(&PAST_STORY, &row![customer.0, kind, number, kept_until, body])?;
        } else {
            tables.delete(&PAST_STORY, &row![customer.0, kind, number])?;
        }
    }
    Ok(())
}

/// The columns of [`account`].
pub(crate) const ACCOUNT_COLUMNS: &str = "customer, customer_id, identity, identity_reason, birth_date,
    guardian_consent, payment_method, status, limit_total, limit_in_store, rung, codes_issued, live_code, credit, month,
    in_store, online, on_time_bills, purchases, months_active, latest_month, touched, beside, let_go, recalled_on";
/// Of [`hold`], by customer and order.
pub(crate) const HOLD_COLUMNS: &str = "customer, order_lsn, channel, amount, expires_at";
/// Of [`story`] and [`story_change`], by customer and the bill's key, and changes then by their place.
pub(crate) const STORY_COLUMNS: &str = "customer, kind, number, body";

/// What an account's own row says.
pub(crate) struct OwnRow {
    pub customer: CustomerIx,
    pub account: Account,
    /// More of it lies in other tables.
    pub is_beside: bool,
    recalled_on: Option<Date>,
}

pub(crate) fn account(cells: &dyn Cells) -> Result<OwnRow, LedgerError> {
    let limits = match (cells.opt_yen(8)?, cells.opt_yen(9)?) {
        (Some(total), Some(in_store)) => Some(Box::new(Limits { total, in_store })),
        _ => None,
    };
    let profile = Profile {
        identity: cells.one_of(2, &Identity::ALL, |identity| identity as u8)?,
        identity_reason: cells.opt_text(3, |text| Some(Box::new(Box::from(text))))?,
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
    let recalled_on = cells.opt_made(24, Date::from_number)?;
    Ok(OwnRow { customer: cells.customer(0)?, account, is_beside: cells.int(22)? != 0, recalled_on })
}

/// The month that the customer's own row holds; one without principal says nothing.
fn open_month(cells: &dyn Cells) -> Result<Option<OpenMonth>, LedgerError> {
    let sums = [(Channel::InStore, cells.yen(15)?), (Channel::Online, cells.yen(16)?)];
    let Some((channel, amount)) = sums.into_iter().find(|(_, amount)| !amount.is_zero()) else { return Ok(None) };
    Ok(Some(OpenMonth { month: cells.month(14)?, channel, amount }))
}

pub(crate) fn hold(cells: &dyn Cells) -> Result<(CustomerIx, Hold), LedgerError> {
    let channel = cells.channel(2)?;
    let hold = Hold { order: cells.lsn(1)?, channel, amount: cells.yen(3)?, expires_at: cells.millis(4)? };
    Ok((cells.customer(0)?, hold))
}

/// Of customer and body.
pub(crate) fn dossier(cells: &dyn Cells) -> Result<(CustomerIx, Dossier), LedgerError> {
    Ok((cells.customer(0)?, cells.blob(1, Dossier::from_bytes)?))
}

pub(crate) fn story(cells: &dyn Cells) -> Result<(CustomerIx, Bill), LedgerError> {
    Ok((cells.customer(0)?, cells.blob(3, bill_from_bytes)?))
}

pub(crate) fn story_change(cells: &dyn Cells) -> Result<(CustomerIx, (BillKey, BillChange)), LedgerError> {
    let key = match cells.int(1)? {
        1 => BillKey::Month(cells.month(2)?),
        _ => BillKey::Np(Lsn(cells.bits(2)?)),
    };
    Ok((cells.customer(0)?, (key, cells.blob(3, change_from_bytes)?)))
}

/// Rows that belong to customers, in their order.
struct PerCustomer<T>(Peekable<IntoIter<(CustomerIx, T)>>);

impl<T> PerCustomer<T> {
    fn new(rows: Vec<(CustomerIx, T)>) -> Self {
        Self(rows.into_iter().peekable())
    }

    /// All that belongs to the next customer. What belongs to one before is left where it is, and found at the end.
    fn of(&mut self, customer: CustomerIx) -> Vec<T> {
        let mut all = Vec::new();
        while let Some((_, item)) = self.0.next_if(|(ix, _)| *ix == customer) {
            all.push(item);
        }
        all
    }

    fn is_read(&mut self) -> bool {
        self.0.peek().is_none()
    }
}

/// Rows of the tables beside the accounts, each by customer.
#[derive(Default)]
pub(crate) struct Beside {
    pub holds: Vec<(CustomerIx, Hold)>,
    pub dossiers: Vec<(CustomerIx, Dossier)>,
    pub stories: Vec<(CustomerIx, Bill)>,
    pub changes: Vec<(CustomerIx, (BillKey, BillChange))>,
}

/// Puts together what lies in the account's own rows, by customer, and beside them.
pub(crate) fn put_together(rows: &mut [OwnRow], beside: Beside) -> Result<(), LedgerError> {
    let (mut holds, mut dossiers) = (PerCustomer::new(beside.holds), PerCustomer::new(beside.dossiers));
    let (mut stories, mut changes) = (PerCustomer::new(beside.stories), PerCustomer::new(beside.changes));
    for row in rows {
        let ix = row.customer;
        let Dossier { sums, met_at, met_by, outflows, notes, .. } = dossiers.of(ix).pop().unwrap_or_default();
        let debt = Debt {
            holds: holds.of(ix).into(),
            bills: with_changes(stories.of(ix), changes.of(ix))?.into(),
            sums: sums.into_iter().collect(),
            met: (met_at, met_by),
            outflows,
            notes: (notes != Notes::default()).then(|| Box::new(notes)),
            recalled_on: row.recalled_on,
        };
        row.account.debt = (debt != Debt::default()).then(|| Box::new(debt));
    }
    if [holds.is_read(), dossiers.is_read(), stories.is_read(), changes.is_read()].contains(&false) {
        return Err(LedgerError::Corrupt("a row belongs to a customer who is not there".to_owned()));
    }
    Ok(())
}

/// One customer's bills with their changes, both in order of the bills' keys.
fn with_changes(mut bills: Vec<Bill>, changes: Vec<(BillKey, BillChange)>) -> Result<Vec<Arc<Bill>>, LedgerError> {
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

//! From facts to rows. A chunk of facts is posted in one transaction: each fact's own rows at once, and the accounts that
//! the facts change read once, changed by the domain as the engine changes them ([`Account::apply`]), and written once at
//! the end. A backend reads and writes rows and decides nothing.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use foldhash::fast::FixedState;

use super::account_rows::{Change, Stories, write_account};
use super::channels::Unpaid;
use super::codes::forget_codes;
use super::fact_rows::{FactRows, orders_of};
use super::movements::movements;
use super::orders::Orders;
use super::transaction::{At, Tables};
use super::{Graded, LedgerError, Posting};
use crate::domain::billing::account::{Account, Debt};
use crate::domain::model::customer::Profile;
use crate::domain::model::ids::{CustomerIx, Lsn};
use crate::domain::model::time::{Millis, Now};
use crate::domain::state::event::Event;

/// Accounts kept from one chunk to the next, so that a customer who buys often is not read again: some 20 MB.
const KEPT: usize = 131_072;

/// An account as the tables have it, or as it is by now.
struct Held {
    account: Account,
    /// Set while this chunk has changed it.
    change: Option<Started>,
}

/// What is to be known of an account when it is written.
struct Started {
    before: Option<Box<Debt>>,
    is_new: bool,
    is_profile_set: bool,
    stories: Stories,
}

impl Started {
    fn of(account: &Account) -> Self {
        Self { before: account.debt.clone(), is_new: false, is_profile_set: false, stories: Stories::new() }
    }
}

/// The accounts that the tables have, as far as they were read. They are of the last chunk that was committed: whoever
/// rolls a chunk back makes new ones.
#[derive(Default)]
pub struct Accounts {
    held: HashMap<u32, Held, FixedState>,
    /// Those that this chunk has changed.
    changed: Vec<u32>,
}

/// The part of a chunk that is not posted yet.
pub(crate) struct Fresh<'p> {
    pub postings: &'p [Posting],
    pub last: &'p Posting,
}

/// What comes after the ledger's position, without a gap; none if all is posted.
pub(crate) fn after(position: Lsn, chunk: &[Posting]) -> Result<Option<Fresh<'_>>, LedgerError> {
    let posted = chunk.partition_point(|posting| posting.lsn <= position);
    let postings = chunk.get(posted..).unwrap_or_default();
    let mut before = position;
    for posting in postings {
        if posting.lsn != before.next() {
            return Err(LedgerError::Gap { position: before, got: posting.lsn });
        }
        before = posting.lsn;
    }
    Ok(postings.last().map(|last| Fresh { postings, last }))
}

/// Posts the facts of one transaction: those of rising records, the first after the ledger's position.
pub(crate) fn post(tables: &mut impl Tables, accounts: &mut Accounts, chunk: &[Posting]) -> Result<(), LedgerError> {
    accounts.read(tables, chunk)?;
    let mut rows = FactRows { tables, orders: Orders::default() };
    let decided_before = chunk.first().map_or(Lsn::ZERO, |first| first.lsn);
    let changed = chunk.iter().filter_map(|posting| orders_of(&posting.event));
    rows.orders.read(rows.tables, changed.filter(|order| *order < decided_before).collect())?;
    let mut now = Now::at(Millis(0));
    for posting in chunk {
        if posting.time != now.at {
            now = Now::at(posting.time);
        }
        let at = At { lsn: posting.lsn, now };
        rows.write(at, &posting.event)?;
        accounts.apply(&mut rows, &posting.event, at)?;
    }
    let FactRows { tables, orders } = rows;
    orders.write(tables)?;
    if let Some(last) = chunk.last() {
        forget_codes(tables, last.time, 2 * chunk.len())?;
        tables.forget_stories(now.date, 2 * chunk.len())?;
    }
    accounts.write(tables)
}

impl Accounts {
    /// Reads the accounts that a chunk changes, as far as they are not held yet. A customer who is not there is one that the
    /// chunk makes.
    fn read(&mut self, tables: &mut impl Tables, chunk: &[Posting]) -> Result<(), LedgerError> {
        let is_held = |customer: &CustomerIx| self.held.contains_key(&customer.0);
        let touched = chunk.iter().filter_map(|posting| posting.event.effect().customer);
        let mut missing: Vec<CustomerIx> = touched.filter(|customer| !is_held(customer)).collect();
        missing.sort_unstable_by_key(|customer| customer.0);
        missing.dedup();
        if missing.is_empty() {
            return Ok(());
        }
        let found = tables.accounts(&missing)?.into_iter();
        self.held.extend(found.map(|(customer, account)| (customer.0, Held { account, change: None })));
        Ok(())
    }

    fn account(&self, customer: CustomerIx) -> Option<&Account> {
        self.held.get(&customer.0).map(|held| &held.account)
    }

    /// Applies a fact to the account that it changes, and writes what it moves and the limits that it sets.
    fn apply<T: Tables>(&mut self, rows: &mut FactRows<'_, T>, event: &Event, at: At) -> Result<(), LedgerError> {
        let all = movements(event, &at.now, |customer| self.account(customer));
        let Some(customer) = event.effect().customer else { return rows.movements(at, &all) };
        let before = self.account(customer);
        let unpaid = Unpaid::before(&all, before);
        let graded = before.map(Graded::of);
        if let Event::CustomerSet { id, profile, .. } = event {
            self.set(customer, || Account::new(*id, Profile::clone(profile)));
        }
        let Some(Held { account, change }) = self.held.get_mut(&customer.0) else {
            return Err(LedgerError::Corrupt("a fact is about a customer who is not there".to_owned()));
        };
        if change.is_none() {
            self.changed.push(customer.0);
        }
        let stories = &mut change.get_or_insert_with(|| Started::of(account)).stories;
        let today = at.now.date;
        let gone = account.apply(event, at.lsn, &at.now);
        stories.extend(gone.into_iter().map(|story| (story.key(), Some((story.kept_until(today), story)))));
        if let Event::StoriesRecalled { recall, .. } = event {
            stories.extend(recall.stories.iter().map(|story| (story.key(), None)));
        }
        rows.movements(at, &unpaid.tell_channels(all, Some(account)))?;
        let now = Graded::of(account);
        if graded == Some(now) { Ok(()) } else { rows.graded(at, customer, &now, graded.is_none()) }
    }

    /// Staff sets a customer, who may be new.
    fn set(&mut self, customer: CustomerIx, make: impl FnOnce() -> Account) {
        let held = self.held.entry(customer.0);
        let is_new = matches!(held, Entry::Vacant(_));
        let Held { account, change } = held.or_insert_with(|| Held { account: make(), change: None });
        if change.is_none() {
            self.changed.push(customer.0);
        }
        let started = change.get_or_insert_with(|| Started { is_new, ..Started::of(account) });
        started.is_profile_set = true;
    }

    /// Writes what the chunk has changed, in the order of the tables.
    fn write(&mut self, tables: &mut impl Tables) -> Result<(), LedgerError> {
        let mut changed = std::mem::take(&mut self.changed);
        changed.sort_unstable();
        for customer in changed {
            let Some(held) = self.held.get_mut(&customer) else { continue };
            let Some(Started { before, is_new, is_profile_set, stories }) = held.change.take() else { continue };
            let (before, stories) = (before.as_deref(), &stories);
            let change = Change { before, now: &held.account, is_new, is_profile_set, stories };
            write_account(tables, CustomerIx(customer), &change)?;
        }
        if self.held.len() > KEPT {
            self.held.clear();
        }
        Ok(())
    }
}

//! From facts to rows. A chunk of facts is posted in one transaction: each fact's own rows at once, and the accounts that
//! the facts change read once, changed by the domain as the engine changes them ([`Account::apply`]), and written once at
//! the end. A backend reads and writes rows and decides nothing.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use foldhash::fast::FixedState;

use super::channels::Unpaid;
use super::movements::{Movement, movements};
use super::{Graded, LedgerError, Posting};
use crate::domain::billing::account::{Account, Debt};
use crate::domain::billing::settlement::{Charge, LadderStep, Settlement};
use crate::domain::billing::stories::{Story, StoryKey};
use crate::domain::model::code::Form;
use crate::domain::model::customer::Profile;
use crate::domain::model::ids::{CustomerIx, Handle, Lsn};
use crate::domain::model::merchant::Merchant;
use crate::domain::model::money::Yen;
use crate::domain::model::order::Order;
use crate::domain::model::request::OrderKey;
use crate::domain::model::time::{Date, Millis, Now};
use crate::domain::state::event::{Advised, Captured, CodeIssued, Decided, Event, Refunded, SuspenseSettled};

/// Accounts kept from one chunk to the next, so that a customer who buys often is not read again: some 20 MB.
const KEPT: usize = 131_072;

/// Place and time of the fact whose rows are written.
#[derive(Clone, Copy, Debug)]
pub struct At {
    pub lsn: Lsn,
    pub now: Now,
}

/// What became of an order, for its row.
#[derive(Clone, Copy, Debug)]
pub enum OrderChange<'e> {
    Cancelled,
    Captured(&'e Captured),
    Refunded(&'e Refunded),
    /// It is in memory again; memory has the refunds of this record and later ones.
    Recalled {
        refunds_from: Lsn,
    },
}

/// The tables of a ledger within one transaction.
pub trait Rows {
    /// The accounts of these customers, as far as they are there.
    fn accounts(&mut self, customers: &[CustomerIx]) -> Result<Vec<(CustomerIx, Account)>, LedgerError>;
    fn write_account(&mut self, customer: CustomerIx, change: &Change<'_>) -> Result<(), LedgerError>;

    fn opened(&mut self, sandbox: bool) -> Result<(), LedgerError>;
    fn policy(&mut self, at: At, version: u32, text: &str) -> Result<(), LedgerError>;
    fn holidays(&mut self, at: At, text: &str) -> Result<(), LedgerError>;
    fn merchant(&mut self, merchant: &Merchant) -> Result<(), LedgerError>;
    fn code(&mut self, at: At, issued: &CodeIssued, form: Form) -> Result<(), LedgerError>;
    fn code_voided(&mut self, at: At, handle: Handle) -> Result<(), LedgerError>;
    fn decision(&mut self, at: At, decided: &Decided) -> Result<(), LedgerError>;
    fn tombstone(&mut self, at: At, key: &OrderKey) -> Result<(), LedgerError>;
    /// A decision whose sale the network told us of.
    fn advice(&mut self, at: At, advised: &Advised) -> Result<(), LedgerError>;
    fn suspense_cleared(&mut self, at: At, order: Lsn, amount: Yen) -> Result<(), LedgerError>;
    fn suspense_settled(&mut self, at: At, settled: &SuspenseSettled) -> Result<(), LedgerError>;
    fn order(&mut self, at: At, order: Lsn, change: OrderChange<'_>) -> Result<(), LedgerError>;
    fn movement(&mut self, at: At, movement: &Movement) -> Result<(), LedgerError>;
    /// `charge` is [`Charge::Issued`].
    fn bill_issued(&mut self, at: At, customer: CustomerIx, charge: &Charge) -> Result<(), LedgerError>;
    fn ladder_step(&mut self, at: At, customer: CustomerIx, step: &LadderStep) -> Result<(), LedgerError>;
    /// The customer's limits come from something else from here on; the first time the customer is new.
    fn graded(&mut self, at: At, customer: CustomerIx, now: &Graded) -> Result<(), LedgerError>;
    /// The fact answers for an id of the office.
    fn receipt(&mut self, at: At, event: &Event) -> Result<(), LedgerError>;
    /// Removes stories that were kept until before today, at most so many.
    fn forget_stories(&mut self, today: Date, most: usize) -> Result<(), LedgerError>;
    /// Removes codes that nobody remembers any more, from the oldest on, among the rows of so many records.
    fn forget_codes(&mut self, now: Millis, records: usize) -> Result<(), LedgerError>;
}

/// An account that a chunk of facts has changed.
pub struct Change<'a> {
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
pub type Stories = BTreeMap<StoryKey, Option<(Option<Date>, Story)>>;

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

/// Posts the facts of one transaction: those of rising records, the first after the ledger's position.
pub fn post(rows: &mut impl Rows, accounts: &mut Accounts, chunk: &[Posting]) -> Result<(), LedgerError> {
    accounts.read(rows, chunk)?;
    let mut now = Now::at(Millis(0));
    for posting in chunk {
        if posting.time != now.at {
            now = Now::at(posting.time);
        }
        let at = At { lsn: posting.lsn, now };
        let event = &posting.event;
        write_fact(rows, at, event)?;
        accounts.apply(rows, event, at)?;
    }
    if let Some(last) = chunk.last() {
        rows.forget_codes(last.time, 2 * chunk.len())?;
        rows.forget_stories(now.date, 2 * chunk.len())?;
    }
    accounts.write(rows)
}

/// The rows of the fact itself.
fn write_fact(rows: &mut impl Rows, at: At, event: &Event) -> Result<(), LedgerError> {
    match event {
        Event::Opened { sandbox } => rows.opened(*sandbox),
        Event::PolicySet { version, text } => rows.policy(at, *version, text),
        Event::HolidaysSet { text } => rows.holidays(at, text),
        Event::MerchantSet(merchant) => rows.merchant(merchant),
        Event::CodeIssued(issued) => rows.code(at, issued, Form::L24),
        Event::Tok19Issued(issued) => rows.code(at, issued, Form::Tok19),
        Event::CodeVoided { handle } => rows.code_voided(at, *handle),
        Event::Decided(decided) => rows.decision(at, decided),
        Event::Advised(advised) => rows.advice(at, advised),
        Event::SuspenseCleared { order, amount } => rows.suspense_cleared(at, *order, *amount),
        Event::SuspenseSettled(settled) => {
            rows.suspense_settled(at, settled)?;
            rows.receipt(at, event)
        }
        Event::Tombstoned { key } => rows.tombstone(at, key),
        Event::Cancelled(undone) => rows.order(at, undone.order, OrderChange::Cancelled),
        Event::CancelledPaid { undone, books: settled } => {
            books(rows, at, settled)?;
            rows.order(at, undone.order, OrderChange::Cancelled)
        }
        Event::Captured(captured) => rows.order(at, captured.order, OrderChange::Captured(captured)),
        Event::Refunded(refund) => {
            books(rows, at, &refund.books)?;
            rows.order(at, refund.order, OrderChange::Refunded(refund))
        }
        Event::RecalledWhole(order) => recalled(rows, at, order, Lsn(1)),
        Event::Recalled { order, .. } => recalled(rows, at, order, at.lsn),
        Event::Settled { books: settled, .. } => {
            books(rows, at, settled)?;
            rows.receipt(at, event)
        }
        Event::Noted { .. } => rows.receipt(at, event),
        // They change an account, and move what `movements` says.
        Event::CustomerSet { .. } | Event::HoldExpired(_) | Event::Noticed { .. } | Event::StoriesRecalled { .. } => {
            Ok(())
        }
    }
}

fn books(rows: &mut impl Rows, at: At, books: &Settlement) -> Result<(), LedgerError> {
    for charge in books.charges.iter().filter(|charge| matches!(charge, Charge::Issued { .. })) {
        rows.bill_issued(at, books.customer, charge)?;
    }
    books.steps.iter().try_for_each(|step| rows.ladder_step(at, books.customer, step))
}

fn write_movements(rows: &mut impl Rows, at: At, all: &[Movement]) -> Result<(), LedgerError> {
    all.iter().try_for_each(|movement| rows.movement(at, movement))
}

fn recalled(rows: &mut impl Rows, at: At, order: &Order, refunds_from: Lsn) -> Result<(), LedgerError> {
    rows.order(at, order.id.lsn, OrderChange::Recalled { refunds_from })
}

impl Accounts {
    /// Reads the accounts that a chunk changes, as far as they are not held yet. A customer who is not there is one that the
    /// chunk makes.
    fn read(&mut self, rows: &mut impl Rows, chunk: &[Posting]) -> Result<(), LedgerError> {
        let is_held = |customer: &CustomerIx| self.held.contains_key(&customer.0);
        let touched = chunk.iter().filter_map(|posting| posting.event.effect().customer);
        let mut missing: Vec<CustomerIx> = touched.filter(|customer| !is_held(customer)).collect();
        missing.sort_unstable_by_key(|customer| customer.0);
        missing.dedup();
        if missing.is_empty() {
            return Ok(());
        }
        let found = rows.accounts(&missing)?.into_iter();
        self.held.extend(found.map(|(customer, account)| (customer.0, Held { account, change: None })));
        Ok(())
    }

    fn account(&self, customer: CustomerIx) -> Option<&Account> {
        self.held.get(&customer.0).map(|held| &held.account)
    }

    /// Applies a fact to the account that it changes, and writes what it moves and the limits that it sets.
    fn apply(&mut self, rows: &mut impl Rows, event: &Event, at: At) -> Result<(), LedgerError> {
        let all = movements(event, &at.now, |customer| self.account(customer));
        let Some(customer) = event.effect().customer else { return write_movements(rows, at, &all) };
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
        write_movements(rows, at, &unpaid.tell_channels(all, Some(account)))?;
        let now = Graded::of(account);
        if graded == Some(now) { Ok(()) } else { rows.graded(at, customer, &now) }
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
    fn write(&mut self, rows: &mut impl Rows) -> Result<(), LedgerError> {
        let mut changed = std::mem::take(&mut self.changed);
        changed.sort_unstable();
        for customer in changed {
            let Some(held) = self.held.get_mut(&customer) else { continue };
            let Some(Started { before, is_new, is_profile_set, stories }) = held.change.take() else { continue };
            let (before, stories) = (before.as_deref(), &stories);
            let change = Change { before, now: &held.account, is_new, is_profile_set, stories };
            rows.write_account(CustomerIx(customer), &change)?;
        }
        if self.held.len() > KEPT {
            self.held.clear();
        }
        Ok(())
    }
}

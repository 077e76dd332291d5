//! The books: what the journal's facts come to, kept in a database for bills, history and the issuer's own
//! queries. The ledger is also the checkpoint: the engine starts from it and applies the journal after it.
//! It is written behind the decisions, never read on their way, and may be gone for an hour.
//!
//! What varies is where the books are kept, and that is behind two traits: [`Checkpoint`] is the one writer's handle,
//! [`Books`] answers questions about the past. [`writer`] follows the journal and posts it, in `write_loop`.
//!
//! What rows mean is said once, for every backend. `tables` names them and their columns; `posting` makes rows of a chunk of
//! facts (`fact_rows`, `orders`, `order_steps`, `account_rows`, with [`movements`] and the domain's own `Account::apply`) and writes them by
//! the trait of `transaction`. [`lists`] puts pages together of the rows that a backend fetches. Back from rows, by their `cells`, come accounts (`account_rows`), orders (`order_rows`), codes
//! (`codes`), answers (`answers`) and what a start takes in (`loading`). A backend reads and writes rows and decides nothing.
//! [`sqlite`] is the default one: `rows` writes, `load` (with `parallel`) rebuilds the engine's state, `books` answers
//! questions, `keys` those by an order's key. Another place is another folder beside it, and a line in
//! `cli/serve/backends.rs`.

pub(crate) mod account_rows;
pub(crate) mod answers;
pub mod audit;
pub(crate) mod cells;
mod channels;
pub(crate) mod codes;
#[cfg(test)]
mod contract_tests;
pub(crate) mod entries;
pub(crate) mod error;
pub(crate) mod fact_rows;
#[cfg(test)]
mod list_tests;
pub mod lists;
pub(crate) mod loading;
pub mod movements;
pub(crate) mod order_rows;
mod order_steps;
mod orders;
pub(crate) mod parallel;
pub(crate) mod pool;
pub mod postgres;
pub(crate) mod posting;
pub mod sqlite;
pub(crate) mod tables;
pub(crate) mod transaction;
pub(crate) mod whereabouts;
pub(crate) mod words;
pub(crate) mod write_loop;
pub mod writer;
#[cfg(test)]
mod writer_tests;

pub use audit::CustomerSums;
pub use entries::{
    Book, Entry, EntryKind, Far, Graded, InSuspense, Issued, Moved, OwedInCash, PaidOut, Purchase, RecordId, Stepped,
};
pub use error::LedgerError;

use lists::{CustomersOf, Listed, Page, PageOf};

use crate::domain::billing::account::Account;
use crate::domain::billing::stories::{Kept, Story};
use crate::domain::model::ids::{AuthorizationId, CustomerId, Lsn, MerchantId, OfficeId};
use crate::domain::model::merchant::Merchant;
use crate::domain::model::order::Order;
use crate::domain::model::request::OrderKey;
use crate::domain::model::time::Millis;
use crate::domain::state::State;
use crate::domain::state::event::Event;
use crate::domain::state::receipts::{Known, Receipt, ReceiptKind};

/// Connections that answer questions about the past, at most: with more they would wait for the disk instead.
pub const BOOKS_CONNECTIONS: usize = 4;

/// A fact with its place and time in the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posting {
    pub lsn: Lsn,
    pub time: Millis,
    pub event: Event,
}

/// The ledger as the state at its position.
pub trait Snapshot {
    /// Makes a fresh state what it was at the position. What is past its time is judged by the last posted
    /// record, not by the present: the records after it were made by an engine that remembered as much.
    fn load(&self, state: &mut State) -> Result<(), LedgerError>;
}

/// The one writer's handle: what a start and the write-behind worker need. Calls wait for the database; they belong on a
/// thread of their own.
pub trait Checkpoint: Snapshot + Send {
    /// Last record posted.
    fn position(&mut self) -> Result<Lsn, LedgerError>;

    /// Posts the records after the position and moves it, all in one transaction: every record is posted
    /// exactly once. Records up to the position are skipped; one that does not follow on is refused.
    fn post(&mut self, postings: &[Posting]) -> Result<(), LedgerError>;

    /// Makes what is posted durable, as far as it is not yet, and says up to where that is: no power cut takes that
    /// back. `None` when not all of it could be made durable just now; nothing is lost by it.
    fn secure(&mut self) -> Result<Option<Lsn>, LedgerError>;

    /// A small step of what can be put off while there is something to post; whether more is left to do.
    fn maintain(&mut self) -> Result<bool, LedgerError> {
        Ok(false)
    }
}

/// Questions about the past, from any thread that may block; they never wait for the writer, nor the writer for them.
/// Several are answered at once, on at most [`BOOKS_CONNECTIONS`].
pub trait Books: Snapshot + Send + Sync {
    /// The last record that the answers know of.
    fn as_of(&self) -> Result<Lsn, LedgerError>;

    /// An order of any age, as [`Event::Recalled`] takes it.
    fn past_order(&self, id: AuthorizationId) -> Result<Option<Order>, LedgerError>;

    /// The latest decision with this key. Tombstones are none: past the retention they bind nobody.
    fn past_order_by_key(&self, key: &OrderKey) -> Result<Option<Order>, LedgerError>;

    /// The names of orders by their record, those that there are.
    fn names(&self, orders: &[Lsn]) -> Result<Vec<AuthorizationId>, LedgerError>;

    /// The facts that answer for ids of the office or are about them, of any age and of all customers.
    fn known(&self, ids: &[OfficeId]) -> Result<Known, LedgerError>;

    /// A customer's movements recorded from `from` to before `to`, oldest first.
    fn entries(&self, customer: &CustomerId, from: Millis, to: Millis) -> Result<Vec<Entry>, LedgerError>;

    /// What records are called, those that have an id of the office or of a refund.
    fn record_ids(&self, records: &[Lsn]) -> Result<Vec<(Lsn, RecordId)>, LedgerError>;

    /// A customer's facts of some kinds, oldest first.
    fn receipts(&self, customer: &CustomerId, kinds: &[ReceiptKind]) -> Result<Vec<Receipt>, LedgerError>;

    /// The bills issued to a customer, oldest first.
    fn issued(&self, customer: &CustomerId) -> Result<Vec<Issued>, LedgerError>;

    /// A customer's steps on the ladder, oldest first.
    fn ladder_steps(&self, customer: &CustomerId) -> Result<Vec<Stepped>, LedgerError>;

    /// What a customer's limits came from, each from its moment on, oldest first.
    fn graded(&self, customer: &CustomerId) -> Result<Vec<(Millis, Graded)>, LedgerError>;

    /// The texts of the policies that were in force from one moment to before another, oldest first, each with when it was set.
    fn policies(&self, from: Millis, to: Millis) -> Result<Vec<(Millis, String)>, LedgerError>;

    /// The customers to whom money is owed in cash, by their ids, from behind one on; at most so many.
    fn payouts_due(&self, after: Option<&CustomerId>, most: usize) -> Result<Vec<OwedInCash>, LedgerError>;

    /// Payouts that were made, by their records, from behind one on; at most so many.
    fn payouts_made(&self, after: Lsn, most: usize) -> Result<Vec<PaidOut>, LedgerError>;

    /// The stories of a customer that memory has let go of, and with them those that the account still lists: all at one
    /// moment.
    fn kept(&self, customer: &CustomerId) -> Result<Kept, LedgerError>;
    /// Sales in suspense that are not settled, by their records, from behind one on; at most so many.
    fn suspense(&self, after: Lsn, most: usize) -> Result<Vec<InSuspense>, LedgerError>;

    /// One of them.
    fn suspense_of(&self, order: AuthorizationId) -> Result<Option<InSuspense>, LedgerError>;

    /// A page of a list, of the rows that are to be kept; see [`lists`].
    fn list(&self, of: &PageOf, keep: &dyn Fn(&Listed) -> bool) -> Result<Page<Listed, Lsn>, LedgerError>;

    /// A page of customers by their ids, of those that are to be kept.
    fn customers(
        &self,
        of: &CustomersOf,
        keep: &dyn Fn(&Account) -> bool,
    ) -> Result<Page<Account, CustomerId>, LedgerError>;

    /// A page of merchants by their ids, from behind one on.
    fn merchants(&self, after: Option<&MerchantId>, limit: usize) -> Result<Page<Merchant, MerchantId>, LedgerError>;

    /// One of them.
    fn merchant(&self, id: &MerchantId) -> Result<Option<Merchant>, LedgerError>;

    /// Decisions posted up to a record, for `verify`.
    fn count_decisions(&self, upto: Lsn) -> Result<u64, LedgerError>;

    /// What all rows up to a record come to, for `verify`: by the account and the far side.
    fn totals(&self, upto: Lsn) -> Result<Vec<(Book, Book, i64)>, LedgerError>;

    /// What the rows of each customer up to a record come to, for `verify`; every customer is told of.
    fn sums(&self, upto: Lsn, each: &mut dyn FnMut(CustomerSums)) -> Result<(), LedgerError>;

    /// The records up to one that leave something between two accounts of a customer, for `verify`.
    fn unclear(&self, upto: Lsn) -> Result<Vec<Lsn>, LedgerError>;

    /// All that bills and history are made of.
    fn past_of(&self, customer: &CustomerId) -> Result<CustomerPast, LedgerError> {
        let entries = self.entries(customer, Millis(0), Millis(i64::MAX))?;
        let captured = |entry: &&Entry| matches!(entry.kind, EntryKind::Purchase | EntryKind::Capture);
        let ids = entries.iter().filter(captured).filter_map(|entry| Some(entry.purchase?.authorization));
        let orders = ids.map(|id| self.past_order(id)).filter_map(Result::transpose).collect::<Result<_, _>>()?;
        let kinds = [ReceiptKind::Repayment, ReceiptKind::Ending, ReceiptKind::Reversal, ReceiptKind::Waiver];
        let receipts = self.receipts(customer, &kinds)?;
        let (issued, stories) = (self.issued(customer)?, self.kept(customer)?.stories);
        Ok(CustomerPast { entries, orders, receipts, issued, stories })
    }
}

/// What the ledger knows of a customer.
#[derive(Default)]
pub struct CustomerPast {
    pub entries: Vec<Entry>,
    /// The captured purchases among them, as they are now.
    pub orders: Vec<Order>,
    /// Repayments, provisional payments that became final, those that were taken back, and waivers of fees.
    pub receipts: Vec<Receipt>,
    pub issued: Vec<Issued>,
    /// With those that memory has let go of.
    pub stories: Vec<Story>,
}

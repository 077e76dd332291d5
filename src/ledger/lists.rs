//! Lists of what was decided, captured and refunded, and of customers and merchants: page by page, each at one position of
//! the ledger, and each within a bound of rows that are looked at. A page that stops there says where to go on.
//!
//! What is listed stands in the order of its records, the newest first. A record never moves, so a page that goes on before
//! one gives every later row once, whatever is sold meanwhile. A backend fetches rows before a record; which of them are
//! kept, and where a page ends, is said here for all.

use super::LedgerError;
use super::cells::Cells;
use super::order_rows::{ORDER_COLUMNS, ORDER_WIDTH, ReadOrder, refund_made};
use crate::domain::billing::account::Account;
use crate::domain::model::customer::{Identity, Status};
use crate::domain::model::ids::{ApprovalCode, CustomerId, CustomerIx, Lsn, MerchantId, RefundId, StoreId, TerminalId};
use crate::domain::model::merchant::Merchant;
use crate::domain::model::money::Yen;
use crate::domain::model::order::{Order, RefundMade};
use crate::domain::model::time::Millis;

/// Rows of a page that are looked at, kept or not.
const ROWS: usize = 1_000;
/// Fetches of a page: each may also end at a bound of the backend's own, with no row at all.
const FETCHES: usize = 16;
/// Rows of each fetch after the first.
const CHUNK: usize = 250;
/// Customers of a page that are looked at by what their row says.
pub(crate) const CUSTOMERS: usize = 5_000;
/// Customers of a page that are read whole, so many at once.
const ACCOUNTS: usize = 500;
const ACCOUNTS_AT_ONCE: usize = 50;

/// Whose rows are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    Merchant(MerchantId),
    Customer(CustomerId),
}

/// What is listed. Tombstones never are: nothing was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    Decisions(Whose),
    /// What was captured at once, and holds that were captured later, each by the record of its capture. A sale in suspense was
    /// captured for its shop when it was sold (unless it was a hold), and for its customer when the office charged it.
    Captures(Whose),
    Refunds(Whose),
    /// Approvals with this code on their receipt.
    Approved(ApprovalCode),
    /// Refunds of a merchant under this id, which is unique within its sale only.
    RefundsNamed(MerchantId, RefundId),
}

/// A page that is asked for.
#[derive(Clone, Copy, Debug)]
pub struct PageOf {
    pub list: List,
    /// Of what was recorded from here to before there.
    pub from: Millis,
    pub to: Millis,
    /// Where the page before ended.
    pub before: Option<Lsn>,
    pub limit: usize,
}

/// Up to which record of which journal an answer knows all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    pub stream: i16,
    pub lsn: Lsn,
}

/// Some rows of a list; `C` says where to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T, C> {
    pub rows: Vec<T>,
    /// None where the list ends.
    pub next: Option<C>,
    pub position: Position,
}

/// One row of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The record of the decision, the capture or the refund; its time and its amount.
    pub lsn: Lsn,
    pub at: Millis,
    pub amount: Yen,
    /// As it is by the position, without its refunds.
    pub order: Order,
    pub store: Option<StoreId>,
    pub terminal: Option<TerminalId>,
    pub customer: Option<CustomerId>,
    /// Of a list of refunds.
    pub refund: Option<RefundMade>,
}

/// Rows that a backend fetched, the newest first, and before which record it goes on: none where nothing older is left.
#[derive(Default)]
pub(crate) struct Chunk {
    pub rows: Vec<Listed>,
    pub next: Option<Lsn>,
}

impl Chunk {
    /// What a query of at most so many rows gave.
    pub fn of(rows: Vec<Listed>, most: usize) -> Self {
        let next = rows.last().filter(|_| rows.len() >= most).map(|row| row.lsn);
        Self { rows, next }
    }

    /// Of two fetches before the same record: as far as both have looked.
    pub fn and(mut self, other: Self) -> Self {
        let next = self.next.max(other.next);
        self.rows.extend(other.rows);
        self.rows.retain(|row| next.is_none_or(|next| row.lsn >= next));
        self.rows.sort_unstable_by_key(|row| std::cmp::Reverse(row.lsn));
        Self { rows: self.rows, next }
    }
}

/// The records that a page may be of: from the first on, to before the last.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Range {
    pub first: Lsn,
    pub end: Lsn,
}

/// Puts a page together. `fetch` gives rows of a range, at most so many.
pub(crate) fn page(
    of: &PageOf,
    position: Position,
    range: Range,
    keep: &dyn Fn(&Listed) -> bool,
    mut fetch: impl FnMut(Range, usize) -> Result<Chunk, LedgerError>,
) -> Result<Page<Listed, Lsn>, LedgerError> {
    let mut end = of.before.map_or(range.end, |before| before.min(range.end));
    let (mut rows, mut looked_at, mut most) = (Vec::new(), 0, of.limit + 1);
    for _ in 0..FETCHES {
        let chunk = fetch(Range { end, ..range }, most)?;
        looked_at += chunk.rows.len();
        for row in chunk.rows {
            let is_listed = row.at >= of.from && row.at < of.to && keep(&row);
            if is_listed && rows.len() == of.limit {
                return Ok(Page { rows, next: Some(end), position });
            }
            end = row.lsn;
            if is_listed {
                rows.push(row);
            }
        }
        let Some(next) = chunk.next.filter(|next| *next > range.first) else {
            return Ok(Page { rows, next: None, position });
        };
        (end, most) = (next, CHUNK);
        if looked_at >= ROWS {
            break;
        }
    }
    Ok(Page { rows, next: Some(end), position })
}

/// The smallest number from which on every row's time is at or after `since`; `next` gives number and time of the first row from
/// a number on. Numbers and times rise together, so that no index on times is needed.
pub(crate) fn first_since(
    end: i64,
    since: Millis,
    mut next: impl FnMut(i64) -> Result<Option<(i64, i64)>, LedgerError>,
) -> Result<i64, LedgerError> {
    let (mut low, mut high) = (0, end);
    while low < high {
        let middle = low + (high - low) / 2;
        match next(middle)? {
            Some((number, time)) if time < since.0 => low = number + 1,
            _ => high = middle,
        }
    }
    Ok(low)
}

/// The records of a page's time, as far as the times of decisions tell.
pub(crate) fn range(
    of: &PageOf,
    position: Lsn,
    mut next: impl FnMut(i64) -> Result<Option<(i64, i64)>, LedgerError>,
) -> Result<Range, LedgerError> {
    let end = position.next().0.cast_signed();
    let first = if of.from > Millis(0) { first_since(end, of.from, &mut next)? } else { 0 };
    let last = if of.to < Millis(i64::MAX) {
        let after = first_since(end, of.to, &mut next)?;
        next(after)?.map_or(end, |(number, _)| number)
    } else {
        end
    };
    Ok(Range { first: Lsn(first.cast_unsigned()), end: Lsn(last.cast_unsigned()) })
}

/// What stands behind [`ORDER_COLUMNS`] in each query of a list; `a` is the customer.
const OF_ORDER: &str = "d.store_id, a.customer_id";

/// The columns of a decision, which is its own record.
pub(crate) fn decision_columns() -> String {
    format!("{ORDER_COLUMNS}, {OF_ORDER}, d.lsn, d.decided_at, d.amount")
}

/// The columns of a step `s`, with those of its refund `r`.
pub(crate) fn step_columns() -> String {
    format!(
        "{ORDER_COLUMNS}, {OF_ORDER}, s.lsn, s.recorded_at, s.amount, r.lsn, r.refund_id, r.amount, r.destination,
        r.left_after, r.applied, r.restored, r.paid_at, r.order_lsn"
    )
}

pub(crate) fn decision(cells: &dyn Cells) -> Result<Listed, LedgerError> {
    Ok(Listed {
        order: ReadOrder::read(cells)?.whole(Vec::new()),
        terminal: cells.opt_text(31, |text| TerminalId::new(text).ok())?,
        store: cells.opt_text(ORDER_WIDTH, |text| StoreId::new(text).ok())?,
        customer: cells.opt_text(ORDER_WIDTH + 1, |text| CustomerId::new(text).ok())?,
        lsn: cells.lsn(ORDER_WIDTH + 2)?,
        at: cells.millis(ORDER_WIDTH + 3)?,
        amount: cells.yen(ORDER_WIDTH + 4)?,
        refund: None,
    })
}

pub(crate) fn step(cells: &dyn Cells) -> Result<Listed, LedgerError> {
    let of_refund = Behind { cells, columns: ORDER_WIDTH + 5 };
    let refund = match of_refund.opt(0)? {
        Some(_) => Some(refund_made(&of_refund)?.1),
        None => None,
    };
    Ok(Listed { refund, ..decision(cells)? })
}

/// The cells behind some columns.
struct Behind<'c> {
    cells: &'c dyn Cells,
    columns: usize,
}

impl Cells for Behind<'_> {
    fn opt(&self, column: usize) -> Result<Option<i64>, LedgerError> {
        self.cells.opt(self.columns + column)
    }

    fn opt_str(&self, column: usize) -> Result<Option<&str>, LedgerError> {
        self.cells.opt_str(self.columns + column)
    }

    fn opt_bytes(&self, column: usize) -> Result<Option<&[u8]>, LedgerError> {
        self.cells.opt_bytes(self.columns + column)
    }

    fn name(&self, column: usize) -> &str {
        self.cells.name(self.columns + column)
    }
}

/// Customers that are asked for, by their ids.
#[derive(Clone, Debug, Default)]
pub struct CustomersOf {
    /// What their ids begin with.
    pub prefix: String,
    pub after: Option<CustomerId>,
    pub status: Option<Status>,
    pub identity: Option<Identity>,
    /// Only those with open bills.
    pub owing: bool,
    pub limit: usize,
}

impl CustomersOf {
    /// Below the first and before the second id: letters, digits, `-` and `_` are all before `~`.
    pub(crate) fn ids(&self) -> (&str, String) {
        (&self.prefix, format!("{}~", self.prefix))
    }

    /// How many rows are looked at: where all are asked for, one more than are told.
    pub(crate) fn looked_at(&self) -> usize {
        let all = self.status.is_none() && self.identity.is_none() && !self.owing;
        if all { self.limit + 1 } else { CUSTOMERS }
    }

    pub(crate) fn after(&self) -> &str {
        self.after.as_ref().map_or("", CustomerId::as_str)
    }
}

/// What a customer's own row says.
pub(crate) struct Brief {
    ix: CustomerIx,
    id: CustomerId,
    status: Status,
    identity: Identity,
    /// Whether anything of theirs can be unpaid.
    owes: bool,
}

/// Of [`Brief::read`].
pub(crate) const BRIEF: &str = "customer, customer_id, status, identity, month, beside";

impl Brief {
    pub fn read(cells: &dyn Cells) -> Result<Self, LedgerError> {
        Ok(Self {
            ix: cells.customer(0)?,
            id: cells.text(1, |text| CustomerId::new(text).ok())?,
            status: cells.one_of(2, &Status::ALL, |status| status as u8)?,
            identity: cells.one_of(3, &Identity::ALL, |identity| identity as u8)?,
            owes: cells.opt(4)?.is_some() || cells.int(5)? != 0,
        })
    }

    fn is_asked_for(&self, of: &CustomersOf) -> bool {
        of.status.is_none_or(|status| status == self.status)
            && of.identity.is_none_or(|identity| identity == self.identity)
            && (!of.owing || self.owes)
    }
}

/// Puts a page of customers together: `briefs` are the first [`CUSTOMERS`] that are there; `load` reads some of them whole.
pub(crate) fn customer_page(
    of: &CustomersOf,
    position: Position,
    briefs: &[Brief],
    keep: &dyn Fn(&Account) -> bool,
    mut load: impl FnMut(&[CustomerIx]) -> Result<Vec<(CustomerIx, Account)>, LedgerError>,
) -> Result<Page<Account, CustomerId>, LedgerError> {
    let asked: Vec<&Brief> = briefs.iter().filter(|brief| brief.is_asked_for(of)).collect();
    let (mut rows, mut looked_at): (Vec<Account>, Option<CustomerId>) = (Vec::new(), None);
    for some in asked.chunks(ACCOUNTS_AT_ONCE).take(ACCOUNTS / ACCOUNTS_AT_ONCE) {
        let numbers: Vec<CustomerIx> = some.iter().map(|brief| brief.ix).collect();
        let mut loaded = load(&numbers)?;
        // As texts, as the tables compare them; ids among themselves compare otherwise.
        loaded.sort_unstable_by(|(_, one), (_, other)| one.id.as_str().cmp(other.id.as_str()));
        for (_, account) in loaded {
            let is_listed = keep(&account);
            if is_listed && rows.len() == of.limit {
                return Ok(Page { rows, next: looked_at, position });
            }
            looked_at = Some(account.id);
            if is_listed {
                rows.push(account);
            }
        }
    }
    let next = if asked.len() > ACCOUNTS {
        looked_at
    } else {
        briefs.last().filter(|_| briefs.len() >= CUSTOMERS).map(|brief| brief.id)
    };
    Ok(Page { rows, next, position })
}

/// Of one more than were asked for.
pub(crate) fn merchant_page(mut rows: Vec<Merchant>, limit: usize, position: Position) -> Page<Merchant, MerchantId> {
    let more = rows.len() > limit;
    rows.truncate(limit);
    Page { next: rows.last().filter(|_| more).map(|merchant| merchant.id), rows, position }
}

/// How many rows are asked for.
pub(crate) fn rows(most: usize) -> i64 {
    i64::try_from(most).unwrap_or(i64::MAX)
}

//! Answers from the books: past orders and a customer's movements. Also how rows become domain values.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Params, Row, params};

use super::position;
use super::rows::order_state;
use crate::domain::model::advice::Booked;
use crate::domain::model::denial::Reason;
use crate::domain::model::ids::{
    AuthorizationId, CustomerId, CustomerIx, Handle, Lsn, MerchantId, OfficeId, OrderId, RefundId, TerminalId,
    TerminalKey,
};
use crate::domain::model::money::Yen;
use crate::domain::model::order::{CaptureTerms, Destination, FirstSale, Order, OrderState, RefundMade, Refunds};
use crate::domain::model::payment::PaymentMethod;
use crate::domain::model::purchase::Channel;
use crate::domain::model::request::OrderKey;
use crate::domain::model::time::{Date, Millis, Month};
use crate::domain::state::receipts::{Known, Receipt, ReceiptKind};
use crate::journal::codec;
use crate::ledger::{Book, Entry, EntryKind, Issued, LedgerError, Purchase};

/// The columns that [`order`] reads; `f` is the earlier sale that a denial points to.
const ORDER: &str = "SELECT d.lsn, d.authorization_id, d.merchant_id, d.order_id, d.customer, d.channel, d.handle,
    d.amount, d.fingerprint, d.decided_at, d.state, d.reason, d.hold_expires_at, d.captured, d.refunded, d.month, d.due,
    d.points, d.room, d.touched, d.touched_at, d.recalled,
    f.authorization_id, f.order_id, f.decided_at, f.amount,
    d.capture_at, d.capture_month, d.capture_due, d.capture_points, d.advice,
    d.terminal_id FROM decision d LEFT JOIN decision f ON f.lsn = d.first_lsn";

const ENTRIES: &str = "SELECT e.lsn, e.kind, e.account, e.amount, e.month, e.recorded_at,
    d.authorization_id, d.merchant_id, e.channel
    FROM entry e LEFT JOIN decision d ON d.lsn = e.order_lsn
    WHERE e.block = ?1 AND e.customer = ?2 AND e.recorded_at >= ?3 AND e.recorded_at < ?4 ORDER BY e.lsn, e.kind";

/// For [`first_since`].
pub(crate) const DECIDED_FROM: &str = "SELECT lsn, decided_at FROM decision WHERE lsn >= ?1 ORDER BY lsn LIMIT 1";

/// Cells of one row, checked on the way out: what can't have been written is a damaged ledger.
pub(crate) struct Cells<'r>(pub &'r Row<'r>);

fn damaged(column: usize, row: &Row<'_>) -> LedgerError {
    let name = row.as_ref().column_name(column).unwrap_or("a column");
    LedgerError::Corrupt(format!("{name} holds a value that was never written"))
}

impl Cells<'_> {
    pub fn opt(&self, column: usize) -> Result<Option<i64>, LedgerError> {
        Ok(self.0.get(column)?)
    }

    pub fn int(&self, column: usize) -> Result<i64, LedgerError> {
        Ok(self.0.get(column)?)
    }

    /// A number within its type.
    pub fn num<T: TryFrom<i64>>(&self, column: usize) -> Result<T, LedgerError> {
        T::try_from(self.int(column)?).map_err(|_| damaged(column, self.0))
    }

    pub fn opt_num<T: TryFrom<i64>>(&self, column: usize) -> Result<Option<T>, LedgerError> {
        let number = self.opt(column)?.map(T::try_from).transpose();
        number.map_err(|_| damaged(column, self.0))
    }

    pub fn bits(&self, column: usize) -> Result<u64, LedgerError> {
        Ok(self.int(column)?.cast_unsigned())
    }

    pub fn lsn(&self, column: usize) -> Result<Lsn, LedgerError> {
        self.bits(column).map(Lsn)
    }

    pub fn millis(&self, column: usize) -> Result<Millis, LedgerError> {
        self.int(column).map(Millis)
    }

    pub fn yen(&self, column: usize) -> Result<Yen, LedgerError> {
        self.bits(column).map(Yen::new)
    }

    pub fn opt_yen(&self, column: usize) -> Result<Option<Yen>, LedgerError> {
        Ok(self.opt(column)?.map(|yen| Yen::new(yen.cast_unsigned())))
    }

    pub fn customer(&self, column: usize) -> Result<CustomerIx, LedgerError> {
        self.num(column).map(CustomerIx)
    }

    /// A number that stands for something else.
    pub fn made<N: TryFrom<i64>, T>(&self, column: usize, make: impl Fn(N) -> Option<T>) -> Result<T, LedgerError> {
        make(self.num(column)?).ok_or_else(|| damaged(column, self.0))
    }

    pub fn opt_made<N: TryFrom<i64>, T>(
        &self,
        column: usize,
        make: impl Fn(N) -> Option<T>,
    ) -> Result<Option<T>, LedgerError> {
        self.opt(column)?.map(|_| self.made(column, make)).transpose()
    }

    /// One of a few, by its number.
    pub fn one_of<T: Copy>(&self, column: usize, all: &[T], number: impl Fn(T) -> u8) -> Result<T, LedgerError> {
        self.made(column, |n: u8| all.iter().copied().find(|one| number(*one) == n))
    }

    pub fn month(&self, column: usize) -> Result<Month, LedgerError> {
        self.made(column, Month::from_number)
    }

    pub fn date(&self, column: usize) -> Result<Date, LedgerError> {
        self.made(column, Date::from_number)
    }

    pub fn channel(&self, column: usize) -> Result<Channel, LedgerError> {
        self.one_of(column, &Channel::ALL, |channel| channel as u8)
    }

    pub fn blob<T, E>(&self, column: usize, parse: impl Fn(&[u8]) -> Result<T, E>) -> Result<T, LedgerError> {
        let cell = self.0.get_ref(column)?;
        cell.as_blob().ok().and_then(|bytes| parse(bytes).ok()).ok_or_else(|| damaged(column, self.0))
    }

    pub fn opt_text<T>(&self, column: usize, parse: impl Fn(&str) -> Option<T>) -> Result<Option<T>, LedgerError> {
        let cell = self.0.get_ref(column)?;
        if cell.data_type() == rusqlite::types::Type::Null { Ok(None) } else { self.text(column, parse).map(Some) }
    }

    pub fn text<T>(&self, column: usize, parse: impl Fn(&str) -> Option<T>) -> Result<T, LedgerError> {
        let cell = self.0.get_ref(column)?;
        cell.as_str().ok().and_then(parse).ok_or_else(|| damaged(column, self.0))
    }
}

/// Every row that a query finds.
pub(crate) fn all<T>(
    db: &Connection,
    sql: &str,
    of: impl Params,
    read: impl Fn(&Cells<'_>) -> Result<T, LedgerError>,
) -> Result<Vec<T>, LedgerError> {
    db.prepare_cached(sql)?.query_and_then(of, |row| read(&Cells(row)))?.collect()
}

/// The first row that a query finds.
pub(crate) fn first<T>(
    db: &Connection,
    sql: &str,
    of: impl Params,
    read: impl Fn(&Cells<'_>) -> Result<T, LedgerError>,
) -> Result<Option<T>, LedgerError> {
    let mut query = db.prepare_cached(sql)?;
    query.query_and_then(of, |row| read(&Cells(row)))?.next().transpose()
}

/// An order of any age, with all its refunds.
pub(crate) fn order(db: &Connection, row: &Row<'_>) -> Result<Order, LedgerError> {
    read_order(db, row, |_| Lsn::ZERO).map(|(order, _)| order)
}

/// An order as memory has it, and whether it was ever recalled: of its refunds those that were made since.
pub(crate) fn remembered(db: &Connection, row: &Row<'_>) -> Result<(Order, bool), LedgerError> {
    let (order, recalled) = read_order(db, row, |recalled| recalled)?;
    // As the fact that recalled it.
    Ok((Order { terminal: order.terminal.filter(|_| !recalled), ..order }, recalled))
}

/// `since` gives the first record whose refunds are wanted, from the one that recalled the order; zero if none did.
fn read_order(db: &Connection, row: &Row<'_>, since: impl FnOnce(Lsn) -> Lsn) -> Result<(Order, bool), LedgerError> {
    let cells = Cells(row);
    let lsn = cells.lsn(0)?;
    let state = match cells.num::<u8>(10)? {
        order_state::TOMBSTONE => OrderState::Tombstone,
        order_state::DENIED => OrderState::Denied(cells.made(11, Reason::from_number)?),
        order_state::HELD => OrderState::Held { expires_at: cells.millis(12)? },
        order_state::CAPTURED => OrderState::Captured { amount: cells.yen(13)?, refunded: cells.yen(14)? },
        order_state::CANCELLED => OrderState::Cancelled,
        _ => return Err(damaged(10, row)),
    };
    let decided_at = cells.millis(9)?;
    let was_refunded = cells.int(14)? > 0;
    let recall = cells.lsn(21)?;
    let recalled = recall > Lsn::ZERO;
    let order = Order {
        id: cells.text(1, AuthorizationId::parse)?,
        key: OrderKey {
            merchant: cells.text(2, |text| MerchantId::new(text).ok())?,
            order_id: cells.text(3, |text| OrderId::new(text).ok())?,
        },
        customer: cells.opt_num(4)?.map(CustomerIx),
        channel: cells.channel(5)?,
        handle: cells.opt_made(6, Handle::new)?,
        amount: cells.yen(7)?,
        fingerprint: cells.bits(8)?,
        decided_at,
        state,
        month: cells.month(15)?,
        due: cells.date(16)?,
        points: cells.bits(17)?,
        room: cells.yen(18)?,
        first: first_sale(&cells)?,
        capture: capture(&cells, recalled)?.map(Box::new),
        refunds: if was_refunded { Some(Arc::new(refunds(db, lsn, since(recall))?)) } else { None },
        touched: cells.opt(19)?.map_or(lsn, |touched| Lsn(touched.cast_unsigned())),
        touched_at: Millis(cells.opt(20)?.unwrap_or(decided_at.0)),
        earlier: None,
        terminal: cells.opt_text(31, |text| TerminalKey::of(TerminalId::new(text).ok()?))?,
        advice: if recalled { None } else { cells.opt_made(30, Booked::from_number)? },
    };
    Ok((order, recalled))
}

fn first_sale(cells: &Cells<'_>) -> Result<Option<Box<FirstSale>>, LedgerError> {
    if cells.opt(24)?.is_none() {
        return Ok(None);
    }
    Ok(Some(Box::new(FirstSale {
        authorization: cells.text(22, AuthorizationId::parse)?,
        order_id: cells.text(23, |text| OrderId::new(text).ok())?,
        decided_at: cells.millis(24)?,
        amount: cells.yen(25)?,
    })))
}

fn capture(cells: &Cells<'_>, recalled: bool) -> Result<Option<CaptureTerms>, LedgerError> {
    if cells.opt(26)?.is_none() {
        return Ok(None);
    }
    let (month, due) = (cells.month(27)?, cells.date(28)?);
    let amount = if recalled { Yen::ZERO } else { cells.yen(13)? };
    Ok(Some(CaptureTerms { at: cells.millis(26)?, amount, month, due, points: cells.bits(29)? }))
}

/// Those recorded from `since` on, and how many came before.
fn refunds(db: &Connection, order: Lsn, since: Lsn) -> Result<Refunds, LedgerError> {
    let before = "SELECT count(*) FROM refund WHERE order_lsn = ?1 AND lsn < ?2";
    let of = [order.0.cast_signed(), since.0.cast_signed()];
    let before: u16 = db.prepare_cached(before)?.query_row(of, |row| row.get(0))?;
    let sql = "SELECT refund_id, amount, destination, left_after, applied, restored, paid_at FROM refund
        WHERE order_lsn = ?1 AND lsn >= ?2 ORDER BY lsn";
    let made = all(db, sql, of, |cells| {
        Ok(RefundMade {
            id: cells.text(0, |text| RefundId::new(text).ok())?,
            amount: cells.yen(1)?,
            left: cells.yen(3)?,
            destination: cells.one_of(2, &Destination::ALL, |destination| destination as u8)?,
            applied: cells.blob(4, codec::applied_from_bytes)?,
            restored: cells.yen(5)?,
            paid_at: cells.opt(6)?.map(Millis),
        })
    })?;
    Ok(Refunds { before, made })
}

/// A query of orders.
pub(crate) fn orders_where(filter: &str) -> String {
    format!("{ORDER} WHERE {filter}")
}

pub(crate) fn past_order(db: &Connection, id: AuthorizationId) -> Result<Option<Order>, LedgerError> {
    let found = first(db, &orders_where("d.lsn = ?1"), [id.lsn.0.cast_signed()], |cells| order(db, cells.0))?;
    Ok(found.filter(|order| order.id == id && !order.is_tombstone()))
}

/// The smallest number from which on every row's time is at or after `since`. `next` gives number and time of the
/// first row from a number on; numbers and times rise together, so no index on times is needed.
pub(crate) fn first_since(db: &Connection, next: &str, end: i64, since: Millis) -> Result<i64, LedgerError> {
    let mut query = db.prepare_cached(next)?;
    let (mut low, mut high) = (0, end);
    while low < high {
        let middle = low + (high - low) / 2;
        let found: Option<(i64, i64)> = query.query_row([middle], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        match found {
            Some((number, time)) if time < since.0 => low = number + 1,
            _ => high = middle,
        }
    }
    Ok(low)
}

pub(crate) fn entries(
    db: &Connection,
    customer: &CustomerId,
    from: Millis,
    to: Millis,
) -> Result<Vec<Entry>, LedgerError> {
    let ix: Option<u32> = db
        .prepare_cached("SELECT customer FROM account WHERE customer_id = ?1")?
        .query_row([customer.as_str()], |row| row.get(0))
        .optional()?;
    let Some(ix) = ix else { return Ok(Vec::new()) };
    // Blocks of records from that of the last decision before `from` to that of the first one from `to` on.
    let end = position(db)?.next().0.cast_signed();
    let oldest = (first_since(db, DECIDED_FROM, end, from)? - 1).max(0) >> 16;
    let after = first_since(db, DECIDED_FROM, end, to)?;
    let after: Option<i64> = db.prepare_cached(DECIDED_FROM)?.query_row([after], |row| row.get(0)).optional()?;
    let latest = after.unwrap_or(end) >> 16;
    let mut found = Vec::new();
    for block in oldest..=latest {
        found.extend(all(db, ENTRIES, params![block, ix, from.0, to.0], entry)?);
    }
    Ok(found)
}

/// The position is read first: what is posted after it may be missing from the facts, and never the other way.
pub(crate) fn known(db: &Connection, ids: &[OfficeId]) -> Result<Known, LedgerError> {
    let mut found = Known { as_of: position(db)?, receipts: Vec::new() };
    let sql = "SELECT lsn, recorded_at, event FROM receipt WHERE id = ?1 ORDER BY lsn";
    for id in ids {
        found.receipts.extend(all(db, sql, [id.as_str()], receipt_of)?);
    }
    Ok(found)
}

pub(crate) fn names(db: &Connection, orders: &[Lsn]) -> Result<Vec<AuthorizationId>, LedgerError> {
    let sql = "SELECT authorization_id FROM decision WHERE lsn = ?1";
    let name = |order: &Lsn| first(db, sql, [order.0.cast_signed()], |cells| cells.text(0, AuthorizationId::parse));
    orders.iter().filter_map(|order| name(order).transpose()).collect()
}

pub(crate) fn receipts(
    db: &Connection,
    customer: &CustomerId,
    kinds: &[ReceiptKind],
) -> Result<Vec<Receipt>, LedgerError> {
    let sql = "SELECT r.lsn, r.recorded_at, r.event FROM receipt r JOIN account a ON a.customer = r.customer
        WHERE a.customer_id = ?1 AND r.kind = ?2";
    let mut found = Vec::new();
    for kind in kinds {
        found.extend(all(db, sql, params![customer.as_str(), *kind as u8], receipt_of)?);
    }
    found.sort_by_key(|receipt| receipt.lsn);
    Ok(found)
}

pub(crate) fn issued(db: &Connection, customer: &CustomerId) -> Result<Vec<Issued>, LedgerError> {
    let sql = "SELECT b.month, b.method, b.due FROM bill b JOIN account a ON a.customer = b.customer
        WHERE a.customer_id = ?1 ORDER BY b.month";
    all(db, sql, [customer.as_str()], |cells| {
        let method = cells.one_of(1, &PaymentMethod::ALL, |method| method as u8)?;
        Ok(Issued { month: cells.month(0)?, method, due: cells.date(2)? })
    })
}

/// Of lsn, time and event.
pub(crate) fn receipt_of(cells: &Cells<'_>) -> Result<Receipt, LedgerError> {
    Ok(Receipt { lsn: cells.lsn(0)?, at: cells.millis(1)?, event: Box::new(cells.blob(2, codec::decode)?) })
}

/// Rows of decisions up to a record; tombstones are none.
pub(crate) fn count_decisions(db: &Connection, upto: Lsn) -> Result<u64, LedgerError> {
    let count = "SELECT count(*) FROM decision WHERE state <> 1 AND lsn <= ?1";
    let rows: i64 = db.query_row(count, [upto.0.cast_signed()], |row| row.get(0))?;
    Ok(rows.unsigned_abs())
}

pub(crate) fn exposure_sums(db: &Connection, upto: Lsn) -> Result<Vec<(CustomerId, i64)>, LedgerError> {
    let sums = "SELECT a.customer_id, sum(e.amount) FROM entry e JOIN account a ON a.customer = e.customer
        WHERE e.account = ?1 AND e.lsn <= ?2 GROUP BY e.customer";
    let of = params![Book::Exposure as u8, upto.0.cast_signed()];
    all(db, sums, of, |cells| Ok((cells.text(0, |text| CustomerId::new(text).ok())?, cells.int(1)?)))
}

fn entry(cells: &Cells<'_>) -> Result<Entry, LedgerError> {
    let purchase = match cells.opt_text(6, AuthorizationId::parse)? {
        None => None,
        Some(authorization) => {
            let merchant = cells.text(7, |text| MerchantId::new(text).ok())?;
            Some(Purchase { authorization, merchant, channel: cells.channel(8)? })
        }
    };
    Ok(Entry {
        lsn: cells.lsn(0)?,
        kind: cells.one_of(1, EntryKind::ALL, |kind| kind as u8)?,
        account: cells.one_of(2, Book::ALL, |book| book as u8)?,
        amount: cells.int(3)?,
        month: cells.opt_made(4, Month::from_number)?,
        recorded_at: cells.millis(5)?,
        purchase,
    })
}

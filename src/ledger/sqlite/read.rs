//! How rows become domain values.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Params, Row};

use crate::domain::model::advice::Booked;
use crate::domain::model::denial::Reason;
use crate::domain::model::ids::{
    AuthorizationId, CustomerIx, Handle, Lsn, MerchantId, OrderId, RefundId, TerminalId, TerminalKey,
};
use crate::domain::model::money::Yen;
use crate::domain::model::order::{CaptureTerms, Destination, FirstSale, Order, OrderState, RefundMade, Refunds};
use crate::domain::model::purchase::Channel;
use crate::domain::model::request::OrderKey;
use crate::domain::model::time::{Date, Millis, Month};
use crate::domain::state::checkpoint::OrderLoad;
use crate::domain::state::receipts::Receipt;
use crate::journal::codec;
use crate::ledger::LedgerError;

/// `decision.state`.
pub(crate) mod order_state {
    pub const TOMBSTONE: u8 = 1;
    pub const DENIED: u8 = 2;
    pub const HELD: u8 = 3;
    pub const CAPTURED: u8 = 4;
    pub const CANCELLED: u8 = 5;
    pub const LOST: u8 = 6;
}

/// `movement.far`.
pub(crate) mod far_end {
    pub const RECEIVED: u8 = 1;
    pub const REFUND: u8 = 2;
    pub const MONTH: u8 = 3;
    pub const NP: u8 = 4;
    pub const CREDIT: u8 = 5;
    pub const PAYOUT_DUE: u8 = 6;
    pub const PAID_OUT: u8 = 7;
    pub const REVERSED: u8 = 8;
}

/// `movement.channel` of what is about none: fees of a month's bill, credit.
pub(crate) const NO_CHANNEL: u8 = 0;

/// The columns that [`order`] reads; `f` is the earlier sale that a denial points to.
const ORDER: &str =
    "SELECT d.lsn, d.authorization_id, d.merchant_id, d.order_id, coalesce(d.customer, d.charged), d.channel,
    d.handle,
    d.amount, d.fingerprint, d.decided_at, d.state, d.reason, d.hold_expires_at, d.captured, d.refunded, d.month, d.due,
    d.points, d.room, d.touched, d.touched_at, d.recalled,
    f.authorization_id, f.order_id, f.decided_at, f.amount,
    d.capture_at, d.capture_month, d.capture_due, d.capture_points, d.advice,
    d.terminal_id, d.charged FROM decision d LEFT JOIN decision f ON f.lsn = d.first_lsn";

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

/// An order as memory has it: of its refunds those that were made since it was last recalled.
pub(crate) fn remembered(db: &Connection, row: &Row<'_>) -> Result<OrderLoad, LedgerError> {
    let (order, recalled) = read_order(db, row, |recalled| recalled)?;
    // As the fact that recalled it.
    let order = Order { terminal: order.terminal.filter(|_| !recalled), ..order };
    Ok(OrderLoad { order, recalled, from_suspense: Cells(row).opt(32)?.is_some() })
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
        order_state::LOST => OrderState::Lost,
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
    let amount = if recalled || cells.opt(32)?.is_some() { Yen::ZERO } else { cells.yen(13)? };
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

/// Of lsn, time and event.
pub(crate) fn receipt_of(cells: &Cells<'_>) -> Result<Receipt, LedgerError> {
    Ok(Receipt { lsn: cells.lsn(0)?, at: cells.millis(1)?, event: Arc::new(cells.blob(2, codec::decode)?) })
}

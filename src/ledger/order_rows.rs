//! Orders in the tables: what was decided, what became of it, and how an order comes back from both.

use std::sync::Arc;

use super::LedgerError;
use super::cells::Cells;
use super::tables::{DECISION_NOW, Value, row};
use crate::domain::model::advice::Booked;
use crate::domain::model::denial::Reason;
use crate::domain::model::ids::{
    AuthorizationId, CustomerIx, Handle, Lsn, MerchantId, OrderId, RefundId, TerminalId, TerminalKey,
};
use crate::domain::model::money::Yen;
use crate::domain::model::order::{CaptureTerms, Destination, FirstSale, Order, OrderState, RefundMade, Refunds};
use crate::domain::model::request::OrderKey;
use crate::domain::model::time::{Date, Millis, Month};
use crate::domain::state::checkpoint::OrderLoad;
use crate::domain::state::event::Captured;
use crate::journal::codec;

/// `state` of an order.
pub(crate) mod order_state {
    pub const TOMBSTONE: u8 = 1;
    pub const DENIED: u8 = 2;
    pub const HELD: u8 = 3;
    pub const CAPTURED: u8 = 4;
    pub const CANCELLED: u8 = 5;
    pub const LOST: u8 = 6;
}

/// `kind` of what came later to an order.
pub(crate) mod order_step {
    pub const CAPTURE: u8 = 1;
    pub const REFUND: u8 = 2;
}

/// A number without a sign, bit for bit.
pub(crate) fn bits(number: u64) -> i64 {
    number.cast_signed()
}

pub(crate) fn yen(amount: Yen) -> i64 {
    bits(amount.get())
}

/// What an index on both texts would cost too much for; equal keys have equal hashes, and that is all it is for.
pub(crate) fn key_hash(key: &OrderKey) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(key.merchant.as_str().as_bytes()), key.order_id.as_str().as_bytes())
}

/// What became of an order, as its row says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OrderNow {
    pub state: u8,
    /// As first answered, as the next two are; not written again.
    pub month: Month,
    pub merchant: MerchantId,
    pub customer: Option<CustomerIx>,
    pub captured: Option<Yen>,
    pub refunded: Yen,
    /// Of a hold captured later; month, due and points stay as first answered.
    pub capture: Option<(Millis, Month, Date, u64)>,
    /// The last record that changed it, if one did.
    pub touched: Option<(Lsn, Millis)>,
    /// The first record whose refunds memory has, if it was recalled.
    pub recalled: Lsn,
    pub advice: Option<u8>,
    /// The customer whom the office charged for it.
    pub charged: Option<CustomerIx>,
}

/// The columns that [`OrderNow::read`] reads.
pub(crate) const NOW_COLUMNS: &str = "lsn, state, month, captured, refunded, capture_at, capture_month, capture_due,
    capture_points, touched, touched_at, recalled, advice, charged, merchant_id, customer";

impl OrderNow {
    /// As it is decided.
    pub fn decided(state: u8, month: Month, merchant: MerchantId) -> Self {
        Self {
            state,
            month,
            merchant,
            customer: None,
            captured: None,
            refunded: Yen::ZERO,
            capture: None,
            touched: None,
            recalled: Lsn::ZERO,
            advice: None,
            charged: None,
        }
    }

    pub fn read(cells: &dyn Cells) -> Result<(Lsn, Self), LedgerError> {
        let capture = match cells.opt(5)? {
            None => None,
            Some(at) => Some((Millis(at), cells.month(6)?, cells.date(7)?, cells.bits(8)?)),
        };
        let touched = match cells.opt(9)? {
            None => None,
            Some(_) => Some((cells.lsn(9)?, cells.millis(10)?)),
        };
        let now = Self {
            state: cells.num(1)?,
            month: cells.month(2)?,
            captured: cells.opt_yen(3)?,
            refunded: cells.yen(4)?,
            capture,
            touched,
            recalled: cells.lsn(11)?,
            advice: cells.opt_num(12)?,
            charged: cells.opt_num(13)?.map(CustomerIx),
            merchant: cells.text(14, |text| MerchantId::new(text).ok())?,
            customer: cells.opt_num(15)?.map(CustomerIx),
        };
        Ok((cells.lsn(0)?, now))
    }

    /// Of [`DECISION_NOW`].
    pub fn row(&self, order: Lsn) -> [Value<'static>; DECISION_NOW.columns.len()] {
        let (touched, touched_at) = self.touched.unzip();
        row![
            bits(order.0),
            self.state,
            self.captured.map(yen),
            yen(self.refunded),
            self.capture.map(|(at, ..)| at.0),
            self.capture.map(|(_, month, ..)| month.to_number()),
            self.capture.map(|(_, _, due, _)| due.to_number()),
            self.capture.map(|(_, _, _, points)| bits(points)),
            touched.map(|lsn| bits(lsn.0)),
            touched_at.map(|at| at.0),
            bits(self.recalled.0),
            self.advice,
            self.charged.map(|ix| ix.0),
        ]
    }

    pub fn capture(&mut self, at: Millis, captured: &Captured) {
        self.state = order_state::CAPTURED;
        self.captured = Some(captured.amount);
        self.refunded = Yen::ZERO;
        self.capture = Some((at, captured.month, captured.due, captured.points));
    }

    /// Gives back some of it; what could still be refunded then.
    pub fn refund(&mut self, amount: Yen) -> Result<Yen, LedgerError> {
        let refunded = self.refunded.get().checked_add(amount.get());
        let left = refunded.and_then(|refunded| self.captured?.get().checked_sub(refunded));
        let (Some(refunded), Some(left)) = (refunded, left) else {
            return Err(LedgerError::Corrupt("a fact refunds more than was captured".to_owned()));
        };
        self.refunded = Yen::new(refunded);
        Ok(Yen::new(left))
    }

    /// Whose it is now.
    pub fn payer(&self) -> Option<CustomerIx> {
        self.customer.or(self.charged)
    }

    /// The month whose statement it is on.
    pub fn billed_in(&self) -> Month {
        self.capture.map_or(self.month, |(_, month, ..)| month)
    }
}

/// The columns that [`ReadOrder::read`] reads; `d` is the order, `f` the earlier sale that a denial points to.
pub(crate) const ORDER_COLUMNS: &str =
    "d.lsn, d.authorization_id, d.merchant_id, d.order_id, coalesce(d.customer, d.charged), d.channel, d.handle,
    d.amount, d.fingerprint, d.decided_at, d.state, d.reason, d.hold_expires_at, d.captured, d.refunded, d.month, d.due,
    d.points, d.room, d.touched, d.touched_at, d.recalled,
    f.authorization_id, f.order_id, f.decided_at, f.amount,
    d.capture_at, d.capture_month, d.capture_due, d.capture_points, d.advice,
    d.terminal_id, d.charged";

/// How many columns that is.
pub(crate) const ORDER_WIDTH: usize = 33;

/// The columns that [`refund_made`] reads: the refunds of an order, oldest first.
pub(crate) const REFUND_COLUMNS: &str =
    "lsn, refund_id, amount, destination, left_after, applied, restored, paid_at, order_lsn";

/// An order as its row says it, its refunds still to be read.
pub(crate) struct ReadOrder {
    order: Order,
    /// The first record whose refunds memory has; zero if it was not recalled.
    recall: Lsn,
    pub was_refunded: bool,
    from_suspense: bool,
}

impl ReadOrder {
    pub fn read(cells: &dyn Cells) -> Result<Self, LedgerError> {
        let lsn = cells.lsn(0)?;
        let state = match cells.num::<u8>(10)? {
            order_state::TOMBSTONE => OrderState::Tombstone,
            order_state::DENIED => OrderState::Denied(cells.made(11, Reason::from_number)?),
            order_state::HELD => OrderState::Held { expires_at: cells.millis(12)? },
            order_state::CAPTURED => OrderState::Captured { amount: cells.yen(13)?, refunded: cells.yen(14)? },
            order_state::CANCELLED => OrderState::Cancelled,
            order_state::LOST => OrderState::Lost,
            _ => return Err(cells.damaged(10)),
        };
        let decided_at = cells.millis(9)?;
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
            first: first_sale(cells)?,
            capture: capture(cells, recalled)?.map(Box::new),
            refunds: None,
            touched: cells.opt(19)?.map_or(lsn, |touched| Lsn(touched.cast_unsigned())),
            touched_at: Millis(cells.opt(20)?.unwrap_or(decided_at.0)),
            earlier: None,
            terminal: cells.opt_text(31, |text| TerminalKey::of(TerminalId::new(text).ok()?))?,
            advice: if recalled { None } else { cells.opt_made(30, Booked::from_number)? },
        };
        let (was_refunded, from_suspense) = (cells.int(14)? > 0, cells.opt(32)?.is_some());
        Ok(Self { order, recall, was_refunded, from_suspense })
    }

    pub fn lsn(&self) -> Lsn {
        self.order.id.lsn
    }

    /// An order of any age, with all its refunds.
    pub fn whole(self, refunds: Vec<(Lsn, RefundMade)>) -> Order {
        let made = refunds.into_iter().map(|(_, made)| made).collect();
        let refunds = self.was_refunded.then(|| Arc::new(Refunds { before: 0, made }));
        Order { refunds, ..self.order }
    }

    /// An order as memory has it: of its refunds those that were made since it was last recalled.
    pub fn remembered(self, refunds: Vec<(Lsn, RefundMade)>) -> Result<OrderLoad, LedgerError> {
        let recalled = self.recall > Lsn::ZERO;
        let before = refunds.iter().filter(|(lsn, _)| *lsn < self.recall).count();
        let too_many = |_| LedgerError::Corrupt("an order has more refunds than there can be".to_owned());
        let before = u16::try_from(before).map_err(too_many)?;
        let made = refunds.into_iter().skip(before.into()).map(|(_, made)| made).collect();
        let refunds = self.was_refunded.then(|| Arc::new(Refunds { before, made }));
        // As the fact that recalled it.
        let terminal = self.order.terminal.filter(|_| !recalled);
        Ok(OrderLoad { order: Order { terminal, refunds, ..self.order }, recalled, from_suspense: self.from_suspense })
    }
}

fn first_sale(cells: &dyn Cells) -> Result<Option<Box<FirstSale>>, LedgerError> {
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

fn capture(cells: &dyn Cells, recalled: bool) -> Result<Option<CaptureTerms>, LedgerError> {
    if cells.opt(26)?.is_none() {
        return Ok(None);
    }
    let (month, due) = (cells.month(27)?, cells.date(28)?);
    let amount = if recalled || cells.opt(32)?.is_some() { Yen::ZERO } else { cells.yen(13)? };
    Ok(Some(CaptureTerms { at: cells.millis(26)?, amount, month, due, points: cells.bits(29)? }))
}

/// A refund with its record.
pub(crate) fn refund_made(cells: &dyn Cells) -> Result<(Lsn, RefundMade), LedgerError> {
    let made = RefundMade {
        id: cells.text(1, |text| RefundId::new(text).ok())?,
        amount: cells.yen(2)?,
        left: cells.yen(4)?,
        destination: cells.one_of(3, &Destination::ALL, |destination| destination as u8)?,
        applied: cells.blob(5, codec::applied_from_bytes)?,
        restored: cells.yen(6)?,
        paid_at: cells.opt(7)?.map(Millis),
    };
    Ok((cells.lsn(0)?, made))
}

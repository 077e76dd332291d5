//! Answers about the past, as the rows of a database say them: which columns, and what they mean.

use std::sync::Arc;

use super::LedgerError;
use super::cells::Cells;
use super::fact_rows::{NO_CHANNEL, far_end};
use crate::domain::billing::account::Debt;
use crate::domain::billing::settlement::{LadderStep, StepReason};
use crate::domain::billing::stories::Story;
use crate::domain::model::advice::Booked;
use crate::domain::model::customer::{Limits, Status};
use crate::domain::model::ids::{AuthorizationId, CustomerId, Lsn, MerchantId, OfficeId, OrderId, RefundId};
use crate::domain::model::merchant::{Merchant, MerchantLimits, MerchantStatus};
use crate::domain::model::payment::{BillKey, PaymentMethod};
use crate::domain::model::time::{Millis, Month};
use crate::domain::state::receipts::{Receipt, ReceiptKind};
use crate::journal::codec::{self, Dossier, story_from_bytes};
use crate::ledger::{
    Book, Entry, EntryKind, Far, Graded, InSuspense, Issued, Moved, OwedInCash, PaidOut, Purchase, RecordId, Stepped,
};

/// Of lsn, time and event.
pub(crate) fn receipt(cells: &dyn Cells) -> Result<Receipt, LedgerError> {
    Ok(Receipt { lsn: cells.lsn(0)?, at: cells.millis(1)?, event: Arc::new(cells.blob(2, codec::decode)?) })
}

/// Of kind and id; a refund has no kind.
pub(crate) fn record_id(cells: &dyn Cells) -> Result<RecordId, LedgerError> {
    if cells.opt(0)?.is_none() {
        return Ok(RecordId::Refund(cells.text(1, |text| RefundId::new(text).ok())?));
    }
    let kind = cells.one_of(0, &ReceiptKind::ALL, |kind| kind as u8)?;
    Ok(RecordId::Office(kind, cells.text(1, |text| OfficeId::new(text).ok())?))
}

/// Of month, method and due.
pub(crate) fn issued(cells: &dyn Cells) -> Result<Issued, LedgerError> {
    let method = cells.one_of(1, &PaymentMethod::ALL, |method| method as u8)?;
    Ok(Issued { month: cells.month(0)?, method, due: cells.date(2)? })
}

pub(crate) const STEPPED: &str = "s.recorded_at, s.from_rung, s.to_rung, s.why, s.policy";

pub(crate) fn stepped(cells: &dyn Cells) -> Result<Stepped, LedgerError> {
    let why = cells.one_of(3, &StepReason::ALL, |why| why as u8)?;
    let step = LadderStep { from: cells.num(1)?, to: cells.num(2)?, why, policy: cells.num(4)? };
    Ok(Stepped { at: cells.opt(0)?.map(Millis), step })
}

pub(crate) const GRADED: &str = "g.recorded_at, g.rung, g.limit_total, g.limit_in_store";

pub(crate) fn graded(cells: &dyn Cells) -> Result<(Millis, Graded), LedgerError> {
    let limits = cells.opt_yen(2)?.zip(cells.opt_yen(3)?);
    let limits = limits.map(|(total, in_store)| Limits { total, in_store });
    Ok((cells.millis(0)?, Graded { rung: cells.num(1)?, limits }))
}

/// Of time and text.
pub(crate) fn policy(cells: &dyn Cells) -> Result<(Millis, String), LedgerError> {
    Ok((cells.millis(0)?, cells.text(1, |text| Some(text.to_owned()))?))
}

/// Of customer, status and dossier.
pub(crate) fn owed_in_cash(cells: &dyn Cells) -> Result<OwedInCash, LedgerError> {
    let status = cells.one_of(1, &Status::ALL, |status| status as u8)?;
    let sums = cells.blob(2, Dossier::from_bytes)?.sums;
    Ok(OwedInCash { customer: cells.text(0, |text| CustomerId::new(text).ok())?, status, sums })
}

/// Of the payout's receipt, its customer and when it came back.
pub(crate) fn paid_out(cells: &dyn Cells) -> Result<PaidOut, LedgerError> {
    let customer = cells.text(3, |text| CustomerId::new(text).ok())?;
    Ok(PaidOut { customer, receipt: receipt(cells)?, bounced_at: cells.opt(4)?.map(Millis) })
}

/// `s` is the sale in suspense, `d` its decision, `a` the customer it names.
pub(crate) const IN_SUSPENSE: &str =
    "d.authorization_id, d.merchant_id, d.order_id, d.channel, s.amount, s.recorded_at, d.advice, a.customer_id";

pub(crate) fn in_suspense(cells: &dyn Cells) -> Result<InSuspense, LedgerError> {
    Ok(InSuspense {
        authorization: cells.text(0, AuthorizationId::parse)?,
        merchant: cells.text(1, |text| MerchantId::new(text).ok())?,
        order_id: cells.text(2, |text| OrderId::new(text).ok())?,
        channel: cells.channel(3)?,
        amount: cells.yen(4)?,
        at: cells.millis(5)?,
        why: cells.made(6, |number| Booked::from_number(number)?.suspense())?,
        customer: cells.opt_text(7, |text| CustomerId::new(text).ok())?,
    })
}

/// `e` is a row of the view `entry`, `d` the decision that it is about.
pub(crate) const ENTRY: &str = "e.lsn, e.kind, e.account, e.amount, e.month, e.recorded_at,
    d.authorization_id, d.merchant_id, e.channel, e.money, e.own_day, e.far, e.far_bill, e.counter_account, e.value_at,
    d.order_id";

pub(crate) fn entry(cells: &dyn Cells) -> Result<Entry, LedgerError> {
    let value_at = cells.opt(14)?.map(Millis);
    // A row from before the value was kept names a channel only where it names a purchase.
    let is_told =
        cells.num::<u8>(8)? != NO_CHANNEL && (value_at.is_some() || cells.opt_text(6, |_| Some(()))?.is_some());
    let channel = if is_told { Some(cells.channel(8)?) } else { None };
    let purchase = match cells.opt_text(6, AuthorizationId::parse)? {
        None => None,
        Some(authorization) => {
            let merchant = cells.text(7, |text| MerchantId::new(text).ok())?;
            let order_id = cells.text(15, |text| OrderId::new(text).ok())?;
            Some(Purchase { authorization, merchant, order_id, channel: cells.channel(8)? })
        }
    };
    Ok(Entry {
        lsn: cells.lsn(0)?,
        kind: cells.one_of(1, EntryKind::ALL, |kind| kind as u8)?,
        account: cells.one_of(2, Book::ALL, |book| book as u8)?,
        counter: cells.one_of(13, Book::ALL, |book| book as u8)?,
        amount: cells.int(3)?,
        month: cells.opt_made(4, Month::from_number)?,
        recorded_at: cells.millis(5)?,
        value_at,
        channel,
        purchase,
        moved: moved(cells)?,
    })
}

/// The money that makes an entry, and its other end.
fn moved(cells: &dyn Cells) -> Result<Option<Moved>, LedgerError> {
    if cells.opt(9)?.is_none() {
        return Ok(None);
    }
    let far = match cells.num(11)? {
        far_end::MONTH => Far::Bill(BillKey::Month(cells.month(12)?)),
        far_end::NP => Far::Bill(BillKey::Np(cells.lsn(12)?)),
        _ => cells.made(11, |end: u8| match end {
            far_end::RECEIVED => Some(Far::Received),
            far_end::REFUND => Some(Far::Refund),
            far_end::CREDIT => Some(Far::Credit),
            far_end::PAYOUT_DUE => Some(Far::PayoutDue),
            far_end::PAID_OUT => Some(Far::PaidOut),
            far_end::REVERSED => Some(Far::Reversed),
            _ => None,
        })?,
    };
    Ok(Some(Moved { money: cells.lsn(9)?, day: cells.millis(10)?, far }))
}

pub(crate) fn past_story(cells: &dyn Cells) -> Result<Story, LedgerError> {
    cells.blob(0, story_from_bytes)
}

/// The stories that an account still lists, some of which memory may have let go: nothing was recorded of that.
pub(crate) fn listed_stories(debt: &Debt) -> impl Iterator<Item = Story> {
    let outflows = debt.outflows.chunk_by(|one, other| one.fact == other.fact);
    let bills = debt.bills.iter().cloned().map(Story::Bill);
    bills.chain(outflows.map(|parts| Story::Outflow(parts.to_vec())))
}

pub(crate) const MERCHANT: &str = "merchant_id, name, mcc, status, per_payment, in_store";

pub(crate) fn merchant(cells: &dyn Cells) -> Result<Merchant, LedgerError> {
    Ok(Merchant {
        id: cells.text(0, |text| MerchantId::new(text).ok())?,
        name: cells.text(1, |text| Some(Box::from(text)))?,
        mcc: cells.num(2)?,
        status: cells.one_of(3, &[MerchantStatus::Active, MerchantStatus::Inactive], |status| status as u8)?,
        limits: MerchantLimits { per_payment: cells.opt_yen(4)?, in_store: cells.opt_yen(5)? },
    })
}

/// Of version, text, record and time.
pub(crate) fn policy_version(cells: &dyn Cells) -> Result<(u32, String, Lsn, Millis), LedgerError> {
    let text = cells.text(1, |text| Some(text.to_owned()))?;
    Ok((cells.num(0)?, text, cells.lsn(2)?, cells.millis(3)?))
}

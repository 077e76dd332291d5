//! What came later to an order, as a row of its own: a capture that is no decision, or a refund.

use super::order_rows::{OrderNow, bits, order_step, yen};
use super::tables::{ORDER_STEP, Value, row};
use super::transaction::At;
use crate::domain::model::ids::{CustomerIx, Lsn, MerchantId, RefundId};
use crate::domain::model::money::Yen;

/// A merchant is named where it is news to the shop.
pub(crate) struct Step<'a> {
    pub merchant: Option<MerchantId>,
    pub customer: Option<CustomerIx>,
    pub refund: Option<&'a RefundId>,
    pub amount: Yen,
}

impl Step<'_> {
    /// A capture that is none of its shop's.
    pub fn of(now: &OrderNow, amount: Yen) -> Self {
        Self { merchant: None, customer: now.payer(), refund: None, amount }
    }

    pub fn row(&self, at: At, order: Lsn) -> [Value<'_>; ORDER_STEP.columns.len()] {
        let kind = if self.refund.is_some() { order_step::REFUND } else { order_step::CAPTURE };
        row![
            bits(at.lsn.0),
            kind,
            bits(order.0),
            self.merchant.as_ref().map(MerchantId::as_str),
            self.customer.map(|ix| ix.0),
            self.refund.map(RefundId::as_str),
            yen(self.amount),
            at.now.at.0,
        ]
    }
}

//! A decision in the words of the contract.

use serde::{Serialize, Serializer};

use crate::domain::model::bilingual::Bilingual;
use crate::domain::model::denial::{Reason, Retry};
use crate::domain::model::ids::{AuthorizationId, MerchantId, OrderId};
use crate::domain::model::money::Yen;
use crate::domain::model::order::{CaptureTerms, FirstSale, Order, OrderState, OrderStatus, Told};
use crate::domain::model::time::{Date, Millis, Month};
use crate::domain::model::wording;

struct ApprovalCode([u8; 6]);

impl Serialize for ApprovalCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(std::str::from_utf8(&self.0).unwrap_or_default())
    }
}

#[derive(Serialize)]
struct Bill {
    month: Month,
    due: Date,
}

/// What became of the money, for those who look an order up.
#[derive(Serialize)]
struct Movements {
    merchant_id: MerchantId,
    captured_amount: Yen,
    refunded_amount: Yen,
}

#[derive(Serialize)]
pub(crate) struct Decision {
    authorization_id: AuthorizationId,
    order_id: OrderId,
    decision: &'static str,
    status: OrderStatus,
    amount: Yen,
    approval_code: Option<ApprovalCode>,
    decided_at: Millis,
    statement: Option<Bill>,
    points: u64,
    response_code: &'static str,
    reason: Option<Reason>,
    retry: Retry,
    clerk: Bilingual,
    /// Of a denial for another sale: null where the caller may not know of that one.
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<Option<FirstSale>>,
    #[serde(flatten)]
    movements: Option<Movements>,
    replayed: bool,
}

impl Decision {
    /// The answer to an authorization.
    pub(crate) fn answered(order: &Told, replayed: bool, now: Millis) -> Self {
        let &Told { decided_at: at, amount, month, due, points, .. } = order;
        let first = CaptureTerms { at, amount, month, due, points };
        Self::new(order, &first, order.denial(), replayed, now)
    }

    /// The decision with the present status, the terms it is billed under, and what was captured and refunded.
    pub(crate) fn stored(order: &Order, replayed: bool, now: Millis) -> Self {
        let reason = order.state.reason();
        let (captured_amount, refunded_amount) = match order.state {
            OrderState::Captured { amount, refunded } => (amount, refunded),
            OrderState::Lost => (order.amount, Yen::ZERO),
            OrderState::Tombstone | OrderState::Denied(_) | OrderState::Held { .. } | OrderState::Cancelled => {
                (Yen::ZERO, Yen::ZERO)
            }
        };
        let movements = Some(Movements { merchant_id: order.key.merchant, captured_amount, refunded_amount });
        Self { movements, ..Self::new(&order.told(), &order.terms(), reason, replayed, now) }
    }

    /// Without the sale that the denial points to.
    #[must_use]
    pub(crate) fn without_first(self) -> Self {
        Self { first: self.first.map(|_| None), ..self }
    }

    fn new(order: &Told, terms: &CaptureTerms, reason: Option<Reason>, replayed: bool, now: Millis) -> Self {
        let approved = reason.is_none();
        let points_back = matches!(reason, Some(Reason::CodeUsed | Reason::DuplicateSuspect));
        let approval_code = ApprovalCode(order.id.approval_code());
        let status = order.status(now);
        let bill = Bill { month: terms.month, due: terms.due };
        Self {
            authorization_id: order.id,
            order_id: order.order_id,
            decision: if approved { "approved" } else { "denied" },
            status,
            amount: order.amount,
            approval_code: approved.then_some(approval_code),
            decided_at: order.decided_at,
            statement: (approved && order.billed).then_some(bill),
            points: if approved { terms.points } else { 0 },
            response_code: reason.map_or("00", |reason| reason.row().response_code),
            reason,
            retry: reason.map_or(Retry::Never, |reason| reason.retry(replayed)),
            clerk: Bilingual::plain(wording::clerk(status, reason, replayed)),
            first: points_back.then(|| order.first.as_deref().copied()),
            movements: None,
            replayed,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::domain::model::ids::{CustomerIx, Lsn, Part};
    use crate::domain::model::purchase::Channel;
    use crate::domain::model::request::OrderKey;
    use crate::domain::model::time::Now;

    pub(in crate::http) fn order(state: OrderState) -> Order {
        let now = Now::at(Millis::parse("2026-11-23T17:45:02+09:00").unwrap());
        Order {
            id: AuthorizationId { part: Part::default(), lsn: Lsn(7), random: 9 },
            key: OrderKey {
                merchant: MerchantId::new("mrc_konbini").unwrap(),
                order_id: OrderId::new("R-1001").unwrap(),
            },
            terminal: None,
            customer: Some(CustomerIx(0)),
            channel: Channel::InStore,
            handle: None,
            amount: Yen::new(1_980),
            fingerprint: 0,
            decided_at: now.at,
            state,
            month: now.month,
            due: now.month.next().day(10),
            points: 9,
            room: Yen::new(13_020),
            first: None,
            capture: None,
            refunds: None,
            touched: Lsn(7),
            touched_at: now.at,
            earlier: None,
            advice: None,
        }
    }

    fn shown(decision: &Decision) -> serde_json::Value {
        serde_json::to_value(decision).unwrap()
    }

    #[test]
    fn an_approval_as_in_the_contract() {
        let order = order(OrderState::Captured { amount: Yen::new(1_980), refunded: Yen::ZERO });
        let body = shown(&Decision::answered(&order.told(), false, order.decided_at));
        assert_eq!((&body["decision"], &body["status"]), (&"approved".into(), &"captured".into()));
        assert_eq!(
            (&body["response_code"], &body["retry"], &body["points"]),
            (&"00".into(), &"never".into(), &9.into())
        );
        assert_eq!(body["statement"], serde_json::json!({"month": "2026-11", "due": "2026-12-10"}));
        assert_eq!(body["decided_at"], "2026-11-23T17:45:02.000+09:00");
        assert_eq!(body["approval_code"].as_str().unwrap().len(), 6);
        assert!(body["reason"].is_null() && body.get("first").is_none() && body.get("captured_amount").is_none());
    }

    #[test]
    fn a_retry_of_a_cancelled_sale_is_denied_and_a_look_is_not() {
        let order = order(OrderState::Cancelled);
        let retry = shown(&Decision::answered(&order.told(), true, order.decided_at));
        assert_eq!((&retry["decision"], &retry["reason"]), (&"denied".into(), &"cancelled".into()));
        assert_eq!((&retry["status"], &retry["approval_code"]), (&"cancelled".into(), &serde_json::Value::Null));
        let look = shown(&Decision::stored(&order, true, order.decided_at));
        assert_eq!((&look["decision"], &look["status"]), (&"approved".into(), &"cancelled".into()));
        assert_eq!((&look["captured_amount"], &look["refunded_amount"]), (&0.into(), &0.into()));
    }

    #[test]
    fn a_sale_that_was_too_late_is_inquired_about_once() {
        let order = order(OrderState::Denied(Reason::TooLate));
        let first = shown(&Decision::answered(&order.told(), false, order.decided_at));
        assert_eq!(first["retry"], "inquire");
        let retry = shown(&Decision::answered(&order.told(), true, order.decided_at));
        let look = shown(&Decision::stored(&order, true, order.decided_at));
        for again in [retry, look] {
            assert_eq!((&again["retry"], &again["reason"]), (&"never".into(), &"too_late".into()));
            assert!(again["clerk"]["en"].as_str().unwrap().contains("nothing was charged"), "{again}");
        }
    }
}

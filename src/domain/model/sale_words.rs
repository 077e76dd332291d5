//! What a customer's phone says of the sale that a code has paid: what became of its money, and the words for it. They
//! speak of the present, whatever was first answered.

use serde::Serialize;

use super::denial::{APPROVED_CUSTOMER, Reason, Words};
use super::money::Yen;
use super::order::{Order, OrderState, OrderStatus};
use super::time::Millis;

/// What became of the money of an order; all zero of one that was denied, or whose hold ran out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Became {
    /// Set aside and not captured.
    pub held: Yen,
    pub captured: Yen,
    /// Of `captured`.
    pub refunded: Yen,
    /// What a cancel gave back, captured or held before.
    pub cancelled: Yen,
}

const HELD: Words = Words {
    ja: "{shop}でのお支払いのため、{amount}円分を確保しています。お支払いはまだ確定していません。",
    en: "{amount} yen is held for your purchase at {shop}. It is not charged yet.",
};
const RAN_OUT: Words = Words {
    ja: "{shop}での{amount}円分の確保は期限が切れました。ご請求はありません。",
    en: "The hold of {amount} yen at {shop} has run out. Nothing is charged.",
};
const REFUNDED_IN_PART: Words = Words {
    ja: "{shop}でのお支払い{amount}円のうち、{refunded}円が返金されました。",
    en: "{refunded} of the {amount} yen paid at {shop} was refunded.",
};
const REFUNDED: Words = Words {
    ja: "{shop}でのお支払い{amount}円は全額返金されました。",
    en: "The {amount} yen paid at {shop} was refunded in full.",
};

impl Order {
    pub fn became(&self, now: Millis) -> Became {
        match self.state {
            OrderState::Held { expires_at } if now < expires_at => Became { held: self.amount, ..Became::default() },
            OrderState::Captured { amount, refunded } => Became { captured: amount, refunded, ..Became::default() },
            OrderState::Lost => Became { captured: self.amount, ..Became::default() },
            OrderState::Cancelled => {
                let captured = self.capture.as_deref().map(|terms| terms.amount).filter(|amount| !amount.is_zero());
                Became { cancelled: captured.unwrap_or(self.amount), ..Became::default() }
            }
            OrderState::Held { .. } | OrderState::Denied(_) | OrderState::Tombstone => Became::default(),
        }
    }

    /// The words for an approval as it is now, and the yen that stand for their `{amount}`.
    pub fn sale_words(&self, now: Millis) -> (Words, Yen) {
        let became = self.became(now);
        match self.status(now) {
            OrderStatus::Authorized => (HELD, became.held),
            OrderStatus::Expired => (RAN_OUT, self.amount),
            OrderStatus::Captured => (APPROVED_CUSTOMER, became.captured),
            OrderStatus::PartiallyRefunded => (REFUNDED_IN_PART, became.captured),
            OrderStatus::Refunded => (REFUNDED, became.captured),
            OrderStatus::Cancelled | OrderStatus::Denied => (Reason::Cancelled.row().customer, became.cancelled),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::model::ids::{AuthorizationId, Lsn, MerchantId, OrderId, Part};
    use crate::domain::model::order::CaptureTerms;
    use crate::domain::model::request::OrderKey;
    use crate::domain::model::time::Now;

    const NOW: Millis = Millis(1_795_423_500_000);

    /// An order of 1,500 yen; of a hold if `captured` of it were captured.
    fn order(state: OrderState, captured: Option<u64>) -> Order {
        let merchant = MerchantId::new("m").unwrap();
        let order_id = OrderId::new("o").unwrap();
        let now = Now::at(NOW);
        let id = AuthorizationId { part: Part::default(), lsn: Lsn(1), random: 0 };
        let terms =
            |amount| CaptureTerms { at: NOW, amount: Yen::new(amount), month: now.month, due: now.date, points: 0 };
        let capture = captured.map(|amount| Box::new(terms(amount)));
        Order { state, amount: Yen::new(1_500), capture, ..Order::tombstone(id, OrderKey { merchant, order_id }, &now) }
    }

    #[test]
    fn each_state_has_its_yen_and_words() {
        let captured =
            |amount, refunded| OrderState::Captured { amount: Yen::new(amount), refunded: Yen::new(refunded) };
        let cancelled = Reason::Cancelled.row().customer;
        let mut all = Vec::new();
        for (order, yen, words, amount) in [
            (order(OrderState::Held { expires_at: NOW.plus(1) }, None), [1_500, 0, 0, 0], HELD, 1_500),
            (order(OrderState::Held { expires_at: NOW }, None), [0, 0, 0, 0], RAN_OUT, 1_500),
            (order(captured(1_500, 0), None), [0, 1_500, 0, 0], APPROVED_CUSTOMER, 1_500),
            (order(captured(1_000, 0), Some(1_000)), [0, 1_000, 0, 0], APPROVED_CUSTOMER, 1_000),
            (order(captured(1_000, 400), Some(1_000)), [0, 1_000, 400, 0], REFUNDED_IN_PART, 1_000),
            (order(captured(1_000, 1_000), Some(1_000)), [0, 1_000, 1_000, 0], REFUNDED, 1_000),
            (order(OrderState::Cancelled, None), [0, 0, 0, 1_500], cancelled, 1_500),
            (order(OrderState::Cancelled, Some(1_000)), [0, 0, 0, 1_000], cancelled, 1_000),
        ] {
            let Became { held, captured, refunded, cancelled } = order.became(NOW);
            assert_eq!([held, captured, refunded, cancelled].map(Yen::get), yen, "{order:?}");
            assert_eq!(order.sale_words(NOW), (words, Yen::new(amount)), "{order:?}");
            all.push(words);
        }
        for words in all {
            let needed = ["{shop}", "{amount}"];
            assert!(needed.iter().all(|place| words.ja.contains(place) && words.en.contains(place)), "{words:?}");
        }
    }
}

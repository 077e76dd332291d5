//! What a customer's phone says of the sale that a code has paid: what became of its money, and the words for it. They
//! speak of the present, whatever was first answered.

use super::denial::{APPROVED_CUSTOMER, Reason, Words};
use super::jst::Millis;
use super::money::Yen;
use super::orders::{Order, OrderState, OrderStatus};

/// What became of the money of an order; all zero of one that was denied, or whose hold ran out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
    ja: "{shop}での{amount}円分の確保は期限が切れました。請求されません。",
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
            OrderState::Cancelled => {
                let captured = self.capture.as_deref().map(|terms| terms.amount);
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

//! What a decision was judged by: the customer's numbers of that moment, recorded with it, so that "why?" has an answer without
//! the state of that moment.

use super::customer::Limits;
use super::denial::Reason;
use super::money::Yen;
use super::purchase::Channel;

/// Of a decision on a known customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Basis {
    /// The customer's.
    pub limits: Limits,
    /// The shop's own in-store limit.
    pub shop_limit: Option<Yen>,
    /// The shop's own cap for one payment.
    pub shop_cap: Option<Yen>,
    /// Unpaid principal and open holds, without this sale.
    pub exposure_total: Yen,
    pub exposure_in_store: Yen,
    /// From 0.
    pub rung: u8,
    /// Approvals that stood within the velocity window, as far as they were counted: at the policy's most it is known.
    pub window_count: u16,
    pub window_sum: Yen,
    /// The policy's category rule that says no, or the first that speaks of this shop or these goods: its place from 1; 0 for none.
    pub category: u8,
    /// Since the oldest unpaid due date; 0 for none.
    pub days_overdue: u16,
    /// Every reason that would have denied it, the one that did among them.
    pub against: Reasons,
}

impl Basis {
    /// What the customer could still spend through a channel before this sale.
    pub fn spendable(&self, channel: Channel) -> Yen {
        let total = self.limits.total.minus_or_zero(self.exposure_total);
        match channel {
            Channel::InStore => self.limits.in_store.minus_or_zero(self.exposure_in_store).min(total),
            Channel::Online | Channel::NpAtobarai => total,
        }
    }

    /// The limit in store: the customer's or the shop's, whichever is smaller.
    pub fn in_store_limit(&self) -> Yen {
        self.shop_limit.map_or(self.limits.in_store, |shop| shop.min(self.limits.in_store))
    }
}

/// A set of reasons, a bit for each number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reasons(u32);

impl Reasons {
    /// As the journal has it; none where a bit is no reason's.
    pub fn from_bits(bits: u32) -> Option<Self> {
        let known = Reason::ALL.into_iter().fold(Self::default(), |all, reason| all.with(reason));
        (bits & !known.0 == 0).then_some(Self(bits))
    }

    pub const fn bits(self) -> u32 {
        self.0
    }

    #[must_use]
    pub fn with(self, reason: Reason) -> Self {
        Self(self.0 | 1 << reason.number())
    }

    pub fn holds(self, reason: Reason) -> bool {
        self.0 & (1 << reason.number()) != 0
    }

    /// In the order in which they are judged.
    pub fn iter(self) -> impl Iterator<Item = Reason> {
        Reason::ALL.into_iter().filter(move |reason| self.holds(*reason))
    }
}

impl serde::Serialize for Reasons {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(Reason::name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_a_place_for_each_reason_and_no_other() {
        let all = Reason::ALL.into_iter().fold(Reasons::default(), Reasons::with);
        assert_eq!(all.iter().collect::<Vec<_>>(), Reason::ALL);
        assert_eq!(Reasons::from_bits(all.bits()), Some(all));
        assert_eq!(Reasons::from_bits(1), None, "0 is no reason's number");
        assert_eq!(Reasons::from_bits(1 << 31), None);
    }
}

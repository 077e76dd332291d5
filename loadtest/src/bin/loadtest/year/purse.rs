//! What the customer should owe and may spend, by the story's own arithmetic: plain sums that each step of the story
//! changes. Nothing in here is asked of the service.

use serde::Serialize;

/// In-store limits by rung, yen; and the limit over all channels.
const LADDER: [u64; 4] = [2_000, 5_000, 10_000, 15_000];
const TOTAL: u64 = 50_000;
const YEN_PER_POINT: u64 = 200;

/// Where something is bought.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    InStore,
    Online,
    Np,
}

/// What can be seen of it at one moment. Yen, but for the rung.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Figures {
    /// Unpaid principal.
    pub exposure: u64,
    /// On bills, their fees included.
    pub owed: u64,
    pub credit: u64,
    /// What can be spent, in store and online.
    pub in_store: u64,
    pub online: u64,
    pub rung: u64,
}

/// Of a payment: the principal of each channel, and all fees.
#[derive(Clone, Copy, Default)]
pub struct Paid {
    pub in_store: u64,
    /// Online and NP Atobarai.
    pub elsewhere: u64,
    pub fees: u64,
}

impl Paid {
    pub const fn total(&self) -> u64 {
        self.in_store + self.elsewhere + self.fees
    }
}

#[derive(Clone, Default)]
pub struct Purse {
    in_store: u64,
    elsewhere: u64,
    /// Of these, bought in the month that has not ended.
    open: u64,
    pub owed: u64,
    pub credit: u64,
    pub rung: u64,
    // Of the whole year:
    pub bought: u64,
    pub cancelled: u64,
    pub refunded: u64,
    pub fees: u64,
    pub paid_in: u64,
    pub paid_out: u64,
    /// Of month's bills, NP Atobarai apart.
    pub points: u64,
}

impl Purse {
    pub fn figures(&self) -> Figures {
        let exposure = self.in_store + self.elsewhere;
        let rung = usize::try_from(self.rung).unwrap_or(usize::MAX);
        let limit = LADDER.get(rung).copied().unwrap_or(0);
        let online = TOTAL.saturating_sub(exposure);
        let in_store = limit.saturating_sub(self.in_store).min(online);
        Figures { exposure, owed: self.owed, credit: self.credit, in_store, online, rung: self.rung }
    }

    fn principal(&mut self, channel: Channel) -> &mut u64 {
        if channel == Channel::InStore { &mut self.in_store } else { &mut self.elsewhere }
    }

    pub fn buys(&mut self, channel: Channel, amount: u64) {
        *self.principal(channel) += amount;
        self.bought += amount;
        if channel == Channel::Np {
            // Its invoice is of the same day.
            self.owed += amount;
        } else {
            self.open += amount;
            self.points += amount / YEN_PER_POINT;
        }
    }

    /// The month's purchases become a bill, with a fee in months that have one.
    pub fn month_ends(&mut self, fee: u64) {
        if self.open > 0 {
            self.owed += self.open + fee;
            self.fees += fee;
            self.open = 0;
        }
    }

    pub fn is_charged(&mut self, fee: u64) {
        self.owed += fee;
        self.fees += fee;
    }

    pub fn is_given_back(&mut self, fee: u64) {
        self.owed -= fee;
        self.fees -= fee;
    }

    /// A sale of the month that has just ended is undone.
    pub fn cancels(&mut self, channel: Channel, amount: u64) {
        *self.principal(channel) -= amount;
        self.owed -= amount;
        self.cancelled += amount;
        self.points -= amount / YEN_PER_POINT;
    }

    /// Points go down to those of what is kept.
    fn returns(&mut self, amount: u64, kept: u64) {
        self.refunded += amount;
        self.points -= (kept + amount) / YEN_PER_POINT - kept / YEN_PER_POINT;
    }

    /// Of a purchase of the open month; `kept` is what is left of the purchase.
    pub fn refund_of_open(&mut self, channel: Channel, amount: u64, kept: u64) {
        *self.principal(channel) -= amount;
        self.open -= amount;
        self.returns(amount, kept);
    }

    /// Of a purchase on a bill that is not paid; or of one that is, to another that is not, whose purchase of `channel`
    /// it then pays.
    pub fn refund_of_owed(&mut self, channel: Channel, amount: u64, kept: u64) {
        *self.principal(channel) -= amount;
        self.owed -= amount;
        self.returns(amount, kept);
    }

    /// Of a purchase that was paid, with nothing else to pay.
    pub fn refund_to_credit(&mut self, amount: u64, kept: u64) {
        self.credit += amount;
        self.returns(amount, kept);
    }

    pub fn pays(&mut self, paid: Paid, credit: u64) {
        self.settles(paid);
        self.credit += credit;
        self.paid_in += paid.total() + credit;
    }

    /// Credit pays for it.
    pub fn credit_pays(&mut self, paid: Paid) {
        self.settles(paid);
        self.credit -= paid.total();
    }

    fn settles(&mut self, paid: Paid) {
        self.in_store -= paid.in_store;
        self.elsewhere -= paid.elsewhere;
        self.owed -= paid.total();
    }

    /// Money that was credit had not been the customer's.
    pub fn is_reversed(&mut self, amount: u64) {
        self.credit -= amount;
        self.paid_in -= amount;
    }

    /// The bank sent a payout back.
    pub fn came_back(&mut self, amount: u64) {
        self.credit += amount;
        self.paid_out -= amount;
    }

    /// Credit pays for purchases in store of the month that has not ended.
    pub fn applies(&mut self, amount: u64) {
        self.in_store -= amount;
        self.open -= amount;
        self.credit -= amount;
    }

    pub fn is_paid_out(&mut self, amount: u64) {
        self.credit -= amount;
        self.paid_out += amount;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_lies_inside_both_limits() {
        let mut purse = Purse { rung: 1, ..Purse::default() };
        purse.buys(Channel::InStore, 1_500);
        purse.buys(Channel::Np, 46_000);
        let figures = purse.figures();
        assert_eq!((figures.exposure, figures.owed, figures.in_store, figures.online), (47_500, 46_000, 2_500, 2_500));
        purse.month_ends(209);
        purse.month_ends(209);
        assert_eq!((purse.owed, purse.fees), (47_709, 209), "a month without purchases has no fee");
        purse.pays(Paid { in_store: 1_500, elsewhere: 46_000, fees: 209 }, 91);
        assert_eq!(
            purse.figures(),
            Figures { credit: 91, in_store: 5_000, online: 50_000, rung: 1, ..Figures::default() }
        );
    }

    #[test]
    fn points_are_those_of_what_is_kept() {
        let mut purse = Purse::default();
        purse.buys(Channel::Online, 399);
        purse.buys(Channel::Online, 401);
        assert_eq!(purse.points, 3);
        purse.refund_of_open(Channel::Online, 2, 399);
        assert_eq!(purse.points, 2);
    }
}

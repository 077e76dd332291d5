//! What a customer is billed: the purchases of a month, or one NP Atobarai purchase, and what was paid of them.
//!
//! While nothing but purchases of one channel happens in it, the newest month is an [`OpenMonth`]: one sum. Everything else
//! is a [`Bill`], which knows its whole story, so that everything about it is a function of the time asked about. What
//! lateness costs stands in [`lateness`](super::lateness).

use smallvec::SmallVec;
use thin_vec::ThinVec;

use super::adjustments::Adjustments;
pub use super::changes::{Change, ChangeKind, Changes};
use super::notices::Told;
pub use super::posted::{LateFee, Posted};
use super::sums::Money;
use crate::domain::model::customer::Record;
use crate::domain::model::ids::Lsn;
use crate::domain::model::money::Yen;
use crate::domain::model::payment::{BillKey, Line, Lines, PaymentMethod};
use crate::domain::model::purchase::{Channel, Purchase};
use crate::domain::model::time::{DAY, Date, Millis, Month};

/// What was bought through one channel in the newest month; its bill goes by the customer's present method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenMonth {
    pub month: Month,
    pub channel: Channel,
    pub amount: Yen,
}

impl OpenMonth {
    /// Whether the purchase is, or would be, part of the sum.
    pub fn holds(&self, purchase: &Purchase) -> bool {
        self.month == purchase.month && self.channel == purchase.channel
    }
}

/// Purchases of one channel, one after the other, less what was refunded or cancelled of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    pub channel: Channel,
    /// When the first of them was captured.
    pub since: Millis,
    pub amount: Yen,
}

/// What the ladder took because the bill was late: given back if news says that it was not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// When the ladder took it; zero where an older version did not say.
    pub at: Millis,
    pub from: u8,
    pub to: u8,
    pub before: Record,
    pub after: Record,
}

/// A bill with its story. Few have late fees or damages, so that these take eight bytes each while there are none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bill {
    pub key: BillKey,
    /// The method the bill is issued with; `None` while the customer's present method applies.
    /// Frozen when the method changes after the month has closed.
    pub billed_by: Option<PaymentMethod>,
    /// Fixed when the bill is issued.
    pub due: Option<Date>,
    /// The bill fee; set when the bill is issued.
    pub fee: Option<Yen>,
    /// The fee was taken back, because refunds or cancels took all of the bill in time.
    pub is_fee_refunded: bool,
    /// From when money meets it: the 1st of the next month, or when an NP purchase was captured.
    pub issued_at: Millis,
    /// The record of that capture; zero of a month's bill, which comes before every record of its moment.
    pub issued_by: Lsn,
    /// In order of capture.
    pub purchases: SmallVec<[Stretch; 1]>,
    /// Since it was issued.
    pub changes: Changes,
    /// Posted and not taken back, in order of their dates.
    pub late_fees: ThinVec<LateFee>,
    /// As posted by staff and not taken back, in order of their posting.
    pub damages: ThinVec<Posted>,
    /// Whether the ladder has taken notice of how it was paid.
    pub counted: bool,
    pub lost: Option<Box<Lost>>,
    pub adjustments: Option<Box<Adjustments>>,
    /// What its customer was told of it.
    pub told: Told,
}

/// A paid one is kept for weeks: with the counters of its `Arc` it is to take no more than 300 bytes.
const _: () = assert!(size_of::<Bill>() + 16 <= 300);

impl Bill {
    /// So many days a bill is kept after it was paid, and one that was late.
    pub(super) const KEPT: i32 = 35;
    const LATE_KEPT: i64 = 92;

    /// One in which nothing was bought yet.
    pub fn empty(key: BillKey, issued_at: Millis, issued_by: Lsn) -> Self {
        Self {
            key,
            billed_by: None,
            due: None,
            fee: None,
            is_fee_refunded: false,
            issued_at,
            issued_by,
            purchases: SmallVec::new(),
            changes: Changes::default(),
            late_fees: ThinVec::new(),
            damages: ThinVec::new(),
            counted: false,
            lost: None,
            adjustments: None,
            told: Told::default(),
        }
    }

    pub fn empty_month(month: Month) -> Self {
        Self::empty(BillKey::Month(month), month.next().day(1).start(), Lsn(0))
    }

    /// The bill of what was bought so far in a month.
    pub fn of_month(open: &OpenMonth) -> Self {
        let mut bill = Self::empty_month(open.month);
        bill.charge(open.channel, Millis(0), open.amount);
        bill
    }

    /// An NP Atobarai purchase is issued when it is captured, by the record `by`. The ladder does not count it.
    pub fn of_np(purchase: &Purchase, due: Date, by: Lsn) -> Self {
        let empty = Self::empty(purchase.bill(), purchase.at, by);
        let mut bill = Self { due: Some(due), fee: Some(Yen::ZERO), counted: true, ..empty };
        bill.charge(Channel::NpAtobarai, Millis(0), purchase.amount);
        bill
    }

    pub const fn is_issued(&self) -> bool {
        self.fee.is_some()
    }

    /// A purchase captured at `at`.
    pub fn charge(&mut self, channel: Channel, at: Millis, amount: Yen) {
        match self.purchases.last_mut() {
            Some(last) if last.channel == channel => last.amount += amount,
            _ => self.purchases.push(Stretch { channel, since: at, amount }),
        }
    }

    /// Takes back a part of what was captured through a channel at `bought_at`, as if it had never been bought.
    pub fn uncharge(&mut self, channel: Channel, bought_at: Millis, amount: Yen) {
        let mut left = amount;
        let own = self.purchases.iter_mut().filter(|stretch| stretch.channel == channel);
        for stretch in own.rev().skip_while(|stretch| stretch.since > bought_at) {
            let taken = stretch.amount.min(left);
            stretch.amount -= taken;
            left -= taken;
        }
        assert!(left.is_zero(), "a refund takes more off a bill than was bought");
        self.purchases.retain(|stretch| !stretch.amount.is_zero());
    }

    /// Takes a refund off the purchase that was captured at `bought_at`. On an issued bill it is part of the story; before,
    /// the usage is simply less.
    pub fn refund(&mut self, channel: Channel, bought_at: Millis, amount: Yen, money: Money) {
        self.uncharge(channel, bought_at, amount);
        if self.is_issued() {
            let lines = Lines::of(Line::Principal, amount);
            self.changes.add(Change { at: money.day, kind: ChangeKind::Refunded, money, lines });
        } else {
            self.limit_applied_credit();
        }
    }

    /// Purchases less refunds.
    pub fn net(&self) -> Yen {
        self.purchases.iter().map(|stretch| stretch.amount).sum()
    }

    /// What the bill was issued with.
    pub fn principal_at_issue(&self) -> Yen {
        self.net() + self.changes.refunded()
    }

    pub fn unpaid(&self) -> Yen {
        self.net().minus_or_zero(self.changes.covered_of(Line::Principal))
    }

    /// Unpaid principal of one channel: payments settle purchase by purchase, oldest first.
    pub fn unpaid_of(&self, channel: Channel) -> Yen {
        let mut paid = self.covered().principal;
        let mut unpaid = Yen::ZERO;
        for stretch in &self.purchases {
            let left = stretch.amount.minus_or_zero(paid);
            paid = paid.minus_or_zero(stretch.amount);
            if stretch.channel == channel {
                unpaid += left;
            }
        }
        unpaid
    }

    /// Principal open just before `at`, as we know it today.
    pub fn open_before(&self, at: Millis) -> Yen {
        let (mut up, mut down) = (self.principal_at_issue(), Yen::ZERO);
        for change in self.changes.iter().take_while(|change| change.at < at) {
            *(if change.kind == ChangeKind::Freed { &mut up } else { &mut down }) += change.lines.principal;
        }
        up.minus_or_zero(down)
    }

    /// The late fee that was posted for a day.
    pub fn late_fee_of(&self, date: Date) -> Option<Yen> {
        let at = self.late_fees.binary_search_by_key(&date, |late| late.date).ok()?;
        self.late_fees.get(at).map(|late| late.amount)
    }

    pub fn damages_posted(&self) -> Yen {
        self.damages.iter().map(|posted| posted.amount).sum()
    }

    /// What had been posted until then. When an older version posted is not known; it stands.
    pub fn damages_posted_by(&self, at: Millis) -> Yen {
        let by_then = self.damages.iter().filter(|posted| posted.at <= at || posted.fact == Lsn(0));
        by_then.map(|posted| posted.amount).sum()
    }

    /// By refunds that took all of the bill in time, or by staff.
    pub fn is_fee_waived(&self) -> bool {
        self.is_fee_refunded || self.is_bill_fee_waived_by_staff(Millis(i64::MAX))
    }

    /// What is no longer owed of each line because money was put on it, or because it was released.
    pub fn covered(&self) -> Lines {
        self.changes.covered()
    }

    /// What was paid of each line.
    pub fn paid(&self) -> Lines {
        self.changes.paid()
    }

    /// What is open of all its lines, as far as it was recorded.
    pub fn open_as_posted(&self) -> Yen {
        let fee = self.fee.filter(|_| !self.is_fee_waived()).unwrap_or_default();
        let late_fees = self.late_fees.iter().map(|late| late.amount).sum();
        let charged = Lines { principal: self.net(), bill_fee: fee, late_fees, damages: self.damages_posted() };
        charged.minus_or_zero(&self.covered()).total()
    }

    /// Whether something of it is still to be paid, as far as it is charged.
    pub fn is_open(&self) -> bool {
        // A thousand bills may be asked, several times a call: line by line, what costs least first.
        if self.changes.is_empty() && !self.purchases.is_empty() {
            return true;
        }
        let paid = |line| self.changes.covered_of(line);
        self.net() > paid(Line::Principal)
            || self.fee.is_some_and(|fee| fee > paid(Line::BillFee) && !self.is_fee_waived())
            || !self.damages.is_empty() && self.damages_posted() > paid(Line::Damages)
            || !self.late_fees.is_empty()
                && self.late_fees.iter().map(|late| late.amount).sum::<Yen>() > paid(Line::LateFees)
    }

    /// Paid before it could be late: nothing can be owed on it.
    pub fn is_settled(&self, today: Date) -> bool {
        self.due.is_some_and(|due| today <= due) && !self.is_open()
    }

    /// Whether it says nothing any more: paid, past its due date, and so long ago that no news of a payment is to be
    /// expected that would have met it; `news_from` is from when provisional news counts.
    pub fn is_over(&self, today: Date, news_from: Option<Millis>) -> bool {
        let Some(due) = self.due.filter(|_| self.fee.is_some()) else { return self.net().is_zero() };
        // Its customer is to hear first that it is overdue no more.
        if self.is_open() || self.told.has(Told::OVERDUE) {
            return false;
        }
        // What was cancelled has never been.
        if today <= due {
            return self.principal_at_issue().is_zero();
        }
        // A thousand paid bills may be asked: first what costs least, in whole days and milliseconds rather than dates.
        let latest = self.latest();
        if latest.is_some_and(|latest| today.day() - latest.day() <= i64::from(Self::KEPT)) {
            return false;
        }
        let due = due.start();
        let latest = latest.map_or(due, |latest| latest.max(due));
        if news_from.is_some_and(|from| from <= latest) {
            return false;
        }
        let days = today.day() - latest.day();
        days > Self::LATE_KEPT || days > i64::from(Self::KEPT) && self.open_before(due.plus(DAY)).is_zero()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bill(purchases: &[(Channel, i64, u64)]) -> Bill {
        let mut bill = Bill::empty_month(Month::parse("2026-10").unwrap());
        for (channel, at, amount) in purchases {
            bill.charge(*channel, Millis(*at), Yen::new(*amount));
        }
        bill
    }

    fn pay(bill: &mut Bill, amount: u64) {
        let (at, lines) = (Millis(100), Lines::of(Line::Principal, Yen::new(amount)));
        bill.changes.add(Change { at, kind: ChangeKind::Paid, money: Money::own(at), lines });
    }

    fn unpaid(bill: &Bill) -> (u64, u64) {
        (bill.unpaid_of(Channel::InStore).get(), bill.unpaid_of(Channel::Online).get())
    }

    #[test]
    fn money_settles_the_oldest_purchases_first_whatever_their_channel() {
        use Channel::{InStore, Online};
        let purchases = [(InStore, 1, 1_000), (Online, 2, 2_000), (InStore, 3, 500), (InStore, 4, 500)];
        let mut one = bill(&purchases);
        assert_eq!(one.purchases.len(), 3);
        pay(&mut one, 1_500);
        assert_eq!(unpaid(&one), (1_000, 1_500));
        // Back goes the first purchase, which had been paid: its money now pays for the next.
        one.fee = Some(Yen::ZERO);
        one.refund(InStore, Millis(1), Yen::new(1_000), Money::own(Millis(200)));
        assert_eq!(unpaid(&one), (1_000, 500));
        assert_eq!((one.principal_at_issue(), one.net(), one.unpaid()), (4_000.into(), 3_000.into(), 1_500.into()));
        assert_eq!(one.open_before(Millis(100)), 4_000.into(), "a payment counts from its moment on");
        assert_eq!(one.open_before(Millis(101)), 2_500.into());
        // The last two are one stretch; a refund of the later one leaves the first alone.
        one.refund(InStore, Millis(4), Yen::new(500), Money::own(Millis(300)));
        assert_eq!(unpaid(&one), (500, 500));
    }

    #[test]
    fn before_it_is_issued_a_bill_only_shrinks() {
        let mut one = bill(&[(Channel::InStore, 1, 300), (Channel::Online, 2, 700)]);
        one.refund(Channel::Online, Millis(2), Yen::new(700), Money::own(Millis(3)));
        assert_eq!((one.principal_at_issue(), one.purchases.len()), (300.into(), 1));
        assert!(one.changes.is_empty());
    }

    #[test]
    #[should_panic(expected = "more off a bill than was bought")]
    fn more_than_was_bought_can_not_come_off() {
        bill(&[(Channel::InStore, 1, 300)]).refund(Channel::InStore, Millis(1), Yen::new(301), Money::own(Millis(2)));
    }
}

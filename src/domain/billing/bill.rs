//! What a customer is billed: the purchases of a month, or one NP Atobarai purchase, and what was paid of them.
//!
//! While nothing but purchases of one channel happens in it, the newest month is an [`OpenMonth`]: one sum. Everything else
//! is a [`Bill`], which knows its whole story, so that everything about it is a function of the time asked about. What
//! lateness costs stands in [`lateness`](super::lateness).

use smallvec::SmallVec;

pub use super::changes::{Change, ChangeKind, Changes};
use crate::domain::model::ids::Lsn;
use crate::domain::model::money::Yen;
use crate::domain::model::payment::{BillKey, Lines, PaymentMethod};
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

/// A late fee of one fee day, as posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LateFee {
    pub date: Date,
    pub amount: Yen,
}

/// A bill with its story.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bill {
    pub key: BillKey,
    /// The method the bill is issued with; `None` while the customer's present method applies.
    /// Frozen when the method changes after the month has closed.
    pub billed_by: Option<PaymentMethod>,
    /// Fixed when the bill is issued.
    pub due: Option<Date>,
    /// The bill fee; set when the bill is issued, and zero once it is waived.
    pub fee: Option<Yen>,
    /// In order of capture.
    pub purchases: SmallVec<[Stretch; 3]>,
    /// Since it was issued, in the order in which we heard of them.
    pub changes: Changes,
    /// Posted and not taken back, in order of their dates.
    pub late_fees: Vec<LateFee>,
    /// `damages`: as posted by staff. The other lines follow from the rest.
    pub damages: Yen,
    /// What was paid of each line but the principal, whose payments are among `changes`.
    pub paid_fees: Lines,
    /// Whether the ladder has taken notice of how it was paid.
    pub counted: bool,
}

impl Bill {
    /// One in which nothing was bought yet.
    pub fn empty(key: BillKey) -> Self {
        Self {
            key,
            billed_by: None,
            due: None,
            fee: None,
            purchases: SmallVec::new(),
            changes: Changes::default(),
            late_fees: Vec::new(),
            damages: Yen::ZERO,
            paid_fees: Lines::default(),
            counted: false,
        }
    }

    /// The same bill, of which nothing was heard since it was issued.
    #[must_use]
    pub fn without_changes(&self) -> Self {
        Self {
            key: self.key,
            billed_by: self.billed_by,
            due: self.due,
            fee: self.fee,
            purchases: self.purchases.clone(),
            changes: Changes::default(),
            late_fees: self.late_fees.clone(),
            damages: self.damages,
            paid_fees: self.paid_fees,
            counted: self.counted,
        }
    }

    /// The bill of what was bought so far in a month.
    pub fn of_month(open: &OpenMonth) -> Self {
        let mut bill = Self::empty(BillKey::Month(open.month));
        bill.charge(open.channel, Millis(0), open.amount);
        bill
    }

    /// An NP Atobarai purchase is issued when it is made. The ladder does not count it.
    pub fn of_np(order: Lsn, due: Date, amount: Yen) -> Self {
        let mut bill = Self { due: Some(due), fee: Some(Yen::ZERO), counted: true, ..Self::empty(BillKey::Np(order)) };
        bill.charge(Channel::NpAtobarai, Millis(0), amount);
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

    /// Takes a refund or a cancellation off the purchase that was captured at `bought_at`. On an issued bill it is part
    /// of the story; before, the usage is simply less.
    pub fn reduce(&mut self, channel: Channel, bought_at: Millis, amount: Yen, now: Millis) {
        let mut left = amount;
        let own = self.purchases.iter_mut().filter(|stretch| stretch.channel == channel);
        for stretch in own.rev().skip_while(|stretch| stretch.since > bought_at) {
            let taken = stretch.amount.min(left);
            stretch.amount -= taken;
            left -= taken;
        }
        assert!(left.is_zero(), "a refund takes more off a bill than was bought");
        self.purchases.retain(|stretch| !stretch.amount.is_zero());
        if self.is_issued() {
            self.changes.push(Change { at: now, kind: ChangeKind::Refunded, amount });
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

    pub fn paid_principal(&self) -> Yen {
        self.changes.paid()
    }

    pub fn unpaid(&self) -> Yen {
        self.net().minus_or_zero(self.paid_principal())
    }

    /// Unpaid principal of one channel: payments settle purchase by purchase, oldest first.
    pub fn unpaid_of(&self, channel: Channel) -> Yen {
        let mut paid = self.paid_principal();
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
        let before = self.changes.iter().filter(|change| change.at < at);
        let (mut up, mut down) = (self.principal_at_issue(), Yen::ZERO);
        for change in before {
            *(if change.kind == ChangeKind::Moved { &mut up } else { &mut down }) += change.amount;
        }
        up.minus_or_zero(down)
    }

    /// Takes in a late fee that was posted.
    pub fn post_late_fee(&mut self, late: LateFee) {
        let at = self.late_fees.partition_point(|posted| posted.date <= late.date);
        self.late_fees.insert(at, late);
    }

    /// The late fee that was posted for a day.
    pub fn late_fee_of(&self, date: Date) -> Option<Yen> {
        let at = self.late_fees.binary_search_by_key(&date, |late| late.date).ok()?;
        self.late_fees.get(at).map(|late| late.amount)
    }

    /// What was paid of each line.
    pub fn paid(&self) -> Lines {
        Lines { principal: self.paid_principal(), ..self.paid_fees }
    }

    /// Whether something of it is still to be paid, as far as it is charged.
    pub fn is_open(&self) -> bool {
        if !self.unpaid().is_zero() {
            return true;
        }
        let late_fees = self.late_fees.iter().map(|late| late.amount).sum();
        let bill_fee = self.fee.unwrap_or_default();
        let charged = Lines { principal: Yen::ZERO, bill_fee, late_fees, damages: self.damages };
        charged.minus_or_zero(&self.paid_fees) != Lines::default()
    }

    /// Paid before it could be late: nothing can be owed on it.
    pub fn is_settled(&self, today: Date) -> bool {
        self.due.is_some_and(|due| today <= due) && !self.is_open()
    }

    /// Whether it says nothing any more: paid, past its due date, and if it was late, so long ago that no late news of
    /// a payment is to be expected.
    pub fn is_over(&self, today: Date) -> bool {
        /// Days; a quarter of a year.
        const LATE_NEWS: i64 = 92;
        let Some(due) = self.due.filter(|_| self.fee.is_some()) else { return self.net().is_zero() };
        if self.is_open() {
            return false;
        }
        if today <= due {
            // An NP purchase that went back to its shop in time was never paid and costs nothing.
            return matches!(self.key, BillKey::Np(_)) && self.net().is_zero() && self.paid() == Lines::default();
        }
        // A thousand paid bills may be asked: in whole days and milliseconds, which cost less than dates.
        let due = due.start();
        let latest = self.changes.iter().map(|change| change.at).max().map_or(due, |latest| latest.max(due));
        let was_late = || !self.open_before(due.plus(DAY)).is_zero();
        today.day() > latest.day() + LATE_NEWS || !was_late()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bill(purchases: &[(Channel, i64, u64)]) -> Bill {
        let mut bill = Bill::empty(BillKey::Month(Month::parse("2026-10").unwrap()));
        for (channel, at, amount) in purchases {
            bill.charge(*channel, Millis(*at), Yen::new(*amount));
        }
        bill
    }

    fn pay(bill: &mut Bill, amount: u64) {
        bill.changes.push(Change { at: Millis(100), kind: ChangeKind::Paid, amount: Yen::new(amount) });
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
        one.reduce(InStore, Millis(1), Yen::new(1_000), Millis(200));
        assert_eq!(unpaid(&one), (1_000, 500));
        assert_eq!((one.principal_at_issue(), one.net(), one.unpaid()), (4_000.into(), 3_000.into(), 1_500.into()));
        assert_eq!(one.open_before(Millis(100)), 4_000.into(), "a payment counts from its moment on");
        assert_eq!(one.open_before(Millis(101)), 2_500.into());
        // The last two are one stretch; a refund of the later one leaves the first alone.
        one.reduce(InStore, Millis(4), Yen::new(500), Millis(300));
        assert_eq!(unpaid(&one), (500, 500));
    }

    #[test]
    fn before_it_is_issued_a_bill_only_shrinks() {
        let mut one = bill(&[(Channel::InStore, 1, 300), (Channel::Online, 2, 700)]);
        one.reduce(Channel::Online, Millis(2), Yen::new(700), Millis(3));
        assert_eq!((one.principal_at_issue(), one.purchases.len()), (300.into(), 1));
        assert!(one.changes.is_empty());
    }

    #[test]
    #[should_panic(expected = "more off a bill than was bought")]
    fn more_than_was_bought_can_not_come_off() {
        bill(&[(Channel::InStore, 1, 300)]).reduce(Channel::InStore, Millis(1), Yen::new(301), Millis(2));
    }
}

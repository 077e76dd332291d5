//! One customer's account: what they may do and what they owe, as functions of the time asked about.

use std::sync::Arc;

use smallvec::SmallVec;

use super::bill::{Bill, NpBill, OpenMonth};
use super::ladder::Record;
use super::notes::Notes;
use super::spare::Spare;
use crate::domain::model::customer::Profile;
use crate::domain::model::ids::{CustomerId, Handle, Lsn, PackedLsn};
use crate::domain::model::money::Yen;
use crate::domain::model::order::Sequence;
use crate::domain::model::payment::{BillKey, PaymentMethod};
use crate::domain::model::purchase::{Channel, Purchase};
use crate::domain::model::time::{Date, Millis, Month, Now};

/// Room set aside for a purchase that is authorized and not yet captured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    pub order: Lsn,
    pub channel: Channel,
    pub amount: Yen,
    /// From this moment on the hold takes no room.
    pub expires_at: Millis,
}

/// What most customers do not have, kept out of the dense table. What an approval adds to it has room here:
/// a customer with more open at once is given a list on the heap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rare {
    /// The months after [`Account::month`], oldest first.
    pub later: SmallVec<[OpenMonth; 2]>,
    pub holds: SmallVec<[Hold; 2]>,
    /// By their order.
    pub np: SmallVec<[NpBill; 4]>,
    /// Months and NP purchases with a story, by their key; they are in none of the other lists. A copy of the account
    /// shares them until one of the two changes: an account may have a thousand.
    pub bills: SmallVec<[Arc<Bill>; 2]>,
    /// Overpaid money. Never a negative exposure.
    pub credit: Yen,
    /// Since when there is credit.
    pub credit_since: Option<Millis>,
    pub notes: Option<Box<Notes>>,
}

/// One entry of the dense table, two lines of the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
#[repr(align(64))]
pub struct Account {
    pub id: CustomerId,
    pub profile: Profile,
    /// Codes issued so far, mod 65,536: the counter in the QR (9F36).
    pub codes_issued: u16,
    pub live_code: Option<Handle>,
    /// The oldest month with unpaid principal; later ones are in [`Rare`]. Read them by [`Account::months`].
    pub month: Option<OpenMonth>,
    pub rare: Option<Box<Rare>>,
    pub record: Record,
    /// The customer's latest approval in the order book, from where earlier ones are linked.
    pub latest_approval: Option<Sequence>,
    /// The last fact that touched what the customer can spend: see [`Event::moves_room`](crate::domain::state::event::Event::moves_room).
    pub touched: PackedLsn,
}

/// Ten million customers are to fit into 1.6 GB, the index to them (up to 21 bytes a customer) included.
const _: () = assert!(size_of::<Account>() == 128 && size_of::<Rare>() <= 384);

/// The months without a story of an account that has these, oldest first.
pub fn months_of<'a>(first: Option<&'a OpenMonth>, rare: Option<&'a Rare>) -> impl Iterator<Item = &'a OpenMonth> {
    first.into_iter().chain(rare.into_iter().flat_map(|rare| &rare.later))
}

impl Account {
    pub fn new(id: CustomerId, profile: Profile) -> Self {
        Self {
            id,
            profile,
            codes_issued: 0,
            live_code: None,
            month: None,
            rare: None,
            record: Record::default(),
            latest_approval: None,
            touched: PackedLsn::default(),
        }
    }

    pub fn holds(&self) -> &[Hold] {
        self.rare.as_ref().map_or(&[], |rare| &rare.holds)
    }

    pub fn np_bills(&self) -> &[NpBill] {
        self.rare.as_ref().map_or(&[], |rare| &rare.np)
    }

    pub fn credit(&self) -> Yen {
        self.rare.as_ref().map_or(Yen::ZERO, |rare| rare.credit)
    }

    /// Months without a story, oldest first. Usually none or one.
    pub fn months(&self) -> impl Iterator<Item = &OpenMonth> {
        months_of(self.month.as_ref(), self.rare.as_deref())
    }

    pub fn rare_mut(&mut self, spare: &mut Spare) -> &mut Rare {
        self.rare.get_or_insert_with(|| spare.rare())
    }

    /// Bills with a story, by their key.
    pub fn stories(&self) -> &[Arc<Bill>] {
        self.rare.as_ref().map_or(&[], |rare| &rare.bills)
    }

    pub fn notes(&self) -> Option<&Notes> {
        self.rare.as_ref()?.notes.as_deref()
    }

    pub fn notes_mut(&mut self, spare: &mut Spare) -> &mut Notes {
        self.rare_mut(spare).notes.get_or_insert_default()
    }

    /// Where a captured purchase of `month` is added.
    fn month_mut(&mut self, month: Month, spare: &mut Spare) -> &mut OpenMonth {
        let first = self.month.get_or_insert(OpenMonth::new(month));
        if first.month == month {
            return first;
        }
        let later = &mut self.rare.get_or_insert_with(|| spare.rare()).later;
        if month < first.month {
            later.insert(0, std::mem::replace(first, OpenMonth::new(month)));
            return first;
        }
        let at = later.partition_point(|open| open.month < month);
        if later.get(at).is_none_or(|open| open.month != month) {
            later.insert(at, OpenMonth::new(month));
        }
        &mut later[at]
    }

    /// Adds a captured purchase to what the customer owes. The second channel in a month gives it a story, because
    /// payments settle purchase by purchase.
    pub fn charge(&mut self, spare: &mut Spare, purchase: &Purchase, due: Date) {
        self.record.bought(purchase.month);
        self.owe(spare, purchase, due);
    }

    /// The same, but the ladder takes no notice.
    pub fn owe(&mut self, spare: &mut Spare, purchase: &Purchase, due: Date) {
        let Purchase { order, channel, amount, month, at } = *purchase;
        if channel == Channel::NpAtobarai {
            let np = &mut self.rare_mut(spare).np;
            let at = np.partition_point(|bill| bill.order < order);
            return np.insert(at, NpBill { order, due, unpaid: amount });
        }
        let key = BillKey::Month(month);
        if self.story(key).is_err() {
            let open = self.month_mut(month, spare);
            let (own, other) = match channel {
                Channel::InStore => (&mut open.in_store, open.online),
                Channel::Online | Channel::NpAtobarai => (&mut open.online, open.in_store),
            };
            if other.is_zero() {
                *own += amount;
                return;
            }
        }
        self.bill_mut(key, spare).charge(channel, at, amount);
    }

    /// Takes a part of a purchase off what the customer owes, or off what was paid where it is no longer owed.
    pub fn discharge(&mut self, spare: &mut Spare, purchase: &Purchase, now: &Now) {
        let Purchase { order, channel, amount, month, at } = *purchase;
        let key = purchase.bill();
        // A late NP bill gets a story: its damages go by what was open on each day.
        let plain = self.plain_np(order).and_then(|at| self.np_bills().get(at));
        let is_late_np = plain.is_some_and(|bill| bill.due < now.date);
        if is_late_np || self.story(key).is_ok() {
            return self.bill_mut(key, spare).reduce(channel, at, amount, now.at);
        }
        match channel {
            Channel::NpAtobarai => {
                let at = self.plain_np(order);
                let np = self.rare.as_mut().zip(at).and_then(|(rare, at)| rare.np.get_mut(at));
                np.into_iter().for_each(|bill| bill.unpaid -= amount);
            }
            Channel::InStore | Channel::Online => {
                let later = self.rare.iter_mut().flat_map(|rare| &mut rare.later);
                for open in self.month.iter_mut().chain(later).filter(|open| open.month == month) {
                    *(if channel == Channel::InStore { &mut open.in_store } else { &mut open.online }) -= amount;
                }
            }
        }
    }

    /// A change of method at `month` leaves the bills already issued as they were.
    pub fn set_payment_method(&mut self, method: PaymentMethod, month: Month) {
        let before = self.profile.payment_method;
        if method == before {
            return;
        }
        let later = self.rare.iter_mut().flat_map(|rare| &mut rare.later);
        for open in self.month.iter_mut().chain(later).filter(|open| open.month < month) {
            open.billed_by.get_or_insert(before);
        }
        for bill in self.rare.iter_mut().flat_map(|rare| &mut rare.bills) {
            if bill.billed_by.is_none() && matches!(bill.key, BillKey::Month(closed) if closed < month) {
                Arc::make_mut(bill).billed_by = Some(before);
            }
        }
        self.profile.payment_method = method;
    }

    /// Drops what no longer says anything, so that an idle customer costs the least memory.
    pub fn tidy(&mut self, today: Date) {
        let is_paid = |open: &OpenMonth| open.principal().is_zero();
        if let Some(rare) = &mut self.rare {
            rare.later.retain(|open| !is_paid(open));
            rare.np.retain(|bill| !bill.unpaid.is_zero());
            rare.bills.retain(|bill| !bill.is_over(today));
            if rare.notes.as_deref() == Some(&Notes::default()) {
                rare.notes = None;
            }
        }
        if self.month.as_ref().is_some_and(is_paid) {
            let later = self.rare.as_mut().map(|rare| &mut rare.later).filter(|later| !later.is_empty());
            self.month = later.map(|later| later.remove(0));
        }
        if self.rare.as_ref().is_some_and(|rare| **rare == Rare::default()) {
            self.rare = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn month(text: &str) -> Month {
        Month::parse(text).unwrap()
    }

    /// Months and what they owe, as `YYYY-MM yen`.
    fn owed(account: &Account) -> Vec<String> {
        account.months().map(|open| format!("{} {}", open.month, open.principal())).collect()
    }

    #[test]
    fn months_are_kept_oldest_first_whatever_came_first_and_go_when_paid() {
        let mut spare = Spare::default();
        for order in [["2026-11", "2026-10", "2026-12"], ["2026-12", "2026-11", "2026-10"]] {
            let mut account = Account::new(CustomerId::new("1001").unwrap(), Profile::newcomer());
            for text in order {
                account.month_mut(month(text), &mut spare).in_store += Yen::new(100);
                account.month_mut(month(text), &mut spare).online += Yen::new(20);
            }
            assert_eq!(owed(&account), ["2026-10 120", "2026-11 120", "2026-12 120"]);
            account.set_payment_method(PaymentMethod::Debit, month("2026-12"));
            let billed: Vec<_> = account.months().map(|open| open.billed_by).collect();
            assert_eq!(billed, [Some(PaymentMethod::Konbini), Some(PaymentMethod::Konbini), None]);
            for (text, left) in [("2026-10", 2), ("2026-12", 1), ("2026-11", 0)] {
                *account.month_mut(month(text), &mut spare) = OpenMonth::new(month(text));
                account.tidy(Date::parse("2027-06-01").unwrap());
                assert_eq!(owed(&account).len(), left);
            }
            assert_eq!((account.month, account.rare), (None, None), "nothing is left behind");
        }
    }

    #[test]
    fn a_late_np_bill_that_is_refunded_keeps_the_days_before() {
        let (mut spare, date) = (Spare::default(), |text| Date::parse(text).unwrap());
        let mut account = Account::new(CustomerId::new("1001").unwrap(), Profile::newcomer());
        let np = |amount| Purchase {
            order: Lsn(7),
            channel: Channel::NpAtobarai,
            amount: Yen::new(amount),
            month: month("2026-11"),
            at: date("2026-11-01").start(),
        };
        account.owe(&mut spare, &np(10_000), date("2026-11-15"));
        account.discharge(&mut spare, &np(1_000), &Now::at(date("2026-11-15").start()));
        assert_eq!(account.np_bills().len(), 1, "in time it only shrinks");
        account.discharge(&mut spare, &np(4_000), &Now::at(date("2026-11-25").start()));
        let bill = account.bills().next().unwrap().into_owned();
        assert_eq!((bill.net(), bill.open_before(date("2026-11-25").start())), (5_000.into(), 9_000.into()));
    }
}

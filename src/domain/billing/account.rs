//! One customer's account: what they may do and what they owe, as functions of the time asked about.

use std::sync::Arc;

use smallvec::SmallVec;

use super::bill::{Bill, OpenMonth};
use super::notes::Notes;
use super::outflows::{Outflow, Why};
use super::sums::{Money, Sum, Sums};
use crate::domain::billing::notes::{Cause, Note, Payment, Pending, Slip};
use crate::domain::model::bounds::SLIPS_KEPT;
use crate::domain::model::customer::{Profile, Record, Status};
use crate::domain::model::ids::{CustomerId, Handle, Lsn, OfficeId, PackedLsn};
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

/// What most customers do not have, kept out of the dense table: bills, holds, credit, notes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Debt {
    /// By their order.
    pub holds: SmallVec<[Hold; 2]>,
    /// By their key. A copy of the account shares them until one of the two changes: an account may have a thousand.
    pub bills: SmallVec<[Arc<Bill>; 2]>,
    /// Money that met no bill yet. Never a negative exposure.
    pub sums: Sums,
    /// When sums and bills last met, and in which record: whatever was issued by then has taken what it could. Zero where
    /// there are no sums.
    pub met: (Millis, Lsn),
    /// What left the books lately, or came back, in order.
    pub outflows: Vec<Outflow>,
    pub notes: Option<Box<Notes>>,
    /// The day on which stories came back from the ledger: for the rest of it nothing is let go.
    pub recalled_on: Option<Date>,
}

impl Debt {
    /// Parts of one money are one.
    pub(crate) fn add_outflow(&mut self, outflow: Outflow) {
        let is_same = |other: &&mut Outflow| other.fact == outflow.fact && other.money.fact == outflow.money.fact;
        if let Some(same) = self.outflows.iter_mut().find(is_same) {
            same.amount += outflow.amount;
            same.due += outflow.due;
            return;
        }
        let place = |of: &Outflow| (of.at, of.fact, of.money.age());
        let at = self.outflows.partition_point(|other| place(other) <= place(&outflow));
        self.outflows.insert(at, outflow);
    }

    /// Less of it left, or came back, than was thought.
    pub(super) fn take_outflow(&mut self, outflow: Outflow) {
        let is_same = |other: &&mut Outflow| other.fact == outflow.fact && other.money.fact == outflow.money.fact;
        if let Some(same) = self.outflows.iter_mut().find(is_same) {
            // What was owed in cash is the last to be of another sum.
            same.amount -= outflow.amount;
            same.due = same.due.min(same.amount);
        }
        self.outflows.retain(|outflow| !outflow.amount.is_zero());
    }

    /// What the payout of a record took.
    pub fn payout(&self, fact: Lsn) -> impl Iterator<Item = &Outflow> {
        self.outflows.iter().filter(move |of| of.fact == fact && of.why == Why::PaidOut)
    }
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
    /// The newest month with purchases, while it is one sum; [`Account::bills`] has it among the others.
    pub month: Option<OpenMonth>,
    pub debt: Option<Box<Debt>>,
    pub record: Record,
    /// The customer's latest approval in the order book, from where earlier ones are linked.
    pub latest_approval: Option<Sequence>,
    /// The last fact that touched what the customer can spend: see `Event::moves_room`.
    pub touched: PackedLsn,
    /// The last day of which a story was let go: news of later days meets all that it can meet. [`Date::MIN`] while
    /// nothing was.
    pub let_go: Date,
}

/// Ten million customers are to fit into 1.6 GB, the index to them (up to 21 bytes a customer) included.
const _: () = assert!(size_of::<Account>() == 128 && size_of::<Debt>() <= 192);

impl Account {
    pub fn new(id: CustomerId, profile: Profile) -> Self {
        Self {
            id,
            profile,
            codes_issued: 0,
            live_code: None,
            month: None,
            debt: None,
            record: Record::default(),
            latest_approval: None,
            touched: PackedLsn::default(),
            let_go: Date::MIN,
        }
    }

    pub fn holds(&self) -> &[Hold] {
        self.debt.as_ref().map_or(&[], |debt| &debt.holds)
    }

    /// Money that met no bill yet, the oldest first.
    pub fn sums(&self) -> &[Sum] {
        self.debt.as_ref().map_or(&[], |debt| debt.sums.as_slice())
    }

    pub(crate) fn met(&self) -> (Millis, Lsn) {
        self.debt.as_ref().map_or(<(Millis, Lsn)>::default(), |debt| debt.met)
    }

    /// Of it, what is not owed to the customer in cash.
    pub fn credit(&self) -> Yen {
        self.debt.as_ref().map_or(Yen::ZERO, |debt| debt.sums.credit())
    }

    /// Of it, what is owed to the customer in cash.
    pub fn payout_due(&self) -> Yen {
        self.debt.as_ref().map_or(Yen::ZERO, |debt| debt.sums.due())
    }

    pub fn notes(&self) -> Option<&Notes> {
        self.debt.as_ref()?.notes.as_deref()
    }

    pub fn debt_mut(&mut self) -> &mut Debt {
        self.debt.get_or_insert_default()
    }

    /// The customer told of a lost phone, and it was not lifted.
    pub fn is_frozen(&self) -> bool {
        self.notes().is_some_and(|notes| !notes.freezes.is_empty())
    }

    pub fn notes_mut(&mut self) -> &mut Notes {
        self.debt_mut().notes.get_or_insert_default()
    }

    /// Adds a purchase that record `by` captured to what the customer owes, and counts it for the ladder.
    pub fn charge(&mut self, purchase: &Purchase, due: Date, by: Lsn) {
        self.record.bought(purchase.month);
        self.owe(purchase, due, by);
    }

    /// The same without the ladder. The second channel in a month makes it a bill, because payments settle purchase by
    /// purchase.
    pub fn owe(&mut self, purchase: &Purchase, due: Date, by: Lsn) {
        let Purchase { channel, amount, month, at, .. } = *purchase;
        if channel == Channel::NpAtobarai {
            return self.add_bill(Bill::of_np(purchase, due, by));
        }
        if let Some(open) = self.month.as_mut().filter(|open| open.holds(purchase)) {
            open.amount += amount;
            return;
        }
        let key = BillKey::Month(month);
        let is_newest = self.month.is_none_or(|open| open.month < month);
        if is_newest && self.place(key).is_err() {
            self.close_month();
            self.month = Some(OpenMonth { month, channel, amount });
        } else {
            self.bill_mut(key).charge(channel, at, amount);
        }
    }

    /// Takes a part of a purchase off what the customer owes, or off what was paid where it is no longer owed. It counts
    /// from the refund's own day.
    pub fn refund(&mut self, purchase: &Purchase, money: Money) {
        let Purchase { channel, amount, at, .. } = *purchase;
        if let Some(open) = self.open_month_of(purchase) {
            open.amount -= amount;
        } else if self.place(purchase.bill()).is_ok() {
            self.bill_mut(purchase.bill()).refund(channel, at, amount, money);
        }
    }

    /// Takes a purchase back as if it had never been made.
    pub fn uncharge(&mut self, purchase: &Purchase) {
        let Purchase { channel, amount, at, .. } = *purchase;
        if let Some(open) = self.open_month_of(purchase) {
            open.amount -= amount;
        } else if self.place(purchase.bill()).is_ok() {
            let bill = self.bill_mut(purchase.bill());
            bill.uncharge(channel, at, amount);
            bill.limit_applied_credit();
        }
    }

    /// A month that is still open, and that no credit was put on: what goes back of it lowers the usage alone.
    pub fn is_mere_usage(&self, bill: BillKey, now: &Now) -> bool {
        bill == BillKey::Month(now.month) && self.listed_bill(bill).is_none_or(|bill| bill.changes.is_empty())
    }

    fn open_month_of(&mut self, purchase: &Purchase) -> Option<&mut OpenMonth> {
        self.month.as_mut().filter(|open| open.holds(purchase))
    }

    /// A change of method at `month` leaves the bills already issued as they were.
    pub fn set_payment_method(&mut self, method: PaymentMethod, month: Month) {
        let before = self.profile.payment_method;
        if method == before {
            return;
        }
        if self.month.is_some_and(|open| open.month < month) {
            self.close_month();
        }
        for bill in self.debt.iter_mut().flat_map(|debt| &mut debt.bills) {
            if bill.billed_by.is_none() && matches!(bill.key, BillKey::Month(closed) if closed < month) {
                Arc::make_mut(bill).billed_by = Some(before);
            }
        }
        self.profile.payment_method = method;
    }

    /// Credit of the sums that are ripe is owed in cash from now on, the oldest first: as much of it as usage without a bill
    /// and open holds do not keep back.
    pub(super) fn make_due(&mut self, now: &Now, is_ripe: impl Fn(&Sum) -> bool) {
        let mut to_spare = self.credit().minus_or_zero(self.kept_back(now));
        if let Some(debt) = &mut self.debt {
            debt.sums.make_due(&mut to_spare, is_ripe);
        }
    }

    /// A closed account has no next bill: all that it has to spare is owed to the customer in cash.
    pub(crate) fn make_due_if_closed(&mut self, now: &Now) {
        if self.profile.status == Status::Closed {
            self.make_due(now, |_| true);
        }
    }
}

impl Account {
    /// Takes in what a note says.
    pub fn note(&mut self, note: &Note, today: Date) {
        let notes = self.notes_mut();
        match note {
            Note::Pending { id, amount, paid_at, expires_at } => {
                let pending = Pending { id: *id, amount: *amount, paid_at: *paid_at, expires_at: *expires_at };
                notes.pending.push(pending);
            }
            Note::Withdrawn { id, staff: _ } => self.forget_pending(*id),
            Note::Blocked { id, .. } => notes.blocks.push(*id),
            Note::Released { id, staff: _ } => notes.blocks.retain(|block| block != id),
            Note::Frozen { id } => notes.freezes.push(*id),
            Note::Unfrozen { id, staff: _ } => notes.freezes.retain(|freeze| freeze != id),
            Note::SlipIssued(issued) => {
                notes.forget_slips(today);
                notes.slips.push(Slip {
                    kind: Some(issued.kind),
                    number: issued.number,
                    amount: issued.lines.total(),
                    expires_at: issued.expires_at,
                });
                let too_many = notes.slips.len().saturating_sub(SLIPS_KEPT);
                notes.slips.drain(..too_many);
            }
        }
    }

    /// Money came: provisional news of it has ended, and the slip it was paid on is not given again.
    pub fn end_news(&mut self, cause: &Cause) {
        if let Cause::Final(Payment { id, .. }) | Cause::Withdrawn { id, .. } = cause {
            self.forget_pending(*id);
            self.drop_empty_notes();
        }
        let (Cause::Repayment(payment) | Cause::Final(payment)) = cause else { return };
        if let Some(notes) = self.debt.as_mut().and_then(|debt| debt.notes.as_mut()) {
            let paid = notes.slips.iter_mut().filter(|slip| Some(slip.number) == payment.slip);
            paid.for_each(|slip| slip.kind = None);
        }
    }

    pub(crate) fn drop_empty_notes(&mut self) {
        if let Some(debt) = self.debt.as_mut().filter(|debt| debt.notes.as_deref() == Some(&Notes::default())) {
            debt.notes = None;
        }
    }

    /// What was provisional has ended.
    pub fn forget_pending(&mut self, id: OfficeId) {
        if let Some(notes) = self.debt.as_mut().and_then(|debt| debt.notes.as_mut()) {
            notes.pending.retain(|pending| pending.id != id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn month(text: &str) -> Month {
        Month::parse(text).unwrap()
    }

    fn date(text: &str) -> Date {
        Date::parse(text).unwrap()
    }

    fn purchase(channel: Channel, amount: u64, month: Month) -> Purchase {
        Purchase { order: Lsn(7), channel, amount: Yen::new(amount), month, at: month.day(1).start() }
    }

    /// Months and what they owe, as `YYYY-MM yen`.
    fn owed(account: &Account) -> Vec<String> {
        let mut bills: Vec<_> = account.bills().collect();
        bills.sort_by_key(|bill| bill.key);
        bills.iter().map(|bill| format!("{} {}", bill.key.month().unwrap(), bill.unpaid())).collect()
    }

    #[test]
    fn months_are_told_apart_whatever_came_first_and_go_when_nothing_is_owed() {
        for order in [["2026-11", "2026-10", "2026-12"], ["2026-12", "2026-11", "2026-10"]] {
            let mut account = Account::new(CustomerId::new("1001").unwrap(), Profile::newcomer());
            for text in order {
                account.owe(&purchase(Channel::InStore, 100, month(text)), Date::MAX, Lsn(7));
                account.owe(&purchase(Channel::Online, 20, month(text)), Date::MAX, Lsn(7));
            }
            assert_eq!(owed(&account), ["2026-10 120", "2026-11 120", "2026-12 120"]);
            account.set_payment_method(PaymentMethod::Debit, month("2026-12"));
            let mut billed: Vec<_> = account.bills().map(|bill| (bill.key, bill.billed_by)).collect();
            billed.sort_by_key(|(key, _)| *key);
            let billed: Vec<_> = billed.into_iter().map(|(_, by)| by).collect();
            assert_eq!(billed, [Some(PaymentMethod::Konbini), Some(PaymentMethod::Konbini), None]);
            for (text, left) in [("2026-10", 2), ("2026-12", 1), ("2026-11", 0)] {
                for (channel, amount) in [(Channel::InStore, 100), (Channel::Online, 20)] {
                    account.refund(&purchase(channel, amount, month(text)), Money::own(date("2027-06-01").start()));
                }
                account.tidy(date("2027-06-01"));
                assert_eq!(owed(&account).len(), left);
            }
            assert_eq!((account.month, account.debt), (None, None), "nothing is left behind");
        }
    }

    #[test]
    fn the_newest_month_is_a_sum_until_another_channel_or_month_comes() {
        let mut account = Account::new(CustomerId::new("1001").unwrap(), Profile::newcomer());
        account.owe(&purchase(Channel::InStore, 100, month("2026-10")), Date::MAX, Lsn(7));
        account.owe(&purchase(Channel::InStore, 50, month("2026-10")), Date::MAX, Lsn(7));
        assert!(account.debt.is_none(), "one sum");
        account.owe(&purchase(Channel::InStore, 10, month("2026-11")), Date::MAX, Lsn(7));
        assert_eq!((account.month.unwrap().amount, account.listed_bills().len()), (Yen::new(10), 1));
        account.owe(&purchase(Channel::Online, 1, month("2026-11")), Date::MAX, Lsn(7));
        assert_eq!((account.month, owed(&account).len()), (None, 2));
    }

    #[test]
    fn a_late_np_bill_that_is_refunded_keeps_the_days_before() {
        let mut account = Account::new(CustomerId::new("1001").unwrap(), Profile::newcomer());
        let np = |amount| purchase(Channel::NpAtobarai, amount, month("2026-11"));
        account.owe(&np(10_000), date("2026-11-15"), Lsn(7));
        account.refund(&np(1_000), Money::own(date("2026-11-15").start()));
        account.refund(&np(4_000), Money::own(date("2026-11-25").start()));
        let bill = account.bills().next().unwrap().into_owned();
        assert_eq!((bill.net(), bill.open_before(date("2026-11-25").start())), (5_000.into(), 9_000.into()));
    }
}

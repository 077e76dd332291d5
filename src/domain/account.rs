//! One customer's account: what they may do and what they owe, as functions of the time asked about.

use smallvec::SmallVec;

use super::bill::{NpBill, OpenMonth, PaymentMethod};
use super::denial::Reason;
use super::ids::{CustomerId, Handle, Lsn};
use super::jst::{BankCalendar, Date, Millis, Month, Now};
use super::money::Yen;
use super::orders::Sequence;
use super::policy::Policy;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Identity {
    Unverified = 1,
    Pending,
    Verified,
    Rejected,
}

impl Identity {
    pub const ALL: [Self; 4] = [Self::Unverified, Self::Pending, Self::Verified, Self::Rejected];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Unverified => "unverified",
            Self::Pending => "pending",
            Self::Verified => "verified",
            Self::Rejected => "rejected",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    Active = 1,
    Suspended,
    Closed,
}

impl Status {
    pub const ALL: [Self; 3] = [Self::Active, Self::Suspended, Self::Closed];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Closed => "closed",
        }
    }
}

/// Where a purchase is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Channel {
    InStore = 1,
    Online,
    NpAtobarai,
}

impl Channel {
    pub const ALL: [Self; 3] = [Self::InStore, Self::Online, Self::NpAtobarai];

    pub const fn name(self) -> &'static str {
        match self {
            Self::InStore => "in_store",
            Self::Online => "online",
            Self::NpAtobarai => "np_atobarai",
        }
    }
}

/// A customer's two limits. The in-store limit lies inside the total.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub total: Yen,
    pub in_store: Yen,
}

/// A rare text behind one pointer: `None` takes 8 bytes where `Option<Box<str>>` takes 16.
pub type Thin = Box<Box<str>>;

/// What staff may set of a customer; everything else follows from purchases and time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    pub identity: Identity,
    /// Why an identity was rejected, in the issuer's words.
    pub identity_reason: Option<Thin>,
    /// Unknown counts as a minor.
    pub birth_date: Option<Date>,
    pub guardian_consent: bool,
    pub payment_method: PaymentMethod,
    pub status: Status,
    /// Set by staff; `None` follows the ladder.
    pub limits: Option<Limits>,
    /// Rung of the ladder, from 0.
    pub rung: u8,
}

impl Profile {
    /// A new customer before anything is known.
    pub fn newcomer() -> Self {
        Self {
            identity: Identity::Unverified,
            identity_reason: None,
            birth_date: None,
            guardian_consent: false,
            payment_method: PaymentMethod::Konbini,
            status: Status::Active,
            limits: None,
            rung: 0,
        }
    }
}

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
    pub np: SmallVec<[NpBill; 4]>,
    /// Overpaid money. Never a negative exposure.
    pub credit: Yen,
}

/// Boxes made ahead, so that no approval waits for the allocator.
#[derive(Clone, Debug, Default)]
#[expect(clippy::vec_box, reason = "the boxes are what is handed out")]
pub struct Spare(Vec<Box<Rare>>);

impl Spare {
    /// More than the approvals of a batch take; 160 kB.
    const ENOUGH: usize = 512;

    pub fn make_room(&mut self) {
        self.0.reserve(Self::ENOUGH - self.0.len());
        while self.0.len() < Self::ENOUGH {
            self.0.push(Box::default());
        }
    }

    fn take(&mut self) -> Box<Rare> {
        self.0.pop().unwrap_or_default()
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
    /// The oldest month with unpaid principal; later ones are in [`Rare`]. Read them by [`Account::months`].
    pub month: Option<OpenMonth>,
    pub rare: Option<Box<Rare>>,
    /// The customer's latest approval in the order book, from where earlier ones are linked.
    pub latest_approval: Option<Sequence>,
}

/// Ten million customers are to fit into 1.6 GB, the index to them (up to 21 bytes a customer) included.
const _: () = assert!(size_of::<Account>() == 128 && size_of::<Rare>() <= 320);

/// Where something was bought, how much of it is owed more or less, and the month that bills it.
pub type Purchase = (Channel, Yen, Month);

/// What a customer owes and holds at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exposure {
    pub total: Yen,
    pub in_store: Yen,
    /// Of `total`: open holds.
    pub held: Yen,
    /// Of `total`: captured in a month that has not closed, and NP purchases before their due date.
    pub unbilled: Yen,
    /// Of `total`: on a bill.
    pub billed: Yen,
}

impl Account {
    pub fn new(id: CustomerId, profile: Profile) -> Self {
        Self { id, profile, codes_issued: 0, live_code: None, month: None, rare: None, latest_approval: None }
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

    /// Unpaid principal by month, oldest first. Usually none or one.
    pub fn months(&self) -> impl Iterator<Item = &OpenMonth> {
        self.month.iter().chain(self.rare.iter().flat_map(|rare| &rare.later))
    }

    pub fn rare_mut(&mut self, spare: &mut Spare) -> &mut Rare {
        self.rare.get_or_insert_with(|| spare.take())
    }

    /// Outstanding principal plus open holds: the one definition of exposure.
    pub fn exposure(&self, now: &Now) -> Exposure {
        let mut sum = Exposure::default();
        for month in self.months() {
            let principal = month.principal();
            sum.in_store += month.in_store;
            sum.total += principal;
            *(if month.month < now.month { &mut sum.billed } else { &mut sum.unbilled }) += principal;
        }
        for bill in self.np_bills() {
            sum.total += bill.unpaid;
            sum.billed += bill.unpaid;
        }
        for hold in self.holds().iter().filter(|hold| now.at < hold.expires_at) {
            sum.total += hold.amount;
            sum.held += hold.amount;
            if hold.channel == Channel::InStore {
                sum.in_store += hold.amount;
            }
        }
        sum
    }

    pub fn limits(&self, policy: &Policy) -> Limits {
        self.profile.limits.unwrap_or_else(|| policy.rung(self.profile.rung).limits)
    }

    /// What could be bought now in store, and online.
    pub fn spendable(&self, now: &Now, policy: &Policy) -> Spendable {
        let (limits, exposure) = (self.limits(policy), self.exposure(now));
        let online = limits.total.minus_or_zero(exposure.total);
        Spendable { in_store: limits.in_store.minus_or_zero(exposure.in_store).min(online), online }
    }

    /// The method by which a month's bill is, or will be, paid.
    pub fn method_of(&self, month: &OpenMonth) -> PaymentMethod {
        month.billed_by.unwrap_or(self.profile.payment_method)
    }

    /// The oldest due date that has passed with principal unpaid.
    pub fn overdue_since(&self, now: &Now, calendar: &BankCalendar) -> Option<Date> {
        let months = self
            .months()
            .filter(|month| month.month < now.month && !month.principal().is_zero())
            .map(|month| self.method_of(month).due(month.month, calendar));
        let np = self.np_bills().iter().filter(|bill| !bill.unpaid.is_zero()).map(|bill| bill.due);
        months.chain(np).filter(|due| *due < now.date).min()
    }

    pub fn is_minor(&self, now: &Now, policy: &Policy) -> bool {
        self.profile.birth_date.is_none_or(|born| now.date < born.plus_years(policy.customers.adult_age))
    }

    /// Why this customer may not buy through `channel` now, in the order in which standing is judged.
    pub fn blocked_by(&self, channel: Channel, now: &Now, policy: &Policy, calendar: &BankCalendar) -> Option<Reason> {
        match self.profile.status {
            Status::Closed => return Some(Reason::Closed),
            Status::Suspended => return Some(Reason::Suspended),
            Status::Active => {}
        }
        let in_store = channel == Channel::InStore;
        if in_store && policy.customers.identity_required_in_store && self.profile.identity != Identity::Verified {
            return Some(Reason::IdentityRequired);
        }
        // A guest who pays NP invoices is no member; consent belongs to membership.
        if channel != Channel::NpAtobarai && !self.profile.guardian_consent && self.is_minor(now, policy) {
            return Some(Reason::ConsentRequired);
        }
        self.overdue_since(now, calendar).map(|_| Reason::Overdue)
    }

    /// Where a captured purchase of `month` is added.
    pub fn month_mut(&mut self, month: Month, spare: &mut Spare) -> &mut OpenMonth {
        let first = self.month.get_or_insert(OpenMonth::new(month));
        if first.month == month {
            return first;
        }
        let later = &mut self.rare.get_or_insert_with(|| spare.take()).later;
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

    /// Adds a captured purchase to what the customer owes.
    pub fn charge(&mut self, spare: &mut Spare, order: Lsn, purchase: Purchase, due: Date) {
        match purchase {
            (Channel::InStore, amount, month) => self.month_mut(month, spare).in_store += amount,
            (Channel::Online, amount, month) => self.month_mut(month, spare).online += amount,
            (Channel::NpAtobarai, unpaid, _) => self.rare_mut(spare).np.push(NpBill { order, due, unpaid }),
        }
    }

    /// Takes principal off what the customer owes.
    pub fn discharge(&mut self, spare: &mut Spare, order: Lsn, purchase: Purchase) {
        match purchase {
            (Channel::InStore, amount, month) => self.month_mut(month, spare).in_store -= amount,
            (Channel::Online, amount, month) => self.month_mut(month, spare).online -= amount,
            (Channel::NpAtobarai, amount, _) => {
                for bill in self.rare_mut(spare).np.iter_mut().filter(|bill| bill.order == order) {
                    bill.unpaid -= amount;
                }
            }
        }
    }

    /// A change of method at `month` leaves the bills already issued as they were.
    pub fn set_payment_method(&mut self, method: PaymentMethod, month: Month) {
        let before = self.profile.payment_method;
        let later = self.rare.iter_mut().flat_map(|rare| &mut rare.later);
        for open in self.month.iter_mut().chain(later).filter(|open| open.month < month) {
            open.billed_by.get_or_insert(before);
        }
        self.profile.payment_method = method;
    }

    /// Drops what no longer says anything, so that an idle customer costs the least memory.
    pub fn tidy(&mut self) {
        let is_paid = |open: &OpenMonth| open.principal().is_zero();
        if let Some(rare) = &mut self.rare {
            rare.later.retain(|open| !is_paid(open));
            rare.np.retain(|bill| !bill.unpaid.is_zero());
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spendable {
    pub in_store: Yen,
    pub online: Yen,
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
                account.tidy();
                assert_eq!(owed(&account).len(), left);
            }
            assert_eq!((account.month, account.rare), (None, None), "nothing is left behind");
        }
    }
}

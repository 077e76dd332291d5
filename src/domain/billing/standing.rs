//! Where a customer stands at one moment: what is owed, what can be spent, and what is in the way. All of it is a
//! function of the account and the time.

use super::account::Account;
use super::fold::News;
use super::lateness::Rules;
use crate::domain::model::customer::{Identity, Limits, Status};
use crate::domain::model::denial::Reason;
use crate::domain::model::money::Yen;
use crate::domain::model::payment::BillKey;
use crate::domain::model::policy::Policy;
use crate::domain::model::purchase::Channel;
use crate::domain::model::time::{Date, Now};

/// What a customer owes and holds at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Exposure {
    pub total: Yen,
    pub in_store: Yen,
    /// Of `total`: open holds.
    pub held: Yen,
    /// Of `total`: captured in a month that has not closed.
    pub unbilled: Yen,
    /// Of `total`: on a bill.
    pub billed: Yen,
    /// Of `total`: on a bill that was given up.
    pub written_off: Yen,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Spendable {
    pub in_store: Yen,
    pub online: Yen,
}

impl Exposure {
    fn add(&mut self, bill: BillKey, in_store: Yen, principal: Yen, now: &Now) {
        self.in_store += in_store;
        self.total += principal;
        let is_billed = match bill {
            BillKey::Month(month) => month < now.month,
            BillKey::Np(_) => true,
        };
        *(if is_billed { &mut self.billed } else { &mut self.unbilled }) += principal;
    }
}

impl Account {
    /// Outstanding principal plus open holds: the one definition of exposure. Credit that has met a bill since is not in
    /// it: see [`Account::as_of`].
    pub(super) fn exposure_as_it_stands(&self, now: &Now) -> Exposure {
        let mut sum = Exposure::default();
        if let Some(open) = &self.month {
            let in_store = if open.channel == Channel::InStore { open.amount } else { Yen::ZERO };
            sum.add(BillKey::Month(open.month), in_store, open.amount, now);
        }
        for bill in self.listed_bills() {
            let (in_store, principal) = (bill.unpaid_of(Channel::InStore), bill.unpaid());
            sum.add(bill.key, in_store, principal, now);
            if bill.written_off_at(now.at).is_some() {
                sum.billed -= principal;
                sum.written_off += principal;
            }
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

    pub fn exposure(&self, now: &Now, rules: Rules<'_>) -> Exposure {
        self.as_of(now, rules).exposure_as_it_stands(now)
    }

    pub fn limits(&self, policy: &Policy) -> Limits {
        self.profile.limits.as_deref().copied().unwrap_or_else(|| policy.rung(self.profile.rung).limits)
    }

    /// What could be bought now in store, and online.
    pub fn spendable(&self, now: &Now, rules: Rules<'_>) -> Spendable {
        let limits = self.limits(rules.policy);
        let exposure = self.exposure(now, rules);
        let online = limits.total.minus_or_zero(exposure.total);
        Spendable { in_store: limits.in_store.minus_or_zero(exposure.in_store).min(online), online }
    }

    /// The oldest due date that has passed with principal unpaid. Provisional news of a payment counts, as does credit.
    pub fn overdue_since(&self, now: &Now, rules: Rules<'_>) -> Option<Date> {
        let overdue = self.as_of(now, rules).overdue_as_it_stands(now, rules)?;
        match self.as_if_paid(&News::default(), now, rules) {
            Some(as_if) => as_if.overdue_as_it_stands(now, rules),
            None => Some(overdue),
        }
    }

    fn overdue_as_it_stands(&self, now: &Now, rules: Rules<'_>) -> Option<Date> {
        let by = self.bill_rules(rules);
        let open = self.month.iter().filter(|open| open.month < now.month && !open.amount.is_zero());
        let open = open.map(|open| by.terms.billing(open.month).due(by.method, open.month, by.calendar));
        let bills = self.listed_bills().iter().filter(|bill| !bill.unpaid().is_zero()).map(|bill| bill.due(&by));
        open.chain(bills).filter(|due| *due < now.date).min()
    }

    pub fn is_minor(&self, now: &Now, policy: &Policy) -> bool {
        self.profile.birth_date.is_none_or(|born| now.date < born.plus_years(policy.customers.adult_age))
    }

    /// Why this customer may not buy through `channel` now: what is judged first.
    pub fn blocked_by(&self, channel: Channel, now: &Now, rules: Rules<'_>) -> Option<Reason> {
        let standing = self.blocked_by_standing(channel, now, rules.policy).into_iter().flatten().next();
        standing.or_else(|| self.overdue_since(now, rules).map(|_| Reason::Overdue))
    }

    /// All that is in the way besides an overdue bill, in the order in which it is judged.
    pub(crate) fn blocked_by_standing(&self, channel: Channel, now: &Now, policy: &Policy) -> [Option<Reason>; 4] {
        let in_store = channel == Channel::InStore;
        let is_blocked = self.notes().is_some_and(|notes| !notes.blocks.is_empty());
        let is_suspended = self.profile.status == Status::Suspended || is_blocked || (in_store && self.is_frozen());
        let lacks_identity = policy.customers.identity_required_in_store && self.profile.identity != Identity::Verified;
        // A guest who pays NP invoices is no member; consent belongs to membership.
        let lacks_consent =
            channel != Channel::NpAtobarai && !self.profile.guardian_consent && self.is_minor(now, policy);
        [
            (self.profile.status == Status::Closed).then_some(Reason::Closed),
            is_suspended.then_some(Reason::Suspended),
            (in_store && lacks_identity).then_some(Reason::IdentityRequired),
            lacks_consent.then_some(Reason::ConsentRequired),
        ]
    }
}

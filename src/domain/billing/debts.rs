//! The bills of an account, found and looked through. There may be a thousand of them, and everybody waits: one is looked
//! up, and a pass looks at each once.

use std::borrow::Cow;
use std::sync::Arc;

use super::account::Account;
use super::bill::{Bill, NpBill};
use super::lateness::BillRules;
use super::spare::Spare;
use crate::domain::model::ids::Lsn;
use crate::domain::model::money::Yen;
use crate::domain::model::payment::BillKey;
use crate::domain::model::time::Date;

impl Account {
    /// Where the bill is among those with a story, or where it would be put.
    pub(crate) fn story(&self, key: BillKey) -> Result<usize, usize> {
        let stories = self.stories();
        // Bills are made in order, and mostly paid in order.
        if stories.last().is_none_or(|last| last.key < key) {
            return Err(stories.len());
        }
        stories.binary_search_by_key(&key, |bill| bill.key)
    }

    /// Where the NP purchase is among those without a story.
    pub(crate) fn plain_np(&self, order: Lsn) -> Option<usize> {
        let at = self.np_bills().binary_search_by_key(&order, |bill| bill.order).ok()?;
        (!self.np_bills()[at].unpaid.is_zero()).then_some(at)
    }

    /// A bill as it stands; none if nothing is known of it.
    pub fn bill(&self, key: BillKey) -> Option<Cow<'_, Bill>> {
        if let Some(bill) = self.story_of(key) {
            return Some(Cow::Borrowed(bill));
        }
        match key {
            BillKey::Month(month) => {
                self.months().find(|open| open.month == month).map(|open| Cow::Owned(Bill::of_month(open)))
            }
            BillKey::Np(order) => {
                let plain = self.np_bills().get(self.plain_np(order)?)?;
                Some(Cow::Owned(Bill::of_np(plain)))
            }
        }
    }

    /// The bill with its story; from here on it has one.
    pub fn bill_mut(&mut self, key: BillKey, spare: &mut Spare) -> &mut Bill {
        let at = match self.story(key) {
            Ok(at) => at,
            Err(at) => {
                let bill = self.take_plain(key);
                let shared = spare.bill(bill);
                self.rare_mut(spare).bills.insert(at, shared);
                at
            }
        };
        Arc::make_mut(&mut self.rare_mut(spare).bills[at])
    }

    /// Takes a month or an NP purchase out of the plain sums.
    fn take_plain(&mut self, key: BillKey) -> Bill {
        match key {
            BillKey::Month(month) => {
                let later = self.rare.as_mut().map(|rare| &mut rare.later);
                if self.month.as_ref().is_some_and(|open| open.month == month) {
                    let next = later.filter(|later| !later.is_empty()).map(|later| later.remove(0));
                    return std::mem::replace(&mut self.month, next)
                        .map_or_else(|| Bill::empty(key), |open| Bill::of_month(&open));
                }
                let at = later.as_ref().and_then(|later| later.iter().position(|open| open.month == month));
                let taken = later.zip(at).map(|(later, at)| later.remove(at));
                taken.map_or_else(|| Bill::empty(key), |open| Bill::of_month(&open))
            }
            BillKey::Np(order) => {
                let at = self.plain_np(order);
                let np = self.rare.as_mut().zip(at).and_then(|(rare, at)| rare.np.get_mut(at));
                // One payment may meet a thousand of them: what stays unpaid of none is let go of by `tidy`, all at once.
                let Some(np) = np else { return Bill::empty(key) };
                let unpaid = std::mem::take(&mut np.unpaid);
                Bill::of_np(&NpBill { unpaid, ..*np })
            }
        }
    }

    /// All bills with their stories, in no order.
    pub fn bills(&self) -> impl Iterator<Item = Cow<'_, Bill>> {
        let np = self.plain_nps().map(|bill| Cow::Owned(Bill::of_np(bill)));
        self.months_and_stories().chain(np)
    }

    /// All but the NP purchases without a story on which no late fee can be due: of those, a thousand maybe, nothing was
    /// paid, and there is nothing to say yet.
    pub fn bills_in_question(&self, today: Date, rules: &BillRules<'_>) -> impl Iterator<Item = Cow<'_, Bill>> {
        let is_free = rules.terms.lateness.np_fee.is_zero();
        let late = self.plain_nps().filter(move |bill| bill.due < today && !is_free);
        self.months_and_stories().chain(late.map(|bill| Cow::Owned(Bill::of_np(bill))))
    }

    fn months_and_stories(&self) -> impl Iterator<Item = Cow<'_, Bill>> {
        let months = self.months().map(|open| Cow::Owned(Bill::of_month(open)));
        months.chain(self.stories().iter().map(|bill| Cow::Borrowed(bill.as_ref())))
    }

    fn plain_nps(&self) -> impl Iterator<Item = &NpBill> {
        self.np_bills().iter().filter(|bill| !bill.unpaid.is_zero())
    }

    /// What is to be paid of an NP purchase of which nothing was heard and that is charged no late fee on a day.
    pub fn unpaid_only(&self, key: BillKey, day: Date, rules: &BillRules<'_>) -> Option<Yen> {
        let BillKey::Np(order) = key else { return None };
        let bill = &self.np_bills()[self.plain_np(order)?];
        (day <= bill.due || rules.terms.lateness.np_fee.is_zero()).then_some(bill.unpaid)
    }

    /// The due dates of all bills, with their keys, in no order.
    pub fn due_dates(&self, rules: &BillRules<'_>) -> impl Iterator<Item = (Date, BillKey)> {
        let np = self.plain_nps().map(|bill| (bill.due, BillKey::Np(bill.order)));
        self.months_and_stories().map(|bill| (bill.due(rules), bill.key)).chain(np)
    }

    /// The keys of all bills, in no order.
    pub fn bill_keys(&self) -> impl Iterator<Item = BillKey> {
        let months = self.months().map(|open| BillKey::Month(open.month));
        let np = self.plain_nps().map(|bill| BillKey::Np(bill.order));
        months.chain(np).chain(self.stories().iter().map(|bill| bill.key))
    }

    /// Bills, invoices and holds: those that are open, and all with those that are paid and kept until they say nothing
    /// any more.
    pub fn debts(&self, today: Date) -> (usize, usize) {
        let (paid, over) = self
            .stories()
            .iter()
            .filter(|bill| !bill.is_open())
            .fold((0, 0), |(paid, over), bill| (paid + 1, over + usize::from(bill.is_over(today))));
        (self.listed_debts() - paid, self.listed_debts() - over)
    }

    /// All in its lists, and with them those that are over and were not let go of yet: quickly counted, and never fewer.
    pub fn listed_debts(&self) -> usize {
        self.months().count() + self.np_bills().len() + self.stories().len() + self.holds().len()
    }

    /// The bill, if it has a story.
    pub fn story_of(&self, key: BillKey) -> Option<&Bill> {
        self.stories().get(self.story(key).ok()?).map(AsRef::as_ref)
    }
}

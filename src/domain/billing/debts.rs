//! The bills of an account, found and looked through. There may be a thousand of them, and everybody waits: one is looked
//! up, and a pass looks at each once.

use std::borrow::Cow;
use std::sync::Arc;

use super::account::Account;
use super::bill::Bill;
use super::notes::Notes;
use super::settlement::{Place, Settlement};
use crate::domain::model::bounds::Bounds;
use crate::domain::model::ids::Lsn;
use crate::domain::model::payment::BillKey;
use crate::domain::model::time::{Date, Millis};

impl Account {
    /// The bills but for the open month, by their key.
    pub fn listed_bills(&self) -> &[Arc<Bill>] {
        self.debt.as_ref().map_or(&[], |debt| &debt.bills)
    }

    /// Where the bill is among [`Account::listed_bills`], or where it would be put.
    pub(crate) fn place(&self, key: BillKey) -> Result<usize, usize> {
        let bills = self.listed_bills();
        // Bills are made in order, and mostly paid in order.
        if bills.last().is_none_or(|last| last.key < key) {
            return Err(bills.len());
        }
        bills.binary_search_by_key(&key, |bill| bill.key)
    }

    /// A bill as it stands; none if nothing is known of it.
    pub fn bill(&self, key: BillKey) -> Option<Cow<'_, Bill>> {
        let open = || self.month.as_ref().filter(|open| BillKey::Month(open.month) == key);
        match self.listed_bill(key) {
            Some(bill) => Some(Cow::Borrowed(bill)),
            None => open().map(|open| Cow::Owned(Bill::of_month(open))),
        }
    }

    /// The bill, if it is not the open month.
    pub fn listed_bill(&self, key: BillKey) -> Option<&Bill> {
        self.listed_bills().get(self.place(key).ok()?).map(AsRef::as_ref)
    }

    /// A bill to be changed; one of which nothing is known is made.
    pub fn bill_mut(&mut self, key: BillKey) -> &mut Bill {
        if self.month.is_some_and(|open| BillKey::Month(open.month) == key) {
            self.close_month();
        }
        let place = self.place(key);
        let bills = &mut self.debt_mut().bills;
        let at = place.unwrap_or_else(|at| {
            let bill = match key {
                BillKey::Month(month) => Bill::empty_month(month),
                BillKey::Np(_) => Bill::empty(key, Millis(0), Lsn(0)),
            };
            bills.insert(at, Arc::new(bill));
            at
        });
        Arc::make_mut(&mut bills[at])
    }

    /// The open month becomes a bill among the others.
    pub(crate) fn close_month(&mut self) {
        if let Some(open) = self.month.take() {
            self.add_bill(Bill::of_month(&open));
        }
    }

    pub(crate) fn add_bill(&mut self, bill: Bill) {
        let (Ok(at) | Err(at)) = self.place(bill.key);
        self.debt_mut().bills.insert(at, Arc::new(bill));
    }

    /// All bills, the open month last: of many they are nearly in the order of their due dates, and quickly put into it.
    pub fn bills(&self) -> impl Iterator<Item = Cow<'_, Bill>> {
        let open = self.month.iter().map(|open| Cow::Owned(Bill::of_month(open)));
        self.listed_bills().iter().map(|bill| Cow::Borrowed(bill.as_ref())).chain(open)
    }

    /// Whether one of the bills that a settlement has touched, or the one that a refund makes smaller, has had more
    /// changes than a bill may have.
    pub fn has_full_bill(&self, books: &Settlement, refunded: Option<BillKey>, bounds: &Bounds) -> bool {
        // Money that pays the bill off passes: it is the last.
        let full = |bill: &&Arc<Bill>| bill.changes.len() > bounds.changes_per_bill && bill.is_open();
        let full: Vec<BillKey> = self.listed_bills().iter().filter(full).map(|bill| bill.key).collect();
        if full.is_empty() {
            return false;
        }
        let ends = books.transfers.iter().flat_map(|transfer| [transfer.from, transfer.to]);
        let touched = ends.filter_map(Place::bill);
        touched.chain(refunded).any(|key| full.contains(&key))
    }

    /// The keys of all bills, in no order.
    pub fn bill_keys(&self) -> impl Iterator<Item = BillKey> {
        let open = self.month.iter().map(|open| BillKey::Month(open.month));
        open.chain(self.listed_bills().iter().map(|bill| bill.key))
    }

    /// Bills, invoices and holds: those that are open, and all with those that are paid and kept until they say nothing
    /// any more.
    pub fn debts(&self, today: Date) -> (usize, usize) {
        let listed = self.listed_debts();
        let news_from = self.notes().and_then(Notes::news_from);
        let (paid, over) = self
            .listed_bills()
            .iter()
            .filter(|bill| !bill.is_open())
            .fold((0, 0), |(paid, over), bill| (paid + 1, over + usize::from(bill.is_over(today, news_from))));
        (listed - paid, listed - over)
    }

    /// All in its lists, and with them those that are over and were not let go of yet: quickly counted, and never fewer.
    pub fn listed_debts(&self) -> usize {
        usize::from(self.month.is_some()) + self.listed_bills().len() + self.holds().len()
    }
}

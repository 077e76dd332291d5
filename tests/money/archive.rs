//! What a ledger would keep of the customers' books: accounts that nothing but facts has changed, and what these let go.

use std::collections::BTreeMap;

use sokketsu::domain::billing::account::Account;
use sokketsu::domain::billing::bill::Bill;
use sokketsu::domain::billing::stories::{Kept, Story, StoryKey};
use sokketsu::domain::model::ids::{CustomerId, Lsn};
use sokketsu::domain::model::payment::BillKey;
use sokketsu::domain::model::time::Now;
use sokketsu::domain::state::event::{Event, Outcome};
use sokketsu::ledger::audit::OWN;
use sokketsu::ledger::movements::movements;
use sokketsu::ledger::{Book, CustomerSums};

#[derive(Default)]
pub struct Archive {
    accounts: Vec<(Account, BTreeMap<StoryKey, Story>)>,
    rows: Vec<Rows>,
}

/// What the rows of the ledger come to for one customer.
#[derive(Clone, Debug, Default)]
struct Rows {
    on: [i64; OWN.len()],
    /// Facts that left something between two accounts.
    unclear: Vec<Lsn>,
}

impl Rows {
    fn add(&mut self, account: Book, amount: i64) {
        let at = OWN.iter().position(|own| *own == account);
        at.into_iter().for_each(|at| self.on[at] += amount);
    }

    /// The rows of a fact; `before` is the account that it changes.
    fn take(&mut self, event: &Event, lsn: Lsn, now: &Now, before: &Account) {
        if let Event::Decided(decided) = event
            && let Outcome::Approved(_) = decided.outcome
        {
            self.add(Book::Exposure, i64::try_from(decided.input.amount.get()).unwrap());
        }
        let mut between = 0;
        for movement in movements(event, now, |_| Some(before)) {
            self.add(movement.account, movement.amount);
            between += if movement.counter == Book::Clearing { movement.account.debit(movement.amount) } else { 0 };
        }
        if between != 0 {
            self.unclear.push(lsn);
        }
    }
}

impl Archive {
    pub fn apply(&mut self, event: &Event, lsn: Lsn, now: &Now) {
        let Some(customer) = event.effect().customer else { return };
        let at = usize::try_from(customer.0).unwrap();
        if let Event::CustomerSet { id, profile, .. } = event
            && at == self.accounts.len()
        {
            self.accounts.push((Account::new(*id, profile.as_ref().clone()), BTreeMap::new()));
            self.rows.push(Rows::default());
        }
        self.rows[at].take(event, lsn, now, &self.accounts[at].0);
        let (account, stories) = &mut self.accounts[at];
        stories.extend(account.apply(event, lsn, now).into_iter().map(|story| (story.key(), story)));
        if let Event::StoriesRecalled { recall, .. } = event {
            recall.stories.iter().for_each(|story| drop(stories.remove(&story.key())));
        }
    }

    pub fn kept(&self, as_of: Lsn, customer: &CustomerId) -> Kept {
        let (account, stories) = self.accounts.iter().find(|(account, _)| account.id == *customer).unwrap();
        let listed = account.listed_bills().iter().cloned().map(Story::Bill);
        let outflows = account.debt.iter().flat_map(|debt| debt.outflows.chunk_by(|a, b| a.fact == b.fact));
        let listed = listed.chain(outflows.map(|parts| Story::Outflow(parts.to_vec())));
        Kept { as_of, stories: stories.values().cloned().chain(listed).collect() }
    }

    /// Where the rows of a customer do not come to what the account holds.
    pub fn rows_that_differ(&self, who: usize) -> Option<String> {
        let (rows, held) = (&self.rows[who], CustomerSums::of(&self.accounts[who].0).on);
        let name = |(book, (rows, held)): (&Book, (i64, i64))| format!("{} {rows} for {held}", book.name());
        let differ = OWN.iter().zip(rows.on.into_iter().zip(held)).filter(|(_, (rows, held))| rows != held);
        let differ: Vec<_> = differ.map(name).collect();
        (!differ.is_empty() || !rows.unclear.is_empty()).then(|| format!("{differ:?}, unclear {:?}", rows.unclear))
    }

    pub fn bill(&self, who: usize, key: BillKey) -> Option<&Bill> {
        match self.accounts[who].1.get(&StoryKey::Bill(key))? {
            Story::Bill(bill) => Some(bill),
            Story::Outflow(_) => None,
        }
    }
}

//! What a ledger would keep of the customers' books: accounts that nothing but facts has changed, and what these let go.

use std::collections::BTreeMap;

use sokketsu::domain::billing::account::Account;
use sokketsu::domain::billing::bill::Bill;
use sokketsu::domain::billing::stories::{Kept, Story, StoryKey};
use sokketsu::domain::model::ids::{CustomerId, Lsn};
use sokketsu::domain::model::payment::BillKey;
use sokketsu::domain::model::time::Now;
use sokketsu::domain::state::event::Event;

#[derive(Default)]
pub struct Archive {
    accounts: Vec<(Account, BTreeMap<StoryKey, Story>)>,
}

impl Archive {
    pub fn apply(&mut self, event: &Event, lsn: Lsn, now: &Now) {
        let Some(customer) = event.effect().customer else { return };
        let at = usize::try_from(customer.0).unwrap();
        if let Event::CustomerSet { id, profile, .. } = event
            && at == self.accounts.len()
        {
            self.accounts.push((Account::new(*id, profile.as_ref().clone()), BTreeMap::new()));
        }
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

    pub fn bill(&self, who: usize, key: BillKey) -> Option<&Bill> {
        match self.accounts[who].1.get(&StoryKey::Bill(key))? {
            Story::Bill(bill) => Some(bill),
            Story::Outflow(_) => None,
        }
    }
}

//! A fresh state takes in what the ledger kept, by the million.

use super::chunks::CHUNK;
use super::{State, customer_hash};
use crate::domain::billing::account::Account;
use crate::domain::model::order::{Order, OrderState};

/// Accounts that are taken in at once, in a vector with room for just so many: a chunk of their table.
pub const BLOCK: usize = CHUNK;
/// Accounts that are put into the index together: 244 into each of its shards, and 16 MB meanwhile.
const AT_ONCE: usize = 1_000_000;

/// Accounts on their way in. They can be found by their id once it is finished.
#[must_use = "the last accounts are found only after `finish`"]
pub struct AccountLoad<'s> {
    state: &'s mut State,
    /// Hash of the id, and index.
    waiting: Vec<(u64, u32)>,
}

/// An order on its way in.
pub struct OrderLoad {
    pub order: Order,
    /// It was taken back into memory: it no longer owns its key.
    pub recalled: bool,
    /// The office charged it out of suspense: it is none of its customer's own approvals.
    pub from_suspense: bool,
}

impl State {
    pub fn load_accounts(&mut self) -> AccountLoad<'_> {
        AccountLoad { state: self, waiting: Vec::with_capacity(AT_ONCE) }
    }

    /// Takes in an order read back from the ledger; they come in order of decision. One that was not recalled
    /// owns its key; any that outlived the retention (an open hold, say) still does.
    pub fn load_order(&mut self, OrderLoad { mut order, recalled, from_suspense }: OrderLoad) {
        let approved = !matches!(order.state, OrderState::Denied(_) | OrderState::Tombstone);
        let recent = self.time < order.decided_at.plus(self.settings.orders_retain);
        if !recent {
            return if recalled { self.orders.recall(order) } else { self.orders.keep(order) };
        }
        match order.customer {
            Some(ix) if approved && !from_suspense => order.earlier = self.chain_approval(ix, self.time),
            Some(_) | None => order.earlier = None,
        }
        self.orders.push(order);
    }
}

impl AccountLoad<'_> {
    /// Takes in the next accounts; they come in order of their index.
    pub fn take(&mut self, accounts: Vec<Account>) {
        let first = self.state.accounts.end();
        let entries = accounts.iter().zip(first..).map(|(account, ix)| {
            let ix = u32::try_from(ix).unwrap_or(u32::MAX);
            (customer_hash(&account.id), ix)
        });
        self.waiting.extend(entries);
        self.state.accounts.append(accounts);
        if self.waiting.len() >= AT_ONCE {
            self.index();
        }
    }

    pub fn finish(mut self) {
        self.index();
    }

    fn index(&mut self) {
        self.state.by_customer.insert_all(&mut self.waiting);
        self.waiting.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::model::customer::Profile;
    use crate::domain::model::ids::{CustomerId, CustomerIx};
    use crate::domain::model::settings::Settings;

    fn id(n: usize) -> CustomerId {
        CustomerId::new(&format!("c-{n}")).unwrap()
    }

    #[test]
    fn every_account_of_every_block_is_found_by_its_id() {
        let count = 2 * BLOCK + 5;
        let mut state = State::new(Settings::default());
        let mut load = state.load_accounts();
        for first in (0..count).step_by(BLOCK) {
            let mut block = Vec::with_capacity(BLOCK);
            block.extend((first..count.min(first + BLOCK)).map(|n| Account::new(id(n), Profile::newcomer())));
            load.take(block);
        }
        load.finish();
        assert_eq!(state.next_customer(), CustomerIx(u32::try_from(count).unwrap()));
        for n in 0..count {
            let ix = CustomerIx(u32::try_from(n).unwrap());
            assert_eq!(state.customer_ix(&id(n)), Some(ix));
            assert_eq!(state.account(ix).map(|account| account.id), Some(id(n)));
        }
        assert_eq!(state.customer_ix(&id(count)), None);
    }
}

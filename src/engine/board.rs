//! What readers may see without asking the engine: standings of customers somebody asked about since the start, and
//! whose phones wait for changes. Written by the engine after what it shows is durable.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use arc_swap::ArcSwapOption;
use dashmap::DashMap;
use tokio::sync::watch;

use crate::domain::billing::account::Account;
use crate::domain::billing::lateness;
use crate::domain::model::ids::{CustomerId, CustomerIx};
use crate::domain::model::policy::Policy;
use crate::domain::model::terms::TermsByDay;
use crate::domain::model::time::{BankCalendar, Millis};

/// The rules in force, to show a standing by.
#[derive(Clone)]
pub struct Rules {
    pub policy: Arc<Policy>,
    pub terms: Arc<TermsByDay>,
    pub calendar: Arc<BankCalendar>,
}

impl Rules {
    /// As the core takes them.
    pub fn by(&self) -> lateness::Rules<'_> {
        lateness::Rules { policy: &self.policy, terms: &self.terms, calendar: &self.calendar }
    }
}

/// Many, so that one that grows moves few entries.
const SHARDS: usize = 4_096;

pub struct Board {
    rules: ArcSwapOption<Rules>,
    /// Time of the last that was shown, Unix ms.
    time: AtomicI64,
    customers: DashMap<CustomerId, Account, foldhash::fast::RandomState>,
    /// One entry a customer with a phone that waits: no more than there are connections.
    watched: DashMap<CustomerIx, watch::Sender<()>, foldhash::fast::RandomState>,
    /// Entries of `watched`, so that the engine need not look when nobody waits.
    waiting: AtomicUsize,
}

impl Default for Board {
    fn default() -> Self {
        Self {
            rules: ArcSwapOption::default(),
            time: AtomicI64::new(0),
            customers: DashMap::with_hasher_and_shard_amount(foldhash::fast::RandomState::default(), SHARDS),
            watched: DashMap::default(),
            waiting: AtomicUsize::new(0),
        }
    }
}

impl Board {
    pub fn rules(&self) -> Option<Arc<Rules>> {
        self.rules.load_full()
    }

    pub(super) fn set_rules(&self, rules: Rules) {
        self.rules.store(Some(Arc::new(rules)));
    }

    /// The account as last made durable, and the engine's time then, if it is followed.
    pub fn customer(&self, id: &CustomerId) -> Option<(Account, Millis)> {
        let account = self.customers.get(id).map(|entry| entry.value().clone())?;
        Some((account, self.time()))
    }

    pub(super) fn set_customer(&self, account: Account) {
        self.customers.insert(account.id, account);
    }

    /// The engine's time when it last showed anything; at first that of its last record.
    pub fn time(&self) -> Millis {
        Millis(self.time.load(Ordering::Acquire))
    }

    /// It never goes back.
    pub(super) fn set_time(&self, now: Millis) {
        self.time.fetch_max(now.0, Ordering::AcqRel);
    }

    /// Changes of a customer's codes, sales and room from now on. Drop the receiver to stop listening.
    pub fn watch(&self, customer: CustomerIx) -> watch::Receiver<()> {
        let mut fresh = false;
        let receiver = self
            .watched
            .entry(customer)
            .or_insert_with(|| {
                fresh = true;
                watch::Sender::new(())
            })
            .subscribe();
        if fresh {
            self.waiting.fetch_add(1, Ordering::AcqRel);
        }
        receiver
    }

    /// Forgets a customer whom nobody listens to any more.
    pub fn unwatch(&self, customer: CustomerIx) {
        if self.watched.remove_if(&customer, |_, sender| sender.receiver_count() == 0).is_some() {
            self.waiting.fetch_sub(1, Ordering::AcqRel);
        }
    }

    pub(super) fn someone_waits(&self) -> bool {
        self.waiting.load(Ordering::Acquire) > 0
    }

    pub(super) fn tell(&self, customer: CustomerIx) {
        if let Some(sender) = self.watched.get(&customer) {
            sender.send_replace(());
        }
    }

    pub(super) fn tell_all(&self) {
        for entry in &self.watched {
            entry.value().send_replace(());
        }
    }
}

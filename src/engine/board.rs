//! What readers may see without asking the engine: standings of customers touched since the start,
//! and who is waiting for news of a code. Written by the engine after what it shows is durable.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwapOption;
use dashmap::DashMap;
use tokio::sync::watch;

use crate::domain::account::Account;
use crate::domain::ids::{CodeId, CustomerId};
use crate::domain::jst::BankCalendar;
use crate::domain::policy::Policy;

/// The rules in force, to show a standing by.
#[derive(Clone)]
pub struct Rules {
    pub policy: Arc<Policy>,
    pub calendar: Arc<BankCalendar>,
}

#[derive(Default)]
pub struct Board {
    rules: ArcSwapOption<Rules>,
    customers: DashMap<CustomerId, Arc<Account>, foldhash::fast::RandomState>,
    watched: DashMap<CodeId, watch::Sender<()>, foldhash::fast::RandomState>,
    /// Entries of `watched`, so that the engine need not look when nobody waits.
    waiting: AtomicUsize,
}

impl Board {
    pub fn rules(&self) -> Option<Arc<Rules>> {
        self.rules.load_full()
    }

    pub(super) fn set_rules(&self, rules: Rules) {
        self.rules.store(Some(Arc::new(rules)));
    }

    /// The account as last made durable, if it was touched since the start.
    pub fn customer(&self, id: &CustomerId) -> Option<Arc<Account>> {
        self.customers.get(id).map(|entry| Arc::clone(entry.value()))
    }

    pub(super) fn set_customer(&self, account: &Account) {
        self.customers.insert(account.id, Arc::new(account.clone()));
    }

    /// News of a code from now on. Drop the receiver to stop listening.
    pub fn watch(&self, code: CodeId) -> watch::Receiver<()> {
        let mut fresh = false;
        let receiver = self
            .watched
            .entry(code)
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

    /// Forgets a code nobody listens to any more.
    pub fn unwatch(&self, code: CodeId) {
        if self.watched.remove_if(&code, |_, sender| sender.receiver_count() == 0).is_some() {
            self.waiting.fetch_sub(1, Ordering::AcqRel);
        }
    }

    pub(super) fn someone_waits(&self) -> bool {
        self.waiting.load(Ordering::Acquire) > 0
    }

    pub(super) fn tell(&self, code: CodeId) {
        if let Some(sender) = self.watched.get(&code) {
            sender.send_replace(());
        }
    }
}

//! Whether the service is ready, and why not.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwapOption;

use crate::journal::Lease;

/// What must hold to be ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The state was read back from ledger and journal.
    Recovered,
    JournalWritable,
    LeaseHeld,
    ListenersBound,
    NotDraining,
    /// Nobody has read damage; whoever does ends the process too.
    JournalSound,
}

impl Condition {
    const ALL: [Self; 6] = [
        Self::Recovered,
        Self::JournalWritable,
        Self::LeaseHeld,
        Self::ListenersBound,
        Self::NotDraining,
        Self::JournalSound,
    ];

    /// Why we are not ready while it does not hold.
    const fn reason(self) -> &'static str {
        match self {
            Self::Recovered => "recovering",
            Self::JournalWritable => "journal_not_writable",
            Self::LeaseHeld => "lease_not_held",
            Self::ListenersBound => "listeners_not_bound",
            Self::NotDraining => "draining",
            Self::JournalSound => "journal_damaged",
        }
    }
}

/// What a node waits for that does not own the journal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standby {
    /// The node that owns it, or did last; empty where none ever did, or this one.
    pub of: String,
    /// Where that one is asked; empty where it is not known.
    pub address: String,
    /// Records of the journal that this node has not taken in yet.
    pub behind: u64,
    /// The journal can't be looked at just now: its database is away, or not as it has to be. The log says which.
    pub is_blind: bool,
}

/// What holds now. Shared with those who find out.
#[derive(Debug)]
pub struct Readiness {
    holds: [AtomicBool; 6],
    /// The journal's, once there is one.
    lease: OnceLock<Lease>,
    /// None while this node owns the journal.
    standby: ArcSwapOption<Standby>,
}

impl Default for Readiness {
    /// Nothing is known to hold but that we are not draining, and nothing is known to be damaged.
    fn default() -> Self {
        let holds = |condition| matches!(condition, Condition::NotDraining | Condition::JournalSound);
        let holds = Condition::ALL.map(|condition| AtomicBool::new(holds(condition)));
        Self { holds, lease: OnceLock::new(), standby: ArcSwapOption::empty() }
    }
}

impl Readiness {
    pub fn set(&self, condition: Condition, holds: bool) {
        self.holds[condition as usize].store(holds, Ordering::Release);
    }

    /// From now on [`Condition::LeaseHeld`] holds no longer than this.
    pub fn watch(&self, lease: Lease) {
        // There is one journal in a process, so the first one stays.
        self.lease.get_or_init(|| lease);
    }

    /// Whether this node waits for another one to go.
    pub fn set_standby(&self, standby: Option<Standby>) {
        self.standby.store(standby.map(Arc::new));
    }

    pub fn standby(&self) -> Option<Arc<Standby>> {
        self.standby.load_full()
    }

    fn holds(&self, condition: Condition) -> bool {
        let is_set = self.holds[condition as usize].load(Ordering::Acquire);
        is_set && (condition != Condition::LeaseHeld || self.lease.get().is_none_or(Lease::holds))
    }

    /// Empty when ready.
    pub fn reasons(&self) -> Vec<&'static str> {
        let is_standby = self.standby.load().is_some();
        // What a standby lacks comes with the journal.
        let is_told = |condition: &Condition| {
            use Condition::{JournalWritable, LeaseHeld, Recovered};
            !(is_standby && matches!(condition, Recovered | JournalWritable | LeaseHeld))
        };
        let missing = Condition::ALL.into_iter().filter(|condition| !self.holds(*condition)).filter(is_told);
        is_standby.then_some("standby").into_iter().chain(missing.map(Condition::reason)).collect()
    }

    /// Whether calls are answered. A call that came in time is answered during the drain too.
    pub fn may_serve(&self) -> bool {
        // A journal that runs out of room shows in readiness and decides while it can; one that failed ends the process.
        use Condition::{JournalSound, LeaseHeld, Recovered};
        self.standby.load().is_none()
            && [Recovered, LeaseHeld, JournalSound].into_iter().all(|condition| self.holds(condition))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_means_that_everything_holds() {
        let readiness = Readiness::default();
        let all = ["recovering", "journal_not_writable", "lease_not_held", "listeners_not_bound"];
        assert_eq!(readiness.reasons(), all);
        for condition in Condition::ALL {
            readiness.set(condition, true);
        }
        assert!(readiness.reasons().is_empty() && readiness.may_serve());
        readiness.set(Condition::NotDraining, false);
        assert_eq!(readiness.reasons(), ["draining"]);
        assert!(readiness.may_serve());
        readiness.set(Condition::JournalSound, false);
        assert_eq!(readiness.reasons(), ["draining", "journal_damaged"]);
        assert!(!readiness.may_serve(), "no decision rests on a damaged journal");
    }

    #[test]
    fn a_lease_that_does_not_hold_is_a_reason() {
        let readiness = Readiness::default();
        Condition::ALL.into_iter().for_each(|condition| readiness.set(condition, true));
        readiness.watch(Lease::new());
        assert_eq!(readiness.reasons(), ["lease_not_held"]);
        assert!(!readiness.may_serve());
        let other = Readiness::default();
        other.set(Condition::LeaseHeld, true);
        other.watch(Lease::forever());
        assert!(!other.reasons().contains(&"lease_not_held"));
    }
}

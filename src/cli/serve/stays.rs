//! The node that decides stays a member of its cluster: it hears of other rules, and that it is to own nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::backends::{Applied, Membership, RENEW_EVERY};
use super::stop::Stop;
use super::{ServeError, system};
use crate::domain::commands::rules::Rules;
use crate::domain::model::policy::Policy;
use crate::domain::model::time::BankCalendar;

pub(super) struct Stays {
    member: Membership,
    /// Where the cluster has none.
    configured: Rules,
    /// As they were seen last, good or not.
    seen: Option<Applied>,
}

impl Stays {
    pub fn new(member: Membership, configured: Rules) -> Self {
        Self { member, configured, seen: None }
    }

    /// The rules that the cluster is to have, where they may be others than those seen last.
    pub fn rules(&mut self) -> Option<Rules> {
        let applied = self.member.applied().inspect_err(|error| tracing::debug!(%error, "the rules were not read"));
        let applied = applied.ok().filter(|applied| self.seen.as_ref() != Some(applied))?;
        self.seen = Some(applied.clone());
        let text = |given: Option<(i64, String)>| given.map(|(_, text)| text.into());
        let policy = text(applied.policy).unwrap_or_else(|| Arc::clone(&self.configured.policy));
        let holidays = text(applied.holidays).unwrap_or_else(|| Arc::clone(&self.configured.holidays));
        let wrong = Policy::parse(&policy).err().map(|why| format!("the policy: {why}"));
        let wrong = wrong.or_else(|| BankCalendar::parse(&holidays).err().map(|why| format!("the holidays: {why}")));
        if let Some(wrong) = wrong {
            // `cluster apply` refuses it, so a newer program wrote it, or a hand did.
            tracing::error!(wrong, "the cluster's rules can't be read; those in force stay");
            return None;
        }
        Some(Rules { policy, holidays })
    }

    /// Looks until the service stops; `set` says whether the engine has taken other rules.
    pub fn begin(
        mut self,
        stop: Stop,
        is_stopping: Arc<AtomicBool>,
        set: impl Fn(Rules) -> bool + Send + 'static,
    ) -> Result<(), ServeError> {
        let look = move || {
            while !is_stopping.load(Ordering::Relaxed) {
                // A database that is away is the committer's to wait for.
                if self.member.look(0).is_ok() {
                    if self.member.is_draining() {
                        tracing::warn!("this node is to own nothing: handing the journal over");
                        return stop.hand_over();
                    }
                    if let Some(rules) = self.rules() {
                        tracing::info!("the cluster's rules are others");
                        if !set(rules) {
                            // Tried again.
                            self.seen = None;
                        }
                    }
                }
                std::thread::park_timeout(RENEW_EVERY);
            }
        };
        let thread = std::thread::Builder::new().name("member".to_owned()).spawn(look);
        thread.map(drop).map_err(system("start its thread"))
    }
}

//! The node that decides stays a member of its cluster: it hears of other rules and merchants, and that it is to own nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::backends::{Applied, Membership, RENEW_EVERY};
use super::merchants::Merchants;
use super::stop::Stop;
use super::{ServeError, system};
use crate::domain::commands::request::Request;
use crate::domain::commands::rules::Rules;
use crate::domain::model::policy::Policy;
use crate::domain::model::time::BankCalendar;
use crate::engine::inbox::Inbox;

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

    /// Looks until the service stops, and gives the engine what is other than before.
    pub fn begin(
        mut self,
        stop: Stop,
        is_stopping: Arc<AtomicBool>,
        inbox: Inbox,
        mut merchants: Merchants,
    ) -> Result<(), ServeError> {
        let look = move || {
            while !is_stopping.load(Ordering::Relaxed) {
                merchants.wait(RENEW_EVERY);
                if self.member.look(0).is_err() {
                    // A database that is away is the committer's to wait for.
                    merchants.turn_away();
                    continue;
                }
                if self.member.is_draining() && !stop.is_handing_over() {
                    tracing::warn!("this node is to own nothing: handing the journal over");
                    stop.hand_over();
                }
                if let Some(rules) = self.rules() {
                    tracing::info!("the cluster's rules are others");
                    let set = inbox.submit(Request::SetRules(rules), None);
                    if !set.is_ok_and(|done| done.blocking_recv().is_ok()) {
                        // Tried again.
                        self.seen = None;
                    }
                }
                merchants.keep(&mut self.member);
            }
            merchants.end(&mut self.member);
        };
        let thread = std::thread::Builder::new().name("member".to_owned()).spawn(look);
        thread.map(drop).map_err(system("start its thread"))
    }
}

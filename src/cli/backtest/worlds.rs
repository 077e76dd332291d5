//! The real world and the tried one, side by side, record by record.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::report::{Flip, Report};
use super::{Assume, Trial};
use crate::cli::verify::whatever_the_bounds;
use crate::domain::commands::advise::advise;
use crate::domain::commands::authorize::{Judgement, judge, recorded};
use crate::domain::commands::refusal::Step;
use crate::domain::model::denial::Reason;
use crate::domain::model::ids::{CustomerIx, Lsn};
use crate::domain::model::money::Yen;
use crate::domain::model::policy::Policy;
use crate::domain::model::request::Advice;
use crate::domain::model::settings::Settings;
use crate::domain::model::time::{Date, Month, Now};
use crate::domain::state::event::{Advised, Decided, Event, Outcome};
use crate::domain::state::{PolicyInForce, State};

/// The tried world, and what it has that the real one has not.
pub struct Worlds {
    pub(super) tried: State,
    pub(super) trial: Trial,
    pub(super) report: Report,
    has_begun: bool,
    /// The tried policy counts bills or rungs otherwise, so everybody's books differ.
    all_differ: bool,
    /// Customers whose books differ, from their first decision that came out otherwise.
    differ: HashSet<CustomerIx>,
    /// Sales that really were approved and would not be.
    pub(super) refused: HashSet<Lsn>,
    /// Sales of the network's that would have been booked otherwise.
    pub(super) other_advices: HashSet<Lsn>,
    /// What only the tried policy sold, by customer and month, until it is paid.
    pub(super) extra: HashMap<CustomerIx, BTreeMap<Month, Yen>>,
    /// The same by due date, where it is assumed to be paid then.
    due: BTreeMap<Date, Vec<(CustomerIx, Yen)>>,
    pub(super) payments: u64,
    today: Option<Date>,
    last: Option<Now>,
}

fn is_approval(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Approved(_))
}

fn reason(outcome: &Outcome) -> Option<Reason> {
    match outcome {
        Outcome::Approved(_) => None,
        Outcome::Denied { reason, .. } => Some(*reason),
    }
}

/// Whether facts that were worked out under one policy are those of the other: they hold no limits, but rungs and terms.
fn counts_alike(one: &Policy, other: &Policy) -> bool {
    let rungs = one.top_rung().max(other.top_rung());
    one.top_rung() == other.top_rung()
        && one.terms == other.terms
        && (0..=rungs).all(|rung| one.rung(rung).conditions == other.rung(rung).conditions)
}

impl Worlds {
    pub fn new(settings: Settings, trial: Trial) -> Self {
        Self {
            tried: State::new(settings),
            report: Report::of(&trial),
            trial,
            has_begun: false,
            all_differ: false,
            differ: HashSet::new(),
            refused: HashSet::new(),
            other_advices: HashSet::new(),
            extra: HashMap::new(),
            due: BTreeMap::new(),
            payments: 0,
            today: None,
            last: None,
        }
    }

    /// Judges every fact anew, also where it need not be: for the proof that both ways say the same.
    #[cfg(test)]
    pub fn all_anew(mut self) -> Self {
        self.all_differ = true;
        self
    }

    pub fn forget(&mut self, now: &Now, lsn: Lsn) {
        self.tried.forget(now.at, lsn, usize::MAX);
    }

    /// Whether the books of this customer differ in the two worlds.
    pub(super) fn differs(&self, customer: CustomerIx) -> bool {
        self.has_begun && (self.all_differ || self.differ.contains(&customer))
    }

    /// The next record, which `real` has not applied yet, becomes true in both.
    pub fn hear(&mut self, real: &mut State, lsn: Lsn, event: &Event, now: &Now) {
        if self.trial.to.is_some_and(|to| to < now.date) {
            // What comes later is true in neither world: both stand as of that day's end.
            return;
        }
        self.report.records = lsn.0;
        self.new_day(real, now);
        match event {
            Event::PolicySet { version, text } => self.policy_set(lsn, (*version, text), now),
            Event::Decided(decided) if self.has_begun => self.decided(real, decided, now),
            Event::Advised(advised) if self.has_begun => self.advised(advised, now),
            event => self.fact(real, event, now),
        }
        real.apply(event, now);
        if let Event::Settled { books, .. } = event
            && self.trial.assume == Assume::AsBilled
        {
            self.paid_with(real, books, now);
        }
        // Whatever it came to, the records of both worlds have the same numbers.
        (self.tried.lsn, self.tried.time) = (lsn, now.at);
        self.last = Some(*now);
    }

    fn new_day(&mut self, real: &State, now: &Now) {
        if self.today == Some(now.date) {
            return;
        }
        if let (Some(today), Some(last), true) = (self.today, self.last, self.has_begun) {
            self.report.exposure.push((today, self.exposures(real, &last)));
        }
        self.today = Some(now.date);
        let is_time = self.trial.from.is_some_and(|from| from <= now.date);
        if is_time && !self.has_begun && self.tried.policy.is_some() {
            self.begin(real, now);
        }
        if !self.has_begun {
            return;
        }
        let later = self.due.split_off(&now.date.plus_days(1));
        for (due, owed) in std::mem::replace(&mut self.due, later) {
            for (customer, amount) in owed {
                self.pay_extra(customer, amount, due.start(), now);
            }
        }
    }

    /// The tried policy's terms count from the first day that is tried.
    fn begin(&mut self, real: &State, now: &Now) {
        let since = self.tried.lsn;
        let version = self.tried.policy.as_ref().map_or(1, |in_force| in_force.version);
        let from = self.trial.from.unwrap_or(now.date);
        self.tried.set_policy(version, &self.trial.text, since, from.plus_days(-1));
        self.has_begun = true;
        self.look_at(real.policy.as_ref());
    }

    fn look_at(&mut self, real: Option<&PolicyInForce>) {
        if let Some(real) = real {
            self.all_differ |= !counts_alike(&self.trial.policy, &real.policy);
        }
    }

    /// A real change of policy within the range is none in the tried world.
    fn policy_set(&mut self, lsn: Lsn, (version, text): (u32, &str), now: &Now) {
        if self.trial.from.is_some() && !self.has_begun {
            self.tried.apply(&Event::PolicySet { version, text: text.into() }, now);
            return;
        }
        if !self.has_begun {
            self.tried.set_policy(version, &self.trial.text, lsn, now.date);
            self.has_begun = true;
        }
        self.all_differ |= Policy::parse(text).is_ok_and(|real| !counts_alike(&self.trial.policy, &real));
    }

    fn fact(&mut self, real: &State, event: &Event, now: &Now) {
        let about = event.effect().customer;
        let touches = |lsn: &Lsn| self.refused.contains(lsn) || self.other_advices.contains(lsn);
        let of_order = match event {
            Event::SuspenseCleared { order, .. } => touches(order),
            Event::SuspenseSettled(settled) => touches(&settled.order.lsn),
            Event::Recalled { order, .. } | Event::RecalledWhole(order) => touches(&order.id.lsn),
            _ => false,
        };
        if of_order || about.is_some_and(|customer| self.differs(customer)) {
            self.anew(real, event, now);
        } else {
            self.tried.apply(event, now);
        }
    }

    /// Every decision of the range is judged by the tried policy in the tried world.
    fn decided(&mut self, real: &mut State, decided: &Decided, now: &Now) {
        let policy = Arc::clone(&self.trial.policy);
        let tombstone = self.tried.orders.by_key(&decided.input.key(), now.at).is_some();
        let ask = |state: &State| judge(state, &decided.input, tombstone, now, &policy);
        let was = is_approval(&decided.outcome);
        let mut judgement = ask(&self.tried);
        if is_approval(&judgement.outcome) != was && has_other_bounds(real, decided, now) {
            judgement = whatever_the_bounds(&mut self.tried, ask, |again| is_approval(&again.outcome) == was);
        }
        let is = is_approval(&judgement.outcome);
        let flip = Flip {
            from: reason(&decided.outcome),
            to: reason(&judgement.outcome),
            amount: decided.input.amount,
            shop: decided.input.merchant,
            rung: judgement.customer.and_then(|ix| self.tried.account(ix)).map(|account| account.profile.rung),
            at: now.at,
        };
        self.report.count(&flip);
        match (was, is, judgement.customer) {
            (true, false, customer) => {
                let lsn = self.tried.lsn.next();
                self.refused.insert(lsn);
                self.differ.extend(decided.customer.or(customer));
            }
            (false, true, Some(customer)) => self.sell(customer, &mut judgement, decided.input.amount, now),
            _ => {}
        }
        let version = self.tried.policy.as_ref().map_or(decided.policy, |in_force| in_force.version);
        let event = recorded(Arc::clone(&decided.input), judgement, version, decided.random);
        self.tried.apply(&event, now);
    }

    /// What only the tried policy sells is captured at once: nobody told what would have become of a hold.
    fn sell(&mut self, customer: CustomerIx, judgement: &mut Judgement, amount: Yen, now: &Now) {
        let Outcome::Approved(approval) = &mut judgement.outcome else { return };
        approval.hold_expires_at = None;
        self.differ.insert(customer);
        match self.trial.assume {
            Assume::Unpaid => {}
            Assume::Paid => self.due.entry(approval.due).or_default().push((customer, amount)),
            Assume::AsBilled => {
                *self.extra.entry(customer).or_default().entry(now.month).or_insert(Yen::ZERO) += amount;
            }
        }
    }

    /// A sale of the network's is no decision of ours; what it is booked as follows from limits.
    fn advised(&mut self, advised: &Advised, now: &Now) {
        let Some(in_force) = self.tried.policy.clone() else { return };
        let Advised { decided, original, post, .. } = advised;
        let input = Arc::clone(&decided.input);
        let advice = Advice { input, original: *original, post: *post, sealed_by: None, must_be_known: false };
        let again = match advise(&self.tried, &advice, now, &in_force, &mut || decided.random) {
            Step::Record(event @ Event::Advised(_)) => Some(event),
            _ => None,
        };
        let recorded = Event::Advised(Box::new(advised.clone()));
        let event = again.unwrap_or_else(|| recorded.clone());
        if let (Event::Advised(again), Event::Advised(advised)) = (&event, &recorded)
            && again.booked != advised.booked
        {
            self.report.other_advices += 1;
            self.other_advices.insert(self.tried.lsn.next());
            self.differ.extend(advised.about().into_iter().chain(again.about()));
        }
        self.tried.apply(&event, now);
    }

    /// Yen: all customers' exposure in the real world and in the tried one.
    fn exposures(&self, real: &State, now: &Now) -> (u64, u64) {
        let (Some(rules), Some(tried_rules)) = (real.rules(), self.tried.rules()) else { return (0, 0) };
        let (mut sum, mut tried_sum) = (0, 0);
        for (ix, account) in real.accounts().enumerate() {
            let own = account.exposure(now, rules).total.get();
            sum += own;
            let ix = CustomerIx(u32::try_from(ix).unwrap_or(u32::MAX));
            let tried = if self.differs(ix) { self.tried.account(ix) } else { None };
            tried_sum += tried.map_or(own, |tried| tried.exposure(now, tried_rules).total.get());
        }
        (sum, tried_sum)
    }

    pub fn finish(mut self, real: &State) -> Report {
        if let (Some(today), Some(last), true) = (self.today, self.last, self.has_begun) {
            self.report.exposure.push((today, self.exposures(real, &last)));
            self.report.lost = (lost(real, &last), lost(&self.tried, &last));
        }
        self.report.differing =
            if self.all_differ { u64::from(self.tried.next_customer().0) } else { self.differ.len() as u64 };
        self.report
    }
}

/// The bounds of an installation are not journaled: then the decision does not come out as recorded in the real world either.
fn has_other_bounds(real: &State, decided: &Decided, now: &Now) -> bool {
    let Some(in_force) = &real.policy else { return false };
    let tombstone = real.orders.by_key(&decided.input.key(), now.at).is_some();
    judge(real, &decided.input, tombstone, now, &in_force.policy).outcome != decided.outcome
}

/// Yen: principal of bills that are overdue or written off.
fn lost(state: &State, now: &Now) -> u64 {
    let Some(rules) = state.rules() else { return 0 };
    let of = |account: &crate::domain::billing::account::Account| {
        let account = account.as_of(now, rules);
        let by = account.bill_rules(rules);
        let overdue = account.bills().filter(|bill| bill.is_overdue(&by, now)).map(|bill| bill.unpaid().get());
        overdue.sum::<u64>()
    };
    state.accounts().map(of).sum()
}

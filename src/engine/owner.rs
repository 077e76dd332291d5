//! The one owner of every account. It judges one request after the other, makes each fact true in memory at once,
//! and puts it into a [`Group`] with the answers and what readers are shown only when the group is durable.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::fast::RandomState;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::domain::billing::account::Account;
use crate::domain::commands::cancel::hold_expired;
use crate::domain::commands::look_ahead::look_ahead;
use crate::domain::commands::notices::{may_concern, notices};
use crate::domain::commands::office::calendar;
use crate::domain::commands::refusal::Refusal;
use crate::domain::commands::reply::Reply;
use crate::domain::commands::request::Request;
use crate::domain::commands::{MOST_STEPS, Ruling, dispatch};
use crate::domain::model::advice::Booked;
use crate::domain::model::bounds::Full;
use crate::domain::model::ids::{CustomerId, CustomerIx, Lsn};
use crate::domain::model::purchase::Channel;
use crate::domain::model::time::{Millis, Now};
use crate::domain::state::State;
use crate::domain::state::effect::Effect;
use crate::domain::state::event::{Advised, Approval, Decided, Event, Outcome};
use crate::journal::{TooLarge, codec};
use crate::metrics::{gauge_value, metrics};

use super::board::{Board, Rules};
use super::calendar::{BILLS_A_STEP, Calendar, FACTS_A_STEP, has_credit_beside_debt};
use super::group::Group;

/// Holds that ran out and are recorded in one batch. Their room came back by itself.
const EXPIRED_A_BATCH: usize = 64;
/// Customers on the board, at most: some 200 bytes each. For others the engine is asked each time.
const MOST_FOLLOWED: usize = 1_000_000;
/// With so many records in the open group the calendar adds none.
const ENOUGH_RECORDS: usize = 256;
/// Entries freed in one batch: more than one batch can add, so memory does not lag.
const FORGET_A_BATCH: usize = 2_048;

/// Of all customers, yen. Before there is a policy nobody owes anything.
fn total_exposure(state: &State, now: &Now) -> u64 {
    let Some(rules) = state.rules() else { return 0 };
    state.accounts().map(|account| account.exposure(now, rules).total.get()).sum()
}

pub struct Owner {
    state: State,
    random: StdRng,
    board: Arc<Board>,
    /// Last record in the ledger; orders are kept in memory at least until they are there.
    posted: Arc<AtomicU64>,
    now: Now,
    /// Holds by the time they run out.
    holds: BTreeSet<(Millis, Lsn, CustomerIx)>,
    /// Sum of all customers' exposure, yen.
    exposure: u64,
    /// Whose standing readers see on the board.
    followed: HashSet<CustomerIx, RandomState>,
    calendar: Calendar,
    /// Customers of whom a fact may have changed what is overdue, or what free money is to meet: it is recorded in the next
    /// step. Whoever is lost with the process is seen to in the round after its start.
    concerned: BTreeSet<CustomerIx>,
}

impl Owner {
    /// Takes over a recovered state. `seed` makes handles and ids: from the system in service, fixed in tests.
    pub fn new(state: State, seed: [u8; 32], board: Arc<Board>, posted: Arc<AtomicU64>) -> Self {
        let now = Now::at(state.time.max(Millis(0)));
        let indexed = (0..state.next_customer().0).map(CustomerIx).zip(state.accounts());
        let holds = indexed.flat_map(|(ix, account)| account.holds().iter().map(move |h| (h.expires_at, h.order, ix)));
        let holds = holds.collect();
        let exposure = total_exposure(&state, &now);
        let random = StdRng::from_seed(seed);
        let followed = HashSet::default();
        let calendar = Calendar::default();
        let concerned = BTreeSet::new();
        let owner = Self { state, random, board, posted, now, holds, exposure, followed, calendar, concerned };
        owner.show_all();
        owner
    }

    /// Takes in what the node that owns the journal has recorded; readers are not shown it. Goes on with [`Self::take_over`].
    pub fn take_in(&mut self, event: &Event, at: Millis) {
        if at != self.now.at {
            self.now = Now::at(at);
        }
        let effect = self.state.apply(event, &self.now);
        match event {
            Event::Decided(decided) => self.note_hold(decided),
            Event::Advised(advised) => self.note_hold(&advised.decided),
            _ => {}
        }
        self.exposure = (self.exposure + effect.added.get()).saturating_sub(effect.removed.get());
    }

    /// Frees what is over beside taking in: the ledger has it, or it ended by itself.
    pub fn free_what_is_over(&mut self) {
        let at = self.now.at;
        self.state.forget(at, Lsn(self.posted.load(Ordering::Acquire)), usize::MAX);
        self.state.make_room();
        // One that ran out and was not recorded yet is the next owner's to record.
        let is_held = |state: &State, order: Lsn, ix: CustomerIx| {
            state.account(ix).is_some_and(|account| account.holds().iter().any(|hold| hold.order == order))
        };
        while let Some(&(expires_at, order, ix)) = self.holds.first()
            && expires_at <= at
            && !is_held(&self.state, order, ix)
        {
            self.holds.pop_first();
        }
    }

    /// The journal is ours now, and all of it was followed.
    pub fn take_over(&mut self) {
        self.now = Now::at(self.state.time.max(self.now.at));
        self.show_all();
    }

    /// Before anybody asks: what was recorded under a clock that went back since is judged by no earlier time.
    fn show_all(&self) {
        if let Some(rules) = rules(&self.state) {
            self.board.set_rules(rules);
        }
        self.board.set_time(self.now.at);
    }

    pub fn state(&self) -> &State {
        &self.state
    }

    /// The time that was last begun.
    pub fn now(&self) -> Now {
        self.now
    }

    pub fn board(&self) -> &Arc<Board> {
        &self.board
    }

    /// Goes on at the time of the wall clock, and records which holds have run out.
    pub fn begin(&mut self, wall: Millis, group: &mut Group) {
        self.begin_without_expiry(wall, group);
        self.expire_holds(group);
    }

    /// Goes on at the time of the wall clock, or stays at the last one if the clock went back: what readers were shown, and
    /// codes are judged by, never goes back either.
    pub fn begin_without_expiry(&mut self, wall: Millis, group: &mut Group) {
        let at = wall.max(self.state.time).max(self.now.at);
        if at != self.now.at {
            self.now = Now::at(at);
        }
        group.at = at;
        self.state.forget(at, Lsn(self.posted.load(Ordering::Acquire)), FORGET_A_BATCH);
        self.state.make_room();
    }

    fn expire_holds(&mut self, group: &mut Group) {
        let at = self.now.at;
        for _ in 0..EXPIRED_A_BATCH {
            let Some(hold) = self.holds.first().copied().filter(|(expires, ..)| *expires <= at) else { break };
            self.holds.remove(&hold);
            let (_, order, customer) = hold;
            if let Some(event) = hold_expired(&self.state, customer, order, &self.now) {
                self.record_own(&event, group);
            }
        }
    }

    /// A step of the day's round, if one is under way. Call it after [`Owner::begin`], no faster than the disk shall
    /// bear: what time has made true has no hurry.
    pub fn calendar_step(&mut self, group: &mut Group) {
        // While the disk stalls, the calendar waits too.
        if group.records.len() >= ENOUGH_RECORDS {
            return;
        }
        let (mut facts, mut bills) = (0, 0);
        while facts < FACTS_A_STEP
            && bills < BILLS_A_STEP
            && let Some(ix) = self.concerned.pop_first()
        {
            bills += self.bills_of(ix);
            facts += usize::from(self.look_after(ix, false, group));
        }
        for ix in self.calendar.step(&self.now, self.state.next_customer()).map(CustomerIx) {
            if facts == FACTS_A_STEP || bills >= BILLS_A_STEP {
                return self.calendar.stopped_at(ix);
            }
            bills += self.bills_of(ix);
            if self.look_after(ix, true, group) {
                facts += 1;
            } else {
                self.state.let_go(ix, self.now.date);
            }
            // It stops nobody: `verify` finds whose it is.
            if self.state.account(ix).is_some_and(has_credit_beside_debt) {
                tracing::error!("a customer has credit beside an unpaid bill");
                metrics().credit_beside_debt.increment(1);
            }
        }
    }

    fn bills_of(&self, ix: CustomerIx) -> usize {
        self.state.account(ix).map_or(0, |account| account.bill_keys().count())
    }

    /// Records what time has made due in a customer's books and what they are to be told, if there is something: both
    /// together are one document. Between two rounds only free money and news of money can make something due.
    fn look_after(&mut self, ix: CustomerIx, is_round: bool, group: &mut Group) -> bool {
        let has_money = |account: &Account| !account.sums().is_empty() || !account.pending().is_empty();
        let is_due = is_round || self.state.account(ix).is_some_and(has_money);
        let books = if is_due { calendar(&self.state, ix, &self.now) } else { None };
        books.iter().for_each(|event| self.record_own(event, group));
        let random = &mut self.random;
        let told = notices(&self.state, ix, &self.now, is_round, &mut || random.next_u64());
        told.iter().for_each(|event| self.record_own(event, group));
        books.is_some() || told.is_some()
    }

    /// Whether the calendar's round wants more steps soon, or somebody is to be told of a bill.
    pub fn calendar_is_busy(&self) -> bool {
        self.calendar.is_busy() || !self.concerned.is_empty()
    }

    /// See [`look_ahead`].
    pub fn look_ahead<'a>(&self, requests: impl Iterator<Item = &'a Request> + Clone) {
        look_ahead(&self.state, requests);
    }

    /// Judges one request and makes its facts true; its answer waits until the group is durable.
    pub fn take(&mut self, request: &Request, group: &mut Group) {
        let reply = self.carry_out(request, group);
        group.replies.push(reply);
    }

    /// A request that comes to several facts is judged again after each, until there is an answer; nothing comes between.
    fn carry_out(&mut self, request: &Request, group: &mut Group) -> Reply {
        for steps in 0..=MOST_STEPS {
            let random = &mut self.random;
            let (event, answer) = match dispatch(&self.state, request, &self.now, steps, &mut || random.next_u64()) {
                Ruling::Answer(reply) => {
                    if let Request::FindCustomer(id) = request {
                        self.follow(id, group);
                    }
                    return reply;
                }
                Ruling::Record(event, answer) => (event, Some(answer)),
                Ruling::Step(event) => (event, None),
            };
            if steps == 0 && self.is_full_for(&event) && !self.knows(request) {
                return Reply::Full(Full::Orders);
            }
            if self.record(&event, group).is_err() {
                return Reply::TooLarge;
            }
            if let Some(answer) = answer {
                return answer(&self.state, &event, &self.now);
            }
        }
        tracing::error!("a request about an order has no end; what it came to stands, and it is told to ask again");
        Reply::Refused(Refusal::LedgerKnows)
    }

    /// At the bound of orders in memory only known orders are answered: refuse, never evict what is promised.
    fn is_full_for(&self, event: &Event) -> bool {
        self.state.orders.len() >= self.state.settings.orders_max
            && matches!(event, Event::Decided(_) | Event::Advised(_) | Event::Tombstoned { .. })
    }

    /// Whether the order that a request speaks of has been decided: its answer only repeats.
    pub fn knows(&self, request: &Request) -> bool {
        request.order_key().is_some_and(|key| self.state.orders.by_key(&key, self.now.at).is_some())
    }

    /// Adds a fact to the group and makes it true. One that no record can hold changes nothing: the committer must never
    /// meet it, for it could only end the process, after this start and after each one that follows.
    pub fn record(&mut self, event: &Event, group: &mut Group) -> Result<(), TooLarge> {
        group.records.offer(self.now.at.0, |bytes| codec::encode(event, bytes))?;
        let effect = self.state.apply(event, &self.now);
        self.note(event, &effect, group);
        Ok(())
    }

    /// What nobody asked for and nobody waits for. It is true whether it is recorded or not.
    fn record_own(&mut self, event: &Event, group: &mut Group) {
        if let Err(error) = self.record(event, group) {
            tracing::error!(%error, "what time has made true of a customer's account is not recorded");
        }
    }

    /// Whoever asked once about a customer will ask again: from now on readers see this one.
    fn follow(&mut self, id: &CustomerId, group: &mut Group) {
        if let Some(ix) = self.state.customer_ix(id)
            && self.followed.len() < MOST_FOLLOWED
            && self.followed.insert(ix)
        {
            group.customers.extend(self.state.account(ix).cloned());
        }
    }

    /// Takes in what a fact has changed: for the sums, and for the readers, who are shown it once the group is durable.
    fn note(&mut self, event: &Event, effect: &Effect, group: &mut Group) {
        match event {
            Event::Decided(decided) => {
                self.assert_within_limits(decided);
                self.note_decision(decided);
            }
            Event::Advised(advised) => self.note_advice(advised),
            _ => {}
        }
        if let Some(ix) = effect.customer.filter(|_| may_concern(event))
            && self.state.account(ix).is_some_and(|account| account.may_owe(&self.now))
        {
            self.concerned.insert(ix);
        }
        self.exposure = (self.exposure + effect.added.get()).saturating_sub(effect.removed.get());
        group.at_risk_yen = group.at_risk_yen.saturating_add(effect.at_risk);
        if effect.is_rules {
            group.rules = rules(&self.state);
        }
        group.customers.extend(
            effect.customer.filter(|ix| self.followed.contains(ix)).and_then(|ix| self.state.account(ix)).cloned(),
        );
        if self.board.someone_waits() {
            group.notified.extend(effect.notified);
        }
    }

    fn note_decision(&mut self, decided: &Decided) {
        self.note_hold(decided);
        metrics().decided(decided);
    }

    fn note_hold(&mut self, decided: &Decided) {
        if let (Outcome::Approved(Approval { hold_expires_at: Some(expires_at), .. }), Some(ix)) =
            (&decided.outcome, decided.customer)
        {
            self.holds.insert((*expires_at, self.state.lsn, ix));
        }
    }

    /// Only the link's own rule lets a sale go above a limit, and only the flagged one.
    fn note_advice(&mut self, advised: &Advised) {
        match advised.booked {
            Booked::Posted => self.assert_within_limits(&advised.decided),
            Booked::OverLimit => {}
            Booked::Suspense(why) => {
                let reason = why.name();
                let amount = advised.decided.input.amount.get();
                tracing::warn!(reason, amount, "a sale that the network approved went to suspense");
            }
        }
        metrics().advised(advised.booked);
        self.note_decision(&advised.decided);
    }

    /// The promise above all but one: after an approval the exposure is within the limits. A breach is a bug in
    /// the rules, and the process stops before the answer leaves.
    fn assert_within_limits(&self, decided: &Decided) {
        let Outcome::Approved(_) = decided.outcome else { return };
        let account = decided.customer.and_then(|ix| self.state.account(ix));
        let (Some(account), Some(rules)) = (account, self.state.rules()) else { return };
        let limits = account.limits(rules.policy);
        let exposure = account.exposure(&self.now, rules);
        assert!(exposure.total <= limits.total, "an approval went above the total limit");
        let in_store = decided.input.channel == Channel::InStore;
        assert!(!in_store || exposure.in_store <= limits.in_store, "an approval went above the in-store limit");
    }

    /// Sets the gauges of what is in memory. An idle engine does too, so that the lag is seen to fall when the traffic stops.
    pub fn set_gauges(&self) {
        let metrics = metrics();
        metrics.live_codes.set(gauge_value(self.state.codes.len()));
        metrics.customers.set(gauge_value(self.state.next_customer().0));
        metrics.orders.set(gauge_value(self.state.orders.len()));
        metrics.exposure_yen.set(gauge_value(self.exposure));
        metrics.suspense_yen.set(gauge_value(self.state.suspense.get()));
        let lag = self.state.lsn.0.saturating_sub(self.posted.load(Ordering::Acquire));
        metrics.ledger_lag.set(gauge_value(lag));
    }
}

/// The rules in force, for readers.
fn rules(state: &State) -> Option<Rules> {
    let policy = Arc::clone(&state.policy.as_ref()?.policy);
    Some(Rules { policy, terms: Arc::clone(&state.terms), calendar: Arc::clone(&state.calendar) })
}

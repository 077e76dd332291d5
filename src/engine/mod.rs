//! The engine: one owner of every account. It judges a batch of requests, makes their facts durable with
//! one write, shows the result to readers, and only then lets the answers go.
//!
//! [`Engine`] is a plain struct that can be driven by hand, as the tests do; [`inbox`] drives it from a
//! thread of its own.

pub mod board;
pub mod inbox;
pub mod recovery;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::domain::account::Channel;
use crate::domain::event::{Decided, Event, Outcome};
use crate::domain::ids::{CodeId, CustomerIx, Lsn};
use crate::domain::jst::{Millis, Now};
use crate::domain::request::{Payer, Request};
use crate::domain::rule::{Reply, Ruling, existed, order_key, reply_after, rule};
use crate::domain::state::State;
use crate::domain::undo::hold_expired;
use crate::journal::{Batch, Journal, JournalError, codec};
use crate::metrics::{gauge_value, metrics};

use board::{Board, Rules};

/// Expired holds that get their paper in one batch. The room came back by itself; this is only paperwork.
const PAPERS_A_BATCH: usize = 64;
/// Entries freed in one batch: more than one batch can add, so memory does not lag.
const FORGET_A_BATCH: usize = 2_048;

/// When answers may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// After their records are on disk.
    BeforeAnswer,
    /// After the write and before the sync, while the approved yen of the batch stay within this budget.
    Bounded { at_risk_yen: u64 },
}

pub struct Engine<J> {
    state: State,
    journal: J,
    sync: Sync,
    random: StdRng,
    board: Arc<Board>,
    /// Last record in the ledger; orders are kept in memory at least until they are there.
    posted: Arc<AtomicU64>,
    now: Now,
    /// The batch being judged.
    records: Batch,
    replies: Vec<Reply>,
    changed: Changed,
    /// Written and not yet synced.
    unsynced: bool,
    /// Holds by the time they run out.
    holds: BTreeSet<(Millis, Lsn, CustomerIx)>,
    /// Sum of all customers' exposure, yen.
    exposure: u64,
}

/// What the batch changed, to be shown after it is durable.
#[derive(Default)]
struct Changed {
    customers: Vec<CustomerIx>,
    codes: Vec<CodeId>,
    rules: bool,
    approved_yen: u64,
}

impl Changed {
    fn clear(&mut self) {
        self.customers.clear();
        self.codes.clear();
        (self.rules, self.approved_yen) = (false, 0);
    }
}

impl<J: Journal> Engine<J> {
    /// Takes over a recovered state and its journal. `seed` makes handles and ids: from the system in service,
    /// fixed in tests.
    pub fn new(
        state: State,
        journal: J,
        sync: Sync,
        seed: [u8; 32],
        board: Arc<Board>,
        posted: Arc<AtomicU64>,
    ) -> Self {
        let now = Now::at(state.time.max(Millis(0)));
        let indexed = (0..state.next_customer().0).map(CustomerIx).zip(state.accounts());
        let holds = indexed.flat_map(|(ix, account)| account.holds().iter().map(move |h| (h.expires_at, h.order, ix)));
        let holds = holds.collect();
        let exposure = state.accounts().map(|account| account.exposure(&now).total.get()).sum();
        let engine = Self {
            state,
            journal,
            sync,
            random: StdRng::from_seed(seed),
            board,
            posted,
            now,
            records: Batch::default(),
            replies: Vec::new(),
            changed: Changed::default(),
            unsynced: false,
            holds,
            exposure,
        };
        engine.show_rules();
        engine
    }

    pub fn state(&self) -> &State {
        &self.state
    }

    /// Time of the present batch.
    pub fn now(&self) -> Now {
        self.now
    }

    pub fn board(&self) -> &Arc<Board> {
        &self.board
    }

    /// Starts a batch at the time of the wall clock, or at the last recorded time if the clock went back.
    pub fn begin(&mut self, wall: Millis) {
        let at = wall.max(self.state.time);
        if at != self.now.at {
            self.now = Now::at(at);
        }
        self.state.forget(at, Lsn(self.posted.load(Ordering::Acquire)), FORGET_A_BATCH);
        self.state.make_room();
        for _ in 0..PAPERS_A_BATCH {
            let Some(hold) = self.holds.first().copied().filter(|(expires, ..)| *expires <= at) else { break };
            self.holds.remove(&hold);
            let (_, order, customer) = hold;
            if let Some(event) = hold_expired(&self.state, customer, order, &self.now) {
                self.record(&event);
            }
        }
    }

    /// Judges one request and makes its fact true; its answer waits for [`Engine::commit`].
    pub fn take(&mut self, request: &Request) {
        if self.is_full_for(request) {
            self.replies.push(Reply::Full);
            return;
        }
        let random = &mut self.random;
        let reply = match rule(&self.state, request, &self.now, &mut || random.next_u64()) {
            Ruling::Answer(reply) => reply,
            Ruling::Record(event) => {
                let existed = existed(&self.state, request);
                self.record(&event);
                reply_after(&self.state, request, &event, existed, &self.now)
            }
        };
        self.replies.push(reply);
    }

    /// At the bound of orders in memory only known orders are answered: refuse, never evict what is promised.
    fn is_full_for(&self, request: &Request) -> bool {
        self.state.orders.len() >= self.state.settings.orders_max
            && matches!(request, Request::Authorize { .. } | Request::Cancel(_))
            && order_key(request).is_some_and(|key| self.state.orders.by_key(&key, self.now.at).is_none())
    }

    /// Makes a fact true and adds it to the batch.
    pub fn record(&mut self, event: &Event) {
        self.note_before(event);
        self.state.apply(event, &self.now);
        self.note_after(event);
        self.records.push(|bytes| codec::encode(event, bytes));
    }

    /// A new code ends the one before it: whoever follows that one wants to know.
    fn note_before(&mut self, event: &Event) {
        if let Event::CodeIssued(issued) = event {
            let before = self.state.account(issued.customer).and_then(|account| account.live_code);
            self.note_code(before);
        }
    }

    fn note_code(&mut self, handle: Option<crate::domain::ids::Handle>) {
        if self.board.someone_waits()
            && let Some(code) = handle.and_then(|handle| self.state.codes.get(handle, self.now.at))
        {
            self.changed.codes.push(code.id);
        }
    }

    fn note_after(&mut self, event: &Event) {
        match event {
            Event::Decided(decided) => self.note_decision(decided),
            Event::CodeIssued(issued) => self.changed.customers.push(issued.customer),
            Event::CodeVoided { handle } => self.note_code(Some(*handle)),
            Event::CustomerSet { ix, .. } => self.changed.customers.push(*ix),
            Event::Cancelled(undone) | Event::HoldExpired(undone) => {
                self.changed.customers.push(undone.customer);
                self.exposure = self.exposure.saturating_sub(undone.amount.get());
                let handle = self.state.orders.by_lsn(undone.order).and_then(|order| order.handle);
                self.note_code(handle);
            }
            Event::Captured(captured) => {
                self.changed.customers.push(captured.customer);
                self.exposure = self.exposure.saturating_sub(captured.released.get());
            }
            Event::Refunded(refunded) => {
                self.changed.customers.push(refunded.customer);
                self.exposure = self.exposure.saturating_sub(refunded.amount.get());
            }
            Event::PolicySet { .. } | Event::HolidaysSet { .. } => self.changed.rules = true,
            Event::Opened { .. } | Event::MerchantSet(_) | Event::Tombstoned { .. } | Event::Recalled(_) => {}
        }
    }

    fn note_decision(&mut self, decided: &Decided) {
        if let (Outcome::Approved(approval), Some(ix)) = (&decided.outcome, decided.customer) {
            self.assert_within_limits(decided);
            self.changed.customers.push(ix);
            self.changed.approved_yen += decided.input.amount.get();
            self.exposure += decided.input.amount.get();
            if let Some(expires_at) = approval.hold_expires_at {
                self.holds.insert((expires_at, self.state.lsn, ix));
            }
        }
        if let Payer::Code(scanned) = &decided.input.payer {
            self.note_code(scanned.handle());
        }
        metrics().decided(decided);
    }

    /// The promise above all but one: after an approval the exposure is within the limits. A breach is a bug in
    /// the rules, and the process stops before the answer leaves.
    fn assert_within_limits(&self, decided: &Decided) {
        let account = decided.customer.and_then(|ix| self.state.account(ix));
        let (Some(account), Some(in_force)) = (account, &self.state.policy) else { return };
        let (limits, exposure) = (account.limits(&in_force.policy), account.exposure(&self.now));
        assert!(exposure.total <= limits.total, "an approval went above the total limit");
        let in_store = decided.input.channel == Channel::InStore;
        assert!(!in_store || exposure.in_store <= limits.in_store, "an approval went above the in-store limit");
    }

    /// Makes the batch durable, shows what it changed and gives the answers in order of [`Engine::take`].
    /// After an error nothing may be answered any more.
    pub fn commit(&mut self) -> Result<Vec<Reply>, JournalError> {
        if !self.records.is_empty() {
            let started = Instant::now();
            let records = self.records.len();
            self.journal.write(self.now.at.0, &self.records)?;
            self.unsynced = true;
            let may_wait = match self.sync {
                Sync::BeforeAnswer => false,
                Sync::Bounded { at_risk_yen } => self.changed.approved_yen <= at_risk_yen,
            };
            if may_wait {
                metrics().at_risk_yen.set(gauge_value(self.changed.approved_yen));
            } else {
                self.settle()?;
            }
            self.records.clear();
            self.show();
            metrics().journal_sync.record(started.elapsed());
            metrics().batch_records.record(gauge_value(records));
        }
        Ok(std::mem::take(&mut self.replies))
    }

    /// Syncs what was answered ahead of its sync; nothing to do unless the mode is [`Sync::Bounded`].
    pub fn settle(&mut self) -> Result<(), JournalError> {
        if std::mem::take(&mut self.unsynced) {
            self.journal.sync()?;
            metrics().at_risk_yen.set(0.0);
        }
        Ok(())
    }

    fn show(&mut self) {
        for ix in &self.changed.customers {
            if let Some(account) = self.state.account(*ix) {
                self.board.set_customer(account);
            }
        }
        for code in &self.changed.codes {
            self.board.tell(*code);
        }
        if self.changed.rules {
            self.show_rules();
        }
        self.changed.clear();
        let metrics = metrics();
        metrics.live_codes.set(gauge_value(self.state.codes.len()));
        metrics.customers.set(gauge_value(self.state.next_customer().0));
        metrics.orders.set(gauge_value(self.state.orders.len()));
        metrics.exposure_yen.set(gauge_value(self.exposure));
    }

    /// Also told by an idle engine, so that the lag is seen to fall when the traffic stops.
    fn show_lag(&self) {
        let lag = self.state.lsn.0.saturating_sub(self.posted.load(Ordering::Acquire));
        metrics().ledger_lag.set(gauge_value(lag));
    }

    fn show_rules(&self) {
        if let Some(in_force) = &self.state.policy {
            let calendar = Arc::clone(&self.state.calendar);
            self.board.set_rules(Rules { policy: Arc::clone(&in_force.policy), calendar });
        }
    }

    /// The journal, for what is done between batches.
    pub fn journal_mut(&mut self) -> &mut J {
        &mut self.journal
    }
}

//! Every metric in one list. No label ever holds a customer, a code or an order.

use std::sync::OnceLock;
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::domain::model::advice::Booked;
use crate::domain::model::denial::Reason;
use crate::domain::model::purchase::Channel;
use crate::domain::state::event::{Decided, Outcome};

use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

/// Seconds; dense around the few milliseconds an answer takes.
const BUCKETS: [f64; 16] =
    [0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.003, 0.005, 0.008, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 1.0];
/// Records a commit.
const BATCHES: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// Why work is refused without a decision.
const SHED: [&str; 18] = [
    "inbox_full",
    "queue_time",
    "orders_full",
    "codes_full",
    "customers_full",
    "merchants_full",
    "receipts_full",
    "nonces_full",
    "bad_codes",
    "connections",
    "accept",
    "tls_handshake",
    "slow_head",
    "link_full",
    "link_garbage",
    "link_absurd_length",
    "link_silent",
    "link_stuck",
];

/// Where a request's time goes; the same names as in `Server-Timing`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Parse,
    Verify,
    Queue,
    Decide,
    Journal,
    Answer,
}

impl Stage {
    pub const ALL: [Self; 6] = [Self::Parse, Self::Verify, Self::Queue, Self::Decide, Self::Journal, Self::Answer];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Parse => "parse",
            Self::Verify => "verify",
            Self::Queue => "queue",
            Self::Decide => "decide",
            Self::Journal => "journal",
            Self::Answer => "answer",
        }
    }
}

/// Handles resolved once, so that counting costs a few nanoseconds.
pub struct Metrics {
    stages: [Histogram; 6],
    approved: [Counter; 3],
    denied: Vec<[Counter; 3]>,
    pub journal_sync: Histogram,
    pub batch_records: Histogram,
    pub at_risk_yen: Gauge,
    pub ledger_lag: Gauge,
    pub inbox_depth: Gauge,
    pub live_codes: Gauge,
    pub customers: Gauge,
    pub orders: Gauge,
    pub exposure_yen: Gauge,
    pub suspense_yen: Gauge,
    /// Posted, above a limit, to suspense.
    advices: [Counter; 3],
    pub bad_codes: Counter,
    pub credit_beside_debt: Counter,
}

fn by_channel(decision: &'static str, reason: &'static str) -> [Counter; 3] {
    Channel::ALL.map(|channel| {
        counter!("sokketsu_decisions_total", "decision" => decision, "reason" => reason, "channel" => channel.name())
    })
}

impl Metrics {
    fn new() -> Self {
        Self {
            stages: Stage::ALL.map(|stage| histogram!("sokketsu_stage_seconds", "stage" => stage.name())),
            approved: by_channel("approved", ""),
            denied: Reason::ALL.map(|reason| by_channel("denied", reason.row().name)).into(),
            journal_sync: histogram!("sokketsu_journal_sync_seconds"),
            batch_records: histogram!("sokketsu_journal_batch_records"),
            at_risk_yen: gauge!("sokketsu_at_risk_yen"),
            ledger_lag: gauge!("sokketsu_ledger_lag_records"),
            inbox_depth: gauge!("sokketsu_inbox_depth"),
            live_codes: gauge!("sokketsu_live_codes"),
            customers: gauge!("sokketsu_customers"),
            orders: gauge!("sokketsu_orders"),
            exposure_yen: gauge!("sokketsu_exposure_yen"),
            suspense_yen: gauge!("sokketsu_suspense_yen"),
            advices: ["posted", "over_limit", "suspense"]
                .map(|outcome| counter!("sokketsu_advices_total", "outcome" => outcome)),
            bad_codes: counter!("sokketsu_bad_codes_total"),
            credit_beside_debt: counter!("sokketsu_credit_beside_debt_total"),
        }
    }

    pub fn stage(&self, stage: Stage, took: Duration) {
        self.stages[stage as usize].record(took);
    }

    pub fn decided(&self, decided: &Decided) {
        let channel = decided.input.channel as usize - 1;
        match &decided.outcome {
            Outcome::Approved(_) => self.approved[channel].increment(1),
            Outcome::Denied { reason, .. } => self.denied[usize::from(reason.number()) - 1][channel].increment(1),
        }
    }

    pub fn advised(&self, booked: Booked) {
        let [posted, over_limit, suspense] = &self.advices;
        match booked {
            Booked::Posted => posted.increment(1),
            Booked::OverLimit => over_limit.increment(1),
            Booked::Suspense(_) => suspense.increment(1),
        }
    }

    /// A source of too many bad codes was shut: a terminal, or all of a key.
    pub fn source_shut(by: &'static str) {
        counter!("sokketsu_bad_code_sources_shut_total", "by" => by).increment(1);
    }

    /// Work refused without a decision.
    pub fn shed(reason: &'static str) {
        counter!("sokketsu_shed_total", "reason" => reason).increment(1);
    }
}

/// Times of whole calls at the edge of one interface, by the call's label.
pub struct CallTimers(Vec<Histogram>);

impl CallTimers {
    pub fn new(interface: &'static str, labels: impl IntoIterator<Item = &'static str>) -> Self {
        let timer = |label| histogram!("sokketsu_request_seconds", "interface" => interface, "call" => label);
        Self(labels.into_iter().map(timer).collect())
    }

    /// `at` is the label's place in the list given to [`CallTimers::new`].
    pub fn record(&self, at: usize, took: Duration) {
        if let Some(timer) = self.0.get(at) {
            timer.record(took);
        }
    }
}

/// A count as a gauge's value; exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "a picture for people, not money in the books")]
pub fn gauge_value(count: impl TryInto<u64>) -> f64 {
    count.try_into().unwrap_or(u64::MAX) as f64
}

/// The process's metrics. Before [`install`], as in most tests, counting goes nowhere.
pub fn metrics() -> &'static Metrics {
    static METRICS: OnceLock<Metrics> = OnceLock::new();
    METRICS.get_or_init(Metrics::new)
}

/// Installs the Prometheus recorder of the process. Call [`PrometheusHandle::run_upkeep`] every few seconds:
/// the exporter keeps every histogram sample until then.
pub fn install() -> Result<PrometheusHandle, metrics_exporter_prometheus::BuildError> {
    let handle = PrometheusBuilder::new()
        .set_buckets(&BUCKETS)?
        .set_buckets_for_metric(Matcher::Full("sokketsu_journal_batch_records".into()), &BATCHES)?
        .install_recorder()?;
    describe();
    let _ready = metrics();
    // Known from the start, so that a rate sees the first one.
    for reason in SHED {
        counter!("sokketsu_shed_total", "reason" => reason).increment(0);
    }
    for by in ["terminal", "key"] {
        counter!("sokketsu_bad_code_sources_shut_total", "by" => by).increment(0);
    }
    Ok(handle)
}

fn describe() {
    describe_counter!("sokketsu_decisions_total", "Decisions recorded, by outcome, reason and channel");
    describe_histogram!("sokketsu_stage_seconds", Unit::Seconds, "Time of an authorization by stage");
    describe_histogram!("sokketsu_request_seconds", Unit::Seconds, "Time of a call at the edge");
    describe_histogram!("sokketsu_journal_sync_seconds", Unit::Seconds, "Time of one write and sync of the journal");
    describe_histogram!("sokketsu_journal_batch_records", "Records made durable by one sync");
    describe_gauge!("sokketsu_at_risk_yen", "Yen answered (approved, captured, taken back, paid) and not yet synced");
    describe_gauge!("sokketsu_ledger_lag_records", "Records in the journal that are not in the ledger yet");
    describe_gauge!("sokketsu_inbox_depth", "Requests waiting for the engine");
    describe_gauge!("sokketsu_live_codes", "Codes remembered, ended ones included");
    describe_gauge!("sokketsu_customers", "Customers in memory");
    describe_gauge!("sokketsu_orders", "Orders in memory; bounded by orders.max");
    describe_gauge!("sokketsu_exposure_yen", "Unpaid principal and open holds of all customers");
    describe_gauge!("sokketsu_suspense_yen", "Owed to the network for sales that no customer is charged for");
    describe_counter!("sokketsu_advices_total", "Sales that the network approved for us, by how they were booked");
    describe_counter!("sokketsu_bad_codes_total", "Codes with a wrong seal, an unknown generation, or malformed");
    describe_counter!(
        "sokketsu_credit_beside_debt_total",
        "Customers whom the day's round left credit beside an unpaid bill; never, or it is a bug"
    );
    describe_counter!("sokketsu_bad_code_sources_shut_total", "Times a terminal or a key was shut for its bad codes");
    describe_counter!("sokketsu_shed_total", "Requests refused without a decision");
}

//! The HTTP door. In reading order:
//!
//! - `connection`: hyper on a socket, its bounds and its end;
//! - `call`: one call (`asked`) from head to answer, the only place where the steps are put in order; `framing` watches what hyper
//!   hides of its connection;
//! - [`routes`]: every call with its roles in one table;
//! - [`trust`]: who calls, and whether it is the caller who calls;
//! - `body`, `query`, `fields`: what a call says, read and checked;
//! - `calls`: the calls, a file a subject; `past`: what only the ledger knows; `cursor`: where a page of a list ended;
//! - `answer`, `problem`, `refusal`, `decision`: how answers look; `timing`: where a call's time went;
//! - [`steps`]: steps of a call by themselves, for benches.
//!
//! Nothing here decides: a call is parsed, checked, put into the engine's inbox, and its answer is put in words.
//! No log line holds a code, a key or a customer id.

pub(crate) mod answer;
pub(crate) mod asked;
pub(crate) mod body;
pub(crate) mod call;
pub(crate) mod calls;
pub(crate) mod connection;
pub(crate) mod cursor;
pub(crate) mod decision;
pub(crate) mod fields;
pub(crate) mod framing;
#[cfg(test)]
mod openapi_tests;
pub(crate) mod past;
pub mod problem;
pub(crate) mod query;
pub(crate) mod refusal;
pub mod routes;
pub mod steps;
pub(crate) mod timing;
pub mod trust;

use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use hyper::header::HeaderValue;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use crate::domain::model::time::Millis;
use crate::engine::board::Rules;
use crate::engine::client::Client;
use crate::journal::Follower;
use crate::metrics::CallTimers;

pub use self::connection::{ADMIN_CONNECTIONS, Door, run};
use problem::Problem;
use routes::Router;
use trust::callers::Callers;

/// The OpenAPI description, as served.
pub const OPENAPI: &str = include_str!("openapi.json");

/// Bounds of the edge. Every one is a refusal of new work, never an end of what is under way.
#[derive(Clone, Debug)]
pub struct Options {
    pub max_connections: usize,
    pub max_connections_per_ip: u32,
    /// A connection without a request for this long is closed.
    pub idle_timeout: Duration,
    /// A request's head must be complete within this time of its first byte.
    pub header_timeout: Duration,
    /// A body must be complete within this time.
    pub body_timeout: Duration,
    /// After about this long a connection is asked to come back, so that load spreads again.
    pub connection_age: Duration,
    /// How long answers in flight may take after the stop. Below the 5 s in which the process exits.
    pub drain_deadline: Duration,
    /// Event feeds followed at once.
    pub event_feeds: usize,
    /// Whether `/metrics` is served without an ops key where there is no admin address: on loopback only.
    pub open_metrics: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_connections: 4_096,
            max_connections_per_ip: 1_024,
            idle_timeout: Duration::from_secs(75),
            header_timeout: Duration::from_secs(5),
            body_timeout: Duration::from_secs(5),
            connection_age: Duration::from_secs(3_600),
            drain_deadline: Duration::from_secs(4),
            event_feeds: EVENT_FEEDS,
            open_metrics: true,
        }
    }
}

/// Sets the sandbox's clock and gives what it shows now; `Err` holds the present time when it would go back.
pub type ClockSetter = Arc<dyn Fn(Millis) -> Result<Millis, Millis> + Send + Sync>;

/// What the process hands to the edge.
pub struct Parts {
    pub client: Arc<Client>,
    /// Swapped whole when the configuration is read again.
    pub callers: Arc<ArcSwap<Callers>>,
    /// Every listener speaks TLS with it, or none does.
    pub tls: Option<TlsAcceptor>,
    pub metrics: Option<PrometheusHandle>,
    /// Each feed of events reads with another one of it.
    pub journal: Option<Follower>,
    /// Present in the sandbox only; without it the call does not exist.
    pub clock_setter: Option<ClockSetter>,
    pub options: Options,
}

/// Everything a call needs.
pub struct Edge {
    pub(crate) client: Arc<Client>,
    pub(crate) callers: Arc<ArcSwap<Callers>>,
    pub(crate) tls: Option<TlsAcceptor>,
    pub(crate) metrics: Option<PrometheusHandle>,
    pub(crate) journal: Option<Follower>,
    pub(crate) clock_setter: Option<ClockSetter>,
    pub(crate) options: Options,
    pub(crate) router: Router,
    pub(crate) timers: CallTimers,
    pub(crate) feed_permits: Arc<Semaphore>,
    request_ids: RequestIds,
}

/// Event feeds followed at once.
pub const EVENT_FEEDS: usize = 16;

impl Edge {
    pub fn new(parts: Parts) -> Arc<Self> {
        Arc::new(Self {
            client: parts.client,
            callers: parts.callers,
            tls: parts.tls,
            metrics: parts.metrics,
            journal: parts.journal,
            clock_setter: parts.clock_setter,
            router: Router::new(),
            timers: routes::timers(),
            feed_permits: Arc::new(Semaphore::new(parts.options.event_feeds)),
            request_ids: RequestIds::new(),
            options: parts.options,
        })
    }
}

impl Edge {
    /// The policy and calendar in force, as readers see them.
    pub(crate) fn rules(&self) -> Result<Arc<Rules>, Problem> {
        self.client.board.rules().ok_or_else(Problem::not_ready)
    }
}

/// Ids for requests that come without one: a random start and a count.
struct RequestIds {
    /// 16 hexadecimal digits and a hyphen.
    start: String,
    next: AtomicU64,
}

impl RequestIds {
    fn new() -> Self {
        // The standard hasher is keyed at random for each process.
        let start = std::collections::hash_map::RandomState::new().build_hasher().finish();
        Self { start: format!("{start:016x}-"), next: AtomicU64::new(1) }
    }

    fn make(&self) -> HeaderValue {
        let text = format!("{}{:x}", self.start, self.next.fetch_add(1, Ordering::Relaxed));
        HeaderValue::from_maybe_shared(Bytes::from(text)).unwrap_or(HeaderValue::from_static("-"))
    }
}

//! `sokketsu serve`: puts the parts together, runs them, and takes them apart in order.
//!
//! signals → descriptors → folder → lock → clock → journal → ledger → recovery → policy → engine → write-behind → HTTP
//! and links → signal → both drain → engine finishes → ledger drains → exit 0.

pub(crate) mod backends;
mod decides;
mod descriptors;
mod edge;
mod folder;
mod merchants;
mod standby;
mod start;
mod stays;
mod stop;
mod upkeep;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use crate::clock::ClockError;
use crate::config::{Config, ConfigError, JournalPlace};
use crate::domain::model::ids::Lsn;
use crate::domain::model::time::Millis;
use crate::engine::queues::queues;
use crate::engine::readiness::{Condition, Readiness};
use crate::engine::recovery::RecoveryError;
use crate::http;
use crate::http::Edge;
use crate::http::trust::callers::SameKey;
use crate::journal::{Follower, JournalError};
use crate::ledger::LedgerError;
use crate::ledger::writer::Writer;
use crate::link;
use crate::link::Link;
use crate::metrics;
use crate::net;
use crate::net::tls::TlsError;

use backends::MoveError;
use decides::Decides;
use edge::Asks;
use start::Half;
use stop::Stop;
use upkeep::Upkeep;

/// From the first signal: answers in flight, the engine's queues, the ledger. A little later the process ends whatever
/// is left (`stop.rs`).
const DRAIN_WITHIN: Duration = Duration::from_millis(4_300);
/// Tasks that a thread runs before it looks at the sockets again.
const TASKS_BETWEEN_LOOKS: u32 = 256;
/// Tasks that a thread runs before it looks at what other threads woke: a group that is durable, and is to be answered
/// and followed by the next. Of a request each costs some 15 µs, so with tokio's usual 31 a busy thread would leave the
/// disk idle for half a millisecond.
const TASKS_BEFORE_NEWS: u32 = 8;
/// How often the exporter's samples are folded and an old segment may be released.
const UPKEEP: Duration = Duration::from_secs(5);

/// Why the service did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Clock(#[from] ClockError),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    #[error("the ledger: {0}")]
    Ledger(#[from] LedgerError),
    #[error("`journal.url` names no cluster")]
    NoCluster,
    /// A node is to own nothing, and no other one took over.
    #[error("{0}")]
    NobodyTookOver(String),
    #[error("`journal.address` is missing: say where callers reach this node, which listens on {0}")]
    NoAddress(SocketAddr),
    /// It was read of a primary that failed before any of its standbys had it.
    #[error("records that were read are not in the journal's database any more")]
    Ghost,
    #[error(transparent)]
    Move(#[from] MoveError),
    #[error("{data} holds {what}; start it {remedy}, or give another --data", data = data.display())]
    WrongKind { data: PathBuf, what: &'static str, remedy: &'static str },
    #[error(
        "{data} is open to others (mode {mode:04o}) and holds files that are not ours; if it is the right folder, \
         `chmod 700` it, or give another --data", data = data.display()
    )]
    NotOurs { data: PathBuf, mode: u32 },
    #[error(
        "the hard limit of open files is {limit}, and at least {least} are needed; raise it (ulimit -Hn, LimitNOFILE= \
         of systemd), or do without server.admin or server.iso8583"
    )]
    TooFewFiles { limit: u64, least: u64 },
    #[error("could not {doing}: {source}")]
    System { doing: String, source: std::io::Error },
    #[error(transparent)]
    SameKey(#[from] SameKey),
    #[error("[{section}]: {source}")]
    Tls { section: &'static str, source: TlsError },
    #[error("metrics: {0}")]
    Metrics(#[from] metrics_exporter_prometheus::BuildError),
}

impl ServeError {
    /// As the contract lists them (sysexits).
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(error) => error.exit_code(),
            Self::Clock(error) => error.exit_code(),
            Self::Journal(error) | Self::Recovery(RecoveryError::Journal(error)) => journal_exit(error),
            Self::NoCluster
            | Self::NoAddress(_)
            | Self::Move(MoveError::Refused(_))
            | Self::WrongKind { .. }
            | Self::NotOurs { .. }
            | Self::TooFewFiles { .. }
            | Self::SameKey(_)
            | Self::Tls { .. } => 78,
            Self::NobodyTookOver(_) => 75,
            Self::Ledger(error) | Self::Recovery(RecoveryError::Ledger(error)) => ledger_exit(error),
            Self::Recovery(_) => 65,
            Self::Move(MoveError::Journal(error)) => journal_exit(error),
            Self::System { .. } | Self::Ghost | Self::Move(MoveError::Folder { .. }) => 74,
            Self::Metrics(_) => 70,
        }
    }
}

pub fn ledger_exit(error: &LedgerError) -> u8 {
    match error {
        // Somebody has to set a role, a server or its tables right.
        LedgerError::Refused(_) | LedgerError::NotMigrated { .. } => 78,
        error if error.is_retriable() => 75,
        _ => 65,
    }
}

pub fn journal_exit(error: &JournalError) -> u8 {
    match error {
        JournalError::InUse(_) => 75,
        JournalError::Damaged { .. } | JournalError::Released { .. } | JournalError::Newer(_) => 65,
        JournalError::Failed { .. } | JournalError::Poisoned | JournalError::Doubt(_) | JournalError::Fenced(_) => 74,
        JournalError::Unfit(_) => 78,
        JournalError::TimeBackwards { .. } | JournalError::TooLarge(_) => 70,
    }
}

fn system(doing: impl Into<String>) -> impl FnOnce(std::io::Error) -> ServeError {
    move |source| ServeError::System { doing: doing.into(), source }
}

/// Runs the service until a signal. `start` is the sandbox's birth time.
pub fn serve(config: Config, start: Option<Millis>, say: &dyn Fn(&str)) -> Result<(), ServeError> {
    let config = Arc::new(config);
    let stop = Stop::listen()?;
    let prometheus = metrics::install()?;
    let max_connections = descriptors::make_room(&config)?;
    let core = start::open(&config, start)?;
    let (inbox, queues) = queues(config.inbox, config.records.journal.max_gap);
    let readiness = Arc::new(Readiness::default());
    let follower = Follower::new(core.reader, stop::on_damage(&core.posted, &readiness, &queues.is_halted));
    let writer: Arc<OnceLock<Writer>> = Arc::default();
    let clock_setter = config.has_own_clock().then(|| edge::clock_setter(&core.clock, &writer, follower.another()));
    let (kept, merchants) = crossbeam::channel::bounded(merchants::WAITING_MOST);
    let in_cluster = matches!(core.half, Half::Theirs(_)).then_some(kept);
    let asks = Asks { inbox: inbox.clone(), merchants: in_cluster, books: core.books };
    let parts = edge::parts(&config, &core.clock, asks, core.board, follower.another(), &readiness)?;
    let decides = Decides {
        config: Arc::clone(&config),
        clock: core.clock.clone(),
        readiness: Arc::clone(&readiness),
        follower,
        posted: core.posted,
        writer: Arc::clone(&writer),
        stop: stop.clone(),
        inbox,
        merchants,
        callers: Arc::clone(&parts.callers),
    };
    let options = http::Options { max_connections, ..parts.options };
    let parts = http::Parts { metrics: Some(prometheus.clone()), clock_setter, options, ..parts };
    let upkeep = Upkeep::new(&config, core.release, &core.clock, &writer, prometheus);
    stop.serving(&queues.is_stopping);
    let runtime = runtime(config.server.threads).map_err(system("start the runtime"))?;
    let (stopped, last) = runtime.block_on(async {
        let bound = Bound::new(&config)?;
        let (stop_engine, told) = oneshot::channel::<()>();
        let address = bound.address(&config)?;
        let engine = tokio::spawn(decides.run(core.half, address, queues, async { drop(told.await) }));
        let edge = Edge::new(parts);
        let stopped = run(&config, edge, bound, (&upkeep, &stop), say).await?;
        // Whoever was connected is gone; what is queued is still made durable.
        drop(stop_engine);
        Ok::<_, ServeError>((stopped, engine.await.unwrap_or(Lsn::ZERO)))
    })?;
    runtime.shutdown_timeout(Duration::from_millis(200));
    if let Some(writer) = writer.get() {
        let until = stopped + DRAIN_WITHIN;
        let drained = writer.drain(last, until);
        if !writer.stop_by(until) || !drained {
            tracing::warn!("the ledger lags; it goes on at the next start");
        }
    }
    tracing::info!(last = last.0, "stopped");
    if stop.is_handing_over() {
        stop::begin_anew("the journal was handed over");
    }
    Ok(())
}

/// One thread serves the sockets and the engine, or several share them. With one, a request
/// never crosses from core to core; on two cores, which others need too, two were no faster.
fn runtime(threads: usize) -> std::io::Result<Runtime> {
    let mut builder = if threads == 1 { Builder::new_current_thread() } else { Builder::new_multi_thread() };
    if threads > 1 {
        builder.worker_threads(threads);
    }
    // All that the sockets brought in one look is read before the next look, so that it is judged together.
    builder.event_interval(TASKS_BETWEEN_LOOKS).global_queue_interval(TASKS_BEFORE_NEWS).enable_all().build()
}

/// What callers connect to.
struct Bound {
    http: TcpListener,
    admin: Option<TcpListener>,
    iso8583: Option<TcpListener>,
}

impl Bound {
    fn new(config: &Config) -> Result<Self, ServeError> {
        let bind = |address: SocketAddr| net::bind(address).map_err(system(format!("listen on {address}")));
        Ok(Self {
            http: bind(config.server.http)?,
            admin: config.server.admin.map(bind).transpose()?,
            iso8583: config.server.iso8583.map(bind).transpose()?,
        })
    }

    fn http(&self) -> Result<SocketAddr, ServeError> {
        self.http.local_addr().map_err(system("read an address"))
    }

    /// Where callers reach this node.
    fn address(&self, config: &Config) -> Result<String, ServeError> {
        let JournalPlace::Cluster { address, .. } = &config.records.journal.place else { return Ok(String::new()) };
        let listens = self.http()?;
        match address {
            Some(address) => Ok(address.clone()),
            None if listens.ip().is_unspecified() => Err(ServeError::NoAddress(listens)),
            None => Ok(format!("{}://{listens}", if config.server.tls.is_some() { "https" } else { "http" })),
        }
    }

    fn welcome(&self, config: &Config) -> Result<String, ServeError> {
        let local = |listener: &TcpListener| listener.local_addr().map_err(system("read an address"));
        let others = [&self.admin, &self.iso8583].map(|listener| listener.as_ref().map(local).transpose());
        let [admin, iso8583] = others;
        Ok(welcome(config, self.http()?, admin?, iso8583?))
    }
}

/// Serves until the first signal and drains; gives the moment of the signal.
async fn run(
    config: &Config,
    edge: Arc<Edge>,
    bound: Bound,
    (upkeep, stop): (&Upkeep, &Stop),
    say: &dyn Fn(&str),
) -> Result<Instant, ServeError> {
    let link =
        Link::new(Arc::clone(&edge.client), edge::acquirers(config), config.link.options, edge::link_tls(config)?);
    edge.client.readiness.set(Condition::ListenersBound, true);
    say(&bound.welcome(config)?);
    let Bound { http, admin, iso8583 } = bound;

    let (told, ends) = oneshot::channel::<()>();
    let drain = edge.options.drain_deadline;
    let links = async {
        match iso8583 {
            Some(listener) => link::serve(link, listener, drain).await,
            None => 0,
        }
    };
    let listeners = async {
        let (calls, links) = tokio::join!(http::run(edge, http, admin, async { drop(ends.await) }), links);
        calls + links
    };
    let mut listeners = std::pin::pin!(listeners);
    let mut begun = std::pin::pin!(stop.begun());
    let mut tick = tokio::time::interval(UPKEEP);
    let stopped = loop {
        tokio::select! {
            _ = &mut listeners => return Ok(Instant::now()),
            stopped = &mut begun => break stopped,
            _ = tick.tick() => upkeep.turn(),
        }
    };
    tracing::info!("stopping: answering what is in flight");
    drop(told);
    let cut = listeners.await;
    if cut > 0 {
        tracing::warn!(cut, "connections cut");
    }
    Ok(stopped)
}

fn welcome(config: &Config, http: SocketAddr, admin: Option<SocketAddr>, iso8583: Option<SocketAddr>) -> String {
    let scheme = if config.server.tls.is_some() { "https" } else { "http" };
    let mut text = format!("Sokketsu listens on {scheme}://{http}");
    if let Some(admin) = admin {
        text += &format!("\n  office, ops and metrics on {scheme}://{admin}");
    }
    if let Some(iso8583) = iso8583 {
        let tls = config.link.tls.is_some() || config.server.tls.is_some();
        text += &format!("\n  the network's link on iso8583://{iso8583}{}", if tls { " by TLS" } else { "" });
    }
    text += &format!("\n  data in {}", config.records.data.display());
    if config.sandbox {
        text += "\n  sandbox: customers 1001-1006 and 2000-2999, merchants mrc_konbini, mrc_electronics, mrc_giftcards\
                 \n  keys: sandbox-wallet, sandbox-register, sandbox-office, sandbox-ops (Authorization: Bearer KEY);\
                 \n  sandbox-signed is a register whose requests must be signed: docs/signing.md";
    }
    text += &format!("\n  API: {scheme}://{http}/openapi.json   ready: {scheme}://{http}/readyz");
    text
}

//! `sokketsu serve`: puts the parts together, runs them, and takes them apart in order.
//!
//! lock → clock → journal → ledger → recovery → policy → engine → write-behind → HTTP and links → signal →
//! both drain → engine finishes → ledger drains → exit 0.

mod edge;
mod follow;
mod start;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::clock::{Clock, ClockError};
use crate::config::{Config, ConfigError};
use crate::domain::ids::Lsn;
use crate::domain::jst::{DAY, Millis};
use crate::engine::recovery::RecoveryError;
use crate::engine::{self, inbox::queues};
use crate::journal::{JournalError, LocalJournal};
use crate::ledger::LedgerError;
use crate::ledger::writer::{Condition as LedgerCondition, Writer};
use crate::metrics;
use crate::server::callers::SameKey;
use crate::server::link::Link;
use crate::server::tls::TlsError;
use crate::server::{self, Edge, Readiness};

use follow::Follower;

/// All of a stop: answers in flight, the engine's queues, the ledger. The contract gives 5 s.
const STOP_WITHIN: Duration = Duration::from_millis(4_800);
/// Tasks that a thread runs before it looks at the sockets again.
const TASKS_BETWEEN_LOOKS: u32 = 256;
/// Tasks that a thread runs before it looks at what other threads woke: a group that is durable, and is to be answered
/// and followed by the next. Of a request each costs some 15 µs, so with tokio's usual 31 a busy thread would leave the
/// disk idle for half a millisecond.
const TASKS_BEFORE_NEWS: u32 = 8;
/// How often the exporter's samples are folded and old segments released.
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
    #[error("{data} holds {what}; start it {remedy}, or give another --data", data = data.display())]
    WrongKind { data: PathBuf, what: &'static str, remedy: &'static str },
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
            Self::WrongKind { .. } | Self::SameKey(_) | Self::Tls { .. } => 78,
            Self::Recovery(_) => 65,
            Self::Ledger(error) if error.is_retriable() => 75,
            Self::Ledger(_) => 65,
            Self::System { .. } => 74,
            Self::Metrics(_) => 70,
        }
    }
}

pub fn journal_exit(error: &JournalError) -> u8 {
    match error {
        JournalError::InUse(_) => 75,
        JournalError::Damaged { .. } | JournalError::Released { .. } => 65,
        JournalError::Failed { .. } | JournalError::Poisoned => 74,
        JournalError::TimeBackwards { .. } | JournalError::TooLarge(_) => 70,
    }
}

fn system(doing: impl Into<String>) -> impl FnOnce(std::io::Error) -> ServeError {
    move |source| ServeError::System { doing: doing.into(), source }
}

/// Runs the service until a signal. `start` is the sandbox's birth time.
pub fn serve(config: Config, start: Option<Millis>, say: &dyn Fn(&str)) -> Result<(), ServeError> {
    let prometheus = metrics::install()?;
    let core = start::open(&config, start)?;
    let (inbox, queues) = queues(config.inbox, config.records.journal.max_gap);
    let board = Arc::clone(core.engine.board());
    let follower = Follower::new(&core.journal_dir, &core.durable);
    let chunk = config.records.ledger.chunk_records;
    let writer = Writer::start(core.ledger, follower, Arc::clone(&core.posted), chunk);
    let writer = writer.map_err(system("start the ledger"))?;
    let writer = Arc::new(writer);
    let parts = edge::parts(&config, &core.clock, inbox, board, &core.journal_dir, &core.durable, core.ledger_file)?;
    let clock_setter = config.sandbox.then(|| edge::clock_setter(&core.clock, &writer, &core.durable));
    let parts = server::Parts { metrics: Some(prometheus.clone()), clock_setter, ..parts };
    let readiness = Arc::clone(&parts.readiness);

    let keep_house = keep_house(&core.clock, &core.posted, &readiness, config.records.journal.retain_days);
    let (engine, clock) = (core.engine, core.clock);
    let runtime = runtime(config.server.threads).map_err(system("start the runtime"))?;
    let (stopped, last) = runtime.block_on(async {
        let (stop_engine, told) = oneshot::channel::<()>();
        let engine = tokio::spawn(async move {
            let served = engine::serve::serve(engine, queues, clock, keep_house, async { drop(told.await) });
            match served.await {
                Ok(owner) => owner.state().lsn,
                // Nothing of the failed group was answered, and nothing more may be: the process ends at once.
                Err(error) => {
                    tracing::error!(%error, "the journal could not be written; stopping");
                    std::process::exit(i32::from(journal_exit(&error)));
                }
            }
        });
        let edge = Edge::new(parts);
        let stopped = run(&config, edge, &writer, &readiness, &prometheus, say).await?;
        // Whoever was connected is gone; what is queued is still made durable.
        drop(stop_engine);
        Ok::<_, ServeError>((stopped, engine.await.unwrap_or(Lsn::ZERO)))
    })?;
    runtime.shutdown_timeout(Duration::from_millis(200));
    let drained = writer.drain(last, stopped + STOP_WITHIN);
    drop(writer);
    if !drained {
        tracing::warn!("the ledger lags; it goes on at the next start");
    }
    tracing::info!(last = last.0, "stopped");
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

/// What is done for the journal between its commits: a disk that is filling shows before a commit fails, and old
/// segments go.
fn keep_house(
    clock: &Clock,
    posted: &Arc<AtomicU64>,
    readiness: &Arc<Readiness>,
    retain_days: u64,
) -> impl FnMut(&mut LocalJournal) -> Result<(), JournalError> + Send + 'static {
    let (clock, posted, readiness) = (clock.clone(), Arc::clone(posted), Arc::clone(readiness));
    let kept = i64::try_from(retain_days).unwrap_or(i64::MAX).saturating_mul(DAY);
    move |journal| {
        readiness.set(server::Condition::JournalWritable, journal.room().trouble.is_none());
        let upto = Lsn(posted.load(Ordering::Acquire));
        journal.release_to(upto, clock.now().plus(-kept).0).map(|_| ())
    }
}

/// Serves until a signal; gives the moment of the signal. A second signal ends the process at once, which
/// loses nothing: what was answered is on disk.
async fn run(
    config: &Config,
    edge: Arc<Edge>,
    writer: &Writer,
    readiness: &Readiness,
    prometheus: &metrics_exporter_prometheus::PrometheusHandle,
    say: &dyn Fn(&str),
) -> Result<Instant, ServeError> {
    let bind = |address: SocketAddr| server::bind(address).map_err(system(format!("listen on {address}")));
    let http = bind(config.server.http)?;
    let admin = config.server.admin.map(bind).transpose()?;
    let iso8583 = config.server.iso8583.map(bind).transpose()?;
    let link = Link::new(Arc::clone(&edge), edge::acquirers(config), config.link.options, edge::link_tls(config)?);
    let mut term = signal(SignalKind::terminate()).map_err(system("listen for SIGTERM"))?;
    let mut int = signal(SignalKind::interrupt()).map_err(system("listen for SIGINT"))?;
    use server::Condition::{JournalWritable, LeaseHeld, ListenersBound, Recovered};
    for condition in [Recovered, JournalWritable, LeaseHeld, ListenersBound] {
        readiness.set(condition, true);
    }
    let local = |listener: &tokio::net::TcpListener| listener.local_addr().map_err(system("read an address"));
    let others = [&admin, &iso8583].map(|listener| listener.as_ref().map(local).transpose());
    let [admin_address, iso8583_address] = others;
    say(&welcome(config, local(&http)?, admin_address?, iso8583_address?));

    let (told, stop) = oneshot::channel::<()>();
    let links = async {
        match iso8583 {
            Some(listener) => server::link::serve(link, listener).await,
            None => 0,
        }
    };
    let listeners = async {
        let (calls, links) = tokio::join!(server::run(edge, http, admin, async { drop(stop.await) }), links);
        calls + links
    };
    let mut listeners = std::pin::pin!(listeners);
    let mut upkeep = tokio::time::interval(UPKEEP);
    loop {
        tokio::select! {
            _ = &mut listeners => return Ok(Instant::now()),
            _ = term.recv() => break,
            _ = int.recv() => break,
            _ = upkeep.tick() => {
                let prometheus = prometheus.clone();
                tokio::task::spawn_blocking(move || prometheus.run_upkeep());
                if let LedgerCondition::Failed { error } = writer.condition() {
                    tracing::error!(error, "the ledger has stopped; decisions go on, the books do not");
                }
            }
        }
    }
    let stopped = Instant::now();
    tracing::info!("stopping: answering what is in flight");
    drop(told);
    let second = async {
        tokio::select! { _ = term.recv() => (), _ = int.recv() => () }
    };
    tokio::select! {
        cut = listeners => if cut > 0 { tracing::warn!(cut, "connections cut") },
        () = second => {
            tracing::warn!("second signal: stopping at once");
            std::process::exit(0);
        }
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

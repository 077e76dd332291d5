//! `sokketsu serve`: puts the parts together, runs them, and takes them apart in order.
//!
//! lock → clock → journal → ledger → recovery → policy → engine thread → write-behind → HTTP → signal →
//! HTTP drains → engine finishes → ledger drains → exit 0.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use rand::TryRng;
use tokio::signal::unix::{SignalKind, signal};

use crate::clock::{Clock, ClockError};
use crate::config::{self, Config, ConfigError, LedgerPlace};
use crate::domain::event::Event;
use crate::domain::ids::{AuthorizationId, Lsn};
use crate::domain::jst::{DAY, Millis};
use crate::domain::orders::Order;
use crate::domain::request::OrderKey;
use crate::domain::state::State;
use crate::engine::Engine;
use crate::engine::board::Board;
use crate::engine::inbox::{Inbox, queues};
use crate::engine::recovery::{RecoveryError, recover};
use crate::journal::{DirLock, Durable, JournalError, LocalJournal, Options, Reader, Record, codec, lock};
use crate::ledger::sqlite::{SqliteLedger, SqliteReader};
use crate::ledger::writer::{Condition as LedgerCondition, Source, Writer};
use crate::ledger::{LedgerError, Posting};
use crate::metrics;
use crate::sandbox;
use crate::server::callers::{Caller, Callers, Merchants, Role, SameKey};
use crate::server::{self, Edge, EventSource, PastOrders, Readiness};

/// All of a stop: answers in flight, the engine's queues, the ledger. The contract gives 5 s.
const STOP_WITHIN: Duration = Duration::from_millis(4_800);
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
            Self::WrongKind { .. } | Self::SameKey(_) => 78,
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

/// The durable half: everything below the sockets.
struct Core {
    /// Held until the end of the process.
    _lock: DirLock,
    clock: Clock,
    engine: Engine<LocalJournal>,
    durable: Durable,
    ledger: SqliteLedger,
    ledger_file: PathBuf,
    journal_dir: PathBuf,
    posted: Arc<AtomicU64>,
}

fn open(config: &Config, start: Option<Millis>) -> Result<Core, ServeError> {
    let data = &config.records.data;
    std::fs::create_dir_all(data).map_err(system(format!("make the data directory {}", data.display())))?;
    let lock = lock::lock(data)?;
    let clock = if config.sandbox { Clock::sandbox(data, start)? } else { Clock::system() };
    let journal_dir = data.join("journal");
    let options = Options { segment_size: config.records.journal.segment_bytes, ..Options::default() };
    let (journal, found) = LocalJournal::open(&journal_dir, &options, clock.now().0)?;
    if let Some(torn) = &found.torn {
        tracing::warn!(bytes = torn.bytes, lsn = torn.lsn.0, "cut an unanswered tail off the journal");
    }
    let LedgerPlace::Embedded(ledger_file) = &config.records.ledger.place;
    let mut ledger = SqliteLedger::open(ledger_file, clock.now())?;
    let began = Instant::now();
    let mut tell = |records: u64| tracing::info!(records, "recovering");
    let (state, replayed) = recover(config.records.settings, &mut ledger, &journal_dir, found.last, &mut tell)?;
    right_kind(data, &state, config.sandbox)?;
    tracing::info!(
        records = found.last.0,
        replayed,
        customers = state.next_customer().0,
        orders = state.orders.len(),
        took_ms = began.elapsed().as_millis(),
        "recovered"
    );
    let posted = Arc::new(AtomicU64::new(found.last.0 - replayed));
    let durable = journal.durable();
    let board = Arc::new(Board::default());
    let sync = config.records.journal.sync;
    let mut engine = Engine::new(state, journal, sync, seed()?, board, Arc::clone(&posted));
    bring_up_to_date(&mut engine, config, clock.now())?;
    let ledger_file = ledger_file.clone();
    Ok(Core { _lock: lock, clock, engine, durable, ledger, ledger_file, journal_dir, posted })
}

fn right_kind(data: &Path, state: &State, sandbox: bool) -> Result<(), ServeError> {
    let data = data.to_owned();
    match (state.lsn > Lsn::ZERO, state.sandbox, sandbox) {
        (true, true, false) => Err(ServeError::WrongKind { data, what: "a sandbox", remedy: "with --sandbox" }),
        (true, false, true) => Err(ServeError::WrongKind { data, what: "real records", remedy: "without --sandbox" }),
        _ => Ok(()),
    }
}

fn seed() -> Result<[u8; 32], ServeError> {
    let mut seed = [0; 32];
    let drawn = rand::rngs::SysRng.try_fill_bytes(&mut seed);
    drawn.map_err(|error| system("draw random numbers")(std::io::Error::other(error)))?;
    Ok(seed)
}

/// Journals what the files say now: the first records of a new journal, or a changed policy or calendar.
fn bring_up_to_date(engine: &mut Engine<LocalJournal>, config: &Config, now: Millis) -> Result<(), ServeError> {
    let (policy, holidays) = (&config.policy.text, &config.holidays.text);
    let policy_set = |version| Event::PolicySet { version, text: policy.as_str().into() };
    let holidays_set = Event::HolidaysSet { text: holidays.as_str().into() };
    if engine.state().lsn == Lsn::ZERO {
        let opening = [Event::Opened { sandbox: config.sandbox }, policy_set(1), holidays_set];
        if config.sandbox {
            return Ok(sandbox::fill(engine, &opening, now)?);
        }
        engine.begin(now);
        opening.iter().for_each(|event| engine.record(event));
    } else {
        engine.begin(now);
        let (version, old) =
            engine.state().policy.as_ref().map_or((0, ""), |in_force| (in_force.version, in_force.text.as_ref()));
        let (new_policy, new_holidays) = (old != policy, engine.state().calendar_text.as_ref() != holidays);
        if new_policy {
            tracing::info!(version = version + 1, label = config.policy.content.label, "the policy has changed");
            engine.record(&policy_set(version + 1));
        }
        if new_holidays {
            engine.record(&holidays_set);
        }
    }
    engine.commit()?;
    Ok(engine.settle()?)
}

/// The journal as the write-behind worker and the events feed read it.
struct Tail {
    reader: Reader,
    record: Record,
}

impl Tail {
    fn open(dir: &Path, after: Lsn, durable: Durable) -> Result<Self, JournalError> {
        Ok(Self { reader: Reader::open(dir, after, Some(durable))?, record: Record::default() })
    }

    fn next(&mut self) -> Result<Option<(Lsn, Millis, Event)>, TailError> {
        let Some(lsn) = self.reader.next(&mut self.record)? else { return Ok(None) };
        let event = codec::decode(&self.record.payload)?;
        Ok(Some((lsn, Millis(self.record.time_ms), event)))
    }
}

#[derive(Debug, thiserror::Error)]
enum TailError {
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Event(#[from] codec::BadEvent),
}

/// Follows the journal for one reader, reopening where another position is asked for.
struct Follower {
    dir: PathBuf,
    durable: Durable,
    tail: Option<(Lsn, Tail)>,
}

impl Follower {
    fn new(dir: &Path, durable: &Durable) -> Self {
        Self { dir: dir.to_owned(), durable: durable.clone(), tail: None }
    }

    fn read(&mut self, after: Lsn, max: usize, mut each: impl FnMut(Lsn, Millis, Event)) -> Result<(), TailError> {
        let mut tail = match self.tail.take() {
            Some((at, tail)) if at == after => tail,
            _ => Tail::open(&self.dir, after, self.durable.clone())?,
        };
        let mut at = after;
        for _ in 0..max {
            let Some((lsn, time, event)) = tail.next()? else { break };
            at = lsn;
            each(lsn, time, event);
        }
        self.tail = Some((at, tail));
        Ok(())
    }
}

impl Source for Follower {
    type Error = TailError;

    fn next_chunk(&mut self, after: Lsn, max: usize, out: &mut Vec<Posting>) -> Result<(), TailError> {
        self.read(after, max, |lsn, time, event| out.push(Posting { lsn, time, event }))
    }
}

impl EventSource for Follower {
    fn read_after(&mut self, after: Lsn, max: usize) -> Result<Vec<(Lsn, Millis, Event)>, String> {
        let mut events = Vec::new();
        self.read(after, max, |lsn, time, event| events.push((lsn, time, event))).map_err(|error| error.to_string())?;
        Ok(events)
    }
}

/// Old orders, from the ledger's own reader.
struct LedgerOrders {
    file: PathBuf,
}

impl PastOrders for LedgerOrders {
    fn by_id(&self, id: AuthorizationId) -> Result<Option<Order>, String> {
        let reader = SqliteReader::open(&self.file).map_err(|error| error.to_string())?;
        reader.past_order(id).map_err(|error| error.to_string())
    }

    fn by_key(&self, key: &OrderKey) -> Result<Option<Order>, String> {
        let reader = SqliteReader::open(&self.file).map_err(|error| error.to_string())?;
        reader.past_order_by_key(key).map_err(|error| error.to_string())
    }
}

/// Runs the service until a signal. `start` is the sandbox's birth time.
pub fn serve(config: Config, start: Option<Millis>, say: &dyn Fn(&str)) -> Result<(), ServeError> {
    let prometheus = metrics::install()?;
    let core = open(&config, start)?;
    let (inbox, queues) = queues(config.inbox);
    let board = Arc::clone(core.engine.board());
    let follower = Follower::new(&core.journal_dir, &core.durable);
    let writer = Writer::start(core.ledger, follower, Arc::clone(&core.posted)).map_err(system("start the ledger"))?;
    let writer = Arc::new(writer);
    let parts = parts(&config, &core.clock, inbox, board, &core.journal_dir, &core.durable, core.ledger_file)?;
    let clock_setter = config.sandbox.then(|| clock_setter(&core.clock, &writer, &core.durable));
    let parts = server::Parts { metrics: Some(prometheus.clone()), clock_setter, ..parts };
    let readiness = Arc::clone(&parts.readiness);

    let (engine, clock, keep) = (core.engine, core.clock, config.records.journal.retain_days);
    let posted = Arc::clone(&core.posted);
    let engine = std::thread::Builder::new().name("engine".to_owned()).spawn(move || {
        let served = engine.serve(&queues, &clock, |journal: &mut LocalJournal, now| {
            let upto = Lsn(posted.load(std::sync::atomic::Ordering::Acquire));
            let keep_after = now.plus(-i64::try_from(keep).unwrap_or(i64::MAX).saturating_mul(DAY));
            journal.release_to(upto, keep_after.0).map(|_| ())
        });
        match served {
            Ok(engine) => engine.state().lsn,
            // Nothing of the failed batch was answered, and nothing more may be: the process ends at once.
            Err(error) => {
                tracing::error!(%error, "the journal could not be written; stopping");
                std::process::exit(i32::from(journal_exit(&error)));
            }
        }
    });
    let engine = engine.map_err(system("start the engine"))?;

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(system("start the runtime"))?;
    let stopped = runtime.block_on(run(&config, Edge::new(parts), &writer, &readiness, &prometheus, say))?;
    runtime.shutdown_timeout(Duration::from_millis(200));
    // Every inbox is gone now, so the engine answers what is queued and returns.
    let last = engine.join().unwrap_or(Lsn::ZERO);
    let drained = writer.drain(last, stopped + STOP_WITHIN);
    drop(writer);
    if !drained {
        tracing::warn!("the ledger lags; it goes on at the next start");
    }
    tracing::info!(last = last.0, "stopped");
    Ok(())
}

fn parts(
    config: &Config,
    clock: &Clock,
    inbox: Inbox,
    board: Arc<Board>,
    journal_dir: &Path,
    durable: &Durable,
    ledger_file: PathBuf,
) -> Result<server::Parts, ServeError> {
    let (dir, durable) = (journal_dir.to_owned(), durable.clone());
    Ok(server::Parts {
        inbox,
        board,
        keyring: Arc::new(ArcSwap::new(Arc::clone(&config.keyring))),
        issuers: Arc::new(config.issuers.clone()),
        clock: clock.clone(),
        callers: Arc::new(ArcSwap::from_pointee(callers(config)?)),
        readiness: Arc::new(Readiness::default()),
        metrics: None,
        events: Some(Arc::new(move || Ok(Box::new(Follower::new(&dir, &durable)) as Box<dyn EventSource>))),
        past_orders: Some(Arc::new(LedgerOrders { file: ledger_file })),
        clock_setter: None,
        options: edge_options(config),
    })
}

/// Before the sandbox's clock jumps, the books catch up: what a jump of days makes old is looked for there.
fn clock_setter(clock: &Clock, writer: &Arc<Writer>, durable: &Durable) -> server::ClockSetter {
    let (clock, writer, durable) = (clock.clone(), Arc::clone(writer), durable.clone());
    Arc::new(move |to: Millis| {
        writer.drain(durable.get(), Instant::now() + Duration::from_secs(2));
        clock.set(to).map(|()| clock.now()).map_err(|_| clock.now())
    })
}

fn callers(config: &Config) -> Result<Callers, ServeError> {
    let caller = |key: &config::ApiKey| {
        let merchants = match &key.merchants {
            config::Merchants::All => Merchants::All,
            config::Merchants::Listed(list) => Merchants::Only(list.clone()),
        };
        let role = match key.role {
            config::Role::Wallet => Role::Wallet,
            config::Role::Register => Role::Register,
            config::Role::Office => Role::Office,
            config::Role::Ops => Role::Ops,
        };
        let caller = Caller {
            name: key.name.as_str().into(),
            role,
            merchants,
            terminals: key.terminals.clone(),
            channels: key.channels.clone(),
            may_refund: key.may_refund,
        };
        (caller, vec![*key.hash.as_bytes()])
    };
    Ok(Callers::new(config.keys.iter().map(caller))?)
}

fn edge_options(config: &Config) -> server::Options {
    let count = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    server::Options {
        max_connections: count(config.server.max_connections),
        max_connections_per_ip: config.server.max_connections_per_ip,
        idle_timeout: config.server.idle_timeout,
        body_timeout: config.server.body_timeout,
        drain_deadline: config.server.drain.min(Duration::from_secs(4)),
        bad_codes_per_terminal: count(config.bad_codes.per_terminal),
        bad_codes_per_key: count(config.bad_codes.per_key),
        open_metrics: config.server.http.ip().is_loopback(),
        ..server::Options::default()
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
    let mut term = signal(SignalKind::terminate()).map_err(system("listen for SIGTERM"))?;
    let mut int = signal(SignalKind::interrupt()).map_err(system("listen for SIGINT"))?;
    for condition in [server::Condition::Recovered, server::Condition::JournalWritable, server::Condition::LeaseHeld] {
        readiness.set(condition, true);
    }
    let local = |listener: &tokio::net::TcpListener| listener.local_addr().map_err(system("read an address"));
    say(&welcome(config, local(&http)?, admin.as_ref().map(local).transpose()?));

    let (told, stop) = tokio::sync::oneshot::channel::<()>();
    let listeners = server::run(edge, http, admin, async { drop(stop.await) });
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

fn welcome(config: &Config, http: SocketAddr, admin: Option<SocketAddr>) -> String {
    let mut text = format!("Sokketsu listens on http://{http}");
    if let Some(admin) = admin {
        text += &format!("\n  office, ops and metrics on http://{admin}");
    }
    text += &format!("\n  data in {}", config.records.data.display());
    if config.sandbox {
        text += "\n  sandbox: customers 1001-1006 and 2000-2999, merchants mrc_konbini, mrc_electronics, mrc_giftcards\
                 \n  keys: sandbox-wallet, sandbox-register, sandbox-office, sandbox-ops (Authorization: Bearer KEY)";
    }
    text += &format!("\n  API: http://{http}/openapi.json   ready: http://{http}/readyz");
    text
}

//! From a configuration to a recovered engine: lock, clock, journal, ledger, recovery, policy.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use rand::TryRng;

use super::backends::{Lock, Opened, Place};
use super::standby::Newcomer;
use super::{ServeError, backends, folder, system};
use crate::cli::sandbox;
use crate::clock::Clock;
use crate::config::Config;
use crate::domain::commands::request::Request;
use crate::domain::commands::rules::Rules;
use crate::domain::model::ids::Lsn;
use crate::domain::model::time::Millis;
use crate::domain::state::State;
use crate::domain::state::event::Event;
use crate::engine::Engine;
use crate::engine::board::Board;
use crate::engine::owner::Owner;
use crate::engine::recovery::recover;
use crate::hex;
use crate::journal::{Journal, JournalError, JournalReader, Release};
use crate::ledger::{Books, Checkpoint};

/// The durable half: everything below the sockets.
pub(crate) struct Core {
    /// Held until the end of the process.
    _lock: Lock,
    pub clock: Clock,
    pub board: Arc<Board>,
    pub half: Half,
    pub reader: Box<dyn JournalReader>,
    pub release: Arc<dyn Release>,
    pub books: Arc<dyn Books>,
    pub posted: Arc<AtomicU64>,
}

/// Who decides: this node, or as yet another one.
pub(crate) enum Half {
    Ours(Box<Decider>),
    Theirs(Box<Newcomer>),
}

/// What the node that decides has.
pub(crate) struct Decider {
    pub engine: Engine,
    pub checkpoint: Box<dyn Checkpoint>,
}

pub(crate) fn open(config: &Config, start: Option<Millis>) -> Result<Core, ServeError> {
    let data = &config.records.data;
    folder::make(data)?;
    let lock = backends::lock(data)?;
    folder::tighten(data)?;
    let clock = if config.has_own_clock() { Clock::sandbox(data, start)? } else { Clock::system() };
    let boot = hex::encode(&seed()?).to_string();
    let opened = backends::open(&config.records, config.sandbox, clock.now(), boot)?;
    let Opened { place, mut reader, release, books } = opened;
    let board = Arc::new(Board::default());
    let posted = Arc::new(AtomicU64::new(0));
    let half = match place {
        Place::Files(journal, checkpoint) => {
            let state = recovered(config, checkpoint.as_ref(), reader.as_mut(), &posted)?;
            right_kind(data, &state, config.sandbox)?;
            let owner = Owner::new(state, seed()?, Arc::clone(&board), Arc::clone(&posted));
            let rules = Some(configured(config));
            Half::Ours(Box::new(decider(config, clock.now(), (owner, journal, checkpoint), rules)?))
        }
        Place::Cluster(joining) => {
            let newcomer = Newcomer {
                joining,
                settings: config.records.settings,
                seed: seed()?,
                board: Arc::clone(&board),
                posted: Arc::clone(&posted),
            };
            // What somebody has to mend is told before anybody may connect.
            newcomer.look()?;
            Half::Theirs(Box::new(newcomer))
        }
    };
    Ok(Core { _lock: lock, clock, board, half, reader, release, books, posted })
}

fn recovered(
    config: &Config,
    checkpoint: &dyn Checkpoint,
    reader: &mut dyn JournalReader,
    posted: &AtomicU64,
) -> Result<State, ServeError> {
    let began = Instant::now();
    let mut progress = |records: u64| tracing::info!(records, "recovering");
    let (state, replayed) = recover(config.records.settings, checkpoint, reader, &mut progress)?;
    posted.store(reader.last().0 - replayed, Ordering::Release);
    tracing::info!(
        records = reader.last().0,
        replayed,
        customers = state.next_customer().0,
        orders = state.orders.len(),
        took_ms = began.elapsed().as_millis(),
        "recovered"
    );
    Ok(state)
}

/// Who decides from now on, by these rules, or by those in force.
pub(crate) fn decider(
    config: &Config,
    now: Millis,
    (owner, journal, checkpoint): (Owner, Box<dyn Journal>, Box<dyn Checkpoint>),
    rules: Option<Rules>,
) -> Result<Decider, ServeError> {
    let mut engine = Engine::of(owner, journal, config.records.journal.sync);
    bring_up_to_date(&mut engine, config.sandbox, rules, now)?;
    Ok(Decider { engine, checkpoint })
}

pub(super) fn right_kind(data: &Path, state: &State, sandbox: bool) -> Result<(), ServeError> {
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

/// Journals the first records of a new journal, or what of the rules has changed. `rules` are none where those in force stay.
fn bring_up_to_date(engine: &mut Engine, sandbox: bool, rules: Option<Rules>, now: Millis) -> Result<(), ServeError> {
    let Some(rules) = rules else { return Ok(()) };
    if engine.state().lsn == Lsn::ZERO {
        let policy = Event::PolicySet { version: 1, text: rules.policy.as_ref().into() };
        let holidays = Event::HolidaysSet { text: rules.holidays.as_ref().into() };
        let opening = [Event::Opened { sandbox }, policy, holidays];
        if sandbox {
            return Ok(sandbox::fill(engine, &opening, now)?);
        }
        engine.begin(now);
        opening.iter().try_for_each(|event| engine.record(event)).map_err(JournalError::from)?;
    } else {
        engine.begin(now);
        engine.take(&Request::SetRules(rules));
    }
    engine.commit()?;
    Ok(engine.settle()?)
}

/// As the files of the configuration have them.
pub(crate) fn configured(config: &Config) -> Rules {
    Rules { policy: config.policy.text.as_str().into(), holidays: config.holidays.text.as_str().into() }
}

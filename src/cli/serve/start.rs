//! From a configuration to a recovered engine: lock, clock, journal, ledger, recovery, policy.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use rand::TryRng;

use super::backends::{Lock, Opened};
use super::{ServeError, backends, folder, system};
use crate::cli::sandbox;
use crate::clock::Clock;
use crate::config::Config;
use crate::domain::model::ids::Lsn;
use crate::domain::model::time::Millis;
use crate::domain::state::State;
use crate::domain::state::event::Event;
use crate::engine::Engine;
use crate::engine::board::Board;
use crate::engine::recovery::recover;
use crate::hex;
use crate::journal::{JournalError, JournalReader, Release};
use crate::ledger::{Books, Checkpoint};

/// The durable half: everything below the sockets.
pub(crate) struct Core {
    /// Held until the end of the process.
    _lock: Lock,
    pub clock: Clock,
    pub engine: Engine,
    pub reader: Box<dyn JournalReader>,
    pub release: Arc<dyn Release>,
    pub checkpoint: Box<dyn Checkpoint>,
    pub books: Arc<dyn Books>,
    pub posted: Arc<AtomicU64>,
}

pub(crate) fn open(config: &Config, start: Option<Millis>) -> Result<Core, ServeError> {
    let data = &config.records.data;
    folder::make(data)?;
    let lock = backends::lock(data)?;
    folder::tighten(data)?;
    let clock = if config.has_own_clock() { Clock::sandbox(data, start)? } else { Clock::system() };
    let Opened { journal, mut reader, release, checkpoint, books } =
        backends::open(&config.records, config.sandbox, clock.now(), hex::encode(&seed()?).to_string())?;
    let began = Instant::now();
    let mut tell = |records: u64| tracing::info!(records, "recovering");
    let (state, replayed) = recover(config.records.settings, checkpoint.as_ref(), reader.as_mut(), &mut tell)?;
    right_kind(data, &state, config.sandbox)?;
    tracing::info!(
        records = reader.last().0,
        replayed,
        customers = state.next_customer().0,
        orders = state.orders.len(),
        took_ms = began.elapsed().as_millis(),
        "recovered"
    );
    let posted = Arc::new(AtomicU64::new(reader.last().0 - replayed));
    let board = Arc::new(Board::default());
    let sync = config.records.journal.sync;
    let mut engine = Engine::new(state, journal, sync, seed()?, board, Arc::clone(&posted));
    bring_up_to_date(&mut engine, config, clock.now())?;
    Ok(Core { _lock: lock, clock, engine, reader, release, checkpoint, books, posted })
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
fn bring_up_to_date(engine: &mut Engine, config: &Config, now: Millis) -> Result<(), ServeError> {
    let (policy, holidays) = (&config.policy.text, &config.holidays.text);
    let policy_set = |version| Event::PolicySet { version, text: policy.as_str().into() };
    let holidays_set = Event::HolidaysSet { text: holidays.as_str().into() };
    if engine.state().lsn == Lsn::ZERO {
        let opening = [Event::Opened { sandbox: config.sandbox }, policy_set(1), holidays_set];
        if config.sandbox {
            return Ok(sandbox::fill(engine, &opening, now)?);
        }
        engine.begin(now);
        opening.iter().try_for_each(|event| engine.record(event)).map_err(JournalError::from)?;
    } else {
        engine.begin(now);
        let (version, old) =
            engine.state().policy.as_ref().map_or((0, ""), |in_force| (in_force.version, in_force.text.as_ref()));
        let new_policy = old != policy;
        let new_holidays = engine.state().calendar_text.as_ref() != holidays;
        if new_policy {
            tracing::info!(version = version + 1, label = config.policy.content.label, "the policy has changed");
            engine.record(&policy_set(version + 1)).map_err(JournalError::from)?;
        }
        if new_holidays {
            engine.record(&holidays_set).map_err(JournalError::from)?;
        }
    }
    engine.commit()?;
    Ok(engine.settle()?)
}

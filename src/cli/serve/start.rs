//! From a configuration to a recovered engine: lock, clock, journal, ledger, recovery, policy.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use rand::TryRng;

use super::{ServeError, folder, system};
use crate::cli::sandbox;
use crate::clock::Clock;
use crate::config::{Config, LedgerPlace};
use crate::domain::model::ids::Lsn;
use crate::domain::model::time::Millis;
use crate::domain::state::State;
use crate::domain::state::event::Event;
use crate::engine::Engine;
use crate::engine::board::Board;
use crate::engine::recovery::{RecoveryError, recover};
use crate::journal::local::lock;
use crate::journal::local::recover::examine;
use crate::journal::{DirLock, Durable, JournalError, LocalJournal, Options};
use crate::ledger::Ledger;
use crate::ledger::sqlite::SqliteLedger;

/// The durable half: everything below the sockets.
pub(crate) struct Core {
    /// Held until the end of the process.
    _lock: DirLock,
    pub clock: Clock,
    pub engine: Engine<LocalJournal>,
    pub durable: Durable,
    pub ledger: SqliteLedger,
    pub ledger_file: PathBuf,
    pub journal_dir: PathBuf,
    pub posted: Arc<AtomicU64>,
}

pub(crate) fn open(config: &Config, start: Option<Millis>) -> Result<Core, ServeError> {
    let data = &config.records.data;
    folder::make(data)?;
    let lock = lock::lock(data)?;
    folder::tighten(data)?;
    let clock = if config.sandbox { Clock::sandbox(data, start)? } else { Clock::system() };
    let journal_dir = data.join("journal");
    let LedgerPlace::Embedded(ledger_file) = &config.records.ledger.place;
    if !ledger_file.exists() && journal_dir.exists() {
        // A damaged journal is refused before anything is made beside it.
        examine(&journal_dir, Lsn::ZERO)?;
    }
    let mut ledger = SqliteLedger::open(ledger_file, clock.now())?;
    let posted = ledger.position()?;
    journal_is_there(&journal_dir, posted)?;
    let segment_size = config.records.journal.segment_bytes;
    let options = Options { segment_size, posted, ..Options::default() };
    let (journal, found) = LocalJournal::open(&journal_dir, &options, clock.now().0)?;
    if let Some(torn) = &found.torn {
        let (bytes, lsn, copy) = (torn.bytes, torn.lsn.0, found.copy.as_deref());
        tracing::warn!(bytes, lsn, copy, "cut an unanswered tail off the journal; what was cut is in the copy");
    }
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

/// A ledger without its journal is a volume that is not mounted: a fresh journal must not take its place. (A folder
/// without segments is refused by recovery.)
fn journal_is_there(journal: &Path, posted: Lsn) -> Result<(), ServeError> {
    if posted == Lsn::ZERO || journal.exists() {
        return Ok(());
    }
    Err(RecoveryError::LedgerAhead { ledger: posted, journal: Lsn::ZERO }.into())
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
        opening.iter().try_for_each(|event| engine.record(event)).map_err(JournalError::from)?;
    } else {
        engine.begin(now);
        let (version, old) =
            engine.state().policy.as_ref().map_or((0, ""), |in_force| (in_force.version, in_force.text.as_ref()));
        let (new_policy, new_holidays) = (old != policy, engine.state().calendar_text.as_ref() != holidays);
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

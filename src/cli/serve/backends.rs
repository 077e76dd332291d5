//! Where journal and ledger are kept: the one place in the program that names it. A second journal or ledger is a folder
//! beside the first one and a line here.

use std::path::Path;
use std::sync::Arc;

use super::super::sandbox;
use super::{ServeError, folder};
use crate::clock::Clock;
use crate::config::{ConfigError, JournalPlace, LedgerPlace, Records, Shared};
use crate::domain::model::ids::Lsn;
use crate::domain::model::merchant::Merchant;
use crate::domain::model::time::Millis;
use crate::engine::recovery::RecoveryError;
use crate::journal::local::lock::DirLock;
use crate::journal::local::reader::LocalReader;
use crate::journal::local::{LocalJournal, Options, lock};
pub(crate) use crate::journal::postgres::cluster::{Cluster, Taken};
use crate::journal::postgres::draining::Draining;
pub(crate) use crate::journal::postgres::member::{Following, LOOK_EVERY, Membership, View};
use crate::journal::postgres::moving;
pub(crate) use crate::journal::postgres::moving::{MoveError, Moved};
use crate::journal::postgres::setting::{self, Put};
pub(crate) use crate::journal::postgres::setting::{Applied, MerchantBody, merchant_body};
pub(crate) use crate::journal::postgres::status::{Member, Standby, Status, Stream};
#[cfg(test)]
pub(crate) use crate::journal::postgres::status::{Other, Primary, Setting};
pub(crate) use crate::journal::postgres::{End, KEEP_EVERY, Node, RENEW_EVERY};
use crate::journal::{Journal, JournalError, JournalReader, Release};
use crate::ledger::postgres::{self, PostgresBooks, PostgresLedger};
use crate::ledger::sqlite::{SqliteBooks, SqliteLedger};
use crate::ledger::{Books, Checkpoint, LedgerError};

/// Journal and ledger of a service.
pub(crate) struct Opened {
    pub place: Place,
    pub reader: Box<dyn JournalReader>,
    pub release: Arc<dyn Release>,
    pub books: Arc<dyn Books>,
}

/// Whose the journal is.
pub(crate) enum Place {
    /// Ours, as recovery leaves it.
    Files(Box<dyn Journal>, Box<dyn Checkpoint>),
    /// Of one node of a cluster at a time.
    Cluster(Joining),
}

/// A cluster and a node that comes to it. Its database may be away yet.
pub(crate) struct Joining {
    pub cluster: Cluster,
    pub node: Node,
    ledger: LedgerPlace,
    sandbox: bool,
}

impl Joining {
    /// The ledger beside the journal, if the node may join; by one try.
    pub fn checkpoint(&self) -> Result<Box<dyn Checkpoint>, ServeError> {
        self.cluster.may_join(self.sandbox)?;
        Ok(checkpoint(&self.ledger, self.sandbox, Clock::system().now())?)
    }
}

/// Held as long as it lives.
pub(crate) type Lock = DirLock;

/// One process for each data folder.
pub(crate) fn lock(data: &Path) -> Result<Lock, JournalError> {
    lock::lock(data)
}

/// Opens both, or says how to; call it under the folder's lock. `boot` is drawn for this process.
pub(crate) fn open(records: &Records, sandbox: bool, now: Millis, boot: String) -> Result<Opened, ServeError> {
    let Some((cluster, node)) = cluster(records) else { return open_files(records, sandbox, now) };
    let node = Node { name: node.to_owned(), boot };
    let (reader, release) = (cluster.reader(), cluster.release());
    let place = Place::Cluster(Joining { cluster, node, ledger: records.ledger.place.clone(), sandbox });
    Ok(Opened { place, reader, release, books: books(records) })
}

/// The cluster that has the journal, and our name in it; none where it is in files.
fn cluster(records: &Records) -> Option<(Cluster, &str)> {
    let JournalPlace::Cluster { server, node, .. } = &records.journal.place else { return None };
    Some((Cluster::new(Arc::clone(server), &records.data, || Clock::system().now().0), node))
}

/// Makes the tables of journal and ledger, or brings them up to date, as their owner; says what was done.
pub(crate) fn init_cluster(records: &Records, sandbox: bool, now: Millis) -> Result<String, ServeError> {
    let (cluster, _) = cluster(records).ok_or(ServeError::NoCluster)?;
    cluster.init(sandbox)?;
    Ok(format!("the journal's tables are there\n{}", migrate(records, now)?))
}

/// Moves the journal's files into the table; with what was moved, where that is.
pub(crate) fn move_in(
    records: &Records,
    progress: &mut dyn FnMut(&str, Lsn, Lsn),
) -> Result<(Moved, String), ServeError> {
    let (cluster, _) = cluster(records).ok_or(ServeError::NoCluster)?;
    let _lock = lock(&records.data)?;
    // Not the configuration's: with `journal.url` that is the database's.
    let embedded = records.data.join("ledger.db");
    let posted = if embedded.exists() { SqliteBooks::new(&embedded).as_of() } else { Ok(Lsn::ZERO) };
    let moved = cluster.move_in(&records.data, posted?, progress)?;
    Ok((moved, cluster.to_string()))
}

/// Moves the table's records into files of the data folder.
pub(crate) fn move_out(
    records: &Records,
    now: Millis,
    progress: &mut dyn FnMut(&str, Lsn, Lsn),
) -> Result<(Moved, String), ServeError> {
    let (cluster, _) = cluster(records).ok_or(ServeError::NoCluster)?;
    folder::make(&records.data)?;
    let _lock = lock(&records.data)?;
    let files = moving::Files { segment_bytes: records.journal.segment_bytes, now_ms: now.0 };
    let moved = cluster.move_out(&records.data, files, progress)?;
    Ok((moved, cluster.to_string()))
}

/// How the cluster stands.
pub(crate) fn status(records: &Records) -> Result<Status, ServeError> {
    let (cluster, _) = cluster(records).ok_or(ServeError::NoCluster)?;
    Ok(cluster.status()?)
}

/// For an operator who says that a node is to own nothing.
pub(crate) fn draining(records: &Records) -> Result<Draining, ServeError> {
    let (cluster, _) = cluster(records).ok_or(ServeError::NoCluster)?;
    Ok(cluster.draining()?)
}

/// Writes policy, holidays or both into the cluster; says what has changed.
pub(crate) fn apply(shared: &Shared, policy: bool, holidays: bool) -> Result<String, ServeError> {
    let (cluster, _) = cluster(&shared.records).ok_or(ServeError::NoCluster)?;
    let wanted = texts(shared).into_iter().zip([policy, holidays]).filter(|(_, wanted)| *wanted);
    Ok(told(shared, &cluster.apply(&wanted.map(|(text, _)| text).collect::<Vec<_>>())?))
}

/// The same with merchants.
pub(crate) fn apply_merchants(records: &Records, merchants: &[Merchant]) -> Result<String, ServeError> {
    let (cluster, _) = cluster(records).ok_or(ServeError::NoCluster)?;
    let written = cluster.apply_merchants(&bodies(merchants), records.settings.merchants_max)?;
    Ok(format!("merchants {}, of which {written} are new or others than before", merchants.len()))
}

/// Policy and holidays as their first versions, where there are none, and a sandbox's merchants; else the files are not asked for.
pub(crate) fn apply_first(
    records: &Records,
    sandbox: bool,
    load: impl FnOnce() -> Result<Shared, ConfigError>,
) -> Result<String, ServeError> {
    let (cluster, _) = cluster(records).ok_or(ServeError::NoCluster)?;
    if cluster.is_applied()? {
        return Ok("policy and holidays are there; `sokketsu cluster apply` changes them".to_owned());
    }
    let shared = load()?;
    let merchants = if sandbox { sandbox::merchants() } else { Vec::new() };
    Ok(told(&shared, &cluster.apply_first(&texts(&shared), &bodies(&merchants))?))
}

fn bodies(merchants: &[Merchant]) -> Vec<MerchantBody> {
    merchants.iter().map(merchant_body).collect()
}

fn texts(shared: &Shared) -> [(&'static str, &str); 2] {
    [(setting::POLICY, shared.policy.text.as_str()), (setting::HOLIDAYS, shared.holidays.text.as_str())]
}

fn told(shared: &Shared, put: &[Put]) -> String {
    let line = |Put { kind, version, is_new }: &Put| {
        let file = if kind == setting::POLICY { &shared.policy.file } else { &shared.holidays.file };
        let from = file.as_deref().map_or_else(|| "the program".to_owned(), |file| file.display().to_string());
        match is_new {
            true => format!("{kind:<9} version {version}, new, from {from}"),
            false => format!("{kind:<9} version {version}, as it was; {from} changes nothing"),
        }
    };
    put.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn open_files(records: &Records, sandbox: bool, now: Millis) -> Result<Opened, ServeError> {
    if let Some(what) = moving::half_moved(&records.data) {
        return Err(MoveError::Refused(what).into());
    }
    let dir = records.data.join("journal");
    if !has_ledger(records) && dir.exists() {
        // A damaged journal is refused before anything is made beside it.
        LocalReader::at_rest(&dir).look(Lsn::ZERO)?;
    }
    let (checkpoint, posted) = match checkpoint(&records.ledger.place, sandbox, now) {
        Err(LedgerError::OlderSchema { found, oldest, posted }) => {
            let older = LedgerError::OlderSchema { found, oldest, posted };
            (post_anew(records, &dir, older, now)?, posted)
        }
        opened => {
            let mut checkpoint = opened?;
            let posted = checkpoint.position()?;
            (checkpoint, posted)
        }
    };
    if posted > Lsn::ZERO && !dir.exists() {
        // A ledger without its journal is a volume that is not mounted: a fresh journal must not take its place. (A
        // folder without segments is refused by recovery.)
        return Err(RecoveryError::LedgerAhead { ledger: posted, journal: Lsn::ZERO }.into());
    }
    let options = Options { segment_size: records.journal.segment_bytes, posted, ..Options::default() };
    let (journal, found) = LocalJournal::open(&dir, &options, now.0)?;
    if let Some(torn) = &found.torn {
        let bytes = torn.bytes;
        let lsn = torn.lsn.0;
        let copy = found.copy.as_deref();
        tracing::warn!(bytes, lsn, copy, "cut an unanswered tail off the journal; what was cut is in the copy");
    }
    let reader = Box::new(journal.reader());
    let release = Arc::new(journal.release());
    let place = Place::Files(Box::new(journal), checkpoint);
    Ok(Opened { place, reader, release, books: books(records) })
}

/// A ledger of before money was told apart lacks what only the journal knows: it is put aside, and the worker posts a new
/// one from the first record on. Where that was released, nothing is touched.
fn post_anew(
    records: &Records,
    journal: &Path,
    older: LedgerError,
    now: Millis,
) -> Result<Box<dyn Checkpoint>, ServeError> {
    let LedgerError::OlderSchema { found, posted, .. } = older else { return Err(older.into()) };
    let first = LocalReader::at_rest(journal).examine(posted)?.first;
    if first > Lsn(1) {
        return Err(older.into());
    }
    let LedgerPlace::Embedded(file) = &records.ledger.place else { return Err(older.into()) };
    let aside = SqliteLedger::set_aside(file, found)?;
    tracing::warn!(aside = %aside.display(), posted = posted.0, "the ledger is posted anew from the journal");
    Ok(Box::new(SqliteLedger::open(file, now)?))
}

fn has_ledger(records: &Records) -> bool {
    match &records.ledger.place {
        LedgerPlace::Embedded(file) => file.exists(),
        LedgerPlace::Server(_) => true,
    }
}

/// Opens the ledger. One of a file is made if it is not there, and its tables are brought up to date; those of a server are
/// their owner's to make, in a sandbox too where we are not that.
fn checkpoint(place: &LedgerPlace, sandbox: bool, now: Millis) -> Result<Box<dyn Checkpoint>, LedgerError> {
    let server = match place {
        LedgerPlace::Embedded(file) => return Ok(Box::new(SqliteLedger::open(file, now)?)),
        LedgerPlace::Server(server) => server,
    };
    match PostgresLedger::open(Arc::clone(server), sandbox) {
        Err(LedgerError::NotMigrated { .. }) if sandbox => {
            postgres::migrate(server, now)?;
            Ok(Box::new(PostgresLedger::open(Arc::clone(server), sandbox)?))
        }
        opened => Ok(Box::new(opened?)),
    }
}

/// Makes the tables of the ledger, or brings them up to date, as their owner; says what was done.
pub(crate) fn migrate(records: &Records, now: Millis) -> Result<String, LedgerError> {
    match &records.ledger.place {
        LedgerPlace::Embedded(_) => Ok("the embedded ledger makes its tables by itself; nothing was done".to_owned()),
        LedgerPlace::Server(server) => Ok(match postgres::migrate(server, now)? {
            (before, now) if before == now => format!("{server}: schema {now}, nothing was to be done"),
            (before, now) => format!("{server}: schema {before} became {now}"),
        }),
    }
}

/// For questions to a ledger that is there.
fn books(records: &Records) -> Arc<dyn Books> {
    match &records.ledger.place {
        LedgerPlace::Embedded(file) => Arc::new(SqliteBooks::new(file)),
        LedgerPlace::Server(server) => Arc::new(PostgresBooks::new(Arc::clone(server))),
    }
}

/// Journal and ledger as they lie there: nothing is made, changed or locked.
pub(crate) struct AtRest {
    pub journal: Box<dyn JournalReader>,
    /// None where nothing was ever posted.
    pub books: Option<Arc<dyn Books>>,
}

#[derive(Debug, thiserror::Error)]
#[error("there is no journal in {0}")]
pub struct NoJournal(String);

/// Whether a journal in a database may be read now, and what to know of it; one in files is looked at when it is.
pub(crate) fn may_be_read(records: &Records) -> Result<Option<&'static str>, JournalError> {
    cluster(records).map_or(Ok(None), |(cluster, _)| cluster.may_be_read())
}

pub(crate) fn at_rest(records: &Records) -> Result<AtRest, NoJournal> {
    if let Some((cluster, _)) = cluster(records) {
        return Ok(AtRest { journal: cluster.at_rest(), books: Some(books(records)) });
    }
    let dir = records.data.join("journal");
    if !dir.exists() {
        return Err(NoJournal(dir.display().to_string()));
    }
    let books = has_ledger(records).then(|| books(records));
    Ok(AtRest { journal: Box::new(LocalReader::at_rest(&dir)), books })
}

//! A journal moved by its bytes: out of the files of a data folder into the table, and back. The service stands still meanwhile: the caller has
//! the folder's lock, and the owner's row is locked in one transaction, which is all or nothing. What lies half done in the folder has a name of
//! its own, under which no service finds a journal.
//!
//! | | before the commit | after it |
//! |---|---|---|
//! | into the table | `journal` becomes `journal.to-database` | that becomes `journal.moved` |
//! | into files | they are made and compared in `journal.to-files` | that becomes `journal` |
//!
//! The transaction gives a moved table's stream to `MOVED_OUT`, so that no node has it again: there is one truth.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::choose::choose;
use super::cluster::Cluster;
use super::schema;
use super::session::{PgSession, fault};
use super::setting::{self, MERCHANTS_TOGETHER, MerchantBody, merchant_body};
use super::table::{Answer, Fault, Held, MOVED_OUT, Node, Row, STREAM, Session, month_of, told};
use crate::domain::state::event::Event;
use crate::journal::cursor::Cursor;
use crate::journal::local::copy::SegmentBytes;
use crate::journal::local::{LocalJournal, Options};
use crate::journal::raw::{Compared, Counted, RawReader, compare};
use crate::journal::record::{self, Parsed, View};
use crate::journal::{Journal, JournalError, Lsn, codec};

/// A commit of a whole journal waits for a standby to write it.
const PATIENCE: Duration = Duration::from_secs(120);
/// A batch has so many records, as a large group has, or so many bytes.
const MOST_RECORDS: i32 = 256;
const MOST_BYTES: usize = 256 << 10;

const JOURNAL: &str = "journal";
const TO_DATABASE: &str = "journal.to-database";
pub const MOVED: &str = "journal.moved";
const TO_FILES: &str = "journal.to-files";

/// No node has such a name either.
const MOVED_IN: &str = "(moved from files)";

const BEGIN: &str = "BEGIN; SET LOCAL idle_in_transaction_session_timeout = '10min'";
/// $1 stream.
const LOCK_OWNER: &str =
    "SELECT epoch, node, boot, lease_until > clock_timestamp() FROM owner WHERE stream = $1 FOR UPDATE";
/// $1 stream, $2 node.
const MOVE_IN: &str =
    "UPDATE owner SET epoch = epoch + 1, node = $2, boot = '', lease_until = '-infinity', epoch_from_batch = 1
    WHERE stream = $1";
/// $1 stream, $2 node. A time that is finite: others subtract it.
const MOVE_OUT: &str =
    "UPDATE owner SET epoch = epoch + 1, node = $2, boot = 'moving', lease_until = '9999-12-31' WHERE stream = $1";
/// $1 stream, $2 node.
const IS_OUT: &str = "UPDATE owner SET boot = 'moved' WHERE stream = $1 AND node = $2";
/// $1 version and $2 text of the policy that the journal has, $3 the text of its holidays. A policy in the table is newer than the journal's where
/// it says something else.
const KEEP_SETTINGS: &str = "INSERT INTO setting (kind, id, version, body)
        SELECT kind, '', version, body FROM (VALUES ('policy', $1::bigint, $2::bytea), ('holidays', 1, $3::bytea)) AS t(kind, version, body)
            WHERE body IS NOT NULL
    ON CONFLICT (kind, id) DO UPDATE SET version = excluded.version + CASE WHEN setting.body = excluded.body THEN 0 ELSE 1 END
        WHERE setting.version <= excluded.version AND setting.kind = 'policy'";

const IS_SANDBOX: &str = "SELECT sandbox::text FROM cluster";
/// What a node is to have: kind, id and text of each.
const SETTINGS: &str = "SELECT kind, id, body FROM setting";

/// Why nothing was moved, or not all that belongs to it.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Nothing was changed; the text says what to do.
    #[error("{0}")]
    Refused(String),
    #[error("could not {doing}: {source}")]
    Folder { doing: String, source: io::Error },
}

impl From<Fault> for MoveError {
    fn from(fault: Fault) -> Self {
        Self::Journal(told(fault))
    }
}

/// What was moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    pub counted: Counted,
    /// Bytes of a tail that was never answered, which stays behind.
    pub torn_bytes: u64,
    /// An earlier move had written the records already.
    pub was_there: bool,
    /// Where the files are now.
    pub folder: PathBuf,
}

/// Hears what is being done to which record, of how many.
pub type Progress<'p> = &'p mut dyn FnMut(&str, Lsn, Lsn);

/// Why a data folder without a journal must not begin one: a move has left it so, half done or done.
pub fn half_moved(data: &Path) -> Option<String> {
    let is_there = |name: &str| data.join(name).is_dir();
    if is_there(JOURNAL) {
        return None;
    }
    if is_there(MOVED) {
        let folder = data.join(MOVED);
        return Some(format!(
            "the journal of this folder was moved into a database, and is {} since: set `journal.url`; `sokketsu cluster move --to-files` \
             brings it back, into another folder",
            folder.display()
        ));
    }
    let (name, way, back) = if is_there(TO_DATABASE) {
        (TO_DATABASE, "--to-database", "rename it to `journal` if the table `journal` has no record")
    } else if is_there(TO_FILES) {
        (TO_FILES, "--to-files", "delete it to go on with the database")
    } else {
        return None;
    };
    let folder = data.join(name);
    Some(format!(
        "{} is what a move has left half done: run `sokketsu cluster move {way}` again, or {back}",
        folder.display()
    ))
}

/// Options of the segments that are made.
#[derive(Clone, Copy, Debug)]
pub struct Files {
    pub segment_bytes: u64,
    /// Noted in them.
    pub now_ms: i64,
}

impl Cluster {
    /// Copies the records of `data` into the table, compares all of them, and puts the files aside; `posted` is the position of the ledger
    /// beside them. Call it under the folder's lock.
    pub fn move_in(&self, data: &Path, posted: Lsn, progress: Progress<'_>) -> Result<Moved, MoveError> {
        let [journal, moving, moved] = [JOURNAL, TO_DATABASE, MOVED].map(|name| data.join(name));
        let from = if moving.is_dir() && !journal.exists() { &moving } else { &journal };
        if !from.is_dir() {
            return refused(format!("there is no journal in {}", journal.display()));
        }
        if moved.exists() {
            return refused(format!("{} is there from an earlier move: put it elsewhere first", moved.display()));
        }
        let (_, found) = SegmentBytes::open(from, posted)?;
        has_all(found.first, found.last, &from.display().to_string())?;
        let mut session = self.session()?;
        session.may_move_in()?;
        let was_there = session.last(STREAM)?.1.is_some();
        if !was_there {
            session.copy_in(&mut SegmentBytes::open(from, posted)?.0, &mut |at| progress("copied", at, found.last))?;
        }
        let mut table = TableBytes::new(&mut session);
        let compared = compare(&mut SegmentBytes::open(from, posted)?.0, &mut table, &mut |at| {
            progress("compared", at, found.last)
        });
        let counted = match compared? {
            (Compared::Same, counted) => counted,
            (Compared::Beginning, counted) if was_there => counted,
            _ if was_there => {
                return refused("the table `journal` has records already, which are not those of the files: a journal is moved into a new \
                                database (`sokketsu cluster init`)".to_owned());
            }
            (compared, _) => {
                let cause =
                    format!("what was written into the table is not what was read ({compared:?}); nothing was kept");
                return Err(JournalError::Damaged { record: Lsn(1), cause: cause.into() }.into());
            }
        };
        if from == &journal {
            rename(&journal, &moving)?;
        }
        session.run("COMMIT").map_err(|fault| in_doubt(fault, "--to-database"))?;
        rename(&moving, &moved)?;
        Ok(Moved { counted, torn_bytes: found.torn_bytes, was_there, folder: moved })
    }

    /// Copies the records of the table into new segments in `data`, compares all of them, and gives the stream to nobody. Call it under the
    /// folder's lock.
    pub fn move_out(&self, data: &Path, files: Files, progress: Progress<'_>) -> Result<Moved, MoveError> {
        let [journal, moving, other] = [JOURNAL, TO_FILES, TO_DATABASE].map(|name| data.join(name));
        for folder in [&journal, &other] {
            if folder.exists() {
                let folder = folder.display();
                return refused(format!(
                    "{folder} is there: a journal is moved into a folder that has none; give another --data, or put it elsewhere"
                ));
            }
        }
        let mut session = self.session()?;
        session.may_move_out()?;
        let (last, full) = session.last(STREAM)?;
        let end = full.or(last).map_or(Lsn::ZERO, |row| Lsn(row.first.0 + u64::from(row.count.unsigned_abs()) - 1));
        let first = session.holding(STREAM, Lsn(1))?.first().map_or(Lsn(1), |row| row.first);
        has_all(first, end, "the table `journal`")?;
        session.has_nothing_new()?;
        if moving.exists() {
            // Of an interrupted move: it was never the journal.
            fs::remove_dir_all(&moving).map_err(folder(format!("delete {}", moving.display())))?;
        }
        copy_out(&mut TableBytes::new(&mut session), &moving, files, &mut |at| progress("copied", at, end))?;
        let mut table = TableBytes::new(&mut session);
        let compared =
            compare(&mut SegmentBytes::open(&moving, end)?.0, &mut table, &mut |at| progress("compared", at, end))?;
        let (Compared::Same, counted) = compared else {
            let cause =
                format!("what was written into files is not what was read ({:?}); nothing was moved", compared.0);
            return Err(JournalError::Damaged { record: Lsn(1), cause: cause.into() }.into());
        };
        session.rows(MOVE_OUT, &[&STREAM, &MOVED_OUT])?;
        // A commit that a standby has, so that all that was read before it is there for good.
        session.run("COMMIT").map_err(|fault| in_doubt(fault, "--to-files"))?;
        rename(&moving, &journal)?;
        // It says which database this folder belongs to: none any more.
        match fs::remove_file(&self.file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, "{} could not be deleted; it is of no use any more", self.file.display());
            }
            _ => {}
        }
        if session.rows(IS_OUT, &[&STREAM, &MOVED_OUT]).is_err() {
            tracing::warn!("the database was not told that the move is done; it is");
        }
        Ok(Moved { counted, torn_bytes: 0, was_there: false, folder: journal })
    }

    fn session(&self) -> Answer<PgSession> {
        let (session, _) = PgSession::of_node(&self.server, self.wall, |said| choose(said, 0))?;
        let mut session = session.patient(PATIENCE);
        schema::check_tables(&mut session)?;
        session.run(BEGIN)?;
        Ok(session)
    }
}

impl PgSession {
    /// Locks the owner's row, until the end of the transaction: whose it was, which process's, and whether that one's lease runs.
    fn lock_owner(&mut self) -> Answer<(i64, Node, bool)> {
        let row = self.rows(LOCK_OWNER, &[&STREAM])?.pop();
        let row = row.ok_or_else(|| Fault::Unfit("a row is missing: `sokketsu cluster init`".to_owned()))?;
        let node = Node { name: row.try_get(1).map_err(fault)?, boot: row.try_get(2).map_err(fault)? };
        Ok((row.try_get(0).map_err(fault)?, node, row.try_get(3).map_err(fault)?))
    }

    fn may_move_in(&mut self) -> Result<(), MoveError> {
        if self.text(setting::MAY_WRITE)? != "yes" {
            return refused("the role may not write settings: come as the owner of the tables".to_owned());
        }
        match self.lock_owner()? {
            (_, node, _) if node.name == MOVED_OUT => refused(
                "the records of this database were moved to files, where they may have gone on: move them into a new database".to_owned(),
            ),
            (_, node, true) => Err(JournalError::Fenced(format!("{}, which runs: stop it first", node.name)).into()),
            _ => Ok(()),
        }
    }

    /// Whether all that nodes are to have is in the journal: what is not would be lost.
    fn has_nothing_new(&mut self) -> Result<(), MoveError> {
        let mut journaled = Settings::default();
        let mut table = TableBytes::new(self);
        while let Some((view, _)) = table.next()? {
            // What can't be read is none of them.
            journaled.hear(&view).ok();
        }
        let mut new = Vec::new();
        for row in self.rows(SETTINGS, &[])? {
            let [kind, id] = [0, 1].map(|at| row.try_get::<_, String>(at).map_err(fault));
            let (kind, id, body) = (kind?, id?, row.try_get::<_, Vec<u8>>(2).map_err(fault)?);
            let known = match kind.as_str() {
                setting::POLICY => journaled.policy.as_ref(),
                setting::HOLIDAYS => journaled.holidays.as_ref(),
                _ => journaled.merchants.get(&id),
            };
            if known != Some(&body) {
                new.push(if id.is_empty() { kind } else { format!("{kind} {id}") });
            }
        }
        let Some(one) = new.first() else { return Ok(()) };
        refused(format!(
            "{} of the cluster's settings were never journaled ({one} is one): start a node, wait a second, stop it, and move then",
            new.len()
        ))
    }

    fn may_move_out(&mut self) -> Result<(), MoveError> {
        match self.lock_owner()? {
            (_, node, _) if node.name == MOVED_OUT && node.boot == "moved" => refused(
                "its records were moved to files already, which are the journal now. If those are lost, \
                 `UPDATE owner SET node = '', lease_until = '-infinity'` gives the database to its nodes again"
                    .to_owned(),
            ),
            (_, node, true) if node.name != MOVED_OUT => {
                Err(JournalError::Fenced(format!("{}, which runs: stop it first", node.name)).into())
            }
            _ => Ok(()),
        }
    }

    /// Writes all records as batches of a new epoch, behind its barrier; and as settings what the journal has of them.
    fn copy_in(&mut self, from: &mut dyn RawReader, each: &mut dyn FnMut(Lsn)) -> Result<(), MoveError> {
        self.rows(MOVE_IN, &[&STREAM, &MOVED_IN])?;
        let (epoch, node, _) = self.lock_owner()?;
        if self.last(STREAM)?.0.is_some() {
            return refused("a node was started on this database before: a journal is moved into a new one (`sokketsu cluster init`)".to_owned());
        }
        let (mut row, mut months, mut settings) =
            (Row { epoch, first: Lsn(1), ..Row::default() }, None, Settings::default());
        while let Some((view, bytes)) = from.next()? {
            settings.hear(&view)?;
            let month = month_of(view.meta.time_ms);
            // The first one is the barrier.
            let is_full = row.count >= MOST_RECORDS || row.body.len() + bytes.len() > MOST_BYTES;
            if row.batch == 0 || is_full || month > row.month {
                row.month = if row.batch == 0 { month } else { row.month };
                row = self.copy_row(row, (&mut months, &node))?;
                row.month = month.max(row.month);
            }
            row.count += 1;
            row.body.extend_from_slice(bytes);
            each(view.meta.lsn);
        }
        self.copy_row(row, (&mut months, &node))?;
        let is_sandbox = self.text(IS_SANDBOX)? == "true";
        if settings.sandbox.is_some_and(|sandbox| sandbox != is_sandbox) {
            let (journal, cluster) =
                if is_sandbox { ("real records", "a sandbox") } else { ("a sandbox", "real records") };
            return refused(format!(
                "the journal is of {journal}, and the cluster was made for {cluster}: move it into a database of its own kind"
            ));
        }
        self.rows(KEEP_SETTINGS, &[&settings.version, &settings.policy, &settings.holidays])?;
        let merchants: Vec<MerchantBody> = settings.merchants.into_iter().collect();
        for some in merchants.chunks(MERCHANTS_TOGETHER) {
            self.put_merchants(some, true, usize::MAX)?;
        }
        Ok(())
    }

    /// Gives the next one, empty.
    fn copy_row(&mut self, mut row: Row, (months, node): (&mut Option<i32>, &Node)) -> Result<Row, MoveError> {
        row.batch += 1;
        if months.is_none_or(|made| row.month > made) {
            self.make_months(row.month)?;
            *months = Some(row.month);
        }
        let held = Held { stream: STREAM, epoch: row.epoch, node };
        if !self.append(held, Some(&row), None)? {
            return Err(Fault::Doubt("the stream was taken while its row was locked".to_owned()).into());
        }
        row.first = Lsn(row.first.0 + u64::from(row.count.unsigned_abs()));
        row.count = 0;
        row.body.clear();
        Ok(row)
    }
}

/// The policy, the holidays and the merchants as they are at the end.
#[derive(Default)]
struct Settings {
    version: i64,
    policy: Option<Vec<u8>>,
    holidays: Option<Vec<u8>>,
    merchants: BTreeMap<String, Vec<u8>>,
    /// What the first record of all says.
    sandbox: Option<bool>,
}

impl Settings {
    fn hear(&mut self, view: &View<'_>) -> Result<(), JournalError> {
        let record = view.meta.lsn;
        let unknown = |problem: codec::BadEvent| JournalError::Damaged {
            record,
            cause: format!("record {record} is intact but {problem}").into(),
        };
        match codec::decode(view.payload).map_err(unknown)? {
            Event::Opened { sandbox } => self.sandbox = Some(sandbox),
            Event::PolicySet { version, text } => {
                (self.version, self.policy) = (i64::from(version), Some(text.as_bytes().to_vec()));
            }
            Event::HolidaysSet { text } => self.holidays = Some(text.as_bytes().to_vec()),
            Event::MerchantSet(merchant) => {
                let (id, body) = merchant_body(&merchant);
                self.merchants.insert(id, body);
            }
            _ => {}
        }
        Ok(())
    }
}

/// The records of the table, in the session's transaction.
struct TableBytes<'s> {
    session: &'s mut PgSession,
    rows: VecDeque<Row>,
    offset: usize,
    cursor: Cursor,
}

impl<'s> TableBytes<'s> {
    const fn new(session: &'s mut PgSession) -> Self {
        Self { session, rows: VecDeque::new(), offset: 0, cursor: Cursor::START }
    }
}

impl RawReader for TableBytes<'_> {
    fn next(&mut self) -> Result<Option<(View<'_>, &[u8])>, JournalError> {
        while self.rows.front().is_none_or(|row| self.offset >= row.body.len()) {
            self.offset = 0;
            self.rows.pop_front();
            if self.rows.is_empty() {
                let rows = self.session.holding(STREAM, self.cursor.next).map_err(told)?;
                // The last row is given as long as there is no later one.
                self.rows = rows.into_iter().filter(|row| row.first >= self.cursor.next).collect();
                if self.rows.is_empty() {
                    return Ok(None);
                }
            }
        }
        let Some(row) = self.rows.front() else { return Ok(None) };
        let (record, batch) = (self.cursor.next, row.batch);
        let damaged = |what: String| JournalError::Damaged {
            record,
            cause: format!("batch {batch} of the journal's table: {what}").into(),
        };
        let rest = row.body.get(self.offset..).unwrap_or_default();
        let Parsed::Good(view) = record::parse(rest) else {
            return Err(damaged(format!("record {record} is damaged")));
        };
        self.cursor.accept(&view).map_err(|misplaced| damaged(misplaced.to_string()))?;
        self.offset += view.size;
        Ok(rest.get(..view.size).map(|bytes| (view, bytes)))
    }
}

fn copy_out(from: &mut dyn RawReader, to: &Path, files: Files, each: &mut dyn FnMut(Lsn)) -> Result<(), MoveError> {
    let options = Options { segment_size: files.segment_bytes, ..Options::default() };
    let (mut journal, _) = LocalJournal::open(to, &options, files.now_ms)?;
    let mut batch = Vec::new();
    while let Some((view, bytes)) = from.next()? {
        if batch.len() + bytes.len() > MOST_BYTES {
            journal.append_as_is(&batch)?;
            batch.clear();
        }
        batch.extend_from_slice(bytes);
        each(view.meta.lsn);
    }
    journal.append_as_is(&batch)?;
    Ok(journal.sync()?)
}

/// A new ledger is posted from the first record on.
fn has_all(first: Lsn, last: Lsn, place: &str) -> Result<(), MoveError> {
    if last == Lsn::ZERO {
        return refused(format!("{place} has no record: there is nothing to move"));
    }
    if first > Lsn(1) {
        return refused(format!(
            "{place} begins at record {first}, as older ones were released; at the other place a new ledger is posted, which needs record 1"
        ));
    }
    Ok(())
}

fn refused<T>(text: String) -> Result<T, MoveError> {
    Err(MoveError::Refused(text))
}

fn in_doubt(fault: Fault, way: &str) -> MoveError {
    JournalError::Doubt(format!(
        "{}; whether all was moved is not known: `sokketsu cluster move {way}` again finds out",
        fault.why()
    ))
    .into()
}

fn folder(doing: String) -> impl FnOnce(io::Error) -> MoveError {
    move |source| MoveError::Folder { doing, source }
}

/// Durably.
fn rename(from: &Path, to: &Path) -> Result<(), MoveError> {
    let doing = format!("rename {} to {}", from.display(), to.display());
    let sync = || File::open(to.parent().unwrap_or(to))?.sync_all();
    fs::rename(from, to).and_then(|()| sync()).map_err(folder(doing))
}

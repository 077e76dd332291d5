//! The journal in files of this machine: a folder of segments. In reading order: `segment`, `recover` (what a crash left, and what is done about it), this file (the writer), `prepare` (the next segment),
//! [`reader`], [`release`], [`lock`]; `disk` is the file system as far as they use it, and `sim` one that fails.

pub(crate) mod aside;
pub(crate) mod copy;
pub mod disk;
#[cfg(test)]
mod fault_tests;
pub(crate) mod finding;
#[cfg(test)]
mod golden_tests;
#[cfg(test)]
mod local_tests;
pub mod lock;
pub(crate) mod prepare;
pub mod reader;
pub mod recover;
#[cfg(test)]
mod recover_tests;
pub mod release;
pub mod segment;
#[cfg(test)]
pub(crate) mod sim;

use std::io;
use std::path::Path;

use crate::journal::cursor::Cursor;
use crate::journal::{Batch, Durable, Journal, JournalError, Lsn, SEGMENT_BYTES};
use disk::{Disk, DiskFile, StdDisk, widen};
use prepare::{NEXT, Preparer};
use reader::LocalReader;
use recover::Recovery;
use release::LocalRelease;
use segment::Header;

const FIRST: &str = "first.tmp";
const LARGE: &str = "large.tmp";

#[derive(Clone, Debug)]
pub struct Options {
    /// Of each file. Rounded up to whole pages; at least two, at most 4 GiB.
    pub segment_size: u64,
    /// Prepare the next segment on a thread of its own. Without it the thread that rolls over does, which
    /// gives a simulation one order of calls.
    pub background: bool,
    /// The ledger's position. Segments before the one that holds it are not read at opening (`verify` does that), and
    /// every record up to it once was durable: if one is bad or missing, opening is refused.
    pub posted: Lsn,
}

impl Default for Options {
    fn default() -> Self {
        Self { segment_size: SEGMENT_BYTES, background: true, posted: Lsn::ZERO }
    }
}

impl Options {
    fn size(&self) -> u64 {
        let page = widen(segment::HEADER);
        self.segment_size.clamp(2 * page, segment::MAX_SIZE).next_multiple_of(page)
    }
}

pub struct LocalJournal<D: Disk = StdDisk> {
    disk: D,
    file: D::File,
    /// Size of the file in use.
    size: u64,
    /// Where the next record goes.
    offset: u64,
    cursor: Cursor,
    /// Written, not yet synced.
    dirty: bool,
    /// What readers see.
    durable: Durable,
    /// A write or sync failed; nothing works any more.
    poisoned: bool,
    preparer: Preparer<D>,
    /// The batch as bytes, kept to be filled again.
    buf: Vec<u8>,
}

impl LocalJournal<StdDisk> {
    /// Opens the journal in `dir`, repairs what a crash left, or refuses and touches nothing. The caller holds
    /// the data directory's lock ([`self::lock::lock`]). `now_ms` is only noted: in a first segment's header, in the name
    /// of what is cut.
    pub fn open(dir: &Path, options: &Options, now_ms: i64) -> Result<(Self, Recovery), JournalError> {
        let disk = StdDisk::make(dir).map_err(JournalError::failed("make its directory"))?;
        Self::open_on(disk, options, now_ms)
    }
}

impl<D: Disk> LocalJournal<D> {
    pub fn open_on(disk: D, options: &Options, now_ms: i64) -> Result<(Self, Recovery), JournalError> {
        let segment_size = options.size();
        let mut plan = recover::plan(&disk, options.posted, options.posted)?;
        let kept = recover::apply(&disk, &mut plan, now_ms)?;
        let (file, size, offset, cursor) = match (kept, &plan.tail) {
            (Some(file), Some(tail)) => (file, tail.header.size, tail.offset, tail.cursor),
            _ => {
                let file = begin(&disk, segment_size, now_ms);
                let file = file.map_err(JournalError::failed("create the first segment"))?;
                (file, segment_size, widen(segment::HEADER), Cursor::START)
            }
        };
        let preparer = Preparer::start(disk.clone(), segment_size, options.background)
            .map_err(JournalError::failed("start preparing segments"))?;
        let durable = Durable::fixed(plan.recovery.last);
        let this = Self {
            disk,
            file,
            size,
            offset,
            cursor,
            dirty: false,
            durable,
            poisoned: false,
            preparer,
            buf: Vec::new(),
        };
        Ok((this, plan.recovery))
    }

    /// The last position written, durable or not.
    #[must_use]
    pub fn last(&self) -> Lsn {
        self.cursor.last()
    }

    /// Follows the last durable position from any thread.
    #[must_use]
    pub fn durable(&self) -> Durable {
        self.durable.clone()
    }

    /// Reads what this one writes, as far as it is durable.
    #[must_use]
    pub fn reader(&self) -> LocalReader<D> {
        LocalReader::new(self.disk.clone(), Some(self.durable()))
    }

    /// Releases what this one has written long ago.
    #[must_use]
    pub fn release(&self) -> LocalRelease<D> {
        LocalRelease(self.disk.clone())
    }

    fn check(&self) -> Result<(), JournalError> {
        if self.poisoned { Err(JournalError::Poisoned) } else { Ok(()) }
    }

    fn poison(&mut self, doing: &'static str, source: io::Error) -> JournalError {
        self.poisoned = true;
        JournalError::failed(doing)(source)
    }

    /// The batch as bytes in `buf`; answers what follows it.
    fn encode(&mut self, batch: &Batch) -> Result<Cursor, JournalError> {
        self.buf.clear();
        let mut cursor = self.cursor;
        let durable = self.durable.get();
        for (time_ms, payload) in batch.payloads() {
            cursor.append(&mut self.buf, durable, time_ms, payload)?;
        }
        Ok(cursor)
    }

    /// Goes on in a new segment with at least `need` bytes for records. Everything before it is synced first:
    /// recovery relies on it.
    fn roll(&mut self, time_ms: i64, need: u64) -> Result<(), JournalError> {
        self.sync()?;
        match self.roll_to(time_ms, need) {
            Ok(()) => Ok(()),
            Err(source) => Err(self.poison("begin a new segment", source)),
        }
    }

    fn roll_to(&mut self, time_ms: i64, need: u64) -> io::Result<()> {
        let page = widen(segment::HEADER);
        let large = page + need > self.preparer.size;
        let size = if large { (page + need).next_multiple_of(page) } else { self.preparer.size };
        if size > segment::MAX_SIZE {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let header = Header::after(&self.cursor, size, time_ms);
        let (file, temp) =
            if large { (segment::zeroed(&self.disk, LARGE, size)?, LARGE) } else { (self.preparer.take()?, NEXT) };
        segment::adopt(&self.disk, &file, temp, &header)?;
        (self.file, self.size, self.offset) = (file, size, page);
        // Of the same name as a segment still without a record, it has replaced that one.
        if !large {
            self.preparer.want();
        }
        Ok(())
    }
}

impl<D: Disk> Journal for LocalJournal<D> {
    fn write(&mut self, batch: &Batch) -> Result<Lsn, JournalError> {
        self.check()?;
        let Some((begins, _)) = batch.payloads().next() else { return Ok(self.last()) };
        let mut last = self.cursor.last_time;
        for (given, _) in batch.payloads() {
            if given < last {
                return Err(JournalError::TimeBackwards { given, last });
            }
            last = given;
        }
        if widen(batch.size()) > self.size - self.offset {
            self.roll(begins, widen(batch.size()))?;
        }
        let cursor = self.encode(batch)?;
        // Before the write: a failed one may have left anything behind.
        self.dirty = true;
        if let Err(source) = self.file.write_all_at(&self.buf, self.offset) {
            return Err(self.poison("write records", source));
        }
        self.offset += widen(self.buf.len());
        self.cursor = cursor;
        Ok(self.last())
    }

    fn sync(&mut self) -> Result<(), JournalError> {
        self.check()?;
        if self.dirty {
            if let Err(source) = self.file.sync_data() {
                return Err(self.poison("sync records", source));
            }
            self.dirty = false;
            self.durable.publish(self.last());
        }
        Ok(())
    }

    /// The next segment is prepared in the background; where that fails, most often on a full disk, it is tried again
    /// every few seconds. The journal stops only if a commit needs it and it still fails.
    fn room(&self) -> Result<(), String> {
        self.preparer.trouble().map_or(Ok(()), Err)
    }
}

fn begin<D: Disk>(disk: &D, size: u64, now_ms: i64) -> io::Result<D::File> {
    let file = segment::zeroed(disk, FIRST, size)?;
    segment::adopt(disk, &file, FIRST, &Header::after(&Cursor::START, size, now_ms))?;
    Ok(file)
}

//! Reads records in order, beside the live writer or at rest, and verifies each as it goes.

use std::fmt;
use std::io;
use std::path::Path;

use super::disk::{Disk, DiskFile, StdDisk, narrow, widen};
use super::finding::{Damage, Finding};
use super::recover::Recovery;
use super::segment::Header;
use super::{recover, segment};
use crate::journal::cursor::Cursor;
use crate::journal::local::finding;
use crate::journal::record::Parsed;
use crate::journal::{Durable, Examined, JournalError, JournalReader, Lsn, Record, record};

/// Read at once: hundreds of records, and little to read again when the writer is just ahead.
const WINDOW: usize = 256 << 10;

/// A journal in files, read from wherever one is asked for; see [`JournalReader`].
pub struct LocalReader<D: Disk = StdDisk> {
    disk: D,
    /// None until a journal at rest was examined.
    durable: Option<Durable>,
    /// The record asked for or read last, and the place behind it.
    at: Option<(Lsn, Place<D::File>)>,
}

impl LocalReader<StdDisk> {
    /// For a journal at rest. It changes nothing, not even a folder that is not there.
    pub fn at_rest(dir: &Path) -> Self {
        Self::new(StdDisk::new(dir), None)
    }
}

impl<D: Disk> LocalReader<D> {
    /// Beside a live writer give its [`Durable`].
    pub(crate) fn new(disk: D, durable: Option<Durable>) -> Self {
        Self { disk, durable, at: None }
    }

    /// Looks at the journal as opening would with a ledger at `posted`, and changes nothing. Damage is an error.
    pub fn look(&self, posted: Lsn) -> Result<Recovery, JournalError> {
        Ok(recover::plan(&self.disk, posted, posted)?.recovery)
    }

    fn segments(&self) -> Option<Vec<Lsn>> {
        segment::list(&self.disk).ok()
    }
}

impl<D: Disk> JournalReader for LocalReader<D> {
    /// After an error the place is sought anew.
    fn next(&mut self, after: Lsn, out: &mut Record) -> Result<bool, JournalError> {
        let mut place = match self.at.take() {
            Some((at, place)) if at == after => place,
            _ => match Place::seek(&self.disk, after)? {
                Some(place) => place,
                None => return Ok(false),
            },
        };
        let visible = self.durable.as_ref().map(Durable::get);
        let is_found = loop {
            if visible.is_some_and(|last| place.cursor.next > last) {
                break false;
            }
            if place.step(out, visible)? {
                if out.lsn > after {
                    break true;
                }
            } else if !place.enter_next(&self.disk, visible)? {
                break false;
            }
        };
        self.at = Some((if is_found { out.lsn } else { after }, place));
        Ok(is_found)
    }

    fn last(&self) -> Lsn {
        self.durable.as_ref().map_or(Lsn::ZERO, Durable::get)
    }

    fn examine(&mut self, posted: Lsn) -> Result<Examined, JournalError> {
        let found = recover::plan(&self.disk, Lsn::ZERO, posted)?.recovery;
        self.durable = Some(Durable::fixed(found.last));
        self.at = None;
        Ok(Examined {
            first: found.first,
            last: found.last,
            kept_in: format!("{} segments", found.segments),
            torn_bytes: found.torn.map_or(0, |torn| torn.bytes),
        })
    }

    fn unreadable(&self, problem: &dyn fmt::Display) -> JournalError {
        let spot = self.at.as_ref().map(|(lsn, place)| (*lsn, place.header.first, place.last_offset));
        let (record, segment, offset) = spot.unwrap_or_default();
        let name = finding::file_name(segment);
        let what =
            format!("the journal is damaged in {name}, byte {offset}, record {record}: it is intact but {problem}");
        JournalError::Damaged { record, cause: what.into() }
    }

    /// Recovery reads the segment of the ledger's position and the later ones. Where the folder can't be listed, only a
    /// record behind the position is known to be in one.
    fn is_needed(&self, record: Lsn, posted: Lsn) -> bool {
        if record > posted {
            return true;
        }
        let Some(firsts) = self.segments() else { return false };
        let own = firsts.iter().copied().filter(|&first| first <= record).max();
        own.is_some_and(|own| own >= recover::first_read(&firsts, posted))
    }

    fn behind(&self, record: Lsn) -> Option<Lsn> {
        self.segments()?.into_iter().find(|&first| first > record)
    }

    fn another(&self) -> Box<dyn JournalReader> {
        Box::new(Self::new(self.disk.clone(), self.durable.clone()))
    }
}

/// Where in which file.
struct Place<F> {
    file: F,
    header: Header,
    cursor: Cursor,
    /// Of the next record, and of the one before it.
    offset: u64,
    last_offset: u64,
    /// Bytes of the file from `window_at` on; they may be older than the file.
    window: Vec<u8>,
    window_at: u64,
}

impl<F: DiskFile> Place<F> {
    /// The beginning of the segment that holds the record after `after`; none if there is no journal yet.
    fn seek<D: Disk<File = F>>(disk: &D, after: Lsn) -> Result<Option<Self>, JournalError> {
        let wanted = after.next();
        loop {
            let firsts = segment::list(disk)?;
            let Some(&oldest) = firsts.first() else { return Ok(None) };
            let Some(&first) = firsts.iter().rfind(|&&first| first <= wanted) else {
                return Err(JournalError::Released { wanted, first: oldest });
            };
            // Gone since the listing means released: the next listing tells.
            if let Some(place) = Self::open(disk, first)? {
                return Ok(Some(place));
            }
        }
    }

    /// Goes on in the segment that begins at the next position; false if there is none yet.
    fn enter_next<D: Disk<File = F>>(&mut self, disk: &D, visible: Option<Lsn>) -> Result<bool, JournalError> {
        let next = self.cursor.next;
        let Some(mut entered) = Self::open(disk, next)? else {
            let firsts = segment::list(disk)?;
            return match (firsts.first(), firsts.iter().find(|&&first| first > next)) {
                (Some(&first), _) if first > next => Err(JournalError::Released { wanted: next, first }),
                (_, Some(&found)) => Err(self.damaged(Finding::SegmentMissing { expected: next, found })),
                _ => self.at_end(visible),
            };
        };
        // Still without a record, it may have been replaced by a larger one of the same name.
        if entered.header == self.header {
            return self.at_end(visible);
        }
        if let Err(finding) = entered.header.follows(&self.cursor) {
            return Err(Damage { segment: next, offset: 0, record: next, finding }.into());
        }
        std::mem::swap(&mut entered.window, &mut self.window);
        entered.window.clear();
        *self = entered;
        Ok(true)
    }

    /// None if there is no such file.
    fn open<D: Disk<File = F>>(disk: &D, first: Lsn) -> Result<Option<Self>, JournalError> {
        let file = match disk.open(&finding::file_name(first)) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(JournalError::failed("open a segment")(source)),
        };
        let header = Header::read(&file, first)?;
        let offset = widen(segment::HEADER);
        let cursor = header.cursor();
        Ok(Some(Self { file, header, cursor, offset, last_offset: offset, window: Vec::new(), window_at: offset }))
    }

    /// The next record of this segment into `out`; false if only zeros follow.
    fn step(&mut self, out: &mut Record, visible: Option<Lsn>) -> Result<bool, JournalError> {
        // What the window shows may be from before the record was written, so nothing but a good record is
        // believed until the file was read again.
        let mut have = 0;
        loop {
            let rest = self.window.get(narrow(self.offset - self.window_at)..).unwrap_or_default();
            let need = match record::parse(rest) {
                Parsed::Good(view) => {
                    self.cursor.accept(&view).map_err(|misplaced| self.damaged(misplaced.into()))?;
                    out.lsn = view.meta.lsn;
                    out.time_ms = view.meta.time_ms;
                    out.link = view.link;
                    out.payload.clear();
                    out.payload.extend_from_slice(view.payload);
                    self.last_offset = self.offset;
                    self.offset += widen(view.size);
                    return Ok(true);
                }
                Parsed::Short(need) if need > have && have < self.left() => need,
                Parsed::Zero | Parsed::Bad | Parsed::Unknown { .. } if have == 0 => record::HEADER,
                Parsed::Unknown { version, kind } => {
                    return Err(self.damaged(Finding::UnknownVersion { version, kind }));
                }
                Parsed::Zero | Parsed::Short(_) if rest.iter().all(|&b| b == 0) => return Ok(false),
                Parsed::Zero | Parsed::Short(_) | Parsed::Bad => {
                    return Err(self.torn(visible));
                }
            };
            have = self.fill(need.max(WINDOW).min(self.left()))?;
        }
    }

    /// Bytes of the segment from the next record on.
    fn left(&self) -> usize {
        narrow(self.header.size.saturating_sub(self.offset))
    }

    /// Reads the window anew from the next record on. What the file lacks counts as zeros.
    fn fill(&mut self, want: usize) -> Result<usize, JournalError> {
        self.window.clear();
        self.window.resize(want, 0);
        self.window_at = self.offset;
        self.file.read_full_at(&mut self.window, self.offset).map_err(JournalError::failed("read records"))?;
        Ok(want)
    }

    /// Only zeros follow. If the writer says that there is more, a durable record has gone.
    fn at_end(&self, visible: Option<Lsn>) -> Result<bool, JournalError> {
        if visible.is_some() { Err(self.torn(visible)) } else { Ok(false) }
    }

    fn torn(&self, visible: Option<Lsn>) -> JournalError {
        let lsn = self.cursor.next;
        self.damaged(visible.map_or(Finding::TornTail { lsn }, |proof| Finding::DurableDamaged { lsn, proof }))
    }

    fn damaged(&self, finding: Finding) -> JournalError {
        Damage { segment: self.header.first, offset: self.offset, record: self.cursor.next, finding }.into()
    }
}

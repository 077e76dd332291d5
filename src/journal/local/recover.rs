//! What a crash left, and what to do about it: one finding, one action.
//!
//! | finding | where | action |
//! |---|---|---|
//! | no segment at all | directory | create the first |
//! | zeros after the last good record, to the end of the file | last segment | continue |
//! | a segment with a header and no record | last segment | continue in it |
//! | a temporary file | directory | delete |
//! | the file ends early, nothing but zeros after the last good record | last segment | cut: fill up with zeros |
//! | a record at or before the ledger's position is bad or missing, or no segment holds it | any | refuse |
//! | a bad record, and nothing proves that it was ever durable | last segment | copy aside, then cut: zeros, synced |
//! | a bad record n, and a record after it written when n was known durable | last segment | refuse |
//! | a bad record, or anything but zeros after the last good one | an earlier segment | refuse |
//! | an intact record of an unknown version or kind | any | refuse |
//! | a gap or a repeat in the positions | any | refuse |
//! | a record that does not carry the link of the one before it | any | refuse |
//! | a record older than the one before it | any | refuse |
//! | a segment that does not begin where the one before it ended | any | refuse |
//! | a header that is damaged, of an unknown version, or in a file of another name | any | refuse |
//! | a file longer than its header says; an earlier one also when shorter | any | refuse |
//!
//! **Why a torn tail is told from damage by a record's distance.** Between two syncs several records are
//! written, and a power cut may keep any of their sectors: a bad record with intact ones after it is then
//! nothing worse than a tail that was never answered. So each record says which position was known durable when it
//! was written. A record after the bad record n that claims n or more was written only after a sync that
//! covered n had returned: n was whole on disk and is damaged now. Without such a claim n was written after
//! the last sync anyone saw return, so n was never answered, and all from n on may go. A new segment gets its
//! name only after everything before it is synced, so an earlier segment has no torn tail.
//!
//! **The ledger's position is a proof too.** The ledger is given a record only after the sync that covered it has
//! returned. So each record up to the position once was durable, and it is damage if one of them is bad or gone.
//!
//! What is not decidable: damage to the records of the very last sync, before the ledger has posted them, looks like a
//! tail that was torn before that sync. Only a later record could prove otherwise, and there is none. So what is cut
//! is first copied aside (`aside`), for somebody to look at.

use super::disk::{Disk, DiskFile, narrow, widen};
use super::finding::{Damage, Finding};
use super::segment::Header;
use super::{aside, segment};
use crate::journal::cursor::Cursor;
use crate::journal::local::finding;
use crate::journal::record::Parsed;
use crate::journal::{JournalError, Lsn, record};

/// Zeros written anew behind the tail at every start. A sync that failed while an earlier recovery cut a tail
/// may have left the torn bytes on disk under zeros in the page cache; it covers what one sync leaves behind.
const WIPE: usize = 1 << 20;

/// What opening found, and did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    pub segments: usize,
    /// The first record still kept; the next one if there is none.
    pub first: Lsn,
    /// The last good record; zero if there never was one.
    pub last: Lsn,
    /// What was cut, if anything.
    pub torn: Option<Torn>,
    /// The file of the journal's folder that has a copy of it.
    pub copy: Option<String>,
}

/// A tail that is cut. It was never acknowledged, or it is damage that can't be told from that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Torn {
    /// The first record lost.
    pub lsn: Lsn,
    /// Up to the last byte that is not zero.
    pub bytes: u64,
}

/// Of these segments, the one that holds `posted`: the first that a start reads. All of them where none does.
#[must_use]
pub(crate) fn first_read(firsts: &[Lsn], posted: Lsn) -> Lsn {
    firsts.iter().copied().filter(|&first| first <= posted).max().unwrap_or(Lsn::ZERO)
}

/// Where to go on, and the bytes to write there first.
pub(crate) struct Tail {
    pub header: Header,
    pub cursor: Cursor,
    pub offset: u64,
    /// Where `image` belongs: the first record not proven durable, or the end.
    pub image_at: u64,
    /// Those records once more, then zeros.
    pub image: Vec<u8>,
    /// The bytes that are cut, as far as a copy of them is kept.
    pub cut: Vec<u8>,
}

pub(crate) struct Plan {
    pub recovery: Recovery,
    pub tail: Option<Tail>,
    temps: Vec<String>,
}

/// Reads everything from the segment that holds `scan_from` on; older segments are not looked at. Every record up to
/// `posted`, the ledger's position, once was durable.
pub(crate) fn plan<D: Disk>(disk: &D, scan_from: Lsn, posted: Lsn) -> Result<Plan, JournalError> {
    let names = disk.list().map_err(JournalError::failed("list the journal"))?;
    let temps: Vec<String> = names.into_iter().filter(|name| name.ends_with(".tmp")).collect();
    let firsts = segment::list(disk)?;
    let mut recovery = Recovery {
        segments: firsts.len(),
        first: firsts.first().copied().unwrap_or(Lsn(1)),
        last: Lsn::ZERO,
        torn: None,
        copy: None,
    };
    if posted > Lsn::ZERO && recovery.first > posted.next() {
        return Err(JournalError::Released { wanted: posted.next(), first: recovery.first });
    }
    let scan_start = first_read(&firsts, scan_from);
    let mut at = Place { segment: recovery.first, offset: 0, record: recovery.first };
    let mut before: Option<Cursor> = None;
    let mut tail = None;
    for first in firsts.iter().copied().filter(|&first| first >= scan_start) {
        let last = firsts.last() == Some(&first);
        at = Place { segment: first, offset: 0, record: first };
        let (file, header, missing) = open(disk, at, last)?;
        if let Some(cursor) = before {
            header.follows(&cursor).map_err(|finding| Place { record: cursor.next, ..at }.damaged(finding))?;
        }
        let mut bytes = vec![0; narrow(header.size)];
        file.read_full_at(&mut bytes, 0).map_err(JournalError::failed("read a segment"))?;
        let walk = Walk::through(&bytes, &header, last)?;
        before = Some(walk.cursor);
        at = walk.place();
        if last {
            recovery.torn = walk.torn;
            recovery.last = walk.cursor.last();
            tail = Some(walk.tail(header, bytes, missing));
        }
    }
    if recovery.last < posted {
        return Err(at.damaged(Finding::PostedDamaged { lsn: at.record, posted }));
    }
    Ok(Plan { recovery, tail, temps })
}

/// Where something is wrong.
#[derive(Clone, Copy)]
struct Place {
    segment: Lsn,
    offset: usize,
    /// The record that belongs there.
    record: Lsn,
}

impl Place {
    fn damaged(self, finding: Finding) -> JournalError {
        let Self { segment, offset, record } = self;
        Damage { segment, offset: widen(offset), record, finding }.into()
    }
}

/// Opens a segment and checks its header and size; answers by how much the last one is short.
fn open<D: Disk>(disk: &D, at: Place, last: bool) -> Result<(D::File, Header, u64), JournalError> {
    let first = at.segment;
    let file = disk.open(&finding::file_name(first)).map_err(JournalError::failed("open a segment"))?;
    let found = file.size().map_err(JournalError::failed("measure a segment"))?;
    let header = Header::read(&file, first)?;
    let expected = header.size;
    if found > expected || (found < expected && !last) {
        let finding = Finding::SegmentSize { expected, found };
        return Err(Place { offset: narrow(found), ..at }.damaged(finding));
    }
    Ok((file, header, expected - found))
}

/// One segment, record by record.
struct Walk {
    segment: Lsn,
    cursor: Cursor,
    /// After the last good record.
    end: usize,
    /// The first record of the last sync group: the last ones not proven durable.
    unproven: usize,
    torn: Option<Torn>,
}

impl Walk {
    fn through(bytes: &[u8], header: &Header, last: bool) -> Result<Self, JournalError> {
        let start = segment::HEADER;
        let mut walk = Self { segment: header.first, cursor: header.cursor(), end: start, unproven: start, torn: None };
        let mut durable = Lsn::ZERO;
        loop {
            let rest = bytes.get(walk.end..).unwrap_or_default();
            match record::parse(rest) {
                Parsed::Good(view) => {
                    let at = walk.place();
                    walk.cursor.accept(&view).map_err(|misplaced| at.damaged(misplaced.into()))?;
                    if view.meta.durable > durable {
                        durable = view.meta.durable;
                        walk.unproven = walk.end;
                    }
                    walk.end += view.size;
                }
                Parsed::Unknown { version, kind } => {
                    return Err(walk.place().damaged(Finding::UnknownVersion { version, kind }));
                }
                Parsed::Zero | Parsed::Short(_) | Parsed::Bad => {
                    let torn = torn(rest, walk.cursor.next, last).map_err(|finding| walk.place().damaged(finding))?;
                    walk.torn = torn.map(|bytes| Torn { lsn: walk.cursor.next, bytes });
                    return Ok(walk);
                }
            }
        }
    }

    /// Behind the last good record.
    fn place(&self) -> Place {
        Place { segment: self.segment, offset: self.end, record: self.cursor.next }
    }

    fn tail(&self, header: Header, mut bytes: Vec<u8>, missing: u64) -> Tail {
        let torn_end = self.end + self.torn.map_or(0, |torn| narrow(torn.bytes));
        let copied = torn_end.min(self.end.saturating_add(aside::MOST_BYTES));
        let cut = bytes.get(self.end..copied).unwrap_or_default().to_vec();
        let wiped = torn_end.max(self.end.saturating_add(WIPE));
        bytes.truncate(if missing > 0 { bytes.len() } else { wiped });
        if let Some(after) = bytes.get_mut(self.end..) {
            after.fill(0);
        }
        bytes.drain(..self.unproven.min(bytes.len()));
        Tail { header, cursor: self.cursor, offset: widen(self.end), image_at: widen(self.unproven), image: bytes, cut }
    }
}

/// How many bytes are torn where record `lsn` belongs; none if there are only zeros. Anything that proves
/// that it was durable is damage.
fn torn(rest: &[u8], lsn: Lsn, last: bool) -> Result<Option<u64>, Finding> {
    let Some(end) = last_byte(rest) else { return Ok(None) };
    if !last {
        return Err(Finding::DamagedBeforeLastSegment { lsn });
    }
    let room = lsn.0.saturating_add(widen(rest.len() / record::HEADER));
    for at in (record::ALIGN..=end).step_by(record::ALIGN) {
        let Some(bytes) = rest.get(at..) else { break };
        // A look at the position first, so that the crc is computed only where a record may be.
        let Some(found) = record::lsn_at(bytes) else { break };
        if found <= lsn || found.0 > room {
            continue;
        }
        match record::parse(bytes) {
            Parsed::Good(view) if view.meta.durable >= lsn => {
                return Err(Finding::DurableDamaged { lsn, proof: view.meta.lsn });
            }
            Parsed::Unknown { version, kind } => return Err(Finding::UnknownVersion { version, kind }),
            Parsed::Good(_) | Parsed::Zero | Parsed::Short(_) | Parsed::Bad => {}
        }
    }
    Ok(Some(widen(end + 1)))
}

/// Where the last byte is that is not zero. Most of a segment may be zeros, so they are compared in pieces.
fn last_byte(bytes: &[u8]) -> Option<usize> {
    const ZEROS: &[u8] = &[0; 4096];
    let mut end = bytes.len();
    for piece in bytes.rchunks(ZEROS.len()) {
        end -= piece.len();
        if ZEROS.get(..piece.len()) != Some(piece) {
            return piece.iter().rposition(|&b| b != 0).map(|at| end + at);
        }
    }
    None
}

/// Does what the plan says and makes all of it durable; answers the segment to go on in. What is to be cut is copied
/// aside first: if that fails, no segment has been touched. (Temporary files go before: they hold no record, and on a
/// full disk they make room for the copy.)
///
/// The records that no later one proves durable are written once more before they are synced: after a sync
/// that failed, the page cache may show what the disk never got, and another sync would not bring it there.
/// The directory is synced too: a crash may have come between a segment's rename and that sync.
pub(crate) fn apply<D: Disk>(disk: &D, plan: &mut Plan, now_ms: i64) -> Result<Option<D::File>, JournalError> {
    for name in &plan.temps {
        disk.remove(name).map_err(JournalError::failed("delete a temporary file"))?;
    }
    disk.sync_dir().map_err(JournalError::failed("sync the directory"))?;
    let Some(tail) = &plan.tail else { return Ok(None) };
    if let Some(torn) = &plan.recovery.torn {
        plan.recovery.copy = Some(aside::copy(disk, torn.lsn, now_ms, &tail.cut)?);
    }
    let name = finding::file_name(tail.header.first);
    let file = disk.open_write(&name).map_err(JournalError::failed("open the last segment"))?;
    file.write_all_at(&tail.image, tail.image_at).map_err(JournalError::failed("cut the tail"))?;
    file.sync_all().map_err(JournalError::failed("sync the tail"))?;
    Ok(Some(file))
}

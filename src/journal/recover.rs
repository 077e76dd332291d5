//! What a crash left, and what to do about it: one finding, one action.
//!
//! | finding | where | action |
//! |---|---|---|
//! | no segment at all | directory | create the first |
//! | zeros after the last good record, to the end of the file | last segment | continue |
//! | a segment with a header and no record | last segment | continue in it |
//! | a temporary file | directory | delete |
//! | the file ends early, nothing but zeros after the last good record | last segment | cut: fill up with zeros |
//! | a bad record, and no record after it proves that it was ever durable | last segment | cut: zeros, synced |
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
//! nothing worse than a tail nobody was told of. So each record says which position was known durable when it
//! was written. A record after the bad record n that claims n or more was written only after a sync that
//! covered n had returned: n was whole on disk and is damaged now. Without such a claim n was written after
//! the last sync anyone saw return, so nobody was told of n, and all from n on may go. A new segment gets its
//! name only after everything before it is synced, so an earlier segment has no torn tail.
//!
//! What is not decidable: damage to the records of the very last sync looks like a tail that was torn before
//! that sync. Only a later record could prove otherwise, and there is none.

use super::cursor::Cursor;
use super::disk::{Disk, DiskFile, StdDisk, narrow, widen};
use super::record::{self, Parsed};
use super::segment::{self, Header};
use super::{JournalError, Lsn};

/// Zeros written anew behind the tail at every start. A sync that failed while an earlier recovery cut a tail
/// may have left the torn bytes on disk under zeros in the page cache; it covers what one sync leaves behind.
const WIPE: usize = 1 << 20;

/// What the journal looks like. Nothing in it is guessed: each has one action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    #[error("there is no journal yet")]
    Empty,
    #[error("it ends cleanly")]
    CleanEnd,
    #[error("its last segment holds no record yet")]
    EmptyLastSegment,
    #[error("a temporary file was left over")]
    LeftoverTemp,
    #[error("the last file is {missing} bytes short, no record with it")]
    ShortFile { missing: u64 },
    #[error("record {lsn} is torn and no later record proves that it was ever durable")]
    TornTail { lsn: Lsn },
    #[error("record {lsn} is damaged: record {proof} was written after it was durable")]
    DurableDamaged { lsn: Lsn, proof: Lsn },
    #[error("record {lsn} is damaged in a segment that is not the last")]
    DamagedBeforeLastSegment { lsn: Lsn },
    #[error("record {expected} is missing, {found} is in its place")]
    Gap { expected: Lsn, found: Lsn },
    #[error("record {found} comes again where {expected} belongs")]
    Repeat { expected: Lsn, found: Lsn },
    #[error("record {lsn} does not follow from the one before it")]
    ChainBreak { lsn: Lsn },
    #[error("record {lsn} is older than the one before it")]
    TimeBackwards { lsn: Lsn },
    #[error("a record of version {version}, kind {kind}, from a newer program")]
    UnknownVersion { version: u8, kind: u8 },
    #[error("a segment of version {version}, from a newer program")]
    UnknownSegmentVersion { version: u32 },
    #[error("the segment's header is damaged")]
    HeaderDamaged,
    #[error("the file has {found} bytes, its header says {expected}")]
    SegmentSize { expected: u64, found: u64 },
    #[error("record {expected} is missing, the next segment begins at {found}")]
    SegmentMissing { expected: Lsn, found: Lsn },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Create,
    Continue,
    Delete,
    /// What is after the last good record becomes zeros, durably.
    Cut,
    /// Start nothing, touch nothing.
    Refuse,
}

impl Finding {
    /// The decision table.
    #[must_use]
    pub const fn action(self) -> Action {
        match self {
            Self::Empty => Action::Create,
            Self::CleanEnd | Self::EmptyLastSegment => Action::Continue,
            Self::LeftoverTemp => Action::Delete,
            Self::ShortFile { .. } | Self::TornTail { .. } => Action::Cut,
            Self::DurableDamaged { .. }
            | Self::DamagedBeforeLastSegment { .. }
            | Self::Gap { .. }
            | Self::Repeat { .. }
            | Self::ChainBreak { .. }
            | Self::TimeBackwards { .. }
            | Self::UnknownVersion { .. }
            | Self::UnknownSegmentVersion { .. }
            | Self::HeaderDamaged
            | Self::SegmentSize { .. }
            | Self::SegmentMissing { .. } => Action::Refuse,
        }
    }
}

/// What opening found, and did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// About the journal's end.
    pub finding: Finding,
    pub segments: usize,
    /// The first record still kept; the next one if there is none.
    pub first: Lsn,
    /// The last good record; zero if there never was one.
    pub last: Lsn,
    pub last_time: i64,
    /// How many were read and verified; fewer than there are if older segments were passed over.
    pub records: u64,
    /// What was cut, if anything.
    pub torn: Option<Torn>,
    /// Temporary files, deleted.
    pub temps: usize,
}

/// A tail that is cut. It was never acknowledged, or it is damage that can't be told from that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Torn {
    /// The first record lost.
    pub lsn: Lsn,
    pub segment: Lsn,
    pub offset: u64,
    /// Up to the last byte that is not zero.
    pub bytes: u64,
}

/// Looks at the journal in `dir` as opening would, and changes nothing. Damage is an error.
pub fn examine(dir: &std::path::Path, scan_from: Lsn) -> Result<Recovery, JournalError> {
    Ok(plan(&StdDisk::new(dir), scan_from)?.recovery)
}

/// A segment and what came before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub first: Lsn,
    pub prev_time: i64,
}

/// Where to go on, and the bytes to write there first.
pub(super) struct Tail {
    pub header: Header,
    pub cursor: Cursor,
    pub offset: u64,
    /// Where `image` belongs: the first record not proven durable, or the end.
    pub image_at: u64,
    /// Those records once more, then zeros.
    pub image: Vec<u8>,
}

pub(super) struct Plan {
    pub recovery: Recovery,
    pub marks: Vec<Mark>,
    pub tail: Option<Tail>,
    temps: Vec<String>,
}

/// Reads everything from the segment that holds `scan_from` on; of older segments the headers only.
pub(super) fn plan<D: Disk>(disk: &D, scan_from: Lsn) -> Result<Plan, JournalError> {
    let names = disk.list().map_err(JournalError::failed("list the journal"))?;
    let temps: Vec<String> = names.into_iter().filter(|name| name.ends_with(".tmp")).collect();
    let firsts = segment::list(disk)?;
    let mut recovery = Recovery {
        finding: Finding::Empty,
        segments: firsts.len(),
        first: firsts.first().copied().unwrap_or(Lsn(1)),
        last: Lsn::ZERO,
        last_time: 0,
        records: 0,
        torn: None,
        temps: temps.len(),
    };
    let scan_start = firsts.iter().copied().filter(|&first| first <= scan_from).max().unwrap_or(Lsn::ZERO);
    let mut marks = Vec::with_capacity(firsts.len());
    let mut before: Option<Cursor> = None;
    let mut tail = None;
    for &first in &firsts {
        let last = firsts.last() == Some(&first);
        let (file, header, missing) = open(disk, first, last)?;
        marks.push(Mark { first, prev_time: header.prev_time });
        if first < scan_start && !last {
            continue;
        }
        let damaged = |(offset, finding)| JournalError::Damaged { segment: first, offset: widen(offset), finding };
        if let Some(cursor) = before {
            cursor.enter(&header).map_err(|finding| damaged((0, finding)))?;
        }
        let mut bytes = vec![0; narrow(header.size)];
        file.read_full_at(&mut bytes, 0).map_err(JournalError::failed("read a segment"))?;
        let walk = Walk::through(&bytes, &header, last).map_err(damaged)?;
        recovery.records += walk.records;
        before = Some(walk.cursor);
        if last {
            recovery.finding = walk.finding(missing);
            recovery.torn = walk.torn;
            recovery.last = Lsn(walk.cursor.next.0.saturating_sub(1));
            recovery.last_time = walk.cursor.last_time;
            tail = Some(walk.tail(header, bytes, missing));
        }
    }
    Ok(Plan { recovery, marks, tail, temps })
}

/// Opens a segment and checks its header and size; answers by how much the last one is short.
fn open<D: Disk>(disk: &D, first: Lsn, last: bool) -> Result<(D::File, Header, u64), JournalError> {
    let file = disk.open(&segment::file_name(first)).map_err(JournalError::failed("open a segment"))?;
    let found = file.size().map_err(JournalError::failed("measure a segment"))?;
    let header = Header::read(&file, first)?;
    let expected = header.size;
    if found > expected || (found < expected && !last) {
        let finding = Finding::SegmentSize { expected, found };
        return Err(JournalError::Damaged { segment: first, offset: found, finding });
    }
    Ok((file, header, expected - found))
}

/// One segment, record by record.
struct Walk {
    cursor: Cursor,
    /// After the last good record.
    end: usize,
    /// The first record of the last sync group: the last ones not proven durable.
    unproven: usize,
    records: u64,
    torn: Option<Torn>,
}

impl Walk {
    fn through(bytes: &[u8], header: &Header, last: bool) -> Result<Self, (usize, Finding)> {
        let start = segment::HEADER;
        let mut walk = Self { cursor: Cursor::at(header), end: start, unproven: start, records: 0, torn: None };
        let mut durable = Lsn::ZERO;
        loop {
            let rest = bytes.get(walk.end..).unwrap_or_default();
            match record::parse(rest) {
                Parsed::Good(view) => {
                    walk.cursor.accept(&view).map_err(|finding| (walk.end, finding))?;
                    if view.meta.durable > durable {
                        durable = view.meta.durable;
                        walk.unproven = walk.end;
                    }
                    walk.end += view.size;
                    walk.records += 1;
                }
                Parsed::Unknown { version, kind } => {
                    return Err((walk.end, Finding::UnknownVersion { version, kind }));
                }
                Parsed::Zero | Parsed::Short(_) | Parsed::Bad => {
                    let torn = torn(rest, walk.cursor.next, last).map_err(|finding| (walk.end, finding))?;
                    let (lsn, offset) = (walk.cursor.next, widen(walk.end));
                    walk.torn = torn.map(|bytes| Torn { lsn, segment: header.first, offset, bytes });
                    return Ok(walk);
                }
            }
        }
    }

    fn finding(&self, missing: u64) -> Finding {
        match self.torn {
            Some(torn) => Finding::TornTail { lsn: torn.lsn },
            None if missing > 0 => Finding::ShortFile { missing },
            None if self.records == 0 => Finding::EmptyLastSegment,
            None => Finding::CleanEnd,
        }
    }

    fn tail(&self, header: Header, mut bytes: Vec<u8>, missing: u64) -> Tail {
        let torn_end = self.end + self.torn.map_or(0, |torn| narrow(torn.bytes));
        let wiped = torn_end.max(self.end.saturating_add(WIPE));
        bytes.truncate(if missing > 0 { bytes.len() } else { wiped });
        if let Some(after) = bytes.get_mut(self.end..) {
            after.fill(0);
        }
        bytes.drain(..self.unproven.min(bytes.len()));
        let (offset, image_at) = (widen(self.end), widen(self.unproven));
        Tail { header, cursor: self.cursor, offset, image_at, image: bytes }
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

/// Does what the plan says and makes all of it durable; answers the segment to go on in.
///
/// The records that no later one proves durable are written once more before they are synced: after a sync
/// that failed, the page cache may show what the disk never got, and another sync would not bring it there.
/// The directory is synced too: a crash may have come between a segment's rename and that sync.
pub(super) fn apply<D: Disk>(disk: &D, plan: &Plan) -> Result<Option<D::File>, JournalError> {
    for name in &plan.temps {
        disk.remove(name).map_err(JournalError::failed("delete a temporary file"))?;
    }
    disk.sync_dir().map_err(JournalError::failed("sync the directory"))?;
    let Some(tail) = &plan.tail else { return Ok(None) };
    let name = segment::file_name(tail.header.first);
    let file = disk.open_write(&name).map_err(JournalError::failed("open the last segment"))?;
    file.write_all_at(&tail.image, tail.image_at).map_err(JournalError::failed("cut the tail"))?;
    file.sync_all().map_err(JournalError::failed("sync the tail"))?;
    Ok(Some(file))
}

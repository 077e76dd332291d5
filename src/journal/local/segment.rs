//! Segment files: `00000000000000000001.seg`, named by the first position in them.
//!
//! ```text
//!  0   8B  "SOKKETSU"
//!  8  u32  version, 1
//! 12  u32  crc32c of bytes 0 to 12 and 16 to 4096
//! 16  u64  first lsn
//! 24  u64  size of the file
//! 32  i64  created, Unix milliseconds
//! 40  16B  link of the record before the first
//! 56  i64  time of the record before the first
//! 64       zeros up to 4096
//! ```
//! Records begin at 4096: the header has a page of its own, which no append writes again.

use super::disk::{Disk, DiskFile, narrow, widen};
use super::finding::{Damage, Finding};
use crate::journal::cursor::{Cursor, Misplaced};
use crate::journal::local::finding::file_name;
use crate::journal::record::{Link, field};
use crate::journal::{JournalError, Lsn};

pub const HEADER: usize = 4096;
pub const VERSION: u32 = 1;
const MAGIC: &[u8; 8] = b"SOKKETSU";
const CRC_SEED: u32 = 0x5365_674d;
/// Far above any configured size; a damaged size can't make recovery reserve more.
pub const MAX_SIZE: u64 = 4 << 30;
/// The largest piece written at once while zeroing; each is synced by itself, so that a commit's sync on the
/// same disk never waits for more than this.
const ZERO_PIECE: u64 = 1 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub first: Lsn,
    pub size: u64,
    pub created_ms: i64,
    pub prev: Link,
    pub prev_time: i64,
}

impl Header {
    /// Of a segment whose first record is the cursor's.
    pub(crate) fn after(cursor: &Cursor, size: u64, created_ms: i64) -> Self {
        let &Cursor { next: first, link: prev, last_time: prev_time } = cursor;
        Self { first, size, created_ms, prev, prev_time }
    }

    /// Before the segment's first record.
    pub(crate) fn cursor(&self) -> Cursor {
        Cursor { next: self.first, link: self.prev, last_time: self.prev_time }
    }

    /// Whether the segment goes on where the one before it ends.
    pub(crate) fn follows(&self, end: &Cursor) -> Result<(), Finding> {
        if self.first > end.next {
            return Err(Finding::SegmentMissing { expected: end.next, found: self.first });
        }
        if self.first < end.next {
            return Err(Misplaced::Repeat { expected: end.next, found: self.first }.into());
        }
        if self.cursor() != *end {
            return Err(Misplaced::ChainBreak { lsn: self.first }.into());
        }
        Ok(())
    }

    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut rest = Vec::with_capacity(HEADER);
        rest.extend_from_slice(&self.first.0.to_le_bytes());
        rest.extend_from_slice(&self.size.to_le_bytes());
        rest.extend_from_slice(&self.created_ms.to_le_bytes());
        rest.extend_from_slice(&self.prev.0);
        rest.extend_from_slice(&self.prev_time.to_le_bytes());
        rest.resize(HEADER - 16, 0);
        let mut page = Vec::with_capacity(HEADER);
        page.extend_from_slice(MAGIC);
        page.extend_from_slice(&VERSION.to_le_bytes());
        let crc = crc_of(&page, &rest);
        page.extend_from_slice(&crc.to_le_bytes());
        page.extend_from_slice(&rest);
        page
    }

    /// Total: any bytes have an answer.
    pub fn parse(page: &[u8]) -> Result<Self, Finding> {
        Self::fields(page).ok_or(Finding::HeaderDamaged).and_then(|(version, header)| match version {
            VERSION => Ok(header),
            version => Err(Finding::UnknownSegmentVersion { version }),
        })
    }

    fn fields(page: &[u8]) -> Option<(u32, Self)> {
        let (start, rest) = (page.get(..12)?, page.get(16..HEADER)?);
        if !start.starts_with(MAGIC) || u32::from_le_bytes(field(page, 12)?) != crc_of(start, rest) {
            return None;
        }
        let header = Self {
            first: Lsn(u64::from_le_bytes(field(page, 16)?)),
            size: u64::from_le_bytes(field(page, 24)?),
            created_ms: i64::from_le_bytes(field(page, 32)?),
            prev: Link(field(page, 40)?),
            prev_time: i64::from_le_bytes(field(page, 56)?),
        };
        let sound = header.first > Lsn::ZERO && header.size >= widen(HEADER) && header.size <= MAX_SIZE;
        sound.then_some((u32::from_le_bytes(field(page, 8)?), header))
    }

    /// Reads the header of the segment that begins at `first`.
    pub(crate) fn read<F: DiskFile>(file: &F, first: Lsn) -> Result<Self, JournalError> {
        let mut page = [0; HEADER];
        let got = file.read_full_at(&mut page, 0).map_err(JournalError::failed("read a segment's header"))?;
        let header = Self::parse(page.get(..got).unwrap_or_default());
        let header = header.and_then(|h| if h.first == first { Ok(h) } else { Err(Finding::HeaderDamaged) });
        header.map_err(|finding| Damage { segment: first, offset: 0, record: first, finding }.into())
    }
}

fn crc_of(start: &[u8], rest: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(CRC_SEED, start), rest)
}

/// The first position of the segment with this name; none for other files.
#[must_use]
pub fn parse_name(name: &str) -> Option<Lsn> {
    let digits = name.strip_suffix(".seg").filter(|d| d.len() == 20 && d.bytes().all(|b| b.is_ascii_digit()))?;
    digits.parse().ok().map(Lsn)
}

/// First positions of all segments, in order.
pub(crate) fn list<D: Disk>(disk: &D) -> Result<Vec<Lsn>, JournalError> {
    let names = disk.list().map_err(JournalError::failed("list the segments"))?;
    let mut all: Vec<Lsn> = names.iter().filter_map(|name| parse_name(name)).collect();
    all.sort_unstable();
    Ok(all)
}

/// Makes a file of zeros under a temporary name. On failure nothing of it stays.
pub(crate) fn zeroed<D: Disk>(disk: &D, name: &str, size: u64) -> std::io::Result<D::File> {
    let made = disk.create(name).and_then(|file| {
        zero(&file, 0, size)?;
        file.sync_all()?;
        Ok(file)
    });
    if made.is_err() {
        // The first error is the one to report; recovery deletes what this leaves.
        disk.remove(name).ok();
    }
    made
}

fn zero<F: DiskFile>(file: &F, from: u64, to: u64) -> std::io::Result<()> {
    let zeros = vec![0; narrow(ZERO_PIECE.min(to.saturating_sub(from)))];
    let mut at = from;
    while at < to {
        let piece = zeros.get(..narrow(to - at)).unwrap_or(&zeros);
        file.write_all_at(piece, at)?;
        at += widen(piece.len());
        if at < to {
            file.sync_data()?;
        }
    }
    Ok(())
}

/// Gives a file of zeros its header and then its name. Only when all of it is durable may a record follow.
pub(crate) fn adopt<D: Disk>(disk: &D, file: &D::File, temp: &str, header: &Header) -> std::io::Result<()> {
    file.write_all_at(&header.encode(), 0)?;
    file.sync_data()?;
    disk.rename(temp, &file_name(header.first))?;
    disk.sync_dir()
}

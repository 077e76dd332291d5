//! Old segments go, one a call; the last one, which is in use, stays.

use super::disk::{Disk, StdDisk};
use super::segment;
use super::segment::Header;
use crate::domain::model::time::Millis;
use crate::journal::local::finding;
use crate::journal::{JournalError, Lsn, Release};

/// Releases the segments of a journal in files.
pub struct LocalRelease<D: Disk = StdDisk>(pub(crate) D);

impl<D: Disk> Release for LocalRelease<D> {
    fn release_oldest(&self, upto: Lsn, keep_after: Millis) -> Result<Option<Lsn>, JournalError> {
        let Self(disk) = self;
        let firsts = segment::list(disk)?;
        let [oldest, next, ..] = firsts.as_slice() else { return Ok(None) };
        if *next > upto.next() {
            return Ok(None);
        }
        // The records of the oldest end where the next segment begins, and its header has their last time.
        let file = disk.open(&finding::file_name(*next)).map_err(JournalError::failed("open a segment"))?;
        if Header::read(&file, *next)?.prev_time >= keep_after.0 {
            return Ok(None);
        }
        // Durable before the next one may go: a power cut must not leave a hole in the middle.
        let removed = disk.remove(&finding::file_name(*oldest)).and_then(|()| disk.sync_dir());
        removed.map_err(JournalError::failed("release a segment"))?;
        Ok(Some(*oldest))
    }
}

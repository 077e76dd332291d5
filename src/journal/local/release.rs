//! Old segments go, one a call. It runs beside the writer, on a thread that serves nobody: an unlink of a large file and
//! the directory's sync may take long, and a failure is no reason to stop.

use super::disk::{Disk, StdDisk};
use super::segment;
use super::segment::Header;
use crate::domain::model::time::Millis;
use crate::journal::{JournalError, Lsn, Release};

/// Releases the segments of a journal in files.
pub struct LocalRelease<D: Disk = StdDisk>(pub(crate) D);

impl<D: Disk> Release for LocalRelease<D> {
    fn release_oldest(&self, upto: Lsn, keep_after: Millis) -> Result<Option<Lsn>, JournalError> {
        release_oldest(&self.0, upto, keep_after.0)
    }
}

/// One segment at most; answers which one went. The last segment, which is in use, stays.
pub fn release_oldest<D: Disk>(disk: &D, upto: Lsn, keep_after_time_ms: i64) -> Result<Option<Lsn>, JournalError> {
    let firsts = segment::list(disk)?;
    let [oldest, next, ..] = firsts.as_slice() else { return Ok(None) };
    if *next > upto.next() {
        return Ok(None);
    }
    // The records of the oldest end where the next segment begins, and its header has their last time.
    let file = disk.open(&segment::file_name(*next)).map_err(JournalError::failed("open a segment"))?;
    if Header::read(&file, *next)?.prev_time >= keep_after_time_ms {
        return Ok(None);
    }
    // Durable before the next one may go: a power cut must not leave a hole in the middle.
    let removed = disk.remove(&segment::file_name(*oldest)).and_then(|()| disk.sync_dir());
    removed.map_err(JournalError::failed("release a segment"))?;
    Ok(Some(*oldest))
}

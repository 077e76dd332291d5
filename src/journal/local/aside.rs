//! Copies of what recovery cuts off the journal's end. These records were never answered, or so it looks; the copy is for
//! whoever doubts it. `00000000000000000042-1764342456000.cut`: the first record lost, and when it was cut.

use super::disk::{Disk, DiskFile};
use crate::journal::{JournalError, Lsn};

/// Of one copy: a torn tail is rarely longer than one batch.
pub(crate) const MOST_BYTES: usize = 1 << 20;
/// Copies kept; the oldest go.
const MOST_COPIES: usize = 8;
const TEMP: &str = "cut.tmp";

/// Writes the copy durably under its name, which it answers.
pub(crate) fn copy<D: Disk>(disk: &D, lsn: Lsn, now_ms: i64, bytes: &[u8]) -> Result<String, JournalError> {
    let name = format!("{:020}-{now_ms}.cut", lsn.0);
    let made = disk.create(TEMP).and_then(|file| {
        file.write_all_at(bytes, 0)?;
        file.sync_all()?;
        disk.rename(TEMP, &name)?;
        disk.sync_dir()
    });
    if made.is_err() {
        // The first error is the one to report; the next recovery deletes what this leaves.
        disk.remove(TEMP).ok();
    }
    made.map_err(JournalError::failed("copy the torn tail aside"))?;
    forget_old(disk)?;
    Ok(name)
}

fn forget_old<D: Disk>(disk: &D) -> Result<(), JournalError> {
    let names = disk.list().map_err(JournalError::failed("list the journal"))?;
    let mut copies: Vec<_> = names.iter().filter_map(|name| Some((cut_at(name)?, name))).collect();
    copies.sort_unstable();
    let too_many = copies.len().saturating_sub(MOST_COPIES);
    for (_, name) in copies.iter().take(too_many) {
        disk.remove(name).map_err(JournalError::failed("remove an old copy of a torn tail"))?;
    }
    Ok(())
}

/// When the copy of this name was made; none for other files.
fn cut_at(name: &str) -> Option<i64> {
    let (lsn, time) = name.strip_suffix(".cut")?.split_once('-')?;
    (lsn.len() == 20 && lsn.bytes().all(|b| b.is_ascii_digit())).then(|| time.parse().ok()).flatten()
}

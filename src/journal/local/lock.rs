//! One process per data directory.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

use crate::journal::JournalError;

/// Held as long as it lives; the operating system lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub struct DirLock {
    /// Never read: the lock belongs to the open file.
    _file: File,
}

/// Takes `DATA/LOCK` or says that another process has it.
pub fn lock(data: &Path) -> Result<DirLock, JournalError> {
    let path = data.join("LOCK");
    let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    let file = open.map_err(JournalError::failed("open the lock file"))?;
    match file.try_lock() {
        Ok(()) => Ok(DirLock { _file: file }),
        Err(TryLockError::WouldBlock) => Err(JournalError::InUse(path.display().to_string())),
        Err(TryLockError::Error(source)) => Err(JournalError::failed("take the lock")(source)),
    }
}

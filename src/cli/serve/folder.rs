//! The data folder belongs to its owner alone: who buys what and owes how much is in it.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::{ServeError, system};
use crate::clock::FILE as CLOCK;

/// Whether others than its owner may do anything with it.
fn is_open(mode: u32) -> bool {
    mode & 0o077 != 0
}

/// Makes the folder, or looks whether it is ours to use. One that is open to others and holds something else than our
/// records may be open for a reason: it is refused, never changed.
pub(crate) fn make(data: &Path) -> Result<(), ServeError> {
    let doing = || system(format!("make the data directory {}", data.display()));
    // Nothing of it is readable by others from its first moment on: the process's umask is 077.
    fs::create_dir_all(data).map_err(doing())?;
    let mode = fs::metadata(data).map_err(doing())?.permissions().mode();
    if is_open(mode) && !is_empty_or_ours(data).map_err(doing())? {
        return Err(ServeError::NotOurs { data: data.to_owned(), mode: mode & 0o7777 });
    }
    Ok(())
}

/// Records of an earlier version may be open to others; from now on they are not. Call it under the folder's lock.
pub(crate) fn tighten(data: &Path) -> Result<(), ServeError> {
    let journal = data.join("journal");
    for folder in [data, &journal] {
        let doing = || system(format!("make {} private (chmod 700)", folder.display()));
        let mode = match fs::metadata(folder) {
            Ok(metadata) => metadata.permissions().mode(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(doing()(error)),
        };
        if is_open(mode) {
            fs::set_permissions(folder, Permissions::from_mode(0o700)).map_err(doing())?;
            let mode = format!("{:04o}", mode & 0o7777);
            tracing::info!(folder = %folder.display(), mode, "others could read it; no more");
        }
        tighten_files(folder).map_err(doing())?;
    }
    Ok(())
}

fn tighten_files(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let is_record = entry.file_name().to_str().is_some_and(is_record);
        // A link's target is not ours to change: the entry itself is looked at.
        let metadata = entry.metadata()?;
        if is_record && metadata.is_file() && is_open(metadata.permissions().mode()) {
            fs::set_permissions(entry.path(), Permissions::from_mode(0o600))?;
        }
    }
    Ok(())
}

/// The files that we make here.
fn is_record(name: &str) -> bool {
    let ends = [".seg", ".tmp", ".cut"];
    name == "LOCK"
        || name == "CLUSTER"
        || name.starts_with("ledger.db")
        || name == CLOCK
        || ends.iter().any(|end| name.ends_with(end))
}

/// A file system's own folder is nothing: DATA may be a disk of its own.
fn is_empty_or_ours(data: &Path) -> io::Result<bool> {
    let names =
        fs::read_dir(data)?.map(|entry| entry.map(|entry| entry.file_name())).collect::<io::Result<Vec<_>>>()?;
    Ok(names.iter().all(|name| name == "lost+found") || names.iter().any(|name| name == "LOCK" || name == "journal"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn open(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn what_is_ours_is_closed_and_what_is_not_is_refused() {
        let outer = tempfile::tempdir().unwrap();
        let data = outer.path().join("data");
        fs::create_dir_all(data.join("journal")).unwrap();
        let ours =
            ["LOCK", "CLUSTER", "ledger.db", "ledger.db-wal", "sandbox-clock", "journal/00000000000000000001.seg"];
        let ours = ours.map(|name| if name == "sandbox-clock" { CLOCK } else { name });
        for name in ours.into_iter().chain(["notes.txt"]) {
            fs::write(data.join(name), "x").unwrap();
            open(&data.join(name), 0o644);
        }
        open(&data, 0o755);
        open(&data.join("journal"), 0o755);
        make(&data).unwrap();
        tighten(&data).unwrap();
        assert_eq!((mode(&data), mode(&data.join("journal"))), (0o700, 0o700));
        for name in ours {
            assert_eq!(mode(&data.join(name)), 0o600, "{name}");
        }
        assert_eq!(mode(&data.join("notes.txt")), 0o644, "not ours");

        let home = outer.path().join("home");
        fs::create_dir(&home).unwrap();
        open(&home, 0o755);
        make(&home).unwrap();
        fs::write(home.join("letter"), "x").unwrap();
        let error = make(&home).unwrap_err();
        assert_eq!((error.exit_code(), mode(&home)), (78, 0o755), "{error}");
        open(&home, 0o700);
        make(&home).unwrap();
    }
}

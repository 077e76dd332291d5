//! Small files that are there whole or not at all: the sandbox's clock, the signing keys; and the reading of secrets.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// Who may be able to read a file of secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Owner,
    /// In a sandbox.
    Everyone,
}

/// Puts `contents` in the place of the file, durably: after a crash it is the old or the new, never a part. Only its owner
/// may read it.
pub fn replace(path: &Path, contents: &[u8]) -> io::Result<()> {
    let temporary = beside(path);
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    write_new(&temporary, contents)?;
    fs::rename(&temporary, path)?;
    sync_folder(path)
}

/// Makes a file that is not there yet, which only its owner may read, and its folder; a file that is there is left alone
/// (`AlreadyExists`).
pub fn create(path: &Path, contents: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    write_new(path, contents)?;
    sync_folder(path)
}

/// Why a file of secrets is not read.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("{} cannot be read: {source}", .path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} can be read by others than its owner (mode {mode:04o}): `chmod 600` it, and rotate the keys if anyone may have read them", .path.display())]
    Exposed { path: PathBuf, mode: u32 },
}

/// Reads text that is wiped when dropped. Unless everyone may have access, a file that others than its owner can
/// read is refused. The open file is judged, so it can't be swapped in between.
pub fn read_secret(path: &Path, access: Access) -> Result<Zeroizing<String>, SecretError> {
    let failed = |source| SecretError::Read { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    let mode = metadata.permissions().mode() & 0o7777;
    if access == Access::Owner && mode & 0o077 != 0 {
        return Err(SecretError::Exposed { path: path.to_owned(), mode });
    }
    let size = usize::try_from(metadata.len()).unwrap_or_default();
    let mut text = Zeroizing::new(String::with_capacity(size + 1));
    file.read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

fn write_new(path: &Path, contents: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let written = file.write_all(contents).and_then(|()| file.sync_all());
    if written.is_err() {
        // The first error is the one to tell; what is left of the file is found by name.
        fs::remove_file(path).ok();
    }
    written
}

/// `folder/.name.new`
fn beside(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".new");
    path.with_file_name(name)
}

/// A new name is durable only once its folder is.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_created_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        create(&path, b"one").unwrap();
        assert_eq!(create(&path, b"two").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"one");
        // What a crash left behind is no obstacle.
        fs::write(beside(&path), "half of it").unwrap();
        replace(&path, b"three").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"three");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}

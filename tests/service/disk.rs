//! File systems of our own, small enough to fill and mounted so that their power can be cut. Needs root or sudo.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs a command as root, with sudo where we are not.
fn root(program: &str, arguments: &[&str]) {
    let me = Command::new("id").arg("-u").output().expect("id is installed");
    let am_root = me.stdout == b"0\n";
    let mut command = if am_root { Command::new(program) } else { Command::new("sudo") };
    if !am_root {
        command.args(["-n", program]);
    }
    let output = command.args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{program} {arguments:?} (as root or by sudo): {said}");
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

/// A file system in memory, so that it can be full.
pub struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    pub fn mount(size: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        root("mount", &["-t", "tmpfs", "-o", &format!("size={size},mode=777"), "tmpfs", text(folder.path())]);
        Self(folder)
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn grow(&self, size: &str) {
        root("mount", &["-o", &format!("remount,size={size}"), text(self.0.path())]);
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        root("umount", &["-l", text(self.0.path())]);
    }
}

/// An ext4 in a file, whose power can be cut: what was not synced is gone, as on a real machine.
pub struct PowerDisk {
    folder: tempfile::TempDir,
    mounted: bool,
}

impl PowerDisk {
    pub fn make(size: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut disk = Self { folder, mounted: false };
        let image = disk.image();
        let status = Command::new("truncate").args(["-s", size, text(&image)]).status();
        assert!(status.expect("truncate").success());
        root("mkfs.ext4", &["-q", "-F", text(&image)]);
        std::fs::create_dir(disk.path()).expect("a mount point");
        disk.mount();
        root("chmod", &["777", text(&disk.path())]);
        disk
    }

    fn image(&self) -> PathBuf {
        self.folder.path().join("disk.img")
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    pub fn mount(&mut self) {
        root("mount", &["-o", "loop", text(&self.image()), text(&self.path())]);
        self.mounted = true;
    }

    /// All that was written to it is on the disk.
    pub fn sync(&self) {
        root("sync", &["-f", text(&self.path())]);
    }

    /// The file system stops at once and forgets what it had not written: EXT4_IOC_SHUTDOWN without a log flush.
    pub fn cut_power(&self) {
        let shutdown = "import fcntl, os, struct, sys\n\
                        fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587D, struct.pack('I', 2))";
        root("python3", &["-c", shutdown, text(&self.path())]);
    }

    pub fn unmount(&mut self) {
        root("umount", &[text(&self.path())]);
        self.mounted = false;
    }
}

impl Drop for PowerDisk {
    fn drop(&mut self) {
        if self.mounted {
            root("umount", &["-l", text(&self.path())]);
        }
    }
}

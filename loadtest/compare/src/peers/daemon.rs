//! Servers of others, started for the run in a temporary folder on a free port of the loopback, and ended with it.

use std::fs::{File, Permissions};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use loadtest::setup::pause;

/// Longest wait for a server to listen, and to end.
const WITHIN: Duration = Duration::from_secs(60);

/// A folder for all data of the run. A server may run as another user, who must get into it.
pub fn folder(parent: &Path) -> Result<TempDir> {
    let folder = tempfile::Builder::new().prefix("sokketsu-peers-").tempdir_in(parent);
    let folder = folder.with_context(|| format!("a temporary folder in {}", parent.display()))?;
    std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755))?;
    Ok(folder)
}

/// A port that nobody listens on.
pub fn free_port() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

pub fn wait_until(mut is_so: impl FnMut() -> bool) -> Result<()> {
    let until = Instant::now() + WITHIN;
    while !is_so() {
        ensure!(Instant::now() < until, "not ready within {WITHIN:?}");
        pause(Duration::from_millis(20));
    }
    Ok(())
}

/// A running server. Dropping it ends it.
pub struct Daemon {
    pub child: Child,
    /// What makes it end at once, in order.
    end: Signal,
}

impl Daemon {
    /// Starts it. What it says on standard error goes into `log`.
    pub fn start(command: &mut Command, log: &Path, end: Signal) -> Result<Self> {
        let program = command.get_program().to_string_lossy().into_owned();
        let log = File::create(log).with_context(|| format!("make {}", log.display()))?;
        command.stdin(Stdio::null()).stderr(log);
        let child = command.spawn().with_context(|| format!("start {program}; is it installed?"))?;
        Ok(Self { child, end })
    }

    /// Waits until something listens.
    pub fn wait_for(&mut self, address: SocketAddr) -> Result<()> {
        self.wait_until(|| TcpStream::connect(address).is_ok())
    }

    pub fn wait_until(&mut self, mut is_ready: impl FnMut() -> bool) -> Result<()> {
        let mut ended = None;
        wait_until(|| {
            ended = self.child.try_wait().ok().flatten();
            is_ready() || ended.is_some()
        })?;
        match ended {
            Some(status) => bail!("it ended with {status}"),
            None => Ok(()),
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Gone already, if it fails.
        kill_process(Pid::from_child(&self.child), self.end).ok();
        let until = Instant::now() + WITHIN;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < until {
            pause(Duration::from_millis(10));
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// What a command prints.
pub fn output(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("run {program}; is it installed?"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} ended with {}: {}", output.status, errors.trim());
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_ended_with_its_handle_and_one_that_ends_by_itself_is_noticed() {
        let folder = folder(&std::env::temp_dir()).unwrap();
        let log = folder.path().join("log");
        let daemon = Daemon::start(Command::new("sleep").arg("600"), &log, Signal::TERM).unwrap();
        let process = format!("/proc/{}", daemon.child.id());
        assert!(Path::new(&process).exists());
        drop(daemon);
        assert!(!Path::new(&process).exists());
        let mut ended = Daemon::start(&mut Command::new("false"), &log, Signal::TERM).unwrap();
        let error = ended.wait_for(free_port().unwrap()).unwrap_err().to_string();
        assert!(error.contains("it ended with"), "{error}");
        assert!(output(&mut Command::new("false")).is_err());
        assert_eq!(output(Command::new("echo").arg("7")).unwrap(), "7");
    }
}

//! A server of our own that speaks to the network too: a sandbox on free ports of the loopback.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::setup::pause;

/// The policy of a load: hot customers, long-lived codes.
const POLICY: &str = include_str!("../../../config/policy.load.toml");
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// A running server. Dropping it kills it.
pub struct Host {
    child: Child,
    pub http: SocketAddr,
    pub link: SocketAddr,
    pub data: PathBuf,
    _folder: TempDir,
}

impl Host {
    pub fn start(binary: &Path) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("sokketsu-switch-").tempdir().context("a temporary folder")?;
        let (policy, data) = (folder.path().join("policy.load.toml"), folder.path().join("data"));
        std::fs::write(&policy, POLICY)?;
        std::fs::create_dir_all(&data)?;
        let log = folder.path().join("server.log");
        let mut command = Command::new(std::path::absolute(binary)?);
        command.args(["serve", "--sandbox", "--http", "127.0.0.1:0", "--iso8583", "127.0.0.1:0", "--data"]).arg(&data);
        command.env("SOKKETSU_POLICY__FILE", &policy);
        // A quiet line is asked whether it is still there.
        command.env("SOKKETSU_ISO8583__IDLE", "1s");
        // Foreign and used codes are part of the play: the guard must let their source go on.
        command.env("SOKKETSU_BAD_CODES__PER_TERMINAL", "100000").env("SOKKETSU_BAD_CODES__PER_KEY", "100000");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(File::create(&log)?);
        let mut child = command.spawn().with_context(|| format!("start {}", binary.display()))?;
        let spoken = addresses(&mut child);
        if spoken.is_err() {
            // A child is not ended by being dropped.
            drop(child.kill());
            drop(child.wait());
        }
        let [http, link] = spoken.with_context(|| {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            format!("{} did not start: {}", binary.display(), text.trim())
        })?;
        Ok(Self { child, http, link, data, _folder: folder })
    }

    /// SIGTERM, and waits for the end.
    pub fn stop(&mut self) -> Result<()> {
        kill_process(Pid::from_child(&self.child), Signal::TERM).context("SIGTERM")?;
        let until = Instant::now() + STOP_WITHIN;
        loop {
            if let Some(status) = self.child.try_wait()? {
                ensure!(status.success(), "the server ended with {status}");
                return Ok(());
            }
            ensure!(Instant::now() < until, "the server did not stop within {STOP_WITHIN:?}");
            pause(Duration::from_millis(5));
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // Gone already, after a stop.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Where it listens for HTTP and for the network: the first lines it prints.
fn addresses(child: &mut Child) -> Result<[SocketAddr; 2]> {
    let mut lines = BufReader::new(child.stdout.take().context("its output")?).lines();
    let mut next = |scheme: &str| -> Result<SocketAddr> {
        for line in lines.by_ref() {
            let line = line?;
            if let Some((_, address)) = line.split_once(&format!("{scheme}://")) {
                let address = address.split(['/', ' ']).next().unwrap_or_default();
                return address.parse().with_context(|| format!("an address: {line}"));
            }
        }
        anyhow::bail!("it did not say where it listens by {scheme}")
    };
    let both = [next("http")?, next("iso8583")?];
    // Keep reading, or it would one day wait for room in the pipe.
    std::thread::spawn(move || lines.for_each(drop));
    Ok(both)
}

//! A server of our own to measure: a sandbox on a free port of the loopback, with a data directory of its own.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::setup::pause;

/// The policy of a run, with the velocity rules off.
const POLICY: &str = include_str!("../../config/policy.load.toml");
/// The contract gives a stop 5 s.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// What to start.
pub struct Options<'a> {
    pub binary: &'a Path,
    /// A folder of its own under the system's temporary one if not given.
    pub data: Option<&'a Path>,
    pub config: Option<&'a Path>,
    /// Forged codes are part of the mix: the guard must let their source go on.
    pub takes_forged_codes: bool,
}

/// A running server. Dropping it kills it.
pub struct Server {
    child: Child,
    pub http: SocketAddr,
    pub data: PathBuf,
    folder: Option<TempDir>,
}

/// The first address that a program prints, which it does once it listens.
pub fn spoken_address(child: &mut Child) -> Result<SocketAddr> {
    let mut lines = BufReader::new(child.stdout.take().context("its output")?).lines();
    for line in lines.by_ref() {
        let line = line?;
        let Some((_, address)) = line.split_once("http://") else { continue };
        let address = address.split(['/', ' ']).next().unwrap_or_default();
        let address = address.parse().with_context(|| format!("an address: {line}"))?;
        // Keep reading, or it would one day wait for room in the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        return Ok(address);
    }
    bail!("it did not say where it listens")
}

impl Server {
    pub fn start(options: &Options<'_>) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("sokketsu-load-").tempdir().context("a temporary folder")?;
        let policy = folder.path().join("policy.load.toml");
        std::fs::write(&policy, POLICY)?;
        let data = options.data.map_or_else(|| folder.path().join("data"), Path::to_owned);
        std::fs::create_dir_all(&data).with_context(|| format!("make {}", data.display()))?;
        let log = folder.path().join("server.log");
        let mut command = Command::new(options.binary);
        command.args(["serve", "--sandbox", "--http", "127.0.0.1:0", "--data"]).arg(&data);
        if let Some(config) = options.config {
            command.arg("--config").arg(config);
        } else {
            command.env("SOKKETSU_POLICY__FILE", &policy);
        }
        if options.takes_forged_codes {
            command.env("SOKKETSU_BAD_CODES__PER_TERMINAL", "100000").env("SOKKETSU_BAD_CODES__PER_KEY", "100000");
        }
        let log_file = File::create(&log)?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log_file);
        let child = command.spawn().with_context(|| format!("start {}", options.binary.display()))?;
        let http = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut server = Self { child, http, data, folder: Some(folder) };
        server.http = spoken_address(&mut server.child).with_context(|| {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            format!("{} did not start: {}", options.binary.display(), text.trim())
        })?;
        Ok(server)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
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

    /// Leaves the folder with data and log in place, and says where.
    pub fn keep(mut self) -> Option<PathBuf> {
        self.folder.take().map(TempDir::keep)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Gone already, after a stop.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

//! A server of our own to measure: a sandbox on a free port of the loopback, with a data directory of its own.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustix::process::{Pid, Signal, kill_process};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::setup::pause;
use crate::tls::Identity;

/// The policy of a run, with the velocity rules off.
const POLICY: &str = include_str!("../../config/policy.load.toml");
/// The contract gives a stop 5 s.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// What to start.
#[derive(Default)]
pub struct Options<'a> {
    /// The server built beside this program if not given.
    pub binary: Option<&'a Path>,
    /// A folder of its own under the system's temporary one if not given.
    pub data: Option<&'a Path>,
    pub config: Option<&'a Path>,
    /// The policy that a plain sandbox has, not the one of a load; and the time at which it is born.
    pub plain_since: Option<&'a str>,
    /// Forged codes are part of the mix: the guard must let their source go on.
    pub takes_forged_codes: bool,
    /// By TLS, with a certificate made for it.
    pub tls: bool,
    /// The name of the register's key, whose requests must be signed then.
    pub signs: Option<&'a str>,
    /// With the secret in this file; one is made if not given.
    pub secret: Option<&'a Path>,
    pub register_key: &'a str,
    /// Every sync takes so much longer, µs.
    pub sync_delay_us: Option<u32>,
    /// It serves the network's link too.
    pub link: bool,
    /// Settings of its own, by their variables.
    pub settings: &'a [(&'a str, &'a str)],
    /// Its journal and its ledger are in this database of a PostgreSQL cluster, in which it makes the tables.
    pub cluster: Option<Database<'a>>,
}

/// A database, by the addresses of two roles (`docs/cluster.md`).
pub struct Database<'a> {
    pub of_owner: &'a str,
    pub of_node: &'a str,
}

/// By their variables.
fn journal_at(url: &str) -> [(&'static str, &str); 2] {
    [("SOKKETSU_JOURNAL__URL", url), ("SOKKETSU_JOURNAL__NODE", "load")]
}

/// Makes the tables, and the policy of the run the cluster's.
fn make_tables(options: &Options<'_>, of_owner: &str, policy: &Path, data: &Path) -> Result<()> {
    let mut command = program(options)?;
    command.args(["cluster", "init", "--sandbox", "--data"]).arg(data).envs(journal_at(of_owner));
    match options.config {
        Some(config) => command.arg("--config").arg(config),
        None => command.env("SOKKETSU_POLICY__FILE", policy),
    };
    let ran = command.stdin(Stdio::null()).output().context("cluster init")?;
    ensure!(ran.status.success(), "cluster init ended with {}: {}", ran.status, String::from_utf8_lossy(&ran.stderr));
    Ok(())
}

/// The server, on a disk that is slower if it is to be: `strace` holds each `fdatasync` up, and nothing else. It leaves
/// the process that was started to the server.
fn program(options: &Options<'_>) -> Result<Command> {
    let beside = std::env::current_exe()?.with_file_name("sokketsu");
    let binary = options.binary.unwrap_or(&beside);
    let none =
        "no sokketsu was built beside this program: give --serve BINARY, or --url URL where the command takes it";
    ensure!(options.binary.is_some() || beside.is_file(), none);
    // It may be started in a folder of its own.
    let binary = std::path::absolute(binary)?;
    let Some(delay) = options.sync_delay_us else { return Ok(Command::new(binary)) };
    let mut command = Command::new("strace");
    command.args(["-D", "-f", "-qq", "--seccomp-bpf", "-o", "/dev/null", "-e", "trace=fdatasync", "-e"]);
    command.arg(format!("inject=fdatasync:delay_exit={delay}")).arg(binary);
    Ok(command)
}

/// A running server. Dropping it kills it.
pub struct Server {
    child: Child,
    pub http: SocketAddr,
    pub link: Option<SocketAddr>,
    pub data: PathBuf,
    pub identity: Option<Identity>,
    /// The file with the secret for signed requests.
    pub secret: Option<PathBuf>,
    folder: Option<TempDir>,
}

/// The first address that a program prints, which it does once it listens.
pub fn spoken_address(child: &mut Child) -> Result<SocketAddr> {
    let [address] = spoken_addresses(child)?;
    Ok(address)
}

/// The first addresses that a program prints.
fn spoken_addresses<const N: usize>(child: &mut Child) -> Result<[SocketAddr; N]> {
    let mut lines = BufReader::new(child.stdout.take().context("its output")?).lines();
    let mut found = Vec::new();
    for line in lines.by_ref() {
        let line = line?;
        let Some((_, address)) = line.split_once("://") else { continue };
        let address = address.split(['/', ' ']).next().unwrap_or_default();
        found.push(address.parse().with_context(|| format!("an address: {line}"))?);
        if found.len() == N {
            break;
        }
    }
    // Keep reading, or it would one day wait for room in the pipe.
    std::thread::spawn(move || lines.for_each(drop));
    found.try_into().map_err(|_| anyhow!("it did not say where it listens"))
}

/// The register's key under another name, with a secret: it takes the place of the published one. Gives the
/// secret's file.
fn demand_signatures(command: &mut Command, options: &Options<'_>, name: &str, folder: &Path) -> Result<PathBuf> {
    let file = match options.secret {
        // The server would look for it beside its configuration.
        Some(file) => std::path::absolute(file)?,
        None => {
            let file = folder.join("register.secret");
            std::fs::write(&file, STANDARD.encode(rand::random::<[u8; 32]>()))?;
            file
        }
    };
    let hash: String = Sha256::digest(options.register_key).iter().map(|byte| format!("{byte:02x}")).collect();
    let key = |field: &str| format!("SOKKETSU_KEY__0__{field}");
    command.env(key("NAME"), name).env(key("ROLE"), "register").env(key("HASH"), hash);
    command.env(key("MERCHANTS"), "*").env(key("CHANNELS"), r#"["in_store", "online"]"#);
    command.env(key("MAY_REFUND"), "true").env(key("SIGNATURE_SECRET_FILE"), &file);
    // Enough for a minute of anything.
    command.env("SOKKETSU_SIGNATURES__NONCES", "16777216");
    Ok(file)
}

impl Server {
    pub fn start(options: &Options<'_>) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("sokketsu-load-").tempdir().context("a temporary folder")?;
        let policy = folder.path().join("policy.load.toml");
        std::fs::write(&policy, POLICY)?;
        let data = options.data.map_or_else(|| folder.path().join("data"), Path::to_owned);
        std::fs::create_dir_all(&data).with_context(|| format!("make {}", data.display()))?;
        let log = folder.path().join("server.log");
        let mut command = program(options)?;
        command.args(["serve", "--sandbox", "--http", "127.0.0.1:0", "--data"]).arg(&data);
        command.envs(options.settings.iter().copied());
        if let Some(cluster) = &options.cluster {
            make_tables(options, cluster.of_owner, &policy, &data)?;
            command.envs(journal_at(cluster.of_node));
        }
        if options.link {
            command.args(["--iso8583", "127.0.0.1:0"]);
        }
        if let Some(time) = options.plain_since {
            // Here no configuration lies around that it would read.
            command.args(["--sandbox-start", time]).current_dir(folder.path());
        } else if let Some(config) = options.config {
            command.arg("--config").arg(config);
        } else {
            command.env("SOKKETSU_POLICY__FILE", &policy);
        }
        if options.takes_forged_codes {
            command.env("SOKKETSU_BAD_CODES__PER_TERMINAL", "100000").env("SOKKETSU_BAD_CODES__PER_KEY", "100000");
        }
        let identity = if options.tls { Some(Identity::make(folder.path())?) } else { None };
        if let Some(identity) = &identity {
            command.env("SOKKETSU_SERVER__TLS__CERT_FILE", &identity.cert);
            command.env("SOKKETSU_SERVER__TLS__KEY_FILE", &identity.key);
        }
        let secret = match options.signs {
            Some(name) => Some(demand_signatures(&mut command, options, name, folder.path())?),
            None => None,
        };
        let log_file = File::create(&log)?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log_file);
        let child = command.spawn().with_context(|| format!("start {}", command.get_program().display()))?;
        let http = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut server = Self { child, http, link: None, data, identity, secret, folder: Some(folder) };
        let addresses = if options.link {
            spoken_addresses(&mut server.child).map(|[http, link]| (http, Some(link)))
        } else {
            spoken_address(&mut server.child).map(|http| (http, None))
        };
        (server.http, server.link) = addresses.with_context(|| {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            format!("the server did not start: {}", text.trim())
        })?;
        Ok(server)
    }

    pub fn url(&self) -> String {
        let scheme = if self.identity.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.http)
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

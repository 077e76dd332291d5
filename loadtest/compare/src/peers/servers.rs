//! PostgreSQL servers of the run: a primary, alone or with standbys of which any one confirms each commit.

use std::fs::{File, Permissions};
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use rustix::process::Signal;

use super::daemon::{Daemon, free_port, output};

/// Data of the run fits into memory, and no checkpoint falls into it: only what makes a decision durable.
const CONFIG: &str = "
shared_buffers = 1GB
max_wal_size = 8GB
wal_keep_size = 1GB
wal_receiver_status_interval = 1s
checkpoint_timeout = 1h
max_connections = 300
synchronous_commit = on
unix_socket_directories = ''
";
/// Files of the log that are there when a server starts, and bytes of one. A server that has run for a while reuses its files;
/// one that is new writes 16 MiB of zeros into each, three times as much with two standbys on one disk, while commits wait.
const LOG_FILES: u32 = 64;
const LOG_FILE_BYTES: usize = 16 << 20;
/// Who may run them, as they refuse root; and their administrator.
pub const USER: &str = "postgres";
const HOST: &str = "127.0.0.1";
const STREAMING: &str = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND sync_state = 'quorum'";

/// The first one is the primary.
pub struct Servers {
    programs: PathBuf,
    folder: PathBuf,
    /// Begin of the names of their folders.
    name: String,
    all: Vec<Server>,
}

struct Server {
    address: SocketAddr,
    _daemon: Daemon,
}

/// Where the server's programs are: in the newest of Debian's folders, which are not in the path.
fn programs() -> Result<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").context("PostgreSQL is not installed")?;
    let number = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions.filter_map(|entry| Some(entry.ok()?.path())).max_by_key(|path| number(path));
    let programs = newest.context("PostgreSQL is not installed")?.join("bin");
    anyhow::ensure!(programs.join("initdb").is_file(), "{}: no initdb; install postgresql", programs.display());
    Ok(programs)
}

impl Servers {
    /// In folders of their own below `folder`.
    pub fn start(folder: &Path, name: &str, standbys: usize) -> Result<Self> {
        let (folder, name) = (folder.to_owned(), name.to_owned());
        let mut servers = Self { programs: programs()?, folder, name, all: Vec::new() };
        let data = servers.make_data()?;
        let mut init = servers.program("initdb", &data)?;
        output(init.args(["-A", "trust", "-U", USER, "--no-sync", "-D"]).arg(&data))?;
        let config = data.join("postgresql.conf");
        let text = std::fs::read_to_string(&config)?;
        std::fs::write(&config, text + CONFIG)?;
        make_log_files(&data)?;
        servers.add(&data)?;
        let names: Vec<_> = (1..=standbys).map(|at| format!("s{at}")).collect();
        for standby in &names {
            servers.copy(standby)?;
        }
        if standbys > 0 {
            // Only now, or the copies would have waited for each other.
            let confirming = format!("ANY 1 ({})", names.join(", "));
            servers.sql(USER, &format!("ALTER SYSTEM SET synchronous_standby_names = '{confirming}'"))?;
            servers.sql(USER, "SELECT pg_reload_conf()")?;
            let wanted = standbys.to_string();
            let stream = || servers.sql(USER, STREAMING).is_ok_and(|count| count == wanted);
            super::daemon::wait_until(stream).context("the standbys")?;
        }
        Ok(servers)
    }

    /// The next one's folder, of the user who runs it.
    fn make_data(&self) -> Result<PathBuf> {
        let data = self.folder.join(format!("{}-{}", self.name, self.all.len()));
        std::fs::create_dir(&data)?;
        std::fs::set_permissions(&data, Permissions::from_mode(0o700))?;
        if std::fs::metadata(&data)?.uid() == 0 {
            output(Command::new("chown").arg(USER).arg(&data))?;
        }
        Ok(data)
    }

    /// A program as a user whom it accepts: the folder's.
    fn program(&self, name: &str, data: &Path) -> Result<Command> {
        let program = self.programs.join(name);
        let is_ours = std::fs::metadata(data)?.uid() == std::fs::metadata(&self.folder)?.uid();
        let mut command = if is_ours { Command::new(program) } else { as_user(&program) };
        command.current_dir(&self.folder);
        Ok(command)
    }

    /// Starts a server on this data.
    fn add(&mut self, data: &Path) -> Result<()> {
        let address = free_port()?;
        let port = address.port().to_string();
        let mut server = self.program("postgres", data)?;
        server.args(["-h", HOST, "-p", &port, "-D"]).arg(data).stdout(Stdio::null());
        // SIGINT is its fast shutdown.
        let mut daemon = Daemon::start(&mut server, &data.with_extension("log"), Signal::INT)?;
        // It listens a little before it takes sessions.
        let mut is_ready = Command::new(self.programs.join("pg_isready"));
        is_ready.args(["-q", "-h", HOST, "-p", &port]);
        daemon.wait_until(|| output(&mut is_ready).is_ok()).context("postgres")?;
        self.all.push(Server { address, _daemon: daemon });
        Ok(())
    }

    /// Starts a copy of the primary that follows it.
    fn copy(&mut self, standby: &str) -> Result<()> {
        let (data, port) = (self.make_data()?, self.primary()?.port());
        let from = format!("host={HOST} port={port} user={USER} application_name={standby}");
        let mut copy = self.program("pg_basebackup", &data)?;
        output(copy.args(["-R", "-c", "fast", "--no-sync", "-d", &from, "-D"]).arg(&data))?;
        make_log_files(&data)?;
        self.add(&data)
    }

    pub fn primary(&self) -> Result<SocketAddr> {
        self.all.first().map(|server| server.address).context("no server runs")
    }

    /// All of them, as a program that finds the primary by itself wants it.
    pub fn url(&self, role: &str, database: &str) -> String {
        let hosts: Vec<_> = self.all.iter().map(|server| server.address.to_string()).collect();
        format!("postgres://{role}@{}/{database}", hosts.join(","))
    }

    /// Asks the primary as its administrator; rows and cells as bare text.
    pub fn client(&self, database: &str) -> Result<Command> {
        let mut client = Command::new(self.programs.join("psql"));
        client.args(["-h", HOST, "-p", &self.primary()?.port().to_string(), "-U", USER, "-d", database]);
        client.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]);
        Ok(client)
    }

    pub fn sql(&self, database: &str, sql: &str) -> Result<String> {
        output(self.client(database)?.args(["-c", sql]))
    }
}

/// Those of the first timeline that are not there yet, on the disk when this returns.
fn make_log_files(data: &Path) -> Result<()> {
    let folder = data.join("pg_wal");
    let owner = std::fs::metadata(&folder)?;
    let zeros = vec![0; LOG_FILE_BYTES];
    for number in 1..=LOG_FILES {
        let path = folder.join(format!("0000000100000000{number:08X}"));
        let Ok(mut file) = File::create_new(&path) else { continue };
        file.write_all(&zeros)?;
        file.sync_all()?;
        file.set_permissions(Permissions::from_mode(0o600))?;
        std::os::unix::fs::chown(&path, Some(owner.uid()), Some(owner.gid()))?;
    }
    Ok(())
}

fn as_user(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args([&format!("--reuid={USER}"), &format!("--regid={USER}"), "--clear-groups"]).arg(program);
    command
}

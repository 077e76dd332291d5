//! A PostgreSQL server of a test's own: Debian's, in a folder and on a port that nobody else has. It stops with the test, also
//! with one that panics, and with the process.

#![allow(dead_code, reason = "each test binary uses its part of it")]

pub mod cluster;
pub mod patroni;

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, Once};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// A password with what an address has to write otherwise.
pub const PASSWORD: &str = "p@ss/word:1";
const PASSWORD_IN_URL: &str = "p%40ss%2Fword%3A1";
/// The role of the service.
pub const SERVICE: &str = "svc_books";

pub struct PgServer {
    child: Mutex<Option<Child>>,
    port: u16,
    folder: TempDir,
    bin: PathBuf,
    databases: Mutex<u32>,
    /// Of ledgers: it is made when the first one is wanted.
    template: Once,
}

/// Where Debian puts the server's programs.
fn bin() -> PathBuf {
    let found = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().filter_map(Result::ok);
    let mut versions: Vec<PathBuf> = found.map(|entry| entry.path().join("bin")).collect();
    versions.retain(|bin| bin.join("initdb").exists());
    versions.sort();
    versions.pop().expect("this test needs a PostgreSQL server: apt-get install postgresql-15")
}

/// The server does not run as root.
pub fn as_user(program: &Path) -> Command {
    as_user_until("QUIT", program)
}

/// With another signal for its end.
fn as_user_until(end: &str, program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    if rustix::process::geteuid().is_root() {
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
    }
    // Whatever ends the process of the tests ends the server, too.
    command.args([&format!("--pdeathsig={end}"), "--"]).arg(program).env("LC_ALL", "C.UTF-8").current_dir("/");
    command
}

/// The folder becomes that of the server's user.
pub fn make_ours(folder: &Path) {
    if rustix::process::geteuid().is_root() {
        let id = |flag: &str| -> u32 {
            let out = Command::new("id").args([flag, "postgres"]).output().unwrap();
            String::from_utf8(out.stdout).unwrap().trim().parse().unwrap()
        };
        chown(folder, Some(id("-u")), Some(id("-g"))).unwrap();
    }
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The death of the thread that starts a server is what ends the server: one that lives as long as the process.
fn spawn(mut command: Command) -> Child {
    let (sender, started) = std::sync::mpsc::channel();
    thread::spawn(move || {
        sender.send(command.spawn().unwrap()).unwrap();
        // With its log, which may be on a disk that is to go.
        drop(command);
        loop {
            thread::park();
        }
    });
    started.recv().unwrap()
}

impl PgServer {
    /// The one that the tests of this process share, started by the first and stopped by the last of those that run.
    pub fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<PgServer>> = parking_lot::const_mutex(Weak::new());
        let mut shared = SHARED.lock();
        if let Some(running) = shared.upgrade() {
            return running;
        }
        let new = Arc::new(Self::start(&[]));
        *shared = Arc::downgrade(&new);
        new
    }

    /// With settings such as `ssl=on`.
    pub fn start(settings: &[&str]) -> Self {
        let bin = bin();
        let folder = tempfile::tempdir().unwrap();
        make_ours(folder.path());
        let data = folder.path().join("data");
        let made = as_user(&bin.join("initdb"))
            .args(["-U", "admin", "--auth-local=trust", "--auth-host=scram-sha-256", "--no-sync", "-E", "UTF8", "-D"])
            .arg(&data)
            .output()
            .unwrap();
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let port = free_port();
        let text = format!(
            "port={port}\nlisten_addresses='127.0.0.1'\nunix_socket_directories='{}'\nshared_buffers=64MB\n\
             max_connections=60\n{}\n",
            folder.path().display(),
            settings.join("\n")
        );
        let file = data.join("postgresql.auto.conf");
        let before = fs::read_to_string(&file).unwrap();
        fs::write(&file, before + &text).unwrap();
        let server =
            Self { child: Mutex::new(None), port, folder, bin, databases: Mutex::new(0), template: Once::new() };
        server.resume();
        server.sql("postgres", &format!("CREATE ROLE sokketsu_owner LOGIN PASSWORD '{PASSWORD}'"));
        server.sql("postgres", &format!("CREATE ROLE {SERVICE} LOGIN PASSWORD '{PASSWORD}'"));
        server.sql("postgres", "CREATE ROLE sokketsu_ledger NOLOGIN; CREATE ROLE sokketsu_analyst NOLOGIN");
        server.sql("postgres", &format!("GRANT sokketsu_ledger TO {SERVICE}"));
        server
    }

    /// Starts the server again; waits until it takes connections.
    pub fn resume(&self) {
        let mut command = as_user(&self.bin.join("postgres"));
        let log = fs::File::create(self.folder.path().join("log")).unwrap();
        command.arg("-D").arg(self.data()).stdout(Stdio::null()).stderr(log);
        *self.child.lock() = Some(spawn(command));
        let until = Instant::now() + Duration::from_secs(60);
        while !self.psql("postgres", "SELECT 1").0 {
            assert!(Instant::now() < until, "the server does not start: {}", self.log());
            thread::park_timeout(Duration::from_millis(20));
        }
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Stops it as a crash does, or in order.
    pub fn stop(&self, at_once: bool) {
        if let Some(mut child) = self.child.lock().take() {
            let pid = Pid::from_child(&child);
            // It may have ended by itself.
            kill_process(pid, if at_once { Signal::QUIT } else { Signal::INT }).ok();
            child.wait().unwrap();
        }
    }

    /// Serves TLS from now on.
    pub fn serve_tls(&self, certificate: &str, key: &str) {
        let like = fs::metadata(self.data()).unwrap();
        for (name, text) in [("server.crt", certificate), ("server.key", key)] {
            let file = self.data().join(name);
            fs::write(&file, text).unwrap();
            chown(&file, Some(like.uid()), Some(like.gid())).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        }
        self.sql("postgres", "ALTER SYSTEM SET ssl = on");
        self.sql("postgres", "SELECT pg_reload_conf()");
        let until = Instant::now() + Duration::from_secs(20);
        while self.sql("postgres", "SHOW ssl") != "on" {
            assert!(Instant::now() < until, "{}", self.log());
            thread::park_timeout(Duration::from_millis(10));
        }
    }

    fn psql(&self, database: &str, sql: &str) -> (bool, String) {
        let ran = Command::new(self.bin.join("psql"))
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "admin", "-d", database, "-c", sql])
            .args(["-h", &self.folder.path().display().to_string(), "-p", &self.port.to_string()])
            .output()
            .unwrap();
        let text = if ran.status.success() { ran.stdout } else { ran.stderr };
        (ran.status.success(), String::from_utf8_lossy(&text).trim().to_owned())
    }

    /// Asks as the administrator; cells between `|`.
    pub fn sql(&self, database: &str, sql: &str) -> String {
        let (done, text) = self.psql(database, sql);
        assert!(done, "{sql}: {text}");
        text
    }

    /// The same with the names of the columns, ` | ` between cells.
    pub fn table(&self, database: &str, sql: &str) -> String {
        let ran = Command::new(self.bin.join("psql"))
            .args(["-X", "-q", "-A", "-F", " | ", "-P", "footer=off", "-v", "ON_ERROR_STOP=1", "-U", "admin"])
            .args(["-d", database, "-c", sql, "-p", &self.port.to_string(), "-h"])
            .arg(self.folder.path())
            .output()
            .unwrap();
        assert!(ran.status.success(), "{sql}: {}", String::from_utf8_lossy(&ran.stderr));
        let text = String::from_utf8(ran.stdout).unwrap();
        text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
    }

    /// As a role with a password.
    pub fn url(&self, role: &str, database: &str) -> String {
        format!("postgres://{role}:{PASSWORD_IN_URL}@127.0.0.1:{}/{database}", self.port)
    }

    /// By the socket, where nobody is asked for a password.
    pub fn socket_url(&self, role: &str, database: &str) -> String {
        let folder = self.folder.path().display().to_string().replace('/', "%2F");
        format!("postgres://{role}@{folder}:{}/{database}", self.port)
    }

    pub const fn port(&self) -> u16 {
        self.port
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A database for a ledger, its tables not made yet.
    pub fn empty_database(&self) -> String {
        self.make_database("template0")
    }

    /// A database with a ledger that has posted nothing; `migrate` makes the tables of the first.
    pub fn ledger(&self, migrate: impl FnOnce(&str)) -> String {
        self.template.call_once(|| {
            self.sql("postgres", "CREATE DATABASE made OWNER sokketsu_owner TEMPLATE template0");
            migrate(&self.socket_url("sokketsu_owner", "made"));
        });
        self.make_database("made")
    }

    fn make_database(&self, template: &str) -> String {
        let mut databases = self.databases.lock();
        *databases += 1;
        let name = format!("ledger_{}", *databases);
        self.sql("postgres", &format!("CREATE DATABASE {name} OWNER sokketsu_owner TEMPLATE {template}"));
        name
    }

    pub fn drop_database(&self, name: &str) {
        self.psql("postgres", &format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"));
    }
}

impl Drop for PgServer {
    fn drop(&mut self) {
        self.stop(true);
    }
}

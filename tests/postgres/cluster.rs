//! A primary and two standbys of a test's own, of which any one confirms a commit (`ANY 1`). They freeze, crash, are promoted, and
//! stop with the test, also with one that panics.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Output, Stdio};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::{PASSWORD, PASSWORD_IN_URL, as_user, bin, free_port, make_ours, spawn};

/// The role of a node, and that of the owner of the tables.
pub const NODE: &str = "svc_node";
pub const OWNER: &str = "sokketsu_owner";
/// That of who applies settings.
pub const OPERATOR: &str = "svc_operator";

/// Any one of them confirms; a primary does not count itself.
pub const STANDBYS: &str = "ANY 1 (s0, s1, s2)";

pub struct PgCluster {
    /// Removed with it, unless it is somebody else's.
    _own: Option<TempDir>,
    folder: PathBuf,
    servers: Vec<Member>,
    databases: Mutex<u32>,
}

struct Member {
    port: u16,
    child: Mutex<Option<Child>>,
}

impl PgCluster {
    /// The one that the tests of this process share, one after the other: who has it may strike it, and leaves it whole.
    pub fn shared() -> (Arc<Self>, MutexGuard<'static, ()>) {
        static TURN: Mutex<()> = parking_lot::const_mutex(());
        static SHARED: Mutex<Weak<PgCluster>> = parking_lot::const_mutex(Weak::new());
        let cluster = {
            let mut shared = SHARED.lock();
            let cluster = shared.upgrade().unwrap_or_else(|| Arc::new(Self::start()));
            *shared = Arc::downgrade(&cluster);
            cluster
        };
        // Whoever waits keeps it running.
        (cluster, TURN.lock())
    }

    pub fn start() -> Self {
        Self::start_with("")
    }

    /// With lines of settings that stand above the usual ones.
    pub fn start_with(settings: &str) -> Self {
        let own = tempfile::tempdir().unwrap();
        let folder = own.path().to_owned();
        Self::start_in(folder, Some(own), settings)
    }

    /// In a folder that is there and empty.
    pub fn start_in(folder: PathBuf, own: Option<TempDir>, settings: &str) -> Self {
        make_ours(&folder);
        let member = |_| Member { port: free_port(), child: Mutex::new(None) };
        let cluster = Self { _own: own, folder, servers: (0..3).map(member).collect(), databases: Mutex::new(0) };
        let made = as_user(&bin().join("initdb"))
            .args(["-U", "admin", "--auth-local=trust", "--auth-host=scram-sha-256", "--no-sync", "-E", "UTF8", "-D"])
            .arg(cluster.data(0))
            .output();
        Self::done("initdb", &made.unwrap());
        let hba = cluster.data(0).join("pg_hba.conf");
        let before = fs::read_to_string(&hba).unwrap();
        fs::write(&hba, format!("host replication admin 127.0.0.1/32 trust\n{before}")).unwrap();
        cluster.configure(0, settings);
        cluster.resume(0);
        cluster.sql("postgres", &format!("CREATE ROLE {OWNER} LOGIN PASSWORD '{PASSWORD}'"));
        cluster.sql(
            "postgres",
            &format!("CREATE ROLE {NODE} LOGIN PASSWORD '{PASSWORD}'; CREATE ROLE sokketsu_node NOLOGIN"),
        );
        cluster.sql(
            "postgres",
            &format!(
                "CREATE ROLE sokketsu_operator NOLOGIN; CREATE ROLE {OPERATOR} LOGIN PASSWORD '{PASSWORD}' IN ROLE sokketsu_operator;
                 GRANT pg_read_all_stats TO {OPERATOR}"
            ),
        );
        cluster.sql("postgres", "CREATE ROLE sokketsu_ledger NOLOGIN; CREATE ROLE sokketsu_analyst NOLOGIN");
        cluster.sql("postgres", &format!("GRANT sokketsu_node, sokketsu_ledger, pg_read_all_stats TO {NODE}"));
        for at in [1, 2] {
            let port = cluster.servers[0].port.to_string();
            let copied = as_user(&bin().join("pg_basebackup"))
                .args(["-h", "127.0.0.1", "-U", "admin", "-p", &port, "--no-sync", "-c", "fast", "-R", "-D"])
                .arg(cluster.data(at))
                .output();
            Self::done("pg_basebackup", &copied.unwrap());
            let way = cluster.way_to(0, at);
            let follow = format!("primary_conninfo='{way}'\nsynchronous_standby_names='{STANDBYS}'\n{settings}");
            cluster.configure(at, &follow);
            cluster.resume(at);
        }
        // Only now, or nothing before would have been confirmed.
        cluster.name_standbys(STANDBYS);
        cluster.wait_for_standbys(0, 2);
        cluster
    }

    /// Of which the first primary waits for one, or for none.
    pub fn name_standbys(&self, names: &str) {
        self.sql("postgres", &format!("ALTER SYSTEM SET synchronous_standby_names = '{names}'"));
        self.sql("postgres", "SELECT pg_reload_conf()");
        self.wait_until("it knows", || self.sql("postgres", "SHOW synchronous_standby_names") == names);
    }

    pub fn port(&self, at: usize) -> u16 {
        self.servers[at].port
    }

    fn done(what: &str, output: &Output) {
        assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn data(&self, at: usize) -> std::path::PathBuf {
        self.folder.join(format!("s{at}"))
    }

    fn way_to(&self, primary: usize, standby: usize) -> String {
        let port = self.servers[primary].port;
        format!("host=127.0.0.1 port={port} user=admin application_name=s{standby}")
    }

    fn configure(&self, at: usize, more: &str) {
        let file = self.data(at).join("postgresql.auto.conf");
        let text = format!(
            "port={}\nlisten_addresses='127.0.0.1'\nunix_socket_directories='{}'\nshared_buffers=32MB\nmax_connections=80\n\
             wal_keep_size=256MB\nwal_receiver_status_interval=1s\nwal_retrieve_retry_interval=200ms\n{more}",
            self.servers[at].port,
            self.folder.display(),
        );
        let before = fs::read_to_string(&file).unwrap_or_default();
        fs::write(&file, before + &text).unwrap();
    }

    /// Starts a server; waits until it takes connections.
    pub fn resume(&self, at: usize) {
        let mut command = as_user(&bin().join("postgres"));
        let log = fs::File::create(self.folder.join(format!("s{at}.log"))).unwrap();
        command.arg("-D").arg(self.data(at)).stdout(Stdio::null()).stderr(log);
        *self.servers[at].child.lock() = Some(spawn(command));
        self.wait_until("the server starts", || self.psql(at, "postgres", "SELECT 1").0);
    }

    pub fn wait_until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let until = Instant::now() + Duration::from_secs(60);
        while !holds() {
            assert!(Instant::now() < until, "{what}: it does not");
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    pub fn wait_for_standbys(&self, primary: usize, count: usize) {
        let sql = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND sync_state = 'quorum'";
        self.wait_until("standbys stream", || self.psql(primary, "postgres", sql).1 == count.to_string());
    }

    fn psql(&self, at: usize, database: &str, sql: &str) -> (bool, String) {
        let ran = std::process::Command::new("timeout")
            .arg("30")
            .arg(bin().join("psql"))
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "admin", "-d", database, "-c", sql])
            .args(["-h", &self.folder.display().to_string(), "-p", &self.servers[at].port.to_string()])
            .env("PGOPTIONS", "-c synchronous_commit=local")
            .output()
            .unwrap();
        let text = if ran.status.success() { ran.stdout } else { ran.stderr };
        (ran.status.success(), String::from_utf8_lossy(&text).trim().to_owned())
    }

    /// Asks one server as the administrator, who waits for no standby; cells between `|`.
    pub fn sql_at(&self, at: usize, database: &str, sql: &str) -> String {
        let (done, text) = self.psql(at, database, sql);
        assert!(done, "{sql}: {text}");
        text
    }

    /// The first primary.
    pub fn sql(&self, database: &str, sql: &str) -> String {
        self.sql_at(0, database, sql)
    }

    /// A copy of a database as it is now, whoever is connected to it.
    pub fn copied(&self, database: &str) -> String {
        let (copy, dump) = (format!("{database}_copy"), self.folder.join("dump.sql"));
        let to = ["-h", &self.folder.display().to_string(), "-p", &self.servers[0].port.to_string(), "-U", "admin"];
        let dumped =
            std::process::Command::new(bin().join("pg_dump")).args(to).args(["-d", database]).output().unwrap();
        Self::done("pg_dump", &dumped);
        std::fs::write(&dump, &dumped.stdout).unwrap();
        self.sql("postgres", &format!("CREATE DATABASE {copy} TEMPLATE template0 OWNER sokketsu_owner"));
        let mut restore = std::process::Command::new(bin().join("psql"));
        restore.args(to).args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", &copy, "-f"]).arg(&dump);
        Self::done("psql", &restore.output().unwrap());
        copy
    }

    /// All three servers, by passwords.
    pub fn url(&self, role: &str, database: &str) -> String {
        let hosts: Vec<_> = self.servers.iter().map(|server| format!("127.0.0.1:{}", server.port)).collect();
        format!("postgres://{role}:{PASSWORD_IN_URL}@{}/{database}", hosts.join(","))
    }

    /// A new one, of the owner of the tables.
    pub fn database(&self) -> String {
        let mut databases = self.databases.lock();
        *databases += 1;
        let name = format!("cluster_{}", *databases);
        self.sql("postgres", &format!("CREATE DATABASE {name} OWNER {OWNER} TEMPLATE template0"));
        name
    }

    /// The server and all of its processes.
    fn processes(&self, at: usize) -> Vec<Pid> {
        let child = self.servers[at].child.lock();
        let Some(parent) = child.as_ref().map(Pid::from_child) else { return Vec::new() };
        let is_its = |pid: &i32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
            after.split_whitespace().nth(1).and_then(|pid| pid.parse().ok()) == Some(parent.as_raw_nonzero().get())
        };
        let all = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        std::iter::once(parent).chain(all.filter(is_its).filter_map(Pid::from_raw)).collect()
    }

    fn signal(&self, at: usize, signal: Signal) {
        for pid in self.processes(at) {
            // It may have ended by itself.
            kill_process(pid, signal).ok();
        }
    }

    pub fn freeze(&self, at: usize) {
        self.signal(at, Signal::STOP);
    }

    pub fn thaw(&self, at: usize) {
        self.signal(at, Signal::CONT);
    }

    /// As a power cut of the server's processes; none of them is left.
    pub fn kill(&self, at: usize) {
        let all = self.processes(at);
        self.signal(at, Signal::KILL);
        if let Some(mut child) = self.servers[at].child.lock().take() {
            child.wait().unwrap();
        }
        let runs = |pid: &Pid| {
            let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
            stat.rsplit_once(')').is_some_and(|(_, after)| !after.starts_with(" Z"))
        };
        self.wait_until("its processes end", || !all.iter().any(runs));
    }

    /// Makes the standby with most of the log the primary, and lets the other one follow it.
    pub fn fail_over(&self) {
        let received = |at: &usize| -> u64 {
            self.sql_at(*at, "postgres", "SELECT pg_last_wal_receive_lsn() - '0/0'").parse().unwrap()
        };
        let at = [1, 2].into_iter().max_by_key(received).unwrap();
        let follower = 3 - at;
        self.sql_at(at, "postgres", "SELECT pg_promote()");
        let way = self.way_to(at, follower);
        self.sql_at(follower, "postgres", &format!("ALTER SYSTEM SET primary_conninfo = '{way}'"));
        self.sql_at(follower, "postgres", "SELECT pg_reload_conf()");
    }
}

impl Drop for PgCluster {
    fn drop(&mut self) {
        (0..self.servers.len()).for_each(|at| self.kill(at));
    }
}

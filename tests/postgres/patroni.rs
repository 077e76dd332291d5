//! Three servers of a test's own that Debian's Patroni manages, by the file that operators have (`deploy/cluster/patroni.yml`),
//! with an etcd for its lock. They are killed, come back and change places, and stop with the test, also with one that panics.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::{PASSWORD, PASSWORD_IN_URL, as_user, as_user_until, bin, free_port, make_ours, spawn};

/// As on the page for operators.
const PATRONI_YML: &str = include_str!("../../deploy/cluster/patroni.yml");
/// The role of a node, and that of the owner of the tables.
pub const NODE: &str = "svc_sokketsu";
pub const OWNER: &str = "sokketsu_owner";

pub struct PatroniCluster {
    folder: TempDir,
    etcd: Mutex<Option<Child>>,
    servers: Vec<Member>,
}

struct Member {
    port: u16,
    patroni: Mutex<Option<Child>>,
}

impl PatroniCluster {
    /// All three run, and one of the standbys confirms; the roles and the database `sokketsu` of the page are there.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        make_ours(folder.path());
        let member = |_| Member { port: free_port(), patroni: Mutex::new(None) };
        let cluster = Self { folder, etcd: Mutex::new(None), servers: (0..3).map(member).collect() };
        let etcd = cluster.start_etcd();
        for at in 0..3 {
            fs::create_dir(cluster.place(at)).unwrap();
            make_ours(&cluster.place(at));
            fs::write(cluster.settings(at), cluster.written_for(at, etcd)).unwrap();
        }
        // The first one makes the cluster.
        cluster.resume(0);
        cluster.wait("the first server is no primary", || cluster.primary(None) == Some(0));
        [1, 2].into_iter().for_each(|at| cluster.resume(at));
        [1, 2].into_iter().for_each(|at| cluster.wait("a standby does not stream", || cluster.follows(at)));
        for sql in [
            "CREATE ROLE sokketsu_node NOLOGIN; CREATE ROLE sokketsu_ledger NOLOGIN",
            "CREATE ROLE sokketsu_operator NOLOGIN; CREATE ROLE sokketsu_analyst NOLOGIN",
            &format!("CREATE ROLE {OWNER} LOGIN PASSWORD '{PASSWORD}'"),
            &format!(
                "CREATE ROLE {NODE} LOGIN PASSWORD '{PASSWORD}' IN ROLE sokketsu_node, sokketsu_ledger, pg_read_all_stats"
            ),
            &format!("CREATE DATABASE sokketsu OWNER {OWNER}"),
            "CREATE TABLE probe (at timestamptz)",
        ] {
            cluster.psql(0, sql).unwrap_or_else(|why| panic!("{sql}: {why}"));
        }
        cluster
    }

    fn start_etcd(&self) -> u16 {
        let (client, peer) = (free_port(), free_port());
        let place = self.folder.path().join("etcd");
        fs::create_dir(&place).unwrap();
        make_ours(&place);
        let (client_url, peer_url) = (format!("http://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
        let mut command = as_user(&program("etcd", "etcd-server"));
        command.current_dir(&place).args(["--data-dir", "data", "--initial-cluster", &format!("default={peer_url}")]);
        command.arg("--enable-v2").args(["--listen-client-urls", &client_url, "--advertise-client-urls", &client_url]);
        command.args(["--listen-peer-urls", &peer_url, "--initial-advertise-peer-urls", &peer_url]);
        command.stdout(Stdio::null()).stderr(fs::File::create(self.folder.path().join("etcd.log")).unwrap());
        *self.etcd.lock() = Some(spawn(command));
        client
    }

    /// The operators' file with ports, folders and passwords of this test, and without a password for the administrator.
    fn written_for(&self, at: usize, etcd: u16) -> String {
        let folder = self.folder.path().display().to_string();
        let (bin, rest) = (bin().display().to_string(), free_port());
        let mut text = PATRONI_YML.to_owned();
        for (from, to) in [
            ("127.0.0.1:2379", format!("127.0.0.1:{etcd}")),
            ("127.0.0.1:5440", format!("127.0.0.1:{}", self.servers[at].port)),
            ("127.0.0.1:8010", format!("127.0.0.1:{rest}")),
            ("name: s0", format!("name: s{at}")),
            ("/var/lib/postgresql/15/s0.pgpass", format!("{folder}/s{at}/pgpass")),
            ("/var/lib/postgresql/15/s0", format!("{folder}/s{at}/data")),
            ("/var/run/postgresql", folder.clone()),
            ("/usr/lib/postgresql/15/bin", bin),
            (" peer\n", " trust\n".to_owned()),
            ("mode: automatic", "mode: 'off'".to_owned()),
        ] {
            assert!(text.contains(from), "the file has no {from}");
            text = text.replace(from, &to);
        }
        text
    }

    /// All that runs for a server runs in this folder, and nothing else does.
    fn place(&self, at: usize) -> PathBuf {
        self.folder.path().join(format!("s{at}"))
    }

    fn settings(&self, at: usize) -> PathBuf {
        self.folder.path().join(format!("s{at}.yml"))
    }

    /// Starts a Patroni, which starts its server.
    pub fn resume(&self, at: usize) {
        // Where the process of the tests is killed it stops its server before it ends.
        let mut command = as_user_until("TERM", &program("patroni", "patroni"));
        let log = self.folder.path().join(format!("s{at}.log"));
        let log = fs::File::options().create(true).append(true).open(log).unwrap();
        command.arg(self.settings(at)).current_dir(self.place(at)).stdout(log.try_clone().unwrap()).stderr(log);
        *self.servers[at].patroni.lock() = Some(spawn(command));
    }

    pub fn log(&self, at: usize) -> String {
        fs::read_to_string(self.folder.path().join(format!("s{at}.log"))).unwrap_or_default()
    }

    /// As a power cut of a machine: its Patroni and all processes of its server.
    pub fn kill(&self, at: usize) {
        kill_all_in(&self.place(at));
        if let Some(mut patroni) = self.servers[at].patroni.lock().take() {
            patroni.wait().unwrap();
        }
    }

    /// Its Patroni alone: the server goes on without.
    pub fn kill_patroni(&self, at: usize) {
        let mut patroni = self.servers[at].patroni.lock().take().expect("it runs");
        patroni.kill().unwrap();
        patroni.wait().unwrap();
    }

    /// A server with its Patroni, as a machine that is paused.
    pub fn freeze(&self, at: usize) {
        signal_all_in(&self.place(at), Signal::STOP);
    }

    pub fn thaw(&self, at: usize) {
        signal_all_in(&self.place(at), Signal::CONT);
    }

    /// Nobody has Patroni's lock, nor can take it.
    pub fn freeze_etcd(&self) {
        signal_all_in(&self.folder.path().join("etcd"), Signal::STOP);
    }

    pub fn thaw_etcd(&self) {
        signal_all_in(&self.folder.path().join("etcd"), Signal::CONT);
    }

    /// Asks Patroni to make another server the primary.
    pub fn switch_over(&self) {
        let said = self.patronictl(&["switchover", "--force"]);
        assert!(said.contains("Successfully switched over"), "{said}");
    }

    /// Whether Patroni has noted a standby that may take over: one that confirms.
    pub fn has_successor(&self) -> bool {
        self.patronictl(&["list"]).contains("Sync Standby")
    }

    fn patronictl(&self, words: &[&str]) -> String {
        // Without etcd it waits for ever.
        let mut command = Command::new("timeout");
        command.arg("60").arg(program("patronictl", "patroni"));
        command.args(["-c", self.settings(0).to_str().unwrap()]).args(words).env("LC_ALL", "C.UTF-8");
        let ran = command.output().unwrap();
        String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned()
    }

    pub fn wait(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let until = Instant::now() + Duration::from_secs(120);
        while !holds() {
            if Instant::now() >= until {
                let end = |at| self.log(at).lines().rev().take(12).collect::<Vec<_>>().join("\n");
                panic!("{what}; the servers' last words, backwards:\n{}\n\n{}\n\n{}", end(0), end(1), end(2));
            }
            thread::park_timeout(Duration::from_millis(50));
        }
    }

    /// A server that takes writes, other than one that may still believe that it does.
    pub fn primary(&self, but: Option<usize>) -> Option<usize> {
        let takes_writes = |at: &usize| self.psql(*at, "SELECT pg_is_in_recovery()").is_ok_and(|said| said == "f");
        (0..3).filter(|at| Some(*at) != but).find(takes_writes)
    }

    /// Whether a server gets the log from another one.
    pub fn follows(&self, standby: usize) -> bool {
        let sql = format!(
            "SELECT count(*) FROM pg_stat_replication WHERE application_name = 's{standby}' AND state = 'streaming'"
        );
        (0..3).any(|at| at != standby && self.psql(at, &sql).is_ok_and(|said| said == "1"))
    }

    /// The standby that confirms what a primary commits.
    pub fn confirms(&self, primary: usize) -> Option<usize> {
        let sql = "SELECT application_name FROM pg_stat_replication WHERE sync_state = 'sync' AND state = 'streaming'";
        self.psql(primary, sql).ok()?.strip_prefix('s')?.parse().ok()
    }

    /// Commits a row at a server, if it takes writes; whether that was confirmed.
    pub fn commits(&self, at: usize) -> bool {
        self.psql(at, "INSERT INTO probe VALUES (clock_timestamp())").is_ok()
    }

    /// Asks a server as the administrator. One that is frozen, or has nobody who confirms, is given up.
    fn psql(&self, at: usize, sql: &str) -> Result<String, String> {
        let (folder, port) = (self.folder.path().display(), self.servers[at].port);
        let Output { status, stdout, stderr } = Command::new("timeout")
            .arg("20")
            .arg(bin().join("psql"))
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql])
            .arg(format!("host={folder} port={port} user=postgres dbname=postgres connect_timeout=2"))
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if status.success() { Ok(text(&stdout)) } else { Err(text(&stderr)) }
    }

    /// All three servers, by passwords.
    pub fn url(&self, role: &str) -> String {
        let hosts: Vec<_> = self.servers.iter().map(|server| format!("127.0.0.1:{}", server.port)).collect();
        format!("postgres://{role}:{PASSWORD_IN_URL}@{}/sokketsu", hosts.join(","))
    }
}

/// Of a package of Debian's.
fn program(name: &str, package: &str) -> PathBuf {
    let path = Path::new("/usr/bin").join(name);
    assert!(path.exists(), "this test needs {name}: apt-get install {package}");
    path
}

/// All processes that run in a folder. A server is no child of its Patroni, but works in its data folder, as do its processes.
fn all_in(folder: &Path) -> Vec<Pid> {
    let runs_there = |pid: &i32| fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|at| at.starts_with(folder));
    let all = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    all.filter(runs_there).filter_map(Pid::from_raw).collect()
}

fn signal_all_in(folder: &Path, signal: Signal) {
    for pid in all_in(folder) {
        // It may have ended by itself.
        kill_process(pid, signal).ok();
    }
}

/// Those too that they start meanwhile.
fn kill_all_in(folder: &Path) {
    let until = Instant::now() + Duration::from_secs(20);
    while !all_in(folder).is_empty() {
        assert!(Instant::now() < until, "what runs in {} does not end", folder.display());
        signal_all_in(folder, Signal::KILL);
        thread::park_timeout(Duration::from_millis(1));
    }
}

impl Drop for PatroniCluster {
    fn drop(&mut self) {
        kill_all_in(self.folder.path());
        let patronis = self.servers.iter().map(|server| &server.patroni);
        for child in patronis.chain([&self.etcd]).filter_map(|child| child.lock().take()) {
            // It was killed.
            let mut child = child;
            child.wait().ok();
        }
    }
}

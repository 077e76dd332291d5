//! What is wrong with a cluster, a node or the way between them, and is told at the start with what to do.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::cluster::{approved, buy, is_ready, run, wait};
use super::postgresql::cluster::{NODE, OWNER, PgCluster, STANDBYS};
use super::postgresql::{PASSWORD, as_user, free_port, make_ours};
use super::server::{BINARY, Server};

/// A node that is not started yet.
#[derive(Clone)]
struct Start<'s> {
    url: String,
    node: &'s str,
    data: &'s Path,
    /// In its environment, too.
    more: Vec<(&'s str, String)>,
}

impl Start<'_> {
    fn environment(&self) -> Vec<(&str, &str)> {
        let own = [("SOKKETSU_JOURNAL__URL", self.url.as_str()), ("SOKKETSU_JOURNAL__NODE", self.node)];
        own.into_iter().chain(self.more.iter().map(|(name, value)| (*name, value.as_str()))).collect()
    }

    /// It ends by itself, with this exit code, and says so.
    fn is_refused(&self, expected: i32, says: &[&str]) {
        let serve = ["serve", "--sandbox", "--http", "127.0.0.1:0", "--data", self.data.to_str().unwrap()];
        let ran = Command::new("timeout").args(["60", BINARY]).args(serve).envs(self.environment()).output().unwrap();
        let said = String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned();
        assert!(
            ran.status.code() == Some(expected) && says.iter().all(|part| said.contains(part)),
            "{:?} {said}",
            ran.status
        );
        assert!(!said.contains(PASSWORD), "{said}");
    }

    fn serve(&self) -> Server {
        let server = Server::sandbox_in(self.data, &[], &self.environment());
        wait("it is not ready", || is_ready(&server));
        server
    }
}

/// A database of the cluster with its tables.
fn made(pg: &PgCluster) -> String {
    let database = pg.database();
    let url = pg.url(OWNER, &database);
    let owner = [("SOKKETSU_JOURNAL__URL", url.as_str()), ("SOKKETSU_JOURNAL__NODE", "owner")];
    let (code, said) = run(&["cluster", "init", "--sandbox"], &owner);
    assert_eq!(code, Some(0), "{said}");
    database
}

fn start<'s>(pg: &PgCluster, database: &str, data: &'s Path) -> Start<'s> {
    Start { url: pg.url(NODE, database), node: "a", data, more: Vec::new() }
}

/// Debian's PgBouncer, which gives a server's process for a transaction.
struct Pooler {
    child: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Pooler {
    fn start(server: u16, more: &str) -> Self {
        let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
        let at = |name: &str| folder.path().join(name);
        fs::write(at("users"), format!("\"{NODE}\" \"{PASSWORD}\"\n")).unwrap();
        let config = format!(
            "[databases]\n* = host=127.0.0.1 port={server}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = scram-sha-256\nauth_file = {}\npool_mode = transaction\n{more}\n",
            at("users").display()
        );
        fs::write(at("pooler.ini"), config).unwrap();
        make_ours(folder.path());
        let mut command = as_user(Path::new("/usr/sbin/pgbouncer"));
        let child = command.arg(at("pooler.ini")).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait("the pooler does not listen", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self { child, port, _folder: folder }
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[test]
fn a_cluster_with_a_pooler_in_between_is_refused() {
    let (pg, _turn) = PgCluster::shared();
    let (database, data) = (made(&pg), tempfile::tempdir().unwrap());
    let direct = start(&pg, &database, data.path());
    // It refuses what a connection sets at its begin, or drops it.
    for ways in
        ["", "ignore_startup_parameters = options", "ignore_startup_parameters = options\ndefault_pool_size = 1"]
    {
        let pooler = Pooler::start(pg.port(0), ways);
        let (before, _) = direct.url.split_once('@').unwrap();
        let url = format!("{before}@127.0.0.1:{}/{database}", pooler.port);
        Start { url, ..direct.clone() }
            .is_refused(78, &["a pooler stands in between", "name the PostgreSQL servers themselves"]);
    }
}

#[test]
fn a_cluster_that_is_not_fit_or_not_ours_is_refused() {
    let (pg, _turn) = PgCluster::shared();
    let (database, data) = (made(&pg), tempfile::tempdir().unwrap());
    let good = start(&pg, &database, data.path());
    let of = |url: String| Start { url, ..good.clone() };
    of("postgres://svc:word@10.0.0.7/sokketsu".into()).is_refused(78, &["without TLS", "?sslmode=verify-full"]);
    of(pg.url(NODE, &pg.database())).is_refused(78, &["run `sokketsu cluster init` as their owner"]);
    of(pg.url(OWNER, &database)).is_refused(78, &["too many rights", "`GRANT sokketsu_node, pg_read_all_stats`"]);
    for right in ["UPDATE", "DELETE", "TRUNCATE"] {
        pg.sql(&database, &format!("GRANT {right} ON journal TO sokketsu_node"));
        good.is_refused(78, &["too many rights"]);
        pg.sql(&database, &format!("REVOKE {right} ON journal FROM sokketsu_node"));
    }
    let month = pg.sql(&database, "SELECT max(relid::regclass::text) FROM pg_partition_tree('journal') WHERE isleaf");
    for more in ["UPDATE (body) ON journal", &format!("DELETE ON {month}"), "INSERT ON setting"] {
        pg.sql(&database, &format!("GRANT {more} TO sokketsu_node"));
        good.is_refused(78, &["too many rights"]);
        pg.sql(&database, &format!("REVOKE {more} FROM sokketsu_node"));
    }
    let newer = "INSERT INTO journal_migrations (version, name, sha256) VALUES (99, '0099_later.sql', 'x')";
    pg.sql(&database, newer);
    good.is_refused(65, &["schema 99", "start the newer program"]);
    pg.sql(&database, "DELETE FROM journal_migrations WHERE version = 99");
    pg.name_standbys("");
    good.is_refused(78, &["a commit waits for no standby: set `synchronous_standby_names`"]);
    pg.name_standbys(STANDBYS);
    pg.wait_for_standbys(0, 2);
    // Its records are of another time. The process's own monotonic clock is left alone.
    for (off, says) in [("+1", "ms behind ours: set both by NTP"), ("-1", "ms ahead of ours: set both by NTP")] {
        let more = [("LD_PRELOAD", faketime()), ("FAKETIME", off.to_owned()), ("DONT_FAKE_MONOTONIC", "1".to_owned())];
        let off = Start { more: more.to_vec(), ..good.clone() };
        off.is_refused(78, &["the database's clock is ", says]);
    }
    good.serve();
}

#[test]
fn a_node_that_finds_no_database_listens_says_so_and_comes_back_by_itself() {
    let (pg, _turn) = PgCluster::shared();
    let (database, data, second) = (made(&pg), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = start(&pg, &database, data.path());
    approved(&first.serve(), "R-1");
    pg.kill(0);
    let server = Server::sandbox_in(data.path(), &[], &first.environment());
    let of_b = Start { node: "b", data: second.path(), ..first.clone() };
    let mut stopped = Server::sandbox_in(of_b.data, &[], &of_b.environment());
    let get = |path| server.client().call("ops", "GET", path, None).unwrap();
    assert_eq!(get("/livez").status, 200);
    wait("it does not say what it waits for", || {
        let ready = get("/readyz");
        let detail = &ready.json()["detail"];
        ready.status == 503 && *detail == "standby: the journal's database can't be asked, the log says why"
    });
    let (status, told) = buy(&server, "R-2");
    assert_eq!((status, told["reason"].as_str()), (503, Some("not_owner")), "{told}");
    stopped.signal("TERM");
    assert!(stopped.wait(std::time::Duration::from_secs(5)).success());
    pg.resume(0);
    wait("it is not ready", || is_ready(&server));
    assert_eq!(approved(&server, "R-1")["replayed"], true);
    approved(&server, "R-2");
}

/// Debian's library that gives a process another time.
fn faketime() -> String {
    let found = fs::read_dir("/usr/lib")
        .unwrap()
        .filter_map(|entry| Some(entry.ok()?.path().join("faketime/libfaketimeMT.so.1")));
    let found = found.into_iter().find(|path| path.exists());
    found.expect("this test needs another time: apt-get install faketime").display().to_string()
}

#[test]
fn a_cluster_knows_two_nodes_of_one_name_a_stranger_and_an_old_copy() {
    let (pg, _turn) = PgCluster::shared();
    let (database, data, second) = (made(&pg), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = start(&pg, &database, data.path());
    {
        let server = first.serve();
        approved(&server, "R-1");
        Start { data: second.path(), ..first.clone() }.is_refused(75, &["the node name a in the journal's database"]);
        approved(&server, "R-2");
    }
    let other = made(&pg);
    start(&pg, &other, data.path()).is_refused(78, &["belongs to", "correct `journal.url`"]);
    // A copy that lacks what this node has answered since.
    let copy = format!("{database}_copy");
    pg.sql("postgres", &format!("CREATE DATABASE {copy} TEMPLATE {database} OWNER {OWNER}"));
    {
        let server = first.serve();
        approved(&server, "R-3");
    }
    start(&pg, &copy, data.path()).is_refused(65, &["restored"]);
    let server = first.serve();
    approved(&server, "R-3");
}

/// Both knew more when they were stopped in order: the owner what it had answered, the standby what it had read and was confirmed.
#[test]
fn a_copy_of_before_is_refused_by_the_owner_and_by_a_standby_that_only_read() {
    let pg = PgCluster::start();
    let (database, data, second) = (made(&pg), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = start(&pg, &database, data.path());
    let mut owner = first.serve();
    let of_b = Start { node: "b", data: second.path(), ..first.clone() };
    let mut standby = Server::sandbox_in(of_b.data, &[], &of_b.environment());
    approved(&owner, "N-1");
    let copy = pg.copied(&database);
    approved(&owner, "N-2");
    let told = |server: &Server| server.client().call("ops", "GET", "/readyz", None).unwrap().json()["detail"].clone();
    wait("b does not follow", || told(&standby) == "standby of a, 0 records behind");
    for _ in 0..3 {
        let until = || pg.sql(&database, "SELECT lease_until FROM owner");
        let before = until();
        wait("the lease is not renewed", || until() != before);
    }
    for server in [&mut standby, &mut owner] {
        server.signal("TERM");
        assert!(server.wait(std::time::Duration::from_secs(10)).success());
    }
    for (node, data) in [("b", second.path()), ("a", data.path())] {
        let restored = "record 1017, which was durable, is not in it any more";
        Start { node, data, ..start(&pg, &copy, data) }.is_refused(65, &["restored from the past", restored]);
    }
    approved(&first.serve(), "N-2");
}

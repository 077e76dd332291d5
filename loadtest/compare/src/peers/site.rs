//! The Sokketsu of the run and its ledger: beside it in files, or in the cluster that has its journal.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rusqlite::{Connection, OpenFlags};

use super::daemon::wait_until;
use super::servers::{Servers, USER};
use super::{Books, Kind, Options};
use loadtest::http::{Keys, Requests, Role};
use loadtest::server::{self, Database, Server};
use loadtest::setup::{self, Target};
use loadtest::tls::Peer;

/// Longest wait for the ledger to catch up behind a turn.
const SETTLE: Duration = Duration::from_secs(120);
const READY: &[u8; 12] = b"HTTP/1.1 200";
const DATABASE: &str = "sokketsu";
const OWNER: &str = "sokketsu_owner";
const NODE: &str = "svc_sokketsu";
/// As `docs/cluster.md` has them.
const ROLES: &str = "CREATE ROLE sokketsu_node NOLOGIN; CREATE ROLE sokketsu_ledger NOLOGIN;
    CREATE ROLE sokketsu_operator NOLOGIN; CREATE ROLE sokketsu_analyst NOLOGIN; CREATE ROLE sokketsu_owner LOGIN;
    CREATE ROLE svc_sokketsu LOGIN IN ROLE sokketsu_node, sokketsu_ledger, pg_read_all_stats";
const POSTED: &str = "SELECT lsn FROM posted WHERE stream = 0";
const IS_POSTED: &str = "SELECT (SELECT lsn FROM posted WHERE stream = 0) >= coalesce((SELECT first_lsn + n - 1
    FROM journal WHERE stream = 0 AND n > 0 ORDER BY month DESC, batch DESC LIMIT 1), 0)";
/// Keeps the ledger's writer waiting, and nobody else: an append does not touch this table, and reading it is allowed.
const HOLD: &str = "BEGIN; LOCK TABLE posted IN SHARE MODE;\n\\echo held\n";

enum Ledger {
    File(PathBuf),
    Cluster(Rc<Servers>),
}

pub struct Site {
    pub server: Server,
    pub target: Target,
    ledger: Ledger,
}

impl Site {
    /// In files, below the run's folder.
    pub fn in_files(options: &Options, folder: &Path) -> Result<Self> {
        let data = folder.join("sokketsu");
        let link = options.peers.contains(&Kind::Link);
        let server = server::Options { link, ..common(options, &data) };
        let ledger = Ledger::File(data.join("ledger.db"));
        Self::start(&server, ledger)
    }

    /// With journal and ledger on these servers.
    pub fn in_cluster(options: &Options, folder: &Path, servers: &Rc<Servers>) -> Result<Self> {
        servers.sql(USER, ROLES)?;
        servers.sql(USER, &format!("CREATE DATABASE {DATABASE} OWNER {OWNER} TEMPLATE template0 ENCODING 'UTF8'"))?;
        let (of_owner, of_node) = (servers.url(OWNER, DATABASE), servers.url(NODE, DATABASE));
        let data = folder.join("sokketsu-cluster");
        let cluster = Some(Database { of_owner: &of_owner, of_node: &of_node });
        let server = server::Options { cluster, ..common(options, &data) };
        Self::start(&server, Ledger::Cluster(Rc::clone(servers)))
    }

    fn start(options: &server::Options<'_>, ledger: Ledger) -> Result<Self> {
        let server = Server::start(options)?;
        let key = |name: &str| format!("sandbox-{name}");
        let keys = Keys { wallet: key("wallet"), register: key("register"), office: key("office"), ops: key("ops") };
        let requests = Requests::new(&server.http.to_string(), keys, None);
        let http = Peer::plain(server.http);
        let site = Self { server, target: Target { admin: http.clone(), http, requests }, ledger };
        // A node listens before the journal is its own.
        wait_until(|| site.is_ready()).context("Sokketsu")?;
        Ok(site)
    }

    /// By one question: the other ways to call repeat what is answered 503.
    fn is_ready(&self) -> bool {
        let mut question = Vec::new();
        self.target.requests.get(&mut question, Role::Ops, format_args!("/readyz"));
        let ask = || {
            let mut stream = TcpStream::connect(self.server.http)?;
            stream.set_read_timeout(Some(Duration::from_secs(1)))?;
            stream.write_all(&question)?;
            let mut head = [0; READY.len()];
            stream.read_exact(&mut head).map(|()| head)
        };
        ask().is_ok_and(|head: [u8; READY.len()]| head == *READY)
    }

    /// Waits until the ledger has caught up.
    pub fn settle(&self) -> Result<()> {
        match &self.ledger {
            Ledger::File(_) => setup::settle(&self.target, Some(&self.server.data), SETTLE).map(drop),
            Ledger::Cluster(servers) => {
                wait_until(|| servers.sql(DATABASE, IS_POSTED).is_ok_and(|is| is == "t")).context("the ledger")
            }
        }
    }

    /// What the ledger has of those customers and orders whose ids begin so.
    pub fn books(&self, customers: &str, orders: &str) -> Result<Books> {
        self.settle()?;
        // By bytes, as both ledgers compare them.
        let between = |begin: &str| format!("BETWEEN '{begin}' AND '{begin}~'");
        let exposure = format!(
            "SELECT COALESCE(SUM(amount), 0) FROM entries WHERE account = 'exposure' AND customer_id {}",
            between(customers)
        );
        let records = format!("SELECT COUNT(*) FROM decisions WHERE order_id {}", between(orders));
        Ok(Books { exposure: self.sum(&exposure)?, records: self.sum(&records)? })
    }

    fn sum(&self, query: &str) -> Result<u64> {
        match &self.ledger {
            Ledger::File(file) => {
                let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
                let ledger = Connection::open_with_flags(file, flags)?;
                ledger.busy_timeout(Duration::from_secs(5))?;
                let sum: i64 = ledger.query_row(query, (), |row| row.get(0))?;
                Ok(u64::try_from(sum)?)
            }
            Ledger::Cluster(servers) => servers.sql(DATABASE, query)?.parse().context("a sum"),
        }
    }

    /// Keeps the ledger from posting until [`Self::go_on`], or until what is given is dropped.
    pub fn hold(&self) -> Result<Held> {
        let Ledger::Cluster(servers) = &self.ledger else { anyhow::bail!("only a cluster's ledger can be held") };
        let mut client = servers.client(DATABASE)?;
        let client = client.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("run psql")?;
        let mut held = Held { client, at: String::new() };
        held.client.stdin.as_mut().context("its input")?.write_all(HOLD.as_bytes())?;
        let mut said = String::new();
        BufReader::new(held.client.stdout.as_mut().context("its output")?).read_line(&mut said)?;
        ensure!(said.trim() == "held", "the ledger could not be held: psql ended");
        held.at = servers.sql(DATABASE, POSTED)?;
        Ok(held)
    }

    /// The ledger may post again. It is an error if it did so meanwhile, or if the service is not ready.
    pub fn go_on(&self, held: Held) -> Result<()> {
        let Ledger::Cluster(servers) = &self.ledger else { return Ok(()) };
        let now = servers.sql(DATABASE, POSTED)?;
        ensure!(now == held.at, "the ledger posted while it was held: it went from {} to {now}", held.at);
        ensure!(self.is_ready(), "the service is not ready while its ledger is held");
        Ok(())
    }
}

fn common<'a>(options: &'a Options, data: &'a Path) -> server::Options<'a> {
    server::Options {
        binary: options.serve.as_deref(),
        data: Some(data),
        config: options.server_config.as_deref(),
        ..server::Options::default()
    }
}

/// A session that keeps the ledger from posting. Its end lets it go on.
pub struct Held {
    client: Child,
    /// Where the ledger was.
    at: String,
}

impl Drop for Held {
    fn drop(&mut self) {
        // psql ends with its input, and its transaction with it.
        drop(self.client.stdin.take());
        drop(self.client.wait());
    }
}

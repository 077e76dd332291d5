//! What an append costs by its size and by who confirms it, on a primary and two standbys (`ANY 1`) of the bench's own.
//!
//! `cargo bench --bench cluster -- [ROUNDS [SECONDS]]`, 5 rounds with 3 seconds for each line of the table if not given. In each
//! round every line has its turn; the table has the medians over the rounds. With no standby the journal refuses to write, so
//! there it is the statement alone, with a commit that waits for the primary's disk only.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a bench stops at the first surprise")]
#![allow(clippy::print_stdout, clippy::float_arithmetic, reason = "a bench tells what it found")]

use std::hint::black_box;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use sokketsu::clock::Clock;
use sokketsu::database::Server;
use sokketsu::journal::postgres::cluster::Cluster;
use sokketsu::journal::postgres::{APPEND, Node};
use sokketsu::journal::{Journal, JournalError};
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::{Client, Config, NoTls, Statement};

mod batch;
#[path = "../tests/postgres/mod.rs"]
mod postgres;

use batch::batch_of;
use postgres::cluster::{NODE, OWNER, PgCluster};

const SIZES: [usize; 3] = [1, 32, 256];
const WARM_UP: Duration = Duration::from_millis(500);
/// The data fits into memory, and no checkpoint falls into a turn.
const SETTINGS: &str = "shared_buffers=1GB\nmax_wal_size=8GB\ncheckpoint_timeout=1h\nwal_keep_size=1GB\n";
/// Of the bare statement's rows: any will do.
const MONTH: i32 = 2_026 * 12;

/// How many standbys stream, and whether one of two is frozen.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Standing {
    standbys: usize,
    is_frozen: bool,
    name: &'static str,
}

const fn standing(standbys: usize, is_frozen: bool, name: &'static str) -> Standing {
    Standing { standbys, is_frozen, name }
}

const STANDINGS: [Standing; 4] = [
    standing(0, false, "0 (the statement alone, local)"),
    standing(1, false, "1"),
    standing(2, false, "2"),
    standing(2, true, "2, one of them frozen"),
];

/// What the appends of a turn took, in order of time taken.
struct Turn {
    took: Vec<Duration>,
    seconds: f64,
}

impl Turn {
    fn ms(&self, percent: usize) -> f64 {
        let at = self.took.len() * percent / 100;
        self.took[at.min(self.took.len() - 1)].as_secs_f64() * 1_000.0
    }

    fn records_per_s(&self, size: usize) -> f64 {
        (self.took.len() * size) as f64 / self.seconds
    }
}

/// One append after the other.
fn turn(seconds: f64, mut append: impl FnMut()) -> Turn {
    let begins = Instant::now() + WARM_UP;
    while Instant::now() < begins {
        append();
    }
    let (began, mut took) = (Instant::now(), Vec::new());
    while began.elapsed().as_secs_f64() < seconds {
        let sent = Instant::now();
        append();
        took.push(sent.elapsed());
    }
    let seconds = began.elapsed().as_secs_f64();
    took.sort();
    Turn { took, seconds }
}

/// The servers, and which of the standbys run.
struct Servers {
    pg: PgCluster,
    database: String,
    standbys: usize,
    is_frozen: bool,
}

impl Servers {
    fn start() -> Self {
        let pg = PgCluster::start_with(SETTINGS);
        let database = pg.database();
        let servers = Self { pg, database, standbys: 2, is_frozen: false };
        let folder = tempfile::tempdir().unwrap();
        servers.cluster(OWNER, folder.path()).init(false).unwrap();
        servers
    }

    fn cluster(&self, role: &str, data: &std::path::Path) -> Cluster {
        let server = Server::parse(&self.pg.url(role, &self.database), None, None).unwrap();
        Cluster::new(Arc::new(server), data, || Clock::system().now().0)
    }

    fn stand(&mut self, wanted: Standing) {
        if self.is_frozen {
            self.pg.thaw(2);
        }
        for at in wanted.standbys + 1..=self.standbys {
            self.pg.kill(at);
        }
        for at in self.standbys + 1..=wanted.standbys {
            self.pg.resume(at);
        }
        self.pg.wait_for_standbys(0, wanted.standbys);
        if wanted.is_frozen {
            self.pg.freeze(2);
        }
        (self.standbys, self.is_frozen) = (wanted.standbys, wanted.is_frozen);
    }

    /// The journal, once it is ours.
    fn journal(&self, data: &std::path::Path) -> Box<dyn Journal> {
        let (cluster, node) = (self.cluster(NODE, data), Node { name: "bench".into(), boot: "1".into() });
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            match cluster.take(&node) {
                Ok(taken) => return taken.journal,
                Err(error) => assert!(Instant::now() < until, "{error}"),
            }
            thread::park_timeout(Duration::from_millis(50));
        }
    }
}

/// The statement alone, in a database where no journal is written.
struct Bare {
    runtime: Runtime,
    client: Client,
    statement: Statement,
    batch: i64,
}

impl Bare {
    fn start(servers: &mut Servers) -> Self {
        let with_journal = std::mem::replace(&mut servers.database, servers.pg.database());
        let folder = tempfile::tempdir().unwrap();
        servers.cluster(OWNER, folder.path()).init(false).unwrap();
        let database = std::mem::replace(&mut servers.database, with_journal);
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let mut config: Config = servers.pg.url(NODE, &database).parse().unwrap();
        config.options("-c search_path=public -c synchronous_commit=local -c jit=off");
        let (client, statement) = runtime.block_on(async {
            let (client, connection) = config.connect(NoTls).await.unwrap();
            tokio::spawn(connection);
            client.execute("UPDATE owner SET epoch = 1", &[]).await.unwrap();
            client.execute("SELECT journal_months($1)", &[&MONTH]).await.unwrap();
            let statement = client.prepare(APPEND).await.unwrap();
            (client, statement)
        });
        Self { runtime, client, statement, batch: 0 }
    }

    fn append(&mut self, body: &[u8], records: usize) {
        self.batch += 1;
        let (batch, records) = (self.batch, i32::try_from(records).unwrap());
        let rows = self.runtime.block_on(self.client.query(
            &self.statement,
            &[&vec![0], &vec![MONTH], &vec![batch], &vec![1_i64], &vec![batch * 256], &vec![records], &vec![body]],
        ));
        assert_eq!(rows.unwrap().len(), 1, "it was fenced");
    }
}

/// All sizes, each for so long.
fn measure(servers: &Servers, bare: &mut Bare, seconds: f64) -> Vec<Turn> {
    if servers.standbys == 0 {
        let append = |size: &usize| {
            let body = vec![7; batch_of(*size).size()];
            turn(seconds, || bare.append(black_box(&body), *size))
        };
        return SIZES.iter().map(append).collect();
    }
    let folder = tempfile::tempdir().unwrap();
    let mut journal = servers.journal(folder.path());
    let append = |size: &usize| {
        let batch = batch_of(*size);
        turn(seconds, || {
            journal.write(black_box(&batch)).expect("a write");
            // As the committer does: in doubt it is asked again.
            while let Err(error) = journal.sync() {
                assert!(matches!(error, JournalError::Doubt(_)), "{error}");
            }
        })
    };
    let turns = SIZES.iter().map(append).collect();
    journal.leave().expect("it is given back");
    turns
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    f64::midpoint(values[(values.len() - 1) / 2], values[values.len() / 2])
}

fn main() {
    let given: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let rounds: usize = given.first().map_or(5, |text| text.parse().expect("a number of rounds"));
    let seconds: f64 = given.get(1).map_or(3.0, |text| text.parse().expect("seconds"));
    let mut servers = Servers::start();
    let mut bare = Bare::start(&mut servers);
    let mut found: Vec<Vec<Vec<Turn>>> = STANDINGS.iter().map(|_| Vec::new()).collect();
    for round in 0..rounds {
        for place in 0..STANDINGS.len() {
            let at = (place + round) % STANDINGS.len();
            servers.stand(STANDINGS[at]);
            found[at].push(measure(&servers, &mut bare, seconds));
        }
    }
    println!("| standbys | records in an append | p50 ms | p99 ms | records/s |\n|---|--:|--:|--:|--:|");
    for (standing, rounds) in STANDINGS.iter().zip(&found) {
        for (at, size) in SIZES.iter().enumerate() {
            let over = |value: &dyn Fn(&Turn) -> f64| median(rounds.iter().map(|turns| value(&turns[at])).collect());
            let (p50, p99) = (over(&|turn| turn.ms(50)), over(&|turn| turn.ms(99)));
            let rate = over(&|turn| turn.records_per_s(*size));
            println!("| {} | {size} | {p50:.2} | {p99:.2} | {rate:.0} |", standing.name);
        }
    }
}

//! The database's failover by Debian's Patroni, under nodes that are asked all the time: they are away for no more than five seconds
//! longer than the database is.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::cluster::wait;
use super::nodes::{Load, Nodes, beside, state};
use super::postgresql::patroni::{NODE, OWNER, PatroniCluster};
use super::takeover::strike;

/// So much longer than the database's are our own outages at most.
const OURS: Duration = Duration::from_secs(5);

/// How often everything is done.
#[expect(clippy::disallowed_methods, reason = "it is told how long")]
fn rounds() -> usize {
    std::env::var("FAILOVERS").map_or(1, |text| text.parse().unwrap())
}

/// Servers, sales, and a row that is committed again and again by somebody who knows nothing of us.
struct Trial<'t> {
    pg: &'t PatroniCluster,
    load: &'t Load,
    /// When each row was sent, and when it was confirmed.
    commits: Mutex<Vec<(Instant, Instant)>>,
    ends: AtomicBool,
}

impl Trial<'_> {
    fn commit(&self, at: usize) {
        while !self.ends.load(Ordering::Relaxed) {
            let sent = Instant::now();
            if self.pg.commits(at) {
                self.commits.lock().push((sent, Instant::now()));
            }
            thread::park_timeout(Duration::from_millis(50));
        }
    }

    /// There are never two nodes that are ready, however they are asked.
    fn ask(&self, nodes: &[SocketAddr]) {
        while !self.ends.load(Ordering::Relaxed) {
            let ready: Vec<_> = nodes.iter().filter(|node| state(**node).0 == 200).collect();
            assert!(ready.len() <= 1, "two nodes are ready: {ready:?}");
            thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// Something is done to the servers, and it is waited until it is over, and rows and sales come again: how long there were none.
    #[expect(clippy::print_stdout, reason = "the figures are to be read")]
    fn outage(&self, what: &str, done: impl FnOnce(), is_over: impl FnMut() -> bool) {
        self.pg.wait("no standby may take over", || self.pg.has_successor());
        let since = Instant::now();
        done();
        self.pg.wait(what, is_over);
        let (took, over) = (since.elapsed(), Instant::now());
        let come_again = |of: &[(Instant, Instant)]| of.iter().any(|(sent, _)| *sent > over);
        self.pg.wait("no row is confirmed", || come_again(&self.commits.lock()));
        self.pg.wait("no sale is answered", || come_again(&self.load.answers()));
        let (theirs, ours) = (longest(&self.commits.lock(), since), longest(&self.load.answers(), since));
        println!(
            "{what}: over after {took:.1?}; no row was confirmed for {theirs:.1?}, no sale answered for {ours:.1?}"
        );
        assert!(ours <= theirs + OURS, "{what}: no sale for {ours:?}, and the database was away for {theirs:?}");
    }
}

/// The longest time between two that came after a moment.
fn longest(all: &[(Instant, Instant)], since: Instant) -> Duration {
    let mut came: Vec<_> = all.iter().map(|(_, came)| *came).filter(|came| *came >= since).collect();
    came.push(since);
    came.sort_unstable();
    came.windows(2).map(|two| two[1] - two[0]).max().unwrap_or(Duration::MAX)
}

/// The primary dies with its Patroni, the primary is changed in order, and the owner dies: each answer stands, each sale is there
/// once, and never are two nodes ready.
#[test]
#[ignore = "it takes minutes, and Patroni and etcd: docs/cluster.md"]
#[expect(clippy::print_stdout, reason = "the figures are to be read")]
fn patroni_fails_over_and_switches_over_under_load() {
    let pg = PatroniCluster::start();
    let mut nodes = Nodes::start(&pg.url(OWNER), pg.url(NODE), &["a", "b", "c"]);
    let (load, addresses) = (Load::of(&nodes), nodes.addresses());
    let trial = Trial { pg: &pg, load: &load, commits: Mutex::default(), ends: AtomicBool::new(false) };
    let others: [&(dyn Fn() + Sync); 4] =
        [&|| trial.commit(0), &|| trial.commit(1), &|| trial.commit(2), &|| trial.ask(&addresses)];
    load.during(|| {
        beside(&trial.ends, &others, || {
            for _ in 0..rounds() {
                wait("nobody is answered", || !load.answers().is_empty());
                servers_fail(&trial);
                both_fail(&trial, &mut nodes);
                let silence = strike(&mut nodes, &load, "killed");
                println!("the owner is killed: answers again after {silence:.1?}");
            }
        });
    });
    let (answered, approved) = load.each_once(&nodes);
    println!("{answered} sales answered, {approved} approved: all there, each once");
}

/// What happens to servers; they are whole again afterwards.
fn servers_fail(trial: &Trial<'_>) {
    let pg = trial.pg;
    let primary = || pg.primary(None).expect("a primary");
    let is_other = |than: usize| move || pg.primary(Some(than)).is_some();
    let follows = |at: usize| move || pg.follows(at);

    let lost = primary();
    trial.outage("the primary is killed with its Patroni", || pg.kill(lost), is_other(lost));
    let second = primary();
    trial.outage("the two that are left change places", || pg.switch_over(), is_other(second));
    trial.outage("the one that was killed comes back", || pg.resume(lost), follows(lost));
    pg.wait("the second one does not follow", follows(second));
    let third = primary();
    trial.outage("two of three change places", || pg.switch_over(), is_other(third));
    pg.wait("the third one does not follow", follows(third));

    let confirms = || pg.confirms(primary());
    let standby = confirms().expect("a standby that confirms");
    let another = || confirms().is_some_and(|at| at != standby);
    trial.outage("the standby that confirms is killed", || pg.kill(standby), another);
    trial.outage("it comes back", || pg.resume(standby), follows(standby));
    let standby = confirms().expect("a standby that confirms");
    let another = || confirms().is_some_and(|at| at != standby);
    trial.outage("the standby that confirms freezes", || pg.freeze(standby), another);
    trial.outage("it thaws", || pg.thaw(standby), follows(standby));

    let frozen = primary();
    trial.outage("the primary freezes with its Patroni", || pg.freeze(frozen), is_other(frozen));
    trial.outage("it thaws", || pg.thaw(frozen), follows(frozen));
    let alone = primary();
    trial.outage("the primary's Patroni is killed, and not the primary", || pg.kill_patroni(alone), is_other(alone));
    trial.outage("that Patroni comes back", || pg.resume(alone), follows(alone));
    let etcd_is_away = || {
        let (away, long) = (Instant::now(), Duration::from_secs(25));
        pg.freeze_etcd();
        pg.wait("time does not pass", || away.elapsed() > long);
        pg.thaw_etcd();
    };
    trial.outage("etcd is frozen for 25 s", etcd_is_away, || pg.has_successor());
}

/// Nobody of them can tell the other that it goes.
fn both_fail(trial: &Trial<'_>, nodes: &mut Nodes) {
    let pg = trial.pg;
    let (lost, owner) = (pg.primary(None).expect("a primary"), nodes.owner(None).expect("an owner"));
    let at_once = || {
        nodes.servers[owner].kill();
        pg.kill(lost);
    };
    trial.outage("the primary and the owner are killed at once", at_once, || pg.primary(Some(lost)).is_some());
    nodes.servers[owner].start_again();
    trial.outage("the primary comes back", || pg.resume(lost), || pg.follows(lost));
}

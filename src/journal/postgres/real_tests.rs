//! The journal on real servers, a primary and two quorum standbys, and what is done to them. `SOKKETSU_REAL_ROUNDS` multiplies the
//! counts.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::MutexGuard;

use super::client::PgDatabase;
use super::history::said;
use super::reader::TableReader;
use super::table::Node;
use super::{Options, PostgresJournal, node_file, schema};
use crate::database::Server;
use crate::journal::contract_tests::{Place, TIME, batch_at, contract};
use crate::journal::{Durable, Journal, JournalError, JournalReader, Lease, Lsn, Record};
use crate::postgres_server::cluster::{NODE, OWNER, PgCluster, STANDBYS};

#[expect(clippy::disallowed_methods, reason = "the real clock, which is compared with the real database's")]
fn wall() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

#[expect(clippy::disallowed_methods, reason = "how long a test runs is no configuration of the service")]
fn rounds(short: usize) -> usize {
    short * std::env::var("SOKKETSU_REAL_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(1)
}

/// A cluster's database with an empty journal.
struct Real {
    cluster: Arc<PgCluster>,
    database: String,
    folder: tempfile::TempDir,
    boots: u32,
    _turn: Option<MutexGuard<'static, ()>>,
}

impl Real {
    fn shared() -> Self {
        let (cluster, turn) = PgCluster::shared();
        Self::on(cluster, Some(turn))
    }

    /// On servers of its own, which it may leave as they are.
    fn alone() -> Self {
        Self::on(Arc::new(PgCluster::start()), None)
    }

    fn on(cluster: Arc<PgCluster>, turn: Option<MutexGuard<'static, ()>>) -> Self {
        let database = cluster.database();
        let real = Self { cluster, database, folder: tempfile::tempdir().unwrap(), boots: 0, _turn: turn };
        schema::migrate(&real.server(OWNER), false).unwrap();
        real
    }

    fn server(&self, role: &str) -> Arc<Server> {
        Arc::new(Server::parse(&self.cluster.url(role, &self.database), None, None).unwrap())
    }

    fn file(&self, node: &str) -> PathBuf {
        self.folder.path().join(node)
    }

    fn database(&self, role: &str, node: &str, lease: &Lease) -> PgDatabase {
        PgDatabase::new(self.server(role), lease.clone(), self.file(node), wall)
    }

    fn try_open(&mut self, role: &str, node: &str) -> Result<PostgresJournal<PgDatabase>, JournalError> {
        self.boots += 1;
        let lease = Lease::new();
        let seen = node_file::read(&self.file(node)).unwrap();
        let boot = self.boots.to_string();
        let options = Options {
            node: Node { name: node.to_owned(), boot },
            stream: 0,
            now_ms: TIME,
            seen,
            durable: Durable::fixed(Lsn::ZERO),
        };
        PostgresJournal::open(self.database(role, node, &lease), options, lease)
    }

    /// Waits until nobody else is the owner.
    fn open(&mut self, node: &str) -> PostgresJournal<PgDatabase> {
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            match self.try_open(NODE, node) {
                Ok(journal) => return journal,
                Err(JournalError::Doubt(_) | JournalError::InUse(_) | JournalError::Fenced(_))
                    if Instant::now() < until => {}
                Err(other) => panic!("{other}"),
            }
        }
    }

    fn sql(&self, sql: &str) -> String {
        self.cluster.sql(&self.database, sql)
    }

    /// What the records say, in order.
    fn words(&self) -> Vec<u64> {
        let mut reader = TableReader::new(self.database(NODE, "reader", &Lease::new()), 0, None);
        let last = reader.examine(Lsn::ZERO).unwrap().last;
        let (mut record, mut words) = (Record::default(), Vec::new());
        while record.lsn < last && reader.next(record.lsn, &mut record).unwrap() {
            words.push(said(&record.payload));
        }
        words
    }

    /// The server's processes whose commits wait for a standby.
    fn waiting(&self) -> String {
        self.sql("SELECT string_agg(pid::text, ',') FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
    }

    fn freeze_standbys(&self) {
        self.cluster.freeze(1);
        self.cluster.freeze(2);
    }

    fn thaw_standbys(&self) {
        self.cluster.thaw(1);
        self.cluster.thaw(2);
    }
}

impl Place for Real {
    fn open(&mut self) -> (Box<dyn Journal>, Box<dyn JournalReader>) {
        let journal = Self::open(self, "n1");
        let reader = journal.reader();
        (Box::new(journal), Box::new(reader))
    }

    fn at_rest(&self) -> Box<dyn JournalReader> {
        Box::new(TableReader::new(self.database(NODE, "reader", &Lease::new()), 0, None))
    }
}

contract!(Real::shared());

fn write(journal: &mut PostgresJournal<PgDatabase>, word: u64) {
    journal.write(&batch_at(TIME, &[word.to_le_bytes().to_vec()])).unwrap();
}

/// Tries until it is known; how often it was in doubt.
fn settle(journal: &mut PostgresJournal<PgDatabase>) -> usize {
    let until = Instant::now() + Duration::from_secs(60);
    for doubts in 0.. {
        match journal.sync() {
            Ok(()) => return doubts,
            Err(JournalError::Doubt(_)) if Instant::now() < until => {}
            Err(other) => panic!("{other}"),
        }
    }
    unreachable!()
}

/// While both standbys are frozen the append hangs; `strike` is done to the process that waits.
fn strike_waiting(real: &mut Real, count: usize, strike: &str) {
    let mut journal = real.open("n1");
    for word in 1..=count as u64 {
        write(&mut journal, word);
        real.freeze_standbys();
        thread::scope(|scope| {
            let outcome = scope.spawn(|| journal.sync());
            real.cluster.wait_until("the append waits", || !real.waiting().is_empty());
            real.sql(&format!("SELECT {strike}(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"));
            let outcome = outcome.join().unwrap();
            assert!(matches!(outcome, Err(JournalError::Doubt(_))), "{outcome:?}");
        });
        assert_eq!(
            real.sql(&format!("SELECT count(*) FROM journal WHERE first_lsn = {word} AND n > 0")),
            "1",
            "it shows"
        );
        assert!(!journal.lease().holds(), "nothing is answered in doubt");
        let outcome = journal.sync();
        assert!(matches!(outcome, Err(JournalError::Doubt(_))), "nothing is known before a barrier: {outcome:?}");
        real.thaw_standbys();
        settle(&mut journal);
        assert!(journal.lease().holds());
        assert_eq!(journal.durable().get(), Lsn(word));
    }
    drop(journal);
    assert_eq!(real.words(), (1..=count as u64).collect::<Vec<_>>());
}

#[test]
fn a_wait_that_was_cancelled_is_in_doubt_until_a_barrier() {
    strike_waiting(&mut Real::shared(), rounds(3), "pg_cancel_backend");
}

#[test]
fn a_backend_that_was_terminated_leaves_a_doubt() {
    strike_waiting(&mut Real::shared(), rounds(3), "pg_terminate_backend");
}

#[test]
#[expect(clippy::print_stdout, reason = "the figures are to be read")]
fn a_primary_that_crashed_shows_what_no_standby_has_and_nothing_is_lost_or_doubled() {
    let mut real = Real::shared();
    let mut journal = real.open("n1");
    let count = rounds(2) as u64;
    let mut away = Vec::new();
    for word in 1..=count {
        write(&mut journal, word);
        real.freeze_standbys();
        let outcome = journal.sync();
        assert!(matches!(outcome, Err(JournalError::Doubt(_))), "{outcome:?}");
        assert_eq!(real.sql(&format!("SELECT count(*) FROM journal WHERE first_lsn = {word} AND n > 0")), "0");
        real.cluster.kill(0);
        real.cluster.resume(0);
        assert_eq!(
            real.sql(&format!("SELECT count(*) FROM journal WHERE first_lsn = {word} AND n > 0")),
            "1",
            "the trap"
        );
        let outcome = journal.sync();
        assert!(matches!(outcome, Err(JournalError::Doubt(_))), "{outcome:?}");
        real.thaw_standbys();
        let began = Instant::now();
        settle(&mut journal);
        away.push(began.elapsed());
        real.cluster.wait_for_standbys(0, 2);
    }
    drop(journal);
    println!("{count} crashes, back after {away:?}");
    assert_eq!(real.words(), (1..=count).collect::<Vec<_>>());
}

#[test]
#[expect(clippy::print_stdout, reason = "the figures are to be read")]
fn a_frozen_primary_is_left_and_not_taken_again() {
    let mut real = Real::alone();
    let mut journal = real.open("n1");
    write(&mut journal, 1);
    settle(&mut journal);
    real.cluster.freeze(0);
    let began = Instant::now();
    write(&mut journal, 2);
    real.cluster.fail_over();
    settle(&mut journal);
    println!("a frozen primary was left after {:?}", began.elapsed());
    real.cluster.thaw(0);
    for word in 3..9 {
        write(&mut journal, word);
        journal.session = None;
        settle(&mut journal);
    }
    assert_eq!(real.words(), (1..9).collect::<Vec<_>>());
    let on_the_old = real.sql("SELECT count(*) FROM journal WHERE n > 0");
    assert_eq!(on_the_old, "1", "the old primary, which still takes writes, was left alone");
}

#[test]
fn each_setting_that_is_weakened_stops_the_answers_and_mended_lets_them_go() {
    let mut real = Real::shared();
    let mut journal = real.open("n1");
    let names = format!("SET synchronous_standby_names = '{STANDBYS}'");
    let conf = |real: &Real, set: &str| {
        real.sql(&format!("ALTER SYSTEM {set}"));
        real.sql("SELECT pg_reload_conf()");
    };
    let weak = |journal: &mut PostgresJournal<PgDatabase>, says: &str| {
        let until = Instant::now() + Duration::from_secs(10);
        loop {
            match journal.tend() {
                Err(JournalError::Doubt(why)) if why.contains(says) => break,
                Ok(()) | Err(JournalError::Doubt(_)) if Instant::now() < until => {
                    thread::park_timeout(Duration::from_millis(100));
                }
                other => panic!("{says}: {other:?}"),
            }
        }
        assert!(!journal.lease().holds(), "{says}");
    };
    let mended = |real: &mut Real, journal: &mut PostgresJournal<PgDatabase>, word| {
        real.cluster.wait_for_standbys(0, 2);
        write(journal, word);
        settle(journal);
        assert!(journal.lease().holds());
    };
    let mut word = 0;
    for (weaken, mend, says) in [
        ("SET fsync = off", "RESET fsync", "`fsync = on`"),
        ("SET full_page_writes = off", "RESET full_page_writes", "`full_page_writes = on`"),
        ("SET synchronous_standby_names = ''", names.as_str(), "no synchronous standby is streaming"),
    ] {
        conf(&real, weaken);
        weak(&mut journal, says);
        conf(&real, mend);
        word += 1;
        mended(&mut real, &mut journal, word);
    }
    for (weaken, says) in [
        ("SET synchronous_commit = local", "SET synchronous_commit = on"),
        ("SET client_min_messages = error", "SET client_min_messages = warning"),
    ] {
        // What only a session can weaken is mended by the next session.
        journal.session.as_mut().unwrap().run(weaken).unwrap();
        weak(&mut journal, says);
        word += 1;
        mended(&mut real, &mut journal, word);
    }
    real.sql(&format!("REVOKE pg_read_all_stats FROM {NODE}"));
    weak(&mut journal, "GRANT pg_read_all_stats");
    real.sql(&format!("GRANT pg_read_all_stats TO {NODE}"));
    word += 1;
    mended(&mut real, &mut journal, word);
    drop(journal);
    assert_eq!(real.words(), (1..=word).collect::<Vec<_>>());
}

#[test]
fn a_node_can_change_nothing_that_was_journaled_and_other_roles_are_refused() {
    let mut real = Real::shared();
    let mut journal = real.open("n1");
    write(&mut journal, 1);
    settle(&mut journal);
    let session = journal.session.as_mut().unwrap();
    for sql in [
        "UPDATE journal SET body = ''",
        "DELETE FROM journal",
        "TRUNCATE journal",
        "DROP TABLE journal",
        "DELETE FROM owner",
        "INSERT INTO owner (stream) VALUES (9)",
        "UPDATE cluster SET streams = 2",
        "INSERT INTO setting VALUES ('policy', '', 9, '')",
        "UPDATE setting SET version = 9",
        "DELETE FROM setting",
        "ALTER TABLE journal DETACH PARTITION journal_2026_09",
    ] {
        let refused = format!("{:?}", session.run(sql).unwrap_err());
        assert!(refused.contains("42501"), "{sql}: {refused}");
    }
    drop(journal);
    for (role, says) in [(OWNER, "too many rights"), ("admin", "password")] {
        let refused = real.try_open(role, "n2").err().unwrap();
        assert!(matches!(&refused, JournalError::Unfit(why) if why.contains(says)), "{role}: {refused}");
    }
    real.sql(&format!("GRANT UPDATE ON journal TO {NODE}"));
    let refused = real.try_open(NODE, "n2").err().unwrap();
    assert!(refused.to_string().contains("too many rights"), "{refused}");
    real.sql(&format!("REVOKE UPDATE ON journal FROM {NODE}; REVOKE INSERT ON journal FROM sokketsu_node"));
    let refused = real.try_open(NODE, "n2").err().unwrap();
    assert!(refused.to_string().contains("GRANT sokketsu_node"), "{refused}");
    real.sql("GRANT INSERT ON journal TO sokketsu_node; UPDATE journal_migrations SET sha256 = 'x' WHERE version = 1");
    let refused = real.try_open(NODE, "n2").err().unwrap();
    assert!(refused.to_string().contains("is not the one of this program"), "{refused}");
    real.sql("DROP TABLE journal_migrations");
    let refused = real.try_open(NODE, "n2").err().unwrap();
    assert!(refused.to_string().contains("sokketsu cluster init"), "{refused}");
}

#[test]
fn there_is_one_owner_and_the_one_before_is_fenced() {
    let mut real = Real::shared();
    let mut first = real.open("n1");
    write(&mut first, 1);
    settle(&mut first);
    let other = real.try_open(NODE, "n2").err().unwrap();
    assert!(matches!(&other, JournalError::Fenced(by) if by == "n1"), "{other}");
    let twin = real.try_open(NODE, "n1").err().unwrap();
    assert!(matches!(twin, JournalError::InUse(_)), "another process of a name that lives: {twin}");
    // The first one stands still.
    let mut second = real.open("n2");
    assert!(!first.lease().holds(), "no answer leaves after somebody else may have one");
    write(&mut second, 2);
    settle(&mut second);
    write(&mut first, 9);
    let fenced = loop {
        match first.sync() {
            Err(JournalError::Doubt(_)) => {}
            other => break other,
        }
    };
    assert!(matches!(fenced, Err(JournalError::Fenced(_))), "{fenced:?}");
    assert!(matches!(first.sync(), Err(JournalError::Poisoned)));
    second.leave().unwrap();
    let began = Instant::now();
    drop(real.try_open(NODE, "n3").unwrap());
    assert!(began.elapsed() < Duration::from_secs(2), "a stream that was given away is had at once");
    assert_eq!(real.words(), [1, 2]);
}

#[test]
fn a_takeover_waits_for_the_append_that_hangs() {
    let mut real = Real::shared();
    let mut first = real.open("n1");
    write(&mut first, 1);
    real.freeze_standbys();
    assert!(matches!(first.sync(), Err(JournalError::Doubt(_))));
    // The lease of the first one runs out.
    let until = Instant::now() + Duration::from_secs(3);
    while Instant::now() < until {
        thread::park_timeout(Duration::from_millis(100));
    }
    let blocked = real.try_open(NODE, "n2").err().unwrap();
    assert!(matches!(blocked, JournalError::Doubt(_)), "{blocked}");
    real.thaw_standbys();
    let second = real.open("n2");
    assert_eq!(second.durable().get(), Lsn(1), "what hung is there");
    let fenced = (0..9).find_map(|_| first.sync().err().filter(|error| !matches!(error, JournalError::Doubt(_))));
    assert!(matches!(fenced, Some(JournalError::Fenced(_))), "{fenced:?}");
}

#[test]
fn a_database_of_another_cluster_or_of_an_old_copy_is_refused() {
    let mut real = Real::shared();
    let mut journal = real.open("n1");
    for word in 1..=3 {
        write(&mut journal, word);
        settle(&mut journal);
    }
    journal.leave().unwrap();
    drop(real.open("n1"));
    let seen = real.file("n1");
    real.sql("CREATE TABLE kept AS SELECT * FROM cluster; UPDATE cluster SET id = gen_random_uuid()");
    let refused = real.try_open(NODE, "n1").err().unwrap();
    assert!(matches!(&refused, JournalError::Unfit(why) if why.contains("journal.url")), "{refused}");
    real.sql("UPDATE cluster SET id = kept.id FROM kept");
    real.sql("DELETE FROM journal WHERE batch > 3");
    let refused = real.open_refused("n1");
    assert!(matches!(refused, JournalError::Damaged { .. }) && refused.to_string().contains("restored"), "{refused}");
    real.sql("UPDATE owner SET epoch = 0, lease_until = '-infinity'; UPDATE member SET seen_until = '-infinity'");
    let refused = real.open_refused("n1");
    assert!(matches!(refused, JournalError::Damaged { .. }) && refused.to_string().contains("epoch"), "{refused}");
    std::fs::remove_file(seen).unwrap();
    real.sql("UPDATE member SET seen_until = '-infinity'");
    drop(real.open("n1"));
}

impl Real {
    fn open_refused(&mut self, node: &str) -> JournalError {
        self.sql("UPDATE member SET seen_until = '-infinity'");
        self.try_open(NODE, node).err().unwrap()
    }
}

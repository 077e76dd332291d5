//! The contract suite on PostgreSQL, and what is PostgreSQL's own: roles, schema, crashes, posters.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::schema::KNOWN;
use super::session::{Purpose, Session};
use super::{PostgresBooks, PostgresLedger, migrate};
use crate::database::Server;
use crate::domain::commands::history::{History, assert_alike, replay};
use crate::domain::model::ids::Lsn;
use crate::domain::model::time::Millis;
use crate::domain::state::event::Event;
use crate::ledger::contract_tests::{Made, contract, loaded, postings};
use crate::ledger::sqlite::{SqliteBooks, SqliteLedger};
use crate::ledger::{Books, Checkpoint, LedgerError, Posting};
use crate::postgres_server::{PgServer, SERVICE};

fn parsed(url: &str) -> Arc<Server> {
    Arc::new(Server::parse(url, None, None).unwrap())
}

/// A ledger that has posted nothing, in a database of its own; it goes with the server.
struct Place {
    database: String,
    pg: Arc<PgServer>,
}

impl Place {
    fn new() -> Self {
        let pg = PgServer::shared();
        let database = pg.ledger(|url| {
            migrate(&parsed(url), Millis(0)).unwrap();
        });
        Self { database, pg }
    }

    fn service(&self) -> Arc<Server> {
        parsed(&self.pg.socket_url(SERVICE, &self.database))
    }

    fn open(&self) -> PostgresLedger {
        PostgresLedger::open(self.service(), false).unwrap()
    }

    fn sql(&self, sql: &str) -> String {
        self.pg.sql(&self.database, sql)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.pg.drop_database(&self.database);
    }
}

fn made() -> Made {
    let place = Place::new();
    let books = Box::new(PostgresBooks::new(place.service()));
    Made { checkpoint: Box::new(place.open()), books, _place: Box::new(place) }
}

contract!(made: the_server_is_the_checkpoint);
contract!(made, every 2);

/// What all customers' rows come to, by the books.
fn all_totals(books: &dyn Books, upto: Lsn) -> Vec<(u8, u8, i64)> {
    let mut totals: Vec<_> =
        books.totals(upto).unwrap().into_iter().map(|(a, b, amount)| (a as u8, b as u8, amount)).collect();
    totals.sort_unstable();
    totals
}

fn all_sums(books: &dyn Books, upto: Lsn) -> Vec<String> {
    let mut all = Vec::new();
    books.sums(upto, &mut |sums| all.push(format!("{sums:?}"))).unwrap();
    all.sort_unstable();
    all
}

/// What the file that adds the lists makes of the rows of before is what is posted since.
#[test]
fn an_older_ledger_has_its_captures_and_refunds_in_the_lists() {
    let place = Place::new();
    place.open().post(&postings(&History::new(330, 4_000))).unwrap();
    let steps = "SELECT count(*) || ' ' || md5(string_agg(s::text, ',' ORDER BY lsn)) FROM order_step s";
    let posted = place.sql(steps);
    assert!(!posted.starts_with("0 "), "{posted}");
    place.sql("DELETE FROM order_step");
    let file = include_str!("schema/0005_lists.sql");
    let inserts = file.split(';').filter(|part| part.trim_start().starts_with("INSERT"));
    inserts.for_each(|insert| drop(place.sql(insert)));
    assert_eq!(place.sql(steps), posted);
}

/// The other backend is the measure: the same facts come to the same rows.
#[test]
fn the_sums_of_both_databases_are_the_same() {
    let mut history = History::new(61, 2_000);
    history.expire_holds();
    history.calendar();
    let postings = postings(&history);
    let place = Place::new();
    for chunk in postings.chunks(70) {
        place.open().post(chunk).unwrap();
    }
    let ours = PostgresBooks::new(place.service());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ledger.db");
    SqliteLedger::open(&file, Millis(0)).unwrap().post(&postings).unwrap();
    let other = SqliteBooks::new(&file);
    for upto in [history.state.lsn, Lsn(history.state.lsn.0 / 2)] {
        assert_eq!(all_totals(&ours, upto), all_totals(&other, upto));
        assert_eq!(all_sums(&ours, upto), all_sums(&other, upto));
        assert_eq!(ours.count_decisions(upto).unwrap(), other.count_decisions(upto).unwrap());
        assert_eq!(ours.unclear(upto).unwrap(), []);
    }
    assert!(all_sums(&ours, history.state.lsn).len() > 5);
    place.sql(
        "UPDATE movement SET amount = amount + 1 WHERE id = (SELECT min(id) FROM movement WHERE counter_account = 12)",
    );
    assert_eq!(ours.unclear(history.state.lsn).unwrap().len(), 1);
    assert_ne!(all_totals(&ours, history.state.lsn), all_totals(&other, history.state.lsn));
}

#[test]
fn the_views_have_the_columns_of_the_embedded_ledger() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ledger.db");
    let embedded = SqliteLedger::open(&file, Millis(0)).unwrap();
    let place = Place::new();
    let views =
        "decisions entries ledger_position statements customers books postings open_bills receivable fees free_money
        settlement cash customer_account losses";
    for view in views.split_whitespace() {
        let query = embedded.connection().prepare(&format!("SELECT * FROM {view}")).unwrap();
        let wanted: Vec<&str> = query.column_names().collect();
        assert_eq!(wanted.contains(&"lsn"), wanted.contains(&"stream"), "{view}");
        let columns = "SELECT string_agg(column_name, ' ' ORDER BY ordinal_position) FROM information_schema.columns";
        let found = place.sql(&format!("{columns} WHERE table_name = '{view}'"));
        assert_eq!(found, wanted.join(" "), "{view}");
    }
}

/// A session of a role's own, which may write if the role may.
fn session(place: &Place, role: &str) -> Session {
    Session::open(&parsed(&place.pg.url(role, &place.database)), Purpose::Migrating).unwrap()
}

#[test]
fn what_was_decided_no_service_changes_deletes_or_truncates() {
    let history = History::new(5, 400);
    let place = Place::new();
    place.open().post(&postings(&history)).unwrap();
    let service = session(&place, SERVICE);
    for table in ["decision", "movement", "refund", "bill", "policy", "holiday_file", "grade", "ladder_step"] {
        for refused in [
            format!("UPDATE {table} SET lsn = lsn + 1"),
            format!("DELETE FROM {table}"),
            format!("TRUNCATE {table}"),
            format!("DROP TABLE {table}"),
        ] {
            let error = service.run(&refused).unwrap_err();
            assert!(matches!(&error, LedgerError::Refused(why) if why.contains("42501")), "{refused}: {error}");
        }
    }
    for refused in ["TRUNCATE account", "DELETE FROM decision_now", "CREATE TABLE mine (x int)", "DELETE FROM posted"] {
        assert!(matches!(service.run(refused), Err(LedgerError::Refused(_))), "{refused}");
    }
    let count = "SELECT count(*) FROM decision";
    assert!(place.sql(count).parse::<u64>().unwrap() > 50);
    // An analyst reads the views, and nothing else.
    place.sql("CREATE ROLE ana LOGIN PASSWORD 'p@ss/word:1'; GRANT sokketsu_analyst TO ana");
    let mut analyst = session(&place, "ana");
    assert!(analyst.one("SELECT count(*) FROM entries", &[], |cells| cells.int(0)).unwrap() > 50);
    assert!(matches!(analyst.run("SELECT * FROM decision"), Err(LedgerError::Refused(_))));
    drop(analyst);
    place.sql("REVOKE sokketsu_analyst FROM ana; DROP ROLE ana");
}

#[test]
fn a_role_with_too_many_rights_or_too_few_is_refused() {
    let place = Place::new();
    let open = |role: &str, sandbox| {
        let server = parsed(&place.pg.socket_url(role, &place.database));
        PostgresLedger::open(server, sandbox).map(drop)
    };
    for role in ["admin", "sokketsu_owner"] {
        let refused = open(role, false).unwrap_err();
        assert!(refused.to_string().contains("the role has too many rights"), "{refused}");
        open(role, true).unwrap();
    }
    let name = format!("{}_plus", place.database);
    place
        .sql(&format!("CREATE ROLE {name} LOGIN; GRANT sokketsu_ledger TO {name}; GRANT UPDATE ON decision TO {name}"));
    assert!(open(&name, false).unwrap_err().to_string().contains("too many rights"));
    place.sql(&format!("REVOKE UPDATE ON decision FROM {name}; REVOKE sokketsu_ledger FROM {name}"));
    let refused = open(&name, false).unwrap_err();
    assert!(matches!(refused, LedgerError::Refused(_)) && refused.to_string().contains("sokketsu_ledger"), "{refused}");
    place.sql(&format!("GRANT sokketsu_ledger TO {name}"));
    open(&name, false).unwrap();
    place.sql(&format!("DROP ROLE {name}"));
}

#[test]
fn tables_that_are_not_ours_are_refused() {
    let pg = PgServer::shared();
    let place = Place { database: pg.empty_database(), pg };
    let owner = parsed(&place.pg.socket_url("sokketsu_owner", &place.database));
    let opened = || PostgresLedger::open(place.service(), false).map(drop);
    assert!(matches!(opened(), Err(LedgerError::NotMigrated { found: 0, known: KNOWN })));
    // Two at once: one makes the tables, the other finds them.
    let both: Vec<(i64, i64)> = std::thread::scope(|scope| {
        let run = || migrate(&owner, Millis(7)).unwrap();
        let both = [scope.spawn(run), scope.spawn(run)];
        both.map(|thread| thread.join().unwrap()).to_vec()
    });
    assert!(both.contains(&(0, KNOWN)) && both.contains(&(KNOWN, KNOWN)), "{both:?}");
    opened().unwrap();
    let books = PostgresBooks::new(place.service());
    assert_eq!(books.as_of().unwrap(), Lsn::ZERO);

    place.sql("INSERT INTO schema_migrations VALUES (99, 'from the future', 'x', 0)");
    assert!(matches!(opened(), Err(LedgerError::NewerSchema { found: 99, known: KNOWN })));
    assert!(matches!(migrate(&owner, Millis(8)), Err(LedgerError::NewerSchema { .. })));
    assert!(matches!(PostgresBooks::new(place.service()).as_of(), Err(LedgerError::NewerSchema { .. })));
    place.sql("DELETE FROM schema_migrations WHERE version = 99");
    place.sql("UPDATE schema_migrations SET sha256 = 'drifted' WHERE version = 1");
    assert!(matches!(opened(), Err(LedgerError::Schema(_))));
    assert!(matches!(migrate(&owner, Millis(8)), Err(LedgerError::Schema(_))));
}

/// Posts what is not posted yet, in small chunks, until all is; counts how often a call failed.
fn post_all(ledger: &mut PostgresLedger, postings: &[Posting], chunk: usize, failures: &AtomicU32) {
    loop {
        let posted = ledger.position();
        let at = posted.as_ref().map_or(0, |lsn| usize::try_from(lsn.0).unwrap());
        let end = (at + chunk).min(postings.len());
        let done = posted.and_then(|_| ledger.post(&postings[at..end]));
        match done {
            Ok(()) if end == postings.len() => return,
            Ok(()) => {}
            Err(error) => {
                assert!(error.is_retriable(), "{error}");
                assert!(failures.fetch_add(1, Ordering::Relaxed) < 10_000, "{error}");
            }
        }
    }
}

/// The ledger is what the facts make, and no row of it is there twice.
fn assert_is(place: &Place, history: &History) {
    let books = PostgresBooks::new(place.service());
    assert_eq!(books.as_of().unwrap(), history.state.lsn);
    assert_alike(&loaded(&books), &history.state, history.now(), "posted whole");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ledger.db");
    SqliteLedger::open(&file, Millis(0)).unwrap().post(&postings(history)).unwrap();
    let other = SqliteBooks::new(&file);
    assert_eq!(all_totals(&books, history.state.lsn), all_totals(&other, history.state.lsn));
    assert_eq!(all_sums(&books, history.state.lsn), all_sums(&other, history.state.lsn));
}

#[test]
fn of_two_posters_each_record_is_posted_once() {
    let history = History::new(71, 1_500);
    let postings = postings(&history);
    let place = Place::new();
    let failures = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for chunk in [10, 13] {
            let mut ledger = place.open();
            let (postings, failures) = (&postings, &failures);
            scope.spawn(move || post_all(&mut ledger, postings, chunk, failures));
        }
    });
    assert!(failures.load(Ordering::Relaxed) > 0, "they never met");
    assert_is(&place, &history);
}

#[test]
fn a_poster_that_is_killed_a_hundred_times_loses_and_doubles_nothing() {
    let history = History::new(72, 3_000);
    let postings = postings(&history);
    let place = Place::new();
    let (failures, is_done) = (AtomicU32::new(0), AtomicBool::new(false));
    let failed = || failures.load(Ordering::Acquire);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            post_all(&mut place.open(), &postings, 4, &failures);
            is_done.store(true, Ordering::Release);
        });
        let mut admin = Session::open(&parsed(&place.pg.socket_url("admin", "postgres")), Purpose::Migrating).unwrap();
        // In the middle of a chunk: its rows are there, its commit is not.
        let kill = format!(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = '{}'
            AND usename = '{SERVICE}' AND query ~ '^(COPY|UPDATE (account|decision_now)|INSERT|COMMIT)'",
            place.database
        );
        while !is_done.load(Ordering::Acquire) && failed() < 100 {
            let before = failed();
            if admin.one(&kill, &[], |cells| cells.int(0)).unwrap() > 0 {
                // Who was idle finds out at the next call; one that was dying already has told before.
                let patience = Instant::now() + Duration::from_millis(50);
                while failed() == before && Instant::now() < patience {
                    std::thread::yield_now();
                }
            }
        }
    });
    assert!(failed() >= 100, "killed {} times only", failed());
    assert_is(&place, &history);
}

#[test]
fn a_server_that_crashes_keeps_what_was_secured_and_whole_chunks() {
    let history = History::new(73, 2_000);
    let all = postings(&history);
    let pg = Arc::new(PgServer::start(&["wal_writer_delay=10s"]));
    let database = pg.ledger(|url| {
        migrate(&parsed(url), Millis(0)).unwrap();
    });
    let place = Place { database, pg };
    let mut ledger = place.open();
    let (mut taken_back, failures) = (0, AtomicU32::new(0));
    for round in 1..=5 {
        let (half, end) = (all.len() * (2 * round - 1) / 10, all.len() * round / 5);
        post_all(&mut ledger, &all[..half], 50, &failures);
        let secured = ledger.secure().unwrap().unwrap();
        assert_eq!(secured, Lsn(half as u64));
        post_all(&mut ledger, &all[..end], 50, &failures);
        place.pg.stop(true);
        assert!(ledger.post(&all[..end]).is_ok(), "all of it was posted: nothing is asked");
        let away = ledger.position().unwrap_err();
        assert!(matches!(away, LedgerError::Io(_)), "{away}");
        place.pg.resume();
        let position = ledger.position().unwrap();
        assert!(secured <= position && position <= Lsn(end as u64), "{secured} {position} {end}");
        assert_eq!((position.0 - secured.0) % 50 * u64::from(position.0 != end as u64), 0, "a whole chunk");
        taken_back += end as u64 - position.0;
        let at = all[usize::try_from(position.0).unwrap() - 1].time;
        assert_alike(&loaded(&ledger), &replay(&history.events, position), at, "after the crash");
    }
    assert!(taken_back > 0, "no crash took anything back: the commits were waited for");
    post_all(&mut ledger, &all, 50, &failures);
    assert_is(&place, &history);
}

#[test]
fn a_fact_that_does_not_fit_the_books_stops_the_posting() {
    let history = History::new(9, 900);
    let mut postings = postings(&history);
    let at = postings.iter().position(|posting| matches!(posting.event, Event::Refunded(_))).unwrap();
    if let Event::Refunded(refund) = &mut postings[at].event {
        refund.amount = crate::domain::model::money::Yen::new(9_000_000);
    }
    let place = Place::new();
    let mut ledger = place.open();
    let error = ledger.post(&postings).unwrap_err();
    assert!(matches!(error, LedgerError::Corrupt(_)) && !error.is_retriable(), "{error}");
    assert_eq!(ledger.position().unwrap(), Lsn::ZERO);
}

#[test]
fn questions_outlive_a_server_that_was_away() {
    let pg = Arc::new(PgServer::start(&[]));
    let database = pg.ledger(|url| {
        migrate(&parsed(url), Millis(0)).unwrap();
    });
    let place = Place { database, pg };
    let books = PostgresBooks::new(place.service());
    assert_eq!(books.as_of().unwrap(), Lsn::ZERO);
    place.pg.stop(false);
    assert!(matches!(books.as_of(), Err(LedgerError::Io(_))));
    place.pg.resume();
    assert_eq!(books.as_of().unwrap(), Lsn::ZERO);
    // An idle connection that has gone is not noticed by who asks.
    place.sql(&format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{SERVICE}'"));
    assert_eq!(books.as_of().unwrap(), Lsn::ZERO);
}

/// A certificate for a name, signed by an authority; both as PEM.
fn certificates(name: &str) -> (String, String, String) {
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let signed = authority.self_signed(&authority_key).unwrap();
    let issuer = rcgen::Issuer::new(authority, authority_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let own = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    (signed.pem(), own.pem(), key.serialize_pem())
}

/// Beside the way, what is said of credentials, and of a server that a crash may damage.
#[test]
fn another_machine_is_known_by_its_certificate() {
    let (authority, certificate, key) = certificates("localhost");
    let pg = PgServer::start(&["fsync=off"]);
    let files = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = files.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let (authority, stranger) = (write("ca.pem", &authority), write("other.pem", &certificates("localhost").0));
    let database = pg.ledger(|url| {
        migrate(&parsed(url), Millis(0)).unwrap();
    });
    let open = |host: &str, authority: &std::path::Path, sandbox| {
        let url = pg.url(SERVICE, &database).replace("127.0.0.1", host) + "?sslmode=verify-full";
        let server = Server::parse(&url, Some(authority.to_owned()), None).unwrap();
        PostgresLedger::open(Arc::new(server), sandbox).map(drop)
    };
    let refused = |result: Result<(), LedgerError>, word: &str| {
        let error = result.unwrap_err();
        assert!(matches!(error, LedgerError::Refused(_)) && error.to_string().contains(word), "{word}: {error}");
        assert!(!error.to_string().contains(crate::postgres_server::PASSWORD), "{error}");
    };
    refused(open("localhost", &authority, true), "TLS");
    pg.serve_tls(&certificate, &key);
    open("localhost", &authority, true).unwrap();
    refused(open("localhost", &authority, false), "fsync = on");
    refused(open("127.0.0.1", &authority, true), "certificate");
    refused(open("localhost", &stranger, true), "certificate");
    refused(open("localhost", &files.path().join("none.pem"), true), "none.pem");

    let plain = |url: &str| PostgresLedger::open(parsed(url), true).map(drop);
    refused(plain(&pg.url(SERVICE, &database).replace("word", "wort")), "password authentication failed");
    refused(plain(&pg.url("nobody", &database)), "authentication failed");
    refused(plain(&pg.url(SERVICE, "nothing")), "does not exist");
}

/// How long a start takes with many customers who owe nothing: `SOKKETSU_LOAD_CUSTOMERS=10000000 cargo test --release --lib
/// a_large_load -- --ignored --nocapture`.
#[test]
#[ignore = "takes minutes and gigabytes"]
#[expect(clippy::print_stderr, reason = "it is there for its figures")]
fn a_large_load_is_timed() {
    let customers: u32 = option_env!("SOKKETSU_LOAD_CUSTOMERS").unwrap_or("1000000").parse().unwrap();
    let pg = Arc::new(PgServer::start(&["max_wal_size=4GB"]));
    let database = pg.ledger(|url| {
        migrate(&parsed(url), Millis(0)).unwrap();
    });
    let place = Place { database, pg };
    let policy = include_str!("../../../config/policy.toml").replace('\'', "''");
    place.sql(&format!("INSERT INTO policy VALUES (0, 1, 1, '{policy}', 0)"));
    place.sql(&format!(
        "INSERT INTO account SELECT 0, n, 'customer-' || n, 3, NULL, 19900401, 0, 1, 1, NULL, NULL, n % 7, NULL, 0, NULL, 0, 0,
            n % 4, 0, n % 20, n % 9, NULL, 0, 1 + n, 0, 0, NULL, NULL FROM generate_series(0, {customers} - 1) n"
    ));
    place.sql(&format!("UPDATE posted SET lsn = {customers} + 1, time = 1796000000000"));
    place.sql("VACUUM ANALYZE account");
    for _ in 0..2 {
        let began = Instant::now();
        let state = loaded(&PostgresBooks::new(place.service()));
        assert_eq!(state.next_customer().0, customers);
        eprintln!("{customers} customers in {} ms", began.elapsed().as_millis());
    }
}

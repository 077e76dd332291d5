//! A stop ends within 5 seconds of its first signal, whatever the disk, the ledger or the calendar do.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use super::damage::{buy, house};
use super::files::metric;
use super::server::{Client, How, Server, wait_until};

/// The contract's.
const WITHIN: Duration = Duration::from_secs(5);

/// Half a minute's work for the disk of [`on_a_slow_disk`]. They are new customers, who are never turned away and wait for
/// nothing but the engine.
const CUSTOMERS: usize = 300;

/// So many of them take the disk twice as long as a stop may take.
const TOO_MANY: f64 = 100.0;

/// Sends them, and waits for none of the answers, but until too many of them wait for their turn.
fn keep_busy(server: &Server) -> Vec<TcpStream> {
    let send = |n| {
        let mut stream = TcpStream::connect(server.http).expect("it listens");
        let body = json!({"identity": "verified"}).to_string();
        let head = format!(
            "PUT /v1/customers/slow-{n} HTTP/1.1\r\nhost: sokketsu\r\nauthorization: Bearer sandbox-office\r\n"
        );
        let head = format!("{head}content-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all(format!("{head}{body}").as_bytes()).expect("sent");
        stream
    };
    let streams: Vec<_> = (0..CUSTOMERS).map(send).collect();
    let mut client = server.client();
    // Those that are still to be read when the signal comes are nobody's work.
    wait_until("work for longer than a stop", Duration::from_secs(60), || {
        metric(&mut client, "sokketsu_inbox_depth") > TOO_MANY
    });
    streams
}

/// A program for [`How::through`]: each `fdatasync` takes so much longer, µs. (One that takes for ever would be no test:
/// `strace` holds the end of the process up as well, as long as the sync.)
fn slow_syncs(micros: u32) -> Vec<String> {
    let strace = "strace -D -f -qq --seccomp-bpf -o /dev/null -e trace=fdatasync -e";
    let delay = format!("inject=fdatasync:delay_enter={micros}");
    strace.split(' ').map(str::to_owned).chain([delay]).collect()
}

/// A server that makes each record durable by itself, which takes a tenth of a second.
fn on_a_slow_disk(data: &Path, config: &str) -> Server {
    let mut how = How { through: slow_syncs(100_000), ..How::with(&["--config", config]) };
    how.environment.push(("SOKKETSU_ENGINE__BATCH".to_owned(), "1".to_owned()));
    Server::start(data, how)
}

#[test]
#[ignore = "needs strace; ./check runs it"]
fn on_a_slow_disk_the_first_signal_ends_it_in_time() {
    let (_folder, data, config) = house("");
    let mut server = on_a_slow_disk(&data, &config);
    let waiting = keep_busy(&server);
    let told = Instant::now();
    server.signal("TERM");
    assert_eq!(server.wait(Duration::from_secs(60)).code(), Some(0));
    let took = told.elapsed();
    assert!(took < WITHIN && took > Duration::from_secs(3), "it had work for longer: {took:?}");
    drop(waiting);
}

#[test]
#[ignore = "needs strace; ./check runs it"]
fn on_a_slow_disk_the_second_signal_ends_it_at_once() {
    // Nobody is waited for, so by the second signal the engine alone is left.
    let (_folder, data, config) = house("[server]\ndrain_seconds = 0\n");
    let mut server = on_a_slow_disk(&data, &config);
    let mut waiting = keep_busy(&server);
    server.signal("TERM");
    for stream in &mut waiting {
        // Cut off, one way or the other.
        drop(stream.read_to_end(&mut Vec::new()));
    }
    let cut = Instant::now();
    wait_until("the end of the drain", WITHIN, || cut.elapsed() > Duration::from_millis(200));
    let told = Instant::now();
    server.signal("INT");
    assert_eq!(server.wait(Duration::from_secs(60)).code(), Some(0));
    assert!(told.elapsed() < Duration::from_secs(2), "{:?}", told.elapsed());
    drop(waiting);
}

#[test]
fn a_ledger_that_somebody_holds_does_not_hold_the_stop() {
    let (_folder, data, _) = house("");
    let mut server = Server::sandbox(&data, &[]);
    let ledger = rusqlite::Connection::open(data.join("ledger.db")).expect("the ledger");
    ledger.busy_timeout(Duration::from_secs(10)).expect("a timeout");
    ledger.execute_batch("BEGIN IMMEDIATE").expect("the ledger's lock");
    buy(&server, "S-1");
    let told = Instant::now();
    server.signal("TERM");
    assert_eq!(server.wait(Duration::from_secs(60)).code(), Some(0));
    assert!(told.elapsed() < WITHIN, "{:?}", told.elapsed());
    ledger.execute_batch("ROLLBACK").expect("ours");
    server.start_again();
    assert_eq!(buy(&server, "S-1")["replayed"], true, "nothing is lost");
}

/// Held from before the load until after the end: writing and, with `locks_readers`, reading too.
fn stop_under_a_lock(locks_readers: bool) {
    let (_folder, data, _) = house("");
    let mut server = Server::sandbox(&data, &["--sandbox-start", "2026-11-20T09:00:00+09:00"]);
    buy(&server, "S-0");
    let other = rusqlite::Connection::open(data.join("ledger.db")).expect("the ledger");
    other.busy_timeout(Duration::from_secs(10)).expect("a timeout");
    other.execute_batch("BEGIN EXCLUSIVE").expect("the ledger's lock");
    if locks_readers {
        // As a copy or a repair does that must not be disturbed.
        other.execute_batch("DROP TABLE posted").expect("ours until it is rolled back");
    }
    let bought = (1..=200).filter(|n| buy(&server, &format!("S-{n}"))["decision"] == "approved").count();
    // Calls that wait for the books: bills, cancels of what is not in memory, the clock.
    let call = |role: &str, method: &str, path: &str, body: &str| {
        let mut stream = TcpStream::connect(server.http).expect("it listens");
        let head = format!("{method} {path} HTTP/1.1\r\nhost: sokketsu\r\nauthorization: Bearer sandbox-{role}\r\n");
        let head = format!("{head}content-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all(format!("{head}{body}").as_bytes()).expect("sent");
        stream
    };
    let mut waiting = Vec::new();
    for n in 0..4 {
        waiting.push(call("office", "GET", "/v1/customers/1001/statements/2026-11", ""));
        let unseen = json!({"order_id": format!("U-{n}"), "merchant_id": "mrc_konbini"}).to_string();
        waiting.push(call("register", "POST", "/v1/cancellations", &unseen));
        let clock = json!({"now": format!("2026-11-20T09:0{}:00+09:00", n + 1)}).to_string();
        waiting.push(call("ops", "POST", "/sandbox/clock", &clock));
    }
    // The clock's call waits for the ledger, and nobody else does.
    let asked = Instant::now();
    assert_eq!(server.client().get("ops", "/livez").status, 200);
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    let told = Instant::now();
    server.signal("TERM");
    assert_eq!(server.wait(Duration::from_secs(60)).code(), Some(0));
    assert!(told.elapsed() < WITHIN, "{:?}", told.elapsed());
    drop(waiting);
    other.execute_batch("ROLLBACK").expect("ours");
    drop(other);
    server.start_again();
    for n in 0..=200 {
        assert_eq!(buy(&server, &format!("S-{n}"))["replayed"], true, "nothing is lost");
    }
    wait_until("the books have it all", Duration::from_secs(30), || {
        let books = rusqlite::Connection::open(data.join("ledger.db")).expect("the ledger");
        let rows = "SELECT count(*) FROM entries WHERE kind = 'purchase' AND customer_id = '1001'";
        // And the one before the lock.
        books
            .query_row(rows, [], |row| row.get::<_, i64>(0))
            .is_ok_and(|count| usize::try_from(count) == Ok(bought + 1))
    });
}

#[test]
fn a_ledger_that_is_locked_does_not_hold_the_stop_nor_do_calls_that_wait_for_it() {
    stop_under_a_lock(false);
}

#[test]
fn nor_does_one_whose_tables_somebody_is_changing() {
    stop_under_a_lock(true);
}

#[test]
#[ignore = "needs strace; ./check runs it"]
fn a_months_turn_does_not_keep_it_alive() {
    const CUSTOMERS: u32 = 4_000;
    let (_folder, data, _) = house("");
    let mut server = Server::sandbox(&data, &["--sandbox-start", "2026-11-20T09:00:00+09:00"]);
    let sell = |http, customers: std::ops::Range<u32>| {
        let mut client = Client::to(http);
        for n in customers {
            let adult = json!({"identity": "verified", "birth_date": "1990-04-01"});
            let made = client.send("office", "PUT", &format!("/v1/customers/turn-{n}"), &adult);
            assert!(made.status < 300, "{made:?}");
            let body = json!({"order_id": format!("T-{n}"), "customer_id": format!("turn-{n}"), "channel": "online",
                "amount": 500, "merchant": {"id": "mrc_konbini"}});
            let sold = client.send("register", "POST", "/v1/authorizations", &body);
            assert_eq!(sold.json()["decision"], "approved", "{sold:?}");
        }
    };
    std::thread::scope(|scope| {
        let http = server.http;
        let part = CUSTOMERS / 8;
        for n in 0..8 {
            scope.spawn(move || sell(http, n * part..(n + 1) * part));
        }
    });
    server.signal("TERM");
    assert_eq!(server.wait(WITHIN).code(), Some(0));
    // Some 10 of the calendar's facts a sync: they take longer than a stop may.
    let mut server = Server::start(&data, How { through: slow_syncs(20_000), ..How::default() });
    let turn = json!({"now": "2026-12-01T00:20:00+09:00"});
    assert_eq!(server.client().send("ops", "POST", "/sandbox/clock", &turn).status, 200);
    let told = Instant::now();
    server.signal("TERM");
    assert_eq!(server.wait(Duration::from_secs(60)).code(), Some(0));
    assert!(told.elapsed() < Duration::from_secs(3), "it does not wait for the calendar: {:?}", told.elapsed());
    let server = Server::sandbox(&data, &[]);
    // What it did not write comes after the next start.
    let mut client = server.client();
    let bill = "/v1/customers/turn-7/statements/2026-11";
    wait_until("the bill", Duration::from_secs(60), || client.get("wallet", bill).status == 200);
}

/// Whether the process would hear a SIGTERM rather than die of it.
fn hears_sigterm(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & (1 << 14) != 0)
}

#[test]
fn a_signal_during_recovery_ends_it_at_once() {
    let (_folder, data, _) = house("");
    let mut server = Server::sandbox(&data, &[]);
    buy(&server, "S-1");
    server.kill();
    // A start waits two seconds for a ledger that somebody holds, before it gives up with 75.
    let ledger = rusqlite::Connection::open(data.join("ledger.db")).expect("the ledger");
    ledger
        .execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; UPDATE posted SET lsn = lsn")
        .expect("a lock");
    let mut child = How::default().command(&data).stdout(std::process::Stdio::null()).spawn().expect("the binary");
    wait_until("it hears signals", WITHIN, || hears_sigterm(child.id()));
    let sent = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().expect("kill is installed");
    assert!(sent.success());
    let told = Instant::now();
    let status = child.wait().expect("our own child");
    assert_eq!(status.code(), Some(0), "not 75, and not killed by the signal");
    assert!(told.elapsed() < Duration::from_secs(1), "{:?}", told.elapsed());
    drop(ledger);
    server.start_again();
    assert_eq!(buy(&server, "S-1")["replayed"], true);
}

#[test]
fn a_clean_stop_leaves_the_ledger_in_one_file_also_after_questions_about_the_past() {
    let (_folder, data, config) = house("");
    let mut server = Server::start(&data, How::with(&["--config", &config]));
    assert_eq!(buy(&server, "W-1")["decision"], "approved");
    // Answered by connections that stay open.
    assert_eq!(server.client().get("office", "/v1/customers/1001/statements").status, 200);
    assert!(data.join("ledger.db-wal").exists());
    server.signal("TERM");
    assert_eq!(server.wait(WITHIN).code(), Some(0));
    let left: Vec<_> = ["ledger.db-wal", "ledger.db-shm"].iter().filter(|name| data.join(name).exists()).collect();
    assert!(left.is_empty(), "{left:?}");
}

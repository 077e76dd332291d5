//! Damage that is found in the journal while the service runs, and who may be stopped by it; what becomes of old
//! segments; who may read the records.

use std::fs::{self, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::server::{BINARY, How, Server, wait_until};

const SOON: Duration = Duration::from_secs(30);

pub fn buy(server: &Server, order: &str) -> Value {
    let body = json!({"order_id": order, "customer_id": "1001", "channel": "online", "amount": 100,
        "confirm_repeat": true, "merchant": {"id": "mrc_konbini"}});
    let answer = server.client().send("register", "POST", "/v1/authorizations", &body);
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

/// Segments of the journal, oldest first.
pub fn segments(data: &Path) -> Vec<PathBuf> {
    let list = fs::read_dir(data.join("journal")).expect("a journal").map(|entry| entry.expect("an entry").path());
    let mut list: Vec<_> = list.filter(|path| path.extension().is_some_and(|ext| ext == "seg")).collect();
    list.sort();
    list
}

fn first_of(segment: &Path) -> u64 {
    segment.file_stem().and_then(|name| name.to_str()).and_then(|name| name.parse().ok()).expect("a segment's name")
}

/// Writes large records, as few as that takes, until there are so many segments.
pub fn fill_segments(server: &Server, to: Option<std::net::SocketAddr>, count: usize) {
    let mut client = super::server::Client::to(to.unwrap_or(server.http));
    for n in 0..50_000 {
        if n % 50 == 0 && segments(&server.data).len() >= count {
            return;
        }
        let reason = format!("{}{n}", "理".repeat(190));
        let body = json!({"identity": "rejected", "identity_reason": reason});
        let answer = client.send("office", "PUT", "/v1/customers/filler", &body);
        assert!(matches!(answer.status, 200 | 201), "{answer:?}");
    }
    panic!("the journal does not grow");
}

/// A configuration with these lines, and the folder that it and the data are in.
pub fn house(lines: &str) -> (tempfile::TempDir, PathBuf, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("sokketsu.toml");
    fs::write(&config, lines).expect("a file");
    let data = folder.path().join("data");
    let config = config.to_string_lossy().into_owned();
    (folder, data, config)
}

fn last_byte(segment: &Path) -> u64 {
    let bytes = fs::read(segment).expect("a segment");
    bytes.iter().rposition(|&byte| byte != 0).expect("records") as u64
}

fn flip(segment: &Path, at: u64) {
    let file = fs::OpenOptions::new().read(true).write(true).open(segment).expect("a segment");
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("a record's byte");
    file.write_all_at(&[byte[0] ^ 4], at).expect("a flipped bit");
}

fn posted(data: &Path) -> u64 {
    let ledger = rusqlite::Connection::open(data.join("ledger.db")).expect("the ledger");
    let lsn: i64 = ledger.query_row("SELECT lsn FROM posted", [], |row| row.get(0)).expect("a position");
    lsn.cast_unsigned()
}

#[test]
fn damage_that_the_writer_of_the_books_meets_stops_decisions_with_65() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, log) = (folder.path().join("data"), folder.path().join("log"));
    let mut server = Server::start(&data, How::default().logging_to(&log));
    // While somebody holds the ledger, the writer stays in its present chunk and reads no further.
    let ledger = rusqlite::Connection::open(data.join("ledger.db")).expect("the ledger");
    ledger.busy_timeout(SOON).expect("a timeout");
    ledger.execute_batch("BEGIN IMMEDIATE").expect("the ledger's lock");
    buy(&server, "D-1");
    wait_until("the writer waits for the ledger", SOON, || server.said().contains("the ledger can't be written"));
    let damaged = buy(&server, "D-2");
    let segment = segments(&data).remove(0);
    flip(&segment, last_byte(&segment));
    buy(&server, "D-3");
    ledger.execute_batch("ROLLBACK").expect("let go");
    assert_eq!(server.wait(SOON).code(), Some(65), "{}", server.said());
    let said = server.said();
    let line = said.lines().find(|line| line.contains("the journal is damaged in")).expect("it says why");
    let name = segment.file_name().expect("a name").to_string_lossy().into_owned();
    assert!(line.contains(&name) && line.contains(", byte ") && line.contains(", record "), "{line}");
    assert_eq!(damaged["decision"], "approved");
    let again = How::default().through(&["timeout", "30"]).command(&data).stdout(Stdio::null()).output();
    let again = again.expect("the binary");
    assert_eq!(again.status.code(), Some(65), "a start refuses it too");
}

#[test]
fn damage_in_the_part_that_a_start_reads_ends_the_service_whoever_reads_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, log) = (folder.path().join("data"), folder.path().join("log"));
    let mut server = Server::start(&data, How::default().logging_to(&log));
    buy(&server, "D-1");
    let segment = segments(&data).remove(0);
    flip(&segment, 20_000);
    // The answer may be cut off; the end of the process is what counts.
    drop(server.client().call("ops", "GET", "/v1/events", None));
    drop(server.client().call("ops", "GET", "/v1/events?after=500", None));
    assert_eq!(server.wait(SOON).code(), Some(65), "{}", server.said());
    assert!(server.said().contains("the journal is damaged in"), "{}", server.said());
}

#[test]
fn damage_in_an_old_part_ends_the_feed_and_stops_nobody() {
    let (folder, data, config) = house("[journal]\nsegment_mib = 1\nretain_days = 400\n");
    let log = folder.path().join("log");
    let mut server = Server::start(&data, How::with(&["--config", &config]).logging_to(&log));
    fill_segments(&server, None, 3);
    let second = first_of(&segments(&data)[1]);
    wait_until("the ledger has the second segment", SOON, || posted(&data) > second);
    let oldest = segments(&data).remove(0);
    flip(&oldest, 20_000);
    let mut client = server.client();
    assert!(client.call("ops", "GET", "/v1/events?limit=100000", None).is_err(), "the body has no end");
    let answer = client.get("ops", "/v1/events?after=500");
    assert_eq!((answer.status, &answer.json()["reason"]), (410, &json!("events_released")), "{answer:?}");
    assert_eq!(answer.json()["first"], second, "{answer:?}");
    let rest = client.get("ops", &format!("/v1/events?after={}&limit=1", second - 1));
    let first: Value = serde_json::from_str(rest.text.lines().next().expect("a line")).expect("JSON");
    assert_eq!((rest.status, &first["lsn"]), (200, &json!(second)));
    assert!(server.said().contains("which the ledger has, is damaged"), "an alarm: {}", server.said());
    assert_eq!(buy(&server, "D-1")["decision"], "approved");
    // It is still there after a restart, and goes with time: one segment after the other, as far as the ledger has it.
    let later = client.send("ops", "POST", "/sandbox/clock", &json!({"now": "2098-01-01T00:00:00+09:00"}));
    assert_eq!(later.status, 200, "{later:?}");
    server.signal("TERM");
    assert_eq!(server.wait(Duration::from_secs(6)).code(), Some(0));
    server.start_again();
    wait_until("the oldest segment is released", SOON, || !oldest.exists());
    let answer = server.client().get("ops", "/v1/events?after=0");
    assert_eq!((answer.status, &answer.json()["reason"]), (410, &json!("events_released")), "{answer:?}");
    assert!(buy(&server, "D-2")["decision"].is_string(), "it decides; the first bill is overdue by now");
}

/// Flips the last record of a stopped server's journal.
fn stopped_with_a_flipped_end(folder: &Path) -> (PathBuf, PathBuf) {
    let data = folder.join("data");
    let mut server = Server::sandbox(&data, &[]);
    buy(&server, "D-1");
    server.signal("TERM");
    assert_eq!(server.wait(Duration::from_secs(6)).code(), Some(0));
    let segment = segments(&data).remove(0);
    flip(&segment, last_byte(&segment));
    (data, segment)
}

#[test]
fn a_flipped_last_record_that_the_ledger_has_is_65_and_nothing_is_touched() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, segment) = stopped_with_a_flipped_end(folder.path());
    let before = fs::read(&segment).expect("a segment");
    for command in [&["serve", "--sandbox", "--http", "127.0.0.1:0", "--data"][..], &["verify", "--data"]] {
        let output = Command::new(BINARY).args(command).arg(&data).output().expect("the binary");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(65), "{command:?}: {said}");
        assert!(said.contains("the ledger has posted up to record"), "{said}");
        assert!(fs::read(&segment).expect("a segment") == before, "{command:?} changed the journal");
    }
    // Without the ledger nothing proves that it was whole: it is cut, and a copy of it is kept.
    for name in ["ledger.db", "ledger.db-wal", "ledger.db-shm"] {
        drop(fs::remove_file(data.join(name)));
    }
    let server = Server::sandbox(&data, &[]);
    let copies: Vec<_> =
        fs::read_dir(data.join("journal")).expect("a journal").map(|e| e.expect("one").path()).collect();
    let copy = copies.iter().find(|path| path.extension().is_some_and(|ext| ext == "cut")).expect("a copy");
    let copy = fs::read(copy).expect("a copy");
    assert!(before.windows(copy.len()).any(|window| window == copy), "the torn bytes as they were");
    assert_eq!(buy(&server, "D-2")["decision"], "approved");
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}

#[test]
fn the_records_are_their_owners_alone_also_where_they_were_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let files = |data: &Path| {
        let of = |folder: PathBuf| fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("one").path());
        of(data.to_owned()).chain(of(data.join("journal"))).filter(|path| path.is_file()).collect::<Vec<_>>()
    };
    let check = |data: &Path| {
        assert_eq!((mode(data), mode(&data.join("journal"))), (0o700, 0o700));
        for file in files(data) {
            assert_eq!(mode(&file), 0o600, "{}", file.display());
        }
    };
    // The usual umask of a login shell.
    let how = || How::default().through(&["sh", "-c", "umask 022; exec \"$@\"", "sh"]);
    let mut server = Server::start(&data, how());
    let clock = server.client().send("ops", "POST", "/sandbox/clock", &json!({"now": "2098-01-01T00:00:00+09:00"}));
    assert_eq!(clock.status, 200, "{clock:?}");
    check(&data);
    assert!(files(&data).len() >= 5, "{:?}", files(&data));
    server.kill();
    // As an earlier version left them.
    fs::set_permissions(&data, Permissions::from_mode(0o755)).expect("ours");
    fs::set_permissions(data.join("journal"), Permissions::from_mode(0o755)).expect("ours");
    for file in files(&data) {
        fs::set_permissions(file, Permissions::from_mode(0o644)).expect("ours");
    }
    server.start_again();
    check(&data);

    let home = folder.path().join("home");
    fs::create_dir(&home).expect("a folder");
    fs::write(home.join("letter"), "x").expect("a file");
    fs::set_permissions(&home, Permissions::from_mode(0o755)).expect("ours");
    let output = How::default().through(&["timeout", "30"]).command(&home).output().expect("the binary");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(said.contains("chmod 700"), "{said}");
    assert_eq!((mode(&home), fs::read_dir(&home).expect("a folder").count()), (0o755, 1), "it is as it was");
}

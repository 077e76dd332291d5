//! What the contract states for broken surroundings: exit codes, and nothing lost.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;

use super::disk::SmallDisk;
use super::load::{audit, work};
use super::server::{BINARY, Server};

/// Runs `serve --sandbox` to its end and gives the exit code with what it said.
fn serve_fails(data: &Path, options: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(BINARY);
    command.args(["serve", "--sandbox", "--http", "127.0.0.1:0", "--data"]).arg(data).args(options);
    let output = command.output().expect("the binary is built");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn buy(server: &Server, order: &str, yen: u64) -> serde_json::Value {
    let mut client = server.client();
    let body = json!({"order_id": order, "customer_id": "1001", "channel": "online", "amount": yen,
        "merchant": {"id": "mrc_konbini"}});
    let answer = client.send("register", "POST", "/v1/authorizations", &body);
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

fn segments(data: &Path) -> Vec<PathBuf> {
    let list = fs::read_dir(data.join("journal")).expect("a journal").map(|entry| entry.expect("an entry").path());
    let mut list: Vec<_> = list.filter(|path| path.extension().is_some_and(|ext| ext == "seg")).collect();
    list.sort();
    list
}

#[test]
fn a_second_instance_on_one_directory_is_75() {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::sandbox(data.path(), &[]);
    let (code, said) = serve_fails(data.path(), &[]);
    assert_eq!(code, Some(75), "{said}");
    assert!(said.contains("LOCK"), "it names what is held: {said}");
    assert_eq!(buy(&server, "R-1", 100)["decision"], "approved", "the first goes on");
}

#[test]
fn a_damaged_journal_is_65_and_stays_untouched() {
    let data = tempfile::tempdir().expect("a folder");
    let mut server = Server::sandbox(data.path(), &[]);
    for n in 0..20 {
        buy(&server, &format!("R-{n}"), 100 + n);
    }
    server.kill();
    let segment = segments(data.path()).remove(0);
    // The ledger would pass over what it has posted; without it every record is needed.
    fs::remove_file(data.path().join("ledger.db")).expect("a ledger");
    for extra in ["ledger.db-wal", "ledger.db-shm"] {
        drop(fs::remove_file(data.path().join(extra)));
    }
    let file = fs::OpenOptions::new().read(true).write(true).open(&segment).expect("a segment");
    let mut byte = [0];
    file.read_exact_at(&mut byte, 20_000).expect("a record's byte");
    file.write_all_at(&[byte[0] ^ 4], 20_000).expect("a flipped bit");
    let before: Vec<_> = segments(data.path()).iter().map(|path| fs::read(path).expect("a segment")).collect();
    let (code, said) = serve_fails(data.path(), &[]);
    assert_eq!(code, Some(65), "{said}");
    assert!(said.contains(&*segment.file_name().expect("a name").to_string_lossy()), "it names the file: {said}");
    let after: Vec<_> = segments(data.path()).iter().map(|path| fs::read(path).expect("a segment")).collect();
    assert!(before == after, "the journal was changed");
    let verify =
        Command::new(BINARY).args(["verify", "--sandbox", "--data"]).arg(data.path()).output().expect("verify");
    assert_eq!(verify.status.code(), Some(65));
}

#[test]
fn a_ledger_without_its_journal_is_65_and_no_new_journal_is_begun() {
    let data = tempfile::tempdir().expect("a folder");
    let mut server = Server::sandbox(data.path(), &[]);
    buy(&server, "R-1", 100);
    server.signal("TERM");
    assert_eq!(server.wait(Duration::from_secs(5)).code(), Some(0));
    fs::rename(data.path().join("journal"), data.path().join("elsewhere")).expect("moved");
    let (code, said) = serve_fails(data.path(), &[]);
    assert_eq!(code, Some(65), "{said}");
    assert!(!data.path().join("journal").exists(), "nothing was begun in its place");
    fs::rename(data.path().join("elsewhere"), data.path().join("journal")).expect("moved back");
    fs::remove_file(data.path().join("ledger.db")).expect("a ledger");
    let verify = Command::new(BINARY).args(["verify", "--data"]).arg(data.path()).output().expect("verify");
    assert_eq!(verify.status.code(), Some(0), "the journal alone is enough");
    server.start_again();
    let again = buy(&server, "R-1", 100);
    assert_eq!((&again["replayed"], &again["decision"]), (&json!(true), &json!("approved")), "and rebuilds the ledger");
}

#[test]
fn a_sandbox_does_not_start_as_the_real_thing() {
    let data = tempfile::tempdir().expect("a folder");
    Server::sandbox(data.path(), &[]).kill();
    // A configuration without `--sandbox` must not take up a sandbox's journal; whatever is missing for a
    // production start, the exit is 78 and the directory is as it was.
    let output = Command::new(BINARY).args(["serve", "--data"]).arg(data.path()).output().expect("the binary");
    assert_eq!(output.status.code(), Some(78), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn unknown_commands_and_flags_are_64() {
    for arguments in [&["serv"][..], &["serve", "--nonsense"], &["serve", "--http", "here"], &[]] {
        let output = Command::new(BINARY).args(arguments).output().expect("the binary");
        assert_eq!(output.status.code(), Some(64), "{arguments:?}");
    }
}

#[test]
fn a_signal_drains_and_exits_0_within_5_seconds() {
    let data = tempfile::tempdir().expect("a folder");
    let mut server = Server::sandbox(data.path(), &[]);
    let mut idle = server.client();
    assert_eq!(idle.get("ops", "/readyz").status, 200);
    let first = buy(&server, "R-1", 100);
    server.signal("TERM");
    assert_eq!(server.wait(Duration::from_secs(5)).code(), Some(0));
    let ledger = rusqlite::Connection::open(data.path().join("ledger.db")).expect("the ledger");
    let count = "SELECT count(*) FROM decisions WHERE authorization_id = ?1";
    let count: i64 = ledger.query_row(count, [first["authorization_id"].as_str()], |row| row.get(0)).expect("a count");
    assert_eq!(count, 1, "the ledger was drained too");
}

#[test]
fn a_full_disk_approves_nothing_more_and_loses_nothing() {
    let disk = SmallDisk::mount("6m");
    let config = tempfile::tempdir().expect("a folder");
    let file = config.path().join("sokketsu.toml");
    fs::write(&file, "[journal]\nsegment_mib = 1\n").expect("a file");
    let data = disk.path().join("data");
    let mut server = Server::sandbox(&data, &["--config", &file.to_string_lossy()]);
    let stop = AtomicBool::new(false);
    let mut known = HashMap::new();
    let ended = std::thread::scope(|scope| {
        let http = server.http;
        let workers: Vec<_> = (0..super::load::WORKERS)
            .map(|n| {
                scope.spawn({
                    let stop = &stop;
                    move || work(http, n, 0, stop)
                })
            })
            .collect();
        let ended = server.wait(Duration::from_secs(120));
        stop.store(true, Ordering::Release);
        for worker in workers {
            known.extend(worker.join().expect("a worker's assertion"));
        }
        ended
    });
    assert_eq!(ended.code(), Some(74), "a journal that can't be written ends the process");
    assert!(known.values().any(|known| known.answer.is_some()));
    disk.grow("64m");
    server.start_again();
    audit(&server, &known);
    assert_eq!(buy(&server, "R-after", 100)["decision"], "approved");
}

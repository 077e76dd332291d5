//! The tenets against SIGKILL: under load the real binary is killed, started again and asked about everything it
//! ever answered. No answered decision may be lost or made twice, in memory or in the ledger.
//!
//! The same with the power of its file system cut, so that whatever was not synced is gone.
//!
//! `SOKKETSU_KILLS` (12) and `SOKKETSU_CUTS` (4) set how many, `SOKKETSU_SEED` the pauses between them.

use std::collections::HashMap;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::disk::PowerDisk;
use super::load::{Known, WORKERS, audit, audit_ledger, work};
use super::server::{BINARY, Server};

fn from_env(name: &str, default: u64) -> u64 {
    #[expect(clippy::disallowed_methods, reason = "a test's own switch")]
    let value = std::env::var(name);
    value.ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Lets the registers work for a while, then does `end` to the server under them; gives what they know.
fn under_load(
    server: &mut Server,
    round: u64,
    pause: Duration,
    end: impl FnOnce(&mut Server),
) -> HashMap<String, Known> {
    let stop = Arc::new(AtomicBool::new(false));
    let http = server.http;
    let start = |worker| {
        let stop = Arc::clone(&stop);
        std::thread::spawn(move || work(http, worker, round, &stop))
    };
    let workers: Vec<_> = (0..WORKERS).map(start).collect();
    wait(pause);
    end(server);
    stop.store(true, Ordering::Release);
    workers.into_iter().flat_map(|worker| worker.join().expect("a worker's assertion")).collect()
}

/// Asks about everything, stops cleanly, audits the ledger and lets `verify` judge everything again.
fn settle(server: &mut Server, known: &HashMap<String, Known>, ends: u64) {
    let answered = known.values().filter(|known| known.answer.is_some()).count();
    assert!(answered > 100, "only {answered} answers in {ends} rounds prove little");
    let exposure = audit(server, known);
    server.signal("TERM");
    assert_eq!(server.wait(Duration::from_secs(10)).code(), Some(0), "SIGTERM ends cleanly");
    audit_ledger(&server.data, known, &exposure);
    let verify = Command::new(BINARY).args(["verify", "--data"]).arg(&server.data).output().expect("verify runs");
    let said = String::from_utf8_lossy(&verify.stdout);
    assert!(verify.status.success(), "verify: {said}{}", String::from_utf8_lossy(&verify.stderr));
    eprintln!("{ends} ends, {} orders, {answered} answered, none lost, none twice\n{said}", known.len());
}

#[test]
fn killed_under_load_it_loses_nothing_and_charges_nothing_twice() {
    let (kills, seed) = (from_env("SOKKETSU_KILLS", 12), from_env("SOKKETSU_SEED", 1));
    let mut random = StdRng::seed_from_u64(seed);
    let data = tempfile::tempdir().expect("a folder");
    let mut server = Server::sandbox(data.path(), &[]);
    let mut known = HashMap::new();
    for round in 0..kills {
        let pause = Duration::from_millis(100 + random.next_u64() % 400);
        known.extend(under_load(&mut server, round, pause, Server::kill));
        server.start_again();
    }
    settle(&mut server, &known, kills);
}

#[test]
fn cut_off_the_power_under_load_it_loses_nothing() {
    let (cuts, seed) = (from_env("SOKKETSU_CUTS", 4), from_env("SOKKETSU_SEED", 1));
    let mut random = StdRng::seed_from_u64(seed);
    let mut disk = PowerDisk::make("400M");
    let mut server = Server::sandbox(&disk.path().join("data"), &[]);
    let mut known = HashMap::new();
    for round in 0..cuts {
        let pause = Duration::from_millis(200 + random.next_u64() % 400);
        known.extend(under_load(&mut server, round, pause, |server| {
            disk.cut_power();
            server.kill();
        }));
        disk.unmount();
        disk.mount();
        server.start_again();
    }
    settle(&mut server, &known, cuts);
    drop(server);
}

#[expect(clippy::disallowed_methods, reason = "the moment of a kill is random by design; nothing waits for it")]
fn wait(time: Duration) {
    std::thread::sleep(time);
}

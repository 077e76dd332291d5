//! The tenets against SIGKILL: under load the real binary is killed, started again and asked about everything it
//! ever answered. No answered decision may be lost or made twice, in memory or in the ledger.
//!
//! `SOKKETSU_KILLS` sets the number of kills (12 by default), `SOKKETSU_SEED` the pauses between them.

use std::collections::HashMap;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::load::{Known, WORKERS, audit, audit_ledger, work};
use super::server::{BINARY, Server};

fn from_env(name: &str, default: u64) -> u64 {
    #[expect(clippy::disallowed_methods, reason = "a test's own switch")]
    let value = std::env::var(name);
    value.ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn killed_under_load_it_loses_nothing_and_charges_nothing_twice() {
    let (kills, seed) = (from_env("SOKKETSU_KILLS", 12), from_env("SOKKETSU_SEED", 1));
    let mut random = StdRng::seed_from_u64(seed);
    let data = tempfile::tempdir().expect("a folder");
    let mut server = Server::sandbox(data.path(), &[]);
    let mut known: HashMap<String, Known> = HashMap::new();
    for round in 0..kills {
        let stop = Arc::new(AtomicBool::new(false));
        let http = server.http;
        let workers: Vec<_> = (0..WORKERS)
            .map(|worker| {
                let stop = Arc::clone(&stop);
                std::thread::spawn(move || work(http, worker, round, &stop))
            })
            .collect();
        wait(Duration::from_millis(100 + random.next_u64() % 400));
        server.kill();
        stop.store(true, Ordering::Release);
        for worker in workers {
            known.extend(worker.join().expect("a worker's assertion"));
        }
        server.start_again();
    }
    let answered = known.values().filter(|known| known.answer.is_some()).count();
    assert!(answered > 100, "only {answered} answers in {kills} rounds prove little");
    let exposure = audit(&server, &known);
    server.signal("TERM");
    assert_eq!(server.wait(Duration::from_secs(10)).code(), Some(0), "SIGTERM ends cleanly");
    audit_ledger(data.path(), &known, &exposure);
    let verify = Command::new(BINARY).args(["verify", "--data"]).arg(data.path()).output().expect("verify runs");
    let said = String::from_utf8_lossy(&verify.stdout);
    assert!(verify.status.success(), "verify: {said}{}", String::from_utf8_lossy(&verify.stderr));
    eprintln!("{kills} kills, {} orders, {answered} answered, none lost, none twice\n{said}", known.len());
}

#[expect(clippy::disallowed_methods, reason = "the moment of a kill is random by design; nothing waits for it")]
fn wait(time: Duration) {
    std::thread::sleep(time);
}

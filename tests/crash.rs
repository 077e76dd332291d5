//! The tenets against SIGKILL: under load the real binary is killed, started again and asked about everything it
//! ever answered. No answered decision may be lost or made twice, in memory or in the ledger.
//!
//! `SOKKETSU_KILLS` sets the number of kills (12 by default), `SOKKETSU_SEED` the pauses between them.

mod server;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use server::{BINARY, Client, Server};

const WORKERS: u64 = 4;

fn from_env(name: &str, default: u64) -> u64 {
    #[expect(clippy::disallowed_methods, reason = "a test's own switch")]
    let value = std::env::var(name);
    value.ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// What the outside knows of an order.
#[derive(Clone, Debug)]
struct Known {
    customer: u64,
    amount: u64,
    /// The whole answer, if one came.
    answer: Option<Value>,
    /// Whether a cancel was answered, and what it said; `Err` is a cancel sent and not answered.
    cancel: Option<Result<String, ()>>,
}

/// Sends purchases until the server is gone or the round is over. A quarter is retried, a fifth cancelled.
fn work(http: SocketAddr, worker: u64, round: u64, stop: &AtomicBool) -> HashMap<String, Known> {
    let mut client = Client::to(http);
    let mut random = StdRng::seed_from_u64(round * 100 + worker);
    let mut known = HashMap::new();
    for count in 0.. {
        if stop.load(Ordering::Acquire) {
            break;
        }
        let customer = 2_000 + (random.next_u64() % (1_000 / WORKERS)) * WORKERS + worker;
        let (order, amount) = (format!("C-{round}-{worker}-{count}"), 1 + random.next_u64() % 200);
        let Ok(code) = client.call("wallet", "POST", "/v1/codes", Some(&json!({"customer_id": customer.to_string()})))
        else {
            break;
        };
        if code.status != 201 {
            continue;
        }
        let body = json!({"order_id": order, "code": code.json()["barcode"], "amount": amount, "confirm_repeat": true,
            "merchant": {"id": "mrc_konbini", "store_id": "S001", "terminal_id": format!("T{worker}")}, "deadline_ms": 30_000});
        let entry = known.entry(order.clone()).or_insert(Known { customer, amount, answer: None, cancel: None });
        let Ok(answer) = client.call("register", "POST", "/v1/authorizations", Some(&body)) else { break };
        assert_eq!(answer.status, 200, "{answer:?}");
        entry.answer = Some(answer.json());
        if random.next_u64().is_multiple_of(4) {
            let Ok(again) = client.call("register", "POST", "/v1/authorizations", Some(&body)) else { break };
            same_answer(&answer.json(), &again.json());
        }
        if random.next_u64().is_multiple_of(5) {
            entry.cancel = Some(Err(()));
            let body = json!({"order_id": order, "merchant_id": "mrc_konbini"});
            let Ok(answer) = client.call("register", "POST", "/v1/cancellations", Some(&body)) else { break };
            entry.cancel = Some(Ok(answer.json()["action"].as_str().unwrap_or_default().to_owned()));
        }
    }
    known
}

/// A replay is the first answer but for `replayed` and the present status.
fn same_answer(first: &Value, again: &Value) {
    for field in [
        "authorization_id",
        "order_id",
        "decision",
        "amount",
        "approval_code",
        "decided_at",
        "reason",
        "statement",
        "points",
    ] {
        assert_eq!(first[field], again[field], "{field} of a repeated answer");
    }
}

/// Asks the server about every order; gives each customer's exposure as the answers make it.
fn audit(server: &Server, known: &HashMap<String, Known>) -> HashMap<u64, u64> {
    let mut client = server.client();
    let mut exposure: HashMap<u64, u64> = HashMap::new();
    for (order, known) in known {
        let path = format!("/v1/authorizations?merchant_id=mrc_konbini&order_id={order}");
        let found = client.get("register", &path);
        if let Some(first) = &known.answer {
            assert_eq!(found.status, 200, "an answered decision is lost: {first}");
            same_answer(first, &found.json());
        } else if found.status == 404 {
            continue;
        }
        let told = found.json();
        let status = told["status"].as_str().unwrap_or_default();
        match &known.cancel {
            Some(Ok(action)) if action == "reversed" => assert_eq!(status, "cancelled", "{order}"),
            Some(Err(())) => assert!(["captured", "cancelled", "denied"].contains(&status), "{order} is {status}"),
            Some(Ok(_)) | None => assert!(["captured", "denied"].contains(&status), "{order} is {status}"),
        }
        if status == "captured" {
            *exposure.entry(known.customer).or_default() += known.amount;
        }
    }
    for customer in 2_000..3_000 {
        let told = client.get("office", &format!("/v1/customers/{customer}")).json();
        let expected = exposure.get(&customer).copied().unwrap_or(0);
        assert_eq!(told["exposure"]["total"], expected, "exposure of {customer}");
        assert!(expected <= 15_000, "an approval went above the limit");
    }
    exposure
}

/// Every answered decision is in the ledger exactly once, and the entries come to the exposures.
fn audit_ledger(data: &Path, known: &HashMap<String, Known>, exposure: &HashMap<u64, u64>) {
    let ledger = rusqlite::Connection::open(data.join("ledger.db")).expect("the ledger");
    let mut rows: HashMap<String, Vec<(String, String)>> = HashMap::new();
    let mut query = ledger.prepare("SELECT order_id, authorization_id, decision FROM decisions").expect("the view");
    let found = query.query_map([], |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?)))).expect("rows");
    for row in found {
        let (order, decision): (String, (String, String)) = row.expect("a row");
        rows.entry(order).or_default().push(decision);
    }
    for (order, known) in known {
        let of_order = rows.get(order).map_or(&[][..], |rows| rows);
        assert!(of_order.len() <= 1, "{order} is in the ledger {} times", of_order.len());
        if let Some(answer) = &known.answer {
            let (id, decision) = of_order.first().unwrap_or_else(|| panic!("{order} is not in the ledger"));
            assert_eq!(
                (answer["authorization_id"].as_str(), answer["decision"].as_str()),
                (Some(id.as_str()), Some(decision.as_str()))
            );
        }
    }
    let sum = "SELECT customer_id, SUM(amount) FROM entries WHERE account = 'exposure' GROUP BY customer_id";
    let mut query = ledger.prepare(sum).expect("the view");
    let sums: HashMap<String, i64> = query
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .expect("rows")
        .map(|row| row.expect("a row"))
        .collect();
    for customer in 2_000..3_000u64 {
        let expected = i64::try_from(exposure.get(&customer).copied().unwrap_or(0)).expect("fits");
        assert_eq!(sums.get(&customer.to_string()).copied().unwrap_or(0), expected, "entries of {customer}");
    }
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

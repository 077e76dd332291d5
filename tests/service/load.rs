//! Registers at work, and the audit of what they were told.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use super::server::{Client, Server};

pub const WORKERS: u64 = 4;

/// What the outside knows of an order.
#[derive(Clone, Debug)]
pub struct Known {
    pub customer: u64,
    pub amount: u64,
    /// The whole answer, if one came.
    pub answer: Option<Value>,
    /// Whether a cancel was answered, and what it said; `Err` is a cancel sent and not answered.
    pub cancel: Option<Result<String, ()>>,
}

/// Sends purchases until the server is gone or the round is over. A quarter is retried, a fifth cancelled.
pub fn work(http: SocketAddr, worker: u64, round: u64, stop: &AtomicBool) -> HashMap<String, Known> {
    let mut client = Client::to(http);
    let mut random = StdRng::seed_from_u64(round * 100 + worker);
    let mut known = HashMap::new();
    for count in 0.. {
        if stop.load(Ordering::Acquire) {
            break;
        }
        let customer = 2_000 + (random.next_u64() % (1_000 / WORKERS)) * WORKERS + worker;
        // One in ten is more than anybody may spend in store.
        let amount = if random.next_u64().is_multiple_of(10) { 15_001 } else { 1 + random.next_u64() % 200 };
        let order = format!("C-{round}-{worker}-{count}");
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
pub fn same_answer(first: &Value, again: &Value) {
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
pub fn audit(server: &Server, known: &HashMap<String, Known>) -> HashMap<u64, u64> {
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
pub fn audit_ledger(data: &Path, known: &HashMap<String, Known>, exposure: &HashMap<u64, u64>) {
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

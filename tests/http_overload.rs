//! More is asked than can be done: who is told to come again, and who never is.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod http_support;

use std::time::{Duration, Instant};

use http_support::{Answer, House, Plan, Stall};
use serde_json::{Value, json};
use sokketsu::engine::queues::Bounds;
use tokio::sync::mpsc;

const REGISTER: &str = "sandbox-register";
const NEW: usize = 6;

fn online(order: &str) -> Value {
    json!({"order_id": order, "customer_id": "1001", "channel": "online", "amount": 10, "confirm_repeat": true,
        "merchant": {"id": "mrc_konbini"}, "deadline_ms": 60_000})
}

fn inquiry(order: &str) -> String {
    format!("/v1/authorizations?merchant_id=mrc_konbini&order_id={order}")
}

/// One decision a group, so that the queue is full at once; a disk that can stall.
fn house(disk: &Stall) -> House {
    let bounds = Bounds { normal: 100, urgent: 100, batch: 1, target: Duration::from_millis(5) };
    House::open(Plan { bounds, disk: disk.clone(), ..Plan::default() })
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_disk_stalls_new_sales_are_turned_away_and_what_settles_a_sale_waits_and_is_answered() {
    let disk = Stall::default();
    let house = house(&disk);
    for order in ["KNOWN", "TO-CANCEL"] {
        let first = house.client().await.post("/v1/authorizations", REGISTER, &online(order)).await;
        assert_eq!(first.json()["decision"], "approved");
    }
    disk.begin();
    let (tell, mut told) = mpsc::unbounded_channel::<(String, Answer)>();
    let ask = async |name: String, method: &'static str, path: String, body: Option<Value>| {
        let (mut client, tell) = (house.client().await, tell.clone());
        tokio::spawn(async move {
            let answer = match (method, body) {
                ("POST", Some(body)) => client.post(&path, REGISTER, &body).await,
                _ => client.get(&path, REGISTER).await,
            };
            drop(tell.send((name, answer)));
        });
    };
    for number in 0..NEW {
        let order = format!("NEW-{number}");
        ask(order.clone(), "POST", "/v1/authorizations".into(), Some(online(&order))).await;
    }
    ask("retry".into(), "POST", "/v1/authorizations".into(), Some(online("KNOWN"))).await;
    let cancel = json!({"merchant_id": "mrc_konbini", "order_id": "TO-CANCEL"});
    ask("cancel".into(), "POST", "/v1/cancellations".into(), Some(cancel)).await;
    ask("inquire".into(), "GET", inquiry("KNOWN"), None).await;

    // One group is on its way to the disk and one is full. All other new sales are told so while the disk stalls.
    let mut turned_away = Vec::new();
    while turned_away.len() < NEW - 2 {
        let (name, answer) = told.recv().await.unwrap();
        if name.starts_with("NEW") {
            assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{name}: {answer:?}");
            assert_eq!(answer.problem().1, "busy");
            turned_away.push(name);
        } else {
            assert_eq!(answer.status, 200, "{name}: {answer:?}");
        }
    }
    disk.end();
    drop(tell);
    while let Some((name, answer)) = told.recv().await {
        match (name.as_str(), answer.status) {
            // A retry, cancel or inquiry had its place in a group.
            (_, 503) if name.starts_with("NEW") => turned_away.push(name),
            ("retry", 200) => assert_eq!(answer.json()["replayed"], true),
            ("cancel", 200) => assert_eq!(answer.json()["action"], "reversed"),
            (_, status) => assert_eq!(status, 200, "{name}: {answer:?}"),
        }
    }
    let mut client = house.client().await;
    for order in turned_away {
        assert_eq!(client.get(&inquiry(&order), REGISTER).await.status, 404, "a 503 left nothing of {order}");
        let again = client.post("/v1/authorizations", REGISTER, &online(&order)).await;
        assert_eq!((&again.json()["decision"], &again.json()["replayed"]), (&json!("approved"), &json!(false)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_full_of_reads_does_not_leave_the_others_waiting_for_the_next_request() {
    let house = house(&Stall::default());
    let bought = house.client().await.post("/v1/authorizations", REGISTER, &online("KNOWN")).await;
    assert_eq!(bought.status, 200);
    // The idle engine looks every 500 ms by itself: rounds of eight that had to wait for it would take 10 s.
    let began = Instant::now();
    let mut clients = Vec::new();
    for _ in 0..8 {
        clients.push(house.client().await);
    }
    for _ in 0..20 {
        let asked = clients.into_iter().map(|mut client| {
            tokio::spawn(async move {
                assert_eq!(client.get(&inquiry("KNOWN"), REGISTER).await.status, 200);
                client
            })
        });
        let asked: Vec<_> = asked.collect();
        clients = Vec::new();
        for answered in asked {
            clients.push(answered.await.unwrap());
        }
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

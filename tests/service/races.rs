//! Many at once, and registers that do not wait.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::sync::Barrier;
use std::time::Duration;

use serde_json::{Value, json};

use super::server::{Client, Server};

fn at_once<T: Send>(count: u64, act: impl Fn(u64) -> T + Sync) -> Vec<T> {
    let barrier = Barrier::new(usize::try_from(count).expect("fits"));
    std::thread::scope(|scope| {
        let spawn = |n| {
            let (act, barrier) = (&act, &barrier);
            scope.spawn(move || {
                barrier.wait();
                act(n)
            })
        };
        let threads: Vec<_> = (0..count).map(spawn).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    })
}

fn show_code(client: &mut Client, customer: &str) -> String {
    let body = json!({ "customer_id": customer });
    let mut answer = client.send("wallet", "POST", "/v1/codes", &body);
    // After a stall more waits than can be done at once: whoever is told so asks again.
    for _ in 0..50 {
        if answer.status != 503 {
            break;
        }
        stall(Duration::from_millis(20));
        answer = client.send("wallet", "POST", "/v1/codes", &body);
    }
    answer.json()["barcode"].as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned()
}

#[test]
fn one_code_at_64_tills_pays_once() {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::sandbox(data.path(), &[]);
    let code = show_code(&mut server.client(), "1001");
    let answers = at_once(64, |n| {
        let body = json!({"order_id": format!("R-{n}"), "code": code, "amount": 100 + n,
            "merchant": {"id": "mrc_konbini", "terminal_id": format!("T{n}")}, "deadline_ms": 30_000});
        server.client().send("register", "POST", "/v1/authorizations", &body).json()
    });
    let (approved, denied): (Vec<&Value>, Vec<&Value>) =
        answers.iter().partition(|answer| answer["decision"] == "approved");
    assert_eq!((approved.len(), denied.len()), (1, 63));
    for answer in denied {
        assert_eq!(answer["reason"], "code_used");
        assert_eq!(answer["first"]["authorization_id"], approved[0]["authorization_id"]);
    }
}

#[test]
fn t_08_a_hundred_at_once_get_exactly_the_room_also_across_a_kill() {
    let data = tempfile::tempdir().expect("a folder");
    let mut server = Server::sandbox(data.path(), &[]);
    let http = server.http;
    let buy = |http, n: u64| {
        let body = json!({"order_id": format!("R-{n}"), "customer_id": "1001", "channel": "online", "amount": 1_000,
            "merchant": {"id": "mrc_konbini"}, "confirm_repeat": true, "deadline_ms": 30_000});
        Client::to(http).call("register", "POST", "/v1/authorizations", Some(&body)).map(|answer| answer.json())
    };
    // The server dies in the middle; who got no answer asks again afterwards, as a register does.
    let pid = server.pid().to_string();
    let answers = at_once(100, |n| {
        if n == 40 {
            assert!(std::process::Command::new("kill").args(["-KILL", &pid]).status().expect("kill").success());
        }
        (n, buy(http, n))
    });
    server.kill();
    server.start_again();
    let mut approved = 0;
    for (n, first) in answers {
        let again = buy(server.http, n).expect("an answer");
        if let Ok(first) = first {
            assert_eq!(first["authorization_id"], again["authorization_id"], "an answered decision changed");
            assert_eq!(first["decision"], again["decision"]);
            assert_eq!(again["replayed"], true);
        }
        approved += u64::from(again["decision"] == "approved");
    }
    assert_eq!(approved, 50);
    let standing = server.client().get("office", "/v1/customers/1001").json();
    assert_eq!((&standing["exposure"]["total"], &standing["spendable"]["online"]), (&json!(50_000), &json!(0)));
}

#[test]
fn the_phone_sees_the_sale_although_the_register_tries_again_under_a_new_id() {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::sandbox(data.path(), &[]);
    let mut client = server.client();
    let code = client.send("wallet", "POST", "/v1/codes", &json!({"customer_id": "1001"})).json();
    let buy = |order: &str| json!({"order_id": order, "code": code["barcode"], "amount": 1_980, "merchant": {"id": "mrc_konbini"}});
    let sale = client.send("register", "POST", "/v1/authorizations", &buy("R-1")).json();
    let again = client.send("register", "POST", "/v1/authorizations", &buy("R-2")).json();
    assert_eq!((&sale["decision"], &again["reason"]), (&json!("approved"), &json!("code_used")));
    let mirror = client.get("wallet", &format!("/v1/codes/{}", code["code_id"].as_str().unwrap())).json();
    assert_eq!(
        (&mirror["status"], &mirror["decision"], &mirror["attempts"]),
        (&json!("used"), &json!("approved"), &json!(2))
    );
    assert_eq!(mirror["sale"]["authorization_id"], sale["authorization_id"]);
    assert_eq!(mirror["last_attempt"]["reason"], "code_used");
}

/// One customer at one till; the register gives up after a second and tries again, some under a new order id.
fn impatient(server: &Server, n: u64) -> Vec<String> {
    let customer = (2_000 + n).to_string();
    let mut orders = vec![format!("B-{n}-0")];
    let mut code = show_code(&mut server.client(), &customer);
    for attempt in 0..20 {
        let order = orders.last().expect("there is one").clone();
        let body = json!({"order_id": order, "code": code, "amount": 700 + n,
            "merchant": {"id": "mrc_konbini", "terminal_id": "T01"}});
        let mut client = Client::to(server.http);
        client.patience(Duration::from_secs(1));
        match client.call("register", "POST", "/v1/authorizations", Some(&body)) {
            Ok(answer) => match answer.json()["reason"].as_str() {
                None | Some("duplicate_suspect" | "code_used") => return orders,
                Some("too_late" | "code_voided") => {
                    code = show_code(&mut server.client(), &customer);
                    orders.push(format!("B-{n}-{}", attempt + 1));
                }
                // No decision was made; the same is sent again.
                Some("busy") => stall(Duration::from_millis(20)),
                other => panic!("{other:?}"),
            },
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
                // A third resends; a third scans the same code under a new id; a third asks for a fresh code.
                if !n.is_multiple_of(3) {
                    orders.push(format!("B-{n}-{}", attempt + 1));
                }
                if n % 3 == 2 {
                    let mut wallet = Client::to(server.http);
                    wallet.patience(Duration::from_secs(1));
                    let body = json!({ "customer_id": customer });
                    if let Ok(answer) = wallet.call("wallet", "POST", "/v1/codes", Some(&body)) {
                        code = answer.json()["barcode"].as_str().unwrap_or(&code).to_owned();
                    }
                }
            }
        }
    }
    panic!("basket {n} was never settled");
}

#[test]
fn a_stall_of_five_seconds_charges_each_basket_once() {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::sandbox(data.path(), &[]);
    let baskets = at_once(31, |n| {
        if n == 30 {
            server.signal("STOP");
            stall(Duration::from_secs(5));
            server.signal("CONT");
            return Vec::new();
        }
        impatient(&server, n)
    });
    let mut client = server.client();
    for (n, orders) in baskets.iter().enumerate().take(30) {
        let mut charged = HashMap::new();
        for order in orders {
            let path = format!("/v1/authorizations?merchant_id=mrc_konbini&order_id={order}");
            let found = client.get("register", &path);
            if found.status == 200 && found.json()["decision"] == "approved" {
                charged.insert(order, found.json());
            }
        }
        assert_eq!(charged.len(), 1, "basket {n} with orders {orders:?} was charged {charged:?}");
        let standing = client.get("office", &format!("/v1/customers/{}", 2_000 + n)).json();
        assert_eq!(standing["exposure"]["total"], 700 + n, "customer of basket {n}");
    }
}

#[expect(clippy::disallowed_methods, reason = "the fault itself: a server that does not run for a while")]
fn stall(time: Duration) {
    std::thread::sleep(time);
}

/// A cancel that came before its sale, asked again when memory has let go of it.
#[test]
fn what_was_blocked_long_ago_is_blocked_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::sandbox(&folder.path().join("data"), &["--sandbox-start", "2021-06-10T09:00:00.000+09:00"]);
    let mut client = server.client();
    let sale = json!({"order_id": "LATE-1", "customer_id": "2000", "channel": "online", "amount": 100,
        "merchant": {"id": "mrc_konbini"}, "deadline_ms": 30_000});
    let cancel = json!({"merchant_id": "mrc_konbini", "order_id": "LATE-1"});
    let blocked = |client: &mut Client| {
        let answer = client.send("register", "POST", "/v1/cancellations", &cancel).json();
        assert_eq!(answer["action"], "blocked", "{answer}");
        answer["replayed"].clone()
    };
    let denied = |client: &mut Client| {
        let answer = client.send("register", "POST", "/v1/authorizations", &sale).json();
        assert_eq!((&answer["decision"], &answer["reason"]), (&json!("denied"), &json!("cancelled")), "{answer}");
    };
    assert_eq!(blocked(&mut client), json!(false));
    denied(&mut client);
    let body = json!({"now": "2021-06-20T09:00:00.000+09:00"});
    assert_eq!(client.send("ops", "POST", "/sandbox/clock", &body).status, 200);
    assert_eq!(blocked(&mut client), json!(true));
    denied(&mut client);
}

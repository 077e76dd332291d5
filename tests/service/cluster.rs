//! The service with its journal in a PostgreSQL cluster: it answers what a standby has, and nothing while that is not sure.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::postgresql::cluster::{NODE, OWNER, PgCluster};
use super::server::{BINARY, How, Server};

pub fn buy(server: &Server, order: &str) -> (u16, Value) {
    let body = json!({"order_id": order, "customer_id": "1001", "channel": "online", "amount": 10, "confirm_repeat": true,
        "merchant": {"id": "mrc_konbini"}});
    let answer = server.client().send("register", "POST", "/v1/authorizations", &body);
    (answer.status, answer.json())
}

pub fn approved(server: &Server, order: &str) -> Value {
    let (status, answer) = buy(server, order);
    assert_eq!((status, &answer["decision"]), (200, &json!("approved")), "{answer}");
    answer
}

pub fn is_ready(server: &Server) -> bool {
    server.client().call("ops", "GET", "/readyz", None).is_ok_and(|answer| answer.status == 200)
}

pub fn wait(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < until, "{what}");
        thread::park_timeout(Duration::from_millis(20));
    }
}

pub fn run(words: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String) {
    let ran = Command::new(BINARY).args(words).envs(environment.iter().copied()).output().unwrap();
    (ran.status.code(), String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned())
}

#[test]
fn answers_are_what_a_standby_has_and_an_owner_that_was_killed_or_replaced_begins_anew() {
    let pg = PgCluster::start();
    let database = pg.database();
    let (of_owner, of_node) = (pg.url(OWNER, &database), pg.url(NODE, &database));
    // Apart: a data folder that is open to others may hold only what is ours.
    let (data, log) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let folder = data.path().to_str().unwrap();
    let named = |url| [("SOKKETSU_JOURNAL__URL", url), ("SOKKETSU_JOURNAL__NODE", "a")];
    let environment = named(&of_node);
    for _ in 0..2 {
        let (code, said) = run(&["cluster", "init", "--sandbox", "--data", folder], &named(&of_owner));
        assert_eq!(code, Some(0), "{said}");
    }
    let own = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let how = How { environment: own, ..How::default() }.logging_to(&log.path().join("log"));
    let mut server = Server::start(data.path(), how);
    wait("it is not ready", || is_ready(&server));
    let first = approved(&server, "C-1");

    pg.freeze(1);
    approved(&server, "C-2");
    pg.freeze(2);
    thread::scope(|scope| {
        let asked = scope.spawn(|| buy(&server, "C-3"));
        wait("it is ready in doubt", || !is_ready(&server));
        let (status, refusal) = buy(&server, "C-4");
        assert_eq!((status, &refusal["reason"]), (503, &json!("not_ready")), "{refusal}");
        assert!(!asked.is_finished(), "what is on no standby was answered");
        pg.thaw(1);
        pg.thaw(2);
        let (status, answer) = asked.join().unwrap();
        assert_eq!((status, &answer["decision"]), (200, &json!("approved")), "{answer}");
    });
    wait("it is not ready again", || is_ready(&server));

    server.kill();
    server.start_again();
    wait("it is not ready after a crash", || is_ready(&server));
    let again = approved(&server, "C-1");
    assert_eq!((&again["id"], &again["replayed"]), (&first["id"], &json!(true)));

    // Another owner, as far as the table says: this one drops its state and comes back by itself.
    pg.sql(
        &database,
        "UPDATE owner SET epoch = epoch + 1, node = 'b', boot = 'x', lease_until = now() + interval '2 s'",
    );
    wait("it was replaced and goes on", || server.said().contains("beginning anew"));
    wait("it does not come back by itself", || server.said().matches("loaded from the ledger").count() == 2);
    // As the same process, on another port.
    server.signal("TERM");
    assert!(server.wait(Duration::from_secs(10)).success());
    server.start_again();
    wait("it is not ready after it was replaced", || is_ready(&server));
    approved(&server, "C-5");
    server.signal("TERM");
    assert!(server.wait(Duration::from_secs(10)).success());
    let (code, said) = run(&["verify", "--data", folder], &environment);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("batches"), "{said}");
}

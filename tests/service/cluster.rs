//! The service with its journal in a PostgreSQL cluster: it answers what a standby has, and nothing while that is not sure.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::postgresql::cluster::{NODE, OWNER, PgCluster};
use super::server::{BINARY, How, Server};

fn buy(server: &Server, order: &str) -> (u16, Value) {
    let body = json!({"order_id": order, "customer_id": "1001", "channel": "online", "amount": 10, "confirm_repeat": true,
        "merchant": {"id": "mrc_konbini"}});
    let answer = server.client().send("register", "POST", "/v1/authorizations", &body);
    (answer.status, answer.json())
}

fn approved(server: &Server, order: &str) -> Value {
    let (status, answer) = buy(server, order);
    assert_eq!((status, &answer["decision"]), (200, &json!("approved")), "{answer}");
    answer
}

fn is_ready(server: &Server) -> bool {
    server.client().call("ops", "GET", "/readyz", None).is_ok_and(|answer| answer.status == 200)
}

fn wait(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < until, "{what}");
        thread::park_timeout(Duration::from_millis(20));
    }
}

fn run(words: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String) {
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

/// Nodes of one cluster, each with a data folder of its own.
struct Nodes {
    pg: PgCluster,
    database: String,
    servers: Vec<Server>,
    folders: Vec<TempDir>,
}

impl Nodes {
    fn start(names: &[&str]) -> Self {
        let pg = PgCluster::start();
        let database = pg.database();
        let folders: Vec<_> = names.iter().map(|_| tempfile::tempdir().unwrap()).collect();
        let of_owner = pg.url(OWNER, &database);
        let owner = [("SOKKETSU_JOURNAL__URL", of_owner.as_str()), ("SOKKETSU_JOURNAL__NODE", "owner")];
        let (code, said) =
            run(&["cluster", "init", "--sandbox", "--data", folders[0].path().to_str().unwrap()], &owner);
        assert_eq!(code, Some(0), "{said}");
        let mut nodes = Self { pg, database, servers: Vec::new(), folders };
        for (at, name) in names.iter().enumerate() {
            nodes.servers.push(Server::start(nodes.folders[at].path(), nodes.how(name)));
            // The first one is to own the journal.
            wait("it is nothing", || nodes.state(at) != (503, "recovering".into()));
            if at == 0 {
                wait("the first one is not ready", || is_ready(&nodes.servers[0]));
            }
        }
        nodes
    }

    fn how(&self, name: &str) -> How {
        let url = self.pg.url(NODE, &self.database);
        let environment = [("SOKKETSU_JOURNAL__URL", url.as_str()), ("SOKKETSU_JOURNAL__NODE", name)];
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        How { environment: environment.iter().map(own).collect(), ..How::default() }
    }

    /// What a node says of itself: the status, and the first reason why it is not ready.
    fn state(&self, at: usize) -> (u16, String) {
        match self.servers[at].client().call("ops", "GET", "/readyz", None) {
            Ok(answer) => (answer.status, answer.json()["reasons"][0].as_str().unwrap_or_default().to_owned()),
            Err(_) => (0, String::new()),
        }
    }

    /// The node that is ready; there is never a second one. One that is frozen is not asked: it would not answer.
    fn owner(&self, frozen: Option<usize>) -> Option<usize> {
        let asked = (0..self.servers.len()).filter(|at| Some(*at) != frozen);
        let ready: Vec<_> = asked.filter(|at| self.state(*at).0 == 200).collect();
        assert!(ready.len() <= 1, "two nodes are ready: {ready:?}");
        ready.first().copied()
    }

    /// Waits for another owner than this one, which answers a sale; how long that took.
    fn owner_after(&self, former: usize, since: Instant, order: &str) -> (usize, Duration) {
        let until = since + Duration::from_secs(20);
        loop {
            if let Some(at) = self.owner(Some(former)) {
                approved(&self.servers[at], order);
                return (at, since.elapsed());
            }
            assert!(Instant::now() < until, "nobody takes over: {:?}", [0, 1, 2].map(|at| self.state(at)));
            thread::park_timeout(Duration::from_millis(5));
        }
    }
}

#[test]
fn standbys_stand_warm_and_the_next_one_takes_over() {
    let mut nodes = Nodes::start(&["a", "b", "c"]);
    let first = approved(&nodes.servers[0], "S-1");
    wait("b does not follow", || {
        let told = nodes.servers[1].client().call("ops", "GET", "/readyz", None).unwrap().json();
        told["detail"] == "standby of a, 0 records behind"
    });
    let (status, refusal) = buy(&nodes.servers[1], "S-1");
    let address = format!("http://{}", nodes.servers[0].http);
    let owner = json!({"node": "a", "address": address});
    assert_eq!((status, &refusal["reason"], &refusal["owner"]), (503, &json!("not_owner"), &owner), "{refusal}");

    // It dies without a word.
    let died = Instant::now();
    nodes.servers[0].kill();
    let (next, took) = nodes.owner_after(0, died, "S-2");
    assert!(took < Duration::from_secs(5), "nobody answered for {took:?}");
    let again = approved(&nodes.servers[next], "S-1");
    assert_eq!((&again["authorization_id"], &again["replayed"]), (&first["authorization_id"], &json!(true)));
    nodes.servers[0].start_again();
    wait("the one that died does not stand by", || nodes.state(0) == (503, "standby".into()));

    // It is asked to go.
    let asked = Instant::now();
    nodes.servers[next].signal("TERM");
    let (last, took) = nodes.owner_after(next, asked, "S-3");
    assert!(took < Duration::from_secs(1), "a hand-over took {took:?}");
    assert!(nodes.servers[next].wait(Duration::from_secs(10)).success());
    nodes.servers[next].start_again();
    wait("the one that went does not stand by", || nodes.state(next) == (503, "standby".into()));

    // It is frozen for longer than its lease: what it says afterwards is no decision.
    let frozen = Instant::now();
    nodes.servers[last].signal("STOP");
    let (owner, took) = nodes.owner_after(last, frozen, "S-4");
    assert!(took < Duration::from_secs(5), "nobody answered for {took:?}");
    nodes.servers[last].signal("CONT");
    wait("the one that was frozen still decides", || nodes.state(last).0 != 200);
    assert_eq!(nodes.owner(None), Some(owner));

    let environment = nodes.how("a").environment;
    let environment: Vec<_> = environment.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let (code, said) = run(&["verify", "--data", nodes.folders[0].path().to_str().unwrap()], &environment);
    assert_eq!(code, Some(0), "{said}");
}

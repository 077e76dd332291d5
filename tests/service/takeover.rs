//! Several nodes of one cluster: one decides, the others stand warm, and the next one takes over.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::cluster::{approved, buy, is_ready, run, wait};
use super::postgresql::cluster::{NODE, OWNER, PgCluster};
use super::postgresql::free_port;
use super::server::{Client, How, Server};

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
        // The same one after each start: callers look for it there.
        let http = Some(SocketAddr::from(([127, 0, 0, 1], free_port())));
        How { environment: environment.iter().map(own).collect(), http, ..How::default() }
    }

    fn verify(&self) -> (Option<i32>, String) {
        let environment = self.how("a").environment;
        let environment: Vec<_> = environment.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        run(&["verify", "--data", self.folders[0].path().to_str().unwrap()], &environment)
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

    // An operator wants it to own nothing: it goes on as a standby, until it may again.
    let of_owner = nodes.pg.url(OWNER, &nodes.database);
    let operator = [("SOKKETSU_JOURNAL__URL", of_owner.as_str()), ("SOKKETSU_JOURNAL__NODE", "operator")];
    let name = ["a", "b", "c"][last];
    let folder = nodes.folders[last].path().to_str().unwrap();
    let drain = |more: &[&str]| run(&[&["cluster", "drain", "--data", folder, name], more].concat(), &operator);
    let asked = Instant::now();
    let (code, said) = drain(&[]);
    assert!(code == Some(0) && said.contains("owns the journal"), "{said}");
    let (drained, last) = (last, nodes.owner_after(last, asked, "S-D").0);
    wait("the one that was drained does not stand by", || nodes.state(drained) == (503, "standby".into()));

    // Another policy: the owner has it without a restart, and the next one has no other.
    let policy = include_str!("../../config/policy.toml").replacen("label = ", "# another\nlabel = ", 1);
    let file = nodes.folders[drained].path().join("policy.toml");
    std::fs::write(&file, &policy).unwrap();
    let words = ["cluster", "apply", "--sandbox", "--data", folder, "--policy", file.to_str().unwrap()];
    let (code, said) = run(&words, &operator);
    assert_eq!(code, Some(0), "{said}");
    let versions = || nodes.pg.sql(&nodes.database, "SELECT max(version) FROM policy");
    wait("the policy is not in force", || versions() == "2");

    // It is frozen for longer than its lease: what it says afterwards is no decision.
    let frozen = Instant::now();
    nodes.servers[last].signal("STOP");
    let (owner, took) = nodes.owner_after(last, frozen, "S-4");
    assert!(took < Duration::from_secs(5), "nobody answered for {took:?}");
    nodes.servers[last].signal("CONT");
    wait("the one that was frozen still decides", || nodes.state(last).0 != 200);
    assert_eq!(nodes.owner(None), Some(owner));
    let (code, said) = drain(&["--undo"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(versions(), "2", "no node has another policy");

    let (code, said) = nodes.verify();
    assert_eq!(code, Some(0), "{said}");
}

/// The database's own failover, by somebody else: here it is done by hand. An old primary that was frozen meanwhile comes back and
/// takes writes still; nobody asks it.
#[test]
#[expect(clippy::print_stdout, reason = "the figures are to be read")]
fn the_databases_primary_dies_and_the_nodes_go_on_with_the_next_one() {
    let mut nodes = Nodes::start(&["a", "b"]);
    approved(&nodes.servers[0], "P-1");
    let struck = Instant::now();
    nodes.pg.freeze(0);
    nodes.pg.fail_over();
    let promoted = struck.elapsed();
    let mut at = 0;
    wait("nobody answers by the next primary", || {
        at = nodes.owner(None).unwrap_or(2);
        at < 2 && buy(&nodes.servers[at], "P-2").0 == 200
    });
    let took = struck.elapsed();
    println!("answers again {took:?} after the primary froze, of which the promotion took {promoted:?}");
    nodes.pg.thaw(0);
    let died = Instant::now();
    nodes.servers[at].kill();
    let (next, took) = nodes.owner_after(at, died, "P-3");
    assert!(took < Duration::from_secs(5), "nobody answered for {took:?}");
    let again = approved(&nodes.servers[next], "P-1");
    assert_eq!(again["replayed"], true, "{again}");
    let mut said = String::new();
    let until = Instant::now() + Duration::from_secs(20);
    while !said.contains(", 0 behind") {
        assert!(Instant::now() < until, "the books do not catch up: {said}");
        said = nodes.verify().1;
    }
    assert_eq!(nodes.verify().0, Some(0), "{said}");
}

/// Sales that the callers ask for, each until it is answered.
struct Load<'a> {
    nodes: &'a [SocketAddr],
    ends: AtomicBool,
    /// By order: the authorization that was answered, and whether it was approved.
    answered: Mutex<BTreeMap<String, (String, bool)>>,
    /// When each answer came that was asked for after the moment that is looked for.
    answers: Mutex<Vec<(Instant, Instant)>>,
}

impl Load<'_> {
    fn answered(&self) -> usize {
        self.answered.lock().len()
    }

    /// One caller: it goes where it is sent, else to the next node.
    fn calls(&self, caller: usize) {
        let mut at = 0;
        let mut client = Client::to(self.nodes[at]);
        for number in 0.. {
            let order = format!("L-{caller}-{number}");
            let customer = 2000 + caller * 250 + number % 250;
            let body = json!({"order_id": order, "customer_id": customer.to_string(), "channel": "online",
                "amount": 1, "confirm_repeat": true, "merchant": {"id": "mrc_konbini"}});
            loop {
                if self.ends.load(Ordering::Relaxed) {
                    return;
                }
                // A node that is frozen answers nobody.
                client.patience(Duration::from_millis(1_500));
                let sent = Instant::now();
                match client.call("register", "POST", "/v1/authorizations", Some(&body)) {
                    Ok(answer) if answer.status == 200 => {
                        let told = answer.json();
                        let id = told["authorization_id"].as_str().unwrap().to_owned();
                        let is_approved = told["decision"] == "approved";
                        self.answered.lock().insert(order.clone(), (id, is_approved));
                        self.answers.lock().push((sent, Instant::now()));
                        break;
                    }
                    Ok(answer) => {
                        assert_eq!(answer.status, 503, "{answer:?}");
                        let told: Value = answer.json();
                        let owner = told["owner"]["address"].as_str().and_then(|url| url.strip_prefix("http://"));
                        let owner = owner.and_then(|address| address.parse().ok());
                        let known = owner.and_then(|owner| self.nodes.iter().position(|node| *node == owner));
                        at = known.filter(|known| *known != at).unwrap_or((at + 1) % self.nodes.len());
                    }
                    Err(_) => at = (at + 1) % self.nodes.len(),
                }
                client = Client::to(self.nodes[at]);
                thread::park_timeout(Duration::from_millis(10));
            }
        }
    }

    /// How long after a moment the first answer came that was asked for after it.
    fn silence(&self, since: Instant) -> Duration {
        let mut first = None;
        wait("nobody answers", || {
            let answers = self.answers.lock();
            first = answers.iter().filter(|(sent, _)| *sent > since).map(|(_, came)| *came).min();
            first.is_some()
        });
        first.map_or(Duration::MAX, |came| came.duration_since(since))
    }
}

fn percentile(of: &mut [Duration], percent: usize) -> Duration {
    of.sort_unstable();
    of[(of.len() - 1) * percent / 100]
}

/// How often something is done: little in `./check`, much by `TAKEOVERS`.
#[expect(clippy::disallowed_methods, reason = "it is told how long")]
fn rounds() -> usize {
    std::env::var("TAKEOVERS").map_or(2, |text| text.parse().unwrap())
}

/// For so long an owner is frozen: twice its lease, in the long form ten times.
fn frozen() -> Duration {
    Duration::from_secs(if rounds() > 10 { 30 } else { 6 })
}

/// Strikes the owner while the others stand by; how long nobody was answered.
fn strike(nodes: &mut Nodes, load: &Load<'_>, how: &str) -> Duration {
    let before = load.answered();
    wait("nobody is answered", || load.answered() > before + 20);
    let owner = nodes.owner(None).expect("an owner");
    let others: Vec<_> = (0..nodes.servers.len()).filter(|at| *at != owner).collect();
    let warm = |at: &usize| nodes.state(*at) == (503, "standby".into());
    wait("no other node stands by", || others.iter().all(warm));
    let since = Instant::now();
    match how {
        "killed" => nodes.servers[owner].kill(),
        "stopped" => nodes.servers[owner].signal("TERM"),
        _ => nodes.servers[owner].signal("STOP"),
    }
    let silence = load.silence(since);
    match how {
        "killed" => nodes.servers[owner].start_again(),
        "stopped" => {
            assert!(nodes.servers[owner].wait(Duration::from_secs(10)).success());
            nodes.servers[owner].start_again();
        }
        _ => {
            let is_over = || since.elapsed() > frozen();
            while !is_over() {
                thread::park_timeout(Duration::from_millis(50));
            }
            nodes.servers[owner].signal("CONT");
        }
    }
    let most = Duration::from_secs(if how == "stopped" { 1 } else { 5 });
    assert!(silence < most, "{how}: nobody answered for {silence:?}");
    silence
}

/// Owners die, and go, and freeze, under load: each answer stands, each sale is there once.
#[test]
#[expect(clippy::print_stdout, reason = "the figures are to be read")]
fn owners_are_killed_stopped_and_frozen_under_load() {
    const CALLERS: usize = 4;
    let mut nodes = Nodes::start(&["a", "b", "c"]);
    let addresses: Vec<SocketAddr> = nodes.servers.iter().map(|server| server.http).collect();
    let load =
        Load { nodes: &addresses, ends: AtomicBool::new(false), answered: Mutex::default(), answers: Mutex::default() };
    let mut silences: BTreeMap<&str, Vec<Duration>> = BTreeMap::new();
    thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| {
                scope.spawn({
                    let load = &load;
                    move || load.calls(caller)
                })
            })
            .collect();
        let mut strikes = || {
            for round in 0..rounds() {
                for how in ["killed", "stopped", "frozen"] {
                    // It takes ten leases in the long form.
                    if how != "frozen" || round % 5 == 0 {
                        silences.entry(how).or_default().push(strike(&mut nodes, &load, how));
                    }
                }
            }
        };
        let struck = std::panic::catch_unwind(std::panic::AssertUnwindSafe(&mut strikes));
        load.ends.store(true, Ordering::Relaxed);
        callers.into_iter().for_each(|caller| caller.join().unwrap());
        struck.unwrap();
    });
    let answered = load.answered.into_inner();
    wait("nobody owns the journal", || nodes.owner(None).is_some());
    let mut client = nodes.servers[nodes.owner(None).unwrap()].client();
    for (order, (id, is_approved)) in &answered {
        let path = format!("/v1/authorizations?merchant_id=mrc_konbini&order_id={order}");
        let found = client.get("register", &path).json();
        let status = if *is_approved { "captured" } else { "denied" };
        assert_eq!((&found["authorization_id"], &found["status"]), (&json!(id), &json!(status)), "{order}: {found}");
    }
    let (code, said) = nodes.verify();
    assert_eq!(code, Some(0), "{said}");
    let approved = answered.values().filter(|(_, is_approved)| *is_approved).count();
    let counted = said.lines().find_map(|line| line.strip_prefix("decisions ")?.split(' ').next()?.parse().ok());
    // The last sale of each caller may be decided and not have been answered.
    assert!((approved..=approved + CALLERS).contains(&counted.unwrap()), "{approved} approvals were answered: {said}");
    for (how, all) in &mut silences {
        let (median, p99) = (percentile(all, 50), percentile(all, 99));
        println!("{} owners {how}: answers again after {median:?} (p50), {p99:?} (p99)", all.len());
    }
    println!("{} sales answered, {approved} approved: all there, each once", answered.len());
}

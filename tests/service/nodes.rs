//! Nodes of one cluster, and callers who buy of them all the time.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::cluster::{approved, is_ready, run, wait};
use super::postgresql::free_port;
use super::server::{Client, How, Server};

/// Nodes of one cluster, each with a data folder of its own.
pub struct Nodes {
    /// Of the database, as a node.
    url: String,
    pub servers: Vec<Server>,
    pub folders: Vec<TempDir>,
}

impl Nodes {
    /// Makes the tables as their owner, and starts the nodes; the first one owns the journal.
    pub fn start(of_owner: &str, of_node: String, names: &[&str]) -> Self {
        Self::start_in(&std::env::temp_dir(), of_owner, of_node, names)
    }

    /// With their folders below this one.
    pub fn start_in(place: &Path, of_owner: &str, of_node: String, names: &[&str]) -> Self {
        let folders: Vec<_> = names.iter().map(|_| tempfile::tempdir_in(place).unwrap()).collect();
        let owner = [("SOKKETSU_JOURNAL__URL", of_owner), ("SOKKETSU_JOURNAL__NODE", "owner")];
        let (code, said) =
            run(&["cluster", "init", "--sandbox", "--data", folders[0].path().to_str().unwrap()], &owner);
        assert_eq!(code, Some(0), "{said}");
        let mut nodes = Self { url: of_node, servers: Vec::new(), folders };
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
        let environment = [("SOKKETSU_JOURNAL__URL", self.url.as_str()), ("SOKKETSU_JOURNAL__NODE", name)];
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        // The same one after each start: callers look for it there.
        let http = Some(SocketAddr::from(([127, 0, 0, 1], free_port())));
        How { environment: environment.iter().map(own).collect(), http, ..How::default() }
    }

    pub fn verify(&self) -> (Option<i32>, String) {
        let environment = self.how("a").environment;
        let environment: Vec<_> = environment.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        run(&["verify", "--data", self.folders[0].path().to_str().unwrap()], &environment)
    }

    /// What a node says of itself: the status, and the first reason why it is not ready.
    pub fn state(&self, at: usize) -> (u16, String) {
        state(self.servers[at].http)
    }

    /// The node that is ready; there is never a second one. One that is frozen is not asked: it would not answer.
    pub fn owner(&self, frozen: Option<usize>) -> Option<usize> {
        let asked = (0..self.servers.len()).filter(|at| Some(*at) != frozen);
        let ready: Vec<_> = asked.filter(|at| self.state(*at).0 == 200).collect();
        assert!(ready.len() <= 1, "two nodes are ready: {ready:?}");
        ready.first().copied()
    }

    /// Where each of them is asked.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.servers.iter().map(|server| server.http).collect()
    }

    /// Waits for another owner than this one, which answers a sale; how long that took.
    pub fn owner_after(&self, former: usize, since: Instant, order: &str) -> (usize, Duration) {
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

/// What a node says of itself: the status, and the first reason why it is not ready.
pub fn state(node: SocketAddr) -> (u16, String) {
    match Client::to(node).call("ops", "GET", "/readyz", None) {
        Ok(answer) => (answer.status, answer.json()["reasons"][0].as_str().unwrap_or_default().to_owned()),
        Err(_) => (0, String::new()),
    }
}

/// Others do what they do while something is done, and are told to end with it, also where that panics.
pub fn beside<T>(ends: &AtomicBool, others: &[&(dyn Fn() + Sync)], done: impl FnOnce() -> T) -> T {
    thread::scope(|scope| {
        let others: Vec<_> = others.iter().map(|other| scope.spawn(other)).collect();
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(done));
        ends.store(true, Ordering::Relaxed);
        others.into_iter().for_each(|other| other.join().unwrap());
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Sales that the callers ask for, each until it is answered.
pub struct Load {
    nodes: Vec<SocketAddr>,
    ends: AtomicBool,
    /// By order: the authorization that was answered, and whether it was approved.
    answered: Mutex<BTreeMap<String, (String, bool)>>,
    /// When each sale was sent that was answered, and when the answer came.
    answers: Mutex<Vec<(Instant, Instant)>>,
}

impl Load {
    const CALLERS: usize = 4;

    pub fn of(nodes: &Nodes) -> Self {
        Self {
            nodes: nodes.addresses(),
            ends: AtomicBool::new(false),
            answered: Mutex::default(),
            answers: Mutex::default(),
        }
    }

    /// The callers buy while something is done, and stop with it, also where that panics.
    pub fn during<T>(&self, done: impl FnOnce() -> T) -> T {
        let callers: Vec<_> = (0..Self::CALLERS).map(|caller| move || self.calls(caller)).collect();
        let callers: Vec<_> = callers.iter().map(|calls| calls as &(dyn Fn() + Sync)).collect();
        beside(&self.ends, &callers, done)
    }

    /// When each sale was sent that was answered, and when the answer came.
    pub fn answers(&self) -> Vec<(Instant, Instant)> {
        self.answers.lock().clone()
    }

    pub fn answered(&self) -> usize {
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
    pub fn silence(&self, since: Instant) -> Duration {
        let mut first = None;
        wait("nobody answers", || {
            let answers = self.answers.lock();
            first = answers.iter().filter(|(sent, _)| *sent > since).map(|(_, came)| *came).min();
            first.is_some()
        });
        first.map_or(Duration::MAX, |came| came.duration_since(since))
    }

    /// Each answer stands, each sale is there once, and `verify` agrees: how many were answered, and approved of them.
    pub fn each_once(self, nodes: &Nodes) -> (usize, usize) {
        let answered = self.answered.into_inner();
        wait("nobody owns the journal", || nodes.owner(None).is_some());
        let mut client = nodes.servers[nodes.owner(None).unwrap()].client();
        for (order, (id, is_approved)) in &answered {
            let path = format!("/v1/authorizations?merchant_id=mrc_konbini&order_id={order}");
            let found = client.get("register", &path).json();
            let status = if *is_approved { "captured" } else { "denied" };
            assert_eq!(
                (&found["authorization_id"], &found["status"]),
                (&json!(id), &json!(status)),
                "{order}: {found}"
            );
        }
        let (code, said) = nodes.verify();
        assert_eq!(code, Some(0), "{said}");
        let approved = answered.values().filter(|(_, is_approved)| *is_approved).count();
        let counted = said.lines().find_map(|line| line.strip_prefix("decisions ")?.split(' ').next()?.parse().ok());
        // The last sale of each caller may be decided and not have been answered.
        let most = approved + Self::CALLERS;
        assert!((approved..=most).contains(&counted.unwrap()), "{approved} approvals were answered: {said}");
        (answered.len(), approved)
    }
}

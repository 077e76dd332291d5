//! Several nodes of one cluster: one decides, the others stand warm, and the next one takes over.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::cluster::{approved, buy, run, wait};
use super::nodes::{Load, Nodes};
use super::postgresql::cluster::{NODE, OWNER, PgCluster};

fn start(pg: &PgCluster, database: &str, names: &[&str]) -> Nodes {
    Nodes::start(&pg.url(OWNER, database), pg.url(NODE, database), names)
}

#[test]
fn standbys_stand_warm_and_the_next_one_takes_over() {
    let pg = PgCluster::start();
    let database = pg.database();
    let mut nodes = start(&pg, &database, &["a", "b", "c"]);
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
    let of_owner = pg.url(OWNER, &database);
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
    let versions = || pg.sql(&database, "SELECT max(version) FROM policy");
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

/// Whoever sets them, a call or an operator: the owner has them without a restart, and so has the next one.
#[test]
fn merchants_are_the_clusters() {
    let (pg, _turn) = PgCluster::shared();
    let database = pg.database();
    let mut nodes = start(&pg, &database, &["a", "b"]);
    let owner = nodes.owner(None).unwrap();
    let put = |at: usize, nodes: &Nodes, shop: &Value| {
        nodes.servers[at].client().call("office", "PUT", "/v1/merchants/m-1", Some(shop)).unwrap()
    };
    let shop = json!({"name": "新しい店", "mcc": "5411"});
    let first = put(owner, &nodes, &shop);
    assert_eq!(first.status, 201, "{}", first.json());
    let again = put(owner, &nodes, &shop);
    assert_eq!((again.status, again.json()), (200, first.json()));
    let kept = "SELECT convert_from(body, 'UTF8') FROM setting WHERE kind = 'merchant' AND id = 'm-1'";
    assert_eq!(serde_json::from_str::<Value>(&pg.sql(&database, kept)).unwrap(), first.json());

    let folder = nodes.folders[owner].path();
    let file = folder.join("merchants.jsonl");
    let shops = [("m-1", "inactive"), ("m-2", "active")]
        .map(|(id, status)| json!({"merchant_id": id, "name": id, "mcc": "5411", "status": status}).to_string());
    std::fs::write(&file, shops.join("\n")).unwrap();
    let of_owner = pg.url(OWNER, &database);
    let operator = [("SOKKETSU_JOURNAL__URL", of_owner.as_str()), ("SOKKETSU_JOURNAL__NODE", "operator")];
    let [data, file] = [folder, &file].map(|path| path.to_str().unwrap());
    let words = ["cluster", "apply", "--sandbox", "--data", data, "--merchants", file];
    let (code, said) = run(&words, &operator);
    assert!(code == Some(0) && said.contains("merchants 2, of which 2 are new or others than before"), "{said}");
    let journaled =
        || pg.sql(&database, "SELECT merchant_id, status FROM merchant WHERE name = merchant_id ORDER BY merchant_id");
    wait("the merchants are not journaled", || journaled() == "m-1|2\nm-2|1");

    let died = Instant::now();
    nodes.servers[owner].kill();
    let (next, _) = nodes.owner_after(owner, died, "M-1");
    let sale =
        json!({"order_id": "M-2", "customer_id": "2000", "channel": "online", "amount": 1, "merchant": {"id": "m-1"}});
    let denied = nodes.servers[next].client().call("register", "POST", "/v1/authorizations", Some(&sale)).unwrap();
    assert_eq!(denied.json()["reason"], "merchant_inactive", "{}", denied.json());
    let changed = put(next, &nodes, &json!({"name": "m-1", "mcc": "5411"}));
    assert_eq!((changed.status, &changed.json()["status"]), (200, &json!("active")));
    let (code, said) = nodes.verify();
    assert_eq!(code, Some(0), "{said}");
}

/// The database's own failover, by somebody else: here it is done by hand. An old primary that was frozen meanwhile comes back and
/// takes writes still; nobody asks it.
#[test]
#[expect(clippy::print_stdout, reason = "the figures are to be read")]
fn the_databases_primary_dies_and_the_nodes_go_on_with_the_next_one() {
    let pg = PgCluster::start();
    let mut nodes = start(&pg, &pg.database(), &["a", "b"]);
    approved(&nodes.servers[0], "P-1");
    let struck = Instant::now();
    pg.freeze(0);
    pg.fail_over();
    let promoted = struck.elapsed();
    let mut at = 0;
    wait("nobody answers by the next primary", || {
        at = nodes.owner(None).unwrap_or(2);
        at < 2 && buy(&nodes.servers[at], "P-2").0 == 200
    });
    let took = struck.elapsed();
    println!("answers again {took:?} after the primary froze, of which the promotion took {promoted:?}");
    pg.thaw(0);
    // One that has never owned the journal knows after a start, too, that the old primary was replaced.
    let kept = nodes.folders[1 - at].path().join("CLUSTER");
    wait("a standby does not keep the timeline", || {
        std::fs::read_to_string(&kept).is_ok_and(|text| text.split(' ').nth(1) == Some("2"))
    });
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

/// Nothing is written in between that would tell the others where the journal ends: they know it, and begin nothing anew.
#[test]
fn the_owner_and_the_databases_primary_die_at_once() {
    let pg = PgCluster::start();
    let mut nodes = start(&pg, &pg.database(), &["a", "b", "c"]);
    let first = approved(&nodes.servers[0], "B-1");
    for at in [1, 2] {
        wait("a standby does not follow", || {
            let told = nodes.servers[at].client().call("ops", "GET", "/readyz", None).unwrap().json();
            told["detail"] == "standby of a, 0 records behind"
        });
    }
    let struck = Instant::now();
    nodes.servers[0].kill();
    pg.kill(0);
    pg.fail_over();
    let promoted = struck.elapsed();
    let (next, took) = nodes.owner_after(0, struck, "B-2");
    assert!(
        took < promoted + Duration::from_secs(5),
        "nobody answered for {took:?}, and {promoted:?} was the promotion"
    );
    let again = approved(&nodes.servers[next], "B-1");
    assert_eq!((&again["authorization_id"], &again["replayed"]), (&first["authorization_id"], &json!(true)));
}

/// What no owner wrote follows on a record that is there still: no failover did that, and to begin anew would not help.
#[test]
fn damage_in_the_table_ends_a_standby() {
    let pg = PgCluster::start();
    let database = pg.database();
    let mut nodes = start(&pg, &database, &["a", "b"]);
    approved(&nodes.servers[0], "D-1");
    wait("b does not follow", || {
        let told = nodes.servers[1].client().call("ops", "GET", "/readyz", None).unwrap().json();
        told["detail"] == "standby of a, 0 records behind"
    });
    nodes.servers[0].signal("STOP");
    pg.sql(
        &database,
        "INSERT INTO journal SELECT stream, month, (SELECT max(batch) + 1 FROM journal), epoch, first_lsn + n, 1, 'abc'::bytea
            FROM journal WHERE n > 0 ORDER BY batch DESC LIMIT 1",
    );
    assert_eq!(nodes.servers[1].wait(Duration::from_secs(20)).code(), Some(65));
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
pub fn strike(nodes: &mut Nodes, load: &Load, how: &str) -> Duration {
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
    let pg = PgCluster::start();
    let mut nodes = start(&pg, &pg.database(), &["a", "b", "c"]);
    let load = Load::of(&nodes);
    let mut silences: BTreeMap<&str, Vec<Duration>> = BTreeMap::new();
    load.during(|| {
        for round in 0..rounds() {
            for how in ["killed", "stopped", "frozen"] {
                // To freeze takes ten leases in the long form.
                if how == "killed" || round % 5 == 0 {
                    silences.entry(how).or_default().push(strike(&mut nodes, &load, how));
                }
            }
        }
    });
    let (answered, approved) = load.each_once(&nodes);
    for (how, all) in &mut silences {
        let (median, p99) = (percentile(all, 50), percentile(all, 99));
        println!("{} owners {how}: answers again after {median:?} (p50), {p99:?} (p99)", all.len());
    }
    println!("{answered} sales answered, {approved} approved: all there, each once");
}

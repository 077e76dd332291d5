//! What an operator does with a cluster: settings, how it stands, the journal moved in and out.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::postgresql::cluster::{NODE, OPERATOR, OWNER, PgCluster};
use super::server::{BINARY, Server, wait_until};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A database of a cluster, its tables made, and a data folder.
struct Place<'c> {
    pg: &'c PgCluster,
    database: String,
    data: tempfile::TempDir,
}

impl<'c> Place<'c> {
    fn new(pg: &'c PgCluster) -> Self {
        let place = Self { pg, database: pg.database(), data: tempfile::tempdir().unwrap() };
        let (code, said) = place.run(OWNER, &["cluster", "init"]);
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("policy    version 1, new") && said.contains("holidays  version 1, new"), "{said}");
        place
    }

    fn data(&self) -> &Path {
        self.data.path()
    }

    fn environment(&self, role: &str) -> [(&'static str, String); 2] {
        [("SOKKETSU_JOURNAL__URL", self.pg.url(role, &self.database)), ("SOKKETSU_JOURNAL__NODE", "a".to_owned())]
    }

    /// A sandbox's command as a role of the database.
    fn run(&self, role: &str, words: &[&str]) -> (Option<i32>, String) {
        run_with(self.data(), words, &self.environment(role))
    }

    /// A node that owns the journal.
    fn start(&self, role: &str) -> Server {
        let environment = self.environment(role);
        let environment: Vec<_> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let server = Server::sandbox_in(self.data(), &[], &environment);
        let is_ready = || server.client().call("ops", "GET", "/readyz", None).is_ok_and(|answer| answer.status == 200);
        wait_until("it is the owner", Duration::from_secs(30), is_ready);
        server
    }

    fn refuses(&self, role: &str, data: &Path, way: &str, expected: i32, says: &str) {
        let (code, said) = run_with(data, &["cluster", "move", way], &self.environment(role));
        assert!(code == Some(expected) && said.contains(says), "{code:?} {said}");
    }

    /// A move that is killed while its commit waits for a standby.
    fn killed_in_its_commit(&self, role: &str, data: &Path, way: &str) {
        self.pg.freeze(1);
        self.pg.freeze(2);
        let mut command = Command::new(BINARY);
        command.args(["cluster", "move", way, "--sandbox", "--data"]).arg(data).envs(self.environment(role));
        let mut child = command.spawn().unwrap();
        let waits =
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND datname = current_database()";
        wait_until("its commit waits", Duration::from_secs(30), || self.sql(waits) == "1");
        child.kill().unwrap();
        child.wait().unwrap();
        self.pg.thaw(1);
        self.pg.thaw(2);
        wait_until("its commit waits no more", Duration::from_secs(30), || self.sql(waits) == "0");
    }

    fn sql(&self, sql: &str) -> String {
        self.pg.sql(&self.database, sql)
    }
}

fn run_with(data: &Path, words: &[&str], environment: &[(&str, String)]) -> (Option<i32>, String) {
    let mut command = Command::new(BINARY);
    command.args(words).args(["--sandbox", "--data"]).arg(data);
    let ran = command.envs(environment.iter().map(|(name, value)| (name, value))).output().unwrap();
    (ran.status.code(), String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned())
}

/// A line each: all of a file, or nothing.
#[test]
fn merchants_of_a_file_are_applied() {
    let (pg, _turn) = PgCluster::shared();
    let place = Place::new(&pg);
    let files = tempfile::tempdir().unwrap();
    let merchants = files.path().join("merchants.jsonl");
    let apply = ["cluster", "apply", "--merchants", merchants.to_str().unwrap()];
    let shop = |id: &str, name: &str| json!({"merchant_id": id, "name": name, "mcc": "5411"});
    let table = || {
        place.sql(
            "SELECT id, convert_from(body, 'UTF8')::json ->> 'name' FROM setting WHERE kind = 'merchant' ORDER BY id",
        )
    };
    let demo = "mrc_electronics|デモ電器\nmrc_giftcards|デモギフトカード\nmrc_konbini|デモコンビニ";
    assert_eq!(table(), demo);
    for (second, says) in [
        (json!({"merchant_id": "b", "name": "B", "mcc": "54"}), "merchants.jsonl:3: /mcc must be four digits"),
        (shop("a", "A again"), "merchants.jsonl:3: a is there twice"),
        (json!({"name": "B", "mcc": "5411"}), "merchants.jsonl:3: /merchant_id "),
    ] {
        fs::write(&merchants, format!("{}\n\n{second}\n", shop("a", "A"))).unwrap();
        let (code, said) = place.run(OPERATOR, &apply);
        assert!(code == Some(78) && said.contains(says), "{says}: {said}");
    }
    assert_eq!(table(), demo);
    fs::write(&merchants, format!("{}\n{}", shop("a", "A"), shop("mrc_konbini", "別の店"))).unwrap();
    for written in [2, 0] {
        let (code, said) = place.run(OPERATOR, &apply);
        let says = format!("merchants 2, of which {written} are new or others than before");
        assert!(code == Some(0) && said.contains(&says), "{said}");
    }
    assert_eq!(table(), "a|A\nmrc_electronics|デモ電器\nmrc_giftcards|デモギフトカード\nmrc_konbini|別の店");
    assert_eq!(place.sql("SELECT max(version) FROM setting WHERE kind = 'policy'"), "1", "the rules stay");
}

#[test]
fn settings_are_applied_by_an_operator_checked_first_and_by_nobody_else() {
    let (pg, _turn) = PgCluster::shared();
    let place = Place::new(&pg);
    let versions = || {
        place.sql(
            "SELECT kind, version, id = '', length(body) > 100 FROM setting WHERE kind <> 'merchant' ORDER BY kind",
        )
    };
    assert_eq!(versions(), "holidays|1|t|t\npolicy|1|t|t");
    let (code, said) = place.run(OWNER, &["cluster", "init"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("policy and holidays are there"), "{said}");

    let files = tempfile::tempdir().unwrap();
    let (policy, holidays) = (files.path().join("policy.toml"), files.path().join("holidays.csv"));
    let shipped = include_str!("../../config/policy.toml");
    fs::write(&policy, format!("{shipped}# of another day\n")).unwrap();
    let apply = ["cluster", "apply", "--policy", policy.to_str().unwrap()];
    let (code, said) = place.run(NODE, &apply);
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("GRANT sokketsu_operator"), "{said}");
    assert_eq!(versions(), "holidays|1|t|t\npolicy|1|t|t");
    for says in ["policy    version 2, new, from", "policy    version 2, as it was;"] {
        let (code, said) = place.run(OPERATOR, &apply);
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains(says) && !said.contains("holidays"), "{said}");
    }
    let kept = place.sql("SELECT convert_from(body, 'UTF8') FROM setting WHERE kind = 'policy'");
    assert_eq!(kept, fs::read_to_string(&policy).unwrap().trim_end());

    // What is not named stays.
    fs::write(&holidays, "date,name\n2026-12-30,x\n").unwrap();
    let (code, said) = place.run(OPERATOR, &["cluster", "apply", "--holidays", holidays.to_str().unwrap()]);
    assert!(code == Some(0) && !said.contains("policy"), "{said}");
    assert_eq!(versions(), "holidays|2|t|f\npolicy|2|t|t");

    // Nothing of two is written where one is bad.
    fs::write(&policy, format!("{shipped}# of a third day\n")).unwrap();
    fs::write(&holidays, "date,name\n2026-13-01,x\n").unwrap();
    let both = [apply.as_slice(), &["--holidays", holidays.to_str().unwrap()]].concat();
    let (code, said) = place.run(OPERATOR, &both);
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("holidays.csv:2:1: \"2026-13-01,x\" is not `YYYY-MM-DD,name`"), "{said}");
    fs::write(&policy, shipped.replace("konbini_due_day = 10", "konbini_due_day = 31")).unwrap();
    let (code, said) = place.run(OPERATOR, &apply);
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("policy.toml:") && said.contains("`billing.konbini_due_day`"), "{said}");
    let (code, said) = place.run(OPERATOR, &["cluster", "apply", "--holidays", "not-there.csv"]);
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("--holidays: ") && said.contains("not-there.csv cannot be read"), "{said}");
    assert_eq!(versions(), "holidays|2|t|f\npolicy|2|t|t");

    // An operator reads no record and owns no stream.
    let may = |what: &str| place.sql(&format!("SELECT {what}"));
    assert_eq!(may("has_column_privilege('sokketsu_operator', 'journal', 'body', 'SELECT')"), "f");
    assert_eq!(may("has_table_privilege('sokketsu_operator', 'owner', 'INSERT, UPDATE, DELETE')"), "f");
    assert_eq!(may("has_table_privilege('sokketsu_operator', 'journal', 'INSERT, UPDATE, DELETE, TRUNCATE')"), "f");
    assert_eq!(may("has_table_privilege('sokketsu_node', 'setting', 'INSERT, UPDATE, DELETE, TRUNCATE')"), "f");

    let (code, said) = place.run(NODE, &["check-config"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("policy and holidays are the cluster's"), "{said}");
}

fn buy(server: &Server, order: &str) -> Value {
    let body = json!({"order_id": order, "customer_id": "1001", "channel": "online", "amount": 10, "confirm_repeat": true,
        "merchant": {"id": "mrc_konbini"}});
    let answer = server.client().send("register", "POST", "/v1/authorizations", &body);
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}

fn status(place: &Place<'_>, role: &str) -> (Option<i32>, Value) {
    let (code, said) = place.run(role, &["cluster", "status", "--json"]);
    (code, serde_json::from_str(&said).unwrap_or_else(|_| panic!("no JSON: {said}")))
}

#[test]
fn a_status_tells_who_owns_who_lives_and_who_confirms() {
    let (pg, _turn) = PgCluster::shared();
    let place = Place::new(&pg);
    let (code, now) = status(&place, OPERATOR);
    assert_eq!((code, &now["owned"], &now["members"]), (Some(75), &json!(false), &json!([])), "{now}");
    assert_eq!(
        now["streams"],
        json!([{"stream": 0, "owner": null, "address": null, "epoch": 0, "lease_left_ms": 0, "last": 0}])
    );
    let mut server = place.start(NODE);
    buy(&server, "S-1");
    let (code, now) = status(&place, NODE);
    assert_eq!((code, &now["owned"]), (Some(0), &json!(true)), "{now}");
    let stream = &now["streams"][0];
    assert_eq!((&stream["owner"], &stream["epoch"]), (&json!("a"), &json!(1)), "{now}");
    assert!((1..=3_000).contains(&stream["lease_left_ms"].as_i64().unwrap()), "{now}");
    assert_eq!(stream["last"].to_string(), place.sql("SELECT max(first_lsn + n - 1) FROM journal"));
    let member = &now["members"][0];
    assert_eq!((&member["node"], &member["alive"], &member["silent_since"]), (&json!("a"), &json!(true), &json!(null)));
    let database = &now["database"];
    assert_eq!((&database["name"], &database["timeline"]), (&json!(place.database), &json!(1)), "{now}");
    assert!(place.environment(NODE)[0].1.contains(&format!("@{},", database["primary"].as_str().unwrap())), "{now}");
    assert_eq!(
        (&member["address"], &member["build"]),
        (&json!(format!("http://{}", server.http)), &json!(VERSION)),
        "{now}"
    );
    let standbys: Vec<_> = database["standbys"].as_array().unwrap().iter().map(|it| &it["sync_state"]).collect();
    assert_eq!(standbys, ["quorum", "quorum"], "{now}");
    assert!(database["standbys"][0]["lag_bytes"].is_i64(), "{now}");
    assert_eq!(database["others"][1]["says"], "is a standby");
    assert_eq!(now["settings"][1], json!({"kind": "merchant", "entries": 3, "version": 3}));
    assert_eq!(now["settings"][2], json!({"kind": "policy", "entries": 1, "version": 1}));
    let (code, said) = place.run(OPERATOR, &["cluster", "status"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("owned by a") && said.contains("ms of its lease left") && said.contains("  owner  "),
        "{said}"
    );

    // A second node is a standby that is not behind, and says that it stops.
    let folder = tempfile::tempdir().unwrap();
    let url = place.environment(NODE)[0].1.clone();
    let standby =
        Server::sandbox_in(folder.path(), &[], &[("SOKKETSU_JOURNAL__URL", &url), ("SOKKETSU_JOURNAL__NODE", "b")]);
    let of_b = || status(&place, OPERATOR).1["members"][1].clone();
    let address = format!("http://{}", standby.http);
    let expected = json!({"node": "b", "address": address, "alive": true, "silent_since": null, "build": VERSION,
        "draining": false, "lag": 0});
    wait_until("it lags", Duration::from_secs(20), || of_b() == expected);
    stopped(standby);
    assert_eq!((&of_b()["alive"], &of_b()["silent_since"]), (&json!(false), &json!(null)));
    let (_, said) = place.run(OPERATOR, &["cluster", "status"]);
    assert!(said.lines().any(|line| line.starts_with("  b ") && line.contains("  stopped  ")), "{said}");

    server.kill();
    wait_until("a lease ran out", Duration::from_secs(10), || status(&place, OPERATOR).0 == Some(75));
    let (_, now) = status(&place, OPERATOR);
    assert!(now["members"][0]["silent_since"].as_str().unwrap().ends_with("+09:00"), "{now}");
    let (code, said) = run_with(
        place.data(),
        &["cluster", "status"],
        &[
            ("SOKKETSU_JOURNAL__URL", "postgres://me@127.0.0.1:1/x".to_owned()),
            ("SOKKETSU_JOURNAL__NODE", "a".to_owned()),
        ],
    );
    assert_eq!(code, Some(75), "{said}");
    assert!(said.contains("away or in doubt") && said.contains("127.0.0.1:1"), "{said}");
    let (code, said) = run_with(place.data(), &["cluster", "status"], &[]);
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("`journal.url` names no cluster"), "{said}");
}

/// How many approvals agree, in files or in a table; and what else is said of decisions and accounts.
fn verified(data: &Path, environment: &[(&str, String)]) -> (u32, String) {
    let (code, said) = run_with(data, &["verify"], environment);
    assert_eq!(code, Some(0), "{said}");
    let of = |start: &str| said.lines().find(|line| line.starts_with(start)).unwrap().to_owned();
    let (decisions, accounts) = (of("decisions"), of("accounts"));
    (decisions.split_whitespace().nth(1).unwrap().parse().unwrap(), format!("{decisions}; {accounts}"))
}

fn stopped(mut server: Server) {
    server.signal("TERM");
    assert!(server.wait(Duration::from_secs(10)).success());
}

#[test]
fn a_journal_moves_into_the_database_and_back_and_nothing_is_answered_otherwise() {
    let (pg, _turn) = PgCluster::shared();
    let place = Place::new(&pg);
    place.refuses(OWNER, place.data(), "--to-database", 78, "there is no journal in");
    let server = Server::sandbox(place.data(), &[]);
    let sold: Vec<Value> = (0..20).map(|n| buy(&server, &format!("M-{n}"))).collect();
    let again = |server: &Server| {
        for (n, first) in sold.iter().enumerate() {
            let answer = buy(server, &format!("M-{n}"));
            assert_eq!((&answer["id"], &answer["decision"]), (&first["id"], &first["decision"]));
            assert_eq!(answer["replayed"], json!(true), "{answer}");
        }
    };
    place.refuses(OWNER, place.data(), "--to-database", 75, "held by another process");
    stopped(server);
    let before = verified(place.data(), &[]);
    moved_in(&place);

    let server = place.start(NODE);
    again(&server);
    buy(&server, "M-20");
    stopped(server);
    let within = verified(place.data(), &place.environment(NODE));
    assert_eq!(before.0 + 1, within.0);

    // Other records than the table's are not moved into it, and no journal into a folder that has one.
    let other = tempfile::tempdir().unwrap();
    let server = Server::sandbox(other.path(), &[]);
    buy(&server, "O-1");
    stopped(server);
    place.refuses(OWNER, other.path(), "--to-database", 78, "has records already");
    assert!(other.path().join("journal").is_dir());
    place.refuses(NODE, other.path(), "--to-files", 78, "a journal is moved into a folder that has none");

    // A setting that no node has journaled would be lost.
    let back = tempfile::tempdir().unwrap();
    let shop = place.data().join("shop.jsonl");
    fs::write(&shop, r#"{"merchant_id": "late", "name": "late", "mcc": "5411"}"#).unwrap();
    let (code, said) = place.run(OPERATOR, &["cluster", "apply", "--merchants", shop.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{said}");
    place.refuses(NODE, back.path(), "--to-files", 78, "(merchant late is one)");
    let server = place.start(NODE);
    let known = || place.sql("SELECT count(*) FROM merchant WHERE merchant_id = 'late'");
    wait_until("it is not journaled", Duration::from_secs(20), || known() == "1");
    stopped(server);
    let within = verified(place.data(), &place.environment(NODE));

    moved_out(&place, back.path());
    assert_eq!(verified(back.path(), &[]), within);
    let server = Server::sandbox(back.path(), &[]);
    again(&server);
    buy(&server, "M-21");
    stopped(server);
    assert_eq!(verified(back.path(), &[]).0, within.0 + 1);
}

/// Into the table, refused first and then interrupted.
fn moved_in(place: &Place<'_>) {
    let files = |name: &str| place.data().join(name);
    let way = "--to-database";
    place.refuses(NODE, place.data(), way, 78, "come as the owner of the tables");
    place.sql("UPDATE owner SET node = 'b', lease_until = now() + interval '1 hour'");
    place.refuses(OWNER, place.data(), way, 75, "owned by b, which runs");
    place.sql("UPDATE owner SET lease_until = '-infinity'");
    assert_eq!(place.sql("SELECT count(*) FROM journal"), "0", "nothing is left of a move that was refused");
    // Killed while no standby confirms: whether it was done is found out by the next one, and no start takes what is half done.
    place.killed_in_its_commit(OWNER, place.data(), way);
    assert!(files("journal.to-database").is_dir() && !files("journal").exists());
    serve_fails(place.data(), 78, "half done: run `sokketsu cluster move --to-database` again");
    let (code, said) = place.run(OWNER, &["cluster", "move", way]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("records 1 to ") && said.contains("were moved before"), "{said}");
    assert!(said.contains("compared byte by byte") && said.contains("start each node with `journal.url`"), "{said}");
    assert!(files("journal.moved").is_dir() && !files("journal.to-database").exists());
    assert_eq!(place.sql("SELECT min(epoch), max(epoch), min(n), max(n) <= 256 FROM journal"), "1|1|0|t");
    serve_fails(place.data(), 78, "was moved into a database");
}

/// Into files of an empty folder, interrupted first; then nothing moves any more.
fn moved_out(place: &Place<'_>, back: &Path) {
    place.killed_in_its_commit(NODE, back, "--to-files");
    serve_fails(back, 78, "half done: run `sokketsu cluster move --to-files` again");
    let (code, said) = run_with(back, &["cluster", "move", "--to-files"], &place.environment(NODE));
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("are moved from") && said.contains("no node can own it again"), "{said}");
    assert!(said.contains("take `journal.url`"), "{said}");
    let (code, now) = status(place, OPERATOR);
    assert_eq!((code, &now["streams"][0]["owner"]), (Some(75), &json!("(moved to files)")), "{now}");
    let (code, said) = run_with(back, &["verify"], &place.environment(NODE));
    assert!(code == Some(0) && said.contains("were moved to files") && said.contains("this is the copy"), "{said}");
    let again = tempfile::tempdir().unwrap();
    place.refuses(OWNER, again.path(), "--to-files", 78, "were moved to files already");
    fs::rename(place.data().join("journal.moved"), again.path().join("journal")).unwrap();
    place.refuses(OWNER, again.path(), "--to-database", 78, "were moved to files, where");
}

/// A service that does not start says why.
fn serve_fails(data: &Path, expected: i32, says: &str) {
    let (code, said) = run_with(data, &["serve", "--http", "127.0.0.1:0"], &[]);
    assert!(code == Some(expected) && said.contains(says), "{code:?} {said}");
}

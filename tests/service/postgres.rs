//! The service with its ledger in PostgreSQL: decisions go on while the database is away, and the books catch up.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use sokketsu::database;
use sokketsu::domain::model::time::Millis;
use sokketsu::ledger::postgres::migrate;

use super::postgresql::{PASSWORD, PgServer, SERVICE};
use super::server::{BINARY, Server};

const URL: &str = "SOKKETSU_LEDGER__URL";

fn made(pg: &PgServer) -> String {
    pg.ledger(|url| {
        migrate(&database::Server::parse(url, None, None).unwrap(), Millis(0)).unwrap();
    })
}

fn buy(server: &Server, order: &str, customer: u32) -> (u16, serde_json::Value) {
    let body = json!({"order_id": order, "customer_id": customer.to_string(), "channel": "online", "amount": 10, "confirm_repeat": true,
        "merchant": {"id": "mrc_konbini"}});
    let answer = server.client().send("register", "POST", "/v1/authorizations", &body);
    (answer.status, answer.json())
}

/// A gauge of the page of metrics.
fn gauge(server: &Server, name: &str) -> f64 {
    let page = server.client().call("ops", "GET", "/metrics", None).unwrap();
    let line = page.text.lines().find(|line| line.starts_with(&format!("{name} ")));
    line.unwrap_or_else(|| panic!("no {name}")).rsplit(' ').next().unwrap().parse().unwrap()
}

fn wait(what: &str, within: Duration, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + within;
    while !is_so() {
        assert!(Instant::now() < until, "{what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

fn verify(server: &Server, url: &str) -> (Option<i32>, String) {
    let mut command = Command::new(BINARY);
    let ran = command.args(["verify", "--data"]).arg(&server.data).env(URL, url).output().unwrap();
    let text = [ran.stdout, ran.stderr].concat();
    (ran.status.code(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn decisions_go_on_while_the_database_is_away_and_the_books_catch_up() {
    let pg = PgServer::start(&[]);
    let url = pg.url(SERVICE, &made(&pg));
    let data = tempfile::tempdir().unwrap();
    let mut server = Server::sandbox_in(data.path(), &[], &[(URL, &url)]);
    let is_over = Arc::new(AtomicBool::new(false));
    let bought = std::thread::scope(|scope| {
        let buyers: Vec<_> = (0..2)
            .map(|buyer| {
                let (server, is_over) = (&server, &is_over);
                scope.spawn(move || {
                    let mut bought = 0_u32;
                    while !is_over.load(Ordering::Acquire) {
                        let (status, answer) = buy(server, &format!("R-{buyer}-{bought}"), 2_000 + bought % 1_000);
                        // The machine has more to do than this: nothing was decided, and it is asked again.
                        if answer["reason"] == "busy" {
                            continue;
                        }
                        assert_eq!((status, &answer["decision"]), (200, &json!("approved")), "{answer}");
                        bought += 1;
                    }
                    bought
                })
            })
            .collect();
        // Twice as in a switch-over, twice as in a crash, each time until the lag has shown.
        for at_once in [false, true, false, true] {
            wait("the books lag", Duration::from_secs(30), || gauge(&server, "sokketsu_ledger_lag_records") < 200.0);
            pg.stop(at_once);
            let lag = || gauge(&server, "sokketsu_ledger_lag_records");
            wait("no lag is told", Duration::from_secs(30), || lag() > 300.0);
            assert_eq!(server.client().call("ops", "GET", "/readyz", None).unwrap().status, 200);
            pg.resume();
        }
        wait("the books lag", Duration::from_secs(60), || gauge(&server, "sokketsu_ledger_lag_records") < 200.0);
        is_over.store(true, Ordering::Release);
        buyers.into_iter().map(|buyer| buyer.join().unwrap()).sum::<u32>()
    });
    server.signal("TERM");
    assert!(server.wait(Duration::from_secs(10)).success());
    let (code, said) = verify(&server, &url);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("all agree") && said.contains(", 0 behind"), "{said}");
    assert!(!said.contains(PASSWORD));
    assert!(bought > 500, "{bought}");

    // A start takes its accounts from the database, and an old order is found there.
    server.start_again();
    let (status, again) = buy(&server, "R-0-0", 2_000);
    assert_eq!((status, &again["replayed"]), (200, &json!(true)), "{again}");
}

/// Runs to its end and gives the exit code with what it said.
fn serve_fails(url: &str, arguments: &[&str]) -> (Option<i32>, String) {
    serve_fails_on(tempfile::tempdir().unwrap().path(), url, arguments)
}

fn serve_fails_on(data: &Path, url: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(BINARY);
    command.args(arguments).arg("--data").arg(data).env(URL, url);
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn what_does_not_fit_is_refused_with_the_reason_and_the_mend() {
    let pg = PgServer::start(&[]);
    let database = made(&pg);
    let serve = ["serve", "--sandbox", "--http", "127.0.0.1:0"];
    let url = pg.url(SERVICE, &database);
    let empty = pg.empty_database();
    let cases = [
        ("postgres://me:hunter2@db.example/books".to_owned(), 78, "`ledger.url`: leads to another machine without TLS"),
        (url.replace("word", "wort"), 78, "password authentication failed"),
        (pg.url(SERVICE, "nothing"), 78, "the address names another database"),
        (pg.url(SERVICE, &empty), 78, "sokketsu ledger migrate"),
        ("postgres://me@127.0.0.1:1/books".to_owned(), 75, "can't be reached"),
    ];
    for (url, code, word) in cases {
        let (found, said) = serve_fails(&url, &serve);
        assert_eq!(found, Some(code), "{said}");
        assert!(said.contains(word) && !said.contains("hunter2") && !said.contains("p@ss"), "{word}: {said}");
    }
    let owner = pg.url("sokketsu_owner", &empty);
    let migrate = || {
        let ran = Command::new(BINARY).args(["ledger", "migrate"]).env(URL, &owner).output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8(ran.stdout).unwrap()
    };
    assert!(migrate().contains("schema 0 became"));
    assert!(migrate().contains("nothing was to be done"));
    let data = tempfile::tempdir().unwrap();
    drop(Server::sandbox_in(data.path(), &[], &[(URL, &pg.url(SERVICE, &empty))]));
    pg.sql(&empty, "INSERT INTO schema_migrations VALUES (99, 'from the future', 'x', 0)");
    let (code, said) = serve_fails(&pg.url(SERVICE, &empty), &serve);
    assert_eq!(code, Some(65), "{said}");
    assert!(said.contains("use the newer program"), "{said}");
}

#[test]
fn the_ledger_of_another_service_is_refused() {
    let pg = PgServer::start(&[]);
    let url = pg.url(SERVICE, &made(&pg));
    let [one, other] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let sell = |data: &Path, environment: &[(&str, &str)], sales: u32| {
        let mut server = Server::sandbox_in(data, &[], environment);
        (0..sales).for_each(|n| assert_eq!(buy(&server, &format!("R-{n}"), 2_000 + n).0, 200));
        server.signal("TERM");
        assert!(server.wait(Duration::from_secs(10)).success());
    };
    sell(one.path(), &[(URL, &url)], 5);
    sell(other.path(), &[], 30);
    let serve = ["serve", "--sandbox", "--http", "127.0.0.1:0"];
    for (data, why) in [(other.path(), "do not belong together"), (&other.path().join("new"), "the journal only up to")]
    {
        let (code, said) = serve_fails_on(data, &url, &serve);
        assert_eq!(code, Some(65), "{said}");
        assert!(said.contains(why), "{why}: {said}");
    }
    sell(one.path(), &[(URL, &url)], 1);
}

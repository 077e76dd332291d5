//! Files from banks and convenience stores, and the ids of money, on the real binary: which line a fault is on, how many
//! lines share a sync, what a stop leaves, and that one id is one payment by call and by file.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::server::{Answer, Client, Server, wait_until};

const HEADER: &str = "id,type,customer_id,amount,paid_at,expires_at";

fn count(shown: &Value, what: &str) -> u64 {
    shown[what].as_u64().unwrap_or_else(|| panic!("no {what}: {shown}"))
}

fn import(client: &mut Client, lines: &[&str]) -> Value {
    let file = format!("{HEADER}\n{}\n", lines.join("\n"));
    client.import("office", &file).json()
}

pub fn metric(client: &mut Client, name: &str) -> f64 {
    let text = client.get("ops", "/metrics").text;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in {text}"))
}

#[test]
fn faults_are_on_the_line_that_an_editor_shows() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::sandbox(folder.path(), &[]);
    let mut client = server.client();
    for (end, name) in [("\n", "lf"), ("\r\n", "crlf"), ("\r", "cr")] {
        let good = format!("{name}-1,repayment,2000,5");
        let broken = format!("\"{name}{end}-2\",repayment,2000,5");
        let late = format!("{name}-3,repayment,2000,0");
        let lines =
            ["", "id,type,customer_id,amount", &good, "", &broken, "", "x,y", &late, "z,\"repayment,2000,5", ""];
        let shown = client.import("office", &lines.join(end)).json();
        let errors = shown["errors"].as_array().expect("a list");
        let at: Vec<_> = errors.iter().map(|bad| (count(bad, "line"), bad["reason"].as_str().expect("one"))).collect();
        // The broken id takes two lines.
        let expected = [(5, "invalid_field"), (8, "malformed"), (9, "invalid_field"), (10, "malformed")];
        assert_eq!(at, expected, "{name}: {shown}");
        let said = errors[3]["detail"].as_str().expect("a text");
        assert!(said.contains("The quote that opens on line 10 is never closed"), "{said}");
        assert_eq!((count(&shown, "lines"), count(&shown, "posted"), count(&shown, "failed")), (5, 1, 4), "{shown}");
    }
}

#[test]
fn lines_share_syncs_and_those_of_one_customer_keep_their_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::sandbox(folder.path(), &[]);
    let mut client = server.client();
    let before = metric(&mut client, "sokketsu_journal_sync_seconds_count");
    let lines: Vec<String> = (0..2_000).map(|n| format!("F-{n},repayment,{},{}", 2_000 + n % 7, 1 + n % 50)).collect();
    let mut lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    // The same id later in the file says the same, or something else.
    lines.extend(["F-1999,repayment,2004,50", "F-1999,repayment,2004,49", "F-1998,repayment,2000,49"]);
    let file = format!("id,type,customer_id,amount\n{}\n", lines.join("\n"));
    let shown = client.import("office", &file).json();
    assert_eq!((count(&shown, "posted"), count(&shown, "replayed"), count(&shown, "failed")), (2_000, 1, 2), "{shown}");
    for bad in shown["errors"].as_array().expect("a list") {
        assert_eq!(bad["reason"], "id_reused", "{bad}");
    }
    let syncs = metric(&mut client, "sokketsu_journal_sync_seconds_count") - before;
    assert!(syncs <= 200.0, "2,000 lines took {syncs} syncs");

    let mut last: HashMap<String, u64> = HashMap::new();
    let mut seen = 0;
    for event in client.get("ops", "/v1/events?after=0&limit=100000").text.lines() {
        let event: Value = serde_json::from_str(event).expect("JSON");
        if event["kind"] == "repaid" {
            let id = event["repayment_id"].as_str().expect("an id").trim_start_matches("F-").parse().expect("a number");
            let customer = event["customer_id"].as_str().expect("an id").to_owned();
            let before = last.insert(customer, id);
            assert!(before.is_none_or(|before| before < id), "{id} came after {before:?}");
            seen += 1;
        }
    }
    assert_eq!(seen, 2_000);
    let again = client.import("office", &file).json();
    assert_eq!((count(&again, "posted"), count(&again, "replayed"), count(&again, "failed")), (0, 2_001, 2));
}

#[test]
fn a_stop_ends_a_file_between_lines_and_the_file_again_replays() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = Server::sandbox(folder.path(), &[]);
    let lines: Vec<String> = (0..20_000).map(|n| format!("S-{n},repayment,{},1", 2_000 + n % 1_000)).collect();
    let file = format!("id,type,customer_id,amount\n{}\n", lines.join("\n"));
    let sender = std::thread::spawn({
        let (mut client, file) = (server.client(), file.clone());
        move || client.import("office", &file)
    });
    let mut watcher = server.client();
    let began = |watcher: &mut Client| watcher.get("office", "/v1/customers/2005").json()["credit"] != json!(0);
    wait_until("the first lines", Duration::from_secs(60), || began(&mut watcher));
    server.signal("TERM");
    let answer = sender.join().expect("an answer");
    assert!(server.wait(Duration::from_secs(5)).success());
    assert_eq!((answer.status, &answer.json()["reason"]), (503, &json!("not_ready")), "{answer:?}");
    let told = answer.json();
    let posted = count(&told, "posted");
    assert!(posted > 0 && posted < 20_000, "{told}");
    // The header is line 1.
    assert_eq!(count(&told, "line"), posted + 2, "{told}");
    assert_eq!(posted % 256, 0, "what was under way together is answered whole: {told}");
    server.start_again();
    let shown = server.client().import("office", &file).json();
    assert_eq!((count(&shown, "replayed"), count(&shown, "posted")), (posted, 20_000 - posted), "{shown}");
}

const PAID: &str = "2026-11-20T12:00:00+09:00";
const UNTIL: &str = "2099-01-01T00:00:00+09:00";

/// Tells news of a payment by call: its status, reason, and whether it was a replay.
fn told(client: &mut Client, who: &str, id: &str, news: &str) -> (u16, String, bool) {
    let (path, body) = match news {
        "repayment" => ("repayments".to_owned(), json!({"repayment_id": id, "amount": 500, "paid_at": PAID})),
        "pending" => (
            "payments-pending".to_owned(),
            json!({"payment_id": id, "amount": 500, "paid_at": PAID, "expires_at": UNTIL}),
        ),
        "final" => (format!("payments-pending/{id}/final"), json!({"amount": 500, "paid_at": PAID})),
        "bare" => (format!("payments-pending/{id}/final"), json!({})),
        other => (format!("payments-pending/{id}/{other}"), json!({})),
    };
    let answer: Answer = client.send("office", "POST", &format!("/v1/customers/{who}/{path}"), &body);
    let shown = answer.json();
    (answer.status, shown["reason"].as_str().unwrap_or_default().to_owned(), shown["replayed"] == json!(true))
}

/// The same by a line of a file.
fn filed(client: &mut Client, who: &str, id: &str, news: &str) -> String {
    let line = match news {
        "pending" => format!("{id},pending,{who},500,{PAID},{UNTIL}"),
        "withdrawn" | "debit_failed" => format!("{id},{news},{who},,,"),
        "bare" => format!("{id},debit_paid,{who},,,"),
        other => format!("{id},{other},{who},500,{PAID},"),
    };
    let shown = import(client, &[&line]);
    match (count(&shown, "posted"), count(&shown, "replayed")) {
        (1, 0) => "posted".to_owned(),
        (0, 1) => "replayed".to_owned(),
        _ => shown["errors"][0]["reason"].as_str().expect("a reason").to_owned(),
    }
}

fn credit(client: &mut Client, who: &str) -> u64 {
    count(&client.get("office", &format!("/v1/customers/{who}")).json(), "credit")
}

/// First news, then news after it, and what comes of that by call and by file.
type Pair = (&'static str, &'static str, (u16, &'static str, bool), &'static str);

const PAIRS: [Pair; 13] = [
    ("repayment", "repayment", (200, "", true), "replayed"),
    ("repayment", "pending", (200, "", true), "replayed"),
    ("repayment", "final", (200, "", true), "replayed"),
    ("repayment", "withdrawn", (409, "payment_final", false), "payment_final"),
    ("final", "repayment", (200, "", true), "replayed"),
    ("final", "pending", (200, "", true), "replayed"),
    ("final", "bare", (200, "", true), "replayed"),
    ("pending", "pending", (200, "", true), "replayed"),
    ("withdrawn", "withdrawn", (200, "", true), "replayed"),
    ("withdrawn", "pending", (409, "payment_withdrawn", false), "payment_withdrawn"),
    ("withdrawn", "final", (409, "payment_withdrawn", false), "payment_withdrawn"),
    ("withdrawn", "bare", (409, "payment_withdrawn", false), "payment_withdrawn"),
    ("withdrawn", "repayment", (409, "payment_withdrawn", false), "payment_withdrawn"),
];

/// Judges all pairs again; each id stands for what was told first.
fn judge(client: &mut Client, when: &str) {
    for (at, (first, second, by_call, by_line)) in PAIRS.into_iter().enumerate() {
        let what = format!("{second} after {first}, {when}");
        let got = told(client, "2001", &format!("C-{at}"), second);
        assert_eq!((got.0, got.1.as_str(), got.2), by_call, "by call: {what}");
        assert_eq!(filed(client, "2002", &format!("L-{at}"), second), by_line, "by line: {what}");
        let reused = if second == "repayment" { "repayment_id_reused" } else { "id_reused" };
        let another = told(client, "2003", &format!("C-{at}"), second);
        assert_eq!((another.0, another.1.as_str()), (409, reused), "of another, {what}");
        assert_eq!(filed(client, "2003", &format!("L-{at}"), second), "id_reused", "of another, {what}");
    }
}

#[test]
fn one_id_is_one_payment_by_call_by_file_after_a_restart_and_at_any_age() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = Server::sandbox(folder.path(), &["--sandbox-start", "2026-11-24T00:00:00+09:00"]);
    let mut client = server.client();
    for (at, (first, ..)) in PAIRS.into_iter().enumerate() {
        assert_eq!(told(&mut client, "2001", &format!("C-{at}"), first), (200, String::new(), false), "{first}");
        assert_eq!(filed(&mut client, "2002", &format!("L-{at}"), first), "posted", "{first}");
    }
    // Seven were money.
    let books = |client: &mut Client| [credit(client, "2001"), credit(client, "2002"), credit(client, "2003")];
    assert_eq!(books(&mut client), [3_500, 3_500, 0]);
    judge(&mut client, "at once");
    server.kill();
    server.start_again();
    let mut client = server.client();
    judge(&mut client, "after a restart");
    // Memory lets go of them; only the ledger has them.
    let clock = client.send("ops", "POST", "/sandbox/clock", &json!({"now": "2026-12-05T00:00:00+09:00"}));
    assert_eq!(clock.status, 200, "{clock:?}");
    judge(&mut client, "at eleven days");
    assert_eq!(books(&mut client), [3_500, 3_500, 0]);

    // Over provisional news, once, whoever comes first.
    for (at, end) in ["repayment", "final", "bare", "withdrawn"].into_iter().enumerate() {
        let id = format!("P-{at}");
        assert_eq!(told(&mut client, "2004", &id, "pending"), (200, String::new(), false));
        assert_eq!(told(&mut client, "2004", &id, end), (200, String::new(), false), "{end}");
        let after = if end == "withdrawn" { (409, "payment_withdrawn") } else { (200, "") };
        let got = told(&mut client, "2004", &id, "repayment");
        assert_eq!((got.0, got.1.as_str()), after, "a repayment after {end}");
    }
    assert_eq!(credit(&mut client, "2004"), 1_500);
    assert_eq!(told(&mut client, "2004", "nobody", "bare").0, 404);
    // Debit results are final or withdrawn.
    assert_eq!(filed(&mut client, "2004", "D-1", "debit_paid"), "posted");
    assert_eq!(filed(&mut client, "2004", "D-1", "debit_failed"), "payment_final");
    assert_eq!(filed(&mut client, "2004", "D-2", "debit_failed"), "posted");
    assert_eq!(filed(&mut client, "2004", "D-2", "debit_paid"), "payment_withdrawn");
    assert_eq!(credit(&mut client, "2004"), 2_000);
}

/// One line of a file with these columns: what was done with it, or the reason and the text of its error.
fn one_line(client: &mut Client, columns: &str, line: &str) -> (String, String) {
    let shown = client.import("office", &format!("{columns}\n{line}\n")).json();
    let bad = |what: &str| shown["errors"][0][what].as_str().unwrap_or_default().to_owned();
    match (count(&shown, "posted"), count(&shown, "replayed")) {
        (1, 0) => ("posted".to_owned(), String::new()),
        (0, 1) => ("replayed".to_owned(), String::new()),
        _ => (bad("reason"), bad("detail")),
    }
}

#[test]
fn a_refund_line_is_of_its_customer_and_of_a_time_that_can_be() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = Server::sandbox(folder.path(), &["--sandbox-start", "2026-11-20T09:00:00+09:00"]);
    let mut client = server.client();
    let body = json!({"order_id": "R-1", "customer_id": "2001", "channel": "online", "amount": 3_000,
        "merchant": {"id": "mrc_konbini"}});
    let sale = client.send("register", "POST", "/v1/authorizations", &body).json();
    let order = sale["authorization_id"].as_str().unwrap_or_else(|| panic!("{sale}")).to_owned();
    let day = json!({"now": "2026-11-24T00:00:00+09:00"});
    assert_eq!(client.send("ops", "POST", "/sandbox/clock", &day).status, 200);
    let refunded = |client: &mut Client| {
        count(&client.get("office", &format!("/v1/authorizations/{order}")).json(), "refunded_amount")
    };
    let columns = "id,type,customer_id,amount,paid_at,expires_at,authorization_id";
    let told = |client: &mut Client, id: &str, who: &str, paid_at: &str| {
        one_line(client, columns, &format!("{id},refund,{who},100,{paid_at},,{order}"))
    };
    // Now, and after the order and its refunds are in the ledger alone.
    for round in 0..3 {
        let id = |name: &str| format!("{name}-{round}");
        let before = refunded(&mut client);
        for (who, paid_at, column) in [
            ("1006", "", "`/customer_id`"),
            ("nobody", "", "`/customer_id`"),
            ("2001", "2027-01-01T00:00:00+09:00", "`/paid_at`"),
            ("2001", "2024-11-22T00:00:00+09:00", "`/paid_at`"),
            // Before the purchase was captured.
            ("2001", "2026-11-20T08:59:59+09:00", "`/paid_at`"),
            ("2001", "yesterday", "`/paid_at`"),
        ] {
            let (reason, detail) = told(&mut client, &id("A"), who, paid_at);
            assert!(reason == "invalid_field" && detail.contains(column), "{who} {paid_at}: {reason} {detail}");
        }
        let (reason, detail) = one_line(&mut client, columns, &format!("A,refund,2001,100,,{PAID},{order}"));
        assert!(reason == "invalid_field" && detail.contains("`/expires_at`"), "{reason} {detail}");
        assert_eq!(refunded(&mut client), before);
        assert_eq!(told(&mut client, &id("A"), "2001", "").0, "posted");
        assert_eq!(told(&mut client, &id("B"), "", PAID).0, "posted", "nobody has to be named");
        // All that were told before, of whatever age.
        for round in 0..=round {
            let id = |name: &str| format!("{name}-{round}");
            for who in ["1006", "nobody"] {
                assert_eq!(told(&mut client, &id("A"), who, "").0, "id_reused", "{who}");
                assert_eq!(told(&mut client, &id("B"), who, PAID).0, "id_reused", "{who}");
            }
            for who in ["2001", ""] {
                assert_eq!(told(&mut client, &id("A"), who, "").0, "replayed");
                assert_eq!(told(&mut client, &id("B"), who, PAID).0, "replayed");
                assert_eq!(told(&mut client, &id("B"), who, "").0, "replayed", "what is not said is not compared");
                assert_eq!(told(&mut client, &id("B"), who, "2026-11-21T12:00:00+09:00").0, "id_reused");
                assert_eq!(told(&mut client, &id("A"), who, PAID).0, "replayed", "nobody had said when");
            }
        }
        assert_eq!(refunded(&mut client), before + 200);
        server.kill();
        server.start_again();
        client = server.client();
        let later = json!({"now": format!("2026-12-{:02}T00:00:00+09:00", 5 + 10 * round)});
        assert_eq!(client.send("ops", "POST", "/sandbox/clock", &later).status, 200);
    }
}

#[test]
fn a_line_of_an_end_is_compared_with_what_was_said_before() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::sandbox(folder.path(), &["--sandbox-start", "2026-11-24T00:00:00+09:00"]);
    let mut client = server.client();
    let (other_time, other_until) = ("2026-11-21T12:00:00+09:00", "2099-01-02T00:00:00+09:00");
    for (at, kind) in ["final", "debit_paid", "withdrawn", "debit_failed"].into_iter().enumerate() {
        let id = format!("E-{at}");
        assert_eq!(filed(&mut client, "2001", &id, "pending"), "posted");
        let mut told = |rest: &str| one_line(&mut client, HEADER, &format!("{id},{kind},2001,{rest}")).0;
        for expected in ["posted", "replayed"] {
            for other in [format!("900,{PAID},{UNTIL}"), format!("500,{other_time},"), format!(",,{other_until}")] {
                assert_eq!(told(&other), "id_reused", "{kind} {other}, then {expected}");
            }
            assert_eq!(told(&format!("500,{PAID},{UNTIL}")), expected, "{kind}");
        }
        assert_eq!(told(",,"), "replayed", "{kind}: what is not said is not compared");
    }
    let columns = "id,type,customer_id,amount,paid_at,expires_at,authorization_id";
    let order = "aut_4r00000000000hvr58bd88cvs53";
    for (line, column) in [
        (format!("U,repayment,2001,500,{PAID},{UNTIL},"), "`/expires_at`"),
        (format!("U,repayment,2001,500,{PAID},,{order}"), "`/authorization_id`"),
        (format!("U,pending,2001,500,{PAID},{UNTIL},{order}"), "`/authorization_id`"),
        (format!("U,final,2001,500,{PAID},,{order}"), "`/authorization_id`"),
        (format!("U,withdrawn,2001,,,,{order}"), "`/authorization_id`"),
        ("U,debit_failed,2001,five,,,".to_owned(), "`/amount`"),
    ] {
        let (reason, detail) = one_line(&mut client, columns, &line);
        assert!(reason == "invalid_field" && detail.contains(column), "{line}: {reason} {detail}");
    }
}

#[test]
fn an_invoice_has_one_name_in_every_answer_and_event() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::sandbox(folder.path(), &["--sandbox-start", "2026-11-24T00:00:00+09:00"]);
    let mut client = server.client();
    let mut buy = |id: &str| {
        let body = json!({"order_id": id, "customer_id": "2001", "channel": "np_atobarai", "amount": 3_000,
            "merchant": {"id": "mrc_konbini"}, "confirm_repeat": true});
        let sale = client.send("register", "POST", "/v1/authorizations", &body).json();
        sale["authorization_id"].as_str().unwrap_or_else(|| panic!("{sale}")).to_owned()
    };
    let (first, second) = (buy("N-1"), buy("N-2"));
    let clock = client.send("ops", "POST", "/sandbox/clock", &json!({"now": "2026-11-28T00:00:00+09:00"}));
    assert_eq!(clock.status, 200, "{clock:?}");
    let body = json!({"repayment_id": "R-1", "amount": 3_000});
    let paid = client.send("office", "POST", "/v1/customers/2001/repayments", &body).json();
    let applied = &paid["applied"];
    assert_eq!((&applied[0]["bill"], &applied[0]["month"]), (&json!(first), &Value::Null), "{paid}");
    // Its bill was paid, so the money goes to the other one.
    let body = json!({"refund_id": "F-1", "amount": 1_000});
    let made = client.send("office", "POST", &format!("/v1/authorizations/{first}/refunds"), &body).json();
    assert_eq!(made["applied"], json!([{"to": second, "amount": 1_000}]), "{made}");
    let events = client.get("ops", "/v1/events?after=0&limit=100000").text;
    assert!(!events.contains("np:"), "{events}");
    let named = |kind: &str, id: &str| {
        let events = events.lines().filter(|line| line.contains(&format!("\"kind\":\"{kind}\"")));
        events.filter(|line| line.contains(&format!("\"bill\":\"{id}\""))).count()
    };
    assert_eq!((named("repaid", &first), named("refunded", &second)), (1, 1), "{events}");
}

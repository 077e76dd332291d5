//! The phone's mirror of its code: it hears of the sale and of what becomes of it, by whatever way that comes, and of every
//! change of what can be spent; nobody hears of somebody else.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sokketsu::domain::model::time::Millis;

use super::iso::{Peer, sale};
use super::server::{Client, Server};

/// Longer than any news may take, and far from the end of a poll that waits for 30 s.
const SOON: Duration = Duration::from_secs(12);

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} should be a string"))
}

/// A phone that follows its code.
struct Phone<'s> {
    server: &'s Server,
    path: String,
    barcode: String,
    /// As last seen.
    version: u64,
}

impl<'s> Phone<'s> {
    fn shows_a_code(server: &'s Server, customer: &str) -> Self {
        let code = server.client().send("wallet", "POST", "/v1/codes", &json!({ "customer_id": customer })).json();
        let path = format!("/v1/codes/{}", text(&code["code_id"]));
        let mut phone = Self { server, path, barcode: text(&code["barcode"]).to_owned(), version: 0 };
        phone.look();
        phone
    }

    fn look(&mut self) -> Value {
        let mirror = self.server.client().get("wallet", &self.path).json();
        let version = mirror["version"].as_u64().expect("a version");
        assert!(version >= self.version, "it never falls: {mirror}");
        self.version = version;
        mirror
    }

    /// Waits for what is newer than it has seen, while `act` happens; gives what it heard, and after how long.
    fn polls(&mut self, wait_ms: u64, act: impl FnOnce(&mut Client)) -> (Value, Duration) {
        let (server, path) = (self.server, format!("{}?after={}&wait_ms={wait_ms}", self.path, self.version));
        let (mirror, took) = std::thread::scope(|scope| {
            let poll = scope.spawn(|| {
                let started = Instant::now();
                (server.client().get("wallet", &path).json(), started.elapsed())
            });
            // The server has come to wait long before so many other calls are answered; an early act would be heard too.
            let mut client = server.client();
            (0..30).for_each(|_| drop(client.get("wallet", &self.path)));
            act(&mut client);
            poll.join().expect("no panic")
        });
        let version = mirror["version"].as_u64().expect("a version");
        assert!(version >= self.version, "it never falls: {mirror}");
        self.version = version;
        (mirror, took)
    }

    /// `act` is news.
    fn hears(&mut self, act: impl FnOnce(&mut Client)) -> Value {
        let before = self.version;
        let (mirror, took) = self.polls(30_000, act);
        assert!(took < SOON && self.version > before, "told after {took:?}: {mirror}");
        mirror
    }

    /// Time comes to `end` while it waits.
    fn hears_that_time_is_over(&mut self, end: Millis, check: impl FnOnce(&Value)) {
        let set = |client: &mut Client, to: Millis| {
            say(client, "ops", "/sandbox/clock", &json!({ "now": to.to_string() }));
        };
        // The sandbox's clock stands still a moment before, so that the poll must wait.
        set(&mut self.server.client(), end.plus(-50));
        let (mirror, took) = self.polls(30_000, |client| set(client, end));
        assert!(took < SOON, "told after {took:?}: {mirror}");
        check(&mirror);
    }

    /// `act` is none for this phone.
    fn hears_nothing(&mut self, act: impl FnOnce(&mut Client)) {
        let before = self.version;
        let (mirror, took) = self.polls(1_500, act);
        assert!(self.version == before && took >= Duration::from_millis(1_500), "told after {took:?}: {mirror}");
    }
}

fn pay(client: &mut Client, phone: &Phone<'_>, order: &str, amount: u64, capture: bool) -> String {
    let body = json!({"order_id": order, "code": phone.barcode, "amount": amount, "capture": capture,
        "merchant": {"id": "mrc_konbini"}});
    text(&client.send("register", "POST", "/v1/authorizations", &body).json()["authorization_id"]).to_owned()
}

fn say(client: &mut Client, role: &str, path: &str, body: &Value) {
    let answer = client.send(role, "POST", path, body);
    assert_eq!(answer.status, 200, "{path} {body}: {answer:?}");
}

/// Held, captured, refunded and cancelled yen of the sale.
fn amounts(mirror: &Value) -> [u64; 4] {
    let sale = &mirror["sale"];
    ["held", "captured", "refunded", "cancelled"].map(|name| sale[name].as_u64().expect("yen"))
}

fn says(mirror: &Value, ja: &[&str], en: &str) {
    let words = &mirror["sale"]["customer"];
    assert_eq!(words["en"], en, "{words}");
    for part in ja.iter().chain(&["デモコンビニで"]) {
        assert!(text(&words["ja"]).contains(part), "{words} without {part}");
    }
    assert_eq!(mirror["sale"], mirror["last_attempt"], "one sale, told alike");
}

#[test]
fn a_hold_its_capture_and_its_refunds_are_each_heard_with_their_yen() {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::sandbox(data.path(), &[]);
    let mut phone = Phone::shows_a_code(&server, "1001");
    let (code, mut id) = (phone.barcode.clone(), String::new());
    let till = Phone { server: &server, path: String::new(), barcode: code, version: 0 };

    let denied = phone.hears(|client| drop(pay(client, &till, "M-0", 15_001, true)));
    assert_eq!((&denied["status"], &denied["attempts"], &denied["sale"]), (&json!("live"), &json!(1), &Value::Null));
    let tried = &denied["last_attempt"];
    assert_eq!((&tried["held"], &tried["captured"], &tried["cancelled"]), (&json!(0), &json!(0), &json!(0)));

    let held = phone.hears(|client| id = pay(client, &till, "M-1", 1_500, false));
    assert_eq!((amounts(&held), &held["sale"]["status"]), ([1_500, 0, 0, 0], &json!("authorized")));
    says(&held, &["1,500円", "確保"], "1,500 yen is held for your purchase at デモコンビニ. It is not charged yet.");

    let path = format!("/v1/authorizations/{id}");
    let captured =
        phone.hears(|client| say(client, "register", &format!("{path}/captures"), &json!({"amount": 1_000})));
    assert_eq!((amounts(&captured), &captured["sale"]["amount"]), ([0, 1_000, 0, 0], &json!(1_500)));
    assert_eq!(captured["spendable"]["in_store"], 14_000);
    says(&captured, &["1,000円"], "Your payment of 1,000 yen at デモコンビニ is complete.");

    let refund = |name: &str, amount: u64| json!({"refund_id": name, "amount": amount});
    let part = phone.hears(|client| say(client, "register", &format!("{path}/refunds"), &refund("F-1", 400)));
    assert_eq!((amounts(&part), &part["sale"]["status"]), ([0, 1_000, 400, 0], &json!("partially_refunded")));
    says(&part, &["1,000円", "400円", "返金"], "400 of the 1,000 yen paid at デモコンビニ was refunded.");

    let all = phone.hears(|client| say(client, "office", &format!("{path}/refunds"), &refund("F-2", 600)));
    assert_eq!((amounts(&all), &all["sale"]["status"]), ([0, 1_000, 1_000, 0], &json!("refunded")));
    says(&all, &["1,000円", "全額返金"], "The 1,000 yen paid at デモコンビニ was refunded in full.");
    assert_eq!(all["spendable"]["in_store"], 15_000);

    // A repeat records nothing, and so is no news.
    phone.hears_nothing(|client| say(client, "office", &format!("{path}/refunds"), &refund("F-2", 600)));
    // Who missed something is told at once, and by an `after` alone too.
    let started = Instant::now();
    let late = server.client().get("wallet", &format!("{}?after={}", phone.path, phone.version - 1)).json();
    assert_eq!((&late, started.elapsed() < SOON), (&phone.look(), true));
}

#[test]
fn a_cancel_after_the_payment_is_heard_by_http_and_by_the_link() {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::sandbox(data.path(), &["--iso8583", "127.0.0.1:0"]);
    let mut phone = Phone::shows_a_code(&server, "1001");
    let id = pay(&mut server.client(), &phone, "C-1", 1_500, false);
    phone.look();
    let capture = format!("/v1/authorizations/{id}/captures");
    phone.hears(|client| say(client, "register", &capture, &json!({"amount": 1_000})));
    let cancel = json!({"merchant_id": "mrc_konbini", "order_id": "C-1"});
    let cancelled = phone.hears(|client| say(client, "register", "/v1/cancellations", &cancel));
    assert_eq!((&cancelled["status"], amounts(&cancelled)), (&json!("used"), [0, 0, 0, 1_000]));
    assert!(text(&cancelled["sale"]["customer"]["ja"]).contains("1,000円"), "{cancelled}");
    assert!(text(&cancelled["sale"]["customer"]["en"]).contains("1,000 yen at デモコンビニ was cancelled"));

    let mut phone = Phone::shows_a_code(&server, "2000");
    let mut peer = Peer::to(server.iso8583.expect("a link"));
    let bought = sale(1, &phone.barcode, 1_980);
    let paid = phone.hears(|_| assert_eq!(peer.ask(&bought).code(), "00"));
    assert_eq!((&paid["status"], amounts(&paid)), (&json!("used"), [0, 1_980, 0, 0]));
    let reversed = phone.hears(|_| assert_eq!(peer.ask(&bought.reversal(2)).code(), "00"));
    assert_eq!(amounts(&reversed), [0, 0, 0, 1_980]);
}

#[test]
fn whatever_moves_what_can_be_spent_is_heard_by_its_customer_alone() {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::sandbox(data.path(), &[]);
    let mut phone = Phone::shows_a_code(&server, "1001");
    let mut other = Phone::shows_a_code(&server, "2001");
    let id = pay(&mut server.client(), &phone, "S-1", 1_000, true);
    assert_eq!(phone.look()["status"], "used");

    let online = json!({"order_id": "S-2", "customer_id": "1001", "channel": "online", "amount": 3_000,
        "merchant": {"id": "mrc_konbini"}});
    let heard = phone.hears(|client| say(client, "register", "/v1/authorizations", &online));
    assert_eq!(heard["spendable"], json!({"in_store": 14_000, "online": 46_000}));
    let customer = "/v1/customers/1001";
    let limits = json!({"limits": {"total": 40_000, "in_store": 12_000}});
    let heard = phone.hears(|client| assert_eq!(client.send("office", "PUT", customer, &limits).status, 200));
    assert_eq!(heard["spendable"], json!({"in_store": 11_000, "online": 36_000}));
    let suspended = json!({"status": "suspended"});
    phone.hears(|client| assert_eq!(client.send("office", "PUT", customer, &suspended).status, 200));
    let block = json!({"block_id": "B-1", "reason": "a call"});
    phone.hears(|client| say(client, "office", &format!("{customer}/blocks"), &block));
    phone.hears(|client| say(client, "office", &format!("{customer}/blocks/B-1/release"), &json!({})));

    let rows = format!(
        "id,type,customer_id,amount,paid_at,expires_at,authorization_id\nI-1,refund,,400,,,{id}\nI-2,repayment,1001,50,,,\n"
    );
    let heard = phone.hears(|client| assert_eq!(client.import("office", &rows).json()["posted"], 2));
    assert_eq!(amounts(&heard), [0, 1_000, 400, 0], "the refund of the first line is heard");
    phone.look();
    let repayment = json!({"repayment_id": "R-1", "amount": 5_000});
    phone.hears(|client| say(client, "office", &format!("{customer}/repayments"), &repayment));
    let pending = json!({"payment_id": "P-1", "amount": 200, "paid_at": text(&heard["issued_at"]),
        "expires_at": "2099-01-01T00:00:00+09:00"});
    phone.hears(|client| say(client, "office", &format!("{customer}/payments-pending"), &pending));
    phone.hears(|client| say(client, "office", &format!("{customer}/payments-pending/P-1/final"), &json!({})));
    let payout = json!({"payout_id": "O-1", "amount": 100});
    phone.hears(|client| say(client, "office", &format!("{customer}/payouts"), &payout));
    phone.hears_nothing(|client| say(client, "office", &format!("{customer}/payouts"), &payout));

    // All of that was no news to the other, nor is what the other does to the first.
    let before = other.version;
    assert_eq!((other.look()["status"].clone(), other.version), (json!("live"), before));
    let till = Phone { server: &server, path: String::new(), barcode: other.barcode.clone(), version: 0 };
    phone.hears_nothing(|client| drop(pay(client, &till, "S-3", 100, true)));
    assert!(other.look()["version"].as_u64() > Some(before));
}

#[test]
fn a_newer_code_is_heard_and_so_is_the_end_of_a_codes_time() {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::sandbox(data.path(), &[]);
    let mut phone = Phone::shows_a_code(&server, "1001");
    let newer = json!({"customer_id": "1001"});
    let voided = phone.hears(|client| assert_eq!(client.send("wallet", "POST", "/v1/codes", &newer).status, 201));
    assert_eq!(voided["status"], "voided");
    // The one after it does not touch this one any more.
    phone.hears_nothing(|client| assert_eq!(client.send("wallet", "POST", "/v1/codes", &newer).status, 201));

    let mut phone = Phone::shows_a_code(&server, "1001");
    let expires = Millis::parse(text(&phone.look()["expires_at"])).expect("a time");
    let before = phone.version;
    phone.hears_that_time_is_over(expires, |mirror| assert_eq!(mirror["status"], "expired"));
    assert_eq!(phone.version, before, "time is no fact");
}

#[test]
fn the_end_of_a_holds_time_is_heard() {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::sandbox_in(data.path(), &[], &[("SOKKETSU_HOLDS__EXPIRE_AFTER", "1h")]);
    let mut phone = Phone::shows_a_code(&server, "1001");
    pay(&mut server.client(), &phone, "H-1", 1_500, false);
    let decided = Millis::parse(text(&phone.look()["sale"]["decided_at"])).expect("a time");
    phone.hears_that_time_is_over(decided.plus(3_600_000), |mirror| {
        assert_eq!((&mirror["sale"]["status"], amounts(mirror)), (&json!("expired"), [0, 0, 0, 0]));
        says(mirror, &["1,500円", "期限"], "The hold of 1,500 yen at デモコンビニ has run out. Nothing is charged.");
    });
}

#[test]
fn a_restart_is_no_news() {
    let data = tempfile::tempdir().expect("a folder");
    let mut server = Server::sandbox(data.path(), &[]);
    let mut phones: Vec<Value> = Vec::new();
    for (at, customer) in ["1001", "2000", "2001", "2002"].into_iter().enumerate() {
        let phone = Phone::shows_a_code(&server, customer);
        let mut client = server.client();
        let id = pay(&mut client, &phone, &format!("N-{at}"), 1_500, at % 2 == 0);
        if at == 1 {
            say(&mut client, "register", &format!("/v1/authorizations/{id}/captures"), &json!({"amount": 1_000}));
        }
        if at == 3 {
            let cancel = json!({"merchant_id": "mrc_konbini", "order_id": "N-3"});
            say(&mut client, "register", "/v1/cancellations", &cancel);
            say(&mut client, "office", "/v1/customers/2002/repayments", &json!({"repayment_id": "R-1", "amount": 5}));
        }
        phones.push(client.get("wallet", &phone.path).json());
    }
    let all = |server: &Server| -> Vec<Value> {
        let look =
            |code: &Value| server.client().get("wallet", &format!("/v1/codes/{}", text(&code["code_id"]))).json();
        phones.iter().map(look).collect()
    };
    // From the journal after the ledger's position, and from the ledger alone.
    server.kill();
    server.start_again();
    assert_eq!(all(&server), phones);
    for _ in 0..2 {
        server.signal("TERM");
        assert!(server.wait(SOON).success());
        server.start_again();
        assert_eq!(all(&server), phones);
    }
}

fn void(client: &mut Client, phone: &Phone<'_>) {
    assert_eq!(client.call("wallet", "DELETE", &phone.path, None).expect("an answer").status, 200);
}

/// The barcode with another seal.
fn wrongly_sealed(barcode: &str) -> String {
    let (rest, last) = barcode.split_at(barcode.len() - 1);
    format!("{rest}{}", if last == "0" { "1" } else { "0" })
}

#[test]
fn a_void_code_says_why_and_still_does_after_a_restart() {
    let data = tempfile::tempdir().expect("a folder");
    let mut server = Server::sandbox(data.path(), &[]);
    let mut told: Vec<(String, Value)> = Vec::new();
    for (customer, cause, ja, en) in [
        ("2000", "newer_code", "新しいコードが表示されたため", "A newer code replaced"),
        ("2001", "customer", "アプリでの操作により", "voided from the app"),
        ("2002", "wrong_seals", "安全のため", "voided for safety"),
    ] {
        let mut phone = Phone::shows_a_code(&server, customer);
        assert_eq!(phone.look()["voided_by"], Value::Null, "it lives");
        let mut client = server.client();
        let till = Phone { server: &server, path: String::new(), barcode: wrongly_sealed(&phone.barcode), version: 0 };
        match cause {
            "newer_code" => {
                let newer = json!({ "customer_id": customer });
                assert_eq!(client.send("wallet", "POST", "/v1/codes", &newer).status, 201);
            }
            "customer" => void(&mut client, &phone),
            _ => (0..3).for_each(|at| drop(pay(&mut client, &till, &format!("W-{at}"), 100, true))),
        }
        let voided = phone.look();
        assert_eq!((&voided["status"], &voided["voided_by"]), (&json!("voided"), &json!(cause)), "{voided}");
        assert_eq!(voided["last_attempt"], Value::Null, "a wrong seal is no try of this customer");
        pay(&mut client, &phone, &format!("V-{customer}"), 100, true);
        // The first ending is final: what would void it otherwise changes nothing of it.
        void(&mut client, &phone);
        let tried = phone.look();
        assert_eq!((&tried["voided_by"], &tried["last_attempt"]["reason"]), (&json!(cause), &json!("code_voided")));
        let words = &tried["last_attempt"]["customer"];
        assert!(text(&words["ja"]).contains(ja) && text(&words["en"]).contains(en), "{words}");
        told.push((phone.path, tried));
    }
    let used = Phone::shows_a_code(&server, "2003");
    pay(&mut server.client(), &used, "U-1", 100, true);
    told.push((used.path.clone(), server.client().get("wallet", &used.path).json()));
    assert_eq!(told[3].1["voided_by"], Value::Null, "{}", told[3].1);

    let same = |server: &Server| {
        for (path, mirror) in &told {
            assert_eq!(&server.client().get("wallet", path).json(), mirror);
        }
    };
    // From the journal after the ledger's position, and from the ledger alone.
    server.kill();
    server.start_again();
    same(&server);
    for _ in 0..2 {
        server.signal("TERM");
        assert!(server.wait(SOON).success());
        server.start_again();
        same(&server);
    }
}

//! Sales in suspense by HTTP: the list of them, and settlements of any age with their entries.

use std::process::Command;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};

use super::iso::{Peer, sale};
use super::money::text;
use super::server::{BINARY, Client, Server, wait_until};

struct Network {
    server: Server,
    peer: Peer,
    client: Client,
    data: tempfile::TempDir,
}

impl Network {
    fn new() -> Self {
        let data = tempfile::tempdir().expect("a folder");
        let options = ["--iso8583", "127.0.0.1:0", "--sandbox-start", "2026-11-23T12:00:00+09:00"];
        let server = Server::sandbox(data.path(), &options);
        let (peer, client) = (Peer::to(server.iso8583.expect("a link")), server.client());
        Self { server, peer, client, data }
    }

    /// The network sold this to a customer for us: more than it may post.
    fn stands_in(&mut self, stan: u32, customer: &str, yen: u64) {
        let code = self.client.send("wallet", "POST", "/v1/codes", &json!({ "customer_id": customer })).json();
        let advice = sale(stan, text(&code["barcode"]), yen).with(&[(48, "R91011")]).as_type("0220");
        assert_eq!(self.peer.ask(&advice).code(), "00");
    }

    fn list(&mut self, query: &str) -> Value {
        let answer = self.client.get("office", &format!("/v1/suspense{query}"));
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    fn settle(&mut self, sale: &str, id: &str, action: &str) -> Value {
        let body = json!({"settlement_id": id, "action": action, "by": "tanaka", "reason": "month end"});
        let path = format!("/v1/suspense/{sale}/settlement");
        self.client.send("office", "POST", &path, &body).json()
    }

    fn yen(&mut self) -> String {
        let text = self.client.get("ops", "/metrics").text;
        text.lines().find_map(|line| line.strip_prefix("sokketsu_suspense_yen ")).expect("a metric").trim().to_owned()
    }

    fn at(&mut self, now: &str) {
        assert_eq!(self.client.send("ops", "POST", "/sandbox/clock", &json!({ "now": now })).status, 200);
        wait_until("the ledger has it", Duration::from_secs(20), || {
            self.client.get("ops", "/metrics").text.contains("\nsokketsu_ledger_lag_records 0\n")
        });
    }

    /// What the settlements have left in the books.
    fn books_agree(&mut self) {
        let cleared = self.rows(
            "SELECT kind || ' ' || account || ' ' || sum(amount) FROM entries WHERE account = 'suspense' GROUP BY kind ORDER BY kind",
        );
        let expected = [
            "suspense suspense 96700",
            "suspense_charged suspense -45000",
            "suspense_lost suspense -21000",
            "suspense_returned suspense -30000",
        ];
        assert_eq!(cleared, expected);
        let far = "SELECT w.word FROM suspense s JOIN word w ON w.list = 'account' AND w.number = s.cleared_counter
            WHERE cleared_lsn IS NOT NULL ORDER BY order_lsn";
        assert_eq!(self.rows(far), ["merchant_payable", "merchant_payable", "suspense_losses"]);
        let owed = "SELECT account || ' ' || kind || ' ' || amount || ' ' || statement_month FROM entries
            WHERE customer_id = '2001' AND account = 'exposure' ORDER BY lsn, kind";
        assert_eq!(self.rows(owed)[0], "exposure capture 45000 2026-12");
        self.server.signal("TERM");
        self.server.wait(Duration::from_secs(10));
        let verified = Command::new(BINARY)
            .args(["verify", "--sandbox", "--data"])
            .arg(self.data.path())
            .output()
            .expect("verify");
        assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
    }

    /// A column of rows of the ledger, as texts.
    fn rows(&self, sql: &str) -> Vec<String> {
        let file = self.data.path().join("ledger.db");
        let ledger = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).expect("a ledger");
        let mut query = ledger.prepare(sql).expect("a view");
        let rows = query.query_map([], |row| row.get(0)).expect("rows");
        rows.collect::<Result<_, _>>().expect("rows")
    }
}

fn sales(page: &Value) -> Vec<String> {
    let shown =
        |sale: &Value| format!("{} {} {}", sale["customer_id"], sale["amount"], sale["reason"]).replace('"', "");
    page["suspense"].as_array().expect("a list").iter().map(shown).collect()
}

/// Four sales in suspense, the last of nobody we know, and their ids.
fn with_four() -> (Network, Vec<String>) {
    let mut network = Network::new();
    for (stan, customer, yen) in [(1, "2001", 45_000), (2, "2002", 30_000), (3, "2003", 21_000)] {
        network.stands_in(stan, customer, yen);
    }
    let unknown = sale(4, "000000000000000000000000", 700).with(&[(48, "R91011")]).as_type("0220");
    assert_eq!(network.peer.ask(&unknown).code(), "00");
    let all = network.list("");
    let why = "over_day_cap";
    assert_eq!(
        sales(&all)[..3],
        [format!("2001 45000 {why}"), format!("2002 30000 {why}"), format!("2003 21000 {why}")]
    );
    assert_eq!(sales(&all)[3..], ["null 700 code_not_verified"]);
    assert_eq!((&all["end"]["more"], network.yen().as_str()), (&json!(false), "96700"));
    let ids: Vec<String> = all["suspense"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|sale| text(&sale["authorization_id"]).to_owned())
        .collect();
    (network, ids)
}

#[test]
fn suspense_is_listed_page_by_page_for_the_office() {
    let (mut network, ids) = with_four();
    let all = network.list("");
    let first = network.list("?limit=1");
    assert_eq!((sales(&first).len(), &first["end"]["more"]), (1, &json!(true)));
    let rest = network.list(&format!("?after={}", text(&first["end"]["after"])));
    assert_eq!(sales(&rest), sales(&all)[1..]);
    for role in ["wallet", "register", "ops"] {
        assert_eq!(network.server.client().get(role, "/v1/suspense").status, 403, "{role}");
    }
    for wrong in ["?limit=0", "?after=x"] {
        assert_eq!(network.client.get("office", &format!("/v1/suspense{wrong}")).status, 422, "{wrong}");
    }
    let told = network.settle(&ids[3], "S-9", "refund");
    assert_eq!(told["errors"][0]["pointer"], "/action", "{told}");
    assert_eq!(network.settle("aut_nothing", "S-9", "loss")["reason"], "authorization_unknown");
}

#[test]
fn suspense_is_settled_at_any_age() {
    let (mut network, ids) = with_four();
    // Long after memory has let go of them.
    network.at("2026-12-20T12:00:00+09:00");
    let charged = network.settle(&ids[0], "S-1", "charge");
    let shown = json!({"authorization_id": ids[0], "settlement_id": "S-1", "action": "charge", "amount": 45_000,
        "customer_id": "2001", "statement": {"month": "2026-12", "due": "2027-01-10"}, "by": "tanaka",
        "key": "sandbox-office", "reason": "month end", "settled_at": "2026-12-20T12:00:00.000+09:00", "replayed": false});
    assert_eq!(charged, shown);
    assert_eq!(network.settle(&ids[1], "S-2", "return")["customer_id"], Value::Null);
    assert_eq!(network.settle(&ids[2], "S-3", "loss")["action"], "loss");
    assert_eq!(network.settle(&ids[3], "S-4", "charge")["reason"], "suspense_of_nobody");
    assert_eq!(
        (sales(&network.list("")), network.yen().as_str()),
        (vec!["null 700 code_not_verified".to_owned()], "700")
    );
    let standing = network.client.get("office", "/v1/customers/2001").json();
    assert_eq!((&standing["exposure"]["total"], &standing["spendable"]["in_store"]), (&json!(45_000), &json!(0)));
    let statement = network.client.get("office", "/v1/customers/2001/statements/2026-12").json();
    assert_eq!(statement["purchases"][0]["authorization_id"], json!(ids[0]), "{statement}");
    assert_eq!(statement["points"], 225);

    // After a restart, and after memory has let go of what was told, the same is answered.
    network.server.kill();
    network.server.start_again();
    network.client = network.server.client();
    network.at("2027-01-20T12:00:00+09:00");
    assert_eq!(network.settle(&ids[0], "S-1", "charge")["replayed"], true);
    assert_eq!(network.settle(&ids[2], "S-3", "loss")["replayed"], true);
    assert_eq!(network.settle(&ids[0], "S-1", "loss")["reason"], "id_reused");
    assert_eq!(network.settle(&ids[1], "S-1", "charge")["reason"], "id_reused");
    assert_eq!(network.settle(&ids[2], "S-5", "return")["reason"], "not_in_suspense");
    let refund = json!({"refund_id": "F-1", "amount": 5_000});
    let path = format!("/v1/authorizations/{}/refunds", ids[0]);
    let refund = network.client.send("office", "POST", &path, &refund).json();
    assert_eq!((&refund["refundable_left"], &refund["outcome"]), (&json!(40_000), &json!("bill_reduced")), "{refund}");
    network.at("2027-01-20T12:00:01+09:00");

    network.books_agree();
}

#[test]
fn what_names_nobody_is_charged_to_whom_the_office_names_and_foreign_money_to_none() {
    let mut network = Network::new();
    let unknown = sale(1, "000000000000000000000000", 700).with(&[(48, "R91011")]).as_type("0220");
    assert_eq!(network.peer.ask(&unknown).code(), "00");
    let code = network.client.send("wallet", "POST", "/v1/codes", &json!({"customer_id": "2001"})).json();
    let dollars = sale(2, text(&code["barcode"]), 500).with(&[(48, "R91011"), (49, "840")]).as_type("0220");
    assert_eq!(network.peer.ask(&dollars).code(), "00");
    let all = network.list("");
    assert_eq!(sales(&all), ["null 700 code_not_verified", "2001 500 currency_not_supported"]);
    let [unknown, dollars] = [0, 1].map(|at| text(&all["suspense"][at]["authorization_id"]).to_owned());
    let body = |action: &str, customer: &str| {
        json!({"settlement_id": "S-1", "action": action, "customer_id": customer,
        "by": "tanaka", "reason": "receipt"})
    };
    let mut settle = |body: &Value| {
        network.client.send("office", "POST", &format!("/v1/suspense/{unknown}/settlement"), body).json()
    };
    assert_eq!(settle(&body("loss", "2002"))["errors"][0]["pointer"], "/customer_id");
    assert_eq!(settle(&body("charge", "nobody"))["reason"], "customer_unknown");
    let charged = settle(&body("charge", "2002"));
    assert_eq!((&charged["customer_id"], &charged["replayed"]), (&json!("2002"), &json!(false)), "{charged}");
    assert_eq!(settle(&body("charge", "2003"))["reason"], "id_reused");
    assert_eq!(settle(&body("charge", "2002"))["replayed"], true);
    assert_eq!(network.settle(&dollars, "S-2", "charge")["reason"], "not_chargeable");
    assert_eq!(network.settle(&dollars, "S-2", "return")["action"], "return");
    assert_eq!(network.yen(), "0");
}

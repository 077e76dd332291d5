//! The lists against a naive model: registers sell, capture, refund and cancel at random while the lists are paged through with
//! small limits. Every page-through has each row once and none left out that was posted by the position it stated; in the end
//! the lists are those that the answers make.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use sokketsu::domain::model::ids::AuthorizationId;

use super::money::{House, number, text};
use super::server::{Client, Server, wait_until};

const SHOPS: [&str; 2] = ["mrc_konbini", "mrc_electronics"];
const WORKERS: u64 = 3;
const SALES: u64 = 600;

/// What the outside knows of a sale, by the answers.
struct Sale {
    answer: Value,
    shop: &'static str,
    store: String,
    terminal: String,
    customer: String,
    amount: u64,
    /// What was captured, in the end and when it was.
    captured: Option<u64>,
    refunds: Vec<(String, u64)>,
    is_cancelled: bool,
}

impl Sale {
    fn id(&self) -> &str {
        text(&self.answer["authorization_id"])
    }

    fn lsn(&self) -> u64 {
        lsn(self.id())
    }

    fn refunded(&self) -> u64 {
        self.refunds.iter().map(|(_, amount)| amount).sum()
    }

    fn status(&self) -> &'static str {
        match self.captured {
            _ if self.answer["decision"] == "denied" => "denied",
            _ if self.is_cancelled => "cancelled",
            None => "authorized",
            Some(captured) => match self.refunded() {
                0 => "captured",
                back if back < captured => "partially_refunded",
                _ => "refunded",
            },
        }
    }
}

fn lsn(id: &str) -> u64 {
    AuthorizationId::parse(id).expect("an id").lsn.0
}

fn below(random: &mut StdRng, end: u64) -> u64 {
    random.next_u64() % end
}

/// One register at work, with customers of its own.
struct Register {
    client: Client,
    random: StdRng,
    worker: u64,
    sales: Vec<Sale>,
}

impl Register {
    fn work(http: SocketAddr, worker: u64) -> Vec<Sale> {
        let random = StdRng::seed_from_u64(4_200 + worker);
        let mut register = Self { client: Client::to(http), random, worker, sales: Vec::new() };
        for count in 0..SALES {
            register.sell(count);
            register.act();
        }
        register.sales
    }

    fn sell(&mut self, count: u64) {
        let random = &mut self.random;
        let customer = (2_000 + below(random, 40) * WORKERS + self.worker).to_string();
        let shop = SHOPS[usize::from(below(random, 4) == 0)];
        let (store, terminal) = (format!("S{}", below(random, 3)), format!("T{}", self.worker));
        let is_hold = below(random, 3) == 0;
        let amount = if below(random, 9) == 0 { 60_000 } else { 1 + below(random, 300) };
        let mut body = json!({"order_id": format!("L-{}-{count}", self.worker), "amount": amount, "confirm_repeat": true,
            "merchant": {"id": shop, "store_id": store, "terminal_id": terminal}, "deadline_ms": 30_000});
        if is_hold || below(random, 2) == 0 {
            (body["customer_id"], body["channel"]) = (json!(customer), json!("online"));
            body["capture"] = json!(!is_hold);
        } else {
            let code = self.client.send("wallet", "POST", "/v1/codes", &json!({ "customer_id": customer })).json();
            body["code"] = code["barcode"].clone();
        }
        let answer = self.client.send("register", "POST", "/v1/authorizations", &body);
        assert_eq!(answer.status, 200, "{answer:?}");
        let answer = answer.json();
        let captured = (answer["decision"] == "approved" && !is_hold).then_some(amount);
        let (refunds, is_cancelled) = (Vec::new(), false);
        self.sales.push(Sale { answer, shop, store, terminal, customer, amount, captured, refunds, is_cancelled });
    }

    /// Something of an earlier sale: a capture, a refund, a cancel, or nothing.
    fn act(&mut self) {
        let at = usize::try_from(below(&mut self.random, self.sales.len() as u64)).expect("fits");
        let (what, part) = (below(&mut self.random, 4), self.random.next_u64());
        let sale = &mut self.sales[at];
        if sale.answer["decision"] == "denied" || sale.is_cancelled {
            return;
        }
        let path = format!("/v1/authorizations/{}", sale.id());
        match (sale.captured, what) {
            (None, 0 | 1) => {
                let amount = 1 + part % sale.amount;
                let answer =
                    self.client.send("register", "POST", &format!("{path}/captures"), &json!({ "amount": amount }));
                assert_eq!(answer.status, 200, "{answer:?}");
                sale.captured = Some(amount);
            }
            (Some(captured), 0 | 1) if captured > sale.refunded() => {
                let amount = 1 + part % (captured - sale.refunded());
                let id = format!("F-{}", sale.refunds.len());
                let body = json!({"refund_id": id, "amount": amount});
                let answer = self.client.send("register", "POST", &format!("{path}/refunds"), &body);
                assert_eq!(answer.status, 200, "{answer:?}");
                sale.refunds.push((id, amount));
            }
            (_, 2) if sale.refunds.is_empty() => {
                let body = json!({"merchant_id": sale.shop, "order_id": sale.answer["order_id"]});
                let answer = self.client.send("register", "POST", "/v1/cancellations", &body).json();
                assert_eq!(answer["action"], "reversed", "{answer}");
                sale.is_cancelled = true;
            }
            _ => {}
        }
    }
}

/// A list as it was paged through.
struct Read {
    path: String,
    rows: Vec<Value>,
    /// Of the first page.
    position: u64,
}

fn rows(page: &Value) -> &Vec<Value> {
    ["authorizations", "captures", "refunds"].iter().find_map(|name| page[name].as_array()).expect("rows")
}

/// By what a row is told: a refund's id is unique within its sale.
fn key(row: &Value) -> String {
    format!("{} {}", text(&row["authorization_id"]), row["refund_id"].as_str().unwrap_or_default())
}

fn keys(rows: &[Value]) -> Vec<String> {
    rows.iter().map(key).collect()
}

fn read(client: &mut Client, role: &str, path: &str, limit: u64) -> Read {
    let between = if path.contains('?') { '&' } else { '?' };
    let mut cursor = String::new();
    let mut read = Read { path: path.to_owned(), rows: Vec::new(), position: 0 };
    for page in 0.. {
        let answer = client.get(role, &format!("{path}{between}limit={limit}{cursor}"));
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        let shown = answer.json();
        let found = rows(&shown);
        let is_short = found.len() < usize::try_from(limit).expect("fits");
        assert_eq!(shown["end"]["incomplete"], json!(shown["end"]["more"] == true && is_short), "{shown}");
        read.rows.extend(found.clone());
        let position = number(&shown["position"]["lsn"]);
        if page == 0 {
            read.position = position;
        }
        assert!(position >= read.position, "a later page knows no less");
        let Some(next) = shown["end"]["cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    let once: HashSet<String> = keys(&read.rows).into_iter().collect();
    assert_eq!(once.len(), read.rows.len(), "{path}: a row came twice");
    // One of the sandbox's own customers bought something before all this.
    read.rows.retain(|row| text(&row["order_id"]).starts_with("L-"));
    read
}

/// Pages through the lists until the registers are done.
fn watch(http: SocketAddr, seed: u64, is_done: &AtomicBool) -> Vec<Read> {
    let (mut client, mut random) = (Client::to(http), StdRng::seed_from_u64(seed));
    let mut reads = Vec::new();
    while !is_done.load(Ordering::Acquire) {
        let kind = ["authorizations", "captures", "refunds"][usize::try_from(below(&mut random, 3)).expect("fits")];
        let (role, path) = if below(&mut random, 2) == 0 {
            ("register", format!("/v1/merchants/{}/{kind}", SHOPS[usize::from(below(&mut random, 3) == 0)]))
        } else {
            ("office", format!("/v1/customers/{}/{kind}", 2_000 + below(&mut random, 40)))
        };
        let limit = 1 + below(&mut random, 12);
        reads.push(read(&mut client, role, &path, limit));
    }
    reads
}

fn caught_up(client: &mut Client) {
    wait_until("the ledger has it", Duration::from_secs(20), || {
        client.get("ops", "/metrics").text.contains("\nsokketsu_ledger_lag_records 0\n")
    });
}

/// Decisions as the answers make them, the newest first.
fn as_answered(sales: &[Sale], is_in: impl Fn(&Sale) -> bool) -> Vec<&Sale> {
    let mut found: Vec<&Sale> = sales.iter().filter(|sale| is_in(sale)).collect();
    found.sort_unstable_by_key(|sale| std::cmp::Reverse(sale.lsn()));
    found
}

fn same_decisions(found: &[Value], sales: &[&Sale], names_customers: bool) {
    assert_eq!(found.len(), sales.len());
    for (row, sale) in found.iter().zip(sales) {
        for name in ["authorization_id", "order_id", "decision", "amount", "approval_code", "decided_at", "reason"] {
            assert_eq!(row[name], sale.answer[name], "{name} of {row}");
        }
        let captured = sale.captured.filter(|_| !sale.is_cancelled).unwrap_or_default();
        let is = [&row["status"], &row["captured_amount"], &row["refunded_amount"], &row["store_id"]];
        let wanted = [json!(sale.status()), json!(captured), json!(sale.refunded()), json!(sale.store)];
        assert_eq!(is, wanted.each_ref(), "{row}");
        assert_eq!((&row["terminal_id"], &row["merchant_id"]), (&json!(sale.terminal), &json!(sale.shop)));
        assert_eq!(row.get("customer_id"), names_customers.then_some(&json!(sale.customer)), "{row}");
    }
}

/// Captures and refunds as sets: their own records are in no answer, but every page-through has them in one order.
fn same_steps(client: &mut Client, role: &str, of: &str, sales: &[&Sale]) {
    let captures: HashSet<(String, u64)> =
        sales.iter().filter_map(|sale| Some((format!("{} ", sale.id()), sale.captured?))).collect();
    let found = read(client, role, &format!("{of}/captures"), 50).rows;
    assert_eq!(found.iter().map(|row| (key(row), number(&row["amount"]))).collect::<HashSet<_>>(), captures, "{of}");
    let refund = |sale: &&Sale| {
        let id = sale.id().to_owned();
        let one = move |(name, amount): &(String, u64)| (format!("{id} {name}"), *amount);
        sale.refunds.iter().map(one).collect::<Vec<_>>()
    };
    let refunds: HashSet<(String, u64)> = sales.iter().flat_map(refund).collect();
    let found = read(client, role, &format!("{of}/refunds"), 50).rows;
    assert_eq!(found.iter().map(|row| (key(row), number(&row["amount"]))).collect::<HashSet<_>>(), refunds, "{of}");
}

/// A page-through is the end of the whole list, from the position that it stated on.
fn is_the_end_of(read: &Read, whole: &[Value]) {
    let Read { path, rows, position } = read;
    let newer = whole.len().checked_sub(rows.len()).expect("no more than there are");
    assert_eq!(keys(rows), keys(&whole[newer..]), "{path} at {position}");
    if path.ends_with("/authorizations") {
        assert!(rows.iter().all(|row| lsn(text(&row["authorization_id"])) <= *position), "{path} at {position}");
        let missing = &whole[..newer];
        assert!(missing.iter().all(|row| lsn(text(&row["authorization_id"])) > *position), "{path} at {position}");
    }
}

fn filters_find_theirs(client: &mut Client, sales: &[Sale]) {
    let shop = SHOPS[0];
    let of = format!("/v1/merchants/{shop}");
    for status in ["captured", "denied", "cancelled", "partially_refunded", "refunded", "authorized", "expired"] {
        let wanted = as_answered(sales, |sale| sale.shop == shop && sale.status() == status);
        let found = read(client, "register", &format!("{of}/authorizations?status={status}"), 7).rows;
        same_decisions(&found, &wanted, false);
    }
    let store = as_answered(sales, |sale| sale.shop == shop && sale.store == "S1");
    same_decisions(&read(client, "office", &format!("{of}/authorizations?store_id=S1"), 9).rows, &store, true);
    for (days, all) in [("from=2000-01-01&to=2000-12-31", false), ("from=2000-01-01", true), ("to=2000-12-31", false)] {
        let wanted = as_answered(sales, |sale| all && sale.shop == shop);
        same_decisions(&read(client, "office", &format!("{of}/authorizations?{days}"), 100).rows, &wanted, true);
    }
    for sale in sales.iter().filter(|sale| sale.answer["decision"] == "approved").step_by(60) {
        let code = text(&sale.answer["approval_code"]).to_lowercase();
        let found = read(client, "register", &format!("/v1/approval-codes/{code}"), 5).rows;
        assert!(
            found.iter().any(|row| row["authorization_id"] == sale.answer["authorization_id"]),
            "{code}: {found:?}"
        );
    }
    let second = as_answered(sales, |sale| sale.shop == shop && sale.refunds.len() > 1);
    let found = read(client, "register", &format!("/v1/refunds/F-1?merchant_id={shop}"), 4).rows;
    let ids = |rows: Vec<String>| rows.into_iter().collect::<HashSet<_>>();
    assert!(!second.is_empty());
    assert_eq!(ids(keys(&found)), second.iter().map(|sale| format!("{} F-1", sale.id())).collect());
}

#[test]
fn lists_agree_with_a_naive_model_while_sales_go_on() {
    let data = tempfile::tempdir().expect("a folder");
    let mut server = Server::sandbox(data.path(), &[]);
    let (http, is_done) = (server.http, AtomicBool::new(false));
    let (sales, reads): (Vec<Sale>, Vec<Read>) = std::thread::scope(|scope| {
        let watchers: Vec<_> = [1, 2]
            .map(|seed| {
                scope.spawn({
                    let is_done = &is_done;
                    move || watch(http, seed, is_done)
                })
            })
            .into();
        let registers: Vec<_> = (0..WORKERS).map(|worker| scope.spawn(move || Register::work(http, worker))).collect();
        let sales: Vec<_> = registers.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        is_done.store(true, Ordering::Release);
        let reads = watchers.into_iter().flat_map(|watcher| watcher.join().expect("a watcher"));
        let reads = reads.collect();
        (sales.into_iter().flat_map(|sales| sales.expect("a register")).collect(), reads)
    });
    let mut client = server.client();
    caught_up(&mut client);
    for shop in SHOPS {
        let sold = as_answered(&sales, |sale| sale.shop == shop);
        let of = format!("/v1/merchants/{shop}");
        same_decisions(&read(&mut client, "register", &format!("{of}/authorizations"), 100).rows, &sold, false);
        same_steps(&mut client, "register", &of, &sold);
    }
    for customer in 2_000..2_040 {
        let bought = as_answered(&sales, |sale| sale.customer == customer.to_string());
        let of = format!("/v1/customers/{customer}");
        same_decisions(&read(&mut client, "office", &format!("{of}/authorizations"), 3).rows, &bought, true);
        same_steps(&mut client, "wallet", &of, &bought);
    }
    let mut whole: HashMap<&str, Vec<Value>> = HashMap::new();
    let mut partial = 0;
    for seen in &reads {
        let all = whole.entry(&seen.path).or_insert_with(|| read(&mut client, "office", &seen.path, 100).rows);
        is_the_end_of(seen, all);
        partial += usize::from(!seen.rows.is_empty() && seen.rows.len() < all.len());
    }
    assert!(partial >= 10, "{partial} of {} page-throughs were made while there were rows to come", reads.len());
    filters_find_theirs(&mut client, &sales);
    // A cursor outlives the process.
    let path = format!("/v1/merchants/{}/authorizations", SHOPS[0]);
    let first = client.get("register", &format!("{path}?limit=20")).json();
    let all = read(&mut client, "register", &path, 100).rows;
    server.kill();
    server.start_again();
    let next = format!("{path}?limit=100&cursor={}", text(&first["end"]["cursor"]));
    let rest = server.client().get("register", &next).json();
    assert_eq!(keys(rows(&rest)), keys(&all[20..120.min(all.len())]));
}

#[test]
fn customers_are_listed_by_state_and_by_what_is_overdue() {
    let mut house = House::born("2021-06-15T12:00:00+09:00");
    house.bought("1001", "online", 3_000);
    house.bought("1002", "online", 100);
    let suspend = json!({"status": "suspended"});
    assert_eq!(house.client.send("office", "PUT", "/v1/customers/2005", &suspend).status, 200);
    house.at("2021-07-05");
    house.repay("1002", "P-1", 309);
    house.at("2021-07-11");
    caught_up(&mut house.client);
    let mut list = |query: &str| -> Vec<String> {
        let (mut found, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = house.client.get("office", &format!("/v1/customers?{query}{cursor}")).json();
            let customers = page["customers"].as_array().unwrap_or_else(|| panic!("{page}"));
            found.extend(customers.iter().map(|row| text(&row["customer_id"]).to_owned()));
            let Some(next) = page["end"]["cursor"].as_str() else { break found };
            cursor = format!("&cursor={next}");
        }
    };
    // The sandbox has 1004 in arrears from the start.
    assert_eq!(list("overdue=true&limit=1"), ["1001", "1004"]);
    assert_eq!(list("prefix=100&overdue=false"), ["1002", "1003", "1005", "1006"]);
    assert_eq!(list("status=suspended"), ["1006", "2005"]);
    assert_eq!(list("identity=unverified&prefix=1"), ["1003"]);
    assert_eq!(list("prefix=29&limit=7"), (2_900..3_000).map(|id| id.to_string()).collect::<Vec<_>>());
    assert_eq!(list("").len(), 1_006);
    let page = house.client.get("office", "/v1/customers?prefix=1001").json();
    let (row, standing) = (&page["customers"][0], house.standing("1001"));
    for name in ["status", "identity", "payment_method", "limits", "exposure", "credit", "frozen"] {
        assert_eq!(row[name], standing[name], "{name}");
    }
    assert_eq!(row["overdue_since"], "2021-07-10");

    let shop = json!({"name": "新しい店", "mcc": "5499"});
    assert_eq!(house.client.send("office", "PUT", "/v1/merchants/mrc_a", &shop).status, 201);
    let found = house.client.get("office", "/v1/merchants/mrc_a").json();
    assert_eq!((&found["name"], &found["status"]), (&json!("新しい店"), &json!("active")));
    let merchants = house.client.get("office", "/v1/merchants?limit=2").json();
    assert_eq!(merchants["merchants"][0], found);
    let next = format!("/v1/merchants?cursor={}", text(&merchants["end"]["cursor"]));
    let rest = house.client.get("office", &next).json();
    let ids: Vec<&str> = [&merchants, &rest]
        .iter()
        .flat_map(|page| page["merchants"].as_array().unwrap())
        .map(|one| text(&one["merchant_id"]))
        .collect();
    assert_eq!(ids, ["mrc_a", "mrc_electronics", "mrc_giftcards", "mrc_konbini"]);

    let history = house.client.get("wallet", "/v1/customers/1001/history?from=2021-06-01&to=2021-07-11").json();
    let bought = &history["purchases"][0];
    assert_eq!(bought["merchant_name"], "デモコンビニ", "{bought}");
    let stored = format!("/v1/authorizations/{}", text(&bought["authorization_id"]));
    assert_eq!(bought["order_id"], house.client.get("office", &stored).json()["order_id"]);
}

//! Customers grown along every list that a caller can lengthen, to its bound, by the release binary; then every command
//! once for each of them, while callgrind counts the instructions between a request and its answer on the owner's
//! thread. Instructions are the same on a busy machine; the wall times beside them are printed and not judged.
//!
//! `SOKKETSU_BIN=target/release/sokketsu cargo test --test service growth -- --ignored --nocapture` prints the whole
//! table. It needs valgrind, and the release build.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::server::{Answer, Client, How, Server};

/// What one request may cost everybody else: some 1 ms.
const MOST_INSTRUCTIONS: u64 = 3_000_000;
/// Instructions of the owner's thread for a request, and for the calendar's papers.
const COUNTED: [&str; 2] = ["*Owner::take", "*Owner::calendar_step"];
const SIZES: [usize; 3] = [10, 100, usize::MAX];

/// A list of a customer's: its bound, or how far a test has the patience to go where time bounds it, and what adds one.
struct List {
    name: &'static str,
    most: usize,
    begin: fn(&mut Buyer),
    add: fn(&mut Buyer, usize),
}

const LISTS: &[List] = &[
    List { name: "invoices", most: 1_000, begin: nothing, add: |b, _| b.buy("np_atobarai", 1) },
    List {
        name: "invoices, a payment pending",
        most: 1_000,
        begin: |b| b.pending("p", 5),
        add: |b, _| b.buy("np_atobarai", 1),
    },
    List { name: "holds", most: 1_000, begin: nothing, add: |b, _| b.hold(1) },
    List {
        name: "changes of a bill",
        most: 5_000,
        begin: |b| b.buy("online", 9_000),
        add: |b, n| b.repay(&format!("r{n}"), 1),
    },
    List {
        name: "slips",
        most: 20,
        begin: nothing,
        add: |b, _| {
            b.buy("np_atobarai", 1);
            b.slip();
        },
    },
    List { name: "blocks", most: 100, begin: nothing, add: |b, n| b.block(&format!("b{n}")) },
    List {
        name: "payments pending",
        most: 100,
        begin: |b| b.buy("online", 500),
        add: |b, n| b.pending(&format!("q{n}"), 1),
    },
    List {
        name: "refunds of a purchase",
        most: 100,
        begin: |b| b.buy("online", 5_000),
        add: |b, n| b.refund(&format!("f{n}"), 1),
    },
    List { name: "codes", most: 600, begin: nothing, add: |b, _| b.code() },
    List {
        name: "cancelled purchases",
        most: 1_000,
        begin: nothing,
        add: |b, _| {
            b.buy("online", 1);
            b.cancel();
        },
    },
    List { name: "purchases", most: 1_000, begin: nothing, add: |b, _| b.buy("online", 1) },
    List { name: "denials", most: 1_000, begin: nothing, add: |b, _| b.buy("online", 999_999) },
    List { name: "scans of a code", most: 1_000, begin: |b| b.code(), add: |b, _| b.scan(900_000) },
    List { name: "turns between channels", most: 1_000, begin: nothing, add: turn },
];

fn nothing(_: &mut Buyer) {}

fn turn(buyer: &mut Buyer, number: usize) {
    if number.is_multiple_of(2) {
        buyer.code();
        buyer.scan(1);
    } else {
        buyer.buy("online", 1);
    }
}

/// Every command about a customer, in an order in which each finds what it is about.
const COMMANDS: &[(&str, fn(&mut Buyer))] = &[
    ("standing", |b| b.read("office", "/v1/customers/{id}")),
    ("code", |b| b.code()),
    ("code's view", |b| b.read("wallet", "/v1/codes/{code}")),
    ("scan", |b| b.scan(1)),
    ("order's view", |b| b.read("register", "/v1/authorizations/{order}")),
    ("cancel of a scan", Buyer::cancel),
    ("purchase", |b| b.buy("online", 20)),
    ("refund", |b| b.refund("one", 1)),
    ("cancel", Buyer::cancel),
    ("invoice", |b| b.buy("np_atobarai", 20)),
    ("refund of an invoice", |b| b.refund("two", 20)),
    ("hold", |b| b.hold(2)),
    ("capture", Buyer::capture),
    ("hold to be cancelled", |b| b.hold(2)),
    ("cancel of a hold", Buyer::cancel),
    ("cancel of what never came", |b| {
        b.order.clear();
        b.number += 1;
        b.cancel();
    }),
    ("pending", |b| b.pending("c1", 1)),
    ("final", |b| b.office("payments-pending/c1/final", json!({}))),
    ("another pending", |b| b.pending("c2", 1)),
    ("withdrawn", |b| b.office("payments-pending/c2/withdrawn", json!({}))),
    ("slip", Buyer::slip),
    ("block", |b| b.block("c")),
    ("release", |b| b.office("blocks/c/release", json!({}))),
    ("damages", |b| b.office("damages", json!({"posting_id": "d", "bill": "2021-06", "amount": 1}))),
    ("repayment of a little", |b| b.repay("little", 1)),
    ("repayment of much", |b| b.repay("much", 700)),
    ("method", |b| b.put("wallet", "/v1/customers/{id}/payment-method", json!({"payment_method": "postcard"}))),
    ("profile", |b| b.put("office", "/v1/customers/{id}", json!({"limits": {"total": 60_000, "in_store": 50_000}}))),
    ("payout", |b| b.office("payouts", json!({"payout_id": "o", "amount": 1, "bank_reference": "x"}))),
    ("repayment of all", |b| b.repay("all", 59_000)),
    ("void", |b| b.delete("/v1/codes/{code}")),
];

/// A customer with a connection, and what it did last.
struct Buyer {
    client: Client,
    id: String,
    number: usize,
    order: String,
    code: Value,
    last: Answer,
}

impl Buyer {
    fn new(server: &Server, id: &str) -> Self {
        let (client, id) = (server.client(), id.to_owned());
        Self {
            client,
            id,
            number: 0,
            order: String::new(),
            code: json!({"code_id": "", "barcode": ""}),
            last: Answer::default(),
        }
    }

    fn send(&mut self, role: &str, method: &str, path: &str, body: Option<Value>) {
        let code = self.code["code_id"].as_str().unwrap_or_default();
        let path = path.replace("{id}", &self.id).replace("{code}", code).replace("{order}", &self.order);
        let answer = self.client.call(role, method, &path, body.as_ref()).expect("an answer");
        assert!(answer.status < 500, "{} {path}: {answer:?}", self.id);
        self.last = answer;
    }

    fn read(&mut self, role: &str, path: &str) {
        self.send(role, "GET", path, None);
    }

    fn put(&mut self, role: &str, path: &str, body: Value) {
        self.send(role, "PUT", path, Some(body));
    }

    fn delete(&mut self, path: &str) {
        self.send("wallet", "DELETE", path, None);
    }

    fn office(&mut self, call: &str, body: Value) {
        self.send("office", "POST", &format!("/v1/customers/{{id}}/{call}"), Some(body));
    }

    fn authorize(&mut self, more: Value) {
        self.number += 1;
        let mut body = json!({"order_id": format!("{}-{}", self.id, self.number), "merchant": {"id": "mrc_konbini"},
            "confirm_repeat": true, "deadline_ms": 30_000});
        let (Value::Object(all), Value::Object(more)) = (&mut body, more) else { unreachable!("both are objects") };
        all.extend(more);
        self.send("register", "POST", "/v1/authorizations", Some(body));
        self.order = self.last.json()["authorization_id"].as_str().unwrap_or_default().to_owned();
    }

    fn buy(&mut self, channel: &str, amount: u64) {
        let id = self.id.clone();
        self.authorize(json!({"customer_id": id, "channel": channel, "amount": amount}));
    }

    fn hold(&mut self, amount: u64) {
        let id = self.id.clone();
        self.authorize(json!({"customer_id": id, "channel": "online", "amount": amount, "capture": false}));
    }

    fn code(&mut self) {
        self.send("wallet", "POST", "/v1/codes", Some(json!({"customer_id": self.id})));
        if self.last.status == 201 {
            self.code = self.last.json();
        }
    }

    fn scan(&mut self, amount: u64) {
        let code = self.code["barcode"].clone();
        self.authorize(json!({"code": code, "amount": amount}));
    }

    fn cancel(&mut self) {
        let order = format!("{}-{}", self.id, self.number);
        self.send(
            "register",
            "POST",
            "/v1/cancellations",
            Some(json!({"merchant_id": "mrc_konbini", "order_id": order})),
        );
    }

    fn capture(&mut self) {
        self.send("register", "POST", "/v1/authorizations/{order}/captures", Some(json!({"amount": 1})));
    }

    fn refund(&mut self, id: &str, amount: u64) {
        let body = json!({"refund_id": id, "amount": amount});
        self.send("office", "POST", "/v1/authorizations/{order}/refunds", Some(body));
    }

    fn repay(&mut self, id: &str, amount: u64) {
        self.office("repayments", json!({"repayment_id": id, "amount": amount}));
    }

    fn pending(&mut self, id: &str, amount: u64) {
        self.office(
            "payments-pending",
            json!({"payment_id": id, "amount": amount, "expires_at": "2021-12-30T00:00:00+09:00"}),
        );
    }

    fn slip(&mut self) {
        self.send("wallet", "POST", "/v1/customers/{id}/payment-slips", Some(json!({"kind": "app_barcode"})));
    }

    fn block(&mut self, id: &str) {
        self.office("blocks", json!({"block_id": id, "reason": "growth"}));
    }
}

/// Grows every customer of the table, each on a connection of its own.
fn grow(server: &Server) {
    std::thread::scope(|scope| {
        for (list, size) in grown() {
            scope.spawn(move || {
                let mut buyer = Buyer::new(server, &name(list, size));
                let profile = json!({"identity": "verified", "birth_date": "1990-04-01",
                    "limits": {"total": 60_000, "in_store": 50_000}});
                buyer.put("office", "/v1/customers/{id}", profile);
                assert_eq!(buyer.last.status, 201);
                (list.begin)(&mut buyer);
                for number in 0..size {
                    (list.add)(&mut buyer, number);
                    assert!((200..300).contains(&buyer.last.status), "{} {number}: {:?}", list.name, buyer.last);
                }
            });
        }
    });
}

fn grown() -> Vec<(&'static List, usize)> {
    let mut all = Vec::new();
    for list in LISTS {
        let mut sizes: Vec<usize> = SIZES.iter().map(|size| list.most.min(*size)).collect();
        sizes.dedup();
        all.extend(sizes.into_iter().map(|size| (list, size)));
    }
    all
}

fn name(list: &List, size: usize) -> String {
    format!("{}-{size}", list.name.replace([' ', ',', '\''], "-"))
}

/// Callgrind's files: one each time a counted function was left, with what it had counted since the one before.
struct Counts {
    out: PathBuf,
    read: usize,
}

impl Counts {
    /// Of the requests judged since the last look, in all; what the calendar did is kept apart.
    fn requests(&mut self, calendar: &mut u64) -> u64 {
        let mut sum = 0;
        while let Ok(text) = std::fs::read_to_string(self.file(self.read + 1)) {
            let Some(count) = text.lines().find_map(|line| line.strip_prefix("totals: ")) else { break };
            let count: u64 = count.trim().parse().expect("one number, the instructions");
            if text.lines().any(|line| line.starts_with("desc: Trigger") && line.contains("calendar")) {
                *calendar = count.max(*calendar);
            } else {
                sum += count;
            }
            self.read += 1;
        }
        sum
    }

    fn file(&self, number: usize) -> PathBuf {
        PathBuf::from(format!("{}.{number}", self.out.display()))
    }
}

/// The most that each command took, with the size of the account, and how long it took without callgrind.
#[derive(Default)]
struct Table {
    instructions: BTreeMap<(usize, &'static str), Vec<(String, u64)>>,
    calendar: u64,
}

fn count(data: &Path, out: &Path, table: &mut Table) {
    let file = out.join("counts");
    let mut through = vec!["valgrind".to_owned(), "--tool=callgrind".to_owned(), "--dump-line=no".to_owned()];
    through.push(format!("--callgrind-out-file={}", file.display()));
    for function in COUNTED {
        through.extend([format!("--toggle-collect={function}"), format!("--dump-after={function}")]);
    }
    let server = Server::start(data, How { through, ..release(&[]) });
    let mut counts = Counts { out: file, read: 0 };
    for (list, size) in grown() {
        let mut buyer = Buyer::new(&server, &name(list, size));
        buyer.number = 1_000_000;
        for (place, (command, run)) in COMMANDS.iter().enumerate() {
            counts.requests(&mut table.calendar);
            run(&mut buyer);
            let count = counts.requests(&mut table.calendar);
            assert!(count > 0 || buyer.last.status >= 400, "{command} of {}: nothing was counted", buyer.id);
            table.instructions.entry((place, command)).or_default().push((buyer.id.clone(), count));
        }
    }
}

/// As it ships: a build for tests takes ten times the instructions.
fn release(options: &[&str]) -> How {
    let given = std::env::var("SOKKETSU_BIN").expect("SOKKETSU_BIN names the release build");
    let binary = std::fs::canonicalize(given).expect("the build is there").to_str().map(str::to_owned);
    let policy = concat!(env!("CARGO_MANIFEST_DIR"), "/config/policy.load.toml");
    let environment = vec![("SOKKETSU_POLICY__FILE".to_owned(), policy.to_owned())];
    How { binary, environment, ..How::with(options) }
}

fn show(table: &Table, when: &str) {
    println!("{when}: instructions of the owner's thread for one call, thousands; papers {}", table.calendar / 1_000);
    for ((_, command), counts) in &table.instructions {
        let mut most: Vec<_> = counts.iter().map(|(who, count)| (*count, who.as_str())).collect();
        most.sort_unstable();
        let (least, (top, who)) = (most[0].0, most[most.len() - 1]);
        println!("{command:<28} {:>8} .. {:>8}  {who}", least / 1_000, top / 1_000);
    }
    println!();
}

#[test]
#[ignore = "needs valgrind; ./check runs it"]
fn growth_costs_no_request_more_than_a_moment() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let begun = Instant::now();
    let mut server = Server::start(&data, release(&["--sandbox-start", "2021-06-10T09:00:00.000+09:00"]));
    grow(&server);
    println!("grown in {:?}", begun.elapsed());
    server.signal("TERM");
    assert!(server.wait(Duration::from_secs(30)).success());
    let mut table = Table::default();
    count(&data, folder.path(), &mut table);
    show(&table, "on the day");
    println!("counted after {:?}", begun.elapsed());
    let above: Vec<_> = table
        .instructions
        .iter()
        .flat_map(|((_, command), counts)| counts.iter().map(move |(who, count)| (command, who, *count)))
        .filter(|(.., count)| *count > MOST_INSTRUCTIONS)
        .collect();
    assert!(above.is_empty(), "above {MOST_INSTRUCTIONS} instructions: {above:#?}");
}

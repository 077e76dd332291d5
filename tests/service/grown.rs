//! Customers along every list that a caller can lengthen.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::server::{Answer, Client, Server};

/// A list of a customer's: its bound, or how far a test has the patience to go where time bounds it, and what adds one.
pub struct List {
    pub name: &'static str,
    pub most: usize,
    pub begin: fn(&mut Buyer),
    pub add: fn(&mut Buyer, usize),
}

pub const LISTS: &[List] = &[
    List { name: "invoices", most: 1_000, begin: nothing, add: |b, _| b.buy("np_atobarai", 1) },
    List {
        name: "invoices that are paid",
        most: 1_500,
        begin: nothing,
        add: |b, n| {
            b.buy("np_atobarai", 1);
            b.repay(&format!("r{n}"), 1);
        },
    },
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
        begin: |b| b.buy("np_atobarai", 9_000),
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

/// A customer with a connection, and what it did last.
pub struct Buyer {
    client: Client,
    pub id: String,
    pub number: usize,
    /// The id of its latest authorization, as answered.
    pub order: String,
    /// The id of its first one.
    pub first_order: String,
    code: Value,
    pub last: Answer,
}

impl Buyer {
    pub fn new(server: &Server, id: &str) -> Self {
        let (client, id) = (server.client(), id.to_owned());
        Self {
            client,
            id,
            number: 0,
            order: String::new(),
            first_order: String::new(),
            code: json!({"code_id": "", "barcode": ""}),
            last: Answer::default(),
        }
    }

    pub fn send(&mut self, role: &str, method: &str, path: &str, body: Option<Value>) {
        let code = self.code["code_id"].as_str().unwrap_or_default();
        let path = path.replace("{id}", &self.id).replace("{code}", code).replace("{order}", &self.order);
        let begun = Instant::now();
        // Under callgrind the ledger is read slowly, and who asks of old orders is told to come again.
        let answer = loop {
            let answer = self.client.call(role, method, &path, body.as_ref()).expect("an answer");
            if answer.status != 503 || begun.elapsed() > Duration::from_secs(20) {
                break answer;
            }
        };
        assert!(answer.status < 500, "{} {path}: {answer:?}", self.id);
        self.last = answer;
    }

    pub fn read(&mut self, role: &str, path: &str) {
        self.send(role, "GET", path, None);
    }

    pub fn put(&mut self, role: &str, path: &str, body: Value) {
        self.send(role, "PUT", path, Some(body));
    }

    pub fn delete(&mut self, path: &str) {
        self.send("wallet", "DELETE", path, None);
    }

    /// Ids of the office are one customer's, over all customers: each is made this one's own.
    pub fn office(&mut self, call: &str, mut body: Value) {
        for name in ["repayment_id", "payment_id", "posting_id", "payout_id", "block_id"] {
            if let Some(id) = body.get(name).and_then(Value::as_str) {
                body[name] = format!("{}-{id}", self.id).into();
            }
        }
        let call = match call.split_once('/') {
            Some((list, id)) => format!("{list}/{{id}}-{id}"),
            None => call.to_owned(),
        };
        self.send("office", "POST", &format!("/v1/customers/{{id}}/{call}"), Some(body));
    }

    pub fn authorize(&mut self, more: Value) {
        self.number += 1;
        let mut body = json!({"order_id": format!("{}-{}", self.id, self.number), "merchant": {"id": "mrc_konbini"},
            "confirm_repeat": true, "deadline_ms": 30_000});
        let (Value::Object(all), Value::Object(more)) = (&mut body, more) else { unreachable!("both are objects") };
        all.extend(more);
        self.send("register", "POST", "/v1/authorizations", Some(body));
        self.order = self.last.json()["authorization_id"].as_str().unwrap_or_default().to_owned();
        if self.first_order.is_empty() {
            self.first_order.clone_from(&self.order);
        }
    }

    pub fn buy(&mut self, channel: &str, amount: u64) {
        let id = self.id.clone();
        self.authorize(json!({"customer_id": id, "channel": channel, "amount": amount}));
    }

    pub fn hold(&mut self, amount: u64) {
        let id = self.id.clone();
        self.authorize(json!({"customer_id": id, "channel": "online", "amount": amount, "capture": false}));
    }

    pub fn code(&mut self) {
        self.send("wallet", "POST", "/v1/codes", Some(json!({"customer_id": self.id})));
        if self.last.status == 201 {
            self.code = self.last.json();
        }
    }

    pub fn scan(&mut self, amount: u64) {
        let code = self.code["barcode"].clone();
        self.authorize(json!({"code": code, "amount": amount}));
    }

    pub fn cancel(&mut self) {
        let order = format!("{}-{}", self.id, self.number);
        self.send(
            "register",
            "POST",
            "/v1/cancellations",
            Some(json!({"merchant_id": "mrc_konbini", "order_id": order})),
        );
    }

    pub fn capture(&mut self) {
        self.send("register", "POST", "/v1/authorizations/{order}/captures", Some(json!({"amount": 1})));
    }

    pub fn refund(&mut self, id: &str, amount: u64) {
        let body = json!({"refund_id": id, "amount": amount});
        self.send("office", "POST", "/v1/authorizations/{order}/refunds", Some(body));
    }

    pub fn repay(&mut self, id: &str, amount: u64) {
        self.office("repayments", json!({"repayment_id": id, "amount": amount}));
    }

    pub fn pending(&mut self, id: &str, amount: u64) {
        self.office(
            "payments-pending",
            json!({"payment_id": id, "amount": amount, "expires_at": "2021-12-30T00:00:00+09:00"}),
        );
    }

    pub fn slip(&mut self) {
        self.send("wallet", "POST", "/v1/customers/{id}/payment-slips", Some(json!({"kind": "app_barcode"})));
    }

    pub fn block(&mut self, id: &str) {
        self.office("blocks", json!({"block_id": id, "reason": "growth"}));
    }
}

/// Grows a customer along each of these lists, to such a length, each on a connection of its own. Their first orders.
pub fn grow(server: &Server, wanted: &[(&'static List, usize)]) -> Vec<String> {
    std::thread::scope(|scope| {
        let all: Vec<_> =
            wanted.iter().map(|&(list, size)| scope.spawn(move || grow_one(server, list, size))).collect();
        all.into_iter().map(|one| one.join().expect("it grew")).collect()
    })
}

fn grow_one(server: &Server, list: &List, size: usize) -> String {
    let mut buyer = Buyer::new(server, &name(list, size));
    let limits = json!({"total": 60_000, "in_store": 50_000});
    let profile = json!({"identity": "verified", "birth_date": "1990-04-01", "limits": limits});
    buyer.put("office", "/v1/customers/{id}", profile);
    assert_eq!(buyer.last.status, 201);
    (list.begin)(&mut buyer);
    for number in 0..size {
        (list.add)(&mut buyer, number);
        assert!((200..300).contains(&buyer.last.status), "{} {number}: {:?}", list.name, buyer.last);
    }
    buyer.first_order
}

pub fn name(list: &List, size: usize) -> String {
    format!("{}-{size}", list.name.replace([' ', ',', '\''], "-"))
}

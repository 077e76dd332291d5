//! The outer depth: the real binary over HTTP, with the sandbox's clock. A restart is a SIGKILL.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::{Step, World, duration_ms};
use crate::server::{Answer, Client, Server};
use sokketsu::domain::jst::Millis;

pub fn run(name: &str, text: &str) {
    let first_clock = text.lines().find_map(|line| line.trim().strip_prefix("clock "));
    let start = first_clock.and_then(|rest| rest.split_whitespace().next()).expect("a scenario sets the clock");
    let data = tempfile::tempdir().expect("a folder");
    let issuers = text.lines().find_map(|line| line.trim().strip_prefix("issuers "));
    let issuers = issuers.map(|list| {
        let one = |pair: &str| pair.split_once(':').map(|(p, form)| format!("{{prefix = \"{p}\", form = \"{form}\"}}"));
        format!("[{}]", list.split_whitespace().filter_map(one).collect::<Vec<_>>().join(", "))
    });
    let environment: Vec<_> = issuers.iter().map(|list| ("SOKKETSU_ISSUER", list.as_str())).collect();
    let server = Server::sandbox_in(data.path(), &["--sandbox-start", start], &environment);
    let client = server.client();
    let now = Millis::parse(start).expect("a time");
    let mut world = Http { server, client, now, codes: HashMap::new(), orders: HashMap::new() };
    super::run(name, text, &mut world);
}

struct Http {
    server: Server,
    client: Client,
    now: Millis,
    /// Public id, barcode and QR of each code by its name.
    codes: HashMap<String, [String; 3]>,
    /// Authorization ids by order and merchant.
    orders: HashMap<String, String>,
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

impl Http {
    fn set_clock(&mut self, to: Millis) -> String {
        self.now = to;
        let answer = self.client.send("ops", "POST", "/sandbox/clock", &json!({ "now": to.to_string() }));
        assert_eq!(answer.status, 200, "{answer:?}");
        String::new()
    }

    fn customer(&mut self, step: &Step) -> String {
        let mut body = serde_json::Map::new();
        let names =
            [("identity", "identity"), ("birth", "birth_date"), ("method", "payment_method"), ("status", "status")];
        for (short, long) in names {
            if let Some(value) = step.option(short) {
                body.insert(long.into(), value.into());
            }
        }
        if let Some(consent) = step.option("consent") {
            body.insert("guardian_consent".into(), (consent == "yes").into());
        }
        if let Some((total, in_store)) = step.option("limits").and_then(|limits| limits.split_once('/')) {
            let number = |text: &str| text.parse::<u64>().expect("yen");
            body.insert("limits".into(), json!({ "total": number(total), "in_store": number(in_store) }));
        }
        let answer = self.client.send("office", "PUT", &format!("/v1/customers/{}", step.word(0)), &body.into());
        made(&answer)
    }

    fn merchant(&mut self, step: &Step) -> String {
        let mut limits = serde_json::Map::new();
        for (short, long) in [("cap", "per_payment"), ("in_store", "in_store")] {
            if let Some(yen) = step.option(short) {
                limits.insert(long.into(), yen.parse::<u64>().expect("yen").into());
            }
        }
        let body = json!({
            "name": step.word(0),
            "mcc": step.option("mcc").unwrap_or("5499"),
            "status": step.option("status").unwrap_or("active"),
            "limits": limits,
        });
        made(&self.client.send("office", "PUT", &format!("/v1/merchants/{}", step.word(0)), &body))
    }

    fn issue(&mut self, step: &Step) -> String {
        let mut body = json!({ "customer_id": step.word(1) });
        if step.has("tok19") {
            body["form"] = "tok19".into();
        }
        let answer = self.client.send("wallet", "POST", "/v1/codes", &body);
        let code = answer.json();
        if answer.status != 201 {
            return format!("refused {}", text(&code, "reason"));
        }
        let parts = ["code_id", "barcode", "qr"].map(|key| text(&code, key).to_owned());
        self.codes.insert(step.word(0).to_owned(), parts);
        String::from("issued")
    }

    fn scan(&self, word: &str) -> String {
        let (form, name) = word.split_once(':').unwrap_or(("", word));
        match (form, name) {
            ("", "invalid") => return String::from("9000999912345"),
            ("", "guess") => return tok19("1000000000"),
            ("", "foreign") => return String::from("315899007924294301234567"),
            _ => {}
        }
        let [_, barcode, qr] = self.codes.get(name).unwrap_or_else(|| panic!("no code {name}"));
        match form {
            "qr" => qr.clone(),
            "bare" => tok19(&barcode[8..18]),
            // Another seal: the last digit turned by five is never the right one.
            "forged" => {
                let (head, last) = barcode.split_at(barcode.len() - 1);
                format!("{head}{}", (last.parse::<u8>().expect("a digit") + 5) % 10)
            }
            _ => barcode.clone(),
        }
    }

    fn authorize(&mut self, step: &Step) -> String {
        let mut merchant = json!({ "id": step.word(1) });
        // Terminals of their own keep the limiter of bad codes out of scenarios that are not about it.
        merchant["terminal_id"] = step.option("terminal").unwrap_or("T01").into();
        if let Some(store) = step.option("store") {
            merchant["store_id"] = store.into();
        }
        let mut body = json!({
            "order_id": step.word(0), "amount": step.amount(2), "merchant": merchant,
            "capture": !step.has("hold"), "confirm_repeat": step.has("confirm"), "deadline_ms": 30_000,
            "currency": step.option("currency").unwrap_or("JPY"),
        });
        if step.verb == "online" {
            body["customer_id"] = step.word(3).into();
            body["channel"] = if step.has("np") { "np_atobarai".into() } else { "online".into() };
        } else {
            body["code"] = self.scan(step.word(3)).into();
        }
        if let Some(items) = step.option("items") {
            let item = |category: &str| json!({ "name": "x", "category": category, "quantity": 1, "unit_price": 1 });
            body["items"] = items.split(',').map(item).collect();
        }
        let answer = self.client.send("register", "POST", "/v1/authorizations", &body);
        let told = answer.json();
        match answer.status {
            200 => {
                let key = format!("{} {}", step.word(0), step.word(1));
                self.orders.insert(key, text(&told, "authorization_id").to_owned());
                decision(&told)
            }
            409 => String::from(if text(&told, "reason") == "order_id_reused" { "reused" } else { "conflict" }),
            429 => String::from("throttled"),
            _ => format!("{answer:?}"),
        }
    }

    fn cancel(&mut self, step: &Step) -> String {
        let body = json!({ "order_id": step.word(0), "merchant_id": step.word(1) });
        let answer = self.client.send("register", "POST", "/v1/cancellations", &body);
        if answer.status != 200 {
            return refused(&answer);
        }
        format!("{}{}", text(&answer.json(), "action"), replayed(&answer.json()))
    }

    fn authorization_id(&self, step: &Step) -> String {
        let key = format!("{} {}", step.word(0), step.word(1));
        self.orders.get(&key).cloned().unwrap_or_else(|| format!("aut_{}", "0".repeat(26)))
    }

    fn capture(&mut self, step: &Step) -> String {
        let path = format!("/v1/authorizations/{}/captures", self.authorization_id(step));
        let answer = self.client.send("register", "POST", &path, &json!({ "amount": step.amount(2) }));
        if answer.status != 200 {
            return refused(&answer);
        }
        format!("captured {}{}", decision(&answer.json()), replayed(&answer.json()))
    }

    fn refund(&mut self, step: &Step) -> String {
        let path = format!("/v1/authorizations/{}/refunds", self.authorization_id(step));
        let body = json!({ "refund_id": step.word(2), "amount": step.amount(3) });
        let answer = self.client.send("register", "POST", &path, &body);
        if answer.status != 200 {
            return refused(&answer);
        }
        let told = answer.json();
        format!("{} left={}{}", text(&told, "outcome"), told["refundable_left"], replayed(&told))
    }

    fn inquire(&mut self, step: &Step) -> String {
        let path = format!("/v1/authorizations?merchant_id={}&order_id={}", step.word(1), step.word(0));
        let answer = self.client.get("register", &path);
        if answer.status == 200 { text(&answer.json(), "status").to_owned() } else { String::from("unknown") }
    }

    fn standing(&mut self, step: &Step) -> String {
        let answer = self.client.get("office", &format!("/v1/customers/{}", step.word(0)));
        let told = answer.json();
        let (room, exposure) = (&told["spendable"], &told["exposure"]);
        let blocked = told["blocked_by"].as_str().unwrap_or("none");
        format!(
            "in_store={} online={} exposure={} held={} billed={} blocked={blocked}",
            room["in_store"], room["online"], exposure["total"], exposure["held"], exposure["billed"]
        )
    }

    fn mirror(&mut self, step: &Step) -> String {
        let [id, ..] = &self.codes[step.word(0)];
        let told = self.client.get("wallet", &format!("/v1/codes/{id}")).json();
        let last = told["last_attempt"]["status"].as_str().unwrap_or("none");
        format!("{} attempts={} last={last}", text(&told, "status"), told["attempts"])
    }

    fn void(&mut self, step: &Step) -> String {
        let path = format!("/v1/codes/{}", self.codes[step.word(0)][0]);
        let answer = self.client.call("wallet", "DELETE", &path, None).expect("an answer");
        assert!((200..300).contains(&answer.status), "{answer:?}");
        self.mirror(step)
    }
}

/// Nineteen digits of the prefix for them, with this key generation and handle.
fn tok19(rest: &str) -> String {
    let body = format!("90008888{rest}");
    let doubled = |digit: u32| if digit > 4 { 2 * digit - 9 } else { 2 * digit };
    let digits = body.chars().rev().map(|c| c.to_digit(10).expect("a digit"));
    let sum: u32 = digits.enumerate().map(|(at, digit)| if at % 2 == 0 { doubled(digit) } else { digit }).sum();
    format!("{body}{}", (10 - sum % 10) % 10)
}

fn made(answer: &Answer) -> String {
    match answer.status {
        201 => String::from("created"),
        200 => String::from("changed"),
        _ => format!("{answer:?}"),
    }
}

fn replayed(told: &Value) -> &'static str {
    if told["replayed"] == true { " replayed" } else { "" }
}

fn refused(answer: &Answer) -> String {
    format!("refused {}", text(&answer.json(), "reason"))
}

fn decision(told: &Value) -> String {
    let first = told["first"]["order_id"].as_str().map(|order| format!(" first={order}")).unwrap_or_default();
    let what = if told["decision"] == "approved" {
        let statement = &told["statement"];
        let (month, due) = (text(statement, "month"), text(statement, "due"));
        assert_eq!(told["response_code"], "00", "{told}");
        format!("approved month={month} due={due} points={}", told["points"])
    } else {
        format!("denied {} retry={}", text(told, "reason"), text(told, "retry"))
    };
    assert!(told["clerk"]["ja"].is_string(), "the clerk reads a line: {told}");
    format!("{what} status={}{first}{}", text(told, "status"), replayed(told))
}

impl World for Http {
    fn name(&self) -> &'static str {
        "http"
    }

    fn step(&mut self, step: &Step) -> String {
        match step.verb.as_str() {
            "clock" => self.set_clock(Millis::parse(step.word(0)).expect("a time")),
            "later" => self.set_clock(self.now.plus(duration_ms(step.word(0)))),
            "restart" => {
                self.server.kill();
                self.server.start_again();
                self.client = self.server.client();
                String::new()
            }
            // Read at the start.
            "issuers" => String::new(),
            "customer" => self.customer(step),
            "merchant" => self.merchant(step),
            "code" => self.issue(step),
            "void" => self.void(step),
            "pay" | "online" => self.authorize(step),
            "cancel" => self.cancel(step),
            "capture" => self.capture(step),
            "refund" => self.refund(step),
            "inquire" => self.inquire(step),
            "standing" => self.standing(step),
            "mirror" => self.mirror(step),
            other => panic!("line {}: unknown verb {other}", step.line),
        }
    }
}

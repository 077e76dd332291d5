//! The two outer depths: the real binary over HTTP, and over the network's link with HTTP for what that cannot carry. They
//! have the sandbox's clock; a restart is a SIGKILL.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::iso::Link;
use super::{Step, World, duration_ms};
use crate::server::{Answer, Client, Server};
use sokketsu::domain::model::time::Millis;

pub fn run(name: &str, text: &str, by_link: bool) {
    let first_clock = text.lines().find_map(|line| line.trim().strip_prefix("clock "));
    let start = first_clock.and_then(|rest| rest.split_whitespace().next()).expect("a scenario sets the clock");
    let data = tempfile::tempdir().expect("a folder");
    let mut options = vec!["--sandbox-start", start];
    options.extend(by_link.then_some(["--iso8583", "127.0.0.1:0"]).into_iter().flatten());
    let issuers = text.lines().find_map(|line| line.trim().strip_prefix("issuers "));
    let issuers = issuers.map(|list| {
        let one = |pair: &str| pair.split_once(':').map(|(p, form)| format!("{{prefix = \"{p}\", form = \"{form}\"}}"));
        format!("[{}]", list.split_whitespace().filter_map(one).collect::<Vec<_>>().join(", "))
    });
    let environment: Vec<_> = issuers.iter().map(|list| ("SOKKETSU_ISSUER", list.as_str())).collect();
    let server = Server::sandbox_in(data.path(), &options, &environment);
    let client = server.client();
    let link = server.iso8583.map(Link::to);
    let now = Millis::parse(start).expect("a time");
    let mut world =
        Http { server, client, link, now, codes: HashMap::new(), orders: HashMap::new(), events: (0, HashMap::new()) };
    super::run(name, text, &mut world);
}

pub struct Http {
    server: Server,
    pub client: Client,
    /// Of the depth that speaks ISO 8583.
    link: Option<Link>,
    now: Millis,
    /// Public id, barcode and QR of each code by its name.
    codes: HashMap<String, [String; 3]>,
    /// Authorization ids by order and merchant.
    orders: HashMap<String, String>,
    /// How far the feed of events was read, and how advices were booked, by order id.
    events: (u64, HashMap<String, String>),
}

pub fn text<'a>(value: &'a Value, key: &str) -> &'a str {
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

    /// The order's id as the register has it: over the link it is made of other fields.
    fn order_id(&self, step: &Step) -> String {
        let named = self.link.as_ref().and_then(|link| link.order_id(step.word(0), step.word(1)));
        named.unwrap_or_else(|| step.word(0).to_owned())
    }

    fn refund_id(&self, step: &Step) -> String {
        let named = self.link.as_ref().and_then(|link| link.order_id(&refund_name(step), step.word(1)));
        named.unwrap_or_else(|| step.word(2).to_owned())
    }

    fn authorize(&mut self, step: &Step) -> String {
        if self.link.as_ref().is_some_and(|link| link.can_carry(step)) {
            return self.pay_by_link(step);
        }
        if let Some(link) = self.link.as_mut().filter(|link| link.order_id(step.word(0), step.word(1)).is_none()) {
            link.leave(step);
        }
        let mut merchant = json!({ "id": step.word(1) });
        // Terminals of their own keep the limiter of bad codes out of scenarios that are not about it.
        merchant["terminal_id"] = step.option("terminal").unwrap_or("T01").into();
        if let Some(store) = step.option("store") {
            merchant["store_id"] = store.into();
        }
        let mut body = json!({
            "order_id": self.order_id(step), "amount": step.amount(2), "merchant": merchant,
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

    /// Over the link; what it says, and what was decided, must be the same over HTTP.
    fn pay_by_link(&mut self, step: &Step) -> String {
        let scan = self.scan(step.word(3));
        let Some(link) = &mut self.link else { return String::new() };
        let said = link.pay(step, &scan);
        if said == "reused" {
            return said;
        }
        let key = format!("{} {}", step.word(0), step.word(1));
        let path = format!("/v1/authorizations?merchant_id={}&order_id={}", step.word(1), self.order_id(step));
        let told = self.client.get("register", &path).json();
        let id = text(&told, "authorization_id").to_owned();
        let before = self.orders.insert(key, id.clone());
        let replayed = if before == Some(id) { " replayed" } else { "" };
        let first = told["first"]["order_id"].as_str().and_then(|id| self.link.as_ref()?.name_of(id));
        let first = first.map(|name| format!(" first={name}")).unwrap_or_default();
        let terms = if told["decision"] == "approved" {
            let statement = &told["statement"];
            format!(" month={} due={} points={}", text(statement, "month"), text(statement, "due"), told["points"])
        } else {
            String::new()
        };
        if let Some(approval) = said.strip_prefix("approved ") {
            assert_eq!(told["approval_code"], approval, "{told}");
        } else if told["decision"] == "denied" {
            assert!(said.contains(text(&told, "reason")), "{said} over the link, {told} over HTTP");
        }
        format!("{said}{terms} status={}{first}{replayed}", text(&told, "status"))
    }

    fn cancel(&mut self, step: &Step) -> String {
        if let Some(link) = &mut self.link
            && link.may_know(step)
            && !step.has("http")
        {
            let path = format!(
                "/v1/authorizations?merchant_id={}&order_id={}",
                step.word(1),
                link.name(step.word(0), step.word(1))
            );
            let before = self.client.get("register", &path).json();
            let is_first = link.reverse(step);
            // By HTTP it must then be a repeat.
            let body = json!({ "order_id": link.name(step.word(0), step.word(1)), "merchant_id": step.word(1) });
            let answer = self.client.send("register", "POST", "/v1/cancellations", &body);
            if answer.status != 200 {
                return refused(&answer);
            }
            let action = text(&answer.json(), "action").to_owned();
            if action == "reversed" {
                assert_eq!(text(&before, "decision"), "approved", "{before}");
            }
            assert!(action == "none" || answer.json()["replayed"] == true, "{answer:?}");
            let again = action != "none" && (!is_first || text(&before, "status") == "cancelled");
            return format!("{action}{}", if again { " replayed" } else { "" });
        }
        let body = json!({ "order_id": self.order_id(step), "merchant_id": step.word(1) });
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
        let by_link = match &mut self.link {
            Some(link) if link.order_id(step.word(0), step.word(1)).is_some() => Some(link.capture(step)),
            _ => None,
        };
        let path = format!("/v1/authorizations/{}/captures", self.authorization_id(step));
        let answer = self.client.send("register", "POST", &path, &json!({ "amount": step.amount(2) }));
        if answer.status != 200 {
            return refused(&answer);
        }
        let told = answer.json();
        let again = match by_link {
            None => told["replayed"] == true,
            Some(is_first) => {
                assert_eq!(told["replayed"], true, "it was captured over the link: {told}");
                !is_first
            }
        };
        format!("captured {}{}", decision(&told), if again { " replayed" } else { "" })
    }

    fn refund(&mut self, step: &Step) -> String {
        let by_link = match &mut self.link {
            Some(link) if link.may_know(step) => Some(link.refund(step, &refund_name(step))),
            _ => None,
        };
        let path = format!("/v1/authorizations/{}/refunds", self.authorization_id(step));
        let body = json!({ "refund_id": self.refund_id(step), "amount": step.amount(3) });
        let answer = self.client.send("register", "POST", &path, &body);
        if answer.status != 200 {
            if let Some((said, _)) = by_link {
                assert_eq!(said, refused(&answer), "over the link, and over HTTP");
            }
            return refused(&answer);
        }
        let told = answer.json();
        let again = match by_link {
            None => told["replayed"] == true,
            Some((said, is_first)) => {
                assert_eq!((said.as_str(), &told["replayed"]), ("done", &true.into()), "{told}");
                !is_first
            }
        };
        let again = if again { " replayed" } else { "" };
        format!("{} left={}{again}", text(&told, "outcome"), told["refundable_left"])
    }

    /// How an advice was booked, by the feed of events; it is told 00 in any case.
    fn booked(&mut self, order_id: &str) -> String {
        loop {
            let feed = self.client.get("ops", &format!("/v1/events?after={}&limit=1000", self.events.0)).text;
            let mut lines = feed.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
            let end = lines.next_back().expect("the line of its end")["end"].clone();
            for event in lines {
                if event["kind"] == "advised" {
                    let words = match event["suspense"].as_str() {
                        Some(why) => format!("suspense {why}"),
                        None if event["over_limit"] == true => "over_limit".to_owned(),
                        None => "posted".to_owned(),
                    };
                    let earlier = self.events.1.insert(text(&event, "order_id").to_owned(), words);
                    assert_eq!(earlier, None, "an advice is booked once: {event}");
                }
            }
            self.events.0 = end["after"].as_u64().expect("a position");
            if end["more"] == false {
                break;
            }
        }
        self.events.1.get(order_id).cloned().unwrap_or_else(|| "counted".to_owned())
    }

    fn advise(&mut self, step: &Step) -> String {
        let scan = self.scan(step.word(3));
        let link = self.link.as_mut().expect("advices come over the link");
        if link.advise(step, &scan).is_none() {
            return "reused".to_owned();
        }
        let order_id = self.order_id(step);
        let path = format!("/v1/authorizations?merchant_id={}&order_id={order_id}", step.word(1));
        let told = self.client.get("register", &path).json();
        let key = format!("{} {}", step.word(0), step.word(1));
        self.orders.insert(key, text(&told, "authorization_id").to_owned());
        let words = match self.booked(&order_id) {
            words if words == "counted" => self.booked(&format!("{order_id}-A")),
            words => words,
        };
        format!("{words} status={}", text(&told, "status"))
    }

    fn post(&mut self, step: &Step) -> String {
        let scan = step.option("code").map(|code| self.scan(code));
        let link = self.link.as_mut().expect("advices come over the link");
        link.post(step, scan);
        let own = link.name(step.option("as").unwrap_or_default(), step.word(1));
        let beside = format!("{}-C", link.name(step.word(0), step.word(1)));
        match self.booked(&own) {
            words if words == "counted" => self.booked(&beside),
            words => words,
        }
    }

    fn suspense(&mut self) -> String {
        let text = self.client.get("ops", "/metrics").text;
        let yen = text.lines().find_map(|line| line.strip_prefix("sokketsu_suspense_yen ")).expect("a metric");
        format!("yen={}", yen.trim())
    }

    fn inquire(&mut self, step: &Step) -> String {
        let path = format!("/v1/authorizations?merchant_id={}&order_id={}", step.word(1), self.order_id(step));
        let answer = self.client.get("register", &path);
        if answer.status != 200 {
            return String::from("unknown");
        }
        let told = answer.json();
        format!("{} captured={} refunded={}", text(&told, "status"), told["captured_amount"], told["refunded_amount"])
    }

    fn settle(&mut self, step: &Step) -> String {
        let order_id = self.order_id(step);
        let path = format!("/v1/authorizations?merchant_id={}&order_id={order_id}", step.word(1));
        let found = self.client.get("office", &path);
        if found.status != 200 {
            return refused(&found);
        }
        let mut body =
            json!({"settlement_id": step.word(2), "action": step.word(3), "by": "tanaka", "reason": "month end"});
        if let Some(customer) = step.option("customer") {
            body["customer_id"] = json!(customer);
        }
        let path = format!("/v1/suspense/{}/settlement", text(&found.json(), "authorization_id"));
        let answer = self.client.send("office", "POST", &path, &body);
        if answer.status != 200 {
            return refused(&answer);
        }
        let told = answer.json();
        let customer = told["customer_id"].as_str().unwrap_or("none");
        let billed = told["statement"]
            .as_object()
            .map(|_| format!(" month={} due={}", text(&told["statement"], "month"), text(&told["statement"], "due")));
        format!("{} customer={customer}{}{}", text(&told, "action"), billed.unwrap_or_default(), replayed(&told))
    }

    fn freeze(&mut self, step: &Step) -> String {
        let (customer, id) = (step.word(0), step.word(1));
        let path = format!("/v1/customers/{customer}/freeze");
        let answer = if step.verb == "freeze" {
            self.client.send("wallet", "POST", &path, &json!({"freeze_id": id}))
        } else {
            let staff = json!({"by": "tanaka", "reason": "found"});
            self.client.send("office", "POST", &format!("{path}/{id}/release"), &staff)
        };
        if answer.status != 200 {
            return refused(&answer);
        }
        let told = answer.json();
        let blocked = told["blocked_by"].as_str().unwrap_or("none");
        format!("{} blocked={blocked}{}", text(&told, "status"), replayed(&told))
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
        let yen = |what: &str| told["sale"][what].as_u64().unwrap_or(0);
        let (captured, cancelled) = (yen("captured"), yen("cancelled"));
        let (status, attempts) = (text(&told, "status"), &told["attempts"]);
        format!("{status} attempts={attempts} last={last} captured={captured} cancelled={cancelled}")
    }

    fn void(&mut self, step: &Step) -> String {
        let path = format!("/v1/codes/{}", self.codes[step.word(0)][0]);
        let answer = self.client.call("wallet", "DELETE", &path, None).expect("an answer");
        assert!((200..300).contains(&answer.status), "{answer:?}");
        self.mirror(step)
    }
}

/// A refund is a message of its own, so it has a name of its own.
fn refund_name(step: &Step) -> String {
    format!("{}/{}", step.word(0), step.word(2))
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
        if self.link.is_some() { "iso8583" } else { "http" }
    }

    fn step(&mut self, step: &Step) -> String {
        match step.verb.as_str() {
            "clock" => self.set_clock(Millis::parse(step.word(0)).expect("a time")),
            "later" => self.set_clock(self.now.plus(duration_ms(step.word(0)))),
            "restart" => {
                self.server.kill();
                self.server.start_again();
                self.client = self.server.client();
                if let (Some(link), Some(address)) = (&mut self.link, self.server.iso8583) {
                    link.reconnect(address);
                }
                String::new()
            }
            // Read at the start.
            "issuers" | "network" => String::new(),
            "customer" => self.customer(step),
            "merchant" => self.merchant(step),
            "code" => self.issue(step),
            "void" => self.void(step),
            "pay" | "online" => self.authorize(step),
            "advice" => self.advise(step),
            "post" => self.post(step),
            "part" | "unrefund" => {
                let link = self.link.as_mut().expect("it comes over the link");
                if step.verb == "part" {
                    link.part(step)
                } else {
                    link.unrefund(step, &refund_name(step))
                }
                String::from("done")
            }
            "suspense" => self.suspense(),
            "cancel" => self.cancel(step),
            "capture" => self.capture(step),
            "refund" => self.refund(step),
            "inquire" => self.inquire(step),
            "settle" => self.settle(step),
            "freeze" | "unfreeze" => self.freeze(step),
            "standing" => self.standing(step),
            "mirror" => self.mirror(step),
            other => panic!("line {}: unknown verb {other}", step.line),
        }
    }
}

//! A call that was heard whole is carried out, whoever hangs up; and who has only said all is still answered.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};
use socket2::SockRef;
use sokketsu::http::routes::{Call, ROUTES, Route};

use super::server::{Client, Server, wait_until};

/// One call that changes something, for a customer of its own.
struct Changing {
    call: Call,
    /// What must be there before; gives what the call and its check need of it.
    prepare: fn(&mut Client, &str) -> Value,
    /// Path and body; a body that is a text is a file.
    request: fn(&str, &Value) -> (String, Value),
    /// The kind of the event that tells that it was carried out, and what is in its line.
    told: fn(&str, &Value) -> (&'static str, String),
}

fn nothing(_: &mut Client, _: &str) -> Value {
    Value::Null
}

fn ok(client: &mut Client, role: &str, path: &str, body: &Value) -> Value {
    let answer = client.send(role, "POST", path, body);
    assert!((200..300).contains(&answer.status), "{path} {body}: {answer:?}");
    answer.json()
}

fn buys(client: &mut Client, customer: &str, capture: bool) -> Value {
    let body = json!({"order_id": format!("H-{customer}"), "customer_id": customer, "channel": "online", "amount": 700,
        "capture": capture, "merchant": {"id": "mrc_konbini"}});
    ok(client, "register", "/v1/authorizations", &body)
}

fn holds(client: &mut Client, customer: &str) -> Value {
    buys(client, customer, false)
}

fn captures(client: &mut Client, customer: &str) -> Value {
    buys(client, customer, true)
}

fn shows_a_code(client: &mut Client, customer: &str) -> Value {
    ok(client, "wallet", "/v1/codes", &json!({ "customer_id": customer }))
}

fn has_credit(client: &mut Client, customer: &str) -> Value {
    let body = json!({"repayment_id": format!("before-{customer}"), "amount": 900});
    ok(client, "office", &format!("/v1/customers/{customer}/repayments"), &body)
}

fn was_paid_out(client: &mut Client, customer: &str) -> Value {
    has_credit(client, customer);
    let body = json!({"payout_id": format!("back-{customer}"), "amount": 300});
    ok(client, "office", &format!("/v1/customers/{customer}/payouts"), &body)
}

fn owes_an_invoice(client: &mut Client, customer: &str) -> Value {
    let body = json!({"order_id": format!("NP-{customer}"), "customer_id": customer, "channel": "np_atobarai",
        "amount": 700, "merchant": {"id": "mrc_konbini"}});
    ok(client, "register", "/v1/authorizations", &body)["authorization_id"].clone()
}

fn was_given_up(client: &mut Client, customer: &str) -> Value {
    let bill = owes_an_invoice(client, customer);
    let body = json!({"write_off_id": format!("off-{customer}"), "bill": bill, "by": "tanaka", "reason": "bankrupt"});
    ok(client, "office", &format!("/v1/customers/{customer}/write-offs"), &body)
}

fn has_credit_and_usage(client: &mut Client, customer: &str) -> Value {
    has_credit(client, customer);
    captures(client, customer)["statement"]["month"].clone()
}

/// The month of the bill that 1004 has not paid.
fn overdue_month(client: &mut Client) -> Value {
    client.get("office", "/v1/customers/1004").json()["next_bill"]["month"].clone()
}

fn has_damages(client: &mut Client, customer: &str) -> Value {
    let body = json!({"posting_id": format!("dmg-{customer}"), "month": overdue_month(client), "amount": 1});
    ok(client, "office", "/v1/customers/1004/damages", &body)
}

fn is_told_of_money(client: &mut Client, customer: &str) -> Value {
    let body =
        json!({"payment_id": format!("pay-{customer}"), "amount": 500, "expires_at": "2099-01-01T00:00:00+09:00"});
    ok(client, "office", &format!("/v1/customers/{customer}/payments-pending"), &body)
}

fn is_blocked(client: &mut Client, customer: &str) -> Value {
    let body = json!({"block_id": format!("block-{customer}"), "reason": "phone"});
    ok(client, "office", &format!("/v1/customers/{customer}/blocks"), &body)
}

fn is_frozen(client: &mut Client, customer: &str) -> Value {
    let body = json!({"freeze_id": format!("freeze-{customer}")});
    ok(client, "wallet", &format!("/v1/customers/{customer}/freeze"), &body)
}

fn id(made: &Value) -> &str {
    made["authorization_id"].as_str().expect("an id")
}

/// By the way to go, which is in the customer's number.
fn slip(customer: &str) -> &'static str {
    ["postcard", "terminal_number", "postcard"][usize::from(customer.as_bytes()[1] - b'0')]
}

const CHANGING: &[Changing] = &[
    Changing {
        call: Call::PutCustomer,
        prepare: nothing,
        request: |customer, _| {
            (format!("/v1/customers/{customer}"), json!({"limits": {"total": 4_321, "in_store": 1_234}}))
        },
        told: |customer, _| ("customer_set", format!(r#""customer_id":"{customer}""#)),
    },
    Changing {
        call: Call::PutPaymentMethod,
        prepare: nothing,
        request: |customer, _| {
            (format!("/v1/customers/{customer}/payment-method"), json!({"payment_method": "postcard"}))
        },
        told: |customer, _| ("customer_set", format!(r#""customer_id":"{customer}""#)),
    },
    Changing {
        call: Call::Repay,
        prepare: nothing,
        request: |customer, _| {
            let body = json!({"repayment_id": format!("rep-{customer}"), "amount": 500});
            (format!("/v1/customers/{customer}/repayments"), body)
        },
        told: |customer, _| ("repaid", format!("rep-{customer}")),
    },
    Changing {
        call: Call::IssueSlip,
        // The customer with an overdue bill. A slip that stands is given again, and the app's barcode came with the bill.
        prepare: nothing,
        request: |customer, _| ("/v1/customers/1004/payment-slips".to_owned(), json!({ "kind": slip(customer) })),
        told: |customer, _| ("slip_issued", slip(customer).to_owned()),
    },
    Changing {
        call: Call::PostDamages,
        prepare: |client, _| overdue_month(client),
        request: |customer, month| {
            let body = json!({"posting_id": format!("dam-{customer}"), "month": month, "amount": 1});
            ("/v1/customers/1004/damages".to_owned(), body)
        },
        told: |customer, _| ("damages_posted", format!("dam-{customer}")),
    },
    Changing {
        call: Call::Block,
        prepare: nothing,
        request: |customer, _| {
            let body = json!({"block_id": format!("blo-{customer}"), "reason": "phone"});
            (format!("/v1/customers/{customer}/blocks"), body)
        },
        told: |customer, _| ("blocked", format!("blo-{customer}")),
    },
    Changing {
        call: Call::ReleaseBlock,
        prepare: is_blocked,
        request: |customer, _| (format!("/v1/customers/{customer}/blocks/block-{customer}/release"), json!({})),
        told: |customer, _| ("block_released", format!("block-{customer}")),
    },
    Changing {
        call: Call::Freeze,
        prepare: nothing,
        request: |customer, _| {
            (format!("/v1/customers/{customer}/freeze"), json!({"freeze_id": format!("fre-{customer}")}))
        },
        told: |customer, _| ("frozen", format!("fre-{customer}")),
    },
    Changing {
        call: Call::Unfreeze,
        prepare: is_frozen,
        request: |customer, _| {
            let body = json!({"by": "tanaka", "reason": "found"});
            (format!("/v1/customers/{customer}/freeze/freeze-{customer}/release"), body)
        },
        told: |customer, _| ("freeze_released", format!("freeze-{customer}")),
    },
    Changing {
        call: Call::PayOut,
        prepare: has_credit,
        request: |customer, _| {
            (
                format!("/v1/customers/{customer}/payouts"),
                json!({"payout_id": format!("out-{customer}"), "amount": 300}),
            )
        },
        told: |customer, _| ("paid_out", format!("out-{customer}")),
    },
    Changing {
        call: Call::BouncePayout,
        prepare: was_paid_out,
        request: |customer, _| {
            let body = json!({"by": "tanaka", "reason": "no such account"});
            (format!("/v1/customers/{customer}/payouts/back-{customer}/bounced"), body)
        },
        told: |customer, _| ("payout_bounced", format!("back-{customer}")),
    },
    Changing {
        call: Call::ReverseRepayment,
        prepare: has_credit,
        request: |customer, _| {
            let body = json!({"by": "tanaka", "reason": "twice"});
            (format!("/v1/customers/{customer}/repayments/before-{customer}/reversal"), body)
        },
        told: |customer, _| ("repayment_reversed", format!("before-{customer}")),
    },
    Changing {
        call: Call::WaiveFee,
        prepare: |client, _| overdue_month(client),
        request: |_, month| {
            let month = month.as_str().expect("a month");
            (format!("/v1/customers/1004/fees/fee_{month}/waiver"), json!({"by": "tanaka", "reason": "our fault"}))
        },
        told: |_, month| ("fee_waived", month.to_string()),
    },
    Changing {
        call: Call::ReverseDamages,
        prepare: has_damages,
        request: |customer, _| {
            let body = json!({"by": "tanaka", "reason": "our fault"});
            (format!("/v1/customers/1004/damages/dmg-{customer}/reversal"), body)
        },
        told: |customer, _| ("damages_reversed", format!("dmg-{customer}")),
    },
    Changing {
        call: Call::WriteOff,
        prepare: owes_an_invoice,
        request: |customer, bill| {
            let id = format!("w-{customer}");
            let body = json!({"write_off_id": id, "bill": bill, "by": "tanaka", "reason": "bankrupt"});
            (format!("/v1/customers/{customer}/write-offs"), body)
        },
        told: |customer, _| ("written_off", format!("w-{customer}")),
    },
    Changing {
        call: Call::ReleaseWriteOff,
        prepare: was_given_up,
        request: |customer, _| {
            let body = json!({"by": "tanaka", "reason": "discharged"});
            (format!("/v1/customers/{customer}/write-offs/off-{customer}/release"), body)
        },
        told: |customer, _| ("write_off_released", format!("off-{customer}")),
    },
    Changing {
        call: Call::ApplyCredit,
        prepare: has_credit_and_usage,
        request: |customer, month| {
            let body = json!({"application_id": format!("app-{customer}"), "amount": 200, "bill": month});
            (format!("/v1/customers/{customer}/credit/applications"), body)
        },
        told: |customer, _| ("credit_applied", format!("app-{customer}")),
    },
    Changing {
        call: Call::ExpectPayment,
        prepare: nothing,
        request: |customer, _| {
            let (id, end) = (format!("exp-{customer}"), "2099-01-01T00:00:00+09:00");
            let body = json!({"payment_id": id, "amount": 500, "expires_at": end});
            (format!("/v1/customers/{customer}/payments-pending"), body)
        },
        told: |customer, _| ("payment_pending", format!("exp-{customer}")),
    },
    Changing {
        call: Call::ConfirmPayment,
        prepare: is_told_of_money,
        request: |customer, _| (format!("/v1/customers/{customer}/payments-pending/pay-{customer}/final"), json!({})),
        told: |customer, _| ("payment_final", format!("pay-{customer}")),
    },
    Changing {
        call: Call::WithdrawPayment,
        prepare: is_told_of_money,
        request: |customer, _| {
            (format!("/v1/customers/{customer}/payments-pending/pay-{customer}/withdrawn"), json!({}))
        },
        told: |customer, _| ("payment_withdrawn", format!("pay-{customer}")),
    },
    Changing {
        call: Call::Import,
        prepare: nothing,
        request: |customer, _| {
            let line = |n: u32| format!("imp-{customer}-{n},repayment,{customer},10\n");
            let lines: String = (1..=40).map(line).collect();
            ("/v1/imports".to_owned(), json!(format!("id,type,customer_id,amount\n{lines}")))
        },
        told: |customer, _| ("repaid", format!("imp-{customer}-40\"")),
    },
    Changing {
        call: Call::PutMerchant,
        prepare: nothing,
        request: |customer, _| (format!("/v1/merchants/shop-{customer}"), json!({"name": "heard", "mcc": "5499"})),
        told: |customer, _| ("merchant_set", format!("shop-{customer}")),
    },
    Changing {
        call: Call::IssueCode,
        prepare: nothing,
        request: |customer, _| ("/v1/codes".to_owned(), json!({ "customer_id": customer })),
        told: |customer, _| ("code_issued", format!(r#""customer_id":"{customer}""#)),
    },
    Changing {
        call: Call::VoidCode,
        prepare: shows_a_code,
        request: |_, made| (format!("/v1/codes/{}", made["code_id"].as_str().expect("an id")), Value::Null),
        // The event names no code: it is counted below.
        told: |_, _| ("code_voided", String::new()),
    },
    Changing {
        call: Call::Authorize,
        prepare: nothing,
        request: |customer, _| {
            let body = json!({"order_id": format!("A-{customer}"), "customer_id": customer, "channel": "online",
                "amount": 500, "merchant": {"id": "mrc_konbini"}, "deadline_ms": 60_000});
            ("/v1/authorizations".to_owned(), body)
        },
        told: |customer, _| ("decided", format!(r#""order_id":"A-{customer}""#)),
    },
    Changing {
        call: Call::Capture,
        prepare: holds,
        request: |_, made| (format!("/v1/authorizations/{}/captures", id(made)), json!({"amount": 700})),
        told: |customer, _| ("captured", format!(r#""customer_id":"{customer}""#)),
    },
    Changing {
        call: Call::Refund,
        prepare: captures,
        request: |customer, made| {
            let body = json!({"refund_id": format!("ref-{customer}"), "amount": 300});
            (format!("/v1/authorizations/{}/refunds", id(made)), body)
        },
        told: |customer, _| ("refunded", format!("ref-{customer}")),
    },
    Changing {
        call: Call::Cancel,
        prepare: captures,
        request: |customer, _| {
            ("/v1/cancellations".to_owned(), json!({"merchant_id": "mrc_konbini", "order_id": format!("H-{customer}")}))
        },
        told: |customer, _| ("cancelled", format!(r#""customer_id":"{customer}""#)),
    },
];

/// How the caller goes once all is said.
#[derive(Clone, Copy, PartialEq)]
enum Goes {
    Away,
    /// With a reset.
    Abruptly,
    /// It says no more, and listens.
    HalfClosed,
}

fn route(call: Call) -> &'static Route {
    ROUTES.iter().find(|route| route.call == call).expect("a route")
}

/// The whole call in one piece.
fn bytes(call: Call, path: &str, body: &Value) -> Vec<u8> {
    let route = route(call);
    let (media, body) = match body {
        Value::Null => ("application/json", String::new()),
        Value::String(file) => ("text/csv", file.clone()),
        body => ("application/json", body.to_string()),
    };
    let head = format!(
        "{} {path} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer sandbox-{}\r\n",
        route.method,
        route.roles[0].name()
    );
    let of_body = if body.is_empty() {
        String::new()
    } else {
        format!("content-type: {media}\r\ncontent-length: {}\r\n", body.len())
    };
    format!("{head}{of_body}\r\n{body}").into_bytes()
}

/// Lines of all events after a position.
fn events(client: &mut Client, after: u64) -> Vec<Value> {
    let page = client.get("ops", &format!("/v1/events?after={after}&limit=100000"));
    page.text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn last(client: &mut Client) -> u64 {
    events(client, 0).iter().filter_map(|line| line["lsn"].as_u64()).max().unwrap_or(0)
}

fn is_told(events: &[Value], kind: &str, part: &str) -> bool {
    events.iter().any(|line| line["kind"] == kind && line.to_string().contains(part))
}

fn every_call_is_carried_out(goes: Goes) {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::sandbox(data.path(), &[]);
    let mut client = server.client();
    let name = |row: usize| format!("2{}{row:02}", goes as u8);
    let made: Vec<_> = (0..CHANGING.len()).map(|row| (CHANGING[row].prepare)(&mut client, &name(row))).collect();
    let before = last(&mut client);

    server.signal("STOP");
    let mut callers = Vec::new();
    for (row, made) in made.iter().enumerate() {
        let (path, body) = (CHANGING[row].request)(&name(row), made);
        let mut stream = TcpStream::connect(server.http).expect("the kernel accepts");
        stream.write_all(&bytes(CHANGING[row].call, &path, &body)).expect("it fits the socket's buffer");
        match goes {
            Goes::Away => drop(stream),
            Goes::Abruptly => {
                SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("linger");
                drop(stream);
            }
            Goes::HalfClosed => {
                stream.shutdown(Shutdown::Write).expect("half");
                callers.push((row, stream));
            }
        }
    }
    server.signal("CONT");

    for (row, mut stream) in callers {
        let mut answer = String::new();
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        stream.read_to_string(&mut answer).expect("an answer, then the end");
        assert!(answer.starts_with("HTTP/1.1 20"), "{:?}: {answer}", CHANGING[row].call);
    }
    for (row, made) in made.iter().enumerate() {
        let (kind, part) = (CHANGING[row].told)(&name(row), made);
        let what = format!("{:?} was carried out", CHANGING[row].call);
        wait_until(&what, Duration::from_secs(20), || is_told(&events(&mut client, before), kind, &part));
    }
}

#[test]
fn the_table_lists_every_call_that_changes_something() {
    // A sale comes into suspense by the link alone, which these servers do not have: `suspense` settles it.
    let elsewhere = [Call::SetClock, Call::SettleSuspense];
    for route in ROUTES.iter().filter(|route| route.method != "GET" && !elsewhere.contains(&route.call)) {
        assert!(CHANGING.iter().any(|row| row.call == route.call), "{}", route.label);
    }
}

#[test]
fn a_call_that_was_heard_whole_is_carried_out_whoever_hangs_up() {
    every_call_is_carried_out(Goes::Away);
}

#[test]
fn a_call_that_was_heard_whole_is_carried_out_although_its_caller_resets() {
    every_call_is_carried_out(Goes::Abruptly);
}

#[test]
fn who_has_said_all_is_answered() {
    every_call_is_carried_out(Goes::HalfClosed);
}

/// The sale and its cancel come at once from two callers who are gone: thirty times nothing stays charged.
#[test]
fn a_cancel_is_not_lost_beside_its_sale() {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::sandbox(data.path(), &[]);
    let mut client = server.client();
    server.signal("STOP");
    for n in 0..30 {
        let sale = json!({"order_id": format!("S-{n}"), "customer_id": format!("20{n:02}"), "channel": "online",
            "amount": 500, "merchant": {"id": "mrc_konbini"}, "deadline_ms": 60_000});
        let cancel = json!({"merchant_id": "mrc_konbini", "order_id": format!("S-{n}")});
        for (call, path, body) in
            [(Call::Authorize, "/v1/authorizations", sale), (Call::Cancel, "/v1/cancellations", cancel)]
        {
            let mut stream = TcpStream::connect(server.http).expect("the kernel accepts");
            stream.write_all(&bytes(call, path, &body)).expect("it fits the socket's buffer");
        }
    }
    server.signal("CONT");
    // Whichever the engine met first: taken back, or denied because it was taken back before.
    let undone = |line: &&Value| line["kind"] == "cancelled" || line["reason"] == "cancelled";
    wait_until("every sale is undone", Duration::from_secs(20), || {
        events(&mut client, 0).iter().filter(undone).count() == 30
    });
    for n in 0..30 {
        let standing = client.get("office", &format!("/v1/customers/20{n:02}")).json();
        assert_eq!(standing["exposure"]["total"], 0, "{standing}");
    }
}

/// Several calls in one piece on one connection, whose caller is gone before the first is answered.
#[test]
fn calls_behind_each_other_are_all_carried_out() {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::sandbox(data.path(), &[]);
    let mut client = server.client();
    server.signal("STOP");
    let all: Vec<u8> = (0..20)
        .flat_map(|n| {
            let body = json!({"repayment_id": format!("pipe-{n}-"), "amount": 100});
            bytes(Call::Repay, "/v1/customers/2000/repayments", &body)
        })
        .collect();
    let mut stream = TcpStream::connect(server.http).expect("the kernel accepts");
    stream.write_all(&all).expect("it fits the socket's buffer");
    drop(stream);
    server.signal("CONT");
    wait_until("all twenty are posted", Duration::from_secs(20), || {
        let told = events(&mut client, 0);
        (0..20).all(|n| is_told(&told, "repaid", &format!("pipe-{n}-")))
    });
}

//! What the network books beside an order, as HTTP tells of it: to the clerk, to the phone, and of days ago when only the
//! ledger remembers.

use std::time::Duration;

use serde_json::{Value, json};

use super::iso::{Peer, Text, sale};
use super::server::{Client, Server, wait_until};

fn server(data: &std::path::Path) -> (Server, Peer, Client) {
    let options = ["--iso8583", "127.0.0.1:0", "--sandbox-start", "2026-11-23T12:00:00+09:00"];
    let server = Server::sandbox(data, &options);
    let (peer, client) = (Peer::to(server.iso8583.expect("a link")), server.client());
    (server, peer, client)
}

/// Its id and its barcode.
fn code(client: &mut Client, customer: &str) -> (String, String) {
    let told = client.send("wallet", "POST", "/v1/codes", &json!({ "customer_id": customer })).json();
    let text = |key: &str| told[key].as_str().unwrap_or_else(|| panic!("{told}")).to_owned();
    (text("code_id"), text("barcode"))
}

fn inquire(client: &mut Client, order: &Text) -> Value {
    client.get("register", &format!("/v1/authorizations?merchant_id=mrc_konbini&order_id={}", order.order_id())).json()
}

fn set_clock(client: &mut Client, now: &str) {
    assert_eq!(client.send("ops", "POST", "/sandbox/clock", &json!({ "now": now })).status, 200);
}

fn exposure(client: &mut Client, customer: &str) -> Value {
    client.get("office", &format!("/v1/customers/{customer}")).json()["exposure"]["total"].clone()
}

/// The network tells that this much of a hold was captured.
fn capture(hold: &Text, stan: u32, yen: u64) -> Text {
    let (stan, yen) = (format!("{stan:06}"), format!("{yen:012}"));
    hold.with(&[(4, &yen), (11, &stan), (62, ""), (90, &hold.original())]).as_type("0220")
}

fn clerk(told: &Value) -> &str {
    told["clerk"]["en"].as_str().unwrap_or_default()
}

#[test]
fn clerk_and_phone_hear_of_all_that_was_charged() {
    let data = tempfile::tempdir().expect("a folder");
    let (_server, mut peer, mut client) = server(data.path());
    // Captured above the hold.
    let (id, barcode) = code(&mut client, "2001");
    let hold = sale(1, &barcode, 1_000).as_type("0100");
    assert_eq!(peer.ask(&hold).code(), "00");
    assert_eq!(peer.ask(&capture(&hold, 2, 1_300)).code(), "00");
    let told = inquire(&mut client, &hold);
    assert_eq!((&told["status"], &told["captured_amount"]), (&"captured".into(), &1_300.into()), "{told}");
    let shown = client.get("wallet", &format!("/v1/codes/{id}")).json();
    let words = shown["sale"]["customer"]["en"].as_str().unwrap_or_default();
    assert!(shown["sale"]["captured"] == 1_300 && words.contains("1,300 yen"), "{shown}");
    let body = json!({ "merchant_id": "mrc_konbini", "order_id": hold.order_id() });
    let undone = client.send("register", "POST", "/v1/cancellations", &body).json();
    assert_eq!(undone["action"], "reversed", "{undone}");
    let shown = client.get("wallet", &format!("/v1/codes/{id}")).json();
    let words = shown["sale"]["customer"]["en"].as_str().unwrap_or_default();
    assert!(shown["sale"]["cancelled"] == 1_300 && words.contains("1,300 yen"), "{shown}");
    assert_eq!(exposure(&mut client, "2001"), 0);
    // Denied here, approved by the network.
    let (_, barcode) = code(&mut client, "2002");
    let denied = sale(3, &barcode, 15_500);
    assert_eq!(peer.ask(&denied).code(), "51");
    assert_eq!(peer.ask(&denied.with(&[(48, "R91011")]).as_type("0220")).code(), "00");
    let told = inquire(&mut client, &denied);
    assert_eq!((&told["decision"], &told["captured_amount"]), (&"approved".into(), &15_500.into()), "{told}");
    assert!(clerk(&told).contains("complete"), "{told}");
    assert_eq!(peer.ask(&denied.as_type("0201")).code(), "00", "it was sold");
    for (stan, of) in [(4, "0220"), (5, "0200")] {
        let reversal = denied.as_type(of).reversal(stan);
        assert_eq!(peer.ask(&reversal).code(), "00");
        assert_eq!(exposure(&mut client, "2002"), 0);
    }
    assert_eq!(peer.ask(&denied.as_type("0201")).get(44), "1201C1U0");
    // An advice that comes after its own reversal.
    let (_, barcode) = code(&mut client, "2003");
    let denied = sale(6, &barcode, 15_500);
    assert_eq!(peer.ask(&denied).code(), "51");
    assert_eq!(peer.ask(&denied.as_type("0220").reversal(7)).code(), "00");
    assert_eq!(peer.ask(&denied.with(&[(48, "R91011")]).as_type("0220")).code(), "00");
    assert_eq!(exposure(&mut client, "2003"), 0);
}

#[test]
fn a_hold_captured_late_is_a_sale_also_when_only_the_ledger_remembers() {
    let data = tempfile::tempdir().expect("a folder");
    let (_server, mut peer, mut client) = server(data.path());
    let holds: Vec<_> = (1..4_u32)
        .map(|n| {
            let (_, barcode) = code(&mut client, &(2_000 + n).to_string());
            let hold = sale(n, &barcode, 1_500).as_type("0100");
            assert_eq!(peer.ask(&hold).code(), "00");
            hold
        })
        .collect();
    let (_, barcode) = code(&mut client, "2004");
    let suspense = sale(10, &barcode, 45_000).with(&[(48, "R91011")]).as_type("0220");
    assert_eq!(peer.ask(&suspense).code(), "00");
    set_clock(&mut client, "2026-12-01T12:00:01+09:00");
    assert_eq!(inquire(&mut client, &holds[0])["status"], "expired");
    assert_eq!(peer.ask(&holds[0].as_type("0101")).get(44), "1201C1U0", "no goods on a dead hold");
    for (stan, hold) in (20..).zip(&holds) {
        assert_eq!(peer.ask(&capture(hold, stan, 1_500)).code(), "00");
    }
    let told = inquire(&mut client, &holds[0]);
    assert!(told["status"] == "captured" && clerk(&told).contains("complete"), "{told}");
    // All of it has left the memory, and is in the ledger.
    set_clock(&mut client, "2026-12-08T12:00:00+09:00");
    wait_until("the ledger has it", Duration::from_secs(20), || {
        client.get("ops", "/metrics").text.contains("\nsokketsu_ledger_lag_records 0\n")
    });
    let told = inquire(&mut client, &holds[0]);
    assert_eq!((&told["status"], &told["captured_amount"]), (&"captured".into(), &1_500.into()), "{told}");
    assert_eq!(peer.ask(&capture(&holds[0], 30, 1_500)).code(), "00");
    assert_eq!(exposure(&mut client, "2001"), 1_500, "told again under another number it is booked once");
    assert_eq!(peer.ask(&holds[0].reversal(31)).code(), "00");
    let path = format!(
        "/v1/authorizations/{}/refunds",
        inquire(&mut client, &holds[1])["authorization_id"].as_str().expect("an id")
    );
    let refund = client.send("register", "POST", &path, &json!({ "refund_id": "F-1", "amount": 1_500 })).json();
    assert_eq!((&refund["amount"], &refund["refundable_left"]), (&1_500.into(), &0.into()), "{refund}");
    let again = client.send("register", "POST", &path, &json!({ "refund_id": "F-1", "amount": 1_500 })).json();
    assert_eq!(again["replayed"], true, "{again}");
    let body = json!({ "merchant_id": "mrc_konbini", "order_id": holds[2].order_id() });
    let refused = client.send("register", "POST", "/v1/cancellations", &body);
    assert_eq!((refused.status, &refused.json()["reason"]), (409, &"use_refund".into()));
    let part = holds[2].reversal(33).with(&[(95, &format!("{:012}{:030}", 500, 0))]);
    assert_eq!(peer.ask(&part).code(), "00");
    for (customer, owes) in [("2001", 0), ("2002", 0), ("2003", 500)] {
        assert_eq!(exposure(&mut client, customer), owes, "{customer}");
    }
    // A sale in suspense is cleared at any age.
    let yen = |client: &mut Client| {
        let text = client.get("ops", "/metrics").text;
        text.lines().find_map(|line| line.strip_prefix("sokketsu_suspense_yen ")).expect("a metric").trim().to_owned()
    };
    assert_eq!(yen(&mut client), "45000");
    assert_eq!(peer.ask(&suspense.reversal(34)).code(), "00");
    assert_eq!(yen(&mut client), "0");
}

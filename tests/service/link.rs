//! The link itself: what is no message, who may speak, silence, haste, and the end.

use std::io::Write;
use std::time::{Duration, Instant};

use serde_json::json;

use super::iso::{Peer, Text, network, sale};
use super::server::{Client, Server};

fn server(data: &std::path::Path, environment: &[(&str, &str)]) -> (Server, Peer, Client) {
    let server = Server::sandbox_in(data, &["--iso8583", "127.0.0.1:0"], environment);
    let peer = Peer::to(server.iso8583.expect("a link"));
    let client = server.client();
    (server, peer, client)
}

fn code(client: &mut Client, customer: &str) -> String {
    let answer = client.send("wallet", "POST", "/v1/codes", &json!({ "customer_id": customer })).json();
    answer["barcode"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

fn framed(message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(message.len()).expect("short").to_be_bytes();
    [&length[..], message].concat()
}

fn said(answer: &Text) -> (&str, &str) {
    (answer.code(), answer.get(44))
}

#[test]
fn one_bad_message_is_answered_or_dropped_and_closes_nothing() {
    let data = tempfile::tempdir().expect("a folder");
    let (_server, mut peer, mut client) = server(data.path(), &[]);
    let good = sale(1, &code(&mut client, "1001"), 1_980);
    // Where the number of the message can be read, it is told what is wrong.
    let mut letters = good.frame();
    let merchant = letters.windows(3).position(|bytes| bytes == b"mrc").expect("element 42");
    letters[merchant] = 7;
    peer.stream.write_all(&letters).expect("sent");
    assert_eq!(said(&peer.hear()), ("30", "3000E042"));
    let mut letters = good.frame();
    let amount = letters.windows(12).position(|bytes| bytes == b"000000001980").expect("element 4");
    letters[amount] = b'x';
    peer.stream.write_all(&letters).expect("sent");
    let answer = peer.hear();
    assert_eq!((said(&answer), answer.get(11)), (("30", "3000E004"), "000001"));
    let mut cut = good.frame();
    cut.truncate(cut.len() - 4);
    peer.stream.write_all(&framed(&cut[2..])).expect("sent");
    assert_eq!(said(&peer.hear()), ("30", "3000E062"));
    peer.stream.write_all(&framed(&[&good.frame()[2..], b"more"].concat())).expect("sent");
    assert_eq!(said(&peer.hear()), ("30", "3000"));
    // Where it cannot, it is dropped.
    for garbage in [&b"no message at all"[..], &[0xFF; 300], b"0200\0\0\0\0\0\0\0\0", b"0210\0\0\0\0\0\0\0\0"] {
        peer.stream.write_all(&framed(garbage)).expect("sent");
    }
    for (changes, expected) in [
        (&[(62, ""), (11, "000002")][..], ("30", "3000E062")),
        (&[(4, "000000000000"), (11, "000003")], ("13", "1300E004")),
        (&[(4, "000010000000"), (11, "000004")], ("13", "1300E004")),
        (&[(3, "310000"), (11, "000005")], ("12", "1200E003")),
        (&[(42, "what ever it is"), (11, "000006")], ("30", "3000E042")),
        (&[(2, "9000999913141592657"), (11, "000007")], ("30", "3000E002")),
        (&[(49, "840"), (11, "000008")], ("12", "1202C5U0")),
        (&[(42, "mrc_giftcards  "), (11, "000009")], ("57", "5703C1U0")),
        (&[(62, "315899007924294301234567"), (11, "000010")], ("15", "1501C1U0")),
    ] {
        assert_eq!(said(&peer.ask(&good.with(changes))), expected, "{changes:?}");
    }
    assert_eq!(said(&peer.ask(&network(11, "777"))), ("12", "1200E070"));
    // The link stands, and the code was not used up.
    let paid = peer.ask(&good);
    assert_eq!((paid.code(), paid.get(38).len()), ("00", 6));
    assert_eq!(peer.ask(&good.with(&[(4, "000000001981")])).get(44), "9400", "the same id with other content");
    let metrics = client.get("ops", "/metrics").text;
    assert!(metrics.contains("sokketsu_shed_total{reason=\"link_garbage\"} 4"), "{metrics}");
    assert!(metrics.contains("sokketsu_request_seconds_count{interface=\"iso8583\",call=\"financial\"}"), "{metrics}");
}

#[test]
fn an_absurd_length_closes_its_link_and_no_other() {
    let data = tempfile::tempdir().expect("a folder");
    let (server, mut peer, _client) = server(data.path(), &[]);
    for length in [[0x20_u8, 1], [0xFF, 0xFF], *b"GE"] {
        let mut other = Peer::to(server.iso8583.expect("a link"));
        other.stream.write_all(&length).expect("sent");
        assert!(other.is_closed(), "{length:?}");
    }
    assert_eq!(peer.ask(&network(1, "301")).code(), "00");
}

#[test]
fn a_peer_that_says_no_more_still_hears() {
    let data = tempfile::tempdir().expect("a folder");
    let (_server, mut peer, mut client) = server(data.path(), &[]);
    let good = sale(1, &code(&mut client, "1001"), 100);
    // A line kept open by messages of no length.
    peer.stream.write_all(&[0, 0, 0, 0]).expect("sent");
    peer.send(&good);
    peer.stream.shutdown(std::net::Shutdown::Write).expect("a socket");
    assert_eq!(peer.hear().code(), "00");
    assert!(peer.is_closed());
}

#[test]
fn what_the_profile_does_not_have_is_answered_30_and_answers_are_not_answered() {
    let data = tempfile::tempdir().expect("a folder");
    let (_server, mut peer, mut client) = server(data.path(), &[]);
    let good = sale(1, &code(&mut client, "1001"), 100);
    for (mti, answer) in [("0202", "0210"), ("0300", "0310"), ("0520", "0530"), ("0620", "0630")] {
        let heard = peer.ask(&good.as_type(mti));
        assert_eq!((heard.mti.as_str(), said(&heard)), (answer, ("30", "3000")), "{mti}");
    }
    peer.send(&good.as_type("0230"));
    peer.send(&good.as_type("0240"));
    assert_eq!(peer.ask(&good).code(), "00");
    // A refund has a number of its own.
    let refund = good.with(&[(3, "200000"), (62, ""), (90, &good.original())]);
    assert_eq!(said(&peer.ask(&refund)), ("94", "9400"));
}

#[test]
fn many_reversals_of_long_ago_are_all_carried_out() {
    let data = tempfile::tempdir().expect("a folder");
    let server =
        Server::sandbox(data.path(), &["--iso8583", "127.0.0.1:0", "--sandbox-start", "2026-11-23T12:00:00+09:00"]);
    let (mut peer, mut client) = (Peer::to(server.iso8583.expect("a link")), server.client());
    let sales: Vec<_> = (0..200).map(|n| sale(n + 1, &code(&mut client, &(2_000 + n).to_string()), 1_000)).collect();
    for sale in &sales {
        assert_eq!(peer.ask(sale).code(), "00");
    }
    let later = client.send("ops", "POST", "/sandbox/clock", &json!({"now": "2026-11-27T12:00:00+09:00"}));
    assert_eq!(later.status, 200);
    // All at once: more than are looked up at a time. Who is told 91 says it again.
    let mut left: Vec<_> = (1_000..).zip(&sales).map(|(stan, sale)| sale.reversal(stan)).collect();
    for _ in 0..20 {
        left.iter().for_each(|reversal| peer.send(reversal));
        let answers: Vec<_> = left.iter().map(|_| peer.hear()).collect();
        left.retain(|one| answers.iter().any(|answer| answer.get(11) == one.get(11) && answer.code() == "91"));
        if left.is_empty() {
            break;
        }
    }
    assert!(left.is_empty(), "{} are not acknowledged", left.len());
    for (n, sale) in sales.iter().enumerate() {
        let standing = client.get("office", &format!("/v1/customers/{}", 2_000 + n)).json();
        assert_eq!(standing["exposure"]["total"], 0, "customer {}", 2_000 + n);
        let path = format!("/v1/authorizations?merchant_id=mrc_konbini&order_id={}", sale.order_id());
        assert_eq!(client.get("register", &path).json()["status"], "refunded", "readable at once");
    }
}

#[test]
fn messages_may_come_in_pieces_and_many_in_one() {
    let data = tempfile::tempdir().expect("a folder");
    let (_server, mut peer, mut client) = server(data.path(), &[]);
    let frame = sale(1, &code(&mut client, "1001"), 100).frame();
    for byte in &frame {
        peer.stream.write_all(&[*byte]).expect("sent");
    }
    assert_eq!(peer.hear().code(), "00");
    let many: Vec<u8> = (1..=500).flat_map(|stan| network(stan, "301").frame()).collect();
    peer.stream.write_all(&many).expect("sent");
    let mut heard: Vec<_> = (1..=500).map(|_| peer.hear().get(11).to_owned()).collect();
    heard.sort();
    assert!(heard.iter().enumerate().all(|(at, stan)| *stan == format!("{:06}", at + 1)), "each once");
}

#[test]
fn a_link_that_wants_a_sign_on_gets_one() {
    let data = tempfile::tempdir().expect("a folder");
    let (_server, mut peer, mut client) = server(data.path(), &[("SOKKETSU_ISO8583__REQUIRE_SIGN_ON", "true")]);
    let good = sale(1, &code(&mut client, "1001"), 100);
    assert_eq!(said(&peer.ask(&good)), ("91", "9104"));
    assert_eq!(peer.ask(&network(2, "301")).code(), "00", "an echo needs none");
    assert_eq!(peer.ask(&network(3, "001")).code(), "00");
    assert_eq!(peer.ask(&good).code(), "00", "91 was no decision");
    assert_eq!(peer.ask(&network(4, "002")).code(), "00");
    assert_eq!(said(&peer.ask(&good.as_type("0201"))), ("91", "9104"));
}

#[test]
fn acquirers_speak_for_their_own_shops() {
    let data = tempfile::tempdir().expect("a folder");
    let acquirer = [
        ("SOKKETSU_ACQUIRER__0__ID", "353001"),
        ("SOKKETSU_ACQUIRER__0__MERCHANTS", r#"["mrc_konbini"]"#),
        ("SOKKETSU_ACQUIRER__0__MERCHANT_IDS", r#"{ "JPM000000001234" = "mrc_konbini" }"#),
        ("SOKKETSU_ACQUIRER__1__ID", "353002"),
        ("SOKKETSU_ACQUIRER__1__MERCHANTS", "*"),
        ("SOKKETSU_ACQUIRER__1__MAY_REFUND", "true"),
    ];
    let (_server, mut peer, mut client) = server(data.path(), &acquirer);
    let good = sale(1, &code(&mut client, "1001"), 100);
    assert_eq!(said(&peer.ask(&good.with(&[(42, "mrc_electronics")]))), ("58", "5800E042"));
    assert_eq!(said(&peer.ask(&good.with(&[(32, "353003")]))), ("58", "5800E032"));
    assert_eq!(said(&peer.ask(&good.with(&[(42, "JPM000000001234")]))), ("00", ""));
    assert_eq!(said(&peer.ask(&good)), ("00", ""), "both names are the same shop's");
    let refund = good.with(&[(3, "200000"), (11, "000002"), (62, ""), (90, &good.original())]);
    assert_eq!(said(&peer.ask(&refund)), ("58", "5800E003"), "it was not granted refunds");
    let other = refund.with(&[(32, "353002"), (42, "mrc_electronics")]);
    assert_eq!(said(&peer.ask(&other)), ("30", "3000E090"), "another acquirer's sale is not its own to undo");
    let unknown = good.with(&[(32, "353002")]).original();
    assert_eq!(said(&peer.ask(&other.with(&[(90, &unknown)]))), ("25", "2551"), "no such sale at its shops");
    let theirs = sale(3, &code(&mut client, "2001"), 100).with(&[(32, "353002"), (42, "mrc_electronics")]);
    assert_eq!(peer.ask(&theirs).code(), "00");
    let refund = refund.with(&[(32, "353002"), (42, "mrc_electronics"), (90, &theirs.original()), (48, "R9203T01")]);
    assert_eq!(
        (peer.ask(&refund).code(), client.get("office", "/v1/customers/2001").json()["exposure"]["total"].clone()),
        ("00", json!(0))
    );
}

#[test]
fn too_many_bad_codes_are_answered_91_and_known_orders_still() {
    let data = tempfile::tempdir().expect("a folder");
    let (_server, mut peer, mut client) = server(data.path(), &[]);
    let good = sale(1, &code(&mut client, "1001"), 100);
    assert_eq!(peer.ask(&good).code(), "00");
    for stan in 2..7 {
        assert_eq!(peer.ask(&sale(stan, "900099991", 100)).get(44), "1401C2U1");
    }
    assert_eq!(said(&peer.ask(&sale(7, "900099991", 100))), ("91", "9103"));
    assert_eq!(peer.ask(&sale(6, "900099991", 100).as_type("0201")).get(44), "1401C2U1");
    assert_eq!(peer.ask(&good.as_type("0201")).code(), "00");
    assert_eq!(peer.ask(&good.reversal(8)).code(), "00");
    // Its other terminals go on, until all of them together sent too many.
    for stan in 9..54 {
        let at = format!("K{stan:07}");
        assert_eq!(peer.ask(&sale(stan, "900099991", 100).with(&[(41, &at)])).get(44), "1401C2U1", "{stan}");
    }
    assert_eq!(said(&peer.ask(&sale(54, "900099991", 100).with(&[(41, "K9999999")]))), ("91", "9105"));
}

/// 19 digits of the prefix for them: generation 1, this handle, and the check digit.
fn bare(handle: u32) -> String {
    let body = format!("900088881{handle:09}");
    let doubled = |digit: u32| if digit > 4 { 2 * digit - 9 } else { 2 * digit };
    let digits = body.chars().rev().map(|c| c.to_digit(10).expect("a digit"));
    let sum: u32 = digits.enumerate().map(|(at, digit)| if at % 2 == 0 { doubled(digit) } else { digit }).sum();
    format!("{body}{}", (10 - sum % 10) % 10)
}

#[test]
fn who_guesses_and_hangs_up_is_counted_too() {
    let data = tempfile::tempdir().expect("a folder");
    let issuers = r#"[{ prefix = "90009999", form = "l24" }, { prefix = "90008888", form = "tok19" }]"#;
    let (server, mut peer, mut client) = server(data.path(), &[("SOKKETSU_ISSUER", issuers)]);
    for stan in 1..=2 {
        let guess = sale(stan, &bare(stan), 100);
        let mut other = Peer::to(server.iso8583.expect("a link"));
        // Gone at once, with a reset.
        socket2::SockRef::from(&other.stream).set_linger(Some(Duration::ZERO)).expect("a socket");
        other.send(&guess);
        drop(other);
        let path = format!("/v1/authorizations?merchant_id=mrc_konbini&order_id={}", guess.order_id());
        let judged = (0..500).map(|_| client.get("register", &path)).find(|answer| answer.status == 200);
        assert_eq!(judged.expect("it was judged").json()["reason"], "code_invalid");
    }
    assert_eq!(said(&peer.ask(&sale(3, &bare(3), 100))), ("91", "9103"));
}

/// How often each stage of a decision was counted, and for how long in all.
fn stages(client: &mut Client) -> [(u64, f64); 6] {
    let page = client.get("ops", "/metrics").text;
    ["parse", "verify", "queue", "decide", "journal", "answer"].map(|stage| {
        let of = |what: &str| {
            let name = format!("sokketsu_stage_seconds_{what}{{stage=\"{stage}\"}} ");
            page.lines().find_map(|line| line.strip_prefix(&name)).unwrap_or("0").to_owned()
        };
        (of("count").parse().expect("a count"), of("sum").parse().expect("seconds"))
    })
}

#[test]
fn a_decision_by_the_link_counts_its_stages_as_one_over_http_does() {
    let data = tempfile::tempdir().expect("a folder");
    let noon = ["--iso8583", "127.0.0.1:0", "--sandbox-start", "2026-11-23T12:00:00+09:00"];
    let server = Server::sandbox(data.path(), &noon);
    let (mut peer, mut client) = (Peer::to(server.iso8583.expect("a link")), server.client());
    let count = |client: &mut Client| stages(client).map(|(count, _)| count);
    let shown = code(&mut client, "1001");
    let good = sale(1, &shown, 100);
    let began = Instant::now();
    assert_eq!(peer.ask(&good).code(), "00");
    let (at_most, after_one) = (began.elapsed().as_secs_f64(), stages(&mut client));
    let took: f64 = after_one.iter().map(|(_, seconds)| seconds).sum();
    assert!(after_one.iter().all(|(count, _)| *count == 1) && took > 0.0 && took <= at_most, "{after_one:?}");
    let order = json!({"order_id": "H-1", "code": shown, "amount": 100, "merchant": {"id": "mrc_konbini"}});
    let denied = client.send("register", "POST", "/v1/authorizations", &order).json();
    assert_eq!((&denied["reason"], count(&mut client)), (&json!("code_used"), [2; 6]));
    // Neither is a decision.
    assert_eq!(peer.ask(&good.with(&[(4, "000000000101")])).get(44), "9400");
    assert_eq!(peer.ask(&good.reversal(2)).code(), "00");
    assert_eq!(count(&mut client), [2; 6]);
    // The record of an old barcode is looked up first: two questions, one decision.
    let later = client.send("ops", "POST", "/sandbox/clock", &json!({"now": "2026-11-23T12:25:00+09:00"}));
    assert_eq!(later.status, 200);
    assert_eq!((peer.ask(&sale(3, &shown, 100)).code(), count(&mut client)), ("54", [3; 6]));
}

#[test]
fn a_silent_peer_is_asked_and_a_dead_one_let_go() {
    let data = tempfile::tempdir().expect("a folder");
    let haste = [("SOKKETSU_ISO8583__IDLE", "300ms"), ("SOKKETSU_ISO8583__PATIENCE", "1s")];
    let (server, mut peer, _client) = server(data.path(), &haste);
    let began = Instant::now();
    for _ in 0..2 {
        let asked = peer.hear();
        assert_eq!((asked.mti.as_str(), asked.get(70)), ("0800", "301"));
        peer.send(&asked.with(&[(39, "00")]).as_type("0810"));
    }
    let asked = peer.hear();
    assert_eq!(asked.get(70), "301");
    assert!(peer.is_closed(), "nobody answered");
    assert!(began.elapsed() > Duration::from_millis(1_500), "{:?}", began.elapsed());
    // Half a message is no sign of life.
    let mut slow = Peer::to(server.iso8583.expect("a link"));
    let begun = Instant::now();
    slow.stream.write_all(&[0, 100, b'0']).expect("sent");
    assert!(slow.is_closed() || slow.is_closed(), "at most an echo comes before");
    assert!(begun.elapsed() < Duration::from_secs(5));
    let metrics = server.client().get("ops", "/metrics").text;
    assert!(metrics.contains("sokketsu_shed_total{reason=\"link_silent\"} 1"), "{metrics}");
    assert!(metrics.contains("sokketsu_shed_total{reason=\"link_stuck\"} 1"), "{metrics}");
}

#[test]
fn a_message_in_two_pieces_after_a_long_silence_is_whole() {
    let data = tempfile::tempdir().expect("a folder");
    let (_server, mut peer, _client) = server(data.path(), &[("SOKKETSU_ISO8583__PATIENCE", "600ms")]);
    assert_eq!(peer.ask(&network(1, "301")).code(), "00");
    silence(Duration::from_millis(1_200));
    let frame = network(2, "301").frame();
    let (first, rest) = frame.split_at(20);
    peer.stream.write_all(first).expect("sent");
    silence(Duration::from_millis(350));
    peer.stream.write_all(rest).expect("sent");
    assert_eq!(peer.hear().code(), "00");
}

#[expect(clippy::disallowed_methods, reason = "the thing itself: a line on which nothing is said for a while")]
fn silence(time: Duration) {
    std::thread::sleep(time);
}

#[test]
fn a_full_link_answers_91_to_sales_and_still_hears_reversals() {
    let data = tempfile::tempdir().expect("a folder");
    let (server, mut peer, mut client) = server(data.path(), &[("SOKKETSU_ISO8583__MAX_IN_FLIGHT", "8")]);
    let codes: Vec<_> = (0..40).map(|n| code(&mut client, &(2_000 + n).to_string())).collect();
    // The server stands still while everything is sent: nothing is answered before all has come.
    server.signal("STOP");
    let sales: Vec<_> = (1..).zip(&codes).map(|(stan, code)| sale(stan, code, 100)).collect();
    for sale in &sales {
        peer.send(sale);
    }
    let late = sale(900, &codes[39], 100);
    peer.send(&late.reversal(901));
    server.signal("CONT");
    let mut codes: Vec<_> = (0..41)
        .map(|_| peer.hear())
        .map(|answer| (answer.mti.clone(), said(&answer).0.to_owned(), answer.get(44).to_owned()))
        .collect();
    codes.sort();
    codes.dedup();
    let expect = |mti: &str, code: &str, details: &str| (mti.to_owned(), code.to_owned(), details.to_owned());
    assert_eq!(codes, [expect("0210", "00", ""), expect("0210", "91", "9101"), expect("0430", "00", "")]);
    // 91 was no decision: all of them can still be paid.
    for sale in &sales {
        assert_eq!(peer.ask(&sale.as_type("0201")).code(), "00");
    }
}

#[test]
fn a_stop_signs_off_finishes_and_closes() {
    let data = tempfile::tempdir().expect("a folder");
    let (mut server, mut peer, mut client) = server(data.path(), &[]);
    let codes: Vec<_> = (0..50).map(|n| code(&mut client, &(2_000 + n).to_string())).collect();
    assert_eq!(peer.ask(&network(1, "001")).code(), "00");
    let mut quiet = Peer::to(server.iso8583.expect("a link"));
    for (stan, code) in (2..).zip(&codes) {
        peer.send(&sale(stan, code, 100));
    }
    let first = peer.hear();
    server.signal("TERM");
    let mut heard = vec![first];
    let mut signed_off = false;
    while heard.len() < 50 || !signed_off {
        let message = peer.hear();
        if message.mti == "0800" {
            assert_eq!(message.get(70), "002");
            signed_off = true;
        } else {
            heard.push(message);
        }
    }
    assert!(heard.iter().all(|answer| answer.mti == "0210" && ["00", "91"].contains(&answer.code())), "{heard:?}");
    // Who asks now is told to come again.
    peer.send(&sale(900, &codes[0], 100));
    assert_eq!(said(&peer.hear()), ("91", "9102"));
    assert!(peer.is_closed() && quiet.is_closed(), "who had not signed on is not told, and closed too");
    assert!(server.wait(Duration::from_secs(5)).success());
    server.start_again();
    let approved = heard.iter().filter(|answer| answer.code() == "00").count();
    let (mut peer, mut again) = (Peer::to(server.iso8583.expect("a link")), 0);
    for (stan, code) in (2..).zip(&codes) {
        again += usize::from(peer.ask(&sale(stan, code, 100).as_type("0201")).code() == "00");
    }
    assert!(approved <= again && again == 50, "{approved} were approved before the stop, {again} of 50 after it");
}

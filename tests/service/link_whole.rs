//! What arrived whole on a link is carried out whoever hangs up, and answered while somebody listens; what is no message
//! takes nothing with it; what an answer repeats.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::json;
use sokketsu::iso8583::frame::{Framing, LengthForm};

use super::iso::{LAYOUT, Peer, Text, network, sale};
use super::server::{Client, Server, wait_until};

const SOON: Duration = Duration::from_secs(20);

fn server(data: &std::path::Path, environment: &[(&str, &str)]) -> (Server, SocketAddr, Client) {
    let server = Server::sandbox_in(data, &["--iso8583", "127.0.0.1:0"], environment);
    let (link, client) = (server.iso8583.expect("a link"), server.client());
    (server, link, client)
}

fn code(client: &mut Client, customer: u32) -> String {
    let answer = client.send("wallet", "POST", "/v1/codes", &json!({ "customer_id": customer.to_string() })).json();
    answer["barcode"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

fn status(client: &mut Client, order: &Text) -> String {
    let path = format!("/v1/authorizations?merchant_id=mrc_konbini&order_id={}", order.order_id());
    let answer = client.get("register", &path);
    if answer.status == 200 { answer.json()["status"].as_str().expect("a status").to_owned() } else { String::new() }
}

/// A message, the order that it is about, and what that has become once it is carried out.
struct Told {
    name: &'static str,
    before: Option<Text>,
    message: Text,
    order: Text,
    becomes: &'static str,
}

/// Every message that changes something; each of a customer of its own.
fn everything(client: &mut Client, first: u32) -> Vec<Told> {
    let new = [
        ("sale", "0200", "", "captured"),
        ("repeated sale", "0201", "", "captured"),
        ("hold", "0100", "", "authorized"),
        ("repeated hold", "0101", "", "authorized"),
        ("stand-in sale", "0220", "R91011", "captured"),
        ("repeated stand-in sale", "0221", "R91011", "captured"),
        ("stand-in hold", "0120", "R91011", "authorized"),
        ("repeated stand-in hold", "0121", "R91011", "authorized"),
    ];
    let later = [
        ("capture", "0100", "0220", "000000", "captured"),
        ("repeated capture", "0100", "0221", "000000", "captured"),
        ("refund", "0200", "0200", "200000", "refunded"),
        ("repeated refund", "0200", "0201", "200000", "refunded"),
        ("reversal", "0200", "0400", "000000", "cancelled"),
        ("repeated reversal", "0200", "0401", "000000", "cancelled"),
        ("reversal advice", "0200", "0420", "000000", "cancelled"),
        ("repeated reversal advice", "0200", "0421", "000000", "cancelled"),
        ("reversal of a hold", "0100", "0400", "000000", "cancelled"),
    ];
    let mut stan = first;
    let mut next = || {
        stan += 1;
        (stan, code(client, 2_000 + stan))
    };
    let mut all = Vec::new();
    for (name, mti, private, becomes) in new {
        let (stan, code) = next();
        let message = sale(stan, &code, 500).with(&[(48, private)]).as_type(mti);
        all.push(Told { name, before: None, order: message.clone(), message, becomes });
    }
    for (name, first, mti, processing, becomes) in later {
        let (stan, code) = next();
        let order = sale(stan, &code, 500).as_type(first);
        let own = format!("{:06}", stan + 100_000);
        let message = order.with(&[(3, processing), (11, &own), (62, ""), (90, &order.original())]).as_type(mti);
        all.push(Told { name, before: Some(order.clone()), message, order, becomes });
    }
    all
}

#[test]
fn what_arrived_whole_is_carried_out_whoever_hangs_up() {
    let data = tempfile::tempdir().expect("a folder");
    let (server, link, mut client) = server(data.path(), &[]);
    let mut peer = Peer::to(link);
    for (resets, together) in [(false, false), (true, false), (false, true), (true, true)] {
        let first = 100 * (1 + u32::from(resets) + 2 * u32::from(together));
        let all = everything(&mut client, first);
        for order in all.iter().filter_map(|told| told.before.as_ref()) {
            assert_eq!(peer.ask(order).code(), "00");
        }
        server.signal("STOP");
        let mut shared = Peer::to(link);
        for told in &all {
            if together {
                shared.send(&told.message);
                continue;
            }
            let mut own = Peer::to(link);
            own.send(&told.message);
            hang_up(own, resets);
        }
        hang_up(shared, resets);
        server.signal("CONT");
        for told in &all {
            let what = format!("{} (reset: {resets}, together: {together}) {}", told.name, told.becomes);
            wait_until(&what, SOON, || status(&mut client, &told.order) == told.becomes);
        }
    }
}

fn hang_up(peer: Peer, resets: bool) {
    if resets {
        socket2::SockRef::from(&peer.stream).set_linger(Some(Duration::ZERO)).expect("a socket");
    }
    drop(peer);
}

#[test]
fn a_half_closed_link_gets_its_answers() {
    let data = tempfile::tempdir().expect("a folder");
    let (server, link, mut client) = server(data.path(), &[]);
    let all = everything(&mut client, 0);
    let mut peer = Peer::to(link);
    for order in all.iter().filter_map(|told| told.before.as_ref()) {
        assert_eq!(peer.ask(order).code(), "00");
    }
    server.signal("STOP");
    for told in &all {
        peer.send(&told.message);
    }
    peer.stream.shutdown(Shutdown::Write).expect("a socket");
    server.signal("CONT");
    let mut heard: Vec<_> = all.iter().map(|_| peer.hear()).collect();
    assert!(peer.is_closed());
    for told in &all {
        let at = heard.iter().position(|answer| answer.get(11) == told.message.get(11)).expect(told.name);
        let answer = heard.swap_remove(at);
        assert_eq!((answer.code(), answer.get(44)), ("00", ""), "{}", told.name);
        assert_eq!(status(&mut client, &told.order), told.becomes, "{}", told.name);
    }
}

/// Bytes that have arrived at the server's end of a connection and were not read yet.
fn arrived(client: &TcpStream) -> usize {
    let port = |address: std::io::Result<SocketAddr>| format!(":{:04X}", address.expect("an address").port());
    let (near, far) = (port(client.local_addr()), port(client.peer_addr()));
    let table = std::fs::read_to_string("/proc/net/tcp").expect("a table of sockets");
    let row = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let mut row = row.filter(|row| row.len() > 4 && row[1].ends_with(&far) && row[2].ends_with(&near));
    let queues = row.next().expect("the server's end")[4].split(':').nth(1).expect("two queues").to_owned();
    usize::from_str_radix(&queues, 16).expect("hexadecimal")
}

/// The first answer can't be written any more, and more than one read takes has arrived behind it.
#[test]
fn what_is_behind_a_message_whose_answer_nobody_takes_is_heard_too() {
    let data = tempfile::tempdir().expect("a folder");
    let (server, link, mut client) = server(data.path(), &[]);
    let basket = "x".repeat(990);
    let sales: Vec<_> = (1..=300).map(|n| sale(n, &code(&mut client, 2_000 + n), 500).with(&[(48, &basket)])).collect();
    // An echo is answered before anything is asked.
    let echo = network(900_000, "301").frame();
    let length = sales[0].frame().len();
    let mut other = Peer::to(link);
    assert_eq!(other.ask(&network(1, "301")).code(), "00");
    server.signal("STOP");
    let bytes = [echo.clone(), sales.iter().flat_map(Text::frame).collect()].concat();
    other.stream.set_nonblocking(true).expect("a socket");
    let mut sent = 0;
    while sent < bytes.len() {
        // In small pieces: the kernel makes more room for them.
        let piece = bytes.len().min(sent + 1_000);
        let Ok(count) = other.stream.write(&bytes[sent..piece]) else { break };
        sent += count;
    }
    let (mut before, mut looks) = (0, 0);
    wait_until("all that finds room has arrived", SOON, || {
        let now = arrived(&other.stream);
        looks = if now > 0 && before == now { looks + 1 } else { 0 };
        before = now;
        looks > 100
    });
    hang_up(other, true);
    server.signal("CONT");
    let whole = (before - echo.len()) / length;
    assert!(before > 64 * 1_024, "more than one read takes has arrived: {before}");
    for sale in &sales[..whole] {
        wait_until(sale.get(11), SOON, || status(&mut client, sale) == "captured");
    }
}

struct Framed {
    stream: TcpStream,
    framing: Framing,
}

const ROUTING: [u8; 5] = [0x60, 1, 2, 3, 4];

impl Framed {
    fn send(&mut self, content: &[u8]) {
        let bare = Framing { tpdu: false, ..self.framing };
        let mut bytes = Vec::new();
        bare.put(None, &mut bytes, content);
        self.stream.write_all(&bytes).expect("sent");
    }

    fn message(&self, text: &Text) -> Vec<u8> {
        let routing = if self.framing.tpdu { &ROUTING[..] } else { &[] };
        [routing, &text.pack(LAYOUT)].concat()
    }

    fn hear(&mut self) -> Text {
        let mut bytes = Vec::new();
        loop {
            if let Some(frame) = self.framing.next(&bytes).expect("a frame") {
                return Text::read(frame.message, LAYOUT);
            }
            let mut byte = [0];
            self.stream.read_exact(&mut byte).expect("an answer");
            bytes.push(byte[0]);
        }
    }
}

#[test]
fn what_is_too_short_for_a_message_is_dropped_and_counted() {
    let forms = [
        (LengthForm::Binary, "binary", false),
        (LengthForm::Binary, "binary", true),
        (LengthForm::Ascii, "ascii", false),
    ];
    for (length, name, tpdu) in forms {
        let data = tempfile::tempdir().expect("a folder");
        let tpdu_text = tpdu.to_string();
        let (_server, link, mut client) =
            server(data.path(), &[("SOKKETSU_ISO8583__LENGTH", name), ("SOKKETSU_ISO8583__TPDU", &tpdu_text)]);
        let framing = Framing { length, tpdu };
        let mut peer = Framed { stream: Peer::to(link).stream, framing };
        let echo = |n| network(n, "301");
        let mut garbage: Vec<Vec<u8>> = (1..20).map(|length| vec![b'0'; length]).collect();
        garbage.extend([ROUTING.to_vec(), [&ROUTING[..], b"0800"].concat()]);
        // A type that is none; a message cut before its number.
        let good = peer.message(&echo(1));
        let at = if tpdu { 5 } else { 0 };
        garbage.push([&good[..at], b"08X0", &good[at + 4..]].concat());
        garbage.push(good[..good.len() - 8].to_vec());
        for (n, content) in (10..).zip(&garbage) {
            peer.send(content);
            peer.send(&[]);
            let message = peer.message(&echo(n));
            peer.send(&message);
            assert_eq!(peer.hear().get(11), format!("{n:06}"), "{framing:?}: {content:?}");
        }
        // Cut behind its number: it can be told so, whatever its type.
        let bad = sale(500, "12345", 100);
        for (mti, answer) in [("0200", "0210"), ("0800", "0810"), ("0300", "0310")] {
            let content = peer.message(&bad.as_type(mti));
            peer.send(&content[..content.len() - 2]);
            let told = peer.hear();
            assert_eq!((told.mti.as_str(), told.get(11), told.get(44)), (answer, "000500", "3000E062"), "{framing:?}");
            assert_eq!((told.get(41), told.get(42).trim()), ("T01     ", "mrc_konbini"));
        }
        let counted = format!("sokketsu_shed_total{{reason=\"link_garbage\"}} {}\n", garbage.len());
        let metrics = client.get("ops", "/metrics").text;
        assert!(metrics.contains(&counted), "{framing:?}: {counted} {metrics}");
    }
}

/// The elements by which a switch finds the question to an answer.
const REPEATED: [u8; 6] = [7, 11, 32, 37, 41, 42];

fn assert_repeated(asked: &Text, answer: &Text, but: &[u8]) {
    for number in REPEATED.into_iter().filter(|number| !but.contains(number)) {
        assert_eq!(answer.get(number), asked.get(number), "element {number} of {answer:?} to {asked:?}");
    }
}

#[test]
fn every_answer_repeats_what_names_its_request() {
    let data = tempfile::tempdir().expect("a folder");
    let (mut server, link, mut client) = server(data.path(), &[]);
    let mut peer = Peer::to(link);
    for told in everything(&mut client, 0) {
        if let Some(before) = &told.before {
            assert_repeated(before, &peer.ask(before), &[]);
        }
        // And its repeat.
        for _ in 0..2 {
            let answer = peer.ask(&told.message);
            assert_eq!(answer.code(), "00", "{}: {answer:?}", told.name);
            assert_repeated(&told.message, &answer, &[]);
        }
    }
    let any = sale(800, "900099991", 100);
    let managed = |code: &str| any.with(&[(3, ""), (4, ""), (62, ""), (70, code)]);
    let mut odd = vec![
        any.clone(),
        any.with(&[(3, "310000")]),
        any.with(&[(3, "")]),
        any.with(&[(4, "000000000000")]),
        any.with(&[(42, "not a shop     ")]),
        any.with(&[(62, "")]),
        any.with(&[(90, &"0".repeat(42))]).as_type("0400"),
        any.as_type("0220"),
        any.as_type("0120"),
    ];
    odd.extend(["0202", "0300", "0302", "0500", "0520", "0600", "0620", "0102", "0402"].map(|mti| any.as_type(mti)));
    odd.extend(["001", "301", "002", "777"].map(managed));
    odd.extend(["001", "301", "777"].map(|code| managed(code).as_type("0801")));
    odd.push(managed("").with(&[(70, "")]).as_type("0800"));
    for request in &odd {
        assert_repeated(request, &peer.ask(request), &[]);
    }
    // Elements in front of what can't be read.
    for wrong in [3, 41, 42_u8] {
        let mut frame = any.frame();
        let value = any.get(wrong).to_owned();
        let at = frame.windows(value.len()).rposition(|window| window == value.as_bytes()).expect("the element");
        frame[at] = 7;
        peer.stream.write_all(&frame).expect("sent");
        assert_repeated(&any, &peer.hear(), &[wrong]);
    }
    peer.stream.write_all(&network(1, "001").frame()).expect("sent");
    assert_eq!(peer.hear().code(), "00");
    server.signal("TERM");
    let bye = peer.hear();
    assert_eq!(bye.mti, "0800");
    let late = peer.ask(&any);
    assert_eq!(late.get(44), "9102");
    assert_repeated(&any, &late, &[]);
    assert!(server.wait(SOON).success());
}

#[test]
fn refusals_before_a_sign_on_and_to_strangers_repeat_it_too() {
    let data = tempfile::tempdir().expect("a folder");
    let own = [
        ("SOKKETSU_ISO8583__REQUIRE_SIGN_ON", "true"),
        ("SOKKETSU_ACQUIRER__0__ID", "353001"),
        ("SOKKETSU_ACQUIRER__0__MERCHANTS", r#"["mrc_electronics"]"#),
    ];
    let (_server, link, mut client) = server(data.path(), &own);
    let mut peer = Peer::to(link);
    let any = sale(800, &code(&mut client, 2_001), 100);
    let mut ask = |request: &Text, details: &str| {
        let answer = peer.ask(request);
        assert_eq!(answer.get(44), details, "{answer:?}");
        assert_repeated(request, &answer, &[]);
    };
    ask(&any, "9104");
    ask(&any.with(&[(3, ""), (4, ""), (62, ""), (70, "001")]).as_type("0800"), "");
    ask(&any, "5800E042");
    ask(&any.with(&[(32, "353009")]), "5800E032");
}

#[test]
fn element_90_that_can_name_nothing_is_told_so() {
    let data = tempfile::tempdir().expect("a folder");
    let (_server, link, mut client) = server(data.path(), &[]);
    let mut peer = Peer::to(link);
    let good = sale(1, &code(&mut client, 2_001), 100);
    assert_eq!(peer.ask(&good).code(), "00");
    let (stan, sent) = (good.get(11), good.get(7));
    let tail = format!("{:0>11}{:0>11}", good.get(32), "");
    let named = |mti: &str| format!("{mti}{stan}{sent}{tail}");
    let mut nothing = vec!["0".repeat(42), "9".repeat(42), format!("{}{mti}", named(""), mti = "0200")];
    nothing.push(format!("0200{sent}{stan}{tail}"));
    nothing.push(format!("0200{stan}0000000000{tail}"));
    // Neither has any calendar these days.
    for time in ["1332256199", "0231000000", "0230235959", "0431120000", "1131120000"] {
        nothing.push(format!("0200{stan}{time}{tail}"));
    }
    nothing.push(format!("0200000000{sent}{tail}"));
    nothing.push(format!("0200{tail}{stan}{sent}"));
    nothing.extend(["0000", "0210", "0400", "0420", "0800", "1200", "2000", "0202"].map(named));
    let code = code(&mut client, 2_002);
    let forms = [
        ("0400", "000000", ""),
        ("0401", "000000", ""),
        ("0420", "000000", ""),
        ("0421", "000000", ""),
        ("0420", "200000", ""),
        ("0200", "200000", ""),
        ("0201", "200000", ""),
        ("0220", "000000", ""),
        ("0221", "000000", ""),
        ("0220", "000000", "R91011"),
        ("0120", "000000", "R91011"),
    ];
    for (n, (mti, processing, private)) in (100..).zip(forms) {
        for original in &nothing {
            let own = format!("{n:06}");
            let scan = if private.is_empty() { "" } else { code.as_str() };
            let changes = [(3, processing), (11, &own), (48, private), (62, scan), (90, original)];
            let answer = peer.ask(&good.with(&changes).as_type(mti));
            assert_eq!((answer.code(), answer.get(44)), ("30", "3000E090"), "{mti} {processing} {original}");
        }
        // What is no digits can't even be read.
        let mut frame = good.with(&[(3, processing), (62, ""), (90, &named("0200"))]).as_type(mti).frame();
        let at = frame.len() - 20;
        frame[at] = b'x';
        peer.stream.write_all(&frame).expect("sent");
        assert_eq!(peer.hear().get(44), "3000E090", "{mti}");
    }
    assert_eq!(status(&mut client, &good), "captured");
    let reversal = good.with(&[(11, "000200"), (62, ""), (90, &good.original())]).as_type("0400");
    assert_eq!(peer.ask(&reversal).code(), "00", "what names it takes it back");
    assert_eq!(status(&mut client, &good), "cancelled");
    let leap = sale(201, &code, 100).with(&[(7, "0229235959")]);
    let reversal = leap.with(&[(11, "000202"), (62, ""), (90, &leap.original())]).as_type("0420");
    assert_eq!(peer.ask(&reversal).code(), "00", "it may still come, in a leap year");
    assert_eq!(peer.ask(&leap).get(44), "1201C1U0", "and is denied then");
    // A network whose element 7 is no time, or whose numbers begin at 0, can still take its sale back, once that has come.
    for (at, odd) in [(7, "0000000017"), (7, "0231000017"), (11, "000000")] {
        let code = self::code(&mut client, 2_003);
        let odd = sale(300, &code, 100).with(&[(at, odd)]);
        let reversal = odd.with(&[(11, "000301"), (62, ""), (90, &odd.original())]).as_type("0420");
        assert_eq!(peer.ask(&reversal).get(44), "3000E090", "nothing has such a name yet");
        assert_eq!(peer.ask(&odd).code(), "00");
        assert_eq!(peer.ask(&reversal).code(), "00");
        assert_eq!(status(&mut client, &odd), "cancelled");
    }
}

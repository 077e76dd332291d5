//! Mutated messages against the real binary: none crashes it, closes a link, or leaves memory behind. The long run:
//! `cargo test --release --test service ten_million -- --ignored --nocapture`.

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;

use super::iso::{Text, network, sale};
use super::server::{Client, Server};

/// Messages between two echo tests, whose answer shows that all before it were read.
const BLOCK: usize = 1_000;
/// Every well-formed reversal of something unknown leaves a tombstone, bytes, for 48 h.
const TOMBSTONE: u64 = 600;

fn resident_bytes(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("our own child");
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().expect("a number") * 1_024
}

/// One to eight bytes changed, cut or added; the length header fits.
fn mutate(good: &[u8], random: &mut StdRng, out: &mut Vec<u8>) {
    let mut message = good.to_vec();
    for _ in 0..random.random_range(1..=8) {
        let at = random.random_range(0..message.len());
        match random.random_range(0..4) {
            0 => message[at] = random.random(),
            1 => message[at] ^= 1 << random.random_range(0..8),
            2 if message.len() > 12 => drop(message.remove(at)),
            _ => message.insert(at, random.random()),
        }
    }
    message.resize(message.len().max(12), b'0');
    out.extend_from_slice(&u16::try_from(message.len()).expect("short").to_be_bytes());
    out.extend_from_slice(&message);
}

/// Reads answers until that of the echo test; how many came before it.
fn read_until_echo(stream: &mut BufReader<TcpStream>, stan: &str) -> usize {
    let mut count = 0;
    let mut bytes = Vec::new();
    loop {
        let mut length = [0; 2];
        stream.read_exact(&mut length).expect("the link is open");
        bytes.resize(usize::from(u16::from_be_bytes(length)), 0);
        stream.read_exact(&mut bytes).expect("a whole answer");
        let answer = Text::read(&bytes, super::iso::LAYOUT);
        if answer.mti == "0810" && answer.get(11) == stan && answer.get(70) == "301" {
            return count;
        }
        count += 1;
    }
}

#[test]
fn mutated_messages_do_no_harm() {
    send_mutated(200_000);
}

#[test]
#[ignore = "takes minutes"]
fn ten_million_mutated_messages_do_no_harm() {
    send_mutated(10_000_000);
}

/// Orders in memory, by the metrics.
fn orders(client: &mut Client) -> u64 {
    let text = client.get("ops", "/metrics").text;
    let line = text.lines().find_map(|line| line.strip_prefix("sokketsu_orders "));
    line.and_then(|value| value.trim().parse().ok()).expect("a metric")
}

fn send_mutated(count: usize) {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::sandbox(data.path(), &["--iso8583", "127.0.0.1:0"]);
    let mut client = server.client();
    let code = client.send("wallet", "POST", "/v1/codes", &json!({ "customer_id": "1001" })).json();
    let bought = sale(1, code["barcode"].as_str().expect("a barcode"), 100);
    let by_qr = sale(2, code["qr"].as_str().expect("a QR"), 100);
    let refund = bought.with(&[(3, "200000"), (11, "000003"), (62, ""), (90, &bought.original())]);
    let capture = bought.with(&[(11, "000004"), (90, &bought.original())]).as_type("0220");
    let advice = bought.with(&[(11, "000005"), (48, "R91011")]).as_type("0120");
    let part = bought.reversal(6).with(&[(95, "000000000050000000000000000000000000000000")]);
    let all = [
        &bought,
        &by_qr,
        &bought.as_type("0100"),
        &refund,
        &capture,
        &advice,
        &part,
        &bought.reversal(7),
        &network(8, "001"),
    ];
    let good: Vec<_> = all.iter().map(|text| text.pack(super::iso::LAYOUT)).collect();
    let stream = TcpStream::connect(server.iso8583.expect("a link")).expect("the link listens");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
    let mut writer = stream.try_clone().expect("a socket");
    let mut reader = BufReader::new(stream);
    let mut random = StdRng::seed_from_u64(8_583);
    let (mut out, mut answered, mut before) = (Vec::new(), 0, 0);
    let mut records = 0;
    for block in 0..count / BLOCK {
        out.clear();
        for _ in 0..BLOCK {
            let which = random.random_range(0..good.len());
            mutate(&good[which], &mut random, &mut out);
        }
        let echo = network(900_000, "301").with(&[(7, &format!("{:010}", block % 10_000_000))]);
        out.extend_from_slice(&echo.frame());
        writer.write_all(&out).expect("the link takes it");
        answered += read_until_echo(&mut reader, "900000");
        if block == count / BLOCK / 10 {
            (before, records) = (resident_bytes(server.pid()), orders(&mut client));
        }
    }
    let after = resident_bytes(server.pid());
    let more = orders(&mut client) - records;
    eprintln!(
        "{count} mutated messages, {answered} answered; {} MiB, before {} MiB, {more} orders more",
        after >> 20,
        before >> 20
    );
    assert!(after < before + (48 << 20) + more * TOMBSTONE, "{before} bytes became {after}, with {more} orders more");
    assert!(answered > count / 10, "most are read far enough to be answered: {answered}");
}

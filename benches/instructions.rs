//! Instructions of the steps of one request, counted by valgrind's callgrind: a number that a busy machine does not
//! change. They are compared with `benches/instructions.toml`, and more than [`TOLERANCE`] above it fails.
//!
//! `cargo bench --bench instructions`, with `BLESS=1` to write the file anew, with `-- JSON` to take only what has that
//! in its name. It needs valgrind (`apt-get install valgrind`) and takes half a minute.
//!
//! Each step runs in a process of its own, this binary again, which calls it [`TIMES`] times inside [`counted`];
//! callgrind looks at nothing else. Valgrind's processor has AVX2 and no SHA instructions, so hashing weighs more here than in
//! service.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test or a bench stops at the first surprise")]
#![allow(clippy::print_stdout, reason = "it is what a bench is for")]

mod sample;
mod shop;

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use sokketsu::code::{Form, Issuers, Keyring, barcode, mint, qr, read};
use sokketsu::domain::commands::reply::Reply;
use sokketsu::domain::commands::request::Request;
use sokketsu::domain::model::denial::Reason;
use sokketsu::domain::model::ids::{Handle, Lsn};
use sokketsu::domain::model::money::Yen;
use sokketsu::domain::model::order::OrderState;
use sokketsu::domain::model::request::Authorize;
use sokketsu::domain::model::time::Millis;
use sokketsu::engine::board::Board;
use sokketsu::engine::group::Group;
use sokketsu::engine::owner::Owner;
use sokketsu::http::steps;
use sokketsu::journal::{codec, record};

use sample::{BODY, HEAD, approval, decided_within, minted, scanned};
use shop::{START, purchase, with_codes};

/// As in the product.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Percent by which a count may be above the file's. The same binary counts the same within 0.5 %.
const TOLERANCE: u64 = 5;
/// Calls counted in one process.
const TIMES: u32 = 256;
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.toml");

const STEPS: &[(&str, fn())] = &[
    ("engine: an approval", || judge(Sale::Approved)),
    ("engine: a denial", || judge(Sale::TooMuch)),
    ("engine: a replay", || judge(Sale::Again)),
    ("code: mint both forms", mint_a_code),
    ("code: verify a barcode", || verify(|minted| &minted.barcode)),
    ("code: verify a QR", || verify(|minted| &minted.qr)),
    ("code: barcode.svg", || draw(|minted| barcode::svg(&minted.barcode, 561))),
    ("code: qr.svg", || draw(|minted| qr::svg(&minted.qr, 360))),
    ("edge: watch a request", watch),
    ("edge: JSON in", || repeat(|| steps::read_authorization(black_box(BODY.as_bytes()), scanned).unwrap())),
    ("edge: JSON out", json_out),
    ("edge: Server-Timing", server_timing),
    ("journal: encode an event", encode),
    ("journal: decode an event", decode),
    ("journal: encode a record", encode_record),
];

/// What callgrind counts. Never inlined, so that it can be told its name, and no tail call, so that it has an end.
#[inline(never)]
fn counted(work: &mut dyn FnMut()) {
    work();
    black_box(());
}

/// Calls a step as often uncounted, so that what is made once is made, and then counted.
fn repeat<T>(mut step: impl FnMut() -> T) {
    let mut round = || (0..TIMES).for_each(|_| drop(black_box(step())));
    round();
    counted(&mut round);
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sale {
    Approved,
    TooMuch,
    Again,
}

/// Judged, applied, put into the group's bytes and answered.
fn judge(sale: Sale) {
    let (board, posted) = (Arc::new(Board::default()), Arc::new(AtomicU64::new(0)));
    let mut owner = Owner::new(with_codes(2 * TIMES), [7; 32], board, posted);
    let amount = Yen::new(if sale == Sale::TooMuch { 15_001 } else { 1_980 });
    let request = |n| {
        let input = Arc::new(Authorize { amount, ..purchase(n, n) });
        Request::Authorize { input, throttled: false, sealed_by: Some(1) }
    };
    let requests: Vec<_> = (0..2 * TIMES).map(request).collect();
    let (first, second) = requests.split_at(requests.len() / 2);
    let mut group = Group::default();
    let mut take = |requests: &[Request], count: bool| {
        group.clear();
        owner.begin(Millis(START + 1_000), &mut group);
        let mut work = || requests.iter().for_each(|request| owner.take(request, &mut group));
        if count { counted(&mut work) } else { work() }
    };
    take(first, false);
    take(if sale == Sale::Again { first } else { second }, true);
    let denied = OrderState::Denied(Reason::OverInStoreLimit);
    let as_meant = |reply: &Reply| {
        let Reply::Decision { order, replayed } = reply else { return false };
        (order.state == denied) == (sale == Sale::TooMuch) && *replayed == (sale == Sale::Again)
    };
    assert!(group.replies.len() == first.len() && group.replies.iter().all(as_meant), "judged as meant");
}

fn mint_a_code() {
    let (keys, issuers) = (Keyring::sandbox(), Issuers::sandbox());
    let (issuer, handle) = (issuers.issuer(Form::L24).unwrap(), Handle::new(314_159_265).unwrap());
    repeat(|| mint(&keys, keys.active(), &issuer, black_box(handle), START, 300, 7, 1));
}

fn verify(text: fn(&sokketsu::code::Minted) -> &str) {
    let (keys, issuers) = (Keyring::sandbox(), Issuers::sandbox());
    let minted = minted(&keys, &issuers);
    repeat(|| read(black_box(text(&minted)), &issuers, &keys, START + 5_000));
}

fn draw(picture: fn(&sokketsu::code::Minted) -> Option<String>) {
    let minted = minted(&Keyring::sandbox(), &Issuers::sandbox());
    repeat(|| picture(black_box(&minted)).unwrap());
}

/// Head and body, read at once.
fn watch() {
    let request = format!("{HEAD}{BODY}");
    let reads = vec![request.as_bytes(); usize::try_from(TIMES).unwrap()];
    counted(&mut || assert_eq!(steps::watch(black_box(&reads).iter().copied()), 0));
}

fn json_out() {
    let (_, told) = approval();
    repeat(|| steps::write_decision(black_box(&told), false, Millis(START + 1_000)).unwrap());
}

fn server_timing() {
    let times = decided_within(Instant::now(), Duration::from_micros(3), Duration::from_micros(1));
    repeat(|| steps::write_timing(black_box(&times), Instant::now()).unwrap());
}

fn encode() {
    let ((event, _), mut bytes) = (approval(), Vec::new());
    repeat(|| {
        bytes.clear();
        codec::encode(black_box(&event), &mut bytes).unwrap();
    });
}

fn decode() {
    let ((event, _), mut bytes) = (approval(), Vec::new());
    codec::encode(&event, &mut bytes).unwrap();
    repeat(|| codec::decode(black_box(&bytes)).unwrap());
}

/// Header, link and checksum around the event's bytes.
fn encode_record() {
    let ((event, _), mut payload, mut out) = (approval(), Vec::new(), Vec::new());
    codec::encode(&event, &mut payload).unwrap();
    let meta = record::Meta { lsn: Lsn(2), durable: Lsn(1), time_ms: START, prev: record::Link([1; 16]) };
    repeat(|| {
        out.clear();
        record::encode(&mut out, black_box(&meta), &payload).unwrap()
    });
}

/// Instructions of one call, by running this binary again under callgrind.
fn count(step: &str, folder: &Path) -> u64 {
    let out = folder.join("callgrind.out");
    let valgrind = Command::new("valgrind")
        .args(["--tool=callgrind", "--toggle-collect=instructions::counted*"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(std::env::current_exe().unwrap())
        .args(["--step", step])
        .output()
        .expect("valgrind starts; apt-get install valgrind");
    assert!(valgrind.status.success(), "{step}: {}", String::from_utf8_lossy(&valgrind.stderr));
    let counts = std::fs::read_to_string(&out).expect("callgrind's counts");
    let total = counts.lines().find_map(|line| line.strip_prefix("totals: ")).expect("a line of totals");
    let total: u64 = total.trim().parse().expect("one number, the instructions");
    assert!(total > 0, "{step}: callgrind did not find `counted`");
    total / u64::from(TIMES)
}

/// One line of the table; whether the count is well.
fn compare(step: &str, now: u64, before: Option<u64>) -> bool {
    let Some(before) = before else {
        println!("{step:<28} {now:>8}          new: BLESS=1 writes it down");
        return false;
    };
    // Tenths of a percent.
    let change = i128::from(now) * 1_000 / i128::from(before.max(1)) - 1_000;
    let is_more = now * 100 > before * (100 + TOLERANCE);
    let is_less = before * 100 > now * (100 + TOLERANCE);
    let verdict = if is_more {
        "MORE"
    } else if is_less {
        "less: BLESS=1 keeps it"
    } else {
        ""
    };
    let sign = if change < 0 { '-' } else { '+' };
    let (percent, tenth) = (change.abs() / 10, change.abs() % 10);
    println!("{step:<28} {now:>8} {before:>8} {sign}{percent}.{tenth} % {verdict}");
    !is_more
}

fn bless(counts: &BTreeMap<&str, u64>) {
    let mut text = "# Instructions of one call of each step, by callgrind.\n\
                    # BLESS=1 cargo bench --bench instructions writes it; a new compiler or processor asks for that.\n"
        .to_owned();
    for (step, count) in counts {
        text += &format!("\"{step}\" = {count}\n");
    }
    std::fs::write(FILE, text).expect("the file can be written");
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    if let [flag, name] = args.as_slice()
        && flag == "--step"
    {
        let (_, step) = STEPS.iter().find(|(step, _)| step == name).expect("a step of the list");
        step();
        return ExitCode::SUCCESS;
    }
    let written = std::fs::read_to_string(FILE).unwrap_or_default();
    let before: BTreeMap<String, u64> = toml::from_str(&written).expect("names and numbers");
    let folder = tempfile::tempdir().expect("a scratch folder");
    println!("{:<28} {:>8} {:>8}", "instructions a call", "now", "file");
    let (mut counts, mut well) = (BTreeMap::new(), true);
    for (step, _) in STEPS.iter().filter(|(step, _)| args.iter().all(|part| step.contains(part.as_str()))) {
        let now = count(step, folder.path());
        well &= compare(step, now, before.get(*step).copied());
        counts.insert(*step, now);
    }
    if std::env::var_os("BLESS").is_some() {
        assert_eq!(counts.len(), STEPS.len(), "only all steps together are blessed");
        bless(&counts);
        return ExitCode::SUCCESS;
    }
    if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

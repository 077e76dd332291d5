//! Customers grown along every list that a caller can lengthen, to its bound, by the release binary; then every command
//! once for each of them, while callgrind counts the instructions between a request and its answer on the owner's
//! thread. Instructions are the same on a busy machine; the wall times beside them are printed and not judged.
//!
//! `SOKKETSU_BIN=target/release/sokketsu cargo test --test service growth -- --ignored --nocapture` prints the whole
//! table. It needs valgrind, and the release build.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use super::grown::{Buyer, LISTS, List, grow, name};
use super::server::{How, Server};

/// What one call may cost everybody else, some 1 ms. It was 3 million until each part of a payment said which money it is: a
/// repayment that pays 700 invoices takes 3.07 million, in two turns of the owner, of which one only names the invoices
/// (`docs/decisions/0019-money-is-folded-by-its-day-of-value.md`).
const MOST_INSTRUCTIONS: u64 = 3_200_000;
/// Instructions of the owner's thread for a request, and for the calendar's steps.
const COUNTED: [&str; 2] = ["*Owner::take", "*Owner::calendar_step"];

type Act = fn(&mut Buyer);

/// Every command about a customer, in an order in which each finds what it is about.
const COMMANDS: &[(&str, Act)] = &[
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
    ("damages", |b| b.office("damages", json!({"posting_id": "d", "month": "2021-06", "amount": 1}))),
    ("repayment of a little", |b| b.repay("little", 1)),
    ("repayment of much", |b| b.repay("much", 700)),
    ("method", |b| b.put("wallet", "/v1/customers/{id}/payment-method", json!({"payment_method": "postcard"}))),
    ("profile", |b| b.put("office", "/v1/customers/{id}", json!({"limits": {"total": 60_000, "in_store": 50_000}}))),
    ("repayment of all", |b| b.repay("all", 59_000)),
    ("payout", |b| b.office("payouts", json!({"payout_id": "o", "amount": 1}))),
    ("void", |b| b.delete("/v1/codes/{code}")),
];

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

/// What each command took on each account, and on how many milliseconds of the wall without callgrind.
#[derive(Default)]
struct Table {
    instructions: BTreeMap<usize, Vec<(u64, String)>>,
    wall: BTreeMap<usize, Vec<(u128, String)>>,
    /// Commands that were done for somebody, and not refused.
    done: BTreeSet<usize>,
    calendar: u64,
}

/// Sends every command for every customer, and says how long each took.
fn command(server: &Server, mut sent: impl FnMut(usize, &Buyer, Duration)) {
    for (list, size) in grown() {
        let mut buyer = Buyer::new(server, &name(list, size));
        buyer.number = 1_000_000;
        for (place, (_, run)) in COMMANDS.iter().enumerate() {
            let begun = Instant::now();
            run(&mut buyer);
            sent(place, &buyer, begun.elapsed());
        }
    }
}

/// Both on the same data, which stay as they are.
fn count(data: &Path, scratch: &Path) -> Table {
    let mut table = Table::default();
    let copy = copied(data, &scratch.join("as-it-is"));
    let server = Server::start(&copy, release(&[]));
    command(&server, |place, buyer, wall| {
        table.wall.entry(place).or_default().push((wall.as_micros(), buyer.id.clone()));
    });
    drop(server);
    let copy = copied(data, &scratch.join("counted"));
    let mut through = vec!["valgrind".to_owned(), "--tool=callgrind".to_owned(), "--dump-line=no".to_owned()];
    through.push(format!("--callgrind-out-file={}", copy.join("counts").display()));
    for function in COUNTED {
        through.extend([format!("--toggle-collect={function}"), format!("--dump-after={function}")]);
    }
    let server = Server::start(&copy, How { through, ..release(&[]) });
    let mut counts = Counts { out: copy.join("counts"), read: 0 };
    command(&server, |place, buyer, _| {
        let count = counts.requests(&mut table.calendar);
        if buyer.last.status < 300 {
            table.done.insert(place);
        }
        assert!(count > 0 || buyer.last.status >= 400, "{}: nothing was counted: {:?}", buyer.id, buyer.last);
        table.instructions.entry(place).or_default().push((count, buyer.id.clone()));
    });
    table
}

fn copied(data: &Path, to: &Path) -> PathBuf {
    drop(std::fs::remove_dir_all(to));
    let status = Command::new("cp").arg("-a").args([data, to]).status().expect("cp is installed");
    assert!(status.success());
    to.to_owned()
}

fn stopped(mut server: Server) {
    server.signal("TERM");
    assert!(server.wait(Duration::from_secs(30)).success());
}

/// Each list a few below its bound, so that commands are judged and not refused for it. Invoices, which cost most, are
/// short and middling too: what length costs is seen in their columns.
fn grown() -> Vec<(&'static List, usize)> {
    let long = LISTS.iter().map(|list| (list, list.most - (list.most / 10).min(10)));
    [10, 100].into_iter().map(|size| (&LISTS[0], size)).chain(long).collect()
}

/// As it ships: a build for tests takes ten times the instructions.
fn release(options: &[&str]) -> How {
    #[expect(clippy::disallowed_methods, reason = "the test's own, not the service's")]
    let given = std::env::var("SOKKETSU_BIN").expect("SOKKETSU_BIN names the release build");
    let binary = std::fs::canonicalize(given).expect("the build is there").to_str().map(str::to_owned);
    let policy = concat!(env!("CARGO_MANIFEST_DIR"), "/config/policy.load.toml");
    let environment = vec![("SOKKETSU_POLICY__FILE".to_owned(), policy.to_owned())];
    How { binary, environment, ..How::with(options) }
}

#[expect(clippy::print_stdout, reason = "the table is to be read")]
fn show(table: &Table, when: &str) {
    println!("{when}: thousands of instructions of the owner's thread for one call, and its milliseconds");
    println!("{:<26} {:>8} {:>8} {:>8} {:>6}", "invoices:", 10, 100, "most", "ms");
    for (place, (command, _)) in COMMANDS.iter().enumerate() {
        let (counts, walls) = (&table.instructions[&place], &table.wall[&place]);
        let (most, who) = counts.iter().max().expect("a customer");
        let (wall, _) = walls.iter().max().expect("a customer");
        let [ten, hundred, most] = [counts[0].0, counts[1].0, *most].map(|count| count / 1_000);
        println!("{command:<26} {ten:>8} {hundred:>8} {most:>8} {:>6}  {who}", wall / 1_000);
    }
    println!("calendar {:>43}\n", table.calendar / 1_000);
}

fn check(table: &Table) -> Vec<String> {
    let all = table.instructions.iter().flat_map(|(place, counts)| counts.iter().map(move |count| (place, count)));
    let above = all.filter(|(_, (count, _))| *count > MOST_INSTRUCTIONS);
    above.map(|(place, (count, who))| format!("{} for {who}: {count}", COMMANDS[*place].0)).collect()
}

#[test]
#[ignore = "needs valgrind and a release build: docs/performance.md"]
fn growth_costs_no_request_more_than_a_moment() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let server = Server::start(&data, release(&["--sandbox-start", "2021-06-10T09:00:00.000+09:00"]));
    grow(&server, &grown());
    stopped(server);
    let on_the_day = count(&data, folder.path());
    show(&on_the_day, "on the day");

    let server = Server::start(&data, release(&[]));
    let body = json!({"now": "2021-08-25T09:00:00.000+09:00"});
    assert_eq!(server.client().send("ops", "POST", "/sandbox/clock", &body).status, 200);
    stopped(server);
    let late = count(&data, folder.path());
    show(&late, "ten weeks later");

    let done = &on_the_day.done | &late.done;
    let refused: Vec<_> = (0..COMMANDS.len()).filter(|place| !done.contains(place)).map(|at| COMMANDS[at].0).collect();
    assert!(refused.is_empty(), "always refused, so nothing is known of what they cost: {refused:?}");
    let above = [check(&on_the_day), check(&late)].concat();
    assert!(above.is_empty(), "above {MOST_INSTRUCTIONS} instructions: {above:#?}");
}

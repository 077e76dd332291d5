//! The network's side of the link, simulated: it signs on, sells, repeats, reverses, refunds, approves for us, loses
//! connections and damages messages; every answer is judged at once, and the books at the end.

mod books;
mod garbage;
mod line;
mod plays;
mod report;
mod stage;
mod stan;
mod story;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::books::Differences;
use books::{Audit, Books};
use line::{Account, Order};
use loadtest::crowd::Code;
use loadtest::http::{Keys, Requests, Role};
use loadtest::server::{self, Server};
use loadtest::setup::{self, Target, pause, said, settle};
use loadtest::tls::Peer;
use report::{Played, Report};
use stage::{Network, Notes, Stage};
use stan::Stans;
use story::{Deck, KINDS, deck, story};

#[derive(Args)]
pub struct Options {
    /// The server to start as a sandbox [default: the one built beside this program]
    #[arg(long, value_name = "BINARY", conflicts_with = "url")]
    serve: Option<PathBuf>,
    /// A running sandbox instead, for example http://127.0.0.1:8080
    #[arg(long, requires = "iso8583")]
    url: Option<String>,
    /// And its link to the network, for example 127.0.0.1:8583
    #[arg(long, value_name = "ADDRESS", requires = "url")]
    iso8583: Option<SocketAddr>,
    /// Its data directory, if it is on this machine: its ledger is then audited too
    #[arg(long, value_name = "DATA", requires = "url")]
    ledger: Option<PathBuf>,
    /// Length of the play
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Stories begun a second, nearly all of them sales
    #[arg(long, default_value_t = 500.0)]
    rate: f64,
    /// Connections
    #[arg(long, default_value_t = 4)]
    connections: usize,
    /// The network also approves for us, and tells us afterwards
    #[arg(long)]
    stand_in: bool,
    /// Only stories with this in their names, for example "in flight"
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    only: String,
    /// Seed of all that is random
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write the report as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// As of the other commands; this one shows no progress anyway
    #[arg(long, short)]
    quiet: bool,
}

/// Stories told at once.
const PLAYERS: usize = 64;
const MERCHANTS: usize = 8;
/// For the books to catch up.
const SETTLE: Duration = Duration::from_secs(60);
/// A quiet line of a server of our own is asked for a sign of life by then, s.
const ASKED_WITHIN: f64 = 3.0;
/// The codes of all stories are issued beforehand and live 900 s.
const LONGEST: f64 = 600.0;

impl Options {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small positive product")]
    fn stories(&self) -> Result<usize> {
        ensure!(self.seconds > 0.0 && self.seconds <= LONGEST, "--seconds: above 0, at most {LONGEST}");
        ensure!(self.rate >= 1.0 && self.rate <= 10_000.0, "--rate: 1 to 10,000");
        ensure!((1..=64).contains(&self.connections), "--connections: 1 to 64");
        ensure!(!self.deck().is_empty(), "--only {}: no story has this in its name", self.only);
        Ok((self.seconds * self.rate).ceil() as usize)
    }

    fn deck(&self) -> Deck {
        deck(self.stand_in, &self.only)
    }

    fn start(&self) -> Result<Option<Server>> {
        if self.url.is_some() {
            return Ok(None);
        }
        let options = server::Options {
            binary: self.serve.as_deref(),
            // Foreign and used codes are part of the play.
            takes_forged_codes: true,
            link: true,
            // A quiet line is asked whether it is still there.
            settings: &[("SOKKETSU_ISO8583__IDLE", "1s")],
            ..server::Options::default()
        };
        Server::start(&options).map(Some)
    }

    fn target(&self, host: Option<&Server>) -> Result<Target> {
        let key = |name: &str| format!("sandbox-{name}");
        let keys = Keys { wallet: key("wallet"), register: key("register"), office: key("office"), ops: key("ops") };
        let url = self.url.clone().or_else(|| Some(format!("http://{}", host?.http))).unwrap_or_default();
        let (http, name): (Peer, String) = loadtest::tls::Trust::default().peer(&url)?;
        Ok(Target { admin: http.clone(), http, requests: Requests::new(&name, keys, None) })
    }
}

pub fn run(options: &Options) -> Result<Report> {
    let count = options.stories()?;
    let mut host = options.start()?;
    let target = options.target(host.as_ref())?;
    // 503 until it is ready: the call is made again.
    let (status, body) =
        loadtest::bulk::once(&target.http, |out| target.requests.get(out, Role::Ops, format_args!("/readyz")))?;
    ensure!(status == 200, "not ready: {}", said(status, &body));
    let link = options.iso8583.or_else(|| host.as_ref().and_then(|host| host.link)).context("--iso8583 ADDRESS")?;
    let run = format!("s{:x}", jiff::Timestamp::now().as_second());
    let merchants: Vec<_> = (1..=MERCHANTS).map(|number| format!("{run}-{number:02}")).collect();
    setup::merchants(&target, &merchants)?;
    let codes = codes(&target, &run, count)?;
    let stans = Stans::new(options.seed);
    let mut wrong = Differences::default();
    let mut audit = Audit::default();
    let (played, accounts) = std::thread::scope(|scope| -> Result<_> {
        let (mut lines, mut ends) = (Vec::new(), Vec::new());
        for _ in 0..=options.connections {
            let (to, orders): (Sender<Order>, Receiver<Order>) = line::orders();
            let own = to.clone();
            let stans = &stans;
            ends.push(scope.spawn(move || line::serve(link, stans, own, &orders)));
            lines.push(to);
        }
        // On the last nothing is ever said: the service asks whether it is there.
        lines.last().iter().for_each(|quiet| drop(quiet.send(Order::Open)));
        let network = Network { lines, connections: options.connections, stans: &stans, link, merchants };
        let played = play(options, &network, &codes, count);
        let done = finish(options, &network, &played, &run, host.as_mut(), &target, (&mut wrong, &mut audit));
        for line in &network.lines {
            line.send(Order::End).ok();
        }
        let accounts: Vec<Account> = ends.into_iter().filter_map(|end| end.join().ok()).collect();
        done.map(|()| (played, accounts))
    })?;
    for account in &accounts {
        for text in &account.strange {
            wrong.add(|| format!("on a line: {text}"));
        }
        if account.closed_on_us > 0 {
            wrong.add(|| format!("a line was closed {} times by the service", account.closed_on_us));
        }
    }
    let asked: u64 = accounts.iter().map(|account| account.echoes_answered).sum();
    if host.is_some() && played.seconds > ASKED_WITHIN && asked == 0 {
        wrong.add(|| "the service never asked whether the quiet line is there".to_owned());
    }
    Ok(Report::new(options, played, &accounts, wrong, audit))
}

/// A customer for each story, and a code for each customer.
fn codes(target: &Target, run: &str, count: usize) -> Result<Vec<Code>> {
    let prefix = format!("{run}-");
    let mut customers = setup::customers(target, &prefix, count)?;
    setup::codes(target, &prefix, &mut customers)?;
    Ok(customers.iter().map(|customer| customer.code).collect())
}

/// All stories, each begun in its time, by as many players as there may be at once.
fn play(options: &Options, network: &Network<'_>, codes: &[Code], count: usize) -> Played {
    let deck = options.deck();
    let next = AtomicUsize::new(0);
    let began = Instant::now();
    let one = || {
        let mut notes = Notes::new();
        let mut told = BTreeMap::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return (notes, told);
            }
            let at = Duration::from_secs_f64(number as f64 / options.rate);
            if let Some(early) = at.checked_sub(began.elapsed()) {
                pause(early);
            }
            let story = story(options.seed, number, &deck);
            *told.entry(story.kind).or_insert(0) += 1;
            let code = codes.get(number).map_or("", Code::as_str);
            Stage { network, story, code, notes: &mut notes }.play();
        }
    };
    let mut notes = Notes::new();
    let mut told = BTreeMap::new();
    std::thread::scope(|scope| {
        let players: Vec<_> = (0..PLAYERS).map(|_| scope.spawn(one)).collect();
        for (theirs, kinds) in players.into_iter().filter_map(|player| player.join().ok()) {
            notes.add(theirs);
            kinds.into_iter().for_each(|(kind, count)| *told.entry(kind).or_default() += count);
        }
    });
    Played { notes, told, stories: count, seconds: began.elapsed().as_secs_f64() }
}

/// The audit, and the end of a server of our own under the eyes of its lines: the first and the quiet one are
/// still signed on.
fn finish(
    options: &Options,
    network: &Network<'_>,
    played: &Played,
    run: &str,
    host: Option<&mut Server>,
    target: &Target,
    (wrong, audit): (&mut Differences, &mut Audit),
) -> Result<()> {
    let mut last = Notes::new();
    for line in 1..network.connections {
        let story = story(options.seed, 0, &options.deck());
        Stage { network, story, code: "", notes: &mut last }.sign_off(line);
    }
    last.wrong.iter().for_each(|(_, text)| wrong.add(|| format!("at the end: {text}")));
    let mut owed = vec![0; played.stories];
    for (story, yen) in &played.notes.owed {
        if let Some(sum) = owed.get_mut(*story) {
            *sum += yen;
        }
    }
    let books = Books { run, sold: &played.notes.sold, owed: &owed };
    let told = books::over_api(target, &books, wrong, audit)?;
    for line in &network.lines {
        line.send(Order::Leave).ok();
    }
    let data: Option<&Path> = match host {
        Some(host) => {
            host.stop()?;
            Some(&host.data)
        }
        None => {
            settle(target, options.ledger.as_deref(), SETTLE)?;
            options.ledger.as_deref()
        }
    };
    data.map_or(Ok(()), |data| books::over_ledger(data, &books, &told, wrong, audit))
}

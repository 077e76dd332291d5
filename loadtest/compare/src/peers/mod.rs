//! Sokketsu beside its peers, in one run on one machine: the same decision (limit check, raise, idempotency, durable
//! record), asked by the same generator, in rounds in which each has its turn. What others do to the machine meanwhile
//! hits all of them alike, so the ratios hold where the figures do not.

mod bare;
mod daemon;
mod options;
mod play;
mod postgres;
mod redis;
mod servers;
mod shared;
mod site;
mod sokketsu;
mod table;
mod template;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use serde::Serialize;

use loadtest::clock::SECOND;
use loadtest::probe::Ticks;
use loadtest::setup::pause;
use loadtest::wire::{Answer, Framing, Numbering};

pub use options::Options;
use play::{Plan, Turn};
use shared::Shared;
pub use table::Table;

/// Everybody's limit but one's, yen.
pub const LIMIT: u64 = loadtest::crowd::LIMIT;
/// This customer has room for one purchase.
pub const POOR: u32 = 0;
pub const POOR_LIMIT: u64 = 1_500;
/// The smallest amount, yen. All have four digits, so that requests can be patterns.
const LEAST_AMOUNT: u32 = 1_000;
/// Amounts in use: a customer who comes back so soon buys another basket.
const AMOUNTS: u64 = 9_000;
/// A prime above any number of customers. Stepping by it visits all of them once, in no order that helps a cache.
const STRIDE: u64 = 2_654_435_761;
/// Decisions a second for which a first round is prepared; later ones go by what was seen.
const GUESS: f64 = 70_000.0;
/// The same of a link with many messages under way.
const GUESS_LINK: f64 = 300_000.0;
/// The same where a decision is on a standby's disk first.
const GUESS_CLUSTER: f64 = 15_000.0;
/// By how much a round may be faster than the fastest before, or chance than the rate.
const SPARE: f64 = 1.3;
/// Customers that are only there to be issued codes, as a second million would tell nothing new.
const PAIR_CUSTOMERS: u32 = 200_000;
/// Most that are under way of the peer that only commits, when it keeps to a rate.
const COMMITS_AT_ONCE: usize = 32;
/// A machine is idle below this share of its processors.
const IDLE: f64 = 0.1;

/// May this customer buy this?
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// The idempotency key.
    pub order: u64,
    pub customer: u32,
    /// Yen.
    pub amount: u32,
}

/// What an answer said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    Approved,
    Denied,
    /// The decision takes another call.
    GoOn,
}

/// What a peer has written down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Books {
    /// Yen owed by all customers.
    pub exposure: u64,
    /// Decisions.
    pub records: u64,
}

/// Somebody who decides.
pub trait Peer {
    fn address(&self) -> std::net::SocketAddr;

    fn framing(&self) -> Framing;

    /// Of a protocol whose answers come in any order.
    fn numbering(&self) -> Option<Numbering> {
        None
    }

    /// What is said first on every connection; each is answered once.
    fn hellos(&self) -> Vec<Vec<u8>> {
        Vec::new()
    }

    /// Makes ready for these to be asked, outside of the measured time.
    fn prepare(&mut self, _asks: &[Ask]) -> Result<()> {
        Ok(())
    }

    /// Number of the call that decides; those before prepare it.
    fn last_call(&self) -> u8 {
        0
    }

    /// Writes a call of a decision.
    fn write(&mut self, ask: &Ask, call: u8, out: &mut Vec<u8>);

    /// What the answer says. An error says what is wrong with it.
    fn read(&mut self, ask: &Ask, call: u8, answer: Answer<'_>) -> Result<Heard>;

    /// Makes so what is to be so during a turn only; the next [`Self::settle`] ends it.
    fn hold(&mut self) -> Result<()> {
        Ok(())
    }

    /// Finishes what a turn has left to do behind, so that the next one's is not disturbed.
    fn settle(&mut self) -> Result<()> {
        Ok(())
    }

    /// `None`: it decides nothing and keeps none.
    fn books(&mut self) -> Result<Option<Books>>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// hyper on one thread, which decides nothing: the ceiling
    Bare,
    /// The same with two workers
    Bare2,
    /// Sokketsu; the codes are issued before
    Sokketsu,
    /// Sokketsu, issuing each code and authorizing with it
    Pair,
    /// Sokketsu by ISO 8583, many under way on each of a few connections; the codes are issued before
    Link,
    /// Redis and a Lua script, appendfsync always
    RedisAlways,
    /// The same with everysec: loses up to a second
    RedisEverysec,
    /// PostgreSQL, one function call and transaction a decision
    Postgres,
    /// Sokketsu with journal and ledger on a PostgreSQL primary and two standbys; the codes are issued before
    SokketsuCluster,
    /// The same, its ledger held meanwhile, so that it posts nothing
    SokketsuAtRest,
    /// `pair` in the cluster
    PairCluster,
    /// Redis with always and a replica: each decision is one when the replica has it
    RedisReplica,
    /// `postgres` on the primary with the two standbys
    PostgresStandbys,
    /// One row and its commit there: no decision, but what the cluster itself takes for one
    Commit,
}

impl Kind {
    const fn guess(self) -> f64 {
        match self {
            Self::Link => GUESS_LINK,
            Self::SokketsuCluster | Self::SokketsuAtRest | Self::PairCluster => GUESS_CLUSTER,
            _ => GUESS,
        }
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare hyper, 1 thread",
            Self::Bare2 => "bare hyper, 2 workers",
            Self::Sokketsu => "Sokketsu",
            Self::Pair => "Sokketsu, issue + authorize",
            Self::Link => "Sokketsu by ISO 8583",
            Self::RedisAlways => "Redis + Lua, always",
            Self::RedisEverysec => "Redis + Lua, everysec",
            Self::Postgres => "PostgreSQL function",
            Self::SokketsuCluster => "Sokketsu in a cluster",
            Self::SokketsuAtRest => "Sokketsu, ledger at rest",
            Self::PairCluster => "the pair in a cluster",
            Self::RedisReplica => "Redis + Lua, replica",
            Self::PostgresStandbys => "PostgreSQL, two standbys",
            Self::Commit => "one-row commit",
        }
    }
}

/// What was answered so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub approved: u64,
    pub denied: u64,
    /// Yen of the approvals.
    pub yen: u64,
}

impl Tally {
    pub fn add(&mut self, other: Self) {
        self.approved += other.approved;
        self.denied += other.denied;
        self.yen += other.yen;
    }

    const fn books(self) -> Books {
        Books { exposure: self.yen, records: self.approved + self.denied }
    }
}

struct Seat {
    kind: Kind,
    peer: Box<dyn Peer>,
    connections: usize,
    /// Most requests under way on one.
    depth: usize,
    customers: u32,
    /// Number of the next order.
    next: u64,
    tally: Tally,
    /// Most decisions a second so far.
    best: f64,
}

/// The asks of a turn.
fn asks(from: u64, count: u64, customers: u32) -> Vec<Ask> {
    let rich = u64::from(customers) - 1;
    let ask = |order: u64| Ask {
        order,
        customer: u32::try_from(1 + order * STRIDE % rich).unwrap_or(u32::MAX),
        amount: LEAST_AMOUNT + u32::try_from(order / rich % AMOUNTS).unwrap_or(0),
    };
    (from..from + count).map(ask).collect()
}

/// Waits until the processors have nothing to do.
fn wait_idle(within: Duration) {
    let began = Instant::now();
    let mut before = Ticks::now();
    while began.elapsed() < within {
        pause(Duration::from_millis(250));
        let now = Ticks::now();
        if now.busy_since(before) < IDLE {
            return;
        }
        before = now;
    }
}

impl Seat {
    /// One after the other: a purchase, the same again, and one beyond the limit. The books tell later whether the
    /// second raised anything.
    fn prove(&mut self) -> Result<()> {
        // Another basket each, so that no guard against double sales answers instead of the limit.
        let ask = |order| Ask { order: u64::from(order), customer: POOR, amount: LEAST_AMOUNT + order };
        let mut said = Vec::new();
        for (order, is_repeat) in [(0, false), (0, true), (1, false)] {
            if !is_repeat {
                self.peer.prepare(&[ask(order)])?;
            }
            let call = if is_repeat { self.peer.last_call() } else { 0 };
            let told = play::once(self.peer.as_mut(), ask(order), call)?;
            said.push(told.approved == 1);
            if !is_repeat {
                self.tally.add(told);
            }
        }
        self.next = 2;
        if self.peer.books()?.is_some() {
            ensure!(said == [true, true, false], "a sale, its repeat and one beyond the limit are approved: {said:?}");
        }
        Ok(())
    }

    fn turn(&mut self, options: &Options, rate: Option<f64>, folder: &Path) -> Result<Turn> {
        let guess = self.kind.guess();
        let expected = rate.or(Some(self.best).filter(|best| *best > 0.0)).map_or(guess, |rate| rate * SPARE);
        let time = loadtest::clock::from_seconds((options.warmup + options.seconds) * expected) / SECOND;
        let most = u64::from(self.customers) - 1;
        let asks = asks(self.next, (time + (self.connections * self.depth) as u64).min(most), self.customers);
        self.peer.prepare(&asks)?;
        self.peer.settle()?;
        wait_idle(Duration::from_secs_f64(options.wait_idle));
        self.peer.hold()?;
        // At a rate a commit waits for its standby, never for the commit before it.
        let is_paced = self.kind == Kind::Commit && rate.is_some();
        let (connections, depth) = (if is_paced { COMMITS_AT_ONCE } else { self.connections }, self.depth);
        let plan = Plan { connections, depth, rate, warmup: options.warmup, seconds: options.seconds };
        let (turn, asked) = play::turn(self.peer.as_mut(), asks, &plan, folder)?;
        self.peer.settle()?;
        self.next += asked;
        self.tally.add(turn.tally);
        if rate.is_none() {
            self.best = self.best.max(turn.decisions_per_s);
        }
        Ok(turn)
    }
}

fn seats(options: &Options, folder: &Path) -> Result<Vec<Seat>> {
    let mut shared = Shared::new(options, folder);
    let mut seats: Vec<Seat> = Vec::new();
    for kind in &options.peers {
        ensure!(seats.iter().all(|seat| seat.kind != *kind), "--peers: {} is there twice", kind.name());
        if !options.quiet {
            eprintln!("starting {}", kind.name());
        }
        let is_pair = matches!(kind, Kind::Pair | Kind::PairCluster);
        let customers = if is_pair { options.customers.min(PAIR_CUSTOMERS) } else { options.customers };
        let peer = shared.peer(*kind, customers).with_context(|| kind.name())?;
        let (connections, depth) = match kind {
            Kind::Postgres | Kind::PostgresStandbys => (options.postgres_connections, 1),
            Kind::Link => (options.link_connections, options.link_depth),
            Kind::Commit => (1, 1),
            _ => (options.connections, 1),
        };
        let mut seat =
            Seat { kind: *kind, peer, connections, depth, customers, next: 0, tally: Tally::default(), best: 0.0 };
        seat.prove().with_context(|| kind.name())?;
        seats.push(seat);
    }
    Ok(seats)
}

/// Makes the run. Every round begins with another one, so that none always follows the same.
pub fn run(options: &Options) -> Result<Table> {
    options.check()?;
    let parent = options.folder.clone().unwrap_or_else(std::env::temp_dir);
    let folder = daemon::folder(&parent)?;
    let mut seats = seats(options, folder.path())?;
    let mut table = Table::new(options, seats.iter().map(|seat| seat.kind));
    for round in 0..options.rounds {
        for place in 0..seats.len() {
            let at = (place + round) % seats.len();
            let Some(seat) = seats.get_mut(at) else { continue };
            let open = options.rate.map(|rate| if seat.kind == Kind::Commit { options.commit_rate } else { rate });
            let closed = (!options.open_only || seat.kind == Kind::Commit).then_some(None);
            for rate in closed.into_iter().chain(open.map(Some)) {
                let turn = seat.turn(options, rate, folder.path()).with_context(|| seat.kind.name())?;
                if !options.quiet {
                    eprintln!("round {} {}", round + 1, turn.line(seat.kind));
                }
                table.add(at, turn);
            }
        }
    }
    for (at, seat) in seats.iter_mut().enumerate() {
        if let Some(books) = seat.peer.books().with_context(|| seat.kind.name())? {
            table.audit(at, seat.tally.books(), books);
        }
    }
    table.sum_up();
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_customer_comes_once_before_anyone_comes_again_with_another_basket() {
        let all = asks(2, 2 * 998, 999);
        let mut times = vec![0; 999];
        for ask in &all[..998] {
            times[ask.customer as usize] += 1;
        }
        assert!(times[0] == 0 && times[1..].iter().all(|count| *count == 1));
        let again = all.iter().skip(998).zip(&all);
        assert!(again.clone().all(|(later, first)| later.customer == first.customer && later.order != first.order));
        assert!(again.clone().all(|(later, first)| later.amount == first.amount + 1));
        assert!(all.iter().all(|ask| (1_000..10_000).contains(&ask.amount)));
    }
}

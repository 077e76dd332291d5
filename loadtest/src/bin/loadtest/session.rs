//! A run from its begin to its end: a server, customers, the play, the audit, the report.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::audit::{Audit, over_api, over_ledger};
use crate::books::{Books, Differences};
use crate::cli::{Output, Place, Transport};
use crate::game::{Game, Link, Rules};
use crate::lag::{Lag, LagWatch};
use crate::profile::{Mode, Profile};
use crate::report::{Costs, Ledger, Report, Verdict, approval_ratio, stages};
use crate::slo::Slo;
use crate::stair::Stair;
use loadtest::clock::{Clock, MILLISECOND, Nanos, SECOND, seconds};
use loadtest::crowd::{Crowd, Customer};
use loadtest::drive::{Progress, closed_loop, open_loop};
use loadtest::http::{self, Keys, Requests};
use loadtest::iso;
use loadtest::probe::{Machine, Probe, cpu_time, resident_mib};
use loadtest::schedule::{Schedule, Step};
use loadtest::server::{Options, Server};
use loadtest::setup::{self, Target};
use loadtest::sign::Signer;
use loadtest::stats::{Stats, point_length};
use loadtest::tls::{Peer, Trust};
use loadtest::wire::{Framing, Numbering, Wire};

/// Longest wait for the books to catch up, before and after a run.
const SETTLE: Duration = Duration::from_secs(120);
/// Between the last preparations and the first arrival.
const BREATH: Nanos = 100 * MILLISECOND;
/// With codes prepared, so many customers more than flows.
const RESERVE: f64 = 1.05;
/// A guess at what a closed loop may use up, authorizations a second.
const GUESSED_CAPACITY: f64 = 60_000.0;
/// The same by ISO 8583 with many messages under way.
const GUESSED_LINK: f64 = 250_000.0;
/// How long a relative profile's capacity is measured.
const GAUGE_SECONDS: f64 = 3.0;
/// By how many callers, at most: those of an overload would be one themselves.
const GAUGE_CONNECTIONS: usize = 64;

/// How a run is driven.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Loop {
    Open,
    Closed,
}

pub struct Session<'a> {
    place: &'a Place,
    output: &'a Output,
    seed: u64,
    server: Option<Server>,
    target: Target,
    merchants: Vec<String>,
}

/// What a play gave.
struct Played {
    game: Game,
    crowd: Vec<Customer>,
    /// Measured time, s.
    seconds: f64,
    machine: Machine,
    costs: Costs,
    lags: Vec<Lag>,
    reconnects: u64,
}

/// Starts the server that was named, or the one built beside this program.
fn own_server(place: &Place, profile: &Profile) -> Result<Server> {
    Server::start(&Options {
        binary: place.serve.as_deref(),
        data: place.data.as_deref(),
        config: place.server_config.as_deref(),
        takes_forged_codes: profile.mix.forged > 0.0,
        tls: place.tls,
        // A configuration of its own has keys of its own.
        signs: place.sign.as_deref().filter(|_| place.server_config.is_none()),
        secret: place.sign_secret.as_deref(),
        register_key: &place.key_register,
        sync_delay_us: place.sync_delay_us,
        link: place.transport == Transport::Iso8583,
        ..Options::default()
    })
}

fn trust(place: &Place, server: Option<&Server>) -> Result<Trust> {
    let ca = place.ca.as_ref().or_else(|| Some(&server?.identity.as_ref()?.cert));
    let Some(ca) = ca else { return Ok(Trust::default()) };
    Trust::new(ca, place.cert.as_deref().zip(place.key_file.as_deref()))
}

impl<'a> Session<'a> {
    /// Starts the server if it is to be ours.
    pub fn open(place: &'a Place, output: &'a Output, profile: &Profile, seed: u64) -> Result<Self> {
        if place.transport == Transport::Iso8583 {
            ensure!(profile.mode == Mode::Authorize, "--transport iso8583 carries sales only: --prepare-codes");
            let longest = place.merchant_id.iter().map(String::len).max().unwrap_or(0);
            ensure!(longest <= 15, "--transport iso8583: element 42 has 15 characters for a --merchant-id");
        }
        let keys = Keys {
            wallet: place.key_wallet.clone(),
            register: place.key_register.clone(),
            office: place.key_office.clone(),
            ops: place.key_ops.clone(),
        };
        let server = if place.url.is_none() { Some(own_server(place, profile)?) } else { None };
        let trust = trust(place, server.as_ref())?;
        let url = place.url.clone().or_else(|| server.as_ref().map(Server::url)).unwrap_or_default();
        let (http, host) = trust.peer(&url)?;
        let admin = place.admin_url.as_deref().map(|url| trust.peer(url)).transpose()?;
        let admin = admin.map_or_else(|| http.clone(), |(admin, _)| admin);
        let secret = place.sign_secret.as_ref().or_else(|| server.as_ref()?.secret.as_ref());
        let signer = match (&place.sign, secret) {
            (None, _) => None,
            (Some(name), Some(file)) => Some(Signer::load(name, file)?),
            (Some(name), None) => bail!("--sign {name}: name the file with its secret by --sign-secret FILE"),
        };
        let target = Target { http, admin, requests: Requests::new(&host, keys, signer) };
        let merchants = if place.merchant_id.is_empty() {
            let merchants: Vec<_> = (1..=profile.merchants).map(|number| format!("load-mrc-{number:03}")).collect();
            setup::merchants(&target, &merchants)?;
            merchants
        } else {
            place.merchant_id.clone()
        };
        Ok(Self { place, output, seed, server, target, merchants })
    }

    fn by_link(&self) -> bool {
        self.place.transport == Transport::Iso8583
    }

    /// Six digits by ISO 8583, of which those of one day do not come again within days.
    fn books(&self) -> Books {
        let now = jiff::Timestamp::now();
        let run = if self.by_link() {
            format!("{:06}", now.as_second().rem_euclid(250_000))
        } else {
            format!("L{:x}", now.as_microsecond())
        };
        Books {
            run,
            by_link: self.by_link(),
            orders: Vec::new(),
            merchants: self.merchants.clone(),
            customer_prefix: self.place.customer_prefix.clone(),
            differences: Differences::default(),
        }
    }

    /// The data directory, if it is known.
    fn data(&self) -> Option<&Path> {
        self.server.as_ref().map(|server| server.data.as_path()).or(self.place.ledger.as_deref())
    }

    fn probe_folder(&self) -> Option<&Path> {
        if self.output.no_disk_probe {
            return None;
        }
        self.output.disk_probe.as_deref().or_else(|| self.server.as_ref()?.data.parent())
    }

    /// Where sales go, and how their answers are told apart.
    fn wire(&self) -> Result<(Peer, Framing, Option<Numbering>)> {
        if !self.by_link() {
            return Ok((self.target.http.clone(), http::read, None));
        }
        let own = self.server.as_ref().and_then(|server| server.link);
        let address = self.place.iso8583.or(own).context("--iso8583 ADDR: where the service's link is")?;
        Ok((Peer::plain(address), iso::read, Some(iso::number)))
    }

    /// Plays the stairs on these customers.
    fn play(&self, profile: &Profile, steps: &[Step], kind: Loop, crowd: Vec<Customer>) -> Result<Played> {
        let clock = Clock::start();
        let timeout = profile.timeout_ms * MILLISECOND;
        let (to, framing, numbering) = self.wire()?;
        let wire = Wire::new(&to, framing, clock, profile.connections, profile.pipeline, timeout)?;
        let mut wire = wire.numbered(numbering);
        // Sleeps end within a microsecond of their time, not 50.
        rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1)).ok();
        let first = clock.now() + BREATH;
        let ends = Schedule::ends(steps, first);
        let warmup = steps.iter().take_while(|step| !step.is_measured).count();
        let begins = warmup.checked_sub(1).and_then(|last| ends.get(last)).copied().unwrap_or(first);
        let every = point_length(ends.last().copied().unwrap_or(0).saturating_sub(begins));
        let measured: Vec<_> = steps.iter().map(|step| step.is_measured).collect();
        let rules = Rules {
            mode: profile.mode,
            mix: profile.mix,
            prices: profile.prices,
            first_basket: jiff::Timestamp::now().subsec_nanosecond().unsigned_abs(),
            deadline_ms: profile.timeout_ms.clamp(1, 60_000),
        };
        let exponent = (profile.mode != Mode::Authorize).then_some(profile.zipf);
        let crowd = Crowd::new(crowd, exponent, self.seed);
        let stats = Stats::new(&measured, begins, every);
        let books = self.books();
        let link = self.by_link().then(|| Link::new(books.run.parse().unwrap_or(0)));
        let mut game = Game::new(rules, crowd, books, stats, self.target.requests.clone()).by_link(link);
        let probe = Probe::start(self.probe_folder(), clock, begins, every)?;
        let watch_lag = profile.expects_shedding.then(|| LagWatch::start(&self.target, clock, begins));
        let pids = [Some(std::process::id()), self.server.as_ref().map(Server::pid)];
        let cpu = || pids.map(|pid| pid.and_then(cpu_time));
        let before = cpu();
        let mut progress = Progress::new(self.output.quiet);
        let mut watch = |game: &Game, now| progress.show(&game.stats, now);
        let ended = match kind {
            Loop::Open => {
                let mut schedule = Schedule::new(steps.to_vec(), profile.spacing, first, self.seed);
                open_loop(clock, &mut game, &mut wire, &mut schedule, timeout, &mut watch)?;
                ends.last().copied().unwrap_or(0)
            }
            Loop::Closed => closed_loop(clock, &mut game, &mut wire, &ends, &mut watch)?,
        };
        progress.end();
        let played = seconds(clock.now().saturating_sub(first));
        let machine = probe.stop()?;
        let lags = watch_lag.map(LagWatch::stop).unwrap_or_default();
        let [generator, server] = std::array::from_fn(|at| {
            let before = before.get(at).copied().flatten()?;
            let after = cpu().get(at).copied().flatten()?;
            Some(after.saturating_sub(before).as_secs_f64())
        });
        // The warm-up is in the processor time, and so in the decisions it is divided by.
        let decisions = game.books.orders.len().max(1) as f64;
        let costs = Costs {
            generator_cpus: generator.map(|used| used / played),
            server_cpus: server.map(|used| used / played),
            server_us_per_decision: server.map(|used| used * 1e6 / decisions),
            server_resident_mib: pids.get(1).copied().flatten().and_then(resident_mib),
        };
        if ended <= begins {
            bail!("the customers were used up before the measurement began: give more with --customers");
        }
        let crowd = std::mem::take(&mut game.crowd.all);
        let seconds = seconds(ended - begins);
        Ok(Played { game, crowd, seconds, machine, costs, lags, reconnects: wire.reconnects })
    }

    fn guess(&self) -> f64 {
        if self.by_link() { GUESSED_LINK } else { GUESSED_CAPACITY }
    }

    /// Customers of the run, with codes if those are to be prepared.
    fn crowd(&self, profile: &mut Profile, steps: &[Step], kind: Loop) -> Result<Vec<Customer>> {
        if profile.mode == Mode::Authorize {
            let rate = |step: &Step| if kind == Loop::Open { step.rate } else { self.guess() };
            let flows: f64 = steps.iter().map(|step| rate(step) * step.seconds).sum();
            let needed = usize::try_from(loadtest::clock::from_seconds(flows * RESERVE) / SECOND)?;
            let needed = needed + profile.connections * profile.pipeline;
            // In a closed loop, whoever gives a number knows better: it ends when they are used up.
            if kind == Loop::Open || profile.customers == Profile::default().customers {
                profile.customers = profile.customers.max(needed);
            }
        }
        let prefix = &self.place.customer_prefix;
        let mut crowd = setup::customers(&self.target, prefix, profile.customers)?;
        if profile.mode == Mode::Authorize {
            setup::codes(&self.target, prefix, &mut crowd)?;
        }
        // What the preparations left for the ledger to do is not part of the run.
        setup::settle(&self.target, self.data(), SETTLE)?;
        Ok(crowd)
    }

    /// What this server can do, flows a second.
    fn gauge(&self, profile: &Profile) -> Result<f64> {
        let mut profile = profile.clone();
        profile.expects_shedding = false;
        profile.connections = profile.connections.min(GAUGE_CONNECTIONS);
        let step = |seconds, is_measured| Step { rate: 0.0, seconds, is_measured };
        let steps = [step(1.0, false), step(GAUGE_SECONDS, true)];
        let crowd = self.crowd(&mut profile, &steps, Loop::Closed)?;
        let played = self.play(&profile, &steps, Loop::Closed, crowd)?;
        let found = played.game.stats.total().counts.approved as f64 / played.seconds;
        ensure!(found > 0.0, "the capacity could not be measured: nothing was approved");
        setup::settle(&self.target, self.data(), SETTLE)?;
        Ok(found)
    }

    /// Makes the run and gives its report.
    pub fn run(mut self, mut profile: Profile, kind: Loop, capacity: Option<f64>) -> Result<Report> {
        let started_at = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let began = Instant::now();
        let slo = self.output.slo.as_deref().map(Slo::load).transpose()?.unwrap_or_default();
        let capacity = match capacity {
            None if profile.relative => Some(self.gauge(&profile)?),
            given => given,
        };
        let steps = profile.staircase(capacity.unwrap_or(1.0));
        let crowd = self.crowd(&mut profile, &steps, kind)?;
        let setup_s = began.elapsed().as_secs_f64();
        let mut played = self.play(&profile, &steps, kind, crowd)?;

        let lag_at_end = setup::ledger_lag(&self.target);
        let drained_in_s = setup::settle(&self.target, self.data(), SETTLE)?.map(|took| took.as_secs_f64());
        let audit = self.audit(&mut played)?;

        let stats = &played.game.stats;
        let seconds = played.seconds;
        let rated = |step: &Step| (kind == Loop::Open).then_some(step.rate);
        let length = |step: &Step| if kind == Loop::Open { step.seconds } else { seconds };
        let pairs = steps.iter().zip(&stats.steps).filter(|(step, _)| step.is_measured);
        let stairs: Vec<_> = pairs.map(|(step, stats)| Stair::new(rated(step), length(step), stats)).collect();
        let total = stats.total();
        let offered = stairs.iter().map(|stair| stair.rate.map(|rate| rate * stair.seconds)).sum::<Option<f64>>();
        let mut report = Report {
            version: env!("CARGO_PKG_VERSION"),
            started_at,
            command: std::env::args().skip(1).collect::<Vec<_>>().join(" "),
            server: self.wire()?.0.address.to_string(),
            transport: if self.by_link() { "ISO 8583" } else { "HTTP" },
            loop_kind: if kind == Loop::Open { "open" } else { "closed" },
            approval_ratio: approval_ratio(&total.counts, profile.expects_shedding),
            profile,
            seed: self.seed,
            processors: std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
            kernel: std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
            capacity,
            setup_s,
            curve: total.calls.get(1).map(loadtest::latency::Latencies::curve).unwrap_or_default(),
            total: Stair::new(offered.map(|flows| flows / seconds), seconds, &total),
            stairs,
            lateness: stats.lateness.percentiles(),
            waited: stats.waited.percentiles(),
            reconnects: played.reconnects,
            stages: stages(&stats.stages),
            denials: stats.reasons.clone(),
            refusals: stats.refusals.clone(),
            points: stats.points.clone(),
            machine: played.machine,
            costs: played.costs,
            ledger: Ledger { lag_at_end, drained_in_s, lags: played.lags },
            audit,
            overload: None,
            targets: Vec::new(),
            verdict: Verdict::Good,
        };
        report.targets = slo.judge(&report.authorizations(), report.total.error_ratio(), report.approval_ratio);
        report.judge();
        if report.verdict == Verdict::BooksDiffer
            && let Some(kept) = self.server.take().and_then(Server::keep)
        {
            eprintln!("the data and the log of the server are kept in {}", kept.display());
        }
        Ok(report)
    }

    fn audit(&mut self, played: &mut Played) -> Result<Audit> {
        let mut audit = Audit::default();
        let books = &mut played.game.books;
        let owed = over_api(&self.target, books, &played.crowd, &mut audit)?;
        if let Some(server) = &mut self.server {
            server.stop()?;
            over_ledger(&server.data, books, &owed, Duration::ZERO, &mut audit)?;
        } else if let Some(data) = &self.place.ledger {
            over_ledger(data, books, &owed, SETTLE, &mut audit)?;
        }
        audit.differences = books.differences.count;
        audit.first_differences = std::mem::take(&mut books.differences.first);
        Ok(audit)
    }
}

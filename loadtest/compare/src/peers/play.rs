//! One peer's turn: asked as fast as it answers, or at a given rate, by the same loops and the same wire as everybody.

use std::collections::VecDeque;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;

use super::{Ask, Heard, Kind, Peer, Tally};
use loadtest::clock::{Clock, MILLISECOND, Nanos, SECOND, seconds};
use loadtest::drive::{Player, closed_loop, open_loop};
use loadtest::latency::{Latencies, Percentiles};
use loadtest::probe::{Probe, cpu_time};
use loadtest::schedule::{Arrival, Schedule, Spacing, Step};
use loadtest::setup::said;
use loadtest::tls;
use loadtest::wire::{Outcome, Sent, Wire};

/// What is not answered by then ends the run: nobody could tell whether it was decided.
const TIMEOUT: Nanos = 10 * SECOND;
/// Said where the server has too much to do: nothing was decided.
const REFUSED: u16 = 503;
/// Then it is asked for again after so long, as `Retry-After` says.
const AGAIN: Nanos = SECOND;
/// Between the last preparations and the first request.
const BREATH: Nanos = 20 * MILLISECOND;
/// Number of the step that is measured; the one before is the warm-up.
const MEASURED: usize = 1;

const USED_UP: &str = "the customers were used up too early: give more with --customers, or shorter --seconds";

/// How a turn is played.
pub struct Plan {
    pub connections: usize,
    pub depth: usize,
    /// Decisions a second; `None`: as fast as they are answered.
    pub rate: Option<f64>,
    /// s
    pub warmup: f64,
    /// s
    pub seconds: f64,
}

/// What a turn gave.
#[derive(Clone, Debug, Serialize)]
pub struct Turn {
    pub rate: Option<f64>,
    pub connections: usize,
    pub seconds: f64,
    pub decisions_per_s: f64,
    pub latency: Percentiles,
    /// Answers that were no decision (503): each was asked for again a second later, and its
    /// latency counts on.
    pub refused: u64,
    /// `fdatasync` of 4 KiB beside the data, meanwhile.
    pub disk: Percentiles,
    /// Shares of all processors' time.
    pub steal: f64,
    pub busy: f64,
    /// Processor time of the generator for a decision, µs.
    pub generator_us: f64,
    #[serde(skip)]
    pub tally: Tally,
}

impl Turn {
    /// One line for those who wait.
    pub fn line(&self, kind: Kind) -> String {
        let ms = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.3}"));
        let rate = self.rate.map_or_else(|| "closed loop".to_owned(), |rate| format!("{rate}/s"));
        format!(
            "{:<28} {rate:>11} {:>7.0}/s  p50 {} p99 {} p99.9 {} ms  disk p99 {} ms  steal {:.2} %  {} refused",
            kind.name(),
            self.decisions_per_s,
            ms(self.latency.p50_ms),
            ms(self.latency.p99_ms),
            ms(self.latency.p999_ms),
            ms(self.disk.p99_ms),
            self.steal * 100.0,
            self.refused
        )
    }
}

#[derive(Clone, Copy)]
struct Task {
    ask: Ask,
    call: u8,
    /// Latency counts from here.
    intended: Nanos,
    step: usize,
}

struct Play<'p> {
    peer: &'p mut dyn Peer,
    asks: Vec<Ask>,
    /// Of these, the next one.
    cursor: usize,
    arrivals: VecDeque<Arrival>,
    /// Further calls of what was begun.
    next: VecDeque<Task>,
    /// What was refused, and from when it is asked for again.
    later: VecDeque<(Nanos, Task)>,
    latencies: Latencies,
    refused: u64,
    tally: Tally,
    failure: Option<anyhow::Error>,
}

impl<'p> Play<'p> {
    fn new(peer: &'p mut dyn Peer, asks: Vec<Ask>) -> Self {
        Self {
            peer,
            asks,
            cursor: 0,
            arrivals: VecDeque::new(),
            next: VecDeque::new(),
            later: VecDeque::new(),
            latencies: Latencies::default(),
            refused: 0,
            tally: Tally::default(),
            failure: None,
        }
    }

    fn begin(&mut self, arrival: Arrival) -> Option<Task> {
        let ask = *self.asks.get(self.cursor).filter(|_| self.failure.is_none())?;
        self.cursor += 1;
        Some(Task { ask, call: 0, intended: arrival.at, step: arrival.step })
    }

    fn judge(&mut self, task: Task, outcome: Outcome<'_>, now: Nanos) -> Result<()> {
        let answer = match outcome {
            Outcome::Answer(answer) => answer,
            Outcome::TimedOut => bail!("no answer within {} s", TIMEOUT / SECOND),
            Outcome::Broken => bail!("a connection ended under a request"),
        };
        if answer.status == REFUSED && now.saturating_sub(task.intended) < TIMEOUT {
            self.refused += 1;
            self.later.push_back((now + AGAIN, task));
            return Ok(());
        }
        ensure!(matches!(answer.status, 200 | 201), "{}", said(answer.status, answer.body));
        let told = match self.peer.read(&task.ask, task.call, answer)? {
            Heard::GoOn => {
                self.next.push_back(Task { call: task.call + 1, ..task });
                return Ok(());
            }
            Heard::Approved => Tally { approved: 1, denied: 0, yen: u64::from(task.ask.amount) },
            Heard::Denied => Tally { approved: 0, denied: 1, yen: 0 },
        };
        self.tally.add(told);
        if task.step == MEASURED {
            self.latencies.record(now.saturating_sub(task.intended));
        }
        Ok(())
    }
}

impl Player for Play<'_> {
    type Task = Task;

    fn arrive(&mut self, arrival: Arrival, _now: Nanos) {
        self.arrivals.push_back(arrival);
    }

    fn next_task(&mut self) -> Option<Task> {
        if let Some(task) = self.next.pop_front() {
            return Some(task);
        }
        let arrival = *self.arrivals.front()?;
        if self.is_spent() {
            self.failure.get_or_insert_with(|| anyhow::anyhow!(USED_UP));
            self.arrivals.clear();
            return None;
        }
        self.arrivals.pop_front();
        self.begin(arrival)
    }

    fn next_in_loop(&mut self, now: Nanos, step: usize, begins: bool) -> Option<Task> {
        if let Some(task) = self.next.pop_front() {
            return Some(task);
        }
        if begins { self.begin(Arrival { at: now, step }) } else { None }
    }

    fn write(&mut self, task: Task, _now: Nanos, out: &mut Vec<u8>) {
        self.peer.write(&task.ask, task.call, out);
    }

    fn hear(&mut self, sent: &Sent<Task>, outcome: Outcome<'_>, now: Nanos) {
        if let Err(error) = self.judge(sent.tag, outcome, now) {
            self.failure.get_or_insert(error);
        }
    }

    fn give_up(&mut self, before: Nanos) {
        while self.arrivals.pop_front_if(|arrival| arrival.at < before).is_some() {
            self.latencies.record_infinite();
        }
    }

    fn is_still(&self) -> bool {
        self.next.is_empty() && self.later.is_empty() && self.arrivals.is_empty()
    }

    fn is_spent(&self) -> bool {
        self.failure.is_some() || self.cursor >= self.asks.len()
    }

    fn tick(&mut self, now: Nanos) {
        while let Some((_, task)) = self.later.pop_front_if(|(from, _)| *from <= now) {
            self.next.push_back(task);
        }
    }
}

/// Connects, and says what the protocol wants to hear first: a message at a time, once on each connection, as the one
/// that has been idle longest comes next.
fn connect(peer: &dyn Peer, clock: Clock, connections: usize, depth: usize) -> Result<Wire<Task>> {
    let to = tls::Peer::plain(peer.address());
    let wire = Wire::new(&to, peer.framing(), clock, connections, depth, TIMEOUT)?;
    let mut wire = wire.numbered(peer.numbering());
    let nothing = Task { ask: Ask { order: 0, customer: 0, amount: 0 }, call: 0, intended: 0, step: 0 };
    for hello in peer.hellos() {
        for _ in 0..connections {
            wire.send(nothing, clock.now(), |out| out.extend_from_slice(&hello));
        }
        let mut refused = None;
        let mut hear = |_: Sent<Task>, outcome: Outcome<'_>, _| match outcome {
            Outcome::Answer(answer) if answer.status == 200 => (),
            Outcome::Answer(answer) => refused = Some(said(answer.status, answer.body)),
            Outcome::TimedOut | Outcome::Broken => refused = Some("no answer".to_owned()),
        };
        wire.flush(&mut hear)?;
        while !wire.is_idle() {
            wire.wait(10 * MILLISECOND, &mut hear)?;
            wire.give_up(clock.now(), &mut hear)?;
        }
        if let Some(refused) = refused {
            bail!("the first words on a connection: {refused}");
        }
    }
    Ok(wire)
}

/// One decision, from this call on.
pub fn once(peer: &mut dyn Peer, ask: Ask, call: u8) -> Result<Tally> {
    let clock = Clock::start();
    let mut wire = connect(peer, clock, 1, 1)?;
    let mut play = Play::new(peer, Vec::new());
    play.next.push_back(Task { ask, call, intended: clock.now(), step: 0 });
    closed_loop(clock, &mut play, &mut wire, &[clock.now() + TIMEOUT], &mut |_, _| ())?;
    play.failure.map_or(Ok(play.tally), Err)
}

/// A turn, and how many of the asks were used up. The disk beside the data is probed in `folder`.
pub fn turn(peer: &mut dyn Peer, asks: Vec<Ask>, plan: &Plan, folder: &Path) -> Result<(Turn, u64)> {
    let clock = Clock::start();
    let mut wire = connect(peer, clock, plan.connections, plan.depth)?;
    // Sleeps end within a microsecond of their time, not 50.
    rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1)).ok();
    let step = |seconds, is_measured| Step { rate: plan.rate.unwrap_or(0.0), seconds, is_measured };
    let steps = vec![step(plan.warmup, false), step(plan.seconds, true)];
    let first = clock.now() + BREATH;
    let ends = Schedule::ends(&steps, first);
    let begins = first + loadtest::clock::from_seconds(plan.warmup);
    let probe = Probe::start(Some(folder), clock, begins, SECOND)?;
    let before = cpu_time(std::process::id());
    let mut play = Play::new(peer, asks);
    let ended = if plan.rate.is_some() {
        let mut schedule = Schedule::new(steps, Spacing::Poisson, first, 1);
        open_loop(clock, &mut play, &mut wire, &mut schedule, TIMEOUT, &mut |_, _| ())?;
        ends.last().copied().unwrap_or(0)
    } else {
        closed_loop(clock, &mut play, &mut wire, &ends, &mut |_, _| ())?
    };
    let used = cpu_time(std::process::id()).zip(before).map_or(0.0, |(after, before)| (after - before).as_secs_f64());
    let machine = probe.stop()?;
    if let Some(failure) = play.failure {
        return Err(failure);
    }
    ensure!(ended > begins, USED_UP);
    let measured = seconds(ended - begins);
    let latency = play.latencies.percentiles();
    let (tally, refused) = (play.tally, play.refused);
    let turn = Turn {
        rate: plan.rate,
        connections: plan.connections,
        seconds: measured,
        decisions_per_s: (latency.count - latency.infinite) as f64 / measured,
        latency,
        refused,
        disk: machine.disk.context("the disk was not probed")?,
        steal: machine.steal,
        busy: machine.busy,
        generator_us: used * 1e6 / (tally.approved + tally.denied).max(1) as f64,
        tally,
    };
    Ok((turn, play.cursor as u64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::Books;
    use loadtest::wire::{Answer, Framing};

    struct Yes;

    impl Peer for Yes {
        fn address(&self) -> std::net::SocketAddr {
            ([127, 0, 0, 1], 0).into()
        }

        fn framing(&self) -> Framing {
            loadtest::http::read
        }

        fn write(&mut self, _: &Ask, _: u8, _: &mut Vec<u8>) {}

        fn read(&mut self, _: &Ask, _: u8, _: Answer<'_>) -> Result<Heard> {
            Ok(Heard::Approved)
        }

        fn books(&mut self) -> Result<Option<Books>> {
            Ok(None)
        }
    }

    #[test]
    fn what_is_refused_is_asked_for_again_a_second_later_and_takes_as_long() {
        let mut yes = Yes;
        let ask = Ask { order: 7, customer: 1, amount: 1_000 };
        let mut play = Play::new(&mut yes, vec![ask]);
        let said = |status| Outcome::Answer(Answer { status, head: b"", body: b"busy", is_last: false, number: None });
        play.arrive(Arrival { at: SECOND, step: MEASURED }, SECOND);
        let task = play.next_task().unwrap();
        play.judge(task, said(503), SECOND + MILLISECOND).unwrap();
        play.tick(2 * SECOND);
        assert!(play.next_task().is_none() && !play.is_still(), "not before the second is over");
        play.tick(2 * SECOND + MILLISECOND);
        let again = play.next_task().unwrap();
        assert_eq!((again.ask.order, again.intended), (7, SECOND));
        play.judge(again, said(200), 3 * SECOND).unwrap();
        assert_eq!((play.refused, play.tally.approved, play.is_still()), (1, 1, true));
        assert!(play.latencies.percentiles().p50_ms >= Some(1_990.0), "from the intended time on");
        // In the end it is no answer.
        let late = play.judge(task, said(503), SECOND + TIMEOUT).unwrap_err().to_string();
        assert!(late.contains("503 busy"), "{late}");
    }
}

//! Calls by number, each made once and followed by nothing: in a closed loop, or at a fixed rate.

use std::collections::VecDeque;
use std::ops::Range;

use anyhow::{Result, anyhow, ensure};

use loadtest::clock::{Clock, MILLISECOND, Nanos, SECOND, seconds};
use loadtest::drive::{Player, closed_loop, open_loop};
use loadtest::http;
use loadtest::latency::Latencies;
use loadtest::schedule::{Arrival, Schedule, Spacing, Step};
use loadtest::tls::Peer;
use loadtest::wire::{Answer, Outcome, Sent, Wire};

/// What is not answered by then ends the run: nobody could tell whether it was done.
const TIMEOUT: Nanos = 10 * SECOND;
/// Longest closed loop.
const LONGEST: Nanos = 600 * SECOND;
/// Between the connections and the first request of a schedule.
const BREATH: Nanos = 20 * MILLISECOND;

/// What a number's call is, and what is made of its answer.
pub trait Call {
    fn write(&mut self, number: u64, out: &mut Vec<u8>);
    fn read(&mut self, number: u64, answer: Answer<'_>) -> Result<()>;
    /// Whether the server may have gone, because we ended it: then what is under way is not answered.
    fn may_break(&self) -> bool {
        false
    }
}

#[derive(Clone, Copy)]
struct Task {
    number: u64,
    /// Latency counts from here.
    intended: Nanos,
    is_measured: bool,
}

struct Calls<'c, C> {
    call: &'c mut C,
    numbers: Range<u64>,
    /// Turned away with 503, which says that nothing was done: to be made again.
    again: VecDeque<u64>,
    turned_away: u64,
    arrivals: VecDeque<Arrival>,
    /// Steps before this one are the warm-up.
    measured_from: usize,
    latencies: Latencies,
    /// A schedule says when the next one begins, also one that is made again.
    is_paced: bool,
    /// Nothing more is begun.
    is_over: bool,
    failure: Option<anyhow::Error>,
}

impl<'c, C: Call> Calls<'c, C> {
    fn new(call: &'c mut C, numbers: Range<u64>, measured_from: usize) -> Self {
        Self {
            call,
            numbers,
            again: VecDeque::new(),
            turned_away: 0,
            arrivals: VecDeque::new(),
            measured_from,
            latencies: Latencies::default(),
            is_paced: false,
            is_over: false,
            failure: None,
        }
    }

    fn fail(&mut self, error: anyhow::Error) {
        self.failure.get_or_insert(error);
        self.is_over = true;
        self.arrivals.clear();
    }

    fn begin(&mut self, arrival: Arrival) -> Option<Task> {
        if self.is_over {
            return None;
        }
        let number = self.again.pop_front().or_else(|| self.numbers.next())?;
        Some(Task { number, intended: arrival.at, is_measured: arrival.step >= self.measured_from })
    }
}

impl<C: Call> Player for Calls<'_, C> {
    type Task = Task;

    fn arrive(&mut self, arrival: Arrival, _now: Nanos) {
        if !self.is_over {
            self.arrivals.push_back(arrival);
        }
    }

    fn next_task(&mut self) -> Option<Task> {
        let arrival = self.arrivals.pop_front()?;
        let task = self.begin(arrival);
        if task.is_none() {
            self.fail(anyhow!("there are fewer calls to make than the schedule has"));
        }
        task
    }

    fn next_in_loop(&mut self, now: Nanos, step: usize, begins: bool) -> Option<Task> {
        if begins || !self.again.is_empty() { self.begin(Arrival { at: now, step }) } else { None }
    }

    fn write(&mut self, task: Task, _now: Nanos, out: &mut Vec<u8>) {
        self.call.write(task.number, out);
    }

    fn hear(&mut self, sent: &Sent<Task>, outcome: Outcome<'_>, now: Nanos) {
        let task = sent.tag;
        match outcome {
            Outcome::Answer(answer) if answer.status == 503 => {
                self.turned_away += 1;
                self.again.push_back(task.number);
                if task.is_measured {
                    self.latencies.record_infinite();
                }
            }
            Outcome::Answer(answer) => match self.call.read(task.number, answer) {
                Ok(()) if task.is_measured => self.latencies.record(now.saturating_sub(task.intended)),
                Ok(()) => (),
                Err(error) => self.fail(error),
            },
            _ if self.call.may_break() => self.is_over = true,
            Outcome::TimedOut => self.fail(anyhow!("no answer within {} s", TIMEOUT / SECOND)),
            Outcome::Broken => self.fail(anyhow!("a connection ended under a request")),
        }
    }

    /// What could not even be sent in time is infinitely slow.
    fn give_up(&mut self, before: Nanos) {
        while self.arrivals.pop_front_if(|arrival| arrival.at < before).is_some() {
            self.latencies.record_infinite();
        }
    }

    fn is_still(&self) -> bool {
        self.arrivals.is_empty() && (self.is_over || self.again.is_empty() || self.is_paced)
    }

    fn is_spent(&self) -> bool {
        self.is_over || self.numbers.is_empty()
    }

    fn tick(&mut self, _now: Nanos) {}
}

/// What a closed loop took.
#[derive(Clone, Copy, Debug)]
pub struct Took {
    pub seconds: f64,
    /// Answers of 503; each call was made again.
    pub turned_away: u64,
}

/// Makes these calls, the next one on a connection when its last is answered.
pub fn as_fast_as_answered<C: Call>(to: &Peer, connections: usize, call: &mut C, numbers: Range<u64>) -> Result<Took> {
    let clock = Clock::start();
    let mut wire = Wire::new(to, http::read, clock, connections, 1, TIMEOUT)?;
    let mut calls = Calls::new(call, numbers, 0);
    let began = clock.now();
    let ended = closed_loop(clock, &mut calls, &mut wire, &[began + LONGEST], &mut |_, _| ());
    let took = Took { seconds: seconds(clock.now() - began), turned_away: calls.turned_away };
    if let Some(failure) = calls.failure {
        return Err(failure);
    }
    match ended {
        // Connecting anew to a server that we ended fails.
        Err(_) if call.may_break() => Ok(took),
        Err(error) => Err(error),
        Ok(_) => {
            ensure!(call.may_break() || took.seconds < seconds(LONGEST), "it took longer than {} s", LONGEST / SECOND);
            Ok(took)
        }
    }
}

/// Calls at a fixed rate, whatever the server does.
#[derive(Clone, Copy)]
pub struct Pace {
    pub connections: usize,
    /// A second.
    pub rate: f64,
    /// Played before what is measured, s.
    pub warmup: f64,
    pub seconds: f64,
}

/// Makes calls from number `from` on at this pace. Gives the latencies, from the intended moments, and the first
/// number not made. What is turned away is infinitely slow, and is made again in the place of a next one.
pub fn at_pace<C: Call>(to: &Peer, pace: Pace, call: &mut C, from: u64) -> Result<(Latencies, u64)> {
    let clock = Clock::start();
    let mut wire = Wire::new(to, http::read, clock, pace.connections, 1, TIMEOUT)?;
    // Sleeps end within a microsecond of their time, not 50.
    rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1)).ok();
    let step = |seconds, is_measured| Step { rate: pace.rate, seconds, is_measured };
    let steps = vec![step(pace.warmup, false), step(pace.seconds, true)];
    let mut schedule = Schedule::new(steps, Spacing::Fixed, clock.now() + BREATH, 1);
    let mut calls = Calls::new(call, from..u64::MAX, 1);
    calls.is_paced = true;
    open_loop(clock, &mut calls, &mut wire, &mut schedule, TIMEOUT, &mut |_, _| ())?;
    let next = calls.numbers.start;
    calls.failure.map_or(Ok((calls.latencies, next)), Err)
}

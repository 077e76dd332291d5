//! The loops: an open one, which keeps to its schedule whatever the server does, and a closed one, which sends the
//! next request when an answer has come.

use std::io::{IsTerminal, Write};

use anyhow::Result;

use crate::clock::{Clock, MILLISECOND, Nanos, SECOND};
use crate::schedule::{Arrival, Schedule};
use crate::stats::Stats;
use crate::wire::{Outcome, Sent, Wire};

/// Longest sleep.
const NAP: Nanos = 10 * MILLISECOND;

/// The progress line, on standard error.
pub struct Progress {
    next: Nanos,
    is_terminal: bool,
    is_quiet: bool,
}

impl Progress {
    pub fn new(is_quiet: bool) -> Self {
        Self { next: 0, is_terminal: std::io::stderr().is_terminal(), is_quiet }
    }

    pub fn show(&mut self, stats: &Stats, now: Nanos) {
        if now < self.next.max(stats.begins) {
            return;
        }
        self.next = now + SECOND;
        let Some(line) = stats.line().filter(|_| !self.is_quiet) else { return };
        let mut err = std::io::stderr().lock();
        // A closed terminal is no reason to stop.
        if self.is_terminal {
            write!(err, "\r{line}\x1b[K").ok();
        } else {
            writeln!(err, "{line}").ok();
        }
    }

    pub fn end(&self) {
        if self.is_terminal && !self.is_quiet {
            writeln!(std::io::stderr()).ok();
        }
    }
}

/// Who plays: says what is sent next, and hears what became of it.
pub trait Player {
    type Task: Copy;

    /// Something is to begin.
    fn arrive(&mut self, arrival: Arrival, now: Nanos);
    /// What to send next: what belongs to something begun, or the begin of what has arrived.
    fn next_task(&mut self) -> Option<Self::Task>;
    /// The same for a closed loop: if `begins`, something new may begin at any time.
    fn next_in_loop(&mut self, now: Nanos, step: usize, begins: bool) -> Option<Self::Task>;
    /// Writes a request that goes out now.
    fn write(&mut self, task: Self::Task, now: Nanos, out: &mut Vec<u8>);
    fn hear(&mut self, sent: &Sent<Self::Task>, outcome: Outcome<'_>, now: Nanos);
    /// Gives up what should have gone out before `before`.
    fn give_up(&mut self, before: Nanos);
    /// Nothing is to be sent.
    fn is_still(&self) -> bool;
    /// Nothing can begin any more.
    fn is_spent(&self) -> bool;
    /// Time has gone by: about every 10 ms.
    fn tick(&mut self, now: Nanos);
}

fn send_all<P: Player>(
    player: &mut P,
    wire: &mut Wire<P::Task>,
    now: Nanos,
    mut next: impl FnMut(&mut P) -> Option<P::Task>,
) {
    while wire.has_room() {
        let Some(task) = next(player) else { break };
        wire.send(task, now, |out| player.write(task, now, out));
    }
}

/// Plays the schedule to its end, and waits for the last answers.
pub fn open_loop<P: Player>(
    clock: Clock,
    player: &mut P,
    wire: &mut Wire<P::Task>,
    schedule: &mut Schedule,
    timeout: Nanos,
    watch: &mut impl FnMut(&P, Nanos),
) -> Result<()> {
    let mut next = schedule.next();
    let mut swept = 0;
    loop {
        let now = clock.now();
        while let Some(arrival) = next.filter(|arrival| arrival.at <= now) {
            player.arrive(arrival, now);
            next = schedule.next();
        }
        send_all(player, wire, now, P::next_task);
        wire.flush(&mut |sent, outcome, now| player.hear(&sent, outcome, now))?;
        let until = next.map_or(now + NAP, |arrival| arrival.at.min(now + NAP));
        wire.wait(until.saturating_sub(clock.now()), &mut |sent, outcome, now| player.hear(&sent, outcome, now))?;
        let now = clock.now();
        if now >= swept + NAP {
            swept = now;
            wire.give_up(now, &mut |sent, outcome, now| player.hear(&sent, outcome, now))?;
            player.give_up(now.saturating_sub(timeout));
            player.tick(now);
            watch(player, now);
        }
        if next.is_none() && player.is_still() && wire.is_idle() {
            player.tick(now);
            return Ok(());
        }
    }
}

/// Keeps every connection busy until the end of the last step or until nothing can begin any more. Gives the time at
/// which it stopped to begin.
pub fn closed_loop<P: Player>(
    clock: Clock,
    player: &mut P,
    wire: &mut Wire<P::Task>,
    step_ends: &[Nanos],
    watch: &mut impl FnMut(&P, Nanos),
) -> Result<Nanos> {
    let end = step_ends.last().copied().unwrap_or(0);
    let mut swept = 0;
    let mut ended = None;
    loop {
        let now = clock.now();
        let step = step_ends.iter().position(|end| now < *end).unwrap_or(step_ends.len().saturating_sub(1));
        if ended.is_none() && (now >= end || player.is_spent()) {
            ended = Some(now.min(end));
        }
        send_all(player, wire, now, |player| player.next_in_loop(now, step, ended.is_none()));
        wire.flush(&mut |sent, outcome, now| player.hear(&sent, outcome, now))?;
        wire.wait(NAP, &mut |sent, outcome, now| player.hear(&sent, outcome, now))?;
        if now >= swept + NAP {
            swept = now;
            wire.give_up(now, &mut |sent, outcome, now| player.hear(&sent, outcome, now))?;
            player.tick(now);
            watch(player, now);
        }
        if let Some(ended) = ended.filter(|_| player.is_still() && wire.is_idle()) {
            player.tick(now);
            return Ok(ended);
        }
    }
}

//! The loops: an open one, which keeps to its schedule whatever the server does, and a closed one, which sends the
//! next request when an answer has come.

use std::io::{IsTerminal, Write};

use anyhow::Result;

use crate::clock::{Clock, MILLISECOND, Nanos, SECOND};
use crate::game::{Game, Task};
use crate::schedule::Schedule;
use crate::wire::Wire;

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

    fn show(&mut self, game: &Game, now: Nanos) {
        if now < self.next.max(game.stats.begins) {
            return;
        }
        self.next = now + SECOND;
        let Some(line) = game.stats.line().filter(|_| !self.is_quiet) else { return };
        let mut err = std::io::stderr().lock();
        // A closed terminal is no reason to stop.
        if self.is_terminal {
            write!(err, "\r{line}\x1b[K").ok();
        } else {
            writeln!(err, "{line}").ok();
        }
    }

    fn end(&self) {
        if self.is_terminal && !self.is_quiet {
            writeln!(std::io::stderr()).ok();
        }
    }
}

fn send_all(game: &mut Game, wire: &mut Wire<Task>, now: Nanos, mut next: impl FnMut(&mut Game) -> Option<Task>) {
    while wire.has_room() {
        let Some(task) = next(game) else { break };
        wire.send(task, now, |out| game.write(task, now, out));
    }
}

/// Plays the schedule to its end, and waits for the last answers.
pub fn open_loop(
    clock: Clock,
    game: &mut Game,
    wire: &mut Wire<Task>,
    schedule: &mut Schedule,
    timeout: Nanos,
    progress: &mut Progress,
) -> Result<()> {
    let mut next = schedule.next();
    let mut swept = 0;
    loop {
        let now = clock.now();
        while let Some(arrival) = next.filter(|arrival| arrival.at <= now) {
            game.arrive(arrival, now);
            next = schedule.next();
        }
        send_all(game, wire, now, Game::next_task);
        wire.flush(&mut |sent, outcome, now| game.hear(&sent, outcome, now))?;
        let until = next.map_or(now + NAP, |arrival| arrival.at.min(now + NAP));
        wire.wait(until.saturating_sub(clock.now()), &mut |sent, outcome, now| game.hear(&sent, outcome, now))?;
        let now = clock.now();
        if now >= swept + NAP {
            swept = now;
            wire.give_up(now, &mut |sent, outcome, now| game.hear(&sent, outcome, now))?;
            game.give_up(now.saturating_sub(timeout));
            game.stats.tick(now);
            progress.show(game, now);
        }
        if next.is_none() && game.is_still() && wire.is_idle() {
            game.stats.tick(now);
            progress.end();
            return Ok(());
        }
    }
}

/// Keeps every connection busy until the end of the last step or until nobody is left to buy. Gives the time at
/// which it stopped to begin new flows.
pub fn closed_loop(
    clock: Clock,
    game: &mut Game,
    wire: &mut Wire<Task>,
    step_ends: &[Nanos],
    progress: &mut Progress,
) -> Result<Nanos> {
    let end = step_ends.last().copied().unwrap_or(0);
    let (mut swept, mut ended) = (0, None);
    loop {
        let now = clock.now();
        let step = step_ends.iter().position(|end| now < *end).unwrap_or(step_ends.len().saturating_sub(1));
        if ended.is_none() && (now >= end || game.crowd.is_spent()) {
            ended = Some(now.min(end));
        }
        send_all(game, wire, now, |game| game.next_in_loop(now, step, ended.is_none()));
        wire.flush(&mut |sent, outcome, now| game.hear(&sent, outcome, now))?;
        wire.wait(NAP, &mut |sent, outcome, now| game.hear(&sent, outcome, now))?;
        let now = clock.now();
        if now >= swept + NAP {
            swept = now;
            wire.give_up(now, &mut |sent, outcome, now| game.hear(&sent, outcome, now))?;
            game.stats.tick(now);
            progress.show(game, now);
        }
        if let Some(ended) = ended.filter(|_| game.is_still() && wire.is_idle()) {
            game.stats.tick(now);
            progress.end();
            return Ok(ended);
        }
    }
}

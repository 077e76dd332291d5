//! The engine in service: a task that takes what waits in the queues, judges it at once, and answers it when its group
//! is durable. It runs where the sockets are served, so a request is read, judged and answered on one thread; only the
//! committer is elsewhere.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::time::MissedTickBehavior;

use crate::clock::Clock;
use crate::domain::commands::request::Request;
use crate::journal::JournalError;
use crate::metrics::{gauge_value, metrics};

use super::Engine;
use super::backlog::Backlog;
use super::committer::{Desk, Line, Pending, Thread};
use super::inbox::{Answered, Queues, Shed, Ticket, Waiting};
use super::owner::Owner;
use super::pacing::{Callers, Pacing};

/// So often the calendar makes a step: with 2 papers in one, a million bills take some half an hour. The ledger's writing
/// of them holds the journal's syncs up on one disk: the p99 of 1,000 authorizations/s went from 1.5 to 26 ms with 8,000
/// papers a second, and to some 5 with 2,000 (`docs/performance.md`).
const PAPERS_TICK: Duration = Duration::from_millis(4);
/// How often an idle engine looks at the time: expired holds get their paper, memory is freed.
const IDLE_TICK: Duration = Duration::from_millis(500);

/// Serves the queues until `stop` ends and everything that waits is answered; gives the owner back. An error means that
/// the journal could not be written: nothing of the group was answered, and the process must stop. `tell_room` is told by
/// the committer's thread between groups, every few seconds, whether the journal has room. Once [`Queues::is_stopping`] is
/// set no papers are added, which would keep it busy for as long as there are some; once [`Queues::is_halted`] is set it
/// never ends.
pub async fn serve(
    engine: Engine,
    queues: Queues,
    clock: Clock,
    tell_room: impl FnMut(Result<(), String>) + Send + 'static,
    stop: impl Future<Output = ()>,
) -> Result<Owner, JournalError> {
    let (owner, committer) = engine.into_parts();
    let news = Arc::clone(&queues.news);
    let line = Arc::new(Line::new(queues.most, Arc::clone(&news)));
    let pacing = Pacing::new(queues.longest_gap, Instant::now());
    let thread = Thread { committer, line: Arc::clone(&line), pacing, tell_room };
    let thread = std::thread::Builder::new().name("journal".to_owned()).spawn(move || thread.run());
    let thread = thread.map_err(JournalError::failed("start its thread"))?;
    let (now, target) = (Instant::now(), queues.target);
    let (callers, backlog) = (Callers::new(now), Backlog::new(target, now));
    let mut service =
        Service { owner, queues, backlog, clock, line, callers, picked: Vec::new(), papers_are_due: false };
    let mut idle = tokio::time::interval(IDLE_TICK);
    let mut papers = tokio::time::interval(PAPERS_TICK);
    papers.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // Also while a disk stalls, who waited too long is told so in time.
    let mut look = tokio::time::interval(target);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut stop = std::pin::pin!(stop);
    let mut stopping = false;
    while !(stopping && service.is_still()) {
        tokio::select! {
            biased;
            // Rare, and so first: a busy day's papers would else never come.
            _ = papers.tick(), if service.owner.has_papers() && !service.is_stopping() => service.papers_are_due = true,
            _ = idle.tick() => service.papers_are_due = true,
            () = news.notified() => {}
            _ = look.tick(), if service.is_full() => {}
            () = stop.as_mut(), if !stopping => stopping = true,
        }
        if service.queues.is_halted.load(Ordering::Relaxed) {
            // Whoever asked hears nothing: to say that no decision was made might be wrong.
            std::future::pending::<()>().await;
        }
        service.turn()?;
    }
    service.line.stop();
    if thread.join().is_err() {
        // The panic hook has told why.
        return Err(JournalError::Poisoned);
    }
    Ok(service.owner)
}

struct Service {
    owner: Owner,
    queues: Queues,
    backlog: Backlog,
    clock: Clock,
    line: Arc<Line>,
    callers: Callers,
    /// Picked and not yet judged; empty between turns.
    picked: Vec<Ticket>,
    /// The calendar may make a step.
    papers_are_due: bool,
}

impl Service {
    fn is_still(&self) -> bool {
        let desk = self.line.desk.lock();
        self.depth() == 0 && desk.flying == 0 && desk.open.group.is_empty()
    }

    fn is_stopping(&self) -> bool {
        self.queues.is_stopping.load(Ordering::Relaxed)
    }

    fn is_full(&self) -> bool {
        self.queues.is_full.load(Ordering::SeqCst)
    }

    /// Requests waiting to be judged.
    fn depth(&self) -> usize {
        self.queues.depth() + self.backlog.len()
    }

    /// Answers what became durable, and judges what came meanwhile.
    fn turn(&mut self) -> Result<(), JournalError> {
        self.deliver_durable()?;
        let line = Arc::clone(&self.line);
        let mut desk = line.desk.lock();
        self.judge(&mut desk);
        if desk.flying == 0 && desk.open.group.records.is_empty() {
            // Nothing that these answers speak of is still on its way to the disk.
            let mut open = std::mem::take(&mut desk.open);
            self.deliver(&mut open);
            desk.open = open;
            if self.is_full() {
                // It is empty again, and no committer will tell.
                self.queues.is_full.store(false, Ordering::SeqCst);
                self.queues.news.notify_one();
            }
        } else {
            let waiting = desk.open.waiting.len();
            self.callers.saw(waiting + desk.flying_waiting, Instant::now());
            desk.hurry = waiting >= self.queues.most || self.callers.is_half(waiting);
            line.tell(&mut desk);
        }
        drop(desk);
        self.owner.show_lag();
        metrics().inbox_depth.set(gauge_value(self.depth()));
        Ok(())
    }

    /// Judges what waits, urgent first, as far as the open group has room.
    fn judge(&mut self, desk: &mut Desk) {
        // Before the queues are looked at: what comes after that look is news again.
        self.queues.is_full.store(false, Ordering::SeqCst);
        let picked_up = Instant::now();
        let Pending { group, waiting, .. } = &mut desk.open;
        if self.queues.is_stopping.load(Ordering::Relaxed) {
            self.owner.begin_without_papers(self.clock.now());
        } else {
            self.owner.begin(self.clock.now(), group);
            if std::mem::take(&mut self.papers_are_due) {
                self.owner.calendar_step(group);
            }
        }
        let before = waiting.len();
        while waiting.len() < self.queues.most {
            let (room, knows) = (self.queues.most - waiting.len(), |ticket: &Ticket| self.owner.knows(&ticket.request));
            self.backlog.pick(&self.queues, picked_up, room, knows, turn_away, &mut self.picked);
            if self.picked.is_empty() {
                break;
            }
            self.owner.look_ahead(self.picked.iter().map(|ticket| &ticket.request));
            for Ticket { mut request, queued, deadline, reply } in self.picked.drain(..) {
                if deadline.is_some_and(|deadline| picked_up >= deadline) {
                    mark_late(&mut request);
                }
                self.owner.take(&request, group);
                let now = self.owner.now();
                waiting.push(Waiting { reply, now, queued, picked_up, decided: picked_up });
            }
        }
        if waiting.len() > before {
            let decided = Instant::now();
            waiting.iter_mut().skip(before).for_each(|waiting| waiting.decided = decided);
        }
        if waiting.len() >= self.queues.most {
            // The committer tells when it takes a full group; it can't before this turn lets go of the desk.
            self.queues.is_full.store(true, Ordering::SeqCst);
            self.backlog.park(&self.queues, picked_up, |ticket| self.owner.knows(&ticket.request), turn_away);
        }
    }

    fn deliver_durable(&mut self) -> Result<(), JournalError> {
        let (mut groups, failed) = {
            let mut done = self.line.done.lock();
            (std::mem::take(&mut done.0), done.1.take())
        };
        for pending in &mut groups {
            let waiting = pending.waiting.len();
            self.deliver(pending);
            let mut desk = self.line.desk.lock();
            desk.flying -= 1;
            desk.flying_waiting -= waiting;
            desk.spare.push(std::mem::take(pending));
        }
        failed.map_or(Ok(()), Err)
    }

    /// Shows readers what changed, then lets the answers go.
    fn deliver(&self, pending: &mut Pending) {
        self.owner.show(&mut pending.group);
        let durable = pending.durable.take();
        for (waiting, reply) in pending.waiting.drain(..).zip(pending.group.replies.drain(..)) {
            let stages = waiting.stages(durable.unwrap_or(waiting.decided));
            waiting.reply.send(Ok(Answered { reply, now: waiting.now, stages }));
        }
        pending.group.clear();
    }
}

/// No decision was made; the caller may have gone anyway.
fn turn_away(ticket: Ticket) {
    ticket.reply.send(Err(Shed::Waited));
}

fn mark_late(request: &mut Request) {
    if let Request::Authorize { input, .. } = request {
        Arc::make_mut(input).late = true;
    }
}

//! The engine in service: a task that takes what waits in the queues, judges it at once, and answers it when its group
//! is durable. It runs where the sockets are served, so a request is read, judged and answered on one thread; only the
//! committer is elsewhere.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::time::MissedTickBehavior;

use crate::clock::Clock;
use crate::domain::commands::request::Request;
use crate::journal::{JournalError, Lease};

use super::Engine;
use super::backlog::Backlog;
use super::committer::{CommitQueue, Done, Groups, Pending, Thread};
use super::inbox::Ticket;
use super::outlet::{Answered, Shed, Waiting};
use super::owner::Owner;
use super::pacing::{Callers, Pacing};
use super::queues::Queues;

/// How often the calendar makes a step: with 2 documents in one, a million bills take some half an hour. The ledger's
/// writing of them holds the journal's syncs up on one disk: the p99 of 1,000 authorizations/s went from 1.5 to 26 ms with
/// 8,000 documents a second, and to some 5 with 2,000 (`docs/performance.md`).
const CALENDAR_TICK: Duration = Duration::from_millis(4);
/// How often an idle engine looks at the time: expired holds are recorded, memory is freed.
const IDLE_TICK: Duration = Duration::from_millis(500);

/// Serves the queues until `stop` ends and everything that waits is answered; gives the owner back. An error means that
/// the journal could not be written: nothing of the group was answered, and the process must stop. The committer's
/// thread calls `report_room` between groups, every few seconds, with whether the journal has room. Once
/// [`Queues::is_stopping`] is set the calendar makes no documents any more, which would keep it busy for as long as there are
/// some; once [`Queues::is_halted`] is set it never ends.
pub async fn serve(
    engine: Engine,
    queues: Queues,
    clock: Clock,
    report_room: impl FnMut(Result<(), String>) + Send + 'static,
    stop: impl Future<Output = ()>,
) -> Result<Owner, JournalError> {
    let (owner, committer) = engine.into_parts();
    let lease = committer.lease();
    let wake = Arc::clone(&queues.wake);
    let commits = Arc::new(CommitQueue::new(queues.most, Arc::clone(&wake)));
    let pacing = Pacing::new(queues.longest_gap, Instant::now());
    let thread = Thread { committer, queue: Arc::clone(&commits), pacing, report_room };
    let thread = std::thread::Builder::new().name("journal".to_owned()).spawn(move || thread.run());
    let thread = thread.map_err(JournalError::failed("start its thread"))?;
    let now = Instant::now();
    let target = queues.target;
    let mut service = Service {
        owner,
        queues,
        backlog: Backlog::new(target, now),
        clock,
        commits,
        lease,
        kept_back: Vec::new(),
        callers: Callers::new(now),
        picked: Vec::new(),
        calendar_is_due: false,
    };
    let mut idle = tokio::time::interval(IDLE_TICK);
    let mut calendar = tokio::time::interval(CALENDAR_TICK);
    calendar.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Also while a disk stalls, requests that waited too long are turned away in time.
    let mut look = tokio::time::interval(target);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut stop = std::pin::pin!(stop);
    let mut stopping = false;
    while !(stopping && service.is_still()) {
        tokio::select! {
            biased;
            // Rare, and so first: on a busy day the calendar would else never come.
            _ = calendar.tick(), if service.owner.calendar_is_busy() && !service.is_stopping() => service.calendar_is_due = true,
            _ = idle.tick() => service.calendar_is_due = true,
            () = wake.notified() => {}
            _ = look.tick(), if service.is_full() => {}
            () = stop.as_mut(), if !stopping => stopping = true,
        }
        if service.queues.is_halted.load(Ordering::Relaxed) {
            // Whoever asked hears nothing: to say that no decision was made might be wrong.
            std::future::pending::<()>().await;
        }
        service.turn()?;
    }
    service.commits.stop();
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
    commits: Arc<CommitQueue>,
    /// No answer leaves without it: somebody else may have decided since.
    lease: Lease,
    /// Durable groups whose answers wait for it.
    kept_back: Vec<Pending>,
    callers: Callers,
    /// Picked and not yet judged; empty between turns.
    picked: Vec<Ticket>,
    /// The calendar may make a step.
    calendar_is_due: bool,
}

impl Service {
    fn is_still(&self) -> bool {
        let groups = self.commits.groups.lock();
        self.depth() == 0 && groups.in_flight == 0 && groups.open.group.is_empty()
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
        let commits = Arc::clone(&self.commits);
        let mut groups = commits.groups.lock();
        self.judge(&mut groups);
        if groups.in_flight == 0 && groups.open.group.records.is_empty() && self.lease.holds() {
            // Nothing that these answers speak of is still on its way to the disk.
            let mut open = std::mem::take(&mut groups.open);
            self.deliver(&mut open);
            groups.open = open;
            if self.is_full() {
                // It is empty again, and no committer will say so.
                self.queues.is_full.store(false, Ordering::SeqCst);
                self.queues.wake.notify_one();
            }
        } else {
            let waiting = groups.open.waiting.len();
            self.callers.saw(waiting + groups.in_flight_requests, Instant::now());
            groups.hurry = waiting >= self.queues.most || self.callers.is_half(waiting);
            commits.wake(&mut groups);
        }
        drop(groups);
        self.owner.set_gauges();
        self.queues.parked.store(self.backlog.len(), Ordering::Relaxed);
        Ok(())
    }

    /// Judges what waits, urgent first, as far as the open group has room.
    fn judge(&mut self, groups: &mut Groups) {
        // Before the queues are looked at: what comes after that look wakes this task again.
        self.queues.is_full.store(false, Ordering::SeqCst);
        let picked_up = Instant::now();
        let Pending { group, waiting, .. } = &mut groups.open;
        if self.queues.is_stopping.load(Ordering::Relaxed) {
            self.owner.begin_without_expiry(self.clock.now(), group);
        } else {
            self.owner.begin(self.clock.now(), group);
            if std::mem::take(&mut self.calendar_is_due) {
                self.owner.calendar_step(group);
            }
        }
        let before = waiting.len();
        while waiting.len() < self.queues.most {
            let room = self.queues.most - waiting.len();
            let knows = |ticket: &Ticket| self.owner.knows(&ticket.request);
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
            // The committer wakes this task when it takes a full group; it can't before this turn lets go of the groups.
            self.queues.is_full.store(true, Ordering::SeqCst);
            self.backlog.park(&self.queues, picked_up, |ticket| self.owner.knows(&ticket.request), turn_away);
        }
    }

    fn deliver_durable(&mut self) -> Result<(), JournalError> {
        let Done { groups: durable, error } = std::mem::take(&mut *self.commits.done.lock());
        self.kept_back.extend(durable);
        if !self.lease.holds() {
            return error.map_or(Ok(()), Err);
        }
        for mut pending in std::mem::take(&mut self.kept_back) {
            let waiting = pending.waiting.len();
            self.deliver(&mut pending);
            let mut groups = self.commits.groups.lock();
            groups.in_flight -= 1;
            groups.in_flight_requests -= waiting;
            groups.spare.push(pending);
        }
        error.map_or(Ok(()), Err)
    }

    /// Shows readers what changed, then lets the answers go. The lease was just looked at.
    fn deliver(&self, pending: &mut Pending) {
        pending.group.show(self.owner.board());
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

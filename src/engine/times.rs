//! Where the time of a call goes, measured in one place for every door: reading it (`parse`), judging its code by its text
//! (`verify`), the engine's `queue`, `decide` and `journal`, summed over all questions that the call puts, and what is left
//! until it is answered (`answer`).
//!
//! The task that answers a call keeps its times beside it ([`counted`]); [`super::client::Client::ask`] adds to them. A
//! link has one task for many messages, and keeps the times of each sale that it puts to the engine by itself.

use std::cell::Cell;
use std::time::{Duration, Instant};

use tokio::task::JoinError;

use super::outlet::{Answered, Stages};
use crate::domain::commands::reply::Reply;
use crate::metrics::{Stage, metrics};

/// The times of one call, so far.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Monotonic.
    pub received: Instant,
    /// Of an authorization: until it was read, and known that its caller may make it. Then its code is judged.
    parse: Option<Duration>,
    /// Until the first question was put.
    before: Option<Duration>,
    /// Of all questions that were answered.
    engine: Option<Stages>,
    is_decision: bool,
}

impl Times {
    pub const fn since(received: Instant) -> Self {
        Self { received, parse: None, before: None, engine: None, is_decision: false }
    }

    /// An authorization was read.
    pub fn parsed(&mut self, now: Instant) {
        self.parse = Some(now.saturating_duration_since(self.received));
    }

    /// A question is put.
    pub fn asked(&mut self, now: Instant) {
        self.before.get_or_insert_with(|| now.saturating_duration_since(self.received));
    }

    /// A question was answered.
    pub fn answered(&mut self, Answered { reply, stages, .. }: &Answered) {
        let sum = self.engine.get_or_insert_default();
        sum.queue += stages.queue;
        sum.decide += stages.decide;
        sum.journal += stages.journal;
        self.is_decision |= self.parse.is_some() && matches!(reply, Reply::Decision { .. });
    }

    /// A call is answered now: its stages in their order, which are counted where it was a decision. Nothing where the engine
    /// was not asked. `verify` is of decisions only, elsewhere it is part of `parse`; the wait of a long poll is part of
    /// `answer`.
    pub fn end(&self, now: Instant) -> Option<[(Stage, Duration); 6]> {
        let (before, engine) = (self.before?, self.engine?);
        let parse = self.parse.filter(|_| self.is_decision).unwrap_or(before);
        let known = before + engine.queue + engine.decide + engine.journal;
        let stages = [
            (Stage::Parse, parse),
            (Stage::Verify, before.saturating_sub(parse)),
            (Stage::Queue, engine.queue),
            (Stage::Decide, engine.decide),
            (Stage::Journal, engine.journal),
            (Stage::Answer, now.saturating_duration_since(self.received).saturating_sub(known)),
        ];
        if self.is_decision {
            let metrics = metrics();
            stages.iter().for_each(|(stage, took)| metrics.stage(*stage, *took));
        }
        Some(stages)
    }

    pub const fn is_decision(&self) -> bool {
        self.is_decision
    }
}

tokio::task_local! {
    /// Of the call that this task answers.
    static TIMES: Cell<Times>;
}

/// Whoever asks in a task without times is not timed: a link's quick sales, and what no caller waits for.
fn change(with: impl FnOnce(&mut Times)) {
    let change = |times: &Cell<Times>| {
        let mut now = times.get();
        with(&mut now);
        times.set(now);
    };
    TIMES.try_with(change).unwrap_or_default();
}

/// The authorization that this task answers was read.
pub fn parsed() {
    change(|times| times.parsed(Instant::now()));
}

/// A question is put by this task.
pub(super) fn asked() {
    change(|times| times.asked(Instant::now()));
}

/// A question of this task was answered.
pub(super) fn answered(answered: &Answered) {
    change(|times| times.answered(answered));
}

/// Runs a call whose times so far are these, and gives what they have come to.
pub async fn counted<T>(so_far: Times, call: impl Future<Output = T>) -> (T, Times) {
    TIMES.scope(Cell::new(so_far), async { (call.await, TIMES.with(Cell::get)) }).await
}

/// A part of a call in a task of its own, which nobody ends by hanging up. What it asks counts for the call.
pub async fn in_own_task<T: Send + 'static>(part: impl Future<Output = T> + Send + 'static) -> Result<T, JoinError> {
    let so_far = TIMES.try_with(Cell::get).unwrap_or_else(|_| Times::since(Instant::now()));
    let (done, times) = tokio::spawn(counted(so_far, part)).await?;
    change(|now| *now = times);
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::model::denial::Reason;
    use crate::domain::model::ids::{AuthorizationId, Lsn, OrderId, Part};
    use crate::domain::model::money::Yen;
    use crate::domain::model::order::{OrderState, Told};
    use crate::domain::model::time::{Millis, Now};

    const MS: Duration = Duration::from_millis(1);

    fn answered(reply: Reply) -> Answered {
        let stages = Stages { queue: 2 * MS, decide: MS, journal: 4 * MS };
        Answered { reply, now: Now::at(Millis(0)), stages }
    }

    fn denied() -> Reply {
        let now = Now::at(Millis(0));
        let order = Told {
            id: AuthorizationId { part: Part::default(), lsn: Lsn(1), random: 1 },
            order_id: OrderId::new("R-1").unwrap(),
            amount: Yen::new(1),
            decided_at: now.at,
            state: OrderState::Denied(Reason::CodeExpired),
            month: now.month,
            due: now.date,
            points: 0,
            first: None,
            billed: false,
        };
        Reply::Decision { order, replayed: false }
    }

    fn shown(times: &Times, now: Instant) -> [(&'static str, u128); 6] {
        times.end(now).unwrap().map(|(stage, took)| (stage.name(), took.as_millis()))
    }

    #[test]
    fn the_stages_of_all_questions_and_the_rest_are_the_whole() {
        let received = Instant::now();
        let mut times = Times::since(received);
        times.parsed(received + MS);
        times.asked(received + 3 * MS);
        assert!(times.end(received + 3 * MS).is_none(), "nobody answered");
        // The record of the code's handle, then the sale.
        times.answered(&answered(Reply::Unknown));
        times.asked(received + 12 * MS);
        times.answered(&answered(denied()));
        let six = [("parse", 1), ("verify", 2), ("queue", 4), ("decide", 2), ("journal", 8), ("answer", 3)];
        assert_eq!(shown(&times, received + 20 * MS), six);
    }

    #[test]
    fn verify_is_of_decisions_only() {
        let received = Instant::now();
        for (is_authorization, reply) in [(true, Reply::Throttled), (false, denied())] {
            let mut times = Times::since(received);
            if is_authorization {
                times.parsed(received + MS);
            }
            times.asked(received + 3 * MS);
            times.answered(&answered(reply));
            assert!(!times.is_decision());
            let stages = [("parse", 3), ("verify", 0), ("queue", 2), ("decide", 1), ("journal", 4), ("answer", 0)];
            assert_eq!(shown(&times, received + 10 * MS), stages);
        }
    }

    #[tokio::test]
    async fn what_a_task_of_its_own_asks_counts_for_its_call() {
        let received = Instant::now();
        let part = async {
            asked();
            super::answered(&answered(denied()));
        };
        let call = async {
            parsed();
            in_own_task(part).await.unwrap();
            super::answered(&answered(Reply::Unknown));
        };
        let ((), times) = counted(Times::since(received), call).await;
        let stages = shown(&times, Instant::now());
        assert_eq!((times.is_decision(), stages[2], stages[4]), (true, ("queue", 4), ("journal", 8)));
    }
}

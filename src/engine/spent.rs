//! Where the time of a call went: what the engine says of each question that the call put, summed over the call.

use std::cell::Cell;
use std::time::Instant;

use tokio::task::JoinError;

use super::outlet::Stages;

/// Of one call, so far.
#[derive(Clone, Copy, Default)]
pub struct Spent {
    /// When the first question was put.
    pub first: Option<Instant>,
    /// Of all questions that were answered.
    pub stages: Option<Stages>,
}

tokio::task_local! {
    /// Of the call that this task answers.
    static SPENT: Cell<Spent>;
}

fn change(with: impl FnOnce(&mut Spent)) {
    // Nobody asks where the time of a message of the network's link went: its task counts nothing.
    let count = |spent: &Cell<Spent>| {
        let mut now = spent.get();
        with(&mut now);
        spent.set(now);
    };
    SPENT.try_with(count).unwrap_or_default();
}

/// A question is put now.
pub(super) fn begin() {
    change(|spent| spent.first = spent.first.or_else(|| Some(Instant::now())));
}

/// A question was answered.
pub(super) fn note(stages: &Stages) {
    change(|spent| {
        let sum = spent.stages.get_or_insert_default();
        sum.queue += stages.queue;
        sum.decide += stages.decide;
        sum.journal += stages.journal;
    });
}

/// Runs a call and gives what its questions took.
pub async fn counted<T>(call: impl Future<Output = T>) -> (T, Spent) {
    continued(Spent::default(), call).await
}

async fn continued<T>(so_far: Spent, call: impl Future<Output = T>) -> (T, Spent) {
    SPENT.scope(Cell::new(so_far), async { (call.await, SPENT.with(Cell::get)) }).await
}

/// A part of a call in a task of its own, which nobody ends by hanging up. What it asks counts for the call.
pub async fn in_own_task<T: Send + 'static>(part: impl Future<Output = T> + Send + 'static) -> Result<T, JoinError> {
    let so_far = SPENT.try_with(Cell::get).unwrap_or_default();
    let (done, spent) = tokio::spawn(continued(so_far, part)).await?;
    change(|now| *now = spent);
    Ok(done)
}

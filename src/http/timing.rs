//! Where the time of a call went, for `Server-Timing`: what the engine tells of each question, summed over the call. An
//! answer for which the engine was not asked has none.

use std::cell::Cell;
use std::time::{Duration, Instant};

use hyper::header::{HeaderName, HeaderValue};
use tokio::task::JoinError;

use super::answer::Answer;
use super::call::push_milliseconds;
use super::problem::Problem;
use crate::engine::inbox::Stages;

pub(crate) const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// Of one call, so far.
#[derive(Clone, Copy, Default)]
struct Spent {
    /// When the first question was put.
    first: Option<Instant>,
    /// Of all questions that were answered.
    stages: Option<Stages>,
}

tokio::task_local! {
    /// Of the call that this task answers.
    static SPENT: Cell<Spent>;
}

fn change(with: impl FnOnce(&mut Spent)) {
    // A question that no call puts, such as one of the network's link, is nobody's to count.
    let count = |spent: &Cell<Spent>| {
        let mut now = spent.get();
        with(&mut now);
        spent.set(now);
    };
    SPENT.try_with(count).unwrap_or_default();
}

/// A question is put now.
pub(crate) fn begin() {
    change(|spent| spent.first = spent.first.or_else(|| Some(Instant::now())));
}

/// A question was answered.
pub(crate) fn note(stages: &Stages) {
    change(|spent| {
        let sum = spent.stages.get_or_insert_default();
        sum.queue += stages.queue;
        sum.decide += stages.decide;
        sum.journal += stages.journal;
    });
}

/// Answers a call and says where its time went, unless the call says so itself.
pub(crate) async fn timed(
    received: Instant,
    call: impl Future<Output = Result<Answer, Problem>>,
) -> Result<Answer, Problem> {
    let answering = async {
        let answered = call.await;
        let Some(timing) = header(received, SPENT.with(Cell::get)) else { return answered };
        match answered {
            Ok(answer) if answer.headers.iter().any(|(name, _)| *name == SERVER_TIMING) => Ok(answer),
            Ok(answer) => Ok(answer.with_header(SERVER_TIMING, timing)),
            Err(problem) => Err(match HeaderValue::from_str(&timing) {
                Ok(value) => problem.with_header(SERVER_TIMING, value),
                Err(_) => problem,
            }),
        }
    };
    SPENT.scope(Cell::default(), answering).await
}

/// A part of a call in a task of its own, which nobody ends by hanging up. What it asks counts for the call.
pub(crate) async fn in_own_task<T: Send + 'static>(
    part: impl Future<Output = T> + Send + 'static,
) -> Result<T, JoinError> {
    let so_far = SPENT.try_with(Cell::get).unwrap_or_default();
    let apart = SPENT.scope(Cell::new(so_far), async move { (part.await, SPENT.with(Cell::get)) });
    let (done, spent) = tokio::spawn(apart).await?;
    change(|now| *now = spent);
    Ok(done)
}

/// What came before the first question is `parse`, what no question took is `answer`: the wait of a long poll too.
fn header(received: Instant, spent: Spent) -> Option<String> {
    let (first, stages) = (spent.first?, spent.stages?);
    let parse = first.saturating_duration_since(received);
    let known = parse + stages.queue + stages.decide + stages.journal;
    let answer = received.elapsed().saturating_sub(known);
    let all: [(&str, Duration); 5] = [
        ("parse", parse),
        ("queue", stages.queue),
        ("decide", stages.decide),
        ("journal", stages.journal),
        ("answer", answer),
    ];
    let mut text = String::with_capacity(128);
    for (stage, took) in all {
        if !text.is_empty() {
            text += ", ";
        }
        text += stage;
        text += ";dur=";
        push_milliseconds(&mut text, took);
    }
    Some(text)
}

//! The sandbox's clock.

use serde::{Deserialize, Serialize};

use super::answer::Answer;
use super::fields::{self, Text};
use super::flow::Asked;
use super::problem::{NOT_FOUND, Problem};
use crate::domain::jst::Millis;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClockBody {
    now: Text<Millis>,
}

#[derive(Serialize)]
struct ClockShown {
    now: String,
}

/// `POST /sandbox/clock`
pub(super) fn set_clock(asked: &Asked<'_>) -> Result<Answer, Problem> {
    let body: ClockBody = fields::read(asked.body)?;
    let setter = asked.edge.clock_setter.as_ref();
    let setter = setter.ok_or_else(|| Problem::new(&NOT_FOUND, "Only the sandbox has a clock to set."))?;
    match setter(body.now.0) {
        Ok(now) => Answer::ok(&ClockShown { now: now.to_string() }),
        Err(present) => {
            let problem = Problem::field("/now", "must not be before the present: time only goes forward");
            Err(problem.with("present", present.to_string()))
        }
    }
}

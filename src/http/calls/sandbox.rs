//! The sandbox's clock.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::domain::model::time::{Millis, Now};
use crate::http::answer::Answer;
use crate::http::asked::Asked;
use crate::http::fields;
use crate::http::fields::Text;
use crate::http::problem::{NOT_FOUND, Problem};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClockBody {
    now: Text<Millis>,
}

#[derive(Serialize)]
struct ClockShown {
    now: Millis,
}

/// `POST /sandbox/clock`
pub(crate) async fn set_clock(asked: &Asked) -> Result<Answer, Problem> {
    let body: ClockBody = fields::read(&asked.body)?;
    // A QR holds its second of issue in 32 bits, up to 2106.
    if Now::at(body.now.0).date.year() >= 2_100 {
        return Err(Problem::field("/now", "must be before the year 2100"));
    }
    let setter = asked.edge.clock_setter.as_ref().map(Arc::clone);
    let setter = setter.ok_or_else(|| {
        Problem::new(&NOT_FOUND, "Only the sandbox has a clock to set. Use one that `serve --sandbox` started.")
    })?;
    // It waits for the ledger, which somebody may hold: nobody else waits for that, and no stop.
    let set = tokio::task::spawn_blocking(move || setter(body.now.0));
    match set.await.map_err(|_| Problem::internal())? {
        Ok(now) => Answer::ok(&ClockShown { now }),
        Err(present) => {
            let problem = Problem::field("/now", "must not be before the present: time only goes forward");
            Err(problem.with("present", present.to_string()))
        }
    }
}

//! `Server-Timing`: where the time of a call went, in the words of HTTP.

use std::time::{Duration, Instant};

use hyper::header::{HeaderName, HeaderValue};

use super::answer::Answer;
use super::problem::Problem;
use crate::engine::times;
use crate::engine::times::Times;
use crate::metrics::Stage;

const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// Answers a call and says where its time went. An answer for which the engine was not asked says nothing of it.
pub(crate) async fn timed(
    received: Instant,
    call: impl Future<Output = Result<Answer, Problem>>,
) -> Result<Answer, Problem> {
    let (answered, times) = times::counted(Times::since(received), call).await;
    let Some(timing) = server_timing(&times, Instant::now()) else { return answered };
    match answered {
        Ok(answer) => Ok(answer.with_header(SERVER_TIMING, timing)),
        Err(problem) => Err(match HeaderValue::from_str(&timing) {
            Ok(value) => problem.with_header(SERVER_TIMING, value),
            Err(_) => problem,
        }),
    }
}

/// Ends a call: the header's value.
pub(crate) fn server_timing(times: &Times, now: Instant) -> Option<String> {
    let stages = times.end(now)?;
    let mut text = String::with_capacity(160);
    for (stage, took) in stages {
        if stage == Stage::Verify && !times.is_decision() {
            continue;
        }
        if !text.is_empty() {
            text += ", ";
        }
        text += stage.name();
        text += ";dur=";
        push_milliseconds(&mut text, took);
    }
    Some(text)
}

/// Appends milliseconds with three decimals. By hand, because every decision has six.
fn push_milliseconds(text: &mut String, took: Duration) {
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    // 16 digits of whole milliseconds, the point and the decimals.
    let mut digits = [b'0'; 20];
    let mut left = micros;
    let mut begin = digits.len();
    for (at, place) in digits.iter_mut().enumerate().rev() {
        if at == 16 {
            *place = b'.';
            continue;
        }
        if left == 0 && at < 15 {
            break;
        }
        *place = b'0' + u8::try_from(left % 10).unwrap_or(0);
        left /= 10;
        begin = at;
    }
    text.push_str(digits.get(begin..).and_then(|shown| std::str::from_utf8(shown).ok()).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_decimals() {
        let shown = |micros| {
            let mut text = String::new();
            push_milliseconds(&mut text, Duration::from_micros(micros));
            text
        };
        for (micros, text) in
            [(0, "0.000"), (7, "0.007"), (1_234, "1.234"), (10_000, "10.000"), (98_765_432, "98765.432")]
        {
            assert_eq!(shown(micros), text);
        }
        assert_eq!(shown(u64::MAX), "8446744073709551.615", "no one waits for half a million years");
    }
}

//! A call's body: of the right kind, whole, not too large and not too slow; what is left of one that was refused.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Collected, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::header::{self, HeaderMap, HeaderValue};

use super::problem::{BODY_TIMEOUT, MALFORMED, Problem, TOO_LARGE, UNSUPPORTED_MEDIA_TYPE};
use super::routes::BodyKind;

/// What is still read of a body that was refused, so that the answer reaches a caller who is still sending.
const LINGER: usize = 256 * 1024;
const LINGER_TIME: Duration = Duration::from_secs(2);

pub(crate) fn check_media_type(headers: &HeaderMap, body: &BodyKind) -> Result<(), Problem> {
    let is_plain = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    if !headers.get_all(header::CONTENT_ENCODING).iter().all(is_plain) {
        let problem = Problem::new(&UNSUPPORTED_MEDIA_TYPE, "Send the body plain, without a Content-Encoding.");
        return Err(problem.with_header(header::ACCEPT_ENCODING, HeaderValue::from_static("identity")));
    }
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut parts = value.split(';').map(str::trim);
    let wanted = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case(body.media_type));
    let harmless = |part: &str| {
        let part = part.to_ascii_lowercase().replace('"', "");
        part.is_empty() || part == "charset=utf-8" || (part == "header=present" && body.media_type == "text/csv")
    };
    if wanted && parts.all(harmless) {
        return Ok(());
    }
    let detail = format!("Send the body as `Content-Type: {}` in UTF-8.", body.media_type);
    Err(Problem::new(&UNSUPPORTED_MEDIA_TYPE, detail))
}

fn too_large(most: usize) -> Problem {
    Problem::new(&TOO_LARGE, format!("Send at most {most} bytes."))
}

/// Reads the whole body. `body` is taken once nothing of it is left.
pub(crate) async fn read_body(body: &mut Option<Incoming>, most: usize, timeout: Duration) -> Result<Bytes, Problem> {
    let Some(incoming) = body.as_mut() else { return Ok(Bytes::new()) };
    if incoming.size_hint().lower() > u64::try_from(most).unwrap_or(u64::MAX) {
        return Err(too_large(most));
    }
    let whole = tokio::time::timeout(timeout, collect(incoming, most)).await;
    let whole = whole.unwrap_or_else(|_| {
        let detail = format!("Send the body within {} seconds of its head.", timeout.as_secs());
        Err(Problem::new(&BODY_TIMEOUT, detail))
    })?;
    *body = None;
    Ok(whole)
}

async fn collect(incoming: &mut Incoming, most: usize) -> Result<Bytes, Problem> {
    let whole = Limited::new(incoming, most).collect().await;
    whole.map(Collected::to_bytes).map_err(|error| {
        if error.is::<LengthLimitError>() {
            too_large(most)
        } else {
            Problem::new(&MALFORMED, "Send the body whole and framed as its head says: it ended early, or is not.")
        }
    })
}

/// Reads on for a while after a refusal and throws it away: a socket closed with bytes unread is reset, and the
/// caller would lose the answer.
pub(crate) async fn linger(mut body: Incoming) {
    let drain = async {
        let mut left = LINGER;
        while let Some(Ok(frame)) = body.frame().await {
            let len = frame.data_ref().map_or(0, Bytes::len);
            match left.checked_sub(len) {
                Some(less) => left = less,
                None => break,
            }
        }
    };
    drop(tokio::time::timeout(LINGER_TIME, drain).await);
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: BodyKind = BodyKind { media_type: "application/json", most: 1_024, may_be_absent: false };

    #[test]
    fn a_body_that_is_packed_is_refused() {
        let with = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            for value in values {
                headers.append(header::CONTENT_ENCODING, HeaderValue::from_static(value));
            }
            check_media_type(&headers, &JSON).map_err(|problem| problem.status())
        };
        assert_eq!((with(&[]), with(&["identity"]), with(&["Identity"])), (Ok(()), Ok(()), Ok(())));
        for wrong in [&["gzip"][..], &["identity, gzip"], &["identity", "br"], &[""]] {
            assert_eq!(with(wrong), Err(415), "{wrong:?}");
        }
    }

    #[test]
    fn only_json_in_utf_8() {
        let with = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(value));
            check_media_type(&headers, &JSON).is_ok()
        };
        assert!(with("application/json") && with("Application/JSON; charset=\"UTF-8\""));
        assert!(!with("text/plain") && !with("application/json; charset=sjis") && !with("application/jsonp"));
        assert!(check_media_type(&HeaderMap::new(), &JSON).is_err());
    }
}

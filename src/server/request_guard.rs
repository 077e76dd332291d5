//! What is refused before any thought: heads that can be read two ways, bodies that are too large, too slow or
//! of another kind; and the query, whose every parameter must be known.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::Version;
use hyper::body::{Body as _, Incoming};
use hyper::header::{self, HeaderMap};
use hyper::http::request::Parts;

use super::problem::{BODY_TIMEOUT, MALFORMED, Problem, TOO_LARGE, UNSUPPORTED_MEDIA_TYPE};
use super::router::BodyKind;

/// What is still read of a body that was refused, so that the answer reaches a caller who is still sending.
const LINGER: usize = 256 * 1024;
const LINGER_TIME: Duration = Duration::from_secs(2);

fn malformed(detail: &str) -> Problem {
    Problem::new(&MALFORMED, detail)
}

/// Refuses heads that another reader could understand otherwise.
pub(super) fn check_head(head: &Parts, suspicious: bool) -> Result<(), Problem> {
    if suspicious {
        return Err(malformed("Send Content-Length or Transfer-Encoding, not both."));
    }
    if head.uri.scheme().is_some() || head.uri.authority().is_some() {
        return Err(malformed("Send the path alone as the request target."));
    }
    let mut hosts = head.headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (_, Some(_)) => Err(malformed("Send one Host header, not several.")),
        (None, None) if head.version == Version::HTTP_11 => Err(malformed("Send a Host header.")),
        (Some(host), None) if host.is_empty() => Err(malformed("Send a Host header that is not empty.")),
        (_, None) => Ok(()),
    }
}

pub(super) fn check_media_type(headers: &HeaderMap, body: &BodyKind) -> Result<(), Problem> {
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
pub(super) async fn read_body(body: &mut Option<Incoming>, most: usize, timeout: Duration) -> Result<Bytes, Problem> {
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
    let mut whole = Bytes::new();
    let mut more = BytesMut::new();
    while let Some(frame) = incoming.frame().await {
        let frame = frame.map_err(|_| malformed("The body ended before its length or is not framed as it says."))?;
        let Ok(data) = frame.into_data() else { continue };
        if whole.len() + more.len() + data.len() > most {
            return Err(too_large(most));
        }
        if whole.is_empty() {
            whole = data;
        } else {
            more.extend_from_slice(&data);
        }
    }
    if more.is_empty() {
        return Ok(whole);
    }
    let mut both = BytesMut::from(whole);
    both.extend_from_slice(&more);
    Ok(both.freeze())
}

/// Reads on for a while after a refusal and throws it away: a socket closed with bytes unread is reset, and the
/// caller would lose the answer.
pub(super) async fn linger(mut body: Incoming) {
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

/// The query's parameters, each known and there at most once.
pub(super) struct Query<'a>(Vec<(&'a str, Cow<'a, str>)>);

impl<'a> Query<'a> {
    pub(super) fn read(query: Option<&'a str>, known: &[&str]) -> Result<Self, Problem> {
        let mut pairs: Vec<(&str, Cow<'_, str>)> = Vec::new();
        for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if !known.contains(&name) {
                let shown: String = name.chars().take(64).collect();
                return Err(Problem::parameter(&shown, format!("is not known; known here: {}", known.join(", "))));
            }
            if pairs.iter().any(|(other, _)| *other == name) {
                return Err(Problem::parameter(name, "is there twice"));
            }
            let value = percent_decode_str(value).decode_utf8();
            let value = value.map_err(|_| Problem::parameter(name, "is not UTF-8 when decoded"))?;
            pairs.push((name, value));
        }
        Ok(Self(pairs))
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(other, _)| *other == name).map(|(_, value)| value.as_ref())
    }

    /// A whole number within bounds, if it is there.
    pub(super) fn number(&self, name: &str, bounds: std::ops::RangeInclusive<u64>) -> Result<Option<u64>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let number = text.parse().ok().filter(|number| bounds.contains(number));
        let wanted = || format!("must be a whole number from {} to {}", bounds.start(), bounds.end());
        number.map(Some).ok_or_else(|| Problem::parameter(name, wanted()))
    }
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    const JSON: BodyKind = BodyKind { media_type: "application/json", most: 1_024, may_be_absent: false };

    fn head(uri: &str, hosts: &[&'static str]) -> Parts {
        let mut request = Request::builder().uri(uri);
        for host in hosts {
            request = request.header(header::HOST, *host);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn heads_that_can_be_read_two_ways_are_refused() {
        assert!(check_head(&head("/livez", &["a"]), false).is_ok());
        assert!(check_head(&head("/livez", &["a"]), true).is_err());
        assert!(check_head(&head("/livez", &[]), false).is_err());
        assert!(check_head(&head("/livez", &[""]), false).is_err());
        assert!(check_head(&head("/livez", &["a", "a"]), false).is_err());
        assert!(check_head(&head("http://a/livez", &["a"]), false).is_err());
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

    #[test]
    fn a_query_is_known_or_refused() {
        let query = Query::read(Some("wait_ms=5"), &["wait_ms"]).unwrap();
        assert_eq!(query.number("wait_ms", 0..=10).unwrap(), Some(5));
        assert_eq!(query.number("limit", 0..=10).unwrap(), None);
        assert!(query.number("wait_ms", 6..=10).is_err());
        for bad in ["wait=5", "wait_ms=1&wait_ms=1"] {
            assert!(Query::read(Some(bad), &["wait_ms"]).is_err(), "{bad}");
        }
        assert!(Query::read(Some("wait_ms=-1"), &["wait_ms"]).unwrap().number("wait_ms", 0..=10).is_err());
    }
}

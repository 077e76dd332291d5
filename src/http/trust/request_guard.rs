//! What is refused before any thought: heads that can be read two ways, bodies that are too large, too slow or
//! of another kind; and the query, whose every parameter must be known.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Collected, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::http::request::Parts;
use hyper::http::uri::{Authority, Scheme};
use hyper::{Method, Uri, Version};
use percent_encoding::percent_decode_str;

use crate::http::framing::Framed;
use crate::http::problem::{BODY_TIMEOUT, CODING_UNKNOWN, MALFORMED, Problem, TOO_LARGE, UNSUPPORTED_MEDIA_TYPE};
use crate::http::routes::BodyKind;

/// What is still read of a body that was refused, so that the answer reaches a caller who is still sending.
const LINGER: usize = 256 * 1024;
const LINGER_TIME: Duration = Duration::from_secs(2);

fn malformed(detail: &str) -> Problem {
    Problem::new(&MALFORMED, detail)
}

/// Refuses heads that another reader could understand otherwise. `is_tls`: whether the connection speaks TLS.
pub(crate) fn check_head(head: &Parts, framed: Framed, is_tls: bool) -> Result<(), Problem> {
    match framed {
        Framed::Well => {}
        Framed::TwoWays => {
            return Err(malformed("Send one Content-Length, or `Transfer-Encoding: chunked` once, and not both."));
        }
        Framed::UnknownCoding => {
            let detail = "Send the body as it is, with a Content-Length or `Transfer-Encoding: chunked` alone.";
            return Err(Problem::new(&CODING_UNKNOWN, detail));
        }
        Framed::Fragment => {
            return Err(malformed("Send the request target without a fragment: no `#` and what follows."));
        }
    }
    check_target(&head.method, &head.uri, is_tls)?;
    let mut kinds = head.headers.get_all(header::CONTENT_TYPE).iter();
    let first = kinds.next();
    if kinds.any(|kind| Some(kind) != first) {
        return Err(malformed("Send one Content-Type header, not several that differ."));
    }
    let mut hosts = head.headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (_, Some(_)) => Err(malformed("Send one Host header, not several.")),
        (None, None) if head.version == Version::HTTP_11 => Err(malformed("Send a Host header.")),
        (Some(host), None) if host.is_empty() => Err(malformed("Send a Host header that is not empty.")),
        (Some(host), None) if !is_host(host.as_bytes()) => Err(malformed("Send a host, and its port, as the Host.")),
        (_, None) => Ok(()),
    }
}

/// A path; or a whole address, as proxies send it, whose host counts and not the Host header (RFC 9112, section 3.2.2).
/// It must be an address of ours: other schemes, and user names, are not. The forms of methods that no call has are told
/// as such.
fn check_target(method: &Method, target: &Uri, is_tls: bool) -> Result<(), Problem> {
    let is_everything = target.path() == "*";
    if *method == Method::CONNECT || (*method == Method::OPTIONS && is_everything) {
        let ours = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::DELETE];
        return Err(Problem::method_not_allowed(&ours));
    }
    let scheme = if is_tls { &Scheme::HTTPS } else { &Scheme::HTTP };
    match (target.scheme(), target.authority()) {
        (None, None) if !is_everything => Ok(()),
        (Some(given), Some(host)) if given == scheme && is_host(host.as_str().as_bytes()) => Ok(()),
        _ => Err(malformed(
            "Send a path as the request target, or a whole address with this connection's scheme and no user.",
        )),
    }
}

/// A host with or without a port.
fn is_host(text: &[u8]) -> bool {
    let host = Authority::try_from(text).ok().filter(|host| !host.as_str().contains('@'));
    host.is_some_and(|host| !host.host().is_empty())
}

/// The query of a call that takes none.
pub(crate) fn check_no_query(query: Option<&str>) -> Result<(), Problem> {
    Query::read(query, &[]).map(drop)
}

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
            malformed("Send the body whole and framed as its head says: it ended early, or is not.")
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

/// The query's parameters, each known and there at most once.
pub(crate) struct Query<'a>(Vec<(&'a str, Cow<'a, str>)>);

impl<'a> Query<'a> {
    pub(crate) fn read(query: Option<&'a str>, known: &[&str]) -> Result<Self, Problem> {
        let mut pairs: Vec<(&str, Cow<'_, str>)> = Vec::new();
        for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if !known.contains(&name) {
                let shown: String = name.chars().take(64).collect();
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                return Err(Problem::parameter(&shown, format!("is not known; known here: {known}")));
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

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(other, _)| *other == name).map(|(_, value)| value.as_ref())
    }

    /// A whole number within bounds, if it is there.
    pub(crate) fn number(&self, name: &str, bounds: std::ops::RangeInclusive<u64>) -> Result<Option<u64>, Problem> {
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
        let check = |framed, uri, hosts| check_head(&head(uri, hosts), framed, false).map_err(|p| p.status());
        assert_eq!(check(Framed::Well, "/livez", &["a"]), Ok(()));
        assert_eq!(check(Framed::TwoWays, "/livez", &["a"]), Err(400));
        assert_eq!(check(Framed::UnknownCoding, "/livez", &["a"]), Err(501));
        assert_eq!(check(Framed::Fragment, "/livez", &["a"]), Err(400));
        for hosts in [&[][..], &[""], &["a", "a"], &["a b"], &["user@a"], &["a/b"], &["a:b:c"], &[":80"]] {
            assert_eq!(check(Framed::Well, "/livez", hosts), Err(400), "{hosts:?}");
        }
        for hosts in [&["a:8080"][..], &["[::1]:8080"], &["127.0.0.1"]] {
            assert_eq!(check(Framed::Well, "/livez", hosts), Ok(()), "{hosts:?}");
        }
    }

    #[test]
    fn a_target_is_a_path_or_an_address_of_ours() {
        let check = |uri, is_tls| check_head(&head(uri, &["a"]), Framed::Well, is_tls).is_ok();
        assert!(
            check("http://b/livez", false) && check("HTTP://b:80/livez?x", false) && check("https://b/livez", true)
        );
        for (wrong, is_tls) in [
            ("https://b/livez", false),
            ("http://b/livez", true),
            ("ftp://b/livez", false),
            ("http://user@b/livez", false),
            ("http://user:word@b/livez", false),
            ("b:80", false),
            ("b", false),
        ] {
            assert!(!check(wrong, is_tls), "{wrong}");
        }
    }

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

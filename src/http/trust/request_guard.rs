//! What is refused before any thought: heads that can be read two ways.

use hyper::header;
use hyper::http::request::Parts;
use hyper::http::uri::{Authority, Scheme};
use hyper::{Method, Uri, Version};

use crate::http::framing::Framed;
use crate::http::problem::{CODING_UNKNOWN, MALFORMED, Problem};

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

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

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
}

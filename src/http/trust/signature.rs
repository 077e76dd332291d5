//! Requests signed by HTTP Message Signatures (RFC 9421) with `hmac-sha256`, for keys that are configured so.
//!
//! One signature is taken, whatever its label. It covers at least `@method`, `@path`, `authorization`, with a query
//! `@query` and with a body `content-digest` (RFC 9530, `sha-256`), and has `created`, `nonce`, `keyid` and `alg`. How
//! to make one, byte for byte: `docs/signing.md`.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use sha2::{Digest, Sha256};

use super::nonces::{Nonces, Refusal};
use super::signature_input::{Bytes, Input, one};
use crate::clock::Clock;
use crate::domain::model::time::Millis;
use crate::http::problem::{Kind, Problem, SIGNATURE_INVALID, SIGNATURE_MISSING, SIGNATURE_REPLAYED, SIGNATURE_STALE};
use crate::metrics::Metrics;

const SIGNATURE_INPUT: HeaderName = HeaderName::from_static("signature-input");
const SIGNATURE: HeaderName = HeaderName::from_static("signature");
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");
const ACCEPT_SIGNATURE: HeaderName = HeaderName::from_static("accept-signature");
const ALGORITHM: &str = "hmac-sha256";
/// A nonce of 16 bytes is 22 characters of base64.
const NONCE_LENGTHS: std::ops::RangeInclusive<usize> = 8..=128;

/// How fresh signed requests must be, and how many are remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// Most milliseconds between `created` and our clock, in either direction.
    pub tolerance_ms: i64,
    /// Most nonces of one key in force at once.
    pub nonces: usize,
}

/// Judges the signed requests of one key.
pub struct Verifier {
    key_id: Box<str>,
    /// With the key's blocks absorbed already: a request clones it.
    keyed: Hmac<Sha256>,
    tolerance_ms: i64,
    nonces: Nonces,
}

/// Shows no secret.
impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

type Refused = (&'static Kind, String);

fn invalid(detail: impl Into<String>) -> Refused {
    (&SIGNATURE_INVALID, detail.into())
}

impl Verifier {
    /// `key_id` is the key's name. What was signed before now is not taken: an earlier process may have taken it.
    pub fn new(key_id: &str, secret: &[u8], freshness: Freshness) -> Self {
        Self::born(key_id, secret, freshness, Clock::system().now())
    }

    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    fn born(key_id: &str, secret: &[u8], freshness: Freshness, now: Millis) -> Self {
        let keyed = Hmac::new_from_slice(secret).expect("a key of any length");
        let nonces = Nonces::new(freshness.nonces, now);
        Self { key_id: Box::from(key_id), keyed, tolerance_ms: freshness.tolerance_ms, nonces }
    }

    /// From now on another node's work is this one's: what was signed before may have been taken there.
    pub(crate) fn begin_at(&self, now: Millis) {
        self.nonces.begin_at(now);
    }

    /// Whether the request is the key's holder's, as it is and for the first time. Its freshness is judged by the
    /// system's clock, also where the sandbox's own stands still.
    pub(crate) fn check(&self, head: &Parts, body: &[u8]) -> Result<(), Problem> {
        self.check_at(head, body, Clock::system().now())
    }

    fn check_at(&self, head: &Parts, body: &[u8], now: Millis) -> Result<(), Problem> {
        let refused = |(kind, detail)| self.refused(kind, detail, head, body);
        let input = one(&head.headers, &SIGNATURE_INPUT).map_err(invalid).map_err(refused)?;
        let tag = one(&head.headers, &SIGNATURE).map_err(invalid).map_err(refused)?;
        let (Some(input), Some(tag)) = (input, tag) else {
            let detail = "This key's requests must be signed (RFC 9421): send `Signature-Input` and `Signature` as in \
                          `Accept-Signature`. See docs/signing.md.";
            return Err(refused((&SIGNATURE_MISSING, detail.to_owned())));
        };
        let input = Input::read(input).map_err(invalid).map_err(refused)?;
        let (created, nonce) = self.is_complete(&input, head, body).map_err(refused)?;
        digest_fits(&input, head, body).map_err(refused)?;
        self.is_authentic(&input, tag, head).map_err(refused)?;
        // Only the key's holder can get here, so nobody else can use up its nonces.
        self.is_fresh(created, input.expires, now).map_err(refused)?;
        self.nonces.take(nonce, created, now.plus(-self.tolerance_ms)).map_err(|refusal| match refusal {
            Refusal::Full => {
                Metrics::shed("nonces_full");
                Problem::busy()
            }
            Refusal::Used => {
                let detail = "This nonce was used already. Sign each request anew, a retry too, with a new nonce.";
                refused((&SIGNATURE_REPLAYED, detail.to_owned()))
            }
            Refusal::Stale => {
                let detail = "It was signed before this service started, or the service's clock stepped back. Sign \
                              it anew, with a new nonce.";
                refused((&SIGNATURE_STALE, detail.to_owned()))
            }
        })
    }

    /// What must be covered and said; gives the time and the nonce.
    fn is_complete<'a>(&self, input: &'a Input<'_>, head: &Parts, body: &[u8]) -> Result<(Millis, &'a str), Refused> {
        if let Some(component) = needed(head, body).find(|component| !input.covers(component)) {
            return Err(invalid(format!("The signature must cover `{component}` too.")));
        }
        let missing = |name: &str| invalid(format!("`Signature-Input` must have the parameter `{name}`."));
        let created = input.created.ok_or_else(|| missing("created"))?;
        let nonce = input.nonce.as_deref().ok_or_else(|| missing("nonce"))?;
        let key_id = input.key_id.as_deref().ok_or_else(|| missing("keyid"))?;
        let algorithm = input.algorithm.as_deref().ok_or_else(|| missing("alg"))?;
        if algorithm != ALGORITHM {
            return Err(invalid(format!("Sign with `alg=\"{ALGORITHM}\"`.")));
        }
        if key_id != &*self.key_id {
            return Err(invalid("`keyid` must be the name of the key that `Authorization` holds."));
        }
        if !NONCE_LENGTHS.contains(&nonce.len()) {
            let (least, most) = (NONCE_LENGTHS.start(), NONCE_LENGTHS.end());
            return Err(invalid(format!("`nonce` must be {least} to {most} characters, random each time.")));
        }
        // More digits than a structured field's integer has would be needed to overflow.
        Ok((Millis(created.saturating_mul(1_000)), nonce))
    }

    /// Compares in constant time.
    fn is_authentic(&self, input: &Input<'_>, tag: &str, head: &Parts) -> Result<(), Refused> {
        let tags = Bytes::read("Signature", tag).map_err(invalid)?;
        if tags.only_key() != Some(input.label.as_str()) {
            return Err(invalid("`Signature` must have one member, under the label of `Signature-Input`."));
        }
        let mut mac = self.keyed.clone();
        write_base(&mut mac, input, head)?;
        mac.verify_slice(tags.get(&input.label).unwrap_or_default()).map_err(|_| {
            invalid("The signature does not fit the request: it was altered, or another secret or base was signed.")
        })
    }

    fn is_fresh(&self, created: Millis, expires: Option<i64>, now: Millis) -> Result<(), Refused> {
        let behind = now.0 - created.0;
        if behind.saturating_abs() > self.tolerance_ms {
            let (seconds, tolerance) = (behind.saturating_abs() / 1_000, self.tolerance_ms / 1_000);
            let side = if behind > 0 { "behind" } else { "ahead of" };
            let detail = format!(
                "`created` is {seconds} s {side} our clock ({now}), and at most {tolerance} s are taken. Set your \
                 clock, and sign the request anew with a new nonce."
            );
            return Err((&SIGNATURE_STALE, detail));
        }
        if expires.is_some_and(|expires| expires.saturating_mul(1_000) < now.0) {
            let detail = format!("`expires` has passed: it is {now}. Sign the request anew with a new nonce.");
            return Err((&SIGNATURE_STALE, detail));
        }
        Ok(())
    }

    /// 401, with what to sign (RFC 9421 §5).
    fn refused(&self, kind: &Kind, detail: String, head: &Parts, body: &[u8]) -> Problem {
        let components: Vec<_> = needed(head, body).map(|component| format!("\"{component}\"")).collect();
        let accept =
            format!("sig1=({});created;nonce;keyid=\"{}\";alg=\"{ALGORITHM}\"", components.join(" "), self.key_id);
        let bearer = HeaderValue::from_static(r#"Bearer realm="sokketsu""#);
        let problem = Problem::new(kind, detail).with_header(header::WWW_AUTHENTICATE, bearer);
        match HeaderValue::try_from(accept) {
            Ok(accept) => problem.with_header(ACCEPT_SIGNATURE, accept),
            Err(_) => problem,
        }
    }
}

/// What a signature of this request must cover.
fn needed(head: &Parts, body: &[u8]) -> impl Iterator<Item = &'static str> {
    let query = head.uri.query().map(|_| "@query");
    let digest = (!body.is_empty()).then_some("content-digest");
    ["@method", "@path"].into_iter().chain(query).chain(["authorization"]).chain(digest)
}

/// A covered digest is of this body.
fn digest_fits(input: &Input<'_>, head: &Parts, body: &[u8]) -> Result<(), Refused> {
    if !input.covers("content-digest") {
        return Ok(());
    }
    let value = one(&head.headers, &CONTENT_DIGEST).map_err(invalid)?;
    let value = value.ok_or_else(|| invalid("`content-digest` is covered, but there is no such header."))?;
    let digests = Bytes::read("Content-Digest", value).map_err(invalid)?;
    let Some(digest) = digests.get("sha-256") else {
        return Err(invalid("`Content-Digest` must have `sha-256` (RFC 9530)."));
    };
    if digest == Sha256::digest(body).as_slice() {
        return Ok(());
    }
    Err(invalid("`Content-Digest` is not the SHA-256 of the body as it came."))
}

/// The base of the signature (RFC 9421 §2.5), piece by piece into the MAC.
fn write_base(mac: &mut Hmac<Sha256>, input: &Input<'_>, head: &Parts) -> Result<(), Refused> {
    for name in &input.components {
        for piece in ["\"", name, "\": "] {
            mac.update(piece.as_bytes());
        }
        write_value(mac, name, head)?;
        mac.update(b"\n");
    }
    mac.update(b"\"@signature-params\": ");
    mac.update(input.params.as_bytes());
    Ok(())
}

fn write_value(mac: &mut Hmac<Sha256>, name: &str, head: &Parts) -> Result<(), Refused> {
    match name {
        "@method" => mac.update(head.method.as_str().as_bytes()),
        "@path" => mac.update(head.uri.path().as_bytes()),
        "@query" => {
            mac.update(b"?");
            mac.update(head.uri.query().unwrap_or_default().as_bytes());
        }
        "@authority" => {
            // A target in the absolute form wins over the Host header (RFC 9112, section 3.2.2).
            let target = head.uri.authority().map(|authority| authority.as_str().as_bytes());
            let host = target.or_else(|| head.headers.get(header::HOST).map(HeaderValue::as_bytes));
            let host = host.unwrap_or_default().to_ascii_lowercase();
            // The default port is left out; which it is, is not known behind something that ends TLS.
            let host = host.strip_suffix(b":443").or_else(|| host.strip_suffix(b":80")).unwrap_or(&host);
            mac.update(host);
        }
        _ if name.starts_with('@') => {
            let detail = format!("`{name}` is not supported. Cover @method, @path, @query, @authority and headers.");
            return Err(invalid(detail));
        }
        _ => write_header(mac, name, head)?,
    }
    Ok(())
}

/// All values of a header, as one.
fn write_header(mac: &mut Hmac<Sha256>, name: &str, head: &Parts) -> Result<(), Refused> {
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err(invalid(format!("Write the names of covered headers in lower case: `{name}`.")));
    }
    let mut between: &[u8] = b"";
    for value in head.headers.get_all(name) {
        mac.update(between);
        mac.update(value.as_bytes().trim_ascii());
        between = b", ";
    }
    if between.is_empty() {
        return Err(invalid(format!("`{name}` is covered, but there is no such header.")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use hyper::Request;

    use super::*;

    const NOW: Millis = Millis(1_790_000_000_500);
    const SECRET: &[u8] = b"a secret of thirty-two bytes, ok";
    const BODY: &[u8] = br#"{"order_id":"R-1"}"#;
    const FRESHNESS: Freshness = Freshness { tolerance_ms: 60_000, nonces: 1_024 };

    fn verifier() -> Verifier {
        Verifier::born("pos", SECRET, FRESHNESS, NOW.plus(-3_600_000))
    }

    fn digest(body: &[u8]) -> String {
        format!("sha-256=:{}:", STANDARD.encode(Sha256::digest(body)))
    }

    /// A request as an honest client makes it; the tests change a part of it.
    struct Signing {
        method: &'static str,
        target: &'static str,
        body: &'static [u8],
        components: Vec<&'static str>,
        params: String,
        label: &'static str,
    }

    fn params(created: i64, nonce: &str) -> String {
        format!(";created={created};nonce=\"{nonce}\";keyid=\"pos\";alg=\"hmac-sha256\"")
    }

    fn honest() -> Signing {
        Signing {
            method: "POST",
            target: "/v1/authorizations",
            body: BODY,
            components: vec!["@method", "@path", "authorization", "content-digest"],
            params: params(NOW.0 / 1_000, "nonce-0001"),
            label: "sig1",
        }
    }

    impl Signing {
        /// The base is written here a second time, as RFC 9421 shows it: lines of text.
        fn head(&self) -> Parts {
            let digest = digest(self.body);
            let (path, query) = self.target.split_once('?').unwrap_or((self.target, ""));
            let lines = self.components.iter().map(|name| {
                let value = match *name {
                    "@method" => self.method.to_owned(),
                    "@path" => path.to_owned(),
                    "@query" => format!("?{query}"),
                    "@authority" => "pos.example".to_owned(),
                    "authorization" => "Bearer key".to_owned(),
                    "content-digest" => digest.clone(),
                    other => format!("no value of {other}"),
                };
                format!("\"{name}\": {value}\n")
            });
            let names: Vec<_> = self.components.iter().map(|name| format!("\"{name}\"")).collect();
            let input = format!("({}){}", names.join(" "), self.params);
            let base = format!("{}\"@signature-params\": {input}", lines.collect::<String>());
            let mut mac = Hmac::<Sha256>::new_from_slice(SECRET).unwrap();
            mac.update(base.as_bytes());
            let tag = STANDARD.encode(mac.finalize().into_bytes());
            let request = Request::builder()
                .method(self.method)
                .uri(self.target)
                .header("host", "POS.example:443")
                .header("authorization", "Bearer key")
                .header("content-digest", digest)
                .header("signature-input", format!("{}={input}", self.label))
                .header("signature", format!("{}=:{tag}:", self.label));
            request.body(()).unwrap().into_parts().0
        }
    }

    fn outcome(verifier: &Verifier, head: &Parts, body: &[u8]) -> &'static str {
        verifier.check_at(head, body, NOW).map_or_else(|problem| problem.reason(), |()| "good")
    }

    #[test]
    fn the_rfc_has_the_same_signature() {
        // RFC 9421, B.1.5 (test-shared-secret), B.2 (the request) and B.2.5 (the signature with hmac-sha256).
        let secret = "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ==";
        let input = r#"sig-b25=("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret""#;
        let tag = "sig-b25=:pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=:";
        let request = Request::builder()
            .method("POST")
            .uri("/foo?param=Value&Pet=dog")
            .header("host", "example.com")
            .header("date", "Tue, 20 Apr 2021 02:07:55 GMT")
            .header("content-type", "application/json");
        let mut head = request.body(()).unwrap().into_parts().0;
        let verifier = Verifier::born("test-shared-secret", &STANDARD.decode(secret).unwrap(), FRESHNESS, Millis(0));
        let input = Input::read(input).unwrap();
        assert_eq!(verifier.is_authentic(&input, tag, &head), Ok(()));
        head.headers.insert("content-type", HeaderValue::from_static("application/jsom"));
        assert!(verifier.is_authentic(&input, tag, &head).is_err());
    }

    #[test]
    fn the_example_of_the_page_is_good_to_the_last_byte() {
        let page = include_str!("../../../docs/signing.md");
        let body = r#"{"order_id":"R-2001","amount":1980,"customer_id":"1001","channel":"online","merchant":{"id":"mrc_konbini"}}"#;
        let digest = "sha-256=:QDvCuTQttR+1l9m2PX5IBw0c9+hNGh1T62cfpujL01k=:";
        let tag = "EH5jv4aSZIaPAqiQc8XxhkskXTj9uGm7gk0sRKX2ykU=";
        let stamp = "created=1790000000 nonce=MDEyMzQ1Njc4OWFiY2RlZg==";
        let secret = "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ==";
        for text in [body, digest, tag, stamp, secret] {
            assert!(page.contains(text), "{text}");
        }
        let input = "sig1=(\"@method\" \"@path\" \"authorization\" \"content-digest\");created=1790000000;\
                     nonce=\"MDEyMzQ1Njc4OWFiY2RlZg==\";keyid=\"sandbox-signed\";alg=\"hmac-sha256\"";
        let request = Request::builder()
            .method("POST")
            .uri("/v1/authorizations")
            .header("authorization", "Bearer sandbox-signed")
            .header("content-digest", digest)
            .header("signature-input", input)
            .header("signature", format!("sig1=:{tag}:"));
        let head = request.body(()).unwrap().into_parts().0;
        let secret = STANDARD.decode(secret).unwrap();
        let verifier = Verifier::born("sandbox-signed", &secret, FRESHNESS, Millis(0));
        assert!(verifier.check_at(&head, body.as_bytes(), Millis(1_790_000_000_000)).is_ok());
    }

    #[test]
    fn an_honest_request_passes_once_and_its_retry_signed_anew_too() {
        let verifier = verifier();
        let head = honest().head();
        assert_eq!(outcome(&verifier, &head, BODY), "good");
        assert_eq!(outcome(&verifier, &head, BODY), "signature_replayed");
        let again = Signing { params: params(NOW.0 / 1_000, "nonce-0002"), ..honest() };
        assert_eq!(outcome(&verifier, &again.head(), BODY), "good");
        // Another label, more components, no body.
        let inquiry = Signing {
            method: "GET",
            target: "/v1/authorizations?merchant_id=m&order_id=R%2D1",
            body: b"",
            components: vec!["@query", "authorization", "@authority", "@path", "@method"],
            params: params(NOW.0 / 1_000, "nonce-0003"),
            label: "s",
        };
        assert_eq!(outcome(&verifier, &inquiry.head(), b""), "good");
    }

    #[test]
    fn of_a_whole_address_its_host_is_signed_and_not_the_header() {
        let of = |target: &str, nonce| {
            let params = params(NOW.0 / 1_000, nonce);
            let components = vec!["@method", "@path", "@authority", "authorization", "content-digest"];
            let mut head = Signing { components, params, ..honest() }.head();
            head.uri = target.parse().unwrap();
            head.headers.insert("host", hyper::header::HeaderValue::from_static("other.example"));
            outcome(&verifier(), &head, BODY)
        };
        assert_eq!(of("https://POS.example/v1/authorizations", "nonce-0001"), "good");
        assert_eq!(of("https://other.example/v1/authorizations", "nonce-0002"), "signature_invalid");
        assert_eq!(of("/v1/authorizations", "nonce-0003"), "signature_invalid");
    }

    #[test]
    fn whatever_is_altered_the_signature_is_not_good() {
        type Alter = fn(&mut Parts);
        let cases: [(&str, Alter); 9] = [
            ("method", |head| head.method = hyper::Method::PUT),
            ("path", |head| head.uri = "/v1/cancellations?x=1".parse().unwrap()),
            ("query", |head| head.uri = "/v1/authorizations?x=2".parse().unwrap()),
            ("no query", |head| head.uri = "/v1/authorizations".parse().unwrap()),
            ("key", |head| drop(head.headers.insert("authorization", HeaderValue::from_static("Bearer other")))),
            ("digest", |head| {
                drop(head.headers.insert("content-digest", HeaderValue::try_from(digest(b"{}")).unwrap()));
            }),
            ("no digest", |head| drop(head.headers.remove("content-digest"))),
            ("two digests", |head| {
                let same = head.headers["content-digest"].clone();
                head.headers.append("content-digest", same);
            }),
            ("nonce", |head| {
                let text = head.headers["signature-input"].to_str().unwrap().replace("nonce-0001", "nonce-0009");
                head.headers.insert("signature-input", HeaderValue::try_from(text).unwrap());
            }),
        ];
        let verifier = verifier();
        let mut with_query = Signing { target: "/v1/authorizations?x=1", ..honest() };
        with_query.components.push("@query");
        for (what, alter) in cases {
            let mut head = with_query.head();
            alter(&mut head);
            assert_eq!(outcome(&verifier, &head, BODY), "signature_invalid", "{what}");
        }
        let head = with_query.head();
        assert_eq!(outcome(&verifier, &head, br#"{"order_id":"R-2"}"#), "signature_invalid", "body");
        assert_eq!(outcome(&verifier, &head, BODY), "good", "none of them used the nonce up");
        let other = Verifier::born("pos", b"another secret of some 32 bytes.", FRESHNESS, Millis(0));
        assert_eq!(outcome(&other, &honest().head(), BODY), "signature_invalid");
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let full = params(NOW.0 / 1_000, "nonce-0001");
        let without = |name: &str| {
            let parts: Vec<_> = full.split(';').filter(|part| !part.starts_with(name)).collect();
            Signing { params: parts.join(";"), ..honest() }
        };
        let covering = |components: &[&'static str]| Signing { components: components.to_vec(), ..honest() };
        let saying = |from: &str, to: &str| Signing { params: full.replace(from, to), ..honest() };
        let cases = [
            (covering(&["@path", "authorization", "content-digest"]), "cover `@method`"),
            (covering(&["@method", "authorization", "content-digest"]), "cover `@path`"),
            (covering(&["@method", "@path", "content-digest"]), "cover `authorization`"),
            (covering(&["@method", "@path", "authorization"]), "cover `content-digest`"),
            (Signing { target: "/v1/authorizations?x=1", ..honest() }, "cover `@query`"),
            (covering(&["@method", "@path", "authorization", "content-digest", "@scheme"]), "`@scheme` is not supp"),
            (covering(&["@method", "@path", "authorization", "content-digest", "Date"]), "lower case: `Date`"),
            (covering(&["@method", "@path", "authorization", "content-digest", "date"]), "`date` is covered, but"),
            (without("created"), "parameter `created`"),
            (without("nonce"), "parameter `nonce`"),
            (without("keyid"), "parameter `keyid`"),
            (without("alg"), "parameter `alg`"),
            (saying("hmac-sha256", "hmac-sha512"), "alg=\"hmac-sha256\""),
            (saying("\"pos\"", "\"other\""), "`keyid` must be the name"),
            (saying("nonce-0001", "short"), "`nonce` must be 8 to 128"),
        ];
        for (signing, expected) in cases {
            let problem = verifier().check_at(&signing.head(), BODY, NOW).unwrap_err();
            assert_eq!((problem.status(), problem.reason()), (401, "signature_invalid"), "{expected}");
            let shown = format!("{problem:?}");
            assert!(shown.contains(&expected.replace('"', "\\\"")), "{expected} is not in {shown}");
        }
    }

    #[test]
    fn one_signature_is_taken_no_less_no_more() {
        let with = |name: &'static str, change: fn(&str) -> String| {
            let mut head = honest().head();
            let value = HeaderValue::try_from(change(head.headers[name].to_str().unwrap())).unwrap();
            head.headers.insert(name, value);
            outcome(&verifier(), &head, BODY)
        };
        assert_eq!(with("signature", |value| format!("{value}, sig2=:AAAA:")), "signature_invalid");
        assert_eq!(with("signature", |value| value.replace("sig1", "sig2")), "signature_invalid");
        assert_eq!(with("signature", |_| "sig1=:AAAA:".to_owned()), "signature_invalid");
        assert_eq!(with("signature", |_| "sig1=?1".to_owned()), "signature_invalid");
        assert_eq!(with("signature-input", |value| format!("{value}, sig2=(\"@path\")")), "signature_invalid");
        for name in ["signature", "signature-input"] {
            let mut head = honest().head();
            let same = head.headers[name].clone();
            head.headers.append(name, same);
            assert_eq!(outcome(&verifier(), &head, BODY), "signature_invalid", "two of {name}");
            head.headers.remove(name);
            assert_eq!(outcome(&verifier(), &head, BODY), "signature_missing", "no {name}");
        }
    }

    #[test]
    fn a_request_is_fresh_for_a_minute_on_either_side() {
        let signed = |created: i64, nonce: &str| {
            let head = Signing { params: params(created, nonce), ..honest() }.head();
            outcome(&verifier(), &head, BODY)
        };
        // Half a second into our second.
        let second = NOW.0 / 1_000;
        assert_eq!(signed(second - 59, "nonce-0001"), "good");
        assert_eq!(signed(second - 60, "nonce-0001"), "signature_stale");
        assert_eq!(signed(second + 60, "nonce-0001"), "good");
        assert_eq!(signed(second + 61, "nonce-0001"), "signature_stale");
        assert_eq!(signed(999_999_999_999_999, "nonce-0001"), "signature_stale");
        assert_eq!(signed(-999_999_999_999_999, "nonce-0001"), "signature_stale");
        let expiring = |at: i64| {
            let params = format!("{};expires={at}", params(second, "nonce-0001"));
            outcome(&verifier(), &Signing { params, ..honest() }.head(), BODY)
        };
        assert_eq!((expiring(second + 1), expiring(second)), ("good", "signature_stale"));
    }

    #[test]
    fn a_clock_that_steps_back_takes_nothing_twice() {
        let verifier = verifier();
        let (head, other) =
            (honest().head(), Signing { params: params(NOW.0 / 1_000, "nonce-0002"), ..honest() }.head());
        assert_eq!(outcome(&verifier, &head, BODY), "good");
        let later = NOW.plus(3_600_000);
        let in_an_hour = |n: i64| Signing { params: params(later.0 / 1_000, &format!("nonce-{n:04}")), ..honest() };
        for n in 0..500 {
            assert!(verifier.check_at(&in_an_hour(n).head(), BODY, later).is_ok());
        }
        // By the clock it is the first second again, and every old nonce was forgotten meanwhile.
        assert_eq!(outcome(&verifier, &head, BODY), "signature_stale");
        assert_eq!(outcome(&verifier, &other, BODY), "signature_stale");
    }

    #[test]
    fn without_room_for_a_nonce_nothing_is_taken() {
        let verifier = Verifier::born("pos", SECRET, Freshness { nonces: 1, ..FRESHNESS }, NOW.plus(-3_600_000));
        let mut results = Vec::new();
        for n in 0..400 {
            let head = Signing { params: params(NOW.0 / 1_000, &format!("nonce-{n:04}")), ..honest() }.head();
            results.push(outcome(&verifier, &head, BODY));
        }
        // One for each of the locks; 400 names at random meet all 16 of them.
        assert_eq!(results.iter().filter(|result| **result == "good").count(), 16);
        assert_eq!(results.iter().filter(|result| **result == "busy").count(), 384);
    }
}

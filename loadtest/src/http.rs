//! As much HTTP/1.1 as a client needs that has one server and counts its own microseconds: requests with a
//! body, answers with a `Content-Length`, in order.

use std::fmt;
use std::ops::Range;

use memchr::{memchr_iter, memmem};

use crate::bytes::{put, put_number};
use crate::sign::{Signed, Signer};
use crate::wire::{Answer, BadAnswer};

/// A head longer than this is no head.
const LONGEST_HEAD: usize = 16 * 1024;

/// Reads one whole answer from the start of `input`, and gives its length. `None`: more is to come.
pub fn read(input: &[u8]) -> Result<Option<(Answer<'_>, usize)>, BadAnswer> {
    let Some(head_end) = memmem::find(input, b"\r\n\r\n") else {
        return if input.len() > LONGEST_HEAD { Err(BadAnswer) } else { Ok(None) };
    };
    let (head, rest) = input.split_at(head_end + 4);
    let status = status(head)?;
    let mut length = None;
    let mut is_last = false;
    // Every line but the last, which is empty, follows on the end of another.
    for end in memchr_iter(b'\n', head) {
        let line = head.get(end + 1..).unwrap_or_default();
        // Of all headers two matter; both start with a `c`.
        if !line.first().is_some_and(|byte| byte.eq_ignore_ascii_case(&b'c')) {
            continue;
        }
        if let Some(value) = value_of(line, b"content-length") {
            length = Some(number(value)?);
        } else if let Some(value) = value_of(line, b"connection") {
            is_last = value.eq_ignore_ascii_case(b"close");
        }
    }
    let has_no_body = status == 204 || status == 304;
    let length = if has_no_body { 0 } else { length.ok_or(BadAnswer)? };
    let Some(body) = rest.get(..length) else { return Ok(None) };
    Ok(Some((Answer { status, head, body, is_last, number: None }, head.len() + length)))
}

fn status(line: &[u8]) -> Result<u16, BadAnswer> {
    let rest = line.strip_prefix(b"HTTP/1.1 ").ok_or(BadAnswer)?;
    match rest {
        [a @ b'1'..=b'5', b @ b'0'..=b'9', c @ b'0'..=b'9', ..] => {
            Ok(u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0'))
        }
        _ => Err(BadAnswer),
    }
}

/// The value, if `rest` begins with a header of this name.
fn value_of<'a>(rest: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = rest.split_at_checked(name.len())?;
    let value = rest.strip_prefix(b":").filter(|_| start.eq_ignore_ascii_case(name))?;
    value.split(|byte| *byte == b'\n').next().map(<[u8]>::trim_ascii)
}

fn number(text: &[u8]) -> Result<usize, BadAnswer> {
    let text = std::str::from_utf8(text).map_err(|_| BadAnswer)?;
    text.parse().map_err(|_| BadAnswer)
}

/// Value of a header, by a search that is only made now and then.
pub fn header<'a>(head: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    head.split(|byte| *byte == b'\n').find_map(|line| value_of(line, name))
}

/// Whose key a call is made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Wallet,
    Register,
    Office,
    Ops,
}

/// Bearer keys by role.
#[derive(Clone)]
pub struct Keys {
    pub wallet: String,
    pub register: String,
    pub office: String,
    pub ops: String,
}

impl Keys {
    fn of(&self, role: Role) -> &str {
        match role {
            Role::Wallet => &self.wallet,
            Role::Register => &self.register,
            Role::Office => &self.office,
            Role::Ops => &self.ops,
        }
    }
}

/// Writes requests to one server.
#[derive(Clone)]
pub struct Requests {
    host: String,
    keys: Keys,
    /// Signs what is sent with the register's key.
    signer: Option<Signer>,
}

/// All of a call that is the same each time.
pub struct Line {
    head: Vec<u8>,
    path: String,
    bearer: String,
    signer: Option<Signer>,
}

impl Line {
    /// Writes the call with this body.
    pub fn send(&self, out: &mut Vec<u8>, body: &[u8]) {
        out.extend_from_slice(&self.head);
        if let Some(signer) = &self.signer {
            signer.sign(out, &Signed { method: "POST", target: &self.path, bearer: &self.bearer, body });
        }
        out.extend_from_slice(b"Content-Type: application/json\r\nContent-Length: ");
        put_number(out, body.len() as u64);
        out.extend_from_slice(b"\r\n\r\n");
        out.extend_from_slice(body);
    }
}

impl Requests {
    pub fn new(host: &str, keys: Keys, signer: Option<Signer>) -> Self {
        Self { host: host.to_owned(), keys, signer }
    }

    pub fn get(&self, out: &mut Vec<u8>, role: Role, path: fmt::Arguments<'_>) {
        self.bare(out, "GET", role, path);
    }

    /// A call without a body.
    pub fn bare(&self, out: &mut Vec<u8>, method: &str, role: Role, path: fmt::Arguments<'_>) {
        self.head(out, method, role, path, b"");
        out.extend_from_slice(b"\r\n");
    }

    /// `body` is JSON.
    pub fn send(&self, out: &mut Vec<u8>, method: &str, role: Role, path: fmt::Arguments<'_>, body: &[u8]) {
        self.head(out, method, role, path, body);
        content(out, "application/json", body);
    }

    /// A POST of comma-separated values.
    pub fn send_csv(&self, out: &mut Vec<u8>, role: Role, path: fmt::Arguments<'_>, body: &[u8]) {
        self.head(out, "POST", role, path, body);
        content(out, "text/csv", body);
    }

    /// A POST that is made very often, with JSON.
    pub fn line(&self, role: Role, path: &str) -> Line {
        let mut head = Vec::new();
        self.bare_head(&mut head, "POST", role, format_args!("{path}"));
        let path = path.to_owned();
        let bearer = self.keys.of(role).to_owned();
        Line { head, path, bearer, signer: self.signer_of(role).cloned() }
    }

    fn signer_of(&self, role: Role) -> Option<&Signer> {
        self.signer.as_ref().filter(|_| role == Role::Register)
    }

    fn head(&self, out: &mut Vec<u8>, method: &str, role: Role, path: fmt::Arguments<'_>, body: &[u8]) {
        let target = self.bare_head(out, method, role, path);
        if let Some(signer) = self.signer_of(role) {
            let target = String::from_utf8_lossy(out.get(target).unwrap_or_default()).into_owned();
            signer.sign(out, &Signed { method, target: &target, bearer: self.keys.of(role), body });
        }
    }

    /// All but a signature; tells where the request's target stands.
    fn bare_head(&self, out: &mut Vec<u8>, method: &str, role: Role, path: fmt::Arguments<'_>) -> Range<usize> {
        out.extend_from_slice(method.as_bytes());
        out.push(b' ');
        let target = out.len();
        put(out, path);
        let target = target..out.len();
        out.extend_from_slice(b" HTTP/1.1\r\nHost: ");
        out.extend_from_slice(self.host.as_bytes());
        out.extend_from_slice(b"\r\nAuthorization: Bearer ");
        out.extend_from_slice(self.keys.of(role).as_bytes());
        out.extend_from_slice(b"\r\n");
        target
    }
}

fn content(out: &mut Vec<u8>, media: &str, body: &[u8]) {
    put(out, format_args!("Content-Type: {media}\r\nContent-Length: {}\r\n\r\n", body.len()));
    out.extend_from_slice(body);
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nContent-Length: 7\r\n\r\n{\"a\":1}\
        HTTP/1.1 503 Service Unavailable\r\nCONNECTION: close\r\ncontent-length:0\r\nretry-after: 1\r\n\r\n";

    #[test]
    fn answers_are_read_wherever_the_reads_split_them() {
        let first_ends = TWO.iter().position(|byte| *byte == b'}').unwrap() + 1;
        for split in 0..first_ends {
            assert_eq!(read(&TWO[..split]), Ok(None), "cut at {split}");
        }
        let (first, length) = read(TWO).unwrap().unwrap();
        assert_eq!((first.status, first.body, first.is_last), (200, &b"{\"a\":1}"[..], false));
        assert_eq!(length, first_ends);
        let rest = &TWO[length..];
        for split in 0..rest.len() {
            assert_eq!(read(&rest[..split]), Ok(None), "cut at {split}");
        }
        let (second, length) = read(rest).unwrap().unwrap();
        assert_eq!((second.status, second.body, second.is_last), (503, &b""[..], true));
        assert_eq!(length, rest.len());
        assert_eq!(header(second.head, b"retry-after"), Some(&b"1"[..]));
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        for wrong in [
            &b"HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n"[..],
            b"HTTP/1.1 2x0 OK\r\ncontent-length: 0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            b"SSH-2.0-x\r\n\r\n",
        ] {
            assert_eq!(read(wrong), Err(BadAnswer), "{}", String::from_utf8_lossy(wrong));
        }
        assert_eq!(read(&vec![b'a'; LONGEST_HEAD + 1]), Err(BadAnswer));
        assert!(read(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap().is_some());
    }

    #[test]
    fn a_request_says_how_long_it_is() {
        let key = |name: &str| name.to_owned();
        let keys = Keys { wallet: key("w"), register: key("r"), office: key("f"), ops: key("o") };
        let mut out = Vec::new();
        let requests = Requests::new("h:1", keys, None);
        requests.send(&mut out, "POST", Role::Register, format_args!("/v1/{}", 7), b"{}");
        let expected = "POST /v1/7 HTTP/1.1\r\nHost: h:1\r\nAuthorization: Bearer r\r\n\
            Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
        let mut again = Vec::new();
        requests.line(Role::Register, "/v1/7").send(&mut again, b"{}");
        assert_eq!(String::from_utf8(again).unwrap(), expected);
    }
}

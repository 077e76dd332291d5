//! Content-Length together with Transfer-Encoding is how requests are smuggled past a proxy, and so are codings that one
//! reader undoes and the other does not. hyper takes the Content-Length away before we see it and reads whatever ends with
//! `chunked` as if it were that alone, so the bytes are watched on their way in.
//!
//! This follows the framing only as far as it needs to find each request's head. It never changes a byte; where
//! it is unsure it says so, and the request is refused.

use std::collections::VecDeque;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// Longest part of a line that is looked at; no name or value of interest is longer.
const LINE: usize = 96;

/// How a request says where its body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framed {
    /// In one way that everybody reads alike.
    Well,
    /// Two lengths, a length and a coding, or `chunked` more than once.
    TwoWays,
    /// With a transfer coding that we do not undo.
    UnknownCoding,
    /// Its target has a fragment, which hyper takes away before we see it.
    Fragment,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// In a head; `bool`: the request line was seen.
    Head(bool),
    /// In a body with this many bytes left.
    Body(u64),
    ChunkSize,
    /// In a chunk; its closing line break included.
    Chunk(u64),
    Trailer,
    /// Not HTTP as we know it. hyper will say so.
    Lost,
}

/// Follows one connection's incoming bytes.
#[derive(Debug)]
struct Framing {
    at: At,
    line: Vec<u8>,
    line_len: usize,
    length: Option<u64>,
    chunked: bool,
    framed: Framed,
    /// Since when a head has begun and not ended.
    half_sent: Option<Instant>,
    /// Of each head seen and not yet asked about.
    heads: VecDeque<Framed>,
}

impl Framing {
    fn new() -> Self {
        Self {
            at: At::Head(false),
            line: Vec::with_capacity(LINE),
            line_len: 0,
            length: None,
            chunked: false,
            framed: Framed::Well,
            half_sent: None,
            heads: VecDeque::new(),
        }
    }

    fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = match self.at {
                At::Body(left) => self.skip(bytes, left, At::Body, At::Head(false)),
                At::Chunk(left) => self.skip(bytes, left, At::Chunk, At::ChunkSize),
                At::Head(_) | At::ChunkSize | At::Trailer => self.take_line(bytes),
                At::Lost => break,
            };
        }
        let begun = self.at == At::Head(true) || (self.at == At::Head(false) && self.line_len > 0);
        self.half_sent = begun.then(|| self.half_sent.unwrap_or_else(Instant::now));
    }

    fn skip<'a>(&mut self, bytes: &'a [u8], left: u64, still: fn(u64) -> At, then: At) -> &'a [u8] {
        let here = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if here < left {
            self.at = still(left - here);
            return &[];
        }
        self.at = then;
        bytes.get(usize::try_from(left).unwrap_or(usize::MAX)..).unwrap_or_default()
    }

    /// Takes up to the next line feed. Blanks are dropped, so that none can push a value out of sight.
    fn take_line<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let end = memchr::memchr(b'\n', bytes);
        let (line, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
        if self.at == At::Head(false) && memchr::memchr(b'#', line).is_some() {
            self.framed = Framed::Fragment;
        }
        if end.is_some() && self.line_len == 0 && self.is_of_no_interest(line) {
            self.at = At::Head(true);
            return rest.get(1..).unwrap_or_default();
        }
        let room = LINE.saturating_sub(self.line.len());
        let seen = line.iter().filter(|byte| !matches!(byte, b' ' | b'\t' | b'\r'));
        self.line.extend(seen.clone().take(room).map(u8::to_ascii_lowercase));
        self.line_len += seen.count();
        if end.is_some() {
            self.end_line();
            self.line.clear();
            self.line_len = 0;
        }
        rest.get(1..).unwrap_or_default()
    }

    /// A whole line of a head that is neither empty nor begins like the two headers of interest: nearly all are.
    fn is_of_no_interest(&self, line: &[u8]) -> bool {
        let Some(first) = line.first() else { return false };
        let in_head = matches!(self.at, At::Head(_));
        in_head && !matches!(first, b' ' | b'\t' | b'\r' | b'c' | b'C' | b't' | b'T')
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        match self.at {
            At::Head(false) if line.is_empty() => {}
            At::Head(false) => self.at = At::Head(true),
            At::Head(true) if line.is_empty() => self.end_head(),
            At::Head(true) => self.header(&line),
            At::ChunkSize => self.at = chunk_after(&line),
            At::Trailer if line.is_empty() => self.at = At::Head(false),
            At::Trailer | At::Body(_) | At::Chunk(_) | At::Lost => {}
        }
        self.line = line;
    }

    fn header(&mut self, line: &[u8]) {
        if let Some(value) = line.strip_prefix(b"content-length:") {
            let value = std::str::from_utf8(value).ok().and_then(|value| value.parse().ok());
            if self.line_len > LINE || value.is_none() {
                self.framed = Framed::TwoWays;
            }
            self.length = value;
        } else if let Some(codings) = line.strip_prefix(b"transfer-encoding:") {
            // What does not end with `chunked` is refused by hyper, with the 400 it must have.
            let known = |coding: &[u8]| coding.is_empty() || coding == b"chunked";
            if self.line_len > LINE || !codings.split(|byte| *byte == b',').all(known) {
                self.framed = Framed::UnknownCoding;
            } else if self.framed == Framed::Well && (self.chunked || codings != b"chunked") {
                self.framed = Framed::TwoWays;
            }
            self.chunked = true;
        }
    }

    fn end_head(&mut self) {
        let length = self.length.take();
        let chunked = std::mem::take(&mut self.chunked);
        let framed = std::mem::replace(&mut self.framed, Framed::Well);
        self.heads.push_back(if chunked && length.is_some() { Framed::TwoWays } else { framed });
        // Whatever follows it begins anew: a busy caller's reads may all end within some head.
        self.half_sent = None;
        self.at = match length {
            _ if chunked => At::ChunkSize,
            Some(length) if length > 0 => At::Body(length),
            Some(_) | None => At::Head(false),
        };
    }
}

fn chunk_after(line: &[u8]) -> At {
    let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
    let size = std::str::from_utf8(digits).ok().and_then(|digits| u64::from_str_radix(digits, 16).ok());
    match size {
        Some(0) => At::Trailer,
        // The data, and the CR LF that closes it.
        Some(size) => At::Chunk(size.saturating_add(2)),
        None => At::Lost,
    }
}

/// How many heads of one connection must be refused, from its bytes as they were read; for [`super::steps`].
pub(crate) fn refused<'a>(reads: impl IntoIterator<Item = &'a [u8]>) -> usize {
    let mut framing = Framing::new();
    let of_read = |bytes| {
        framing.feed(bytes);
        framing.heads.drain(..).filter(|framed| *framed != Framed::Well).count()
    };
    reads.into_iter().map(of_read).sum()
}

/// A connection whose end can be seen without reading from it.
pub(crate) trait Transport: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    fn tcp(&self) -> &TcpStream;
}

impl Transport for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Transport for TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }
}

/// A stream, and what was seen of its bytes.
struct Wire<S: ?Sized> {
    framing: Framing,
    stream: S,
}

/// What was seen of a connection's heads; asked once for each request, in order.
#[derive(Clone)]
pub(crate) struct Heads(Arc<Mutex<Wire<dyn Transport>>>);

impl Heads {
    /// How the next request is framed. One that was not seen is not known to be well framed.
    pub(crate) fn next(&self) -> Framed {
        self.0.lock().framing.heads.pop_front().unwrap_or(Framed::TwoWays)
    }

    /// How long a head has been half-sent.
    pub(crate) fn half_sent_for(&self) -> Duration {
        self.0.lock().framing.half_sent.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Whether the caller has closed its end, as far as the kernel has told; it may be gone, or only have said all. Seen also
    /// behind bytes that nobody has read, as TLS sends them before it closes.
    pub(crate) fn is_closed_by_peer(&self) -> bool {
        let wire = self.0.lock();
        let mut ready = pin!(wire.stream.tcp().ready(Interest::READABLE));
        let ready = ready.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        matches!(ready, Poll::Ready(Ok(ready)) if ready.is_read_closed())
    }

    /// Ends when the caller has said all, or is gone: the two look alike. For a wait that may as well end early; to be
    /// awaited by the call that the connection is busy with. Never, where bytes of the next call are there already.
    pub(crate) async fn is_done_speaking(&self) {
        let mut byte = [0];
        std::future::poll_fn(|cx| match self.0.lock().stream.tcp().poll_peek(cx, &mut ReadBuf::new(&mut byte)) {
            Poll::Ready(Ok(1..)) | Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(0) | Err(_)) => Poll::Ready(()),
        })
        .await;
    }
}

/// A stream whose incoming bytes are watched. Answers that nobody takes any more are thrown away while other calls of the
/// connection wait behind them: those were heard, and are carried out.
pub(crate) struct Watched<S>(Arc<Mutex<Wire<S>>>);

impl<S: Transport> Watched<S> {
    pub(crate) fn new(stream: S) -> (Self, Heads) {
        let wire = Arc::new(Mutex::new(Wire { framing: Framing::new(), stream }));
        (Self(Arc::clone(&wire)), Heads(wire))
    }

    /// Puts to the stream what is to be sent.
    fn send<T>(&self, thrown_away: T, put: impl FnOnce(Pin<&mut S>) -> Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        let wire = &mut *self.0.lock();
        match put(Pin::new(&mut wire.stream)) {
            Poll::Ready(Err(_)) if !wire.framing.heads.is_empty() => Poll::Ready(Ok(thrown_away)),
            done => done,
        }
    }
}

impl<S: Transport> AsyncRead for Watched<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let wire = &mut *self.0.lock();
        let read = Pin::new(&mut wire.stream).poll_read(cx, buf);
        if read.is_ready() {
            wire.framing.feed(buf.filled().get(before..).unwrap_or_default());
        }
        read
    }
}

impl<S: Transport> AsyncWrite for Watched<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.send(bytes.len(), |stream| stream.poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.send((), |stream| stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.lock().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How all heads are framed, however the bytes are cut.
    fn framings(bytes: &[u8]) -> Vec<Framed> {
        let mut whole = Framing::new();
        whole.feed(bytes);
        for size in 1..12 {
            let mut cut = Framing::new();
            bytes.chunks(size).for_each(|piece| cut.feed(piece));
            assert_eq!(cut.heads, whole.heads, "cut in pieces of {size}");
        }
        whole.heads.into()
    }

    #[test]
    fn a_head_is_half_sent_only_since_its_own_begin() {
        let mut framing = Framing::new();
        framing.feed(b"GET / HTT");
        let first = framing.half_sent.unwrap();
        framing.feed(b"P/1.1\r\nHos");
        assert_eq!(framing.half_sent, Some(first), "more of the same head");
        framing.feed(b"t: a\r\n\r\nGET / HTT");
        assert!(framing.half_sent.unwrap() > first, "another head");
        framing.feed(b"P/1.1\r\n\r\n");
        assert_eq!(framing.half_sent, None);
    }

    #[test]
    fn both_lengths_are_found_in_either_order_and_case() {
        let tail = "\r\n\r\n0\r\n\r\n";
        assert_eq!(
            framings(format!("POST / HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked{tail}").as_bytes()),
            [Framed::TwoWays]
        );
        assert_eq!(
            framings(format!("POST / HTTP/1.1\r\ntransfer-encoding:chunked\r\nCONTENT-LENGTH:4{tail}").as_bytes()),
            [Framed::TwoWays]
        );
        let alone = format!("POST / HTTP/1.1\r\nTransfer-Encoding: chunked{tail}");
        assert_eq!(framings(alone.as_bytes()), [Framed::Well]);
        let pushed = format!("POST / HTTP/1.1\r\nContent-Length: {:0200}{tail}", 4);
        assert_eq!(framings(pushed.as_bytes())[0], Framed::TwoWays, "a length that can't be seen whole is refused");
    }

    #[test]
    fn one_coding_is_known_and_it_is_named_once() {
        let of = |headers: &str| framings(format!("POST / HTTP/1.1\r\n{headers}\r\n\r\n0\r\n\r\n").as_bytes());
        for unknown in [
            "Transfer-Encoding: gzip, chunked",
            "transfer-encoding:\tGZIP,chunked",
            "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: chunked\r\nHost: a\r\nTransfer-Encoding: identity",
            "Transfer-Encoding: chunked;q=1",
        ] {
            assert_eq!(of(unknown), [Framed::UnknownCoding], "{unknown}");
        }
        for twice in [
            "Transfer-Encoding: chunked, chunked",
            "Transfer-Encoding: chunked\r\nHost: a\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: , chunked",
            "Content-Length: 3\r\nTransfer-Encoding: gzip, chunked",
        ] {
            assert_eq!(of(twice), [Framed::TwoWays], "{twice}");
        }
        let pushed = format!("Transfer-Encoding: {}, chunked", "gzip, ".repeat(40));
        assert_eq!(of(&pushed), [Framed::UnknownCoding], "a list that can't be seen whole is refused");
        assert_eq!(of("Transfer-Encoding: Chunked"), [Framed::Well]);
    }

    #[test]
    fn a_fragment_is_seen_in_the_request_line_and_nowhere_else() {
        let long = "a".repeat(200);
        for line in ["GET /a#f HTTP/1.1", "CONNECT a#f HTTP/1.1", &format!("GET /{long}#f HTTP/1.1")] {
            assert_eq!(framings(format!("\r\n{line}\r\nHost: a\r\n\r\n").as_bytes()), [Framed::Fragment], "{line}");
        }
        let body =
            "POST /a HTTP/1.1\r\nReferer: b#f\r\nCookie: #\r\nContent-Length: 2\r\n\r\n##GET /a HTTP/1.1\r\n\r\n";
        assert_eq!(framings(body.as_bytes()), [Framed::Well, Framed::Well]);
    }

    #[test]
    fn pipelined_requests_are_told_apart_from_bodies() {
        let body = "\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n";
        let mut bytes = format!("POST /a HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        bytes += &format!(
            "POST /b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{:x};x=y\r\n{body}\r\n0\r\nA: b\r\n\r\n",
            body.len()
        );
        bytes += "GET /c HTTP/1.1\r\nHost: x\r\n\r\n";
        bytes += "POST /d HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
        let well = Framed::Well;
        assert_eq!(framings(bytes.as_bytes()), [well, well, well, Framed::TwoWays]);
    }
}

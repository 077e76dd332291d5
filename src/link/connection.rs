//! One connection: what comes is read and asked, what is answered is written, in whatever order it comes about.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::MissedTickBehavior;

use super::Link;
use super::acquirers::Fingerprint;
use super::session::Session;
use crate::iso8583::frame::Absurd;
use crate::metrics::Metrics;

/// Room for one read.
const READ: usize = 64 * 1_024;
/// Bytes of answers that a peer may leave unread before we stop reading from it.
const MOST_UNREAD: usize = 256 * 1_024;
/// How often silence is looked at.
const TICK: Duration = Duration::from_millis(250);
/// How long a peer has to answer our sign-off, and to close after us.
const CLOSE_WITHIN: Duration = Duration::from_millis(500);

/// Why a link ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The peer closed it, or all is said.
    Closed,
    /// A length that no message has: nothing behind it can be trusted.
    Absurd,
    /// Our question was not answered: it is half open.
    Silent,
    /// It does not take its answers, or stopped in the middle of a message.
    Stuck,
}

impl End {
    /// Among the reasons of `sokketsu_shed_total`.
    const fn name(self) -> Option<&'static str> {
        match self {
            Self::Closed => None,
            Self::Absurd => Some("link_absurd_length"),
            Self::Silent => Some("link_silent"),
            Self::Stuck => Some("link_stuck"),
        }
    }
}

/// When something last happened.
struct Times {
    heard: Instant,
    /// The last byte was written, or nothing was to be.
    written: Instant,
    /// The message that is half here was begun, or the one before it was whole.
    half: Option<Instant>,
    asked: Option<Instant>,
}

impl Times {
    fn new(now: Instant) -> Self {
        Self { heard: now, written: now, half: None, asked: None }
    }
}

pub(crate) async fn serve<S>(link: Arc<Link>, stream: S, certificate: Option<Fingerprint>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut session = Session::new(Arc::clone(&link), certificate);
    let end = run(&link, stream, &mut session).await;
    if let Some(reason) = end.name() {
        Metrics::shed(reason);
        tracing::warn!(reason, "a link was closed");
    }
    // What is under way goes on without its caller: a reversal that was heard is carried out, and a bad code counts. The
    // stop waits for it as for any other.
    while !session.is_idle() {
        session.go_on().await;
    }
}

async fn run<S: AsyncRead + AsyncWrite + Unpin>(link: &Link, stream: S, session: &mut Session) -> End {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut stopping = link.client.stopping();
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut times = Times::new(Instant::now());
    let mut input = Input::default();
    let mut written = 0;
    // TLS keeps what the socket had no room for.
    let mut is_flushed = true;
    let mut stopped: Option<Instant> = None;
    // The peer says no more, and may still listen.
    let mut is_read_closed = false;
    // It listens no more; what it sent before it went is still in the socket.
    let mut is_write_closed = false;
    let outlet = session.outlet();
    loop {
        if session.output.len() == written || is_write_closed {
            written = 0;
            session.output.clear();
        }
        if session.output.is_empty() && is_flushed {
            times.written = Instant::now();
            let has_ended = |since: Instant| session.is_done() || since.elapsed() > CLOSE_WITHIN && session.is_idle();
            if stopped.is_some_and(has_ended) || is_read_closed && session.is_idle() {
                return close(&mut reader, &mut writer).await;
            }
        }
        let unwritten = session.output.get(written..).unwrap_or_default();
        let may_read = !is_read_closed && unwritten.len() < MOST_UNREAD && session.has_room();
        let mut end = None;
        tokio::select! {
            biased;
            () = outlet.ready() => session.take_answers(),
            Some(done) = session.tasks.join_next(), if !session.tasks.is_empty() => session.finish(done),
            wrote = write(&mut writer, unwritten), if !unwritten.is_empty() || !is_flushed => {
                is_write_closed |= wrote.is_err();
                is_flushed = !matches!(wrote, Ok(Wrote::Some(_)));
                if let Ok(Wrote::Some(count)) = wrote {
                    written += count;
                    times.written = Instant::now();
                }
            }
            read = read(&mut reader, input.room()), if may_read => {
                let Ok(count) = read else { return End::Closed };
                is_read_closed = count == 0;
                if is_read_closed {
                    continue;
                }
                let now = Instant::now();
                times.heard = now;
                times.asked = None;
                match take_messages(link, session, input.rest(), now) {
                    Ok(taken) => times.half = input.take(taken).then(|| times.half.filter(|_| taken == 0).unwrap_or(now)),
                    Err(Absurd) => return End::Absurd,
                }
            }
            _ = stopping.wait_for(|stopping| *stopping), if stopped.is_none() => {
                stopped = Some(Instant::now());
                session.sign_off();
            }
            _ = tick.tick() => end = check_silence(link, session, &mut times, may_read, Instant::now()),
        }
        let Some(end) = end else { continue };
        if end == End::Stuck && !may_read && !is_read_closed {
            read_out(link, session, &mut input, &mut reader).await;
        }
        return end;
    }
}

/// Reads some bytes; none at the end of what the peer says. Over TLS that may come without a word of it, and the peer may
/// still listen, as one that says so.
async fn read(reader: &mut (impl AsyncRead + Unpin), room: &mut Vec<u8>) -> io::Result<usize> {
    match reader.read_buf(room).await {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
        read => read,
    }
}

/// Bytes that came, of which those in front are done with.
#[derive(Default)]
struct Input {
    bytes: Vec<u8>,
    begin: usize,
}

impl Input {
    fn rest(&self) -> &[u8] {
        self.bytes.get(self.begin..).unwrap_or_default()
    }

    /// Whether something is left.
    fn take(&mut self, count: usize) -> bool {
        self.begin += count;
        if self.begin == self.bytes.len() {
            self.begin = 0;
            self.bytes.clear();
        }
        !self.bytes.is_empty()
    }

    /// Where the next read goes. What is done with makes room for it, not more memory.
    fn room(&mut self) -> &mut Vec<u8> {
        if self.bytes.capacity() - self.bytes.len() < READ / 2 {
            self.bytes.drain(..self.begin);
            self.begin = 0;
            self.bytes.reserve(READ);
        }
        &mut self.bytes
    }
}

enum Wrote {
    Some(usize),
    /// Nothing is left, here or below.
    All,
}

/// Writes some of the bytes, or where there are none lets go what is still held back.
async fn write(writer: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<Wrote> {
    if bytes.is_empty() {
        return writer.flush().await.map(|()| Wrote::All);
    }
    match writer.write(bytes).await? {
        0 => Err(io::ErrorKind::WriteZero.into()),
        count => Ok(Wrote::Some(count)),
    }
}

/// Takes the whole messages; gives how many bytes they were.
fn take_messages(link: &Link, session: &mut Session, bytes: &[u8], now: Instant) -> Result<usize, Absurd> {
    let mut taken = 0;
    while let Some(frame) = link.options.framing.next(bytes.get(taken..).unwrap_or_default())? {
        session.receive(&frame, now);
        taken += frame.taken;
    }
    Ok(taken)
}

/// A peer that does not take its answers is let go, but not what it sent while we did not read: that has arrived.
async fn read_out(link: &Link, session: &mut Session, input: &mut Input, reader: &mut (impl AsyncRead + Unpin)) {
    let until = Instant::now() + CLOSE_WITHIN;
    while Instant::now() < until {
        if !session.has_room() {
            session.go_on().await;
            continue;
        }
        let read = tokio::time::timeout(TICK, reader.read_buf(input.room())).await;
        if !matches!(read, Ok(Ok(1..))) {
            return;
        }
        let Ok(taken) = take_messages(link, session, input.rest(), Instant::now()) else { return };
        input.take(taken);
    }
}

/// Is anybody there?
fn check_silence(link: &Link, session: &mut Session, times: &mut Times, may_read: bool, now: Instant) -> Option<End> {
    let patience = link.options.patience;
    let is_slow = times.half.is_some_and(|since| may_read && now - since > patience);
    if is_slow || now - times.written > patience {
        return Some(End::Stuck);
    }
    match times.asked {
        Some(asked) if now - asked > patience => Some(End::Silent),
        None if now - times.heard > link.options.idle => {
            times.asked = Some(now);
            session.ask_echo();
            None
        }
        _ => None,
    }
}

/// Our end is closed first and the peer's waited for: closed at once, what it sent last would make its side forget our
/// last answers.
async fn close(reader: &mut (impl AsyncRead + Unpin), writer: &mut (impl AsyncWrite + Unpin)) -> End {
    let closing = async {
        writer.shutdown().await.ok();
        let mut rest = [0; 1_024];
        while reader.read(&mut rest).await.is_ok_and(|count| count > 0) {}
    };
    // Who does not close is closed upon.
    drop(tokio::time::timeout(CLOSE_WITHIN, closing).await);
    End::Closed
}

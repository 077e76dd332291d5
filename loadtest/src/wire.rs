//! Keep-alive connections to one server, all on the calling thread: non-blocking sockets and epoll. What is sent
//! carries a tag `T`; its answer, or the fact that none came, is handed back with it. The protocol is a parameter:
//! all the wire needs to know of it is where an answer ends.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;

use anyhow::{Context, Result, anyhow, bail};
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use socket2::{Domain, Protocol, Socket, Type};

use crate::clock::{Clock, MILLISECOND, Nanos, SECOND};
use crate::tls::{Peer, Stream};

/// Room for one read.
const READ: usize = 64 * 1024;
/// Longest wait for the first connections.
const CONNECT_WITHIN: Nanos = 5 * SECOND;

/// As many connections refused in a row: the server is gone.
const MOST_REFUSED: u32 = 1_000;

/// An answer, borrowed from the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer<'a> {
    /// That of HTTP; where a protocol has none, 200, or 500 for an error.
    pub status: u16,
    pub head: &'a [u8],
    pub body: &'a [u8],
    /// The server closes the connection after it.
    pub is_last: bool,
    /// Which request it answers, where the protocol says; else they come in order.
    pub number: Option<u64>,
}

/// The input is no answer we can read.
#[derive(Debug, PartialEq, Eq)]
pub struct BadAnswer;

/// Where a request that was just written has its number, in a protocol whose answers come in any order.
pub type Numbering = fn(&[u8]) -> u64;

/// Reads one whole answer from the start of the input, and gives its length. `None`: more is to come.
pub type Framing = fn(&[u8]) -> Result<Option<(Answer<'_>, usize)>, BadAnswer>;

/// A request under way.
pub struct Sent<T> {
    pub tag: T,
    /// When it went out.
    pub at: Nanos,
}

/// What became of a request.
#[derive(Clone, Copy, Debug)]
pub enum Outcome<'a> {
    Answer(Answer<'a>),
    /// No answer within the time given.
    TimedOut,
    /// The connection ended, or said what is no answer.
    Broken,
}

struct Conn<T> {
    stream: Stream,
    is_connected: bool,
    /// The begin of an answer whose end is still to come.
    input: Vec<u8>,
    output: Vec<u8>,
    written: usize,
    /// epoll tells when more can be written.
    awaits_room: bool,
    /// In the order of their sending, with their numbers.
    under_way: VecDeque<(u64, Sent<T>)>,
    /// Whether it stands in `open`.
    is_open: bool,
    /// Whether it stands in `dirty`.
    is_dirty: bool,
}

pub struct Wire<T> {
    to: Peer,
    framing: Framing,
    numbering: Option<Numbering>,
    clock: Clock,
    epoll: OwnedFd,
    /// Most requests under way on one connection.
    depth: usize,
    timeout: Nanos,
    conns: Vec<Conn<T>>,
    /// Connections that take another request, the longest idle first.
    open: VecDeque<usize>,
    /// Connections with something to write.
    dirty: Vec<usize>,
    events: Vec<epoll::Event>,
    under_way: usize,
    scratch: Vec<u8>,
    /// Connections refused in a row, and why the last one was.
    refused: u32,
    refusal: Option<std::io::Error>,
    /// Connections made anew.
    pub reconnects: u64,
}

/// Starts to connect; the end of it is told by epoll.
fn connect(peer: &Peer) -> Result<Stream> {
    let to = peer.address;
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP)).context("open a socket")?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    match socket.connect(&to.into()) {
        Ok(()) => (),
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => (),
        Err(error) => return Err(error).with_context(|| format!("connect to {to}")),
    }
    peer.speak(socket.into())
}

fn flags(awaits_room: bool) -> epoll::EventFlags {
    let read = epoll::EventFlags::IN | epoll::EventFlags::RDHUP;
    if awaits_room { read | epoll::EventFlags::OUT } else { read }
}

impl<T> Conn<T> {
    fn new(stream: Stream) -> Self {
        Self {
            stream,
            is_connected: false,
            input: Vec::new(),
            output: Vec::new(),
            written: 0,
            awaits_room: true,
            under_way: VecDeque::new(),
            is_open: false,
            is_dirty: false,
        }
    }

    /// Writes what it can; whether all went out.
    fn write(&mut self) -> std::io::Result<bool> {
        while let Some(rest) = self.output.get(self.written..).filter(|rest| !rest.is_empty()) {
            match self.stream.write(rest) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => (),
                Err(error) => return Err(error),
            }
        }
        self.output.clear();
        self.written = 0;
        match self.stream.flush() {
            Ok(()) => Ok(true),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl<T> Wire<T> {
    pub fn new(
        to: &Peer,
        framing: Framing,
        clock: Clock,
        connections: usize,
        depth: usize,
        timeout: Nanos,
    ) -> Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).context("epoll")?;
        let mut wire = Self {
            to: to.clone(),
            framing,
            numbering: None,
            clock,
            epoll,
            depth,
            timeout,
            conns: Vec::new(),
            open: VecDeque::new(),
            dirty: Vec::new(),
            events: Vec::with_capacity(256),
            under_way: 0,
            scratch: vec![0; READ],
            refused: 0,
            refusal: None,
            reconnects: 0,
        };
        for at in 0..connections {
            let stream = connect(to)?;
            epoll::add(&wire.epoll, &stream, epoll::EventData::new_u64(at as u64), flags(true)).context("epoll")?;
            wire.conns.push(Conn::new(stream));
        }
        let until = clock.now() + CONNECT_WITHIN;
        while wire.open.len() < connections {
            if clock.now() > until {
                bail!("{} of {connections} connections to {} could be made", wire.open.len(), to.address);
            }
            wire.wait(10 * MILLISECOND, &mut |_, _, _| ())?;
            if wire.reconnects > 0 {
                return Err(wire.gone());
            }
        }
        Ok(wire)
    }

    /// Answers come in any order.
    #[must_use]
    pub fn numbered(mut self, numbering: Option<Numbering>) -> Self {
        self.numbering = numbering;
        self
    }

    pub fn is_idle(&self) -> bool {
        self.under_way == 0
    }

    /// Whether [`Wire::send`] would find a connection.
    pub fn has_room(&self) -> bool {
        !self.open.is_empty()
    }

    /// Puts a request on the connection that has been idle longest. It goes out with the next [`Wire::flush`].
    /// Call it only if there is room.
    pub fn send(&mut self, tag: T, now: Nanos, write: impl FnOnce(&mut Vec<u8>)) {
        let Some(at) = self.open.pop_front() else { return };
        let Some(conn) = self.conns.get_mut(at) else { return };
        let begin = conn.output.len();
        write(&mut conn.output);
        let number = self.numbering.map_or(0, |of| of(conn.output.get(begin..).unwrap_or_default()));
        conn.under_way.push_back((number, Sent { tag, at: now }));
        self.under_way += 1;
        conn.is_open = conn.under_way.len() < self.depth;
        if conn.is_open {
            self.open.push_back(at);
        }
        if !conn.is_dirty {
            conn.is_dirty = true;
            self.dirty.push(at);
        }
    }

    pub fn flush(&mut self, hear: &mut impl FnMut(Sent<T>, Outcome<'_>, Nanos)) -> Result<()> {
        let mut dirty = std::mem::take(&mut self.dirty);
        for at in dirty.drain(..) {
            self.write(at, hear)?;
        }
        self.dirty = dirty;
        Ok(())
    }

    fn write(&mut self, at: usize, hear: &mut impl FnMut(Sent<T>, Outcome<'_>, Nanos)) -> Result<()> {
        let Some(conn) = self.conns.get_mut(at) else { return Ok(()) };
        conn.is_dirty = false;
        match conn.write() {
            Ok(all) => {
                if conn.awaits_room == all {
                    conn.awaits_room = !all;
                    let data = epoll::EventData::new_u64(at as u64);
                    epoll::modify(&self.epoll, &conn.stream, data, flags(!all)).context("epoll")?;
                }
                Ok(())
            }
            Err(_) => self.replace(at, false, hear),
        }
    }

    /// Waits for the first answer, at most `longest`, and hands over all that came, with the time: all of it had
    /// come when the wait ended, so the clock is read once.
    pub fn wait(&mut self, longest: Nanos, hear: &mut impl FnMut(Sent<T>, Outcome<'_>, Nanos)) -> Result<()> {
        let timeout = Timespec {
            tv_sec: i64::try_from(longest / SECOND).unwrap_or(i64::MAX),
            tv_nsec: i64::try_from(longest % SECOND).unwrap_or(0),
        };
        self.events.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&timeout)) {
            Ok(_) => (),
            Err(rustix::io::Errno::INTR) => return Ok(()),
            Err(error) => return Err(error).context("epoll"),
        }
        let now = self.clock.now();
        let events = std::mem::take(&mut self.events);
        for event in &events {
            let at = usize::try_from(event.data.u64()).unwrap_or(usize::MAX);
            self.event(at, event.flags, now, hear)?;
        }
        self.events = events;
        Ok(())
    }

    fn event(
        &mut self,
        at: usize,
        what: epoll::EventFlags,
        now: Nanos,
        hear: &mut impl FnMut(Sent<T>, Outcome<'_>, Nanos),
    ) -> Result<()> {
        let Some(conn) = self.conns.get_mut(at) else { return Ok(()) };
        if !conn.is_connected {
            let is_refused = what.intersects(epoll::EventFlags::ERR | epoll::EventFlags::HUP);
            let ready = if is_refused { Err(ErrorKind::ConnectionRefused.into()) } else { conn.stream.is_ready() };
            match ready {
                Ok(true) => (),
                // What was to be said is said, and until there is an answer nothing is to be written.
                Ok(false) => return self.write(at, hear),
                Err(error) => {
                    self.refused += 1;
                    self.refusal = Some(error);
                    if self.refused > MOST_REFUSED {
                        return Err(self.gone());
                    }
                    return self.replace(at, false, hear);
                }
            }
            self.refused = 0;
            conn.is_connected = true;
            conn.is_open = true;
            self.open.push_back(at);
        }
        if what.contains(epoll::EventFlags::OUT) {
            self.write(at, hear)?;
        }
        if what.intersects(epoll::EventFlags::IN | epoll::EventFlags::RDHUP | epoll::EventFlags::HUP) {
            self.read(at, now, hear)?;
        }
        Ok(())
    }

    fn gone(&mut self) -> anyhow::Error {
        let why = self.refusal.take().unwrap_or_else(|| ErrorKind::ConnectionAborted.into());
        anyhow!(why).context(format!("{} does not take connections", self.to.address))
    }

    fn read(&mut self, at: usize, now: Nanos, hear: &mut impl FnMut(Sent<T>, Outcome<'_>, Nanos)) -> Result<()> {
        let Some(conn) = self.conns.get_mut(at) else { return Ok(()) };
        let (count, mut lives) = match conn.stream.read(&mut self.scratch) {
            Ok(count) => (count, count > 0),
            Err(error) => (0, matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)),
        };
        let came = self.scratch.get(..count).unwrap_or_default();
        // Nearly always a read brings whole answers, and nothing is copied.
        let mut kept = std::mem::take(&mut conn.input);
        let mut rest = if kept.is_empty() {
            came
        } else {
            kept.extend_from_slice(came);
            &kept
        };
        while lives && !rest.is_empty() {
            let Ok(read) = (self.framing)(rest) else {
                lives = false;
                break;
            };
            let Some((answer, length)) = read else { break };
            let found = match answer.number {
                None => conn.under_way.pop_front(),
                // A few dozen at most, and nearly always the first.
                Some(number) => {
                    let at = conn.under_way.iter().position(|(other, _)| *other == number);
                    at.and_then(|at| conn.under_way.remove(at))
                }
            };
            let Some((_, sent)) = found else {
                // What nobody asked for is an echo test, or the end of a protocol that has no numbers.
                if answer.number.is_some() {
                    rest = rest.get(length..).unwrap_or_default();
                    continue;
                }
                lives = false;
                break;
            };
            self.under_way -= 1;
            lives = !answer.is_last;
            hear(sent, Outcome::Answer(answer), now);
            rest = rest.get(length..).unwrap_or_default();
        }
        if !lives {
            return self.replace(at, false, hear);
        }
        conn.input.extend_from_slice(rest);
        if !conn.is_open && conn.under_way.len() < self.depth {
            conn.is_open = true;
            self.open.push_back(at);
        }
        Ok(())
    }

    /// Gives up what was sent too long ago; in a protocol without numbers with its connection: a late answer would be taken
    /// for the next one's.
    pub fn give_up(&mut self, now: Nanos, hear: &mut impl FnMut(Sent<T>, Outcome<'_>, Nanos)) -> Result<()> {
        for at in 0..self.conns.len() {
            let Some(conn) = self.conns.get_mut(at) else { continue };
            let is_late = |(_, sent): &(u64, Sent<T>)| sent.at + self.timeout <= now;
            if !conn.under_way.front().is_some_and(is_late) {
                continue;
            }
            if self.numbering.is_none() {
                self.replace(at, true, hear)?;
                continue;
            }
            while let Some((_, sent)) = conn.under_way.pop_front_if(|sent| is_late(sent)) {
                self.under_way -= 1;
                hear(sent, Outcome::TimedOut, now);
            }
            if !conn.is_open {
                conn.is_open = true;
                self.open.push_back(at);
            }
        }
        Ok(())
    }

    /// Makes the connection anew.
    fn replace(
        &mut self,
        at: usize,
        timed_out: bool,
        hear: &mut impl FnMut(Sent<T>, Outcome<'_>, Nanos),
    ) -> Result<()> {
        let stream = connect(&self.to)?;
        epoll::add(&self.epoll, &stream, epoll::EventData::new_u64(at as u64), flags(true)).context("epoll")?;
        let Some(place) = self.conns.get_mut(at) else { return Ok(()) };
        // Closing the old socket takes it out of epoll.
        let old = std::mem::replace(place, Conn::new(stream));
        self.reconnects += 1;
        self.open.retain(|open| *open != at);
        self.under_way -= old.under_way.len();
        let now = self.clock.now();
        for (_, sent) in old.under_way {
            let outcome = if timed_out { Outcome::TimedOut } else { Outcome::Broken };
            hear(sent, outcome, now);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn answers(wire: &mut Wire<u32>, count: usize) -> Vec<(u32, Option<Vec<u8>>)> {
        let mut got = Vec::new();
        let clock = wire.clock;
        let until = clock.now() + 5 * SECOND;
        while got.len() < count && clock.now() < until {
            let mut hear = |sent: Sent<u32>, outcome: Outcome<'_>, _| {
                let body = if let Outcome::Answer(answer) = outcome { Some(answer.body.to_vec()) } else { None };
                got.push((sent.tag, body));
            };
            wire.flush(&mut hear).unwrap();
            wire.wait(MILLISECOND, &mut hear).unwrap();
            wire.give_up(clock.now(), &mut hear).unwrap();
        }
        got
    }

    #[test]
    fn answers_meet_their_requests_over_split_reads_and_timeouts() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut first, _) = listener.accept().unwrap();
            first.set_nodelay(true).unwrap();
            let mut got = [0; 8];
            first.read_exact(&mut got).unwrap();
            assert_eq!(&got, b"oneetwoo");
            for piece in [&b"HTTP/1.1 200 OK\r\ncontent-le"[..], b"ngth: 3\r\n\r\nab", b"cHTTP/1.1 200 OK\r\nconte"] {
                first.write_all(piece).unwrap();
                first.flush().unwrap();
            }
            first.write_all(b"nt-length: 1\r\n\r\nz").unwrap();
            first.read_exact(&mut got[..4]).unwrap();
            // Never answered: the client gives the connection up and makes another.
            let (mut second, _) = listener.accept().unwrap();
            second.read_exact(&mut got[..4]).unwrap();
            second.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok").unwrap();
        });
        let clock = Clock::start();
        let mut wire = Wire::new(&Peer::plain(to), crate::http::read, clock, 1, 2, 50 * MILLISECOND).unwrap();
        wire.send(1, clock.now(), |out| out.extend_from_slice(b"onee"));
        assert!(wire.has_room());
        wire.send(2, clock.now(), |out| out.extend_from_slice(b"twoo"));
        assert!(!wire.has_room(), "two are as deep as it may be");
        assert_eq!(answers(&mut wire, 2), [(1, Some(b"abc".to_vec())), (2, Some(b"z".to_vec()))]);
        assert!(wire.is_idle());
        wire.send(3, clock.now(), |out| out.extend_from_slice(b"hang"));
        assert_eq!(answers(&mut wire, 1), [(3, None)]);
        while !wire.has_room() {
            assert!(answers(&mut wire, 0).is_empty());
            wire.wait(MILLISECOND, &mut |_, _, _| ()).unwrap();
        }
        wire.send(4, clock.now(), |out| out.extend_from_slice(b"last"));
        assert_eq!(answers(&mut wire, 1), [(4, Some(b"ok".to_vec()))]);
        server.join().unwrap();
        assert_eq!(wire.reconnects, 2);
    }
}

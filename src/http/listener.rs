//! Sockets: the accept loop, caps on connections, hyper's bounds, and the drain at the end.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use super::Edge;
pub use super::call::Door;
use super::call::answer;
use super::calls::health::Condition;
use super::framing::{Heads, Line, Watched};
use crate::metrics::Metrics;

/// Connections the kernel holds before we accept them.
const BACKLOG: i32 = 1_024;
/// Of the admin address: caps of its own, so that a flood in front does not lock staff out.
pub const ADMIN_CONNECTIONS: usize = 256;
const MAX_HEADERS: usize = 64;
const MAX_HEAD: usize = 16 * 1_024;
/// hyper's buffer of one connection: a head, and a body that came with it.
const MAX_BUFFER: usize = 64 * 1_024;
/// How long the last answer of an aged connection may take: a long poll's 30 s and room. A peer that does not
/// read would else keep its place forever; a feed of events is taken up again by its reader.
const LAST_ANSWER: Duration = Duration::from_secs(60);
/// Silence after which the kernel asks whether the peer is still there.
pub(crate) const KEEPALIVE: Duration = Duration::from_secs(60);
/// How long a TLS handshake may take.
pub(crate) const HANDSHAKE: Duration = Duration::from_secs(5);
/// How long to wait when the process has no more file descriptors.
const OUT_OF_FILES: Duration = Duration::from_millis(50);

/// Binds a listener. Call it inside the runtime.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Serves both addresses until `stop` ends, then drains: idle connections close at once, answers in flight have
/// until the deadline. Gives the number of connections that had to be cut.
pub async fn run(
    edge: Arc<Edge>,
    public: TcpListener,
    admin: Option<TcpListener>,
    stop: impl Future<Output = ()>,
) -> usize {
    let caps = Caps::new(edge.options.max_connections, edge.options.max_connections_per_ip);
    let door = if admin.is_some() { Door::Public } else { Door::Only };
    let mut doors = JoinSet::new();
    doors.spawn(serve_door(Arc::clone(&edge), public, door, caps.clone()));
    if let Some(admin) = admin {
        let caps = Caps::new(ADMIN_CONNECTIONS, u32::try_from(ADMIN_CONNECTIONS).unwrap_or(u32::MAX));
        doors.spawn(serve_door(Arc::clone(&edge), admin, Door::Admin, caps));
    }
    edge.readiness.set(Condition::ListenersBound, true);
    stop.await;
    edge.begin_stop();
    drop(edge);
    let mut cut = 0;
    while let Some(done) = doors.join_next().await {
        cut += done.unwrap_or(0);
    }
    cut
}

/// Accepts until the stop, then waits for its connections.
async fn serve_door(edge: Arc<Edge>, listener: TcpListener, door: Door, caps: Caps) -> usize {
    let mut stopping = edge.stopping();
    let mut connections = JoinSet::new();
    let mut count: u64 = 0;
    while !*stopping.borrow() {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopping.changed() => break,
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((stream, peer)) => {
                let Some(place) = caps.take(peer.ip()) else {
                    Metrics::shed("connections");
                    continue;
                };
                count += 1;
                connections.spawn(serve_connection(Arc::clone(&edge), stream, door, place, age(&edge, count)));
            }
            Err(error) => after_accept_error(&error).await,
        }
    }
    drop(listener);
    let deadline = tokio::time::sleep(edge.options.drain_deadline);
    drop(edge);
    let mut deadline = pin!(deadline);
    loop {
        tokio::select! {
            done = connections.join_next() => if done.is_none() { return 0 },
            () = &mut deadline => break,
        }
    }
    let cut = connections.len();
    tracing::warn!(cut, "connections were cut at the end of the drain");
    connections.shutdown().await;
    cut
}

/// One connection's age, spread over ten minutes so that they do not all come back at once.
fn age(edge: &Edge, count: u64) -> Duration {
    edge.options.connection_age + Duration::from_secs(count.wrapping_mul(37) % 600)
}

/// An accept never ends the loop: a peer that has gone is nothing, and files come back.
pub(crate) async fn after_accept_error(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
        return;
    }
    tracing::warn!(%error, "accept failed");
    Metrics::shed("accept");
    tokio::time::sleep(OUT_OF_FILES).await;
}

async fn serve_connection(edge: Arc<Edge>, stream: TcpStream, door: Door, place: Place, age: Duration) {
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE);
    if stream.set_nodelay(true).is_err() || SockRef::from(&stream).set_tcp_keepalive(&keepalive).is_err() {
        return;
    }
    let Some(tls) = &edge.tls else { return serve_stream(edge, stream, door, place, age).await };
    // Before HTTP sees a byte, and not for ever.
    match tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await {
        Ok(Ok(stream)) => serve_stream(edge, stream, door, place, age).await,
        Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
        Err(_) => Metrics::shed("tls_handshake"),
    }
}

async fn serve_stream<S>(edge: Arc<Edge>, stream: S, door: Door, place: Place, age: Duration)
where
    S: Line,
{
    let mut stopping = edge.stopping();
    let (stream, heads) = Watched::new(stream);
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(edge.options.idle_timeout)
        .max_headers(MAX_HEADERS)
        .max_header_size(MAX_HEAD)
        .max_buf_size(MAX_BUFFER)
        // Who has said all may still listen for the answer. What was asked is done in either case.
        .half_close(true)
        .writev(false)
        .keep_alive(true);
    let (watched, header_timeout) = (heads.clone(), edge.options.header_timeout);
    let service = service_fn(move |request| answer(Arc::clone(&edge), door, heads.clone(), request));
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        _ = stopping.wait_for(|stopping| *stopping) => None,
        () = tokio::time::sleep(age) => None,
        () = too_slow(&watched, header_timeout) => {
            Metrics::shed("slow_head");
            Some(Ok(()))
        }
    };
    let ended = match ended {
        Some(ended) => ended,
        // What was not even asked whole gets no last answer.
        None if !watched.half_sent_for().is_zero() => Ok(()),
        None => {
            // The answer in flight is the last one.
            connection.as_mut().graceful_shutdown();
            match tokio::time::timeout(LAST_ANSWER, connection).await {
                Ok(ended) => ended,
                Err(_) => Ok(()),
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
    drop(place);
}

/// Ends when a head has been half-sent for too long: hyper's own timeout is also that of an idle connection.
async fn too_slow(heads: &Heads, limit: Duration) {
    while heads.half_sent_for() < limit {
        tokio::time::sleep(limit / 4).await;
    }
}

/// Bounds on connections, in total and for one address.
#[derive(Clone)]
pub(crate) struct Caps {
    total: Arc<Semaphore>,
    per_ip: u32,
    by_ip: Arc<Mutex<HashMap<IpAddr, u32>>>,
}

/// One connection's place under the caps, given back when dropped.
pub(crate) struct Place {
    _total: OwnedSemaphorePermit,
    ip: IpAddr,
    by_ip: Arc<Mutex<HashMap<IpAddr, u32>>>,
}

impl Caps {
    pub(crate) fn new(total: usize, per_ip: u32) -> Self {
        Self { total: Arc::new(Semaphore::new(total)), per_ip, by_ip: Arc::default() }
    }

    pub(crate) fn take(&self, ip: IpAddr) -> Option<Place> {
        let total = Arc::clone(&self.total).try_acquire_owned().ok()?;
        let mut by_ip = self.by_ip.lock();
        let count = by_ip.entry(ip).or_insert(0);
        if *count >= self.per_ip {
            return None;
        }
        *count += 1;
        drop(by_ip);
        Some(Place { _total: total, ip, by_ip: Arc::clone(&self.by_ip) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut by_ip = self.by_ip.lock();
        if let Some(count) = by_ip.get_mut(&self.ip) {
            *count -= 1;
            if *count == 0 {
                by_ip.remove(&self.ip);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caps_count_in_total_and_by_address() {
        let caps = Caps::new(3, 2);
        let ip = |last| IpAddr::from([10, 0, 0, last]);
        let (a, b) = (caps.take(ip(1)).unwrap(), caps.take(ip(1)).unwrap());
        assert!(caps.take(ip(1)).is_none(), "two from one address");
        let c = caps.take(ip(2)).unwrap();
        assert!(caps.take(ip(3)).is_none(), "three in total");
        drop(a);
        assert!(caps.take(ip(1)).is_some());
        drop((b, c));
        assert!(caps.by_ip.lock().is_empty());
    }
}

//! What every door needs of its sockets: bind, accept within caps, open (TLS within its time), and drain at the end.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use socket2::{Domain, Protocol, SockRef, Socket as RawSocket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::metrics::Metrics;

/// Connections the kernel holds before we accept them.
const BACKLOG: i32 = 1_024;
/// Silence after which the kernel asks whether the peer is still there.
const KEEPALIVE: Duration = Duration::from_secs(60);
/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// How long to wait when the process has no more file descriptors.
const OUT_OF_FILES: Duration = Duration::from_millis(50);

/// Binds an address. Call it inside the runtime.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = RawSocket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// One address and what it bears.
pub struct Listener {
    pub socket: TcpListener,
    pub caps: Caps,
    /// With it every connection speaks TLS.
    pub tls: Option<TlsAcceptor>,
    /// How long connections may go on after the stop.
    pub drain: Duration,
    /// What its connections are called in the log.
    pub what: &'static str,
}

/// A connection that is ready to be served.
pub enum Socket {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Listener {
    /// Accepts until the stop and gives each connection to `serve`, with its number; then waits for all of them, until the
    /// time to drain is over. Gives the number of connections that had to be cut.
    pub async fn run<S, F>(self, mut stopping: watch::Receiver<bool>, serve: S) -> usize
    where
        S: Fn(Socket, u64) -> F + Clone + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let mut connections = JoinSet::new();
        let mut number: u64 = 0;
        while !*stopping.borrow() {
            let accepted = tokio::select! {
                accepted = self.socket.accept() => accepted,
                _ = stopping.changed() => break,
                Some(_) = connections.join_next() => continue,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let Some(place) = self.caps.take(peer.ip()) else {
                        Metrics::shed("connections");
                        continue;
                    };
                    number += 1;
                    let tls = self.tls.clone();
                    let serve = serve.clone();
                    connections.spawn(async move {
                        if let Some(socket) = open(stream, tls).await {
                            serve(socket, number).await;
                        }
                        drop(place);
                    });
                }
                Err(error) => after_accept_error(&error).await,
            }
        }
        let Self { socket, drain, what, .. } = self;
        drop((socket, serve));
        finish(connections, drain, what).await
    }
}

async fn finish(mut connections: JoinSet<()>, drain: Duration, what: &str) -> usize {
    let mut deadline = pin!(tokio::time::sleep(drain));
    loop {
        tokio::select! {
            done = connections.join_next() => if done.is_none() { return 0 },
            () = &mut deadline => break,
        }
    }
    let cut = connections.len();
    tracing::warn!(cut, "{what} were cut at the end of the drain");
    connections.shutdown().await;
    cut
}

/// An accept never ends the loop: a peer that has gone is nothing, and files come back.
async fn after_accept_error(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
        return;
    }
    tracing::warn!(%error, "accept failed");
    Metrics::shed("accept");
    tokio::time::sleep(OUT_OF_FILES).await;
}

/// The handshake comes before anybody sees a byte, and not for ever.
async fn open(stream: TcpStream, tls: Option<TlsAcceptor>) -> Option<Socket> {
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE);
    if stream.set_nodelay(true).is_err() || SockRef::from(&stream).set_tcp_keepalive(&keepalive).is_err() {
        return None;
    }
    let Some(tls) = tls else { return Some(Socket::Plain(stream)) };
    match tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await {
        Ok(Ok(stream)) => Some(Socket::Tls(Box::new(stream))),
        Ok(Err(error)) => {
            tracing::debug!(%error, "TLS handshake failed");
            None
        }
        Err(_) => {
            Metrics::shed("tls_handshake");
            None
        }
    }
}

/// Bounds on connections, in total and for one address.
pub struct Caps {
    total: Arc<Semaphore>,
    per_ip: u32,
    by_ip: Arc<Mutex<HashMap<IpAddr, u32>>>,
}

/// One connection's place under the caps, given back when dropped.
struct Place {
    _total: OwnedSemaphorePermit,
    ip: IpAddr,
    by_ip: Arc<Mutex<HashMap<IpAddr, u32>>>,
}

impl Caps {
    pub fn new(total: usize, per_ip: u32) -> Self {
        Self { total: Arc::new(Semaphore::new(total)), per_ip, by_ip: Arc::default() }
    }

    fn take(&self, ip: IpAddr) -> Option<Place> {
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

//! HTTP connections: the doors they come through, hyper's bounds, and when a connection ends.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::Edge;
pub use super::call::Door;
use super::call::answer;
use super::framing::{Heads, Transport, Watched};
use crate::metrics::Metrics;
use crate::net::{Caps, Listener, Socket};

/// Of the admin address: caps of its own, so that a flood in front does not lock staff out.
pub const ADMIN_CONNECTIONS: usize = 256;
const MAX_HEADERS: usize = 64;
const MAX_HEAD: usize = 16 * 1_024;
/// hyper's buffer of one connection: a head, and a body that came with it.
const MAX_BUFFER: usize = 64 * 1_024;
/// How long the last answer of an aged connection may take: a long poll's 30 s and room. A peer that does not
/// read would else keep its place forever; a feed of events is taken up again by its reader.
const LAST_ANSWER: Duration = Duration::from_secs(60);

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
    doors.spawn(serve_door(Arc::clone(&edge), public, door, caps));
    if let Some(admin) = admin {
        let caps = Caps::new(ADMIN_CONNECTIONS, u32::try_from(ADMIN_CONNECTIONS).unwrap_or(u32::MAX));
        doors.spawn(serve_door(Arc::clone(&edge), admin, Door::Admin, caps));
    }
    stop.await;
    edge.client.begin_stop();
    drop(edge);
    let mut cut = 0;
    while let Some(done) = doors.join_next().await {
        cut += done.unwrap_or(0);
    }
    cut
}

async fn serve_door(edge: Arc<Edge>, socket: TcpListener, door: Door, caps: Caps) -> usize {
    let tls = edge.tls.clone();
    let drain = edge.options.drain_deadline;
    let listener = Listener { socket, caps, tls, drain, what: "connections" };
    let stopping = edge.client.stopping();
    let serve = move |socket, number| {
        let edge = Arc::clone(&edge);
        let age = age(&edge, number);
        async move {
            match socket {
                Socket::Plain(stream) => serve_stream(edge, stream, door, age).await,
                Socket::Tls(stream) => serve_stream(edge, *stream, door, age).await,
            }
        }
    };
    listener.run(stopping, serve).await
}

/// One connection's age, spread over ten minutes so that they do not all come back at once.
fn age(edge: &Edge, number: u64) -> Duration {
    edge.options.connection_age + Duration::from_secs(number.wrapping_mul(37) % 600)
}

async fn serve_stream<S>(edge: Arc<Edge>, stream: S, door: Door, age: Duration)
where
    S: Transport,
{
    let mut stopping = edge.client.stopping();
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
    let watched = heads.clone();
    let header_timeout = edge.options.header_timeout;
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
}

/// Ends when a head has been half-sent for too long: hyper's own timeout is also that of an idle connection.
async fn too_slow(heads: &Heads, limit: Duration) {
    while heads.half_sent_for() < limit {
        tokio::time::sleep(limit / 4).await;
    }
}

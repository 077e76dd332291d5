//! The network's link: ISO 8583 over TCP. In reading order:
//!
//! - this file: the listener, and the bounds of its connections;
//! - `connection`: bytes in, bytes out, silence and the drain;
//! - `session`: one message from its bytes to the engine, and an answer from the engine to its bytes;
//! - `sale`: what a sale's message says, its code judged by itself;
//! - `on_order`: what is asked after a decision: reversals, captures, refunds, advices;
//! - [`acquirers`]: who speaks; `response`: what an answer says.
//!
//! Nothing here decides. A message is put to the engine as a call of HTTP is, by the same client.

pub mod acquirers;
mod connection;
mod on_order;
mod response;
mod sale;
mod session;

use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::engine::client::Client;
use crate::iso8583::frame::Framing;
use crate::iso8583::message::Layout;
use crate::iso8583::profile::Kind;
use crate::metrics::CallTimers;
use crate::net::{Caps, Listener, Socket};

use acquirers::{Acquirers, Fingerprint};

/// Element 70: networks have numbers of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetworkCodes {
    pub sign_on: [u8; 3],
    pub sign_off: [u8; 3],
    pub echo: [u8; 3],
}

impl Default for NetworkCodes {
    fn default() -> Self {
        Self { sign_on: *b"001", sign_off: *b"002", echo: *b"301" }
    }
}

/// How a link speaks, and its bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    pub framing: Framing,
    pub layout: Layout,
    pub codes: NetworkCodes,
    /// Nothing but the network's own messages is taken before a sign-on.
    pub requires_sign_on: bool,
    pub max_connections: usize,
    /// Messages under way on one connection; beyond it a sale is answered 91.
    pub max_in_flight: usize,
    /// Past it, counted from a message's arrival, an approval is not given.
    pub deadline: Duration,
    /// After this silence we ask whether the peer is there.
    pub idle: Duration,
    /// An unanswered question, a half-sent message or an answer that is not taken end a link after this time.
    pub patience: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            framing: Framing::default(),
            layout: Layout::default(),
            codes: NetworkCodes::default(),
            requires_sign_on: false,
            max_connections: 64,
            max_in_flight: 4_096,
            deadline: Duration::from_secs(1),
            idle: Duration::from_secs(60),
            patience: Duration::from_secs(10),
        }
    }
}

/// What all connections of the listener share.
pub struct Link {
    pub(crate) client: Arc<Client>,
    acquirers: Acquirers,
    options: Options,
    tls: Option<TlsAcceptor>,
    timers: CallTimers,
}

impl Link {
    pub fn new(client: Arc<Client>, acquirers: Acquirers, options: Options, tls: Option<TlsAcceptor>) -> Arc<Self> {
        let timers = CallTimers::new("iso8583", Kind::ALL.map(Kind::name));
        Arc::new(Self { client, acquirers, options, tls, timers })
    }
}

/// Serves links until the process stops, then signs off, finishes what is under way within `drain` and closes. Gives
/// the number of connections that had to be cut.
pub async fn serve(link: Arc<Link>, socket: TcpListener, drain: Duration) -> usize {
    let stopping = link.client.stopping();
    let tls = link.tls.clone();
    let caps = Caps::new(link.options.max_connections, u32::MAX);
    let listener = Listener { socket, caps, tls, drain, what: "links" };
    let serve = move |socket, _| {
        let link = Arc::clone(&link);
        async move {
            match socket {
                Socket::Plain(stream) => connection::serve(link, stream, None).await,
                Socket::Tls(stream) => {
                    let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
                    let fingerprint: Option<Fingerprint> =
                        certificate.map(|certificate| Sha256::digest(certificate).into());
                    connection::serve(link, *stream, fingerprint).await;
                }
            }
        }
    };
    listener.run(stopping, serve).await
}

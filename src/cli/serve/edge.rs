//! What the edge is given: callers, bounds, readers, and in the sandbox the clock.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use crossbeam::channel::Sender;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::ServeError;
use crate::clock::Clock;
use crate::config::{Acquirer, ApiKey, Config, SignatureSecret, Tls};
use crate::domain::model::time::Millis;
use crate::engine::bad_codes::BadCodes;
use crate::engine::board::Board;
use crate::engine::client::{Client, Ledger, MerchantPut};
use crate::engine::inbox::Inbox;
use crate::engine::readiness::Readiness;
use crate::http;
use crate::http::trust::callers::{Caller, Callers};
use crate::http::trust::signature::Verifier;
use crate::journal::Follower;
use crate::ledger::Books;
use crate::ledger::writer::Writer;
use crate::link::acquirers::Acquirers;
use crate::net::tls;

/// Whom a call asks.
pub(crate) struct Asks {
    pub inbox: Inbox,
    pub merchants: Option<Sender<MerchantPut>>,
    pub books: Arc<dyn Books>,
}

pub(crate) fn parts(
    config: &Config,
    clock: &Clock,
    Asks { inbox, merchants, books }: Asks,
    board: Arc<Board>,
    journal: Follower,
    readiness: &Arc<Readiness>,
) -> Result<http::Parts, ServeError> {
    let client = Client {
        inbox,
        board,
        keyring: Arc::new(ArcSwap::new(Arc::clone(&config.keyring))),
        issuers: config.issuers.clone(),
        clock: clock.clone(),
        readiness: Arc::clone(readiness),
        bad_codes: BadCodes::new(config.bad_codes),
        ledger: Ledger::new(Some(books)),
        merchants,
        stop: watch::Sender::new(false),
    };
    Ok(http::Parts {
        client: Arc::new(client),
        callers: Arc::new(ArcSwap::from_pointee(callers(config)?)),
        tls: tls(config)?,
        metrics: None,
        journal: Some(journal),
        clock_setter: None,
        options: edge_options(config),
    })
}

/// Before the sandbox's clock jumps, the books catch up: what a jump of days makes old is looked for there.
pub(crate) fn clock_setter(clock: &Clock, writer: &Arc<OnceLock<Writer>>, journal: Follower) -> http::ClockSetter {
    let clock = clock.clone();
    let writer = Arc::clone(writer);
    Arc::new(move |to: Millis| {
        if let Some(writer) = writer.get() {
            writer.drain(journal.last(), Instant::now() + Duration::from_secs(2));
        }
        clock.set(to).map(|()| clock.now()).map_err(|_| clock.now())
    })
}

fn tls(config: &Config) -> Result<Option<TlsAcceptor>, ServeError> {
    acceptor("server.tls", config.server.tls.as_ref(), tls::HTTP)
}

/// The link's own certificate, or the server's.
pub(crate) fn link_tls(config: &Config) -> Result<Option<TlsAcceptor>, ServeError> {
    match &config.link.tls {
        Some(own) => acceptor("iso8583.tls", Some(own), tls::ANY),
        None => acceptor("server.tls", config.server.tls.as_ref(), tls::ANY),
    }
}

fn acceptor(
    section: &'static str,
    files: Option<&Tls>,
    protocols: &[&[u8]],
) -> Result<Option<TlsAcceptor>, ServeError> {
    let Some(files) = files else { return Ok(None) };
    let client_ca = files.client_ca_file.as_deref();
    let made = tls::acceptor(&files.cert_file, &files.key_file, client_ca, protocols);
    made.map(Some).map_err(|source| ServeError::Tls { section, source })
}

/// Who may speak on the network's link; in a sandbox that names nobody, everybody.
pub(crate) fn acquirers(config: &Config) -> Acquirers {
    let listed = &config.link.acquirers;
    let everybody = (config.sandbox && listed.is_empty()).then(Acquirer::unbound);
    Acquirers::new(listed.iter().cloned(), everybody)
}

fn callers(config: &Config) -> Result<Callers, ServeError> {
    let caller = |key: &ApiKey| {
        let verifier = |secret: &SignatureSecret| Verifier::new(&key.caller.name, secret.as_bytes(), config.signatures);
        let signature = key.signature_secret.as_ref().map(verifier).map(Arc::new);
        (Caller { signature, ..key.caller.clone() }, vec![*key.hash.as_bytes()])
    };
    Ok(Callers::new(config.keys.iter().map(caller))?)
}

fn edge_options(config: &Config) -> http::Options {
    http::Options {
        max_connections: config.server.max_connections,
        max_connections_per_ip: config.server.max_connections_per_ip,
        idle_timeout: config.server.idle_timeout,
        header_timeout: config.server.header_timeout,
        body_timeout: config.server.body_timeout,
        drain_deadline: config.server.drain.min(Duration::from_secs(4)),
        open_metrics: config.server.http.ip().is_loopback(),
        ..http::Options::default()
    }
}

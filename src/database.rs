//! Where a PostgreSQL server is, who we are there, and whether the way is safe. Nothing here shows a password.

use std::fmt;
use std::future::poll_fn;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rand::TryRng;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_postgres::config::{ChannelBinding, Host, SslMode};
use tokio_postgres::error::SqlState;
use tokio_postgres::{AsyncMessage, Client, Config, Connection, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

/// A server that does not take a connection by then is away.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// What was sent and not confirmed by the other machine for so long was lost with it.
const UNCONFIRMED: Duration = Duration::from_secs(10);

/// A server, or several of which one is the primary.
#[derive(PartialEq, Eq)]
pub struct Server {
    config: Config,
    newest: Newest,
    /// Who has signed the server's certificate; with it the connection is TLS, and the certificate must have the host's name.
    authorities: Option<PathBuf>,
}

/// The highest timeline on which a primary was found: it rises with each promotion. A primary of a lower one was replaced, which it
/// may not know: one that was frozen meanwhile takes writes still. All connections of a process share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Newest(Arc<AtomicU32>);

impl Newest {
    /// Whether a primary of this timeline may be the one; none of a lower one is from then on.
    pub fn is(&self, timeline: u32) -> bool {
        self.0.fetch_max(timeline, Ordering::AcqRel) <= timeline
    }
}

impl PartialEq for Newest {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Newest {}

/// What is wrong with an address. No part of it is repeated: it may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    #[error("is no address of a PostgreSQL server: postgres://USER@HOST/DATABASE is expected")]
    Unreadable,
    #[error("names no host")]
    NoHost,
    #[error("names no database: postgres://USER@HOST/DATABASE is expected")]
    NoDatabase,
    #[error("has a parameter that can't stand here: only `host` and `sslmode` can")]
    Parameter,
    #[error(
        "leads to another machine without TLS: add `?sslmode=verify-full`, and the file of the authority that signed the \
         server's certificate"
    )]
    Plain,
    #[error("has an `sslmode` that does not check who the server is: only `verify-full` does")]
    Unchecked,
    #[error("asks for TLS, and no authority is named that signs the server's certificate")]
    NoAuthority,
}

impl Server {
    /// Reads an address. `authorities` is a PEM file; a password of its own stands above the address's.
    pub fn parse(url: &str, authorities: Option<PathBuf>, password: Option<&str>) -> Result<Self, UrlError> {
        let (address, query) = url.split_once('?').unwrap_or((url, ""));
        if !address.starts_with("postgres://") && !address.starts_with("postgresql://") {
            return Err(UrlError::Unreadable);
        }
        let (mut mode, mut rest) = (None, Vec::new());
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            match parameter.split_once('=') {
                Some(("sslmode", value)) => mode = Some(value),
                Some(("host", _)) => rest.push(parameter),
                _ => return Err(UrlError::Parameter),
            }
        }
        let mut config =
            Config::from_str(&format!("{address}?{}", rest.join("&"))).map_err(|_| UrlError::Unreadable)?;
        if config.get_hosts().is_empty() {
            return Err(UrlError::NoHost);
        }
        if config.get_dbname().is_none() {
            return Err(UrlError::NoDatabase);
        }
        if let Some(password) = password {
            config.password(password);
        }
        let is_encrypted = match mode {
            Some("verify-full") => true,
            Some("disable") | None if config.get_hosts().iter().all(is_here) => false,
            Some("disable") | None => return Err(UrlError::Plain),
            Some(_) => return Err(UrlError::Unchecked),
        };
        if is_encrypted && authorities.is_none() {
            return Err(UrlError::NoAuthority);
        }
        config.application_name("sokketsu").connect_timeout(CONNECT_WITHIN).tcp_user_timeout(UNCONFIRMED);
        config.keepalives_idle(UNCONFIRMED);
        if is_encrypted {
            // Bound to the channel, SCRAM can't be relayed by one who has another certificate, and nothing weaker is answered.
            config.ssl_mode(SslMode::Require).channel_binding(ChannelBinding::Require);
        } else {
            config.ssl_mode(SslMode::Disable);
        }
        Ok(Self { config, newest: Newest::default(), authorities: authorities.filter(|_| is_encrypted) })
    }

    pub(crate) fn newest(&self) -> Newest {
        self.newest.clone()
    }

    /// Who signs the server's certificate, if the connection is TLS.
    pub fn authorities(&self) -> Option<&PathBuf> {
        self.authorities.as_ref()
    }

    /// Each host by itself: the driver would stay with the first that answers, though it may be a standby or frozen.
    pub(crate) fn hosts(&self) -> Vec<Config> {
        let ports = self.config.get_ports();
        let port = |at: usize| ports.get(at).or(ports.first()).copied().unwrap_or(5_432);
        let hosts = self.config.get_hosts().iter().enumerate();
        hosts.map(|(at, host)| one_host(&self.config, host, port(at))).collect()
    }
}

fn one_host(config: &Config, host: &Host, port: u16) -> Config {
    let mut one = Config::new();
    match host {
        Host::Tcp(name) => one.host(name),
        Host::Unix(folder) => one.host_path(folder),
    };
    one.port(port).ssl_mode(config.get_ssl_mode()).channel_binding(config.get_channel_binding());
    config.get_user().map(|user| one.user(user));
    config.get_password().map(|password| one.password(password));
    config.get_dbname().map(|database| one.dbname(database));
    config.get_application_name().map(|name| one.application_name(name));
    one.connect_timeout(CONNECT_WITHIN).tcp_user_timeout(UNCONFIRMED).keepalives_idle(UNCONFIRMED);
    one
}

/// Why there is no connection.
pub(crate) enum Unconnected {
    /// The way is not fit, which ends only if somebody mends it.
    Unfit(String),
    Failed(tokio_postgres::Error),
}

impl From<tokio_postgres::Error> for Unconnected {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Failed(error)
    }
}

/// Connects to one host, and says what the server tells beside its answers to `hears`. `options` are the settings of the
/// connection as its first message has them.
///
/// What a connection is believed for (its settings, the notice that a wait was cancelled, its prepared statements) is true of one
/// server process that is ours alone. A pooler gives others' processes, in turns, and drops those settings or refuses them. So
/// each connection sets a mark of its own, and looks whether it stands there.
pub(crate) async fn connect(
    mut host: Config,
    options: &str,
    tls: Option<MakeRustlsConnect>,
    hears: impl FnMut(&AsyncMessage) + Send + 'static,
) -> Result<Client, Unconnected> {
    let mark = rand::rngs::SysRng.try_next_u64().map_err(|error| Unconnected::Unfit(error.to_string()))?;
    let mark = format!("{mark:016x}");
    host.options(format!("{options} -c sokketsu.connection={mark}"));
    let connected = match tls {
        Some(tls) => host.connect(tls).await.map(|(client, connection)| (client, spawn(connection, hears))),
        None => host.connect(NoTls).await.map(|(client, connection)| (client, spawn(connection, hears))),
    };
    let (client, ()) = connected.map_err(|error| match error.code() {
        // "unsupported startup parameter": no server says so.
        Some(&SqlState::PROTOCOL_VIOLATION) => Unconnected::Unfit(POOLER.to_owned()),
        _ => Unconnected::Failed(error),
    })?;
    let found = client.query_one("SELECT coalesce(current_setting('sokketsu.connection', true), '')", &[]).await?;
    if found.try_get::<_, &str>(0)? != mark {
        return Err(Unconnected::Unfit(POOLER.to_owned()));
    }
    Ok(client)
}

pub(crate) const POOLER: &str = "a pooler stands in between, and nothing that a connection says can be trusted: name the \
                                 PostgreSQL servers themselves in the URL";

/// Moves bytes until the connection ends.
fn spawn<S, T>(mut connection: Connection<S, T>, mut hears: impl FnMut(&AsyncMessage) + Send + 'static)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    tokio::spawn(async move {
        while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
            hears(&message);
        }
    });
}

/// TLS that knows the server by the name we call it and by who has signed its certificate.
pub(crate) fn connector(authorities: &Path) -> Result<MakeRustlsConnect, String> {
    let bad =
        |problem: &dyn fmt::Display| format!("{} holds no usable PEM certificate: {problem}", authorities.display());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(authorities).map_err(|error| bad(&error))? {
        roots.add(certificate.map_err(|error| bad(&error))?).map_err(|error| bad(&error))?;
    }
    if roots.is_empty() {
        return Err(bad(&"there is none in it"));
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| bad(&error))?;
    Ok(MakeRustlsConnect::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

/// On this machine.
fn is_here(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => name == "localhost" || name.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback()),
    }
}

/// As it may be shown: without the password.
impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("postgres://")?;
        if let Some(user) = self.config.get_user() {
            write!(f, "{user}@")?;
        }
        let ports = self.config.get_ports();
        for (at, host) in self.config.get_hosts().iter().enumerate() {
            f.write_str(if at > 0 { "," } else { "" })?;
            match host {
                Host::Tcp(name) if name.contains(':') => write!(f, "[{name}]")?,
                Host::Tcp(name) => f.write_str(name)?,
                Host::Unix(folder) => write!(f, "{}", folder.display())?,
            }
            if let Some(port) = ports.get(at).or(ports.first()) {
                write!(f, ":{port}")?;
            }
        }
        write!(f, "/{}", self.config.get_dbname().unwrap_or_default())?;
        f.write_str(if self.authorities.is_some() { " by TLS" } else { "" })
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Server, UrlError> {
        Server::parse(url, Some("ca.pem".into()), None)
    }

    #[test]
    fn an_address_is_read_and_shown_without_its_password() {
        for (url, shown) in [
            ("postgres://me:secret@127.0.0.1:5433/books", "postgres://me@127.0.0.1:5433/books"),
            ("postgresql://me:secret@localhost/books?sslmode=disable", "postgres://me@localhost:5432/books"),
            ("postgres://me:secret@[::1]:5433/books", "postgres://me@[::1]:5433/books"),
            ("postgres://me:secret@/books?host=/run/postgresql", "postgres://me@/run/postgresql/books"),
            ("postgres://me:secret@one:1,two:2/books?sslmode=verify-full", "postgres://me@one:1,two:2/books by TLS"),
        ] {
            let server = parse(url).unwrap();
            assert_eq!(server.to_string(), shown);
            assert!(!format!("{server:?}{:?}", server.hosts()).contains("secret"), "{url}");
        }
        let two = parse("postgres://me@one:1,two:2/books?sslmode=verify-full").unwrap();
        let hosts: Vec<_> =
            two.hosts().iter().map(|one| (one.get_hosts().to_vec(), one.get_ports().to_vec())).collect();
        assert_eq!(hosts, [(vec![Host::Tcp("one".into())], vec![1]), (vec![Host::Tcp("two".into())], vec![2])]);
        assert!(two.hosts().iter().all(|one| one.get_ssl_mode() == SslMode::Require));
    }

    #[test]
    fn a_way_that_is_not_safe_is_refused() {
        for (url, why) in [
            ("postgres://me:secret@db.example/books", UrlError::Plain),
            ("postgres://me:secret@10.0.0.7/books?sslmode=disable", UrlError::Plain),
            ("postgres://me:secret@127.0.0.1,10.0.0.7/books", UrlError::Plain),
            ("postgres://me:secret@db.example/books?sslmode=require", UrlError::Unchecked),
            ("postgres://me:secret@localhost/books?sslmode=prefer", UrlError::Unchecked),
            ("postgres://me:secret@localhost/books?options=-c%20fsync%3Doff", UrlError::Parameter),
            ("postgres://me:secret@localhost", UrlError::NoDatabase),
            ("postgres:///books", UrlError::NoHost),
            ("postgres://me:secret@localhost:port/books", UrlError::Unreadable),
            ("mysql://me:secret@localhost/books", UrlError::Unreadable),
        ] {
            let refused = parse(url).unwrap_err();
            assert_eq!(refused, why, "{url}");
            assert!(!refused.to_string().contains("secret"));
        }
        let bare = Server::parse("postgres://me@db.example/books?sslmode=verify-full", None, None);
        assert_eq!(bare.unwrap_err(), UrlError::NoAuthority);
    }
}

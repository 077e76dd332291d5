//! Where a server is and how it is spoken to: in the clear, or by TLS over a socket that never blocks.

use std::fs::Permissions;
use std::io::{Error, ErrorKind, Read, Result as IoResult, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

/// An address, and by TLS the name that its certificate must have.
#[derive(Clone)]
pub struct Peer {
    pub address: SocketAddr,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

/// Whom we trust, and who we are.
#[derive(Clone, Default)]
pub struct Trust {
    config: Option<Arc<ClientConfig>>,
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let all = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let all = all.with_context(|| format!("certificates in {}", file.display()))?;
    ensure!(!all.is_empty(), "{} holds no certificate", file.display());
    Ok(all)
}

impl Trust {
    /// `ca`: the authorities whose servers are trusted. `me`: our own certificate chain and its key.
    pub fn new(ca: &Path, me: Option<(&Path, &Path)>) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        for authority in certificates(ca)? {
            roots.add(authority).with_context(|| format!("{}", ca.display()))?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let builder = builder.with_root_certificates(roots);
        let config = match me {
            None => builder.with_no_client_auth(),
            Some((cert, key)) => {
                let secret = PrivateKeyDer::from_pem_file(key).with_context(|| format!("{}", key.display()))?;
                builder.with_client_auth_cert(certificates(cert)?, secret)?
            }
        };
        Ok(Self { config: Some(Arc::new(config)) })
    }

    /// Reads `http://HOST:PORT` or `https://HOST:PORT`; gives the peer and what stands in `Host`.
    pub fn peer(&self, url: &str) -> Result<(Peer, String)> {
        let (is_tls, host) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
            (Some(host), _) => (true, host),
            (None, Some(host)) => (false, host),
            (None, None) => bail!("{url}: should begin with http:// or https://"),
        };
        let host = host.trim_end_matches('/');
        // An IPv6 address has its own colons, inside brackets.
        let has_port = host.rsplit(']').next().is_some_and(|end| end.contains(':'));
        let place = if has_port { host.to_owned() } else { format!("{host}:{}", if is_tls { 443 } else { 80 }) };
        let address = place.to_socket_addrs().with_context(|| url.to_owned())?.next();
        let address = address.with_context(|| format!("{url}: no address"))?;
        if !is_tls {
            return Ok((Peer { address, tls: None }, place));
        }
        let name = place.rsplit_once(':').map_or(place.as_str(), |(name, _)| name);
        let name = ServerName::try_from(name.trim_matches(['[', ']']).to_owned()).with_context(|| url.to_owned())?;
        let config = self.config.clone().with_context(|| format!("{url}: name its authority by --ca FILE"))?;
        Ok((Peer { address, tls: Some((config, name)) }, place))
    }
}

impl Peer {
    pub fn plain(address: SocketAddr) -> Self {
        Self { address, tls: None }
    }

    /// Speaks over a socket that need not be connected yet.
    pub fn speak(&self, socket: TcpStream) -> Result<Stream> {
        let Some((config, name)) = &self.tls else { return Ok(Stream::Plain(socket)) };
        let mut session = ClientConnection::new(Arc::clone(config), name.clone())?;
        // Whatever was written is kept until it can be sent, as the output of a plain connection is.
        session.set_buffer_limit(None);
        Ok(Stream::Tls(Box::new(Tls { socket, session })))
    }
}

/// A connection in either way.
pub enum Stream {
    Plain(TcpStream),
    Tls(Box<Tls>),
}

pub struct Tls {
    socket: TcpStream,
    session: ClientConnection,
}

impl Tls {
    /// Sends what the session has to send.
    fn push(&mut self) -> IoResult<()> {
        while self.session.wants_write() {
            self.session.write_tls(&mut self.socket)?;
        }
        Ok(())
    }

    /// Takes in what the socket has; whether anything came.
    fn pull(&mut self) -> IoResult<bool> {
        if self.session.read_tls(&mut self.socket)? == 0 {
            return Ok(false);
        }
        let taken = self.session.process_new_packets();
        // The other side is told what was wrong with its certificate, as far as it listens.
        let pushed = self.push();
        taken.map_err(|error| Error::new(ErrorKind::InvalidData, error))?;
        match pushed {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
            _ => Ok(true),
        }
    }

    fn shake_hands(&mut self) -> IoResult<()> {
        self.push()?;
        while self.session.is_handshaking() {
            if !self.pull()? {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        self.push()
    }
}

impl Stream {
    /// Goes on with what must be said before the first request; whether all of it was.
    pub fn is_ready(&mut self) -> IoResult<bool> {
        let Self::Tls(tls) = self else { return Ok(true) };
        match tls.shake_hands() {
            Ok(()) => Ok(true),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> IoResult<usize> {
        let tls = match self {
            Self::Plain(socket) => return socket.read(into),
            Self::Tls(tls) => tls,
        };
        loop {
            match tls.session.reader().read(into) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if !tls.pull()? {
                        return Ok(0);
                    }
                }
                result => return result,
            }
        }
    }
}

impl Write for Stream {
    fn write(&mut self, from: &[u8]) -> IoResult<usize> {
        match self {
            Self::Plain(socket) => socket.write(from),
            Self::Tls(tls) => tls.session.writer().write(from),
        }
    }

    fn flush(&mut self) -> IoResult<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls(tls) => tls.push(),
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Plain(socket) => socket.as_fd(),
            Self::Tls(tls) => tls.socket.as_fd(),
        }
    }
}

/// A certificate of our own, for a server of our own.
pub struct Identity {
    pub cert: PathBuf,
    pub key: PathBuf,
}

impl Identity {
    /// Makes one for the loopback, its own authority, in files.
    pub fn make(folder: &Path) -> Result<Self> {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned(), "localhost".to_owned()])?;
        let (cert, key) = (folder.join("server.pem"), folder.join("server.key"));
        std::fs::write(&cert, made.cert.pem())?;
        std::fs::write(&key, made.signing_key.serialize_pem())?;
        // The server takes no key that others can read.
        std::fs::set_permissions(&key, Permissions::from_mode(0o600))?;
        Ok(Self { cert, key })
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use rustls::{ServerConfig, ServerConnection, StreamOwned};

    use super::*;
    use crate::clock::{Clock, MILLISECOND, SECOND};
    use crate::wire::{Outcome, Sent, Wire};

    fn made() -> (tempfile::TempDir, Identity) {
        let folder = tempfile::tempdir().unwrap();
        let identity = Identity::make(folder.path()).unwrap();
        (folder, identity)
    }

    #[test]
    fn urls_are_read_and_tls_needs_an_authority() {
        let (_folder, identity) = made();
        let trust = Trust::new(&identity.cert, None).unwrap();
        assert_eq!(trust.peer("http://127.0.0.1:8080/").unwrap().1, "127.0.0.1:8080");
        let (peer, host) = trust.peer("https://127.0.0.1").unwrap();
        assert_eq!((peer.address.port(), host.as_str(), peer.tls.is_some()), (443, "127.0.0.1:443", true));
        assert_eq!(trust.peer("http://[::1]").unwrap().0.address.port(), 80);
        for wrong in ["ftp://127.0.0.1", "127.0.0.1:80", "http://:x"] {
            assert!(trust.peer(wrong).is_err(), "{wrong}");
        }
        let blind = Trust::default().peer("https://127.0.0.1").err().unwrap();
        assert!(blind.to_string().contains("--ca"), "{blind}");
        assert!(Trust::new(&identity.key, None).is_err(), "a key is no authority");
    }

    /// Answers one request of four bytes on one connection; an answer larger than a record.
    fn serve_one(identity: &Identity) -> (SocketAddr, std::thread::JoinHandle<Option<()>>) {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let key = PrivateKeyDer::from_pem_file(&identity.key).unwrap();
        let chain = certificates(&identity.cert).unwrap();
        let config = Arc::new(builder.with_no_client_auth().with_single_cert(chain, key).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (socket, _) = listener.accept().unwrap();
            let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), socket);
            let mut got = [0; 4];
            stream.read_exact(&mut got).ok()?;
            assert_eq!(&got, b"ping");
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n").ok()?;
            stream.write_all(&[b'x'; 100_000]).ok()?;
            stream.flush().ok()
        });
        (address, server)
    }

    #[test]
    fn a_request_is_answered_over_tls() {
        let (_folder, identity) = made();
        let (address, server) = serve_one(&identity);
        let (peer, _) = Trust::new(&identity.cert, None).unwrap().peer(&format!("https://{address}")).unwrap();
        let clock = Clock::start();
        let mut wire: Wire<u8> = Wire::new(&peer, crate::http::read, clock, 1, 1, 5 * SECOND).unwrap();
        let mut got = None;
        wire.send(1, clock.now(), |out| out.extend_from_slice(b"ping"));
        while got.is_none() && clock.now() < 5 * SECOND {
            let mut hear = |sent: Sent<u8>, outcome: Outcome<'_>, _| {
                if let Outcome::Answer(answer) = outcome {
                    got = Some((sent.tag, answer.status, answer.body.to_vec()));
                }
            };
            wire.flush(&mut hear).unwrap();
            wire.wait(MILLISECOND, &mut hear).unwrap();
        }
        assert!(got == Some((1, 200, vec![b'x'; 100_000])), "a long answer came whole");
        assert_eq!((wire.reconnects, server.join().unwrap()), (0, Some(())));
    }

    #[test]
    fn a_server_of_another_authority_is_turned_away_and_the_reason_told() {
        let ((_folder, identity), (_other, other)) = (made(), made());
        let (address, server) = serve_one(&identity);
        let (peer, _) = Trust::new(&other.cert, None).unwrap().peer(&format!("https://{address}")).unwrap();
        let error = Wire::<u8>::new(&peer, crate::http::read, Clock::start(), 1, 1, SECOND).err().unwrap();
        assert!(format!("{error:#}").contains("certificate"), "{error:#}");
        assert_eq!(server.join().unwrap(), None);
    }
}

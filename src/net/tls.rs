//! TLS for the listeners: our certificate, and if wanted the callers' certificates too.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use crate::files;
use crate::files::{Access, SecretError};

/// Why the files do not make a TLS listener. Names the file.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{file} holds no usable PEM {what}: {problem}", file = file.display())]
    File { file: PathBuf, what: &'static str, problem: String },
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error("certificate and key do not go together: {0}")]
    Pair(#[from] rustls::Error),
}

fn bad(file: &Path, what: &'static str) -> impl Fn(&dyn std::fmt::Display) -> TlsError {
    move |problem| TlsError::File { file: file.to_owned(), what, problem: problem.to_string() }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bad = bad(file, "certificate");
    let list: Result<Vec<_>, _> = CertificateDer::pem_file_iter(file).map_err(|error| bad(&error))?.collect();
    let list = list.map_err(|error| bad(&error))?;
    if list.is_empty() { Err(bad(&"there is none in it")) } else { Ok(list) }
}

/// What is spoken inside, for those who ask (ALPN).
pub const HTTP: &[&[u8]] = &[b"http/1.1"];
/// ISO 8583 has no name there.
pub const ANY: &[&[u8]] = &[];

/// Makes the acceptor. With `client_ca` a caller without a certificate of that authority is turned away.
pub fn acceptor(
    cert: &Path,
    key: &Path,
    client_ca: Option<&Path>,
    protocols: &[&[u8]],
) -> Result<TlsAcceptor, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let chain = certificates(cert)?;
    let text = files::read_secret(key, Access::Owner)?;
    let private = PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|error| bad(key, "private key")(&error))?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let mut roots = RootCertStore::empty();
            for authority in certificates(file)? {
                roots.add(authority)?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| bad(file, "certificate")(&error))?)
        }
    };
    let mut config = builder.with_single_cert(chain, private)?;
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(TlsAcceptor::from(Arc::new(config)))
}

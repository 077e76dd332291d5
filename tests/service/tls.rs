//! TLS and client certificates, with a client that is not ours.

use std::fs::Permissions;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use serde_json::json;
use sha2::{Digest, Sha256};

use super::iso::{Peer, network, sale};
use super::server::{BINARY, Server};

/// A certificate that is its own authority.
struct Identity {
    cert: String,
    key: String,
}

fn identity(name: &str) -> Identity {
    let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).expect("a certificate");
    Identity { cert: made.cert.pem(), key: made.signing_key.serialize_pem() }
}

fn certificate(of: &Identity) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(of.cert.as_bytes()).expect("PEM")
}

type Stream = StreamOwned<ClientConnection, TcpStream>;

fn connect(to: SocketAddr, trusted: &Identity, me: Option<&Identity>) -> Stream {
    let mut roots = RootCertStore::empty();
    roots.add(certificate(trusted)).expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("TLS");
    let builder = builder.with_root_certificates(roots);
    let config = match me {
        None => builder.with_no_client_auth(),
        Some(me) => {
            let key = PrivateKeyDer::from_pem_slice(me.key.as_bytes()).expect("PEM");
            builder.with_client_auth_cert(vec![certificate(me)], key).expect("a pair")
        }
    };
    let name = "localhost".try_into().expect("a name");
    let connection = ClientConnection::new(Arc::new(config), name).expect("a connection");
    StreamOwned::new(connection, TcpStream::connect(to).expect("it listens"))
}

/// Asks for readiness over TLS; the answer's first line, or why there was none.
fn ready(to: SocketAddr, trusted: &Identity, me: Option<&Identity>) -> Result<String, String> {
    let mut stream = connect(to, trusted, me);
    let request = b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(request).map_err(|error| error.to_string())?;
    let mut answer = vec![0; 64];
    let length = stream.read(&mut answer).map_err(|error| error.to_string())?;
    answer.truncate(length);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    answer.lines().next().map(str::to_owned).ok_or_else(|| "nothing came".to_owned())
}

/// As keys are kept: their owner's alone.
fn write_private(file: &Path, text: &str) {
    std::fs::write(file, text).expect("a file");
    std::fs::set_permissions(file, Permissions::from_mode(0o600)).expect("our own file");
}

/// Writes the files and a configuration that names them.
fn configure(folder: &Path, server: &Identity, client: Option<&Identity>) -> String {
    let write = |name: &str, text: &str| write_private(&folder.join(name), text);
    write("cert.pem", &server.cert);
    write("key.pem", &server.key);
    let mut config = String::from("[server.tls]\ncert_file = \"cert.pem\"\nkey_file = \"key.pem\"\n");
    if let Some(client) = client {
        write("client.pem", &client.cert);
        config += "client_ca_file = \"client.pem\"\n";
    }
    write("sokketsu.toml", &config);
    folder.join("sokketsu.toml").to_string_lossy().into_owned()
}

#[test]
fn with_tls_configured_nothing_is_served_in_the_clear() {
    let (folder, data) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let (ours, theirs) = (identity("localhost"), identity("localhost"));
    let config = configure(folder.path(), &ours, None);
    let server = Server::sandbox(data.path(), &["--config", &config]);
    assert_eq!(ready(server.http, &ours, None), Ok("HTTP/1.1 200 OK".to_owned()));
    assert!(ready(server.http, &theirs, None).is_err(), "a client that trusts another authority turns away");
    let mut plain = TcpStream::connect(server.http).expect("it listens");
    plain.write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\n\r\n").expect("sent");
    let mut answer = Vec::new();
    // The end may be a reset; what counts is that no HTTP came.
    drop(plain.read_to_end(&mut answer));
    assert!(!answer.starts_with(b"HTTP"), "{}", String::from_utf8_lossy(&answer));
}

#[test]
fn with_a_client_authority_only_its_callers_get_in() {
    let (folder, data) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let (ours, network, stranger) = (identity("localhost"), identity("network"), identity("stranger"));
    let config = configure(folder.path(), &ours, Some(&network));
    let server = Server::sandbox(data.path(), &["--config", &config]);
    assert_eq!(ready(server.http, &ours, Some(&network)), Ok("HTTP/1.1 200 OK".to_owned()));
    assert!(ready(server.http, &ours, None).is_err());
    assert!(ready(server.http, &ours, Some(&stranger)).is_err());
}

#[test]
fn a_key_of_another_certificate_is_a_start_up_error() {
    let (folder, data) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let mixed = Identity { cert: identity("localhost").cert, key: identity("localhost").key };
    let config = configure(folder.path(), &mixed, None);
    let output = Command::new(BINARY)
        .args(["serve", "--sandbox", "--http", "127.0.0.1:0", "--config", &config, "--data"])
        .arg(data.path())
        .output()
        .expect("the binary");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(said.contains("server.tls"), "{said}");
}

#[test]
fn a_key_that_others_can_read_is_a_start_up_error() {
    let (folder, data) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let config = configure(folder.path(), &identity("localhost"), None);
    let link = folder.path().join("link.toml");
    let section = std::fs::read_to_string(&config).expect("a file").replace("[server.tls]", "[iso8583.tls]");
    std::fs::write(&link, section).expect("a file");
    let key = folder.path().join("key.pem");
    let run = |arguments: &[&str], config: &str| {
        let mut command = Command::new("timeout");
        let output =
            command.args(["30", BINARY]).args(arguments).args(["--config", config]).output().expect("the binary");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let data = data.path().to_string_lossy();
    for mode in [0o640, 0o604] {
        std::fs::set_permissions(&key, Permissions::from_mode(mode)).expect("our own file");
        for config in [config.as_str(), &link.to_string_lossy()] {
            let serve = ["serve", "--sandbox", "--http", "127.0.0.1:0", "--iso8583", "127.0.0.1:0", "--data", &data];
            for arguments in [&serve[..], &["check-config", "--sandbox"]] {
                let (code, said) = run(arguments, config);
                assert_eq!(code, Some(78), "{mode:o} {arguments:?}: {said}");
                assert!(said.contains("key.pem") && said.contains("chmod 600"), "{said}");
            }
        }
    }
}

#[test]
fn a_link_knows_its_acquirers_by_their_certificates() {
    let (folder, data) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let (ours, one, other) = (identity("localhost"), identity("one"), identity("other"));
    let write = |name: &str, text: &str| write_private(&folder.path().join(name), text);
    write("cert.pem", &ours.cert);
    write("key.pem", &ours.key);
    write("clients.pem", &format!("{}{}", one.cert, other.cert));
    let print = |identity: &Identity| -> String {
        Sha256::digest(certificate(identity)).iter().map(|byte| format!("{byte:02X}:")).collect()
    };
    let acquirer = |id: &str, identity: &Identity| {
        let print = print(identity);
        format!(
            "[[acquirer]]\nid = \"{id}\"\nmerchants = \"*\"\ncertificates = [\"{}\"]\n",
            print.trim_end_matches(':')
        )
    };
    let tls = "[iso8583.tls]\ncert_file = \"cert.pem\"\nkey_file = \"key.pem\"\nclient_ca_file = \"clients.pem\"\n";
    write("sokketsu.toml", &format!("{tls}{}{}", acquirer("353001", &one), acquirer("353002", &other)));
    let config = folder.path().join("sokketsu.toml").to_string_lossy().into_owned();
    let server = Server::sandbox(data.path(), &["--config", &config, "--iso8583", "127.0.0.1:0"]);
    let link = server.iso8583.expect("a link");
    let code = server.client().send("wallet", "POST", "/v1/codes", &json!({ "customer_id": "1001" })).json();
    let bought = sale(1, code["barcode"].as_str().expect("a barcode"), 100);
    let said = |identity: &Identity, acquirer: &str| {
        let answer = Peer { stream: connect(link, &ours, Some(identity)) }.ask(&bought.with(&[(32, acquirer)]));
        (answer.code().to_owned(), answer.get(44).to_owned())
    };
    let not_its_own = ("58".to_owned(), "5800E032".to_owned());
    assert_eq!((said(&other, "353001"), said(&one, "353002")), (not_its_own.clone(), not_its_own));
    assert_eq!(said(&one, "353001"), ("00".to_owned(), String::new()));
    let mut stranger = connect(link, &ours, None);
    let refused = stranger.write_all(&bought.frame()).and_then(|()| stranger.read(&mut [0; 8]));
    assert!(refused.is_err(), "nobody without a certificate gets in");
}

/// Over TLS a peer may close its side without a word of TLS about it; it listens all the same.
#[test]
fn a_half_closed_link_over_tls_gets_its_answers() {
    let (folder, data) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let ours = identity("localhost");
    let config = configure(folder.path(), &ours, None);
    let text = std::fs::read_to_string(&config).expect("a file").replace("[server.tls]", "[iso8583.tls]");
    std::fs::write(&config, text).expect("a file");
    let options = ["--config", &config, "--iso8583", "127.0.0.1:0"];
    let server = Server::sandbox(data.path(), &options);
    let link = server.iso8583.expect("a link");
    let mut client = server.client();
    for (stan, says_so, closes) in [(1, false, true), (2, true, true), (3, true, false)] {
        let customer = json!({ "customer_id": format!("200{stan}") });
        let code = client.send("wallet", "POST", "/v1/codes", &customer).json();
        let mut peer = Peer { stream: connect(link, &ours, None) };
        let echo = peer.ask(&network(stan, "301"));
        assert_eq!(echo.code(), "00", "the handshake is over");
        let bought = sale(stan, code["barcode"].as_str().expect("a barcode"), 100);
        server.signal("STOP");
        peer.send(&bought);
        if says_so {
            peer.stream.conn.send_close_notify();
            peer.stream.flush().expect("sent");
        }
        if closes {
            peer.stream.sock.shutdown(Shutdown::Write).expect("a socket");
        }
        server.signal("CONT");
        let answer = peer.hear();
        assert_eq!((answer.get(11), answer.code()), (bought.get(11), "00"), "notified: {says_so}, closed: {closes}");
    }
}

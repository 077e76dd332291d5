//! The part of the check that is about `[server]`: addresses, TLS, bounds of connections.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::check::Check;
use super::{Link, Server, Tls};
use crate::files;
use crate::files::Access;
use crate::http::Options;

const DEFAULT_HTTP: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

impl Check {
    pub fn server(&mut self) -> Server {
        self.source.section("server");
        let http = self.address("server.http", self.flags.http, "--http").unwrap_or(DEFAULT_HTTP);
        let admin = self.address("server.admin", self.flags.admin, "--admin");
        let iso8583 = self.address("server.iso8583", self.flags.iso8583, "--iso8583");
        let usual = Options::default();
        let server = Server {
            http,
            admin,
            iso8583,
            tls: self.tls("server.tls"),
            insecure: self.read("server.insecure").unwrap_or(false),
            threads: self.number("server.threads", 1, 1..=256),
            max_connections: self.number("server.max_connections", usual.max_connections, 1..=1_000_000),
            max_connections_per_ip: self.number(
                "server.max_connections_per_ip",
                usual.max_connections_per_ip,
                1..=1_000_000,
            ),
            header_timeout: self.timeout("server.header_timeout", usual.header_timeout),
            body_timeout: self.timeout("server.body_timeout", usual.body_timeout),
            idle_timeout: self.timeout("server.idle_timeout", usual.idle_timeout),
            drain: Duration::from_secs(self.number("server.drain_seconds", usual.drain_deadline.as_secs(), 0..=4)),
        };
        // Port 0 is a port of the system's choice, each time another.
        let all = [("server.http", Some(http)), ("server.admin", admin), ("server.iso8583", iso8583)];
        for (at, (key, address)) in all.iter().enumerate() {
            let same = all.iter().take(at).find(|(_, other)| other == address);
            if let (Some((other, _)), Some(address)) = (same, address.filter(|address| address.port() != 0)) {
                self.bad(key, format!("{address} is the address of `{other}` too"));
            }
        }
        server
    }

    /// The flag stands above what is written.
    fn address(&mut self, key: &'static str, given: Option<SocketAddr>, flag: &'static str) -> Option<SocketAddr> {
        let written = self.read(key);
        if given.is_some() {
            self.source.places.note_flag(key, flag);
        }
        given.or(written)
    }

    /// Other machines reach an address by TLS, unless something in front of it does the encryption.
    pub fn reached_safely(&mut self, server: &Server, link: &Link) {
        let has_tls = server.tls.is_some();
        let all = [
            ("server.http", Some(server.http), has_tls),
            ("server.admin", server.admin, has_tls),
            ("server.iso8583", server.iso8583, has_tls || link.tls.is_some()),
        ];
        for (key, address, has_tls) in all {
            let Some(address) = address.filter(|address| !address.ip().to_canonical().is_loopback()) else { continue };
            if !has_tls && !server.insecure && !self.flags.sandbox {
                let message = format!(
                    "{address} can be reached from other machines: set [server.tls], or `server.insecure = true` \
                     if something in front of it does the encryption"
                );
                self.bad(key, message);
            }
        }
    }

    /// The files of a section, if it is written.
    pub fn tls(&mut self, section: &str) -> Option<Tls> {
        let of = |field: &str| format!("{section}.{field}");
        if !self.source.section(section) {
            return None;
        }
        let cert = self.needed(&of("cert_file"), "the certificate chain, PEM");
        let key = self.needed(&of("key_file"), "the private key, PEM");
        let client_ca = self.read(&of("client_ca_file"));
        let mut readable = |field: &str, file: Option<PathBuf>| {
            let path = self.folder.join(file?);
            let looked_at = match field {
                // In a sandbox too: a real certificate's key is as secret there.
                "key_file" => files::read_secret(&path, Access::Owner).map(drop).map_err(|error| error.to_string()),
                _ => File::open(&path).map(drop).map_err(|error| format!("{} cannot be read: {error}", path.display())),
            };
            self.parsed(&of(field), looked_at).map(|()| path)
        };
        let cert_file = readable("cert_file", cert);
        let key_file = readable("key_file", key);
        let client_ca_file = readable("client_ca_file", client_ca);
        Some(Tls { cert_file: cert_file?, key_file: key_file?, client_ca_file })
    }
}

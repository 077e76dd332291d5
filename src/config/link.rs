//! The part of the check that is about the network's link: `[iso8583]` and `[[acquirer]]`.

use std::collections::HashMap;

use super::check::Check;
use super::values::LENGTH_FORMS;
use super::{Acquirer, Link, Server};
use crate::domain::model::bounds::MOST_YEN;
use crate::domain::model::ids::MerchantId;
use crate::domain::model::money::Yen;
use crate::hex;
use crate::iso8583::frame::Framing;
use crate::iso8583::message::Layout;
use crate::iso8583::translate::padded;
use crate::link::acquirers::{AcquirerId, Fingerprint};
use crate::link::{NetworkCodes, Options};

impl Check {
    pub(super) fn link(&mut self) -> Link {
        self.source.section("iso8583");
        let usual = Options::default();
        let codes = NetworkCodes {
            sign_on: self.network_code("iso8583.sign_on", usual.codes.sign_on),
            sign_off: self.network_code("iso8583.sign_off", usual.codes.sign_off),
            echo: self.network_code("iso8583.echo", usual.codes.echo),
        };
        if codes.sign_on == codes.sign_off || codes.sign_on == codes.echo || codes.sign_off == codes.echo {
            self.bad("iso8583", "`sign_on`, `sign_off` and `echo` must be three different codes of element 70");
        }
        let length = self.word("iso8583.length", &LENGTH_FORMS).unwrap_or(usual.framing.length);
        let options = Options {
            framing: Framing { length, tpdu: self.read("iso8583.tpdu").unwrap_or(usual.framing.tpdu) },
            layout: Layout { hex_bitmap: self.read("iso8583.hex_bitmap").unwrap_or(usual.layout.hex_bitmap) },
            codes,
            requires_sign_on: self.read("iso8583.require_sign_on").unwrap_or(usual.requires_sign_on),
            max_connections: self.number("iso8583.max_connections", usual.max_connections, 1..=65_536),
            max_in_flight: self.number("iso8583.max_in_flight", usual.max_in_flight, 1..=65_536),
            deadline: self.timeout("iso8583.deadline", usual.deadline),
            idle: self.timeout("iso8583.idle", usual.idle),
            patience: self.timeout("iso8583.patience", usual.patience),
        };
        Link { options, tls: self.tls("iso8583.tls"), acquirers: self.acquirers() }
    }

    fn network_code(&mut self, key: &str, usual: [u8; 3]) -> [u8; 3] {
        let Some(text) = self.read::<String>(key) else { return usual };
        match <[u8; 3]>::try_from(text.as_bytes()) {
            Ok(code) if code.iter().all(u8::is_ascii_digit) => code,
            _ => {
                self.bad(key, format!("{text:?} is no code of element 70: 3 digits are expected"));
                usual
            }
        }
    }

    fn acquirers(&mut self) -> Vec<(AcquirerId, Acquirer)> {
        let mut all: Vec<(AcquirerId, Acquirer)> = Vec::new();
        for at in 0..self.source.sections("acquirer") {
            let Some((id, acquirer)) = self.acquirer(at) else { continue };
            if all.iter().any(|(other, _)| *other == id) {
                self.bad(&format!("acquirer[{at}].id"), "is the id of another acquirer too");
            }
            all.push((id, acquirer));
        }
        all
    }

    fn acquirer(&mut self, at: usize) -> Option<(AcquirerId, Acquirer)> {
        let of = |field: &str| format!("acquirer[{at}].{field}");
        let text: Option<String> = self.needed(&of("id"), "element 32 of its messages, up to 11 digits");
        let id = text.and_then(|text| {
            let id = padded(text.as_bytes()).filter(|_| !text.is_empty()).ok_or("must be 1 to 11 digits");
            self.parsed(&of("id"), id)
        });
        let merchants = self.read(&of("merchants"));
        let merchants = self.merchants(&of("merchants"), merchants);
        let merchants = self.required(&of("merchants"), merchants, "the merchants it may speak for, or \"*\"");
        let mut merchant_ids = HashMap::new();
        let written: HashMap<String, String> = self.read(&of("merchant_ids")).unwrap_or_default();
        for (acceptor, merchant) in written {
            let result = MerchantId::new(&merchant).map_err(|error| format!("{merchant:?} {error}"));
            if let Some(merchant) = self.parsed(&of(&format!("merchant_ids.{acceptor}")), result) {
                merchant_ids.insert(Box::from(acceptor.trim()), merchant);
            }
        }
        let name: Option<String> = self.read(&of("name"));
        let certificates: Vec<String> = self.read(&of("certificates")).unwrap_or_default();
        let acquirer = Acquirer {
            name: name.unwrap_or_else(|| format!("acquirer {at}")).into(),
            may_refund: self.read(&of("may_refund")).unwrap_or(false),
            stand_in: self.stand_in(&of("stand_in"), &of("stand_in_yen")),
            bad_codes_per_minute: self.own_bad_codes(&of("bad_codes_per_minute")),
            certificates: self.fingerprints(&of("certificates"), &certificates),
            merchants: merchants?,
            merchant_ids,
        };
        Some((id?, acquirer))
    }

    fn stand_in(&mut self, key: &str, bound: &str) -> Option<Yen> {
        let yen = self.read(bound);
        if self.read(key).unwrap_or(false) {
            let what = "with `stand_in = true` it bounds the yen a customer and day above the limits";
            let yen = self.required(bound, yen, what);
            return self.number_if_there(bound, yen, 0..=MOST_YEN).map(Yen::new);
        }
        if yen.is_some() {
            self.bad(bound, "says nothing without `stand_in = true`");
        }
        None
    }

    /// As `openssl x509 -fingerprint -sha256` prints them, with or without the colons.
    fn fingerprints(&mut self, key: &str, texts: &[String]) -> Vec<Fingerprint> {
        let mut all = Vec::new();
        for (at, text) in texts.iter().enumerate() {
            let digits = text.replace(':', "").to_ascii_lowercase();
            let bytes = hex::decode(&digits).map(|bytes| *bytes);
            let result = bytes.ok_or("must be the SHA-256 of a certificate, 64 hexadecimal digits");
            all.extend(self.parsed(&format!("{key}[{at}]"), result));
        }
        all
    }

    /// What fits together only with the rest of the configuration.
    pub(super) fn link_fits(&mut self, link: &Link, server: &Server) {
        if server.iso8583.is_none() {
            return;
        }
        if link.acquirers.is_empty() && !self.flags.sandbox {
            self.bad("acquirer", "is missing: an [[acquirer]] says who may speak at `server.iso8583`");
        }
        let tls = link.tls.as_ref().or(server.tls.as_ref());
        let asks_certificates = tls.is_some_and(|tls| tls.client_ca_file.is_some());
        if link.acquirers.iter().any(|(_, acquirer)| !acquirer.certificates.is_empty()) && !asks_certificates {
            self.bad("acquirer", "lists certificates, but no `client_ca_file` makes anybody show one");
        }
    }
}

//! The part of the check that is about the network's link: `[iso8583]` and `[[acquirer]]`.

use std::collections::HashMap;

use serde::Deserialize;

use super::check::Check;
use super::raw::{RawDuration, RawMerchants, RawTls};
use super::{Acquirer, Link, Merchants, Server};
use crate::domain::model::ids::MerchantId;
use crate::domain::model::money::Yen;
use crate::hex;
use crate::iso8583::frame::{Framing, LengthForm};
use crate::iso8583::message::Layout;
use crate::iso8583::translate::padded;
use crate::link::acquirers::{AcquirerId, Fingerprint};
use crate::link::{NetworkCodes, Options};

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawLink {
    pub max_connections: Option<usize>,
    pub max_in_flight: Option<usize>,
    pub deadline: Option<RawDuration>,
    pub idle: Option<RawDuration>,
    pub patience: Option<RawDuration>,
    pub require_sign_on: Option<bool>,
    pub length: Option<RawLength>,
    pub hex_bitmap: Option<bool>,
    pub tpdu: Option<bool>,
    pub sign_on: Option<String>,
    pub sign_off: Option<String>,
    pub echo: Option<String>,
    pub tls: Option<RawTls>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RawLength {
    Binary,
    Ascii,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawAcquirer {
    pub id: Option<String>,
    pub name: Option<String>,
    pub merchants: Option<RawMerchants>,
    pub merchant_ids: HashMap<String, String>,
    pub may_refund: Option<bool>,
    pub stand_in: Option<bool>,
    pub stand_in_yen: Option<u64>,
    pub bad_codes_per_minute: Option<u32>,
    pub certificates: Vec<String>,
}

/// Yen that a network's own approvals may put on a customer above the limits in a day, at most.
const MOST_STAND_IN: u64 = 9_999_999;

impl Check {
    pub(super) fn link(&mut self) -> Link {
        let raw = std::mem::take(&mut self.raw.iso8583);
        let deadline = self.duration("iso8583.deadline", raw.deadline, 1);
        let idle = self.duration("iso8583.idle", raw.idle, 60);
        let patience = self.duration("iso8583.patience", raw.patience, 10);
        let usual = NetworkCodes::default();
        let codes = NetworkCodes {
            sign_on: self.network_code("iso8583.sign_on", raw.sign_on.as_deref(), usual.sign_on),
            sign_off: self.network_code("iso8583.sign_off", raw.sign_off.as_deref(), usual.sign_off),
            echo: self.network_code("iso8583.echo", raw.echo.as_deref(), usual.echo),
        };
        if codes.sign_on == codes.sign_off || codes.sign_on == codes.echo || codes.sign_off == codes.echo {
            self.bad("iso8583", "`sign_on`, `sign_off` and `echo` must be three different codes of element 70");
        }
        let length = match raw.length {
            Some(RawLength::Ascii) => LengthForm::Ascii,
            Some(RawLength::Binary) | None => LengthForm::Binary,
        };
        let options = Options {
            framing: Framing { length, tpdu: raw.tpdu.unwrap_or(false) },
            layout: Layout { hex_bitmap: raw.hex_bitmap.unwrap_or(false) },
            codes,
            requires_sign_on: raw.require_sign_on.unwrap_or(false),
            max_connections: self.within("iso8583.max_connections", raw.max_connections, 64, 1..=65_536),
            max_in_flight: self.within("iso8583.max_in_flight", raw.max_in_flight, 4_096, 1..=65_536),
            deadline,
            idle,
            patience,
        };
        let tls = raw.tls.and_then(|tls| self.tls("iso8583.tls", tls));
        Link { options, tls, acquirers: self.acquirers() }
    }

    fn network_code(&mut self, key: &str, text: Option<&str>, usual: [u8; 3]) -> [u8; 3] {
        let Some(text) = text else { return usual };
        match <[u8; 3]>::try_from(text.as_bytes()) {
            Ok(code) if code.iter().all(u8::is_ascii_digit) => code,
            _ => {
                self.bad(key, format!("{text:?} is no code of element 70: 3 digits are expected"));
                usual
            }
        }
    }

    fn acquirers(&mut self) -> Vec<(AcquirerId, Acquirer)> {
        let written = std::mem::take(&mut self.raw.acquirer);
        let mut all: Vec<(AcquirerId, Acquirer)> = Vec::new();
        for (at, raw) in written.into_iter().enumerate() {
            let Some((id, acquirer)) = self.acquirer(at, raw) else { continue };
            if all.iter().any(|(other, _)| *other == id) {
                self.bad(&format!("acquirer[{at}].id"), "is the id of another acquirer too");
            }
            all.push((id, acquirer));
        }
        all
    }

    fn acquirer(&mut self, at: usize, raw: RawAcquirer) -> Option<(AcquirerId, Acquirer)> {
        let of = |field: &str| format!("acquirer[{at}].{field}");
        let text = self.required(&of("id"), raw.id, "element 32 of its messages, up to 11 digits");
        let id = text.and_then(|text| {
            let id = padded(text.as_bytes()).filter(|_| !text.is_empty()).ok_or("must be 1 to 11 digits");
            self.parsed(&of("id"), id)
        });
        let merchants = match raw.merchants {
            Some(RawMerchants::All) => Some(Merchants::All),
            Some(RawMerchants::Listed(names)) if !names.is_empty() => {
                Some(Merchants::Only(self.names(&of("merchants"), &names, MerchantId::new)))
            }
            _ => self.required(&of("merchants"), None, "the merchants it may speak for, or \"*\""),
        };
        let mut merchant_ids = HashMap::new();
        for (acceptor, merchant) in raw.merchant_ids {
            let result = MerchantId::new(&merchant).map_err(|error| format!("{merchant:?} {error}"));
            if let Some(merchant) = self.parsed(&of(&format!("merchant_ids.{acceptor}")), result) {
                merchant_ids.insert(Box::from(acceptor.trim()), merchant);
            }
        }
        let stand_in = match (raw.stand_in.unwrap_or(false), raw.stand_in_yen) {
            (true, yen) => {
                let what = "with `stand_in = true` it bounds the yen a customer and day above the limits";
                let yen = self.required(&of("stand_in_yen"), yen, what).unwrap_or_default();
                Some(Yen::new(self.within(&of("stand_in_yen"), Some(yen), 0, 0..=MOST_STAND_IN)))
            }
            (false, Some(_)) => {
                self.bad(&of("stand_in_yen"), "says nothing without `stand_in = true`");
                None
            }
            (false, None) => None,
        };
        let own_limit = self.within_if_there(&of("bad_codes_per_minute"), raw.bad_codes_per_minute, 1..=1_000_000);
        let certificates = self.fingerprints(&of("certificates"), &raw.certificates);
        let name = raw.name.unwrap_or_else(|| format!("acquirer {at}"));
        Some((
            id?,
            Acquirer {
                name: name.into(),
                merchants: merchants?,
                merchant_ids,
                may_refund: raw.may_refund.unwrap_or(false),
                stand_in,
                bad_codes_per_minute: own_limit.map(|most| usize::try_from(most).unwrap_or(usize::MAX)),
                certificates,
            },
        ))
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
        if link.acquirers.is_empty() && !self.sandbox {
            self.bad("acquirer", "is missing: an [[acquirer]] says who may speak at `server.iso8583`");
        }
        let tls = link.tls.as_ref().or(server.tls.as_ref());
        let asks_certificates = tls.is_some_and(|tls| tls.client_ca_file.is_some());
        if link.acquirers.iter().any(|(_, acquirer)| !acquirer.certificates.is_empty()) && !asks_certificates {
            self.bad("acquirer", "lists certificates, but no `client_ca_file` makes anybody show one");
        }
    }
}

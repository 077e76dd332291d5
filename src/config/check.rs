//! From what was written to what is meant, section by section. A wrong value is noted and replaced by its default,
//! so that the rest can be judged too; a configuration with a noted problem is never used.

use std::fmt::Display;
use std::fs::File;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use super::documents::Wanted;
use super::problem::{ConfigError, Places, Problems};
use super::raw::{RawAid, RawConfig, RawDuration, RawForm, RawIssuer, RawSync, RawTls};
use super::{BadCodes, Config, Journal, Ledger, LedgerPlace, Records, SANDBOX_DATA, Server, Tls, documents, keys_file};
use crate::code::{Aid, Application, Form, Issuers, IssuersError, Keyring, Label, Prefix};
use crate::domain::model::bounds::Bounds as CustomerBounds;
use crate::domain::model::settings::Settings;
use crate::engine::Sync;
use crate::engine::inbox::Bounds;
use crate::files;
use crate::files::Access;
use crate::http::trust::signature::Freshness;

const DEFAULT_HTTP: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8080);
const MIB: u64 = 1024 * 1024;
/// A retry may come two days later (the contract's promise).
const LEAST_RETAIN: RawDuration = RawDuration(48 * 3_600_000);
const YEAR: RawDuration = RawDuration(365 * 86_400_000);

pub(super) struct Check {
    pub raw: RawConfig,
    pub places: Places,
    pub problems: Problems,
    /// Of the configuration file: what it names lies relative to it.
    pub folder: PathBuf,
    pub file: Option<PathBuf>,
    /// The flag.
    pub data: Option<PathBuf>,
    pub sandbox: bool,
}

impl Check {
    pub(super) fn bad(&mut self, key: &str, message: impl Into<String>) {
        self.problems.add(self.places.of(key), key, message);
    }

    /// The value, or its default if it is absent or out of its range.
    pub(super) fn within<T: PartialOrd + Display + Copy>(
        &mut self,
        key: &str,
        value: Option<T>,
        default: T,
        range: RangeInclusive<T>,
    ) -> T {
        let value = value.unwrap_or(default);
        if range.contains(&value) {
            return value;
        }
        self.bad(key, format!("{value} is out of range: {} to {}", range.start(), range.end()));
        default
    }

    /// As [`Self::within`], of a key that has no default.
    pub(super) fn within_if_there<T: PartialOrd + Display + Copy>(
        &mut self,
        key: &str,
        value: Option<T>,
        range: RangeInclusive<T>,
    ) -> Option<T> {
        value.map(|value| self.within(key, Some(value), *range.start(), range))
    }

    pub(super) fn duration(&mut self, key: &str, value: Option<RawDuration>, seconds: i64) -> Duration {
        let range = RawDuration(100)..=RawDuration(3_600_000);
        let ms = self.within(key, value, RawDuration(seconds * 1_000), range).0;
        Duration::from_millis(ms.unsigned_abs())
    }

    /// The value, and a problem if it is missing.
    pub(super) fn required<T>(&mut self, key: &str, value: Option<T>, what: &str) -> Option<T> {
        if value.is_none() {
            self.bad(key, format!("is missing: {what}"));
        }
        value
    }

    /// A value in its checked type.
    pub(super) fn parsed<T, E: Display>(&mut self, key: &str, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.bad(key, error.to_string())).ok()
    }

    pub fn finish<T>(self, checked: Option<T>) -> Result<T, ConfigError> {
        match checked {
            Some(checked) if self.problems.is_empty() => Ok(checked),
            _ => Err(self.problems.into_error()),
        }
    }

    pub fn records(&mut self, folder: &Path) -> Records {
        let data = match (&self.data, &self.raw.data) {
            (Some(given), _) => given.clone(),
            // The service's data are not a sandbox's.
            (None, _) if self.sandbox => folder.join(SANDBOX_DATA),
            (None, Some(written)) => self.folder.join(written),
            (None, None) => folder.join("data"),
        };
        let place = self.ledger_place(&data);
        let chunk_records = self.raw.ledger.chunk_records;
        let chunk_records = self.within("ledger.chunk_records", chunk_records, 20_000, 1..=100_000);
        Records { data, journal: self.journal(), ledger: Ledger { place, chunk_records }, settings: self.settings() }
    }

    fn settings(&mut self) -> Settings {
        let (retain, max) = (self.raw.orders.retain, self.raw.orders.max);
        let orders_retain = self.within("orders.retain", retain, LEAST_RETAIN, LEAST_RETAIN..=YEAR).0;
        let orders_max = self.within("orders.max", max, 20_000_000, 1..=u64::from(u32::MAX));
        let (least, most) = (RawDuration(60_000), YEAR);
        let hold = self.raw.holds.expire_after;
        let hold_life = self.within("holds.expire_after", hold, RawDuration(7 * 86_400_000), least..=most).0;
        let most =
            |check: &mut Self, key: &str, max: Option<u32>, default: u32| check.within(key, max, default, 1..=u32::MAX);
        let codes = most(self, "codes.max", self.raw.codes.max, 20_000_000);
        let customers_max = most(self, "customers.max", self.raw.customers.max, 20_000_000);
        let merchants = most(self, "merchants.max", self.raw.merchants.max, 1_000_000);
        let count = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        let (codes_max, merchants_max) = (count(codes), count(merchants));
        let bounds = self.bounds();
        Settings { orders_retain, orders_max, hold_life, codes_max, customers_max, merchants_max, bounds }
    }

    /// Higher bounds make one call cost everybody more: the highest are those up to which that was measured.
    fn bounds(&mut self) -> CustomerBounds {
        let (raw, default) = (std::mem::take(&mut self.raw.bounds), CustomerBounds::default());
        let mut within = |key: &str, value: Option<usize>, default: usize| {
            self.within(&format!("bounds.{key}"), value, default, 1..=10 * default)
        };
        CustomerBounds {
            refunds_per_purchase: within(
                "refunds_per_purchase",
                raw.refunds_per_purchase,
                default.refunds_per_purchase,
            ),
            open_debts: within("open_debts", raw.open_debts, default.open_debts),
            changes_per_bill: within("changes_per_bill", raw.changes_per_bill, default.changes_per_bill),
            open_slips: within("open_slips", raw.open_slips, default.open_slips),
            blocks: within("blocks", raw.blocks, default.blocks),
            pending_payments: within("pending_payments", raw.pending_payments, default.pending_payments),
        }
    }

    /// The URL may hold a password: it is never shown.
    fn ledger_place(&mut self, data: &Path) -> LedgerPlace {
        if let Some(url) = &self.raw.ledger.url {
            let postgres = url.starts_with("postgres://") || url.starts_with("postgresql://");
            let problem = if postgres {
                "PostgreSQL is not supported by this build yet: leave `url` out for the embedded ledger"
            } else {
                "only a postgres:// URL can stand here: leave `url` out for the embedded ledger, DATA/ledger.db"
            };
            self.bad("ledger.url", problem);
        }
        LedgerPlace::Embedded(data.join("ledger.db"))
    }

    fn journal(&mut self) -> Journal {
        let raw = std::mem::take(&mut self.raw.journal);
        let sync = match (raw.sync.unwrap_or(RawSync::BeforeAnswer), raw.at_risk_yen) {
            (RawSync::BeforeAnswer, Some(_)) => {
                let message = "says how much may be lost, which only `journal.sync = \"bounded\"` allows";
                self.bad("journal.at_risk_yen", message);
                Sync::BeforeAnswer
            }
            (RawSync::BeforeAnswer, None) => Sync::BeforeAnswer,
            (RawSync::Bounded, at_risk) => {
                let what = "with `journal.sync = \"bounded\"` it bounds the approved yen that a crash may lose";
                let at_risk_yen = self.required("journal.at_risk_yen", at_risk, what).unwrap_or_default();
                Sync::Bounded { at_risk_yen }
            }
        };
        let max_gap_us = self.within("journal.max_gap_us", raw.max_gap_us, 500, 0..=100_000);
        Journal {
            segment_bytes: self.within("journal.segment_mib", raw.segment_mib, 64, 1..=1_024) * MIB,
            sync,
            max_gap: Duration::from_micros(max_gap_us),
            retain_days: self.within("journal.retain_days", raw.retain_days, 400, 1..=36_500),
        }
    }

    pub fn service(&mut self, records: Records) -> Option<Config> {
        let raw = std::mem::take(&mut self.raw.bad_codes);
        let bad_codes = BadCodes {
            per_terminal: self.within("bad_codes.per_terminal", raw.per_terminal, 5, 1..=100_000),
            tok19_per_terminal: self.within("bad_codes.tok19_per_terminal", raw.tok19_per_terminal, 2, 1..=100_000),
            per_key: self.within("bad_codes.per_key", raw.per_key, 50, 1..=100_000),
            per_key_share_ppm: {
                let share = self.within("bad_codes.per_key_share", raw.per_key_share, 0.02, 0.0..=1.0);
                let ppm = Decimal::try_from(share).ok().and_then(|share| (share * Decimal::from(1_000_000)).to_u32());
                ppm.unwrap_or(20_000)
            },
        };
        let (tolerance, nonces) = (self.raw.signatures.tolerance, self.raw.signatures.nonces);
        let (least, most) = (RawDuration(1_000), RawDuration(300_000));
        let signatures = Freshness {
            tolerance_ms: self.within("signatures.tolerance", tolerance, RawDuration(60_000), least..=most).0,
            nonces: self.within("signatures.nonces", nonces, 1_048_576, 1_024..=16_777_216),
        };
        let server = self.server();
        let link = self.link();
        self.link_fits(&link, &server);
        let inbox = Bounds {
            normal: self.within("engine.inbox", self.raw.engine.inbox, 8_192, 1..=1_048_576),
            urgent: self.within("engine.urgent_inbox", self.raw.engine.urgent_inbox, 4_096, 1..=1_048_576),
            batch: self.within("engine.batch", self.raw.engine.batch, 1_024, 1..=65_536),
            target: Duration::from_millis(self.within("engine.queue_ms", self.raw.engine.queue_ms, 5, 1..=1_000)),
        };
        let issuers = self.issuers();
        let keyring = self.keyring();
        let keys = self.keys();
        let policy = self.wanted("policy.file", self.raw.policy.file.clone(), "policy.toml");
        let policy = documents::policy(&policy, &mut self.problems);
        let holidays = self.wanted("holidays.file", self.raw.holidays.file.clone(), "holidays.csv");
        let holidays = documents::holidays(&holidays, &mut self.problems);
        Some(Config {
            sandbox: self.sandbox,
            file: self.file.clone(),
            records,
            server,
            link,
            inbox,
            bad_codes,
            signatures,
            issuers: issuers?,
            keyring: Arc::new(keyring?),
            keys,
            policy: policy?,
            holidays: holidays?,
        })
    }

    fn wanted<'a>(&self, key: &'a str, named: Option<PathBuf>, default: &str) -> Wanted<'a> {
        let may_be_absent = self.sandbox && named.is_none();
        let path = self.folder.join(named.unwrap_or_else(|| default.into()));
        Wanted { path, key, place: self.places.of(key), may_be_absent }
    }

    fn server(&mut self) -> Server {
        let raw = std::mem::take(&mut self.raw.server);
        let tls = raw.tls.and_then(|tls| self.tls("server.tls", tls));
        let insecure = raw.insecure.unwrap_or(false);
        let http = raw.http.unwrap_or(DEFAULT_HTTP);
        let others = [("server.admin", raw.admin), ("server.iso8583", raw.iso8583)];
        let others = others.into_iter().filter_map(|(key, address)| address.map(|address| (key, address)));
        let mut taken: Vec<(&str, SocketAddr)> = Vec::new();
        for (key, address) in std::iter::once(("server.http", http)).chain(others) {
            let outside = !address.ip().to_canonical().is_loopback();
            let has_tls = tls.is_some() || key == "server.iso8583" && self.raw.iso8583.tls.is_some();
            if outside && !has_tls && !insecure && !self.sandbox {
                let message = format!(
                    "{address} can be reached from other machines: set [server.tls], or `server.insecure = true` \
                     if something in front of it does the encryption"
                );
                self.bad(key, message);
            }
            // Port 0 is a port of the system's choice, each time another.
            if let Some((other, _)) = taken.iter().find(|(_, one)| *one == address && one.port() != 0) {
                self.bad(key, format!("{address} is the address of `{other}` too"));
            }
            taken.push((key, address));
        }
        let max_connections = self.within("server.max_connections", raw.max_connections, 4_096, 1..=1_000_000);
        let (per_ip, key) = (raw.max_connections_per_ip, "server.max_connections_per_ip");
        Server {
            http,
            admin: raw.admin,
            iso8583: raw.iso8583,
            tls,
            insecure,
            threads: self.within("server.threads", raw.threads, 1, 1..=256),
            max_connections,
            max_connections_per_ip: self.within(key, per_ip, 1_024, 1..=1_000_000),
            header_timeout: self.duration("server.header_timeout", raw.header_timeout, 5),
            body_timeout: self.duration("server.body_timeout", raw.body_timeout, 5),
            idle_timeout: self.duration("server.idle_timeout", raw.idle_timeout, 75),
            drain: Duration::from_secs(self.within("server.drain_seconds", raw.drain_seconds, 4, 0..=4)),
        }
    }

    /// The files of a section.
    pub(super) fn tls(&mut self, section: &str, raw: RawTls) -> Option<Tls> {
        let of = |field: &str| format!("{section}.{field}");
        let cert = self.required(&of("cert_file"), raw.cert_file, "the certificate chain, PEM");
        let key = self.required(&of("key_file"), raw.key_file, "the private key, PEM");
        let mut readable = |field: &str, file: PathBuf| {
            let path = self.folder.join(file);
            let looked_at = match field {
                // In a sandbox too: a real certificate's key is as secret there.
                "key_file" => files::read_secret(&path, Access::Owner).map(drop).map_err(|error| error.to_string()),
                _ => File::open(&path).map(drop).map_err(|error| format!("{} cannot be read: {error}", path.display())),
            };
            looked_at.map_err(|problem| self.bad(&of(field), problem)).ok().map(|()| path)
        };
        let cert_file = cert.and_then(|file| readable("cert_file", file));
        let key_file = key.and_then(|file| readable("key_file", file));
        let client_ca_file = raw.client_ca_file.and_then(|file| readable("client_ca_file", file));
        Some(Tls { cert_file: cert_file?, key_file: key_file?, client_ca_file })
    }

    /// Prefixes and AIDs; the sandbox has the test ones where none are written.
    fn issuers(&mut self) -> Option<Issuers> {
        let (mut issuers, mut aids) = (std::mem::take(&mut self.raw.issuer), std::mem::take(&mut self.raw.aid));
        if self.sandbox && issuers.is_empty() {
            issuers.push(RawIssuer { prefix: Some("90009999".to_owned()), form: None });
        }
        if self.sandbox && aids.is_empty() {
            let (aid, label) = (Some("F0000000000001".to_owned()), Some("TESTPAY".to_owned()));
            aids.push(RawAid { aid, form: None, label });
        }
        let (no_issuer, no_aid) = (issuers.is_empty(), aids.is_empty());
        let mut prefixes = Vec::new();
        for (at, raw) in issuers.into_iter().enumerate() {
            let key = format!("issuer[{at}].prefix");
            let text = self.required(&key, raw.prefix, "the 8 digits that begin our codes");
            let prefix = text.and_then(|text| self.parsed(&key, Prefix::parse(&text)));
            prefixes.extend(prefix.map(|prefix| (prefix, form(raw.form))));
        }
        let mut applications = Vec::new();
        for (at, raw) in aids.into_iter().enumerate() {
            let (key, label) = (format!("aid[{at}].aid"), format!("aid[{at}].label"));
            let aid = self.required(&key, raw.aid, "the EMV application identifier, hexadecimal");
            let aid = aid.and_then(|text| self.parsed(&key, Aid::parse(&text)));
            let text = self.required(&label, raw.label, "the name that a register may show");
            let label = text.and_then(|text| self.parsed(&label, Label::parse(&text)));
            let pair = aid.zip(label);
            applications.extend(pair.map(|(aid, label)| Application { aid, label, form: form(raw.form) }));
        }
        if no_issuer {
            self.bad("issuer", "is missing: an [[issuer]] names a prefix of our codes");
        }
        if no_aid {
            self.bad("aid", "is missing: an [[aid]] names our application in a QR");
        }
        if prefixes.is_empty() || applications.is_empty() {
            return None;
        }
        let key = |error: &IssuersError| match error {
            IssuersError::DuplicateApplication => "aid",
            _ => "issuer",
        };
        Issuers::new(prefixes, applications).map_err(|error| self.bad(key(&error), error.to_string())).ok()
    }

    /// A sandbox never signs with a service's keys: with its clock and its keys anyone could make codes.
    fn keyring(&mut self) -> Option<Keyring> {
        if self.sandbox {
            return Some(Keyring::sandbox());
        }
        let key = "signing.keys_file";
        let file = self.raw.signing.keys_file.take();
        let file = self.required(key, file, "the signing keys; `sokketsu keys new` makes the file")?;
        let keyring = self.parsed(key, keys_file::read_keyring(&self.folder.join(file)))?;
        if keyring.has_published_test_keys() {
            self.bad(key, "holds a published test key: anyone could make codes; `sokketsu keys new` makes secret ones");
            return None;
        }
        Some(keyring)
    }
}

fn form(raw: Option<RawForm>) -> Form {
    match raw {
        None | Some(RawForm::L24) => Form::L24,
        Some(RawForm::Tok19) => Form::Tok19,
    }
}

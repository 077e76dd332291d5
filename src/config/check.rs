//! From what was written to what is meant, section by section. A value that can't stand is noted, so that the rest can be
//! judged too; a configuration with a noted problem is never used.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde::de::DeserializeOwned;

use super::problem::{ConfigError, Place};
use super::source::Source;
use super::values::{FORMS, Length, meaning};
use super::{Config, Flags, Journal, JournalPlace, Ledger, LedgerPlace, Records, SANDBOX_DATA, keys_file};
use crate::code::{Aid, Application, Form, Issuers, IssuersError, Keyring, Label, Prefix};
use crate::database::Server;
use crate::domain::model::bounds::Bounds as CustomerBounds;
use crate::domain::model::settings::Settings;
use crate::domain::model::time::{DAY, HOUR, MINUTE, SECOND};
use crate::engine::Sync;
use crate::engine::bad_codes::Limits;
use crate::engine::queues::Bounds;
use crate::files::{Access, read_secret};
use crate::http::trust::signature::Freshness;
use crate::journal::SEGMENT_BYTES;

const MIB: u64 = 1024 * 1024;

pub(super) struct Check {
    pub source: Source,
    /// Of the configuration file: what it names lies relative to it.
    pub folder: PathBuf,
    pub file: Option<PathBuf>,
    pub flags: Flags,
    /// Only whether values have their form is looked at.
    pub form_only: bool,
}

impl Check {
    pub fn bad(&mut self, key: &str, message: impl Into<String>) {
        self.bad_at(self.source.places.of(key), key, message);
    }

    pub fn bad_at(&mut self, place: Place, key: &str, message: impl Into<String>) {
        if !self.form_only {
            self.source.found.add(place, key, message);
        }
    }

    pub fn read<T: DeserializeOwned>(&mut self, key: &str) -> Option<T> {
        self.source.read(key)
    }

    /// The value of a key, or its default if it is absent or out of its range.
    pub fn number<T>(&mut self, key: &str, default: T, range: RangeInclusive<T>) -> T
    where
        T: DeserializeOwned + PartialOrd + Display + Copy,
    {
        let value = self.read(key).unwrap_or(default);
        self.number_if_there(key, Some(value), range).unwrap_or(default)
    }

    /// The value, unless it is out of its range.
    pub fn number_if_there<T>(&mut self, key: &str, value: Option<T>, range: RangeInclusive<T>) -> Option<T>
    where
        T: PartialOrd + Display,
    {
        let value = value?;
        if range.contains(&value) {
            return Some(value);
        }
        self.bad(key, format!("{value} is out of range: {} to {}", range.start(), range.end()));
        None
    }

    /// A length of time, ms.
    fn length(&mut self, key: &str, default: i64, range: RangeInclusive<i64>) -> i64 {
        self.number(key, Length(default), Length(*range.start())..=Length(*range.end())).0
    }

    /// What something waits for, at most an hour.
    pub fn timeout(&mut self, key: &str, default: Duration) -> Duration {
        let default = i64::try_from(default.as_millis()).unwrap_or(HOUR);
        Duration::from_millis(self.length(key, default, 100..=HOUR).unsigned_abs())
    }

    /// Bad codes a minute of one caller, in place of the bounds of every key.
    pub fn own_bad_codes(&mut self, key: &str) -> Option<usize> {
        let written = self.read(key);
        self.number_if_there(key, written, 1..=1_000_000)
    }

    /// What the word of a key stands for.
    pub fn word<T: Copy>(&mut self, key: &str, words: &[(&str, T)]) -> Option<T> {
        let word: String = self.read(key)?;
        self.meant(key, &word, words)
    }

    /// Another word is wrong in form, as what can't be read is.
    pub fn meant<T: Copy>(&mut self, key: &str, word: &str, words: &[(&str, T)]) -> Option<T> {
        let place = self.source.places.of(key);
        meaning(word, words).map_err(|problem| self.source.found.add(place, key, problem)).ok()
    }

    /// The value of a key that must be written.
    pub fn needed<T: DeserializeOwned>(&mut self, key: &str, what: &str) -> Option<T> {
        let value = self.read(key);
        self.required(key, value, what)
    }

    /// The value, and a problem if it is missing.
    pub fn required<T>(&mut self, key: &str, value: Option<T>, what: &str) -> Option<T> {
        if value.is_none() {
            self.bad(key, format!("is missing: {what}"));
        }
        value
    }

    /// A value in its checked type.
    pub fn parsed<T, E: Display>(&mut self, key: &str, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.bad(key, error.to_string())).ok()
    }

    pub fn finish<T>(mut self, checked: Option<T>) -> Result<T, ConfigError> {
        self.source.note_unknown();
        match checked {
            Some(checked) if self.source.found.problems.is_empty() => Ok(checked),
            _ => Err(self.source.found.sorted()),
        }
    }

    pub fn records(&mut self, folder: &Path) -> Records {
        let written: Option<PathBuf> = self.read("data");
        let data = match (&self.flags.data, written) {
            (Some(given), _) => given.clone(),
            // The service's data are not a sandbox's.
            (None, _) if self.flags.sandbox => folder.join(SANDBOX_DATA),
            (None, Some(written)) => self.folder.join(written),
            (None, None) => folder.join("data"),
        };
        let journal = self.journal();
        let ledger = self.ledger(&data, &journal.place);
        Records { data, journal, ledger, settings: self.settings() }
    }

    fn settings(&mut self) -> Settings {
        for section in ["orders", "holds", "codes", "customers", "merchants", "bounds"] {
            self.source.section(section);
        }
        // Higher bounds make one call cost everybody more: the highest are those up to which that was measured.
        let usual = Settings::default();
        let bounds = CustomerBounds {
            refunds_per_purchase: self.number(
                "bounds.refunds_per_purchase",
                usual.bounds.refunds_per_purchase,
                1..=1_000,
            ),
            open_debts: self.number("bounds.open_debts", usual.bounds.open_debts, 1..=10_000),
            changes_per_bill: self.number("bounds.changes_per_bill", usual.bounds.changes_per_bill, 1..=50_000),
            open_slips: self.number("bounds.open_slips", usual.bounds.open_slips, 1..=200),
            blocks: self.number("bounds.blocks", usual.bounds.blocks, 1..=1_000),
            pending_payments: self.number("bounds.pending_payments", usual.bounds.pending_payments, 1..=1_000),
        };
        // As many as 32 bits can number.
        let most = u32::MAX;
        let as_many = usize::try_from(most).unwrap_or(usize::MAX);
        Settings {
            // A retry may come two days later (the contract's promise).
            orders_retain: self.length("orders.retain", usual.orders_retain, 48 * HOUR..=365 * DAY),
            orders_max: self.number("orders.max", usual.orders_max, 1..=u64::from(most)),
            hold_life: self.length("holds.expire_after", usual.hold_life, MINUTE..=365 * DAY),
            codes_max: self.number("codes.max", usual.codes_max, 1..=as_many),
            customers_max: self.number("customers.max", usual.customers_max, 1..=most),
            merchants_max: self.number("merchants.max", usual.merchants_max, 1..=as_many),
            bounds,
        }
    }

    /// With a journal in a database the ledger is in the same one.
    fn ledger(&mut self, data: &Path, journal: &JournalPlace) -> Ledger {
        self.source.section("ledger");
        let mut server = self.database("ledger", &[]);
        if let JournalPlace::Cluster { server: shared, .. } = journal {
            if server.as_ref().is_some_and(|other| other != shared) {
                self.bad(
                    "ledger.url",
                    "is another one than `journal.url`, whose database has the ledger too: leave it out",
                );
            }
            server = Some(Arc::clone(shared));
        }
        // A transaction there is a few milliseconds of a shared disk at most; a file is our own.
        let chunk = if server.is_some() { 2_000 } else { 20_000 };
        let chunk_records = self.number("ledger.chunk_records", chunk, 1..=100_000);
        let place = server.map_or_else(|| LedgerPlace::Embedded(data.join("ledger.db")), LedgerPlace::Server);
        Ledger { place, chunk_records }
    }

    /// The database that a section names; `others` are keys that mean nothing without one, and whether they are written. The
    /// address may hold a password: no problem of it repeats it.
    fn database(&mut self, section: &str, others: &[(&str, bool)]) -> Option<Arc<Server>> {
        let key = |name: &str| format!("{section}.{name}");
        let authorities: Option<PathBuf> = self.read(&key("ca_file"));
        let authorities = authorities.map(|file| self.folder.join(file));
        let password: Option<PathBuf> = self.read(&key("password_file"));
        let Some(url) = self.read::<String>(&key("url")) else {
            let own = [("ca_file", authorities.is_some()), ("password_file", password.is_some())];
            for &(name, is_written) in own.iter().chain(others) {
                if is_written {
                    self.bad(&key(name), format!("is of a server, and `{section}.url` names none"));
                }
            }
            return None;
        };
        let password = match password {
            None => None,
            Some(file) => {
                let read = read_secret(&self.folder.join(file), Access::Owner);
                Some(self.parsed(&key("password_file"), read)?)
            }
        };
        let password = password.as_ref().map(|text| text.trim_end_matches(['\r', '\n']));
        self.parsed(&key("url"), Server::parse(&url, authorities, password)).map(Arc::new)
    }

    fn journal_place(&mut self, is_bounded: bool) -> JournalPlace {
        let node: Option<String> = self.read("journal.node");
        let address: Option<String> = self.read("journal.address");
        let given = [("node", node.is_some()), ("address", address.is_some())];
        let Some(server) = self.database("journal", &given) else { return JournalPlace::Files };
        if is_bounded {
            self.bad("journal.sync", "can't be \"bounded\" with `journal.url`: an answer waits for a standby");
        }
        if self.flags.sandbox_start.is_some() {
            self.bad("journal.url", "is of a database with a clock of its own: leave `--sandbox-start` out");
        }
        let is_name = |name: &str| {
            (1..=32).contains(&name.len())
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        };
        let what = "the name of this node, which no other one in the cluster has";
        let node = self.required("journal.node", node, what).unwrap_or_default();
        if !node.is_empty() && !is_name(&node) {
            self.bad("journal.node", "is no name: 1 to 32 letters, digits, `-`, `_` or `.`");
        }
        let is_url = |text: &str| text.starts_with("https://") || text.starts_with("http://");
        if address.as_deref().is_some_and(|address| !is_url(address)) {
            self.bad("journal.address", "is no address: `https://` and what callers reach this node by");
        }
        JournalPlace::Cluster { server, node, address }
    }

    fn journal(&mut self) -> Journal {
        self.source.section("journal");
        let is_bounded = self.word("journal.sync", &[("before_answer", false), ("bounded", true)]).unwrap_or(false);
        let sync = match (is_bounded, self.read("journal.at_risk_yen")) {
            (true, at_risk) => {
                let what = "with `journal.sync = \"bounded\"` it bounds the approved yen that a crash may lose";
                let at_risk_yen = self.required("journal.at_risk_yen", at_risk, what).unwrap_or_default();
                Sync::Bounded { at_risk_yen }
            }
            (false, at_risk) => {
                if at_risk.is_some() {
                    let message = "says how much may be lost, which only `journal.sync = \"bounded\"` allows";
                    self.bad("journal.at_risk_yen", message);
                }
                Sync::BeforeAnswer
            }
        };
        Journal {
            place: self.journal_place(is_bounded),
            segment_bytes: self.number("journal.segment_mib", SEGMENT_BYTES / MIB, 1..=1_024) * MIB,
            sync,
            max_gap: Duration::from_micros(self.number("journal.max_gap_us", 500, 0..=100_000)),
            retain_days: self.number("journal.retain_days", 400, 1..=36_500),
        }
    }

    pub fn service(&mut self, records: Records) -> Option<Config> {
        let server = self.server();
        let link = self.link();
        self.reached_safely(&server, &link);
        self.link_fits(&link, &server);
        let inbox = self.inbox();
        let bad_codes = self.bad_codes();
        let signatures = self.signatures();
        let issuers = self.issuers();
        let keyring = self.keyring();
        let keys = self.keys();
        let policy = self.policy();
        let holidays = self.holidays();
        Some(Config {
            sandbox: self.flags.sandbox,
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

    fn inbox(&mut self) -> Bounds {
        self.source.section("engine");
        Bounds {
            normal: self.number("engine.inbox", 8_192, 1..=1_048_576),
            urgent: self.number("engine.urgent_inbox", 4_096, 1..=1_048_576),
            batch: self.number("engine.batch", 1_024, 1..=65_536),
            target: Duration::from_millis(self.number("engine.queue_ms", 5, 1..=1_000)),
        }
    }

    fn bad_codes(&mut self) -> Limits {
        self.source.section("bad_codes");
        let usual = Limits::default();
        let share: Option<f64> = self.read("bad_codes.per_key_share");
        let share = self.number_if_there("bad_codes.per_key_share", share, 0.0..=1.0);
        let millionths = |share: f64| (Decimal::try_from(share).ok()? * Decimal::from(1_000_000)).to_u32();
        Limits {
            per_terminal: self.number("bad_codes.per_terminal", usual.per_terminal, 1..=100_000),
            tok19_per_terminal: self.number("bad_codes.tok19_per_terminal", usual.tok19_per_terminal, 1..=100_000),
            per_key: self.number("bad_codes.per_key", usual.per_key, 1..=100_000),
            per_key_share_ppm: share.and_then(millionths).unwrap_or(usual.per_key_share_ppm),
        }
    }

    fn signatures(&mut self) -> Freshness {
        self.source.section("signatures");
        Freshness {
            tolerance_ms: self.length("signatures.tolerance", MINUTE, SECOND..=5 * MINUTE),
            nonces: self.number("signatures.nonces", 1_048_576, 1_024..=16_777_216),
        }
    }

    /// Prefixes and AIDs; the sandbox has the test ones where none are written.
    fn issuers(&mut self) -> Option<Issuers> {
        let mut prefixes = Vec::new();
        let issuers = self.source.sections("issuer");
        for at in 0..issuers {
            let key = format!("issuer[{at}].prefix");
            let form = self.word(&format!("issuer[{at}].form"), &FORMS).unwrap_or(Form::L24);
            let text: Option<String> = self.needed(&key, "the 8 digits that begin our codes");
            let prefix = text.and_then(|text| self.parsed(&key, Prefix::parse(&text)));
            prefixes.extend(prefix.map(|prefix| (prefix, form)));
        }
        let mut applications = Vec::new();
        let aids = self.source.sections("aid");
        for at in 0..aids {
            let of = |field: &str| format!("aid[{at}].{field}");
            let form = self.word(&of("form"), &FORMS).unwrap_or(Form::L24);
            let aid: Option<String> = self.needed(&of("aid"), "the EMV application identifier, hexadecimal");
            let aid = aid.and_then(|text| self.parsed(&of("aid"), Aid::parse(&text)));
            let label: Option<String> = self.needed(&of("label"), "the name that a register may show");
            let label = label.and_then(|text| self.parsed(&of("label"), Label::parse(&text)));
            applications.extend(aid.zip(label).map(|(aid, label)| Application { aid, label, form }));
        }
        match issuers {
            0 if self.flags.sandbox => prefixes = Issuers::sandbox().prefixes,
            0 => self.bad("issuer", "is missing: an [[issuer]] names a prefix of our codes"),
            _ => {}
        }
        match aids {
            0 if self.flags.sandbox => applications = Issuers::sandbox().applications,
            0 => self.bad("aid", "is missing: an [[aid]] names our application in a QR"),
            _ => {}
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
        let key = "signing.keys_file";
        self.source.section("signing");
        let file: Option<PathBuf> = self.read(key);
        if self.flags.sandbox {
            return Some(Keyring::sandbox());
        }
        let file = self.required(key, file, "the signing keys; `sokketsu keys new` makes the file")?;
        let keyring = self.parsed(key, keys_file::read_keyring(&self.folder.join(file)))?;
        if keyring.has_published_test_keys() {
            self.bad(key, "holds a published test key: anyone could make codes; `sokketsu keys new` makes secret ones");
            return None;
        }
        Some(keyring)
    }
}

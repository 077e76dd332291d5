//! Files that the configuration names: the policy, the bank holidays. And the summary of it all.

use std::fmt::Write;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::access::Role;
use super::problem::{Place, Places, Problems};
use super::{Config, LedgerPlace};
use crate::domain::model::policy::{BadPolicy, Policy};
use crate::domain::model::time::BankCalendar;
use crate::engine::Sync;
use crate::journal::record::MAX_PAYLOAD;

/// The sandbox's, when there are no files.
const POLICY: &str = include_str!("../../config/policy.toml");
const HOLIDAYS: &str = include_str!("../../config/holidays.csv");

/// Bytes. These texts are journaled, each in one record.
const LONGEST: usize = MAX_PAYLOAD - 64;

/// A file that is journaled when it changes: its text, and what it says.
#[derive(Clone, Debug)]
pub struct Document<T> {
    /// `None` if it is the copy compiled in.
    pub file: Option<PathBuf>,
    pub text: String,
    pub content: T,
}

/// Where a document's text may come from.
pub(super) struct Wanted<'a> {
    pub path: PathBuf,
    /// The key that names it, and where it was written.
    pub key: &'a str,
    pub place: Place,
    /// Whether the copy compiled in will do.
    pub may_be_absent: bool,
}

fn text(wanted: &Wanted<'_>, compiled_in: &str, problems: &mut Problems) -> Option<(Option<PathBuf>, String)> {
    match fs::read_to_string(&wanted.path) {
        Ok(text) if text.len() > LONGEST => {
            let message =
                format!("{} is longer than a record of the journal can hold, {LONGEST} bytes", wanted.path.display());
            problems.add(wanted.place.clone(), wanted.key, message);
            None
        }
        Ok(text) => Some((Some(wanted.path.clone()), text)),
        Err(error) if error.kind() == ErrorKind::NotFound && wanted.may_be_absent => {
            Some((None, compiled_in.to_owned()))
        }
        Err(error) => {
            let message = format!("{} cannot be read: {error}", wanted.path.display());
            problems.add(wanted.place.clone(), wanted.key, message);
            None
        }
    }
}

pub(super) fn policy(wanted: &Wanted<'_>, problems: &mut Problems) -> Option<Document<Policy>> {
    let (file, text) = text(wanted, POLICY, problems)?;
    let mut places = Places::new(Some(wanted.path.clone()));
    let syntax = places.read(&text);
    match Policy::parse(&text) {
        Ok(content) => return Some(Document { file, text, content }),
        Err(BadPolicy::Toml(error)) if syntax.is_empty() => {
            let at = error.span().map_or(0, |span| span.start);
            problems.add(places.at(&text, at), "", error.message().replace('\n', ", "));
        }
        Err(BadPolicy::Toml(_)) => problems.extend(syntax),
        Err(BadPolicy::Value { key, problem }) => problems.add(places.of(&in_file(&key, &text)), &key, problem),
    }
    None
}

/// The policy names a category by its name, the file by its number.
fn in_file(key: &str, text: &str) -> String {
    let named = key.strip_prefix("category \"").and_then(|rest| rest.rsplit_once("\"."));
    let Some((name, field)) = named else { return key.to_owned() };
    let table: toml::Table = toml::from_str(text).unwrap_or_default();
    let categories = table.get("category").and_then(toml::Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let is_it = |category: &toml::Value| category.get("name").and_then(toml::Value::as_str) == Some(name);
    let at = categories.iter().position(is_it).unwrap_or_default();
    format!("category[{at}].{field}")
}

pub(super) fn holidays(wanted: &Wanted<'_>, problems: &mut Problems) -> Option<Document<BankCalendar>> {
    let (file, text) = text(wanted, HOLIDAYS, problems)?;
    match BankCalendar::parse(&text) {
        Ok(content) => Some(Document { file, text, content }),
        Err(error) => {
            let place = Place::Line { file: wanted.path.clone(), line: error.line, column: 1 };
            problems.add(place, "", format!("{:?} is not `YYYY-MM-DD,name`", error.text));
            None
        }
    }
}

/// A few lines that let a person see whether this is the configuration they meant.
pub(super) fn summary(config: &Config) -> String {
    let shown = |file: &Option<PathBuf>, absent: &str| {
        file.as_deref().map_or_else(|| absent.to_owned(), |file: &Path| file.display().to_string())
    };
    let mut out = String::from("ok");
    let mut line = |name: &str, value: String| {
        // Writing to a string can't fail.
        write!(out, "\n  {name:<9} {value}").ok();
    };
    line("file", shown(&config.file, "none"));
    if config.sandbox {
        line("sandbox", "published keys, test signing keys".to_owned());
    }
    line("data", config.records.data.display().to_string());
    let server = &config.server;
    let others = [("admin", server.admin), ("iso8583", server.iso8583)];
    let others = others.iter().filter_map(|(name, address)| address.map(|address| format!(", {name} {address}")));
    let security = match (&server.tls, server.insecure) {
        (Some(tls), _) if tls.client_ca_file.is_some() => ", TLS with client certificates",
        (Some(_), _) => ", TLS",
        (None, true) => ", plain by `insecure`",
        (None, false) => ", plain",
    };
    line("serves", format!("http {}{}{security}", server.http, others.collect::<String>()));
    let journal = &config.records.journal;
    line(
        "journal",
        match journal.sync {
            Sync::BeforeAnswer => format!("sync before answer, kept {} days", journal.retain_days),
            Sync::Bounded { at_risk_yen } => {
                format!("at most {at_risk_yen} yen at risk, kept {} days", journal.retain_days)
            }
        },
    );
    line(
        "ledger",
        match &config.records.ledger.place {
            LedgerPlace::Embedded(file) => file.display().to_string(),
        },
    );
    line("policy", format!("{:?} from {}", config.policy.content.label, shown(&config.policy.file, "the program")));
    line("holidays", shown(&config.holidays.file, "the program"));
    line("signing", format!("{:?}", config.keyring));
    let count = |role: Role| config.keys.iter().filter(|key| key.role == role).count();
    let mut keys = Role::ALL.map(|role| format!("{} {}", count(role), role.name())).join(", ");
    let signed = config.keys.iter().filter(|key| key.signature_secret.is_some()).count();
    if signed > 0 {
        write!(keys, "; {signed} with signed requests").ok();
    }
    line("keys", keys);
    out
}

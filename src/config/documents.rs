//! Files that the configuration names: the policy, the bank holidays. And the summary of it all.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use super::access::Role;
use super::check::Check;
use super::problem::{Place, Places};
use super::{Config, JournalPlace, LedgerPlace, Server};
use crate::domain::model::policy::{BadPolicy, Policy};
use crate::domain::model::time::BankCalendar;
use crate::engine::Sync;
use crate::journal::record::MAX_PAYLOAD;

/// Where a text is found.
struct Usual {
    key: &'static str,
    /// That stands above the key, where a command has it.
    flag: &'static str,
    /// Beside the configuration, where nothing else is said.
    name: &'static str,
    /// The sandbox's, when there is no file.
    compiled_in: &'static str,
}

const POLICY: Usual = Usual {
    key: "policy.file",
    flag: "--policy",
    name: "policy.toml",
    compiled_in: include_str!("../../config/policy.toml"),
};
const HOLIDAYS: Usual = Usual {
    key: "holidays.file",
    flag: "--holidays",
    name: "holidays.csv",
    compiled_in: include_str!("../../config/holidays.csv"),
};

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

impl Check {
    /// The text of the file that is given, else of the one that a key names, or of the usual one beside the configuration, and its
    /// path; in a sandbox the copy compiled in will do.
    fn text(&mut self, what: &Usual, given: Option<PathBuf>) -> Option<(Option<PathBuf>, String)> {
        let &Usual { key, flag, name, compiled_in } = what;
        let named: Option<PathBuf> = self.read(key);
        let may_be_absent = self.flags.sandbox && named.is_none() && given.is_none();
        if given.is_some() {
            self.source.places.note_flag(key, flag);
        }
        // What is given lies relative to the working directory.
        let path = given.unwrap_or_else(|| self.folder.join(named.unwrap_or_else(|| name.into())));
        let problem = match fs::read_to_string(&path) {
            Ok(text) if text.len() <= LONGEST => return Some((Some(path), text)),
            Ok(_) => format!("is longer than a record of the journal can hold, {LONGEST} bytes"),
            Err(error) if error.kind() == ErrorKind::NotFound && may_be_absent => {
                return Some((None, compiled_in.to_owned()));
            }
            Err(error) => format!("cannot be read: {error}"),
        };
        self.bad(key, format!("{} {problem}", path.display()));
        None
    }

    pub(super) fn policy(&mut self) -> Option<Document<Policy>> {
        self.source.section("policy");
        let (file, text) = self.text(&POLICY, self.flags.policy.clone())?;
        let mut places = Places::new(file.clone());
        let syntax = places.read(&text);
        match Policy::parse(&text) {
            Ok(content) => return Some(Document { file, text, content }),
            Err(BadPolicy::Toml(error)) if syntax.is_empty() => {
                let at = error.span().map_or(0, |span| span.start);
                self.bad_at(places.at(&text, at), "", error.message().replace('\n', ", "));
            }
            Err(BadPolicy::Toml(_)) => {
                syntax.into_iter().for_each(|problem| self.bad_at(problem.place, "", problem.message));
            }
            Err(BadPolicy::Value { key, problem }) => {
                self.bad_at(places.of(&in_file(&key, &text)), &key, problem);
            }
        }
        None
    }

    pub(super) fn holidays(&mut self) -> Option<Document<BankCalendar>> {
        self.source.section("holidays");
        let (file, text) = self.text(&HOLIDAYS, self.flags.holidays.clone())?;
        match BankCalendar::parse(&text) {
            Ok(content) => Some(Document { file, text, content }),
            Err(error) => {
                let place = Place::Line { file: file.unwrap_or_default(), line: error.line, column: 1 };
                self.bad_at(place, "", format!("{:?} is not `YYYY-MM-DD,name`", error.text));
                None
            }
        }
    }
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

impl Config {
    /// What `check-config` prints: a few lines that let a person see whether this is the configuration they meant.
    pub fn summary(&self) -> String {
        let shown = |file: &Option<PathBuf>, absent: &str| {
            file.as_deref().map_or_else(|| absent.to_owned(), |file| file.display().to_string())
        };
        let journal = &self.records.journal;
        let sync = match journal.sync {
            Sync::BeforeAnswer => "sync before answer".to_owned(),
            Sync::Bounded { at_risk_yen } => format!("at most {at_risk_yen} yen at risk"),
        };
        let kept = match &journal.place {
            JournalPlace::Files => format!("{sync}, kept {} days", journal.retain_days),
            JournalPlace::Cluster { server, node, .. } => format!("{server}, as {node}"),
        };
        let shared = match &journal.place {
            JournalPlace::Files => "",
            JournalPlace::Cluster { .. } => {
                "policy and holidays are the cluster's; `sokketsu cluster apply` writes there what is in the files below"
            }
        };
        let ledger = match &self.records.ledger.place {
            LedgerPlace::Embedded(file) => file.display().to_string(),
            LedgerPlace::Server(server) => server.to_string(),
        };
        let lines = [
            ("file", shown(&self.file, "none")),
            ("sandbox", if self.sandbox { "published keys, test signing keys".to_owned() } else { String::new() }),
            ("data", self.records.data.display().to_string()),
            ("serves", self.server.summary()),
            ("journal", kept),
            ("cluster", shared.to_owned()),
            ("ledger", ledger),
            ("policy", format!("{:?} from {}", self.policy.content.label, shown(&self.policy.file, "the program"))),
            ("holidays", shown(&self.holidays.file, "the program")),
            ("signing", format!("{:?}", self.keyring)),
            ("keys", self.keys_summary()),
        ];
        let lines = lines.iter().filter(|(_, value)| !value.is_empty());
        lines.fold("ok".to_owned(), |text, (name, value)| format!("{text}\n  {name:<9} {value}"))
    }

    fn keys_summary(&self) -> String {
        let count = |role: Role| self.keys.iter().filter(|key| key.caller.role == role).count();
        let keys = Role::ALL.map(|role| format!("{} {}", count(role), role.name())).join(", ");
        match self.keys.iter().filter(|key| key.signature_secret.is_some()).count() {
            0 => keys,
            signed => format!("{keys}; {signed} with signed requests"),
        }
    }
}

impl Server {
    fn summary(&self) -> String {
        let security = match (&self.tls, self.insecure) {
            (Some(tls), _) if tls.client_ca_file.is_some() => "TLS with client certificates",
            (Some(_), _) => "TLS",
            (None, true) => "plain by `insecure`",
            (None, false) => "plain",
        };
        let others = [("admin", self.admin), ("iso8583", self.iso8583)];
        let others = others.iter().filter_map(|(name, address)| address.map(|address| format!(", {name} {address}")));
        format!("http {}{}, {security}", self.http, others.collect::<String>())
    }
}

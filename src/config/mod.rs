//! The configuration: a TOML file, the environment above it, flags above both. The only reader of the environment.
//!
//! In reading order: [`Config`] is what the service runs on; `source` merges what was written; `check`, `server`, `callers`,
//! `link` and `documents` read it key by key, each with its default and its range, into a [`Config`] or a list of [`Problem`]s, each
//! with its place; [`access`] is who may call, [`keys_file`] the signing keys.

pub mod access;
mod callers;
mod check;
#[cfg(test)]
mod config_tests;
mod documents;
pub mod keys_file;
mod link;
#[cfg(test)]
mod link_tests;
mod problem;
mod server;
mod source;
mod values;

use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use crate::code::{Issuers, Keyring};
use crate::database;
use crate::domain::model::policy::Policy;
use crate::domain::model::settings::Settings;
use crate::domain::model::time::{BankCalendar, Millis, Now};
use crate::engine::Sync;
use crate::engine::bad_codes::Limits;
use crate::engine::queues::Bounds;
use crate::http::trust::signature::Freshness;
use crate::link::Options as LinkOptions;
use crate::link::acquirers::AcquirerId;

pub use crate::link::acquirers::Acquirer;
pub use access::{ApiKey, KeyHash, Merchants, Role, SignatureSecret};
pub use documents::Document;
pub use problem::{ConfigError, Place, Problem};

use check::Check;
use problem::Places;
use source::Source;

/// Read when no `--config` is given, if it is there.
pub const DEFAULT_FILE: &str = "config/sokketsu.toml";
/// The sandbox's data directory when no `--data` is given.
pub const SANDBOX_DATA: &str = "data/sandbox";

/// The flags that stand above file and environment.
#[derive(Args, Clone, Debug, Default)]
pub struct Flags {
    /// Configuration file; config/sokketsu.toml if that is there
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Data directory: journal, ledger, lock
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Address of the HTTP interface
    #[arg(long, value_name = "ADDR")]
    pub http: Option<SocketAddr>,
    /// Address of the ISO 8583 interface
    #[arg(long, value_name = "ADDR")]
    pub iso8583: Option<SocketAddr>,
    /// Address that serves office calls, ops calls and metrics; nothing else serves them then
    #[arg(long, value_name = "ADDR")]
    pub admin: Option<SocketAddr>,
    /// Published keys, test signing keys, demo data and a clock that can be set
    #[arg(long)]
    pub sandbox: bool,
    /// Time at which a new sandbox begins (RFC 3339); its data directory must be empty
    #[arg(long, value_name = "TIME", requires = "sandbox", value_parser = time)]
    pub sandbox_start: Option<Millis>,
    /// In place of `policy.file` and `holidays.file`, where a command takes them
    #[arg(skip)]
    pub policy: Option<PathBuf>,
    #[arg(skip)]
    pub holidays: Option<PathBuf>,
}

fn time(text: &str) -> Result<Millis, String> {
    let time = Millis::parse(text).ok_or("a time such as 2021-04-01T09:00:00+09:00 is expected")?;
    match Now::at(time).date.year() {
        2_000..2_100 => Ok(time),
        _ => Err("a time of the years 2000 to 2099 is expected".to_owned()),
    }
}

/// What the service runs on, checked.
#[derive(Debug)]
pub struct Config {
    pub sandbox: bool,
    /// The file that was read, if any.
    pub file: Option<PathBuf>,
    pub records: Records,
    pub server: Server,
    pub link: Link,
    pub inbox: Bounds,
    pub bad_codes: Limits,
    pub signatures: Freshness,
    pub issuers: Issuers,
    /// Shared with the edge, which swaps it whole at a rotation.
    pub keyring: Arc<Keyring>,
    pub keys: Vec<ApiKey>,
    pub policy: Document<Policy>,
    pub holidays: Document<BankCalendar>,
}

impl Config {
    /// Whether the time is the sandbox's own. With a database it is not: others have the same journal.
    pub fn has_own_clock(&self) -> bool {
        self.sandbox && self.records.journal.place == JournalPlace::Files
    }
}

/// The part that says where records are and how they are kept: all that `verify` needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Records {
    pub data: PathBuf,
    pub journal: Journal,
    pub ledger: Ledger,
    /// Retention of orders and life of holds.
    pub settings: Settings,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Journal {
    pub place: JournalPlace,
    pub segment_bytes: u64,
    pub sync: Sync,
    /// Between the begins of two syncs under full load; zero means that only the disk paces them.
    pub max_gap: Duration,
    pub retain_days: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JournalPlace {
    /// Files in the data folder.
    Files,
    /// A PostgreSQL cluster, and our name in it.
    Cluster {
        server: Arc<database::Server>,
        node: String,
        /// Where callers reach this node; where it listens if nobody says otherwise.
        address: Option<String>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    pub place: LedgerPlace,
    /// Most records in one transaction.
    pub chunk_records: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LedgerPlace {
    /// The embedded database (SQLite) in this file.
    Embedded(PathBuf),
    /// PostgreSQL.
    Server(Arc<database::Server>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    pub http: SocketAddr,
    pub admin: Option<SocketAddr>,
    pub iso8583: Option<SocketAddr>,
    /// If it is there, no address may be served without it.
    pub tls: Option<Tls>,
    pub insecure: bool,
    /// That serve sockets and engine.
    pub threads: usize,
    pub max_connections: usize,
    pub max_connections_per_ip: u32,
    /// From the first byte of a request to the end of its head.
    pub header_timeout: Duration,
    /// From the end of the head to the end of the body.
    pub body_timeout: Duration,
    /// Between two requests on one connection.
    pub idle_timeout: Duration,
    /// How long a stop waits for what is in flight.
    pub drain: Duration,
}

/// The network's link: how it speaks, and who.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    pub options: LinkOptions,
    /// Its own certificate; the server's if it has none.
    pub tls: Option<Tls>,
    /// By element 32.
    pub acquirers: Vec<(AcquirerId, Acquirer)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    pub cert_file: PathBuf,
    pub key_file: PathBuf,
    /// Callers need a certificate of this authority.
    pub client_ca_file: Option<PathBuf>,
}

impl Config {
    /// Reads and checks everything a service needs, the files that are named included.
    pub fn load(flags: &Flags) -> Result<Self, ConfigError> {
        Self::load_from(flags, std::env::vars_os().collect(), Path::new(""))
    }

    /// `folder` is the working directory.
    fn load_from(flags: &Flags, environment: Environment, folder: &Path) -> Result<Self, ConfigError> {
        let mut check = prepare(flags, environment, folder)?;
        let records = check.records(folder);
        let config = check.service(records);
        check.finish(config)
    }
}

impl Records {
    /// For tools that only read records: what a service needs beyond that may be missing, but not wrong in form.
    pub fn load(flags: &Flags) -> Result<Self, ConfigError> {
        Self::load_from(flags, std::env::vars_os().collect(), Path::new(""))
    }

    fn load_from(flags: &Flags, environment: Environment, folder: &Path) -> Result<Self, ConfigError> {
        let mut check = prepare(flags, environment, folder)?;
        let records = check.records(folder);
        check.form_only = true;
        check.service(records.clone());
        check.finish(Some(records))
    }
}

/// The texts that a cluster's nodes share, and where its records are: what `cluster apply` needs.
#[derive(Debug)]
pub struct Shared {
    pub records: Records,
    pub policy: Document<Policy>,
    pub holidays: Document<BankCalendar>,
}

impl Shared {
    /// Checked as a service's are; what else a service needs may be missing.
    pub fn load(flags: &Flags) -> Result<Self, ConfigError> {
        Self::load_from(flags, std::env::vars_os().collect(), Path::new(""))
    }

    fn load_from(flags: &Flags, environment: Environment, folder: &Path) -> Result<Self, ConfigError> {
        let mut check = prepare(flags, environment, folder)?;
        let records = check.records(folder);
        let documents = check.policy().zip(check.holidays());
        check.form_only = true;
        check.service(records.clone());
        check.finish(documents.map(|(policy, holidays)| Self { records, policy, holidays }))
    }
}

/// Names and values of variables.
type Environment = Vec<(OsString, OsString)>;

/// File, environment and flags in one, ready to be checked.
fn prepare(flags: &Flags, environment: Environment, folder: &Path) -> Result<Check, ConfigError> {
    let path = flags.config.clone().unwrap_or_else(|| folder.join(DEFAULT_FILE));
    let (file, text) = match fs::read_to_string(&path) {
        Ok(text) => (Some(path.clone()), text),
        Err(error) if error.kind() == ErrorKind::NotFound && flags.config.is_none() => (None, String::new()),
        Err(error) => {
            let message = format!("cannot be read: {error}");
            let problem = Problem { place: Place::File(path), key: String::new(), message };
            return Err(ConfigError { problems: vec![problem] });
        }
    };
    let mut source = Source::new(Places::new(file.clone()), &text);
    if !source.found.problems.is_empty() {
        return Err(source.found.sorted());
    }
    source.overlay(environment);
    let folder = path.parent().map(Path::to_owned).unwrap_or_default();
    Ok(Check { source, folder, file, flags: flags.clone(), form_only: false })
}

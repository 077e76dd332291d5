//! The commands.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use sokketsu::cli::backtest::{Assume, Trial, backtest};
use sokketsu::cli::cluster;
use sokketsu::cli::cluster::drain::{self, Drain};
use sokketsu::cli::cluster::moving;
use sokketsu::cli::explain::{self, ExplainError, Which, explain_decision};
use sokketsu::cli::keys;
use sokketsu::cli::ledger::migrate;
use sokketsu::cli::policy_diff::diff;
use sokketsu::cli::serve::{ServeError, ledger_exit, serve};
use sokketsu::cli::verify::{VerifyError, verify};
use sokketsu::cli::whole::WholeError;
use sokketsu::clock::Clock;
use sokketsu::config::{Config, ConfigError, Flags, Records, Shared};
use sokketsu::domain::model::ids::{AuthorizationId, Lsn, MerchantId, OrderId};
use sokketsu::domain::model::request::OrderKey;
use sokketsu::domain::model::time::Date;

const EXPLAIN_HELP: &str = "\
It reads the journal from its first record on, and may run beside a live server. Exit 0 if the decision comes out as it is
recorded, 65 if not, 64 where no such decision is there.";

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const EXIT_CODES: &str = "\
Exit codes: 0 stopped cleanly, or all agree; 64 usage; 65 the journal or ledger is damaged, disagrees, or is of a newer
version; 70 a bug; 74 the journal could not be written; 75 the data directory, its ledger or the journal
is in use, or the cluster is away; 78 configuration.";

/// Sokketsu (即決): the authorizer behind in-store code payments
#[derive(Parser)]
#[command(version, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the service
    #[command(after_help = "Try it:  sokketsu serve --sandbox")]
    Serve(Flags),
    /// Check the configuration and the files it names, then stop
    CheckConfig(Flags),
    /// Check the journal's chain, judge every decision again, and compare the ledger
    Verify(Flags),
    /// Why a decision came out as it did: every check with its numbers, judged again by the journal
    #[command(after_help = EXPLAIN_HELP)]
    Explain(ExplainFlags),
    /// What another policy would have said to every sale of the journal, with all that follows from it
    Backtest(BacktestFlags),
    /// Compare policy files
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Make the ledger's tables in PostgreSQL, or bring them up to date
    #[command(subcommand)]
    Ledger(LedgerCommand),
    /// Make the tables of a journal in PostgreSQL
    #[command(subcommand)]
    Cluster(ClusterCommand),
    /// Make, rotate and retire signing keys; make API keys
    #[command(subcommand)]
    Keys(keys::Command),
}

#[derive(Subcommand)]
enum PolicyCommand {
    /// What changes from one policy file to another, in words
    Diff { one: PathBuf, other: PathBuf },
}

#[derive(Args)]
struct BacktestFlags {
    #[command(flatten)]
    flags: Flags,
    /// The policy that is tried
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    /// First day on which it is tried (YYYY-MM-DD); from the first record where it is left out
    #[arg(long, value_name = "DATE", value_parser = date)]
    from: Option<Date>,
    /// Last day on which it is tried
    #[arg(long, value_name = "DATE", value_parser = date)]
    to: Option<Date>,
    /// What becomes of sales that only the tried policy approves
    #[arg(long, value_enum, default_value = "as-billed")]
    assume: Assume,
    /// As JSON; docs/backtest.md has its names
    #[arg(long)]
    json: bool,
}

fn date(text: &str) -> Result<Date, String> {
    Date::parse(text).ok_or_else(|| "a date such as 2026-11-01 is expected".to_owned())
}

#[derive(Args)]
#[group(id = "which", required = true, multiple = false, args = ["authorization_id", "order", "approval_code"])]
struct ExplainFlags {
    #[command(flatten)]
    flags: Flags,
    /// As it was answered: `aut_…`
    #[arg(value_parser = authorization_id)]
    authorization_id: Option<AuthorizationId>,
    /// The latest decision of this order
    #[arg(long, num_args = 2, value_names = ["MERCHANT_ID", "ORDER_ID"])]
    order: Option<Vec<String>>,
    /// The latest decision with this approval code
    #[arg(long, value_name = "CODE", value_parser = approval_code)]
    approval_code: Option<[u8; 6]>,
    /// As JSON
    #[arg(long)]
    json: bool,
    /// In Japanese (`ja`) or in English (`en`)
    #[arg(long, default_value = "en", value_parser = ["ja", "en"])]
    lang: String,
}

fn authorization_id(text: &str) -> Result<AuthorizationId, &'static str> {
    AuthorizationId::parse(text).ok_or("an id such as `aut_3g000000000fwh476q75499da2` is expected")
}

fn approval_code(text: &str) -> Result<[u8; 6], &'static str> {
    text.as_bytes().try_into().map_err(|_| "six characters such as `4K7P2Q` are expected")
}

/// The merchant and the order id.
fn order_key(words: &[String]) -> Result<OrderKey, String> {
    let [merchant, order_id] = words else { return Err("--order takes a merchant id and an order id".to_owned()) };
    let merchant = MerchantId::new(merchant).map_err(|bad| format!("the merchant id {bad}"))?;
    let order_id = OrderId::new(order_id).map_err(|bad| format!("the order id {bad}"))?;
    Ok(OrderKey { merchant, order_id })
}

#[derive(Subcommand)]
enum LedgerCommand {
    /// As the owner of the tables: `ledger.url` (SOKKETSU_LEDGER__URL) names that role
    #[command(after_help = "It may be run again at any time, and beside a service that runs.")]
    Migrate(Flags),
}

#[derive(Subcommand)]
enum ClusterCommand {
    /// As the owner of the tables: `journal.url` (SOKKETSU_JOURNAL__URL) names that role
    #[command(after_help = "Journal and ledger are in the same database. It may be run again at any time.")]
    Init(Flags),
    /// Check policy, holidays and merchants, and make them those of all nodes
    #[command(after_help = "As a role that was granted sokketsu_operator, or as the owner of the tables.")]
    Apply(ApplyFlags),
    /// Who owns, who lives, who confirms; exit 0 if somebody owns every stream, else 75
    Status(StatusFlags),
    /// Have another node own the journal, so that this one can be stopped
    #[command(after_help = "As a role that was granted sokketsu_operator, or as the owner of the tables.")]
    Drain(DrainFlags),
    /// Move the journal of a stopped service by its bytes, out of files or into files, and compare every record
    Move(MoveFlags),
}

#[derive(Args)]
#[group(required = true, multiple = false, args = ["to_database", "to_files"])]
struct MoveFlags {
    #[command(flatten)]
    flags: Flags,
    /// Out of DATA/journal into the table, as the owner of the tables
    #[arg(long)]
    to_database: bool,
    /// Out of the table into DATA/journal
    #[arg(long)]
    to_files: bool,
}

#[derive(Args)]
struct DrainFlags {
    #[command(flatten)]
    flags: Flags,
    /// Its name, as `sokketsu cluster status` shows it
    node: String,
    /// It may own the journal again
    #[arg(long)]
    undo: bool,
    /// Although no other node lives that would take over
    #[arg(long)]
    force: bool,
}

#[derive(Args)]
struct StatusFlags {
    #[command(flatten)]
    flags: Flags,
    /// As JSON; docs/cluster.md has its names
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct ApplyFlags {
    #[command(flatten)]
    flags: Flags,
    /// The credit team's rules, in place of `policy.file`
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Days on which banks are closed, in place of `holidays.file`
    #[arg(long, value_name = "FILE")]
    holidays: Option<PathBuf>,
    /// Merchants to be set, a line each: JSON as `PUT /v1/merchants/{merchant_id}` answers it
    #[arg(long, value_name = "FILE")]
    merchants: Option<PathBuf>,
}

fn main() -> ExitCode {
    // Whatever a command makes is its owner's alone: records, keys, secrets.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors; a usage error is 64 in sysexits.
            let code = if error.use_stderr() { 64 } else { 0 };
            return if error.print().is_ok() { ExitCode::from(code) } else { ExitCode::from(74) };
        }
    };
    start_log();
    end_on_a_bug();
    match cli.command {
        Command::Serve(flags) => serve_command(&flags),
        Command::CheckConfig(flags) => match Config::load(&flags) {
            Ok(config) => said(&config.summary(), 0),
            Err(error) => config_error(&error),
        },
        Command::Verify(flags) => verify_command(&flags),
        Command::Explain(flags) => explain_command(&flags),
        Command::Backtest(flags) => backtest_command(&flags),
        Command::Policy(PolicyCommand::Diff { one, other }) => diff_command(&one, &other),
        Command::Ledger(LedgerCommand::Migrate(flags)) => migrate_command(&flags),
        Command::Cluster(ClusterCommand::Init(flags)) => init_command(&flags),
        Command::Cluster(ClusterCommand::Apply(apply)) => apply_command(apply),
        Command::Cluster(ClusterCommand::Drain(flags)) => drain_command(flags),
        Command::Cluster(ClusterCommand::Move(flags)) => move_command(&flags),
        Command::Cluster(ClusterCommand::Status(StatusFlags { flags, json })) => status_command(&flags, json),
        Command::Keys(command) => match keys::run(&command, Clock::system().now()) {
            Ok(text) => said(&text, 0),
            Err(error) => failed(&error.to_string(), error.exit_code()),
        },
    }
}

/// JSON lines on standard error; `SOKKETSU_LOG` is read by the subscriber as a filter such as `info` or `debug`.
fn start_log() {
    let filter = tracing_subscriber::EnvFilter::builder()
        .with_default_directive(tracing::level_filters::LevelFilter::INFO.into())
        .with_env_var("SOKKETSU_LOG")
        .from_env_lossy();
    tracing_subscriber::fmt().json().with_writer(std::io::stderr).with_env_filter(filter).init();
}

/// A failed assertion is a bug: say where, and end with the exit code for it, whichever thread it was.
fn end_on_a_bug() {
    std::panic::set_hook(Box::new(|panic| {
        tracing::error!(%panic, "a bug; stopping");
        std::process::exit(70);
    }));
}

/// The one place that prints. A closed pipe is not worth a failure.
fn said(text: &str, code: u8) -> ExitCode {
    let mut out = std::io::stdout().lock();
    drop(writeln!(out, "{text}").and_then(|()| out.flush()));
    ExitCode::from(code)
}

fn failed(text: &str, code: u8) -> ExitCode {
    drop(writeln!(std::io::stderr(), "sokketsu: {text}"));
    ExitCode::from(code)
}

fn config_error(error: &ConfigError) -> ExitCode {
    failed(&error.to_string(), error.exit_code())
}

fn serve_command(flags: &Flags) -> ExitCode {
    let config = match Config::load(flags) {
        Ok(config) => config,
        Err(error) => return config_error(&error),
    };
    let say = |text: &str| {
        said(text, 0);
    };
    match serve(config, flags.sandbox_start, &say) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error.to_string(), error.exit_code()),
    }
}

fn migrate_command(flags: &Flags) -> ExitCode {
    let records = match Records::load(flags) {
        Ok(records) => records,
        Err(error) => return config_error(&error),
    };
    match migrate(&records, Clock::system().now()) {
        Ok(done) => said(&done, 0),
        Err(error) => failed(&format!("the ledger: {error}"), ledger_exit(&error)),
    }
}

fn init_command(flags: &Flags) -> ExitCode {
    let records = match Records::load(flags) {
        Ok(records) => records,
        Err(error) => return config_error(&error),
    };
    done(cluster::init(&records, flags.sandbox, Clock::system().now(), || Shared::load(flags)))
}

/// What is named is written, and where nothing is, policy and holidays of the configuration.
fn apply_command(ApplyFlags { flags, policy, holidays, merchants }: ApplyFlags) -> ExitCode {
    let merchants = match merchants.as_deref().map(cluster::merchants::read).transpose() {
        Ok(merchants) => merchants,
        Err(wrong) => return failed(&wrong, 78),
    };
    let is_all = policy.is_none() && holidays.is_none() && merchants.is_none();
    let (has_policy, has_holidays) = (is_all || policy.is_some(), is_all || holidays.is_some());
    if has_policy || has_holidays {
        let applied = match Shared::load(&Flags { policy, holidays, ..flags.clone() }) {
            Ok(shared) => cluster::apply(&shared, has_policy, has_holidays),
            Err(error) => return config_error(&error),
        };
        match applied {
            Ok(text) if merchants.is_none() => return said(&text, 0),
            Ok(text) => drop(said(&text, 0)),
            Err(error) => return failed(&error.to_string(), cluster::exit_code(&error)),
        }
    }
    match Records::load(&flags) {
        Ok(records) => done(cluster::apply_merchants(&records, &merchants.unwrap_or_default())),
        Err(error) => config_error(&error),
    }
}

fn status_command(flags: &Flags, as_json: bool) -> ExitCode {
    let records = match Records::load(flags) {
        Ok(records) => records,
        Err(error) => return config_error(&error),
    };
    match cluster::status(&records, as_json) {
        Ok((text, is_owned)) => said(&text, if is_owned { 0 } else { 75 }),
        Err(error) => failed(&error.to_string(), cluster::exit_code(&error)),
    }
}

fn drain_command(DrainFlags { flags, node, undo, force }: DrainFlags) -> ExitCode {
    let records = match Records::load(&flags) {
        Ok(records) => records,
        Err(error) => return config_error(&error),
    };
    done(drain::drain(&records, &Drain { node, undo, force }))
}

fn move_command(MoveFlags { flags, to_database, .. }: &MoveFlags) -> ExitCode {
    let records = match Records::load(flags) {
        Ok(records) => records,
        Err(error) => return config_error(&error),
    };
    let mut say = |text: String| drop(writeln!(std::io::stderr(), "{text}"));
    let moved = if *to_database {
        moving::to_database(&records, &mut say)
    } else {
        moving::to_files(&records, Clock::system().now(), &mut say)
    };
    done(moved)
}

/// What a command of the cluster has to say.
fn done(said_or_not: Result<String, ServeError>) -> ExitCode {
    match said_or_not {
        Ok(text) => said(&text, 0),
        Err(error) => failed(&error.to_string(), cluster::exit_code(&error)),
    }
}

/// Once a million records.
fn tell_progress() -> impl FnMut(Lsn, Lsn) {
    let mut told = 0;
    move |at, of| {
        if at.0 >= told + 1_000_000 {
            told = at.0;
            drop(writeln!(std::io::stderr(), "record {at} of {of}"));
        }
    }
}

fn read_policy(path: &Path) -> Result<String, ExitCode> {
    std::fs::read_to_string(path).map_err(|error| failed(&format!("{}: {error}", path.display()), 78))
}

fn diff_command(one: &Path, other: &Path) -> ExitCode {
    let (one_text, other_text) = match (read_policy(one), read_policy(other)) {
        (Ok(one), Ok(other)) => (one, other),
        (Err(code), _) | (_, Err(code)) => return code,
    };
    for (path, text) in [(one, &one_text), (other, &other_text)] {
        if let Err(error) = Trial::of(text) {
            return failed(&format!("{}: {error}", path.display()), 78);
        }
    }
    match diff(&one_text, &other_text) {
        Ok(lines) if lines.is_empty() => said("nothing changes", 0),
        Ok(lines) => said(&lines.join("\n"), 0),
        Err(error) => failed(&error.to_string(), 78),
    }
}

fn backtest_command(asked: &BacktestFlags) -> ExitCode {
    if matches!((asked.from, asked.to), (Some(from), Some(to)) if to < from) {
        return failed("--to is before --from", 64);
    }
    let text = match read_policy(&asked.policy) {
        Ok(text) => text,
        Err(code) => return code,
    };
    let trial = match Trial::of(&text) {
        Ok(trial) => Trial { from: asked.from, to: asked.to, assume: asked.assume, ..trial },
        Err(error) => return failed(&format!("{}: {error}", asked.policy.display()), 78),
    };
    let records = match Records::load(&asked.flags) {
        Ok(records) => records,
        Err(error) => return config_error(&error),
    };
    match backtest(&records, trial, &mut tell_progress()) {
        Ok(report) if asked.json => said(&format!("{:#}", report.json()), 0),
        Ok(report) => said(&report.to_string(), 0),
        Err(error) => not_whole(error),
    }
}

/// Why a journal was not played from its first record on.
fn not_whole(error: WholeError) -> ExitCode {
    match error {
        WholeError::NoJournal(error) => failed(&error.to_string(), 78),
        WholeError::Journal(error) => {
            let error = ServeError::Journal(error);
            failed(&error.to_string(), cluster::exit_code(&error))
        }
        error => failed(&error.to_string(), 65),
    }
}

fn explain_command(asked: &ExplainFlags) -> ExitCode {
    let records = match Records::load(&asked.flags) {
        Ok(records) => records,
        Err(error) => return config_error(&error),
    };
    let which = match (asked.authorization_id, asked.approval_code, &asked.order) {
        (Some(id), ..) => Which::Id(id),
        (_, Some(code), _) => Which::ApprovalCode(code),
        (.., order) => match order_key(order.as_deref().unwrap_or_default()) {
            Ok(key) => Which::Key(key),
            Err(wrong) => return failed(&wrong, 64),
        },
    };
    match explain_decision(&records, which, &mut tell_progress()) {
        Ok(report) => {
            let code = if report.differs.is_empty() { 0 } else { 65 };
            if !asked.json {
                return said(&explain::text(&report, asked.lang == "ja"), code);
            }
            match serde_json::to_string_pretty(&report) {
                Ok(json) => said(&json, code),
                Err(error) => failed(&error.to_string(), 70),
            }
        }
        Err(error @ ExplainError::Unknown) => failed(&error.to_string(), 64),
        Err(ExplainError::Whole(error)) => not_whole(error),
    }
}

fn verify_command(flags: &Flags) -> ExitCode {
    let records = match Records::load(flags) {
        Ok(records) => records,
        Err(error) => return config_error(&error),
    };
    let mut progress = tell_progress();
    match verify(&records, &mut progress) {
        Ok(report) => said(&report.to_string(), if report.agrees() { 0 } else { 65 }),
        Err(error @ VerifyError::NoJournal(_)) => failed(&error.to_string(), 78),
        Err(VerifyError::Journal(error)) => {
            let error = ServeError::Journal(error);
            failed(&error.to_string(), cluster::exit_code(&error))
        }
        Err(VerifyError::Ledger(error)) => failed(&format!("the ledger: {error}"), ledger_exit(&error)),
        Err(error) => failed(&error.to_string(), 65),
    }
}

//! Sokketsu beside others that take the same decision, and beside itself with more customers: figures for
//! `docs/performance.md`.

mod peers;
mod scale;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use loadtest::output::{print, write, write_json};

/// The books of somebody differ from the answers.
const BOOKS_DIFFER: u8 = 1;
/// The run could not be made.
const FAILED: u8 = 2;
const EXIT_CODES: &str = "\
Exit codes: 0 all is well; 1 somebody's books differ from the answers; 2 the run could not be made; 64 usage.";

/// Measurements side by side, in alternating rounds of one run
#[derive(Parser)]
#[command(version, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Sokketsu beside a bare hyper, Redis and PostgreSQL; loadtest/compare/run installs and builds what it needs
    Peers(peers::Options),
    /// How memory, start-up time and throughput grow with the number of customers
    Scale(scale::Options),
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { 64 } else { 0 };
            return if error.print().is_ok() { ExitCode::from(code) } else { ExitCode::from(FAILED) };
        }
    };
    let is_right = match &cli.command {
        Command::Peers(options) => compare(options),
        Command::Scale(options) => grow(options),
    };
    match is_right {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(BOOKS_DIFFER),
        Err(error) => {
            eprintln!("compare: {error:#}");
            ExitCode::from(FAILED)
        }
    }
}

/// Sokketsu beside its peers; whether all books agree.
fn compare(options: &peers::Options) -> Result<bool> {
    let table = peers::run(options)?;
    write_json(options.json.as_ref(), &table)?;
    let page = table.render();
    write(options.markdown.as_ref(), &page)?;
    print(&page);
    Ok(table.books_agree())
}

/// How cost grows with the number of customers; whether all books agree.
fn grow(options: &scale::Options) -> Result<bool> {
    let sizes = scale::run(options)?;
    write_json(options.json.as_ref(), &sizes)?;
    let page = scale::table(&sizes);
    write(options.markdown.as_ref(), &page)?;
    write(options.svg.as_ref(), &scale::picture(&sizes))?;
    print(&page);
    Ok(scale::books_agree(&sizes))
}

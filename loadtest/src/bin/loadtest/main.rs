//! Load for Sokketsu: what it does under a schedule that does not wait for it, how much it can do, and whether its
//! books are what it answered. It shares no code with it.

mod audit;
mod books;
mod cli;
mod game;
mod html;
mod lag;
mod overload;
mod profile;
mod report;
mod session;
mod slo;
mod stair;
mod switch;
mod text;
mod year;

use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use loadtest::output::{print, write, write_json};

use cli::{Capacity, Cli, Command, Output, Run, Shape, Smoke, Year};
use profile::{Mode, Profile, Stair};
use report::{Report, Verdict};
use session::{Loop, Session};

/// The run could not be made.
const FAILED: u8 = 2;
const SMOKE: &str = include_str!("../../../../config/load/smoke.toml");
const OVERLOAD: &str = include_str!("../../../../config/load/overload-10x.toml");

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { 64 } else { 0 };
            return if error.print().is_ok() { ExitCode::from(code) } else { ExitCode::from(FAILED) };
        }
    };
    let report = match &cli.command {
        Command::Run(run) => open(run),
        Command::Capacity(capacity) => closed(capacity),
        Command::Overload(options) => overload_and_back(options),
        Command::Smoke(smoke) => smoke_test(smoke),
        Command::Year(options) => live(options),
        Command::Switch(options) => switch(options),
    };
    match report {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("loadtest: {error:#}");
            ExitCode::from(FAILED)
        }
    }
}

/// What was given on the command line stands above the profile.
fn shape(profile: &mut Profile, shape: &Shape, is_from_file: bool) {
    let mode = if shape.prepare_codes { Some(Mode::Authorize) } else { shape.mode };
    profile.mode = mode.unwrap_or(profile.mode);
    if let Some(mix) = shape.mix {
        profile.mix = mix.mix();
        if profile.mode == Mode::Authorize {
            // Each customer has one code, and buys once.
            profile.mix.used_code = 0.0;
        }
    } else if !is_from_file && profile.mode != Mode::Pair {
        profile.mix = profile::Mix::PLAIN;
    }
    profile.connections = shape.connections.unwrap_or(profile.connections);
    profile.pipeline = shape.pipeline.unwrap_or(profile.pipeline);
    profile.warmup_seconds = shape.warmup.unwrap_or(profile.warmup_seconds);
    profile.timeout_ms = shape.timeout_ms.unwrap_or(profile.timeout_ms);
    profile.customers = shape.customers.unwrap_or(profile.customers);
    profile.zipf = shape.zipf.unwrap_or(profile.zipf);
    profile.merchants = shape.merchants.unwrap_or(profile.merchants);
}

fn open(run: &Run) -> Result<u8> {
    let mut profile = match &run.profile {
        Some(file) => Profile::load(file)?,
        None => {
            let rate = run.rate.context("--rate or --profile")?;
            let steps = vec![Stair { rate, seconds: run.seconds }];
            Profile { name: format!("{rate} a second"), steps, ..Profile::default() }
        }
    };
    shape(&mut profile, &run.shape, run.profile.is_some());
    profile.spacing = run.schedule.unwrap_or(profile.spacing);
    for stair in &mut profile.steps {
        stair.rate *= run.scale_rate;
        stair.seconds *= run.scale_time;
    }
    profile.check()?;
    ensure!(!profile.steps.is_empty(), "the profile has no [[step]]");
    let session = Session::open(&run.place, &run.output, &profile, run.shape.seed)?;
    tell(&session.run(profile, Loop::Open, run.capacity)?, &run.output)
}

fn closed(capacity: &Capacity) -> Result<u8> {
    let steps = vec![Stair { rate: 0.0, seconds: capacity.seconds }];
    let mut profile = Profile { name: "capacity".to_owned(), steps, ..Profile::default() };
    shape(&mut profile, &capacity.shape, false);
    profile.check()?;
    let session = Session::open(&capacity.place, &capacity.output, &profile, capacity.shape.seed)?;
    tell(&session.run(profile, Loop::Closed, None)?, &capacity.output)
}

fn overload_and_back(options: &cli::Overload) -> Result<u8> {
    let mut profile: Profile = toml::from_str(OVERLOAD).context("config/load/overload-10x.toml")?;
    shape(&mut profile, &options.shape, true);
    profile.name = format!("overload, {} times the peak", options.times);
    let [normal, overload, after] = profile.steps.as_mut_slice() else {
        bail!("config/load/overload-10x.toml: 3 steps")
    };
    overload.rate = options.times;
    overload.seconds = options.seconds;
    normal.seconds = options.normal_seconds;
    after.seconds = options.normal_seconds;
    profile.check()?;
    let session = Session::open(&options.place, &options.output, &profile, options.shape.seed)?;
    let mut report = session.run(profile, Loop::Open, options.capacity)?;
    report.judge_overload()?;
    tell(&report, &options.output)
}

fn smoke_test(smoke: &Smoke) -> Result<u8> {
    let mut profile: Profile = toml::from_str(SMOKE).context("config/load/smoke.toml")?;
    for stair in &mut profile.steps {
        stair.seconds = smoke.seconds;
    }
    profile.check()?;
    let session = Session::open(&smoke.place, &smoke.output, &profile, 1)?;
    tell(&session.run(profile, Loop::Open, None)?, &smoke.output)
}

/// One customer's year.
fn live(options: &Year) -> Result<u8> {
    let tale = year::run(options)?;
    write_json(options.json.as_ref(), &tale)?;
    print(&tale.render(options.quiet));
    Ok(if tale.adds_up() { 0 } else { Verdict::BooksDiffer.exit_code() })
}

/// The network's side of the link.
fn switch(options: &switch::Options) -> Result<u8> {
    let report = switch::run(options)?;
    write_json(options.json.as_ref(), &report)?;
    print(&report.render());
    Ok(if report.agrees() { 0 } else { Verdict::BooksDiffer.exit_code() })
}

/// Writes the report, and gives the exit code.
fn tell(report: &Report, output: &Output) -> Result<u8> {
    write_json(output.json.as_ref(), report)?;
    write(output.html.as_ref(), &html::render(report))?;
    print(&text::render(report));
    Ok(report.verdict.exit_code())
}

//! Load for Sokketsu: what it does under a schedule that does not wait for it, how much it can do, and whether its
//! books are what it answered. It shares no code with it.

mod audit;
mod books;
mod bulk;
mod cli;
mod clock;
mod crowd;
mod drive;
mod game;
mod html;
mod http;
mod iso;
mod json;
mod lag;
mod latency;
mod message;
mod overload;
mod peers;
mod probe;
mod profile;
mod report;
mod scale;
mod schedule;
mod server;
mod session;
mod setup;
mod sign;
mod slo;
mod stats;
mod switch;
mod text;
mod tls;
mod wire;
mod year;

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;

use cli::{Capacity, Cli, Command, Output, Peers, Run, Scale, Shape, Smoke, Year};
use overload::Overload;
use profile::{Mode, Profile, Stair};
use report::{Report, Verdict};
use session::{Loop, Session};

/// The run could not be made.
const FAILED: u8 = 2;
const SMOKE: &str = include_str!("../../config/load/smoke.toml");
const OVERLOAD: &str = include_str!("../../config/load/overload-10x.toml");

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
        Command::Peers(options) => compare(options),
        Command::Scale(options) => grow(options),
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
    (overload.rate, overload.seconds) = (options.times, options.seconds);
    (normal.seconds, after.seconds) = (options.normal_seconds, options.normal_seconds);
    profile.check()?;
    let session = Session::open(&options.place, &options.output, &profile, options.shape.seed)?;
    let mut report = session.run(profile, Loop::Open, options.capacity)?;
    Overload::judge(&mut report)?;
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

/// Sokketsu beside its peers.
fn compare(options: &Peers) -> Result<u8> {
    let table = peers::run(options)?;
    if let Some(file) = &options.json {
        let text = serde_json::to_string_pretty(&table)?;
        std::fs::write(file, text).with_context(|| format!("write {}", file.display()))?;
    }
    let page = table.render();
    if let Some(file) = &options.markdown {
        std::fs::write(file, &page).with_context(|| format!("write {}", file.display()))?;
    }
    print(&page);
    Ok(if table.books_agree() { 0 } else { Verdict::BooksDiffer.exit_code() })
}

/// How cost grows with the number of customers.
fn grow(options: &Scale) -> Result<u8> {
    let sizes = scale::run(options)?;
    if let Some(file) = &options.json {
        let text = serde_json::to_string_pretty(&sizes)?;
        std::fs::write(file, text).with_context(|| format!("write {}", file.display()))?;
    }
    let page = scale::table(&sizes);
    for (file, text) in [(&options.markdown, &page), (&options.svg, &scale::picture(&sizes))] {
        if let Some(file) = file {
            std::fs::write(file, text).with_context(|| format!("write {}", file.display()))?;
        }
    }
    print(&page);
    Ok(if scale::books_agree(&sizes) { 0 } else { Verdict::BooksDiffer.exit_code() })
}

/// One customer's year.
fn live(options: &Year) -> Result<u8> {
    let tale = year::run(options)?;
    if let Some(file) = &options.json {
        let text = serde_json::to_string_pretty(&tale)?;
        std::fs::write(file, text).with_context(|| format!("write {}", file.display()))?;
    }
    print(&tale.render(options.quiet));
    Ok(if tale.adds_up() { 0 } else { Verdict::BooksDiffer.exit_code() })
}

/// The network's side of the link.
fn switch(options: &switch::Options) -> Result<u8> {
    let report = switch::run(options)?;
    if let Some(file) = &options.json {
        let text = serde_json::to_string_pretty(&report)?;
        std::fs::write(file, text).with_context(|| format!("write {}", file.display()))?;
    }
    print(&report.render());
    Ok(if report.agrees() { 0 } else { Verdict::BooksDiffer.exit_code() })
}

/// Writes the report, and gives the exit code.
fn tell(report: &Report, output: &Output) -> Result<u8> {
    if let Some(file) = &output.json {
        let text = serde_json::to_string_pretty(report)?;
        std::fs::write(file, text).with_context(|| format!("write {}", file.display()))?;
    }
    if let Some(file) = &output.html {
        std::fs::write(file, html::render(report)).with_context(|| format!("write {}", file.display()))?;
    }
    print(&text::render(report));
    Ok(report.verdict.exit_code())
}

fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    // A closed pipe is not worth a failure.
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).ok();
}

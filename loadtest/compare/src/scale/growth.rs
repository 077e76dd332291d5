//! Whether growing shows: sales at a fixed rate, alone, and while new customers are made on another connection.

use anyhow::{Context, Result, anyhow, ensure};
use serde::Serialize;

use super::Options;
use super::calls::{Call, Pace, at_pace};
use super::sales::{Sales, Sample};
use super::site::Site;
use loadtest::clock::{Clock, SECOND, from_seconds};
use loadtest::crowd::LIMIT;
use loadtest::http::{Requests, Role};
use loadtest::latency::Percentiles;
use loadtest::probe::Probe;
use loadtest::setup::{said, standing};
use loadtest::wire::Answer;

/// Of the sales.
const CONNECTIONS: usize = 64;
/// Played before what is measured, s.
const WARMUP: f64 = 1.0;

/// How long sales took, and the disk meanwhile: a slow disk and a slow server look alike.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Sold {
    /// From the intended moment.
    pub latency: Percentiles,
    /// `fdatasync` of 4 KiB beside the data, some twenty a second.
    pub disk: Percentiles,
}

/// The same sales twice.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Growth {
    /// Sales a second.
    pub rate: f64,
    pub alone: Sold,
    pub growing: Sold,
    /// Customers made meanwhile, and how many a second.
    pub created: u64,
    pub created_per_s: f64,
}

/// The office's calls that make customers.
struct Births {
    requests: Requests,
    run: String,
    body: String,
}

impl Call for Births {
    fn write(&mut self, number: u64, out: &mut Vec<u8>) {
        let path = format_args!("/v1/customers/{}-{number}", self.run);
        self.requests.send(out, "PUT", Role::Office, path, self.body.as_bytes());
    }

    fn read(&mut self, _number: u64, answer: Answer<'_>) -> Result<()> {
        ensure!(matches!(answer.status, 200 | 201), "make a customer: {}", said(answer.status, answer.body));
        Ok(())
    }
}

pub fn measure(options: &Options, site: &Site, run: &str, next: &mut u64, sample: &mut Sample) -> Result<Growth> {
    let target = site.target()?;
    let rate = options.growth_rate;
    let pace = Pace { connections: CONNECTIONS, rate, warmup: WARMUP, seconds: options.growth_seconds };
    let mut sell = |next: &mut u64| {
        let mut sales = Sales::online(site, run, sample)?;
        let clock = Clock::start();
        let probe = Probe::start(Some(&site.data()), clock, from_seconds(WARMUP), SECOND)?;
        let (latencies, after) = at_pace(&target.http, pace, &mut sales, *next)?;
        *next = after;
        let disk = probe.stop()?.disk.context("the disk was not probed")?;
        Ok::<_, anyhow::Error>(Sold { latency: latencies.percentiles(), disk })
    };
    let alone = sell(next)?;
    site.settle()?;
    let mut births = Births { requests: target.requests.clone(), run: run.to_owned(), body: standing(LIMIT) };
    let created_per_s = options.growth_customers;
    let its_pace = Pace { connections: 1, rate: created_per_s, ..pace };
    let (growing, created) = std::thread::scope(|scope| {
        let births = scope.spawn(|| at_pace(&target.admin, its_pace, &mut births, 0));
        let growing = sell(next)?;
        let (_, created) = births.join().map_err(|_| anyhow!("the thread that makes customers panicked"))??;
        Ok::<_, anyhow::Error>((growing, created))
    })?;
    site.settle()?;
    Ok(Growth { rate, alone, growing, created, created_per_s })
}

//! The customers of one size, made and sold to before anything is measured.

use std::time::Instant;

use anyhow::{Result, ensure};

use super::CONNECTIONS;
use super::calls::as_fast_as_answered;
use super::sales::{Sales, Sample};
use super::site::{Filled, Site, customer_id};
use loadtest::bulk::bulk;
use loadtest::crowd::LIMIT;
use loadtest::http::Role;
use loadtest::setup::{said, standing};

/// Customers between two lines of progress.
const LINE: usize = 500_000;
/// Sales between two notes of how many there are.
const TURN: u64 = 250_000;

/// Makes the customers by the office's calls and sells to them, unless a call before has; the server runs
/// afterwards.
pub fn fill(site: &mut Site, customers: u32, orders: u64, run: &str, is_quiet: bool) -> Result<Filled> {
    let mut filled = match site.noted()? {
        Some(filled) => {
            site.start()?;
            filled
        }
        None => make(site, customers, is_quiet)?,
    };
    ensure!(filled.customers == customers, "{} customers are there, {customers} asked for", filled.customers);
    while filled.orders < orders {
        let mut sample = Sample::none(u64::from(customers));
        let turn = filled.orders..orders.min(filled.orders + TURN);
        let mut sales = Sales::online(site, run, &mut sample)?;
        as_fast_as_answered(&site.target()?.http, CONNECTIONS, &mut sales, turn.clone())?;
        filled.orders = turn.end;
    }
    site.settle()?;
    site.note(&filled)?;
    Ok(filled)
}

fn make(site: &mut Site, customers: u32, is_quiet: bool) -> Result<Filled> {
    let began = Instant::now();
    let empty_bytes = site.start()?.resident_bytes;
    let target = site.target()?;
    let body = standing(LIMIT);
    let write = |at: usize, out: &mut Vec<u8>| {
        let path = format_args!("/v1/customers/{}", customer_id(at as u64));
        target.requests.send(out, "PUT", Role::Office, path, body.as_bytes());
    };
    let mut done = 0_usize;
    bulk(&target.admin, usize::try_from(customers)?, write, |_, answer| {
        ensure!(matches!(answer.status, 200 | 201), "make a customer: {}", said(answer.status, answer.body));
        done += 1;
        if done.is_multiple_of(LINE) && !is_quiet {
            eprintln!("  {done} customers after {:.0} s", began.elapsed().as_secs_f64());
        }
        Ok(())
    })?;
    site.settle()?;
    let took_s = began.elapsed().as_secs_f64();
    Ok(Filled { customers, empty_bytes, idle_bytes: site.resident()?, took_s, orders: 0 })
}

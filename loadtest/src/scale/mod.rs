//! How memory, start-up time and throughput grow with the number of customers.

mod site;

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use crate::bulk::bulk;
use crate::cli::Scale;
use crate::crowd::Code;
use crate::game::Decided;
use crate::http::{Role, put};
use crate::json::text;
use crate::setup::said;
use site::{Filled, MERCHANT, Site, Start, customer_id};

/// A prime above any number of customers: stepping by it visits all of them once, in no order that helps a cache.
const STRIDE: u64 = 2_654_435_761;
/// Codes that are prepared at once, far fewer than can be sold within their life.
const TURN: u64 = 300_000;
/// The smallest amount, yen; every round over all customers buys another basket.
const LEAST_AMOUNT: u64 = 1_000;
/// Customers whose exposure is compared with the answers.
const SAMPLE: u64 = 10_000;

/// What was found at one size.
#[derive(Serialize)]
pub struct Size {
    filled: Filled,
    orders: u64,
    /// Decisions a second, 128 requests under way, the codes prepared.
    decisions_per_s: f64,
    after_stop: Start,
    after_kill: Start,
    sampled: u64,
    differences: u64,
}

/// A sale: who buys, for how many yen.
fn sale(order: u64, customers: u64) -> (u64, u64) {
    (order * STRIDE % customers, LEAST_AMOUNT + order / customers)
}

/// Sells to these orders, and gives the seconds that the authorizations took.
fn sell(site: &Site, run: &str, from: u64, count: u64, customers: u64) -> Result<f64> {
    let (target, count) = (site.target()?, usize::try_from(count)?);
    let mut codes = vec![Code::default(); count];
    let mut body = Vec::new();
    let issue = |at: usize, out: &mut Vec<u8>| {
        body.clear();
        let (customer, _) = sale(from + at as u64, customers);
        put(&mut body, format_args!("{{\"customer_id\":\"{}\"}}", customer_id(customer)));
        target.requests.send(out, "POST", Role::Wallet, format_args!("/v1/codes"), &body);
    };
    bulk(&target.http, count, issue, |at, answer| {
        ensure!(answer.status == 201, "issue a code: {}", said(answer.status, answer.body));
        let code = text(answer.body, b"barcode").and_then(Code::new).context("an issued code")?;
        codes.get_mut(at).map(|place| *place = code).context("a code that was asked for")
    })?;
    let line = target.requests.line(Role::Register, "/v1/authorizations");
    let mut body = Vec::new();
    let buy = |at: usize, out: &mut Vec<u8>| {
        body.clear();
        let order = from + at as u64;
        let (code, amount) = (codes.get(at).map_or("", Code::as_str), sale(order, customers).1);
        put(
            &mut body,
            format_args!(
                "{{\"order_id\":\"{run}-{order}\",\"code\":\"{code}\",\"entry_mode\":\"barcode\",\"amount\":{amount},\
                 \"merchant\":{{\"id\":\"{MERCHANT}\"}}}}"
            ),
        );
        line.send(out, &body);
    };
    let began = Instant::now();
    bulk(&target.http, count, buy, |_, answer| {
        let decided = Decided::read(answer.body).with_context(|| said(answer.status, answer.body))?;
        ensure!(decided.decision == "approved", "{} is {:?}", decided.order_id, decided.reason);
        Ok(())
    })?;
    Ok(began.elapsed().as_secs_f64())
}

/// Measures one size on its own data.
fn measure(options: &Scale, site: &mut Site, filled: Filled) -> Result<Size> {
    let customers = u64::from(filled.customers);
    let sample: Vec<u64> = (0..SAMPLE.min(customers)).map(|at| at * STRIDE % customers).collect();
    let before = site.owed(&sample)?;
    let run = format!("S{:x}", jiff::Timestamp::now().as_microsecond());
    let (mut sold, mut seconds) = (0, 0.0);
    while sold < options.orders {
        let turn = TURN.min(customers).min(options.orders - sold);
        seconds += sell(site, &run, sold, turn, customers)?;
        sold += turn;
    }
    site.settle()?;
    site.stop()?;
    let after_stop = site.start()?;
    site.kill();
    let after_kill = site.start()?;
    // The orders of the run went over all customers in turns; those of the sample are counted from the answers.
    let mut owed: std::collections::HashMap<u64, u64> = std::collections::HashMap::new();
    for order in 0..sold {
        let (customer, amount) = sale(order, customers);
        *owed.entry(customer).or_default() += amount;
    }
    let after = site.owed(&sample)?;
    let agrees =
        |(customer, (before, after)): (&u64, (&u64, &u64))| before + owed.get(customer).copied().unwrap_or(0) == *after;
    let agreeing = sample.iter().zip(before.iter().zip(&after)).filter(|all| agrees(*all)).count();
    site.stop()?;
    Ok(Size {
        filled,
        orders: sold,
        decisions_per_s: sold as f64 / seconds,
        after_stop,
        after_kill,
        sampled: sample.len() as u64,
        differences: sample.len() as u64 - agreeing as u64,
    })
}

/// Makes the run.
pub fn run(options: &Scale) -> Result<Vec<Size>> {
    options.check()?;
    let temporary = tempfile::tempdir()?;
    let parent = options.data.as_deref().unwrap_or(temporary.path());
    let mut sizes = Vec::new();
    for customers in &options.customers {
        if !options.quiet {
            eprintln!("{customers} customers");
        }
        let mut site = Site::new(options, &parent.join(customers.to_string()))?;
        let filled = site.fill(*customers, options.quiet)?;
        if options.fill {
            site.stop()?;
        } else {
            sizes.push(measure(options, &mut site, filled)?);
        }
    }
    Ok(sizes)
}

pub fn books_agree(sizes: &[Size]) -> bool {
    sizes.iter().all(|size| size.differences == 0)
}

/// As text that is Markdown too.
pub fn render(sizes: &[Size]) -> String {
    let mut page = "| customers | bytes each, all included | above an empty server | retained orders | decisions/s | start after a stop, s | after kill -9, s | customers audited, wrong |\n\
                    |--:|--:|--:|--:|--:|--:|--:|--:|\n"
        .to_owned();
    for size in sizes {
        let Filled { customers, empty_bytes, idle_bytes, .. } = size.filled;
        let each = |bytes: u64| bytes as f64 / f64::from(customers);
        page += &format!(
            "| {customers} | {:.0} | {:.0} | {} | {:.0} | {:.1} | {:.1} | {}, {} |\n",
            each(idle_bytes),
            each(idle_bytes.saturating_sub(empty_bytes)),
            size.orders,
            size.decisions_per_s,
            size.after_stop.seconds,
            size.after_kill.seconds,
            size.sampled,
            size.differences
        );
    }
    page
}

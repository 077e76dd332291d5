//! The sales of a size: who buys, how the register asks, and what the answers come to.

use std::collections::HashMap;
use std::ops::Range;

use anyhow::{Context, Result, ensure};

use super::calls::Call;
use super::site::{MERCHANT, Site, customer_id};
use loadtest::bulk::bulk;
use loadtest::bytes::put;
use loadtest::crowd::Code;
use loadtest::decided::Decided;
use loadtest::http::{Line, Role};
use loadtest::json::text;
use loadtest::setup::said;
use loadtest::wire::Answer;

/// A prime above any number of customers: stepping by it visits all of them once, in no order that helps a cache.
const STRIDE: u64 = 2_654_435_761;
/// The smallest amount, yen; every round over all customers buys another basket.
const LEAST_AMOUNT: u64 = 1_000;
/// Customers whose exposure is compared with the answers.
const SAMPLE: u64 = 10_000;

/// Who buys by an order, and for how many yen.
pub fn sale(order: u64, customers: u64) -> (u64, u64) {
    (order * STRIDE % customers, LEAST_AMOUNT + order / customers)
}

/// What a sample of the customers must owe.
pub struct Sample {
    customers: u64,
    /// By customer: yen owed before, and by the answers since.
    owed: HashMap<u64, u64>,
}

impl Sample {
    pub fn take(site: &Site, customers: u64) -> Result<Self> {
        let sample: Vec<u64> = (0..SAMPLE.min(customers)).map(|at| at * STRIDE % customers).collect();
        let owed = site.owed(&sample)?;
        Ok(Self { customers, owed: sample.into_iter().zip(owed).collect() })
    }

    /// Of nobody.
    pub fn none(customers: u64) -> Self {
        Self { customers, owed: HashMap::new() }
    }

    /// An approval was answered.
    pub fn add(&mut self, order: u64) {
        let (customer, amount) = sale(order, self.customers);
        if let Some(owed) = self.owed.get_mut(&customer) {
            *owed += amount;
        }
    }

    pub fn len(&self) -> u64 {
        self.owed.len() as u64
    }

    /// How many owe something else.
    pub fn wrong(&self, site: &Site) -> Result<u64> {
        let (sample, expected): (Vec<u64>, Vec<u64>) = self.owed.iter().unzip();
        let found = site.owed(&sample)?;
        Ok(found.iter().zip(&expected).filter(|(found, expected)| found != expected).count() as u64)
    }
}

/// How the customer is named.
enum Payer {
    /// By codes, of the orders from this one on.
    Codes { first: u64, codes: Vec<Code> },
    /// By id, online.
    Id,
}

/// Authorizations, all of which must be approved.
pub struct Sales<'s> {
    run: &'s str,
    customers: u64,
    payer: Payer,
    line: Line,
    body: Vec<u8>,
    pub sample: &'s mut Sample,
}

impl<'s> Sales<'s> {
    /// Online, without codes.
    pub fn online(site: &Site, run: &'s str, sample: &'s mut Sample) -> Result<Self> {
        let line = site.target()?.requests.line(Role::Register, "/v1/authorizations");
        Ok(Self { run, customers: sample.customers, payer: Payer::Id, line, body: Vec::new(), sample })
    }

    /// In a shop, with codes that are issued now.
    pub fn prepared(site: &Site, run: &'s str, orders: Range<u64>, sample: &'s mut Sample) -> Result<Self> {
        let codes = issue(site, orders.clone(), sample.customers)?;
        let payer = Payer::Codes { first: orders.start, codes };
        Ok(Self { payer, ..Self::online(site, run, sample)? })
    }
}

/// A code for each of these orders' customers.
fn issue(site: &Site, orders: Range<u64>, customers: u64) -> Result<Vec<Code>> {
    let target = site.target()?;
    let count = usize::try_from(orders.end - orders.start)?;
    let mut codes = vec![Code::default(); count];
    let mut body = Vec::new();
    let line = target.requests.line(Role::Wallet, "/v1/codes");
    let ask = |at: usize, out: &mut Vec<u8>| {
        body.clear();
        let (customer, _) = sale(orders.start + at as u64, customers);
        put(&mut body, format_args!("{{\"customer_id\":\"{}\"}}", customer_id(customer)));
        line.send(out, &body);
    };
    bulk(&target.http, count, ask, |at, answer| {
        ensure!(answer.status == 201, "issue a code: {}", said(answer.status, answer.body));
        let code = text(answer.body, b"barcode").and_then(Code::new).context("an issued code")?;
        codes.get_mut(at).map(|place| *place = code).context("a code that was asked for")
    })?;
    Ok(codes)
}

impl Call for Sales<'_> {
    fn write(&mut self, order: u64, out: &mut Vec<u8>) {
        let (customer, amount) = sale(order, self.customers);
        let run = self.run;
        let body = &mut self.body;
        body.clear();
        put(body, format_args!("{{\"order_id\":\"{run}-{order}\",\"amount\":{amount},"));
        put(body, format_args!("\"merchant\":{{\"id\":\"{MERCHANT}\"}},"));
        match &self.payer {
            Payer::Codes { first, codes } => {
                let at = usize::try_from(order - first).unwrap_or(usize::MAX);
                let code = codes.get(at).map_or("", Code::as_str);
                put(body, format_args!("\"entry_mode\":\"barcode\",\"code\":\"{code}\"}}"));
            }
            Payer::Id => {
                put(body, format_args!("\"channel\":\"online\",\"customer_id\":\"{}\"}}", customer_id(customer)));
            }
        }
        self.line.send(out, body);
    }

    fn read(&mut self, order: u64, answer: Answer<'_>) -> Result<()> {
        approved(answer)?;
        self.sample.add(order);
        Ok(())
    }
}

/// The id of an approval; anything else is an error.
fn approved(answer: Answer<'_>) -> Result<&str> {
    let decided = Decided::read(answer.body).with_context(|| said(answer.status, answer.body))?;
    ensure!(decided.decision == "approved", "{} is {:?}", decided.order_id, decided.reason);
    Ok(decided.authorization_id)
}

/// Sales in whose middle the server is killed.
pub struct Interrupted<'s> {
    sales: Sales<'s>,
    site: &'s mut Site,
    /// After so many answers.
    kill_after: usize,
    /// Order and authorization id.
    answered: Vec<(u64, Box<str>)>,
    /// The first order that was never sent.
    end: u64,
}

/// What the books said after the kill.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Interruption {
    /// Sales answered before the kill. Each was asked about.
    pub answered: u64,
    /// Sent and not answered; these may be there or not.
    pub unanswered: u64,
    /// Answered, and not in the books as answered.
    pub missing: u64,
}

impl<'s> Interrupted<'s> {
    pub fn new(sales: Sales<'s>, site: &'s mut Site, orders: &Range<u64>) -> Result<Self> {
        let kill_after = usize::try_from((orders.end - orders.start) / 2)?;
        Ok(Self { sales, site, kill_after, answered: Vec::new(), end: orders.start })
    }

    /// Starts the server again; gives how long that took, and what became of the sales from `first` on.
    pub fn recover(self, first: u64) -> Result<(super::site::Start, Interruption)> {
        let Self { sales: Sales { run, sample, .. }, site, answered, end, .. } = self;
        let answered: HashMap<u64, Box<str>> = answered.into_iter().collect();
        let count = usize::try_from(end - first)?;
        ensure!(answered.len() < count, "the kill came after the last answer: give more customers");
        let start = site.start()?;
        let target = site.target()?;
        let mut missing = 0;
        let ask = |at: usize, out: &mut Vec<u8>| {
            let order = first + at as u64;
            let path = format_args!("/v1/authorizations?merchant_id={MERCHANT}&order_id={run}-{order}");
            target.requests.get(out, Role::Register, path);
        };
        bulk(&target.http, count, ask, |at, answer| {
            let order = first + at as u64;
            let told = answered.get(&order);
            if answer.status == 404 {
                missing += u64::from(told.is_some());
                return Ok(());
            }
            let id = approved(answer)?;
            missing += u64::from(told.is_some_and(|told| **told != *id));
            // What was not answered and is there is owed too.
            sample.add(order);
            Ok(())
        })?;
        let unanswered = count as u64 - answered.len() as u64;
        Ok((start, Interruption { answered: answered.len() as u64, unanswered, missing }))
    }
}

impl Call for Interrupted<'_> {
    fn write(&mut self, order: u64, out: &mut Vec<u8>) {
        self.end = self.end.max(order + 1);
        self.sales.write(order, out);
    }

    fn read(&mut self, order: u64, answer: Answer<'_>) -> Result<()> {
        self.answered.push((order, Box::from(approved(answer)?)));
        if self.answered.len() == self.kill_after {
            self.site.kill();
        }
        Ok(())
    }

    fn may_break(&self) -> bool {
        self.answered.len() >= self.kill_after
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_customer_buys_once_a_round_and_each_round_another_basket() {
        let customers = 1_000;
        for round in 0..3 {
            let mut all: Vec<u64> = (0..customers).map(|at| sale(round * customers + at, customers).0).collect();
            assert_ne!(all[..3], [0, 1, 2], "in no order that helps a cache");
            all.sort_unstable();
            assert_eq!(all, (0..customers).collect::<Vec<_>>());
            let amounts: Vec<u64> = (0..customers).map(|at| sale(round * customers + at, customers).1).collect();
            assert!(amounts.iter().all(|amount| *amount == 1_000 + round));
        }
    }

    #[test]
    fn a_sample_owes_what_was_answered() {
        let mut sample = Sample { customers: 100, owed: HashMap::from([(0, 5), (sale(7, 100).0, 0)]) };
        for order in 0..250 {
            sample.add(order);
        }
        assert_eq!((sample.owed[&0], sample.len()), (5 + 1_000 + 1_001 + 1_002, 2));
        assert_eq!(sample.owed[&sale(7, 100).0], 1_000 + 1_001 + 1_002);
    }
}

//! How memory, start-up time and throughput grow with the number of customers.

mod calls;
mod fill;
mod growth;
mod options;
mod picture;
mod sales;
mod site;
mod table;

use anyhow::Result;
use serde::Serialize;

use calls::as_fast_as_answered;
use growth::Growth;
pub use options::Options;
use sales::{Interrupted, Interruption, Sales, Sample};
use site::{Filled, Site, Start};

pub use picture::render as picture;
pub use table::render as table;

/// Keep-alive connections of the closed loop, one request on each.
const CONNECTIONS: usize = 64;
/// Rounds of the closed loop. Each size has a turn in each, so that the machine's drift meets all of them.
const ROUNDS: u64 = 5;
/// Sales with a code that are under way when the server is killed half-way, if there are so many customers.
const INTERRUPTED: u64 = 40_000;

/// What was found at one size.
#[derive(Debug, Serialize)]
pub struct Size {
    filled: Filled,
    /// Orders that it starts with again.
    orders: u64,
    /// Decisions a second, round by round.
    rounds: Vec<f64>,
    /// Of the sales in these, answered with 503 and made again.
    turned_away: u64,
    /// Of the stop, s.
    stop_s: f64,
    after_stop: Start,
    growth: Option<Growth>,
    interruption: Interruption,
    after_kill: Start,
    /// Customers whose exposure was compared with the answers, and how many of them owe something else.
    sampled: u64,
    wrong: u64,
}

/// A size under way.
struct Course {
    site: Site,
    filled: Filled,
    customers: u64,
    sample: Sample,
    /// The next order.
    next: u64,
    rounds: Vec<f64>,
    turned_away: u64,
}

impl Course {
    fn new(site: Site, filled: Filled) -> Result<Self> {
        let customers = u64::from(filled.customers);
        let sample = Sample::take(&site, customers)?;
        Ok(Self { site, customers, sample, next: filled.orders, filled, rounds: Vec::new(), turned_away: 0 })
    }

    /// Sells so often in a closed loop, each customer once at most before the codes are issued anew, and notes the
    /// decisions a second.
    fn round(&mut self, run: &str, sales: u64) -> Result<()> {
        let mut left = sales;
        let mut seconds = 0.0;
        while left > 0 {
            let orders = self.next..self.next + left.min(self.customers);
            let mut calls = Sales::prepared(&self.site, run, orders.clone(), &mut self.sample)?;
            // What the codes left for the ledger to do is not part of the turn.
            self.site.settle()?;
            let took = as_fast_as_answered(&self.site.target()?.http, CONNECTIONS, &mut calls, orders.clone())?;
            seconds += took.seconds;
            self.turned_away += took.turned_away;
            left -= orders.end - orders.start;
            self.next = orders.end;
        }
        self.rounds.push(sales as f64 / seconds);
        // Nor is what they left part of the next one's.
        self.site.settle()
    }

    /// Kills the server in the middle of sales; gives its next start, and what the books say of those sales.
    fn interrupt(&mut self, run: &str) -> Result<(Start, Interruption)> {
        let orders = self.next..self.next + INTERRUPTED.min(self.customers);
        self.next = orders.end;
        let to = self.site.target()?.http.clone();
        let sales = Sales::prepared(&self.site, run, orders.clone(), &mut self.sample)?;
        let mut calls = Interrupted::new(sales, &mut self.site, &orders)?;
        as_fast_as_answered(&to, CONNECTIONS, &mut calls, orders.clone())?;
        calls.recover(orders.start)
    }

    /// Stops, starts, lets it grow, kills it, and audits.
    fn finish(mut self, options: &Options, run: &str) -> Result<Size> {
        let orders = self.next;
        let stop_s = self.site.stop()?;
        let after_stop = self.site.start()?;
        let growth = match options.growth_seconds {
            0.0 => None,
            _ => Some(growth::measure(options, &self.site, run, &mut self.next, &mut self.sample)?),
        };
        let (after_kill, interruption) = self.interrupt(run)?;
        let sampled = self.sample.len();
        let wrong = self.sample.wrong(&self.site)?;
        self.site.stop()?;
        let (filled, rounds, turned_away) =
            (Filled { orders: self.next, ..self.filled }, self.rounds, self.turned_away);
        self.site.note(&filled)?;
        Ok(Size {
            filled,
            orders,
            rounds,
            turned_away,
            stop_s,
            after_stop,
            growth,
            interruption,
            after_kill,
            sampled,
            wrong,
        })
    }
}

/// Makes the run.
pub fn run(options: &Options) -> Result<Vec<Size>> {
    options.check()?;
    let temporary = tempfile::tempdir()?;
    let parent = options.data.as_deref().unwrap_or(temporary.path());
    let say = |text: String| {
        if !options.quiet {
            eprintln!("{text}");
        }
    };
    let run = format!("S{:x}", jiff::Timestamp::now().as_microsecond());
    let mut courses = Vec::new();
    for customers in &options.customers {
        say(format!("{customers} customers"));
        let mut site = Site::new(options, &parent.join(customers.to_string()))?;
        let filled = fill::fill(&mut site, *customers, options.orders, &run, options.quiet)?;
        if options.fill {
            site.stop()?;
        } else {
            courses.push(Course::new(site, filled)?);
        }
    }
    for round in 1..=ROUNDS {
        for course in &mut courses {
            course.round(&run, options.sales.div_ceil(ROUNDS))?;
            let last = course.rounds.last().copied().unwrap_or(0.0);
            say(format!("round {round}: {} customers, {last:.0} decisions/s", course.customers));
        }
    }
    courses.into_iter().map(|course| course.finish(options, &run)).collect()
}

pub fn books_agree(sizes: &[Size]) -> bool {
    sizes.iter().all(|size| size.wrong == 0 && size.interruption.missing == 0)
}

impl Size {
    fn customers(&self) -> f64 {
        f64::from(self.filled.customers)
    }

    /// Resident bytes of an idle customer, the whole process included.
    fn bytes_each(&self) -> f64 {
        self.filled.idle_bytes as f64 / self.customers()
    }

    /// Median of the rounds.
    fn decisions_per_s(&self) -> f64 {
        median(self.rounds.clone())
    }

    /// Resident bytes that each customer adds to those of a smaller size.
    fn slope(&self, smaller: &Self) -> f64 {
        (self.filled.idle_bytes as f64 - smaller.filled.idle_bytes as f64) / (self.customers() - smaller.customers())
    }

    /// Median over the rounds of this size's decisions a second over those of another.
    fn over(&self, other: &Self) -> f64 {
        median(self.rounds.iter().zip(&other.rounds).map(|(mine, theirs)| mine / theirs).collect())
    }
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    let low = all.get(all.len().saturating_sub(1) / 2);
    let high = all.get(all.len() / 2);
    low.zip(high).map_or(0.0, |(low, high)| f64::midpoint(*low, *high))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A size with these figures, for the tests of what is made of them.
    pub fn size(customers: u32, idle_bytes: u64, rounds: &[f64], start_s: f64) -> Size {
        let start = Start { seconds: start_s, resident_bytes: idle_bytes };
        Size {
            filled: Filled { customers, empty_bytes: 20_000_000, idle_bytes, took_s: 1.0, orders: 1_000 },
            orders: 1_300,
            rounds: rounds.to_vec(),
            turned_away: 0,
            stop_s: 0.1,
            after_stop: start,
            growth: None,
            interruption: Interruption { answered: 500, unanswered: 64, missing: 0 },
            after_kill: Start { seconds: start_s * 2.0, ..start },
            sampled: 1_000,
            wrong: 0,
        }
    }

    #[test]
    fn memory_is_told_whole_and_as_what_each_customer_adds() {
        let (small, large) = (size(1_000, 25_000_000, &[], 0.1), size(1_001_000, 175_000_000, &[], 1.0));
        assert!((small.bytes_each() - 25_000.0).abs() < 1e-9);
        assert!((large.slope(&small) - 150.0).abs() < 1e-9);
    }

    #[test]
    fn ratios_are_those_of_each_round() {
        let (a, b) = (size(1_000, 1, &[100.0, 50.0, 10.0], 0.1), size(2_000, 1, &[90.0, 55.0, 9.5], 0.1));
        assert!((b.over(&a) - 0.95).abs() < 1e-9);
        assert!((a.decisions_per_s() - 50.0).abs() < 1e-9);
        assert!((median(vec![4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
        assert!(median(Vec::new()).abs() < 1e-9);
    }

    #[test]
    fn a_missing_sale_and_a_wrong_exposure_are_both_differences() {
        let good = || size(1_000, 1, &[1.0], 0.1);
        assert!(books_agree(&[good(), good()]));
        assert!(!books_agree(&[good(), Size { wrong: 1, ..good() }]));
        let interruption = Interruption { missing: 1, ..good().interruption };
        assert!(!books_agree(&[Size { interruption, ..good() }]));
    }
}

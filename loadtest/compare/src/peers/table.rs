//! What the run found: figures of each peer over the rounds, and how Sokketsu compares round by round.

use std::fmt::Write;

use serde::Serialize;

use super::play::Turn;
use super::{Books, Kind, Options};

/// Median, least and most.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl Spread {
    /// `None` of nothing. An infinite value sorts last.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<_> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let lower = values.get((values.len() - 1) / 2)?;
        let upper = values.get(values.len() / 2)?;
        // Of an even number, the mean of the two in the middle.
        Some(Self { median: f64::midpoint(*lower, *upper), min, max })
    }

    fn text(self, digits: usize) -> String {
        format!("{:.digits$} [{:.digits$}-{:.digits$}]", self.median, self.min, self.max)
    }
}

/// What was answered and what was written down.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Audit {
    pub answered: Books,
    pub found: Books,
}

#[derive(Serialize)]
struct Row {
    kind: Kind,
    connections: usize,
    /// By round.
    closed: Vec<Turn>,
    open: Vec<Turn>,
    audit: Option<Audit>,
    summary: Option<Summary>,
}

/// A row as it is printed.
#[derive(Clone, Debug, Serialize)]
struct Summary {
    decisions_per_s: Option<Spread>,
    /// Decisions a second of Sokketsu over those of this one, round by round.
    sokketsu_over_it: Option<Spread>,
    /// p99 at the rate of Sokketsu over that of this one, round by round.
    open_p99_over_it: Option<Spread>,
}

#[derive(Serialize)]
pub struct Table {
    version: &'static str,
    started_at: String,
    command: String,
    processors: usize,
    kernel: String,
    customers: u32,
    rounds: usize,
    seconds: f64,
    rate: Option<f64>,
    rows: Vec<Row>,
}

fn ratios(over: &[Turn], under: &[Turn], value: impl Fn(&Turn) -> f64) -> Option<Spread> {
    Spread::of(over.iter().zip(under).map(|(over, under)| value(over) / value(under)))
}

/// ms; what was never answered is infinitely slow.
fn p99(turn: &Turn) -> f64 {
    turn.latency.p99_ms.unwrap_or(f64::INFINITY)
}

impl Table {
    pub fn new(options: &Options, seats: Vec<(Kind, usize)>) -> Self {
        let row = |(kind, connections)| Row {
            kind,
            connections,
            closed: Vec::new(),
            open: Vec::new(),
            audit: None,
            summary: None,
        };
        Self {
            version: env!("CARGO_PKG_VERSION"),
            started_at: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            command: std::env::args().skip(1).collect::<Vec<_>>().join(" "),
            processors: std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
            kernel: std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
            customers: options.customers,
            rounds: options.rounds,
            seconds: options.seconds,
            rate: options.rate,
            rows: seats.into_iter().map(row).collect(),
        }
    }

    /// Rounds come in order.
    pub fn add(&mut self, seat: usize, turn: Turn) {
        let Some(row) = self.rows.get_mut(seat) else { return };
        if turn.rate.is_some() { row.open.push(turn) } else { row.closed.push(turn) }
    }

    pub fn audit(&mut self, seat: usize, answered: Books, found: Books) {
        if let Some(row) = self.rows.get_mut(seat) {
            row.audit = Some(Audit { answered, found });
        }
    }

    pub fn books_agree(&self) -> bool {
        self.rows.iter().filter_map(|row| row.audit).all(|audit| audit.answered == audit.found)
    }

    /// Computes what is printed.
    pub fn sum_up(&mut self) {
        let (closed, open) = self
            .rows
            .iter()
            .find(|row| row.kind == Kind::Sokketsu)
            .map(|row| (row.closed.clone(), row.open.clone()))
            .unwrap_or_default();
        for row in &mut self.rows {
            row.summary = Some(Summary {
                decisions_per_s: Spread::of(row.closed.iter().map(|turn| turn.decisions_per_s)),
                sokketsu_over_it: ratios(&closed, &row.closed, |turn| turn.decisions_per_s),
                open_p99_over_it: ratios(&open, &row.open, p99),
            });
        }
    }

    /// As text that is a Markdown page too.
    pub fn render(&self) -> String {
        let mut page = String::new();
        // A string takes everything.
        self.write(&mut page).ok();
        page
    }

    fn write(&self, page: &mut String) -> std::fmt::Result {
        writeln!(page, "# Sokketsu beside its peers, {}\n", self.started_at)?;
        writeln!(
            page,
            "{} rounds, {} s each, {} customers, one generator, {} processors, Linux {}. Each figure is the median over \
             the rounds [least-most]; a ratio is taken round by round.\n",
            self.rounds, self.seconds, self.customers, self.processors, self.kernel
        )?;
        writeln!(page, "## As fast as it answers (closed loop)\n")?;
        let ratio = |summary: &Summary| summary.sokketsu_over_it;
        self.section(page, "decisions/s", "Sokketsu over it", |row| &row.closed, ratio)?;
        if let Some(rate) = self.rate {
            writeln!(page, "\n## At {rate} decisions/s (open loop, latency from the intended time)\n")?;
            self.section(
                page,
                "decisions/s",
                "Sokketsu's p99 over its",
                |row| &row.open,
                |summary| summary.open_p99_over_it,
            )?;
        }
        writeln!(page, "\n## Books\n")?;
        for row in &self.rows {
            let Some(Audit { answered, found }) = row.audit else { continue };
            let verdict = if answered == found { "agree" } else { "DIFFER" };
            writeln!(
                page,
                "- {}: {} decisions answered, {} found; {} yen approved, {} found: they {verdict}",
                row.kind.name(),
                answered.records,
                found.records,
                answered.exposure,
                found.exposure
            )?;
        }
        Ok(())
    }

    fn section<'a>(
        &'a self,
        page: &mut String,
        rate: &str,
        ratio: &str,
        turns: impl Fn(&'a Row) -> &'a [Turn],
        compared: impl Fn(&Summary) -> Option<Spread>,
    ) -> std::fmt::Result {
        let cells = |cells: [&str; 10]| {
            format!(
                "| {:<27} | {:>5} | {:>22} | {:>23} | {:>9} | {:>9} | {:>9} | {:>15} | {:>14} | {:>12} |",
                cells[0], cells[1], cells[2], cells[3], cells[4], cells[5], cells[6], cells[7], cells[8], cells[9]
            )
        };
        let head = [
            "",
            "conns",
            rate,
            ratio,
            "p50 ms",
            "p99 ms",
            "p99.9 ms",
            "disk p50/p99 ms",
            "busy, steal %",
            "generator µs",
        ];
        writeln!(page, "{}", cells(head))?;
        writeln!(page, "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|")?;
        for row in &self.rows {
            let turns = turns(row);
            let over = |value: &dyn Fn(&Turn) -> f64| Spread::of(turns.iter().map(value));
            let ms = |value: fn(&Turn) -> Option<f64>| {
                over(&|turn| value(turn).unwrap_or(f64::INFINITY))
                    .map_or_else(String::new, |all| format!("{:.3}", all.median))
            };
            let median = |value: &dyn Fn(&Turn) -> f64| over(value).map_or(0.0, |all| all.median);
            let ratio = row.summary.as_ref().and_then(&compared);
            let line = [
                row.kind.name().to_owned(),
                row.connections.to_string(),
                over(&|turn| turn.decisions_per_s).map_or_else(String::new, |all| all.text(0)),
                ratio.filter(|_| row.kind != Kind::Sokketsu).map_or_else(String::new, |all| all.text(2)),
                ms(|turn| turn.latency.p50_ms),
                ms(|turn| turn.latency.p99_ms),
                ms(|turn| turn.latency.p999_ms),
                format!("{} / {}", ms(|turn| turn.disk.p50_ms), ms(|turn| turn.disk.p99_ms)),
                format!("{:.0}, {:.2}", median(&|turn| turn.busy * 100.0), median(&|turn| turn.steal * 100.0)),
                format!("{:.1}", median(&|turn| turn.generator_us)),
            ];
            writeln!(page, "{}", cells(line.each_ref().map(String::as_str)))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_whatever_the_order() {
        assert_eq!(Spread::of([]), None);
        assert_eq!(Spread::of([3.0]), Some(Spread { median: 3.0, min: 3.0, max: 3.0 }));
        assert_eq!(Spread::of([5.0, 1.0, 2.0]), Some(Spread { median: 2.0, min: 1.0, max: 5.0 }));
        assert_eq!(Spread::of([4.0, 1.0, 2.0, 10.0]), Some(Spread { median: 3.0, min: 1.0, max: 10.0 }));
        let never = Spread::of([1.0, f64::INFINITY, 2.0]).unwrap();
        assert_eq!((never.median, never.max), (2.0, f64::INFINITY));
        assert_eq!(Spread::of([0.5, 0.25]).unwrap().text(2), "0.38 [0.25-0.50]");
    }
}

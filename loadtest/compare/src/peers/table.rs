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
    /// p99 at the rate of this one over that of a one-row commit, round by round: of commits at any moment, and of one
    /// after the other.
    open_p99_over_a_commit: Vec<f64>,
    open_p99_over_back_to_back: Vec<f64>,
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

/// Round by round.
fn ratios(over: &[Turn], under: &[Turn], value: impl Fn(&Turn) -> f64) -> Vec<f64> {
    over.iter().zip(under).map(|(over, under)| value(over) / value(under)).collect()
}

/// ms; what was never answered is infinitely slow.
fn p99(turn: &Turn) -> f64 {
    turn.latency.p99_ms.unwrap_or(f64::INFINITY)
}

impl Table {
    pub fn new(options: &Options, kinds: impl Iterator<Item = Kind>) -> Self {
        let row = |kind| Row { kind, closed: Vec::new(), open: Vec::new(), audit: None, summary: None };
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
            rows: kinds.map(row).collect(),
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

    /// Whom the others are compared with: Sokketsu, in files if it takes part so.
    fn ours(&self) -> Option<Kind> {
        let is_there = |kind: &Kind| self.rows.iter().any(|row| row.kind == *kind);
        [Kind::Sokketsu, Kind::SokketsuCluster, Kind::SokketsuAtRest].into_iter().find(is_there)
    }

    /// The turns of one of them.
    fn turns(&self, kind: Option<Kind>) -> (Vec<Turn>, Vec<Turn>) {
        let row = self.rows.iter().find(|row| Some(row.kind) == kind);
        row.map(|row| (row.closed.clone(), row.open.clone())).unwrap_or_default()
    }

    /// Computes what is printed.
    pub fn sum_up(&mut self) {
        let ((closed, open), (in_turn, commits)) = (self.turns(self.ours()), self.turns(Some(Kind::Commit)));
        for row in &mut self.rows {
            row.summary = Some(Summary {
                decisions_per_s: Spread::of(row.closed.iter().map(|turn| turn.decisions_per_s)),
                sokketsu_over_it: Spread::of(ratios(&closed, &row.closed, |turn| turn.decisions_per_s)),
                open_p99_over_it: Spread::of(ratios(&open, &row.open, p99)),
                open_p99_over_a_commit: ratios(&row.open, &commits, p99),
                open_p99_over_back_to_back: ratios(&row.open, &in_turn, p99),
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
        if self.rows.iter().any(|row| !row.closed.is_empty()) {
            writeln!(page, "## As fast as it answers (closed loop)\n")?;
            let ratio = |summary: &Summary| summary.sokketsu_over_it;
            self.section(page, "decisions/s", "Sokketsu over it", |row| &row.closed, ratio)?;
        }
        if let Some(rate) = self.rate {
            writeln!(page, "\n## At {rate} decisions/s (open loop, latency from the intended time)\n")?;
            self.section(
                page,
                "decisions/s",
                "Sokketsu's p99 over its",
                |row| &row.open,
                |summary| summary.open_p99_over_it,
            )?;
            self.over_a_commit(page)?;
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

    /// How many commits of the cluster's own an answer takes, by the slowest percent of both.
    fn over_a_commit(&self, page: &mut String) -> std::fmt::Result {
        if self.rows.iter().all(|row| row.kind != Kind::Commit || row.open.is_empty()) {
            return Ok(());
        }
        writeln!(page, "\n## p99 over that of a one-row commit in the same round\n")?;
        writeln!(page, "| | a commit at any moment | by round | one commit after the other | by round |")?;
        writeln!(page, "|---|--:|---|--:|---|")?;
        for row in self.rows.iter().filter(|row| row.kind != Kind::Commit) {
            let Some(summary) = &row.summary else { continue };
            write!(page, "| {:<27} |", row.kind.name())?;
            for ratios in [&summary.open_p99_over_a_commit, &summary.open_p99_over_back_to_back] {
                let spread = Spread::of(ratios.iter().copied()).map_or_else(String::new, |all| all.text(2));
                let rounds: Vec<_> = ratios.iter().map(|ratio| format!("{ratio:.2}")).collect();
                write!(page, " {spread:>16} | {} |", rounds.join(" · "))?;
            }
            writeln!(page)?;
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
        let ours = self.ours();
        for row in self.rows.iter().filter(|row| !turns(row).is_empty()) {
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
                turns.first().map_or(0, |turn| turn.connections).to_string(),
                over(&|turn| turn.decisions_per_s).map_or_else(String::new, |all| all.text(0)),
                ratio.filter(|_| Some(row.kind) != ours).map_or_else(String::new, |all| all.text(2)),
                ms(|turn| turn.latency.p50_ms),
                ms(|turn| turn.latency.p99_ms),
                ms(|turn| turn.latency.p999_ms),
                format!("{} / {}", ms(|turn| turn.disk.p50_ms), ms(|turn| turn.disk.p99_ms)),
                format!("{:.0}, {:.2}", median(&|turn| turn.busy * 100.0), median(&|turn| turn.steal * 100.0)),
                format!("{:.1}", median(&|turn| turn.generator_us)),
            ];
            writeln!(page, "{}", cells(line.each_ref().map(String::as_str)))?;
        }
        for row in &self.rows {
            let refused: u64 = turns(row).iter().map(|turn| turn.refused).sum();
            if refused > 0 {
                writeln!(page, "\n{}: {refused} answers were 503 and asked for again.", row.kind.name())?;
            }
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

//! What was played and what came of it, as text and as JSON.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;

use super::books::Audit;
use super::line::Account;
use super::stage::Notes;
use super::story::{Kind, story};
use super::{KINDS, Options};
use crate::books::Differences;
use loadtest::figures::{count, ms};
use loadtest::latency::Percentiles;

/// What the players bring home.
pub struct Played {
    pub notes: Notes,
    pub told: BTreeMap<Kind, u64>,
    pub stories: usize,
    pub seconds: f64,
}

#[derive(Serialize)]
struct Line {
    kind: &'static str,
    played: u64,
    wrong: u64,
}

#[derive(Serialize)]
pub struct Report {
    seed: u64,
    seconds: f64,
    stories_per_s: f64,
    messages: u64,
    messages_per_s: f64,
    kinds: Vec<Line>,
    /// Of purchases and holds, from the first sending to the decision.
    sales: Percentiles,
    turned_away: u64,
    sent_again: u64,
    garbage: u64,
    connections: u64,
    echoes_answered: u64,
    sign_offs_answered: u64,
    audit: Audit,
    differences: u64,
    first_differences: Vec<String>,
}

impl Report {
    pub(super) fn new(
        options: &Options,
        played: Played,
        accounts: &[Account],
        books: Differences,
        audit: Audit,
    ) -> Self {
        let Played { notes, told, seconds, stories } = played;
        let mut wrong = Differences::default();
        let mut wrong_by = BTreeMap::<Kind, u64>::new();
        let deck = options.deck();
        for (number, text) in &notes.wrong {
            let kind = story(options.seed, *number, &deck).kind;
            *wrong_by.entry(kind).or_default() += 1;
            wrong.add(|| format!("story {number}, {}: {text}", kind.name()));
        }
        // A wrong answer comes first: what is wrong in the books may only follow from it.
        wrong.count += books.count;
        wrong.first.extend(books.first);
        let line = |kind: Kind, name| {
            let of = |counts: &BTreeMap<Kind, u64>| counts.get(&kind).copied().unwrap_or(0);
            Line { kind: name, played: of(&told), wrong: of(&wrong_by) }
        };
        let sum = |of: fn(&Account) -> u64| accounts.iter().map(of).sum();
        Self {
            seed: options.seed,
            seconds,
            stories_per_s: stories as f64 / seconds,
            messages: notes.messages,
            messages_per_s: notes.messages as f64 / seconds,
            kinds: KINDS.iter().map(|(kind, name, _)| line(*kind, name)).collect(),
            sales: notes.latencies.percentiles(),
            turned_away: notes.turned_away,
            sent_again: notes.sent_again,
            garbage: notes.garbage,
            connections: sum(|account| account.connections),
            echoes_answered: sum(|account| account.echoes_answered),
            sign_offs_answered: sum(|account| account.sign_offs_answered),
            audit,
            differences: wrong.count,
            first_differences: wrong.first,
        }
    }

    pub fn agrees(&self) -> bool {
        self.differences == 0
    }

    pub fn render(&self) -> String {
        let mut out = String::new();
        let mut line = |text: String| {
            // Writing to a string can't fail.
            writeln!(out, "{text}").ok();
        };
        line(format!("{:<28}{:>8}{:>8}", "story", "played", "wrong"));
        for Line { kind, played, wrong } in self.kinds.iter().filter(|line| line.played > 0) {
            line(format!("{kind:<28}{:>8}{:>8}", count(*played), count(*wrong)));
        }
        line(format!(
            "\nseed {}: {:.1} s, {:.0} stories/s, {} messages, {:.0}/s",
            self.seed,
            self.seconds,
            self.stories_per_s,
            count(self.messages),
            self.messages_per_s
        ));
        let Percentiles { p50_ms, p90_ms, p99_ms, max_ms, .. } = self.sales;
        line(format!(
            "sales       {}: p50 {} p90 {} p99 {} max {} ms, until they were decided",
            count(self.sales.count),
            ms(p50_ms),
            ms(p90_ms),
            ms(p99_ms),
            ms(max_ms)
        ));
        line(format!(
            "lines       {} connections made; {} messages lost theirs and were sent again, {} answered 91 and sent again; \
             {} damaged messages; {} echo tests and {} sign-offs of the service answered",
            count(self.connections),
            count(self.sent_again),
            count(self.turned_away),
            count(self.garbage),
            self.echoes_answered,
            self.sign_offs_answered
        ));
        let in_ledger = self.audit.in_ledger.map_or_else(
            || "ledger not looked at".to_owned(),
            |found| format!("{} decisions in the ledger", count(found)),
        );
        line(format!(
            "audit       {} orders, {in_ledger}; {} customers owe {} yen; {} differences",
            count(self.audit.orders),
            count(self.audit.customers),
            count(self.audit.exposure_yen),
            count(self.differences)
        ));
        for difference in &self.first_differences {
            line(format!("  {difference}"));
        }
        line(if self.agrees() { "The books are what the network was told." } else { "They DIFFER." }.to_owned());
        out
    }
}

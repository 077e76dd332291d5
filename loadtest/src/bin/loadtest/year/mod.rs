//! The whole life of one customer over a year: a story with its own arithmetic, played on a sandbox of its own, and the
//! sums that must come out of it to the yen.

mod calls;
mod diary;
mod purse;
mod site;
mod story;
mod sums;

use std::fmt::Write;

use anyhow::Result;
use serde::Serialize;

use crate::cli::Year;
use diary::{Diary, Entry};
use loadtest::figures::count;
use site::Site;
use sums::Sum;

/// What was played and what came of it.
#[derive(Serialize)]
pub struct Tale {
    entries: Vec<Entry>,
    /// Days at whose end everything was compared.
    days: u32,
    sums: Vec<Sum>,
    /// Answers and figures that were not as expected.
    differences: Vec<String>,
}

pub fn run(options: &Year) -> Result<Tale> {
    let site = Site::start(options, &format!("{}+09:00", story::BORN))?;
    let mut diary = Diary::new(site, story::BORN)?;
    story::play(&mut diary)?;
    let sums = sums::compare(&mut diary)?;
    let Diary { entries, days, differences, .. } = diary;
    Ok(Tale { entries, days, sums, differences })
}

impl Tale {
    pub fn adds_up(&self) -> bool {
        self.differences.is_empty() && self.days == story::DAYS && self.sums.iter().all(Sum::agrees)
    }

    pub fn render(&self, is_brief: bool) -> String {
        let mut out = String::new();
        let mut line = |text: String| {
            // Writing to a string can't fail.
            writeln!(out, "{text}").ok();
        };
        if !is_brief {
            line(format!(
                "{:<17}{:<72}{:>9}{:>10}{:>8}{:>8}{:>10}{:>6}",
                "when", "what", "yen", "exposure", "owed", "credit", "in store", "rung"
            ));
            for entry in &self.entries {
                let Entry { at, what, amount, figures } = entry;
                let sign = if *amount < 0 { "-" } else { "" };
                let yen = if *amount == 0 { String::new() } else { format!("{sign}{}", count(amount.unsigned_abs())) };
                line(format!(
                    "{at:<17}{what:<72}{yen:>9}{:>10}{:>8}{:>8}{:>10}{:>6}",
                    count(figures.exposure),
                    count(figures.owed),
                    count(figures.credit),
                    count(figures.in_store),
                    figures.rung
                ));
            }
            line(String::new());
        }
        line("The sums".to_owned());
        for sum in &self.sums {
            let verdict = if sum.agrees() { "agree" } else { "DIFFER" };
            line(format!("  {:<100}{:>9} = {:>9}  {verdict}", sum.name, count(sum.left), count(sum.right)));
        }
        line(format!(
            "  {} of {} days: the service, its ledger and the story agree at their end",
            self.days,
            story::DAYS
        ));
        for difference in &self.differences {
            line(format!("  not as expected: {difference}"));
        }
        line(if self.adds_up() { "Everything adds up." } else { "It does NOT add up." }.to_owned());
        out
    }
}

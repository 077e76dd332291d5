//! Scenarios: plain text in the trade's words, run against the core, the engine and the server.
//!
//! ```text
//! # a comment
//! clock 2026-11-23T17:45:00+09:00         set the time (forward only); `later 3m`, `later 2h`, `later 40d`
//! customer C identity=verified birth=1990-01-01 limits=50000/15000
//! merchant M mcc=5499 status=inactive cap=5000 in_store=3000
//! code K C                  => issued                  C is shown a code, called K
//! pay R-1 M 1980 K hold     => approved points=9       the register sends an order with the code K
//! online R-2 M 500 C np     => denied over_total_limit
//! advice A-1 M 1980 K up_to=20000 original=R-1 => posted     the network approved it
//! network                                  from here on all comes as over the link, also at the inner depths
//! post R-1 M 2100 as=P-1    => posted      the network tells of a capture
//! part R-1 M 500            => done        it takes all but 500 yen back
//! cancel R-1 M              => reversed    by the network and then by HTTP; `cancel R-1 M http` by HTTP alone
//! ```
//! `code T C tok19` is a code of 19 digits, `code K C generation=0` one of older keys (core and engine only). A line `issuers 90009999:l24 90008888:tok19` names our prefixes, where the
//! sandbox's own will not do. Behind `=>` stand words that the outcome must contain; the outcome is a line of words too.

pub mod direct;
mod engine;
pub mod http;
mod iso;
mod model;

use std::collections::HashMap;

/// One line of a scenario.
#[derive(Clone, Debug)]
pub struct Step {
    pub line: usize,
    pub text: String,
    pub verb: String,
    /// Plain words after the verb, in order.
    pub words: Vec<String>,
    /// `key=value` words.
    pub options: HashMap<String, String>,
    /// Words the outcome must contain.
    pub expected: Vec<String>,
}

impl Step {
    pub fn word(&self, at: usize) -> &str {
        self.words.get(at).unwrap_or_else(|| panic!("line {}: {} needs more words", self.line, self.text))
    }

    pub fn has(&self, flag: &str) -> bool {
        self.words.iter().any(|word| word == flag)
    }

    pub fn option(&self, key: &str) -> Option<&str> {
        self.options.get(key).map(String::as_str)
    }

    pub fn amount(&self, at: usize) -> u64 {
        self.word(at).parse().unwrap_or_else(|_| panic!("line {}: {} is no amount", self.line, self.word(at)))
    }
}

/// A place where steps happen. The outcome is a line of words.
pub trait World {
    fn name(&self) -> &'static str;
    fn step(&mut self, step: &Step) -> String;
}

fn parse(text: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let (act, expected) = line.split_once("=>").unwrap_or((line, ""));
        let mut words = act.split_whitespace().map(str::to_owned);
        let verb = words.next().unwrap_or_default();
        let (options, words): (Vec<_>, Vec<_>) = words.partition(|word| word.contains('='));
        let options = options.iter().filter_map(|word| word.split_once('=')).map(|(k, v)| (k.into(), v.into()));
        steps.push(Step {
            line: at + 1,
            text: line.to_owned(),
            verb,
            words,
            options: options.collect(),
            expected: expected.split_whitespace().map(str::to_owned).collect(),
        });
    }
    steps
}

/// `3m`, `2h`, `40d`, `5s`, `1ms` in milliseconds.
pub fn duration_ms(text: &str) -> i64 {
    let digits = text.find(|c: char| !c.is_ascii_digit()).expect("a unit");
    let (number, unit) = text.split_at(digits);
    let number: i64 = number.parse().expect("a number");
    number
        * match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            other => panic!("unknown unit {other}"),
        }
}

/// Runs one file. A line `depths core engine` at the top leaves out worlds that cannot play it.
pub fn run(name: &str, text: &str, world: &mut dyn World) {
    let steps = parse(text);
    assert!(steps.len() > 2, "{name} is empty");
    if let Some(depths) = steps.iter().find(|step| step.verb == "depths")
        && !depths.has(world.name())
    {
        return;
    }
    for step in steps.iter().filter(|step| step.verb != "depths") {
        let outcome = world.step(step);
        let got: Vec<_> = outcome.split_whitespace().collect();
        let missing: Vec<_> = step.expected.iter().filter(|word| !got.contains(&word.as_str())).collect();
        assert!(
            missing.is_empty(),
            "{name}:{} at depth {}\n  {}\n  expected {missing:?}\n  outcome  {outcome}",
            step.line,
            world.name(),
            step.text
        );
    }
}

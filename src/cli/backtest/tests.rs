use super::*;
use crate::domain::commands::history::History;
use crate::domain::model::settings::Settings;
use crate::domain::model::time::{Millis, Now};
use crate::domain::state::event::Event;

const SHIPPED: &str = include_str!("../../../config/policy.toml");

type Facts<'a> = &'a [(Lsn, Millis, Event)];

fn play(facts: Facts<'_>, trial: Trial, is_all: bool) -> Report {
    let mut real = State::new(Settings::default());
    let mut worlds = Worlds::new(Settings::default(), trial);
    if is_all {
        worlds = worlds.all_anew();
    }
    for (lsn, at, event) in facts {
        worlds.hear(&mut real, *lsn, event, &Now::at(*at));
    }
    worlds.finish(&real)
}

fn is_policy(event: &Event) -> bool {
    matches!(event, Event::PolicySet { .. })
}

/// The policy of the last change, from the day after it on.
fn last_policy(facts: Facts<'_>) -> Trial {
    let (_, at, event) = facts.iter().rfind(|(.., event)| is_policy(event)).unwrap();
    let Event::PolicySet { text, .. } = event else { panic!("{event:?}") };
    Trial { from: Some(at.date().plus_days(1)), ..Trial::of(text).unwrap() }
}

#[test]
fn the_policy_in_force_flips_nothing_whatever_was_in_force_before() {
    let mut judged = 0;
    for seed in 0..40 {
        let events = History::new(seed, 1_500).events;
        // To each change of policy: what was in force until then.
        let changes = events.iter().enumerate().filter(|(_, (.., event))| is_policy(event)).map(|(at, _)| at).skip(1);
        for end in changes.chain([events.len()]).take(6) {
            let report = play(&events[..end], last_policy(&events[..end]), false);
            assert_eq!(report.flips, report::Flips::default(), "seed {seed} to {end}: {report}");
            assert_eq!((report.other_reason, report.left_out, report.cut, report.lost.0), (0, 0, 0, report.lost.1));
            assert!(report.exposure.iter().all(|(_, (real, tried))| real == tried), "seed {seed}: {report}");
            judged += report.judged;
        }
        // Both worlds end with the last day that was asked for, whatever was recorded later.
        let trial = last_policy(&events);
        let to = trial.from.map(|from| from.plus_days(3));
        let until = events.iter().take_while(|(_, at, _)| to.is_none_or(|to| at.date() <= to)).count();
        let of_days = play(&events, Trial { to, ..trial.clone() }, false);
        let cut = play(&events[..until], Trial { to, ..trial }, false);
        assert_eq!(
            (of_days.lost, of_days.lost.0, &of_days.exposure),
            (cut.lost, of_days.lost.1, &cut.exposure),
            "seed {seed}"
        );
        // And from the first record, until the policy first changes.
        let first = events.iter().skip(2).position(|(.., event)| is_policy(event)).map_or(events.len(), |at| at + 2);
        let report = play(&events[..first], Trial::of(SHIPPED).unwrap(), false);
        assert_eq!((report.flips, report.other_reason), (report::Flips::default(), 0), "seed {seed}");
        judged += report.judged;
    }
    assert!(judged > 10_000, "{judged}");
}

/// The facts up to the end of the longest time under one policy, with that policy changed.
fn longest<'a>(events: Facts<'a>, from: &str, to: &str) -> (Facts<'a>, Trial) {
    let mut changes: Vec<usize> =
        events.iter().enumerate().filter(|(_, (.., event))| is_policy(event)).map(|(at, _)| at).collect();
    changes.push(events.len());
    let span = changes.windows(2).max_by_key(|pair| pair[1] - pair[0]).unwrap();
    let facts = &events[..span[1]];
    let now = last_policy(facts);
    assert!(now.text.contains(from), "{from}");
    (facts, Trial { from: now.from, ..Trial::of(&now.text.replace(from, to)).unwrap() })
}

const CHANGES: [(&str, &str); 4] = [
    ("label = ", "label = "),
    ("in_store_yen = 2_000", "in_store_yen = 5_000"),
    ("tok19_cap_yen = 3_000", "tok19_cap_yen = 300"),
    ("max_count = 100", "max_count = 2"),
];

/// Each fact judged anew for everybody, from the first record on, is the slow and plain way to the same figures.
#[test]
fn facts_taken_as_recorded_come_to_what_all_facts_judged_anew_do() {
    let (mut both, mut left_out) = (report::Flips::default(), 0);
    for seed in 0..20 {
        let events = History::new(seed, 2_000).events;
        for (from, to) in CHANGES {
            let (facts, trial) = longest(&events, from, to);
            let fast = play(facts, trial.clone(), false);
            let slow = play(facts, trial, true);
            let (fast, slow) = (report::Report { differing: 0, ..fast }, report::Report { differing: 0, ..slow });
            assert_eq!(fast.json(), slow.json(), "seed {seed} {to}");
            both.approved_now += fast.flips.approved_now;
            both.denied_now += fast.flips.denied_now;
            left_out += fast.left_out;
        }
    }
    assert!(both.approved_now > 2 && both.denied_now > 10 && left_out > 3, "{both:?} {left_out}");
}

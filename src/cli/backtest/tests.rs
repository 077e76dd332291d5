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
        // And from the first record, until the policy first changes.
        let first = events.iter().skip(2).position(|(.., event)| is_policy(event)).map_or(events.len(), |at| at + 2);
        let report = play(&events[..first], Trial::of(SHIPPED).unwrap(), false);
        assert_eq!((report.flips, report.other_reason), (report::Flips::default(), 0), "seed {seed}");
        judged += report.judged;
    }
    assert!(judged > 10_000, "{judged}");
}

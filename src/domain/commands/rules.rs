//! The rules are others: policy and bank holidays are facts, journaled where they differ from those in force.

use std::sync::Arc;

use super::Ruling;
use super::reply::Reply;
use crate::domain::state::State;
use crate::domain::state::event::Event;

/// Both as texts, which say what they should: `Policy::parse` and `BankCalendar::parse` take them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    pub policy: Arc<str>,
    pub holidays: Arc<str>,
}

pub(super) fn set(state: &State, rules: &Rules) -> Ruling {
    let in_force = state.policy.as_ref();
    if in_force.is_none_or(|in_force| *in_force.text != *rules.policy) {
        let version = in_force.map_or(0, |in_force| in_force.version) + 1;
        return Ruling::Step(Event::PolicySet { version, text: rules.policy.as_ref().into() });
    }
    if *state.calendar_text != *rules.holidays {
        return Ruling::Step(Event::HolidaysSet { text: rules.holidays.as_ref().into() });
    }
    Ruling::Answer(Reply::Done)
}

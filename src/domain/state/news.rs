//! What is news to a phone: whom a fact touches, and the version of what the phone is shown.

use super::State;
use super::event::Event;
use crate::domain::billing::notes::Note;
use crate::domain::model::code::Code;
use crate::domain::model::ids::{CustomerIx, Lsn};
use crate::domain::model::request::Payer;

impl Event {
    /// The customer whose room, or what is in its way, the fact may have moved; it is also the customer of the sale that the
    /// fact changed.
    pub fn moves_room(&self) -> Option<CustomerIx> {
        self.account().filter(|_| !self.leaves_room_alone())
    }

    /// What is said of an account's codes and slips alone moves no room.
    pub(crate) const fn leaves_room_alone(&self) -> bool {
        matches!(self, Self::CodeIssued(_) | Self::Tok19Issued(_) | Self::Noted { note: Note::SlipIssued(_), .. })
    }
}

impl State {
    /// The customer whose phones may have something new to show after the fact, one at most. A policy touches everybody and
    /// is not told here.
    pub fn touched_by(&self, event: &Event) -> Option<CustomerIx> {
        let handle = match event {
            Event::CodeIssued(issued) | Event::Tok19Issued(issued) => return Some(issued.customer),
            Event::CodeVoided { handle } => Some(*handle),
            Event::Decided(decided) => match &decided.input.payer {
                Payer::Code(scanned) => scanned.handle(),
                Payer::Customer(_) => None,
            },
            _ => None,
        };
        event.moves_room().or_else(|| self.codes.get(handle?, self.time).map(|code| code.customer))
    }

    /// The position of the last fact that touched the code, its sale or what its customer can spend. It never falls, is
    /// the same after a restart, and two looks with one version differ only by what time has done.
    pub fn version_of(&self, code: &Code) -> Option<Lsn> {
        let spendable = self.account(code.customer)?.touched.get();
        Some(code.touched.max(spendable).max(self.policy.as_ref()?.since))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::domain::commands::history::History;
    use crate::domain::model::code::Ending;
    use crate::domain::model::ids::CodeId;
    use crate::domain::model::settings::Settings;
    use crate::domain::model::time::Now;

    /// Each code with its version, its customer, and what its phone is shown of it at this moment.
    fn shown(state: &State, now: &Now) -> HashMap<CodeId, (Lsn, CustomerIx, String)> {
        let Some(rules) = state.rules() else { return HashMap::new() };
        let show = |code: &Code| {
            let (sale, latest) = (
                match code.ending {
                    Some(Ending::Used { by, .. }) => state.orders.by_lsn(by),
                    _ => None,
                },
                code.latest_attempt.and_then(|lsn| state.orders.by_lsn(lsn)),
            );
            let told = [sale, latest].map(|order| {
                order.map(|order| (order.id, order.status(now.at), order.became(now.at), order.sale_words(now.at)))
            });
            let spendable = state.account(code.customer).unwrap().spendable(now, rules);
            let content = format!("{:?} {} {told:?} {spendable:?}", code.state(now.at), code.attempts);
            (code.id, (state.version_of(code).unwrap(), code.customer, content))
        };
        state.codes.iter().filter(|code| now.at < code.forget_at()).map(show).collect()
    }

    #[test]
    fn a_version_rises_with_what_is_shown_and_for_nobody_else() {
        let (mut rises, mut quiet) = (0, 0);
        for seed in 300..306 {
            let history = History::new(seed, 1_500);
            let mut state = State::new(Settings::default());
            for (lsn, at, event) in &history.events {
                let now = Now::at(*at);
                let before = shown(&state, &now);
                state.apply(event, &now);
                let after = shown(&state, &now);
                let touched = state.touched_by(event);
                for (id, (old, customer, was)) in &before {
                    // One that was forgotten meanwhile, a used one's time counting from its use.
                    let Some((new, _, is)) = after.get(id) else { continue };
                    assert!(new >= old, "seed {seed} record {lsn}: a version fell");
                    assert!(new == lsn || new == old, "seed {seed} record {lsn}: a version is no fact's position");
                    if new == old {
                        assert_eq!(was, is, "seed {seed} record {lsn}: one version, two contents, by {event:?}");
                        quiet += 1;
                        continue;
                    }
                    let for_all = matches!(event, Event::PolicySet { .. });
                    assert!(for_all || touched == Some(*customer), "seed {seed} record {lsn}: news of somebody else");
                    rises += 1;
                }
            }
        }
        assert!(rises > 400 && quiet > 4_000, "{rises} {quiet}");
    }
}

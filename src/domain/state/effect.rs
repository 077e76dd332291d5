//! What a fact changes, for those who count it, show it or notify somebody of it: one table over all facts.

use super::State;
use super::event::{Decided, Event, Outcome};
use crate::domain::billing::notes::{Cause, Note};
use crate::domain::billing::settlement::Settlement;
use crate::domain::model::code::Code;
use crate::domain::model::ids::{CustomerIx, Lsn};
use crate::domain::model::money::Yen;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effect {
    /// The customer whose account changes: one at most.
    pub customer: Option<CustomerIx>,
    /// Exposure that is added to that account.
    pub added: Yen,
    /// Exposure that comes off it.
    pub removed: Yen,
    /// Yen that somebody was told of by the answer to this fact and that a power cut before the sync takes back. Where
    /// answers may leave before the sync (`journal.sync = "bounded"`), a group may go ahead of it only within a budget of
    /// these. What time makes true answers nobody, and what moves no money can be said again.
    pub at_risk: u64,
    /// Policy or holidays are others.
    pub is_rules: bool,
    /// The customer whose phones may have something new to show, one at most. A policy touches everybody and is not told
    /// here.
    pub notified: Option<CustomerIx>,
}

impl Effect {
    fn on(customer: CustomerIx) -> Self {
        Self { customer: Some(customer), ..Self::default() }
    }

    /// Money met bills, and so much principal went back to a shop.
    fn settled(books: &Settlement, back: Yen) -> Self {
        let removed = back + books.principal_in();
        Self { added: books.principal_out(), removed, ..Self::on(books.customer) }
    }

    fn rules() -> Self {
        Self { is_rules: true, ..Self::default() }
    }

    fn decided(decided: &Decided) -> Self {
        if matches!(decided.outcome, Outcome::Denied { .. }) {
            return Self::default();
        }
        let amount = decided.input.amount;
        // In suspense it is charged to nobody.
        let added = if decided.customer.is_some() { amount } else { Yen::ZERO };
        Self { customer: decided.customer, added, at_risk: amount.get(), ..Self::default() }
    }
}

impl Event {
    pub fn effect(&self) -> Effect {
        let effect = match self {
            Self::Opened { .. }
            | Self::MerchantSet(_)
            | Self::CodeVoided { .. }
            | Self::RecalledWhole(_)
            | Self::Recalled { .. } => Effect::default(),
            Self::PolicySet { .. } | Self::HolidaysSet { .. } => Effect::rules(),
            Self::CustomerSet { ix, .. } => Effect::on(*ix),
            Self::CodeIssued(issued) | Self::Tok19Issued(issued) => Effect::on(issued.customer),
            Self::Noted { customer, .. } | Self::Noticed { customer, .. } | Self::StoriesRecalled { customer, .. } => {
                Effect::on(*customer)
            }
            Self::Decided(decided) => Effect::decided(decided),
            Self::Advised(advised) => Effect::decided(&advised.decided),
            // The late sale that it blocks would be approved, and of its amount nothing is known: never before the sync.
            Self::Tombstoned { .. } => Effect { at_risk: u64::MAX, ..Effect::default() },
            Self::SuspenseCleared { amount, .. } => Effect { at_risk: amount.get(), ..Effect::default() },
            Self::SuspenseSettled(settled) => {
                let at_risk = settled.amount.get();
                match settled.end.charged() {
                    Some(charged) => Effect { added: charged.amount, at_risk, ..Effect::on(charged.customer) },
                    None => Effect { at_risk, ..Effect::default() },
                }
            }
            Self::HoldExpired(undone) => Effect { removed: undone.amount, ..Effect::on(undone.customer) },
            Self::Cancelled(undone) => {
                Effect { removed: undone.amount, at_risk: undone.amount.get(), ..Effect::on(undone.customer) }
            }
            Self::CancelledPaid { undone, books } => {
                Effect { at_risk: undone.amount.get(), ..Effect::settled(books, undone.amount) }
            }
            // The goods are gone, and the hold would run out. It is never more than was authorized.
            Self::Captured(captured) => {
                Effect { removed: captured.released, at_risk: captured.amount.get(), ..Effect::on(captured.customer) }
            }
            Self::Refunded(refund) => {
                Effect { at_risk: refund.amount.get(), ..Effect::settled(&refund.books, refund.amount) }
            }
            Self::Settled { cause, books } => Effect { at_risk: moved(cause), ..Effect::settled(books, Yen::ZERO) },
        };
        // A slip shows nowhere on a code's phone, nor does what is paid long ago; and what is told of bills is so whether it is
        // told or not.
        let is_elsewhere = matches!(
            self,
            Self::Noted { note: Note::SlipIssued(_), .. } | Self::Noticed { .. } | Self::StoriesRecalled { .. }
        );
        Effect { notified: effect.customer.filter(|_| !is_elsewhere), ..effect }
    }

    /// Whether what the customer of the fact can spend, or what is in its way, may have moved. What is said of codes and
    /// slips alone moves no room, nor does what only comes back into memory.
    pub(crate) const fn moves_room(&self) -> bool {
        !matches!(
            self,
            Self::CodeIssued(_)
                | Self::Tok19Issued(_)
                | Self::Noted { note: Note::SlipIssued(_), .. }
                | Self::Noticed { .. }
                | Self::StoriesRecalled { .. }
        )
    }
}

fn moved(cause: &Cause) -> u64 {
    match cause {
        Cause::Repayment(payment) | Cause::Final(payment) => payment.amount.get(),
        Cause::Payout { amount, .. }
        | Cause::Bounced { amount, .. }
        | Cause::Corrected { amount, .. }
        | Cause::Damages { amount, .. }
        | Cause::NpDamages { amount, .. } => amount.get(),
        Cause::Calendar | Cause::Withdrawn { .. } => 0,
    }
}

impl State {
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
    use crate::domain::billing::notes::Payment;
    use crate::domain::commands::history::History;
    use crate::domain::model::code::Ending;
    use crate::domain::model::ids::{CodeId, OfficeId};
    use crate::domain::model::request::Staff;
    use crate::domain::model::settings::Settings;
    use crate::domain::model::time::{Date, Millis, Month, Now};
    use crate::domain::state::event::Approval;
    use crate::journal::codec;

    /// Each code with its version, its customer, and what its phone is shown of it at this moment.
    fn shown(state: &State, now: &Now) -> HashMap<CodeId, (Lsn, CustomerIx, String)> {
        let Some(rules) = state.rules() else { return HashMap::new() };
        let show = |code: &Code| {
            let sale = match code.ending {
                Some(Ending::Used { by, .. }) => state.orders.by_lsn(by),
                _ => None,
            };
            let latest = code.latest_attempt.and_then(|lsn| state.orders.by_lsn(lsn));
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
                let touched = state.apply(event, &now).notified;
                let after = shown(&state, &now);
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

    const WHOLE: u64 = 1_980;

    /// One event of each kind, from the golden bytes.
    fn one_of_each() -> Vec<Event> {
        let lines = include_str!("../../../tests/golden/events.txt").lines();
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        lines.map(|line| codec::decode(&line.as_bytes().chunks(2).map(byte).collect::<Vec<_>>()).unwrap()).collect()
    }

    #[test]
    fn each_kind_says_what_is_lost_with_it() {
        let all = one_of_each();
        let paid = all.iter().find_map(|event| match event {
            Event::Settled { cause: Cause::Repayment(payment), .. } => Some(payment.amount.get()),
            _ => None,
        });
        let expected = [
            ("opened", 0),
            ("policy", 0),
            ("holidays", 0),
            ("merchant", 0),
            ("customer", 0),
            ("code", 0),
            ("code voided", 0),
            ("denial", 0),
            ("blocked", u64::MAX),
            ("cancel", WHOLE),
            ("capture", WHOLE),
            ("refund", WHOLE),
            ("hold expired", 0),
            ("recalled whole", 0),
            ("repayment", paid.unwrap()),
            ("note", 0),
            ("advice", WHOLE),
            ("suspense cleared", WHOLE),
            ("code of 19 digits", 0),
            ("recalled", 0),
            ("refund at a time", WHOLE),
            ("repayment with its money", paid.unwrap()),
            ("refund with its money", WHOLE),
            ("cancel with its money", WHOLE),
            ("withdrawn", 0),
            ("payout with its reference", 700),
            ("payout that came back", 700),
            ("damages on an invoice", WHOLE),
            ("stories recalled", 0),
            ("freeze", 0),
            ("freeze lifted", 0),
            ("suspense charged", WHOLE),
            ("suspense returned", WHOLE),
            ("suspense lost", WHOLE),
            ("notices", 0),
            ("reversal", 700),
            ("waiver", 700),
            ("reversal of damages", 700),
            ("write-off", 700),
            ("release of a write-off", 700),
            ("application of credit", 700),
            ("reversal with an id of its own", 700),
            ("repayment that counts from later", paid.unwrap()),
            ("damages by staff", 700),
            ("payout by staff", 700),
            ("withdrawn by staff", 0),
            ("damages on an invoice by staff", 700),
            ("withdrawn in a note by staff", 0),
            ("blocked by staff", 0),
            ("released by staff", 0),
            ("blocked", 0),
            ("released", 0),
            ("denied, with what it was judged by", 0),
        ];
        assert_eq!(all.len(), expected.len(), "a new kind stands here too");
        for (event, (name, yen)) in all.iter().zip(expected) {
            assert_eq!(event.effect().at_risk, yen, "{name}: {event:?}");
        }
    }

    #[test]
    fn money_of_the_office_counts_whatever_it_is_for() {
        let settled = one_of_each().into_iter().find_map(|event| match event {
            Event::Settled { books, .. } => Some(books),
            _ => None,
        });
        let books = settled.unwrap();
        let id = OfficeId::new("P-1").unwrap();
        let amount = Yen::new(700);
        let payment = Payment { id, amount, paid_at: Millis(0), slip: None };
        let month = Month::parse("2026-11").unwrap();
        let staff = Staff { by: "u".into(), key: "k".into(), reason: "r".into() };
        for (cause, yen) in [
            (Cause::Calendar, 0),
            (Cause::Repayment(payment), 700),
            (Cause::Final(payment), 700),
            (Cause::Withdrawn { id, staff: None }, 0),
            (Cause::Payout { id, amount, bank_reference: None, staff: None }, 700),
            (Cause::Bounced { payout: id, amount, staff: Box::new(staff) }, 700),
            (Cause::Damages { id, month, amount, staff: None }, 700),
            (Cause::NpDamages { id, order: Lsn(5), amount, staff: None }, 700),
        ] {
            assert_eq!(Event::Settled { cause, books: books.clone() }.effect().at_risk, yen);
        }
    }

    #[test]
    fn an_approval_counts_captured_or_held() {
        let decided = one_of_each().into_iter().find_map(|event| match event {
            Event::Decided(decided) => Some(decided),
            _ => None,
        });
        let mut decided = decided.unwrap();
        for hold_expires_at in [None, Some(Millis(1))] {
            let due = Date::new(2026, 12, 10).unwrap();
            let approval = Approval { month: Month::parse("2026-11").unwrap(), due, points: 0, hold_expires_at };
            decided.outcome = Outcome::Approved(approval);
            assert_eq!(Event::Decided(decided.clone()).effect().at_risk, WHOLE);
        }
    }
}

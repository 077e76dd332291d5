//! What a customer is to be told of bills: on the day's round, and when a fact has changed whether one is overdue.

use super::office::app_slip;
use crate::domain::billing::notices::Notice;
use crate::domain::model::ids::CustomerIx;
use crate::domain::model::payment::PaymentMethod;
use crate::domain::model::purchase::Channel;
use crate::domain::model::time::Now;
use crate::domain::state::State;
use crate::domain::state::event::{Decided, Event};

/// Nothing where all is told. `draw` gives random numbers.
pub fn notices(
    state: &State,
    customer: CustomerIx,
    now: &Now,
    is_round: bool,
    draw: &mut dyn FnMut() -> u64,
) -> Option<Event> {
    let mut notices = state.account(customer)?.to_tell(now, state.rules()?, is_round);
    for notice in &mut notices {
        if let Notice::BillFixed { method: PaymentMethod::Konbini, owed, slip, .. } = notice
            && !owed.total().is_zero()
        {
            *slip = app_slip(state, customer, now, draw());
        }
    }
    (!notices.is_empty()).then_some(Event::Noticed { customer, notices })
}

/// Whether a fact may have changed what is overdue of its customer, or what free money is to meet.
pub fn may_concern(event: &Event) -> bool {
    match event {
        Event::CodeIssued(_) | Event::Tok19Issued(_) | Event::Noticed { .. } => false,
        Event::Decided(decided) => is_invoice(decided),
        Event::Advised(advised) => is_invoice(&advised.decided),
        _ => true,
    }
}

/// Of what is bought, an NP Atobarai purchase is a bill at once.
fn is_invoice(decided: &Decided) -> bool {
    matches!(decided.input.channel, Channel::NpAtobarai)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::billing::stories::Kept;
    use crate::domain::commands::office::{calendar, judge};
    use crate::domain::commands::past::{Past, Turn};
    use crate::domain::commands::refusal::Step;
    use crate::domain::model::customer::Profile;
    use crate::domain::model::ids::{CustomerId, Lsn, OfficeId};
    use crate::domain::model::money::Yen;
    use crate::domain::model::purchase::Purchase;
    use crate::domain::model::request::{Instruction, Said};
    use crate::domain::model::settings::Settings;
    use crate::domain::model::time::{Date, Millis};
    use crate::domain::state::receipts::Known;

    const IX: CustomerIx = CustomerIx(0);

    /// One customer, and what they were told.
    struct House {
        state: State,
        now: Now,
    }

    fn at(text: &str) -> Now {
        let text = if text.contains('T') { format!("{text}:00+09:00") } else { format!("{text}T00:20:00+09:00") };
        Now::at(Millis::parse(&text).unwrap())
    }

    fn id(text: &str) -> OfficeId {
        OfficeId::new(text).unwrap()
    }

    impl House {
        fn new(method: PaymentMethod) -> Self {
            let now = at("2021-06-15");
            let mut state = State::new(Settings::default());
            let policy = Box::from(include_str!("../../../config/policy.toml"));
            state.apply(&Event::PolicySet { version: 1, text: policy }, &now);
            let profile = Box::new(Profile { payment_method: method, ..Profile::newcomer() });
            state.apply(&Event::CustomerSet { ix: IX, id: CustomerId::new("1001").unwrap(), profile }, &now);
            Self { state, now }
        }

        fn buys(&mut self, channel: Channel, yen: u64) {
            let Now { at, month, date, .. } = self.now;
            let purchase = Purchase { order: Lsn(7), channel, amount: Yen::new(yen), month, at };
            self.state.account_mut(IX).charge(&purchase, date.plus_days(14), Lsn(7));
        }

        /// The office says something; what that leads to between two rounds.
        fn says(&mut self, instruction: &Instruction) -> String {
            let customer = self.state.account(IX).unwrap().id;
            let turn = Turn {
                state: &self.state,
                past: &Past::NotAsked,
                kept: Some(&Kept::nothing()),
                now: &self.now,
                in_force: self.state.policy.as_ref().unwrap(),
                steps: 0,
            };
            let told = judge(&turn, &customer, (instruction, Some(&Known::nothing())), &mut || 0);
            let Ok(Step::Record(event)) = told else { panic!("{told:?}") };
            assert!(may_concern(&event));
            self.state.apply(&event, &self.now);
            self.tells(false)
        }

        /// The round of a day, or of a moment.
        fn on(&mut self, when: &str) -> String {
            self.now = at(when);
            if let Some(event) = calendar(&self.state, IX, &self.now) {
                self.state.apply(&event, &self.now);
            }
            self.tells(true)
        }

        fn tells(&mut self, is_round: bool) -> String {
            let Some(event) = notices(&self.state, IX, &self.now, is_round, &mut || 5) else { return String::new() };
            self.state.apply(&event, &self.now);
            assert_eq!(notices(&self.state, IX, &self.now, is_round, &mut || 5), None, "once");
            let Event::Noticed { notices, .. } = event else { panic!("{event:?}") };
            let word = |notice: &Notice| match notice {
                Notice::BillFixed { charged, owed, slip, .. } => {
                    let slip = slip.map_or(0, |slip| slip.lines.total().get());
                    format!("fixed {} {} slip {slip}", charged.total(), owed.total())
                }
                Notice::DueSoon { owed, due, .. } => format!("soon {due} {}", owed.total()),
                Notice::FellOverdue { owed, .. } => format!("overdue {}", owed.total()),
                Notice::OverdueEnded { .. } => "ended".to_owned(),
                Notice::Blocked => "blocked".to_owned(),
                Notice::BlockLifted => "lifted".to_owned(),
            };
            notices.iter().map(word).collect::<Vec<_>>().join(", ")
        }

        fn repay(&mut self, name: &str, yen: u64) -> String {
            self.says(&Instruction::Repay { id: id(name), amount: Yen::new(yen), paid_at: None, slip: None })
        }

        fn expect(&mut self, name: &str, yen: u64, until: &str) -> String {
            let expires_at = Date::parse(until).unwrap().start();
            self.says(&Instruction::Expect { id: id(name), amount: Yen::new(yen), paid_at: None, expires_at })
        }
    }

    #[test]
    fn a_bill_is_told_of_once_from_its_issue_to_its_end() {
        let mut house = House::new(PaymentMethod::Konbini);
        house.buys(Channel::Online, 3_000);
        assert_eq!(house.on("2021-06-30"), "");
        assert_eq!(house.on("2021-07-01T00:10"), "", "a sale of yesterday may still be cancelled");
        assert_eq!(house.on("2021-07-01T00:15"), "fixed 3209 3209 slip 3209");
        assert_eq!(house.on("2021-07-06"), "");
        assert_eq!(house.on("2021-07-07"), "soon 2021-07-10 3209");
        assert_eq!((house.on("2021-07-08"), house.on("2021-07-10")), (String::new(), String::new()));
        assert_eq!(house.on("2021-07-11"), "overdue 3209, blocked");
        assert_eq!(house.on("2021-07-12"), "");
        assert_eq!(house.repay("R-1", 1_000), "", "some is still open");
        assert_eq!(house.repay("R-2", 3_000), "ended, lifted");
        assert_eq!(house.on("2021-07-20"), "");
    }

    #[test]
    fn a_day_that_no_round_was_in_is_made_up_for() {
        let mut house = House::new(PaymentMethod::Debit);
        house.buys(Channel::Online, 3_000);
        assert_eq!(house.on("2021-07-26"), "fixed 3000 3000 slip 0, soon 2021-07-27 3000");
        house.buys(Channel::Online, 500);
        assert_eq!(house.on("2021-10-01"), "overdue 3400, fixed 700 700 slip 0, overdue 700, blocked");
    }

    #[test]
    fn news_so_late_that_the_bill_is_let_go_of_with_it_ends_what_was_told() {
        let mut house = House::new(PaymentMethod::Konbini);
        house.buys(Channel::Online, 3_000);
        house.on("2021-07-01");
        assert_eq!(house.on("2021-07-11"), "overdue 3209, blocked");
        house.on("2022-01-10");
        let paid_at = Some(at("2021-07-10").at);
        let amount = Yen::new(3_209);
        assert_eq!(house.says(&Instruction::Repay { id: id("R-1"), amount, paid_at, slip: None }), "ended, lifted");
        assert_eq!(house.on("2022-01-11"), "");
        assert!(house.state.account(IX).unwrap().listed_bills().is_empty(), "it is let go of now");
    }

    #[test]
    fn what_credit_or_news_of_money_covers_is_neither_due_soon_nor_overdue() {
        let mut house = House::new(PaymentMethod::Konbini);
        house.repay("R-1", 1_000);
        house.buys(Channel::Online, 500);
        assert_eq!(house.on("2021-07-01"), "fixed 709 0 slip 0", "credit has paid it");
        assert_eq!((house.on("2021-07-08"), house.on("2021-07-11")), (String::new(), String::new()));

        let mut house = House::new(PaymentMethod::Konbini);
        house.buys(Channel::Online, 500);
        house.on("2021-07-01");
        assert_eq!(house.expect("P-1", 709, "2021-07-20"), "");
        assert_eq!((house.on("2021-07-08"), house.on("2021-07-11")), (String::new(), String::new()));
        assert_eq!(house.on("2021-07-20"), "overdue 709, blocked", "it did not come in its time");
        // Each time anew.
        assert_eq!(house.expect("P-2", 709, "2021-08-20"), "ended, lifted");
        let said = Said::default();
        assert_eq!(house.says(&Instruction::Withdraw { id: id("P-2"), said, staff: None }), "overdue 709, blocked");
        assert_eq!(house.says(&Instruction::Confirm { id: id("P-1"), said }), "ended, lifted");
    }

    #[test]
    fn the_block_ends_with_the_last_overdue_bill() {
        let mut house = House::new(PaymentMethod::Konbini);
        house.buys(Channel::NpAtobarai, 400);
        house.buys(Channel::Online, 500);
        assert_eq!(house.on("2021-06-26"), "soon 2021-06-29 400");
        assert_eq!(house.on("2021-06-30"), "overdue 400, blocked");
        assert_eq!(house.on("2021-07-01"), "fixed 709 709 slip 1109");
        assert_eq!(house.on("2021-07-11"), "overdue 709");
        assert_eq!(house.repay("R-1", 400), "ended");
        assert_eq!(house.repay("R-2", 709), "ended, lifted");
    }
}

//! The calendar's round: once a day, and after a start, every customer is looked at, and what time has made due
//! is recorded: bills issued, late fees, credit to be paid out. Nothing waits for it: an account says the same
//! before and after. It goes in small steps between requests.

use crate::domain::billing::account::Account;
use crate::domain::model::ids::CustomerIx;
use crate::domain::model::time::{Date, Now, VOID_WINDOW};

/// Customers looked at in one step; most owe nothing, and are not looked at closer.
const LOOKED_AT: u32 = 512;
/// Facts recorded in one step.
pub const FACTS_A_STEP: usize = 2;
/// With so many bills looked at a step is over, however few customers they were of: some half a millisecond.
pub const BILLS_A_STEP: usize = 512;

/// How far the present round has come.
#[derive(Debug, Default)]
pub struct Calendar {
    /// The day whose round is under way, or over.
    day: Option<Date>,
    /// The next customer to look at; `None` when the round is over.
    next: Option<CustomerIx>,
}

impl Calendar {
    /// The customers of the next step. A new day begins a new round once yesterday's last sales can't be cancelled any more;
    /// the one before need not be over.
    pub fn step(&mut self, now: &Now, customers: CustomerIx) -> std::ops::Range<u32> {
        let day = Now::at(now.at.plus(-VOID_WINDOW)).date;
        if self.day.is_none_or(|before| before < day) {
            (self.day, self.next) = (Some(day), Some(CustomerIx(0)));
        }
        let Some(CustomerIx(from)) = self.next else { return 0..0 };
        let to = customers.0.min(from.saturating_add(LOOKED_AT));
        self.next = (to < customers.0).then_some(CustomerIx(to));
        from..to
    }

    /// The step ended before this customer.
    pub fn stopped_at(&mut self, next: CustomerIx) {
        self.next = Some(next);
    }

    /// Whether a round is under way.
    pub fn is_busy(&self) -> bool {
        self.next.is_some()
    }
}

/// Whether money lies free beside a bill that it should have met: no rule leaves an account so once the round has seen it.
pub fn has_credit_beside_debt(account: &Account) -> bool {
    !account.sums().is_empty() && account.listed_bills().iter().any(|bill| bill.is_issued() && bill.is_open())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::commands::history::History;
    use crate::domain::model::money::Yen;
    use crate::domain::model::time::Millis;

    #[test]
    fn nobody_has_credit_beside_a_debt_after_a_round() {
        let mut with_credit = 0;
        for seed in 120..130 {
            let mut history = History::new(seed, 1_500);
            history.calendar();
            let accounts = || history.state.accounts();
            assert!(!accounts().any(has_credit_beside_debt), "seed {seed}");
            with_credit += accounts().filter(|account| !account.sums().is_empty()).count();
            let owes =
                |account: &&Account| account.listed_bills().iter().any(|bill| bill.is_issued() && bill.is_open());
            let mut wrong = accounts().find(owes).unwrap().clone();
            wrong.debt_mut().sums.add(crate::domain::billing::sums::Money::own(Millis(0)), Yen::new(1), Yen::ZERO);
            assert!(has_credit_beside_debt(&wrong));
        }
        assert!(with_credit > 10, "{with_credit}");
    }

    fn at(text: &str) -> Now {
        Now::at(Millis::parse(text).unwrap())
    }

    #[test]
    fn a_round_a_day_sees_everybody_once() {
        let mut calendar = Calendar::default();
        let seen = |calendar: &mut Calendar, now: &Now| {
            let mut seen = Vec::new();
            loop {
                seen.extend(calendar.step(now, CustomerIx(1_300)));
                if !calendar.is_busy() {
                    return seen;
                }
            }
        };
        let all: Vec<u32> = (0..1_300).collect();
        assert_eq!(seen(&mut calendar, &at("2026-11-30T23:00:00+09:00")), all, "after a start");
        assert_eq!(seen(&mut calendar, &at("2026-12-01T00:14:59.999+09:00")), [] as [u32; 0]);
        assert_eq!(seen(&mut calendar, &at("2026-12-01T00:15:00+09:00")), all);
        assert_eq!(seen(&mut calendar, &at("2026-12-01T23:59:59+09:00")), [] as [u32; 0]);
        // A new day while the round is under way begins it again.
        assert_eq!(calendar.step(&at("2026-12-02T01:00:00+09:00"), CustomerIx(1_300)), 0..512);
        assert_eq!(calendar.step(&at("2026-12-03T01:00:00+09:00"), CustomerIx(1_300)), 0..512);
        calendar.stopped_at(CustomerIx(100));
        assert_eq!(calendar.step(&at("2026-12-03T01:00:00+09:00"), CustomerIx(1_300)), 100..612);
    }
}

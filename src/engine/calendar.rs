//! The calendar's round: once a day, and after a start, every customer is looked at, and what time has made due
//! is recorded: bills issued, late fees, credit to be paid out. Nothing waits for it: an account says the same
//! before and after. It goes in small steps between requests.

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::model::time::Millis;

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

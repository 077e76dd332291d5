//! On what terms bills are paid: due dates, fees, lateness. From `config/policy.toml`; every number has its unit.

use std::str::FromStr;

use rust_decimal::Decimal;
use serde::Deserialize;

use super::money::Yen;
use super::payment::PaymentMethod;
use super::time::{BankCalendar, Date, Month};

/// When a month's bill is due and what it costs, by method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Billing {
    /// Day of the month after the purchases.
    konbini_due_day: i8,
    konbini_fee_yen: u32,
    postcard_due_day: i8,
    postcard_fee_yen: u32,
    /// Day of the draw; it moves to the next day on which banks are open.
    debit_draw_day: i8,
    debit_fee_yen: u32,
}

impl Default for Billing {
    fn default() -> Self {
        Self {
            konbini_due_day: 10,
            konbini_fee_yen: 209,
            postcard_due_day: 20,
            postcard_fee_yen: 209,
            debit_draw_day: 27,
            debit_fee_yen: 0,
        }
    }
}

impl Billing {
    /// Due date of the bill of `month`. Konbini and postcard stay where they fall; a draw moves past the days on which
    /// banks are closed.
    pub fn due(&self, method: PaymentMethod, month: Month, calendar: &BankCalendar) -> Date {
        let next = month.next();
        match method {
            PaymentMethod::Konbini => next.day(self.konbini_due_day),
            PaymentMethod::Postcard => next.day(self.postcard_due_day),
            PaymentMethod::Debit => calendar.next_business_day(next.day(self.debit_draw_day)),
        }
    }

    /// What a month's bill costs, in months that have one.
    pub fn fee(&self, method: PaymentMethod) -> Yen {
        Yen::new(u64::from(match method {
            PaymentMethod::Konbini => self.konbini_fee_yen,
            PaymentMethod::Postcard => self.postcard_fee_yen,
            PaymentMethod::Debit => self.debit_fee_yen,
        }))
    }

    fn check(&self) -> Result<(), (&'static str, &'static str)> {
        let days = [
            ("billing.konbini_due_day", self.konbini_due_day),
            ("billing.postcard_due_day", self.postcard_due_day),
            ("billing.debit_draw_day", self.debit_draw_day),
        ];
        match days.into_iter().find(|(_, day)| !(1..=28).contains(day)) {
            Some((key, _)) => Err((key, "must be 1 to 28")),
            None => Ok(()),
        }
    }
}

/// What being late costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lateness {
    /// Charged for a bill at 00:00 of each fee day while principal is open.
    pub fee: Yen,
    /// The same for an NP Atobarai purchase.
    pub np_fee: Yen,
    /// Days of the month, rising, from the month after that of the due date.
    pub fee_days: Vec<i8>,
    /// Of the open principal, a year of 365 days; 0.146 is 14.6 %.
    pub damages_rate: Decimal,
    /// Whether late fees and damages together stay below what `damages_rate` makes of the unpaid principal.
    pub ceiling: bool,
    pub late_bill: LateBill,
}

/// What a bill that was paid late does to its customer's rung.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LateBill {
    #[default]
    Keep,
    /// One rung down; its conditions have to be met again.
    Down,
    /// Back to the first rung, as on the first day.
    Reset,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawLateness {
    fee_yen: u64,
    np_fee_yen: u64,
    fee_days: Vec<i8>,
    damages_percent_a_year: String,
    late_bill: LateBill,
    ceiling: bool,
}

impl Default for RawLateness {
    fn default() -> Self {
        let damages_percent_a_year = "14.6".to_owned();
        let fee_days = vec![10, 25];
        let late_bill = LateBill::Keep;
        Self { fee_yen: 100, np_fee_yen: 0, fee_days, damages_percent_a_year, late_bill, ceiling: false }
    }
}

/// Payment slips.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Slips {
    /// Days past the due date until which a slip can be issued.
    pub late_days: u16,
}

impl Default for Slips {
    fn default() -> Self {
        Self { late_days: 365 }
    }
}

/// A policy's terms, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    pub billing: Billing,
    pub lateness: Lateness,
    pub slips: Slips,
}

impl Terms {
    /// The key and what is wrong with it, if a value can't be meant.
    pub(crate) fn new(billing: Billing, raw: RawLateness, slips: Slips) -> Result<Self, (&'static str, &'static str)> {
        billing.check()?;
        let percent = Decimal::from_str(&raw.damages_percent_a_year).ok();
        let percent = percent.filter(|percent| (Decimal::ZERO..=Decimal::from(20)).contains(percent));
        let percent = percent.ok_or(("lateness.damages_percent_a_year", "must be \"0\" to \"20\""))?;
        let rising = raw.fee_days.is_sorted_by(|a, b| a < b) && raw.fee_days.iter().all(|day| (1..=28).contains(day));
        if !rising {
            return Err(("lateness.fee_days", "must be days from 1 to 28, rising"));
        }
        let lateness = Lateness {
            fee: Yen::new(raw.fee_yen),
            np_fee: Yen::new(raw.np_fee_yen),
            fee_days: raw.fee_days,
            damages_rate: percent / Decimal::ONE_HUNDRED,
            ceiling: raw.ceiling,
            late_bill: raw.late_bill,
        };
        Ok(Self { billing, lateness, slips })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t_03_t_13_due_dates_and_fees_by_method() {
        let june = Month::parse("2021-06").unwrap();
        let calendar = BankCalendar::default();
        let billing = Billing::default();
        let due = |method| billing.due(method, june, &calendar).to_string();
        assert_eq!(due(PaymentMethod::Konbini), "2021-07-10", "a Saturday stays");
        assert_eq!(due(PaymentMethod::Postcard), "2021-07-20");
        assert_eq!(due(PaymentMethod::Debit), "2021-07-27");
        let may = Month::parse("2021-05").unwrap();
        assert_eq!(billing.due(PaymentMethod::Debit, may, &calendar).to_string(), "2021-06-28", "a Sunday moves");
        let fees = PaymentMethod::ALL.map(|method| billing.fee(method).get());
        assert_eq!(fees, [209, 209, 0]);
    }

    #[test]
    fn what_cannot_be_meant_is_refused_by_its_key() {
        let terms = |raw| Terms::new(Billing::default(), raw, Slips::default()).map_err(|(key, _)| key);
        assert!(terms(RawLateness::default()).is_ok());
        let percent = |text: &str| RawLateness { damages_percent_a_year: text.to_owned(), ..RawLateness::default() };
        for wrong in ["", "-1", "20.1", "x"] {
            assert_eq!(terms(percent(wrong)), Err("lateness.damages_percent_a_year"), "{wrong:?}");
        }
        for wrong in [vec![0], vec![25, 10], vec![29], vec![10, 10]] {
            let raw = RawLateness { fee_days: wrong, ..RawLateness::default() };
            assert_eq!(terms(raw), Err("lateness.fee_days"));
        }
        let billing = Billing { konbini_due_day: 31, ..Billing::default() };
        let refused = Terms::new(billing, RawLateness::default(), Slips::default());
        assert_eq!(refused.map_err(|(key, _)| key), Err("billing.konbini_due_day"));
    }
}

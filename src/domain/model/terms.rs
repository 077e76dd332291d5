//! On what terms bills are paid: due dates, fees, lateness. From `config/policy.toml`; every number has its unit.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use rust_decimal::Decimal;
use serde::de::Error;
use serde::{Deserialize, Deserializer};

use super::money::Yen;
use super::payment::{BillKey, PaymentMethod};
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
    /// Of the consumption tax, which is in every fee.
    pub tax_percent: u8,
    /// The issuer's, of qualified invoices; none until it has one.
    pub registration_number: Option<RegistrationNumber>,
    /// Days before the due date from which on a bill is told to be due soon.
    pub due_soon_days: u8,
}

/// 適格請求書発行事業者 登録番号: `T` and 13 digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegistrationNumber(u64);

impl RegistrationNumber {
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix('T').filter(|digits| digits.len() == 13)?;
        let all_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse().ok().filter(|_| all_digits).map(Self)
    }
}

impl fmt::Display for RegistrationNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "T{:013}", self.0)
    }
}

impl<'de> Deserialize<'de> for RegistrationNumber {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| D::Error::custom("`billing.registration_number`: must be T and 13 digits"))
    }
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
            tax_percent: 10,
            registration_number: None,
            due_soon_days: 3,
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

    /// The consumption tax that is in a fee, floored.
    pub fn tax_in(&self, amount: Yen) -> Yen {
        let percent = u64::from(self.tax_percent);
        Yen::new(amount.get() * percent / (100 + percent))
    }

    fn check(&self) -> Result<(), (&'static str, &'static str)> {
        let days = [
            ("billing.konbini_due_day", self.konbini_due_day),
            ("billing.postcard_due_day", self.postcard_due_day),
            ("billing.debit_draw_day", self.debit_draw_day),
        ];
        match days.into_iter().find(|(_, day)| !(1..=28).contains(day)) {
            Some((key, _)) => Err((key, "must be 1 to 28")),
            None if self.tax_percent > 100 => Err(("billing.tax_percent", "must be at most 100")),
            None if self.due_soon_days > 28 => Err(("billing.due_soon_days", "must be at most 28")),
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

impl Lateness {
    /// What a fee day costs a bill.
    pub const fn fee_on(&self, bill: BillKey) -> Yen {
        match bill {
            BillKey::Month(_) => self.fee,
            BillKey::Np(_) => self.np_fee,
        }
    }
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

/// The terms as a policy file has them.
pub(crate) struct RawTerms {
    pub billing: Billing,
    pub lateness: RawLateness,
    pub slips: Slips,
    pub np_due_days: u16,
    pub yen_per_point: u64,
    pub payout_after_months: i8,
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
    /// From the capture of an NP Atobarai purchase to its due date.
    pub np_due_days: i32,
    pub yen_per_point: u64,
    /// Months after which credit that met no bill is owed in cash.
    pub payout_after_months: i8,
    /// In force at once, as limits are.
    pub slips: Slips,
}

/// The terms of each day: those of a policy count from 00:00 of the day after it was journaled, those of the first one
/// from the beginning. What is judged late is judged by the terms of its own day.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TermsByDay(Vec<(Date, Arc<Terms>)>);

impl TermsByDay {
    /// Terms that hold on all days.
    pub fn always(terms: Terms) -> Self {
        Self(vec![(Date::MIN, Arc::new(terms))])
    }

    /// Terms that were journaled on a day: of one day the last.
    pub fn add(&mut self, journaled: Date, terms: Terms) {
        let from = if self.0.is_empty() { Date::MIN } else { journaled.plus_days(1) };
        self.0.retain(|(other, _)| *other != from);
        self.0.push((from, Arc::new(terms)));
    }

    pub fn on(&self, day: Date) -> &Terms {
        let at = self.0.partition_point(|(from, _)| *from <= day);
        &self.0[at.saturating_sub(1)].1
    }

    /// The days from one to another, by the terms that hold on them: the first day, the last, and the terms.
    pub fn spans(&self, from: Date, until: Date) -> impl Iterator<Item = (Date, Date, &Terms)> {
        let ends = self.0.iter().skip(1).map(|(next, _)| next.plus_days(-1)).chain([Date::MAX]);
        let all = self.0.iter().zip(ends).map(move |((first, terms), last)| (*first, last, terms.as_ref()));
        let clipped = all.map(move |(first, last, terms)| (first.max(from), last.min(until), terms));
        clipped.filter(|(first, last, _)| first <= last)
    }

    /// How the bill of a month is issued.
    pub fn billing(&self, month: Month) -> &Billing {
        &self.on(month.next().day(1)).billing
    }

    /// Whether no NP Atobarai purchase is ever charged a late fee.
    pub fn is_np_free(&self) -> bool {
        self.0.iter().all(|(_, terms)| terms.lateness.np_fee.is_zero())
    }
}

impl Terms {
    /// Points of one purchase, floored.
    pub fn points(&self, amount: Yen) -> u64 {
        amount.get() / self.yen_per_point
    }

    /// The key and what is wrong with it, if a value can't be meant.
    pub(crate) fn new(raw: RawTerms) -> Result<Self, (&'static str, &'static str)> {
        let RawTerms { billing, lateness: raw, slips, np_due_days, yen_per_point, payout_after_months } = raw;
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
        let checks = [
            (yen_per_point == 0, "points.yen_per_point", "must be at least 1"),
            (!(1..=60).contains(&payout_after_months), "credit.payout_after_months", "must be 1 to 60"),
            (np_due_days > 365, "np_atobarai.due_days", "must be at most 365"),
        ];
        if let Some((_, key, problem)) = checks.into_iter().find(|(is_wrong, ..)| *is_wrong) {
            return Err((key, problem));
        }
        let np_due_days = i32::from(np_due_days);
        Ok(Self { billing, lateness, np_due_days, yen_per_point, payout_after_months, slips })
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
        let raw = |billing, lateness| RawTerms {
            billing,
            lateness,
            slips: Slips::default(),
            np_due_days: 14,
            yen_per_point: 200,
            payout_after_months: 3,
        };
        let terms = |lateness| Terms::new(raw(Billing::default(), lateness)).map_err(|(key, _)| key);
        assert!(terms(RawLateness::default()).is_ok());
        let percent = |text: &str| RawLateness { damages_percent_a_year: text.to_owned(), ..RawLateness::default() };
        for wrong in ["", "-1", "20.1", "x"] {
            assert_eq!(terms(percent(wrong)), Err("lateness.damages_percent_a_year"), "{wrong:?}");
        }
        for wrong in [vec![0], vec![25, 10], vec![29], vec![10, 10]] {
            let lateness = RawLateness { fee_days: wrong, ..RawLateness::default() };
            assert_eq!(terms(lateness), Err("lateness.fee_days"));
        }
        for (billing, key) in [
            (Billing { konbini_due_day: 31, ..Billing::default() }, "billing.konbini_due_day"),
            (Billing { tax_percent: 101, ..Billing::default() }, "billing.tax_percent"),
            (Billing { due_soon_days: 29, ..Billing::default() }, "billing.due_soon_days"),
        ] {
            assert_eq!(Terms::new(raw(billing, RawLateness::default())).map_err(|(key, _)| key), Err(key));
        }
    }

    #[test]
    fn the_tax_in_a_fee_is_floored() {
        let billing = Billing::default();
        for (fee, tax) in [(0, 0), (10, 0), (11, 1), (100, 9), (109, 9), (110, 10), (209, 19)] {
            assert_eq!(billing.tax_in(Yen::new(fee)).get(), tax, "in {fee} yen");
        }
        assert_eq!(Billing { tax_percent: 0, ..billing }.tax_in(Yen::new(209)), Yen::ZERO);
        assert_eq!(Billing { tax_percent: 8, ..billing }.tax_in(Yen::new(209)), Yen::new(15));
    }

    #[test]
    fn a_registration_number_is_t_and_13_digits() {
        assert_eq!(RegistrationNumber::parse("T0123456789012").unwrap().to_string(), "T0123456789012");
        for wrong in [
            "",
            "T",
            "T123456789012",
            "T12345678901234",
            "1234567890123",
            "T123456789012x",
            "t1234567890123",
            "T+123456789012",
        ] {
            assert_eq!(RegistrationNumber::parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn each_day_has_the_terms_that_were_journaled_before_it() {
        let policy = |fee: &str| {
            let text = include_str!("../../../config/policy.toml");
            let text = text.replace("konbini_fee_yen = 209", &format!("konbini_fee_yen = {fee}"));
            crate::domain::model::policy::Policy::parse(&text).unwrap().terms
        };
        let day = |text| Date::parse(text).unwrap();
        let mut all = TermsByDay::default();
        for (journaled, fee) in [("2021-06-10", "1"), ("2021-07-01", "2"), ("2021-07-01", "3"), ("2021-08-01", "4")] {
            all.add(day(journaled), policy(fee));
        }
        let fee = |terms: &Terms| terms.billing.fee(PaymentMethod::Konbini).get();
        let on = |text| fee(all.on(day(text)));
        assert_eq!((on("2000-01-01"), on("2021-07-01"), on("2021-07-02"), on("2021-08-01")), (1, 1, 3, 3));
        assert_eq!(on("2021-08-02"), 4);
        let spans: Vec<_> = all
            .spans(day("2021-07-01"), day("2021-08-03"))
            .map(|(from, until, terms)| format!("{from} {until} {}", fee(terms)))
            .collect();
        assert_eq!(spans, ["2021-07-01 2021-07-01 1", "2021-07-02 2021-08-01 3", "2021-08-02 2021-08-03 4"]);
    }
}

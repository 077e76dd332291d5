//! What a bill comes to at a moment: its fee, late fees and damages, as functions of its story and the time. Nothing
//! has to run for them to become true; a posting only records it.

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use super::bill::{Bill, Change, ChangeKind, LateFee};
use crate::domain::model::ids::Lsn;
use crate::domain::model::money::Yen;
use crate::domain::model::payment::{BillKey, Lines, PaymentMethod};
use crate::domain::model::policy::Policy;
use crate::domain::model::terms::{Lateness, TermsByDay};
use crate::domain::model::time::{BankCalendar, Date, Millis, Month, Now};

/// A year of damages has so many days, leap year or not.
const DAYS_A_YEAR: u32 = 365;

/// What accounts and bills are judged by: the policy in force, the terms of each day and the days on which banks are closed.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    pub policy: &'a Policy,
    pub terms: &'a TermsByDay,
    pub calendar: &'a BankCalendar,
}

/// The same for one customer's bills.
#[derive(Clone, Copy)]
pub struct BillRules<'a> {
    pub terms: &'a TermsByDay,
    pub calendar: &'a BankCalendar,
    /// The customer's present method, for bills that have no other.
    pub method: PaymentMethod,
}

impl<'a> Rules<'a> {
    pub fn bills_by(self, method: PaymentMethod) -> BillRules<'a> {
        BillRules { terms: self.terms, calendar: self.calendar, method }
    }
}

impl Bill {
    pub fn method(&self, rules: &BillRules<'_>) -> PaymentMethod {
        self.billed_by.unwrap_or(rules.method)
    }

    pub fn due(&self, rules: &BillRules<'_>) -> Date {
        match (self.due, self.key) {
            (Some(due), _) => due,
            (None, BillKey::Month(month)) => rules.terms.billing(month).due(self.method(rules), month, rules.calendar),
            // An NP bill has its date from birth.
            (None, BillKey::Np(_)) => Date::MAX,
        }
    }

    /// Charged in months that have a bill, and waived if refunds bring its principal to zero by its due date.
    pub fn bill_fee(&self, rules: &BillRules<'_>, now: &Now) -> Yen {
        self.charged_until(rules, now, Lsn(u64::MAX)).bill_fee
    }

    /// Principal, bill fee and posted damages as charged less refunds, as they were at `now`; of the refunds of that very
    /// moment, those up to a record.
    pub fn charged_until(&self, rules: &BillRules<'_>, now: &Now, upto: Lsn) -> Lines {
        let principal = self.net() + self.changes.refunded_after(now.at, upto);
        let mut bill_fee = match (self.fee, self.key) {
            (Some(fee), _) => fee,
            (None, BillKey::Month(month)) if month < now.month => rules.terms.billing(month).fee(self.method(rules)),
            (None, _) => Yen::ZERO,
        };
        if self.is_bill_fee_waived_by_staff(now.at) {
            bill_fee = Yen::ZERO;
        }
        if principal.is_zero() && !bill_fee.is_zero() {
            let latest = self.changes.latest_refund(now.at, upto);
            if latest.is_none_or(|latest| latest.at.date() <= self.due(rules)) {
                bill_fee = Yen::ZERO;
            }
        }
        Lines { principal, bill_fee, late_fees: Yen::ZERO, damages: self.damages_posted_by(now.at) }
    }

    /// The late fees of every fee day up to `now` on which principal was open, by the terms of that day. A posted one is
    /// what it was posted as; with the ceiling, one is clipped to what is left under the damages of its day.
    pub fn late_fees(&self, rules: &BillRules<'_>, now: &Now) -> Vec<LateFee> {
        let due = self.due(rules);
        let is_np = matches!(self.key, BillKey::Np(_));
        let mut charged = Vec::new();
        if now.date <= due || is_np && rules.terms.is_np_free() && self.late_fees.is_empty() {
            return charged;
        }
        let mut sum = Yen::ZERO;
        let mut opening = Opening::of(self, due);
        // A bill that was given up costs no more from then on.
        let until = self.written_off_at(now.at).map_or(now.date, |at| at.date().min(now.date));
        for (date, lateness) in fee_days(rules.terms, due, due, until) {
            if opening.before(date).is_zero() || self.is_late_fee_waived(date, now.at) {
                continue;
            }
            let mut amount = self.late_fee_of(date).unwrap_or(lateness.fee_on(self.key));
            if lateness.ceiling {
                let accrued = self.damages_by(due, date, rules.terms);
                amount = amount.min(accrued.minus_or_zero(sum + self.damages_posted_by(date.start())));
            }
            if !amount.is_zero() {
                charged.push(LateFee { date, amount });
                sum += amount;
            }
        }
        charged
    }

    /// Whether money was put on it after a day on which a late fee is due that was not posted, or the other way round.
    pub fn is_paid_beside_a_fee(&self, rules: &BillRules<'_>, now: &Now) -> bool {
        let (Some(due), Some(last)) = (self.due, self.changes.as_slice().last()) else { return false };
        if last.at.day() <= due.day() || now.date <= due {
            return false;
        }
        let fees = self.late_fees(rules, now);
        let differ = fees.iter().filter(|late| !self.late_fees.contains(late));
        let differ = differ.chain(self.late_fees.iter().filter(|late| !fees.contains(late)));
        differ.into_iter().any(|late| late.date.start() <= last.at)
    }

    /// The sum over the late days up to `today` of that day's opening principal × its rate / 365, floored once.
    fn damages_by(&self, due: Date, today: Date, terms: &TermsByDay) -> Yen {
        if today <= due {
            return Yen::ZERO;
        }
        let mut opening = Opening::of(self, due);
        let mut before = 0;
        let mut sum = Decimal::ZERO;
        for (_, last, terms) in terms.spans(due.plus_days(1), today) {
            opening.before(last);
            let yen_days = opening.yen_days_by(last);
            let of_span = Decimal::try_from_i128_with_scale(yen_days - before, 0).unwrap_or_default();
            sum += of_span * terms.lateness.damages_rate / Decimal::from(DAYS_A_YEAR);
            before = yen_days;
        }
        Yen::new(sum.floor().to_u64().unwrap_or(0))
    }

    /// Damages accrued by now; owed only as far as staff has posted them.
    pub fn damages_accrued(&self, rules: &BillRules<'_>, now: &Now) -> Yen {
        let until = self.written_off_at(now.at).map_or(now.date, |at| at.date().min(now.date));
        let accrued = self.damages_by(self.due(rules), until, rules.terms);
        if !rules.terms.on(now.date).lateness.ceiling {
            return accrued;
        }
        accrued.minus_or_zero(self.late_fee_sum(rules, now))
    }

    /// As far as they stand on `judged` too: the same bill as if the money had come of which there is provisional news.
    pub fn late_fees_if(&self, judged: Option<&Self>, rules: &BillRules<'_>, now: &Now) -> Vec<LateFee> {
        let mut due = self.late_fees(rules, now);
        if let Some(judged) = judged.filter(|_| !due.is_empty()) {
            let stand = judged.late_fees(rules, now);
            for late in &mut due {
                let there = stand.iter().find(|other| other.date == late.date);
                late.amount = late.amount.min(there.map_or(Yen::ZERO, |other| other.amount));
            }
            due.retain(|late| !late.amount.is_zero());
        }
        due
    }

    pub fn late_fee_sum(&self, rules: &BillRules<'_>, now: &Now) -> Yen {
        self.late_fees(rules, now).iter().map(|late| late.amount).sum()
    }

    /// As charged less refunds, with the damages that were posted.
    pub fn lines(&self, rules: &BillRules<'_>, now: &Now) -> Lines {
        Lines { late_fees: self.late_fee_sum(rules, now), ..self.lines_but_late_fees(rules, now) }
    }

    /// The same with no late fees, for those who judge them otherwise.
    pub fn lines_but_late_fees(&self, rules: &BillRules<'_>, now: &Now) -> Lines {
        self.charged_until(rules, now, Lsn(u64::MAX))
    }

    /// What is still owed of each line.
    pub fn owed(&self, rules: &BillRules<'_>, now: &Now) -> Lines {
        self.lines(rules, now).minus_or_zero(&self.covered())
    }

    /// More paid than is charged, after a refund.
    pub fn overpaid(&self, rules: &BillRules<'_>, now: &Now) -> Lines {
        let paid = self.covered();
        // Without a payment of fees only the principal can be too much.
        if paid.total() == paid.principal {
            let principal = paid.principal.minus_or_zero(self.net());
            return Lines { principal, ..Lines::default() };
        }
        paid.minus_or_zero(&self.lines(rules, now))
    }

    /// The first day after `today` on which a late fee is charged if nothing is paid until then.
    pub fn next_fee_day(&self, rules: &BillRules<'_>, today: Date) -> Option<Date> {
        if self.unpaid().is_zero() || self.written_off_at(Millis(i64::MAX)).is_some() {
            return None;
        }
        let two_months = today.month().next().next().next().day(1);
        let mut days = fee_days(rules.terms, self.due(rules), today.plus_days(1), two_months);
        days.find(|(_, lateness)| !lateness.fee_on(self.key).is_zero()).map(|(date, _)| date)
    }

    pub fn is_overdue(&self, rules: &BillRules<'_>, now: &Now) -> bool {
        !self.unpaid().is_zero() && self.due(rules) < now.date
    }
}

/// The principal of a bill that was open at the beginning of one day after the other.
struct Opening<'c> {
    /// Those not yet counted, by their time.
    changes: &'c [Change],
    up: Yen,
    down: Yen,
    due: i64,
    /// Open principal × late days up to `counted`, a day's number.
    yen_days: i128,
    counted: i64,
}

impl<'c> Opening<'c> {
    fn of(bill: &'c Bill, due: Date) -> Self {
        let due = due.day();
        let changes = bill.changes.as_slice();
        Self { changes, up: bill.principal_at_issue(), down: Yen::ZERO, due, yen_days: 0, counted: due }
    }

    /// Open just before `date` begins, which must not be earlier than the one asked about before.
    fn before(&mut self, date: Date) -> Yen {
        let start = date.start();
        while let Some((change, rest)) = self.changes.split_first().filter(|(change, _)| change.at < start) {
            let day = change.at.day().max(self.due);
            (self.yen_days, self.counted) = (self.yen_days_on(day), day);
            *(if change.kind == ChangeKind::Freed { &mut self.up } else { &mut self.down }) += change.lines.principal;
            self.changes = rest;
        }
        self.up.minus_or_zero(self.down)
    }

    /// By the day that was last asked about.
    fn yen_days_by(&self, date: Date) -> i128 {
        self.yen_days_on(date.day())
    }

    fn yen_days_on(&self, day: i64) -> i128 {
        let open = i128::from(self.up.get()) - i128::from(self.down.get());
        self.yen_days + open * i128::from(day - self.counted)
    }
}

/// The fee days of a bill from one day to another, each with its terms: from the month after that of the due date.
fn fee_days(terms: &TermsByDay, due: Date, from: Date, until: Date) -> impl Iterator<Item = (Date, &Lateness)> {
    let from = from.max(due.month().next().day(1));
    terms.spans(from, until).flat_map(|(first, last, terms)| {
        let months = first.month().to_number()..=last.month().to_number();
        let days = |month: Month| terms.lateness.fee_days.iter().map(move |day| month.day(*day));
        let all = months.filter_map(Month::from_number).flat_map(days);
        all.filter(move |date| (first..=last).contains(date)).map(|date| (date, &terms.lateness))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::billing::bill::Change;
    use crate::domain::billing::sums::Money;
    use crate::domain::model::payment::Line;
    use crate::domain::model::purchase::Channel;
    use crate::domain::model::time::Millis;

    const SHIPPED: &str = include_str!("../../../config/policy.toml");

    fn terms(changes: &[(&str, &str)]) -> TermsByDay {
        let mut text = SHIPPED.to_owned();
        for (from, to) in changes {
            assert!(text.contains(from), "{from}");
            text = text.replace(from, to);
        }
        TermsByDay::always(Policy::parse(&text).unwrap().terms)
    }

    fn no_bill_fee() -> TermsByDay {
        terms(&[("konbini_fee_yen = 209", "konbini_fee_yen = 0")])
    }

    fn june(amount: u64) -> Bill {
        let mut bill = Bill::empty_month(Month::parse("2021-06").unwrap());
        bill.charge(Channel::InStore, Millis(0), Yen::new(amount));
        bill
    }

    fn start_of(date: &str) -> Now {
        Now::at(Date::parse(date).unwrap().start())
    }

    fn paid(at: &str, amount: u64) -> Change {
        let at = Millis::parse(at).unwrap();
        let lines = Lines::of(Line::Principal, Yen::new(amount));
        Change { at, kind: ChangeKind::Paid, money: Money::own(at), lines }
    }

    fn rules<'a>(terms: &'a TermsByDay, calendar: &'a BankCalendar, method: PaymentMethod) -> BillRules<'a> {
        BillRules { terms, calendar, method }
    }

    #[test]
    fn t_01_late_fees_and_damages_of_30_000_yen() {
        let terms = no_bill_fee();
        let calendar = BankCalendar::default();
        let rules = rules(&terms, &calendar, PaymentMethod::Konbini);
        let bill = june(30_000);
        let table = [
            ("2021-07-10", 0, 30_000, 0),
            ("2021-07-11", 0, 30_000, 12),
            ("2021-08-09", 0, 30_000, 360),
            ("2021-08-10", 100, 30_100, 372),
            ("2021-08-24", 100, 30_100, 540),
            ("2021-08-25", 200, 30_200, 552),
            ("2021-09-10", 300, 30_300, 744),
            ("2021-09-25", 400, 30_400, 924),
            ("2021-10-09", 400, 30_400, 1_092),
            ("2021-10-10", 500, 30_500, 1_104),
            ("2022-07-10", 2_300, 32_300, 4_380),
        ];
        for (date, fees, payable, damages) in table {
            let now = start_of(date);
            let owed = bill.owed(&rules, &now);
            assert_eq!(owed.late_fees.get(), fees, "fees on {date}");
            assert_eq!(owed.total().get(), payable, "payable on {date}");
            assert_eq!(bill.damages_accrued(&rules, &now).get(), damages, "damages on {date}");
            assert_eq!(bill.is_overdue(&rules, &now), date > "2021-07-10", "overdue on {date}");
        }
        assert_eq!(bill.damages_accrued(&rules, &start_of("2022-07-11")).get(), 4_392, "366 days");
    }

    #[test]
    fn t_02_damages_are_exact() {
        let terms = no_bill_fee();
        let calendar = BankCalendar::default();
        let rules = rules(&terms, &calendar, PaymentMethod::Konbini);
        assert_eq!(june(3_125).damages_accrued(&rules, &start_of("2021-10-10")).get(), 115);
    }

    #[test]
    fn t_03_t_04_the_bill_by_each_method_and_its_first_late_fees() {
        let terms = terms(&[]);
        let calendar = BankCalendar::default();
        let bill = june(30_000);
        for (method, total, due) in [
            (PaymentMethod::Konbini, 30_209, "2021-07-10"),
            (PaymentMethod::Postcard, 30_209, "2021-07-20"),
            (PaymentMethod::Debit, 30_000, "2021-07-27"),
        ] {
            let rules = rules(&terms, &calendar, method);
            assert_eq!(bill.due(&rules).to_string(), due);
            for (date, late) in [("2021-07-01", 0), ("2021-08-09", 0), ("2021-08-10", 100), ("2021-08-25", 200)] {
                assert_eq!(bill.owed(&rules, &start_of(date)).total().get(), total + late, "{method:?} on {date}");
            }
            assert_eq!(bill.owed(&rules, &start_of("2021-06-30")).total().get(), 30_000, "no fee before it closes");
        }
    }

    #[test]
    fn t_12_the_ceiling_clips_late_fees_first() {
        let calendar = BankCalendar::default();
        let terms = terms(&[("ceiling = false", "ceiling = true"), ("konbini_fee_yen = 209", "konbini_fee_yen = 0")]);
        let rules = rules(&terms, &calendar, PaymentMethod::Konbini);
        let fees = |yen, date| june(yen).lines(&rules, &start_of(date)).late_fees.get();
        assert_eq!(fees(30_000, "2021-08-10"), 100);
        assert_eq!(june(30_000).damages_accrued(&rules, &start_of("2021-08-10")).get(), 272, "372 less the fee");
        assert_eq!((fees(2_000, "2021-08-10"), fees(2_000, "2021-08-24"), fees(2_000, "2021-08-25")), (24, 24, 36));
        // The balances from which nothing is clipped on that day.
        for (date, sum, from) in [
            ("2021-08-10", 100, 8_065),
            ("2021-08-25", 200, 10_870),
            ("2021-09-10", 300, 12_097),
            ("2021-09-25", 400, 12_988),
        ] {
            assert_eq!(fees(from, date), sum, "{from} on {date}");
            assert!(fees(from - 1, date) < sum, "{} on {date}", from - 1);
        }
    }

    #[test]
    fn a_changed_rate_and_the_ceiling_count_from_their_day_on() {
        let calendar = BankCalendar::default();
        let changed = [
            ("damages_percent_a_year = \"14.6\"", "damages_percent_a_year = \"7.3\""),
            ("fee_yen = 100", "fee_yen = 300"),
            ("ceiling = false", "ceiling = true"),
        ];
        let mut all = terms(&[]);
        all.add(Date::parse("2021-08-11").unwrap(), terms(&changed).on(Date::MIN).clone());
        let rules = rules(&all, &calendar, PaymentMethod::Konbini);
        let bill = june(30_000);
        let at = |date| {
            let now = start_of(date);
            (bill.late_fee_sum(&rules, &now).get(), bill.damages_by(bill.due(&rules), now.date, &all).get())
        };
        assert_eq!(at("2021-08-10"), (100, 372), "by the terms of then");
        assert_eq!(at("2021-08-11"), (100, 384), "the last day of the old rate");
        assert_eq!(at("2021-08-12"), (100, 390), "6 a day from here on");
        // 468 by then, of which 100 are charged; 300 are below what is left. On the next day of fees 564, less 400.
        assert_eq!((at("2021-08-25"), at("2021-09-10")), ((400, 468), (564, 564)));
    }

    #[test]
    fn what_counts_is_the_day_of_the_payment() {
        let terms = no_bill_fee();
        let calendar = BankCalendar::default();
        let rules = rules(&terms, &calendar, PaymentMethod::Konbini);
        let late_fees = |change: Change, date| {
            let mut bill = june(30_000);
            bill.changes.add(change);
            bill.lines(&rules, &start_of(date)).late_fees.get()
        };
        assert_eq!(late_fees(paid("2021-08-09T23:59:59.999+09:00", 30_000), "2021-09-01"), 0, "in the last moment");
        assert_eq!(late_fees(paid("2021-08-10T00:00:00+09:00", 30_000), "2021-09-01"), 100, "one moment late");
        assert_eq!(late_fees(paid("2021-08-09T12:00:00+09:00", 29_999), "2021-09-01"), 200, "one yen is open");
        let mut bill = june(30_000);
        bill.changes.add(paid("2021-07-20T09:00:00+09:00", 10_000));
        // 10 days of 30,000, the day of the payment included, then 21 of 20,000.
        let damages = bill.damages_accrued(&rules, &start_of("2021-08-10")).get();
        assert_eq!(damages, (10 * 30_000 + 21 * 20_000) * 146 / 365_000);
    }

    #[test]
    fn the_bill_fee_is_waived_when_refunds_take_everything_by_the_due_date() {
        let terms = terms(&[]);
        let calendar = BankCalendar::default();
        let rules = rules(&terms, &calendar, PaymentMethod::Konbini);
        let refunded = |at: &str, amount| {
            let mut bill = june(30_000);
            (bill.fee, bill.due) = (Some(Yen::new(209)), Date::parse("2021-07-10"));
            bill.refund(Channel::InStore, Millis(1), Yen::new(amount), Money::own(Millis::parse(at).unwrap()));
            bill.owed(&rules, &start_of("2021-09-01"))
        };
        assert_eq!(refunded("2021-07-10T23:59:59+09:00", 30_000).total(), Yen::ZERO);
        assert_eq!(refunded("2021-07-11T00:00:00+09:00", 30_000).total(), Yen::new(209));
        assert_eq!(refunded("2021-07-05T00:00:00+09:00", 29_999).bill_fee, Yen::new(209));
        assert_eq!(refunded("2021-08-10T00:00:00+09:00", 30_000).late_fees, Yen::new(100), "zero stops fees from then");
    }
}

//! Japan's calendar: the only place where a time becomes a date or a month.
//!
//! Japan has one offset, +09:00, and no daylight saving since 1951, so no zone database is needed
//! (`docs/decisions/0005-fixed-jst-offset.md`).

use std::fmt;

use jiff::civil;
use jiff::tz::Offset;

const JST: Offset = Offset::constant(9);
pub const SECOND: i64 = 1_000;
pub const MINUTE: i64 = 60 * SECOND;
pub const HOUR: i64 = 60 * MINUTE;
pub const DAY: i64 = 24 * HOUR;

/// Unix time in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub i64);

impl Millis {
    /// Reads RFC 3339 with any offset.
    pub fn parse(text: &str) -> Option<Self> {
        text.parse::<jiff::Timestamp>().ok().map(|at| Self(at.as_millisecond()))
    }

    #[must_use]
    pub const fn plus(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Number of the day in Japan on which it falls, counted from that of 1970-01-01.
    pub const fn day(self) -> i64 {
        self.0.saturating_add(9 * HOUR).div_euclid(DAY)
    }

    /// The day in Japan on which it falls.
    pub fn date(self) -> Date {
        Date(self.civil().date())
    }

    /// Month, day, hour, minute, second in UTC, two digits each: how networks write the time of transmission.
    pub fn utc_mmddhhmmss(self) -> [u8; 10] {
        let t = Offset::UTC.to_datetime(jiff::Timestamp::from_millisecond(self.0).unwrap_or_default());
        let mut text = [b'0'; 10];
        for (at, number) in [(0, t.month()), (2, t.day()), (4, t.hour()), (6, t.minute()), (8, t.second())] {
            put_digits(&mut text, at, 2, i16::from(number));
        }
        text
    }

    fn civil(self) -> civil::DateTime {
        let at = jiff::Timestamp::from_millisecond(self.0).unwrap_or_default();
        JST.to_datetime(at)
    }
}

/// RFC 3339 in Japan's time with three decimals, as every answer shows it.
impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let t = self.civil();
        let mut text = *b"0000-00-00T00:00:00.000+09:00";
        put_date(&mut text, t.date());
        for (at, number) in [(11, t.hour()), (14, t.minute()), (17, t.second())] {
            put_digits(&mut text, at, 2, i16::from(number));
        }
        put_digits(&mut text, 20, 3, t.millisecond());
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

fn put_date(text: &mut [u8], date: civil::Date) {
    put_digits(text, 0, 4, date.year());
    put_digits(text, 5, 2, i16::from(date.month()));
    put_digits(text, 8, 2, i16::from(date.day()));
}

/// Every answer shows a time or two; this takes a tenth of what the formatter takes.
fn put_digits(text: &mut [u8], at: usize, count: usize, number: i16) {
    let mut left = number.unsigned_abs();
    for place in text.iter_mut().skip(at).take(count).rev() {
        *place = b'0' + u8::try_from(left % 10).unwrap_or(0);
        left /= 10;
    }
}

/// A day in Japan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date(civil::Date);

impl Date {
    /// The last day there is.
    pub const MAX: Self = Self(civil::Date::MAX);

    pub fn new(year: i16, month: i8, day: i8) -> Option<Self> {
        civil::Date::new(year, month, day).ok().map(Self)
    }

    /// Reads `YYYY-MM-DD`.
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() == 10).then(|| text.parse().ok().map(Self)).flatten()
    }

    /// Midnight in Japan at which this day begins.
    pub fn start(self) -> Millis {
        let at = JST.to_timestamp(self.0.to_datetime(civil::Time::midnight()));
        Millis(at.map(jiff::Timestamp::as_millisecond).unwrap_or(i64::MAX))
    }

    /// See [`Millis::day`].
    pub fn day(self) -> i64 {
        self.start().day()
    }

    #[must_use]
    pub fn plus_days(self, days: i32) -> Self {
        Self(self.0.saturating_add(jiff::Span::new().days(days)))
    }

    /// The same day `years` later; Feb 29 becomes Feb 28 in a common year.
    #[must_use]
    pub fn plus_years(self, years: i16) -> Self {
        Self(self.0.saturating_add(jiff::Span::new().years(years)))
    }

    /// The same day `months` later, or the last of that month.
    #[must_use]
    pub fn plus_months(self, months: i8) -> Self {
        Self(self.0.saturating_add(jiff::Span::new().months(months)))
    }

    /// Days from `earlier` to here; negative if that is later.
    pub fn days_since(self, earlier: Self) -> i32 {
        self.0.since(earlier.0).map_or(0, |span| span.get_days())
    }

    pub fn is_weekend(self) -> bool {
        matches!(self.0.weekday(), civil::Weekday::Saturday | civil::Weekday::Sunday)
    }

    pub fn month(self) -> Month {
        Month::of(self.0)
    }

    pub fn year(self) -> i16 {
        self.0.year()
    }

    /// `YYYYMMDD` as a number: how a date is stored.
    pub fn to_number(self) -> u32 {
        let (y, m, d) = (self.0.year(), self.0.month(), self.0.day());
        u32::from(y.unsigned_abs()) * 10_000 + u32::from(m.unsigned_abs()) * 100 + u32::from(d.unsigned_abs())
    }

    pub fn from_number(number: u32) -> Option<Self> {
        let year = i16::try_from(number / 10_000).ok()?;
        let month = i8::try_from(number / 100 % 100).ok()?;
        Self::new(year, month, i8::try_from(number % 100).ok()?)
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = *b"0000-00-00";
        put_date(&mut text, self.0);
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

/// A calendar month in Japan: what one bill covers. Stored as year × 12 + (month − 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Month(u16);

impl Month {
    fn of(date: civil::Date) -> Self {
        Self(date.year().unsigned_abs() * 12 + u16::from(date.month().unsigned_abs()) - 1)
    }

    /// Reads `YYYY-MM`.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 7 {
            return None;
        }
        Date::parse(&format!("{text}-01")).map(Date::month)
    }

    pub const fn to_number(self) -> u16 {
        self.0
    }

    /// Months of the years 1 to 5461.
    pub const fn from_number(number: u16) -> Option<Self> {
        if number >= 12 { Some(Self(number)) } else { None }
    }

    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The `day`-th of this month (1 to 28).
    pub fn day(self, day: i8) -> Date {
        let year = i16::try_from(self.0 / 12).unwrap_or(i16::MAX);
        let month = i8::try_from(self.0 % 12).unwrap_or(0) + 1;
        Date(civil::Date::new(year, month, day).unwrap_or(civil::Date::MAX))
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.0 / 12, self.0 % 12 + 1)
    }
}

/// One moment with the day and month it falls on in Japan, computed once for a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    pub at: Millis,
    pub date: Date,
    pub month: Month,
}

impl Now {
    pub fn at(at: Millis) -> Self {
        let date = at.civil().date();
        Self { at, date: Date(date), month: Month::of(date) }
    }
}

/// Last moment (exclusive) at which a sale of `at` can still be cancelled: 00:15 of the next day.
pub fn void_window_end(at: Millis) -> Millis {
    Now::at(at).date.plus_days(1).start().plus(15 * MINUTE)
}

/// Days on which banks are closed besides weekends, from `config/holidays.csv`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BankCalendar {
    closed: Vec<Date>,
}

/// A line of the holiday file that can't be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {text:?} is not `YYYY-MM-DD,name`")]
pub struct BadHoliday {
    pub line: usize,
    pub text: String,
}

impl BankCalendar {
    /// Reads lines of `YYYY-MM-DD,name`; `#` starts a comment, the header `date,name` is skipped.
    pub fn parse(csv: &str) -> Result<Self, BadHoliday> {
        let mut closed = Vec::new();
        for (at, line) in csv.lines().enumerate() {
            let text = line.trim();
            if text.is_empty() || text.starts_with('#') || text.starts_with("date,") {
                continue;
            }
            let date = text.split(',').next().and_then(Date::parse);
            closed.push(date.ok_or_else(|| BadHoliday { line: at + 1, text: text.to_owned() })?);
        }
        closed.sort_unstable();
        closed.dedup();
        Ok(Self { closed })
    }

    /// Whether the file says anything about `date`'s year: beyond it, only weekends are known.
    pub fn covers(&self, date: Date) -> bool {
        let years = |d: &Date| d.year();
        matches!((self.closed.first().map(years), self.closed.last().map(years)),
            (Some(first), Some(last)) if (first..=last).contains(&date.year()))
    }

    pub fn next_business_day(&self, mut date: Date) -> Date {
        while date.is_weekend() || self.closed.binary_search(&date).is_ok() {
            date = date.plus_days(1);
        }
        date
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Millis {
        Millis::parse(text).unwrap()
    }

    #[test]
    fn t_07_the_month_turns_at_midnight_in_japan() {
        let last = Now::at(at("2021-06-30T23:59:59.999+09:00"));
        let first = Now::at(at("2021-07-01T00:00:00.000+09:00"));
        assert_eq!((last.month.to_string(), first.month.to_string()), ("2021-06".into(), "2021-07".into()));
        assert_eq!(first.at.0 - last.at.0, 1);
        assert_eq!(first.date.start(), first.at);
    }

    #[test]
    fn times_are_shown_in_japan() {
        assert_eq!(at("2026-11-23T08:45:01.5Z").to_string(), "2026-11-23T17:45:01.500+09:00");
        assert_eq!(Millis::parse("2026-11-23 08:45"), None);
    }

    #[test]
    fn numbers_keep_dates_and_months() {
        let date = Date::new(2024, 2, 29).unwrap();
        assert_eq!(Date::from_number(date.to_number()), Some(date));
        assert_eq!(Date::from_number(20_230_229), None);
        let month = Month::parse("2026-12").unwrap();
        assert_eq!(Month::from_number(month.to_number()), Some(month));
        assert_eq!(month.next().to_string(), "2027-01");
        assert_eq!(month.next().day(10).to_string(), "2027-01-10");
        assert_eq!(Month::parse("2026-13"), None);
        assert_eq!(date.plus_years(1).to_string(), "2025-02-28");
    }

    #[test]
    fn a_sale_can_be_cancelled_until_a_quarter_past_midnight() {
        let end = void_window_end(at("2026-11-23T23:59:59.999+09:00"));
        assert_eq!(end.to_string(), "2026-11-24T00:15:00.000+09:00");
        assert_eq!(void_window_end(at("2026-11-23T00:00:00+09:00")), end);
    }

    #[test]
    fn t_13_a_draw_moves_past_weekends_and_holidays() {
        let calendar = BankCalendar::parse("date,name\n2021-06-28,made up\n").unwrap();
        let sunday = Date::parse("2021-06-27").unwrap();
        assert_eq!(BankCalendar::default().next_business_day(sunday).to_string(), "2021-06-28");
        assert_eq!(calendar.next_business_day(sunday).to_string(), "2021-06-29");
        assert!(calendar.covers(sunday) && !calendar.covers(sunday.plus_years(1)));
        assert_eq!(BankCalendar::parse("x").unwrap_err().line, 1);
    }
}

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
    /// Reads RFC 3339 with any offset; of the years that can be shown.
    pub fn parse(text: &str) -> Option<Self> {
        let at = Self(text.parse::<jiff::Timestamp>().ok()?.as_millisecond());
        (at.civil().year() >= 0).then_some(at)
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

    /// Of a time beyond the calendar the calendar's end, never another time.
    fn civil(self) -> civil::DateTime {
        let end = if self.0 < 0 { jiff::Timestamp::MIN } else { jiff::Timestamp::MAX };
        JST.to_datetime(jiff::Timestamp::from_millisecond(self.0).unwrap_or(end))
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
    /// The first day there is.
    pub const MIN: Self = Self(civil::Date::MIN);
    /// The last day there is.
    pub const MAX: Self = Self(civil::Date::MAX);

    pub fn new(year: i16, month: i8, day: i8) -> Option<Self> {
        civil::Date::new(year, month, day).ok().map(Self)
    }

    /// Reads `YYYY-MM-DD`, and no other form of ISO 8601.
    pub fn parse(text: &str) -> Option<Self> {
        let form = |(at, byte): (usize, u8)| if at == 4 || at == 7 { byte == b'-' } else { byte.is_ascii_digit() };
        (text.len() == 10 && text.bytes().enumerate().all(form)).then(|| text.parse().ok().map(Self)).flatten()
    }

    /// Midnight in Japan at which this day begins.
    pub fn start(self) -> Millis {
        let at = JST.to_timestamp(self.0.to_datetime(civil::Time::midnight()));
        // Only the first day of the calendar begins before it.
        Millis(at.unwrap_or(jiff::Timestamp::MIN).as_millisecond())
    }

    /// See [`Millis::day`].
    pub fn day(self) -> i64 {
        self.start().day()
    }

    /// Some days later, as far as the calendar goes.
    #[must_use]
    pub fn plus_days(self, days: i32) -> Self {
        let end = if days < 0 { civil::Date::MIN } else { civil::Date::MAX };
        Self(jiff::Span::new().try_days(days).map_or(end, |span| self.0.saturating_add(span)))
    }

    /// The same day `years` later; Feb 29 becomes Feb 28 in a common year.
    #[must_use]
    pub fn plus_years(self, years: i16) -> Self {
        let end = if years < 0 { civil::Date::MIN } else { civil::Date::MAX };
        Self(jiff::Span::new().try_years(years).map_or(end, |span| self.0.saturating_add(span)))
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

    /// `YYYYMMDD` as a number: how a date is stored. No date before the year 0 is ever read; it would be the first of it.
    pub fn to_number(self) -> u32 {
        let (y, m, d) = if self.0.year() < 0 { (0, 1, 1) } else { (self.0.year(), self.0.month(), self.0.day()) };
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
    /// The first and the last that 16 bits hold, of whole years.
    const FIRST: u16 = 12;
    const LAST: u16 = 5_460 * 12 + 11;

    /// Of a date beyond them the first or the last one, never another month.
    fn of(date: civil::Date) -> Self {
        match date.year() {
            ..1 => Self(Self::FIRST),
            year @ 1..=5_460 => Self(year.unsigned_abs() * 12 + u16::from(date.month().unsigned_abs()) - 1),
            5_461.. => Self(Self::LAST),
        }
    }

    /// Reads `YYYY-MM` of the years 1 to 5460.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 7 {
            return None;
        }
        let first = Date::parse(&format!("{text}-01"))?;
        (1..=5_460).contains(&first.year()).then(|| first.month())
    }

    pub const fn to_number(self) -> u16 {
        self.0
    }

    /// Months of the years 1 to 5460.
    pub const fn from_number(number: u16) -> Option<Self> {
        if number >= Self::FIRST && number <= Self::LAST { Some(Self(number)) } else { None }
    }

    /// The month after it; the last one has none and stays.
    #[must_use]
    pub const fn next(self) -> Self {
        if self.0 < Self::LAST { Self(self.0 + 1) } else { self }
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

/// After midnight, ms: so long the sales of the day before can still be cancelled. Their month is billed at its end.
pub const VOID_WINDOW: i64 = 15 * MINUTE;

/// Last moment (exclusive) at which a sale of `at` can still be cancelled: 00:15 of the next day.
pub fn void_window_end(at: Millis) -> Millis {
    Now::at(at).date.plus_days(1).start().plus(VOID_WINDOW)
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
    fn what_the_calendar_cannot_hold_is_refused_and_never_another_day() {
        let first = Month::parse("0001-01").unwrap();
        let last = Month::parse("5460-12").unwrap();
        for month in [first, last] {
            assert_eq!(Month::from_number(month.to_number()), Some(month));
            assert_eq!(Month::parse(&month.to_string()), Some(month));
        }
        // 7488-03 had the number of 2026-11.
        for text in ["7488-03", "5461-01", "9999-12", "0000-12", "-001-01", "2026-1", "2026-001", "20261-1", "+026-01"]
        {
            assert_eq!(Month::parse(text), None, "{text}");
        }
        assert_eq!((Month::from_number(11), Month::from_number(last.to_number() + 1)), (None, None));
        assert_eq!(last.next(), last);
        assert_eq!(Date::parse("9999-12-31").unwrap().month(), last);
        assert_eq!(Date::parse("0000-12-31").unwrap().month(), first);
        for text in ["2024-W01-1", "20240101T0", "-999-01-01", "2024/01/01", "2023-02-29"] {
            assert_eq!(Date::parse(text), None, "{text}");
        }
        let today = Date::parse("2026-11-23").unwrap();
        let end = Date::parse("9999-12-31").unwrap();
        assert_eq!((today.plus_days(i32::MAX), today.plus_years(i16::MAX)), (end, end));
        assert!(today.plus_days(i32::MIN) < today && today.plus_years(i16::MIN) < today);
        assert!(today.plus_days(i32::MIN).start() < Millis(0));
        assert_eq!(today.plus_years(-10_000).to_number(), 101, "no other year");
        assert_eq!((Millis(i64::MAX).date(), Millis(i64::MIN).date() < today), (end, true));
        assert!(Millis(i64::MAX).to_string().starts_with("9999-12-31T07:00:00"), "the calendar's end");
        for text in ["-000001-01-01T00:00:00Z", "-009999-06-01T00:00:00Z", "10000-01-01T00:00:00Z"] {
            assert_eq!(Millis::parse(text), None, "{text}");
        }
        assert_eq!(at("0000-01-01T00:00:00+09:00").to_string(), "0000-01-01T00:00:00.000+09:00");
        assert_eq!(Now::at(at("9999-12-31T00:00:00+09:00")).month, last);
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

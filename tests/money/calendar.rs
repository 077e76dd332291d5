//! The model's own calendar: days since 1970 counted month by month, JST by adding nine hours. It shares nothing with
//! the product's.

use std::collections::HashSet;

/// Milliseconds.
pub const MINUTE: i64 = 60_000;
pub const HOUR: i64 = 60 * MINUTE;
pub const DAY: i64 = 24 * HOUR;

/// Days since 1970-01-01 in Japan.
pub type Day = i64;
/// Months since the year 0.
pub type MonthNo = i64;

/// The JST day of a moment in Unix milliseconds.
pub fn day_of(ms: i64) -> Day {
    (ms + 9 * HOUR).div_euclid(DAY)
}

/// The moment at which a JST day begins.
pub fn start_of(day: Day) -> i64 {
    day * DAY - 9 * HOUR
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_of_year(year: i64) -> i64 {
    if is_leap(year) { 366 } else { 365 }
}

fn days_of_month(month: MonthNo) -> i64 {
    let february = if is_leap(month / 12) { 29 } else { 28 };
    let at = usize::try_from(month % 12).unwrap();
    [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][at]
}

/// The first day of a month.
pub fn first_of(month: MonthNo) -> Day {
    let year = month / 12;
    (1970..year).map(days_of_year).sum::<i64>() + (year * 12..month).map(days_of_month).sum::<i64>()
}

/// `day` of a month, or its last day where it is shorter.
pub fn date(month: MonthNo, day: i64) -> Day {
    first_of(month) + day.min(days_of_month(month)) - 1
}

/// Month and day of the month.
pub fn civil(day: Day) -> (MonthNo, i64) {
    let (mut year, mut left) = (1970, day);
    while left >= days_of_year(year) {
        left -= days_of_year(year);
        year += 1;
    }
    let mut month = year * 12;
    while left >= days_of_month(month) {
        left -= days_of_month(month);
        month += 1;
    }
    (month, left + 1)
}

/// Days on which banks are closed.
pub struct Banks(HashSet<Day>);

impl Banks {
    /// From lines that begin with a date.
    pub fn read(csv: &str) -> Self {
        let closed = csv.lines().filter_map(|line| {
            let mut numbers = line.get(..10)?.split('-').map(|part| part.parse::<i64>().ok());
            let (year, month, day) = (numbers.next()??, numbers.next()??, numbers.next()??);
            Some(date(year * 12 + month - 1, day))
        });
        Self(closed.collect())
    }

    /// `day`, or the next one on which banks are open; 1970-01-01 was a Thursday.
    pub fn open_from(&self, day: Day) -> Day {
        (day..).find(|day| (day + 3) % 7 < 5 && !self.0.contains(day)).unwrap()
    }
}

#[test]
fn days_are_counted_right() {
    for (text, day) in [((1970, 1, 1), 0), ((2000, 3, 1), 11_017), ((2021, 6, 30), 18_808), ((2024, 2, 29), 19_782)] {
        let (year, month, of_month) = text;
        assert_eq!(date(year * 12 + month - 1, of_month), day, "{text:?}");
        assert_eq!(civil(day), (year * 12 + month - 1, of_month), "{text:?}");
    }
    // T-07: the last moment of June in Japan is 14:59:59.999 UTC.
    let july = 1_625_065_200_000;
    assert_eq!((day_of(july - 1), day_of(july), start_of(18_809)), (18_808, 18_809, july));
}

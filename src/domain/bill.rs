//! From a purchase to its due date: which month bills it, by which method, until when.

use super::jst::{BankCalendar, Date, Month};
use super::money::Yen;

/// How a customer pays the month's bill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum PaymentMethod {
    /// 電子決済（コンビニ払い）
    Konbini = 1,
    /// はがき請求書
    Postcard,
    /// 口座振替
    Debit,
}

impl PaymentMethod {
    pub const ALL: [Self; 3] = [Self::Konbini, Self::Postcard, Self::Debit];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Konbini => "konbini",
            Self::Postcard => "postcard",
            Self::Debit => "debit",
        }
    }

    /// Due date of the bill of `month`. Konbini the 10th and postcard the 20th stay where they fall;
    /// a draw on the 27th moves to the next day on which banks are open.
    pub fn due(self, month: Month, calendar: &BankCalendar) -> Date {
        let next = month.next();
        match self {
            Self::Konbini => next.day(10),
            Self::Postcard => next.day(20),
            Self::Debit => calendar.next_business_day(next.day(27)),
        }
    }
}

/// What one month's purchases still owe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenMonth {
    pub month: Month,
    /// The method the bill was issued with; `None` while the customer's present method applies.
    /// Frozen when the method changes after the month's bill was issued.
    pub billed_by: Option<PaymentMethod>,
    /// Unpaid principal of in-store purchases.
    pub in_store: Yen,
    /// Unpaid principal of online purchases.
    pub online: Yen,
}

impl OpenMonth {
    /// A month in which nothing was bought yet.
    pub const fn new(month: Month) -> Self {
        Self { month, billed_by: None, in_store: Yen::ZERO, online: Yen::ZERO }
    }

    pub fn principal(&self) -> Yen {
        self.in_store + self.online
    }
}

/// An NP Atobarai purchase: a bill of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NpBill {
    /// Record of the purchase.
    pub order: super::ids::Lsn,
    pub due: Date,
    pub unpaid: Yen,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_dates_by_method() {
        let june = Month::parse("2021-06").unwrap();
        let calendar = BankCalendar::default();
        let due = |method: PaymentMethod| method.due(june, &calendar).to_string();
        assert_eq!(due(PaymentMethod::Konbini), "2021-07-10", "a Saturday stays");
        assert_eq!(due(PaymentMethod::Postcard), "2021-07-20");
        assert_eq!(due(PaymentMethod::Debit), "2021-07-27");
        let may = Month::parse("2021-05").unwrap();
        assert_eq!(PaymentMethod::Debit.due(may, &calendar).to_string(), "2021-06-28", "the 27th is a Sunday");
    }
}

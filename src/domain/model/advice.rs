//! How a sale that the network approved for us was booked.

/// How an advice was booked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Booked {
    /// To the customer, within the limits.
    Posted,
    /// To the customer, above a limit: the one thing that may lift exposure over it.
    OverLimit,
    /// To nobody.
    Suspense(SuspenseWhy),
}

/// Why no customer could be charged. Numbers are kept in journal and ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum SuspenseWhy {
    /// Malformed, wrong seal, keys unknown, another issuer's, or our seal and no record of the code.
    CodeNotVerified = 1,
    /// Another sale has used the code.
    CodeUsed,
    MerchantUnknown,
    CustomerUnknown,
    /// Above a limit, on a link that may not go there.
    OverLimit,
    /// Above a limit, and above what the link may post to one customer a day.
    OverDayCap,
    /// The link may post nothing.
    PostingNotAllowed,
    /// Its number says nothing about yen.
    CurrencyNotSupported,
    /// The customer has as many bills and holds open as may be.
    TooManyPayments,
}

impl SuspenseWhy {
    pub const ALL: [Self; 9] = [
        Self::CodeNotVerified,
        Self::CodeUsed,
        Self::MerchantUnknown,
        Self::CustomerUnknown,
        Self::OverLimit,
        Self::OverDayCap,
        Self::PostingNotAllowed,
        Self::CurrencyNotSupported,
        Self::TooManyPayments,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::CodeNotVerified => "code_not_verified",
            Self::CodeUsed => "code_used",
            Self::MerchantUnknown => "merchant_unknown",
            Self::CustomerUnknown => "customer_unknown",
            Self::OverLimit => "over_limit",
            Self::OverDayCap => "over_day_cap",
            Self::PostingNotAllowed => "posting_not_allowed",
            Self::CurrencyNotSupported => "currency_not_supported",
            Self::TooManyPayments => "too_many_payments",
        }
    }
}

/// What the office does with a sale in suspense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SuspenseAction {
    /// Its customer is charged after all.
    Charge,
    /// It goes back to the shop: nothing is owed for it.
    Return,
    /// We bear it.
    Loss,
}

impl SuspenseAction {
    pub const ALL: [Self; 3] = [Self::Charge, Self::Return, Self::Loss];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Charge => "charge",
            Self::Return => "return",
            Self::Loss => "loss",
        }
    }
}

impl Booked {
    /// In journal and ledger: 1, 2, and 2 + the reason's number.
    pub const fn number(self) -> u8 {
        match self {
            Self::Posted => 1,
            Self::OverLimit => 2,
            Self::Suspense(why) => 2 + why as u8,
        }
    }

    pub fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Posted),
            2 => Some(Self::OverLimit),
            _ => SuspenseWhy::ALL.get(usize::from(number.checked_sub(3)?)).copied().map(Self::Suspense),
        }
    }

    pub const fn suspense(self) -> Option<SuspenseWhy> {
        match self {
            Self::Suspense(why) => Some(why),
            Self::Posted | Self::OverLimit => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_booking_survives_its_number() {
        let whys = SuspenseWhy::ALL.map(Booked::Suspense);
        let all: Vec<_> = [Booked::Posted, Booked::OverLimit].into_iter().chain(whys).collect();
        for (number, booked) in (1..).zip(&all) {
            assert_eq!((booked.number(), Booked::from_number(number)), (number, Some(*booked)));
        }
        assert_eq!((Booked::from_number(0), Booked::from_number(12)), (None, None));
    }
}

//! The reasons of refusal by name and number; what each means stands in [`super::denial`].

/// Why a purchase is denied, in the order of the contract's table.
/// ISO 8583's DE 44 carries the position within the reasons that share a response code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Reason {
    CodeInvalid = 1,
    CodeExpired,
    CodeUsed,
    CodeVoided,
    IssuerUnknown,
    MerchantUnknown,
    MerchantInactive,
    CustomerUnknown,
    Closed,
    Suspended,
    Overdue,
    IdentityRequired,
    ConsentRequired,
    CategoryNotAllowed,
    OverPaymentCap,
    OverInStoreLimit,
    OverTotalLimit,
    TooManyPayments,
    DuplicateSuspect,
    Cancelled,
    CurrencyNotSupported,
    TooLate,
}

impl Reason {
    pub const ALL: [Self; 22] = [
        Self::CodeInvalid,
        Self::CodeExpired,
        Self::CodeUsed,
        Self::CodeVoided,
        Self::IssuerUnknown,
        Self::MerchantUnknown,
        Self::MerchantInactive,
        Self::CustomerUnknown,
        Self::Closed,
        Self::Suspended,
        Self::Overdue,
        Self::IdentityRequired,
        Self::ConsentRequired,
        Self::CategoryNotAllowed,
        Self::OverPaymentCap,
        Self::OverInStoreLimit,
        Self::OverTotalLimit,
        Self::TooManyPayments,
        Self::DuplicateSuspect,
        Self::Cancelled,
        Self::CurrencyNotSupported,
        Self::TooLate,
    ];

    /// How the journal and the ledger store it.
    pub const fn number(self) -> u8 {
        self as u8
    }

    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.row().name == name)
    }
}

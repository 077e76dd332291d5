//! What may be done about a denial, by the register and by the customer; which it is stands in [`super::denial`].

/// What the register may do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Sending it again, even changed, will not help.
    Never,
    /// Scan a fresh code under a new order id.
    NewCode,
    /// Ask the customer, then send again under a new order id with `confirm_repeat`.
    AfterConfirm,
    /// Try again after some time.
    Later,
    /// Change the request (a smaller amount, say) and send it under a new order id.
    FixRequest,
    /// Ask for the order's outcome before anything else.
    Inquire,
}

impl Retry {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::NewCode => "new_code",
            Self::AfterConfirm => "after_confirm",
            Self::Later => "later",
            Self::FixRequest => "fix_request",
            Self::Inquire => "inquire",
        }
    }

    /// The clerk's next step as a digit, from 1 in the order of this list.
    pub const fn digit(self) -> u8 {
        self as u8 + 1
    }
}

/// What the customer may do about a denial, as a digit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    Nothing,
    ShowNewCode,
    /// In the app: identity, consent.
    CompleteAStep,
    PayTheBill,
    BuyForLess,
    TryLater,
    ContactUs,
    ConfirmAtRegister,
}

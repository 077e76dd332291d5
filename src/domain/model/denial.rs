//! The one table of refusals: for each reason its codes, whether a retry is safe, what can be done about it, and the words
//! for the clerk and for the customer. `docs/denials.md` is printed from it.

/// Why a purchase is denied, in the order in which it is judged. The numbers are those of the journal and the ledger: they
/// never change, and none is used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Reason {
    TooLate = 22,
    Cancelled = 20,
    CurrencyNotSupported = 21,
    IssuerUnknown = 5,
    CodeInvalid = 1,
    CodeVoided = 4,
    CodeExpired = 2,
    CodeUsed = 3,
    CustomerUnknown = 8,
    MerchantUnknown = 6,
    MerchantInactive = 7,
    Closed = 9,
    Suspended = 10,
    IdentityRequired = 12,
    ConsentRequired = 13,
    Overdue = 11,
    CategoryNotAllowed = 14,
    OverPaymentCap = 15,
    TooManyPayments = 18,
    DuplicateSuspect = 19,
    OverInStoreLimit = 16,
    OverTotalLimit = 17,
}

impl Reason {
    pub const ALL: [Self; 22] = [
        Self::TooLate,
        Self::Cancelled,
        Self::CurrencyNotSupported,
        Self::IssuerUnknown,
        Self::CodeInvalid,
        Self::CodeVoided,
        Self::CodeExpired,
        Self::CodeUsed,
        Self::CustomerUnknown,
        Self::MerchantUnknown,
        Self::MerchantInactive,
        Self::Closed,
        Self::Suspended,
        Self::IdentityRequired,
        Self::ConsentRequired,
        Self::Overdue,
        Self::CategoryNotAllowed,
        Self::OverPaymentCap,
        Self::TooManyPayments,
        Self::DuplicateSuspect,
        Self::OverInStoreLimit,
        Self::OverTotalLimit,
    ];

    /// How the journal and the ledger store it.
    pub const fn number(self) -> u8 {
        self as u8
    }

    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.number() == number)
    }

    pub const fn name(self) -> &'static str {
        self.row().name
    }
}

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

/// A text in Japanese with English beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Words {
    pub ja: &'static str,
    pub en: &'static str,
}

pub(crate) const fn words(ja: &'static str, en: &'static str) -> Words {
    Words { ja, en }
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The stable machine name.
    pub name: &'static str,
    /// ISO 8583 response code (DE 39), also `response_code` over HTTP.
    pub response_code: &'static str,
    /// What DE 44 appends to DE 39. It never changes, and within a response code none is used again.
    pub number: u8,
    pub retry: Retry,
    /// HTTP status where the reason refuses a call that is not a decision (issuing a code).
    pub http: u16,
    /// May be shown at the register: holds no figure, no word of limits, nothing of the customer's standing.
    pub clerk: Words,
    /// Only for the customer's own phone. `{amount}`, `{room}`, `{shop}` are filled in.
    pub customer: Words,
}

/// An approval's own texts.
pub const APPROVED_CLERK: Words = words("お支払いが完了しました。", "The payment is complete.");
pub const APPROVED_CUSTOMER: Words =
    words("{shop}での{amount}円のお支払いが完了しました。", "Your payment of {amount} yen at {shop} is complete.");

const OTHER_PAYMENT: Words = words(
    "このお支払いはできません。他のお支払い方法をご案内ください。",
    "Declined. Please ask for another way to pay.",
);
const NEW_CODE: Words = words(
    "このコードはご利用いただけません。お客様に新しいコードの表示をご依頼のうえ、お読み取りください。",
    "This code cannot be used. Please ask the customer for a new code and scan that one.",
);
const CALL_SUPPORT: Words = words(
    "この店舗ではお取り扱いできません。加盟店サポートへご連絡ください。",
    "Not available at this shop. Please call merchant support.",
);

impl Reason {
    #[expect(clippy::too_many_lines, reason = "a table: one row a reason, read top to bottom")]
    pub const fn row(self) -> Row {
        let (name, response_code, number, retry, http, clerk, customer) = match self {
            Self::TooLate => (
                "too_late",
                "68",
                1,
                Retry::Inquire,
                422,
                words(
                    "時間内に処理できませんでした。取引の結果をご照会ください。",
                    "Not decided in time. Please inquire about this sale before trying again.",
                ),
                words(
                    "{shop}でのお支払いは、時間内に処理できなかったため行われませんでした。ご請求はありません。",
                    "The payment at {shop} ran out of time. Nothing is charged.",
                ),
            ),
            Self::Cancelled => (
                "cancelled",
                "12",
                1,
                Retry::Never,
                422,
                words(
                    "この取引は取消済みです。必要に応じて、新しい取引としてお手続きください。",
                    "This sale was cancelled. Please start a new sale if needed.",
                ),
                words(
                    "{shop}での{amount}円の取引は取り消されました。ご請求はありません。",
                    "The sale of {amount} yen at {shop} was cancelled. Nothing is charged.",
                ),
            ),
            Self::CurrencyNotSupported => (
                "currency_not_supported",
                "12",
                2,
                Retry::FixRequest,
                422,
                words(
                    "日本円のみお取り扱いできます。レジの通貨設定をご確認ください。",
                    "Only Japanese yen is accepted. Please check the currency setting of the register.",
                ),
                words("日本円のみご利用いただけます。", "Only Japanese yen is accepted."),
            ),
            Self::IssuerUnknown => (
                "issuer_unknown",
                "15",
                1,
                Retry::Never,
                422,
                words(
                    "Sokketsuのコードではありません。決済サービスをお選び直しください。",
                    "This is not a Sokketsu code. Please choose another payment service.",
                ),
                words("このコードはSokketsuのものではありません。", "This is not a Sokketsu code."),
            ),
            Self::CodeInvalid => (
                "code_invalid",
                "14",
                1,
                Retry::NewCode,
                422,
                words(
                    "コードを確認できませんでした。お客様に新しいコードの表示をご依頼のうえ、お読み取りください。",
                    "The code could not be verified. Please ask the customer for a new code and scan that one.",
                ),
                words(
                    "コードを確認できませんでした。アプリで新しいコードを表示してください。",
                    "The code could not be verified. Show a new code in the app.",
                ),
            ),
            Self::CodeVoided => (
                "code_voided",
                "54",
                3,
                Retry::NewCode,
                422,
                NEW_CODE,
                words(
                    "このコードは無効になりました。新しいコードを表示してください。",
                    "This code was voided. Show a new code.",
                ),
            ),
            Self::CodeExpired => (
                "code_expired",
                "54",
                1,
                Retry::NewCode,
                422,
                NEW_CODE,
                words(
                    "コードの有効期限が切れました。新しいコードを表示してください。",
                    "The code has expired. Show a new one.",
                ),
            ),
            Self::CodeUsed => (
                "code_used",
                "54",
                2,
                Retry::NewCode,
                422,
                words(
                    "このコードは使用済みです。先の取引をご確認のうえ、必要に応じて新しいコードをお読み取りください。",
                    "This code was already used. Please check the earlier sale first, then scan a new code if needed.",
                ),
                words("このコードはすでに{shop}でのお支払いに使われました。", "This code has already paid at {shop}."),
            ),
            Self::CustomerUnknown => (
                "customer_unknown",
                "14",
                2,
                Retry::Never,
                404,
                OTHER_PAYMENT,
                words("会員情報が見つかりません。お問い合わせください。", "No such member. Please contact us."),
            ),
            Self::MerchantUnknown => (
                "merchant_unknown",
                "03",
                1,
                Retry::Never,
                404,
                CALL_SUPPORT,
                words("この店舗ではご利用いただけません。", "Not available at this shop."),
            ),
            Self::MerchantInactive => (
                "merchant_inactive",
                "58",
                1,
                Retry::Never,
                403,
                CALL_SUPPORT,
                words("この店舗では現在ご利用いただけません。", "Not available at this shop for now."),
            ),
            Self::Closed => (
                "closed",
                "46",
                1,
                Retry::Never,
                403,
                OTHER_PAYMENT,
                words("ご契約は終了しています。お問い合わせください。", "Your account is closed. Please contact us."),
            ),
            Self::Suspended => (
                "suspended",
                "62",
                1,
                Retry::Never,
                403,
                OTHER_PAYMENT,
                words(
                    "ご利用を停止しています。お問い合わせください。",
                    "Your account is suspended. Please contact us.",
                ),
            ),
            Self::IdentityRequired => (
                "identity_required",
                "57",
                1,
                Retry::Never,
                403,
                OTHER_PAYMENT,
                words(
                    "店舗でのご利用には本人確認が必要です。アプリで本人確認をお済ませください。",
                    "Paying in store needs a verified identity. Complete it in the app.",
                ),
            ),
            Self::ConsentRequired => (
                "consent_required",
                "57",
                2,
                Retry::Never,
                403,
                OTHER_PAYMENT,
                words(
                    "ご利用には保護者の同意が必要です。アプリで同意のお手続きをお願いします。",
                    "A guardian's consent is needed. Complete it in the app.",
                ),
            ),
            Self::Overdue => (
                "overdue",
                "62",
                2,
                Retry::Never,
                403,
                OTHER_PAYMENT,
                words(
                    "お支払期限を過ぎたご請求があります。お支払い後、すぐにご利用いただけます。",
                    "A bill is past its due date. You can buy again as soon as it is paid.",
                ),
            ),
            Self::CategoryNotAllowed => (
                "category_not_allowed",
                "57",
                3,
                Retry::Never,
                422,
                words(
                    "対象外の商品または店舗です。他のお支払い方法をご案内ください。",
                    "This item or shop is not covered. Please ask for another way to pay.",
                ),
                words("この商品または店舗ではご利用いただけません。", "This item or shop is not covered."),
            ),
            Self::OverPaymentCap => (
                "over_payment_cap",
                "61",
                1,
                Retry::FixRequest,
                422,
                OTHER_PAYMENT,
                words(
                    "1回のお支払いの上限を超えています（今回 {amount}円）。",
                    "Over the cap for one payment ({amount} yen this time).",
                ),
            ),
            Self::TooManyPayments => (
                "too_many_payments",
                "65",
                1,
                Retry::Later,
                422,
                OTHER_PAYMENT,
                words(
                    "一定期間のご利用回数、またはお支払いがお済みでないご利用の件数が上限に達しました。時間をおいてからお試しください。",
                    "Too many payments within a period, or too many that are not settled yet. Please try again later.",
                ),
            ),
            Self::DuplicateSuspect => (
                "duplicate_suspect",
                "94",
                1,
                Retry::AfterConfirm,
                422,
                words(
                    "同じ金額の取引が直前にあります。二重でないことをお客様にご確認のうえ、別のお買い物の場合は、新しい取引として確認済みでもう一度お手続きください。",
                    "The same amount was paid moments ago. Please check with the customer; if this is another purchase, send it again as a new sale, confirmed.",
                ),
                words(
                    "{shop}で同じ金額（{amount}円）のお支払いが直前にあります。今回の分のご請求はありません。別のお買い物の場合は、レジでお伝えください。",
                    "The same amount ({amount} yen) was just paid at {shop}. Nothing is charged for this one. If it is another purchase, tell the register.",
                ),
            ),
            Self::OverInStoreLimit => (
                "over_in_store_limit",
                "51",
                1,
                Retry::FixRequest,
                422,
                OTHER_PAYMENT,
                words(
                    "店舗でのご利用可能額は{room}円です（今回 {amount}円）。",
                    "You can spend {room} yen in store ({amount} yen this time).",
                ),
            ),
            Self::OverTotalLimit => (
                "over_total_limit",
                "51",
                2,
                Retry::FixRequest,
                422,
                OTHER_PAYMENT,
                words(
                    "ご利用可能額は{room}円です（今回 {amount}円）。",
                    "You can spend {room} yen ({amount} yen this time).",
                ),
            ),
        };
        Row { name, response_code, number, retry, http, clerk, customer }
    }

    pub const fn remedy(self) -> Remedy {
        match self {
            Self::CodeInvalid | Self::CodeExpired | Self::CodeUsed | Self::CodeVoided => Remedy::ShowNewCode,
            Self::IdentityRequired | Self::ConsentRequired => Remedy::CompleteAStep,
            Self::Overdue => Remedy::PayTheBill,
            Self::OverPaymentCap | Self::OverInStoreLimit | Self::OverTotalLimit => Remedy::BuyForLess,
            Self::TooManyPayments => Remedy::TryLater,
            Self::CustomerUnknown | Self::Closed | Self::Suspended => Remedy::ContactUs,
            Self::DuplicateSuspect => Remedy::ConfirmAtRegister,
            Self::IssuerUnknown
            | Self::MerchantUnknown
            | Self::MerchantInactive
            | Self::CategoryNotAllowed
            | Self::Cancelled
            | Self::CurrencyNotSupported
            | Self::TooLate => Remedy::Nothing,
        }
    }

    /// What DE 44 says of it: the reason's number (DE 39 and its place within it), then `C` and the clerk's, `U` and the
    /// customer's next step as digits. `again` means that this is not the first answer.
    pub fn details(self, again: bool) -> String {
        let row = self.row();
        let clerk = self.retry(again).digit();
        let customer = self.remedy() as u8;
        format!("{}{:02}C{clerk}U{customer}", row.response_code, row.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_survives_its_number_and_name() {
        for reason in Reason::ALL {
            assert_eq!(Reason::from_number(reason.number()), Some(reason));
            let first = Reason::ALL.into_iter().find(|other| other.name() == reason.name());
            assert_eq!(first, Some(reason), "a name of its own");
        }
        assert_eq!(Reason::from_number(0), None);
        assert_eq!(Reason::from_number(23), None);
    }

    #[test]
    fn de_44_numbers_follow_the_table() {
        let mut all: Vec<_> = Reason::ALL.map(|reason| (reason.row().response_code, reason.row().number)).into();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), Reason::ALL.len(), "a number stands for one reason");
        assert_eq!(Reason::OverInStoreLimit.details(false), "5101C5U4");
        assert!(Reason::ALL.iter().all(|reason| reason.details(false).len() == 8));
    }
}

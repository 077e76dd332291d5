//! The ladder of a decision in words: for each check what it says where it was passed, and where it says no. For the credit team
//! and the office, never for the register: `{…}` are figures of the customer.

use super::denial::{Reason, Words, words};

/// What a check says that was passed.
pub const fn passed(check: Reason) -> Words {
    match check {
        Reason::TooLate => words("レジの制限時間内に判定しました。", "Decided within the register's deadline."),
        Reason::Cancelled => {
            words("この注文は事前に取り消されていません。", "The order had not been cancelled before it came.")
        }
        Reason::CurrencyNotSupported => words("通貨は日本円です。", "The currency is yen."),
        Reason::IssuerUnknown => {
            words("当社のコード、または顧客IDです。", "The code is ours, or the customer was named.")
        }
        Reason::CodeInvalid => words("コードは真正です。", "The code is genuine."),
        Reason::CodeVoided => words("コードは無効にされていません。", "The code was not voided."),
        Reason::CodeExpired => words("コードは有効期限内です。", "The code had not expired."),
        Reason::CodeUsed => words("コードは未使用です。", "The code had not paid before."),
        Reason::CustomerUnknown => words("顧客は登録されています。", "The customer is known."),
        Reason::MerchantUnknown => words("加盟店は登録されています。", "The merchant is known."),
        Reason::MerchantInactive => words("加盟店は取扱中です。", "The merchant is active."),
        Reason::Closed => words("口座は解約されていません。", "The account is not closed."),
        Reason::Suspended => words("利用停止はありません。", "Nothing suspends the account."),
        Reason::IdentityRequired => {
            words("本人確認は済んでいるか、不要です。", "The identity is verified, or need not be.")
        }
        Reason::ConsentRequired => {
            words("保護者の同意があるか、不要です。", "The guardian's consent is there, or is not needed.")
        }
        Reason::Overdue => words("支払期限を過ぎた請求はありません。", "No bill is past its due date."),
        Reason::CategoryNotAllowed => words(
            "この店舗・商品の取扱いを禁じる規則はありません。",
            "No category rule forbids this shop or these goods.",
        ),
        Reason::OverPaymentCap => {
            words("1回あたりの上限を超えていません。", "The amount is within every cap for one payment.")
        }
        Reason::TooManyPayments => words(
            "利用回数・金額の制限内です（回数{count}、合計{sum}円）。",
            "How often and how much is within the rule ({count} approvals, {sum} yen in the window).",
        ),
        Reason::DuplicateSuspect => words(
            "同じ店舗・同じ金額の直前のお支払いはないか、確認済みです。",
            "No sale of the same amount at the same shop stood moments before, or it was confirmed.",
        ),
        Reason::OverInStoreLimit => words(
            "店舗利用枠内です（残高{exposure}円＋今回{amount}円≦{limit}円）。",
            "Within the in-store limit ({exposure} used + {amount} now ≤ {limit} yen).",
        ),
        Reason::OverTotalLimit => words(
            "総枠内です（残高{exposure}円＋今回{amount}円≦{limit}円）。",
            "Within the total limit ({exposure} used + {amount} now ≤ {limit} yen).",
        ),
    }
}

/// What it says where it says no.
pub const fn denied(check: Reason) -> Words {
    match check {
        Reason::TooLate => {
            words("レジの制限時間を過ぎてから届きました。", "It reached us after the register's deadline.")
        }
        Reason::Cancelled => {
            words("この注文は届く前に取り消されていました。", "The order was cancelled before it came.")
        }
        Reason::CurrencyNotSupported => words("日本円以外の通貨です。", "The currency is not yen."),
        Reason::IssuerUnknown => words("当社のコードではありません。", "The code is not ours."),
        Reason::CodeInvalid => {
            words("コードが真正でないか、読み取れませんでした。", "The code is not genuine, or could not be read.")
        }
        Reason::CodeVoided => words("コードは無効にされていました。", "The code had been voided."),
        Reason::CodeExpired => words("コードの有効期限が切れていました。", "The code had expired."),
        Reason::CodeUsed => words("コードは使用済みでした。", "The code had paid before."),
        Reason::CustomerUnknown => words("顧客が登録されていません。", "The customer is not known."),
        Reason::MerchantUnknown => words("加盟店が登録されていません。", "The merchant is not known."),
        Reason::MerchantInactive => words("加盟店は取扱停止中です。", "The merchant is not active."),
        Reason::Closed => words("口座は解約済みです。", "The account is closed."),
        Reason::Suspended => words(
            "利用停止中です（停止、ブロック、または紛失届）。",
            "The account is suspended, blocked, or its phone was reported lost.",
        ),
        Reason::IdentityRequired => words("本人確認が済んでいません。", "The identity is not verified."),
        Reason::ConsentRequired => words("保護者の同意がありません。", "The guardian's consent is missing."),
        Reason::Overdue => {
            words("支払期限を{days}日過ぎた請求があります。", "A bill is unpaid, {days} days past its due date.")
        }
        Reason::CategoryNotAllowed => {
            words("規則「{rule}」により取り扱えません。", "The category rule \"{rule}\" forbids it for this customer.")
        }
        Reason::OverPaymentCap => words(
            "1回あたりの上限{cap}円を超えています（今回{amount}円）。",
            "{amount} yen is over the cap of {cap} yen for one payment.",
        ),
        Reason::TooManyPayments => words(
            "利用回数・金額の制限に達しています（回数{count}、合計{sum}円）。",
            "Too often or too much: {count} approvals and {sum} yen in the window, or as much open at once as there may be.",
        ),
        Reason::DuplicateSuspect => words(
            "同じ店舗・同じ金額のお支払いが直前にあります。",
            "A sale of the same amount at the same shop stood moments before, and was not confirmed.",
        ),
        Reason::OverInStoreLimit => words(
            "店舗利用枠を超えます（残高{exposure}円＋今回{amount}円＞{limit}円）。",
            "Over the in-store limit ({exposure} used + {amount} now > {limit} yen).",
        ),
        Reason::OverTotalLimit => words(
            "総枠を超えます（残高{exposure}円＋今回{amount}円＞{limit}円）。",
            "Over the total limit ({exposure} used + {amount} now > {limit} yen).",
        ),
    }
}

/// What the limit in store says of a sale through another channel.
pub const NOT_IN_STORE: Words =
    words("店舗でのお支払いではありません。", "Not bought in store: this limit does not apply.");

/// What it says where it was not asked: nobody's account was known, or the record is of before it was kept.
pub const NOT_ASKED: Words = words("判定していません。", "Not asked, or not on record.");

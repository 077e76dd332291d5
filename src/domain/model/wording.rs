//! Texts that depend on more than a reason: for the clerk on the order's present status, for the customer on the state of
//! their identity, on what voided their code, and on what became of the sale that used it.

use super::code::{Code, VoidedBy};
use super::customer::{Identity, Profile};
use super::denial::{APPROVED_CLERK, Reason, Retry, Words, words};
use super::order::OrderStatus;

/// A `too_late` denial that is asked about again: the register has inquired, and this is the answer.
const NOT_CHARGED: Words = words(
    "時間内に処理できなかったため、お支払いは行われていません。必要に応じて、新しい取引としてお手続きください。",
    "Not decided in time, and nothing was charged. Please start a new sale if needed.",
);

/// A phone was lost, and its customer told us.
const OF_LOSS: Words = words(
    "スマートフォン紛失のお届けがあったため、店舗でのご利用を停止しています。再開するには、お問い合わせください。",
    "Paying in store is stopped because a lost phone was reported. Contact us to have it lifted.",
);

/// What the clerk reads of an order that was not denied, by its present status.
pub const fn of_status(status: OrderStatus) -> Option<Words> {
    Some(match status {
        OrderStatus::Denied => return None,
        OrderStatus::Captured => APPROVED_CLERK,
        OrderStatus::Authorized => words(
            "仮売上として承認されました。お支払いはまだ完了していません。",
            "Approved as a hold. The payment is not complete yet.",
        ),
        OrderStatus::Cancelled => Reason::Cancelled.row().clerk,
        OrderStatus::Refunded => words("この取引は全額返金済みです。", "This sale was refunded in full."),
        OrderStatus::PartiallyRefunded => words("この取引は一部返金済みです。", "This sale was refunded in part."),
        OrderStatus::Expired => words(
            "仮売上の期限が切れたため、お支払いは行われていません。必要に応じて、新しい取引としてお手続きください。",
            "The hold has run out, and nothing was charged. Please start a new sale if needed.",
        ),
    })
}

/// What the clerk reads of an order as it is now. `again` means that this is not its first answer.
pub const fn clerk(status: OrderStatus, denial: Option<Reason>, again: bool) -> Words {
    match (of_status(status), denial) {
        (Some(words), _) => words,
        (None, Some(Reason::TooLate)) if again => NOT_CHARGED,
        (None, Some(reason)) => reason.row().clerk,
        (None, None) => NOT_CHARGED,
    }
}

impl Reason {
    /// What the register may do next. Who asks about a `too_late` denial again has inquired already.
    pub const fn retry(self, again: bool) -> Retry {
        match self {
            Self::TooLate if again => Retry::Never,
            _ => self.row().retry,
        }
    }
}

/// What the customer's words for a denial depend on beside its reason. For the customer alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Circumstances {
    identity: Option<Identity>,
    /// Why the identity was rejected, in the issuer's words.
    rejected_for: Option<Box<str>>,
    voided_by: Option<VoidedBy>,
    /// Suspended because a phone was lost, and for nothing else.
    is_by_loss: bool,
}

impl Circumstances {
    pub fn of(profile: &Profile, code: Option<&Code>) -> Self {
        let reason = profile.identity_reason.as_deref().filter(|_| profile.identity == Identity::Rejected);
        Self {
            identity: Some(profile.identity),
            rejected_for: reason.cloned(),
            voided_by: code.and_then(Code::voided_by),
            is_by_loss: false,
        }
    }

    #[must_use]
    pub fn by_loss(self, is_by_loss: bool) -> Self {
        Self { is_by_loss, ..self }
    }

    /// The words for the customer; `{why}` in them is [`Circumstances::why`].
    pub fn words(&self, reason: Reason) -> Words {
        let special = match reason {
            Reason::IdentityRequired => self.identity.and_then(|identity| of_identity(identity, self.why().is_some())),
            Reason::CodeVoided => self.voided_by.map(of_voided),
            Reason::Suspended => self.is_by_loss.then_some(OF_LOSS),
            _ => None,
        };
        special.unwrap_or(reason.row().customer)
    }

    pub fn why(&self) -> Option<&str> {
        self.rejected_for.as_deref()
    }
}

/// Nothing where the row's own words fit.
pub const fn of_identity(identity: Identity, has_reason: bool) -> Option<Words> {
    Some(match (identity, has_reason) {
        (Identity::Unverified, _) => return None,
        (Identity::Pending, _) => words(
            "本人確認の審査中です。審査が完了すると、店舗でご利用いただけます。しばらくお待ちください。",
            "Your identity is being checked. You can pay in store once that is complete. Please wait.",
        ),
        (Identity::Verified, _) => words(
            "本人確認が完了しました。お支払いの際は、新しいコードを表示してください。",
            "Your identity has been verified. Show a new code to pay.",
        ),
        (Identity::Rejected, true) => words(
            "本人確認を完了できませんでした（理由：{why}）。アプリでもう一度本人確認をお手続きください。",
            "Your identity could not be verified (reason: {why}). Please go through it again in the app.",
        ),
        (Identity::Rejected, false) => words(
            "本人確認を完了できませんでした。アプリでもう一度本人確認をお手続きください。",
            "Your identity could not be verified. Please go through it again in the app.",
        ),
    })
}

pub const fn of_voided(by: VoidedBy) -> Words {
    match by {
        VoidedBy::NewerCode => words(
            "新しいコードが表示されたため、このコードは無効になりました。最新のコードを表示してください。",
            "A newer code replaced this one. Show the latest code.",
        ),
        VoidedBy::Customer => words(
            "アプリでの操作により、このコードは無効になりました。新しいコードを表示してください。",
            "This code was voided from the app. Show a new code.",
        ),
        VoidedBy::WrongSeals => words(
            "正しくないコードが続けて読み取られたため、安全のためこのコードを無効にしました。新しいコードを表示してください。",
            "False copies of this code were scanned, so it was voided for safety. Show a new code.",
        ),
    }
}

/// What the customer reads of a code that was scanned again after it was used, by the present status of the sale that used
/// it: only a captured one has paid. Nothing where the row's own words fit.
pub const fn of_used(sale: OrderStatus) -> Option<Words> {
    Some(match sale {
        OrderStatus::Captured | OrderStatus::Denied => return None,
        OrderStatus::PartiallyRefunded => words(
            "このコードはすでに{shop}でのお支払いに使われ、そのお支払いの一部は返金されました。",
            "This code has already paid at {shop}, and part of that was refunded.",
        ),
        OrderStatus::Authorized => words(
            "このコードはすでに{shop}で使われました。そのお支払いはまだ確定していません。",
            "This code was already used at {shop}. That purchase is not charged yet.",
        ),
        OrderStatus::Expired => words(
            "このコードはすでに{shop}で使われました。その取引は期限が切れたため、ご請求はありません。お支払いの際は、新しいコードを表示してください。",
            "This code was already used at {shop}. That hold has run out, and nothing is charged. Show a new code to pay.",
        ),
        OrderStatus::Refunded => words(
            "このコードはすでに{shop}で使われました。そのお支払いは全額返金されました。お支払いの際は、新しいコードを表示してください。",
            "This code was already used at {shop}. That payment was refunded in full. Show a new code to pay.",
        ),
        OrderStatus::Cancelled => words(
            "このコードはすでに{shop}で使われました。その取引は取り消されたため、ご請求はありません。お支払いの際は、新しいコードを表示してください。",
            "This code was already used at {shop}. That sale was cancelled, and nothing is charged. Show a new code to pay.",
        ),
    })
}

/// The table as a page, kept in step with `docs/denials.md` by a test.
pub fn as_markdown() -> String {
    let mut page = String::from(
        "# Denials\n\nPrinted from `src/domain/model/denial.rs`; `BLESS=1 cargo test --test tidy` writes it anew.\n\n\
         A register gets `reason`; only the clerk's text may be displayed there. The customer's text goes to the customer's own phone.\n\n\
         DE 44 is the reason's number, `C` with the clerk's next step (1 none, 2 a new code, 3 ask the customer and confirm, \
         4 try later, 5 change the purchase, 6 inquire) and `U` with the customer's (0 none, 1 show a new code, 2 complete a \
         step in the app, 3 pay the bill, 4 buy for less, 5 try later, 6 contact us, 7 confirm at the register).\n\n\
         | reason | DE 39 | DE 44 | retry | clerk | customer |\n|---|---|---|---|---|---|\n",
    );
    for reason in Reason::ALL {
        let row = reason.row();
        page += &format!(
            "| `{}` | {} | `{}` | `{}` | {}<br>{} | {}<br>{} |\n",
            row.name,
            row.response_code,
            reason.details(false),
            row.retry.name(),
            row.clerk.ja,
            row.clerk.en,
            row.customer.ja,
            row.customer.en,
        );
    }
    page + &texts_by_state()
}

/// The texts of this page, for the printed table.
fn texts_by_state() -> String {
    let mut page = String::from(
        "\n## What the clerk reads by the present status\n\nIn the first answer, a replay and an inquiry alike.\n\n\
         | status | clerk |\n|---|---|\n",
    );
    for status in OrderStatus::ALL {
        let Words { ja, en } = of_status(status).unwrap_or(words("拒否の理由による（上の表）", "by its reason, above"));
        page += &format!("| `{}` | {ja}<br>{en} |\n", status.name());
    }
    let Words { ja, en } = NOT_CHARGED;
    page += &format!("| `denied`, `too_late`, asked about again (`retry` is `never`) | {ja}<br>{en} |\n");
    page += "\n## What the customer reads beside the table\n\nNever the register. `{why}` is the office's `identity_reason`.\n\n\
             | reason | case | customer |\n|---|---|---|\n";
    let identities = Identity::ALL.into_iter().flat_map(|identity| [(identity, true), (identity, false)]);
    for (identity, has_reason) in identities.filter(|(identity, why)| *identity == Identity::Rejected || !why) {
        let Some(Words { ja, en }) = of_identity(identity, has_reason) else { continue };
        let reason = if has_reason { ", with a reason" } else { "" };
        page += &format!("| `identity_required` | identity `{}`{reason} | {ja}<br>{en} |\n", identity.name());
    }
    let Words { ja, en } = OF_LOSS;
    page += &format!("| `suspended` | a lost phone alone | {ja}<br>{en} |\n");
    for by in VoidedBy::ALL {
        let Words { ja, en } = of_voided(by);
        page += &format!("| `code_voided` | `voided_by` `{}` | {ja}<br>{en} |\n", by.name());
    }
    for status in OrderStatus::ALL {
        let Some(Words { ja, en }) = of_used(status) else { continue };
        page += &format!("| `code_used` | the sale is `{}` by now | {ja}<br>{en} |\n", status.name());
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every text that a clerk may be shown.
    fn clerks() -> Vec<(String, Words)> {
        let denials = Reason::ALL.into_iter().map(|reason| (reason.row().name.to_owned(), reason.row().clerk));
        let statuses = OrderStatus::ALL.into_iter().filter_map(|at| Some((at.name().to_owned(), of_status(at)?)));
        denials.chain(statuses).chain([("too_late again".to_owned(), NOT_CHARGED)]).collect()
    }

    fn customers() -> Vec<(String, Words)> {
        let denials = Reason::ALL.into_iter().map(|reason| (reason.row().name.to_owned(), reason.row().customer));
        let identities = Identity::ALL.into_iter().flat_map(|identity| {
            [true, false]
                .into_iter()
                .filter_map(move |why| Some((identity.name().to_owned(), of_identity(identity, why)?)))
        });
        let voided = VoidedBy::ALL.into_iter().map(|by| (by.name().to_owned(), of_voided(by)));
        let used = OrderStatus::ALL.into_iter().filter_map(|at| Some((at.name().to_owned(), of_used(at)?)));
        let lost = ("suspended".to_owned(), OF_LOSS);
        denials.chain(identities).chain(voided).chain(used).chain([lost]).collect()
    }

    fn is_polite(ja: &str) -> bool {
        // What stands in brackets may close a sentence.
        let bare = ja.replace("（今回 {amount}円）", "").replace("（理由：{why}）", "");
        let sentences: Vec<_> = bare.split_inclusive('。').collect();
        sentences.iter().all(|sentence| {
            ["ください。", "です。", "ます。", "ました。", "ません。", "ませんでした。"]
                .iter()
                .any(|end| sentence.ends_with(end))
        })
    }

    #[test]
    fn no_clerks_text_holds_a_figure_or_a_word_of_standing() {
        let ja = [
            "限度",
            "上限",
            "可能額",
            "残高",
            "与信",
            "信用",
            "延滞",
            "滞納",
            "停止",
            "未払",
            "請求",
            "本人",
            "同意",
            "審査",
            "円",
        ];
        let en =
            ["{", "limit", "credit", "overdue", "suspend", "balance", "identity", "consent", "bill", "yen ", "owe"];
        for (name, words) in clerks() {
            let told = (words.ja, words.en.to_lowercase());
            for word in ja {
                // The currency is the register's setting, no figure.
                assert!(!told.0.replace("日本円", "").contains(word), "{name} tells the clerk {word}");
            }
            for word in en {
                assert!(!told.1.replace("japanese yen ", "").contains(word), "{name} tells the clerk {word}");
            }
            assert!(!words.ja.chars().chain(words.en.chars()).any(char::is_numeric), "{name} shows the clerk a figure");
        }
    }

    #[test]
    fn clerks_are_spoken_to_on_one_level_of_politeness() {
        for (name, Words { ja, en }) in clerks() {
            assert!(!ja.is_empty() && is_polite(ja), "{name}: {ja}");
            // ご…ください and お…ください, never …てください.
            assert!(!ja.contains("てください") && !ja.contains("でください"), "{name}: {ja}");
            assert!(en.ends_with('.') && en.is_ascii(), "{name}: {en}");
        }
        for (name, Words { ja, en }) in customers() {
            assert!(!ja.is_empty() && is_polite(ja), "{name}: {ja}");
            assert!(en.ends_with('.') && en.is_ascii(), "{name}: {en}");
        }
    }

    #[test]
    fn texts_name_the_service_and_speak_of_bills_in_one_way() {
        for (name, Words { ja, .. }) in clerks().into_iter().chain(customers()) {
            for word in ["当社", "弊社", "必要なら", "短い時間", "請求されま", "お支払いしました"]
            {
                assert!(!ja.contains(word), "{name}: {ja}");
            }
        }
    }

    #[test]
    fn both_languages_fill_in_the_same_places() {
        for (name, Words { ja, en }) in customers() {
            for place in ["{amount}", "{room}", "{shop}", "{why}"] {
                assert_eq!(ja.contains(place), en.contains(place), "{name}: {place}");
            }
        }
    }

    #[test]
    fn each_status_has_words_of_its_own_and_only_a_captured_sale_is_complete() {
        let mut seen = Vec::new();
        for status in OrderStatus::ALL {
            let words = clerk(status, (status == OrderStatus::Denied).then_some(Reason::Overdue), true);
            assert!(!seen.contains(&words), "{status:?}");
            assert_eq!(words.ja.contains("完了しました"), status == OrderStatus::Captured, "{status:?}");
            seen.push(words);
        }
    }

    #[test]
    fn a_sale_that_was_too_late_is_inquired_about_once() {
        let told = |again| (clerk(OrderStatus::Denied, Some(Reason::TooLate), again), Reason::TooLate.retry(again));
        assert_eq!(told(false), (Reason::TooLate.row().clerk, Retry::Inquire));
        assert_eq!(told(true), (NOT_CHARGED, Retry::Never));
        for reason in Reason::ALL.into_iter().filter(|reason| *reason != Reason::TooLate) {
            assert_eq!(reason.retry(true), reason.retry(false));
        }
    }

    #[test]
    fn a_code_has_paid_only_where_its_sale_is_paid_now() {
        let paid = Reason::CodeUsed.row().customer;
        let mut seen = Vec::new();
        for status in OrderStatus::ALL.into_iter().filter(|status| *status != OrderStatus::Denied) {
            let words = of_used(status).unwrap_or(paid);
            let is_paid = matches!(status, OrderStatus::Captured | OrderStatus::PartiallyRefunded);
            assert_eq!(words.en.contains("has already paid"), is_paid, "{status:?}");
            assert_eq!(words.ja.contains("お支払いに使われ"), is_paid, "{status:?}");
            assert!(!seen.contains(&words), "{status:?}");
            seen.push(words);
        }
    }

    #[test]
    fn each_state_of_an_identity_has_words_of_its_own() {
        let mut profile = Profile::newcomer();
        let mut seen = Vec::new();
        for identity in Identity::ALL {
            profile.identity = identity;
            profile.identity_reason = Some(Box::new("書類不鮮明".into()));
            let told = Circumstances::of(&profile, None);
            assert_eq!(told.why().is_some(), identity == Identity::Rejected, "a reason belongs to a rejection");
            let words = told.words(Reason::IdentityRequired);
            assert!(!seen.contains(&words), "{identity:?}");
            seen.push(words);
            assert_eq!(told.words(Reason::Overdue), Reason::Overdue.row().customer);
        }
    }
}

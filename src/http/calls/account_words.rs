//! The sentence of each movement of an account statement, for a customer who asks why they owe it. They name no shop and no
//! person, so that a statement reads the same for ever.

use crate::domain::model::payment::BillKey;
use crate::domain::model::time::Date;
use crate::ledger::{Book, EntryKind, Far};

/// What a sentence is about. A bill or an end that is not known has no words of its own.
pub(crate) struct About {
    pub(crate) kind: EntryKind,
    pub(crate) account: Book,
    pub(crate) bill: Option<BillKey>,
    /// The day of value.
    pub(crate) day: Date,
    pub(crate) far: Option<Far>,
    /// Added to `account`.
    pub(crate) amount: i64,
}

/// Japanese and English.
pub(crate) type Sentence = (String, String);

/// `{bill}`, `{line}`, `{day}` and `{end}` stand for what the movement is about.
const fn template(about: &About) -> (&'static str, &'static str) {
    use EntryKind as Kind;
    let is_more = about.amount > 0;
    let is_free = matches!(about.account, Book::Credit | Book::PayoutDue);
    match about.kind {
        Kind::Purchase | Kind::Capture => ("お買い物（{bill}）", "Purchase, on {bill}"),
        Kind::Cancel => ("お買い物の取消（{bill}）", "Purchase cancelled, on {bill}"),
        Kind::Refund => ("お買い物の返金（{bill}）", "Purchase refunded, on {bill}"),
        Kind::BillFee => ("請求手数料（{bill}）", "Bill fee of {bill}"),
        Kind::BillFeeWaived => ("請求手数料の取消（{bill}）", "Bill fee of {bill} waived"),
        Kind::LateFee => ("{day}の延滞手数料（{bill}）", "Late fee of {day}, on {bill}"),
        Kind::LateFeeTakenBack => ("{day}の延滞手数料の取消（{bill}）", "Late fee of {day} taken back, on {bill}"),
        Kind::LateFeeWaived => ("延滞手数料の免除（{bill}）", "Late fee waived, on {bill}"),
        Kind::DamagesPosted => ("遅延損害金（{bill}）", "Damages for lateness, on {bill}"),
        Kind::DamagesTakenBack | Kind::DamagesReversed => {
            ("遅延損害金の取消（{bill}）", "Damages taken back, on {bill}")
        }
        Kind::WrittenOff => ("貸倒れの計上（{bill}）", "Written off, of {bill}"),
        Kind::Recovered => ("貸倒れの回収（{bill}）", "Recovered of what was written off, of {bill}"),
        Kind::Released => ("ご請求の免除（{bill}）", "Released from {bill}"),
        Kind::Reversal if is_free => {
            ("誤ったご入金の取消（{line}から）", "Payment booked by mistake taken back, from {line}")
        }
        Kind::Reversal => {
            ("誤ったご入金の取消（{bill}の{line}）", "Payment booked by mistake taken back, from the {line} of {bill}")
        }
        Kind::Bounced if is_free => ("お振込みの組戻し（{line}へ）", "Transfer to you came back, kept as {line}"),
        Kind::Bounced => {
            ("お振込みの組戻し（{bill}の{line}に充当）", "Transfer to you came back, put on the {line} of {bill}")
        }
        Kind::Repayment if is_free => ("お支払い（{line}へ）", "Payment received, kept as {line}"),
        Kind::Repayment => ("お支払い（{bill}の{line}に充当）", "Payment received, put on the {line} of {bill}"),
        Kind::CreditApplied if is_free => ("{line}を{end}に充当", "{line} used for {end}"),
        Kind::CreditApplied => ("{end}から充当（{bill}の{line}）", "Put from {end} on the {line} of {bill}"),
        Kind::Payout => ("お客さまへのお振込み（{line}から）", "Paid out to you, from {line}"),
        Kind::PayoutDue if is_more => ("お返しする金額へ振替（{end}から）", "Now owed to you in cash, from {end}"),
        Kind::PayoutDue => ("{line}から{end}へ振替", "Moved from {line} to {end}"),
        _ if is_free && is_more => ("{end}から{line}へ振替", "Moved from {end} to {line}"),
        _ if is_free => ("{line}から{end}へ振替", "Moved from {line} to {end}"),
        _ if is_more => ("充当先の変更（{bill}の{line}から{end}へ）", "Moved from the {line} of {bill} to {end}"),
        _ => ("充当先の変更（{end}から{bill}の{line}へ）", "Moved from {end} to the {line} of {bill}"),
    }
}

const fn line(account: Book) -> (&'static str, &'static str) {
    match account {
        Book::BillFee => ("請求手数料", "bill fee"),
        Book::LateFee => ("延滞手数料", "late fees"),
        Book::Damages => ("遅延損害金", "damages"),
        Book::Credit => ("お預かり金", "credit"),
        Book::PayoutDue => ("お返しする金額", "what is owed to you in cash"),
        _ => ("ご利用代金", "principal"),
    }
}

fn bill(bill: Option<BillKey>) -> Sentence {
    match bill {
        Some(BillKey::Month(month)) => {
            let text = month.to_string();
            let (year, number) = text.split_once('-').unwrap_or((&text, ""));
            (format!("{year}年{}月分のご請求", number.trim_start_matches('0')), format!("the bill of {month}"))
        }
        Some(BillKey::Np(_)) => ("NP後払いのご請求".to_owned(), "the NP Atobarai invoice".to_owned()),
        None => ("ご利用分".to_owned(), "your account".to_owned()),
    }
}

fn end(far: Option<Far>) -> Sentence {
    let (ja, en) = match far {
        Some(Far::Bill(key)) => return bill(Some(key)),
        Some(Far::Received) => ("お支払い", "a payment"),
        Some(Far::Refund) => ("お買い物の返金", "a refund"),
        Some(Far::Credit) => line(Book::Credit),
        Some(Far::PayoutDue) => line(Book::PayoutDue),
        Some(Far::PaidOut) => ("お客さまへのお振込み", "a transfer to you"),
        Some(Far::Reversed) => ("誤ったご入金の取消", "the reversal of a payment"),
        None => ("お預かり金", "your money with us"),
    };
    (ja.to_owned(), en.to_owned())
}

fn day_ja(day: Date) -> String {
    let text = day.to_string();
    let mut parts = text.split('-').map(|part| part.trim_start_matches('0'));
    let mut next = || parts.next().unwrap_or_default();
    format!("{}年{}月{}日", next(), next(), next())
}

impl About {
    pub(crate) fn sentence(&self) -> Sentence {
        let (ja, en) = template(self);
        let ((bill_ja, bill_en), (end_ja, end_en)) = (bill(self.bill), end(self.far));
        let (line_ja, line_en) = line(self.account);
        let fill = |text: &str, [bill, line, day, end]: [&str; 4]| {
            let text = text.replace("{bill}", bill).replace("{line}", line);
            text.replace("{day}", day).replace("{end}", end)
        };
        let en = fill(en, [&bill_en, line_en, &self.day.to_string(), &end_en]);
        let mut letters = en.chars();
        let first = letters.next().map(|letter| letter.to_ascii_uppercase());
        (fill(ja, [&bill_ja, line_ja, &day_ja(self.day), &end_ja]), first.into_iter().chain(letters).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::model::ids::Lsn;
    use crate::domain::model::time::Month;

    #[test]
    fn every_movement_has_a_sentence_with_nothing_left_open() {
        let day = Date::parse("2026-03-09").unwrap();
        let june = BillKey::Month(Month::parse("2026-06").unwrap());
        let ends =
            [Far::Received, Far::Refund, Far::Bill(june), Far::Credit, Far::PayoutDue, Far::PaidOut, Far::Reversed];
        for kind in EntryKind::ALL {
            for account in Book::ALL {
                for (far, amount) in ends.map(Some).into_iter().chain([None]).flat_map(|far| [(far, 1), (far, -1)]) {
                    for bill in [Some(june), Some(BillKey::Np(Lsn(7))), None] {
                        let about = About { kind: *kind, account: *account, bill, day, far, amount };
                        let (ja, en) = about.sentence();
                        assert!(!ja.contains('{') && !en.contains('{') && en.is_ascii(), "{ja} {en}");
                        assert!(en.starts_with(|letter: char| letter.is_ascii_uppercase()), "{en}");
                    }
                }
            }
        }
    }

    #[test]
    fn sentences_read_well() {
        let about = |kind, account, far, amount| About {
            kind,
            account,
            bill: Some(BillKey::Month(Month::parse("2026-06").unwrap())),
            day: Date::parse("2026-08-10").unwrap(),
            far,
            amount,
        };
        use EntryKind as Kind;
        for (about, ja, en) in [
            (
                about(Kind::LateFee, Book::LateFee, None, 100),
                "2026年8月10日の延滞手数料（2026年6月分のご請求）",
                "Late fee of 2026-08-10, on the bill of 2026-06",
            ),
            (
                about(Kind::Repayment, Book::Exposure, Some(Far::Received), -5),
                "お支払い（2026年6月分のご請求のご利用代金に充当）",
                "Payment received, put on the principal of the bill of 2026-06",
            ),
            (
                about(Kind::CreditApplied, Book::Credit, Some(Far::Bill(BillKey::Np(Lsn(3)))), -5),
                "お預かり金をNP後払いのご請求に充当",
                "Credit used for the NP Atobarai invoice",
            ),
            (
                about(Kind::Moved, Book::BillFee, Some(Far::Credit), 5),
                "充当先の変更（2026年6月分のご請求の請求手数料からお預かり金へ）",
                "Moved from the bill fee of the bill of 2026-06 to credit",
            ),
            (
                about(Kind::Moved, Book::PayoutDue, Some(Far::PaidOut), 5),
                "お客さまへのお振込みからお返しする金額へ振替",
                "Moved from a transfer to you to what is owed to you in cash",
            ),
        ] {
            assert_eq!(about.sentence(), (ja.to_owned(), en.to_owned()));
        }
    }
}

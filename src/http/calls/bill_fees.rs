//! The fees of a bill, one by one, with the consumption tax that is in them: what a qualified invoice (適格請求書) says of
//! them. Damages for lateness are no consideration, and carry no tax.

use std::collections::BTreeMap;

use serde::Serialize;

use super::corrections::fee_id;
use crate::domain::billing::adjustments::Adjusted;
use crate::domain::billing::moment::BillAt;
use crate::domain::billing::notes::Cause;
use crate::domain::model::correction::Correction;
use crate::domain::model::ids::Lsn;
use crate::domain::model::money::Yen;
use crate::domain::model::payment::BillKey;
use crate::domain::model::terms::{RegistrationNumber, TermsByDay};
use crate::domain::model::time::{Date, Millis};
use crate::domain::state::event::Event;
use crate::domain::state::receipts::Receipt;
use crate::ledger::{Entry, EntryKind};

#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct FeeShown {
    fee_id: String,
    fee: &'static str,
    date: Date,
    amount: Yen,
    /// Of `amount`.
    tax: Yen,
    tax_percent: u8,
    /// Of the issuer; null where the policy has none.
    registration_number: Option<RegistrationNumber>,
    /// It is in no line of the bill any more.
    waived: bool,
    waived_by: Option<WaivedBy>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum WaivedBy {
    Staff,
    /// Refunds or cancels took all of the bill in time.
    Refund,
}

/// A fee as it was charged.
#[derive(Clone, Copy)]
struct Charged {
    /// Of a late fee: its day.
    late: Option<Date>,
    amount: Yen,
    waived_by: Option<WaivedBy>,
}

/// The fees of a bill, which is called `name`, by their days: those that are not waived are together its lines. From the engine
/// while it knows the bill and else from the ledger: from its entries on the bill, and the waivers among the receipts.
pub(crate) fn fees<'a>(
    at: Option<&BillAt>,
    entries: impl IntoIterator<Item = &'a Entry>,
    receipts: &[Receipt],
    (bill, name): (BillKey, &str),
    terms: &TermsByDay,
) -> Vec<FeeShown> {
    let mut charged = at.map_or_else(|| posted(entries, receipts), known);
    charged.retain(|fee| !fee.amount.is_zero());
    charged.sort_by_key(|fee| fee.late);
    let show = |Charged { late, amount, waived_by }: Charged| {
        // A month's bill alone has a fee of its own; it is taxed as it is issued.
        let date = late.or_else(|| Some(bill.month()?.next().day(1)))?;
        let billing = &terms.on(date).billing;
        Some(FeeShown {
            fee_id: fee_id(name, late),
            fee: if late.is_some() { "late_fee" } else { "bill_fee" },
            date,
            amount,
            tax: billing.tax_in(amount),
            tax_percent: billing.tax_percent,
            registration_number: billing.registration_number,
            waived: waived_by.is_some(),
            waived_by,
        })
    };
    charged.into_iter().filter_map(show).collect()
}

/// What the engine knows.
fn known(at: &BillAt) -> Vec<Charged> {
    let bill = &at.bill;
    let waived_by = match at.charged.bill_fee {
        Yen::ZERO if bill.is_bill_fee_waived_by_staff(Millis(i64::MAX)) => Some(WaivedBy::Staff),
        Yen::ZERO => Some(WaivedBy::Refund),
        _ => None,
    };
    let of_bill = Charged { late: None, amount: bill.fee.unwrap_or(at.charged.bill_fee), waived_by };
    let standing = at.late_fees.iter().map(|late| (late, None));
    let waived = bill.adjustments().iter().filter_map(|of| match &of.what {
        Adjusted::LateFeeWaived(late) => Some((late, Some(WaivedBy::Staff))),
        _ => None,
    });
    let late = standing.chain(waived);
    let late = late.map(|(late, waived_by)| Charged { late: Some(late.date), amount: late.amount, waived_by });
    std::iter::once(of_bill).chain(late).collect()
}

/// What the ledger has of a bill that the engine has let go. What a late fee moves counts from its day.
fn posted<'a>(entries: impl IntoIterator<Item = &'a Entry>, receipts: &[Receipt]) -> Vec<Charged> {
    let mut standing: BTreeMap<Option<Date>, Yen> = BTreeMap::new();
    let mut waived = Vec::new();
    for entry in entries {
        let amount = Yen::new(entry.amount.unsigned_abs());
        let day = Some(entry.value_at.unwrap_or(entry.recorded_at).date());
        let mut less = |late| {
            let there = standing.entry(late).or_default();
            *there = there.minus_or_zero(amount);
        };
        match entry.kind {
            EntryKind::BillFee => *standing.entry(None).or_default() += amount,
            EntryKind::LateFee => *standing.entry(day).or_default() += amount,
            EntryKind::LateFeeTakenBack => less(day),
            EntryKind::BillFeeWaived | EntryKind::LateFeeWaived => {
                let by_staff = waiver(receipts, entry.lsn);
                let late = by_staff.flatten();
                less(late);
                let waived_by = Some(by_staff.map_or(WaivedBy::Refund, |_| WaivedBy::Staff));
                waived.push(Charged { late, amount, waived_by });
            }
            _ => {}
        }
    }
    let standing = standing.into_iter().map(|(late, amount)| Charged { late, amount, waived_by: None });
    standing.chain(waived).collect()
}

/// Whether staff waived a fee by this record, and of a late fee its day.
fn waiver(receipts: &[Receipt], record: Lsn) -> Option<Option<Date>> {
    let receipt = receipts.iter().find(|receipt| receipt.lsn == record)?;
    match receipt.event.as_ref() {
        Event::Settled { cause: Cause::Corrected { correction: Correction::WaiveFee { fee, .. }, .. }, .. } => {
            Some(fee.late)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::model::policy::Policy;
    use crate::domain::model::time::Month;
    use crate::ledger::Book;

    fn terms(percent: &str) -> Policy {
        let shipped = include_str!("../../../config/policy.toml");
        let own = format!("tax_percent = {percent}\nregistration_number = \"T1234567890123\"");
        let text = shipped.replace("tax_percent = 10", &own);
        assert_ne!(text, shipped);
        Policy::parse(&text).unwrap()
    }

    #[test]
    fn what_only_the_ledger_has_adds_up_and_is_taxed_by_the_terms_of_its_day() {
        let month = Month::parse("2021-06").unwrap();
        let entry = |kind, account, amount, at: &str| Entry {
            lsn: Lsn(1),
            kind,
            account,
            amount,
            month: Some(month),
            recorded_at: Millis::parse("2021-10-01T00:15:00+09:00").unwrap(),
            purchase: None,
            moved: None,
            counter: Book::FeeIncome,
            channel: None,
            value_at: Some(Millis::parse(&format!("{at}T00:00:00+09:00")).unwrap()),
        };
        use EntryKind::{BillFee, BillFeeWaived, LateFee, LateFeeTakenBack};
        let entries = [
            entry(BillFee, Book::BillFee, 209, "2021-07-01"),
            entry(LateFee, Book::LateFee, 100, "2021-08-10"),
            entry(LateFee, Book::LateFee, 100, "2021-08-25"),
            entry(LateFee, Book::LateFee, 300, "2021-09-10"),
            entry(LateFeeTakenBack, Book::LateFee, -100, "2021-08-10"),
            entry(BillFeeWaived, Book::BillFee, -209, "2021-09-11"),
        ];
        let mut all = TermsByDay::always(terms("8").terms);
        all.add(Date::parse("2021-08-31").unwrap(), terms("10").terms);
        let shown = fees(None, &entries, &[], (BillKey::Month(month), "2021-06"), &all);
        let told: Vec<_> =
            shown.iter().map(|fee| (fee.fee_id.as_str(), fee.amount.get(), fee.tax.get(), fee.tax_percent)).collect();
        let expected = [
            ("fee_2021-06", 209, 15, 8),
            ("fee_2021-06_2021-08-25", 100, 7, 8),
            ("fee_2021-06_2021-09-10", 300, 27, 10),
        ];
        assert_eq!(told, expected);
        let by: Vec<_> = shown.iter().map(|fee| (fee.waived, fee.waived_by)).collect();
        assert_eq!(by, [(true, Some(WaivedBy::Refund)), (false, None), (false, None)]);
        assert_eq!(shown[0].registration_number.unwrap().to_string(), "T1234567890123");
    }
}

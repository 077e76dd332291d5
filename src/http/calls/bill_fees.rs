//! The fees of a bill, one by one, with the consumption tax that is in them: what a qualified invoice (適格請求書) says of
//! them. Damages for lateness are no consideration, and carry no tax.

use serde::Serialize;

use super::corrections::fee_id;
use crate::domain::billing::adjustments::Adjusted;
use crate::domain::billing::bill::LateFee;
use crate::domain::billing::moment::BillAt;
use crate::domain::model::money::Yen;
use crate::domain::model::payment::BillKey;
use crate::domain::model::terms::{Billing, RegistrationNumber, TermsByDay};
use crate::domain::model::time::Date;
use crate::ledger::{Entry, EntryKind};

#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct FeeShown {
    /// Null of a late fee that only the ledger knows, which has no fee day.
    fee_id: Option<String>,
    fee: &'static str,
    date: Option<Date>,
    amount: Yen,
    /// Of `amount`.
    tax: Yen,
    tax_percent: u8,
    /// Of the issuer; null where the policy has none.
    registration_number: Option<RegistrationNumber>,
    /// By staff: it is in no line of the bill any more.
    waived: bool,
}

impl FeeShown {
    /// Taxed by the terms of its own day.
    fn new(fee: &'static str, id: Option<String>, date: Option<Date>, amount: Yen, terms: &Billing) -> Self {
        Self {
            fee_id: id,
            fee,
            date,
            amount,
            tax: terms.tax_in(amount),
            tax_percent: terms.tax_percent,
            registration_number: terms.registration_number,
            waived: false,
        }
    }
}

/// The fees of a bill, which is called `name`: those that are not waived are together its lines. From the engine while it knows the
/// bill and else from the ledger.
pub(crate) fn fees(
    at: Option<&BillAt>,
    entries: &[Entry],
    bill: BillKey,
    name: &str,
    terms: &TermsByDay,
) -> Vec<FeeShown> {
    let of_bill = |amount: Yen| {
        let month = bill.month().filter(|_| !amount.is_zero())?;
        let date = Some(month.next().day(1));
        Some(FeeShown::new("bill_fee", Some(fee_id(name, None)), date, amount, terms.billing(month)))
    };
    if let Some(at) = at {
        let late = |late: &LateFee| {
            let id = fee_id(name, Some(late.date));
            FeeShown::new("late_fee", Some(id), Some(late.date), late.amount, &terms.on(late.date).billing)
        };
        let standing = of_bill(at.charged.bill_fee).into_iter().chain(at.late_fees.iter().map(late));
        let waived = at.bill.adjustments().iter().filter_map(|of| match &of.what {
            Adjusted::BillFeeWaived(amount) => of_bill(*amount),
            Adjusted::LateFeeWaived(waived) => Some(late(waived)),
            _ => None,
        });
        return standing.chain(waived.map(|fee| FeeShown { waived: true, ..fee })).collect();
    }
    let posted = Posted::of(entries, bill);
    let late = posted
        .late
        .into_iter()
        .map(|(recorded, amount)| FeeShown::new("late_fee", None, None, amount, &terms.on(recorded).billing));
    of_bill(posted.bill_fee).into_iter().chain(late).collect()
}

/// What the ledger has of the fees of a bill.
#[derive(Default)]
struct Posted {
    bill_fee: Yen,
    /// Not taken back, by the day of their record.
    late: Vec<(Date, Yen)>,
}

impl Posted {
    fn of(entries: &[Entry], bill: BillKey) -> Self {
        let mut posted = Self::default();
        for entry in entries.iter().filter(|entry| entry.bill() == Some(bill)) {
            let amount = Yen::new(entry.amount.unsigned_abs());
            match entry.kind {
                EntryKind::BillFee => posted.bill_fee += amount,
                EntryKind::BillFeeWaived => posted.bill_fee = posted.bill_fee.minus_or_zero(amount),
                EntryKind::LateFee => posted.late.push((entry.recorded_at.date(), amount)),
                // Which of them it was is not kept; the latest of its amount is as good.
                EntryKind::LateFeeTakenBack | EntryKind::LateFeeWaived => {
                    if let Some(place) = posted.late.iter().rposition(|(_, late)| *late == amount) {
                        posted.late.remove(place);
                    }
                }
                _ => {}
            }
        }
        posted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::model::ids::Lsn;
    use crate::domain::model::policy::Policy;
    use crate::domain::model::time::{Millis, Month};
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
            recorded_at: Millis::parse(&format!("{at}T00:15:00+09:00")).unwrap(),
            purchase: None,
            moved: None,
            counter: Book::FeeIncome,
            channel: None,
            value_at: None,
        };
        use EntryKind::{BillFee, LateFee, LateFeeTakenBack};
        let entries = [
            entry(BillFee, Book::BillFee, 209, "2021-07-01"),
            entry(LateFee, Book::LateFee, 100, "2021-08-10"),
            entry(LateFee, Book::LateFee, 100, "2021-08-25"),
            entry(LateFee, Book::LateFee, 300, "2021-09-10"),
            entry(LateFeeTakenBack, Book::LateFee, -100, "2021-09-11"),
        ];
        let mut all = TermsByDay::always(terms("8").terms);
        all.add(Date::parse("2021-08-31").unwrap(), terms("10").terms);
        let shown = fees(None, &entries, BillKey::Month(month), "2021-06", &all);
        let told: Vec<_> =
            shown.iter().map(|fee| (fee.fee, fee.amount.get(), fee.tax.get(), fee.tax_percent)).collect();
        assert_eq!(told, [("bill_fee", 209, 15, 8), ("late_fee", 100, 7, 8), ("late_fee", 300, 27, 10)]);
        assert_eq!((shown[0].fee_id.as_deref(), shown[1].fee_id.as_deref()), (Some("fee_2021-06"), None));
        assert_eq!(shown[0].registration_number.unwrap().to_string(), "T1234567890123");
    }
}

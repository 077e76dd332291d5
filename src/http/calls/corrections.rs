//! Staff corrects something in a customer's books, with a reason: a repayment that was booked by mistake, fees and damages
//! that are not to be paid, bills that are given up, credit that is put on a month which is still open.

use serde::{Deserialize, Serialize};

use super::office::{Booked, Present, instruct, office_id};
use super::payments::{Moved, moved};
use crate::domain::billing::notes::Cause;
use crate::domain::billing::settlement::Charge;
use crate::domain::commands::refusal::Refusal;
use crate::domain::model::correction::{Correction, Fee};
use crate::domain::model::ids::OfficeId;
use crate::domain::model::money::Yen;
use crate::domain::model::payment::BillKey;
use crate::domain::model::request::{Instruction, Staff};
use crate::domain::model::time::{Date, Month};
use crate::domain::state::event::Event;
use crate::domain::state::receipts::corrected;
use crate::http::answer::Answer;
use crate::http::asked::Asked;
use crate::http::fields;
use crate::http::fields::{Amount, Text, Words};
use crate::http::past::{BillName, bill_names};
use crate::http::problem::Problem;
use crate::http::refusal::{NotDone, refused};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StaffBody {
    by: Text<Words<64>>,
    reason: Text<Words<200>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReversalBody {
    /// The repayment's own id, if nothing is said.
    reversal_id: Option<Text<OfficeId>>,
    /// A part of the repayment; all that is left of it, if nothing is said.
    amount: Option<Amount>,
    by: Text<Words<64>>,
    reason: Text<Words<200>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WriteOffBody {
    write_off_id: Text<OfficeId>,
    bill: Text<BillName>,
    by: Text<Words<64>>,
    reason: Text<Words<200>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ApplicationBody {
    application_id: Text<OfficeId>,
    amount: Amount,
    /// A month that is still open.
    bill: Text<Month>,
    by: Option<Text<Words<64>>>,
    reason: Option<Text<Words<200>>>,
}

/// What was corrected, by the name that its call has for it.
#[derive(Serialize)]
enum Name {
    #[serde(rename = "repayment_id")]
    Repayment(OfficeId),
    #[serde(rename = "fee_id")]
    Fee(String),
    #[serde(rename = "posting_id")]
    Posting(OfficeId),
    #[serde(rename = "write_off_id")]
    WriteOff(OfficeId),
    #[serde(rename = "application_id")]
    Application(OfficeId),
}

#[derive(Serialize)]
struct CorrectedShown<'a> {
    #[serde(flatten)]
    name: Name,
    /// Of a repayment that was taken back.
    #[serde(skip_serializing_if = "Option::is_none")]
    reversal_id: Option<OfficeId>,
    /// The bill that was changed; null where money was taken back from wherever it lay.
    bill: Option<String>,
    month: Option<Month>,
    /// So much was taken back, waived, given up, released or applied.
    amount: Yen,
    /// What money went where because of it: bills, `credit`, `payout_due`, `reversal`.
    moved: Vec<Moved>,
    /// What is free with it.
    credit: Yen,
    payout_due: Yen,
    by: &'a str,
    /// The name of the key that told of it first.
    key: &'a str,
    reason: &'a str,
    #[serde(flatten)]
    present: Option<Present>,
    replayed: bool,
}

fn staff(asked: &Asked, by: Box<str>, reason: Box<str>) -> Result<Staff, Problem> {
    Ok(Staff { by, key: asked.known()?.caller.name.clone(), reason })
}

/// `POST /v1/customers/{customer_id}/repayments/{repayment_id}/reversal`
pub(crate) async fn reverse_repayment(asked: &Asked) -> Result<Answer, Problem> {
    let repayment = office_id(asked, "repayment_id")?;
    let body: ReversalBody = fields::read(&asked.body)?;
    let amount = body.amount.map(|amount| Yen::new(amount.0));
    let staff = staff(asked, body.by.0.0, body.reason.0.0)?;
    let reversal = body.reversal_id.map(|id| id.0).filter(|id| *id != repayment).map(Box::new);
    let correction = Correction::ReverseRepayment { reversal, repayment, amount };
    correct(asked, Name::Repayment(repayment), correction, staff).await
}

/// `POST /v1/customers/{customer_id}/fees/{fee_id}/waiver`
pub(crate) async fn waive_fee(asked: &Asked) -> Result<Answer, Problem> {
    let text = asked.param("fee_id");
    let body: StaffBody = fields::read(&asked.body)?;
    let (name, late) = fee_name(text).ok_or_else(|| Problem::in_path("fee_id", FEE_FORMS))?;
    let bill = name.key(&asked.edge).await?.ok_or(NotDone::Refused(Refusal::FeeUnknown))?;
    let fee = Fee { bill, late };
    let id = fee.waiver_of(asked.customer()?).ok_or_else(Problem::internal)?;
    let staff = staff(asked, body.by.0.0, body.reason.0.0)?;
    correct(asked, Name::Fee(text.to_owned()), Correction::WaiveFee { id, fee }, staff).await
}

const FEE_FORMS: &str = "must be `fee_BILL` or `fee_BILL_YYYY-MM-DD`, as the statement lists it";

/// `fee_2021-06` is a bill fee, `fee_2021-06_2021-08-10` a late fee.
fn fee_name(text: &str) -> Option<(BillName, Option<Date>)> {
    let name = text.strip_prefix("fee_")?;
    let late = name.rsplit_once('_').and_then(|(bill, date)| Some((BillName::parse(bill)?, Some(Date::parse(date)?))));
    late.or_else(|| Some((BillName::parse(name)?, None)))
}

/// What a fee of a bill is called.
pub(super) fn fee_id(bill: &str, late: Option<Date>) -> String {
    late.map_or_else(|| format!("fee_{bill}"), |date| format!("fee_{bill}_{date}"))
}

/// `POST /v1/customers/{customer_id}/damages/{posting_id}/reversal`
pub(crate) async fn reverse_damages(asked: &Asked) -> Result<Answer, Problem> {
    let posting = office_id(asked, "posting_id")?;
    let body: StaffBody = fields::read(&asked.body)?;
    let staff = staff(asked, body.by.0.0, body.reason.0.0)?;
    correct(asked, Name::Posting(posting), Correction::ReverseDamages { posting }, staff).await
}

/// `POST /v1/customers/{customer_id}/write-offs`
pub(crate) async fn write_off(asked: &Asked) -> Result<Answer, Problem> {
    let body: WriteOffBody = fields::read(&asked.body)?;
    let id = body.write_off_id.0;
    let bill = body.bill.0.key(&asked.edge).await?.ok_or(NotDone::Refused(Refusal::BillUnknown))?;
    let staff = staff(asked, body.by.0.0, body.reason.0.0)?;
    correct(asked, Name::WriteOff(id), Correction::WriteOff { id, bill }, staff).await
}

/// `POST /v1/customers/{customer_id}/write-offs/{write_off_id}/release`
pub(crate) async fn release_write_off(asked: &Asked) -> Result<Answer, Problem> {
    let id = office_id(asked, "write_off_id")?;
    let body: StaffBody = fields::read(&asked.body)?;
    let staff = staff(asked, body.by.0.0, body.reason.0.0)?;
    correct(asked, Name::WriteOff(id), Correction::ReleaseWriteOff { id }, staff).await
}

/// `POST /v1/customers/{customer_id}/credit/applications`
pub(crate) async fn apply_credit(asked: &Asked) -> Result<Answer, Problem> {
    let body: ApplicationBody = fields::read(&asked.body)?;
    let (id, amount) = (body.application_id.0, Yen::new(body.amount.0));
    let words = |by: Option<Box<str>>| by.unwrap_or_default();
    let staff = staff(asked, words(body.by.map(|by| by.0.0)), words(body.reason.map(|reason| reason.0.0)))?;
    let correction = Correction::ApplyCredit { id, amount, bill: BillKey::Month(body.bill.0) };
    correct(asked, Name::Application(id), correction, staff).await
}

async fn correct(asked: &Asked, name: Name, correction: Correction, staff: Staff) -> Result<Answer, Problem> {
    let told = instruct(asked, asked.customer()?, Instruction::Correct { correction, staff }).await;
    let booked = told.map_err(|why| match (&name, why) {
        // The id is the fee's own, so there is no other to take.
        (Name::Fee(_), NotDone::Refused(reused @ Refusal::IdReused { .. })) => refused(reused).with_detail(
            "The fee was waived before, for another `reason`; nothing was done. Send that reason to see it.".to_owned(),
        ),
        (_, why) => why.into(),
    })?;
    show(asked, name, &booked).await
}

async fn show(asked: &Asked, name: Name, booked: &Booked) -> Result<Answer, Problem> {
    let Event::Settled { cause: Cause::Corrected { correction, amount, staff }, books } = booked.receipt.event.as_ref()
    else {
        return Err(Problem::internal());
    };
    let names = bill_names(&asked.edge, books.bills()).await?;
    let is_reversal = matches!(correction, Correction::ReverseRepayment { .. });
    let reversal_id = is_reversal.then(|| corrected(correction).1);
    let changed = books.charges.iter().find_map(|charge| match charge {
        Charge::Adjusted { bill, .. } if !is_reversal => Some(*bill),
        _ => None,
    });
    let [credit, payout_due] = booked.free(asked).await?;
    Answer::ok(&CorrectedShown {
        name,
        reversal_id,
        bill: changed.and_then(|bill| names.of(bill)),
        month: changed.and_then(BillKey::month),
        amount: *amount,
        moved: moved(&books.transfers, &names)?,
        credit,
        payout_due,
        by: &staff.by,
        key: &staff.key,
        reason: &staff.reason,
        present: booked.present(asked)?,
        replayed: booked.replayed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fee_is_named_by_its_bill_and_its_day() {
        let month = Month::parse("2021-06").unwrap();
        for (text, late) in [("fee_2021-06", None), ("fee_2021-06_2021-08-10", Date::parse("2021-08-10"))] {
            let (bill, date) = fee_name(text).unwrap();
            assert!(matches!(bill, BillName::Month(of) if of == month));
            assert_eq!((date, fee_id("2021-06", date).as_str()), (late, text));
        }
        for text in ["2021-06", "fee_", "fee_2021-06_2021-13-10", "fee_2021", "fee_2021-06_"] {
            assert!(fee_name(text).is_none(), "{text}");
        }
    }
}

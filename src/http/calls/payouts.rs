//! What is owed to customers in cash: the list of it, transfers that were made, and those that came back.

use serde::{Deserialize, Serialize};

use super::office::{Booked, StaffBody, instruct, office_id, staff_if_told};
use super::payments::{Applied, applied, came_to};
use super::statements::account_now;
use crate::domain::billing::account::Account;
use crate::domain::billing::notes::Cause;
use crate::domain::billing::outflows::Why;
use crate::domain::billing::settlement::Place;
use crate::domain::billing::standing::Spendable;
use crate::domain::billing::sums::Sum;
use crate::domain::model::customer::Status;
use crate::domain::model::ids::{CustomerId, Lsn, OfficeId};
use crate::domain::model::money::Yen;
use crate::domain::model::request::{Instruction, Staff};
use crate::domain::model::time::{Date, Millis};
use crate::domain::state::event::Event;
use crate::http::answer::Answer;
use crate::http::asked::Asked;
use crate::http::fields;
use crate::http::fields::{Amount, Printed, Text, Words};
use crate::http::past::{bill_names, caught_up};
use crate::http::problem::Problem;
use crate::http::query::Query;
use crate::ledger::{OwedInCash, PaidOut};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PayoutBody {
    payout_id: Text<OfficeId>,
    amount: Amount,
    /// The bank's name of the transfer.
    bank_reference: Option<Text<Printed<64>>>,
    by: Option<Text<Words<64>>>,
    reason: Option<Text<Words<200>>>,
}

#[derive(Serialize)]
struct PayoutShown<'a> {
    payout_id: OfficeId,
    amount: Yen,
    /// As it was told first.
    bank_reference: &'a Option<Box<str>>,
    /// What is left with it.
    payout_due: Yen,
    credit: Yen,
    /// The bank sent it back then; null where it did not, or long ago.
    bounced_at: Option<Millis>,
    #[serde(flatten)]
    staff: Option<&'a Staff>,
    replayed: bool,
}

/// `POST /v1/customers/{customer_id}/payouts`
pub(crate) async fn pay_out(asked: &Asked) -> Result<Answer, Problem> {
    let body: PayoutBody = fields::read(&asked.body)?;
    let id = body.payout_id.0;
    let amount = Yen::new(body.amount.0);
    let bank_reference = body.bank_reference.map(|reference| reference.0.0);
    let staff = staff_if_told(asked, body.by, body.reason)?;
    let booked = instruct(asked, asked.customer()?, Instruction::PayOut { id, amount, bank_reference, staff }).await?;
    let Event::Settled { cause: Cause::Payout { bank_reference, .. }, .. } = booked.receipt.event.as_ref() else {
        return Err(Problem::internal());
    };
    let [credit, payout_due] = booked.free(asked).await?;
    Answer::ok(&PayoutShown {
        payout_id: id,
        amount,
        bank_reference,
        payout_due,
        credit,
        bounced_at: bounced_at(&booked.account, booked.receipt.lsn),
        staff: booked.receipt.event.staff(),
        replayed: booked.replayed,
    })
}

fn bounced_at(account: &Account, payout: Lsn) -> Option<Millis> {
    let mut outflows = account.debt.iter().flat_map(|debt| &debt.outflows);
    outflows.find(|outflow| outflow.why == Why::Bounced(payout)).map(|outflow| outflow.at)
}

#[derive(Serialize)]
struct BouncedShown<'a> {
    payout_id: OfficeId,
    amount: Yen,
    by: &'a str,
    /// The name of the key that told of it first.
    key: &'a str,
    reason: &'a str,
    /// `applied`, `credit` and `payout_due` together are the amount.
    applied: Vec<Applied>,
    credit: Yen,
    payout_due: Yen,
    /// Now; a repeated call leaves it out.
    #[serde(skip_serializing_if = "Option::is_none")]
    spendable: Option<Spendable>,
    replayed: bool,
}

/// `POST /v1/customers/{customer_id}/payouts/{payout_id}/bounced`
pub(crate) async fn bounce(asked: &Asked) -> Result<Answer, Problem> {
    let payout = office_id(asked, "payout_id")?;
    let staff = fields::read::<StaffBody>(&asked.body)?.into_staff(asked)?;
    let booked = instruct(asked, asked.customer()?, Instruction::Bounce { payout, staff }).await?;
    show_bounced(asked, &booked).await
}

async fn show_bounced(asked: &Asked, booked: &Booked) -> Result<Answer, Problem> {
    let Event::Settled { cause: Cause::Bounced { payout, amount, staff }, books } = booked.receipt.event.as_ref()
    else {
        return Err(Problem::internal());
    };
    let came_back = || {
        books.transfers.iter().filter(|transfer| matches!(transfer.from, Place::PaidOut { .. } | Place::Bounced { .. }))
    };
    let names = bill_names(&asked.edge, books.bills()).await?;
    Answer::ok(&BouncedShown {
        payout_id: *payout,
        amount: *amount,
        by: &staff.by,
        key: &staff.key,
        reason: &staff.reason,
        applied: applied(came_back(), &names)?,
        credit: came_to(came_back(), Place::Credit),
        payout_due: came_to(came_back(), Place::PayoutDue),
        spendable: booked.present(asked)?.map(|present| present.spendable),
        replayed: booked.replayed,
    })
}

/// Why money is owed in cash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum WhyDue {
    /// It met no bill for as many months as the policy says.
    Age,
    /// The account is closed, and has no next bill.
    Closed,
    /// Neither is so any more; what was once owed stays so.
    Earlier,
}

#[derive(Serialize)]
struct DueShown {
    customer_id: CustomerId,
    amount: Yen,
    /// Of the money: when the customer paid it, else when it was freed.
    own_day: Millis,
    cause: WhyDue,
    /// By age, the day on which it was old enough; null for another cause, whose day is not kept.
    due_since: Option<Date>,
}

impl DueShown {
    fn of(customer: CustomerId, status: Status, sum: &Sum, months: i8, today: Date) -> Self {
        let cause = match status {
            _ if sum.is_old(months, today) => WhyDue::Age,
            Status::Closed => WhyDue::Closed,
            Status::Active | Status::Suspended => WhyDue::Earlier,
        };
        let due_since = (cause == WhyDue::Age).then(|| sum.money.day.date().plus_months(months));
        Self { customer_id: customer, amount: sum.due, own_day: sum.money.day, cause, due_since }
    }
}

#[derive(Serialize)]
struct MadeShown {
    customer_id: CustomerId,
    payout_id: OfficeId,
    amount: Yen,
    bank_reference: Option<Box<str>>,
    at: Millis,
    /// When the bank had sent it back; null where it did not.
    bounced_at: Option<Millis>,
}

impl MadeShown {
    fn of(paid: PaidOut) -> Option<Self> {
        let PaidOut { customer, receipt, bounced_at } = paid;
        match receipt.event.as_ref() {
            Event::Settled { cause: Cause::Payout { id, amount, bank_reference, .. }, .. } => Some(Self {
                customer_id: customer,
                payout_id: *id,
                amount: *amount,
                bank_reference: bank_reference.clone(),
                at: receipt.at,
                bounced_at,
            }),
            _ => None,
        }
    }
}

/// Where a page ended.
#[derive(Serialize)]
struct End {
    /// For the next page; null where nothing was given.
    after: Option<String>,
    more: bool,
}

#[derive(Serialize)]
struct Page<T> {
    payouts: Vec<T>,
    end: End,
}

/// Customers or payouts of one answer when nothing is said.
const DEFAULT_LIMIT: u64 = 100;
const MAX_LIMIT: u64 = 1_000;

/// `GET /v1/payouts?status=&after=&limit=`: what is due, all sums of so many customers by their ids; or what was paid.
pub(crate) async fn list(asked: &Asked) -> Result<Answer, Problem> {
    let query = Query::read(asked.query(), &["status", "after", "limit"])?;
    let limit = query.number("limit", 1..=MAX_LIMIT)?.unwrap_or(DEFAULT_LIMIT);
    let limit = usize::try_from(limit).map_err(|_| Problem::internal())?;
    match query.text("status") {
        Some("due") => {
            let after = query.text("after").map(CustomerId::new).transpose();
            due(asked, after.map_err(|bad| Problem::parameter("after", bad.to_string()))?, limit).await
        }
        Some("made") => {
            let after = query.number("after", 0..=u64::MAX >> 1)?.unwrap_or(0);
            made(asked, Lsn(after), limit).await
        }
        _ => Err(Problem::parameter("status", "must be `due` or `made`")),
    }
}

async fn due(asked: &Asked, after: Option<CustomerId>, limit: usize) -> Result<Answer, Problem> {
    caught_up(&asked.edge).await?;
    let found = asked.edge.client.ledger.ask(move |books| books.payouts_due(after.as_ref(), limit + 1)).await?;
    let (found, more) = page(found.unwrap_or_default(), limit);
    let after = found.last().map(|owed| owed.customer.to_string());
    let rules = asked.edge.rules()?;
    let mut payouts = Vec::new();
    for OwedInCash { customer, .. } in found {
        // A debt may have met some of it since the last round of the day, which records that.
        let (account, now) = account_now(asked, customer).await?;
        let months = rules.terms.on(now.date).payout_after_months;
        let present = account.as_of(&now, rules.by());
        let due = present.sums().iter().filter(|sum| !sum.due.is_zero());
        payouts.extend(due.map(|sum| DueShown::of(customer, account.profile.status, sum, months, now.date)));
    }
    Answer::ok(&Page { payouts, end: End { after, more } })
}

async fn made(asked: &Asked, after: Lsn, limit: usize) -> Result<Answer, Problem> {
    caught_up(&asked.edge).await?;
    let found = asked.edge.client.ledger.ask(move |books| books.payouts_made(after, limit + 1)).await?;
    let (found, more) = page(found.unwrap_or_default(), limit);
    let after = found.last().map(|paid| paid.receipt.lsn.to_string());
    Answer::ok(&Page { payouts: found.into_iter().filter_map(MadeShown::of).collect(), end: End { after, more } })
}

/// One more was asked for, to know whether there is more.
fn page<T>(mut found: Vec<T>, limit: usize) -> (Vec<T>, bool) {
    let more = found.len() > limit;
    found.truncate(limit);
    (found, more)
}

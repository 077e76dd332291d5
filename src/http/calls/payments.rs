//! A customer's payments: repayments, and provisional news of them and its end; what each came to, bill by bill.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::office::{Booked, MaybeStaffBody, instruct, office_id};
use crate::domain::billing::effects::Effects;
use crate::domain::billing::notes::{Cause, Note};
use crate::domain::billing::settlement::{Place, Transfer};
use crate::domain::billing::standing::Spendable;
use crate::domain::commands::refusal::Refusal;
use crate::domain::model::denial::Reason;
use crate::domain::model::ids::OfficeId;
use crate::domain::model::money::Yen;
use crate::domain::model::payment::{BillKey, Lines};
use crate::domain::model::request::{Instruction, Said, Staff};
use crate::domain::model::time::{Millis, Month};
use crate::domain::state::event::Event;
use crate::http::answer::Answer;
use crate::http::asked::Asked;
use crate::http::fields;
use crate::http::fields::{Amount, Text};
use crate::http::past::{BillNames, bill_names};
use crate::http::problem::{Problem, REPAYMENT_ID_REUSED};
use crate::http::refusal::NotDone;

/// What of a payment went onto one bill.
#[derive(Serialize)]
pub(super) struct Applied {
    /// `YYYY-MM`, or the authorization id of an NP Atobarai purchase.
    bill: String,
    /// Of a month's bill.
    month: Option<Month>,
    #[serde(flatten)]
    lines: Lines,
}

/// How much of some money came to rest at a place.
pub(super) fn came_to<'a>(transfers: impl IntoIterator<Item = &'a Transfer>, place: Place) -> Yen {
    transfers.into_iter().filter(|transfer| transfer.to == place).map(|transfer| transfer.amount).sum()
}

/// Where some money came to rest, bill by bill.
pub(super) fn applied<'a>(
    transfers: impl IntoIterator<Item = &'a Transfer>,
    names: &BillNames,
) -> Result<Vec<Applied>, Problem> {
    let mut bills: Vec<(BillKey, Lines, Lines)> = Vec::new();
    for transfer in transfers {
        for (place, is_in) in [(transfer.from, false), (transfer.to, true)] {
            let Some((bill, line)) = place.line() else { continue };
            let at = bills.iter().position(|(key, ..)| *key == bill).unwrap_or_else(|| {
                bills.push((bill, Lines::default(), Lines::default()));
                bills.len() - 1
            });
            let (_, into, out) = &mut bills[at];
            *(if is_in { into } else { out }).get_mut(line) += transfer.amount;
        }
    }
    let rest = bills.iter().map(|(bill, into, out)| (bill, into.minus_or_zero(out)));
    rest.filter(|(_, lines)| !lines.total().is_zero())
        .map(|(bill, lines)| {
            Ok(Applied { bill: names.of(*bill).ok_or_else(Problem::internal)?, month: bill.month(), lines })
        })
        .collect()
}

/// Other money that the news has moved.
#[derive(Serialize)]
pub(super) struct Moved {
    /// A bill, `credit` or `payout_due`.
    from: Cow<'static, str>,
    to: Cow<'static, str>,
    /// Where both are one bill, which line of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    from_line: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to_line: Option<&'static str>,
    amount: Yen,
}

impl Moved {
    fn of(transfer: &Transfer, names: &BillNames) -> Result<Self, Problem> {
        let name = |place: Place| names.end(place.into()).ok_or_else(Problem::internal);
        let Transfer { from, to, amount, .. } = *transfer;
        let within = from.bill().is_some_and(|bill| to.bill() == Some(bill));
        let line = |place: Place| place.line().filter(|_| within).map(|(_, line)| line.name());
        Ok(Self { from: name(from)?, to: name(to)?, from_line: line(from), to_line: line(to), amount })
    }

    fn is_with(&self, other: &Self) -> bool {
        (&self.from, self.from_line, &self.to, self.to_line) == (&other.from, other.from_line, &other.to, other.to_line)
    }

    /// From credit to credit, say, or from a line to the same line: nothing has moved.
    fn is_idle(&self) -> bool {
        self.from == self.to && self.from_line == self.to_line
    }
}

/// What money went where, place by place.
pub(super) fn moved(beside: &[Transfer], names: &BillNames) -> Result<Vec<Moved>, Problem> {
    let mut moved: Vec<Moved> = Vec::new();
    for transfer in beside {
        let new = Moved::of(transfer, names)?;
        match moved.iter_mut().find(|known| known.is_with(&new)) {
            Some(known) => known.amount += new.amount,
            None if new.is_idle() => {}
            None => moved.push(new),
        }
    }
    Ok(moved)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RepaymentBody {
    repayment_id: Text<OfficeId>,
    amount: Amount,
    paid_at: Option<Text<Millis>>,
    /// The slip it was paid on.
    slip: Option<Text<SlipNumber>>,
}

/// A slip's number, as text because it is twelve digits.
#[derive(Clone, Copy)]
struct SlipNumber(u64);

impl fields::FromText for SlipNumber {
    fn from_text(text: &str) -> Result<Self, String> {
        let digits = (1..=15).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|_| digits);
        number.map(Self).ok_or_else(|| "must be 1 to 15 digits".to_owned())
    }
}

#[derive(Serialize)]
struct RepaymentShown {
    repayment_id: OfficeId,
    amount: Yen,
    paid_at: Millis,
    /// From when it counts: later than it was paid where too much happened since to be worked out anew.
    value_at: Millis,
    /// `applied`, `credit` and `payout_due` together are the amount.
    applied: Vec<Applied>,
    credit: Yen,
    payout_due: Yen,
    also_moved: Vec<Moved>,
    spendable: Spendable,
    replayed: bool,
}

async fn show_payment(asked: &Asked, booked: &Booked) -> Result<RepaymentShown, Problem> {
    let Event::Settled { cause: Cause::Repayment(payment) | Cause::Final(payment), books } =
        booked.receipt.event.as_ref()
    else {
        return Err(Problem::internal());
    };
    let names = bill_names(&asked.edge, books.bills()).await?;
    let effects = Effects::of(books);
    Ok(RepaymentShown {
        repayment_id: payment.id,
        amount: payment.amount,
        paid_at: payment.paid_at,
        value_at: books.counts_from.unwrap_or(payment.paid_at).max(payment.paid_at),
        applied: applied(&effects.own, &names)?,
        credit: came_to(&effects.own, Place::Credit),
        payout_due: came_to(&effects.own, Place::PayoutDue),
        also_moved: moved(&effects.beside, &names)?,
        spendable: booked.spendable(asked)?,
        replayed: booked.replayed,
    })
}

/// `POST /v1/customers/{customer_id}/repayments`
pub(crate) async fn repay(asked: &Asked) -> Result<Answer, Problem> {
    let customer = asked.customer()?;
    let body: RepaymentBody = fields::read(&asked.body)?;
    let instruction = Instruction::Repay {
        id: body.repayment_id.0,
        amount: Yen::new(body.amount.0),
        paid_at: body.paid_at.map(|at| at.0),
        slip: body.slip.map(|slip| slip.0.0),
    };
    let booked = instruct(asked, customer, instruction).await.map_err(|why| match why {
        // The contract has a name of its own for it.
        NotDone::Refused(Refusal::IdReused { .. }) => {
            Problem::new(&REPAYMENT_ID_REUSED, "Use a new repayment id for another repayment.")
        }
        other => other.into(),
    })?;
    Answer::ok(&show_payment(asked, &booked).await?)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PendingBody {
    payment_id: Text<OfficeId>,
    amount: Amount,
    paid_at: Option<Text<Millis>>,
    expires_at: Text<Millis>,
}

#[derive(Serialize)]
struct PendingShown {
    payment_id: OfficeId,
    amount: Yen,
    paid_at: Millis,
    expires_at: Millis,
    status: &'static str,
    spendable: Spendable,
    /// Why a code would be refused now; null where none.
    blocked_by: Option<Reason>,
    replayed: bool,
}

/// `POST /v1/customers/{customer_id}/payments-pending`
pub(crate) async fn expect(asked: &Asked) -> Result<Answer, Problem> {
    let customer = asked.customer()?;
    let body: PendingBody = fields::read(&asked.body)?;
    let instruction = Instruction::Expect {
        id: body.payment_id.0,
        amount: Yen::new(body.amount.0),
        paid_at: body.paid_at.map(|at| at.0),
        expires_at: body.expires_at.0,
    };
    let booked = instruct(asked, customer, instruction).await?;
    let (payment_id, amount, paid_at, expires_at) = match booked.receipt.event.as_ref() {
        Event::Noted { note: Note::Pending { id, amount, paid_at, expires_at }, .. } => {
            (*id, *amount, *paid_at, *expires_at)
        }
        // The money had come before it was announced.
        Event::Settled { cause: Cause::Repayment(payment) | Cause::Final(payment), .. } => {
            (payment.id, payment.amount, payment.paid_at, body.expires_at.0)
        }
        _ => return Err(Problem::internal()),
    };
    Answer::ok(&PendingShown {
        status: pending_status(&booked, payment_id),
        payment_id,
        amount,
        paid_at,
        expires_at,
        spendable: booked.spendable(asked)?,
        blocked_by: booked.blocked_by(asked)?,
        replayed: booked.replayed,
    })
}

/// What it is by now: a repeated call may come after its end.
fn pending_status(booked: &Booked, id: OfficeId) -> &'static str {
    let notes = booked.account.notes();
    match notes.and_then(|notes| notes.pending.iter().find(|pending| pending.id == id)) {
        Some(pending) if booked.now.at < pending.expires_at => "pending",
        Some(_) => "expired",
        None => "ended",
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct FinalBody {
    amount: Option<Amount>,
    paid_at: Option<Text<Millis>>,
}

/// `POST /v1/customers/{customer_id}/payments-pending/{payment_id}/final`
pub(crate) async fn confirm(asked: &Asked) -> Result<Answer, Problem> {
    let id = office_id(asked, "payment_id")?;
    let body: FinalBody = fields::read_if_any(&asked.body)?;
    let amount = body.amount.map(|amount| Yen::new(amount.0));
    let paid_at = body.paid_at.map(|at| at.0);
    let said = Said { amount, paid_at, ..Said::default() };
    let booked = instruct(asked, asked.customer()?, Instruction::Confirm { id, said }).await?;
    Answer::ok(&show_payment(asked, &booked).await?)
}

#[derive(Serialize)]
struct WithdrawnShown<'a> {
    payment_id: OfficeId,
    status: &'static str,
    blocked_by: Option<Reason>,
    #[serde(flatten)]
    staff: Option<&'a Staff>,
    replayed: bool,
}

/// `POST /v1/customers/{customer_id}/payments-pending/{payment_id}/withdrawn`
pub(crate) async fn withdraw(asked: &Asked) -> Result<Answer, Problem> {
    let id = office_id(asked, "payment_id")?;
    let staff = MaybeStaffBody::read(asked)?;
    let booked = instruct(asked, asked.customer()?, Instruction::Withdraw { id, said: Said::default(), staff }).await?;
    Answer::ok(&WithdrawnShown {
        payment_id: id,
        status: "withdrawn",
        blocked_by: booked.blocked_by(asked)?,
        staff: booked.receipt.event.staff(),
        replayed: booked.replayed,
    })
}

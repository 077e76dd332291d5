//! The back office about a customer's money: damages, blocks, lost phones; `payments` beside it has repayments and news of
//! them. Each call is idempotent by its own id, of any age: what the engine no longer remembers is in the ledger.

use serde::{Deserialize, Serialize};

use crate::domain::billing::account::Account;
use crate::domain::billing::standing::Spendable;
use crate::domain::commands::refusal::Refusal;
use crate::domain::commands::reply::Reply;
use crate::domain::commands::request::Request;
use crate::domain::model::denial::Reason;
use crate::domain::model::ids::{CustomerId, OfficeId};
use crate::domain::model::money::Yen;
use crate::domain::model::purchase::Channel;
use crate::domain::model::request::{Instruction, Staff};
use crate::domain::model::time::{Month, Now};
use crate::domain::state::receipts::{Known, Receipt};
use crate::http::answer::Answer;
use crate::http::asked::{Asked, out_of_place};
use crate::http::fields::{Amount, Text, Words};
use crate::http::past::{BillName, known};
use crate::http::problem::Problem;
use crate::http::refusal::NotDone;
use crate::http::{Edge, fields};

/// What came of an instruction.
pub(crate) struct Booked {
    pub(crate) account: Box<Account>,
    pub(crate) receipt: Receipt,
    pub(crate) replayed: bool,
    pub(crate) now: Now,
}

/// Puts an instruction to the engine, with what the ledger has of its id: the engine judges both as one.
pub(crate) async fn instruct(asked: &Asked, customer: CustomerId, instruction: Instruction) -> Result<Booked, NotDone> {
    let ledger = match instruction.receipt() {
        Some((_, id)) => known(&asked.edge, vec![id]).await,
        None => None,
    };
    instruct_with(&asked.edge, customer, instruction, ledger).await
}

/// As [`instruct`], where the ledger was asked before.
pub(crate) async fn instruct_with(
    edge: &Edge,
    customer: CustomerId,
    instruction: Instruction,
    ledger: Option<Known>,
) -> Result<Booked, NotDone> {
    let question = || Request::Instruct { customer, instruction: instruction.clone(), ledger: ledger.clone() };
    let answered = edge.client.ask_in_depth(question).await?;
    match answered.reply {
        Reply::Booked { account, receipt, replayed } => {
            Ok(Booked { account, receipt: *receipt, replayed, now: answered.now })
        }
        Reply::Refused(refusal) => Err(NotDone::Refused(refusal)),
        other => Err(NotDone::Other(out_of_place(&other))),
    }
}

impl Booked {
    pub(super) fn spendable(&self, asked: &Asked) -> Result<Spendable, Problem> {
        Ok(self.account.spendable(&self.now, asked.edge.rules()?.by()))
    }

    /// Why a code would be refused now.
    pub(super) fn blocked_by(&self, asked: &Asked) -> Result<Option<Reason>, Problem> {
        Ok(self.account.blocked_by(Channel::InStore, &self.now, asked.edge.rules()?.by()))
    }
}

pub(super) fn office_id(asked: &Asked, name: &str) -> Result<OfficeId, Problem> {
    OfficeId::new(asked.param(name)).map_err(|bad| Problem::parameter(name, bad.to_string()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DamagesBody {
    posting_id: Text<OfficeId>,
    bill: Option<Text<BillName>>,
    /// A month's bill, in place of `bill`.
    month: Option<Text<Month>>,
    amount: Amount,
    by: Option<Text<Words<64>>>,
    reason: Option<Text<Words<200>>>,
}

#[derive(Serialize)]
struct DamagesShown<'a> {
    posting_id: OfficeId,
    bill: String,
    /// Of a month's bill.
    month: Option<Month>,
    amount: Yen,
    /// What is owed on this bill now.
    total_due: Yen,
    #[serde(flatten)]
    staff: Option<&'a Staff>,
    replayed: bool,
}

/// `POST /v1/customers/{customer_id}/damages`
pub(crate) async fn damages(asked: &Asked) -> Result<Answer, Problem> {
    let body: DamagesBody = fields::read(&asked.body)?;
    let id = body.posting_id.0;
    let name = match (body.bill, body.month) {
        (Some(bill), None) => bill.0,
        (None, Some(month)) => BillName::Month(month.0),
        _ => return Err(Problem::field("/bill", "is required; a month's bill may be named by `month` instead")),
    };
    let amount = Yen::new(body.amount.0);
    let customer = asked.customer()?;
    let bill = name.key(&asked.edge).await?.ok_or(NotDone::Refused(Refusal::BillUnknown))?;
    let staff = staff_if_told(asked, body.by, body.reason)?;
    let booked = instruct(asked, customer, Instruction::PostDamages { id, bill, amount, staff }).await?;
    let bills = booked.account.bills_at(&booked.now, asked.edge.rules()?.by());
    let owed = bills.iter().find(|at| at.bill.key == bill).map(|at| at.owed.total());
    Answer::ok(&DamagesShown {
        posting_id: id,
        bill: name.to_string(),
        month: bill.month(),
        amount,
        total_due: owed.unwrap_or_default(),
        staff: booked.receipt.event.staff(),
        replayed: booked.replayed,
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BlockBody {
    block_id: Text<OfficeId>,
    reason: Text<Words<200>>,
    by: Option<Text<Words<64>>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MaybeStaffBody {
    by: Option<Text<Words<64>>>,
    reason: Option<Text<Words<200>>>,
}

impl MaybeStaffBody {
    /// Of a call that may say nothing, so its body may be absent.
    pub(super) fn read(asked: &Asked) -> Result<Option<Box<Staff>>, Problem> {
        let body: Self = fields::read_if_any(&asked.body)?;
        staff_if_told(asked, body.by, body.reason)
    }
}

/// Who of the staff, and why, where a call says one of them.
pub(super) fn staff_if_told(
    asked: &Asked,
    by: Option<Text<Words<64>>>,
    reason: Option<Text<Words<200>>>,
) -> Result<Option<Box<Staff>>, Problem> {
    if by.is_none() && reason.is_none() {
        return Ok(None);
    }
    let by = by.map(|by| by.0.0).unwrap_or_default();
    let reason = reason.map(|reason| reason.0.0).unwrap_or_default();
    Ok(Some(Box::new(Staff { by, key: asked.known()?.caller.name.clone(), reason })))
}

#[derive(Serialize)]
struct BlockShown<'a> {
    block_id: OfficeId,
    status: &'static str,
    blocked_by: Option<Reason>,
    /// Of a release: who told of it first, by which key, and why.
    #[serde(flatten)]
    staff: Option<&'a Staff>,
    replayed: bool,
}

/// `POST /v1/customers/{customer_id}/blocks`
pub(crate) async fn block(asked: &Asked) -> Result<Answer, Problem> {
    let body: BlockBody = fields::read(&asked.body)?;
    let id = body.block_id.0;
    let reason = body.reason.0.0;
    let by = body.by.map(|by| by.0.0);
    let key = by.is_some().then(|| asked.known().map(|known| known.caller.name.clone())).transpose()?;
    let booked = instruct(asked, asked.customer()?, Instruction::Block { id, reason, by, key }).await?;
    // A repeated call may come after the release.
    let stands = booked.account.notes().is_some_and(|notes| notes.blocks.contains(&id));
    show_block(asked, &booked, id, if stands { "blocked" } else { "released" })
}

/// `POST /v1/customers/{customer_id}/blocks/{block_id}/release`
pub(crate) async fn release(asked: &Asked) -> Result<Answer, Problem> {
    let id = office_id(asked, "block_id")?;
    let staff = MaybeStaffBody::read(asked)?;
    let booked = instruct(asked, asked.customer()?, Instruction::Release { id, staff }).await?;
    show_block(asked, &booked, id, "released")
}

fn show_block(asked: &Asked, booked: &Booked, id: OfficeId, status: &'static str) -> Result<Answer, Problem> {
    let blocked_by = booked.blocked_by(asked)?;
    let staff = booked.receipt.event.staff();
    Answer::ok(&BlockShown { block_id: id, status, blocked_by, staff, replayed: booked.replayed })
}

/// Who of the staff wants something, and why.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StaffBody {
    by: Text<Words<64>>,
    reason: Text<Words<200>>,
}

impl StaffBody {
    pub(super) fn into_staff(self, asked: &Asked) -> Result<Staff, Problem> {
        let key = asked.known()?.caller.name.clone();
        Ok(Staff { by: self.by.0.0, key, reason: self.reason.0.0 })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FreezeBody {
    freeze_id: Text<OfficeId>,
}

#[derive(Serialize)]
struct FreezeShown<'a> {
    freeze_id: OfficeId,
    status: &'static str,
    blocked_by: Option<Reason>,
    /// Of a release: who told of it first, by which key, and why.
    #[serde(flatten)]
    staff: Option<&'a Staff>,
    replayed: bool,
}

/// `POST /v1/customers/{customer_id}/freeze`
pub(crate) async fn freeze(asked: &Asked) -> Result<Answer, Problem> {
    let id = fields::read::<FreezeBody>(&asked.body)?.freeze_id.0;
    let booked = instruct(asked, asked.customer()?, Instruction::Freeze { id }).await?;
    // A repeated call may come after the release.
    let stands = booked.account.notes().is_some_and(|notes| notes.freezes.contains(&id));
    show_freeze(asked, &booked, id, if stands { "frozen" } else { "released" })
}

/// `POST /v1/customers/{customer_id}/freeze/{freeze_id}/release`
pub(crate) async fn unfreeze(asked: &Asked) -> Result<Answer, Problem> {
    let id = office_id(asked, "freeze_id")?;
    let staff = fields::read::<StaffBody>(&asked.body)?.into_staff(asked)?;
    let booked = instruct(asked, asked.customer()?, Instruction::Unfreeze { id, staff }).await?;
    show_freeze(asked, &booked, id, "released")
}

fn show_freeze(asked: &Asked, booked: &Booked, id: OfficeId, status: &'static str) -> Result<Answer, Problem> {
    let blocked_by = booked.blocked_by(asked)?;
    let staff = booked.receipt.event.staff();
    Answer::ok(&FreezeShown { freeze_id: id, status, blocked_by, staff, replayed: booked.replayed })
}

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
use crate::domain::model::payment::BillKey;
use crate::domain::model::purchase::Channel;
use crate::domain::model::request::{Instruction, Staff};
use crate::domain::model::time::{Millis, Month, Now};
use crate::domain::state::receipts::{Known, Receipt};
use crate::http::answer::Answer;
use crate::http::asked::{Asked, out_of_place};
use crate::http::fields::{Amount, Text, Words};
use crate::http::past::{BillName, caught_up, known};
use crate::http::problem::Problem;
use crate::http::refusal::NotDone;
use crate::http::{Edge, fields};
use crate::ledger::{Book, Books, Entry};

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
        Some((_, id)) => known(&asked.edge, instruction.about().into_iter().chain([id]).collect()).await,
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

/// What a customer can do now.
#[derive(Serialize)]
pub(super) struct Present {
    pub spendable: Spendable,
    blocked_by: Option<Reason>,
}

impl Booked {
    pub(super) fn spendable(&self, asked: &Asked) -> Result<Spendable, Problem> {
        Ok(self.account.spendable(&self.now, asked.edge.rules()?.by()))
    }

    /// What the entries of some accounts came to once its fact was recorded, those of a bill alone where one is meant: a
    /// repeated call is answered as the first time.
    async fn first<const N: usize>(
        &self,
        asked: &Asked,
        books: [Book; N],
        bill: Option<BillKey>,
    ) -> Result<[Yen; N], Problem> {
        caught_up(&asked.edge).await?;
        let (customer, lsn) = (self.account.id, self.receipt.lsn);
        let entries = move |books: &dyn Books| books.entries(&customer, Millis(0), Millis(i64::MAX));
        let entries = asked.edge.client.ledger.ask(entries).await?.ok_or_else(Problem::not_ready)?;
        let is_it = |entry: &&Entry| entry.lsn <= lsn && (bill.is_none() || entry.bill() == bill);
        Ok(books.map(|book| {
            let of_book = entries.iter().filter(is_it).filter(|entry| entry.account == book);
            let sum: i64 = of_book.map(|entry| entry.amount).sum();
            Yen::new(u64::try_from(sum).unwrap_or(0))
        }))
    }

    /// Credit, and what is owed to the customer in cash, with its fact.
    pub(super) async fn free(&self, asked: &Asked) -> Result<[Yen; 2], Problem> {
        if !self.replayed || self.account.touched.get() == self.receipt.lsn {
            return Ok([self.account.credit(), self.account.payout_due()]);
        }
        self.first(asked, [Book::Credit, Book::PayoutDue], None).await
    }

    /// What is owed on a bill with its fact.
    async fn owed_on(&self, asked: &Asked, bill: BillKey) -> Result<Yen, Problem> {
        if self.replayed {
            let lines = [Book::Exposure, Book::BillFee, Book::LateFee, Book::Damages];
            return Ok(self.first(asked, lines, Some(bill)).await?.into_iter().sum());
        }
        let bills = self.account.bills_at(&self.now, asked.edge.rules()?.by());
        Ok(bills.iter().find(|at| at.bill.key == bill).map(|at| at.owed.total()).unwrap_or_default())
    }

    /// What counts at the moment of an answer; a repeated call leaves it out.
    pub(super) fn present(&self, asked: &Asked) -> Result<Option<Present>, Problem> {
        if self.replayed {
            return Ok(None);
        }
        Ok(Some(Present { spendable: self.spendable(asked)?, blocked_by: self.blocked_by(asked)? }))
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
    /// What is owed on this bill with it.
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
    Answer::ok(&DamagesShown {
        posting_id: id,
        bill: name.to_string(),
        month: bill.month(),
        amount,
        total_due: booked.owed_on(asked, bill).await?,
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

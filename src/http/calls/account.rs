//! What staff asks of one customer's account: payments and where their money lies, blocks, credit, points, the ladder.

use std::collections::BTreeMap;

use serde::Serialize;

use super::customers::unknown;
use super::payments::{Applied, applied, came_to};
use super::statements::both;
use crate::domain::billing::account::Account;
use crate::domain::billing::effects::Effects;
use crate::domain::billing::notes::{Cause, Note, Payment};
use crate::domain::billing::settlement::{Place, Settlement, Transfer};
use crate::domain::billing::sums::Money;
use crate::domain::billing::whereabouts::{Spot, Whereabouts};
use crate::domain::commands::reply::Reply;
use crate::domain::commands::request::Request;
use crate::domain::model::customer::Limits;
use crate::domain::model::ids::{CustomerId, OfficeId};
use crate::domain::model::money::Yen;
use crate::domain::model::time::{Date, Millis, Month, Now};
use crate::domain::state::event::Event;
use crate::domain::state::receipts::{Receipt, ReceiptKind};
use crate::http::answer::Answer;
use crate::http::asked::{Asked, out_of_place};
use crate::http::past::{BillNames, bill_names, caught_up};
use crate::http::problem::Problem;
use crate::ledger::whereabouts::whereabouts;
use crate::ledger::{Book, Books, EntryKind, LedgerError, Stepped};

/// The customer as the engine has it now: what time alone makes true is in it.
pub(super) async fn account(asked: &Asked) -> Result<(Account, Now), Problem> {
    let answered = asked.edge.client.ask(Request::FindCustomer(asked.customer()?), None).await?;
    match answered.reply {
        Reply::Customer { account, .. } => {
            let account = account.as_of(&answered.now, asked.edge.rules()?.by()).into_owned();
            Ok((account, answered.now))
        }
        Reply::Unknown => Err(unknown()),
        other => Err(out_of_place(&other)),
    }
}

/// What the ledger has of a customer, once it knows all that was answered before; nothing where there is no ledger.
pub(super) async fn past<T: Default + Send + 'static>(
    asked: &Asked,
    question: impl FnOnce(&dyn Books, &CustomerId) -> Result<T, LedgerError> + Send + 'static,
) -> Result<T, Problem> {
    let customer = asked.customer()?;
    caught_up(&asked.edge).await?;
    Ok(asked.edge.client.ledger.ask(move |books| question(books, &customer)).await?.unwrap_or_default())
}

/// Where the money of a payment lies by now: together the amount.
#[derive(Serialize)]
struct Lies {
    on_bills: Vec<Applied>,
    credit: Yen,
    payout_due: Yen,
    paid_out: Yen,
    /// It had been booked by mistake, and was taken back.
    reversed: Yen,
    /// Of a payment from before money was told apart: on bills that it settled then, or paid out.
    settled: Yen,
}

#[derive(Serialize)]
struct RepaymentShown {
    repayment_id: OfficeId,
    amount: Yen,
    paid_at: Millis,
    recorded_at: Millis,
    /// `applied`, `credit` and `payout_due` are as first answered, and together are the amount.
    applied: Vec<Applied>,
    credit: Yen,
    payout_due: Yen,
    lies: Lies,
}

#[derive(Serialize)]
struct Repayments {
    /// The newest first.
    repayments: Vec<RepaymentShown>,
}

/// `GET /v1/customers/{customer_id}/repayments`
pub(crate) async fn repayments(asked: &Asked) -> Result<Answer, Problem> {
    let (account, now, past) = both(asked, asked.customer()?).await?;
    let by_now = account.moved_by(&now, asked.edge.rules()?.by());
    let whereabouts = whereabouts(&past, &by_now);
    let payments: Vec<_> = past.receipts.iter().rev().filter_map(paid).collect();
    let first = payments.iter().flat_map(|(_, _, books)| books.bills());
    let there = payments.iter().flat_map(|(receipt, ..)| whereabouts.of(receipt.lsn));
    let there = there.filter_map(|(spot, _)| if let Spot::Line(bill, _) = spot { Some(bill) } else { None });
    let names = bill_names(&asked.edge, first.chain(there).collect::<Vec<_>>()).await?;
    let repayments = payments.into_iter().map(|payment| {
        let reversals = past.receipts.iter().filter_map(|receipt| receipt.event.reversal());
        let reversed = reversals.filter(|(of, _)| *of == payment.1.id).map(|(_, amount)| amount).sum();
        repayment(payment, reversed, &whereabouts, &names)
    });
    Answer::ok(&Repayments { repayments: repayments.collect::<Result<_, _>>()? })
}

/// The payment of a receipt; news that none came is none.
fn paid(receipt: &Receipt) -> Option<(&Receipt, &Payment, &Settlement)> {
    match receipt.event.as_ref() {
        Event::Settled { cause: Cause::Repayment(payment) | Cause::Final(payment), books } => {
            Some((receipt, payment, books))
        }
        _ => None,
    }
}

fn repayment(
    (receipt, payment, books): (&Receipt, &Payment, &Settlement),
    reversed: Yen,
    whereabouts: &Whereabouts,
    names: &BillNames,
) -> Result<RepaymentShown, Problem> {
    let effects = Effects::of(books);
    let at = |wanted: Spot| {
        whereabouts.of(receipt.lsn).find(|(spot, _)| *spot == wanted).map_or(Yen::ZERO, |(_, there)| there)
    };
    let settled = if books.names_money() { Yen::ZERO } else { payment.amount.minus_or_zero(reversed) };
    let on_lines: Vec<Transfer> = whereabouts.of(receipt.lsn).filter_map(on_line).collect();
    Ok(RepaymentShown {
        repayment_id: payment.id,
        amount: payment.amount,
        paid_at: payment.paid_at,
        recorded_at: receipt.at,
        applied: applied(&effects.own, names)?,
        credit: came_to(&effects.own, Place::Credit),
        payout_due: came_to(&effects.own, Place::PayoutDue),
        lies: Lies {
            on_bills: applied(&on_lines, names)?,
            credit: at(Spot::Credit),
            payout_due: at(Spot::PayoutDue),
            paid_out: at(Spot::PaidOut),
            reversed,
            settled,
        },
    })
}

/// What lies on a line, as if it had come there at once.
fn on_line((spot, amount): (Spot, Yen)) -> Option<Transfer> {
    let Spot::Line(bill, line) = spot else { return None };
    let (money, at) = (Money::own(Millis(0)), Millis(0));
    Some(Transfer { money, from: Place::Received, to: Place::Line { bill, line, at }, amount })
}

#[derive(Serialize)]
struct PendingShown {
    payment_id: OfficeId,
    amount: Yen,
    paid_at: Millis,
    expires_at: Millis,
    /// `expired` lifts no block any more, and may still turn out final.
    status: &'static str,
}

#[derive(Serialize)]
struct Pendings {
    /// In the order in which they were told.
    payments: Vec<PendingShown>,
}

/// `GET /v1/customers/{customer_id}/payments-pending`
pub(crate) async fn payments_pending(asked: &Asked) -> Result<Answer, Problem> {
    let (account, now) = account(asked).await?;
    let payments = account.pending().iter().map(|pending| PendingShown {
        payment_id: pending.id,
        amount: pending.amount,
        paid_at: pending.paid_at,
        expires_at: pending.expires_at,
        status: if now.at < pending.expires_at { "pending" } else { "expired" },
    });
    Answer::ok(&Pendings { payments: payments.collect() })
}

#[derive(Serialize)]
struct BlockShown<'a> {
    block_id: OfficeId,
    /// Null where the ledger does not know it.
    reason: Option<&'a str>,
    /// Null where nobody said.
    by: Option<&'a str>,
    key: Option<&'a str>,
    recorded_at: Option<Millis>,
}

#[derive(Serialize)]
struct Blocks<'a> {
    /// Those that stand, in the order in which they were set.
    blocks: Vec<BlockShown<'a>>,
    /// Lost phones that were not lifted.
    freezes: Vec<FreezeShown>,
}

#[derive(Serialize)]
struct FreezeShown {
    freeze_id: OfficeId,
    /// Null where the ledger does not know it.
    recorded_at: Option<Millis>,
}

/// `GET /v1/customers/{customer_id}/blocks`
pub(crate) async fn blocks(asked: &Asked) -> Result<Answer, Problem> {
    let (account, _) = account(asked).await?;
    let receipts =
        past(asked, |books, customer| books.receipts(customer, &[ReceiptKind::Block, ReceiptKind::Freeze])).await?;
    let said = |id: OfficeId| {
        receipts.iter().find_map(|receipt| match receipt.event.as_ref() {
            Event::Noted { note: Note::Blocked { id: other, reason, by, key }, .. } if *other == id => {
                Some((reason.as_ref(), by.as_deref(), key.as_deref(), receipt.at))
            }
            _ => None,
        })
    };
    let standing = account.notes().map_or(&[][..], |notes| &notes.blocks);
    let blocks = standing.iter().map(|id| {
        let told = said(*id);
        BlockShown {
            block_id: *id,
            reason: told.map(|(reason, ..)| reason),
            by: told.and_then(|(_, by, ..)| by),
            key: told.and_then(|(_, _, key, _)| key),
            recorded_at: told.map(|(.., at)| at),
        }
    });
    let key = |receipt: &Receipt, id| {
        receipt.event.receipt_key().is_some_and(|key| (key.kind, key.id) == (ReceiptKind::Freeze, id))
    };
    let freezes = account.notes().map_or(&[][..], |notes| &notes.freezes);
    let freezes = freezes.iter().map(|id| FreezeShown {
        freeze_id: *id,
        recorded_at: receipts.iter().find(|receipt| key(receipt, *id)).map(|receipt| receipt.at),
    });
    Answer::ok(&Blocks { blocks: blocks.collect(), freezes: freezes.collect() })
}

#[derive(Serialize)]
struct SumShown {
    /// When the customer paid it, else when it was freed.
    own_day: Millis,
    amount: Yen,
    /// Of `amount`: owed to the customer in cash.
    due: Yen,
    /// From this day on the rest is owed in cash too, as far as usage and holds do not keep it back.
    becomes_due: Date,
}

#[derive(Serialize)]
struct CreditShown {
    credit: Yen,
    payout_due: Yen,
    /// So much of the credit is not paid out: usage that is not billed yet, and open holds.
    kept_back: Yen,
    /// The oldest first; together they are `credit` and `payout_due`.
    sums: Vec<SumShown>,
}

/// `GET /v1/customers/{customer_id}/credit`
pub(crate) async fn credit(asked: &Asked) -> Result<Answer, Problem> {
    let (account, now) = account(asked).await?;
    let months = asked.edge.rules()?.terms.on(now.date).payout_after_months;
    let sums = account.sums().iter().map(|sum| SumShown {
        own_day: sum.money.day,
        amount: sum.amount,
        due: sum.due,
        becomes_due: sum.money.day.date().plus_months(months),
    });
    Answer::ok(&CreditShown {
        credit: account.credit(),
        payout_due: account.payout_due(),
        kept_back: account.kept_from_payouts(&now),
        sums: sums.collect(),
    })
}

#[derive(Clone, Copy, Default, Serialize)]
struct Points {
    earned: u64,
    taken_back: u64,
    balance: u64,
}

impl Points {
    fn add(&mut self, kind: EntryKind, amount: i64) {
        match kind {
            EntryKind::PointsEarned => self.earned += amount.unsigned_abs(),
            _ => self.taken_back += amount.unsigned_abs(),
        }
        self.balance = self.earned.saturating_sub(self.taken_back);
    }
}

#[derive(Serialize)]
struct PointsOfMonth {
    month: Month,
    #[serde(flatten)]
    points: Points,
}

#[derive(Serialize)]
struct PointsShown {
    #[serde(flatten)]
    points: Points,
    /// By the month of the purchase, the oldest first.
    months: Vec<PointsOfMonth>,
}

/// `GET /v1/customers/{customer_id}/points`
pub(crate) async fn points(asked: &Asked) -> Result<Answer, Problem> {
    account(asked).await?;
    let entries = past(asked, |books, customer| books.entries(customer, Millis(0), Millis(i64::MAX))).await?;
    let mut points = Points::default();
    let mut months: BTreeMap<Month, Points> = BTreeMap::new();
    for entry in entries.iter().filter(|entry| entry.account == Book::Points) {
        points.add(entry.kind, entry.amount);
        if let Some(month) = entry.month {
            months.entry(month).or_default().add(entry.kind, entry.amount);
        }
    }
    let months = months.into_iter().map(|(month, points)| PointsOfMonth { month, points });
    Answer::ok(&PointsShown { points, months: months.collect() })
}

/// What a condition asks for, and how much of it is there.
#[derive(Serialize)]
struct Progress {
    has: u16,
    needs: u16,
    left: u16,
}

impl Progress {
    const fn of(has: u16, needs: u16) -> Self {
        Self { has, needs, left: needs.saturating_sub(has) }
    }
}

#[derive(Serialize)]
struct NextRungShown {
    number: u8,
    limits: Limits,
    on_time_bills: Progress,
    purchases: Progress,
    months_active: Progress,
}

#[derive(Serialize)]
struct StepShown {
    from: u8,
    to: u8,
    reason: &'static str,
    /// Version of the policy whose ladder it was.
    policy: u32,
    /// Null of one from before that was kept.
    recorded_at: Option<Millis>,
}

#[derive(Serialize)]
struct LadderShown {
    rung: u8,
    /// Null on the highest.
    next_rung: Option<NextRungShown>,
    /// The oldest first.
    steps: Vec<StepShown>,
}

/// `GET /v1/customers/{customer_id}/ladder`
pub(crate) async fn ladder(asked: &Asked) -> Result<Answer, Problem> {
    let (account, _) = account(asked).await?;
    let steps = past(asked, |books, customer| books.ladder_steps(customer)).await?;
    let rules = asked.edge.rules()?;
    let (rung, record) = (account.profile.rung, account.record);
    let next_rung = rules.policy.next_rung(rung).map(|next| NextRungShown {
        number: rung + 1,
        limits: next.limits,
        on_time_bills: Progress::of(record.on_time_bills, next.conditions.on_time_bills),
        purchases: Progress::of(record.purchases, next.conditions.purchases),
        months_active: Progress::of(record.months_active, next.conditions.months_active),
    });
    let steps = steps.into_iter().map(|Stepped { at, step }| StepShown {
        from: step.from,
        to: step.to,
        reason: step.why.name(),
        policy: step.policy,
        recorded_at: at,
    });
    Answer::ok(&LadderShown { rung: rung.min(rules.policy.top_rung()), next_rung, steps: steps.collect() })
}

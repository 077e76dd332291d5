//! What the back office tells us of a customer's money, and what it comes to.

use std::sync::Arc;

use super::Ruling;
use super::claims::{Claim, claim};
use super::past::Turn;
use super::reach::{reach, value_time};
use super::refusal::{Refusal, Step, Stop};
use super::reply::Reply;
use crate::domain::billing::account::Account;
use crate::domain::billing::draft::Draft;
use crate::domain::billing::lateness::Rules;
use crate::domain::billing::moment::Owed;
use crate::domain::billing::notes::{Cause, Note, Payment, Pending, Slip, SlipIssued};
use crate::domain::billing::sums::Money;
use crate::domain::model::bounds::{Full, RUN_OUT_FOR_ONE};
use crate::domain::model::code::{Code, CodeState};
use crate::domain::model::ids::{CustomerId, CustomerIx, OfficeId};
use crate::domain::model::money::Yen;
use crate::domain::model::payment::{BillKey, SlipKind};
use crate::domain::model::request::{Instruction, Staff};
use crate::domain::model::time::{Millis, Now};
use crate::domain::state::State;
use crate::domain::state::event::Event;
use crate::domain::state::receipts::{Known, Receipt, Receipts};

/// Yen: the amount has six digits in the barcode of a slip.
const MOST_ON_BARCODE: u64 = 999_999;

/// What a fact of the office is made from.
pub(super) struct Office<'a> {
    pub state: &'a State,
    pub ix: CustomerIx,
    pub account: &'a Account,
    pub now: &'a Now,
    pub rules: Rules<'a>,
}

/// The office says something of a customer's money; `ledger` is what only the ledger has of its id.
pub(super) fn instruct(
    turn: &Turn<'_>,
    customer: &CustomerId,
    instruction: &Instruction,
    ledger: Option<&Known>,
    draw: &mut dyn FnMut() -> u64,
) -> Ruling {
    let &Turn { state, now, .. } = turn;
    if state.receipts.len() >= Receipts::MOST {
        return Ruling::Answer(Reply::Full(Full::Receipts));
    }
    match judge(turn, customer, (instruction, ledger), draw) {
        // Memory has it now, so the instruction is judged again.
        Ok(Step::Record(event @ Event::StoriesRecalled { .. })) => Ruling::Step(event),
        Ok(Step::Record(event)) => match code_to_void(state, &event, now) {
            Some(voided) => Ruling::Step(voided),
            None => Ruling::Record(event, answer),
        },
        Ok(Step::Answer(receipt)) => Ruling::Answer(booked(state, receipt, true)),
        Err(Stop::Refused(refusal)) => Ruling::Answer(Reply::Refused(refusal)),
        Err(Stop::AskLedger) => Ruling::Answer(Reply::AskLedger),
        Err(Stop::AskStories(customer)) => Ruling::Answer(Reply::AskStories(customer)),
    }
}

/// A lost phone's code is voided first, by a record of its own.
fn code_to_void(state: &State, event: &Event, now: &Now) -> Option<Event> {
    let Event::Noted { customer, note: Note::Frozen { .. } } = event else { return None };
    let handle = state.account(*customer)?.live_code?;
    let is_its = |code: &&Code| code.customer == *customer && code.state(now.at) == CodeState::Live;
    state.codes.get(handle, now.at).filter(is_its).map(|code| Event::CodeVoided { handle: code.handle })
}

/// What was just recorded, as its receipt says it.
fn answer(state: &State, event: &Event, now: &Now) -> Reply {
    let known = event.receipt_key().and_then(|key| state.receipts.get(key.kind, key.id)).cloned();
    let new = || Receipt { lsn: state.lsn, at: now.at, event: Arc::new(event.clone()) };
    booked(state, known.unwrap_or_else(new), false)
}

/// The customer of an office's fact as it is now, with the fact.
fn booked(state: &State, receipt: Receipt, replayed: bool) -> Reply {
    let account = receipt.event.effect().customer.and_then(|customer| state.account(customer));
    let Some(account) = account else { return Reply::Unknown };
    Reply::Booked { account: Box::new(account.clone()), receipt: Box::new(receipt), replayed }
}

/// A new fact, what is to be taken back into memory before it, or the receipt of the one that the id stands for.
pub(super) fn judge(
    turn: &Turn<'_>,
    customer: &CustomerId,
    (instruction, ledger): (&Instruction, Option<&Known>),
    draw: &mut dyn FnMut() -> u64,
) -> Result<Step<Receipt>, Stop> {
    let &Turn { state, now, .. } = turn;
    let found = state.customer_ix(customer).and_then(|ix| Some((ix, state.account(ix)?)));
    let (Some((ix, account)), Some(rules)) = (found, state.rules()) else {
        return Err(Refusal::CustomerUnknown.into());
    };
    let office = Office { state, ix, account, now, rules };
    match claim(state, ix, instruction, ledger)? {
        Claim::Known(receipt) => Ok(Step::Answer(receipt.clone())),
        claim => {
            if let Some(reach) = reach(instruction, &claim, now)?
                && let Some(recalled) = turn.recall(ix, account, &reach)?
            {
                return Ok(Step::Record(recalled));
            }
            Ok(office.said(instruction, &claim, draw)?)
        }
    }
}

impl<'a> Office<'a> {
    pub fn draft(&self) -> Result<Draft<'a>, Refusal> {
        let mut draft = self.state.draft(self.ix, self.now).ok_or(Refusal::CustomerUnknown)?;
        draft.catch_up();
        Ok(draft)
    }

    fn note(&self, note: Note) -> Event {
        Event::Noted { customer: self.ix, note }
    }

    /// `claim` has what its id stands for by now.
    fn said(
        &self,
        instruction: &Instruction,
        claim: &Claim<'_>,
        draw: &mut dyn FnMut() -> u64,
    ) -> Result<Step<Receipt>, Refusal> {
        let bounds = &self.state.settings.bounds;
        let expected = if let Claim::Expected(pending) = claim { Some(pending) } else { None };
        let fact = match *instruction {
            Instruction::Repay { id, amount, paid_at, slip } => {
                self.came(id, Some(amount), (paid_at, slip), expected)?
            }
            // News that nobody told as provisional has to say how much came, and when.
            Instruction::Confirm { said, .. } if expected.is_none() && said.paid_at.is_none() => {
                return Err(Refusal::PaymentUnknown);
            }
            Instruction::Confirm { id, said } => self.came(id, said.amount, (said.paid_at, None), expected)?,
            Instruction::Expect { id, amount, paid_at, expires_at } => {
                let paid_at = value_time(self.now, paid_at)?;
                if expires_at <= self.now.at {
                    return Err(Refusal::ExpiryPassed);
                }
                let all = self.account.pending();
                let open = all.iter().filter(|pending| self.now.at < pending.expires_at).count();
                has_room("pending payments", open, bounds.pending_payments)?;
                // What has run out may still turn out final, and does not wait for ever.
                has_room("payments that ran out", all.len(), bounds.pending_payments.saturating_mul(RUN_OUT_FOR_ONE))?;
                self.note(Note::Pending { id, amount, paid_at, expires_at })
            }
            // Also where nothing was heard before: the news may come in any order.
            Instruction::Withdraw { id, ref staff, .. } => self.withdrawn(id, staff)?,
            Instruction::PostDamages { id, bill, amount, ref staff } => self.damages(id, (bill, amount), staff)?,
            Instruction::PayOut { id, amount, ref bank_reference, ref staff } => self.payout(amount, || {
                Cause::Payout { id, amount, bank_reference: bank_reference.clone(), staff: staff.clone() }
            })?,
            Instruction::Bounce { ref staff, .. } => {
                let Claim::About(payout) = claim else { return Err(Refusal::PayoutUnknown) };
                self.bounced(payout, staff)?
            }
            Instruction::Correct { ref correction, ref staff } => self.correct(correction, staff, claim)?,
            Instruction::Block { id, ref reason, ref by, ref key } => {
                let blocks = self.account.notes().map_or(0, |notes| notes.blocks.len());
                has_room("blocks", blocks, bounds.blocks)?;
                self.note(Note::Blocked { id, reason: reason.clone(), by: by.clone(), key: key.clone() })
            }
            Instruction::Release { id, ref staff } => {
                let is_there = self.account.notes().is_some_and(|notes| notes.blocks.contains(&id));
                if !is_there {
                    return Err(Refusal::BlockUnknown);
                }
                self.note(Note::Released { id, staff: staff.clone() })
            }
            Instruction::Freeze { id } => {
                let freezes = self.account.notes().map_or(0, |notes| notes.freezes.len());
                has_room("lost phones", freezes, bounds.blocks)?;
                self.note(Note::Frozen { id })
            }
            Instruction::Unfreeze { id, ref staff } => {
                let is_there = self.account.notes().is_some_and(|notes| notes.freezes.contains(&id));
                if !is_there {
                    return Err(Refusal::FreezeUnknown);
                }
                self.note(Note::Unfrozen { id, staff: Box::new(staff.clone()) })
            }
            // It may be one that is known.
            Instruction::IssueSlip { kind } => return self.slip(kind, draw()),
        };
        Ok(Step::Record(fact))
    }

    /// Money came: a repayment, or the end of provisional news of it.
    fn came(
        &self,
        id: OfficeId,
        amount: Option<Yen>,
        (paid_at, slip): (Option<Millis>, Option<u64>),
        expected: Option<&Pending>,
    ) -> Result<Event, Refusal> {
        if let Some(&Pending { amount, paid_at, .. }) = expected {
            let payment = Payment { id, amount, paid_at, slip };
            return self.repaid(payment, Cause::Final(payment));
        }
        let amount = amount.ok_or(Refusal::PaymentUnknown)?;
        let payment = Payment { id, amount, paid_at: value_time(self.now, paid_at)?, slip };
        self.repaid(payment, Cause::Repayment(payment))
    }

    fn repaid(&self, payment: Payment, cause: Cause) -> Result<Event, Refusal> {
        let mut draft = self.state.draft(self.ix, self.now).ok_or(Refusal::CustomerUnknown)?;
        // What is owed in cash by now, which may be less than when the last fact said so, is at most so much afterwards.
        if !self.account.payout_due().is_zero() {
            draft.catch_up();
        }
        if matches!(cause, Cause::Final(_)) {
            draft.forget_pending(payment.id);
        }
        let on_old_slip = payment.slip.is_some_and(|slip| self.is_old(slip, payment.paid_at));
        draft.receive(Money { on_old_slip, ..Money::own(payment.paid_at) }, payment.amount);
        self.settled(draft, cause)
    }

    fn withdrawn(&self, id: OfficeId, staff: &Option<Box<Staff>>) -> Result<Event, Refusal> {
        let mut draft = self.state.draft(self.ix, self.now).ok_or(Refusal::CustomerUnknown)?;
        draft.forget_pending(id);
        draft.catch_up();
        let (books, _) = draft.finish();
        if books.is_empty() {
            return Ok(self.note(Note::Withdrawn { id, staff: staff.clone() }));
        }
        Ok(Event::Settled { cause: Cause::Withdrawn { id, staff: staff.clone() }, books: Box::new(books) })
    }

    pub fn settled(&self, draft: Draft<'_>, cause: Cause) -> Result<Event, Refusal> {
        let (books, account) = draft.finish();
        let bounds = &self.state.settings.bounds;
        if account.has_full_bill(&books, None, bounds) {
            return Err(Refusal::TooManyOpen { what: "changes of one bill", most: bounds.changes_per_bill });
        }
        Ok(Event::Settled { cause, books: Box::new(books) })
    }

    /// A slip that had expired when it was paid; one we do not know any more has.
    fn is_old(&self, number: u64, paid_at: Millis) -> bool {
        let slip = self.account.notes().and_then(|notes| notes.slips.iter().find(|slip| slip.number == number));
        slip.is_none_or(|slip| slip.expires_at <= paid_at || slip.is_forgotten(self.now.date))
    }

    fn damages(
        &self,
        id: OfficeId,
        (bill, amount): (BillKey, Yen),
        staff: &Option<Box<Staff>>,
    ) -> Result<Event, Refusal> {
        let mut draft = self.draft()?;
        let known = draft.account.bill(bill).filter(|known| known.is_issued()).ok_or(Refusal::BillUnknown)?;
        if known.written_off_at(self.now.at).is_some() {
            return Err(Refusal::WrittenOffAlready);
        }
        let accrued = draft.account.accrued_on(&known, self.now, self.rules);
        let left = accrued.minus_or_zero(known.damages_posted());
        drop(known);
        if amount > left {
            return Err(Refusal::OverDamages { left });
        }
        draft.post_damages(bill, amount);
        self.settled(draft, Cause::damages(id, (bill, amount), staff.clone()))
    }

    fn payout(&self, amount: Yen, cause: impl FnOnce() -> Cause) -> Result<Event, Refusal> {
        let mut draft = self.draft()?;
        let payable = draft.payable();
        if amount > payable {
            return Err(Refusal::OverPayable { payable });
        }
        draft.pay_out(amount);
        self.settled(draft, cause())
    }

    fn bounced(&self, payout: &Receipt, staff: &Staff) -> Result<Event, Refusal> {
        let Event::Settled { cause: Cause::Payout { id, amount, .. }, books } = payout.event.as_ref() else {
            return Err(Refusal::PayoutUnknown);
        };
        let mut draft = self.draft()?;
        draft.bounce(payout.lsn, books.paid_out(payout.lsn));
        self.settled(draft, Cause::Bounced { payout: *id, amount: *amount, staff: Box::new(staff.clone()) })
    }

    /// What is owed on all bills, until the day before it grows. While nothing has changed, the same slip is given again:
    /// an app may ask as often as its screen is opened.
    fn slip(&self, kind: SlipKind, random: u64) -> Result<Step<Receipt>, Refusal> {
        let (issued, is_known) = self.slip_now(kind, random)?;
        let event = self.note(Note::SlipIssued(issued));
        if !is_known {
            return Ok(Step::Record(event));
        }
        Ok(Step::Answer(Receipt { lsn: self.state.lsn, at: self.now.at, event: Arc::new(event) }))
    }

    /// And whether it was given before.
    fn slip_now(&self, kind: SlipKind, random: u64) -> Result<(SlipIssued, bool), Refusal> {
        let owed = self.draft()?.account.owed_at(self.now, self.rules);
        let Owed { oldest, lines, grows } = owed.ok_or(Refusal::NothingOwed)?;
        let most = Yen::new(MOST_ON_BARCODE);
        if kind == SlipKind::AppBarcode && lines.total() > most {
            return Err(Refusal::SlipTooLarge { most });
        }
        let last_day = oldest.plus_days(i32::from(self.rules.policy.terms.slips.late_days));
        if self.now.date > last_day {
            return Err(Refusal::SlipTooLate { last_day });
        }
        let slips = self.account.notes().map_or(&[][..], |notes| &notes.slips);
        let open = slips.iter().filter(|slip| slip.kind.is_some() && self.now.at < slip.expires_at);
        let expires_at = grows.unwrap_or_else(|| self.now.date.plus_months(1)).start().plus(-1);
        // Of another bill, an older slip may end too early for this one.
        let is_same =
            |slip: &&Slip| slip.kind == Some(kind) && slip.amount == lines.total() && slip.expires_at == expires_at;
        if let Some(same) = open.clone().find(is_same) {
            return Ok((SlipIssued { kind, number: same.number, lines, expires_at }, true));
        }
        has_room("open payment slips", open.count(), self.state.settings.bounds.open_slips)?;
        // Twelve digits: what a terminal in a shop asks for.
        let number = 100_000_000_000 + random % 900_000_000_000;
        Ok((SlipIssued { kind, number, lines, expires_at }, false))
    }
}

/// The barcode for all that a customer owes by now, where there can be one.
pub(super) fn app_slip(state: &State, ix: CustomerIx, now: &Now, random: u64) -> Option<SlipIssued> {
    let office = Office { state, ix, account: state.account(ix)?, now, rules: state.rules()? };
    office.slip_now(SlipKind::AppBarcode, random).ok().map(|(issued, _)| issued)
}

fn has_room(what: &'static str, there: usize, most: usize) -> Result<(), Refusal> {
    if there < most { Ok(()) } else { Err(Refusal::TooManyOpen { what, most }) }
}

/// What time alone makes due in a customer's books; nothing when everything is posted.
pub fn calendar(state: &State, ix: CustomerIx, now: &Now) -> Option<Event> {
    if !state.account(ix)?.may_owe(now) {
        return None;
    }
    let mut draft = state.draft(ix, now)?;
    draft.catch_up();
    draft.make_old_credit_due();
    let (books, _) = draft.finish();
    (!books.is_empty()).then(|| Event::Settled { cause: Cause::Calendar, books: Box::new(books) })
}

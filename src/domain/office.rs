//! What the back office tells us of a customer's money, and what it comes to.

use super::account::Account;
use super::bill::{BillKey, Line};
use super::bounds::RUN_OUT_FOR_ONE;
use super::draft::Draft;
use super::event::{Cause, Event, Note, Payment, SlipIssued, SlipKind};
use super::ids::{CustomerId, CustomerIx, OfficeId};
use super::jst::{Millis, Month, Now};
use super::lateness::Rules;
use super::money::Yen;
use super::notes::Pending;
use super::receipts::{Receipt, ReceiptKey, ReceiptKind};
use super::request::Instruction;
use super::state::State;
use super::undo::{Refusal, Step};

/// Yen: the amount has six digits in the barcode of a slip.
const MOST_ON_BARCODE: u64 = 999_999;

/// Days; a year's news of a payment may be late, an older one is a mistake in the year and would take fees back.
const OLDEST_PAYMENT: i32 = 400;

/// What a fact of the office is made from.
struct Office<'a> {
    state: &'a State,
    ix: CustomerIx,
    account: &'a Account,
    now: &'a Now,
    rules: Rules<'a>,
}

/// A new fact, or the receipt of the one that the id stands for.
pub fn instruct(
    state: &State,
    customer: &CustomerId,
    instruction: &Instruction,
    now: &Now,
    draw: &mut dyn FnMut() -> u64,
) -> Result<Step<Receipt>, Refusal> {
    let found = state.customer_ix(customer).and_then(|ix| Some((ix, state.account(ix)?)));
    let (Some((ix, account)), Some(rules)) = (found, state.rules()) else { return Err(Refusal::CustomerUnknown) };
    let office = Office { state, ix, account, now, rules };
    if let Some(receipt) = instruction.receipt().and_then(|(kind, id)| office.receipt(kind, id)) {
        check_same(&receipt.event, instruction)?;
        return Ok(Step::Answer(receipt.clone()));
    }
    match *instruction {
        Instruction::IssueSlip { kind } => office.slip(kind, draw()),
        _ => office.fact(instruction).map(Step::Record),
    }
}

impl Instruction {
    /// The id that makes it the same as an earlier one.
    pub const fn receipt(&self) -> Option<(ReceiptKind, OfficeId)> {
        Some(match self {
            Self::Repay { id, .. } => (ReceiptKind::Repayment, *id),
            Self::Expect { id, .. } => (ReceiptKind::Pending, *id),
            Self::Confirm { id } | Self::Withdraw { id } => (ReceiptKind::Ending, *id),
            Self::PostDamages { id, .. } => (ReceiptKind::Damages, *id),
            Self::PayOut { id, .. } => (ReceiptKind::Payout, *id),
            Self::Block { id, .. } => (ReceiptKind::Block, *id),
            Self::Release { id } => (ReceiptKind::Release, *id),
            Self::IssueSlip { .. } => return None,
        })
    }
}

/// Whether a known id says the same again.
pub fn check_same(event: &Event, instruction: &Instruction) -> Result<(), Refusal> {
    match (event, instruction) {
        (Event::Settled { .. }, Instruction::Withdraw { .. }) => return Err(Refusal::PaymentFinal),
        (Event::Noted { .. }, Instruction::Confirm { .. }) => return Err(Refusal::PaymentWithdrawn),
        _ => {}
    }
    match (content(event), instruction.content()) {
        (Some(known), Some(told)) if known != told => Err(Refusal::IdReused { amount: Some(known.0) }),
        _ => Ok(()),
    }
}

/// What an id stands for: yen, and of damages the month.
type Content = (Yen, Option<Month>);

fn content(event: &Event) -> Option<Content> {
    match event {
        Event::Settled { cause, .. } => match cause {
            Cause::Repayment(payment) => Some((payment.amount, None)),
            Cause::Payout { amount, .. } => Some((*amount, None)),
            Cause::Damages { amount, month, .. } => Some((*amount, Some(*month))),
            Cause::Calendar | Cause::Final(_) => None,
        },
        Event::Noted { note: Note::Pending { amount, .. }, .. } => Some((*amount, None)),
        _ => None,
    }
}

impl Instruction {
    const fn content(&self) -> Option<Content> {
        match self {
            Self::Repay { amount, .. } | Self::PayOut { amount, .. } | Self::Expect { amount, .. } => {
                Some((*amount, None))
            }
            Self::PostDamages { amount, month, .. } => Some((*amount, Some(*month))),
            _ => None,
        }
    }
}

impl<'a> Office<'a> {
    fn receipt(&self, kind: ReceiptKind, id: OfficeId) -> Option<&'a Receipt> {
        self.state.receipts.get(&ReceiptKey { customer: self.ix, kind, id })
    }

    fn draft(&self) -> Result<Draft<'a>, Refusal> {
        let mut draft = Draft::of(self.state, self.ix, self.now).ok_or(Refusal::CustomerUnknown)?;
        draft.catch_up();
        Ok(draft)
    }

    fn note(&self, note: Note) -> Event {
        Event::Noted { customer: self.ix, note }
    }

    fn fact(&self, instruction: &Instruction) -> Result<Event, Refusal> {
        let bounds = &self.state.settings.bounds;
        match *instruction {
            Instruction::Repay { id, amount, paid_at, slip } => {
                let payment = Payment { id, amount, paid_at: self.paid_at(paid_at)?, slip };
                self.repaid(payment, Cause::Repayment(payment))
            }
            Instruction::Expect { id, amount, paid_at, expires_at } => {
                let paid_at = self.paid_at(paid_at)?;
                if expires_at <= self.now.at {
                    return Err(Refusal::ExpiryPassed);
                }
                // The final news was heard first, and posted as a repayment.
                if self.receipt(ReceiptKind::Repayment, id).is_some() {
                    return Err(Refusal::PaymentFinal);
                }
                let all = self.account.pending();
                let open = all.iter().filter(|pending| self.now.at < pending.expires_at).count();
                has_room("pending payments", open, bounds.pending_payments)?;
                // What has run out may still turn out final, and does not wait for ever.
                has_room("payments that ran out", all.len(), bounds.pending_payments.saturating_mul(RUN_OUT_FOR_ONE))?;
                Ok(self.note(Note::Pending { id, amount, paid_at, expires_at }))
            }
            Instruction::Confirm { id } => {
                let Pending { amount, paid_at, .. } = *self.pending(id)?;
                let payment = Payment { id, amount, paid_at, slip: None };
                self.repaid(payment, Cause::Final(payment))
            }
            Instruction::Withdraw { id } => {
                self.pending(id)?;
                Ok(self.note(Note::Withdrawn { id }))
            }
            Instruction::PostDamages { id, month, amount } => self.damages(id, month, amount),
            Instruction::PayOut { id, amount } => self.payout(id, amount),
            Instruction::Block { id, ref reason } => {
                let blocks = self.account.notes().map_or(0, |notes| notes.blocks.len());
                has_room("blocks", blocks, bounds.blocks)?;
                Ok(self.note(Note::Blocked { id, reason: reason.clone() }))
            }
            Instruction::Release { id } => {
                let is_there = self.account.notes().is_some_and(|notes| notes.blocks.contains(&id));
                if is_there { Ok(self.note(Note::Released { id })) } else { Err(Refusal::BlockUnknown) }
            }
            // It may be one that is known, and is judged by itself.
            Instruction::IssueSlip { .. } => Err(Refusal::NothingOwed),
        }
    }

    /// When the customer paid; now, if nobody said.
    fn paid_at(&self, told: Option<Millis>) -> Result<Millis, Refusal> {
        let paid_at = told.unwrap_or(self.now.at);
        if paid_at > self.now.at {
            return Err(Refusal::PaidInFuture { now: self.now.at });
        }
        let oldest = self.now.date.plus_days(-OLDEST_PAYMENT);
        if paid_at.date() < oldest { Err(Refusal::PaidTooLongAgo { oldest }) } else { Ok(paid_at) }
    }

    fn pending(&self, id: OfficeId) -> Result<&'a Pending, Refusal> {
        let pending = self.account.notes().and_then(|notes| notes.pending.iter().find(|pending| pending.id == id));
        pending.ok_or(Refusal::PaymentUnknown)
    }

    fn repaid(&self, payment: Payment, cause: Cause) -> Result<Event, Refusal> {
        let mut draft = self.draft()?;
        if matches!(cause, Cause::Final(_)) {
            draft.account.forget_pending(payment.id);
        }
        let order = if payment.slip.is_some_and(|slip| self.is_old(slip, payment.paid_at)) {
            Line::PRINCIPAL_FIRST
        } else {
            Line::FEES_FIRST
        };
        draft.receive(super::settle::Pot::Received, payment.amount, payment.paid_at, &order);
        self.settled(draft, cause)
    }

    fn settled(&self, draft: Draft<'_>, cause: Cause) -> Result<Event, Refusal> {
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
        slip.is_none_or(|slip| slip.expires_at <= paid_at)
    }

    fn damages(&self, id: OfficeId, month: Month, amount: Yen) -> Result<Event, Refusal> {
        let mut draft = self.draft()?;
        let by = draft.account.bill_rules(self.rules);
        let key = BillKey::Month(month);
        let bill = draft.account.bill(key).filter(|bill| bill.is_issued()).ok_or(Refusal::BillUnknown)?;
        let left = bill.damages_accrued(&by, self.now).minus_or_zero(bill.damages);
        if amount > left {
            return Err(Refusal::OverDamages { left });
        }
        draft.post_damages(key, amount);
        draft.reconcile();
        self.settled(draft, Cause::Damages { id, month, amount })
    }

    fn payout(&self, id: OfficeId, amount: Yen) -> Result<Event, Refusal> {
        let mut draft = self.draft()?;
        let credit = draft.account.credit();
        if amount > credit {
            return Err(Refusal::OverCredit { credit });
        }
        draft.pay_out(amount);
        draft.reconcile();
        self.settled(draft, Cause::Payout { id, amount })
    }

    /// What is owed on all bills, until the day before it grows. While nothing has changed, the same slip is given again:
    /// an app may ask as often as its screen is opened.
    fn slip(&self, kind: SlipKind, random: u64) -> Result<Step<Receipt>, Refusal> {
        let by = self.account.bill_rules(self.rules);
        let owed = self.draft()?.account.owed_at(self.now, self.rules);
        let (oldest, lines) = owed.ok_or(Refusal::NothingOwed)?;
        let most = Yen::new(MOST_ON_BARCODE);
        if kind == SlipKind::AppBarcode && lines.total() > most {
            return Err(Refusal::SlipTooLarge { most });
        }
        let last_day = oldest.plus_days(i32::from(by.terms.slips.late_days));
        if self.now.date > last_day {
            return Err(Refusal::SlipTooLate { last_day });
        }
        let slips = self.account.notes().map_or(&[][..], |notes| &notes.slips);
        let open = slips.iter().filter(|slip| slip.kind.is_some() && self.now.at < slip.expires_at);
        if let Some(same) = open.clone().find(|slip| slip.kind == Some(kind) && slip.amount == lines.total()) {
            let issued = SlipIssued { kind, number: same.number, lines, expires_at: same.expires_at };
            let event = Box::new(self.note(Note::SlipIssued(issued)));
            return Ok(Step::Answer(Receipt { lsn: self.state.lsn, at: self.now.at, event }));
        }
        has_room("open payment slips", open.count(), self.state.settings.bounds.open_slips)?;
        let grows = by.terms.lateness.next_fee_day(oldest, self.now.date);
        let expires_at = grows.unwrap_or_else(|| self.now.date.plus_months(1)).start().plus(-1);
        // Twelve digits: what a terminal in a shop asks for.
        let number = 100_000_000_000 + random % 900_000_000_000;
        Ok(Step::Record(self.note(Note::SlipIssued(SlipIssued { kind, number, lines, expires_at }))))
    }
}

fn has_room(what: &'static str, there: usize, most: usize) -> Result<(), Refusal> {
    if there < most { Ok(()) } else { Err(Refusal::TooManyOpen { what, most }) }
}

/// What time alone makes due in a customer's books; nothing when everything is posted.
pub fn calendar(state: &State, ix: CustomerIx, now: &Now) -> Option<Event> {
    if !state.account(ix)?.may_owe(now) {
        return None;
    }
    let mut draft = Draft::of(state, ix, now)?;
    draft.catch_up();
    draft.reconcile();
    draft.pay_out_old_credit();
    let (books, _) = draft.finish();
    (!books.is_empty()).then(|| Event::Settled { cause: Cause::Calendar, books: Box::new(books) })
}

impl Account {
    /// Whether time could have changed anything: cheap, because it is asked of everybody every day.
    fn may_owe(&self, now: &Now) -> bool {
        let rare = self.rare.as_ref();
        self.months().any(|open| open.month < now.month)
            || rare.is_some_and(|rare| !rare.np.is_empty() || !rare.bills.is_empty() || !rare.credit.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::account::Profile;
    use crate::domain::state::Settings;

    #[test]
    fn provisional_news_after_the_money_is_refused() {
        let now = Now::at(Millis::parse("2021-07-05T09:00:00+09:00").unwrap());
        let customer = CustomerId::new("1001").unwrap();
        let mut state = State::new(Settings::default());
        let policy = Box::from(include_str!("../../config/policy.toml"));
        let profile = Box::new(Profile::newcomer());
        state.apply(&Event::PolicySet { version: 1, text: policy }, &now);
        state.apply(&Event::CustomerSet { ix: CustomerIx(0), id: customer, profile }, &now);
        let (id, amount) = (OfficeId::new("X-1").unwrap(), Yen::new(500));
        let repay = Instruction::Repay { id, amount, paid_at: None, slip: None };
        let expect = Instruction::Expect { id, amount, paid_at: None, expires_at: now.at.plus(1) };
        let told = |state: &State, told| match instruct(state, &customer, told, &now, &mut || 0) {
            Ok(Step::Record(event)) => Ok(Some(event)),
            Ok(Step::Answer(_)) => Ok(None),
            Err(refusal) => Err(refusal),
        };
        assert!(matches!(told(&state, &expect), Ok(Some(Event::Noted { .. }))), "alone it is news");
        let paid = told(&state, &repay).unwrap().unwrap();
        state.apply(&paid, &now);
        assert_eq!(told(&state, &expect), Err(Refusal::PaymentFinal), "or its final news would be posted again");
        assert_eq!(told(&state, &repay), Ok(None));
    }
}

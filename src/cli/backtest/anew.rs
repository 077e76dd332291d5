//! Facts about a customer whose books differ: each is put again as the request that it came of, and what that comes to in the
//! tried world is true there.

use super::worlds::Worlds;
use crate::domain::billing::notes::{Cause, Note, Payment};
use crate::domain::billing::settlement::Settlement;
use crate::domain::billing::stories::Kept;
use crate::domain::commands::cancel::hold_expired;
use crate::domain::commands::office::calendar;
use crate::domain::commands::past::Past;
use crate::domain::commands::request::{OnOrder, Request};
use crate::domain::commands::{MOST_STEPS, Ruling, dispatch};
use crate::domain::model::ids::{CustomerIx, Lsn, OfficeId};
use crate::domain::model::money::Yen;
use crate::domain::model::payment::BillKey;
use crate::domain::model::request::{Cancel, Capture, Instruction, Refund, Said};
use crate::domain::model::time::{Millis, Now};
use crate::domain::state::State;
use crate::domain::state::event::Event;
use crate::domain::state::receipts::Known;

impl Worlds {
    pub(super) fn anew(&mut self, real: &State, event: &Event, now: &Now) {
        let is_done = match event {
            Event::Cancelled(undone) | Event::CancelledPaid { undone, .. } => self.cancel(undone.order, now),
            Event::SuspenseCleared { order, .. } => self.cancel(*order, now),
            Event::Captured(captured) => self.on_order(captured.order, now, |id| {
                OnOrder::Capture(Capture { authorization: id, amount: captured.amount })
            }),
            Event::Refunded(refund) => self.on_order(refund.order, now, |id| {
                OnOrder::Refund(Refund { paid_at: refund.paid_at, ..Refund::new(id, refund.refund_id, refund.amount) })
            }),
            Event::HoldExpired(undone) => match hold_expired(&self.tried, undone.customer, undone.order, now) {
                Some(event) => {
                    self.tried.apply(&event, now);
                    true
                }
                None => false,
            },
            Event::Settled { cause, books } => self.settled(real, cause, books, now),
            // What the ledger has of books is that of the real ones.
            Event::StoriesRecalled { customer, .. } if real.account(*customer) != self.tried.account(*customer) => true,
            Event::Recalled { order, .. } | Event::RecalledWhole(order) if self.is_gone(order.id.lsn) => false,
            Event::SuspenseSettled(settled) if self.is_gone(settled.order.lsn) => false,
            Event::CustomerSet { ix, id, profile } => {
                let mut profile = profile.clone();
                // The rung is what the tried world has made of it, where nobody sets it.
                if let (Some(real), Some(tried)) = (real.account(*ix), self.tried.account(*ix))
                    && real.profile.rung == profile.rung
                {
                    profile.rung = tried.profile.rung;
                }
                self.tried.apply(&Event::CustomerSet { ix: *ix, id: *id, profile }, now);
                true
            }
            event => {
                self.tried.apply(event, now);
                true
            }
        };
        if !is_done {
            self.report.left_out += 1;
        }
    }

    fn is_gone(&self, order: Lsn) -> bool {
        self.refused.contains(&order) || self.other_advices.contains(&order)
    }

    fn cancel(&mut self, order: Lsn, now: &Now) -> bool {
        let Some(key) = self.tried.orders.by_lsn(order).map(|order| order.key) else { return false };
        self.on_order(order, now, |_| OnOrder::Cancel(Cancel::new(key)))
    }

    fn on_order(
        &mut self,
        order: Lsn,
        now: &Now,
        doing: impl FnOnce(crate::domain::model::ids::AuthorizationId) -> OnOrder,
    ) -> bool {
        if self.refused.contains(&order) {
            return false;
        }
        let Some(order) = self.tried.orders.by_lsn(order) else { return false };
        // In place of the ledger: of refunds that memory let go of, none was made under an id that comes again.
        let past = Past::Orders(vec![order.clone()]);
        self.ask(Request::OnOrder { doing: Box::new(doing(order.id)), past }, now)
    }

    /// Whether it came to a fact. What memory let go of is nowhere else in the tried world.
    fn ask(&mut self, request: Request, now: &Now) -> bool {
        let before = self.tried.lsn;
        let request = Request::Knowing { kept: Kept::nothing(), question: Box::new(request) };
        let mut is_done = false;
        for steps in 0..=MOST_STEPS {
            // Facts of one record have its number.
            self.tried.lsn = before;
            let event = match dispatch(&self.tried, &request, now, steps, &mut || 0) {
                Ruling::Answer(_) => break,
                Ruling::Step(event) => event,
                Ruling::Record(event, _) => {
                    self.tried.apply(&event, now);
                    return true;
                }
            };
            self.tried.apply(&event, now);
            is_done = true;
        }
        is_done
    }

    fn instruct(&mut self, customer: CustomerIx, instruction: Instruction, now: &Now) -> bool {
        let Some(customer) = self.tried.account(customer).map(|account| account.id) else { return false };
        self.ask(Request::Instruct { customer, instruction, ledger: Some(Known::nothing()) }, now)
    }

    fn settled(&mut self, real: &State, cause: &Cause, books: &Settlement, now: &Now) -> bool {
        let customer = books.customer;
        let instruction = match cause.clone() {
            Cause::Calendar => {
                // Where nothing is due, nothing is to be recorded.
                if let Some(event) = calendar(&self.tried, customer, now) {
                    self.tried.apply(&event, now);
                }
                return true;
            }
            Cause::Repayment(payment) | Cause::Final(payment) => {
                let spare = payment.amount.minus_or_zero(owed(real, customer, now));
                return self.repaid(customer, cause, (&payment, spare), now);
            }
            Cause::Damages { id, month, amount, staff } => {
                Instruction::PostDamages { id, bill: BillKey::Month(month), amount, staff }
            }
            Cause::NpDamages { id, order, amount, staff } => {
                Instruction::PostDamages { id, bill: BillKey::Np(order), amount, staff }
            }
            Cause::Payout { id, amount, bank_reference, staff } => {
                let amount = amount.min(payable(&self.tried, customer, now));
                if amount.is_zero() {
                    return false;
                }
                Instruction::PayOut { id, amount, bank_reference, staff }
            }
            Cause::Withdrawn { id, staff } => {
                let note = Note::Withdrawn { id, staff: staff.clone() };
                if !self.instruct(customer, Instruction::Withdraw { id, said: Said::default(), staff }, now) {
                    self.tried.apply(&Event::Noted { customer, note }, now);
                }
                return true;
            }
            Cause::Bounced { payout, staff, .. } => Instruction::Bounce { payout, staff: *staff },
            Cause::Corrected { correction, staff, .. } => Instruction::Correct { correction, staff: *staff },
        };
        self.instruct(customer, instruction, now)
    }

    /// Real money is cut to what is owed in the tried world, beside what met nothing in the real one either.
    fn repaid(&mut self, customer: CustomerIx, cause: &Cause, (payment, spare): (&Payment, Yen), now: &Now) -> bool {
        let &Payment { id, amount, paid_at, slip } = payment;
        let kept = amount.min(owed(&self.tried, customer, now) + spare);
        self.report.cut += amount.minus_or_zero(kept).get();
        if kept == amount && matches!(cause, Cause::Final(_)) {
            return self.instruct(customer, Instruction::Confirm { id, said: Said::default() }, now);
        }
        let before = self.tried.lsn;
        let id = if matches!(cause, Cause::Final(_)) {
            let note = Note::Withdrawn { id, staff: None };
            self.tried.apply(&Event::Noted { customer, note }, now);
            self.tried.lsn = before;
            self.next_id()
        } else {
            Some(id)
        };
        let Some(id) = id.filter(|_| !kept.is_zero()) else { return false };
        self.instruct(customer, Instruction::Repay { id, amount: kept, paid_at: Some(paid_at), slip }, now)
    }

    /// An id of no real payment.
    fn next_id(&mut self) -> Option<OfficeId> {
        self.payments += 1;
        OfficeId::new(&format!("backtest-{}", self.payments)).ok()
    }

    /// After a real settlement: months whose real bill it has paid are paid in the tried world too.
    pub(super) fn paid_with(&mut self, real: &State, books: &Settlement, now: &Now) {
        let Some(extra) = self.extra.get_mut(&books.customer) else { return };
        let Some(account) = real.account(books.customer) else { return };
        let met: Vec<_> = books
            .transfers
            .iter()
            .filter(|transfer| transfer.to.is_principal())
            .filter_map(|transfer| Some((transfer.to.bill()?.month()?, transfer.money.day)))
            .collect();
        let mut paid = Vec::new();
        for (month, at) in met {
            let is_paid = account.bill(BillKey::Month(month)).is_none_or(|bill| bill.unpaid().is_zero());
            if is_paid
                && month < now.month
                && let Some(amount) = extra.remove(&month)
            {
                paid.push((amount, at));
            }
        }
        self.tried.lsn = real.lsn;
        for (amount, at) in paid {
            self.pay_extra(books.customer, amount, at, now);
        }
    }

    /// A payment that there really was not, of no more than is owed.
    pub(super) fn pay_extra(&mut self, customer: CustomerIx, amount: Yen, paid_at: Millis, now: &Now) {
        let amount = amount.min(owed(&self.tried, customer, now));
        let Some(id) = self.next_id().filter(|_| !amount.is_zero()) else { return };
        let paid_at = Some(paid_at.min(now.at));
        self.report.paid_extra += amount.get();
        let lsn = Lsn(self.tried.lsn.0.saturating_sub(1));
        self.tried.lsn = lsn;
        if !self.instruct(customer, Instruction::Repay { id, amount, paid_at, slip: None }, now) {
            self.report.left_out += 1;
        }
    }
}

/// Yen of a customer's open bills, fees and usage, less credit.
fn owed(state: &State, customer: CustomerIx, now: &Now) -> Yen {
    let (Some(mut draft), Some(rules)) = (state.draft(customer, now), state.rules()) else { return Yen::ZERO };
    draft.catch_up();
    let (_, account) = draft.finish();
    let by = account.bill_rules(rules);
    let owed: Yen = account.bills().map(|bill| bill.owed(&by, now).total()).sum();
    owed.minus_or_zero(account.credit() + account.payout_due())
}

fn payable(state: &State, customer: CustomerIx, now: &Now) -> Yen {
    state.draft(customer, now).map_or(Yen::ZERO, |mut draft| {
        draft.catch_up();
        draft.payable()
    })
}

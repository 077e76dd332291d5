//! What rows a fact comes to, for every kind of ledger.

use super::LedgerError;
use super::account_rows::too_large;
use super::codes::{PAID_BEFORE, trial};
use super::order_rows::{OrderNow, bits, key_hash, order_state, yen};
use super::order_steps::Step;
use super::orders::Orders;
use super::tables::{
    BILL, CODE, CODE_VOID, DECISION, GRADE, HOLIDAY_FILE, LADDER_STEP, MERCHANT, MOVEMENT, ORDER_STEP, POLICY, RECEIPT,
    REFUND, SUSPENSE, SUSPENSE_END, Value, row,
};
use super::transaction::{At, Tables};
use crate::domain::billing::settlement::{Charge, LadderStep, Settlement};
use crate::domain::model::code::Form;
use crate::domain::model::denial::Reason;
use crate::domain::model::ids::{AuthorizationId, CustomerIx, Handle, Lsn, Part};
use crate::domain::model::merchant::Merchant;
use crate::domain::model::money::Yen;
use crate::domain::model::order::{Order, fingerprint, part_of};
use crate::domain::model::payment::BillKey;
use crate::domain::model::purchase::Channel;
use crate::domain::model::request::{OrderKey, Payer};
use crate::domain::model::time::Month;
use crate::domain::state::event::{
    Advised, Approval, Captured, CodeIssued, Decided, Event, Outcome, Refunded, SuspenseEnd, SuspenseSettled,
};
use crate::journal::codec::{self, applied_to_bytes};
use crate::ledger::movements::{About, Movement};
use crate::ledger::{Book, EntryKind, Far, Graded};

/// `movement.far`.
pub(crate) mod far_end {
    pub const RECEIVED: u8 = 1;
    pub const REFUND: u8 = 2;
    pub const MONTH: u8 = 3;
    pub const NP: u8 = 4;
    pub const CREDIT: u8 = 5;
    pub const PAYOUT_DUE: u8 = 6;
    pub const PAID_OUT: u8 = 7;
    pub const REVERSED: u8 = 8;
}

/// `movement.channel` of what is about none: fees of a month's bill, credit.
pub(crate) const NO_CHANNEL: u8 = 0;

/// `movement.far` and `movement.far_bill`.
fn far_columns(far: Far) -> (u8, Option<i64>) {
    match far {
        Far::Received => (far_end::RECEIVED, None),
        Far::Refund => (far_end::REFUND, None),
        Far::Bill(BillKey::Month(month)) => (far_end::MONTH, Some(month.to_number().into())),
        Far::Bill(BillKey::Np(order)) => (far_end::NP, Some(bits(order.0))),
        Far::Credit => (far_end::CREDIT, None),
        Far::PayoutDue => (far_end::PAYOUT_DUE, None),
        Far::PaidOut => (far_end::PAID_OUT, None),
        Far::Reversed => (far_end::REVERSED, None),
    }
}

/// The orders whose rows a fact changes.
pub(crate) fn orders_of(event: &Event) -> Option<Lsn> {
    match event {
        Event::SuspenseCleared { order, .. } => Some(*order),
        Event::SuspenseSettled(settled) => Some(settled.order.lsn),
        Event::Cancelled(undone) | Event::CancelledPaid { undone, .. } => Some(undone.order),
        Event::Captured(captured) => Some(captured.order),
        Event::Refunded(refund) => Some(refund.order),
        Event::RecalledWhole(order) | Event::Recalled { order, .. } => Some(order.id.lsn),
        _ => None,
    }
}

/// The tables within a transaction, and the orders that its facts change.
pub(crate) struct FactRows<'t, T> {
    pub tables: &'t mut T,
    pub orders: Orders,
}

impl<T: Tables> FactRows<'_, T> {
    /// The rows of the fact itself.
    pub fn write(&mut self, at: At, event: &Event) -> Result<(), LedgerError> {
        match event {
            Event::Opened { sandbox } => self.tables.opened(*sandbox),
            Event::PolicySet { version, text } => {
                self.tables.insert(&POLICY, &row![bits(at.lsn.0), *version, &**text, at.now.at.0])
            }
            Event::HolidaysSet { text } => self.tables.insert(&HOLIDAY_FILE, &row![bits(at.lsn.0), &**text]),
            Event::MerchantSet(merchant) => self.merchant(merchant),
            Event::CodeIssued(issued) => self.code(at, issued, Form::L24),
            Event::Tok19Issued(issued) => self.code(at, issued, Form::Tok19),
            Event::CodeVoided { handle } => {
                self.tables.insert(&CODE_VOID, &row![bits(at.lsn.0), handle.get(), at.now.at.0])
            }
            Event::Decided(decided) => self.decision(at, decided, None),
            Event::Advised(advised) => self.advice(at, advised),
            Event::SuspenseCleared { order, amount } => self.suspense_cleared(at, *order, *amount),
            Event::SuspenseSettled(settled) => {
                self.suspense_settled(at, settled)?;
                self.receipt(at, event)
            }
            Event::Tombstoned { key } => self.tombstone(at, key),
            Event::Cancelled(undone) => self.cancelled(at, undone.order),
            Event::CancelledPaid { undone, books } => {
                self.books(at, books)?;
                self.cancelled(at, undone.order)
            }
            Event::Captured(captured) => self.captured(at, captured),
            Event::Refunded(refund) => {
                self.books(at, &refund.books)?;
                self.refunded(at, refund)
            }
            Event::RecalledWhole(order) => self.recalled(at, order, Lsn(1)),
            Event::Recalled { order, .. } => self.recalled(at, order, at.lsn),
            Event::Settled { books, .. } => {
                self.books(at, books)?;
                self.receipt(at, event)
            }
            Event::Noted { .. } => self.receipt(at, event),
            // They change an account, and move what `movements` says.
            Event::CustomerSet { .. }
            | Event::HoldExpired(_)
            | Event::Noticed { .. }
            | Event::StoriesRecalled { .. } => Ok(()),
        }
    }

    fn merchant(&mut self, merchant: &Merchant) -> Result<(), LedgerError> {
        let (id, status, limits) = (merchant.id.as_str(), merchant.status as u8, &merchant.limits);
        let limits = (limits.per_payment.map(yen), limits.in_store.map(yen));
        self.tables.put(&MERCHANT, &row![id, &*merchant.name, merchant.mcc, status, limits.0, limits.1])
    }

    fn code(&mut self, at: At, issued: &CodeIssued, form: Form) -> Result<(), LedgerError> {
        self.tables.insert(
            &CODE,
            &row![
                bits(at.lsn.0),
                issued.handle.get(),
                bits(issued.id_random),
                issued.customer.0,
                issued.generation,
                issued.counter,
                issued.random,
                at.now.at.0,
                issued.expires_at.0,
                form as u8,
            ],
        )
    }

    /// `told` is what an advice leaves on its code, where it was one.
    fn decision(&mut self, at: At, decided: &Decided, told: Option<&Advised>) -> Result<(), LedgerError> {
        let input = &decided.input;
        let key = OrderKey { merchant: input.merchant, order_id: input.order_id };
        // A handle is drawn in its customer's part, so the payer tells the part as well as the account does.
        let id = AuthorizationId { part: part_of(input, None), lsn: at.lsn, random: decided.random };
        let handle = match &input.payer {
            Payer::Code(scanned) => scanned.handle(),
            Payer::Customer(_) => None,
        };
        let trial = handle.and_then(|_| match told {
            None => trial(decided),
            Some(told) => told.booked.suspense().is_none().then_some(PAID_BEFORE),
        });
        let approval = match &decided.outcome {
            Outcome::Approved(approval) => Some(approval),
            Outcome::Denied { .. } => None,
        };
        let (state, reason, first) = match &decided.outcome {
            Outcome::Denied { reason, first } => (order_state::DENIED, Some(*reason), first.as_ref()),
            Outcome::Approved(Approval { hold_expires_at: Some(_), .. }) => (order_state::HELD, None, None),
            Outcome::Approved(_) => (order_state::CAPTURED, None, None),
        };
        let month = approval.map_or(at.now.month, |approval| approval.month);
        let row = row![
            bits(at.lsn.0),
            id.to_string(),
            key.merchant.as_str(),
            key.order_id.as_str(),
            key_hash(&key),
            input.store.as_ref().map(|store| store.as_str()),
            input.terminal.as_ref().map(|terminal| terminal.as_str()),
            decided.customer.map(|ix| ix.0),
            input.channel as u8,
            handle.map(Handle::get),
            trial,
            yen(input.amount),
            bits(fingerprint(input)),
            decided.policy,
            at.now.at.0,
            reason.map(Reason::number),
            approval.and_then(|approval| approval.hold_expires_at).map(|at| at.0),
            month.to_number(),
            approval.map_or(at.now.date, |approval| approval.due).to_number(),
            bits(approval.map_or(0, |approval| approval.points)),
            yen(decided.room),
            first.map(|first| bits(first.authorization.lsn.0)),
        ];
        let captured = (state == order_state::CAPTURED).then_some(input.amount);
        let advice = told.map(|told| told.booked.number());
        let now = OrderNow::decided(state, month, key.merchant);
        self.new_order(at, &row, OrderNow { captured, advice, customer: decided.customer, ..now })
    }

    fn new_order(&mut self, at: At, row: &[Value<'_>], now: OrderNow) -> Result<(), LedgerError> {
        self.tables.decision(row, &now.row(at.lsn))?;
        self.orders.hold(at.lsn, now);
        Ok(())
    }

    fn tombstone(&mut self, at: At, key: &OrderKey) -> Result<(), LedgerError> {
        let id = AuthorizationId { part: Part::default(), lsn: at.lsn, random: 0 };
        let nothing = || Value::Null;
        let row: [Value<'_>; DECISION.columns.len()] = [
            bits(at.lsn.0).into(),
            id.to_string().into(),
            key.merchant.as_str().into(),
            key.order_id.as_str().into(),
            key_hash(key).into(),
            nothing(),
            nothing(),
            nothing(),
            (Channel::InStore as u8).into(),
            nothing(),
            nothing(),
            0_u8.into(),
            0_u8.into(),
            nothing(),
            at.now.at.0.into(),
            nothing(),
            nothing(),
            at.now.month.to_number().into(),
            at.now.date.to_number().into(),
            0_u8.into(),
            0_u8.into(),
            nothing(),
        ];
        self.new_order(at, &row, OrderNow::decided(order_state::TOMBSTONE, at.now.month, key.merchant))
    }

    fn advice(&mut self, at: At, advised: &Advised) -> Result<(), LedgerError> {
        self.decision(at, &advised.decided, Some(advised))?;
        if advised.booked.suspense().is_none() {
            return Ok(());
        }
        let known = advised.known.map(|ix| ix.0);
        let amount = yen(advised.decided.input.amount);
        self.tables.insert(&SUSPENSE, &row![bits(at.lsn.0), known, amount, at.now.at.0])
    }

    fn suspense_cleared(&mut self, at: At, order: Lsn, amount: Yen) -> Result<(), LedgerError> {
        self.clear_suspense(at, order, amount, (EntryKind::SuspenseCleared, Book::MerchantPayable))?;
        self.cancelled(at, order)
    }

    fn clear_suspense(
        &mut self,
        at: At,
        order: Lsn,
        amount: Yen,
        (kind, counter): (EntryKind, Book),
    ) -> Result<(), LedgerError> {
        let (lsn, at) = (bits(at.lsn.0), at.now.at.0);
        self.tables.update(&SUSPENSE_END, &row![bits(order.0), yen(amount), lsn, at, kind as u8, counter as u8])
    }

    fn suspense_settled(&mut self, at: At, settled: &SuspenseSettled) -> Result<(), LedgerError> {
        let order = settled.order.lsn;
        let to = match settled.end {
            SuspenseEnd::Charged(_) => (EntryKind::SuspenseCharged, Book::MerchantPayable),
            SuspenseEnd::Returned => (EntryKind::SuspenseReturned, Book::MerchantPayable),
            SuspenseEnd::Lost => (EntryKind::SuspenseLost, Book::SuspenseLosses),
        };
        self.clear_suspense(at, order, settled.amount, to)?;
        let (was_hold, now) = self.orders.change(at, order, |now| {
            let was_hold = now.state == order_state::HELD;
            match &settled.end {
                SuspenseEnd::Charged(charged) => {
                    // The customer of the decision stays what it said: nobody was charged by it.
                    now.charged = Some(charged.customer);
                    now.advice = None;
                    now.capture(at.now.at, charged);
                }
                SuspenseEnd::Returned => now.state = order_state::CANCELLED,
                SuspenseEnd::Lost => now.state = order_state::LOST,
            }
            (was_hold, *now)
        })?;
        let Some(charged) = settled.end.charged() else { return Ok(()) };
        // What was no hold was captured for the shop when it sold.
        let merchant = was_hold.then_some(now.merchant);
        self.step(at, order, &Step { merchant, ..Step::of(&now, charged.amount) })
    }

    fn cancelled(&mut self, at: At, order: Lsn) -> Result<(), LedgerError> {
        self.orders.change(at, order, |now| now.state = order_state::CANCELLED)
    }

    fn captured(&mut self, at: At, captured: &Captured) -> Result<(), LedgerError> {
        let now = self.orders.change(at, captured.order, |now| {
            now.capture(at.now.at, captured);
            *now
        })?;
        self.step(at, captured.order, &Step { merchant: Some(now.merchant), ..Step::of(&now, captured.amount) })
    }

    fn step(&mut self, at: At, order: Lsn, step: &Step<'_>) -> Result<(), LedgerError> {
        self.tables.insert(&ORDER_STEP, &step.row(at, order))
    }

    fn recalled(&mut self, at: At, order: &Order, refunds_from: Lsn) -> Result<(), LedgerError> {
        self.orders.change(at, order.id.lsn, |now| now.recalled = refunds_from)
    }

    fn refunded(&mut self, at: At, refund: &Refunded) -> Result<(), LedgerError> {
        let (left, now) = self.orders.change(at, refund.order, |now| {
            let left = now.refund(refund.amount)?;
            Ok::<_, LedgerError>((left, *now))
        })??;
        let (merchant, id) = (Some(now.merchant), Some(&refund.refund_id));
        self.step(at, refund.order, &Step { merchant, refund: id, ..Step::of(&now, refund.amount) })?;
        let applied = applied_to_bytes(&refund.applied()).map_err(too_large)?;
        self.tables.insert(
            &REFUND,
            &row![
                bits(refund.order.0),
                bits(at.lsn.0),
                refund.refund_id.as_str(),
                yen(refund.amount),
                yen(left),
                refund.destination as u8,
                applied,
                yen(refund.restored()),
                refund.paid_at.map(|at| at.0),
            ],
        )
    }

    pub fn movements(&mut self, at: At, all: &[Movement]) -> Result<(), LedgerError> {
        all.iter().try_for_each(|movement| self.movement(at, movement))
    }

    fn movement(&mut self, at: At, movement: &Movement) -> Result<(), LedgerError> {
        let (month, channel, order) = match movement.about {
            About::Purchase { order, channel, month } => (month, Some(channel), bits(order.0)),
            About::Bill(BillKey::Month(month), channel) => (Some(month), channel, 0),
            About::Bill(BillKey::Np(order), _) => {
                (self.orders.billed_in(self.tables, order)?, Some(Channel::NpAtobarai), bits(order.0))
            }
            About::Nothing => (None, None, 0),
        };
        let money = movement.moved.map(|(money, _)| money.recorded(at.lsn));
        let far = movement.moved.map(|(_, far)| far_columns(far));
        self.tables.insert(
            &MOVEMENT,
            &row![
                bits(at.lsn.0),
                movement.kind as u8,
                movement.customer.0,
                movement.account as u8,
                movement.counter as u8,
                movement.amount,
                month.map(Month::to_number),
                channel.map_or(NO_CHANNEL, |channel| channel as u8),
                order,
                at.now.at.0,
                money.map(|money| bits(money.fact.0)),
                money.map(|money| money.day.0),
                far.map(|(number, _)| number),
                far.and_then(|(_, bill)| bill),
                movement.value_at.0,
            ],
        )
    }

    fn books(&mut self, at: At, books: &Settlement) -> Result<(), LedgerError> {
        for charge in &books.charges {
            self.bill_issued(at, books.customer, charge)?;
        }
        books.steps.iter().try_for_each(|step| self.ladder_step(at, books.customer, step))
    }

    fn bill_issued(&mut self, at: At, customer: CustomerIx, charge: &Charge) -> Result<(), LedgerError> {
        let &Charge::Issued { month, method, due, fee, principal } = charge else { return Ok(()) };
        let (month, due) = (month.to_number(), due.to_number());
        let row = row![customer.0, month, method as u8, due, yen(fee), yen(principal), bits(at.lsn.0)];
        self.tables.insert(&BILL, &row)
    }

    fn ladder_step(&mut self, at: At, customer: CustomerIx, step: &LadderStep) -> Result<(), LedgerError> {
        let (lsn, recorded_at) = (bits(at.lsn.0), at.now.at.0);
        let row = row![lsn, customer.0, step.from, step.to, step.why as u8, step.policy, recorded_at];
        self.tables.insert(&LADDER_STEP, &row)
    }

    /// The customer's limits come from something else from here on; the first time the customer is new.
    pub fn graded(&mut self, at: At, customer: CustomerIx, now: &Graded, is_first: bool) -> Result<(), LedgerError> {
        let (total, in_store) = now.limits.map(|limits| (yen(limits.total), yen(limits.in_store))).unzip();
        let row = row![customer.0, bits(at.lsn.0), at.now.at.0, now.rung, total, in_store, is_first];
        self.tables.insert(&GRADE, &row)
    }

    /// The fact answers for an id of the office.
    fn receipt(&mut self, at: At, event: &Event) -> Result<(), LedgerError> {
        let Some(key) = event.receipt_key() else { return Ok(()) };
        let mut bytes = Vec::new();
        codec::encode(event, &mut bytes).map_err(too_large)?;
        let about = event.reversal().map(|(repayment, _)| repayment).filter(|repayment| *repayment != key.id);
        let about = about.map(|about| about.to_string());
        let row = row![key.customer.0, key.kind as u8, key.id.as_str(), bits(at.lsn.0), at.now.at.0, bytes, about];
        self.tables.put(&RECEIPT, &row)
    }
}

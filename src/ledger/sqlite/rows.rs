//! The rows of facts, as SQLite takes them: statements, and nothing that decides what a fact comes to.

use rusqlite::{CachedStatement, Connection, OptionalExtension, Params, params};

use super::codes::{CODE, PAID_BEFORE, forget_codes, trial};
use crate::domain::billing::account::Account;
use crate::domain::billing::settlement::{Charge, LadderStep};
use crate::domain::model::code::Form;
use crate::domain::model::denial::Reason;
use crate::domain::model::ids::{AuthorizationId, CustomerIx, Handle, Lsn, Part};
use crate::domain::model::merchant::Merchant;
use crate::domain::model::money::Yen;
use crate::domain::model::order::{fingerprint, part_of};
use crate::domain::model::payment::BillKey;
use crate::domain::model::purchase::Channel;
use crate::domain::model::request::{OrderKey, Payer};
use crate::domain::model::time::{Date, Millis, Month};
use crate::domain::state::event::{
    Advised, Approval, Captured, CodeIssued, Decided, Event, Outcome, Refunded, SuspenseEnd, SuspenseSettled,
};
use crate::journal::TooLarge;
use crate::journal::codec::{self, applied_to_bytes};
use crate::ledger::movements::{About, Movement};
use crate::ledger::posting::{At, Change, OrderChange, Rows};
use crate::ledger::sqlite::read::{NO_CHANNEL, far_end, order_state};
use crate::ledger::{Book, EntryKind, Far, Graded, LedgerError};

const DECISION: &str = "INSERT INTO decision (lsn, authorization_id, merchant_id, order_id, key_hash, store_id,
    terminal_id, customer, channel, handle, trial, amount, fingerprint, policy, decided_at, state, reason,
    hold_expires_at, captured, month, due, points, room, first_lsn)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23,
    ?24)";

const TOMBSTONE: &str = "INSERT INTO decision (lsn, authorization_id, merchant_id, order_id, key_hash, channel, amount,
    fingerprint, decided_at, state, month, due, points, room) VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, 0, ?7, ?8, ?9, ?10, 0, 0)";

const MOVEMENT: &str =
    "INSERT INTO movement VALUES (NULL, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)";

/// A number without a sign, bit for bit.
pub(crate) fn bits(number: u64) -> i64 {
    number.cast_signed()
}

pub(crate) fn yen(amount: Yen) -> i64 {
    bits(amount.get())
}

/// What an index on both texts would cost too much for; equal keys have equal hashes, and that is all it is for.
pub(crate) fn key_hash(key: &OrderKey) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(key.merchant.as_str().as_bytes()), key.order_id.as_str().as_bytes())
}

/// What the journal has recorded fits; anything else is a fault of ours.
pub(crate) fn too_large(error: TooLarge) -> LedgerError {
    LedgerError::Corrupt(error.to_string())
}

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

/// The tables within one transaction.
pub(crate) struct SqliteRows<'c> {
    pub(crate) db: &'c Connection,
    decision: CachedStatement<'c>,
    code: CachedStatement<'c>,
}

impl<'c> SqliteRows<'c> {
    pub(crate) fn new(db: &'c Connection) -> Result<Self, LedgerError> {
        Ok(Self { db, decision: db.prepare_cached(DECISION)?, code: db.prepare_cached(CODE)? })
    }

    pub(crate) fn run(&self, sql: &str, params: impl Params) -> Result<usize, LedgerError> {
        Ok(self.db.prepare_cached(sql)?.execute(params)?)
    }

    /// Runs a change of the one row that the fact says is there.
    pub(crate) fn change(&self, what: &str, sql: &str, params: impl Params) -> Result<(), LedgerError> {
        match self.run(sql, params)? {
            1 => Ok(()),
            rows => Err(LedgerError::Corrupt(format!("a fact changes {what}, and {rows} rows are there"))),
        }
    }

    fn captured(&self, at: At, captured: &Captured) -> Result<(), LedgerError> {
        let &Captured { order, amount, month, due, points, .. } = captured;
        let sql = "UPDATE decision SET state = ?2, captured = ?3, refunded = 0, capture_month = ?4, capture_due = ?5,
            capture_points = ?6, touched = ?7, touched_at = ?8, capture_at = ?8 WHERE lsn = ?1";
        let row = params![
            bits(order.0),
            order_state::CAPTURED,
            yen(amount),
            month.to_number(),
            due.to_number(),
            bits(points),
            bits(at.lsn.0),
            at.now.at.0
        ];
        self.change("an order", sql, row)
    }

    fn refunded(&self, at: At, refund: &Refunded) -> Result<(), LedgerError> {
        let order = bits(refund.order.0);
        let lsn = bits(at.lsn.0);
        let amount = yen(refund.amount);
        let sql = "UPDATE decision SET refunded = refunded + ?2, touched = ?3, touched_at = ?4 WHERE lsn = ?1";
        self.change("an order", sql, params![order, amount, lsn, at.now.at.0])?;
        let row = params![
            order,
            lsn,
            refund.refund_id.as_str(),
            amount,
            refund.destination as u8,
            applied_to_bytes(&refund.applied()).map_err(too_large)?,
            yen(refund.restored()),
            refund.paid_at.map(|at| at.0)
        ];
        let insert = "INSERT INTO refund SELECT ?1, ?2, ?3, ?4, captured - refunded, ?5, ?6, ?7, ?8 FROM decision
            WHERE lsn = ?1";
        self.run(insert, row).map(drop)
    }

    fn cancelled(&self, at: At, order: Lsn) -> Result<(), LedgerError> {
        self.set_state(at, order, order_state::CANCELLED)
    }

    fn set_state(&self, at: At, order: Lsn, state: u8) -> Result<(), LedgerError> {
        let set = "UPDATE decision SET state = ?2, touched = ?3, touched_at = ?4 WHERE lsn = ?1";
        self.change("an order", set, params![bits(order.0), state, bits(at.lsn.0), at.now.at.0])
    }

    /// The month of an NP purchase.
    fn billed_in(&self, order: Lsn) -> Result<Option<u16>, LedgerError> {
        let sql = "SELECT coalesce(capture_month, month) FROM decision WHERE lsn = ?1";
        Ok(self.db.prepare_cached(sql)?.query_row([bits(order.0)], |row| row.get(0)).optional()?)
    }
}

impl Rows for SqliteRows<'_> {
    fn accounts(&mut self, customers: &[CustomerIx]) -> Result<Vec<(CustomerIx, Account)>, LedgerError> {
        let read = |customer: &CustomerIx| Ok(self.read_account(*customer)?.map(|account| (*customer, account)));
        customers.iter().filter_map(|customer| read(customer).transpose()).collect()
    }

    fn write_account(&mut self, customer: CustomerIx, change: &Change<'_>) -> Result<(), LedgerError> {
        self.put_account(customer, change)
    }

    fn opened(&mut self, sandbox: bool) -> Result<(), LedgerError> {
        self.change("the position", "UPDATE posted SET sandbox = ?1", [sandbox])
    }

    fn policy(&mut self, at: At, version: u32, text: &str) -> Result<(), LedgerError> {
        self.run("INSERT INTO policy VALUES (?1, ?2, ?3, ?4)", params![bits(at.lsn.0), version, text, at.now.at.0])
            .map(drop)
    }

    fn holidays(&mut self, at: At, text: &str) -> Result<(), LedgerError> {
        self.run("INSERT INTO holiday_file VALUES (?1, ?2)", params![bits(at.lsn.0), text]).map(drop)
    }

    fn merchant(&mut self, merchant: &Merchant) -> Result<(), LedgerError> {
        let limits = (merchant.limits.per_payment.map(yen), merchant.limits.in_store.map(yen));
        let row = params![merchant.id.as_str(), merchant.name, merchant.mcc, merchant.status as u8, limits.0, limits.1];
        self.run("INSERT OR REPLACE INTO merchant VALUES (?1, ?2, ?3, ?4, ?5, ?6)", row).map(drop)
    }

    fn code(&mut self, at: At, issued: &CodeIssued, form: Form) -> Result<(), LedgerError> {
        self.code.execute(params![
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
        ])?;
        Ok(())
    }

    fn code_voided(&mut self, at: At, handle: Handle) -> Result<(), LedgerError> {
        let row = params![bits(at.lsn.0), handle.get(), at.now.at.0];
        self.run("INSERT INTO code_void VALUES (?1, ?2, ?3)", row).map(drop)
    }

    fn decision(&mut self, at: At, decided: &Decided) -> Result<(), LedgerError> {
        let input = &decided.input;
        let key = OrderKey { merchant: input.merchant, order_id: input.order_id };
        // A handle is drawn in its customer's part, so the payer tells the part as well as the account does.
        let id = AuthorizationId { part: part_of(input, None), lsn: at.lsn, random: decided.random };
        let handle = match &input.payer {
            Payer::Code(scanned) => scanned.handle(),
            Payer::Customer(_) => None,
        };
        let approval = match &decided.outcome {
            Outcome::Approved(approval) => Some(approval),
            Outcome::Denied { .. } => None,
        };
        let (state, reason, first) = match &decided.outcome {
            Outcome::Denied { reason, first } => (order_state::DENIED, Some(*reason), first.as_ref()),
            Outcome::Approved(Approval { hold_expires_at: Some(_), .. }) => (order_state::HELD, None, None),
            Outcome::Approved(_) => (order_state::CAPTURED, None, None),
        };
        self.decision.execute(params![
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
            handle.and_then(|_| trial(decided)),
            yen(input.amount),
            bits(fingerprint(input)),
            decided.policy,
            at.now.at.0,
            state,
            reason.map(Reason::number),
            approval.and_then(|approval| approval.hold_expires_at).map(|at| at.0),
            (state == order_state::CAPTURED).then(|| yen(input.amount)),
            approval.map_or(at.now.month, |approval| approval.month).to_number(),
            approval.map_or(at.now.date, |approval| approval.due).to_number(),
            bits(approval.map_or(0, |approval| approval.points)),
            yen(decided.room),
            first.map(|first| bits(first.authorization.lsn.0)),
        ])?;
        Ok(())
    }

    fn tombstone(&mut self, at: At, key: &OrderKey) -> Result<(), LedgerError> {
        let id = AuthorizationId { part: Part::default(), lsn: at.lsn, random: 0 };
        self.run(
            TOMBSTONE,
            params![
                bits(at.lsn.0),
                id.to_string(),
                key.merchant.as_str(),
                key.order_id.as_str(),
                key_hash(key),
                Channel::InStore as u8,
                at.now.at.0,
                order_state::TOMBSTONE,
                at.now.month.to_number(),
                at.now.date.to_number(),
            ],
        )?;
        Ok(())
    }

    fn advice(&mut self, at: At, advised: &Advised) -> Result<(), LedgerError> {
        let decided = &advised.decided;
        self.decision(at, decided)?;
        let in_suspense = advised.booked.suspense().is_some();
        let by_code = matches!(&decided.input.payer, Payer::Code(scanned) if scanned.handle().is_some());
        let trial = (by_code && !in_suspense).then_some(PAID_BEFORE);
        // On its own, so that what we decide ourselves costs no column more.
        let mark = "UPDATE decision SET advice = ?2, trial = ?3 WHERE lsn = ?1";
        self.change("an order", mark, params![bits(at.lsn.0), advised.booked.number(), trial])?;
        if !in_suspense {
            return Ok(());
        }
        let known = advised.known.map(|ix| ix.0);
        let row = params![bits(at.lsn.0), known, yen(decided.input.amount), at.now.at.0];
        self.run("INSERT INTO suspense (order_lsn, customer, amount, recorded_at) VALUES (?1, ?2, ?3, ?4)", row)
            .map(drop)
    }

    fn suspense_cleared(&mut self, at: At, order: Lsn, amount: Yen) -> Result<(), LedgerError> {
        let clear = "UPDATE suspense SET cleared_lsn = ?2, cleared_at = ?3
            WHERE order_lsn = ?1 AND amount = ?4 AND cleared_lsn IS NULL";
        let row = params![bits(order.0), bits(at.lsn.0), at.now.at.0, yen(amount)];
        self.change("a sale in suspense", clear, row)?;
        self.cancelled(at, order)
    }

    fn suspense_settled(&mut self, at: At, settled: &SuspenseSettled) -> Result<(), LedgerError> {
        let order = settled.order.lsn;
        let (kind, counter) = match settled.end {
            SuspenseEnd::Charged(_) => (EntryKind::SuspenseCharged, Book::MerchantPayable),
            SuspenseEnd::Returned => (EntryKind::SuspenseReturned, Book::MerchantPayable),
            SuspenseEnd::Lost => (EntryKind::SuspenseLost, Book::SuspenseLosses),
        };
        let clear = "UPDATE suspense SET cleared_lsn = ?2, cleared_at = ?3, cleared_kind = ?5, cleared_counter = ?6
            WHERE order_lsn = ?1 AND amount = ?4 AND cleared_lsn IS NULL";
        let (lsn, at_ms) = (bits(at.lsn.0), at.now.at.0);
        let row = params![bits(order.0), lsn, at_ms, yen(settled.amount), kind as u8, counter as u8];
        self.change("a sale in suspense", clear, row)?;
        match &settled.end {
            SuspenseEnd::Charged(charged) => {
                // `customer` stays what the decision said: nobody was charged by it.
                let set = "UPDATE decision SET charged = ?2, advice = NULL WHERE lsn = ?1";
                self.change("an order", set, params![bits(order.0), charged.customer.0])?;
                self.captured(at, charged)
            }
            SuspenseEnd::Returned => self.cancelled(at, order),
            SuspenseEnd::Lost => self.set_state(at, order, order_state::LOST),
        }
    }

    fn order(&mut self, at: At, order: Lsn, change: OrderChange<'_>) -> Result<(), LedgerError> {
        match change {
            OrderChange::Cancelled => self.cancelled(at, order),
            OrderChange::Captured(captured) => self.captured(at, captured),
            OrderChange::Refunded(refund) => self.refunded(at, refund),
            OrderChange::Recalled { refunds_from } => {
                let sql = "UPDATE decision SET recalled = ?4, touched = ?2, touched_at = ?3 WHERE lsn = ?1";
                let row = params![bits(order.0), bits(at.lsn.0), at.now.at.0, bits(refunds_from.0)];
                self.change("an order", sql, row)
            }
        }
    }

    fn movement(&mut self, at: At, movement: &Movement) -> Result<(), LedgerError> {
        let (month, channel, order) = match movement.about {
            About::Purchase { order, channel, month } => (month.map(Month::to_number), Some(channel), bits(order.0)),
            About::Bill(BillKey::Month(month), channel) => (Some(month.to_number()), channel, 0),
            About::Bill(BillKey::Np(order), _) => (self.billed_in(order)?, Some(Channel::NpAtobarai), bits(order.0)),
            About::Nothing => (None, None, 0),
        };
        let money = movement.moved.map(|(money, _)| money.recorded(at.lsn));
        let far = movement.moved.map(|(_, far)| far_columns(far));
        let row = params![
            bits(at.lsn.0),
            movement.kind as u8,
            movement.customer.0,
            movement.account as u8,
            movement.counter as u8,
            movement.amount,
            month,
            channel.map_or(NO_CHANNEL, |channel| channel as u8),
            order,
            at.now.at.0,
            money.map(|money| bits(money.fact.0)),
            money.map(|money| money.day.0),
            far.map(|(number, _)| number),
            far.and_then(|(_, bill)| bill),
            movement.value_at.0,
        ];
        self.run(MOVEMENT, row).map(drop)
    }

    fn bill_issued(&mut self, at: At, customer: CustomerIx, charge: &Charge) -> Result<(), LedgerError> {
        let &Charge::Issued { month, method, due, fee, principal } = charge else { return Ok(()) };
        let (month, due) = (month.to_number(), due.to_number());
        let row = params![customer.0, month, method as u8, due, yen(fee), yen(principal), bits(at.lsn.0)];
        self.run("INSERT INTO bill VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)", row).map(drop)
    }

    fn ladder_step(&mut self, at: At, customer: CustomerIx, step: &LadderStep) -> Result<(), LedgerError> {
        let (lsn, recorded_at) = (bits(at.lsn.0), at.now.at.0);
        let row = params![lsn, customer.0, step.from, step.to, step.why as u8, step.policy, recorded_at];
        self.run("INSERT INTO ladder_step VALUES (NULL, ?1, ?2, ?3, ?4, ?5, ?6, ?7)", row).map(drop)
    }

    fn graded(&mut self, at: At, customer: CustomerIx, now: &Graded) -> Result<(), LedgerError> {
        let (total, in_store) = now.limits.map(|limits| (yen(limits.total), yen(limits.in_store))).unzip();
        let row = params![customer.0, bits(at.lsn.0), at.now.at.0, now.rung, total, in_store];
        self.run(
            "INSERT INTO grade
            SELECT ?1, ?2, ?3, ?4, ?5, ?6, NOT EXISTS (SELECT 1 FROM grade WHERE customer = ?1)",
            row,
        )
        .map(drop)
    }

    fn receipt(&mut self, at: At, event: &Event) -> Result<(), LedgerError> {
        let Some(key) = event.receipt_key() else { return Ok(()) };
        let mut bytes = Vec::new();
        codec::encode(event, &mut bytes).map_err(too_large)?;
        let about = event.reversal().map(|(repayment, _)| repayment).filter(|repayment| *repayment != key.id);
        let about = about.map(|about| about.to_string());
        let row = params![key.customer.0, key.kind as u8, key.id.as_str(), bits(at.lsn.0), at.now.at.0, bytes, about];
        self.run("INSERT OR REPLACE INTO receipt VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)", row).map(drop)
    }

    fn forget_stories(&mut self, today: Date, most: usize) -> Result<(), LedgerError> {
        self.drop_stories(today, most)
    }

    fn forget_codes(&mut self, now: Millis, records: usize) -> Result<(), LedgerError> {
        forget_codes(self.db, now, records)
    }
}

//! What each fact comes to in the tables: the same as `State::apply` does in memory, plus the movements.
//! It works from the fact and the tables alone.

use rusqlite::{CachedStatement, Connection, OptionalExtension, Params, params};

use super::codes::{CODE, trial};
use super::money::too_large;
use super::standing::Standings;
use super::stories::HeldAccounts;
use crate::domain::model::code::Form;
use crate::domain::model::denial::Reason;
use crate::domain::model::ids::{AuthorizationId, CustomerIx, Handle, Lsn, Part};
use crate::domain::model::money::Yen;
use crate::domain::model::order::{Order, fingerprint, part_of};
use crate::domain::model::purchase::{Channel, Purchase};
use crate::domain::model::request::{OrderKey, Payer};
use crate::domain::model::time::{Date, Millis, Month, Now};
use crate::domain::state::event::{Approval, Captured, Decided, Event, Outcome, Refunded, Undone};
use crate::journal::codec::applied_to_bytes;
use crate::ledger::{Book, EntryKind, LedgerError, Posting};

/// `decision.state`.
pub(crate) mod order_state {
    pub const TOMBSTONE: u8 = 1;
    pub const DENIED: u8 = 2;
    pub const HELD: u8 = 3;
    pub const CAPTURED: u8 = 4;
    pub const CANCELLED: u8 = 5;
}

const DECISION: &str = "INSERT INTO decision (lsn, authorization_id, merchant_id, order_id, key_hash, store_id,
    terminal_id, customer, channel, handle, trial, amount, fingerprint, policy, decided_at, state, reason,
    hold_expires_at, captured, month, due, points, room, first_lsn)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23,
    ?24)";

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

/// Who moves what: the parts that the entries of one fact share.
#[derive(Clone, Copy)]
struct About {
    lsn: Lsn,
    customer: CustomerIx,
    order: Lsn,
    channel: Channel,
    month: Month,
}

/// Posts the facts of one transaction. [`Poster::finish`] writes what was gathered by customer.
pub(crate) struct Poster<'c> {
    pub(crate) db: &'c Connection,
    pub(crate) now: Now,
    pub(crate) standings: Standings,
    pub(crate) held: HeldAccounts,
    decision: CachedStatement<'c>,
    pub(crate) code: CachedStatement<'c>,
}

impl<'c> Poster<'c> {
    pub(crate) fn new(db: &'c Connection) -> Result<Self, LedgerError> {
        Ok(Self {
            db,
            now: Now::at(Millis(0)),
            standings: Standings::default(),
            held: HeldAccounts::default(),
            decision: db.prepare_cached(DECISION)?,
            code: db.prepare_cached(CODE)?,
        })
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

    pub(crate) fn post(&mut self, posting: &Posting) -> Result<(), LedgerError> {
        if posting.time != self.now.at {
            self.now = Now::at(posting.time);
        }
        self.post_fact(posting)?;
        match (&posting.event, posting.event.moves_room()) {
            // It is in the row that the fact has just written.
            (Event::CustomerSet { .. }, _) | (_, None) => {}
            (_, Some(customer)) => self.touch(customer, posting.lsn),
        }
        Ok(())
    }

    fn post_fact(&mut self, posting: &Posting) -> Result<(), LedgerError> {
        let (lsn, at) = (posting.lsn, bits(posting.lsn.0));
        match &posting.event {
            Event::Opened { sandbox } => self.change("the position", "UPDATE posted SET sandbox = ?1", [sandbox]),
            Event::PolicySet { version, text } => {
                self.run("INSERT INTO policy VALUES (?1, ?2, ?3)", params![at, version, text]).map(drop)
            }
            Event::HolidaysSet { text } => {
                self.run("INSERT INTO holiday_file VALUES (?1, ?2)", params![at, text]).map(drop)
            }
            Event::MerchantSet(merchant) => self.merchant_set(merchant),
            Event::CustomerSet { ix, id, profile } => self.customer_set(*ix, id, profile, lsn),
            Event::CodeIssued(issued) => self.code_issued(issued, Form::L24, lsn),
            Event::Tok19Issued(issued) => self.code_issued(issued, Form::Tok19, lsn),
            Event::CodeVoided { handle } => self.code_voided(*handle, lsn),
            Event::Decided(decided) => self.decided(decided, lsn),
            Event::Advised(advised) => self.advised(advised, lsn),
            Event::SuspenseCleared { order, amount } => self.suspense_cleared(*order, *amount, lsn),
            Event::Tombstoned { key } => self.tombstoned(key, lsn),
            Event::Cancelled(undone) => {
                self.give_back(undone, lsn)?;
                let set = "UPDATE decision SET state = ?2, touched = ?3, touched_at = ?4 WHERE lsn = ?1";
                let order = bits(undone.order.0);
                self.change("an order", set, params![order, order_state::CANCELLED, at, self.now.at.0])
            }
            Event::HoldExpired(undone) => self.give_back(undone, lsn),
            Event::Captured(captured) => self.captured(captured, lsn),
            Event::Refunded(refund) => self.refunded(refund, lsn),
            Event::RecalledWhole(order) => self.recalled(order, Lsn(1), lsn),
            Event::Recalled { order, .. } => self.recalled(order, lsn, lsn),
            Event::Settled { cause, books } => self.settled(cause, books, &posting.event, lsn),
            Event::Noted { customer, note } => self.noted(*customer, note, &posting.event, lsn),
        }
    }

    pub(crate) fn decided(&mut self, decided: &Decided, lsn: Lsn) -> Result<(), LedgerError> {
        let input = &decided.input;
        let key = OrderKey { merchant: input.merchant, order_id: input.order_id };
        // A handle is drawn in its customer's part, so the payer tells the part as well as the account does.
        let id = AuthorizationId { part: part_of(input, None), lsn, random: decided.random };
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
            bits(lsn.0),
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
            self.now.at.0,
            state,
            reason.map(Reason::number),
            approval.and_then(|approval| approval.hold_expires_at).map(|at| at.0),
            (state == order_state::CAPTURED).then(|| yen(input.amount)),
            approval.map_or(self.now.month, |approval| approval.month).to_number(),
            approval.map_or(self.now.date, |approval| approval.due).to_number(),
            bits(approval.map_or(0, |approval| approval.points)),
            yen(decided.room),
            first.map(|first| bits(first.authorization.lsn.0)),
        ])?;
        match (approval, decided.customer) {
            (Some(approval), Some(customer)) => self.approved(customer, lsn, input.channel, input.amount, approval),
            _ => Ok(()),
        }
    }

    /// What the approval changes besides its own row, which is also its movement.
    fn approved(
        &mut self,
        customer: CustomerIx,
        lsn: Lsn,
        channel: Channel,
        amount: Yen,
        approval: &Approval,
    ) -> Result<(), LedgerError> {
        let Some(expires_at) = approval.hold_expires_at else {
            let purchase = Purchase { order: lsn, channel, amount, month: approval.month, at: self.now.at };
            return self.charge(customer, purchase, approval.due, lsn);
        };
        self.let_go(customer)?;
        let row = params![customer.0, bits(lsn.0), channel as u8, yen(amount), expires_at.0];
        self.run("INSERT INTO hold VALUES (?1, ?2, ?3, ?4, ?5)", row).map(drop)
    }

    fn tombstoned(&mut self, key: &OrderKey, lsn: Lsn) -> Result<(), LedgerError> {
        let id = AuthorizationId { part: Part::default(), lsn, random: 0 };
        let none: Option<i64> = None;
        self.decision.execute(params![
            bits(lsn.0),
            id.to_string(),
            key.merchant.as_str(),
            key.order_id.as_str(),
            key_hash(key),
            none,
            none,
            none,
            Channel::InStore as u8,
            none,
            none,
            0,
            0,
            none,
            self.now.at.0,
            order_state::TOMBSTONE,
            none,
            none,
            none,
            self.now.month.to_number(),
            self.now.date.to_number(),
            0,
            0,
            none,
        ])?;
        Ok(())
    }

    fn give_back(&mut self, undone: &Undone, lsn: Lsn) -> Result<(), LedgerError> {
        let &Undone { order, customer, channel, amount, was_hold, month, bought_at: _, points } = undone;
        let about = About { lsn, customer, order, channel, month };
        if was_hold {
            return self.release_hold(about);
        }
        self.discharge(customer, undone.purchase())?;
        self.count_purchase(customer, month, -1)?;
        self.movement(about, EntryKind::Cancel, -yen(amount))?;
        self.movement(about, EntryKind::PointsTakenBack, -bits(points))
    }

    /// Gives the room of a hold back, once: a hold that is not there any more moves nothing.
    fn release_hold(&mut self, about: About) -> Result<(), LedgerError> {
        self.let_go(about.customer)?;
        let sql = "DELETE FROM hold WHERE customer = ?1 AND order_lsn = ?2 RETURNING amount";
        let hold = params![about.customer.0, bits(about.order.0)];
        let released = self.db.prepare_cached(sql)?.query_row(hold, |row| row.get::<_, i64>(0)).optional()?;
        released.map_or(Ok(()), |amount| self.movement(about, EntryKind::HoldReleased, -amount))
    }

    fn captured(&mut self, captured: &Captured, lsn: Lsn) -> Result<(), LedgerError> {
        let &Captured { order, customer, channel, amount, released: _, month, due, points } = captured;
        let about = About { lsn, customer, order, channel, month };
        self.release_hold(about)?;
        self.charge(customer, Purchase { order, channel, amount, month, at: self.now.at }, due, lsn)?;
        self.movement(about, EntryKind::Capture, yen(amount))?;
        self.movement(about, EntryKind::PointsEarned, bits(points))?;
        let sql = "UPDATE decision SET state = ?2, captured = ?3, refunded = 0, capture_month = ?4, capture_due = ?5,
            capture_points = ?6, touched = ?7, touched_at = ?8, capture_at = ?8 WHERE lsn = ?1";
        let (order, lsn, state) = (bits(order.0), bits(lsn.0), order_state::CAPTURED);
        let (month, due) = (month.to_number(), due.to_number());
        let row = params![order, state, yen(amount), month, due, bits(points), lsn, self.now.at.0];
        self.change("an order", sql, row)
    }

    fn refunded(&mut self, refund: &Refunded, lsn: Lsn) -> Result<(), LedgerError> {
        let &Refunded { order, refund_id, customer, channel, amount, month, destination, points, .. } = refund;
        let about = About { lsn, customer, order, channel, month };
        let purchase = refund.purchase();
        if refund.books.is_empty() {
            self.discharge(customer, purchase)?;
        } else {
            self.move_money(&refund.books, Some(purchase.bill()), lsn)?;
            let now = self.now;
            self.rewrite(customer, &now, |account, spare| {
                account.settle(spare, &refund.books, Some(&purchase), &now);
            })?;
        }
        self.movement(about, EntryKind::Refund, -yen(amount))?;
        self.movement(about, EntryKind::PointsTakenBack, -bits(points))?;
        let (order, lsn, amount) = (bits(order.0), bits(lsn.0), yen(amount));
        let sql = "UPDATE decision SET refunded = refunded + ?2, touched = ?3, touched_at = ?4 WHERE lsn = ?1";
        self.change("an order", sql, params![order, amount, lsn, self.now.at.0])?;
        let (applied, restored) = (applied_to_bytes(&refund.applied()).map_err(too_large)?, yen(refund.restored()));
        let paid_at = refund.paid_at.map(|at| at.0);
        let row = params![order, lsn, refund_id.as_str(), amount, destination as u8, applied, restored, paid_at];
        let insert = "INSERT INTO refund SELECT ?1, ?2, ?3, ?4, captured - refunded, ?5, ?6, ?7, ?8 FROM decision
            WHERE lsn = ?1";
        self.run(insert, row).map(drop)
    }

    /// The order itself came from here. `from` is the first record whose refunds memory has since.
    fn recalled(&self, order: &Order, from: Lsn, lsn: Lsn) -> Result<(), LedgerError> {
        let sql = "UPDATE decision SET recalled = ?4, touched = ?2, touched_at = ?3 WHERE lsn = ?1";
        self.change("an order", sql, params![bits(order.id.lsn.0), bits(lsn.0), self.now.at.0, bits(from.0)])
    }

    /// Adds a captured purchase to what the customer owes.
    fn charge(&mut self, customer: CustomerIx, purchase: Purchase, due: Date, lsn: Lsn) -> Result<(), LedgerError> {
        self.count_purchase(customer, purchase.month, 1)?;
        if purchase.channel == Channel::NpAtobarai {
            let (order, lsn) = (bits(purchase.order.0), bits(lsn.0));
            let row = params![customer.0, order, lsn, due.to_number(), yen(purchase.amount)];
            return self.run("INSERT INTO np_bill VALUES (?1, ?2, ?3, ?4, ?5)", row).map(drop);
        }
        self.owe(customer, purchase, false)
    }

    /// Takes a part of a purchase off what the customer owes.
    fn discharge(&mut self, customer: CustomerIx, purchase: Purchase) -> Result<(), LedgerError> {
        if purchase.channel != Channel::NpAtobarai {
            return self.owe(customer, purchase, true);
        }
        self.let_go(customer)?;
        let np = params![customer.0, bits(purchase.order.0), yen(purchase.amount), self.now.date.to_number()];
        let take = "UPDATE np_bill SET unpaid = unpaid - ?3 WHERE customer = ?1 AND order_lsn = ?2 AND due >= ?4";
        if self.run(take, np)? > 0 {
            // The row goes when nothing is left.
            let tidy = "DELETE FROM np_bill WHERE customer = ?1 AND order_lsn = ?2 AND unpaid = 0";
            return self.run(tidy, params![customer.0, bits(purchase.order.0)]).map(drop);
        }
        // It has a story, or is late and gets one, or was paid long ago.
        let now = self.now;
        self.rewrite(customer, &now, |account, spare| account.discharge(spare, &purchase, &now))
    }

    /// One movement and its far side. Nothing moves nothing.
    fn movement(&mut self, about: About, kind: EntryKind, amount: i64) -> Result<(), LedgerError> {
        if amount == 0 {
            return Ok(());
        }
        let (account, counter, month) = match kind {
            EntryKind::Hold | EntryKind::HoldReleased => (Book::Exposure, Book::HeldRoom, None),
            EntryKind::PointsEarned | EntryKind::PointsTakenBack => {
                (Book::Points, Book::PointsGranted, Some(about.month))
            }
            _ => (Book::Exposure, Book::MerchantPayable, Some(about.month)),
        };
        let row = params![
            bits(about.lsn.0),
            kind as u8,
            about.customer.0,
            account as u8,
            counter as u8,
            amount,
            month.map(Month::to_number),
            about.channel as u8,
            bits(about.order.0),
            self.now.at.0,
        ];
        self.run("INSERT INTO movement VALUES (NULL, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)", row).map(drop)
    }
}

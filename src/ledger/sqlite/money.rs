//! Money against bills, in the tables. A customer with a story is read, changed by the same functions as in memory, and
//! written back: it is rare beside purchases, and so the two can't come apart.

use rusqlite::{OptionalExtension, params};

use super::post::{Poster, bits, yen};
use crate::domain::billing::notes::{Cause, Note};
use crate::domain::billing::settlement::{Charge, Pot, Settlement, Transfer};
use crate::domain::model::ids::{CustomerIx, Lsn};
use crate::domain::model::payment::{BillKey, Line};
use crate::domain::model::purchase::Channel;
use crate::domain::state::event::Event;
use crate::journal::{TooLarge, codec};
use crate::ledger::{Book, EntryKind, LedgerError};

/// One row of `movement`, but for what all rows of a fact share.
#[derive(Clone, Copy)]
struct Leg {
    kind: EntryKind,
    account: Book,
    counter: Book,
    amount: i64,
    bill: Option<BillKey>,
}

/// What the journal has recorded fits; anything else is a fault of ours.
pub(crate) fn too_large(error: TooLarge) -> LedgerError {
    LedgerError::Corrupt(error.to_string())
}

const fn book(line: Line) -> Book {
    match line {
        Line::Principal => Book::Exposure,
        Line::BillFee => Book::BillFee,
        Line::LateFees => Book::LateFee,
        Line::Damages => Book::Damages,
    }
}

impl Poster<'_> {
    pub(crate) fn settled(
        &mut self,
        cause: &Cause,
        books: &Settlement,
        event: &Event,
        lsn: Lsn,
    ) -> Result<(), LedgerError> {
        self.move_money(books, None, lsn)?;
        let now = self.now;
        self.rewrite(books.customer, &now, |account, spare| {
            account.end_news(cause);
            account.settle(spare, books, None, &now);
        })?;
        self.receipt(event, lsn)
    }

    pub(crate) fn noted(
        &mut self,
        customer: CustomerIx,
        note: &Note,
        event: &Event,
        lsn: Lsn,
    ) -> Result<(), LedgerError> {
        let now = self.now;
        self.rewrite(customer, &now, |account, spare| account.note(spare, note, now.date))?;
        self.receipt(event, lsn)
    }

    fn receipt(&self, event: &Event, lsn: Lsn) -> Result<(), LedgerError> {
        let Some(key) = event.receipt_key() else { return Ok(()) };
        let mut bytes = Vec::new();
        codec::encode(event, &mut bytes).map_err(too_large)?;
        let row = params![key.customer.0, key.kind as u8, key.id.as_str(), bits(lsn.0), self.now.at.0, bytes];
        self.run("INSERT OR REPLACE INTO receipt VALUES (?1, ?2, ?3, ?4, ?5, ?6)", row).map(drop)
    }

    /// The rows of charges and transfers. `refunded` is the bill whose purchase went back, if one did.
    pub(crate) fn move_money(
        &self,
        books: &Settlement,
        refunded: Option<BillKey>,
        lsn: Lsn,
    ) -> Result<(), LedgerError> {
        let customer = books.customer;
        for charge in &books.charges {
            if let Some(leg) = self.charged(customer, charge, lsn)? {
                self.leg(customer, leg, lsn)?;
            }
        }
        for transfer in &books.transfers {
            for leg in legs(transfer, refunded) {
                self.leg(customer, leg, lsn)?;
            }
        }
        for step in &books.steps {
            let row = params![bits(lsn.0), customer.0, step.from, step.to, step.why as u8, step.policy];
            self.run("INSERT INTO ladder_step VALUES (NULL, ?1, ?2, ?3, ?4, ?5, ?6)", row)?;
        }
        Ok(())
    }

    fn charged(&self, customer: CustomerIx, charge: &Charge, lsn: Lsn) -> Result<Option<Leg>, LedgerError> {
        let fee = |kind, account, amount: i64, bill| {
            Some(Leg { kind, account, counter: Book::FeeIncome, amount, bill: Some(bill) })
        };
        Ok(match *charge {
            Charge::Issued { month, method, due, fee: amount, principal } => {
                let (month_number, due) = (month.to_number(), due.to_number());
                let row =
                    params![customer.0, month_number, method as u8, due, yen(amount), yen(principal), bits(lsn.0)];
                self.run("INSERT INTO bill VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)", row)?;
                fee(EntryKind::BillFee, Book::BillFee, yen(amount), BillKey::Month(month))
            }
            Charge::BillFeeWaived { month, amount } => {
                fee(EntryKind::BillFeeWaived, Book::BillFee, -yen(amount), BillKey::Month(month))
            }
            Charge::LateFee { bill, amount, .. } => fee(EntryKind::LateFee, Book::LateFee, yen(amount), bill),
            Charge::LateFeeTakenBack { bill, amount, .. } => {
                fee(EntryKind::LateFeeTakenBack, Book::LateFee, -yen(amount), bill)
            }
            Charge::Damages { bill, amount } => fee(EntryKind::DamagesPosted, Book::Damages, yen(amount), bill),
        })
    }

    fn leg(&self, customer: CustomerIx, leg: Leg, lsn: Lsn) -> Result<(), LedgerError> {
        if leg.amount == 0 {
            return Ok(());
        }
        let (month, channel, order) = match leg.bill {
            Some(BillKey::Month(month)) => (Some(month.to_number()), Channel::InStore, 0),
            Some(BillKey::Np(order)) => (self.billed_in(order)?, Channel::NpAtobarai, bits(order.0)),
            None => (None, Channel::InStore, 0),
        };
        let (kind, account, counter) = (leg.kind as u8, leg.account as u8, leg.counter as u8);
        let (lsn, at) = (bits(lsn.0), self.now.at.0);
        let row = params![lsn, kind, customer.0, account, counter, leg.amount, month, channel as u8, order, at];
        self.run("INSERT INTO movement VALUES (NULL, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)", row).map(drop)
    }

    /// The month of an NP purchase.
    fn billed_in(&self, order: Lsn) -> Result<Option<u16>, LedgerError> {
        let sql = "SELECT coalesce(capture_month, month) FROM decision WHERE lsn = ?1";
        Ok(self.db.prepare_cached(sql)?.query_row([bits(order.0)], |row| row.get(0)).optional()?)
    }
}

/// A transfer is one row for each account of the customer's that it touches.
fn legs(transfer: &Transfer, refunded: Option<BillKey>) -> impl Iterator<Item = Leg> {
    let Transfer { from, to, amount, at: _ } = *transfer;
    let amount = yen(amount);
    // Money for a purchase whose bill was paid long ago: it had been put on that bill.
    let from = match (from, refunded) {
        (Pot::Refund, Some(bill)) => Pot::Bill { bill, line: Line::Principal },
        (from, _) => from,
    };
    let kind = match (from, to) {
        (Pot::Received, _) => EntryKind::Repayment,
        (Pot::Credit, Pot::Bill { .. }) => EntryKind::CreditApplied,
        (_, Pot::Payout) => EntryKind::Payout,
        _ => EntryKind::Moved,
    };
    let far = |pot: Pot| match pot {
        Pot::Received | Pot::Payout => Book::Cash,
        Pot::Refund => Book::MerchantPayable,
        Pot::Bill { .. } | Pot::Credit => Book::Clearing,
    };
    let out = match from {
        Pot::Bill { bill, line } => Some(Leg { kind, account: book(line), counter: far(to), amount, bill: Some(bill) }),
        Pot::Credit => Some(Leg { kind, account: Book::Credit, counter: far(to), amount: -amount, bill: None }),
        Pot::Received | Pot::Refund | Pot::Payout => None,
    };
    let into = match to {
        Pot::Bill { bill, line } => {
            Some(Leg { kind, account: book(line), counter: far(from), amount: -amount, bill: Some(bill) })
        }
        Pot::Credit => Some(Leg { kind, account: Book::Credit, counter: far(from), amount, bill: None }),
        Pot::Received | Pot::Refund | Pot::Payout => None,
    };
    out.into_iter().chain(into)
}

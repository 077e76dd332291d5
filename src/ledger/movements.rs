//! Facts as movements of the books: what each moves, from which account to which.

use smallvec::{SmallVec, smallvec};

use super::{Book, EntryKind, Far};
use crate::domain::billing::account::Account;
use crate::domain::billing::settlement::{Charge, Place, Settlement, Transfer};
use crate::domain::billing::sums::Money;
use crate::domain::model::customer::Status;
use crate::domain::model::ids::{CustomerIx, Lsn};
use crate::domain::model::money::Yen;
use crate::domain::model::payment::{BillKey, Line};
use crate::domain::model::purchase::Channel;
use crate::domain::model::time::Month;
use crate::domain::state::event::{Captured, Event, Refunded, Undone};

/// One movement of a customer's books, with its far side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Movement {
    pub customer: CustomerIx,
    pub kind: EntryKind,
    pub account: Book,
    /// Where the same amount goes or comes from, so that all accounts together sum to zero.
    pub counter: Book,
    /// Added to `account`: yen, or points.
    pub amount: i64,
    pub about: About,
    /// The money that makes it, and the other end.
    pub moved: Option<(Money, Far)>,
}

/// What a movement is about, and with it the month whose statement it is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// A purchase, on this month's statement; on none while it is a hold.
    Purchase { order: Lsn, channel: Channel, month: Option<Month> },
    /// The bill of a month, or of an NP purchase, which is in the month of that purchase.
    Bill(BillKey),
    /// Credit, which is on no statement.
    Nothing,
}

pub type Movements = SmallVec<[Movement; 4]>;

/// Bit for bit: no amount comes near the half of its range.
fn yen(amount: Yen) -> i64 {
    amount.get().cast_signed()
}

/// What a fact moves, in order; `before` finds the account that it changes, as it was. An approval moves nothing here: the
/// row of its decision is its movement.
pub fn movements<'a>(event: &Event, before: impl FnOnce(CustomerIx) -> Option<&'a Account>) -> Movements {
    let mut all = match event {
        Event::Cancelled(undone) | Event::HoldExpired(undone) => given_back(undone, before(undone.customer)),
        Event::CancelledPaid { undone, books } => {
            let mut all = settled(books, None);
            all.extend(given_back(undone, None));
            all
        }
        Event::Captured(captured) => captured_moves(captured, before(captured.customer)),
        // Its other half is the suspense's own, which no customer need be known for.
        Event::SuspenseSettled(settled) => {
            settled.end.charged().map_or_else(Movements::new, |charged| captured_moves(charged, None))
        }
        Event::Refunded(refund) => refunded(refund),
        Event::CustomerSet { ix, profile, .. } if profile.status == Status::Closed => closed(*ix, before(*ix)),
        Event::Settled { books, .. } => settled(books, None),
        _ => Movements::new(),
    };
    all.retain(|movement| movement.amount != 0);
    all
}

/// The credit of a closed customer is owed in cash.
fn closed(customer: CustomerIx, before: Option<&Account>) -> Movements {
    let amount = yen(before.map_or(Yen::ZERO, Account::credit));
    let leg = |account, amount| Movement {
        customer,
        kind: EntryKind::PayoutDue,
        account,
        counter: Book::Clearing,
        amount,
        about: About::Nothing,
        moved: None,
    };
    smallvec![leg(Book::Credit, -amount), leg(Book::PayoutDue, amount)]
}

fn given_back(undone: &Undone, before: Option<&Account>) -> Movements {
    let &Undone { order, customer, channel, amount, was_hold, month, points, .. } = undone;
    if was_hold {
        return released(customer, order, channel, before).into_iter().collect();
    }
    smallvec![
        of_purchase(customer, EntryKind::Cancel, -yen(amount), (order, channel, month)),
        of_purchase(customer, EntryKind::PointsTakenBack, -points.cast_signed(), (order, channel, month)),
    ]
}

/// The room of a hold comes back once: one that is not there any more moves nothing.
fn released(customer: CustomerIx, order: Lsn, channel: Channel, before: Option<&Account>) -> Option<Movement> {
    let hold = before?.holds().iter().find(|hold| hold.order == order)?;
    Some(Movement {
        customer,
        kind: EntryKind::HoldReleased,
        account: Book::Exposure,
        counter: Book::HeldRoom,
        amount: -yen(hold.amount),
        about: About::Purchase { order, channel, month: None },
        moved: None,
    })
}

fn captured_moves(captured: &Captured, before: Option<&Account>) -> Movements {
    let &Captured { order, customer, channel, amount, month, points, .. } = captured;
    let mut all: Movements = released(customer, order, channel, before).into_iter().collect();
    all.push(of_purchase(customer, EntryKind::Capture, yen(amount), (order, channel, month)));
    all.push(of_purchase(customer, EntryKind::PointsEarned, points.cast_signed(), (order, channel, month)));
    all
}

fn refunded(refund: &Refunded) -> Movements {
    let &Refunded { order, customer, channel, amount, month, points, .. } = refund;
    let mut all = settled(&refund.books, Some(refund.purchase().bill()));
    all.push(of_purchase(customer, EntryKind::Refund, -yen(amount), (order, channel, month)));
    all.push(of_purchase(customer, EntryKind::PointsTakenBack, -points.cast_signed(), (order, channel, month)));
    all
}

fn of_purchase(
    customer: CustomerIx,
    kind: EntryKind,
    amount: i64,
    (order, channel, month): (Lsn, Channel, Month),
) -> Movement {
    let (account, counter) = match kind {
        EntryKind::PointsEarned | EntryKind::PointsTakenBack => (Book::Points, Book::PointsGranted),
        _ => (Book::Exposure, Book::MerchantPayable),
    };
    let about = About::Purchase { order, channel, month: Some(month) };
    Movement { customer, kind, account, counter, amount, about, moved: None }
}

/// Charges and transfers. `refunded` is the bill whose purchase went back, if one did.
fn settled(books: &Settlement, refunded: Option<BillKey>) -> Movements {
    let charges = books.charges.iter().map(|charge| charged(books.customer, charge));
    let legs = books.transfers.iter().flat_map(|transfer| legs(books.customer, transfer, refunded));
    charges.chain(legs).collect()
}

fn charged(customer: CustomerIx, charge: &Charge) -> Movement {
    let (kind, account, amount, bill) = match *charge {
        Charge::Issued { month, fee, .. } => (EntryKind::BillFee, Book::BillFee, yen(fee), BillKey::Month(month)),
        Charge::BillFeeWaived { month, amount } => {
            (EntryKind::BillFeeWaived, Book::BillFee, -yen(amount), BillKey::Month(month))
        }
        Charge::LateFee { bill, amount, .. } => (EntryKind::LateFee, Book::LateFee, yen(amount), bill),
        Charge::LateFeeTakenBack { bill, amount, .. } => {
            (EntryKind::LateFeeTakenBack, Book::LateFee, -yen(amount), bill)
        }
        Charge::Damages { bill, amount } => (EntryKind::DamagesPosted, Book::Damages, yen(amount), bill),
        Charge::DamagesTakenBack { bill, amount, .. } => {
            (EntryKind::DamagesTakenBack, Book::Damages, -yen(amount), bill)
        }
    };
    Movement { customer, kind, account, counter: Book::FeeIncome, amount, about: About::Bill(bill), moved: None }
}

const fn book(line: Line) -> Book {
    match line {
        Line::Principal => Book::Exposure,
        Line::BillFee => Book::BillFee,
        Line::LateFees => Book::LateFee,
        Line::Damages => Book::Damages,
    }
}

/// A transfer is one movement for each account of the customer's that it touches.
fn legs(customer: CustomerIx, transfer: &Transfer, refunded: Option<BillKey>) -> impl Iterator<Item = Movement> {
    let Transfer { money, from, to, amount } = *transfer;
    let amount = yen(amount);
    // Money for a purchase whose bill was paid long ago: it had been put on that bill.
    let from = match (from, refunded) {
        (Place::Refund, Some(bill)) => Place::Freed { bill, line: Line::Principal, at: money.day },
        (from, _) => from,
    };
    let kind = match (from, to) {
        (Place::Received, _) => EntryKind::Repayment,
        (Place::Credit | Place::PayoutDue, Place::Line { .. }) => EntryKind::CreditApplied,
        (_, Place::PaidOut { .. }) => EntryKind::Payout,
        (Place::Credit, Place::PayoutDue) => EntryKind::PayoutDue,
        _ => EntryKind::Moved,
    };
    let leg = |place: Place, far: Place, amount: i64| {
        let counter = match far {
            Place::Received | Place::PaidOut { .. } => Book::Cash,
            Place::Refund => Book::MerchantPayable,
            Place::Line { .. } | Place::Freed { .. } | Place::Credit | Place::PayoutDue => Book::Clearing,
        };
        let (account, amount, about) = match place {
            // What lies on a line lowers what is owed there.
            Place::Line { bill, line, .. } | Place::Freed { bill, line, .. } => {
                (book(line), -amount, About::Bill(bill))
            }
            Place::Credit => (Book::Credit, amount, About::Nothing),
            Place::PayoutDue => (Book::PayoutDue, amount, About::Nothing),
            Place::Received | Place::Refund | Place::PaidOut { .. } => return None,
        };
        Some(Movement { customer, kind, account, counter, amount, about, moved: Some((money, far.into())) })
    };
    leg(from, to, -amount).into_iter().chain(leg(to, from, amount))
}

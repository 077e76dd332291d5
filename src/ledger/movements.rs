//! Facts as movements of the books: what each moves, from which account to which.

use smallvec::{SmallVec, smallvec};

use super::{Book, EntryKind, Far};
use crate::domain::billing::account::Account;
use crate::domain::billing::adjustments::Adjusted;
use crate::domain::billing::bill::Bill;
use crate::domain::billing::settlement::{Charge, Place, Settlement, Transfer};
use crate::domain::billing::sums::Money;
use crate::domain::model::customer::Status;
use crate::domain::model::ids::{CustomerIx, Lsn};
use crate::domain::model::money::Yen;
use crate::domain::model::payment::{BillKey, Line};
use crate::domain::model::purchase::Channel;
use crate::domain::model::time::{Millis, Month};
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
            let mut all = settled(books, None, before(undone.customer));
            all.extend(given_back(undone, None));
            all
        }
        Event::Captured(captured) => captured_moves(captured, before(captured.customer)),
        // Its other half is the suspense's own, which no customer need be known for.
        Event::SuspenseSettled(settled) => {
            settled.end.charged().map_or_else(Movements::new, |charged| captured_moves(charged, None))
        }
        Event::Refunded(refund) => refunded(refund, before(refund.customer)),
        Event::CustomerSet { ix, profile, .. } if profile.status == Status::Closed => closed(*ix, before(*ix)),
        Event::Settled { books, .. } => settled(books, None, before(books.customer)),
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

fn refunded(refund: &Refunded, before: Option<&Account>) -> Movements {
    let &Refunded { order, customer, channel, amount, month, points, .. } = refund;
    let mut all = settled(&refund.books, Some((refund.purchase().bill(), amount)), before);
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

/// Charges and transfers. `refunded` is the bill whose purchase went back, if one did, with how much of it.
fn settled(books: &Settlement, refunded: Option<(BillKey, Yen)>, before: Option<&Account>) -> Movements {
    let customer = books.customer;
    let charges = books.charges.iter().filter_map(|charge| charged(customer, charge));
    let legs = books.transfers.iter().flat_map(|transfer| legs(customer, transfer, refunded.map(|(bill, _)| bill)));
    let mut all: Movements = charges.chain(legs).collect();
    all.extend(before.into_iter().flat_map(|before| given_up(books, refunded, before)));
    all
}

fn of_bill(
    customer: CustomerIx,
    kind: EntryKind,
    (account, counter): (Book, Book),
    amount: i64,
    bill: BillKey,
) -> Movement {
    Movement { customer, kind, account, counter, amount, about: About::Bill(bill), moved: None }
}

/// The charge itself; what staff gives up or releases is worked out from what is open: see [`given_up`].
fn charged(customer: CustomerIx, charge: &Charge) -> Option<Movement> {
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
        Charge::Adjusted { bill, what } => match what {
            Adjusted::BillFeeWaived(amount) => (EntryKind::BillFeeWaived, Book::BillFee, -yen(amount), bill),
            Adjusted::LateFeeWaived(late) => (EntryKind::LateFeeWaived, Book::LateFee, -yen(late.amount), bill),
            Adjusted::DamagesReversed(posted) => (EntryKind::DamagesReversed, Book::Damages, -yen(posted.amount), bill),
            Adjusted::WrittenOff | Adjusted::Released | Adjusted::CreditApplied(_) => return None,
        },
        Charge::Released { .. } => return None,
    };
    Some(of_bill(customer, kind, (account, Book::FeeIncome), amount, bill))
}

/// What is given up of bills: all that is open of one when it is written off, and from then on what is charged on it and
/// what money comes. What is released is owed no longer.
fn given_up(books: &Settlement, refunded: Option<(BillKey, Yen)>, before: &Account) -> Movements {
    let mut all = Movements::new();
    let is_written_off = |key| {
        let is_it =
            |charge: &Charge| matches!(charge, Charge::Adjusted { bill, what: Adjusted::WrittenOff } if *bill == key);
        books.charges.iter().any(is_it)
    };
    let mut keys: Vec<BillKey> = books.bills().into_iter().chain(refunded.map(|(bill, _)| bill)).collect();
    keys.sort_unstable();
    keys.dedup();
    for key in keys {
        let bill = before.listed_bill(key);
        let was = bill.is_some_and(|bill| bill.written_off_at(Millis(i64::MAX)).is_some());
        if !was && !is_written_off(key) {
            continue;
        }
        let mut change = if was { 0 } else { bill.map_or(0, |bill| yen(bill.open_as_posted())) };
        let charged = books.charges.iter().filter_map(|charge| charged(books.customer, charge));
        let on_it = |movement: &Movement| movement.about == About::Bill(key);
        change += charged.filter(on_it).map(|movement| movement.amount).sum::<i64>();
        let legs = books.transfers.iter().flat_map(|transfer| legs(books.customer, transfer, None));
        change += legs.filter(on_it).map(|movement| movement.amount).sum::<i64>();
        change -= refunded.filter(|(bill, _)| *bill == key).map_or(0, |(_, amount)| yen(amount));
        let kind = if change < 0 { EntryKind::Recovered } else { EntryKind::WrittenOff };
        all.push(of_bill(books.customer, kind, (Book::WrittenOff, Book::Loss), change, key));
        for charge in &books.charges {
            let Charge::Released { bill: of, release, lines, .. } = *charge else { continue };
            let released =
                |bill: &Bill| bill.changes.released().find(|old| old.money.fact == release).map(|old| old.lines);
            let before = bill.filter(|_| of == key).and_then(released).unwrap_or_default();
            let mut total = 0;
            for line in Line::ALL.into_iter().filter(|_| of == key) {
                let amount = yen(before.get(line)) - yen(lines.get(line));
                total += amount;
                all.push(of_bill(books.customer, EntryKind::Released, (book(line), Book::Clearing), amount, key));
            }
            all.push(of_bill(books.customer, EntryKind::Released, (Book::WrittenOff, Book::Clearing), total, key));
        }
    }
    all
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
        (Place::Bounced { .. }, _) => EntryKind::Bounced,
        (_, Place::Reversed { .. }) => EntryKind::Reversal,
        (Place::Credit, Place::PayoutDue) => EntryKind::PayoutDue,
        _ => EntryKind::Moved,
    };
    let leg = |place: Place, far: Place, amount: i64| {
        let counter = match far {
            Place::Received | Place::PaidOut { .. } | Place::Reversed { .. } | Place::Bounced { .. } => Book::Cash,
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
            Place::Received
            | Place::Refund
            | Place::PaidOut { .. }
            | Place::Reversed { .. }
            | Place::Bounced { .. } => return None,
        };
        Some(Movement { customer, kind, account, counter, amount, about, moved: Some((money, far.into())) })
    };
    leg(from, to, -amount).into_iter().chain(leg(to, from, amount))
}

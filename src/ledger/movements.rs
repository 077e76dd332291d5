//! Facts as movements of the books: what each moves, from which account to which.

use smallvec::SmallVec;

use super::{Book, EntryKind, Far};
use crate::domain::billing::account::{Account, Hold};
use crate::domain::billing::adjustments::Adjusted;
use crate::domain::billing::notes::Cause;
use crate::domain::billing::settlement::{Charge, Place, Settlement, Transfer};
use crate::domain::billing::sums::Money;
use crate::domain::model::customer::Status;
use crate::domain::model::ids::{CustomerIx, Lsn};
use crate::domain::model::money::Yen;
use crate::domain::model::payment::{BillKey, Line};
use crate::domain::model::purchase::Channel;
use crate::domain::model::time::{Millis, Month, Now};
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
    /// From when it counts.
    pub value_at: Millis,
    /// The money that makes it, and the other end.
    pub moved: Option<(Money, Far)>,
}

/// What a movement is about, and with it the month whose statement it is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// A purchase, on this month's statement; on none while it is a hold.
    Purchase { order: Lsn, channel: Channel, month: Option<Month> },
    /// The bill of a month, or of an NP purchase, which is in the month of that purchase; and of its principal through which
    /// channel it was bought.
    Bill(BillKey, Option<Channel>),
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
pub fn movements<'a>(event: &Event, now: &Now, before: impl FnOnce(CustomerIx) -> Option<&'a Account>) -> Movements {
    let mut all = match event {
        Event::Cancelled(undone) => {
            given_back(undone, &Settlement::nothing(undone.customer), now.at, before(undone.customer))
        }
        Event::HoldExpired(undone) => ran_out(undone, before(undone.customer)).into_iter().collect(),
        Event::CancelledPaid { undone, books } => given_back(undone, books, now.at, before(undone.customer)),
        Event::Captured(captured) => captured_moves(captured, now.at, before(captured.customer)),
        // Its other half is the suspense's own, which no customer need be known for.
        Event::SuspenseSettled(settled) => {
            settled.end.charged().map_or_else(Movements::new, |charged| captured_moves(charged, now.at, None))
        }
        Event::Refunded(refund) => refunded(refund, now, before(refund.customer)),
        Event::CustomerSet { ix, profile, .. } if profile.status == Status::Closed => {
            closed(*ix, (event, now), before(*ix))
        }
        Event::Settled { cause, books } => {
            let has_bounced = matches!(cause, Cause::Bounced { .. });
            settled(books, &Then { has_bounced, ..Then::of(now.at, before(books.customer)) })
        }
        _ => Movements::new(),
    };
    all.retain(|movement| movement.amount != 0);
    all
}

/// What the movements of a settlement are told by, beside itself.
struct Then<'a> {
    now: Millis,
    /// From when the purchase is smaller that comes with it, if one does.
    since: Millis,
    before: Option<&'a Account>,
    /// The bill whose purchase goes back, and how much of it.
    back: Option<(BillKey, Yen)>,
    /// The bank sent a payout back: that counts from now, though the payout stands where it was made.
    has_bounced: bool,
}

impl<'a> Then<'a> {
    const fn of(now: Millis, before: Option<&'a Account>) -> Self {
        Self { now, since: now, before, back: None, has_bounced: false }
    }

    /// From when an end of a transfer counts, where it says so itself.
    const fn starts(&self, place: Place) -> Option<Millis> {
        match place {
            Place::Freed { at, .. }
            | Place::Line { at, .. }
            | Place::Reversed { at, .. }
            | Place::Bounced { at, .. } => Some(at),
            Place::PaidOut { at, .. } if !self.has_bounced => Some(at),
            _ => None,
        }
    }

    /// From when money counts at one end of a transfer.
    fn value_at(&self, place: Place, far: Place, money: Money) -> Millis {
        let came = matches!(far, Place::Received | Place::Refund).then_some(money.day);
        self.starts(place).or_else(|| self.starts(far)).or(came).unwrap_or(self.now)
    }

    /// When damages were posted that are taken back.
    fn posted_at(&self, bill: BillKey, posted: Lsn) -> Millis {
        let bill = self.before.and_then(|account| account.listed_bill(bill));
        let found = bill.and_then(|bill| bill.damages.iter().find(|damages| damages.fact == posted));
        found.map_or(self.now, |damages| damages.at)
    }
}

/// What a customer has to spare whose account is closed now is owed in cash.
fn closed(customer: CustomerIx, (event, now): (&Event, &Now), before: Option<&Account>) -> Movements {
    let Some(before) = before else { return Movements::new() };
    let mut after = before.clone();
    after.apply(event, Lsn(0), now);
    let was_due = |money: Money| before.sums().iter().find(|sum| sum.money == money).map_or(Yen::ZERO, |sum| sum.due);
    let then = Then::of(now.at, Some(before));
    let transfers = after.sums().iter().map(|sum| Transfer {
        money: sum.money,
        from: Place::Credit,
        to: Place::PayoutDue,
        amount: sum.due.minus_or_zero(was_due(sum.money)),
    });
    transfers.flat_map(|transfer| legs(customer, &transfer, &then).into_iter().flatten()).collect()
}

fn given_back(undone: &Undone, books: &Settlement, now: Millis, before: Option<&Account>) -> Movements {
    let &Undone { order, customer, channel, amount, was_hold, month, bought_at, points } = undone;
    if was_hold {
        return released(customer, order, channel, before, |_| now).into_iter().collect();
    }
    // It is as if it had never been bought.
    let back = Some((undone.purchase().bill(), amount));
    let mut all = settled(books, &Then { since: bought_at, back, ..Then::of(now, before) });
    let of = |kind, amount| of_purchase(customer, (kind, amount), (order, channel, month), bought_at);
    all.push(of(EntryKind::Cancel, -yen(amount)));
    all.push(of(EntryKind::PointsTakenBack, -points.cast_signed()));
    all
}

/// The room came back when the hold's time was over, whenever that was recorded.
fn ran_out(undone: &Undone, before: Option<&Account>) -> Option<Movement> {
    released(undone.customer, undone.order, undone.channel, before, |hold| hold.expires_at)
}

/// The room of a hold comes back once: one that is not there any more moves nothing.
fn released(
    customer: CustomerIx,
    order: Lsn,
    channel: Channel,
    before: Option<&Account>,
    value_at: impl FnOnce(&Hold) -> Millis,
) -> Option<Movement> {
    let hold = before?.holds().iter().find(|hold| hold.order == order)?;
    Some(Movement {
        customer,
        kind: EntryKind::HoldReleased,
        account: Book::Exposure,
        counter: Book::HeldRoom,
        amount: -yen(hold.amount),
        about: About::Purchase { order, channel, month: None },
        value_at: value_at(hold),
        moved: None,
    })
}

fn captured_moves(captured: &Captured, now: Millis, before: Option<&Account>) -> Movements {
    let &Captured { order, customer, channel, amount, month, points, .. } = captured;
    let of = |kind, amount| of_purchase(customer, (kind, amount), (order, channel, month), now);
    let mut all: Movements = released(customer, order, channel, before, |_| now).into_iter().collect();
    all.push(of(EntryKind::Capture, yen(amount)));
    all.push(of(EntryKind::PointsEarned, points.cast_signed()));
    all
}

fn refunded(refund: &Refunded, now: &Now, before: Option<&Account>) -> Movements {
    let &Refunded { order, customer, channel, amount, month, points, .. } = refund;
    let since = refund.counts_from(now);
    let mut all = settled(
        &refund.books,
        &Then { since, back: Some((refund.purchase().bill(), amount)), ..Then::of(now.at, before) },
    );
    let of = |kind, amount| of_purchase(customer, (kind, amount), (order, channel, month), since);
    all.push(of(EntryKind::Refund, -yen(amount)));
    all.push(of(EntryKind::PointsTakenBack, -points.cast_signed()));
    all
}

fn of_purchase(
    customer: CustomerIx,
    (kind, amount): (EntryKind, i64),
    (order, channel, month): (Lsn, Channel, Month),
    value_at: Millis,
) -> Movement {
    let (account, counter) = match kind {
        EntryKind::PointsEarned | EntryKind::PointsTakenBack => (Book::Points, Book::PointsGranted),
        _ => (Book::Exposure, Book::MerchantPayable),
    };
    let about = About::Purchase { order, channel, month: Some(month) };
    Movement { customer, kind, account, counter, amount, about, value_at, moved: None }
}

/// Charges and transfers.
fn settled(books: &Settlement, then: &Then<'_>) -> Movements {
    let charges = books.charges.iter().filter_map(|charge| charged(books.customer, charge, then));
    let legs = books.transfers.iter().flat_map(|transfer| legs(books.customer, transfer, then).into_iter().flatten());
    let mut all: Movements = charges.chain(legs).collect();
    let given_up = given_up(books, &all, then);
    all.extend(given_up);
    all
}

/// What is given up of bills: all that is open of one when it is written off, and from then on what is charged on it and
/// what money comes. What is released is owed no longer. `all` is what else the settlement moves.
fn given_up(books: &Settlement, all: &[Movement], then: &Then<'_>) -> Movements {
    let mut given_up = Movements::new();
    let is_written_off = |key| {
        let is_it =
            |charge: &Charge| matches!(charge, Charge::Adjusted { bill, what: Adjusted::WrittenOff } if *bill == key);
        books.charges.iter().any(is_it)
    };
    let mut keys: Vec<BillKey> = books.bills().into_iter().chain(then.back.map(|(bill, _)| bill)).collect();
    keys.sort_unstable();
    keys.dedup();
    let of = |kind, (account, counter), amount, key| Movement {
        customer: books.customer,
        kind,
        account,
        counter,
        amount,
        about: About::Bill(key, None),
        value_at: then.now,
        moved: None,
    };
    for key in keys {
        // A month that is issued with this very fact may be one sum until now.
        let bill = then.before.and_then(|account| account.bill(key));
        let was = bill.as_ref().is_some_and(|bill| bill.written_off_at(Millis(i64::MAX)).is_some());
        if !was && !is_written_off(key) {
            continue;
        }
        let open = if was { 0 } else { bill.as_ref().map_or(0, |bill| yen(bill.open_as_posted())) };
        let on_it = |is_money: bool| {
            let of_bill = all.iter().filter(|movement| movement.about == About::Bill(key, None));
            of_bill.filter(|movement| movement.moved.is_some() == is_money).map(|movement| movement.amount).sum::<i64>()
        };
        let back = then.back.filter(|(bill, _)| *bill == key).map_or(0, |(_, amount)| yen(amount));
        // What is charged less, or was never bought, was not recovered: less of it is given up.
        given_up.push(of(EntryKind::WrittenOff, (Book::WrittenOff, Book::Loss), open + on_it(false) - back, key));
        given_up.push(of(EntryKind::Recovered, (Book::WrittenOff, Book::Loss), on_it(true), key));
        for charge in &books.charges {
            let Charge::Released { bill: released, release, lines, .. } = *charge else { continue };
            if released != key {
                continue;
            }
            let old = bill.as_ref().and_then(|bill| bill.changes.released().find(|old| old.money.fact == release));
            let old = old.map(|old| old.lines).unwrap_or_default();
            let mut total = 0;
            for line in Line::ALL {
                let amount = yen(old.get(line)) - yen(lines.get(line));
                total += amount;
                given_up.push(of(EntryKind::Released, (book(line), Book::Clearing), amount, key));
            }
            given_up.push(of(EntryKind::Released, (Book::WrittenOff, Book::Clearing), total, key));
        }
    }
    given_up
}

/// The charge itself; what staff gives up or releases is worked out from what is open: see [`given_up`].
fn charged(customer: CustomerIx, charge: &Charge, then: &Then<'_>) -> Option<Movement> {
    use EntryKind as Kind;
    let issued = |month: Month| month.next().day(1).start();
    let (kind, account, amount, bill, value_at) = match *charge {
        Charge::Issued { month, fee, .. } => {
            (Kind::BillFee, Book::BillFee, yen(fee), BillKey::Month(month), issued(month))
        }
        Charge::BillFeeWaived { month, amount } => {
            let since = then.since.max(issued(month));
            (Kind::BillFeeWaived, Book::BillFee, -yen(amount), BillKey::Month(month), since)
        }
        Charge::LateFee { bill, date, amount } => (Kind::LateFee, Book::LateFee, yen(amount), bill, date.start()),
        Charge::LateFeeTakenBack { bill, date, amount } => {
            (Kind::LateFeeTakenBack, Book::LateFee, -yen(amount), bill, date.start())
        }
        Charge::Damages { bill, amount } => (Kind::DamagesPosted, Book::Damages, yen(amount), bill, then.now),
        Charge::DamagesTakenBack { bill, posted, amount } => {
            (Kind::DamagesTakenBack, Book::Damages, -yen(amount), bill, then.posted_at(bill, posted))
        }
        Charge::Adjusted { bill, what } => match what {
            Adjusted::BillFeeWaived(amount) => (Kind::BillFeeWaived, Book::BillFee, -yen(amount), bill, then.now),
            Adjusted::LateFeeWaived(late) => (Kind::LateFeeWaived, Book::LateFee, -yen(late.amount), bill, then.now),
            Adjusted::DamagesReversed(posted) => {
                (Kind::DamagesReversed, Book::Damages, -yen(posted.amount), bill, then.now)
            }
            Adjusted::WrittenOff | Adjusted::Released | Adjusted::CreditApplied(_) => return None,
        },
        Charge::Released { .. } => return None,
    };
    let about = About::Bill(bill, None);
    Some(Movement { customer, kind, account, counter: Book::FeeIncome, amount, about, value_at, moved: None })
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
fn legs(customer: CustomerIx, transfer: &Transfer, then: &Then<'_>) -> [Option<Movement>; 2] {
    let Transfer { money, from, to, amount } = *transfer;
    let amount = yen(amount);
    // Money for a purchase whose bill was paid long ago: it had been put on that bill.
    let from = match (from, then.back) {
        (Place::Refund, Some((bill, _))) => Place::Freed { bill, line: Line::Principal, at: money.day },
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
                (book(line), -amount, About::Bill(bill, None))
            }
            Place::Credit => (Book::Credit, amount, About::Nothing),
            Place::PayoutDue => (Book::PayoutDue, amount, About::Nothing),
            Place::Received
            | Place::Refund
            | Place::PaidOut { .. }
            | Place::Reversed { .. }
            | Place::Bounced { .. } => return None,
        };
        let value_at = then.value_at(place, far, money);
        Some(Movement { customer, kind, account, counter, amount, about, value_at, moved: Some((money, far.into())) })
    };
    [leg(from, to, -amount), leg(to, from, amount)]
}

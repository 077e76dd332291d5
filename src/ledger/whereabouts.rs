//! Where the money of a customer's payments lies, by what the ledger has of it.

use super::{Book, CustomerPast, Entry, Far};
use crate::domain::billing::notes::Cause;
use crate::domain::billing::settlement::Transfer;
use crate::domain::billing::whereabouts::{Came, Spot, Step, Whereabouts};
use crate::domain::model::payment::Line;
use crate::domain::state::event::Event;

/// `by_now` is what time alone has moved and no record says yet.
pub(crate) fn whereabouts(past: &CustomerPast, by_now: &[Transfer]) -> Whereabouts {
    let recorded = past.entries.iter().flat_map(recorded);
    Whereabouts::new(&came(past), recorded.chain(by_now.iter().flat_map(Step::of)))
}

/// The payments whose money was told apart.
fn came(past: &CustomerPast) -> Vec<Came> {
    let payments = past.receipts.iter().filter_map(|receipt| match receipt.event.as_ref() {
        Event::Settled { cause: Cause::Repayment(payment) | Cause::Final(payment), books } if books.names_money() => {
            Some((receipt.lsn, payment))
        }
        _ => None,
    });
    let came = payments.map(|(fact, payment)| {
        let reversals = past.receipts.iter().filter_map(|receipt| {
            receipt.event.reversal().filter(|(id, _)| *id == payment.id).map(|(_, amount)| (receipt.lsn, amount))
        });
        Came { fact, amount: payment.amount, reversals: reversals.collect() }
    });
    came.collect()
}

fn recorded(entry: &Entry) -> impl Iterator<Item = Step> {
    let step = |line: bool, spot: Spot| {
        let moved = entry.moved?;
        // What is put on a line lowers what is owed there.
        let amount = if line { -entry.amount } else { entry.amount };
        let at = entry.value_at.unwrap_or(entry.recorded_at);
        Some(Step {
            money: moved.money,
            day: moved.day,
            spot,
            at,
            amount: amount.unsigned_abs().into(),
            is_in: amount > 0,
        })
    };
    let on_line = |line| entry.bill().and_then(|bill| step(true, Spot::Line(bill, line)));
    let own = match entry.account {
        Book::Exposure => on_line(Line::Principal),
        Book::BillFee => on_line(Line::BillFee),
        Book::LateFee => on_line(Line::LateFees),
        Book::Damages => on_line(Line::Damages),
        Book::Credit => step(false, Spot::Credit),
        Book::PayoutDue => step(false, Spot::PayoutDue),
        _ => None,
    };
    let is_reversed = entry.moved.is_some_and(|moved| moved.far == Far::Reversed);
    let far = own.filter(|_| is_reversed).map(|own| Step { spot: Spot::Reversed, is_in: !own.is_in, ..own });
    own.into_iter().chain(far)
}

//! Each payment is told in full, and no yen twice: where the money of payments lies, against the state.

use std::collections::BTreeMap;

use super::SqliteBooks;
use super::sides_tests::posted;
use crate::domain::billing::account::Account;
use crate::domain::billing::notes::Cause;
use crate::domain::billing::outflows::Why;
use crate::domain::billing::whereabouts::{NOBODY, Spot};
use crate::domain::commands::history::History;
use crate::domain::model::ids::Lsn;
use crate::domain::model::money::Yen;
use crate::domain::model::payment::BillKey;
use crate::domain::model::time::Now;
use crate::domain::state::event::Event;
use crate::ledger::whereabouts::whereabouts;
use crate::ledger::{Books, CustomerPast};

/// What each payment came to, and how much of it was taken back.
fn payments(past: &CustomerPast) -> Vec<(Lsn, Yen, Yen)> {
    let payments = past.receipts.iter().filter_map(|receipt| match receipt.event.as_ref() {
        Event::Settled { cause: Cause::Repayment(payment) | Cause::Final(payment), .. } => Some((receipt.lsn, payment)),
        _ => None,
    });
    let reversals = || past.receipts.iter().filter_map(|receipt| receipt.event.reversal());
    let reversed = |id| reversals().filter(|(of, _)| *of == id).map(|(_, amount)| amount).sum();
    payments.map(|(lsn, payment)| (lsn, payment.amount, reversed(payment.id))).collect()
}

/// What was paid out to the customer and did not come back, as far as the account remembers.
fn paid_out(account: &Account) -> Yen {
    let outflows = || account.debt.iter().flat_map(|debt| &debt.outflows);
    let sum = |is_it: fn(Why) -> bool| outflows().filter(|of| is_it(of.why)).map(|of| of.amount).sum::<Yen>();
    sum(|why| why == Why::PaidOut) - sum(|why| matches!(why, Why::Bounced(_)))
}

fn check(history: &History, account: &Account, past: &CustomerPast) -> [u64; 3] {
    let now = Now::at(history.now());
    let rules = history.state.rules().unwrap();
    let present = account.as_of(&now, rules);
    let found = whereabouts(past, &account.moved_by(&now, rules));
    let payments = payments(past);
    assert_eq!(found.of(NOBODY).count(), 0, "{}: {found:?}", account.id);
    let mut at: BTreeMap<Spot, Yen> = BTreeMap::new();
    for (lsn, amount, reversed) in &payments {
        assert_eq!(found.of(*lsn).map(|(_, there)| there).sum::<Yen>(), *amount, "{}: {lsn}", account.id);
        let taken_back = found.of(*lsn).find(|(spot, _)| *spot == Spot::Reversed).map_or(Yen::ZERO, |(_, there)| there);
        assert_eq!(taken_back, *reversed, "{}: {lsn}", account.id);
        found.of(*lsn).for_each(|(spot, there)| *at.entry(spot).or_default() += there);
    }
    let sum = |spot: Spot| at.get(&spot).copied().unwrap_or_default();
    assert_eq!((sum(Spot::Credit), sum(Spot::PayoutDue)), (present.credit(), present.payout_due()), "{}", account.id);
    let on_bill = |key: BillKey| {
        at.iter().filter(|(spot, _)| matches!(spot, Spot::Line(bill, _) if *bill == key)).map(|(_, there)| *there).sum()
    };
    for bill in present.listed_bills() {
        assert_eq!(bill.paid().total(), on_bill(bill.key), "{} {:?}", account.id, bill.key);
    }
    assert!(sum(Spot::PaidOut) >= paid_out(&present), "{}", account.id);
    let lines = at.keys().filter(|spot| matches!(spot, Spot::Line(..))).count();
    [sum(Spot::Reversed).get(), sum(Spot::PaidOut).get(), u64::try_from(lines).unwrap()]
}

#[test]
fn each_payment_is_told_in_full_and_no_yen_twice() {
    let mut seen = [0; 3];
    for seed in 100..108 {
        let (history, made) = posted(seed);
        let books = SqliteBooks::new(&made.dir.path().join("ledger.db"));
        for account in history.state.accounts() {
            let past = books.past_of(&account.id).unwrap();
            let of_one = check(&history, account, &past);
            seen.iter_mut().zip(of_one).for_each(|(seen, more)| *seen += more);
        }
    }
    assert!(seen.iter().all(|seen| *seen > 100), "{seen:?}");
}

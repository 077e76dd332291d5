//! Do the sums of the ledger come out: against the state that it stands for, against the rows that the journal's facts make,
//! and in themselves? A part of `verify`.

use std::collections::BTreeMap;

use crate::domain::billing::notes::Cause;
use crate::domain::model::correction::Correction;
use crate::domain::model::purchase::Channel;
use crate::domain::model::time::Now;
use crate::domain::state::State;
use crate::domain::state::event::{Decided, Event, Outcome, SuspenseEnd};
use crate::ledger::audit::OWN;
use crate::ledger::movements::movements;
use crate::ledger::{Book, Books, CustomerSums, LedgerError};

/// What the facts of the journal come to.
#[derive(Default)]
pub(crate) struct Told {
    /// By account and far side, as rows of the ledger.
    rows: BTreeMap<(u8, u8), i64>,
    /// Money that customers paid in, less what was paid out to them.
    cash: i64,
}

impl Told {
    fn add(&mut self, (account, counter, amount): (Book, Book, i64)) {
        *self.rows.entry((account as u8, counter as u8)).or_default() += amount;
    }

    /// Takes in a fact, which `state` is not changed by yet.
    pub(crate) fn hear(&mut self, state: &State, event: &Event, now: &Now) {
        match event {
            Event::Decided(decided) => self.approved(decided),
            Event::Advised(advised) if advised.decided.customer.is_some() => self.approved(&advised.decided),
            Event::Advised(advised) => {
                self.add((Book::Suspense, Book::MerchantPayable, advised.decided.input.amount.get().cast_signed()));
            }
            Event::SuspenseCleared { amount, .. } => {
                self.add((Book::Suspense, Book::MerchantPayable, -amount.get().cast_signed()));
            }
            Event::SuspenseSettled(settled) => {
                let counter = match settled.end {
                    SuspenseEnd::Charged(_) | SuspenseEnd::Returned => Book::MerchantPayable,
                    SuspenseEnd::Lost => Book::SuspenseLosses,
                };
                self.add((Book::Suspense, counter, -settled.amount.get().cast_signed()));
            }
            _ => {}
        }
        for movement in movements(event, now, |customer| state.account(customer)) {
            self.add(movement.sides());
        }
        let Event::Settled { cause, .. } = event else { return };
        self.cash += match cause {
            Cause::Repayment(payment) | Cause::Final(payment) => payment.amount.get().cast_signed(),
            Cause::Payout { amount, .. } => -amount.get().cast_signed(),
            Cause::Bounced { amount, .. } => amount.get().cast_signed(),
            Cause::Corrected { correction: Correction::ReverseRepayment { .. }, amount, .. } => {
                -amount.get().cast_signed()
            }
            Cause::Calendar
            | Cause::Corrected { .. }
            | Cause::Damages { .. }
            | Cause::NpDamages { .. }
            | Cause::Withdrawn { .. } => 0,
        };
    }

    /// The row of an approval is its movement.
    fn approved(&mut self, decided: &Decided) {
        let Outcome::Approved(approval) = &decided.outcome else { return };
        let amount = decided.input.amount.get().cast_signed();
        if approval.hold_expires_at.is_some() {
            return self.add((Book::Exposure, Book::HeldRoom, amount));
        }
        self.add((Book::Exposure, Book::MerchantPayable, amount));
        self.add((Book::Points, Book::PointsGranted, approval.points.cast_signed()));
    }
}

/// Compares the ledger's rows up to the state's record with the facts up to there and with the state.
pub(crate) fn check(
    books: &dyn Books,
    at: &State,
    told: &Told,
    note: &mut dyn FnMut(String),
) -> Result<(), LedgerError> {
    let mut left = told.rows.clone();
    let mut cash = 0;
    for (account, counter, sum) in books.totals(at.lsn)? {
        let wanted = left.remove(&(account as u8, counter as u8)).unwrap_or(0);
        if sum != wanted {
            note(format!("the ledger has {sum} on {}, the journal {wanted}", between(account, counter)));
        }
        if counter == Book::Cash {
            cash -= account.debit(sum);
        }
    }
    for sum in left.into_values().filter(|sum| *sum != 0) {
        note(format!("the journal moves {sum} between two accounts, of which the ledger has nothing"));
    }
    if cash != told.cash {
        note(format!("{cash} yen of cash in the ledger, {} were received less paid out", told.cash));
    }
    for record in books.unclear(at.lsn)? {
        note(format!("record {record} leaves something between two accounts of a customer"));
    }
    books.sums(at.lsn, &mut |found| {
        let account = at.customer_ix(&found.customer).and_then(|ix| at.account(ix));
        match account.map(CustomerSums::of) {
            Some(wanted) => compare(&found, &wanted, note),
            // A service that runs may have posted one since: of a later record there are no rows up to here.
            None if found.row.is_none() && found.on.iter().all(|sum| *sum == 0) => {}
            None => note("the ledger has a customer of whom the state knows nothing".to_owned()),
        }
    })
}

fn between(account: Book, counter: Book) -> String {
    format!("{} with {}", account.name(), counter.name())
}

/// Ids stay out of what is printed.
fn compare(found: &CustomerSums, wanted: &CustomerSums, note: &mut dyn FnMut(String)) {
    let mut same = |what: &str, is: i64, wanted: i64| {
        if is != wanted {
            note(format!("a customer's {what} come to {is}, the account holds {wanted}"));
        }
    };
    for ((book, is), wanted) in OWN.iter().zip(found.on).zip(wanted.on) {
        same(&format!("entries of {}", book.name()), is, wanted);
    }
    if let (Some(is), Some(wanted)) = (found.channels, wanted.channels) {
        for ((channel, is), wanted) in Channel::ALL.iter().zip(is).zip(wanted) {
            same(&format!("exposure entries of {}", channel.name()), is, wanted);
        }
    }
    if let (Some(is), Some(wanted)) = (found.row, wanted.row) {
        same("own row's credit", is.credit, wanted.credit);
        same("own row's payout_due", is.payout_due, wanted.payout_due);
        same("own row's principal", is.principal, wanted.principal);
    }
}

/// Whatever is free meets the next debt, so nobody has credit beside an issued bill or invoice that is not paid.
pub(crate) fn check_credit(state: &State, note: &mut dyn FnMut(String)) {
    let Some(rules) = state.rules() else { return };
    let now = Now::at(state.time);
    for account in state.accounts().filter(|account| !account.sums().is_empty()) {
        let present = account.as_of(&now, rules);
        if !present.sums().is_empty() && present.owed_at(&now, rules).is_some() {
            note("a customer has credit beside an unpaid bill".to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::billing::settlement::{Place, Settlement, Transfer};
    use crate::domain::billing::sums::Money;
    use crate::domain::commands::history::History;
    use crate::domain::model::money::Yen;

    #[test]
    fn credit_beside_an_unpaid_bill_is_told() {
        let mut history = History::new(52, 1_500);
        history.calendar();
        let mut wrong = Vec::new();
        check_credit(&history.state, &mut |what| wrong.push(what));
        assert_eq!(wrong, [""; 0]);
        let now = Now::at(history.now());
        let owes = |account: &&crate::domain::billing::account::Account| {
            account.listed_bills().iter().any(|bill| bill.is_issued() && bill.is_open()) && account.sums().is_empty()
        };
        let id = history.state.accounts().find(owes).unwrap().id;
        let books = Settlement {
            transfers: vec![Transfer {
                money: Money::own(now.at),
                from: Place::Received,
                to: Place::Credit,
                amount: Yen::new(1),
            }],
            ..Settlement::nothing(history.state.customer_ix(&id).unwrap())
        };
        // A fact that no rule makes.
        history.state.apply(&Event::Settled { cause: Cause::Calendar, books: Box::new(books) }, &now);
        check_credit(&history.state, &mut |what| wrong.push(what));
        assert_eq!(wrong, ["a customer has credit beside an unpaid bill"]);
    }
}

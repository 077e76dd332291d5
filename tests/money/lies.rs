//! Where the money of each payment lies: each is told in full, and no yen twice.

use std::collections::BTreeMap;

use proptest::prelude::*;
use sokketsu::domain::billing::effects::Effects;
use sokketsu::domain::billing::notes::Cause;
use sokketsu::domain::billing::settlement::{Place, Settlement, Transfer};
use sokketsu::domain::billing::whereabouts::{Came, NOBODY, Spot, Step, Whereabouts};
use sokketsu::domain::model::ids::{CustomerIx, Lsn};
use sokketsu::domain::model::money::Yen;
use sokketsu::domain::model::payment::{BillKey, Line};
use sokketsu::domain::model::time::{Millis, Now};
use sokketsu::domain::state::event::Event;

use super::product::Product;

/// The books of a record that are a customer's, and the bill whose purchase was refunded.
fn books_of(event: &Event, ix: CustomerIx) -> Option<(&Settlement, Option<BillKey>)> {
    let (books, refunded) = match event {
        Event::Settled { books, .. } | Event::CancelledPaid { books, .. } => (books, None),
        Event::Refunded(refunded) => (&refunded.books, Some(refunded.purchase().bill())),
        _ => return None,
    };
    (books.customer == ix).then_some((books, refunded))
}

/// As the ledger has it: money for a bill that was let go came from there, and an account that is closed owes its credit in cash,
/// which no transfer says.
fn step(step: Step) -> Step {
    Step { spot: if step.spot == Spot::PayoutDue { Spot::Credit } else { step.spot }, ..step }
}

impl Product {
    fn steps(&self, ix: CustomerIx) -> Vec<Step> {
        let mut steps = Vec::new();
        for (lsn, (_, event)) in (1..).map(Lsn).zip(&self.history) {
            let Some((books, refunded)) = books_of(event, ix) else { continue };
            for transfer in &books.transfers {
                let money = transfer.money.recorded(lsn);
                let from = match (transfer.from, refunded) {
                    (Place::Refund, Some(bill)) => Place::Freed { bill, line: Line::Principal, at: money.day },
                    (from, _) => from,
                };
                steps.extend(Step::of(&Transfer { money, from, ..*transfer }).map(step));
            }
        }
        steps
    }

    fn payments(&self, ix: CustomerIx) -> Vec<Came> {
        let all = || (1..).map(Lsn).zip(&self.history).map(|(lsn, (_, event))| (lsn, event));
        let mut came = Vec::new();
        for (fact, event) in all() {
            let Event::Settled { cause: Cause::Repayment(payment) | Cause::Final(payment), books } = event else {
                continue;
            };
            if books.customer == ix {
                let reversals = all().filter_map(|(lsn, event)| Some((lsn, event.reversal()?)));
                let reversals =
                    reversals.filter(|(_, (of, _))| *of == payment.id).map(|(lsn, (_, amount))| (lsn, amount));
                came.push(Came { fact, amount: payment.amount, reversals: reversals.collect() });
            }
        }
        came
    }

    /// What its first answer tells of a payment is as much as the payment.
    fn first_answers_add_up(&self, who: usize, ix: CustomerIx) -> Result<(), String> {
        let settled = self.history.iter().filter_map(|(_, event)| match event {
            Event::Settled { cause: Cause::Repayment(payment) | Cause::Final(payment), books } => {
                Some((payment, books))
            }
            _ => None,
        });
        for (payment, books) in settled.filter(|(_, books)| books.customer == ix) {
            let own = Effects::of(books).own;
            // On a line, where money lies or less is freed than before; in credit, or owed in cash.
            let is_told = |place: Place| place.line().is_some() || matches!(place, Place::Credit | Place::PayoutDue);
            let told = own.iter().filter(|transfer| is_told(transfer.to)).map(|transfer| transfer.amount).sum::<Yen>();
            if told != payment.amount || own.iter().any(|transfer| is_told(transfer.from)) {
                return Err(format!("C{who}: {payment:?} is told as {own:?} of {books:?}"));
            }
        }
        Ok(())
    }

    pub fn lies_add_up(&self, who: usize, now: i64) -> Result<(), String> {
        let (account, now, rules) = (self.account(who), Now::at(Millis(now)), self.state.rules().unwrap());
        let ix = CustomerIx(u32::try_from(who).unwrap());
        let by_now = account.moved_by(&now, rules);
        self.first_answers_add_up(who, ix)?;
        let payments = self.payments(ix);
        let steps = self.steps(ix).into_iter().chain(by_now.iter().flat_map(Step::of).map(step));
        let found = Whereabouts::new(&payments, steps);
        let mut at: BTreeMap<Spot, Yen> = BTreeMap::new();
        for came in &payments {
            let there: Vec<_> = found.of(came.fact).collect();
            let reversed =
                there.iter().find(|(spot, _)| *spot == Spot::Reversed).map_or(Yen::ZERO, |(_, amount)| *amount);
            let wanted = came.reversals.iter().map(|(_, amount)| *amount).sum::<Yen>();
            if there.iter().map(|(_, amount)| *amount).sum::<Yen>() != came.amount || reversed != wanted {
                return Err(format!("C{who}: {came:?} lies at {there:?}"));
            }
            there.into_iter().for_each(|(spot, amount)| *at.entry(spot).or_default() += amount);
        }
        let sum = |is_it: &dyn Fn(&Spot) -> bool| {
            at.iter().filter(|(spot, _)| is_it(spot)).map(|(_, amount)| amount.get()).sum::<u64>()
        };
        let present = account.as_of(&now, rules);
        let free = (present.credit() + present.payout_due()).get();
        let beside = (sum(&|spot| *spot == Spot::Credit), sum(&|spot| *spot == Spot::PaidOut));
        if found.of(NOBODY).count() > 0 || beside != (free, self.money(who).1) {
            return Err(format!(
                "C{who}: {free} are free and {} paid out, by the payments {found:?}",
                self.money(who).1
            ));
        }
        let other = present.listed_bills().iter().find(|bill| {
            bill.paid().total().get() != sum(&|spot| matches!(spot, Spot::Line(key, _) if *key == bill.key))
        });
        other.map_or(Ok(()), |bill| Err(format!("C{who}: {bill:?}, by the payments {found:?}")))
    }
}

/// Payments, each yen by where it lies, and for each yen that was taken back which payment it was taken back of: the books
/// take of any other money where that payment's is not there.
fn taken_back() -> impl Strategy<Value = (Vec<Vec<Spot>>, Vec<usize>)> {
    let line = |order| Spot::Line(BillKey::Np(Lsn(order)), Line::Principal);
    let spot = prop::sample::select(vec![
        Spot::Credit,
        Spot::PayoutDue,
        Spot::PaidOut,
        Spot::Reversed,
        Spot::Reversed,
        line(91),
        line(92),
    ]);
    (prop::collection::vec(prop::collection::vec(spot, 1..8), 1..6), prop::collection::vec(0usize..6, 42))
}

proptest! {
    #[test]
    fn whosever_money_reversals_found_each_payment_is_told_in_full((lie, picks) in taken_back()) {
        let mut taken_back = vec![0; lie.len()];
        let reversed = lie.iter().flatten().filter(|spot| **spot == Spot::Reversed).count();
        for pick in picks.into_iter().take(reversed) {
            let from = pick % lie.len();
            let mut in_turn = (from..lie.len()).chain(0..from);
            let of = in_turn.find(|of| taken_back[*of] < lie[*of].len()).unwrap();
            taken_back[of] += 1;
        }
        let yen = |count: usize| Yen::new(u64::try_from(count).unwrap());
        let payments: Vec<Came> = (1..).map(Lsn).zip(&lie).zip(&taken_back).map(|((fact, spots), back)| {
            Came { fact, amount: yen(spots.len()), reversals: vec![(Lsn(fact.0 + 50), yen(*back))] }
        }).collect();
        let steps = (1..).map(Lsn).zip(&lie).flat_map(|(money, spots)| {
            let there = spots.iter().filter(|spot| **spot != Spot::PaidOut);
            there.map(move |spot| Step { money, day: Millis(1), spot: *spot, at: Millis(1), amount: yen(1), is_in: true })
        });
        let found = Whereabouts::new(&payments, steps);
        for (came, back) in payments.iter().zip(taken_back) {
            let there: BTreeMap<Spot, Yen> = found.of(came.fact).collect();
            prop_assert_eq!(there.values().copied().sum::<Yen>(), came.amount, "{:?}", found);
            prop_assert_eq!(there.get(&Spot::Reversed).copied().unwrap_or_default(), yen(back), "{:?}", found);
        }
        for spot in lie.iter().flatten() {
            let told = payments.iter().flat_map(|came| found.of(came.fact)).filter(|(at, _)| at == spot);
            let lies = lie.iter().flatten().filter(|at| *at == spot).count();
            prop_assert_eq!(told.map(|(_, amount)| amount).sum::<Yen>(), yen(lies), "{:?}: {:?}", spot, found);
        }
    }
}

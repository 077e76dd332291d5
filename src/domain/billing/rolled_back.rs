//! What a fold takes off the books, to be played again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::adjustments::Adjusted;
use super::bill::{Bill, Change, ChangeKind, Posted};
use super::lateness::BillRules;
use super::outflows::{Outflow, Why};
use super::steps::{Moment, Payout, What};
use super::sums::{Money, Sums};
use crate::domain::model::ids::Lsn;
use crate::domain::model::money::Yen;
use crate::domain::model::time::{Millis, Now};

#[derive(Default)]
pub(super) struct RolledBack {
    pub moments: Vec<Moment>,
    /// How much of each money is in hand.
    money: BTreeMap<Lsn, (Money, Yen)>,
    /// Money of these records was freed in this time, and is freed again.
    freed: BTreeSet<Lsn>,
    /// So much of each money came back in this time, and was away until then.
    away: Vec<(Lsn, Yen)>,
}

impl RolledBack {
    pub fn put(&mut self, of: Money, amount: Yen) {
        self.money.entry(of.fact).or_insert((of, Yen::ZERO)).1 += amount;
    }

    /// Takes off what staff did to a bill later than `from`, and the damages that were posted.
    pub fn charges(&mut self, bill: &mut Arc<Bill>, from: Millis, by: &BillRules<'_>) {
        let key = bill.key;
        if bill.adjustments().iter().any(|adjustment| adjustment.at > from) {
            let bill = Arc::make_mut(bill);
            for adjustment in bill.take_adjustments_off(from) {
                self.freed.insert(adjustment.fact);
                if let Adjusted::DamagesReversed(posted) = adjustment.what {
                    post_again(bill, posted, from, by);
                }
                self.moments.push(Moment { at: adjustment.at, what: What::Adjusted(key, adjustment) });
            }
        }
        let is_later = |posted: &Posted| posted.at > from;
        if bill.damages.iter().any(is_later) {
            let later = bill.damages.iter().copied().filter(is_later);
            self.moments.extend(later.map(|posted| Moment { at: posted.at, what: What::Damages(key, posted) }));
            Arc::make_mut(bill).damages.retain(|posted| !is_later(posted));
        }
    }

    /// Takes the money off a bill that was put on it later than `from`.
    pub fn changes(&mut self, bill: &mut Arc<Bill>, from: Millis) {
        let later = bill.changes.later(from.plus(-1)).iter();
        let refunds = later.filter(|change| change.kind == ChangeKind::Refunded);
        for refund in refunds.filter(|refund| refund.at > from || refund.money.is_own()) {
            self.freed.insert(refund.money.fact);
            self.moments.push(Moment { at: refund.at, what: What::Refunded(bill.key, refund.money) });
        }
        let moves = |change: &Change| change.kind != ChangeKind::Refunded && change.money.is_known();
        if bill.changes.later(from).iter().any(moves) {
            let gone = Arc::make_mut(bill).changes.roll_back(from);
            let paid = gone.iter().filter(|change| change.kind == ChangeKind::Paid);
            paid.for_each(|change| self.put(change.money, change.lines.total()));
        }
    }

    /// Takes off what left the books later than `from`, or came back.
    pub fn outflows(&mut self, outflows: &mut Vec<Outflow>, from: Millis) {
        let is_later = |outflow: &Outflow| outflow.at > from && outflow.money.is_known();
        let (later, kept): (Vec<Outflow>, Vec<Outflow>) = outflows.iter().partition(|outflow| is_later(outflow));
        *outflows = kept;
        for parts in later.chunk_by(|a, b| a.fact == b.fact) {
            let Some(Outflow { at, fact, why, .. }) = parts.first().copied() else { continue };
            let what = match why {
                Why::PaidOut => What::PaidOut(fact, Payout::of(parts)),
                Why::Bounced(payout) => What::Bounced { fact, payout, told: parts.to_vec() },
                Why::Reversed(of) => {
                    self.freed.insert(fact);
                    What::Reversed { fact, of, amount: parts.iter().map(|part| part.amount).sum() }
                }
            };
            match why {
                Why::Bounced(_) => self.away.extend(parts.iter().map(|part| (part.money.fact, part.amount))),
                Why::PaidOut | Why::Reversed(_) => parts.iter().for_each(|part| self.put(part.money, part.amount)),
            }
            self.moments.push(Moment { at, what });
        }
    }

    /// The money in hand: what had come by `from` is free, what comes later is a moment.
    pub fn come_again(&mut self, from: Millis) -> Sums {
        for (fact, amount) in std::mem::take(&mut self.away) {
            if let Some((_, there)) = self.money.get_mut(&fact) {
                *there = there.minus_or_zero(amount);
            }
        }
        let mut sums = Sums::default();
        for (money, amount) in std::mem::take(&mut self.money).into_values() {
            if self.freed.contains(&money.fact) || amount.is_zero() {
                continue;
            }
            if money.day <= from {
                sums.add(money, amount, Yen::ZERO);
            } else {
                self.moments.push(Moment { at: money.day, what: What::Came(money, amount) });
            }
        }
        sums
    }
}

/// Damages that were taken back stand again, as far as they had accrued by their posting: news may have come since.
fn post_again(bill: &mut Bill, posted: Posted, from: Millis, by: &BillRules<'_>) {
    let before = bill.damages.iter().filter(|other| (other.at, other.fact) < (posted.at, posted.fact));
    let before: Yen = before.map(|other| other.amount).sum();
    let most = bill.damages_accrued(by, &Now::at(posted.at)).minus_or_zero(before);
    // A posting of later than `from` is played again, and is judged then.
    let amount = if posted.at > from { posted.amount } else { posted.amount.min(most) };
    if !amount.is_zero() {
        bill.damages.push(Posted { amount, ..posted });
        bill.damages.sort_by_key(|posted| (posted.at, posted.fact));
    }
}

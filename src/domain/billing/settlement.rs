//! What a fact changes in one customer's books, figure by figure, so that nothing is judged again when it is applied. A
//! [`Draft`](super::draft::Draft) works it out.

use super::account::Account;
use super::adjustments::{Adjusted, Adjustment};
use super::bill::{Bill, Change, ChangeKind, LateFee, Lost, Posted};
use super::outflows::{Outflow, Why};
use super::sums::Money;
use crate::domain::model::customer::Record;
use crate::domain::model::ids::{CustomerIx, Lsn};
use crate::domain::model::money::Yen;
use crate::domain::model::payment::{BillKey, Line, Lines, PaymentMethod};
use crate::domain::model::purchase::Purchase;
use crate::domain::model::time::{Date, Millis, Month, Now};

/// What changes in one customer's books.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    pub customer: CustomerIx,
    pub charges: Vec<Charge>,
    pub transfers: Vec<Transfer>,
    pub counted: Vec<Counted>,
    pub steps: Vec<LadderStep>,
    /// What the ladder counts from here on, if that changed.
    pub record: Option<Record>,
    /// The moment from which the books were worked out anew, where what is new counts from before it: more moments than can
    /// be played again lay between.
    pub counts_from: Option<Millis>,
}

/// What is owed more, or less, than before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charge {
    /// The amount is fixed.
    Issued {
        month: Month,
        method: PaymentMethod,
        due: Date,
        fee: Yen,
        principal: Yen,
    },
    /// Refunds or cancels took all of the bill in time.
    BillFeeWaived {
        month: Month,
        amount: Yen,
    },
    LateFee {
        bill: BillKey,
        date: Date,
        amount: Yen,
    },
    /// The customer had paid by then.
    LateFeeTakenBack {
        bill: BillKey,
        date: Date,
        amount: Yen,
    },
    Damages {
        bill: BillKey,
        amount: Yen,
    },
    /// By the day of the posting so much had not accrued. `posted` is its record.
    DamagesTakenBack {
        bill: BillKey,
        posted: Lsn,
        amount: Yen,
    },
    /// Staff has changed a bill.
    Adjusted {
        bill: BillKey,
        what: Adjusted,
    },
    /// So much, of each line, has the release of this record and moment released in all.
    Released {
        bill: BillKey,
        release: Lsn,
        at: Millis,
        lines: Lines,
    },
}

impl Charge {
    const fn bill(&self) -> BillKey {
        match *self {
            Self::Issued { month, .. } | Self::BillFeeWaived { month, .. } => BillKey::Month(month),
            Self::LateFee { bill, .. }
            | Self::LateFeeTakenBack { bill, .. }
            | Self::Damages { bill, .. }
            | Self::DamagesTakenBack { bill, .. }
            | Self::Adjusted { bill, .. }
            | Self::Released { bill, .. } => bill,
        }
    }
}

/// Where money comes from, lies or goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Came from the customer.
    Received,
    /// Came back from a shop for a purchase whose bill is not kept any more.
    Refund,
    /// Became free on a line of a bill, because a refund made it too much; from this moment on.
    Freed {
        bill: BillKey,
        line: Line,
        at: Millis,
    },
    /// Lies on a line of a bill, from this moment on.
    Line {
        bill: BillKey,
        line: Line,
        at: Millis,
    },
    /// Owed to the customer in cash. A debt takes of it before it takes of credit.
    PayoutDue,
    Credit,
    /// Was paid to the customer, by the payout of this record.
    PaidOut {
        at: Millis,
        payout: Lsn,
    },
    /// Was taken back by this record, because the money of another had been booked by mistake.
    Reversed {
        at: Millis,
        reversal: Lsn,
        of: Lsn,
    },
    /// Came back, because the bank could not make a payout.
    Bounced {
        at: Millis,
        bounce: Lsn,
        payout: Lsn,
    },
}

impl Place {
    pub const fn bill(self) -> Option<BillKey> {
        match self {
            Self::Freed { bill, .. } | Self::Line { bill, .. } => Some(bill),
            _ => None,
        }
    }

    pub const fn line(self) -> Option<(BillKey, Line)> {
        match self {
            Self::Freed { bill, line, .. } | Self::Line { bill, line, .. } => Some((bill, line)),
            _ => None,
        }
    }

    /// Outside the books: paid out or taken back, less what came back of it.
    pub const fn is_away(self) -> bool {
        matches!(self, Self::PaidOut { .. } | Self::Reversed { .. } | Self::Bounced { .. })
    }

    pub fn is_principal(self) -> bool {
        matches!(self.line(), Some((_, Line::Principal)))
    }
}

impl Outflow {
    pub const fn place(&self) -> Place {
        let Self { at, fact, .. } = *self;
        match self.why {
            Why::PaidOut => Place::PaidOut { at, payout: fact },
            Why::Bounced(payout) => Place::Bounced { at, bounce: fact, payout },
            Why::Reversed(of) => Place::Reversed { at, reversal: fact, of },
        }
    }

    /// What lies at a place outside the books; none at any other.
    pub(super) const fn at(place: Place, money: Money, amount: Yen) -> Option<Self> {
        let (at, fact, why) = match place {
            Place::PaidOut { at, payout } => (at, payout, Why::PaidOut),
            Place::Bounced { at, bounce, payout } => (at, bounce, Why::Bounced(payout)),
            Place::Reversed { at, reversal, of } => (at, reversal, Why::Reversed(of)),
            _ => return None,
        };
        Some(Self { money, amount, due: Yen::ZERO, at, fact, why })
    }

    /// The same once its record has a number.
    pub(super) fn recorded(self, lsn: Lsn) -> Self {
        if self.fact == Money::OWN { Self { fact: lsn, ..self } } else { self }
    }
}

/// Some money goes from one place to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer {
    pub money: Money,
    pub from: Place,
    pub to: Place,
    pub amount: Yen,
}

impl Transfer {
    pub fn is_out_of_principal(&self) -> bool {
        self.from.is_principal() || self.from == Place::Refund
    }
}

/// The ladder takes notice of a bill once: when its principal is paid; and again if news says that it was not late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    pub bill: BillKey,
    pub on_time: bool,
    /// What being late has cost.
    pub lost: Option<Lost>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LadderStep {
    pub from: u8,
    pub to: u8,
    pub why: StepReason,
    /// Version of the policy whose ladder it is.
    pub policy: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum StepReason {
    /// The conditions of the higher rung are met.
    ConditionsMet = 1,
    LateBill,
    /// News came that the bill had been paid in time.
    LateBillUndone,
}

impl StepReason {
    pub const ALL: [Self; 3] = [Self::ConditionsMet, Self::LateBill, Self::LateBillUndone];

    pub const fn name(self) -> &'static str {
        match self {
            Self::ConditionsMet => "conditions_met",
            Self::LateBill => "late_bill",
            Self::LateBillUndone => "late_bill_undone",
        }
    }
}

impl Settlement {
    /// The bills that it names, some of them more than once.
    pub fn bills(&self) -> Vec<BillKey> {
        let ends = self.transfers.iter().flat_map(|transfer| [transfer.from, transfer.to]);
        let charged = self.charges.iter().map(Charge::bill);
        charged.chain(ends.filter_map(Place::bill)).chain(self.counted.iter().map(|counted| counted.bill)).collect()
    }

    pub fn nothing(customer: CustomerIx) -> Self {
        Self {
            customer,
            charges: Vec::new(),
            transfers: Vec::new(),
            counted: Vec::new(),
            steps: Vec::new(),
            record: None,
            counts_from: None,
        }
    }

    /// What its own money did. A record of before money was told apart moved no other.
    pub fn own(&self) -> impl Iterator<Item = &Transfer> {
        self.transfers.iter().filter(|transfer| transfer.money.is_own() || !transfer.money.is_known())
    }

    /// Whether it tells its own money from other: an older version did not.
    pub fn names_money(&self) -> bool {
        self.transfers.iter().any(|transfer| transfer.money.is_own())
    }

    /// Of the payout that this is the record of: which money it took.
    pub fn paid_out(&self, lsn: Lsn) -> Vec<Outflow> {
        let of_payout = |transfer: &Transfer| match *transfer {
            Transfer { money, from, to: Place::PaidOut { at, payout: Money::OWN }, amount } => {
                let due = if from == Place::PayoutDue { amount } else { Yen::ZERO };
                Some(Outflow { money, amount, due, at, fact: lsn, why: Why::PaidOut })
            }
            _ => None,
        };
        self.transfers.iter().filter_map(of_payout).collect()
    }

    /// Principal on which money was put.
    pub fn principal_in(&self) -> Yen {
        self.transfers.iter().filter(|transfer| transfer.to.is_principal()).map(|transfer| transfer.amount).sum()
    }

    /// Principal from which money went elsewhere, also where the bill itself was let go since.
    pub fn principal_out(&self) -> Yen {
        self.transfers.iter().filter(|transfer| transfer.is_out_of_principal()).map(|transfer| transfer.amount).sum()
    }

    pub fn is_empty(&self) -> bool {
        *self == Self::nothing(self.customer)
    }
}

/// A purchase that goes back.
#[derive(Clone, Copy, Debug)]
pub enum Back {
    /// A refund, which counts from this moment on.
    Refunded(Purchase, Millis),
    /// It is as if it had never been.
    Cancelled(Purchase),
}

impl Account {
    /// The purchase went back, as record `lsn` says.
    pub(crate) fn take_back(&mut self, back: Back, lsn: Lsn) {
        match back {
            Back::Refunded(purchase, at) => self.refund(&purchase, Money::own(at).recorded(lsn)),
            Back::Cancelled(purchase) => self.uncharge(&purchase),
        }
    }

    /// Makes the settlement of record `lsn` true; `back` is the purchase that went back with it.
    pub fn settle(&mut self, books: &Settlement, back: Option<Back>, lsn: Lsn, now: &Now) {
        // What is over is over, whether it was freed before or not.
        self.tidy(now.date);
        for charge in &books.charges {
            self.take_charge(charge, lsn, now.at);
        }
        // On an issued bill a refund is part of its story, so the bill comes first.
        if let Some(back) = back {
            self.take_back(back, lsn);
        }
        for transfer in &books.transfers {
            self.take_transfer(&Transfer { money: transfer.money.recorded(lsn), ..*transfer }, lsn);
        }
        for counted in &books.counted {
            let bill = self.bill_mut(counted.bill);
            (bill.counted, bill.lost) = (true, counted.lost.map(Box::new));
        }
        if let Some(debt) = self.debt.as_mut().filter(|_| !books.is_empty()) {
            debt.met = (now.at, lsn);
        }
        for step in &books.steps {
            self.profile.rung = step.to;
        }
        self.record = books.record.unwrap_or(self.record);
    }

    pub(crate) fn take_charge(&mut self, charge: &Charge, lsn: Lsn, at: Millis) {
        let bill = self.bill_mut(charge.bill());
        match *charge {
            Charge::Issued { method, due, fee, .. } => {
                (bill.billed_by, bill.due, bill.fee) = (Some(method), Some(due), Some(fee));
            }
            Charge::BillFeeWaived { .. } => bill.is_fee_refunded = true,
            Charge::LateFee { date, amount, .. } => bill.add_late_fee(LateFee { date, amount }),
            Charge::LateFeeTakenBack { date, amount, .. } => bill.take_late_fee_back(LateFee { date, amount }),
            Charge::Damages { amount, .. } => bill.damages.push(Posted { fact: lsn, at, amount }),
            Charge::DamagesTakenBack { posted, amount, .. } => bill.take_damages_back(posted, amount),
            Charge::Adjusted { what, .. } => bill.adjust(Adjustment { fact: lsn, at, what }),
            Charge::Released { release, at, lines, .. } => {
                let money = Money { fact: release, ..Money::own(at) }.recorded(lsn);
                bill.changes.set_released(Change { at, kind: ChangeKind::Released, money, lines });
            }
        }
    }

    /// Of record `lsn`, whose number its own money has already.
    fn take_transfer(&mut self, transfer: &Transfer, lsn: Lsn) {
        let Transfer { money, from, to, amount } = *transfer;
        let outflow = |place| Outflow::at(place, money, amount).map(|of| of.recorded(lsn));
        match from {
            Place::Line { bill, line, at } => {
                let lines = Lines::of(line, amount);
                self.bill_mut(bill).changes.take(Change { at, kind: ChangeKind::Paid, money, lines });
            }
            Place::Freed { bill, line, at } => {
                let lines = Lines::of(line, amount);
                self.bill_mut(bill).changes.add(Change { at, kind: ChangeKind::Freed, money, lines });
            }
            Place::Credit => self.debt_mut().sums.take(money, amount, Yen::ZERO),
            Place::PayoutDue => self.debt_mut().sums.take(money, amount, amount),
            Place::PaidOut { .. } | Place::Reversed { .. } => {
                outflow(from).into_iter().for_each(|of| self.debt_mut().take_outflow(of))
            }
            Place::Bounced { .. } => outflow(from).into_iter().for_each(|of| self.debt_mut().add_outflow(of)),
            Place::Received | Place::Refund => {}
        }
        match to {
            Place::Line { bill, line, at } => {
                let lines = Lines::of(line, amount);
                self.bill_mut(bill).changes.add(Change { at, kind: ChangeKind::Paid, money, lines });
            }
            Place::Freed { bill, line, at } => {
                let lines = Lines::of(line, amount);
                self.bill_mut(bill).changes.take(Change { at, kind: ChangeKind::Freed, money, lines });
            }
            Place::Credit => self.debt_mut().sums.add(money, amount, Yen::ZERO),
            Place::PayoutDue => self.debt_mut().sums.add(money, amount, amount),
            Place::PaidOut { .. } | Place::Reversed { .. } => {
                // An earlier payout that comes to be of this sum takes it as any other free money.
                let is_due = from == Place::PayoutDue && matches!(to, Place::PaidOut { payout: Money::OWN, .. });
                let due = if is_due { amount } else { Yen::ZERO };
                outflow(to).into_iter().for_each(|of| self.debt_mut().add_outflow(Outflow { due, ..of }));
            }
            Place::Bounced { .. } => outflow(to).into_iter().for_each(|of| self.debt_mut().take_outflow(of)),
            Place::Received | Place::Refund => {}
        }
    }
}

impl Bill {
    /// Takes in a late fee that was posted, or more of it.
    fn add_late_fee(&mut self, late: LateFee) {
        match self.late_fees.binary_search_by_key(&late.date, |posted| posted.date) {
            Ok(at) => self.late_fees.iter_mut().skip(at).take(1).for_each(|posted| posted.amount += late.amount),
            Err(at) => self.late_fees.insert(at, late),
        }
    }

    fn take_late_fee_back(&mut self, late: LateFee) {
        for posted in self.late_fees.iter_mut().filter(|posted| posted.date == late.date) {
            posted.amount = posted.amount.minus_or_zero(late.amount);
        }
        self.late_fees.retain(|posted| !posted.amount.is_zero());
    }

    fn take_damages_back(&mut self, fact: Lsn, amount: Yen) {
        for posted in self.damages.iter_mut().filter(|posted| posted.fact == fact) {
            posted.amount = posted.amount.minus_or_zero(amount);
        }
        self.damages.retain(|posted| !posted.amount.is_zero());
    }
}

//! Money against bills. A [`Settlement`] is what a fact changes in one customer's books, figure by figure, so that
//! nothing is judged again when it is applied; a [`Draft`](super::draft::Draft) works it out.

use super::account::Account;
use super::bill::{Change, ChangeKind, LateFee};
use crate::domain::model::customer::Record;
use crate::domain::model::ids::CustomerIx;
use crate::domain::model::money::Yen;
use crate::domain::model::payment::{BillKey, Line, PaymentMethod};
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
    /// Refunds took all of the bill in time.
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
}

/// Where money lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pot {
    /// Came from the customer.
    Received,
    /// Came back from a shop for a purchase that had been paid.
    Refund,
    /// Was put on a line of a bill.
    Bill {
        bill: BillKey,
        line: Line,
    },
    Credit,
    /// Owed to the customer in cash.
    Payout,
}

impl Pot {
    fn is_principal(self) -> bool {
        matches!(self, Self::Bill { line: Line::Principal, .. })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer {
    pub from: Pot,
    pub to: Pot,
    pub amount: Yen,
    /// From when it counts.
    pub at: Millis,
}

/// The ladder takes notice of a bill once: when its principal is paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    pub bill: BillKey,
    pub on_time: bool,
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
}

impl StepReason {
    pub const ALL: [Self; 2] = [Self::ConditionsMet, Self::LateBill];

    pub const fn name(self) -> &'static str {
        match self {
            Self::ConditionsMet => "conditions_met",
            Self::LateBill => "late_bill",
        }
    }
}

impl Settlement {
    /// The bills that it names, some of them more than once.
    pub fn bills(&self) -> Vec<BillKey> {
        let charged = self.charges.iter().map(|charge| match *charge {
            Charge::Issued { month, .. } | Charge::BillFeeWaived { month, .. } => BillKey::Month(month),
            Charge::LateFee { bill, .. } | Charge::LateFeeTakenBack { bill, .. } | Charge::Damages { bill, .. } => bill,
        });
        let pots = self.transfers.iter().flat_map(|transfer| [transfer.from, transfer.to]);
        let moved = pots.filter_map(|pot| match pot {
            Pot::Bill { bill, .. } => Some(bill),
            Pot::Received | Pot::Refund | Pot::Credit | Pot::Payout => None,
        });
        charged.chain(moved).chain(self.counted.iter().map(|counted| counted.bill)).collect()
    }

    pub fn nothing(customer: CustomerIx) -> Self {
        Self {
            customer,
            charges: Vec::new(),
            transfers: Vec::new(),
            counted: Vec::new(),
            steps: Vec::new(),
            record: None,
        }
    }

    /// Money that a refund set free on the purchase's own bill, or that met no bill of its own.
    pub fn freed(&self, bill: BillKey) -> impl Iterator<Item = &Transfer> {
        let own = Pot::Bill { bill, line: Line::Principal };
        self.transfers.iter().filter(move |transfer| transfer.from == own || transfer.from == Pot::Refund)
    }

    /// Principal that is no longer owed, where nothing went back to a shop.
    pub fn principal_paid(&self) -> Yen {
        self.principal_in(|_| true).minus_or_zero(self.principal_out())
    }

    /// Money that was put on principal, of the transfers that are meant.
    pub fn principal_in(&self, is_meant: impl Fn(&Transfer) -> bool) -> Yen {
        let into = self.transfers.iter().filter(|transfer| transfer.to.is_principal() && is_meant(transfer));
        into.map(|transfer| transfer.amount).sum()
    }

    /// Money that had been put on principal and went elsewhere, also where the bill itself was let go since.
    pub fn principal_out(&self) -> Yen {
        let out = self.transfers.iter().filter(|transfer| transfer.from.is_principal() || transfer.from == Pot::Refund);
        out.map(|transfer| transfer.amount).sum()
    }

    pub fn is_empty(&self) -> bool {
        *self == Self::nothing(self.customer)
    }
}

impl Account {
    /// Makes a settlement true; `refund` is what went back to the shop with it.
    pub fn settle(&mut self, books: &Settlement, refund: Option<&Purchase>, now: &Now) {
        // What is over is over, whether it was freed before or not.
        self.tidy(now.date);
        for charge in &books.charges {
            self.take_charge(charge);
        }
        // On an issued bill a refund is part of its story, so the bill comes first.
        if let Some(purchase) = refund {
            self.discharge(purchase, now);
        }
        for transfer in &books.transfers {
            self.take_transfer(transfer);
        }
        for counted in &books.counted {
            self.bill_mut(counted.bill).counted = true;
        }
        for step in &books.steps {
            self.profile.rung = step.to;
        }
        self.record = books.record.unwrap_or(self.record);
    }

    pub(crate) fn take_charge(&mut self, charge: &Charge) {
        match *charge {
            Charge::Issued { month, method, due, fee, principal: _ } => {
                let bill = self.bill_mut(BillKey::Month(month));
                (bill.billed_by, bill.due, bill.fee) = (Some(method), Some(due), Some(fee));
            }
            Charge::BillFeeWaived { month, amount: _ } => {
                self.bill_mut(BillKey::Month(month)).fee = Some(Yen::ZERO);
            }
            Charge::LateFee { bill, date, amount } => {
                self.bill_mut(bill).post_late_fee(LateFee { date, amount });
            }
            Charge::LateFeeTakenBack { bill, date, amount: _ } => {
                self.bill_mut(bill).late_fees.retain(|late| late.date != date);
            }
            Charge::Damages { bill, amount } => self.bill_mut(bill).damages += amount,
        }
    }

    pub(crate) fn take_transfer(&mut self, transfer: &Transfer) {
        let Transfer { from, to, amount, at } = *transfer;
        match from {
            Pot::Bill { bill, line: Line::Principal } => {
                let change = Change { at, kind: ChangeKind::Moved, amount };
                self.bill_mut(bill).changes.push(change);
            }
            Pot::Bill { bill, line } => *self.bill_mut(bill).paid_fees.get_mut(line) -= amount,
            Pot::Credit => {
                let debt = self.debt_mut();
                debt.credit -= amount;
                if debt.credit.is_zero() {
                    debt.credit_since = None;
                }
            }
            Pot::Received | Pot::Refund | Pot::Payout => {}
        }
        match to {
            Pot::Bill { bill, line: Line::Principal } => {
                let change = Change { at, kind: ChangeKind::Paid, amount };
                self.bill_mut(bill).changes.push(change);
            }
            Pot::Bill { bill, line } => *self.bill_mut(bill).paid_fees.get_mut(line) += amount,
            Pot::Credit => {
                let debt = self.debt_mut();
                debt.credit += amount;
                debt.credit_since.get_or_insert(at);
            }
            Pot::Received | Pot::Refund | Pot::Payout => {}
        }
    }
}

//! The model's bill: its four lines, and what money, refunds and late days do to it.

use super::calendar::{Day, MonthNo};

/// A month's bill, or the bill of one NP Atobarai purchase, by its place in the list of sales.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    Month(MonthNo),
    Np(usize),
}

/// Yen by ledger line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lines {
    pub principal: u64,
    pub bill_fee: u64,
    pub late_fees: u64,
    pub damages: u64,
}

impl Lines {
    pub fn total(&self) -> u64 {
        self.principal + self.bill_fee + self.late_fees + self.damages
    }
}

#[derive(Clone, Debug)]
pub struct Bill {
    pub key: Key,
    pub due: Day,
    pub sales: Vec<usize>,
    /// As charged, less refunds.
    pub charged: Lines,
    pub paid: Lines,
    /// On which a late fee fell due.
    pub fee_days: Vec<Day>,
    /// The sum over late days of that day's opening principal.
    pub yen_days: u64,
}

impl Bill {
    pub fn new(key: Key, due: Day, sales: Vec<usize>, charged: Lines) -> Self {
        Self { key, due, sales, charged, paid: Lines::default(), fee_days: Vec::new(), yen_days: 0 }
    }

    pub fn open(&self) -> u64 {
        self.charged.principal - self.paid.principal
    }

    pub fn owed(&self) -> u64 {
        self.charged.total() - self.paid.total()
    }

    /// Inside a bill late fees and bill fee, posted damages, principal. Gives back what it does not take.
    pub fn take(&mut self, mut money: u64, principal_first: bool) -> u64 {
        let (owed, paid) = (&self.charged, &mut self.paid);
        let mut lines = [
            (owed.late_fees, &mut paid.late_fees),
            (owed.bill_fee, &mut paid.bill_fee),
            (owed.damages, &mut paid.damages),
            (owed.principal, &mut paid.principal),
        ];
        if principal_first {
            lines.rotate_right(1);
        }
        for (owed, paid) in lines {
            let part = money.min(owed - *paid);
            *paid += part;
            money -= part;
        }
        money
    }

    /// A refund: gives what had been paid of it. A bill that refunds emptied by its due date costs no fee.
    pub fn shrink(&mut self, amount: u64, today: Day) -> u64 {
        self.charged.principal -= amount;
        let mut freed = self.paid.principal.saturating_sub(self.charged.principal);
        self.paid.principal -= freed;
        if self.charged.principal == 0 && today <= self.due {
            freed += self.paid.bill_fee;
            (self.charged.bill_fee, self.paid.bill_fee) = (0, 0);
        }
        freed
    }

    pub fn is_overdue(&self, today: Day) -> bool {
        self.due < today && self.open() > 0
    }

    /// 14.6 % a year of 365 days, floored once.
    pub fn accrued(&self) -> u64 {
        self.yen_days * 146 / 365_000
    }
}

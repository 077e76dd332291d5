//! The model's bill: its four lines, and what money, refunds, staff and late days do to it.

use super::calendar::{Day, MonthNo};

/// A month's bill, or the bill of one NP Atobarai purchase, by its place in the list of sales.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    Month(MonthNo),
    Np(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    Principal,
    BillFee,
    LateFees,
    Damages,
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

    pub fn on(&self, line: Line) -> u64 {
        match line {
            Line::Principal => self.principal,
            Line::BillFee => self.bill_fee,
            Line::LateFees => self.late_fees,
            Line::Damages => self.damages,
        }
    }

    pub fn on_mut(&mut self, line: Line) -> &mut u64 {
        match line {
            Line::Principal => &mut self.principal,
            Line::BillFee => &mut self.bill_fee,
            Line::LateFees => &mut self.late_fees,
            Line::Damages => &mut self.damages,
        }
    }
}

/// So much of the money of a fact was put on a line of a bill.
#[derive(Clone, Debug)]
pub struct Put {
    pub from: usize,
    pub line: Line,
    pub amount: u64,
}

#[derive(Clone, Debug)]
pub struct Bill {
    pub key: Key,
    pub due: Day,
    pub sales: Vec<usize>,
    /// As charged, less refunds and what staff waived.
    pub charged: Lines,
    pub paid: Lines,
    /// Whose money was ever put on it; it stays, also when some of what is paid goes again.
    pub puts: Vec<Put>,
    /// What reversals took off it, by the payment that they were of.
    pub taken_back: Vec<Put>,
    /// What is owed no longer since the bill, which had been given up, was released.
    pub released: Lines,
    pub is_written_off: bool,
    /// On which a late fee fell due.
    pub fee_days: Vec<Day>,
    /// Those of them whose fee was waived.
    pub waived_days: Vec<Day>,
    /// Damages by the fact that posted them, as far as they had accrued.
    pub postings: Vec<(usize, u64)>,
    /// The sum over late days of that day's opening principal.
    pub yen_days: u64,
}

impl Bill {
    pub fn new(key: Key, due: Day, sales: Vec<usize>, charged: Lines) -> Self {
        Self {
            key,
            due,
            sales,
            charged,
            paid: Lines::default(),
            puts: Vec::new(),
            taken_back: Vec::new(),
            released: Lines::default(),
            is_written_off: false,
            fee_days: Vec::new(),
            waived_days: Vec::new(),
            postings: Vec::new(),
            yen_days: 0,
        }
    }

    /// What of the money of these facts lies on a line: as much as was put there, was not taken back with the payment `of`,
    /// and is still paid.
    pub fn lies(&self, line: Line, of: usize, is_meant: &impl Fn(usize) -> bool) -> u64 {
        let sum = |list: &[Put], is_it: &dyn Fn(usize) -> bool| {
            list.iter().filter(|put| put.line == line && is_it(put.from)).map(|put| put.amount).sum::<u64>()
        };
        let gone = sum(&self.taken_back, &|from| from == of);
        sum(&self.puts, is_meant).saturating_sub(gone).min(self.paid.on(line))
    }

    fn owed_on(&self, line: Line) -> u64 {
        self.charged.on(line) - self.paid.on(line) - self.released.on(line)
    }

    pub fn open(&self) -> u64 {
        self.owed_on(Line::Principal)
    }

    pub fn owed(&self) -> u64 {
        self.charged.total() - self.paid.total() - self.released.total()
    }

    /// Inside a bill late fees and bill fee, posted damages, principal. Gives back what it does not take.
    pub fn take(&mut self, from: usize, mut amount: u64, principal_first: bool) -> u64 {
        let mut lines = [Line::LateFees, Line::BillFee, Line::Damages, Line::Principal];
        if principal_first {
            lines.rotate_right(1);
        }
        for line in lines {
            let part = amount.min(self.owed_on(line));
            self.put(from, line, part);
            amount -= part;
        }
        amount
    }

    pub fn put(&mut self, from: usize, line: Line, amount: u64) {
        *self.paid.on_mut(line) += amount;
        if amount > 0 {
            self.puts.push(Put { from, line, amount });
        }
    }

    /// Less is charged on a line: gives what had been paid of it.
    pub fn charge_less(&mut self, line: Line, amount: u64) -> u64 {
        *self.charged.on_mut(line) -= amount;
        let (charged, paid) = (self.charged.on(line), self.paid.on(line));
        let freed = paid.saturating_sub(charged);
        *self.paid.on_mut(line) -= freed;
        let released = self.released.on_mut(line);
        *released = (*released).min(charged.saturating_sub(paid));
        freed
    }

    /// A refund: gives what had been paid of it. A bill that refunds emptied by its due date costs no fee.
    pub fn shrink(&mut self, amount: u64, today: Day) -> u64 {
        let freed = self.charge_less(Line::Principal, amount);
        if self.charged.principal == 0 && today <= self.due { freed + self.waive_bill_fee() } else { freed }
    }

    pub fn waive_bill_fee(&mut self) -> u64 {
        self.charge_less(Line::BillFee, self.charged.bill_fee)
    }

    /// The fee of that day, if one fell due, is charged no longer.
    pub fn waive_late_fee(&mut self, day: Day) -> u64 {
        if !self.fee_days.contains(&day) || self.waived_days.contains(&day) {
            return 0;
        }
        self.waived_days.push(day);
        self.charge_less(Line::LateFees, 100)
    }

    pub fn post_damages(&mut self, posting: usize, amount: u64) {
        let amount = amount.min(self.accrued().saturating_sub(self.charged.damages));
        self.postings.push((posting, amount));
        self.charged.damages += amount;
    }

    pub fn posted_by(&self, posting: usize) -> u64 {
        self.postings.iter().find(|(of, _)| *of == posting).map_or(0, |(_, amount)| *amount)
    }

    pub fn reverse_damages(&mut self, posting: usize) -> u64 {
        let amount = self.posted_by(posting);
        self.postings.retain(|(of, _)| *of != posting);
        self.charge_less(Line::Damages, amount)
    }

    /// What is open is owed no longer.
    pub fn release(&mut self) {
        for line in [Line::Principal, Line::BillFee, Line::LateFees, Line::Damages] {
            *self.released.on_mut(line) += self.owed_on(line);
        }
    }

    /// A bill that was given up stays overdue as long as principal of it is open.
    pub fn is_overdue(&self, today: Day) -> bool {
        self.due < today && self.open() > 0
    }

    /// 14.6 % a year of 365 days, floored once.
    pub fn accrued(&self) -> u64 {
        self.yen_days * 146 / 365_000
    }
}

//! How a customer is billed and pays: methods, bills by their keys, the four lines of a bill, slips.

use std::ops::{AddAssign, SubAssign};

use serde::Serialize;

use super::ids::Lsn;
use super::money::Yen;
use super::time::Month;

/// How a customer pays the month's bill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum PaymentMethod {
    /// 電子決済（コンビニ払い）
    Konbini = 1,
    /// はがき請求書
    Postcard,
    /// 口座振替
    Debit,
}

impl PaymentMethod {
    pub const ALL: [Self; 3] = [Self::Konbini, Self::Postcard, Self::Debit];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Konbini => "konbini",
            Self::Postcard => "postcard",
            Self::Debit => "debit",
        }
    }
}

/// Which bill of a customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BillKey {
    Month(Month),
    /// The NP Atobarai purchase of this record.
    Np(Lsn),
}

/// The four lines of a bill.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Line {
    Principal = 1,
    BillFee,
    LateFees,
    Damages,
}

impl Line {
    pub const ALL: [Self; 4] = [Self::Principal, Self::BillFee, Self::LateFees, Self::Damages];
    /// In which order money is put on them.
    pub const FEES_FIRST: [Self; 4] = [Self::LateFees, Self::BillFee, Self::Damages, Self::Principal];
    /// The order of money that came on an old slip.
    pub const PRINCIPAL_FIRST: [Self; 4] = [Self::Principal, Self::LateFees, Self::BillFee, Self::Damages];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Principal => "principal",
            Self::BillFee => "bill_fee",
            Self::LateFees => "late_fees",
            Self::Damages => "damages",
        }
    }
}

/// A sum for each line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Lines {
    pub principal: Yen,
    pub bill_fee: Yen,
    pub late_fees: Yen,
    pub damages: Yen,
}

impl Lines {
    pub const fn get(&self, line: Line) -> Yen {
        match line {
            Line::Principal => self.principal,
            Line::BillFee => self.bill_fee,
            Line::LateFees => self.late_fees,
            Line::Damages => self.damages,
        }
    }

    pub const fn get_mut(&mut self, line: Line) -> &mut Yen {
        match line {
            Line::Principal => &mut self.principal,
            Line::BillFee => &mut self.bill_fee,
            Line::LateFees => &mut self.late_fees,
            Line::Damages => &mut self.damages,
        }
    }

    pub fn total(&self) -> Yen {
        self.principal + self.bill_fee + self.late_fees + self.damages
    }

    /// The same amount on one line and nothing on the others.
    pub fn of(line: Line, amount: Yen) -> Self {
        let mut lines = Self::default();
        *lines.get_mut(line) = amount;
        lines
    }

    /// Line by line, the smaller of the two.
    #[must_use]
    pub fn at_most(&self, most: &Self) -> Self {
        Self {
            principal: self.principal.min(most.principal),
            bill_fee: self.bill_fee.min(most.bill_fee),
            late_fees: self.late_fees.min(most.late_fees),
            damages: self.damages.min(most.damages),
        }
    }

    /// Line by line, zero where `other` is larger.
    #[must_use]
    pub fn minus_or_zero(&self, other: &Self) -> Self {
        Self {
            principal: self.principal.minus_or_zero(other.principal),
            bill_fee: self.bill_fee.minus_or_zero(other.bill_fee),
            late_fees: self.late_fees.minus_or_zero(other.late_fees),
            damages: self.damages.minus_or_zero(other.damages),
        }
    }
}

impl AddAssign for Lines {
    fn add_assign(&mut self, other: Self) {
        self.principal += other.principal;
        self.bill_fee += other.bill_fee;
        self.late_fees += other.late_fees;
        self.damages += other.damages;
    }
}

impl SubAssign for Lines {
    fn sub_assign(&mut self, other: Self) {
        self.principal -= other.principal;
        self.bill_fee -= other.bill_fee;
        self.late_fees -= other.late_fees;
        self.damages -= other.damages;
    }
}

impl BillKey {
    pub const fn month(self) -> Option<Month> {
        match self {
            Self::Month(month) => Some(month),
            Self::Np(_) => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum SlipKind {
    /// GS1-128 on the phone.
    AppBarcode = 1,
    /// 受付番号
    TerminalNumber,
    Postcard,
}

impl SlipKind {
    pub const ALL: [Self; 3] = [Self::AppBarcode, Self::TerminalNumber, Self::Postcard];

    pub const fn name(self) -> &'static str {
        match self {
            Self::AppBarcode => "app_barcode",
            Self::TerminalNumber => "terminal_number",
            Self::Postcard => "postcard",
        }
    }
}

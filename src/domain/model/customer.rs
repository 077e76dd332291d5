//! Who a customer is, as staff sets it.

use serde::Serialize;

use super::money::Yen;
use super::payment::PaymentMethod;
use super::time::Date;
use crate::domain::model::time::Month;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Identity {
    Unverified = 1,
    Pending,
    Verified,
    Rejected,
}

impl Identity {
    pub const ALL: [Self; 4] = [Self::Unverified, Self::Pending, Self::Verified, Self::Rejected];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Unverified => "unverified",
            Self::Pending => "pending",
            Self::Verified => "verified",
            Self::Rejected => "rejected",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    Active = 1,
    Suspended,
    Closed,
}

impl Status {
    pub const ALL: [Self; 3] = [Self::Active, Self::Suspended, Self::Closed];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Closed => "closed",
        }
    }
}

/// A customer's two limits. The in-store limit lies inside the total.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Limits {
    pub total: Yen,
    pub in_store: Yen,
}

/// A rare text behind one pointer: `None` takes 8 bytes where `Option<Box<str>>` takes 16.
pub type Thin = Box<Box<str>>;

/// What staff may set of a customer; everything else follows from purchases and time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Profile {
    pub identity: Identity,
    /// Why an identity was rejected, in the issuer's words.
    pub identity_reason: Option<Thin>,
    /// Unknown counts as a minor.
    pub birth_date: Option<Date>,
    pub guardian_consent: bool,
    pub payment_method: PaymentMethod,
    pub status: Status,
    /// Set by staff; `None` follows the ladder. Boxed, as most customers have none.
    pub limits: Option<Box<Limits>>,
    /// Rung of the ladder, from 0.
    pub rung: u8,
}

impl Profile {
    /// A new customer before anything is known.
    pub fn newcomer() -> Self {
        Self {
            identity: Identity::Unverified,
            identity_reason: None,
            birth_date: None,
            guardian_consent: false,
            payment_method: PaymentMethod::Konbini,
            status: Status::Active,
            limits: None,
            rung: 0,
        }
    }
}

/// What the ladder counts, up to 65,535 of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Record {
    pub on_time_bills: u16,
    pub purchases: u16,
    pub months_active: u16,
    /// The latest month with a purchase.
    pub latest: Option<Month>,
}

impl Record {
    pub fn bought(&mut self, month: Month) {
        self.purchases = self.purchases.saturating_add(1);
        if self.latest.is_none_or(|latest| latest < month) {
            self.months_active = self.months_active.saturating_add(1);
            self.latest = Some(month);
        }
    }

    /// A purchase was taken back.
    pub fn unbought(&mut self) {
        self.purchases = self.purchases.saturating_sub(1);
    }
}

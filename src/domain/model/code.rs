//! Codes issued to phones: alive, or ended and still remembered.

use super::ids::{CodeId, CustomerIx, Handle, Lsn};
use super::time::{HOUR, Millis, SECOND};

/// Length of an epoch of the barcode's seal, ms: twice the usual life of a code, so that a live code is of this epoch or
/// the one before.
const BARCODE_EPOCH: i64 = 600 * SECOND;
/// A handle is not issued again for this long after its end, so that no seal of its old life fits the new one.
pub const REST: i64 = 2 * BARCODE_EPOCH;
/// How long a used code still names the sale that used it.
pub const FIRST_KEPT: i64 = 48 * HOUR;
/// Wrong seals on one live handle that void it: against someone who read a body and guesses the seal.
pub const WRONG_SEALS: u8 = 3;

/// The epoch of the barcode's seal at a time; times before 1970 count as its start.
pub fn barcode_epoch(at: Millis) -> u64 {
    u64::try_from(at.0 / BARCODE_EPOCH).unwrap_or(0)
}

/// When an epoch of the barcode's seal began.
pub fn barcode_epoch_start(epoch: u64) -> Millis {
    Millis(i64::try_from(epoch).unwrap_or(i64::MAX).saturating_mul(BARCODE_EPOCH))
}

/// How a code's digits are shown, as a network takes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Form {
    /// 24 digits: the body and six digits of MAC. The default.
    L24 = 1,
    /// 19 digits: the body and a Luhn digit, no MAC; for a network that insists on 19.
    Tok19,
}

impl Form {
    pub const ALL: [Self; 2] = [Self::L24, Self::Tok19];

    pub const fn name(self) -> &'static str {
        match self {
            Self::L24 => "l24",
            Self::Tok19 => "tok19",
        }
    }
}

/// How a code ended before its time. The first ending is final.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Used { by: Lsn, at: Millis },
    Voided { at: Millis, by: VoidedBy },
}

/// What voided a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VoidedBy {
    /// The next code of its customer.
    NewerCode,
    /// Its customer, in the app.
    Customer,
    /// See [`WRONG_SEALS`].
    WrongSeals,
}

impl VoidedBy {
    pub const ALL: [Self; 3] = [Self::NewerCode, Self::Customer, Self::WrongSeals];

    pub const fn name(self) -> &'static str {
        match self {
            Self::NewerCode => "newer_code",
            Self::Customer => "customer",
            Self::WrongSeals => "wrong_seals",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    pub id: CodeId,
    pub handle: Handle,
    pub customer: CustomerIx,
    pub form: Form,
    pub generation: u8,
    pub counter: u16,
    pub random: u32,
    pub issued_at: Millis,
    pub expires_at: Millis,
    pub ending: Option<Ending>,
    pub wrong_seals: u8,
    /// Purchases tried with it, denials included.
    pub attempts: u32,
    pub latest_attempt: Option<Lsn>,
    /// The last fact that changed what its phone is shown of it.
    pub touched: Lsn,
    /// How many codes its customer was given lately, itself included.
    pub hour: Hour,
}

/// Codes given to one customer within an hour from the first of them. Each code takes the count on from the one before
/// it, so that a customer who asks for none costs nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hour {
    pub since: Millis,
    pub count: u16,
}

impl Hour {
    /// With more codes than this their last one is remembered until the hour is over. An app on show asks 60 times.
    const MANY: u16 = 100;

    /// One more code, after the customer's code before it where that is still remembered.
    pub fn next(before: Option<Self>, now: Millis) -> Self {
        match before {
            Some(hour) if now < hour.end() => Self { count: hour.count.saturating_add(1), ..hour },
            _ => Self { since: now, count: 1 },
        }
    }

    pub fn end(self) -> Millis {
        self.since.plus(HOUR)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeState {
    Live,
    Used { by: Lsn },
    Voided,
    Expired,
}

impl CodeState {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Used { .. } => "used",
            Self::Voided => "voided",
            Self::Expired => "expired",
        }
    }
}

impl Code {
    pub fn state(&self, now: Millis) -> CodeState {
        match self.ending {
            Some(Ending::Used { by, .. }) => CodeState::Used { by },
            Some(Ending::Voided { .. }) => CodeState::Voided,
            None if now < self.expires_at => CodeState::Live,
            None => CodeState::Expired,
        }
    }

    /// Changes it by the fact of `lsn`; one that leaves it as it was does not touch it.
    pub fn change(&mut self, lsn: Lsn, change: impl FnOnce(&mut Self)) {
        let before = (self.ending, self.latest_attempt);
        change(self);
        if (self.ending, self.latest_attempt) != before {
            self.touched = lsn;
        }
    }

    pub fn end(&mut self, ending: Ending, now: Millis) {
        if self.state(now) == CodeState::Live {
            self.ending = Some(ending);
        }
    }

    /// It paid while it lived, and we hear of it now: whatever ended it since, it pays no more.
    pub fn paid_before(&mut self, by: Lsn, now: Millis) {
        self.attempts = self.attempts.saturating_add(1);
        self.latest_attempt = Some(by);
        if !matches!(self.ending, Some(Ending::Used { .. })) {
            self.ending = Some(Ending::Used { by, at: now });
        }
    }

    pub fn count_wrong_seal(&mut self, now: Millis) {
        self.wrong_seals = self.wrong_seals.saturating_add(1);
        if self.wrong_seals >= WRONG_SEALS {
            self.end(Ending::Voided { at: now, by: VoidedBy::WrongSeals }, now);
        }
    }

    pub const fn voided_by(&self) -> Option<VoidedBy> {
        match self.ending {
            Some(Ending::Voided { by, .. }) => Some(by),
            Some(Ending::Used { .. }) | None => None,
        }
    }

    /// Until when its customer's codes are counted from it.
    pub fn counts_until(&self) -> Millis {
        if self.hour.count > Hour::MANY { self.forget_at().max(self.hour.end()) } else { self.forget_at() }
    }

    /// Until when it is remembered: told apart from a code that never was.
    pub fn forget_at(&self) -> Millis {
        match self.ending {
            Some(Ending::Used { at, .. }) => at.plus(FIRST_KEPT),
            Some(Ending::Voided { .. }) | None => self.expires_at.plus(REST),
        }
    }
}

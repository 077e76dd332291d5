//! What is charged on a bill beside its purchases and its fee.

use crate::domain::model::ids::Lsn;
use crate::domain::model::money::Yen;
use crate::domain::model::time::{Date, Millis};

/// A late fee of one fee day, as posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LateFee {
    pub date: Date,
    pub amount: Yen,
}

/// Damages that staff posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Posted {
    /// The record of the posting; none where an older version kept only the sum.
    pub fact: Lsn,
    pub at: Millis,
    pub amount: Yen,
}

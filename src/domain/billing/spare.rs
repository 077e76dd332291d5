//! Memory made ahead.

use std::sync::Arc;

use super::account::Rare;
use super::bill::Bill;
use crate::domain::model::ids::Lsn;
use crate::domain::model::payment::BillKey;

/// Boxes made ahead, so that no approval waits for the allocator.
#[derive(Clone, Debug, Default)]
#[expect(clippy::vec_box, reason = "the boxes are what is handed out")]
pub struct Spare {
    rare: Vec<Box<Rare>>,
    bills: Vec<Arc<Bill>>,
}

impl Spare {
    /// More than the approvals of a batch take; 250 kB.
    const ENOUGH: usize = 512;

    pub fn make_room(&mut self) {
        self.rare.reserve(Self::ENOUGH - self.rare.len());
        self.bills.reserve(Self::ENOUGH - self.bills.len());
        self.rare.resize_with(Self::ENOUGH, Box::default);
        self.bills.resize_with(Self::ENOUGH, || Arc::new(Bill::empty(BillKey::Np(Lsn::ZERO))));
    }

    pub fn rare(&mut self) -> Box<Rare> {
        self.rare.pop().unwrap_or_default()
    }

    pub fn bill(&mut self, bill: Bill) -> Arc<Bill> {
        if let Some(mut shared) = self.bills.pop()
            && let Some(place) = Arc::get_mut(&mut shared)
        {
            *place = bill;
            return shared;
        }
        Arc::new(bill)
    }
}

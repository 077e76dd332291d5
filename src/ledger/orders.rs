//! The orders of one chunk of facts, in memory until the chunk is written.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use super::LedgerError;
use super::order_rows::OrderNow;
use super::tables::DECISION_NOW;
use super::transaction::{At, Tables};
use crate::domain::model::ids::Lsn;
use crate::domain::model::time::Month;

/// The orders that a chunk decides or changes, as they are by now.
#[derive(Default)]
pub(crate) struct Orders {
    held: HashMap<Lsn, OrderNow, FixedState>,
    changed: Vec<Lsn>,
}

impl Orders {
    /// Reads those that are not held.
    pub fn read(&mut self, tables: &mut impl Tables, mut orders: Vec<Lsn>) -> Result<(), LedgerError> {
        orders.retain(|order| !self.held.contains_key(order));
        orders.sort_unstable();
        orders.dedup();
        if !orders.is_empty() {
            self.held.extend(tables.orders(&orders)?);
        }
        Ok(())
    }

    pub fn hold(&mut self, order: Lsn, now: OrderNow) {
        self.held.insert(order, now);
    }

    /// Changes an order that the fact says is there.
    pub fn change<T>(&mut self, at: At, order: Lsn, change: impl FnOnce(&mut OrderNow) -> T) -> Result<T, LedgerError> {
        let Some(now) = self.held.get_mut(&order) else {
            return Err(LedgerError::Corrupt("a fact changes an order that is not there".to_owned()));
        };
        if now.touched.is_none_or(|(lsn, _)| lsn != at.lsn) {
            self.changed.push(order);
        }
        let done = change(now);
        now.touched = Some((at.lsn, at.now.at));
        Ok(done)
    }

    /// The month of an NP purchase.
    pub fn billed_in(&mut self, tables: &mut impl Tables, order: Lsn) -> Result<Option<Month>, LedgerError> {
        self.read(tables, vec![order])?;
        Ok(self.held.get(&order).map(OrderNow::billed_in))
    }

    pub fn write(mut self, tables: &mut impl Tables) -> Result<(), LedgerError> {
        self.changed.sort_unstable();
        self.changed.dedup();
        for order in self.changed {
            let Some(now) = self.held.get(&order) else { continue };
            tables.update(&DECISION_NOW, &now.row(order))?;
        }
        Ok(())
    }
}

//! What the configuration of the installation gives to decisions.

use super::bounds::Bounds;

/// Numbers of the installation that decisions use; from `config/sokketsu.toml`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long a decision is answered again, ms (`orders.retain`).
    pub orders_retain: i64,
    /// Most orders in memory (`orders.max`).
    pub orders_max: u64,
    /// Life of a hold, ms (`holds.expire_after`).
    pub hold_life: i64,
    /// Most codes remembered, ended ones included (`codes.max`).
    pub codes_max: usize,
    /// Most customers (`customers.max`).
    pub customers_max: u32,
    /// Most merchants (`merchants.max`).
    pub merchants_max: usize,
    pub bounds: Bounds,
}

impl Default for Settings {
    fn default() -> Self {
        use super::time::{DAY, HOUR};
        Self {
            orders_retain: 48 * HOUR,
            orders_max: 20_000_000,
            hold_life: 7 * DAY,
            codes_max: 20_000_000,
            customers_max: 20_000_000,
            merchants_max: 1_000_000,
            bounds: Bounds::default(),
        }
    }
}

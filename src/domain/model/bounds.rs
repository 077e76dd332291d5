//! How much there may be of what a caller can pile up: on one customer, on one purchase, and in all. At a bound new work
//! is refused with a reason of its own and nothing is recorded, so that no call costs everybody else more than a
//! moment of the one thread that owns the accounts. `[bounds]` and its neighbours in `config/sokketsu.toml`.

/// Of one customer or purchase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Refunds of one purchase. A refund of all that is left and a reversal pass beyond it.
    pub refunds_per_purchase: usize,
    /// Bills, invoices and holds that are open.
    pub open_debts: usize,
    /// Payments, refunds and moves of one bill, and changes between its channels while it fills.
    pub changes_per_bill: usize,
    pub open_slips: usize,
    pub blocks: usize,
    pub pending_payments: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            refunds_per_purchase: 100,
            open_debts: 1_000,
            changes_per_bill: 5_000,
            open_slips: 20,
            blocks: 100,
            pending_payments: 100,
        }
    }
}

/// What there are as many of in memory as may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    Orders,
    Codes,
    Customers,
    Merchants,
    Receipts,
}

impl Full {
    /// As `sokketsu_shed_total` counts it.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Orders => "orders_full",
            Self::Codes => "codes_full",
            Self::Customers => "customers_full",
            Self::Merchants => "merchants_full",
            Self::Receipts => "receipts_full",
        }
    }
}

/// Bills are kept for a while after they were paid, for news of them may still come. Open and kept together there may be
/// half as many again as may be open.
pub const fn most_kept(open: usize) -> usize {
    open.saturating_add(open / 2)
}
/// Most yen of one payment, and of a limit.
pub const MOST_YEN: u64 = 9_999_999;
/// Partial reversals of one purchase, of which a network sends one. They pass beyond the refunds that a register may
/// make, but not without end: each stays in memory with its purchase.
pub const MOST_REVERSALS: usize = 1_000;
/// So many provisional payments are kept, run out or not, for each that may be open.
pub const RUN_OUT_FOR_ONE: usize = 10;
/// Slips remembered of one customer, expired ones included; beyond it the oldest are forgotten, which then count as
/// expired.
pub const SLIPS_KEPT: usize = 200;
/// Handles drawn for one code before the issuer is told to come again. With nine of ten handles of a part taken, one
/// in a thousand codes needs more.
pub const MOST_DRAWS: usize = 64;
/// Approvals of one customer looked back on for a rule about the last hours. Somebody who buys so often in them is denied
/// by the rule of how often one may buy, whatever it says.
pub const MOST_LOOKED_BACK: usize = 10_000;

//! A shop's contract with us.

use super::ids::MerchantId;
use super::money::Yen;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum MerchantStatus {
    Active = 1,
    Inactive,
}

/// Figures of one shop that narrow the customer's own ("the limit varies by shop").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MerchantLimits {
    /// Most yen in one payment.
    pub per_payment: Option<Yen>,
    /// Most in-store exposure with which a customer can still buy here.
    pub in_store: Option<Yen>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merchant {
    pub id: MerchantId,
    pub name: Box<str>,
    /// Merchant category code of ISO 18245, 4 digits.
    pub mcc: u16,
    pub status: MerchantStatus,
    pub limits: MerchantLimits,
}

/// For whom a register key or an acquirer speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Merchants {
    /// A network, or the sandbox.
    All,
    Only(Vec<MerchantId>),
}

impl Merchants {
    pub fn include(&self, merchant: &MerchantId) -> bool {
        match self {
            Self::All => true,
            Self::Only(list) => list.contains(merchant),
        }
    }
}

//! A shop's contract with us.

use serde::{Serialize, Serializer};

use super::ids::MerchantId;
use super::money::Yen;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum MerchantStatus {
    Active = 1,
    Inactive,
}

impl MerchantStatus {
    pub const ALL: [Self; 2] = [Self::Active, Self::Inactive];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Inactive => "inactive",
        }
    }
}

/// Figures of one shop that narrow the customer's own ("the limit varies by shop").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MerchantLimits {
    /// Most yen in one payment.
    pub per_payment: Option<Yen>,
    /// Most in-store exposure with which a customer can still buy here.
    pub in_store: Option<Yen>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Merchant {
    #[serde(rename = "merchant_id")]
    pub id: MerchantId,
    pub name: Box<str>,
    /// Merchant category code of ISO 18245, 4 digits.
    #[serde(serialize_with = "four_digits")]
    pub mcc: u16,
    pub status: MerchantStatus,
    pub limits: MerchantLimits,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a field by reference")]
fn four_digits<S: Serializer>(mcc: &u16, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{mcc:04}"))
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

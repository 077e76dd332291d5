//! A purchase, and where it is made.

use super::ids::Lsn;
use super::money::Yen;
use super::payment::BillKey;
use super::time::{Millis, Month};

/// Where a purchase is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Channel {
    InStore = 1,
    Online,
    NpAtobarai,
}

impl Channel {
    pub const ALL: [Self; 3] = [Self::InStore, Self::Online, Self::NpAtobarai];

    pub const fn name(self) -> &'static str {
        match self {
            Self::InStore => "in_store",
            Self::Online => "online",
            Self::NpAtobarai => "np_atobarai",
        }
    }
}

/// A captured purchase, or a part of it that goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Purchase {
    pub order: Lsn,
    pub channel: Channel,
    pub amount: Yen,
    /// The month that bills it.
    pub month: Month,
    /// When it was captured.
    pub at: Millis,
}

impl Purchase {
    pub const fn bill(&self) -> BillKey {
        match self.channel {
            Channel::InStore | Channel::Online => BillKey::Month(self.month),
            Channel::NpAtobarai => BillKey::Np(self.order),
        }
    }
}

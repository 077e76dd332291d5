//! How values are written as JSON: ids and times as their text, choices by their name.

use serde::{Serialize, Serializer};

use super::advice::{SuspenseAction, SuspenseWhy};
use super::code::{CodeState, Form, VoidedBy};
use super::customer::{Identity, Status};
use super::denial::{Reason, Retry};
use super::ids::{
    AuthorizationId, Category, CodeId, CustomerId, MerchantId, OfficeId, OrderId, RefundId, StoreId, TerminalId,
};
use super::merchant::MerchantStatus;
use super::order::{Destination, OrderStatus};
use super::payment::{Line, PaymentMethod, SlipKind};
use super::purchase::Channel;
use super::request::EntryMode;
use super::terms::RegistrationNumber;
use super::time::{Date, Millis, Month};

macro_rules! by_text {
    ($($value:ident),*) => {$(
        impl Serialize for $value {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    )*};
}

macro_rules! by_name {
    ($($value:ident),*) => {$(
        impl Serialize for $value {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.name())
            }
        }
    )*};
}

by_text!(AuthorizationId, Category, CodeId, CustomerId, MerchantId, OfficeId, OrderId, RefundId, StoreId, TerminalId);
by_text!(Date, Millis, Month, RegistrationNumber);
by_name!(
    Channel,
    CodeState,
    Destination,
    EntryMode,
    Form,
    Identity,
    Line,
    MerchantStatus,
    OrderStatus,
    PaymentMethod,
    Reason,
    Retry,
    SlipKind,
    Status,
    SuspenseAction,
    SuspenseWhy,
    VoidedBy
);

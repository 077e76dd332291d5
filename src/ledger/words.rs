//! The names that the views show for numbers.

use super::{Book, EntryKind};
use crate::domain::billing::settlement::StepReason;
use crate::domain::model::customer::{Identity, Status};
use crate::domain::model::denial::Reason;
use crate::domain::model::order::Destination;
use crate::domain::model::payment::PaymentMethod;
use crate::domain::model::purchase::Channel;
use crate::domain::state::receipts::ReceiptKind;

/// List, number, name.
pub(crate) fn words() -> Vec<(&'static str, u8, &'static str)> {
    let mut words: Vec<(&str, u8, &str)> = Vec::new();
    words.extend(Channel::ALL.map(|x| ("channel", x as u8, x.name())));
    words.extend(Identity::ALL.map(|x| ("identity", x as u8, x.name())));
    words.extend(Status::ALL.map(|x| ("status", x as u8, x.name())));
    words.extend(PaymentMethod::ALL.map(|x| ("payment_method", x as u8, x.name())));
    words.extend(Destination::ALL.map(|x| ("destination", x as u8, x.name())));
    words.extend(Reason::ALL.map(|x| ("reason", x.number(), x.row().name)));
    words.extend(StepReason::ALL.map(|x| ("step", x as u8, x.name())));
    words.extend(EntryKind::ALL.iter().map(|&x| ("kind", x as u8, x.name())));
    words.extend(Book::ALL.iter().map(|&x| ("account", x as u8, x.name())));
    words.extend(Book::ALL.iter().map(|&x| ("side", x as u8, if x.is_debit() { "debit" } else { "credit" })));
    words.extend(Book::ALL.iter().map(|&x| ("unit", x as u8, x.unit())));
    words.extend(ReceiptKind::ALL.map(|x| ("receipt", x as u8, x.name())));
    words
}

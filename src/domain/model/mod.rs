//! The vocabulary: values and their checks, and the tables of the service. It knows nothing of accounts.

pub mod advice;
pub mod basis;
pub mod bilingual;
pub mod bounds;
pub mod code;
pub mod correction;
pub mod customer;
pub mod denial;
pub mod ids;
mod json;
pub mod ladder_words;
pub mod merchant;
pub mod money;
pub mod order;
pub mod payment;
pub mod policy;
pub mod present;
pub mod purchase;
pub mod request;
pub mod sale_words;
pub mod settings;
pub mod terms;
pub mod time;
pub mod wording;

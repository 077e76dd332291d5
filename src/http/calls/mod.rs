//! The calls, by their subject.

pub mod account;
pub mod account_statement;
mod account_words;
pub mod afterwards;
pub mod authorizations;
pub mod bill_fees;
pub mod bill_moves;
pub mod codes;
pub mod corrections;
pub mod csv_lines;
pub mod customer_list;
pub mod customers;
pub mod event_json;
pub mod events;
pub mod health;
pub mod history;
pub mod imports;
pub mod lists;
pub mod merchants;
pub mod notice_json;
pub mod office;
pub mod payments;
pub mod payouts;
pub mod sandbox;
pub mod slips;
pub mod statements;
pub mod suspense;

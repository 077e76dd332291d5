//! The money calendar twice: the product, and a naive model written from the rules of the service alone.

pub mod act;
pub mod archive;
mod bill;
pub mod books;
pub mod calendar;
mod compare;
mod correct;
mod examples;
mod fold;
mod lies;
pub mod play;
mod product;

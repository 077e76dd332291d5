//! The money calendar twice: the product, and a naive model written from the rules of the service alone.

pub mod books;
pub mod calendar;
pub mod play;
pub mod product;

//! ISO 8583:1987 as bytes, and what our profile of it says. In reading order:
//!
//! - [`spec`]: the table of elements; [`message`]: reading and writing by it; [`frame`]: messages on a stream;
//! - [`profile`]: the types of messages, and what an answer repeats of its request;
//! - [`translate`]: what a request asks, in the words of the domain;
//! - [`private`]: the tagged values of element 48.
//!
//! No socket and no rule of payments is here.

pub mod frame;
pub mod message;
#[cfg(test)]
mod message_tests;
pub mod private;
pub mod profile;
pub mod spec;
pub mod translate;
#[cfg(test)]
mod translate_tests;

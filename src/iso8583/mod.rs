//! ISO 8583:1987 as bytes: [`spec`] is the table of elements, [`message`] reads and writes by it, [`frame`] finds
//! messages on a stream. No socket and no rule of payments is here.

pub mod frame;
pub mod message;
#[cfg(test)]
mod message_tests;
pub mod spec;

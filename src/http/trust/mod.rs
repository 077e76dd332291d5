//! Who calls, and whether it is the caller who calls.

pub mod callers;
pub(crate) mod nonces;
pub(crate) mod request_guard;
pub mod signature;
pub(crate) mod signature_input;

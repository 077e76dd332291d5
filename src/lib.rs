//! Sokketsu (即決): the authorizer behind in-store code payments.
pub mod code;
pub mod domain;

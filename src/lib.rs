//! Sokketsu (即決): the authorizer behind in-store code payments.
pub mod domain;

//! The customer's code: what is on the phone's screen, and what a register reads from it.
//!
//! Pure: time and random values are arguments, nothing here does I/O. In reading order:
//!
//! - [`body`]: the 18 digits every form shares (prefix, key generation, handle), and TOK19;
//! - [`keyring`]: the signing keys by generation, the only place that holds a secret;
//! - `seal`: the two MACs, and the only comparison of MACs;
//! - [`issuers`]: which prefixes and AIDs are ours, and in which form;
//! - [`barcode`]: L24, the 24 digits of the barcode, and its picture;
//! - [`qr`]: the EMV CPM payload, and its picture;
//! - [`tlv`], `emv`: reading such a payload, whoever made it;
//! - [`issue`]: minting a code;
//! - [`scan`]: judging what a register scanned.
//!
//! A sealed code proves that we made it, not that it may be used: whether its handle is live,
//! unexpired and unused is the engine's question. A code is a secret for as long as it lives, so
//! no `Debug` or error text here shows one.

pub mod barcode;
pub mod body;
pub(crate) mod emv;
pub mod issue;
pub mod issuers;
pub mod keyring;
pub mod qr;
pub mod scan;
pub(crate) mod seal;
pub mod tlv;

pub use body::{Body, Prefix};
pub use issue::{MintError, Minted, mint};
pub use issuers::{Aid, Application, Form, Issuer, Issuers, IssuersError, Label};
pub use keyring::{GenerationKeys, KeyState, Keyring, KeyringError, SecretKey, is_published_test_key};
pub use scan::{InvalidWhy, Proof, Scan, bare, read, read_split};

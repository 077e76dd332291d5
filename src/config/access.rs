//! Who may call: bearer keys by their hashes, their roles and what they may do.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::domain::account::Channel;
use crate::domain::ids::TerminalId;
use crate::hex;
pub use crate::server::callers::{Merchants, Role};

/// The sandbox's bearer keys, published: each is also its name. Refused outside the sandbox.
pub const PUBLISHED_KEYS: [(&str, Role); 4] = [
    ("sandbox-wallet", Role::Wallet),
    ("sandbox-register", Role::Register),
    ("sandbox-office", Role::Office),
    ("sandbox-ops", Role::Ops),
];

/// SHA-256 of a bearer key. A bearer key is 32 random bytes, so that its plain hash can't be searched.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyHash([u8; 32]);

impl KeyHash {
    pub fn of(bearer: &str) -> Self {
        Self(Sha256::digest(bearer.as_bytes()).into())
    }

    /// 64 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        hex::decode(text).map(|bytes| Self(*bytes))
    }

    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub fn is_published(&self) -> bool {
        PUBLISHED_KEYS.iter().any(|(bearer, _)| Self::of(bearer) == *self)
    }
}

/// Lower-case digits, as in the configuration.
impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHash(..)")
    }
}

/// One caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    pub name: String,
    pub role: Role,
    pub hash: KeyHash,
    /// Of a register; empty for every other role.
    pub merchants: Merchants,
    /// Of a register: the only terminals it may speak for, if it is bound to some.
    pub terminals: Option<Vec<TerminalId>>,
    /// Of a register.
    pub channels: Vec<Channel>,
    /// Of a register; the office always may.
    pub may_refund: bool,
    pub bad_codes_per_minute: u32,
}

impl ApiKey {
    /// A published key, with all rights of its role.
    pub(super) fn published(bearer: &str, role: Role, bad_codes_per_minute: u32) -> Self {
        let register = role == Role::Register;
        Self {
            name: bearer.to_owned(),
            role,
            hash: KeyHash::of(bearer),
            merchants: if register { Merchants::All } else { Merchants::Only(Vec::new()) },
            terminals: None,
            channels: if register { Channel::ALL.to_vec() } else { Vec::new() },
            may_refund: register,
            bad_codes_per_minute,
        }
    }
}

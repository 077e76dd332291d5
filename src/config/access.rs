//! Who may call: bearer keys by their hashes, their roles and what they may do.

use std::fmt;
use std::path::Path;

use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::{Engine, alphabet};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

pub use crate::domain::model::merchant::Merchants;
use crate::files;
use crate::files::Access;
use crate::hex;
use crate::http::trust::callers::Caller;
pub use crate::http::trust::callers::Role;

/// The sandbox's bearer keys, published: each is also its name. Refused outside the sandbox.
pub const PUBLISHED_KEYS: [(&str, Role); 5] = [
    ("sandbox-wallet", Role::Wallet),
    ("sandbox-register", Role::Register),
    (SIGNED_KEY, Role::Register),
    ("sandbox-office", Role::Office),
    ("sandbox-ops", Role::Ops),
];

/// The sandbox's key whose requests must be signed, and the secret for it: `test-shared-secret` of RFC 9421, B.1.5.
const SIGNED_KEY: &str = "sandbox-signed";
const PUBLISHED_SECRET: &str =
    "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ==";

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

/// A secret that a caller shares with us and signs its requests with. Wiped when dropped, never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct SignatureSecret(Zeroizing<Vec<u8>>);

/// Fewer bytes could be searched.
const LEAST_SECRET: usize = 32;
const MOST_SECRET: usize = 1_024;
const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const BASE64: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const BASE64_URL: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

impl SignatureSecret {
    /// Hexadecimal digits, or base64 of either alphabet, padded or not.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let base64 = || {
            let engine = if text.contains(['-', '_']) { BASE64_URL } else { BASE64 };
            engine.decode(text).map(Zeroizing::new).ok()
        };
        let bytes = hex::decode_any(text).or_else(base64)?;
        (LEAST_SECRET..=MOST_SECRET).contains(&bytes.len()).then_some(Self(bytes))
    }

    /// The secret in a file, which only its owner may read unless `access` says otherwise.
    pub fn read(path: &Path, access: Access) -> Result<Self, String> {
        let text = files::read_secret(path, access).map_err(|error| error.to_string())?;
        let what = "must hold one secret of 32 to 1,024 bytes in base64 or hexadecimal, and nothing else";
        Self::parse(&text).ok_or_else(|| format!("{} {what}", path.display()))
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub fn is_published(&self) -> bool {
        Self::parse(PUBLISHED_SECRET).as_ref() == Some(self)
    }
}

impl fmt::Debug for SignatureSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SignatureSecret(..)")
    }
}

/// One caller, and how it is known.
#[derive(Clone, Debug)]
pub struct ApiKey {
    pub hash: KeyHash,
    /// Its requests' verifier is made of the secret when the service starts.
    pub caller: Caller,
    /// If it is there, every request must be signed with it.
    pub signature_secret: Option<SignatureSecret>,
}

impl ApiKey {
    /// A published key, with all rights of its role.
    pub(super) fn published(bearer: &str, role: Role) -> Self {
        let signature_secret = (bearer == SIGNED_KEY).then(|| SignatureSecret::parse(PUBLISHED_SECRET)).flatten();
        Self { hash: KeyHash::of(bearer), caller: unbound(bearer, role), signature_secret }
    }
}

/// With all rights of its role, and the bound on bad codes that every key has.
pub(super) fn unbound(name: &str, role: Role) -> Caller {
    Caller { bad_codes_per_minute: None, ..Caller::unbound(name, role) }
}

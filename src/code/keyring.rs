//! The signing keys, by generation. The only place that holds a secret of this module.
//!
//! A generation lives through three states: it issues and verifies, then only verifies (until the
//! last code it sealed has expired), then it is retired. A keyring never changes: to rotate, build
//! the next one and swap the `Arc` that holds it, so that a request sees the old or the new, whole.

use std::fmt;
use std::hint::black_box;

use hmac::{Hmac, KeyInit};
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq};
use thiserror::Error;
use zeroize::Zeroizing;

/// Key generations 0–4: the V digits left after those of device-made codes.
pub const GENERATIONS: usize = 5;

/// 32 secret bytes that are wiped when dropped.
pub type SecretKey = Zeroizing<[u8; 32]>;

/// What a generation of keys may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyState {
    /// Issues new codes and verifies; exactly one generation is.
    Active,
    /// Verifies codes issued before the last rotation.
    VerifyOnly,
    /// Neither; a code of it is invalid.
    Retired,
}

/// One generation as it is configured.
pub struct GenerationKeys {
    pub generation: u8,
    pub state: KeyState,
    pub barcode: SecretKey,
    pub qr: SecretKey,
}

impl GenerationKeys {
    pub fn new(generation: u8, state: KeyState, barcode: SecretKey, qr: SecretKey) -> Self {
        Self { generation, state, barcode, qr }
    }

    /// A retired generation, whose keys need not be kept.
    pub fn retired(generation: u8) -> Self {
        let nothing = || Zeroizing::new([0; 32]);
        Self::new(generation, KeyState::Retired, nothing(), nothing())
    }
}

/// What makes a list of generations unusable. No variant carries key bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum KeyringError {
    /// The generation does not fit the V digit.
    #[error("key generation {0} does not exist: generations are 0 to 4")]
    UnknownGeneration(u8),
    /// Listed twice.
    #[error("key generation {0} is listed twice")]
    DuplicateGeneration(u8),
    /// Nothing could be issued.
    #[error("no key generation is active: exactly one must be")]
    NoActive,
    /// It would be unclear which one issues.
    #[error("key generations {0} and {1} are both active: exactly one must be")]
    TwoActive(u8, u8),
    /// All bytes equal: a placeholder, not a key.
    #[error("a key of generation {0} is a placeholder: all its bytes are equal")]
    Placeholder(u8),
    /// Two keys are the same, so that rotating, or keeping barcode and QR apart, would be void.
    #[error("a key of generation {0} is the same as another key")]
    ReusedKey(u8),
}

/// HMAC states already fed with the key: a use costs a clone, not two hash blocks.
struct Sealing {
    state: KeyState,
    barcode: Hmac<Sha256>,
    qr: Hmac<Sha256>,
}

impl Drop for Sealing {
    /// A keyed state is as good as the key, so the long-lived copy is overwritten by that of a
    /// zero key. `black_box` keeps the compiler from dropping a write nobody reads. (Building
    /// `hmac` and `sha2` with their `zeroize` features wipes the short-lived clones too.)
    fn drop(&mut self) {
        self.barcode = keyed(&[0; 32]);
        self.qr = keyed(&[0; 32]);
        black_box((&self.barcode, &self.qr));
    }
}

/// One V digit's place in the ring.
enum Slot {
    /// Never configured.
    Unknown,
    /// Configured once, its keys forgotten.
    Retired,
    /// Usable.
    Keys(Box<Sealing>),
}

/// The usable keys of one generation, as the seal borrows them.
#[derive(Clone, Copy)]
pub(super) struct Usable<'a>(&'a Sealing);

impl Usable<'_> {
    pub(super) fn barcode(self) -> Hmac<Sha256> {
        self.0.barcode.clone()
    }

    pub(super) fn qr(self) -> Hmac<Sha256> {
        self.0.qr.clone()
    }
}

/// Why a generation cannot verify.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotUsable {
    /// Not in this ring.
    Unknown,
    /// In this ring, out of use.
    Retired,
}

/// All generations.
pub struct Keyring {
    slots: [Slot; GENERATIONS],
    active: u8,
    has_published_keys: bool,
}

impl Keyring {
    pub fn new(generations: impl IntoIterator<Item = GenerationKeys>) -> Result<Self, KeyringError> {
        let listed: Vec<GenerationKeys> = generations.into_iter().collect();
        check_keys(&listed)?;
        let mut slots = [const { Slot::Unknown }; GENERATIONS];
        let mut active = None;
        for keys in &listed {
            let generation = keys.generation;
            let slot = slots.get_mut(usize::from(generation)).ok_or(KeyringError::UnknownGeneration(generation))?;
            if !matches!(slot, Slot::Unknown) {
                return Err(KeyringError::DuplicateGeneration(generation));
            }
            *slot = match keys.state {
                KeyState::Retired => Slot::Retired,
                KeyState::Active | KeyState::VerifyOnly => Slot::Keys(Box::new(Sealing {
                    state: keys.state,
                    barcode: keyed(&keys.barcode),
                    qr: keyed(&keys.qr),
                })),
            };
            if keys.state == KeyState::Active
                && let Some(first) = active.replace(generation)
            {
                return Err(KeyringError::TwoActive(first, generation));
            }
        }
        let has_published_keys =
            listed.iter().any(|keys| is_published_test_key(&keys.barcode) || is_published_test_key(&keys.qr));
        Ok(Self { slots, active: active.ok_or(KeyringError::NoActive)?, has_published_keys })
    }

    /// The published test keys as generation 1, so that anyone can check a sandbox code by hand.
    #[expect(clippy::expect_used, reason = "constants, used by every test")]
    pub fn sandbox() -> Self {
        let keys = GenerationKeys::new(
            1,
            KeyState::Active,
            Zeroizing::new(counting_from(0)),
            Zeroizing::new(counting_from(32)),
        );
        Self::new([keys]).expect("one active generation with two different keys is a keyring")
    }

    /// The generation that issues.
    pub fn active(&self) -> u8 {
        self.active
    }

    /// Whether any listed key, even of a retired generation, is a published one.
    pub fn has_published_test_keys(&self) -> bool {
        self.has_published_keys
    }

    /// `None` for a generation that was never listed.
    pub fn state(&self, generation: u8) -> Option<KeyState> {
        match self.usable(generation) {
            Ok(Usable(sealing)) => Some(sealing.state),
            Err(NotUsable::Retired) => Some(KeyState::Retired),
            Err(NotUsable::Unknown) => None,
        }
    }

    /// The keys of a generation that verifies.
    pub(super) fn usable(&self, generation: u8) -> Result<Usable<'_>, NotUsable> {
        match self.slots.get(usize::from(generation)) {
            Some(Slot::Keys(sealing)) => Ok(Usable(sealing)),
            Some(Slot::Retired) => Err(NotUsable::Retired),
            Some(Slot::Unknown) | None => Err(NotUsable::Unknown),
        }
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let states = (0..=9).filter_map(|generation| Some((generation, self.state(generation)?)));
        f.debug_map().entries(states).finish()
    }
}

/// Whether the key is one of those printed in the documentation (barcode, QR, device), which
/// must be refused outside the sandbox.
pub fn is_published_test_key(key: &[u8; 32]) -> bool {
    let known = [0, 32, 64].map(|first| counting_from(first).ct_eq(key));
    known.into_iter().fold(Choice::from(0), |any, one| any | one).into()
}

/// 32 bytes counting up: the form of the published test keys.
fn counting_from(first: u8) -> [u8; 32] {
    let mut key = [first; 32];
    for (byte, step) in key.iter_mut().zip(0..32) {
        *byte = first.wrapping_add(step);
    }
    key
}

#[expect(clippy::expect_used, reason = "the error is of MACs whose key length is fixed")]
fn keyed(key: &[u8; 32]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes a key of any length")
}

/// Placeholders and repeated keys; those of retired generations are not looked at.
fn check_keys(listed: &[GenerationKeys]) -> Result<(), KeyringError> {
    let mut seen: Vec<&SecretKey> = Vec::with_capacity(2 * listed.len());
    for keys in listed.iter().filter(|keys| keys.state != KeyState::Retired) {
        for key in [&keys.barcode, &keys.qr] {
            let (first, rest) = key.split_first().unwrap_or((&0, &[]));
            let differs = rest.iter().fold(0, |bits, byte| bits | (byte ^ first));
            if differs == 0 {
                return Err(KeyringError::Placeholder(keys.generation));
            }
            if seen.iter().any(|other| other.ct_eq(key.as_slice()).into()) {
                return Err(KeyringError::ReusedKey(keys.generation));
            }
            seen.push(key);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn key(seed: u8) -> SecretKey {
        let mut key = counting_from(seed);
        key[0] = 0xA5;
        Zeroizing::new(key)
    }

    fn listed(generation: u8, state: KeyState) -> GenerationKeys {
        GenerationKeys::new(generation, state, key(100 + generation), key(200 + generation))
    }

    #[test]
    fn states_and_the_active_one() {
        let ring =
            Keyring::new([GenerationKeys::retired(0), listed(1, KeyState::VerifyOnly), listed(2, KeyState::Active)])
                .unwrap();
        assert_eq!(ring.active(), 2);
        assert_eq!(ring.state(0), Some(KeyState::Retired));
        assert_eq!(ring.state(1), Some(KeyState::VerifyOnly));
        assert_eq!(ring.state(2), Some(KeyState::Active));
        assert_eq!(ring.state(3), None);
        assert_eq!(ring.state(255), None);
        assert_eq!(ring.usable(0).err(), Some(NotUsable::Retired));
        assert!(ring.usable(1).is_ok());
    }

    #[test]
    fn impossible_rings_name_the_generation() {
        use KeyState::{Active, Retired, VerifyOnly};
        let error = |list: Vec<GenerationKeys>| Keyring::new(list).err();
        assert_eq!(error(vec![]), Some(KeyringError::NoActive));
        assert_eq!(error(vec![listed(1, VerifyOnly)]), Some(KeyringError::NoActive));
        let two = vec![listed(1, Active), listed(3, Active)];
        assert_eq!(error(two), Some(KeyringError::TwoActive(1, 3)));
        let outside = vec![listed(5, Active)];
        assert_eq!(error(outside), Some(KeyringError::UnknownGeneration(5)));
        let twice = vec![listed(2, Active), GenerationKeys::retired(2)];
        assert_eq!(error(twice), Some(KeyringError::DuplicateGeneration(2)));
        let blank = GenerationKeys::new(4, Active, key(1), Zeroizing::new([7; 32]));
        assert_eq!(error(vec![blank]), Some(KeyringError::Placeholder(4)));
        let same = GenerationKeys::new(4, Active, key(1), key(1));
        assert_eq!(error(vec![same]), Some(KeyringError::ReusedKey(4)));
        let carried = GenerationKeys::new(3, VerifyOnly, key(104), key(9));
        assert_eq!(error(vec![listed(4, Active), carried]), Some(KeyringError::ReusedKey(3)));
        let old = GenerationKeys::new(3, Retired, key(104), key(9));
        assert_eq!(error(vec![listed(4, Active), old]), None);
    }

    #[test]
    fn published_keys_are_known() {
        let published: [u8; 32] = std::array::from_fn(|i| u8::try_from(i).unwrap());
        assert!(is_published_test_key(&published));
        assert!(is_published_test_key(&published.map(|byte| byte + 32)));
        assert!(!is_published_test_key(&published.map(|byte| byte + 1)));
        assert!(Keyring::sandbox().has_published_test_keys());
        assert!(!Keyring::new([listed(1, KeyState::Active)]).unwrap().has_published_test_keys());
    }

    #[test]
    fn debug_shows_states_only_and_the_ring_is_shared() {
        fn shared<T: Send + Sync>(_: &T) {}
        let ring = Arc::new(Keyring::sandbox());
        shared(&ring);
        assert_eq!(format!("{ring:?}"), "{1: Active}");
    }
}

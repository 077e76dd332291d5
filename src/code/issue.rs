//! Minting: the texts of one code, from facts the engine has recorded.
//!
//! The same facts give the same texts, so a code need not be stored as text: it is minted again
//! when a picture of it is asked for.

use thiserror::Error;

use super::body::{Body, digits_text};
use super::issuers::{Form, Issuer};
use super::keyring::Keyring;
use super::qr::Facts;
use super::{barcode, qr, seal};
use crate::domain::model::code::barcode_epoch;
use crate::domain::model::ids::Handle;
use crate::domain::model::time::{Millis, SECOND};

/// The two renderings of one code. No `Debug`: a live code is not for logs.
#[derive(Clone, PartialEq, Eq)]
pub struct Minted {
    /// L24, or TOK19 where the issuer's form says so.
    pub barcode: String,
    /// The text of the QR.
    pub qr: String,
}

/// Why a code cannot be minted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum MintError {
    /// Its keys are retired or were never there.
    #[error("key generation {0} is not in use")]
    Generation(u8),
    /// Before 1970 or after 2106: the QR holds 32 bits of Unix seconds.
    #[error("the time does not fit a QR")]
    Time,
}

/// Mints under one generation: the one that issues or, to show a code again after a rotation, the one it was issued with.
///
/// `issued_at_ms` is Unix milliseconds, of which codes carry the whole seconds; `ttl_s` is
/// seconds; `counter` and `random` make the QR unique and are checked against the record.
#[expect(clippy::too_many_arguments, reason = "keys and the facts of one code")]
pub fn mint(
    keys: &Keyring,
    generation: u8,
    issuer: &Issuer<'_>,
    handle: Handle,
    issued_at_ms: i64,
    ttl_s: u16,
    counter: u16,
    random: u32,
) -> Result<Minted, MintError> {
    let unknown = MintError::Generation(generation);
    let issued_at = u32::try_from(issued_at_ms.div_euclid(1_000)).map_err(|_| MintError::Time)?;
    let usable = keys.usable(generation).map_err(|_| unknown)?;
    let body = Body::new(issuer.prefix, generation, handle).ok_or(unknown)?;
    let tok19 = body.tok19();
    let barcode = match issuer.form {
        Form::L24 => {
            let epoch = barcode_epoch(Millis(i64::from(issued_at) * SECOND));
            barcode::l24(&body, seal::barcode_mac(usable, &body.ascii(), epoch))
        }
        Form::Tok19 => digits_text(&tok19),
    };
    let head = Facts { generation, counter, random, issued_at, ttl: ttl_s }.head();
    let mac = seal::qr_mac(usable, &tok19, &head);
    Ok(Minted { barcode, qr: qr::payload(issuer.application, &tok19, &head, &mac) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::code::body::Prefix;
    use crate::code::issuers::{Aid, Application, Issuers, Label};
    use crate::code::keyring::{GenerationKeys, KeyState};

    const ISSUED_MS: i64 = 1_795_423_500_000;

    fn handle() -> Handle {
        Handle::new(314_159_265).unwrap()
    }

    #[test]
    fn published_code() {
        let (ring, issuers) = (Keyring::sandbox(), Issuers::sandbox());
        let issuer = issuers.issuer(Form::L24).unwrap();
        for ms in [0, 1, 999] {
            let code = mint(&ring, ring.active(), &issuer, handle(), ISSUED_MS + ms, 300, 7, 0xA1B2_C3D4);
            let code = code.unwrap();
            assert_eq!(code.barcode, "900099991314159265005632");
            assert_eq!(
                code.qr,
                "hQVDUFYwMWFNTwfwAAAAAAABUAdURVNUUEFZWgqQAJmZExQVkmV/Yy2fNgIAB583BKGyw9SfEAgBAWsD/QwBLJ8mCPd5CpHMrvdo3wEI/832gLRY7Ko="
            );
        }
    }

    #[test]
    fn tok19_form() {
        let application = Application {
            aid: Aid::parse("F0000000000002").unwrap(),
            form: Form::Tok19,
            label: Label::parse("NET").unwrap(),
        };
        let prefix = Prefix::parse("90009999").unwrap();
        let issuers = Issuers::new(vec![(prefix, Form::Tok19)], vec![application]).unwrap();
        let issuer = issuers.issuer(Form::Tok19).unwrap();
        let code =
            mint(&Keyring::sandbox(), Keyring::sandbox().active(), &issuer, handle(), ISSUED_MS, 60, 7, 1).unwrap();
        assert_eq!(code.barcode, "9000999913141592657");
    }

    #[test]
    fn old_generations_can_be_shown_again_until_retired() {
        let key = |seed: u8| zeroize::Zeroizing::new(std::array::from_fn(|i| seed ^ u8::try_from(i).unwrap()));
        let old = |state| GenerationKeys::new(0, state, key(1), key(2));
        let new = |state| GenerationKeys::new(4, state, key(3), key(4));
        let issuers = Issuers::sandbox();
        let issuer = issuers.issuer(Form::L24).unwrap();
        let before = Keyring::new([old(KeyState::Active)]).unwrap();
        let during = Keyring::new([old(KeyState::VerifyOnly), new(KeyState::Active)]).unwrap();
        let after = Keyring::new([old(KeyState::Retired), new(KeyState::Active)]).unwrap();
        let first = mint(&before, before.active(), &issuer, handle(), ISSUED_MS, 300, 7, 1).ok();
        let again = |ring| mint(ring, 0, &issuer, handle(), ISSUED_MS, 300, 7, 1);
        assert!(first.is_some() && first == again(&during).ok());
        assert_eq!(again(&after).err(), Some(MintError::Generation(0)));
        let fresh = mint(&during, during.active(), &issuer, handle(), ISSUED_MS, 300, 7, 1).unwrap();
        assert!(fresh.barcode.starts_with("900099994"));
    }

    #[test]
    fn times_outside_32_bits_are_refused() {
        let (ring, issuers) = (Keyring::sandbox(), Issuers::sandbox());
        let issuer = issuers.issuer(Form::L24).unwrap();
        let at = |ms| mint(&ring, ring.active(), &issuer, handle(), ms, 300, 0, 0).err();
        let last = i64::from(u32::MAX) * 1_000 + 999;
        assert_eq!(at(0), None);
        assert_eq!(at(last), None);
        for ms in [-1, last + 1, i64::MIN, i64::MAX] {
            assert_eq!(at(ms), Some(MintError::Time));
        }
    }
}

//! The 18-digit body that barcode and QR share, and its 19-digit form with a Luhn digit.
//!
//! ```text
//! body  = prefix (8) | version (1) | handle (9)
//! TOK19 = body | Luhn (1)       the value of ISO 8583 DE 2 and of EMV tag 5A
//! ```

use std::fmt;

use thiserror::Error;

use crate::domain::model::ids::Handle;

/// Digits of a body.
pub const BODY_DIGITS: usize = 18;
/// Digits of a TOK19, the most that ISO 8583 DE 2 can carry.
pub const TOK19_DIGITS: usize = 19;
/// Versions from here on are made by the phone itself (offline codes), a later step.
const FIRST_DEVICE_VERSION: u8 = 5;

/// The eight digits by which a register recognises the issuer.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Prefix([u8; 8]);

/// Not eight digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a prefix is exactly 8 digits")]
pub struct PrefixError;

impl Prefix {
    pub fn parse(text: &str) -> Result<Self, PrefixError> {
        <[u8; 8]>::try_from(text.as_bytes()).ok().and_then(Self::from_ascii).ok_or(PrefixError)
    }

    pub(super) fn from_ascii(digits: [u8; 8]) -> Option<Self> {
        digits.iter().all(u8::is_ascii_digit).then_some(Self(digits))
    }

    /// The eight ASCII digits.
    pub const fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|digit| write!(f, "{}", char::from(*digit)))
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Prefix({self})")
    }
}

/// What every form of a code has in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Body {
    prefix: Prefix,
    version: u8,
    handle: Handle,
}

/// Why digits are not a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BodyError {
    /// Something else than a decimal digit.
    #[error("not all characters are digits")]
    Digits,
    /// The last digit of a TOK19 does not fit the others.
    #[error("the check digit is wrong")]
    Luhn,
}

impl Body {
    /// `None` unless `version` is one digit.
    pub fn new(prefix: Prefix, version: u8, handle: Handle) -> Option<Self> {
        (version <= 9).then_some(Self { prefix, version, handle })
    }

    pub fn parse(digits: &[u8; BODY_DIGITS]) -> Result<Self, BodyError> {
        let number = number(digits).ok_or(BodyError::Digits)?;
        let prefix = digits.first_chunk().copied().and_then(Prefix::from_ascii);
        let handle = u32::try_from(number % u64::from(Handle::END)).ok().and_then(Handle::new);
        let version = u8::try_from(number / u64::from(Handle::END) % 10).ok();
        match (prefix, version, handle) {
            (Some(prefix), Some(version), Some(handle)) => Ok(Self { prefix, version, handle }),
            _ => Err(BodyError::Digits),
        }
    }

    /// Reads a TOK19 and checks its Luhn digit.
    pub fn from_tok19(digits: &[u8; TOK19_DIGITS]) -> Result<Self, BodyError> {
        let (body, check) = digits.split_first_chunk::<BODY_DIGITS>().ok_or(BodyError::Digits)?;
        let parsed = Self::parse(body)?;
        match check {
            [check] if !check.is_ascii_digit() => Err(BodyError::Digits),
            [check] if *check == luhn(body) => Ok(parsed),
            _ => Err(BodyError::Luhn),
        }
    }

    pub const fn prefix(&self) -> Prefix {
        self.prefix
    }

    /// The V digit: 0–4 is the key generation of a code we made, 5–9 is device-made.
    pub const fn version(&self) -> u8 {
        self.version
    }

    pub const fn is_device_made(&self) -> bool {
        self.version >= FIRST_DEVICE_VERSION
    }

    pub const fn handle(&self) -> Handle {
        self.handle
    }

    /// The 18 ASCII digits, as the barcode's MAC covers them.
    pub fn ascii(&self) -> [u8; BODY_DIGITS] {
        let mut out = [b'0'; BODY_DIGITS];
        let tail: [u8; 10] = decimal(u64::from(self.version) * u64::from(Handle::END) + u64::from(self.handle.get()));
        for (slot, digit) in out.iter_mut().zip(self.prefix.0.into_iter().chain(tail)) {
            *slot = digit;
        }
        out
    }

    /// The body and its Luhn digit, in ASCII.
    pub fn tok19(&self) -> [u8; TOK19_DIGITS] {
        let body = self.ascii();
        let mut out = [b'0'; TOK19_DIGITS];
        for (slot, digit) in out.iter_mut().zip(body.into_iter().chain([luhn(&body)])) {
            *slot = digit;
        }
        out
    }
}

/// The check digit (ASCII) that makes `body` followed by it pass the Luhn test of card numbers.
pub fn luhn(body: &[u8; BODY_DIGITS]) -> u8 {
    let sum: u32 = body
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| {
            let digit = u32::from(digit.wrapping_sub(b'0'));
            // The check digit itself will stand at the end, so every other digit from ours on doubles.
            let weighed = if place % 2 == 0 { digit * 2 } else { digit };
            if weighed > 9 { weighed - 9 } else { weighed }
        })
        .sum();
    let [digit] = decimal(u64::from((10 - sum % 10) % 10));
    digit
}

/// `number` in `N` ASCII digits, higher digits cut off.
pub(super) fn decimal<const N: usize>(number: u64) -> [u8; N] {
    let mut rest = number;
    let mut out = [b'0'; N];
    for slot in out.iter_mut().rev() {
        let [low, ..] = (rest % 10).to_le_bytes();
        *slot = b'0' + low;
        rest /= 10;
    }
    out
}

/// The value of up to 19 ASCII digits; `None` for anything else.
pub(super) fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0_u64, |value, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

/// ASCII digits as text. Every caller passes digits it made or checked itself.
pub(super) fn digits_text(digits: &[u8]) -> String {
    digits.iter().map(|digit| char::from(*digit)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Body {
        let prefix = Prefix::parse("90009999").unwrap();
        Body::new(prefix, 1, Handle::new(314_159_265).unwrap()).unwrap()
    }

    #[test]
    fn published_tok19() {
        assert_eq!(&sample().ascii(), b"900099991314159265");
        assert_eq!(&sample().tok19(), b"9000999913141592657");
        assert_eq!(Body::from_tok19(b"9000999913141592657"), Ok(sample()));
        assert_eq!(Body::parse(b"900099991314159265"), Ok(sample()));
    }

    #[test]
    fn luhn_catches_every_single_wrong_digit() {
        let good = sample().tok19();
        for place in 0..good.len() {
            for digit in b'0'..=b'9' {
                let mut bad = good;
                bad[place] = digit;
                assert_eq!(Body::from_tok19(&bad).is_ok(), bad == good);
            }
            let mut bad = good;
            bad[place] = b'x';
            assert_eq!(Body::from_tok19(&bad), Err(BodyError::Digits));
        }
    }

    #[test]
    fn zeros_survive_and_bounds_hold() {
        let prefix = Prefix::parse("00000000").unwrap();
        let body = Body::new(prefix, 0, Handle::new(7).unwrap()).unwrap();
        assert_eq!(&body.ascii(), b"000000000000000007");
        assert_eq!(Body::parse(&body.ascii()), Ok(body));
        let top = Handle::new(999_999_999).unwrap();
        assert_eq!(Handle::new(1_000_000_000), None);
        let body = Body::new(Prefix::parse("99999999").unwrap(), 9, top).unwrap();
        assert_eq!(&body.ascii(), b"999999999999999999");
        assert_eq!(Body::parse(&body.ascii()), Ok(body));
        assert_eq!(Body::new(prefix, 10, top), None);
    }

    #[test]
    fn part_is_handle_mod_64() {
        for number in [0, 63, 64, 65, 314_159_265, 999_999_999] {
            assert_eq!(u32::from(Handle::new(number).unwrap().part().get()), number % 64);
        }
    }

    #[test]
    fn prefix_is_eight_digits() {
        for text in ["", "9000999", "900099990", "9000 999", "９０００９９９９"] {
            assert_eq!(Prefix::parse(text), Err(PrefixError), "{text}");
        }
        assert_eq!(Prefix::parse("01234567").unwrap().to_string(), "01234567");
    }

    #[test]
    fn debug_hides_the_handle() {
        assert!(!format!("{:?}", sample()).contains("314159265"));
    }
}

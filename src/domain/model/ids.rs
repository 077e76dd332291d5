//! Names of things: inline, bounded, one alphabet, no heap.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::num::NonZero;

/// Up to `N` bytes of `A-Z a-z 0-9 - _`, stored inline so that a record or an order needs no heap.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text<const N: usize> {
    len: u8,
    bytes: [u8; N],
}

/// Why a text is not a name of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadText {
    #[error("must be 1 to {max} characters long")]
    Length { max: usize },
    #[error("may hold only A-Z, a-z, 0-9, '-' and '_'")]
    Alphabet,
}

impl<const N: usize> Text<N> {
    pub fn new(text: &str) -> Result<Self, BadText> {
        let raw = text.as_bytes();
        let (Ok(len), 1..) = (u8::try_from(raw.len()), raw.len()) else {
            return Err(BadText::Length { max: N });
        };
        let mut bytes = [0; N];
        let Some(place) = bytes.get_mut(..raw.len()) else {
            return Err(BadText::Length { max: N });
        };
        if !raw.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')) {
            return Err(BadText::Alphabet);
        }
        place.copy_from_slice(raw);
        Ok(Self { len, bytes })
    }

    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

impl<const N: usize> fmt::Display for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl<const N: usize> fmt::Debug for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident = $max:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Text<$max>);

        impl $name {
            pub const MAX: usize = $max;
            pub fn new(text: &str) -> Result<Self, BadText> {
                Text::new(text).map(Self)
            }
            pub fn as_bytes(&self) -> &[u8] {
                self.0.as_bytes()
            }
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

names! {
    /// The issuer's name of a person.
    CustomerId = 32;
    /// A shop's contract; ISO 8583 carries it in DE 42 (15 characters) or by a mapping.
    MerchantId = 32;
    StoreId = 15;
    TerminalId = 8;
    /// The register's own id of a sale; unique with the merchant within the retention.
    OrderId = 64;
    RefundId = 64;
    /// The back office's own id of what it tells us: a repayment, a block, a payout.
    OfficeId = 64;
    /// An item's category as the register names it.
    Category = 32;
}

impl From<OrderId> for RefundId {
    /// A network names a refund as it names a sale.
    fn from(OrderId(text): OrderId) -> Self {
        Self(text)
    }
}

/// A terminal's id in eight bytes, as an order keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TerminalKey(NonZero<u64>);

impl TerminalKey {
    /// The letters of the id, zeros behind them.
    pub fn of(terminal: TerminalId) -> Option<Self> {
        let mut bytes = [0; TerminalId::MAX];
        bytes.iter_mut().zip(terminal.as_bytes()).for_each(|(place, letter)| *place = *letter);
        NonZero::new(u64::from_le_bytes(bytes)).map(Self)
    }
}

/// One of the 64 parts of the customer space. It is in every record, code and public id from day one,
/// so that parts can move to machines of their own later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Part(u8);

impl Part {
    pub const COUNT: u8 = 64;

    /// The part of a customer: crc32c of the id mod 64. Part of the journal format, never to change.
    pub fn of(customer: &CustomerId) -> Self {
        Self::from_number(u64::from(crc32c::crc32c(customer.as_bytes())))
    }

    /// The number mod 64.
    pub fn from_number(number: u64) -> Self {
        Self(number.to_le_bytes()[0] % Self::COUNT)
    }

    pub const fn get(self) -> u8 {
        self.0
    }
}

/// A code's random 9-digit number. `handle mod 64` is the customer's part.
///
/// Its `Debug` shows the part only: prefix and handle together are a usable 19-digit code.
/// It is kept one higher than it is, so that `Option<Handle>` takes 4 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Handle(NonZero<u32>);

/// Hashes the number itself: fingerprints of orders are stored in the ledger.
impl Hash for Handle {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.get().hash(state);
    }
}

impl Handle {
    /// Nine decimal digits.
    pub const END: u32 = 1_000_000_000;

    pub const fn new(number: u32) -> Option<Self> {
        if number < Self::END { Some(Self(NonZero::<u32>::MIN.saturating_add(number))) } else { None }
    }

    /// A handle of `part`, evenly drawn from `random`: 10^9 / 64 = 15,625,000 handles a part.
    pub fn draw(part: Part, random: u64) -> Self {
        let row = random % u64::from(Self::END / u32::from(Part::COUNT));
        let number = row * u64::from(Part::COUNT) + u64::from(part.get());
        Self(NonZero::<u32>::MIN.saturating_add(u32::try_from(number).unwrap_or(0)))
    }

    pub const fn get(self) -> u32 {
        self.0.get() - 1
    }

    pub fn part(self) -> Part {
        Part::from_number(u64::from(self.get()))
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handle(part {})", self.part().get())
    }
}

/// Position of a record in the journal; the first record is 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

impl Lsn {
    pub const ZERO: Self = Self(0);
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// A position in seven bytes, where a table has no room for eight. A million records a second reach its end in 2,283 years.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PackedLsn([u8; 7]);

impl PackedLsn {
    pub const fn get(self) -> Lsn {
        let [a, b, c, d, e, f, g] = self.0;
        Lsn(u64::from_le_bytes([a, b, c, d, e, f, g, 0]))
    }
}

impl From<Lsn> for PackedLsn {
    fn from(lsn: Lsn) -> Self {
        let [a, b, c, d, e, f, g, _] = lsn.0.to_le_bytes();
        Self([a, b, c, d, e, f, g])
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Crockford's alphabet in lower case: no i, l, o, u, so that an id survives being read aloud.
const BASE32: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// 128 bits in 5-bit digits.
const DIGITS: usize = 26;

fn to_base32(mut value: u128) -> [u8; DIGITS] {
    let mut out = [b'0'; DIGITS];
    for digit in out.iter_mut().rev() {
        *digit = BASE32[usize::from(value.to_le_bytes()[0] & 31)];
        value >>= 5;
    }
    out
}

/// The digit of each byte; [`NO_DIGIT`] for one that is none. A start reads a million ids.
const FROM_BASE32: [u8; 256] = {
    let mut digits = [NO_DIGIT; 256];
    let mut digit = 0;
    while digit < BASE32.len() {
        digits[BASE32[digit] as usize] = digit.to_le_bytes()[0];
        digit += 1;
    }
    digits
};
const NO_DIGIT: u8 = 32;

fn from_base32(text: &str) -> Option<u128> {
    let digits: &[u8; DIGITS] = text.as_bytes().try_into().ok()?;
    let digit = |byte: u8| Some(FROM_BASE32[usize::from(byte)]).filter(|digit| *digit != NO_DIGIT);
    // 26 digits have room for 130 bits.
    if digit(digits[0])? > 7 {
        return None;
    }
    digits.iter().try_fold(0, |value, byte| Some(value << 5 | u128::from(digit(*byte)?)))
}

macro_rules! public_ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        ///
        /// Part (6 bits), lsn (58 bits), random (64 bits): it says where its record is and can't be guessed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name {
            pub part: Part,
            pub lsn: Lsn,
            pub random: u64,
        }

        impl $name {
            pub fn parse(text: &str) -> Option<Self> {
                let value = from_base32(text.strip_prefix($prefix)?)?;
                let place = u64::try_from(value >> 64).ok()?;
                let random = u64::try_from(value & u128::from(u64::MAX)).ok()?;
                Some(Self { part: Part::from_number(place >> 58), lsn: Lsn(place & (u64::MAX >> 6)), random })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let place = u64::from(self.part.get()) << 58 | self.lsn.0;
                let digits = to_base32(u128::from(place) << 64 | u128::from(self.random));
                f.write_str($prefix)?;
                f.write_str(std::str::from_utf8(&digits).unwrap_or_default())
            }
        }
    )*};
}

public_ids! {
    /// Public id of an authorization decision.
    AuthorizationId = "aut_";
    /// Public id of an issued code; it is not the code.
    CodeId = "cod_";
}

impl AuthorizationId {
    /// Six signs for the receipt, from the random part; letters and digits that are hard to mistake.
    pub fn approval_code(&self) -> [u8; 6] {
        let mut bits = self.random;
        std::array::from_fn(|_| {
            let sign = SIGNS[usize::from(bits.to_le_bytes()[0] & 31)];
            bits >>= 5;
            sign
        })
    }
}

/// Of approval codes.
const SIGNS: &[u8; 32] = b"23456789ABCDEFGHJKLMNPQRSTUVWXYZ";

/// An approval code as a person reads it off a receipt, kept as what the ids that have it end in: their last six digits are the
/// same 30 bits the other way round. Different ids may have one code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApprovalCode([u8; 6]);

impl ApprovalCode {
    /// In capitals or small letters.
    pub fn parse(text: &str) -> Option<Self> {
        let signs: &[u8; 6] = text.as_bytes().try_into().ok()?;
        let mut end = [0; 6];
        for (place, sign) in end.iter_mut().rev().zip(signs) {
            let digit = SIGNS.iter().position(|known| *known == sign.to_ascii_uppercase())?;
            *place = *BASE32.get(digit)?;
        }
        Some(Self(end))
    }

    /// What the ids end in.
    pub fn end_of_ids(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// Index of a customer in the dense table of accounts: the order of first appearance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CustomerIx(pub u32);

impl CustomerIx {
    /// Of what is no customer's.
    pub const NOBODY: Self = Self(u32::MAX);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_approval_code_says_how_its_ids_end() {
        for random in [0, 1, 0x0123_4567_89ab_cdef, u64::MAX, 0x3fff_0000] {
            let id = AuthorizationId { part: Part::default(), lsn: Lsn(7), random };
            let code = String::from_utf8(id.approval_code().to_vec()).unwrap();
            for written in [code.clone(), code.to_lowercase()] {
                let end = ApprovalCode::parse(&written).unwrap();
                assert!(id.to_string().ends_with(end.end_of_ids()), "{code} of {id}");
            }
        }
        for wrong in ["", "4K7P2", "4K7P2Q2", "4K7P2O", "4K7P21", "4K7P2あ"] {
            assert_eq!(ApprovalCode::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn names_are_bounded_and_plain() {
        assert_eq!(CustomerId::new("a-Z_9").unwrap().as_str(), "a-Z_9");
        assert_eq!(CustomerId::new(""), Err(BadText::Length { max: 32 }));
        assert_eq!(CustomerId::new(&"x".repeat(33)), Err(BadText::Length { max: 32 }));
        assert!(OrderId::new(&"x".repeat(64)).is_ok());
        assert_eq!(TerminalId::new("T 1"), Err(BadText::Alphabet));
        assert_eq!(StoreId::new("店"), Err(BadText::Alphabet));
    }

    #[test]
    fn public_ids_survive_their_text() {
        let id = AuthorizationId { part: Part::from_number(63), lsn: Lsn(u64::MAX >> 6), random: u64::MAX };
        assert_eq!(AuthorizationId::parse(&id.to_string()), Some(id));
        let id = CodeId { part: Part::default(), lsn: Lsn(1), random: 0 };
        assert_eq!(CodeId::parse(&id.to_string()), Some(id));
        assert_eq!(CodeId::parse("cod_"), None);
        assert_eq!(CodeId::parse("cod_80000000000000000000000000"), None, "129 bits");
        assert_eq!(CodeId::parse("cod_0000000000000000000000000u"), None, "u is no digit");
        assert_eq!(CodeId::parse("cod_0000000000000000000000000z").map(|id| id.random), Some(31));
        assert_eq!(AuthorizationId::parse(&id.to_string()), None);
    }

    #[test]
    fn a_packed_position_is_the_position() {
        for lsn in [0, 1, 0x0012_3456_789a_bcde, (1 << 56) - 1] {
            assert_eq!(PackedLsn::from(Lsn(lsn)).get(), Lsn(lsn));
        }
    }

    #[test]
    fn a_drawn_handle_is_of_its_part() {
        for random in [0, 1, 15_624_999, 15_625_000, u64::MAX] {
            for part in [0, 1, 63] {
                let handle = Handle::draw(Part::from_number(part), random);
                assert!(handle.get() < Handle::END);
                assert_eq!(u64::from(handle.part().get()), part);
            }
        }
    }

    #[test]
    fn the_part_of_a_customer_never_changes() {
        assert_eq!(Part::of(&CustomerId::new("1001").unwrap()).get(), (crc32c::crc32c(b"1001") % 64) as u8);
    }
}

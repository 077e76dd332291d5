//! The data elements of ISO 8583:1987 as data: number, name, characters, length, and whether it may be shown.

/// Which bytes an element may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Digits.
    N,
    /// A sign `C` or `D`, then digits.
    Xn,
    /// Letters, digits and spaces.
    An,
    /// Any printable character.
    Ans,
    /// Track data: digits, `=` and `D`.
    Z,
    /// Any byte.
    B,
}

impl Class {
    pub fn allows(self, bytes: &[u8]) -> bool {
        match self {
            Self::N => bytes.iter().all(u8::is_ascii_digit),
            Self::Xn => matches!(bytes, [b'C' | b'D', rest @ ..] if rest.iter().all(u8::is_ascii_digit)),
            Self::An => bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b' '),
            // Japanese shop names come in Shift JIS or UTF-8; only control characters are refused.
            Self::Ans => bytes.iter().all(|byte| *byte >= b' ' && *byte != 0x7F),
            Self::Z => bytes.iter().all(|byte| byte.is_ascii_digit() || matches!(byte, b'=' | b'D')),
            Self::B => true,
        }
    }
}

/// How long an element is, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    Fixed(u16),
    /// Two digits of length before it.
    Ll(u16),
    /// Three digits.
    Lll(u16),
}

impl Length {
    /// Digits of length before the value.
    pub const fn digits(self) -> usize {
        match self {
            Self::Fixed(_) => 0,
            Self::Ll(_) => 2,
            Self::Lll(_) => 3,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element {
    pub number: u8,
    pub name: &'static str,
    pub class: Class,
    pub length: Length,
    /// Never shown in clear.
    pub sensitive: bool,
}

/// Elements in the order of their numbers, from 2 to 128.
pub const ELEMENTS: [Element; 127] = elements();

/// The element of a number from 2 to 128.
pub fn element(number: u8) -> Option<&'static Element> {
    ELEMENTS.get(usize::from(number).checked_sub(2)?)
}

macro_rules! table {
    ($($number:literal $name:literal $class:ident $length:ident($size:literal) $($sensitive:ident)?;)*) => {
        /// The elements with a meaning of their own. The rest are private or reserved: text of up to 999.
        const NAMED: &[Element] = &[$(Element {
            number: $number,
            name: $name,
            class: Class::$class,
            length: Length::$length($size),
            sensitive: table!(@ $($sensitive)?),
        }),*];
    };
    (@ sensitive) => { true };
    (@) => { false };
}

table! {
    2 "primary account number" N Ll(19) sensitive;
    3 "processing code" N Fixed(6);
    4 "amount, transaction" N Fixed(12);
    5 "amount, settlement" N Fixed(12);
    6 "amount, cardholder billing" N Fixed(12);
    7 "transmission date and time" N Fixed(10);
    8 "amount, cardholder billing fee" N Fixed(8);
    9 "conversion rate, settlement" N Fixed(8);
    10 "conversion rate, cardholder billing" N Fixed(8);
    11 "system trace audit number" N Fixed(6);
    12 "time, local" N Fixed(6);
    13 "date, local" N Fixed(4);
    14 "date, expiration" N Fixed(4) sensitive;
    15 "date, settlement" N Fixed(4);
    16 "date, conversion" N Fixed(4);
    17 "date, capture" N Fixed(4);
    18 "merchant type" N Fixed(4);
    19 "country, acquirer" N Fixed(3);
    20 "country, account" N Fixed(3);
    21 "country, forwarder" N Fixed(3);
    22 "point of service entry mode" N Fixed(3);
    23 "card sequence number" N Fixed(3);
    24 "network international identifier" N Fixed(3);
    25 "point of service condition code" N Fixed(2);
    26 "point of service PIN capture code" N Fixed(2);
    27 "approval code length" N Fixed(1);
    28 "amount, transaction fee" Xn Fixed(9);
    29 "amount, settlement fee" Xn Fixed(9);
    30 "amount, transaction processing fee" Xn Fixed(9);
    31 "amount, settlement processing fee" Xn Fixed(9);
    32 "acquiring institution" N Ll(11);
    33 "forwarding institution" N Ll(11);
    34 "primary account number, extended" Ans Ll(28) sensitive;
    35 "track 2 data" Z Ll(37) sensitive;
    36 "track 3 data" Z Lll(104) sensitive;
    37 "retrieval reference number" An Fixed(12);
    38 "approval code" An Fixed(6);
    39 "response code" An Fixed(2);
    40 "service restriction code" An Fixed(3);
    41 "terminal" Ans Fixed(8);
    42 "card acceptor" Ans Fixed(15);
    43 "card acceptor name and location" Ans Fixed(40);
    44 "additional response data" Ans Ll(25);
    45 "track 1 data" Ans Ll(76) sensitive;
    46 "additional data, ISO" Ans Lll(999);
    47 "additional data, national" Ans Lll(999);
    48 "additional data, private" Ans Lll(999);
    49 "currency, transaction" An Fixed(3);
    50 "currency, settlement" An Fixed(3);
    51 "currency, cardholder billing" An Fixed(3);
    52 "PIN data" B Fixed(8) sensitive;
    53 "security control information" N Fixed(16) sensitive;
    54 "additional amounts" Ans Lll(120);
    55 "ICC data" B Lll(255) sensitive;
    // As the scanner gave it, whatever that is.
    62 "scanned code" B Lll(999) sensitive;
    64 "message authentication code" B Fixed(8) sensitive;
    65 "bitmap, extended" B Fixed(1);
    66 "settlement code" N Fixed(1);
    67 "extended payment code" N Fixed(2);
    68 "country, receiver" N Fixed(3);
    69 "country, settlement" N Fixed(3);
    70 "network management information code" N Fixed(3);
    71 "message number" N Fixed(4);
    72 "message number, last" N Fixed(4);
    73 "date, action" N Fixed(6);
    74 "credits, number" N Fixed(10);
    75 "credits, reversal number" N Fixed(10);
    76 "debits, number" N Fixed(10);
    77 "debits, reversal number" N Fixed(10);
    78 "transfer, number" N Fixed(10);
    79 "transfer, reversal number" N Fixed(10);
    80 "inquiries, number" N Fixed(10);
    81 "authorizations, number" N Fixed(10);
    82 "credits, processing fee" N Fixed(12);
    83 "credits, transaction fee" N Fixed(12);
    84 "debits, processing fee" N Fixed(12);
    85 "debits, transaction fee" N Fixed(12);
    86 "credits, amount" N Fixed(16);
    87 "credits, reversal amount" N Fixed(16);
    88 "debits, amount" N Fixed(16);
    89 "debits, reversal amount" N Fixed(16);
    90 "original data elements" N Fixed(42);
    91 "file update code" An Fixed(1);
    92 "file security code" An Fixed(2);
    93 "response indicator" An Fixed(5);
    94 "service indicator" An Fixed(7);
    95 "replacement amounts" An Fixed(42);
    96 "message security code" B Fixed(8) sensitive;
    97 "amount, net settlement" Xn Fixed(17);
    98 "payee" Ans Fixed(25);
    99 "settlement institution" N Ll(11);
    100 "receiving institution" N Ll(11);
    101 "file name" Ans Ll(17);
    102 "account identification 1" Ans Ll(28) sensitive;
    103 "account identification 2" Ans Ll(28) sensitive;
    104 "transaction description" Ans Lll(100);
    128 "message authentication code" B Fixed(8) sensitive;
}

const fn elements() -> [Element; 127] {
    let unnamed = Element {
        number: 2,
        name: "private or reserved",
        class: Class::Ans,
        length: Length::Lll(999),
        sensitive: true,
    };
    let mut all = [unnamed; 127];
    let mut number = 2;
    while number <= 128 {
        all[number as usize - 2].number = number;
        number += 1;
    }
    let mut at = 0;
    while at < NAMED.len() {
        all[NAMED[at].number as usize - 2] = NAMED[at];
        at += 1;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_element_has_its_place_and_its_length_fits_its_prefix() {
        for (at, element) in ELEMENTS.iter().enumerate() {
            assert_eq!(usize::from(element.number), at + 2);
            match element.length {
                Length::Fixed(size) => assert!((1..=42).contains(&size)),
                Length::Ll(most) => assert!((1..=99).contains(&most)),
                Length::Lll(most) => assert!((1..=999).contains(&most)),
            }
        }
        assert!(NAMED.windows(2).all(|pair| pair[0].number < pair[1].number), "in order, none twice");
        assert_eq!((element(1), element(129)), (None, None));
        assert_eq!(element(39).unwrap().name, "response code");
    }
}

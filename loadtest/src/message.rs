//! ISO 8583:1987 as our links speak it: fields in ASCII, bitmaps and length in binary. Written from the standard, not
//! from the service.

use std::collections::BTreeMap;
use std::fmt;

/// How an element's length is told.
#[derive(Clone, Copy)]
enum Form {
    /// So many bytes.
    Fixed(usize),
    /// Digits of length before it, and the most it may have.
    Counted(usize, usize),
}

use Form::{Counted, Fixed};

/// The form of each element. What the standard leaves to others is text of any length.
fn form(number: u8) -> Form {
    match number {
        2 => Counted(2, 19),
        3 | 11 | 12 | 38 | 73 => Fixed(6),
        4..=6 | 37 => Fixed(12),
        7 | 74..=81 => Fixed(10),
        8..=10 | 41 | 52 | 64 | 96 | 128 => Fixed(8),
        13..=18 | 71 | 72 => Fixed(4),
        19..=24 | 40 | 49..=51 | 68..=70 => Fixed(3),
        25 | 26 | 39 | 67 | 92 => Fixed(2),
        27 | 65 | 66 | 91 => Fixed(1),
        28..=31 => Fixed(9),
        32 | 33 | 99 | 100 => Counted(2, 11),
        34 | 102 | 103 => Counted(2, 28),
        35 => Counted(2, 37),
        36 => Counted(3, 104),
        42 => Fixed(15),
        43 => Fixed(40),
        44 => Counted(2, 25),
        45 => Counted(2, 76),
        53 | 86..=89 => Fixed(16),
        54 => Counted(3, 120),
        55 => Counted(3, 255),
        82..=85 => Fixed(12),
        90 | 95 => Fixed(42),
        93 => Fixed(5),
        94 => Fixed(7),
        97 => Fixed(17),
        98 => Fixed(25),
        101 => Counted(2, 17),
        104 => Counted(3, 100),
        _ => Counted(3, 999),
    }
}

/// Digits of the length before an element's value.
pub fn length_digits(number: u8) -> usize {
    match form(number) {
        Fixed(_) => 0,
        Counted(digits, _) => digits,
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    pub mti: String,
    elements: BTreeMap<u8, Vec<u8>>,
}

/// A message that can't be read, with what was read of it before.
#[derive(Debug)]
pub struct Unreadable(pub Message);

impl Message {
    pub fn new(mti: &str) -> Self {
        Self { mti: mti.to_owned(), elements: BTreeMap::new() }
    }

    pub fn has(&self, number: u8) -> bool {
        self.elements.contains_key(&number)
    }

    /// An element as text; empty if it is not there.
    pub fn get(&self, number: u8) -> &str {
        self.elements.get(&number).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
    }

    pub fn numbers(&self) -> impl Iterator<Item = u8> {
        self.elements.keys().copied()
    }

    pub fn with(mut self, number: u8, value: impl AsRef<[u8]>) -> Self {
        self.elements.insert(number, value.as_ref().to_vec());
        self
    }

    pub fn without(mut self, number: u8) -> Self {
        self.elements.remove(&number);
        self
    }

    pub fn of_type(&self, mti: &str) -> Self {
        Self { mti: mti.to_owned(), elements: self.elements.clone() }
    }

    /// What a request says when it is sent again: the same, as a repeat.
    pub fn repeated(&self) -> Self {
        self.of_type(&format!("{}1", self.mti.get(..3).unwrap_or_default()))
    }

    /// The type of the answer to it.
    pub fn answer_type(&self) -> String {
        let answer = if self.mti.as_bytes().get(2) == Some(&b'2') { '3' } else { '1' };
        format!("{}{answer}0", self.mti.get(..2).unwrap_or_default())
    }

    /// With its length before it.
    pub fn frame(&self) -> Vec<u8> {
        let mut map = 0_u128;
        let mut body = Vec::new();
        for (number, value) in &self.elements {
            map |= 1 << (128 - u32::from(*number));
            if let Counted(digits, _) = form(*number) {
                body.extend_from_slice(format!("{:0digits$}", value.len()).as_bytes());
            }
            body.extend_from_slice(value);
        }
        let mut message = self.mti.as_bytes().to_vec();
        let second = map & u128::from(u64::MAX) != 0;
        map |= if second { 1 << 127 } else { 0 };
        message.extend_from_slice(map.to_be_bytes().get(..if second { 16 } else { 8 }).unwrap_or_default());
        message.extend_from_slice(&body);
        framed(&message)
    }

    /// Reads what a frame holds, all of it.
    pub fn read(bytes: &[u8]) -> Result<Self, Unreadable> {
        let mut message = Self::default();
        match message.fill(bytes) {
            Some(b"") => Ok(message),
            _ => Err(Unreadable(message)),
        }
    }

    /// Takes elements as far as can be; gives what is left over.
    fn fill<'b>(&mut self, bytes: &'b [u8]) -> Option<&'b [u8]> {
        let (mti, rest) = bytes.split_at_checked(4)?;
        if !mti.iter().all(u8::is_ascii_digit) {
            return None;
        }
        mti.iter().for_each(|digit| self.mti.push(char::from(*digit)));
        let (first, mut rest) = rest.split_first_chunk::<8>()?;
        let mut map = u128::from(u64::from_be_bytes(*first)) << 64;
        if map >> 127 == 1 {
            let (second, after) = rest.split_first_chunk::<8>()?;
            map |= u128::from(u64::from_be_bytes(*second));
            rest = after;
        }
        for number in (2..=128).filter(|number| map >> (128 - u32::from(*number)) & 1 == 1) {
            let length = match form(number) {
                Fixed(length) => length,
                Counted(digits, most) => {
                    let (told, after) = rest.split_at_checked(digits)?;
                    rest = after;
                    let digits = std::str::from_utf8(told).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
                    digits?.parse().ok().filter(|length| *length <= most)?
                }
            };
            let (value, after) = rest.split_at_checked(length)?;
            self.elements.insert(number, value.to_vec());
            rest = after;
        }
        Some(rest)
    }
}

/// A message's bytes with their length before them.
pub fn framed(message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
    [&length.to_be_bytes()[..], message].concat()
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.mti)?;
        for (number, value) in &self.elements {
            write!(f, " {number}={}", String::from_utf8_lossy(value).trim())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PURCHASE: &str = "00c7303230307238448108e08004313939303030393939393133313431353932363537303030303030303030\
        3030303030313938303131323330383435333030303432313731373435333031313233353431313033303030303633353330303136333237\
        3038303034323137504f5330303031374a504d3030303030303030313233344b4f4e42494e49205348494e4a554b5520332020202020544f\
        4b594f202020202020202020204a50333932303234393030303939393931333134313539323635303035363332";
    const REVERSAL: &str = "00b830343230f23844810ac08000000000400000000031393930303039393939313331343135393236353730\
        3030303030303030303030303031393830313132333038343630353030343231383137343533303131323335343131303330303030363335\
        333030313633323730383030343231373638504f5330303031374a504d303030303030303031323334333932303230303030343231373131\
        323330383435333030303030303335333030313030303030303030303030";
    const ECHO: &str = "0027303830308220000000000000040000000000000031313233303834373030303030303031333031";

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }

    fn purchase() -> Message {
        let elements = [
            (2, "9000999913141592657"),
            (3, "000000"),
            (4, "000000001980"),
            (7, "1123084530"),
            (11, "004217"),
            (12, "174530"),
            (13, "1123"),
            (18, "5411"),
            (22, "030"),
            (25, "00"),
            (32, "353001"),
            (37, "632708004217"),
            (41, "POS00017"),
            (42, "JPM000000001234"),
            (43, "KONBINI SHINJUKU 3     TOKYO          JP"),
            (49, "392"),
            (62, "900099991314159265005632"),
        ];
        elements.into_iter().fold(Message::new("0200"), |message, (number, value)| message.with(number, value))
    }

    #[test]
    fn the_worked_frames_come_out_byte_for_byte() {
        let original = "020000421711230845300000035300100000000000";
        let about = purchase().of_type("0420").with(7, "1123084605").with(11, "004218");
        let reversal = about.without(43).without(62).with(39, "68").with(90, original);
        let echo = Message::new("0800").with(7, "1123084700").with(11, "000001").with(70, "301");
        for (message, hex, length) in [(purchase(), PURCHASE, 199), (reversal, REVERSAL, 184), (echo, ECHO, 39)] {
            let frame = bytes(hex);
            assert_eq!(frame.len(), length + 2, "{}", message.mti);
            assert_eq!(message.frame(), frame, "{message}");
            assert_eq!(Message::read(&frame[2..]).unwrap(), message);
        }
    }

    #[test]
    fn answers_have_the_lengths_of_the_sheet() {
        let answer =
            purchase().of_type("0210").without(18).without(22).without(25).without(43).without(62).with(39, "00");
        assert_eq!(answer.clone().with(38, "123456").frame().len(), 2 + 131);
        assert_eq!(answer.with(39, "51").with(44, "5101C3U4").frame().len(), 2 + 135);
    }

    #[test]
    fn what_was_read_of_a_broken_message_is_kept() {
        let frame = purchase().frame();
        let Unreadable(cut) = Message::read(&frame[2..frame.len() - 4]).unwrap_err();
        assert_eq!((cut.get(11), cut.has(49), cut.has(62)), ("004217", true, false));
        let Unreadable(more) = Message::read(&[&frame[2..], b"more"].concat()).unwrap_err();
        assert_eq!(more.get(62), "900099991314159265005632");
        let Unreadable(none) = Message::read(b"no message at all").unwrap_err();
        assert_eq!(none, Message::default());
    }

    #[test]
    fn types_of_repeats_and_answers() {
        for (request, repeat, answer) in
            [("0100", "0101", "0110"), ("0200", "0201", "0210"), ("0220", "0221", "0230"), ("0420", "0421", "0430")]
        {
            let message = Message::new(request);
            assert_eq!((message.repeated().mti.as_str(), message.answer_type().as_str()), (repeat, answer));
            assert_eq!(message.repeated().answer_type(), answer);
        }
        assert_eq!(Message::new("0800").answer_type(), "0810");
    }
}

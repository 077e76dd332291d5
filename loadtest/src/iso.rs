//! ISO 8583 for a client that has one server and counts its own microseconds: messages as patterns in which a few digits are
//! filled in, and of the answers only what is judged. `message` is the whole of it.

use crate::message::{Message, length_digits};
use crate::wire::{Answer, BadAnswer};

/// Element 32 of all messages.
pub const ACQUIRER: &str = "353001";
/// Of a message without elements above 64 and without element 2: length, type, bitmap, then 3, 4, and 7 with 11.
const NUMBER: usize = 2 + 4 + 8 + 6 + 12;
const NUMBER_DIGITS: usize = 16;
const BITMAP: usize = 8;

/// A message with its length.
pub fn frame(mti: &str, elements: &[(u8, &str)]) -> Vec<u8> {
    elements.iter().fold(Message::new(mti), |message, (number, value)| message.with(*number, value)).frame()
}

/// A message with places that are filled in anew each time.
pub struct Pattern {
    frame: Vec<u8>,
    /// Where the value of each element lies.
    places: Vec<(u8, usize, usize)>,
}

impl Pattern {
    /// The elements come in rising order.
    pub fn new(mti: &str, elements: &[(u8, &str)]) -> Self {
        let frame = frame(mti, elements);
        // From the end: behind the last value nothing lies.
        let mut end = frame.len();
        let mut places = Vec::with_capacity(elements.len());
        for (number, value) in elements.iter().rev() {
            places.push((*number, end - value.len(), end));
            end -= value.len() + length_digits(*number);
        }
        Self { frame, places }
    }

    /// Appends it with these values, each as long as the one it takes the place of.
    pub fn put(&self, out: &mut Vec<u8>, values: &[(u8, &[u8])]) {
        let base = out.len();
        out.extend_from_slice(&self.frame);
        for (number, value) in values {
            let Some((_, begin, end)) = self.places.iter().find(|(other, ..)| other == number) else { continue };
            if let Some(place) = out.get_mut(base + begin..base + end).filter(|place| place.len() == value.len()) {
                place.copy_from_slice(value);
            }
        }
    }
}

/// The last digits of a number, with zeros before them.
pub fn digits<const N: usize>(mut number: u64) -> [u8; N] {
    let mut digits = [b'0'; N];
    for place in digits.iter_mut().rev() {
        *place = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
    }
    digits
}

/// A message's number, elements 7 and 11: of a request that was written, and of its answer, which repeats what stands
/// before it.
pub fn number(frame: &[u8]) -> u64 {
    let has_second = frame.get(6).is_some_and(|first| first & 0x80 != 0);
    let begin = if has_second { NUMBER + BITMAP } else { NUMBER };
    let digits = frame.get(begin..begin + NUMBER_DIGITS).unwrap_or_default();
    digits.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit.wrapping_sub(b'0')))
}

/// Reads one whole answer from the start of the input, and gives its length. The status is 200 for a decision; 503 where
/// none was made and it may be sent again; 400 for what is wrong with a message.
pub fn read(input: &[u8]) -> Result<Option<(Answer<'_>, usize)>, BadAnswer> {
    let Some(length) = input.first_chunk().map(|length| usize::from(u16::from_be_bytes(*length))) else {
        return Ok(None);
    };
    let Some(frame) = input.get(..2 + length) else { return Ok(None) };
    let said = Said::read(frame);
    let status = match said.map(|said| (said.code, said.reason)) {
        Some((b"91", _)) => 503,
        // 5801 is a denial.
        Some((b"30" | b"96" | b"13" | b"25", _) | (b"58", Some("5800")) | (b"94", Some("9400"))) => 400,
        _ => 200,
    };
    let answer = Answer { status, head: b"", body: frame, is_last: false, number: Some(number(frame)) };
    Ok(Some((answer, 2 + length)))
}

/// What an answer says, and of which message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said<'a> {
    /// Element 39.
    pub code: &'a [u8; 2],
    /// Element 38.
    pub approval: Option<&'a str>,
    /// The first four digits of element 44.
    pub reason: Option<&'a str>,
    /// Element 4.
    pub yen: u32,
}

/// Elements up to 44 that an answer of the service may have before these, with their lengths; 0: two digits say it.
const BEFORE: [(u8, usize); 12] =
    [(2, 0), (3, 6), (4, 12), (7, 10), (11, 6), (12, 6), (13, 4), (32, 0), (33, 0), (37, 12), (38, 6), (39, 2)];

impl<'a> Said<'a> {
    /// Reads an answer with its length; nothing if it is none.
    pub fn read(frame: &'a [u8]) -> Option<Self> {
        let map = u64::from_be_bytes(*frame.get(6..)?.first_chunk()?);
        let has = |number: u8| map >> (64 - number) & 1 == 1;
        let mut rest = frame.get(6 + if has(1) { 2 * BITMAP } else { BITMAP }..)?;
        let mut take = |length: usize| {
            let length = if length == 0 { two_digits(&mut rest)? } else { length };
            let (value, after) = rest.split_at_checked(length)?;
            rest = after;
            Some(value)
        };
        let mut code = None;
        let mut approval = None;
        let mut yen = 0;
        for (number, length) in BEFORE.into_iter().filter(|(number, _)| has(*number)) {
            let value = take(length)?;
            match number {
                4 => yen = std::str::from_utf8(value).ok()?.parse().ok()?,
                38 => approval = std::str::from_utf8(value).ok(),
                39 => code = value.first_chunk(),
                _ => (),
            }
        }
        for (number, length) in [(41, 8), (42, 15)] {
            if has(number) {
                take(length)?;
            }
        }
        let details = if has(44) { std::str::from_utf8(take(0)?).ok() } else { None };
        Some(Self { code: code?, approval, reason: details.and_then(|details| details.get(..4)), yen })
    }
}

fn two_digits(rest: &mut &[u8]) -> Option<usize> {
    let ([tens, ones], after) = rest.split_first_chunk()?;
    *rest = after;
    Some(usize::from(tens.wrapping_sub(b'0')) * 10 + usize::from(ones.wrapping_sub(b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_filled_in_where_its_elements_lie() {
        let of = |yen, code| frame("0200", &[(4, yen), (32, ACQUIRER), (41, "T01     "), (62, code)]);
        let pattern = Pattern::new("0200", &[(4, "000000000000"), (32, ACQUIRER), (41, "T01     "), (62, "0000")]);
        let mut out = b"before".to_vec();
        pattern.put(&mut out, &[(4, &digits::<12>(1_980)), (62, b"1234"), (41, b"too long a value"), (90, b"")]);
        assert_eq!(out, [&b"before"[..], &of("000000001980", "1234")].concat());
    }

    #[test]
    fn an_answer_is_found_by_its_number_and_says_what_it_says() {
        let head = [(3, "000000"), (4, "000000001980"), (7, "1123084530"), (11, "004217"), (32, ACQUIRER)];
        let asked = frame("0200", &[&head[..], &[(62, "9")]].concat());
        let place = [(41, "T01     "), (42, "mrc_konbini    ")];
        let approved = frame("0210", &[&head[..], &[(38, "4K7P2Q"), (39, "00")], &place].concat());
        let denied = frame("0210", &[&head[..], &[(39, "51")], &place, &[(44, "5101C5U4")]].concat());
        let reversed = frame("0430", &[&head[..], &[(39, "00"), (90, "0")]].concat());
        for (answer, code, approval, reason) in [
            (&approved, b"00", Some("4K7P2Q"), None),
            (&denied, b"51", None, Some("5101")),
            (&reversed, b"00", None, None),
        ] {
            assert_eq!(number(answer), number(&asked));
            assert_eq!(Said::read(answer), Some(Said { code, approval, reason, yen: 1_980 }));
            for end in 0..answer.len() {
                assert_eq!(read(&answer[..end]), Ok(None), "cut at {end}");
            }
            assert_eq!(read(answer).unwrap().unwrap().1, answer.len());
        }
        assert_eq!(number(&asked), 1_123_084_530_004_217);
    }
}

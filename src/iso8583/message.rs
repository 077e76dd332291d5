//! A message as bytes and back: type, bitmaps, elements. Reading copies nothing and allocates nothing; a length is
//! believed only once its bytes are there.

use std::fmt;

use super::spec::{ELEMENTS, Length, element};

/// How a peer writes the bitmaps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// As hexadecimal digits instead of bytes.
    pub hex_bitmap: bool,
}

/// A type such as 0200, four digits.
pub type Mti = [u8; 4];

/// Where an element lies in the message; nothing where it is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Span {
    begin: u16,
    end: u16,
}

/// A message as it was received.
#[derive(Clone, Copy)]
pub struct Message<'a> {
    bytes: &'a [u8],
    pub mti: Mti,
    /// By number; 0 and 1 are not used. Fields may be empty but never begin at 0.
    spans: [Span; 129],
}

/// Why a message cannot be read, with what could.
#[derive(Clone, Debug)]
pub struct Malformed<'a> {
    /// The element that is wrong; none for the type and the bitmaps.
    pub element: Option<u8>,
    pub problem: Problem,
    /// The elements that could be read all the same.
    pub read: Message<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    TooLong,
    EndsEarly,
    NoType,
    BadBitmap,
    BadLength,
    BadCharacters,
    BytesLeftOver,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "the message is longer than 65,535 bytes",
            Self::EndsEarly => "the message ends too early",
            Self::NoType => "the message type is not four digits",
            Self::BadBitmap => "a bitmap is not hexadecimal",
            Self::BadLength => "a length is no number or too large",
            Self::BadCharacters => "an element has characters that it may not have",
            Self::BytesLeftOver => "bytes are left over after the last element",
        })
    }
}

/// Takes bytes from the front.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], Problem> {
        let end = self.at.checked_add(len).ok_or(Problem::EndsEarly)?;
        let taken = self.bytes.get(self.at..end).ok_or(Problem::EndsEarly)?;
        self.at = end;
        Ok(taken)
    }

    fn number(&mut self, digits: usize) -> Result<usize, Problem> {
        self.take(digits)?.iter().try_fold(0, |sum, digit| match digit {
            b'0'..=b'9' => Ok(sum * 10 + usize::from(digit - b'0')),
            _ => Err(Problem::BadLength),
        })
    }

    fn bitmap(&mut self, layout: Layout) -> Result<u64, Problem> {
        if !layout.hex_bitmap {
            let bytes = self.take(8)?.try_into().map_err(|_| Problem::EndsEarly)?;
            return Ok(u64::from_be_bytes(bytes));
        }
        self.take(16)?.iter().try_fold(0, |sum, digit| {
            let value = char::from(*digit).to_digit(16).ok_or(Problem::BadBitmap)?;
            Ok(sum << 4 | u64::from(value))
        })
    }

    fn element(&mut self, length: Length) -> Result<&'a [u8], Problem> {
        let (len, most) = match length {
            Length::Fixed(len) => (usize::from(len), len),
            Length::Ll(most) => (self.number(2)?, most),
            Length::Lll(most) => (self.number(3)?, most),
        };
        if len > usize::from(most) { Err(Problem::BadLength) } else { self.take(len) }
    }
}

impl<'a> Message<'a> {
    /// Reads a message that fills `bytes` exactly.
    #[expect(clippy::result_large_err, reason = "the error holds what could be read, and no box: nothing allocates")]
    pub fn unpack(bytes: &'a [u8], layout: Layout) -> Result<Self, Malformed<'a>> {
        let mut message = Self { bytes, mti: *b"0000", spans: [Span::default(); 129] };
        let outcome = message.read(layout);
        match outcome {
            Ok(()) => Ok(message),
            Err((element, problem)) => Err(Malformed { element, problem, read: message }),
        }
    }

    fn read(&mut self, layout: Layout) -> Result<(), (Option<u8>, Problem)> {
        let whole = |problem| (None, problem);
        if self.bytes.len() > usize::from(u16::MAX) {
            return Err(whole(Problem::TooLong));
        }
        let mut cursor = Cursor { bytes: self.bytes, at: 0 };
        let mti: Mti = cursor.take(4).map_err(whole)?.try_into().map_err(|_| whole(Problem::NoType))?;
        if !mti.iter().all(u8::is_ascii_digit) {
            return Err(whole(Problem::NoType));
        }
        self.mti = mti;
        let first = cursor.bitmap(layout).map_err(whole)?;
        let second = if first >> 63 == 1 { cursor.bitmap(layout).map_err(whole)? } else { 0 };
        // Bit 1 only tells that there is a second bitmap.
        let map = (u128::from(first) << 64 | u128::from(second)) & !(1 << 127);
        // Wrong characters do not hide where the next element begins: what follows is still read, so that an answer can
        // name the message.
        let mut wrong = None;
        for number in numbers_of(map) {
            let Some(element) = element(number) else { continue };
            let value = cursor.element(element.length).map_err(|problem| wrong.unwrap_or((Some(number), problem)))?;
            if !element.class.allows(value) {
                wrong = wrong.or(Some((Some(number), Problem::BadCharacters)));
                continue;
            }
            let end = u16::try_from(cursor.at).unwrap_or(u16::MAX);
            let begin = end - u16::try_from(value.len()).unwrap_or(0);
            self.spans[usize::from(number)] = Span { begin, end };
        }
        let all_read = cursor.at == self.bytes.len();
        wrong.map_or_else(|| if all_read { Ok(()) } else { Err(whole(Problem::BytesLeftOver)) }, Err)
    }

    /// An element as it stands in the message, its length before it.
    pub(super) fn packed(&self, number: u8) -> Option<&'a [u8]> {
        let span = self.spans.get(usize::from(number)).filter(|span| span.begin > 0)?;
        let prefix = element(number)?.length.digits();
        self.bytes.get(usize::from(span.begin).checked_sub(prefix)?..usize::from(span.end))
    }

    /// The value of an element, if it is there.
    pub fn get(&self, number: u8) -> Option<&'a [u8]> {
        let span = self.spans.get(usize::from(number)).filter(|span| span.begin > 0)?;
        self.bytes.get(usize::from(span.begin)..usize::from(span.end))
    }

    /// As text; nothing where it is not ASCII.
    pub fn text(&self, number: u8) -> Option<&'a str> {
        std::str::from_utf8(self.get(number)?).ok().filter(|text| text.is_ascii())
    }

    /// The numbers of the elements that are there.
    pub fn numbers(&self) -> impl Iterator<Item = u8> {
        ELEMENTS.iter().map(|element| element.number).filter(|number| self.get(*number).is_some())
    }
}

/// The numbers whose bits are set, rising; bit 1 is the highest.
fn numbers_of(mut map: u128) -> impl Iterator<Item = u8> {
    std::iter::from_fn(move || {
        let at = u8::try_from(map.leading_zeros()).ok().filter(|at| *at < 128)?;
        map &= !(1 << (127 - at));
        Some(at + 1)
    })
}

/// For logs: what is sensitive is masked.
impl fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", String::from_utf8_lossy(&self.mti))?;
        for element in ELEMENTS.iter() {
            let Some(value) = self.get(element.number) else { continue };
            if element.sensitive {
                write!(f, " {}=({} masked)", element.number, value.len())?;
            } else {
                write!(f, " {}={:?}", element.number, String::from_utf8_lossy(value))?;
            }
        }
        Ok(())
    }
}

/// A value that an element cannot hold: a bug of the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("element {0} cannot hold this value")]
pub struct BadValue(pub u8);

/// Packs elements into `out`; they must come in rising order of their numbers. On an error `out` is as it was.
pub fn pack<'v>(
    mti: Mti,
    elements: impl IntoIterator<Item = (u8, &'v [u8])>,
    layout: Layout,
    out: &mut Vec<u8>,
) -> Result<(), BadValue> {
    let begin = out.len();
    let mut map = 0_u128;
    let mut last = 1;
    out.extend_from_slice(&mti);
    let mut body = Vec::with_capacity(256);
    for (number, value) in elements {
        let fits = element(number).filter(|element| number > last && element.class.allows(value));
        let prefixed = fits.ok_or(BadValue(number)).and_then(|element| put(element.length, value, &mut body));
        if prefixed.is_err() {
            out.truncate(begin);
            return Err(BadValue(number));
        }
        map |= 1 << (128 - number);
        last = number;
    }
    put_bitmap(map, layout, out);
    out.extend_from_slice(&body);
    Ok(())
}

/// One bitmap, or two if an element above 64 is there.
pub(super) fn put_bitmap(map: u128, layout: Layout, out: &mut Vec<u8>) {
    let has_second = map & u128::from(u64::MAX) != 0;
    let bytes = (map | u128::from(has_second) << 127).to_be_bytes();
    let bytes = if has_second { &bytes[..] } else { &bytes[..8] };
    if layout.hex_bitmap {
        out.extend(
            bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|digit| b"0123456789ABCDEF"[usize::from(digit)]),
        );
    } else {
        out.extend_from_slice(bytes);
    }
}

fn put(length: Length, value: &[u8], out: &mut Vec<u8>) -> Result<(), BadValue> {
    use std::io::Write;
    let fits = match length {
        Length::Fixed(len) => value.len() == usize::from(len),
        Length::Ll(most) | Length::Lll(most) => value.len() <= usize::from(most),
    };
    if !fits {
        return Err(BadValue(0));
    }
    // Writing to a Vec cannot fail.
    match length {
        Length::Fixed(_) => {}
        Length::Ll(_) => write!(out, "{:02}", value.len()).unwrap_or_default(),
        Length::Lll(_) => write!(out, "{:03}", value.len()).unwrap_or_default(),
    }
    out.extend_from_slice(value);
    Ok(())
}

//! A strict, small BER-TLV reader and writer for payloads of a few hundred bytes.
//!
//! Tags of one or two bytes, definite lengths in one to three bytes. It borrows, allocates nothing
//! while reading, and every length is checked against what is there.

use thiserror::Error;

/// Why bytes are not BER-TLV.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TlvError {
    /// A tag of zero or of more than two bytes.
    #[error("a tag is malformed")]
    Tag,
    /// Indefinite, or of more than two bytes.
    #[error("a length is malformed")]
    Length,
    /// The object is longer than what holds it.
    #[error("an object is cut short")]
    Short,
}

/// One object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tlv<'a> {
    /// One- and two-byte tags as a number: `0x5A`, `0x9F26`.
    pub tag: u16,
    pub value: &'a [u8],
}

/// Reads the objects of one template in order; stops at the first error.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    fn object(&mut self) -> Result<Tlv<'a>, TlvError> {
        let (tag, rest) = split_tag(self.rest)?;
        let (length, rest) = split_length(rest)?;
        let (value, rest) = rest.split_at_checked(length).ok_or(TlvError::Short)?;
        self.rest = rest;
        Ok(Tlv { tag, value })
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = Result<Tlv<'a>, TlvError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let object = self.object();
        if object.is_err() {
            self.rest = &[];
        }
        Some(object)
    }
}

fn split_tag(bytes: &[u8]) -> Result<(u16, &[u8]), TlvError> {
    match bytes {
        [] => Err(TlvError::Short),
        [0, ..] => Err(TlvError::Tag),
        // The five low bits all set: the tag goes on, until a byte without the high bit.
        [first, rest @ ..] if first & 0x1F == 0x1F => match rest {
            [] => Err(TlvError::Short),
            [second, rest @ ..] if second & 0x80 == 0 => Ok((u16::from_be_bytes([*first, *second]), rest)),
            _ => Err(TlvError::Tag),
        },
        [first, rest @ ..] => Ok((u16::from(*first), rest)),
    }
}

fn split_length(bytes: &[u8]) -> Result<(usize, &[u8]), TlvError> {
    match bytes {
        [] | [0x81] | [0x82] | [0x82, _] => Err(TlvError::Short),
        [0x81, length, rest @ ..] => Ok((usize::from(*length), rest)),
        [0x82, high, low, rest @ ..] => Ok((usize::from(u16::from_be_bytes([*high, *low])), rest)),
        [length, rest @ ..] if *length < 0x80 => Ok((usize::from(*length), rest)),
        _ => Err(TlvError::Length),
    }
}

/// The value of the first object with this tag. The bytes must have been checked before: an error
/// behind the object goes unseen.
pub fn find(bytes: &[u8], tag: u16) -> Option<&[u8]> {
    Reader::new(bytes).map_while(Result::ok).find(|one| one.tag == tag).map(|one| one.value)
}

/// Whether a tag occurs twice. Quadratic, which at the 192 objects that fit a payload is little.
pub fn has_duplicate(bytes: &[u8]) -> Result<bool, TlvError> {
    let mut reader = Reader::new(bytes);
    let mut found = false;
    while let Some(one) = reader.next() {
        let tag = one?.tag;
        found |= reader.map_while(Result::ok).any(|later| later.tag == tag);
    }
    Ok(found)
}

/// Appends an object with the shortest length form. Values end at 65,535 bytes.
pub fn put(out: &mut Vec<u8>, tag: u16, value: &[u8]) -> Result<(), TlvError> {
    let length = u16::try_from(value.len()).map_err(|_| TlvError::Length)?;
    match tag.to_be_bytes() {
        [0, low] => out.push(low),
        both => out.extend(both),
    }
    match length.to_be_bytes() {
        [0, low] if low < 0x80 => out.push(low),
        [0, low] => out.extend([0x81, low]),
        [high, low] => out.extend([0x82, high, low]),
    }
    out.extend_from_slice(value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Vec<(u16, Vec<u8>)>, TlvError> {
        Reader::new(bytes).map(|one| one.map(|one| (one.tag, one.value.to_vec()))).collect()
    }

    #[test]
    fn every_length_form_survives_a_round_trip() {
        for length in [0, 1, 127, 128, 255, 256, 65_535] {
            for tag in [0x5A, 0x9F26, 0xDF01] {
                let value = vec![0xAB; length];
                let mut bytes = Vec::new();
                put(&mut bytes, tag, &value).unwrap();
                put(&mut bytes, 0x50, b"X").unwrap();
                assert_eq!(read(&bytes).unwrap(), [(tag, value), (0x50, b"X".to_vec())]);
            }
        }
        assert_eq!(put(&mut Vec::new(), 0x5A, &vec![0; 65_536]), Err(TlvError::Length));
    }

    #[test]
    fn malformed_objects() {
        let cases: &[(&[u8], TlvError)] = &[
            (&[0x00], TlvError::Tag),
            (&[0x5A], TlvError::Short),
            (&[0x9F], TlvError::Short),
            (&[0x9F, 0x26], TlvError::Short),
            (&[0x9F, 0x81, 0x01, 0x00], TlvError::Tag),
            (&[0x5A, 0x01], TlvError::Short),
            (&[0x5A, 0x80, 0x00, 0x00], TlvError::Length),
            (&[0x5A, 0x83, 0x00, 0x00, 0x00], TlvError::Length),
            (&[0x5A, 0xFF], TlvError::Length),
            (&[0x5A, 0x81], TlvError::Short),
            (&[0x5A, 0x82, 0x00], TlvError::Short),
            (&[0x5A, 0x82, 0xFF, 0xFF, 0x00], TlvError::Short),
            (&[0x50, 0x01, 0x41, 0x5A], TlvError::Short),
        ];
        for (bytes, error) in cases {
            assert_eq!(read(bytes), Err(*error), "{bytes:02X?}");
        }
        assert_eq!(read(&[]), Ok(vec![]));
    }

    #[test]
    fn an_error_ends_the_reading() {
        let mut reader = Reader::new(&[0x5A, 0x05, 0x50, 0x00]);
        assert_eq!(reader.next(), Some(Err(TlvError::Short)));
        assert_eq!(reader.next(), None);
    }

    #[test]
    fn duplicates_and_finding() {
        let bytes = [0x50, 1, 7, 0x9F, 0x26, 0, 0x50, 1, 8];
        assert_eq!(has_duplicate(&bytes), Ok(true));
        assert_eq!(has_duplicate(&bytes[..6]), Ok(false));
        assert_eq!(has_duplicate(&bytes[..8]), Err(TlvError::Short));
        assert_eq!(find(&bytes, 0x50), Some(&[7][..]));
        assert_eq!(find(&bytes, 0x9F26), Some(&[][..]));
        assert_eq!(find(&bytes, 0x5A), None);
    }
}

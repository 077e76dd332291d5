//! Messages on a stream: a length, perhaps a TPDU, the message.

/// How a peer writes the length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LengthForm {
    /// Two bytes, the higher first.
    #[default]
    Binary,
    /// Four digits.
    Ascii,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Framing {
    pub length: LengthForm,
    /// Five bytes of routing before the message; an answer has its addresses exchanged.
    pub tpdu: bool,
}

pub type Tpdu = [u8; 5];
const TPDU: usize = 5;

/// A message found in a stream's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    pub tpdu: Option<Tpdu>,
    pub message: &'a [u8],
    /// How many bytes it took.
    pub taken: usize,
}

impl Frame<'_> {
    /// A length of 0: the line is kept open, and there is nothing to be read. Routing without a message is another thing.
    pub const fn says_nothing(&self) -> bool {
        self.tpdu.is_none() && self.message.is_empty()
    }
}

/// A length beyond the bound, or one that is no number: nothing behind it can be trusted, so the link has to go. A frame
/// that is too short for a message is a frame all the same: the next one begins behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the length of a message is absurd")]
pub struct Absurd;

/// The longest message taken, bytes; one with every element of ours has 2,000.
pub const LONGEST: usize = 8_192;

impl Framing {
    const fn header(self) -> usize {
        match self.length {
            LengthForm::Binary => 2,
            LengthForm::Ascii => 4,
        }
    }

    /// The first message in `bytes`; none while it is not whole. One of no length says nothing: [`Frame::says_nothing`].
    pub fn next(self, bytes: &[u8]) -> Result<Option<Frame<'_>>, Absurd> {
        let Some((header, rest)) = bytes.split_at_checked(self.header()) else { return Ok(None) };
        let len = match (self.length, header) {
            (LengthForm::Binary, [high, low]) => usize::from(u16::from_be_bytes([*high, *low])),
            (_, digits) => digits.iter().try_fold(0, |sum, digit| match digit {
                b'0'..=b'9' => Ok(sum * 10 + usize::from(digit - b'0')),
                _ => Err(Absurd),
            })?,
        };
        let routing = if self.tpdu { TPDU } else { 0 };
        if len == 0 {
            // Some hosts send it so that a quiet line stays open.
            return Ok(Some(Frame { tpdu: None, message: &[], taken: self.header() }));
        }
        if len > LONGEST {
            return Err(Absurd);
        }
        let Some(frame) = rest.get(..len) else { return Ok(None) };
        // What is shorter than its routing is no message whichever way it is split.
        let (tpdu, message) = frame.split_at_checked(routing).unwrap_or((&[], frame));
        Ok(Some(Frame { tpdu: tpdu.try_into().ok(), message, taken: self.header() + len }))
    }

    /// Appends a message with its length; `tpdu` is that of the request it answers.
    pub fn put(self, tpdu: Option<Tpdu>, out: &mut Vec<u8>, message: &[u8]) {
        let routing = if self.tpdu { TPDU } else { 0 };
        let len = u16::try_from(message.len() + routing).unwrap_or(u16::MAX);
        match self.length {
            LengthForm::Binary => out.extend_from_slice(&len.to_be_bytes()),
            LengthForm::Ascii => out.extend_from_slice(format!("{len:04}").as_bytes()),
        }
        if self.tpdu {
            let [protocol, to_high, to_low, from_high, from_low] = tpdu.unwrap_or([0x60, 0, 0, 0, 0]);
            out.extend_from_slice(&[protocol, from_high, from_low, to_high, to_low]);
        }
        out.extend_from_slice(message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_comes_whole_or_not_at_all() {
        for (length, tpdu) in [(LengthForm::Binary, false), (LengthForm::Ascii, false), (LengthForm::Binary, true)] {
            let framing = Framing { length, tpdu };
            let message: Vec<u8> = (0..40).collect();
            let routing = [0x60, 1, 2, 3, 4];
            let mut bytes = Vec::new();
            framing.put(Some(routing), &mut bytes, &message);
            framing.put(None, &mut bytes, &message);
            let one = bytes.len() / 2;
            for end in 0..one {
                assert_eq!(framing.next(&bytes[..end]), Ok(None), "{end}");
            }
            let frame = framing.next(&bytes).unwrap().unwrap();
            assert_eq!((frame.message, frame.taken), (&message[..], one));
            assert_eq!(frame.tpdu, tpdu.then_some([0x60, 3, 4, 1, 2]), "back to where it came from");
            assert_eq!(framing.next(&bytes[one..]).unwrap().unwrap().message, &message[..]);
        }
    }

    #[test]
    fn only_a_length_beyond_the_bound_or_no_number_is_absurd() {
        let binary = Framing::default();
        let ascii = Framing { length: LengthForm::Ascii, tpdu: false };
        for bytes in [&[0xFF, 0xFF][..], &[0x20, 1]] {
            assert_eq!(binary.next(bytes), Err(Absurd), "{bytes:?}");
        }
        for bytes in ["8193", "9999", "00x1", "-001"] {
            assert_eq!(ascii.next(bytes.as_bytes()), Err(Absurd), "{bytes}");
        }
        assert_eq!(binary.next(&[0x20, 0]), Ok(None), "the longest may still come");
        let nothing = binary.next(&[0, 0, 0, 39]).unwrap().unwrap();
        assert_eq!((nothing.message, nothing.taken), (&[][..], 2), "a line kept open");
        assert!(nothing.says_nothing());
    }

    #[test]
    fn a_frame_too_short_for_a_message_is_a_frame() {
        for (length, tpdu) in [(LengthForm::Binary, false), (LengthForm::Ascii, false), (LengthForm::Binary, true)] {
            let framing = Framing { length, tpdu };
            for short in 1..17_u8 {
                let content = vec![b'7'; usize::from(short)];
                let mut bytes =
                    if length == LengthForm::Binary { vec![0, short] } else { format!("{short:04}").into() };
                bytes.extend_from_slice(&content);
                let whole = bytes.len();
                assert_eq!(framing.next(&bytes[..whole - 1]), Ok(None), "{framing:?} {short}");
                bytes.extend_from_slice(b"next");
                let frame = framing.next(&bytes).unwrap().unwrap();
                let routing = if tpdu && short >= 5 { 5 } else { 0 };
                assert_eq!((frame.message, frame.taken), (&content[routing..], whole), "{framing:?} {short}");
                assert_eq!(frame.tpdu.is_some(), routing > 0);
                assert!(!frame.says_nothing(), "it is counted: {framing:?} {short}");
            }
        }
    }
}

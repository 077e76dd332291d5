//! Reads an EMV consumer-presented payload, whoever issued it, by the rules a register follows.
//!
//! Template 63 stays opaque here; what is inside it is `qr`'s.

use thiserror::Error;

use super::body::TOK19_DIGITS;
use super::tlv;
use super::tlv::{Reader, TlvError};

const FORMAT_INDICATOR: u16 = 0x85;
const APPLICATION: u16 = 0x61;
const COMMON_DATA: u16 = 0x62;
const TRANSPARENT: u16 = 0x63;
const COMMON_TRANSPARENT: u16 = 0x64;
const ADF_NAME: u16 = 0x4F;
const LABEL: u16 = 0x50;
const TRACK2: u16 = 0x57;
const PAN: u16 = 0x5A;
/// Shortest and longest ADF name, in bytes.
const ADF_NAME_BYTES: std::ops::RangeInclusive<usize> = 5..=16;
/// A payload holds one or two application templates.
const MAX_APPLICATIONS: usize = 2;
/// Longest track 2 equivalent, in bytes.
const TRACK2_MAX: usize = 19;

/// Why a payload is not a consumer-presented code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(super) enum EmvError {
    #[error(transparent)]
    Tlv(#[from] TlvError),
    /// The first object is not tag 85 with "CPV01".
    #[error("the payload does not start with CPV01")]
    Indicator,
    /// No template 61 with an ADF name of 5–16 bytes, or more than two.
    #[error("there is no usable application, or too many")]
    Applications,
    /// An object is given twice, within a template or in both 61 and 62.
    #[error("an object is given twice")]
    Duplicate,
}

/// One template 61.
#[derive(Debug, Clone, Copy)]
pub(super) struct Application<'a> {
    pub(super) adf_name: &'a [u8],
    pub(super) label: Option<&'a [u8]>,
    /// The 19 digits of 5A, or without 5A those of 57; `None` if there are not exactly 19.
    pub(super) pan: Option<[u8; TOK19_DIGITS]>,
    /// The content of template 63.
    pub(super) transparent: Option<&'a [u8]>,
}

/// The payload's applications in order of preference; at least one is there.
pub(super) fn applications(payload: &[u8]) -> Result<[Option<Application<'_>>; MAX_APPLICATIONS], EmvError> {
    let mut objects = Reader::new(payload);
    match objects.next() {
        Some(Ok(first)) if first.tag == FORMAT_INDICATOR && first.value == b"CPV01" => {}
        _ => return Err(EmvError::Indicator),
    }
    let common = check_outer(payload)?;
    let mut found = [None; MAX_APPLICATIONS];
    let mut slots = found.iter_mut();
    for object in objects {
        let object = object?;
        if object.tag != APPLICATION {
            continue;
        }
        let slot = slots.next().ok_or(EmvError::Applications)?;
        *slot = application(object.value, common)?;
    }
    if found.iter().all(Option::is_none) {
        return Err(EmvError::Applications);
    }
    Ok(found)
}

/// Reads the outer objects once through: only 61 may come again. Returns the content of 62.
fn check_outer(payload: &[u8]) -> Result<&[u8], EmvError> {
    let mut reader = Reader::new(payload);
    while let Some(object) = reader.next() {
        let tag = object?.tag;
        let comes_again = reader.map_while(Result::ok).any(|later| later.tag == tag);
        if comes_again && tag != APPLICATION {
            return Err(EmvError::Duplicate);
        }
    }
    let common = tlv::find(payload, COMMON_DATA).unwrap_or_default();
    if tlv::has_duplicate(common)? { Err(EmvError::Duplicate) } else { Ok(common) }
}

/// `None` for a template to be skipped: without ADF name, or with one of a wrong length.
fn application<'a>(content: &'a [u8], common: &[u8]) -> Result<Option<Application<'a>>, EmvError> {
    if tlv::has_duplicate(content)? {
        return Err(EmvError::Duplicate);
    }
    for object in Reader::new(content) {
        let tag = object?.tag;
        let is_template = tag == TRANSPARENT || tag == COMMON_TRANSPARENT;
        if !is_template && tlv::find(common, tag).is_some() {
            return Err(EmvError::Duplicate);
        }
    }
    let adf_name = tlv::find(content, ADF_NAME).unwrap_or_default();
    if !ADF_NAME_BYTES.contains(&adf_name.len()) {
        return Ok(None);
    }
    let pan = match (tlv::find(content, PAN), tlv::find(content, TRACK2)) {
        (Some(packed), _) => pan19(packed, 0xF).filter(|_| packed.len() == PAN_BYTES),
        (None, Some(track)) => pan19(track, 0xD).filter(|_| track.len() <= TRACK2_MAX),
        (None, None) => None,
    };
    Ok(Some(Application {
        adf_name,
        label: tlv::find(content, LABEL),
        pan,
        transparent: tlv::find(content, TRANSPARENT),
    }))
}

/// 19 packed digits and a pad nibble.
const PAN_BYTES: usize = 10;

/// 19 packed digits, and behind them the nibble that ends them.
fn pan19(packed: &[u8], end: u8) -> Option<[u8; TOK19_DIGITS]> {
    let mut nibbles = packed.iter().flat_map(|byte| [byte >> 4, byte & 0x0F]);
    let mut pan = [0; TOK19_DIGITS];
    for slot in &mut pan {
        *slot = nibbles.next().filter(|nibble| *nibble <= 9)? + b'0';
    }
    (nibbles.next() == Some(end)).then_some(pan)
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    const OURS: &str = "85054350563031614D4F07F0000000000001500754455354504159\
        5A0A9000999913141592657F632D9F360200079F3704A1B2C3D49F100801016B03FD0C012C\
        9F2608F7790A91CCAEF768DF0108FFCDF680B458ECAA";

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text
            .chars()
            .filter(|digit| !digit.is_whitespace())
            .map(|digit| u8::try_from(digit.to_digit(16).unwrap()).unwrap())
            .collect();
        digits.chunks(2).map(|pair| pair[0] * 16 + pair[1]).collect()
    }

    fn error(text: &str) -> Option<EmvError> {
        applications(&hex(text)).err()
    }

    #[test]
    fn our_published_payload() {
        let payload = hex(OURS);
        let [first, second] = applications(&payload).unwrap();
        let first = first.unwrap();
        assert_eq!(first.adf_name, [0xF0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(first.label, Some(&b"TESTPAY"[..]));
        assert_eq!(first.pan.as_ref(), Some(b"9000999913141592657"));
        assert_eq!(first.transparent.unwrap().len(), 45);
        assert!(second.is_none());
    }

    #[test]
    fn the_specification_s_example_and_one_from_the_field() {
        let decode = |text: &str| STANDARD.decode(text).unwrap();
        let payload = decode("hQVDUFYwMWEaTwegAAAAVVVVVw8SNFZ4kBI0WNGRIgESNF8=");
        let [first, _] = applications(&payload).unwrap();
        let first = first.unwrap();
        assert_eq!(first.adf_name, hex("A0000000555555"));
        assert_eq!(first.pan, None, "16 digits are nobody's of ours");
        let payload = decode("hQVDUFYwMWEfTwigAAAAZQOSAlcTMViZAHkkKUPUkSEhAAAFEgAADw==");
        let [first, _] = applications(&payload).unwrap();
        assert_eq!(first.unwrap().adf_name, hex("A000000065039202"));
    }

    #[test]
    fn two_applications_with_common_data() {
        let two = "85054350563031 6109 4F07A0000000555555 6109 4F07A0000000666666";
        let payload = hex(&format!("{two} 620F 5F20024142 6408 9F360200019F3700"));
        let found = applications(&payload).unwrap();
        assert_eq!(found[0].unwrap().adf_name, hex("A0000000555555"));
        assert_eq!(found[1].unwrap().adf_name, hex("A0000000666666"));
        let three = format!("{two} 6109 4F07A0000000777777");
        assert_eq!(error(&three), Some(EmvError::Applications));
    }

    #[test]
    fn what_a_register_must_refuse() {
        let cases = [
            ("", EmvError::Indicator),
            ("6109 4F07F0000000000001 85054350563031", EmvError::Indicator),
            ("85054350563032 6109 4F07F0000000000001", EmvError::Indicator),
            ("850443505630 6109 4F07F0000000000001", EmvError::Indicator),
            ("85064350563031", EmvError::Indicator),
            ("85054350563031", EmvError::Applications),
            ("85054350563031 6103 500141", EmvError::Applications),
            ("85054350563031 6106 4F04F0000000", EmvError::Applications),
            ("85054350563031 6113 4F11 F000000000000000000000000000000000", EmvError::Applications),
            ("85054350563031 6109 4F07F0000000000001 85054350563031", EmvError::Duplicate),
            ("85054350563031 610F 4F07F0000000000001 500141 500142", EmvError::Duplicate),
            ("85054350563031 610C 4F07F0000000000001 500141 6203 500142", EmvError::Duplicate),
            ("85054350563031 6109 4F07F0000000000001 6206 500141 500142", EmvError::Duplicate),
            ("85054350563031 6109 4F07F0000000000001 6200 6200", EmvError::Duplicate),
            ("85054350563031 6109 4F07F0000000000001 00", EmvError::Tlv(TlvError::Tag)),
            ("85054350563031 6109 4F07F00000000000", EmvError::Tlv(TlvError::Short)),
            ("85054350563031 6109 4F09F0000000000001", EmvError::Tlv(TlvError::Short)),
            ("85054350563031 6109 4F07F0000000000001 6202 5001", EmvError::Tlv(TlvError::Short)),
        ];
        for (text, expected) in cases {
            assert_eq!(error(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn unknown_tags_and_skipped_templates_do_not_matter() {
        let payload = hex("85054350563031 6103 500141 6115 4F05F000000001 C10142 9F08020010 DF7F03010203 \
             6203 C00103 990155 BF0C0155");
        let [first, second] = applications(&payload).unwrap();
        assert!(first.is_none());
        assert_eq!(second.unwrap().adf_name, [0xF0, 0, 0, 0, 1]);
    }

    #[test]
    fn the_pan_of_57_stands_in_and_19_digits_are_asked() {
        let pan = |object: &str| {
            let inner = hex(&format!("4F05F000000001 {object}"));
            application(&inner, &[]).unwrap().unwrap().pan
        };
        let ours = Some(*b"9000999913141592657");
        assert_eq!(pan("5A0A 9000999913141592657F"), ours);
        assert_eq!(pan("570C 9000999913141592657D4912"), ours);
        assert_eq!(pan("570A 9000999913141592657F"), None);
        assert_eq!(pan("5A0A 9000999913141592657D"), None);
        assert_eq!(pan("5A0A 90009999131415926571"), None);
        assert_eq!(pan("5A0A 900099991314159265FF"), None);
        assert_eq!(pan("5A09 900099991314159265"), None);
        assert_eq!(pan("5A0B 9000999913141592657FFF"), None);
        assert_eq!(pan("570C 9000999913141592657D4912 5A01FF"), None, "5A comes first");
        assert_eq!(pan(""), None);
    }
}

//! The QR: our EMV consumer-presented payload, and its picture.
//!
//! ```text
//! 85 05 "CPV01"
//! 61 L  4F L AID | 50 L label | 5A 0A TOK19 packed, pad F
//!       63 2D  9F36 02 counter | 9F37 04 random
//!              9F10 08 format 01 | key id | issued at (u32be, unix s) | life (u16be, s)
//!              9F26 08 T[0..8] | DF01 08 T[8..16]
//! ```
//! 86 bytes with the test AID and label: 116 characters of base64, QR version 7 at level M.

use std::fmt::Write;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fast_qr::{ECL, Mode, QRBuilder};

use super::body::TOK19_DIGITS;
use super::issuers::Application;
use super::tlv;
use super::tlv::{Reader, TlvError};

/// Bytes of template 63's content up to the MAC, which are what the MAC covers.
const HEAD_BYTES: usize = 23;
/// Bytes of template 63's content. With this total and five objects in order, no length can be
/// written in a longer form, so one code has one spelling.
const TEMPLATE_BYTES: usize = HEAD_BYTES + 11 + 11;
/// The format byte of 9F10.
const FORMAT: u8 = 1;
/// White on each side, in modules, as QR demands.
const QUIET_ZONE: usize = 4;
/// The longest text drawn: what a reader must cope with.
const MAX_TEXT: usize = 512;

/// The sealed facts of template 63.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Facts {
    /// The key generation, as written beside the one in the body.
    pub(super) generation: u8,
    pub(super) counter: u16,
    pub(super) random: u32,
    /// Unix seconds.
    pub(super) issued_at: u32,
    /// Seconds.
    pub(super) ttl: u16,
}

impl Facts {
    /// Template 63 up to tag 9F26.
    #[expect(clippy::expect_used, reason = "the three lengths are constants")]
    pub(super) fn head(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(TEMPLATE_BYTES);
        let mut data = Vec::with_capacity(8);
        data.extend([FORMAT, self.generation]);
        data.extend(self.issued_at.to_be_bytes());
        data.extend(self.ttl.to_be_bytes());
        [(0x9F36, &self.counter.to_be_bytes()[..]), (0x9F37, &self.random.to_be_bytes()), (0x9F10, &data)]
            .into_iter()
            .try_for_each(|(tag, value)| tlv::put(&mut out, tag, value))
            .expect("values of 2, 4 and 8 bytes fit a length");
        out
    }
}

/// A template 63 of our layout, its MAC not yet checked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Template<'a> {
    pub(super) facts: Facts,
    /// What the MAC covers besides the PAN.
    pub(super) head: &'a [u8],
    pub(super) mac: [u8; 16],
}

/// Reads the content of template 63; `None` for any other layout than ours.
pub(super) fn read_template(content: &[u8]) -> Option<Template<'_>> {
    if content.len() != TEMPLATE_BYTES {
        return None;
    }
    let mut objects = Reader::new(content);
    let counter = value(&mut objects, 0x9F36)?;
    let random = value(&mut objects, 0x9F37)?;
    let [format, generation, a, b, c, d, e, f] = value(&mut objects, 0x9F10)?;
    let left: [u8; 8] = value(&mut objects, 0x9F26)?;
    let right: [u8; 8] = value(&mut objects, 0xDF01)?;
    if format != FORMAT || objects.next().is_some() {
        return None;
    }
    let mut mac = [0; 16];
    for (slot, byte) in mac.iter_mut().zip(left.into_iter().chain(right)) {
        *slot = byte;
    }
    let facts = Facts {
        generation,
        counter: u16::from_be_bytes(counter),
        random: u32::from_be_bytes(random),
        issued_at: u32::from_be_bytes([a, b, c, d]),
        ttl: u16::from_be_bytes([e, f]),
    };
    Some(Template { facts, head: content.get(..HEAD_BYTES)?, mac })
}

/// The value of the next object, if it has this tag and exactly this length.
fn value<const N: usize>(objects: &mut Reader<'_>, tag: u16) -> Option<[u8; N]> {
    let object = objects.next()?.ok()?;
    if object.tag == tag { object.value.try_into().ok() } else { None }
}

/// The QR's text.
#[expect(clippy::expect_used, reason = "`Aid` and `Label` bound their lengths")]
pub(super) fn payload(application: &Application, tok19: &[u8; TOK19_DIGITS], head: &[u8], mac: &[u8; 16]) -> String {
    let bytes =
        payload_bytes(application, tok19, head, mac).expect("an AID and a label of 16 bytes at most fit a length");
    STANDARD.encode(bytes)
}

fn payload_bytes(
    application: &Application,
    tok19: &[u8; TOK19_DIGITS],
    head: &[u8],
    mac: &[u8; 16],
) -> Result<Vec<u8>, TlvError> {
    let (left, right) = mac.split_at(8);
    let mut transparent = head.to_vec();
    tlv::put(&mut transparent, 0x9F26, left)?;
    tlv::put(&mut transparent, 0xDF01, right)?;

    let mut inner = Vec::with_capacity(96);
    tlv::put(&mut inner, 0x4F, application.aid.as_bytes())?;
    tlv::put(&mut inner, 0x50, application.label.as_bytes())?;
    tlv::put(&mut inner, 0x5A, &packed(tok19))?;
    tlv::put(&mut inner, 0x63, &transparent)?;

    let mut out = Vec::with_capacity(112);
    tlv::put(&mut out, 0x85, b"CPV01")?;
    tlv::put(&mut out, 0x61, &inner)?;
    Ok(out)
}

/// Two digits a byte, the odd place filled with F.
fn packed(digits: &[u8; TOK19_DIGITS]) -> Vec<u8> {
    let nibble = |digit: u8| digit & 0x0F;
    digits
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => nibble(*high) << 4 | nibble(*low),
            [last] => nibble(*last) << 4 | 0x0F,
            _ => 0xFF,
        })
        .collect()
}

/// An SVG of the text as a QR code at error correction level M, quiet zone included, `size_px` on
/// each side. `None` if the text is empty or longer than a reader must cope with.
pub fn svg(text: &str, size_px: u32) -> Option<String> {
    if text.is_empty() || text.len() > MAX_TEXT {
        return None;
    }
    let code = QRBuilder::new(text).mode(Mode::Byte).ecl(ECL::M).build().ok()?;
    let mut path = String::new();
    for (y, row) in code.data.chunks(code.size).take(code.size).enumerate() {
        draw_row(&mut path, y + QUIET_ZONE, row.iter().map(|module| module.value())).ok()?;
    }
    let modules = code.size + 2 * QUIET_ZONE;
    Some(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" width=\"{size_px}\" \
         height=\"{size_px}\" viewBox=\"0 0 {modules} {modules}\" shape-rendering=\"crispEdges\">\
         <title>お支払い用QRコード / Payment QR code</title>\
         <rect width=\"{modules}\" height=\"{modules}\" fill=\"#fff\"/>\
         <path fill=\"#000\" d=\"{path}\"/></svg>"
    ))
}

/// One rectangle for each run of dark modules, a third of the size of one for each module.
fn draw_row(path: &mut String, y: usize, modules: impl Iterator<Item = bool>) -> std::fmt::Result {
    let mut run = 0_usize;
    for (x, dark) in (QUIET_ZONE..).zip(modules.chain([false])) {
        if dark {
            run += 1;
        } else if run > 0 {
            write!(path, "M{} {y}h{run}v1h-{run}z", x - run)?;
            run = 0;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::code::issuers::{Form, Issuers};

    const FACTS: Facts = Facts { generation: 1, counter: 7, random: 0xA1B2_C3D4, issued_at: 1_795_423_500, ttl: 300 };
    const MAC: [u8; 16] =
        [0xF7, 0x79, 0x0A, 0x91, 0xCC, 0xAE, 0xF7, 0x68, 0xFF, 0xCD, 0xF6, 0x80, 0xB4, 0x58, 0xEC, 0xAA];
    const TEXT: &str = "hQVDUFYwMWFNTwfwAAAAAAABUAdURVNUUEFZWgqQAJmZExQVkmV/Yy2fNgIAB583BKGyw9SfEAgBAWsD/QwBLJ8mCPd5CpHMrvdo3wEI/832gLRY7Ko=";

    fn template() -> Vec<u8> {
        let mut content = FACTS.head();
        tlv::put(&mut content, 0x9F26, &MAC[..8]).unwrap();
        tlv::put(&mut content, 0xDF01, &MAC[8..]).unwrap();
        content
    }

    #[test]
    fn published_payload() {
        let issuers = Issuers::sandbox();
        let issuer = issuers.issuer(Form::L24).unwrap();
        let text = payload(issuer.application, b"9000999913141592657", &FACTS.head(), &MAC);
        assert_eq!(text, TEXT);
        assert_eq!(text.len(), 116);
    }

    #[test]
    fn template_round_trip() {
        let content = template();
        let read = read_template(&content).unwrap();
        assert_eq!(read.facts, FACTS);
        assert_eq!(read.mac, MAC);
        assert_eq!(read.head, FACTS.head());
    }

    #[test]
    fn only_our_layout_is_a_template() {
        let good = template();
        for length in 0..good.len() {
            assert!(read_template(&good[..length]).is_none());
        }
        let mut long = good.clone();
        long.push(0);
        assert!(read_template(&long).is_none());
        // Swapped objects: right tags and right total, wrong order.
        let swapped = [&good[5..12], &good[..5], &good[12..]].concat();
        assert!(read_template(&swapped).is_none());
        // Format, and each byte of each tag and length.
        for place in [0, 1, 2, 5, 6, 7, 12, 13, 14, 15, 23, 24, 25, 34, 35, 36] {
            let mut bad = good.clone();
            bad[place] ^= 0x01;
            assert!(read_template(&bad).is_none(), "byte {place}");
        }
    }

    #[test]
    fn longest_aid_and_label_still_fit_the_short_form() {
        use crate::code::issuers::{Aid, Label};
        let application = Application {
            aid: Aid::new(&[0xF1; 16]).unwrap(),
            form: Form::L24,
            label: Label::parse("ABCDEFGHIJKLMNOP").unwrap(),
        };
        let tok19 = b"9000999913141592657";
        let bytes = payload_bytes(&application, tok19, &FACTS.head(), &MAC).unwrap();
        assert_eq!(bytes.len(), 7 + 2 + 18 + 18 + 12 + 47);
    }

    #[test]
    fn pictures_have_the_published_versions() {
        for (characters, modules) in [(56, 33), (100, 41), (116, 45), (136, 49), (512, 89)] {
            let picture = svg(&"h".repeat(characters), 400).unwrap();
            let expected = format!("viewBox=\"0 0 {0} {0}\"", modules + 8);
            assert!(picture.contains(&expected), "{characters} characters");
        }
        let picture = svg(TEXT, 424).unwrap();
        assert!(picture.contains("M4 4h7v1h-7z"), "finder pattern after the quiet zone");
        assert!(picture.contains("role=\"img\"") && !picture.contains("hQVDUFY"));
        assert_eq!(svg("", 100), None);
        assert_eq!(svg(&"h".repeat(513), 100), None);
    }
}

//! Judging what a register scanned: whose code it is, and whether its seal holds.
//!
//! The only entry for text from outside. It never panics, allocates nothing, and answers every
//! input with one of a few outcomes. Whether the code is live is not decided here.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::barcode::L24_DIGITS;
use super::body::{BODY_DIGITS, Body, BodyError, Prefix, TOK19_DIGITS, number};
use super::issuers::{Form, Issuers};
use super::keyring::{Keyring, NotUsable, Usable};
use super::seal::Epochs;
use super::{emv, qr, seal};
use crate::domain::model::code::barcode_epoch;
use crate::domain::model::ids::Handle;
pub use crate::domain::model::request::Proof;
use crate::domain::model::request::Scanned;
use crate::domain::model::time::Millis;

/// The longest text judged: what EMV asks of a reader, in characters.
pub const MAX_TEXT: usize = 512;
/// Room for [`MAX_TEXT`] characters of base64, decoded, with the decoder's own margin.
const MAX_PAYLOAD: usize = 400;
/// Base64 of `85 05 "CPV…"`.
const EMV_PREFIX: &str = "hQVDUFY";
/// Base64 of `85 05 "JPQR"`.
const JPQR1_PREFIX: &str = "hQVKUFFS";

/// What a scan turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scan {
    /// The seal holds. What it vouches for is still to be compared with the live record.
    Sealed { handle: Handle, generation: u8, proof: Proof },
    /// A barcode whose MAC does not tell when it was issued. Only the record of its handle does, so it waits for
    /// [`Undated::beside`].
    Undated(Undated),
    /// The seal is that of its record, of an epoch before: the code has expired.
    Stale { handle: Handle },
    /// Well-formed, ours, of a known generation, and the MAC is wrong: counts against the handle.
    Forged { handle: Handle },
    /// Well-formed and ours, of a generation whose keys we do not have, or no longer. The handle still names it.
    Unverifiable { handle: Handle, why: InvalidWhy },
    /// Ours but malformed, or no code at all.
    Invalid(InvalidWhy),
    /// Somebody else's.
    ForeignIssuer,
}

impl From<Scan> for Scanned {
    fn from(scan: Scan) -> Self {
        match scan {
            Scan::Sealed { handle, proof, .. } => Self::Sealed { handle, proof },
            // Nobody has asked for its record.
            Scan::Undated(Undated { handle, both_at: Some(epoch), .. }) => {
                Self::Sealed { handle, proof: Proof::Barcode { epoch } }
            }
            Scan::Undated(Undated { handle, both_at: None, .. }) => Self::Forged { handle },
            Scan::Stale { handle } => Self::Stale { handle },
            Scan::Forged { handle } => Self::Forged { handle },
            Scan::Unverifiable { handle, .. } => Self::Unverifiable { handle },
            Scan::Invalid(_) => Self::Invalid,
            Scan::ForeignIssuer => Self::Foreign,
        }
    }
}

impl Scan {
    /// The generation of the keys whose seal holds. It travels beside what the engine judges, which compares it with the
    /// record of the code.
    pub const fn sealed_by(&self) -> Option<u8> {
        match self {
            Self::Sealed { generation, .. } => Some(*generation),
            _ => None,
        }
    }
}

/// A well-formed barcode of ours, of neither epoch that a live code can have (an older one, or a forged one), or by chance of
/// both.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Undated {
    body: [u8; BODY_DIGITS],
    mac: u64,
    handle: Handle,
    generation: u8,
    /// The later one of both epochs.
    both_at: Option<u64>,
}

impl std::fmt::Debug for Undated {
    /// Without its digits: they may be a live code's.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Undated").field("handle", &self.handle).finish_non_exhaustive()
    }
}

impl Undated {
    pub const fn handle(&self) -> Handle {
        self.handle
    }

    /// What it is beside the record of its handle: when that code was issued, in Unix milliseconds, and with keys of which
    /// generation. Without a record it is as good as forged.
    pub fn beside(&self, record: Option<(i64, u8)>, keys: &Keyring) -> Scan {
        let handle = self.handle;
        let own = record.filter(|(_, generation)| *generation == self.generation);
        let issued_in = own.map(|(issued_ms, _)| barcode_epoch(Millis(issued_ms)));
        if let Some(now) = self.both_at {
            // Where it is of neither, the engine finds that it is not the record's.
            let epoch = issued_in.filter(|epoch| *epoch + 1 == now).unwrap_or(now);
            return Scan::Sealed { handle, generation: self.generation, proof: Proof::Barcode { epoch } };
        }
        let fits = issued_in.is_some_and(|epoch| {
            keys.usable(self.generation).is_ok_and(|keys| seal::is_of_epoch(keys, &self.body, self.mac, epoch))
        });
        if fits { Scan::Stale { handle } } else { Scan::Forged { handle } }
    }
}

/// Why a scan is invalid. For counters and operators; the register is told "code invalid".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidWhy {
    /// Nothing but white space.
    Empty,
    /// Longer than a reader must cope with.
    TooLong,
    /// Neither digits nor the start of a known QR payload.
    NotACode,
    /// Our prefix with a number of digits we do not issue.
    Length,
    /// 19 digits under a prefix that takes 24 only, or a QR without its seal.
    Unsealed,
    /// The check digit of a TOK19.
    Luhn,
    /// A digit of 5–9 in the place of the generation: a device-made code, which is off.
    DeviceMade,
    /// A key generation we never had.
    UnknownGeneration,
    /// A key generation out of use.
    RetiredGeneration,
    /// The QR's text is not base64 in its one strict form.
    Base64,
    /// The QR's payload is not BER-TLV, or breaks the rules of EMV CPM.
    Payload,
    /// The QR is for our application, but under another name.
    Label,
    /// The QR is for our application, but holds no PAN of 19 digits.
    Pan,
    /// Template 63 is not laid out as ours, or names another key generation than the body.
    Template,
}

/// A scan without what scanners put around it, as they are set up: an AIM identifier in front (`]C0`, `]Q1`), start and end
/// of text, CR, LF, Tab, spaces.
pub fn bare(text: &str) -> &str {
    let around = |c: char| c.is_control() || c.is_whitespace();
    let text = text.trim_matches(around);
    match text.as_bytes() {
        [b']', kind, modifier, ..] if kind.is_ascii_alphabetic() && modifier.is_ascii_alphanumeric() => {
            text.get(3..).unwrap_or_default().trim_start_matches(around)
        }
        _ => text,
    }
}

/// Judges the raw text of a scan at a time in Unix milliseconds.
pub fn read(text: &str, issuers: &Issuers, keys: &Keyring, now_ms: i64) -> Scan {
    let text = bare(text);
    let judged = if text.is_empty() {
        Err(InvalidWhy::Empty)
    } else if text.len() > MAX_TEXT {
        Err(InvalidWhy::TooLong)
    } else if text.bytes().all(|byte| byte.is_ascii_digit()) {
        read_digits(text.as_bytes(), issuers, keys, now_ms)
    } else if text.starts_with(EMV_PREFIX) {
        read_emv(text, issuers, keys)
    } else if text.starts_with(JPQR1_PREFIX) {
        // The place to read JPQR1 once an operator code of ours is configured.
        Ok(Scan::ForeignIssuer)
    } else {
        Err(InvalidWhy::NotACode)
    };
    judged.unwrap_or_else(Scan::Invalid)
}

/// Judges a code that a network sends in two parts: the PAN (ISO 8583 DE 2) and the content of
/// template 63 (DE 55), empty if there was none.
pub fn read_split(pan: &str, template63: &[u8], issuers: &Issuers, keys: &Keyring) -> Scan {
    let judged = match <&[u8; TOK19_DIGITS]>::try_from(pan.as_bytes()) {
        Ok(pan) if pan.iter().all(u8::is_ascii_digit) => {
            let template = Some(template63).filter(|bytes| !bytes.is_empty());
            read_pan(pan, template, Form::Tok19, issuers, keys)
        }
        _ => match prefix_of(pan.as_bytes()) {
            Some(prefix) if issuers.form_of(prefix).is_none() => Ok(Scan::ForeignIssuer),
            _ => Err(InvalidWhy::Pan),
        },
    };
    judged.unwrap_or_else(Scan::Invalid)
}

fn prefix_of(digits: &[u8]) -> Option<Prefix> {
    digits.first_chunk().copied().and_then(Prefix::from_ascii)
}

fn read_digits(digits: &[u8], issuers: &Issuers, keys: &Keyring, now_ms: i64) -> Result<Scan, InvalidWhy> {
    // Fewer than eight digits, or a product's: nobody's pay code, and no concern of ours.
    let Some(form) = prefix_of(digits).and_then(|prefix| issuers.form_of(prefix)) else {
        return Ok(Scan::ForeignIssuer);
    };
    match (form, digits.len()) {
        (Form::L24, L24_DIGITS) => read_l24(digits, keys, now_ms),
        (Form::Tok19, TOK19_DIGITS) => {
            let pan = digits.first_chunk().ok_or(InvalidWhy::Length)?;
            read_pan(pan, None, form, issuers, keys)
        }
        (Form::L24, TOK19_DIGITS) => Err(InvalidWhy::Unsealed),
        _ => Err(InvalidWhy::Length),
    }
}

fn read_l24(digits: &[u8], keys: &Keyring, now_ms: i64) -> Result<Scan, InvalidWhy> {
    let (text, mac) = digits.split_first_chunk::<BODY_DIGITS>().ok_or(InvalidWhy::Length)?;
    let mac = number(mac).ok_or(InvalidWhy::NotACode)?;
    let body = Body::parse(text).map_err(why_of)?;
    let handle = body.handle();
    let usable = match usable(&body, keys)? {
        Ok(usable) => usable,
        Err(why) => return Ok(Scan::Unverifiable { handle, why }),
    };
    let generation = body.version();
    let now = barcode_epoch(Millis(now_ms));
    let undated = |both_at| Scan::Undated(Undated { body: *text, mac, handle, generation, both_at });
    Ok(match seal::current_epochs(usable, text, mac, now) {
        Epochs::One(epoch) => Scan::Sealed { handle, generation, proof: Proof::Barcode { epoch } },
        Epochs::Both => undated(Some(now)),
        Epochs::Neither => undated(None),
    })
}

fn read_emv(text: &str, issuers: &Issuers, keys: &Keyring) -> Result<Scan, InvalidWhy> {
    let mut buffer = [0; MAX_PAYLOAD];
    let length = STANDARD.decode_slice(text, &mut buffer).map_err(|_| InvalidWhy::Base64)?;
    let payload = buffer.get(..length).ok_or(InvalidWhy::Base64)?;
    let applications = emv::applications(payload).map_err(|_| InvalidWhy::Payload)?;
    for offered in applications.into_iter().flatten() {
        let mut ours = issuers.applications_of(offered.adf_name).peekable();
        if ours.peek().is_none() {
            continue;
        }
        let named = ours.find(|one| offered.label == Some(one.label.as_bytes()));
        let application = named.ok_or(InvalidWhy::Label)?;
        let pan = offered.pan.ok_or(InvalidWhy::Pan)?;
        return read_pan(&pan, offered.transparent, application.form, issuers, keys);
    }
    Ok(Scan::ForeignIssuer)
}

/// A TOK19 (digits, checked by the caller) with the content of its template 63. Without one it
/// counts only where both `form`, that of the way it came, and that of its prefix are TOK19.
fn read_pan(
    pan: &[u8; TOK19_DIGITS],
    template63: Option<&[u8]>,
    form: Form,
    issuers: &Issuers,
    keys: &Keyring,
) -> Result<Scan, InvalidWhy> {
    let Some(prefix_form) = prefix_of(pan).and_then(|prefix| issuers.form_of(prefix)) else {
        return Ok(Scan::ForeignIssuer);
    };
    let body = Body::from_tok19(pan).map_err(why_of)?;
    let handle = body.handle();
    let generation = body.version();
    let usable = match usable(&body, keys)? {
        Ok(usable) => usable,
        Err(why) => return Ok(Scan::Unverifiable { handle, why }),
    };
    let Some(content) = template63 else {
        return match (form, prefix_form) {
            (Form::Tok19, Form::Tok19) => Ok(Scan::Sealed { handle, generation, proof: Proof::Tok19 }),
            _ => Err(InvalidWhy::Unsealed),
        };
    };
    let template = qr::read_template(content).ok_or(InvalidWhy::Template)?;
    if template.facts.generation != generation {
        return Err(InvalidWhy::Template);
    }
    if !seal::check_qr(usable, pan, template.head, &template.mac) {
        return Ok(Scan::Forged { handle });
    }
    let qr::Facts { counter, random, issued_at, ttl, .. } = template.facts;
    let proof = Proof::Qr { counter, random, issued_at, ttl };
    Ok(Scan::Sealed { handle, generation, proof })
}

fn why_of(error: BodyError) -> InvalidWhy {
    match error {
        BodyError::Digits => InvalidWhy::NotACode,
        BodyError::Luhn => InvalidWhy::Luhn,
    }
}

/// The keys of the generation a body names, or why there are none.
fn usable<'a>(body: &Body, keys: &'a Keyring) -> Result<Result<Usable<'a>, InvalidWhy>, InvalidWhy> {
    if body.is_device_made() {
        return Err(InvalidWhy::DeviceMade);
    }
    Ok(keys.usable(body.version()).map_err(|why| match why {
        NotUsable::Unknown => InvalidWhy::UnknownGeneration,
        NotUsable::Retired => InvalidWhy::RetiredGeneration,
    }))
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use zeroize::Zeroizing;

    use super::*;
    use crate::code::issue::mint;
    use crate::code::issuers::{Aid, Application, Label};
    use crate::code::keyring::{GenerationKeys, KeyState};
    use crate::code::tlv;

    const ISSUED_MS: i64 = 1_795_423_500_000;
    const EPOCH: u64 = 2_992_372;
    const EPOCH_MS: i64 = 600_000;
    const L24: &str = "900099991314159265005632";
    const TOK19: &str = "9000999913141592657";
    const QR: &str = "hQVDUFYwMWFNTwfwAAAAAAABUAdURVNUUEFZWgqQAJmZExQVkmV/Yy2fNgIAB583BKGyw9SfEAgBAWsD/QwBLJ8mCPd5CpHMrvdo3wEI/832gLRY7Ko=";
    const QR_PROOF: Proof = Proof::Qr { counter: 7, random: 0xA1B2_C3D4, issued_at: 1_795_423_500, ttl: 300 };

    fn handle() -> Handle {
        Handle::new(314_159_265).unwrap()
    }

    fn sealed(proof: Proof) -> Scan {
        Scan::Sealed { handle: handle(), generation: 1, proof }
    }

    fn at(text: &str, now_ms: i64) -> Scan {
        read(text, &Issuers::sandbox(), &Keyring::sandbox(), now_ms)
    }

    fn scan(text: &str) -> Scan {
        at(text, ISSUED_MS)
    }

    fn payload() -> Vec<u8> {
        STANDARD.decode(QR).unwrap()
    }

    /// A QR of the test AID with these objects behind the AID.
    fn qr_with(objects: &[(u16, &[u8])]) -> String {
        let mut inner = Vec::new();
        tlv::put(&mut inner, 0x4F, &[0xF0, 0, 0, 0, 0, 0, 1]).unwrap();
        for (tag, value) in objects {
            tlv::put(&mut inner, *tag, value).unwrap();
        }
        let mut out = b"\x85\x05CPV01".to_vec();
        tlv::put(&mut out, 0x61, &inner).unwrap();
        STANDARD.encode(out)
    }

    /// The published values of tags 5A and 63.
    fn parts() -> (Vec<u8>, Vec<u8>) {
        let payload = payload();
        (payload[29..39].to_vec(), payload[41..].to_vec())
    }

    fn key(seed: u8) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(std::array::from_fn(|i| seed ^ u8::try_from(i).unwrap()))
    }

    fn with_tok19() -> Issuers {
        let prefix = |text| Prefix::parse(text).unwrap();
        let application =
            |aid, form, label| Application { aid: Aid::parse(aid).unwrap(), form, label: Label::parse(label).unwrap() };
        Issuers::new(
            vec![(prefix("90008888"), Form::L24), (prefix("90009999"), Form::Tok19)],
            vec![
                application("F0000000000002", Form::L24, "TESTPAY"),
                application("F0000000000001", Form::Tok19, "TESTPAY"),
            ],
        )
        .unwrap()
    }

    #[test]
    fn published_codes_are_sealed() {
        assert_eq!(scan(L24), sealed(Proof::Barcode { epoch: EPOCH }));
        assert_eq!(scan(QR), sealed(QR_PROOF));
        for text in [format!("{L24}\r\n"), format!(" \t{L24}\n"), format!("\r\n{L24}")] {
            assert_eq!(scan(&text), sealed(Proof::Barcode { epoch: EPOCH }));
        }
        assert_eq!(scan(&format!("{QR}\r")), sealed(QR_PROOF));
    }

    /// What a barcode is beside the record of the published code.
    fn beside_its_record(seen: Scan) -> Scan {
        match seen {
            Scan::Undated(old) => old.beside(Some((ISSUED_MS, 1)), &Keyring::sandbox()),
            other => other,
        }
    }

    #[test]
    fn epoch_borders_by_the_clock() {
        let start = i64::try_from(EPOCH).unwrap() * EPOCH_MS;
        let current = sealed(Proof::Barcode { epoch: EPOCH });
        let is_old = |seen: Scan| matches!(seen, Scan::Undated(old) if old.handle() == handle());
        assert!(is_old(at(L24, start - 1)), "not issued yet");
        assert_eq!(at(L24, start), current);
        assert_eq!(at(L24, start + 2 * EPOCH_MS - 1), current);
        for now in [start + 2 * EPOCH_MS, start + 1_000 * EPOCH_MS, i64::MIN, i64::MAX] {
            assert!(is_old(at(L24, now)), "at {now}");
        }
        assert_eq!(at(QR, i64::MIN), sealed(QR_PROOF), "a QR carries its own time");
    }

    #[test]
    fn an_old_barcode_is_told_by_its_record() {
        let Scan::Undated(old) = at(L24, ISSUED_MS + 100 * EPOCH_MS) else { panic!("it is old") };
        let (ring, forged) = (Keyring::sandbox(), Scan::Forged { handle: handle() });
        assert_eq!(old.beside(Some((ISSUED_MS, 1)), &ring), Scan::Stale { handle: handle() });
        assert_eq!(old.beside(None, &ring), forged, "nobody remembers it");
        assert_eq!(old.beside(Some((ISSUED_MS + EPOCH_MS, 1)), &ring), forged, "another life of its handle");
        assert_eq!(old.beside(Some((ISSUED_MS, 0)), &ring), forged, "issued with other keys");
        assert_eq!(Scanned::from(Scan::Undated(old)), Scanned::Forged { handle: handle() });
        assert_eq!(format!("{old:?}"), format!("Undated {{ handle: {:?}, .. }}", handle()), "no digit of it is shown");
    }

    /// Once in a million a MAC is of both epochs of a moment: then the record says of which the code is.
    #[test]
    fn a_barcode_of_both_epochs_is_the_one_of_its_record() {
        let (ring, issuers) = (Keyring::sandbox(), Issuers::sandbox());
        let issuer = issuers.issuer(Form::L24).unwrap();
        let start = i64::try_from(EPOCH).unwrap() * EPOCH_MS;
        let minted = |handle: u32, at| {
            let handle = Handle::new(handle).unwrap();
            mint(&ring, 1, &issuer, handle, at, 300, 1, 2).ok().unwrap().barcode
        };
        // The first handle whose MAC of this epoch is that of the next one, too; found by trying them all.
        let twin = 699_576;
        let (text, next) = (minted(twin, start), minted(twin, start + EPOCH_MS));
        assert_eq!(text, next);
        let handle = Handle::new(twin).unwrap();
        let is_of = |epoch| Scan::Sealed { handle, generation: 1, proof: Proof::Barcode { epoch } };
        let read = |at| read(&text, &issuers, &ring, at);
        assert_eq!((read(start), read(start + 2 * EPOCH_MS)), (is_of(EPOCH), is_of(EPOCH + 1)));
        let Scan::Undated(both) = read(start + EPOCH_MS) else { panic!("it is of both") };
        let beside = |issued_ms, generation| both.beside(Some((issued_ms, generation)), &ring);
        assert_eq!(beside(start + EPOCH_MS - 1, 1), is_of(EPOCH));
        assert_eq!(beside(start + EPOCH_MS, 1), is_of(EPOCH + 1));
        for other in [beside(start - 1, 1), beside(start, 0), both.beside(None, &ring)] {
            assert_eq!(other, is_of(EPOCH + 1), "the engine does not find it in the record");
        }
        let sealed = Scanned::Sealed { handle, proof: Proof::Barcode { epoch: EPOCH + 1 } };
        assert_eq!(Scanned::from(Scan::Undated(both)), sealed);
    }

    #[test]
    fn a_forged_barcode_costs_two_macs_and_one_more_where_its_handle_has_a_record() {
        let macs = || seal::MACS.with(std::cell::Cell::take);
        macs();
        let other_mac = "900099991314159265005633";
        let Scan::Undated(forged) = scan(other_mac) else { panic!("its MAC is wrong") };
        assert_eq!(macs(), 2);
        let ring = Keyring::sandbox();
        assert_eq!(forged.beside(None, &ring), Scan::Forged { handle: handle() });
        assert_eq!(forged.beside(Some((ISSUED_MS, 0)), &ring), Scan::Forged { handle: handle() });
        assert_eq!(macs(), 0);
        assert_eq!(forged.beside(Some((ISSUED_MS, 1)), &ring), Scan::Forged { handle: handle() });
        assert_eq!(macs(), 1);
    }

    #[test]
    fn no_single_digit_can_be_changed_in_a_barcode() {
        for place in 0..L24.len() {
            for digit in (b'0'..=b'9').filter(|digit| *digit != L24.as_bytes()[place]) {
                let mut text = L24.as_bytes().to_vec();
                text[place] = digit;
                let seen = beside_its_record(scan(std::str::from_utf8(&text).unwrap()));
                let expected = match (place, digit) {
                    (0..8, _) => Scan::ForeignIssuer,
                    (8, b'5'..) => Scan::Invalid(InvalidWhy::DeviceMade),
                    (8, _) => Scan::Unverifiable { handle: handle(), why: InvalidWhy::UnknownGeneration },
                    _ => seen,
                };
                assert_eq!(seen, expected, "place {place}");
                assert_eq!(place > 8, matches!(seen, Scan::Forged { .. }), "place {place}");
            }
        }
    }

    #[test]
    fn no_single_byte_can_be_changed_in_a_qr() {
        let good = payload();
        for place in 0..good.len() {
            for byte in (0..=255).filter(|byte| *byte != good[place]) {
                let mut bad = good.clone();
                bad[place] = byte;
                let seen = scan(&STANDARD.encode(&bad));
                assert!(!matches!(seen, Scan::Sealed { .. }), "byte {place} = {byte:02X}");
            }
        }
    }

    #[test]
    fn no_character_can_be_changed_cut_or_added_in_a_qr() {
        for place in 0..QR.len() {
            for character in (0x21..0x7F).filter(|one| *one != QR.as_bytes()[place]) {
                let mut text = QR.as_bytes().to_vec();
                text[place] = character;
                let seen = scan(std::str::from_utf8(&text).unwrap());
                assert!(!matches!(seen, Scan::Sealed { .. }), "character {place}");
            }
            assert!(!matches!(scan(&QR[..place]), Scan::Sealed { .. }), "cut at {place}");
        }
        let unpadded = QR.trim_end_matches('=');
        for text in [unpadded.to_owned(), format!("{QR}="), format!("{QR}AAAA"), QR.repeat(2)] {
            assert!(matches!(scan(&text), Scan::Invalid(_)));
        }
        assert_eq!(scan(unpadded), Scan::Invalid(InvalidWhy::Base64));
    }

    #[test]
    fn seal_damage_is_forgery_and_nothing_else_is() {
        let damaged = |place: usize| {
            let mut bad = payload();
            bad[place] ^= 0x01;
            scan(&STANDARD.encode(&bad))
        };
        let forged = Scan::Forged { handle: handle() };
        // Counter, random, issue time and life, both halves of the MAC: first and last bytes.
        for place in [44, 45, 49, 52, 58, 61, 62, 63, 67, 74, 78, 85] {
            assert_eq!(damaged(place), forged, "byte {place}");
        }
        // Tags, lengths, format and key id of template 63.
        for place in [41, 43, 46, 48, 53, 55, 56, 57, 64, 66, 75, 77] {
            assert_eq!(damaged(place), Scan::Invalid(InvalidWhy::Template), "byte {place}");
        }
    }

    #[test]
    fn other_issuers_and_other_things() {
        let foreign = [
            "900099981314159265005632",
            "4901234567894",
            "28012345678901234567",
            "12",
            "9000999",
            "hQVDUFYwMWEaTwegAAAAVVVVVw8SNFZ4kBI0WNGRIgESNF8=",
            "hQVDUFYwMWEfTwigAAAAZQOSAlcTMViZAHkkKUPUkSEhAAAFEgAADw==",
            "hQVKUFFSMWElTwgxMjM0NTY3OFcIODc2NTQzMjGZD3sia2V5IjoidmFsdWUifQ==",
        ];
        for text in foreign {
            assert_eq!(scan(text), Scan::ForeignIssuer, "{text}");
        }
        let long = "9".repeat(513);
        let invalid = [
            ("", InvalidWhy::Empty),
            (" \r\n", InvalidWhy::Empty),
            (long.as_str(), InvalidWhy::TooLong),
            ("hello", InvalidWhy::NotACode),
            ("https://example.com/", InvalidWhy::NotACode),
            ("90009999 1314159265005632", InvalidWhy::NotACode),
            ("９０００９９９９１３１４１５９２６５００５６３２", InvalidWhy::NotACode),
            ("hqvdufywMWE=", InvalidWhy::NotACode),
            ("90009999", InvalidWhy::Length),
            ("90009999131415926500563", InvalidWhy::Length),
            ("9000999913141592650056320", InvalidWhy::Length),
            (TOK19, InvalidWhy::Unsealed),
            ("900099995314159265005632", InvalidWhy::DeviceMade),
            ("900099996271828185003310", InvalidWhy::DeviceMade),
            ("hQVDUFY", InvalidWhy::Base64),
            ("hQVDUFYwMWFN!wfw", InvalidWhy::Base64),
            ("hQVDUFYwMWFNTwfwAA==", InvalidWhy::Payload),
            ("hQVDUFYwMg==", InvalidWhy::Payload),
            ("hQVDUFYwMQ==", InvalidWhy::Payload),
        ];
        for (text, why) in invalid {
            assert_eq!(scan(text), Scan::Invalid(why), "{text}");
        }
    }

    #[test]
    fn a_qr_of_ours_must_be_whole() {
        let (pan, seal) = parts();
        let label: (u16, &[u8]) = (0x50, b"TESTPAY");
        let mut track = pan.clone();
        *track.last_mut().unwrap() = 0x7D;
        track.extend([0x49, 0x12, 0x20, 0x1F]);
        let mut other_pan = pan.clone();
        *other_pan.last_mut().unwrap() = 0x8F;
        let why = |objects: &[(u16, &[u8])]| match scan(&qr_with(objects)) {
            Scan::Invalid(why) => Some(why),
            Scan::Sealed { .. } => None,
            other @ (Scan::Undated(_)
            | Scan::Stale { .. }
            | Scan::Forged { .. }
            | Scan::Unverifiable { .. }
            | Scan::ForeignIssuer) => {
                panic!("{other:?}")
            }
        };
        assert_eq!(why(&[label, (0x5A, &pan), (0x63, &seal)]), None);
        assert_eq!(why(&[(0x63, &seal), (0x5A, &pan), label]), None, "any order");
        assert_eq!(why(&[label, (0x57, &track), (0x63, &seal)]), None, "PAN from 57");
        assert_eq!(why(&[label, (0xC1, b"x"), (0x5A, &pan), (0x63, &seal), (0x9F08, &[0, 16])]), None);
        assert_eq!(why(&[(0x5A, &pan), (0x63, &seal)]), Some(InvalidWhy::Label));
        let renamed = [(0x50, &b"FREEPAY"[..]), (0x5A, &pan), (0x63, &seal)];
        assert_eq!(why(&renamed), Some(InvalidWhy::Label));
        assert_eq!(why(&[label, (0x63, &seal)]), Some(InvalidWhy::Pan));
        assert_eq!(why(&[label, (0x5A, &pan[..9]), (0x63, &seal)]), Some(InvalidWhy::Pan));
        assert_eq!(why(&[label, (0x5A, &other_pan), (0x63, &seal)]), Some(InvalidWhy::Luhn));
        assert_eq!(why(&[label, (0x5A, &pan)]), Some(InvalidWhy::Unsealed));
        assert_eq!(why(&[label, (0x5A, &pan), (0x63, &[])]), Some(InvalidWhy::Template));
        assert_eq!(why(&[label, (0x5A, &pan), (0x63, &seal[..34])]), Some(InvalidWhy::Template));
        let twice = [label, (0x5A, &pan[..]), (0x5A, &pan[..]), (0x63, &seal)];
        assert_eq!(why(&twice), Some(InvalidWhy::Payload));
        let mut other_key = seal.clone();
        other_key[16] = 2; // the key id in 9F10
        assert_eq!(why(&[label, (0x5A, &pan), (0x63, &other_key)]), Some(InvalidWhy::Template));
    }

    #[test]
    fn a_longer_adf_name_and_a_second_application_are_found() {
        let (pan, seal) = parts();
        let mut first = Vec::new();
        tlv::put(&mut first, 0x4F, &[0xA0, 0, 0, 0, 0x65]).unwrap();
        let mut ours = Vec::new();
        tlv::put(&mut ours, 0x4F, &[0xF0, 0, 0, 0, 0, 0, 1, 0x99]).unwrap();
        tlv::put(&mut ours, 0x50, b"TESTPAY").unwrap();
        tlv::put(&mut ours, 0x5A, &pan).unwrap();
        tlv::put(&mut ours, 0x63, &seal).unwrap();
        let mut out = b"\x85\x05CPV01".to_vec();
        tlv::put(&mut out, 0x61, &first).unwrap();
        tlv::put(&mut out, 0x61, &ours).unwrap();
        assert_eq!(scan(&STANDARD.encode(out)), sealed(QR_PROOF));
    }

    #[test]
    fn two_parts_as_a_network_sends_them() {
        let (_, seal) = parts();
        let (issuers, ring) = (Issuers::sandbox(), Keyring::sandbox());
        let split = |pan: &str, seal: &[u8]| read_split(pan, seal, &issuers, &ring);
        assert_eq!(split(TOK19, &seal), sealed(QR_PROOF));
        assert_eq!(split(TOK19, &seal).sealed_by(), Some(1));
        assert_eq!(split(TOK19, &[]), Scan::Invalid(InvalidWhy::Unsealed));
        assert_eq!(split(TOK19, &seal[..44]), Scan::Invalid(InvalidWhy::Template));
        assert_eq!(split("9000999913141592658", &seal), Scan::Invalid(InvalidWhy::Luhn));
        assert_eq!(split("900099991314159265", &seal), Scan::Invalid(InvalidWhy::Pan));
        assert_eq!(split("900099991314159265x", &seal), Scan::Invalid(InvalidWhy::Pan));
        assert_eq!(split("", &seal), Scan::Invalid(InvalidWhy::Pan));
        assert_eq!(split("3158990079242943", &seal), Scan::ForeignIssuer);
        // Another body with a right check digit: the MAC was made for a different PAN.
        let prefix = Prefix::parse("90009999").unwrap();
        let other = Body::new(prefix, 1, Handle::new(5).unwrap()).unwrap();
        let text = super::super::body::digits_text(&other.tok19());
        assert_eq!(split(&text, &seal), Scan::Forged { handle: other.handle() });
        for place in 0..seal.len() {
            let mut bad = seal.clone();
            bad[place] ^= 0x10;
            assert!(!matches!(split(TOK19, &bad), Scan::Sealed { .. }), "byte {place}");
        }
        let tok19 = with_tok19();
        assert_eq!(read_split(TOK19, &[], &tok19, &ring), sealed(Proof::Tok19));
        assert_eq!(read_split(TOK19, &seal, &tok19, &ring), sealed(QR_PROOF));
    }

    #[test]
    fn nineteen_digits_only_where_configured() {
        let (issuers, ring) = (with_tok19(), Keyring::sandbox());
        let scan = |text: &str| read(text, &issuers, &ring, ISSUED_MS);
        assert_eq!(scan(TOK19), sealed(Proof::Tok19));
        assert_eq!(scan("9000999913141592658"), Scan::Invalid(InvalidWhy::Luhn));
        assert_eq!(scan("9000999993141592650"), Scan::Invalid(InvalidWhy::Luhn));
        assert_eq!(scan(L24), Scan::Invalid(InvalidWhy::Length));
        assert_eq!(scan("9000888813141592657"), Scan::Invalid(InvalidWhy::Unsealed));
        // The AID of the TOK19 network may come without template 63, another AID may not.
        let (pan, _) = parts();
        let bare = qr_with(&[(0x50, b"TESTPAY"), (0x5A, &pan)]);
        assert_eq!(scan(&bare), sealed(Proof::Tok19));
        let mut other = STANDARD.decode(&bare).unwrap();
        other[17] = 2;
        assert_eq!(scan(&STANDARD.encode(other)), Scan::Invalid(InvalidWhy::Unsealed));
        assert_eq!(scan(QR), sealed(QR_PROOF));
    }

    #[test]
    fn generations_overlap_and_retire() {
        let old = |state| GenerationKeys::new(0, state, key(0x40), key(0x80));
        let new = |state| GenerationKeys::new(1, state, key(0x60), key(0xA0));
        let issuers = Issuers::sandbox();
        let issuer = issuers.issuer(Form::L24).unwrap();
        let before = Keyring::new([old(KeyState::Active)]).unwrap();
        let during = Keyring::new([old(KeyState::VerifyOnly), new(KeyState::Active)]).unwrap();
        let after = Keyring::new([old(KeyState::Retired), new(KeyState::Active)]).unwrap();
        let first = mint(&before, before.active(), &issuer, handle(), ISSUED_MS, 300, 1, 2).ok().unwrap();
        let second = mint(&during, during.active(), &issuer, handle(), ISSUED_MS, 300, 1, 2).ok().unwrap();
        let generation = |text: &str, ring| match read(text, &issuers, ring, ISSUED_MS) {
            Scan::Sealed { generation, .. } => Ok(generation),
            Scan::Unverifiable { handle: of, why } if of == handle() => Err(why),
            other @ (Scan::Unverifiable { .. }
            | Scan::Invalid(_)
            | Scan::Undated(_)
            | Scan::Stale { .. }
            | Scan::Forged { .. }
            | Scan::ForeignIssuer) => {
                panic!("{other:?}")
            }
        };
        for (first, second) in [(&first.barcode, &second.barcode), (&first.qr, &second.qr)] {
            assert_eq!(generation(first, &before), Ok(0));
            assert_eq!(generation(first, &during), Ok(0));
            assert_eq!(generation(first, &after), Err(InvalidWhy::RetiredGeneration));
            assert_eq!(generation(second, &before), Err(InvalidWhy::UnknownGeneration));
            assert_eq!(generation(second, &during), Ok(1));
            assert_eq!(generation(second, &after), Ok(1));
        }
        // The published code names generation 1, but these are other keys.
        let seen = read(L24, &issuers, &during, ISSUED_MS);
        assert!(matches!(seen, Scan::Undated(old) if old.handle() == handle()), "{seen:?}");
        assert_eq!(read(QR, &issuers, &during, ISSUED_MS), Scan::Forged { handle: handle() });
    }

    #[test]
    fn whatever_is_minted_is_read() {
        let (issuers, ring) = (Issuers::sandbox(), Keyring::sandbox());
        let issuer = issuers.issuer(Form::L24).unwrap();
        let mut dice = Dice(7);
        for _ in 0..2_000 {
            let handle = Handle::new(u32::try_from(dice.next() % 1_000_000_000).unwrap()).unwrap();
            let issued = i64::try_from(dice.next() % 4_294_967_295_000).unwrap();
            let [a, b, c, d, e, f, g, h] = dice.next().to_be_bytes();
            let (counter, random) = (u16::from_be_bytes([a, b]), u32::from_be_bytes([c, d, e, f]));
            let ttl = u16::from_be_bytes([g, h]);
            let code = mint(&ring, ring.active(), &issuer, handle, issued, ttl, counter, random).ok().unwrap();
            let epoch = u64::try_from(issued / EPOCH_MS).unwrap();
            let age = i64::from(ttl) * 9;
            let seen = read(&code.barcode, &issuers, &ring, issued + age);
            let proof = Proof::Barcode { epoch };
            assert_eq!(seen, Scan::Sealed { handle, generation: 1, proof });
            let issued_at = u32::try_from(issued / 1_000).unwrap();
            let proof = Proof::Qr { counter, random, issued_at, ttl };
            let seen = read(&code.qr, &issuers, &ring, issued + age);
            assert_eq!(seen, Scan::Sealed { handle, generation: 1, proof });
        }
    }

    /// A small fixed sequence (SplitMix64), so that a failure can be run again.
    struct Dice(u64);

    impl Dice {
        fn next(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            mixed ^ (mixed >> 31)
        }

        fn below(&mut self, end: usize) -> usize {
            usize::try_from(self.next() % u64::try_from(end).unwrap()).unwrap()
        }

        fn bytes(&mut self, count: usize) -> Vec<u8> {
            (0..count).map(|_| self.next().to_le_bytes()[0]).collect()
        }
    }

    #[test]
    fn random_input_neither_panics_nor_passes() {
        let (issuers, ring) = (with_tok19(), Keyring::sandbox());
        let sandbox = Issuers::sandbox();
        let mut dice = Dice(1);
        let good = payload();
        for round in 0..200_000 {
            let text = match round % 4 {
                0 => {
                    let count = dice.below(600);
                    String::from_utf8_lossy(&dice.bytes(count)).into_owned()
                }
                1 => {
                    let count = dice.below(60);
                    let tail = STANDARD.encode(dice.bytes(count));
                    format!("hQVDUFYw{tail}")
                }
                2 => {
                    // Two to six bytes of a good payload changed, then perhaps cut.
                    let mut bytes = good.clone();
                    for _ in 0..2 + dice.below(5) {
                        let place = dice.below(bytes.len());
                        bytes[place] = bytes[place].wrapping_add(dice.bytes(1)[0] | 1);
                    }
                    if dice.below(4) == 0 {
                        bytes.truncate(dice.below(bytes.len()));
                    }
                    STANDARD.encode(bytes)
                }
                _ => {
                    let mut text = String::from("9000");
                    write!(text, "{:x}{}", dice.next() % 16, dice.next()).unwrap();
                    text
                }
            };
            let now = i64::from_le_bytes(dice.next().to_le_bytes());
            let _ = read(&text, &issuers, &ring, now);
            let seen = read(&text, &sandbox, &ring, ISSUED_MS);
            let is_sealed = matches!(seen, Scan::Sealed { .. });
            let is_untouched = STANDARD.decode(&text).is_ok_and(|bytes| bytes == good);
            assert!(!is_sealed || is_untouched, "round {round}");
            let count = dice.below(64);
            let _ = read_split(TOK19, &dice.bytes(count), &issuers, &ring);
        }
    }
}

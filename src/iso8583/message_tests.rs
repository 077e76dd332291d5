//! Frames worked out by others, and frames that nobody should send.

use proptest::prelude::*;

use super::frame::{Frame, Framing};
use super::message::{BadValue, Layout, Message, Problem, pack};

/// Worked frames of the profile: a purchase, a reversal after a timeout, an echo.
const PURCHASE: &str = "00c7303230307238448108e080043139393030303939393931333134313539323635373030303030303030303030303030313938\
    30313132333038343533303030343231373137343533303131323335343131303330303030363335333030313633323730383030\
    34323137504f5330303031374a504d3030303030303030313233344b4f4e42494e49205348494e4a554b5520332020202020544f\
    4b594f202020202020202020204a50333932303234393030303939393931333134313539323635303035363332";
const REVERSAL: &str = "00b830343230f23844810ac080000000004000000000313939303030393939393133313431353932363537303030303030303030\
    30303030303139383031313233303834363035303034323138313734353330313132333534313130333030303036333533303031\
    3633323730383030343231373638504f5330303031374a504d303030303030303031323334333932303230303030343231373131\
    323330383435333030303030303335333030313030303030303030303030";
const ECHO: &str = "0027303830308220000000000000040000000000000031313233303834373030303030303031333031";

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex.chars().filter_map(|c| c.to_digit(16)).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] << 4 | pair[1]).unwrap()).collect()
}

const BINARY: Layout = Layout { hex_bitmap: false };
const HEX: Layout = Layout { hex_bitmap: true };

fn elements<'a>(message: &'a Message<'a>) -> Vec<(u8, &'a [u8])> {
    message.numbers().map(|number| (number, message.get(number).unwrap())).collect()
}

#[test]
fn the_worked_frames_are_read_and_written_byte_for_byte() {
    for (frame, mti, numbers) in [
        (PURCHASE, b"0200", &[2, 3, 4, 7, 11, 12, 13, 18, 22, 25, 32, 37, 41, 42, 43, 49, 62][..]),
        (REVERSAL, b"0420", &[2, 3, 4, 7, 11, 12, 13, 18, 22, 25, 32, 37, 39, 41, 42, 49, 90]),
        (ECHO, b"0800", &[7, 11, 70]),
    ] {
        let wire = bytes(frame);
        let Frame { message, taken, .. } = Framing::default().next(&wire).unwrap().unwrap();
        assert_eq!(taken, wire.len());
        let read = Message::unpack(message, BINARY).unwrap();
        assert_eq!((&read.mti, read.numbers().collect::<Vec<_>>().as_slice()), (mti, numbers));
        for layout in [BINARY, HEX] {
            let mut again = Vec::new();
            pack(read.mti, elements(&read), layout, &mut again).unwrap();
            let reread = Message::unpack(&again, layout).unwrap();
            assert_eq!(elements(&reread), elements(&read));
            if layout == BINARY {
                let mut framed = Vec::new();
                Framing::default().put(None, &mut framed, &again);
                assert_eq!(framed, wire);
            }
        }
    }
}

#[test]
fn values_are_where_the_profile_says() {
    let wire = bytes(PURCHASE);
    let message = Message::unpack(&wire[2..], BINARY).unwrap();
    let expected = [
        (2, "9000999913141592657"),
        (3, "000000"),
        (4, "000000001980"),
        (7, "1123084530"),
        (11, "004217"),
        (37, "632708004217"),
        (41, "POS00017"),
        (42, "JPM000000001234"),
        (49, "392"),
        (62, "900099991314159265005632"),
    ];
    for (number, text) in expected {
        assert_eq!(message.text(number), Some(text), "element {number}");
    }
    assert_eq!((message.get(5), message.get(0), message.get(1), message.get(200)), (None, None, None, None));
}

#[test]
fn a_log_line_shows_no_code_and_no_account() {
    let wire = bytes(PURCHASE);
    let shown = format!("{:?}", Message::unpack(&wire[2..], BINARY).unwrap());
    assert!(shown.contains("11=\"004217\"") && shown.contains("62=(24 masked)"), "{shown}");
    assert!(!shown.contains("900099991314159265"), "{shown}");
}

fn problem(message: &[u8]) -> (Option<u8>, Problem) {
    let malformed = Message::unpack(message, BINARY).unwrap_err();
    (malformed.element, malformed.problem)
}

#[test]
fn what_is_wrong_is_named_and_what_came_before_it_is_kept() {
    let wire = bytes(PURCHASE);
    let good = &wire[2..];
    assert_eq!(problem(b"02"), (None, Problem::EndsEarly));
    assert_eq!(problem(b"02x0\0\0\0\0\0\0\0\0"), (None, Problem::NoType));
    assert_eq!(problem(&[good, b"!"].concat()), (None, Problem::BytesLeftOver));
    let mut letters = good.to_vec();
    let amount = good.windows(12).position(|window| window == b"000000001980").unwrap();
    letters[amount] = b'x';
    assert_eq!(problem(&letters), (Some(4), Problem::BadCharacters));
    let read = Message::unpack(&letters, BINARY).unwrap_err().read;
    assert_eq!((read.get(4), read.text(11), read.text(49)), (None, Some("004217"), Some("392")));
    let mut long = good.to_vec();
    long[12..14].copy_from_slice(b"20");
    assert_eq!(problem(&long), (Some(2), Problem::BadLength), "an account number has 19 digits at most");
    let cut = Message::unpack(&good[..good.len() - 1], BINARY).unwrap_err();
    assert_eq!((cut.element, cut.problem, cut.read.text(11)), (Some(62), Problem::EndsEarly, Some("004217")));
    let hex = Message::unpack(b"0800zz20000000000000", HEX).unwrap_err();
    assert_eq!(hex.problem, Problem::BadBitmap);
}

#[test]
fn what_an_element_cannot_hold_is_not_packed() {
    let mut out = b"before".to_vec();
    for (number, value) in
        [(3, &b"12345"[..]), (4, b"12345678901x"), (2, b"12345678901234567890"), (1, b""), (129, b"")]
    {
        assert_eq!(pack(*b"0200", [(number, value)], BINARY, &mut out), Err(BadValue(number)));
    }
    let unordered = [(11, &b"000001"[..]), (4, b"000000000001")];
    assert_eq!(pack(*b"0200", unordered, BINARY, &mut out), Err(BadValue(4)));
    assert_eq!(out, b"before");
}

proptest! {
    /// Whatever comes, it is read or refused; what is read is what is there.
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300), hex in any::<bool>()) {
        let layout = Layout { hex_bitmap: hex };
        if let Ok(message) = Message::unpack(&bytes, layout) {
            let mut again = Vec::new();
            pack(message.mti, elements(&message), layout, &mut again).unwrap();
            let reread = Message::unpack(&again, layout).unwrap();
            prop_assert_eq!(elements(&reread), elements(&message));
        }
    }

    /// One byte of a good message is changed, or it is cut.
    #[test]
    fn a_changed_byte_is_no_crash(at in 2_usize..199, to in any::<u8>(), end in 2_usize..200) {
        let mut wire = bytes(PURCHASE);
        wire[at] = to;
        for message in [&wire[2..], &wire[2..end.min(wire.len())]] {
            match Message::unpack(message, BINARY) {
                Ok(read) => drop(elements(&read)),
                Err(malformed) => drop(format!("{} {:?}", malformed.problem, malformed.read)),
            }
        }
    }
}

//! Requests of the profile, and what is wrong with others.

use super::message::{Layout, Message, pack};
use super::profile::{Answer, Echo, Kind, request};
use super::translate::{Asks, AsksOnOrder, Presented, Request, Wrong, read};
use crate::domain::model::money::Yen;
use crate::domain::model::request::{EntryMode, JPY};

const LAYOUT: Layout = Layout { hex_bitmap: false };
const CODE: &str = "900099991314159265005632";

/// The purchase of the worked frames.
fn purchase() -> Vec<(u8, &'static str)> {
    vec![
        (2, "9000999913141592657"),
        (3, "000000"),
        (4, "000000001980"),
        (7, "1123084530"),
        (11, "004217"),
        (12, "174530"),
        (13, "1123"),
        (22, "033"),
        (32, "353001"),
        (37, "632708004217"),
        (41, "POS00017"),
        (42, "JPM000000001234"),
        (49, "392"),
        (62, CODE),
    ]
}

fn with(mut elements: Vec<(u8, &'static str)>, changes: &[(u8, &'static str)]) -> Vec<(u8, &'static str)> {
    for (number, value) in changes {
        elements.retain(|(other, _)| other != number);
        if !value.is_empty() {
            elements.push((*number, value));
        }
    }
    elements.sort_by_key(|(number, _)| *number);
    elements
}

fn packed(mti: &[u8; 4], elements: &[(u8, &'static str)]) -> Vec<u8> {
    let mut out = Vec::new();
    pack(*mti, elements.iter().map(|(number, value)| (*number, value.as_bytes())), LAYOUT, &mut out).unwrap();
    out
}

fn asked<T>(mti: &[u8; 4], elements: &[(u8, &'static str)], look: impl FnOnce(Request<'_>) -> T) -> Result<T, Wrong> {
    let bytes = packed(mti, elements);
    let message = Message::unpack(&bytes, LAYOUT).unwrap();
    read(&message, request(*mti).unwrap().0).map(look)
}

const ORIGINAL: (u8, &str) = (90, "020000421711230845300000035300100000000000");

#[test]
fn a_purchase_is_read_as_the_contract_says() {
    asked(b"0200", &purchase(), |request| {
        assert_eq!(request.order_id.as_str(), "112308453000421700000353001POS00017");
        assert_eq!((request.acceptor, &request.acquirer), ("JPM000000001234", b"00000353001"));
        let Asks::Sale(sale) = request.asks else { panic!("{request:?}") };
        assert_eq!((sale.amount, sale.currency, sale.capture), (Yen::new(1_980), JPY, true));
        assert_eq!((sale.confirm_repeat, sale.entry_mode), (false, None));
        assert!(matches!(sale.code, Presented::Scan { text: CODE, pan: Some("9000999913141592657") }));
    })
    .unwrap();
    let other = [(2, ""), (22, "011"), (41, "T1      "), (42, "mrc_konbini    "), (48, "R90011"), (49, "840")];
    asked(b"0101", &with(purchase(), &other), |request| {
        assert_eq!(request.order_id.as_str(), "112308453000421700000353001T1");
        assert_eq!((request.acceptor, request.terminal.unwrap().as_str()), ("mrc_konbini", "T1"));
        let Asks::Sale(sale) = request.asks else { panic!("{request:?}") };
        assert_eq!((sale.capture, sale.confirm_repeat, sale.currency), (false, true, *b"840"));
        assert_eq!(sale.entry_mode, Some(EntryMode::Manual));
    })
    .unwrap();
    let split = [(62, ""), (55, "template")];
    asked(b"0200", &with(purchase(), &split), |request| {
        let Asks::Sale(sale) = request.asks else { panic!("{request:?}") };
        assert!(matches!(sale.code, Presented::Split { pan: "9000999913141592657", template: b"template" }));
    })
    .unwrap();
}

#[test]
fn what_names_an_original_finds_the_order_of_its_terminal() {
    let refund = with(purchase(), &[(3, "200000"), (11, "004218"), ORIGINAL]);
    let of = |elements: &[(u8, &'static str)], mti: &[u8; 4]| {
        asked(mti, elements, |request| match request.asks {
            Asks::OnOrder(
                AsksOnOrder::Refund { original, .. }
                | AsksOnOrder::Reversal { original, .. }
                | AsksOnOrder::Capture { original, .. },
            ) => original.as_str().to_owned(),
            other => panic!("{other:?}"),
        })
    };
    let own = Ok("112308453000421700000353001POS00017".to_owned());
    assert_eq!(of(&refund, b"0200"), own);
    assert_eq!(of(&with(refund.clone(), &[(48, "R9202T9")]), b"0200"), Ok("112308453000421700000353001T9".to_owned()));
    let no_acquirer = with(refund, &[(90, "020000421711230845300000000000000000000000")]);
    assert_eq!(of(&no_acquirer, b"0200"), own);
    let anothers = with(purchase(), &[(90, "020000421711230845300000035300200000000000"), (62, "")]);
    assert_eq!(of(&anothers, b"0420"), Err(Wrong { code: *b"30", element: 90 }), "another acquirer's");
    assert_eq!(of(&with(purchase(), &[ORIGINAL]), b"0220"), own);
    assert_eq!(of(&with(purchase(), &[ORIGINAL, (62, ""), (2, "")]), b"0421"), own);
}

#[test]
fn a_reversal_may_be_of_a_part_or_of_a_refund() {
    let read = |changes: &[(u8, &'static str)]| {
        asked(b"0420", &with(with(purchase(), &[ORIGINAL]), changes), |request| match request.asks {
            Asks::OnOrder(AsksOnOrder::Reversal { kept, .. }) => (false, kept),
            Asks::OnOrder(AsksOnOrder::RefundReversal { amount, .. }) => (true, amount),
            other => panic!("{other:?}"),
        })
    };
    assert_eq!(read(&[]), Ok((false, None)));
    assert_eq!(read(&[(3, "200000")]), Ok((true, Some(Yen::new(1_980)))));
    assert_eq!(read(&[(3, "200000"), (4, "")]), Ok((true, None)));
    assert_eq!(read(&[(95, "000000000500000000000000000000000000000000")]), Ok((false, Some(Yen::new(500)))));
    assert_eq!(read(&[(95, "000000000000000000000000000000000000000000")]), Ok((false, None)));
    assert_eq!(read(&[(95, "99999999999900000000000000000000000000000A")]), Err(Wrong { code: *b"30", element: 95 }));
}

#[test]
fn an_advice_says_what_it_is_of() {
    let stand_in = with(purchase(), &[(48, "R91011")]);
    for (mti, captured) in [(b"0120", false), (b"0221", true)] {
        asked(mti, &stand_in, |request| {
            let Asks::OnOrder(AsksOnOrder::StandIn { sale, original: None }) = request.asks else {
                panic!("{request:?}")
            };
            assert_eq!(sale.capture, captured);
        })
        .unwrap();
    }
    asked(b"0220", &with(stand_in, &[ORIGINAL]), |request| {
        assert!(matches!(request.asks, Asks::OnOrder(AsksOnOrder::StandIn { original: Some(_), .. })));
    })
    .unwrap();
    let wrong = |mti, changes: &[(u8, &'static str)]| asked(mti, &with(purchase(), changes), |_| ()).unwrap_err();
    assert_eq!(wrong(b"0120", &[]), Wrong { code: *b"30", element: 48 });
    assert_eq!(wrong(b"0220", &[]), Wrong { code: *b"30", element: 90 });
    assert_eq!(wrong(b"0220", &[(3, "200000"), ORIGINAL]), Wrong { code: *b"30", element: 3 });
    assert_eq!(wrong(b"0220", &[(4, "000000000000"), ORIGINAL]), Wrong { code: *b"30", element: 4 });
    assert_eq!(wrong(b"0220", &[(49, "840"), ORIGINAL]), Wrong { code: *b"30", element: 49 });
    assert_eq!(wrong(b"0200", &[(3, "200000"), (49, "840"), ORIGINAL]), Wrong { code: *b"12", element: 49 });
}

#[test]
fn what_is_missing_or_wrong_is_named() {
    let wrong = |changes: &[(u8, &'static str)]| {
        let Wrong { code, element } = asked(b"0200", &with(purchase(), changes), |_| ()).unwrap_err();
        (String::from_utf8_lossy(&code).into_owned(), element)
    };
    for number in [3, 4, 7, 11, 12, 13, 22, 32, 37, 41, 42, 49] {
        assert_eq!(wrong(&[(number, "")]), ("30".to_owned(), number));
    }
    assert_eq!(wrong(&[(62, ""), (2, "")]), ("30".to_owned(), 62));
    for amount in ["000000000000", "000010000000", "999999999999"] {
        assert_eq!(wrong(&[(4, amount)]), ("13".to_owned(), 4));
    }
    assert_eq!(wrong(&[(3, "010000")]), ("12".to_owned(), 3));
    assert_eq!(wrong(&[(41, "POS 0017")]), ("30".to_owned(), 41));
    assert_eq!(wrong(&[(42, "               ")]), ("30".to_owned(), 42));
    assert_eq!(wrong(&[(3, "200000")]), ("30".to_owned(), 90));
}

/// The sizes that the profile's sheet gives for the answers to its frames.
#[test]
fn answers_repeat_what_the_profile_says() {
    let answered = |mti: &[u8; 4], elements: &[(u8, &'static str)], answer: &Answer<'_>| {
        let bytes = packed(mti, elements);
        let message = Message::unpack(&bytes, LAYOUT).unwrap();
        let (kind, answer_mti) = request(*mti).unwrap();
        let (mut echo, mut out) = (Echo::default(), Vec::new());
        echo.fill(&message, kind, answer_mti);
        echo.put(answer, LAYOUT, &mut out);
        // Its memory is used again without a trace.
        echo.fill(&Message::unpack(&packed(b"0800", &[(11, "000001")]), LAYOUT).unwrap(), Kind::Network, *b"0810");
        echo.fill(&message, kind, answer_mti);
        let mut again = Vec::new();
        echo.put(answer, LAYOUT, &mut again);
        assert_eq!(out, again);
        let read = Message::unpack(&out, LAYOUT).unwrap();
        (
            out.len(),
            out.iter().skip(4).take(8).map(|byte| format!("{byte:02X}")).collect::<String>(),
            read.text(39).unwrap().to_owned(),
        )
    };
    let approved = Answer { code: *b"00", approval: Some(*b"4K7P2Q"), details: b"" };
    let denied = Answer { code: *b"51", approval: None, details: b"5101C5U4" };
    let plain = Answer { code: *b"00", approval: None, details: b"" };
    assert_eq!(answered(b"0200", &purchase(), &approved), (131, "723800010EC08000".into(), "00".into()));
    assert_eq!(answered(b"0201", &purchase(), &denied), (135, "723800010AD08000".into(), "51".into()));
    let reversal = with(purchase(), &[ORIGINAL, (62, "")]);
    assert_eq!(answered(b"0420", &reversal, &plain).0, 165);
    assert_eq!(answered(b"0800", &[(7, "1123084700"), (11, "000001"), (70, "301")], &plain).0, 41);
    let bare = answered(b"0200", &[(11, "000001"), (42, "JPM000000001234")], &denied);
    assert_eq!(bare, (4 + 8 + 6 + 2 + 15 + 10, "0020000002500000".into(), "51".into()));
}

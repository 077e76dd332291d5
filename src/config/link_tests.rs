//! `[iso8583]` and `[[acquirer]]`: what they mean, and what is wrong in them.

use std::time::Duration;

use super::config_tests::{after, assert_one};
use crate::domain::model::ids::MerchantId;
use crate::domain::model::merchant::Merchants;
use crate::domain::model::money::Yen;
use crate::iso8583::frame::{Framing, LengthForm};
use crate::link::{NetworkCodes, Options};

const ACQUIRER: &str = "[[acquirer]]\nid = \"353001\"\nmerchants = \"*\"\n";

#[test]
fn a_link_speaks_the_profile_unless_told_otherwise() {
    let config = after("").load().unwrap();
    assert_eq!(config.link.options, Options::default());
    assert!(config.link.acquirers.is_empty() && config.link.tls.is_none());
    let lines = "[server]\niso8583 = \"127.0.0.1:8583\"\n[iso8583]\nlength = \"ascii\"\nhex_bitmap = true\ntpdu = true\n\
        sign_on = \"061\"\nsign_off = \"062\"\necho = \"270\"\nrequire_sign_on = true\ndeadline = \"700ms\"\n\
        max_in_flight = 64\n[[acquirer]]\nid = \"353001\"\nname = \"Smart\"\nmerchants = [\"mrc_a\"]\nmay_refund = true\n\
        stand_in = true\nstand_in_yen = 20_000\nbad_codes_per_minute = 60\n[acquirer.merchant_ids]\n\
        \"JPM 1234\" = \"mrc_a\"\n";
    let config = after(lines).load().unwrap();
    let options = &config.link.options;
    assert_eq!(options.framing, Framing { length: LengthForm::Ascii, tpdu: true });
    assert_eq!(options.codes, NetworkCodes { sign_on: *b"061", sign_off: *b"062", echo: *b"270" });
    assert!(options.layout.hex_bitmap && options.requires_sign_on);
    assert_eq!((options.deadline, options.max_in_flight), (Duration::from_millis(700), 64));
    let (id, acquirer) = &config.link.acquirers[0];
    let shop = MerchantId::new("mrc_a").unwrap();
    assert_eq!((id, acquirer.merchant("JPM 1234")), (b"00000353001", Some(shop)));
    assert_eq!(acquirer.merchants, Merchants::Only(vec![shop]));
    assert_eq!((acquirer.stand_in, acquirer.bad_codes_per_minute), (Some(Yen::new(20_000)), Some(60)));
}

#[test]
fn each_wrong_value_names_its_key_and_line() {
    let link = "[server]\niso8583 = \"127.0.0.1:8583\"\n";
    let print = "AB:".repeat(31) + "AB";
    let cases = [
        (link.to_owned(), "`acquirer`: is missing: an [[acquirer]] says who may speak"),
        (
            format!("[server]\niso8583 = \"10.0.0.1:80\"\n{ACQUIRER}"),
            ":2:1: `server.iso8583`: 10.0.0.1:80 can be reached from other machines",
        ),
        (format!("{ACQUIRER}{ACQUIRER}"), ":5:1: `acquirer[1].id`: is the id of another acquirer too"),
        ("[[acquirer]]\nmerchants = \"*\"\n".to_owned(), ":1:1: `acquirer[0].id`: is missing: element 32"),
        ("[[acquirer]]\nid = \"353001\"\n".to_owned(), ":1:1: `acquirer[0].merchants`: is missing"),
        ("[[acquirer]]\nid = \"x\"\nmerchants = \"*\"".to_owned(), ":2:1: `acquirer[0].id`: must be 1 to 11 digits"),
        (format!("{ACQUIRER}stand_in = true"), ":1:1: `acquirer[0].stand_in_yen`: is missing: with `stand_in = true`"),
        (format!("{ACQUIRER}stand_in_yen = 5"), ":4:1: `acquirer[0].stand_in_yen`: says nothing without"),
        (format!("{ACQUIRER}certificates = [\"5\"]"), ":4:17: `acquirer[0].certificates[0]`: must be the SHA-256"),
        (
            format!("{link}{ACQUIRER}certificates = [\"{print}\"]"),
            "`acquirer`: lists certificates, but no `client_ca_file`",
        ),
        (format!("{ACQUIRER}merchant_ids = {{ A = \"b c\" }}"), "`acquirer[0].merchant_ids.A`: \"b c\" may hold"),
        ("[iso8583]\nlength = \"bcd\"".to_owned(), ":2:1: `iso8583.length`: unknown variant `bcd`"),
        ("[iso8583]\necho = \"1\"".to_owned(), ":2:1: `iso8583.echo`: \"1\" is no code of element 70"),
        ("[iso8583]\necho = \"001\"".to_owned(), ":1:2: `iso8583`: `sign_on`, `sign_off` and `echo` must be three"),
        ("[iso8583]\nmax_in_flight = 0".to_owned(), ":2:1: `iso8583.max_in_flight`: 0 is out of range"),
        ("[iso8583]\nidle = \"1ms\"".to_owned(), ":2:1: `iso8583.idle`: 1ms is out of range"),
        ("[iso8583.tls]\ncert_file = \"sokketsu.toml\"".to_owned(), ":1:10: `iso8583.tls.key_file`: is missing"),
    ];
    for (lines, expected) in cases {
        assert_one(&after(&lines), expected);
    }
}

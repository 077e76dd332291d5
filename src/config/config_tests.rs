//! Each error with its words and its place, and what an empty configuration means.

use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use super::*;
use crate::code::{Form, GenerationKeys, KeyState, Prefix, SecretKey};
use crate::config::keys_file::{Generation, KeysFile};
use crate::domain::model::ids::{MerchantId, TerminalId, TerminalKey};
use crate::domain::model::purchase::Channel;
use crate::domain::model::time::{DAY, Date, HOUR};

const SHIPPED: &str = include_str!("../../config/sokketsu.toml");
const HASH: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

/// Enough for a service to start. Line 2 is `keys_file`.
const LEAST: &str = "[signing]
keys_file = \"signing-keys.toml\"
[[issuer]]
prefix = \"12345678\"
[[aid]]
aid = \"A000000000000001\"
label = \"OURPAY\"
[[key]]
name = \"app\"
role = \"wallet\"
hash = \"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\"
";

/// Nothing published, and no placeholder.
fn secret_key(first: u8) -> SecretKey {
    zeroize::Zeroizing::new(std::array::from_fn(|at| first ^ u8::try_from(at).unwrap()))
}

/// A working directory with a configuration in it.
pub(super) struct Place {
    folder: TempDir,
    environment: Vec<(OsString, OsString)>,
    flags: Flags,
}

impl Place {
    fn empty() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), environment: Vec::new(), flags: Flags::default() }
    }

    /// With policy, holidays, signing keys and this configuration.
    fn with(text: &str) -> Self {
        let place = Self::empty();
        let keys = GenerationKeys::new(0, KeyState::Active, secret_key(100), secret_key(200));
        let file = KeysFile { generations: vec![Generation { keys, since: Millis(0) }] };
        file.create(&place.config("signing-keys.toml")).unwrap();
        for (name, text) in [
            ("policy.toml", include_str!("../../config/policy.toml")),
            ("holidays.csv", include_str!("../../config/holidays.csv")),
            ("sokketsu.toml", text),
        ] {
            fs::write(place.config(name), text).unwrap();
        }
        place
    }

    fn config(&self, name: &str) -> PathBuf {
        self.folder.path().join("config").join(name)
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    fn sandbox(mut self) -> Self {
        self.flags.sandbox = true;
        self
    }

    pub(super) fn load(&self) -> Result<Config, ConfigError> {
        Config::load_from(&self.flags, self.environment.clone(), self.folder.path())
    }

    /// The problems, with `DIR` for the configuration's folder.
    fn problems(&self) -> Vec<String> {
        let folder = self.folder.path().join("config").display().to_string();
        let error = self.load().expect_err("this configuration is wrong");
        assert_eq!(error.exit_code(), 78);
        error.to_string().replace(&folder, "DIR").lines().map(str::to_owned).collect()
    }
}

/// [`LEAST`] with more lines in front; they begin at line 1.
pub(super) fn after(lines: &str) -> Place {
    Place::with(&format!("{lines}\n{LEAST}"))
}

#[track_caller]
pub(super) fn assert_one(place: &Place, expected: &str) {
    let problems = place.problems();
    assert!(
        matches!(problems.as_slice(), [one] if one.contains(expected)),
        "expected one problem with {expected:?}, got {problems:#?}"
    );
}

#[test]
fn the_least_configuration_has_the_documented_defaults() {
    let place = Place::with(LEAST);
    let config = place.load().unwrap();
    assert!(!config.sandbox);
    assert_eq!(config.file, Some(place.config("sokketsu.toml")));
    assert_eq!(config.records.data, place.folder.path().join("data"));
    assert_eq!(config.records.settings, Settings::default());
    let ledger = LedgerPlace::Embedded(place.folder.path().join("data/ledger.db"));
    assert_eq!(config.records.ledger, Ledger { place: ledger, chunk_records: 20_000 });
    let journal = &config.records.journal;
    assert_eq!((journal.segment_bytes, journal.sync), (64 << 20, Sync::BeforeAnswer));
    assert_eq!((journal.max_gap, journal.retain_days), (Duration::from_micros(500), 400));
    assert_eq!(config.server.http.to_string(), "127.0.0.1:8080");
    assert_eq!((config.server.admin, config.server.tls.clone(), config.server.insecure), (None, None, false));
    assert_eq!(
        config.bad_codes,
        Limits { per_terminal: 5, tok19_per_terminal: 2, per_key: 50, per_key_share_ppm: 20_000 }
    );
    assert_eq!(config.keyring.active(), 0);
    assert_eq!(config.keys.len(), 1);
    assert!(config.holidays.content.covers(Date::parse("2030-06-01").unwrap()));
    let summary = config.summary();
    assert!(summary.starts_with("ok\n") && summary.contains("1 wallet, 0 register"), "{summary}");
}

#[test]
fn the_shipped_file_is_the_defaults_and_says_what_to_fill_in() {
    let place = Place::with(SHIPPED);
    let problems = place.problems();
    let missing: Vec<_> = problems.iter().map(|line| line.split('`').nth(1).unwrap()).collect();
    assert_eq!(missing, ["issuer", "aid", "signing.keys_file", "key"], "{problems:#?}");
    // Filled in, it says the same as the least file.
    let shipped = Place::with(&format!("{SHIPPED}\n{LEAST}"));
    let least = Place::with(LEAST);
    let shown = |place: &Place| {
        let config = place.load().unwrap();
        let folder = place.folder.path().display().to_string();
        format!("{:?} {:?} {:?} {:?}", config.records, config.server, config.inbox, config.bad_codes)
            .replace(&folder, "")
    };
    assert_eq!(shown(&shipped), shown(&least));
    // So do the lines that are commented out for want of a default, but for what has to be filled in.
    let on = SHIPPED.replace("# data = ", "data = ").replace("# admin = ", "admin = ");
    Place::with(&format!("{on}\n{LEAST}")).load().unwrap();
}

#[test]
fn the_sandbox_needs_nothing() {
    for place in [Place::empty().sandbox(), Place::with(SHIPPED).sandbox(), Place::with(LEAST).sandbox()] {
        let config = place.load().unwrap();
        assert!(config.sandbox);
        assert_eq!(config.server.http.to_string(), "127.0.0.1:8080");
        assert_eq!(config.records.data, place.folder.path().join("data/sandbox"));
        assert_eq!(config.keyring.active(), 1);
        assert!(config.keyring.has_published_test_keys(), "even where a service's keys are configured");
        let key = |name: &str| config.keys.iter().find(|key| &*key.caller.name == name).unwrap().clone();
        for (name, role) in access::PUBLISHED_KEYS {
            assert_eq!((key(name).caller.role, key(name).hash), (role, KeyHash::of(name)));
        }
        let register = key("sandbox-register");
        assert_eq!((&register.caller.merchants, register.caller.may_refund), (&Merchants::All, true));
        assert_eq!(register.caller.channels, Channel::ALL);
        let signed = key("sandbox-signed");
        assert!(signed.signature_secret.unwrap().is_published() && register.signature_secret.is_none());
        assert!(config.summary().contains("sandbox"));
    }
    let config = Place::empty().sandbox().load().unwrap();
    assert_eq!((config.file, config.policy.file, config.holidays.file), (None, None, None));
    let issuer = config.issuers.issuer(Form::L24).unwrap();
    assert_eq!(issuer.prefix, Prefix::parse("90009999").unwrap());
    assert_eq!(issuer.application.aid.as_bytes(), [0xF0, 0, 0, 0, 0, 0, 1]);
}

#[test]
fn the_sandbox_refuses_nothing_but_nonsense() {
    let text =
        format!("[server]\nhttp = \"0.0.0.0:80\"\n[[key]]\nname = \"r\"\nrole = \"register\"\nhash = \"{HASH}\"");
    let config = Place::with(&text).sandbox().load().unwrap();
    assert_eq!(config.keys[0].caller.merchants, Merchants::All);
    assert_eq!(config.keys[0].caller.channels, [Channel::InStore]);
    assert_one(&Place::with("[server]\nhtpp = 1").sandbox(), "DIR/sokketsu.toml:2:1: `server.htpp`: unknown field");
    let given = Place::with("[policy]\nfile = \"mine.toml\"").sandbox();
    assert_one(&given, "DIR/sokketsu.toml:2:1: `policy.file`: ");
    let flags = Flags { data: Some("d".into()), sandbox: true, ..Flags::default() };
    let place = Place { flags, ..Place::with("data = \"service\"") };
    assert_eq!(place.load().unwrap().records.data, Path::new("d"));
}

#[test]
fn a_service_refuses_what_is_published() {
    for (name, _) in access::PUBLISHED_KEYS {
        let place = Place::with(&LEAST.replace(HASH, &KeyHash::of(name).to_string()));
        assert_one(&place, "DIR/sokketsu.toml:11:1: `key[0].hash`: is the hash of a published sandbox key");
    }
    let place = Place::with(LEAST);
    let path = place.config("signing-keys.toml");
    let text = fs::read_to_string(&path).unwrap();
    let key = text.split("qr = \"").nth(1).unwrap().get(..64).unwrap().to_owned();
    for first in [0_u8, 32, 64] {
        let published: String = (first..first + 32).map(|byte| format!("{byte:02x}")).collect();
        fs::write(&path, text.replace(&key, &published)).unwrap();
        assert_one(&place, "DIR/sokketsu.toml:2:1: `signing.keys_file`: holds a published test key");
    }
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert_one(&place, "can be read by others than its owner (mode 0644)");
    fs::remove_file(&path).unwrap();
    assert_one(&place, "signing-keys.toml cannot be read");
}

#[test]
fn a_signature_secret_is_read_from_a_file_of_its_own() {
    let secret: Vec<u8> = (0..32).collect();
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let base64 = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
    let given = format!("{LEAST}signature_secret_file = \"app.secret\"\n[signatures]\ntolerance = \"30s\"\n");
    let place = Place::with(&given);
    let write = |text: &str, mode: u32| {
        fs::write(place.config("app.secret"), text).unwrap();
        fs::set_permissions(place.config("app.secret"), fs::Permissions::from_mode(mode)).unwrap();
    };
    assert_one(&place, "DIR/sokketsu.toml:12:1: `key[0].signature_secret_file`: DIR/app.secret cannot be read");
    for text in [&hex, base64, &format!("{base64}=\n"), &format!(" {} ", hex.to_uppercase())] {
        write(text, 0o600);
        let config = place.load().unwrap();
        let read = config.keys[0].signature_secret.as_ref().unwrap();
        assert_eq!(read.as_bytes(), secret, "{text}");
        assert_eq!((config.signatures.tolerance_ms, config.signatures.nonces), (30_000, 1_048_576));
        assert!(config.summary().contains("1 with signed requests") && !format!("{config:?}").contains(base64));
    }
    for text in ["", &base64[1..], &hex[2..], "not base64!", &format!("{hex}\n{hex}"), &"+".repeat(1_400)] {
        write(text, 0o600);
        assert_one(&place, "must hold one secret of 32 to 1,024 bytes");
        assert!(text.is_empty() || !place.problems().join("").contains(text), "it is not shown");
    }
    write(&hex, 0o640);
    assert_one(&place, "DIR/app.secret can be read by others than its owner (mode 0640)");
    write("uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ==", 0o600);
    assert_one(&place, "`key[0].signature_secret_file`: holds the published sandbox secret");
    let place = Place::with(&given.replace("\"app\"", "\"お店\""));
    fs::write(place.config("app.secret"), &hex).unwrap();
    fs::set_permissions(place.config("app.secret"), fs::Permissions::from_mode(0o600)).unwrap();
    assert_one(&place, "DIR/sokketsu.toml:9:1: `key[0].name`: is the `keyid` of signed requests");
}

#[test]
fn each_wrong_value_names_its_key_and_line() {
    let cases = [
        ("[server]\nhtpp = 1", "DIR/sokketsu.toml:2:1: `server.htpp`: unknown field `htpp`"),
        ("sever = 1", "DIR/sokketsu.toml:1:1: `sever`: unknown field"),
        ("server = 1", "DIR/sokketsu.toml:1:1: `server`: invalid type: integer"),
        ("[server]\nhttp = \"localhost\"", ":2:1: `server.http`: invalid socket address"),
        ("[server]\nhttp = \"0.0.0.0:80\"", ":2:1: `server.http`: 0.0.0.0:80 can be reached from other machines"),
        ("[server]\nadmin = \"[::]:80\"", ":2:1: `server.admin`: [::]:80 can be reached"),
        (
            "[server]\nadmin = \"127.0.0.1:8080\"",
            ":2:1: `server.admin`: 127.0.0.1:8080 is the address of `server.http`",
        ),
        ("[server]\nmax_connections = 0", ":2:1: `server.max_connections`: 0 is out of range: 1 to"),
        ("[server]\nmax_connections_per_ip = 0", ":2:1: `server.max_connections_per_ip`: 0 is out of range"),
        (
            "[server]\nidle_timeout = \"75\"",
            ":2:1: `server.idle_timeout`: invalid value: string \"75\", expected a dura",
        ),
        ("[server]\nbody_timeout = 5", ":2:1: `server.body_timeout`: invalid type: integer `5`, expected a duration"),
        ("[server]\nheader_timeout = \"2h\"", "`server.header_timeout`: 2h is out of range: 100ms to 1h"),
        ("[server]\ndrain_seconds = 5", ":2:1: `server.drain_seconds`: 5 is out of range: 0 to 4"),
        ("[journal]\nsync = \"never\"", ":2:1: `journal.sync`: unknown variant `never`, expected `before_answer` or"),
        ("[journal]\nsync = \"bounded\"", ":1:2: `journal.at_risk_yen`: is missing: "),
        ("[journal]\nat_risk_yen = 5", ":2:1: `journal.at_risk_yen`: says how much may be lost, which only"),
        ("[journal]\nsync = \"bounded\"\nat_risk_yen = -5", ":3:1: `journal.at_risk_yen`: invalid value: integer `-5`"),
        ("[journal]\nsegment_mib = 0", ":2:1: `journal.segment_mib`: 0 is out of range: 1 to 1024"),
        ("[journal]\nmax_gap_us = 100_001", ":2:1: `journal.max_gap_us`: 100001 is out of range"),
        ("[server]\nthreads = 0", ":2:1: `server.threads`: 0 is out of range: 1 to 256"),
        ("[journal]\nretain_days = 0", ":2:1: `journal.retain_days`: 0 is out of range"),
        ("[journal]\nurl = \"postgres://a@localhost/b\"", ":1:2: `journal.node`: is missing: the name of this node"),
        ("[journal]\nnode = \"a\"", ":2:1: `journal.node`: is of a server, and `journal.url` names none"),
        (
            "[journal]\nurl = \"postgres://a@localhost/b\"\nnode = \"a\"\naddress = \"a.example\"",
            ":4:1: `journal.address`: is no address: `https://`",
        ),
        (
            "[journal]\nurl = \"postgres://a@localhost/b\"\nnode = \"a b\"",
            ":3:1: `journal.node`: is no name: 1 to 32 letters, digits",
        ),
        (
            "[journal]\nurl = \"postgres://a@localhost/b\"\nnode = \"a\"\nsync = \"bounded\"\nat_risk_yen = 5",
            ":4:1: `journal.sync`: can't be \"bounded\" with `journal.url`",
        ),
        (
            "[journal]\nurl = \"postgres://a@localhost/b\"\nnode = \"a\"\n[ledger]\nurl = \"postgres://a@localhost/c\"",
            ":5:1: `ledger.url`: is another one than `journal.url`",
        ),
        ("[journal]\nurl = \"postgres://a@10.0.0.1/b\"\nnode = \"a\"", ":2:1: `journal.url`: leads to another machine"),
        ("[ledger]\nurl = \"sqlite:x\"", ":2:1: `ledger.url`: is no address of a PostgreSQL server"),
        ("[ledger]\nurl = \"postgres://a@10.0.0.1/b\"", ":2:1: `ledger.url`: leads to another machine without TLS"),
        ("[ledger]\nca_file = \"ca.pem\"", ":2:1: `ledger.ca_file`: is of a server, and `ledger.url` names none"),
        (
            "[ledger]\nurl = \"postgres://a@localhost/b\"\npassword_file = \"none\"",
            ":3:1: `ledger.password_file`: DIR/none cannot be read",
        ),
        ("[ledger]\nchunk_records = 0", ":2:1: `ledger.chunk_records`: 0 is out of range"),
        ("[orders]\nretain = \"47h\"", ":2:1: `orders.retain`: 47h is out of range: 48h to 365d"),
        ("[orders]\nmax = 0", ":2:1: `orders.max`: 0 is out of range"),
        ("[orders]\nmax = 1.5", ":2:1: `orders.max`: invalid type: floating point"),
        ("[holds]\nexpire_after = \"0s\"", ":2:1: `holds.expire_after`: 0"),
        ("[engine]\nbatch = 0", ":2:1: `engine.batch`: 0 is out of range"),
        ("[bad_codes]\nper_key = 0", ":2:1: `bad_codes.per_key`: 0 is out of range"),
        ("[bad_codes]\nper_key_share = 2.0", ":2:1: `bad_codes.per_key_share`: 2 is out of range: 0 to 1"),
        ("[signatures]\ntolerance = \"10m\"", ":2:1: `signatures.tolerance`: 10m is out of range: 1s to 5m"),
        ("[signatures]\nnonces = 10", ":2:1: `signatures.nonces`: 10 is out of range"),
        ("[server.tls]\ncert_file = \"sokketsu.toml\"", ":1:9: `server.tls.key_file`: is missing"),
        ("[policy]\nfile = \"none.toml\"", ":2:1: `policy.file`: DIR/none.toml cannot be read"),
    ];
    for (lines, expected) in cases {
        assert_one(&after(lines), expected);
    }
}

#[test]
fn each_wrong_caller_or_issuer_names_its_key_and_line() {
    let register =
        |more: &str| format!("[[key]]\nname = \"r\"\nrole = \"register\"\nhash = \"{}\"\n{more}", "1".repeat(64));
    let cases = [
        (register(""), ":1:1: `key[0].merchants`: is missing: the merchants this register may speak for"),
        (register("merchants = []"), ":5:1: `key[0].merchants`: is missing"),
        (register("merchants = \"mrc\""), ":5:1: `key[0].merchants`: invalid value: string \"mrc\", expected \"*\" or"),
        (register("merchants = [\"a\", \"b c\"]"), ":5:19: `key[0].merchants[1]`: \"b c\" may hold only A-Z"),
        (register("merchants = \"*\"\nterminals = [\"123456789\"]"), ":6:14: `key[0].terminals[0]`: "),
        (register("merchants = \"*\"\nchannels = [\"shop\"]"), ":6:13: `key[0].channels[0]`: unknown variant `shop`"),
        (register("merchants = \"*\"\nbad_codes_per_minute = 0"), ":6:1: `key[0].bad_codes_per_minute`: 0 is out"),
        (register("merchants = \"*\"").replace("\"r\"", "\"\""), ":2:1: `key[0].name`: must be 1 to 64"),
        (
            register("merchants = \"*\"").replace("\"r\"", "\"app\""),
            ":14:1: `key[1].name`: \"app\" is the name of another",
        ),
        (register("merchants = \"*\"").replace(&"1".repeat(64), HASH), ":16:1: `key[1].hash`: is the hash of another"),
        (register("merchants = \"*\"").replace(&"1".repeat(64), "123"), ":4:1: `key[0].hash`: must be the SHA-256"),
        (
            "[[key]]\nname = \"a\"\nrole = \"king\"\nhash = \"\"".to_owned(),
            ":3:1: `key[0].role`: unknown variant `king`",
        ),
        (
            register("may_refund = true").replace("register", "office"),
            ":5:1: `key[0].may_refund`: is for register keys",
        ),
        ("[[issuer]]\nprefix = \"1234567\"".to_owned(), ":2:1: `issuer[0].prefix`: a prefix is exactly 8 digits"),
        ("[[issuer]]\nform = \"l24\"".to_owned(), ":1:1: `issuer[0].prefix`: is missing"),
        ("[[issuer]]\nprefix = \"12345678\"".to_owned(), "`issuer`: prefix 12345678 is listed twice"),
        ("[[aid]]\naid = \"F0\"\nlabel = \"A\"".to_owned(), ":2:1: `aid[0].aid`: an AID is 5 to 16 bytes"),
        ("[[aid]]\naid = \"F000000000\"".to_owned(), ":1:1: `aid[0].label`: is missing"),
        ("[[aid]]\naid = \"F000000000\"\nlabel = \"払\"".to_owned(), ":3:1: `aid[0].label`: a label is 1 to 16"),
    ];
    for (lines, expected) in cases {
        let problems = after(&lines).problems();
        assert!(problems.iter().any(|line| line.contains(expected)), "{expected:?} is not in {problems:#?}");
        // A wrong role hides what depends on it, nothing more.
        let most = if lines.contains("king") { 2 } else { 1 };
        assert!(problems.len() <= most, "{problems:#?}");
    }
}

#[test]
fn all_problems_are_listed_in_the_order_of_the_file() {
    let place = after(
        "[server]\nhttp = 5\nnonsense = 1\n[journal]\nsegment_mib = 0\n[orders]\nretain = \"1h\"\n[[key]]\nmerchants = [1, 2]\nx = 3",
    )
    .env("SOKKETSU_ORDERS__MAX", "many")
    .env("SOKKETSU_TYPO", "1");
    let problems = place.problems();
    let keys: Vec<_> = problems.iter().map(|line| line.split('`').nth(1).unwrap()).collect();
    let expected = [
        "server.http",
        "server.nonsense",
        "journal.segment_mib",
        "orders.retain",
        "key[0].name",
        "key[0].role",
        "key[0].hash",
        "key[0].merchants[0]",
        "key[0].x",
        "orders.max",
        "typo",
    ];
    let sorted = |mut keys: Vec<String>| {
        keys.sort();
        keys
    };
    assert_eq!(
        sorted(keys.iter().map(|key| (*key).to_owned()).collect()),
        sorted(expected.map(str::to_owned).to_vec()),
        "{problems:#?}"
    );
    let lines: Vec<usize> = problems
        .iter()
        .filter_map(|line| line.strip_prefix("DIR/sokketsu.toml:")?.split(':').next()?.parse().ok())
        .collect();
    assert!(lines.len() == 9 && lines.is_sorted(), "{problems:#?}");
}

#[test]
fn any_value_in_any_place_ends_in_an_answer() {
    let values =
        ["5", "-1", "1.5", "true", "\"x\"", "[]", "[1]", "[\"x\"]", "[[]]", "[{}]", "{}", "{a = 1}", "[{a = 1}]"];
    let text = format!("{SHIPPED}\n{LEAST}");
    let place = Place::with(&text);
    let lines: Vec<&str> = text.lines().collect();
    for (at, line) in lines.iter().enumerate().filter(|(_, line)| !line.starts_with('#') && line.contains(" = ")) {
        for value in values {
            let mut changed = lines.clone();
            let wrong = format!("{} = {value}", line.split(" = ").next().unwrap());
            changed[at] = &wrong;
            fs::write(place.config("sokketsu.toml"), changed.join("\n")).unwrap();
            let Err(error) = place.load() else { continue };
            let spoken_of = error.problems.iter().any(|problem| match &problem.place {
                super::Place::Line { line, .. } => *line == at + 1,
                _ => false,
            });
            assert!(spoken_of, "line {} `{wrong}`: {error}", at + 1);
        }
    }
    for section in ["data", "server", "orders", "issuer", "aid", "policy", "key"] {
        for value in values {
            let error = Place::with(&format!("{section} = {value}")).load().unwrap_err();
            assert!(!error.problems.is_empty());
        }
    }
}

#[test]
fn the_shipped_bank_holidays_are_those_of_the_law() {
    let calendar = BankCalendar::parse(include_str!("../../config/holidays.csv")).unwrap();
    let date = |text: &str| Date::parse(text).unwrap();
    let draws = [
        ("2021-07-22", "2021-07-26", "moved for the Olympics: Thursday and Friday, then a weekend"),
        ("2023-01-02", "2023-01-04", "a substitute holiday among the bank's"),
        ("2024-04-27", "2024-04-30", "a weekend, then Showa Day"),
        ("2024-12-31", "2025-01-06", "the turn of the year, then a weekend"),
        ("2026-09-19", "2026-09-24", "a weekend, a holiday, a day between two holidays, a holiday"),
        ("2026-11-27", "2026-11-27", "a plain Friday"),
        ("2030-11-04", "2030-11-05", "the last year's substitute"),
    ];
    for (from, to, why) in draws {
        assert_eq!(calendar.next_business_day(date(from)), date(to), "{why}");
    }
    assert!(calendar.covers(date("2021-01-01")) && calendar.covers(date("2030-12-31")));
    assert!(!calendar.covers(date("2031-01-01")));
}

#[test]
fn syntax_errors_name_line_and_column() {
    let problems = Place::with("[server]\nhttp = \ninsecure = maybe\n").problems();
    assert!(problems[0].starts_with("DIR/sokketsu.toml:2:"), "{problems:#?}");
    assert!(problems.iter().any(|line| line.starts_with("DIR/sokketsu.toml:3:")), "{problems:#?}");
    assert_one(&Place::with("a = 1\na = 2"), "DIR/sokketsu.toml:2:1: duplicate key");
}

#[test]
fn a_missing_file_is_an_error_only_if_it_was_named() {
    let mut place = Place::empty();
    let problems = place.problems();
    assert!(problems.iter().any(|line| line.starts_with("configuration: `signing.keys_file`: is missing")));
    place.flags.config = Some(place.config("other.toml"));
    assert_one(&place, "DIR/other.toml: cannot be read: ");
    assert_one(&place.sandbox(), "DIR/other.toml: cannot be read: ");
}

#[test]
fn the_policy_and_the_holidays_are_checked_too() {
    let policy = include_str!("../../config/policy.toml");
    let cases = [
        ("adult_age = 20", "adult_age = 200", "DIR/policy.toml:8:1: `customers.adult_age`: must be 0 to 100"),
        ("adult_age = 20", "adult_age = true", "DIR/policy.toml:8:13: invalid type: boolean"),
        ("adult_age = 20", "adult_aeg = 20", "DIR/policy.toml:8:1: unknown field `adult_aeg`"),
        ("adult_age = 20", "adult_age =", "DIR/policy.toml:8:"),
        (
            "action = \"block\"",
            "action = \"cap\"",
            "DIR/policy.toml:52:1: `category \"gift cards\".cap_yen`: is missing",
        ),
    ];
    for (from, to, expected) in cases {
        let place = Place::with(LEAST);
        assert!(policy.contains(from));
        fs::write(place.config("policy.toml"), policy.replace(from, to)).unwrap();
        let problems = place.problems();
        let expected_start = expected.split(':').take(2).collect::<Vec<_>>().join(":");
        assert!(problems[0].starts_with(&expected_start), "{problems:#?} should start with {expected_start}");
        let words = expected.rsplit(": ").next().unwrap();
        assert!(problems[0].contains(words), "{problems:#?} should have {words}");
    }
    let place = Place::with(LEAST);
    fs::write(place.config("holidays.csv"), "date,name\n2026-13-01,x\n").unwrap();
    assert_one(&place, "DIR/holidays.csv:2:1: \"2026-13-01,x\" is not `YYYY-MM-DD,name`");
}

#[test]
fn the_environment_stands_above_the_file_and_flags_above_both() {
    let file = "[server]\nhttp = \"127.0.0.1:1\"\nadmin = \"127.0.0.1:3\"\n[orders]\nretain = \"48h\"";
    let mut place = after(file)
        .env("SOKKETSU_SERVER__HTTP", "127.0.0.1:2")
        .env("SOKKETSU_SERVER__ADMIN", "127.0.0.1:4")
        .env("SOKKETSU_SERVER__INSECURE", "true")
        .env("SOKKETSU_ORDERS__RETAIN", "72h")
        .env("SOKKETSU_ORDERS__MAX", "1_000")
        .env("SOKKETSU_HOLDS__EXPIRE_AFTER", "1d")
        .env("SOKKETSU_DATA", "/srv/sokketsu")
        .env("SOKKETSU_KEY__0__NAME", "123")
        .env("SOKKETSU_KEY__1__NAME", "second")
        .env("SOKKETSU_KEY__1__ROLE", "register")
        .env("SOKKETSU_KEY__1__HASH", &"1".repeat(64))
        .env("SOKKETSU_KEY__1__MERCHANTS", "[\"a\", \"b\"]")
        .env("SOKKETSU_KEY__1__TERMINALS", "[\"T1\"]")
        .env("SOKKETSU_AID", "[{aid = \"F000000000\", label = \"X\", form = \"tok19\"}]")
        .env("SOKKETSU_LOG", "debug")
        .env("PATH", "/bin");
    place.flags.admin = Some("127.0.0.1:5".parse().unwrap());
    let config = place.load().unwrap();
    assert_eq!(config.server.http.port(), 2);
    assert_eq!(config.server.admin.unwrap().port(), 5);
    assert!(config.server.insecure);
    let settings = Settings { orders_retain: 72 * HOUR, orders_max: 1_000, hold_life: DAY, ..Settings::default() };
    assert_eq!(config.records.settings, settings);
    assert_eq!(config.records.data, Path::new("/srv/sokketsu"));
    assert_eq!(&*config.keys[0].caller.name, "123");
    let merchants = ["a", "b"].map(|name| MerchantId::new(name).unwrap());
    assert_eq!(config.keys[1].caller.merchants, Merchants::Only(merchants.to_vec()));
    assert_eq!(
        config.keys[1].caller.terminals.as_deref(),
        Some(&[TerminalKey::of(TerminalId::new("T1").unwrap()).unwrap()][..])
    );
    let issuer = config.issuers.issuer(Form::L24).unwrap();
    assert_eq!((issuer.application.form, issuer.application.label.as_bytes()), (Form::Tok19, &b"X"[..]));
}

#[test]
fn a_wrong_variable_is_named() {
    let cases = [
        ("SOKKETSU_SERVER__HTPP", "1", "environment SOKKETSU_SERVER__HTPP: `server.htpp`: unknown field"),
        ("SOKKETSU_SEVER__HTTP", "1", "environment SOKKETSU_SEVER__HTTP: `sever`: unknown field"),
        ("SOKKETSU_ORDERS__MAX", "many", "environment SOKKETSU_ORDERS__MAX: `orders.max`: invalid type: string"),
        ("SOKKETSU_ORDERS__MAX", "0", "environment SOKKETSU_ORDERS__MAX: `orders.max`: 0 is out of range"),
        ("SOKKETSU_ORDERS__MAX", "", "environment SOKKETSU_ORDERS__MAX: `orders.max`: invalid type: string"),
        ("SOKKETSU_ORDERS__RETAIN", "1h", "environment SOKKETSU_ORDERS__RETAIN: `orders.retain`: 1h is out of range"),
        ("SOKKETSU_KEY__7__NAME", "x", "environment SOKKETSU_KEY__7__NAME: `key` has 1 entries, and `7` is not"),
        ("SOKKETSU_KEY__0__HASH", "x", "environment SOKKETSU_KEY__0__HASH: `key[0].hash`: must be the SHA-256"),
        ("SOKKETSU_SIGNING__KEYS_FILE__X", "x", "environment SOKKETSU_SIGNING__KEYS_FILE__X: `signing.keys_file` is a"),
        ("SOKKETSU_", "x", "environment SOKKETSU_: names no key"),
        ("SOKKETSU_A____B", "x", "environment SOKKETSU_A____B: names no key"),
        ("SOKKETSU_SERVER__HTTP", "0.0.0.0:1", "environment SOKKETSU_SERVER__HTTP: `server.http`: 0.0.0.0:1 can be"),
    ];
    for (name, value, expected) in cases {
        assert_one(&Place::with(LEAST).env(name, value), expected);
    }
    let mut place = Place::with(LEAST);
    place.flags.http = Some("0.0.0.0:1".parse().unwrap());
    assert_one(&place, "--http: `server.http`: 0.0.0.0:1 can be reached");
}

#[test]
fn a_server_of_the_ledger_is_named_and_its_password_may_lie_in_a_file() {
    let config = "[ledger]\nurl = \"postgres://me@db.example:6432/books?sslmode=verify-full\"\nca_file = \"ca.pem\"
password_file = \"password\"\n";
    let place = Place::with(&format!("{LEAST}{config}"));
    let password = place.config("password");
    std::fs::write(&password, "hunter2\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode;
    std::fs::set_permissions(&password, mode(0o644)).unwrap();
    let exposed = place.load().unwrap_err().to_string();
    assert!(exposed.contains("`ledger.password_file`: ") && exposed.contains("can be read by others"), "{exposed}");
    std::fs::set_permissions(&password, mode(0o600)).unwrap();
    let config = place.load().unwrap();
    assert_eq!(config.records.ledger.chunk_records, 2_000);
    let summary = config.summary();
    assert!(summary.contains("ledger    postgres://me@db.example:6432/books by TLS"), "{summary}");
    assert!(!format!("{summary}{config:?}").contains("hunter2"));
    let file = place.config("ca.pem");
    let url = "postgres://me:hunter2@db.example:6432/books?sslmode=verify-full";
    let same = crate::database::Server::parse(url, Some(file), None).unwrap();
    assert_eq!(config.records.ledger.place, LedgerPlace::Server(same.into()));
}

#[test]
fn a_journal_in_a_cluster_has_its_ledger_there() {
    let config =
        "[journal]\nurl = \"postgres://me@a:1,b:2/pay?sslmode=verify-full\"\nnode = \"n1\"\nca_file = \"ca.pem\"\n";
    let config = Place::with(&format!("{LEAST}{config}")).load().unwrap();
    let JournalPlace::Cluster { server, node, .. } = &config.records.journal.place else { panic!("no cluster") };
    assert_eq!((server.to_string().as_str(), node.as_str()), ("postgres://me@a:1,b:2/pay by TLS", "n1"));
    assert_eq!(config.records.ledger.place, LedgerPlace::Server(server.clone()));
    assert!(!config.has_own_clock());
    let summary = config.summary();
    assert!(summary.contains("journal   postgres://me@a:1,b:2/pay by TLS, as n1"), "{summary}");
}

#[test]
fn no_secret_is_shown() {
    let url = "postgres://me:hunter2@db/ledger";
    let place = Place::with(LEAST).env("SOKKETSU_LEDGER__URL", url);
    assert_one(&place, "environment SOKKETSU_LEDGER__URL: `ledger.url`: leads to another machine without TLS");
    let place = Place::with(&LEAST.replace(HASH, "the-bearer-key-by-mistake"));
    for place in [Place::with(LEAST).env("SOKKETSU_LEDGER__URL", url), place] {
        let error = format!("{0:?} {0}", place.load().unwrap_err());
        assert!(!error.contains("hunter2") && !error.contains("mistake"), "{error}");
    }
    let config = Place::with(LEAST).load().unwrap();
    assert!(!format!("{config:?}").contains(HASH) && !config.summary().contains(HASH));
    assert!(format!("{:?}", config.keyring).contains("Active"));
    assert_eq!(config.keyring.state(0), Some(KeyState::Active));
}

#[test]
fn tls_lets_other_machines_in() {
    let tls = "[server]\nhttp = \"0.0.0.0:443\"\n[server.tls]\ncert_file = \"c.pem\"\nkey_file = \"k.pem\"\n";
    let place = after(&format!("{tls}client_ca_file = \"ca.pem\""));
    assert_eq!(place.problems().len(), 4, "three files, and so no TLS: {:#?}", place.problems());
    for name in ["c.pem", "k.pem", "ca.pem"] {
        fs::write(place.config(name), "").unwrap();
        fs::set_permissions(place.config(name), fs::Permissions::from_mode(0o644)).unwrap();
    }
    let problems = place.problems();
    assert!(problems.len() == 2 && problems[1].contains("k.pem can be read by others"), "and so no TLS: {problems:#?}");
    fs::set_permissions(place.config("k.pem"), fs::Permissions::from_mode(0o600)).unwrap();
    let config = place.load().unwrap();
    assert_eq!(config.server.tls.unwrap().client_ca_file, Some(place.config("ca.pem")));
    let config = after("[server]\nhttp = \"0.0.0.0:80\"\ninsecure = true").load().unwrap();
    assert!(config.server.insecure && config.server.tls.is_none());
    after("[server]\nhttp = \"[::ffff:127.0.0.1]:80\"").load().unwrap();
}

#[test]
fn bounded_risk_is_a_choice_with_a_number() {
    let config = after("[journal]\nsync = \"bounded\"\nat_risk_yen = 100_000").load().unwrap();
    assert_eq!(config.records.journal.sync, Sync::Bounded { at_risk_yen: 100_000 });
    assert!(config.summary().contains("at most 100000 yen at risk"));
}

#[test]
fn tools_that_read_records_need_no_service() {
    let place = Place::with(SHIPPED);
    let records = |place: &Place| Records::load_from(&place.flags, place.environment.clone(), place.folder.path());
    assert_eq!(records(&place).unwrap(), records(&Place { flags: Flags::default(), ..place }).unwrap());
    for (lines, expected) in [
        ("[server]\nhtpp = 1", ":2:1: `server.htpp`"),
        ("[server]\nthreads = true", ":2:1: `server.threads`"),
        ("[iso8583]\nlength = \"bcd\"", ":2:1: `iso8583.length`: unknown variant `bcd`, expected `binary` or `ascii`"),
    ] {
        let error = records(&after(lines)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn the_flags_parse() {
    use clap::Parser;
    #[derive(Parser, Debug)]
    struct Serve {
        #[command(flatten)]
        flags: Flags,
    }
    let parse = |line: &str| Serve::try_parse_from(line.split(' ')).map(|serve| serve.flags);
    let flags = parse("serve --sandbox --sandbox-start 2021-04-01T09:00:00+09:00 --http 127.0.0.1:0 --data d").unwrap();
    assert_eq!(flags.sandbox_start.unwrap().to_string(), "2021-04-01T09:00:00.000+09:00");
    assert_eq!((flags.data, flags.http.unwrap().port()), (Some("d".into()), 0));
    for wrong in
        ["serve --sandbox-start 2021-04-01T09:00:00+09:00", "serve --sandbox --sandbox-start noon", "serve --http x"]
    {
        assert!(parse(wrong).is_err(), "{wrong}");
    }
}

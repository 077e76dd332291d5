//! JSON into checked values. A field that is wrong is named by its JSON pointer and told what it must be;
//! what the caller sent is not repeated.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error, Visitor};
use serde_path_to_error::Segment;

use super::problem::{INVALID_FIELD, MALFORMED, Problem};
use crate::domain::model::advice::SuspenseAction;
use crate::domain::model::bounds::MOST_YEN;
use crate::domain::model::code::Form;
use crate::domain::model::customer::{Identity, Status};
use crate::domain::model::ids::{Category, CustomerId, MerchantId, OfficeId, OrderId, RefundId, StoreId, TerminalId};
use crate::domain::model::merchant::MerchantStatus;
use crate::domain::model::order::OrderStatus;
use crate::domain::model::payment::{PaymentMethod, SlipKind};
use crate::domain::model::purchase::Channel;
use crate::domain::model::request::{Currency, EntryMode};
use crate::domain::model::time::{Date, Millis, Month};

/// Something written as a JSON string.
pub(crate) trait FromText: Sized {
    /// Or what it must be.
    fn from_text(text: &str) -> Result<Self, String>;
}

/// A JSON object, read as `T`. A plain struct would take a list of its fields too.
pub(crate) struct Object<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MapOnly<D>(D);
        impl<'de, D: Deserializer<'de>> Deserializer<'de> for MapOnly<D> {
            type Error = D::Error;
            fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
                self.0.deserialize_map(visitor)
            }
            serde::forward_to_deserialize_any! {
                bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
                unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
            }
        }
        T::deserialize(MapOnly(deserializer)).map(Self)
    }
}

/// A JSON string, read as `T`.
pub(crate) struct Text<T>(pub(crate) T);

impl<'de, T: FromText> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader<T>(PhantomData<T>);
        impl<T: FromText> Visitor<'_> for Reader<T> {
            type Value = T;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
                T::from_text(text).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Reader(PhantomData)).map(Text)
    }
}

/// A whole number within bounds: no fraction, no sign, no string.
#[derive(Clone, Copy)]
pub(crate) struct Whole<const MIN: u64, const MAX: u64>(pub(crate) u64);

/// Yen of one call.
pub(crate) type Amount = Whole<1, MOST_YEN>;
/// Yen of a limit.
pub(crate) type LimitYen = Whole<0, MOST_YEN>;

impl<'de, const MIN: u64, const MAX: u64> Deserialize<'de> for Whole<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader<const MIN: u64, const MAX: u64>;
        impl<const MIN: u64, const MAX: u64> Visitor<'_> for Reader<MIN, MAX> {
            type Value = u64;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a whole number from {MIN} to {MAX}")
            }
            fn visit_u64<E: Error>(self, number: u64) -> Result<u64, E> {
                if (MIN..=MAX).contains(&number) {
                    return Ok(number);
                }
                Err(E::custom(format_args!("must be a whole number from {MIN} to {MAX}")))
            }
        }
        deserializer.deserialize_u64(Reader::<MIN, MAX>).map(Self)
    }
}

macro_rules! ids {
    ($($name:ident),*) => {$(
        impl FromText for $name {
            fn from_text(text: &str) -> Result<Self, String> {
                Self::new(text).map_err(|bad| bad.to_string())
            }
        }
    )*};
}
ids!(CustomerId, MerchantId, OfficeId, OrderId, RefundId, StoreId, TerminalId, Category);

fn one_of<T: Copy>(all: &[T], name: impl Fn(T) -> &'static str, text: &str) -> Result<T, String> {
    all.iter().copied().find(|value| name(*value) == text).ok_or_else(|| {
        let names: Vec<_> = all.iter().map(|value| format!("`{}`", name(*value))).collect();
        format!("must be one of {}", names.join(", "))
    })
}

macro_rules! choices {
    ($($name:ident),*) => {$(
        impl FromText for $name {
            fn from_text(text: &str) -> Result<Self, String> {
                one_of(&Self::ALL, Self::name, text)
            }
        }
    )*};
}
choices!(
    Form,
    Channel,
    Identity,
    Status,
    PaymentMethod,
    EntryMode,
    SlipKind,
    MerchantStatus,
    SuspenseAction,
    OrderStatus
);

impl FromText for Month {
    fn from_text(text: &str) -> Result<Self, String> {
        Self::parse(text).ok_or_else(|| "must be `YYYY-MM`".to_owned())
    }
}

impl FromText for Currency {
    fn from_text(text: &str) -> Result<Self, String> {
        let letters = <[u8; 3]>::try_from(text.as_bytes()).ok().filter(|code| code.iter().all(u8::is_ascii_alphabetic));
        letters.ok_or_else(|| "must be three letters of ISO 4217".to_owned())
    }
}

impl FromText for Millis {
    fn from_text(text: &str) -> Result<Self, String> {
        Self::parse(text).ok_or_else(|| "must be a time of RFC 3339 with its offset".to_owned())
    }
}

impl FromText for Date {
    fn from_text(text: &str) -> Result<Self, String> {
        Self::parse(text).ok_or_else(|| "must be a date `YYYY-MM-DD`".to_owned())
    }
}

/// A text for people, of at most this many characters, without control characters.
pub(crate) struct Words<const MAX: usize>(pub(crate) Box<str>);

impl<const MAX: usize> FromText for Words<MAX> {
    fn from_text(text: &str) -> Result<Self, String> {
        let count = text.chars().count();
        if count == 0 || count > MAX || text.chars().any(char::is_control) {
            return Err(format!("must be 1 to {MAX} characters without control characters"));
        }
        Ok(Self(Box::from(text)))
    }
}

/// What a machine prints: at most this many letters, digits, signs and spaces of ASCII.
pub(crate) struct Printed<const MAX: usize>(pub(crate) Box<str>);

impl<const MAX: usize> FromText for Printed<MAX> {
    fn from_text(text: &str) -> Result<Self, String> {
        let is_printed = text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
        if !is_printed || !(1..=MAX).contains(&text.len()) {
            return Err(format!("must be 1 to {MAX} printable characters of ASCII"));
        }
        Ok(Self(Box::from(text)))
    }
}

/// A merchant category code: four digits.
pub(crate) struct Mcc(pub(crate) u16);

impl FromText for Mcc {
    fn from_text(text: &str) -> Result<Self, String> {
        let digits = text.len() == 4 && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = if digits { text.parse().ok() } else { None };
        number.map(Self).ok_or_else(|| "must be four digits of ISO 18245".to_owned())
    }
}

/// For a field where `null` is not the same as leaving it out: absent is `None`; `null` must be a `T`, which an `Option`
/// takes as nothing.
pub(crate) fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Reads a body that must be exactly one JSON value of this form.
pub(crate) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    if body.is_empty() {
        return Err(Problem::new(&MALFORMED, "The body is empty. Send a JSON object."));
    }
    // To follow the path costs more than to read; it is followed only where something is to be explained.
    serde_json::from_slice::<Object<T>>(body).map(|value| value.0).or_else(|error| {
        // A number beyond all numbers is JSON; the parser takes it for something else.
        if error.is_syntax() { read_with_path(&with_smaller_numbers(body)) } else { read_with_path(body) }
    })
}

/// The body with each number that is too large for the parser made one that it reads, and that no field takes.
fn with_smaller_numbers(body: &[u8]) -> Cow<'_, [u8]> {
    let mut changed = Vec::new();
    let mut kept = 0;
    let mut at = 0;
    while let Some(byte) = body.get(at) {
        let rest = body.get(at..).unwrap_or_default();
        let len = match byte {
            b'"' => string_len(rest),
            b'-' | b'0'..=b'9' => rest.iter().take_while(|byte| b"+-.eE0123456789".contains(byte)).count(),
            _ => 1,
        };
        let token = rest.get(..len).unwrap_or_default();
        if is_beyond_all(token) {
            changed.extend_from_slice(body.get(kept..at).unwrap_or_default());
            changed.extend_from_slice(b"1e99");
            kept = at + len;
        }
        at += len;
    }
    changed.extend_from_slice(body.get(kept..).unwrap_or_default());
    if kept == 0 { Cow::Borrowed(body) } else { Cow::Owned(changed) }
}

/// A number of JSON that no machine number holds.
fn is_beyond_all(token: &[u8]) -> bool {
    let text = std::str::from_utf8(token).unwrap_or_default();
    let digits = text.trim_start_matches('-').as_bytes();
    let is_padded = digits.first() == Some(&b'0') && digits.get(1).is_some_and(u8::is_ascii_digit);
    !is_padded && text.parse().is_ok_and(f64::is_infinite)
}

/// The length of the string that begins here, its quotes included.
fn string_len(text: &[u8]) -> usize {
    let mut escaped = false;
    let ends = |byte: &u8| {
        let ends = !escaped && *byte == b'"';
        escaped = !escaped && *byte == b'\\';
        ends
    };
    text.iter().skip(1).position(ends).map_or(text.len(), |at| at + 2)
}

/// The body of a call that may say nothing: absent, it is an empty object.
pub(crate) fn read_if_any<T: DeserializeOwned + Default>(body: &[u8]) -> Result<T, Problem> {
    if body.is_empty() { Ok(T::default()) } else { read(body) }
}

fn read_with_path<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let value: Object<T> = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| explain(&error))?;
    match deserializer.end() {
        Ok(()) => Ok(value.0),
        Err(error) => Err(not_json(&error)),
    }
}

fn not_json(error: &serde_json::Error) -> Problem {
    let place = format!("The body is not JSON at line {}, column {}.", error.line(), error.column());
    Problem::new(&MALFORMED, place)
}

fn explain(error: &serde_path_to_error::Error<serde_json::Error>) -> Problem {
    let inner = error.inner();
    if !inner.is_data() {
        return not_json(inner);
    }
    let message = inner.to_string();
    let mut pointer = pointer_of(error.path());
    let quoted = |start: &str| message.strip_prefix(start).and_then(|rest| rest.split('`').next());
    let detail = if let Some(name) = quoted("missing field `") {
        pointer = format!("{pointer}/{name}");
        "is missing".to_owned()
    } else if message.starts_with("unknown field `") {
        match message.split_once(", expected ") {
            Some((_, known)) => format!("is not a field of this call; known here: {}", strip_place(known)),
            None => "is not a field of this call".to_owned(),
        }
    } else if let Some(name) = quoted("duplicate field `") {
        pointer = format!("{pointer}/{name}");
        "is there twice".to_owned()
    } else if message.contains(", expected struct ") {
        "must be an object".to_owned()
    } else if let Some((_, wanted)) = message.split_once(", expected ") {
        format!("must be {}", strip_place(wanted))
    } else {
        strip_place(&message).to_owned()
    };
    if pointer.is_empty() {
        return Problem::new(&INVALID_FIELD, format!("The body {detail}.")).with_field("", detail);
    }
    Problem::field(&pointer, detail)
}

/// serde_json ends its messages with the place.
fn strip_place(message: &str) -> &str {
    message.rsplit_once(" at line ").map_or(message, |(message, _)| message).trim_start_matches("one of ")
}

/// RFC 6901; a key is shown as far as a key of ours could be long.
fn pointer_of(path: &serde_path_to_error::Path) -> String {
    let mut pointer = String::new();
    for segment in path.iter() {
        pointer.push('/');
        match segment {
            Segment::Seq { index } => pointer += &index.to_string(),
            Segment::Map { key } | Segment::Enum { variant: key } => {
                let key: String = key.chars().take(64).collect();
                pointer += &key.replace('~', "~0").replace('/', "~1");
            }
            Segment::Unknown => pointer.push('?'),
        }
    }
    pointer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "it is read, not used")]
    struct Form {
        amount: Amount,
        merchant: Option<Object<Shop>>,
        #[serde(default, deserialize_with = "present")]
        birth_date: Option<Text<Date>>,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "it is read, not used")]
    struct Shop {
        id: Text<MerchantId>,
    }

    fn refused(body: &str) -> (u16, String, String) {
        let problem = read::<Form>(body.as_bytes()).err().unwrap_or_else(|| panic!("{body} should be refused"));
        let status = problem.status();
        let answer = problem.into_answer();
        let body: serde_json::Value = serde_json::from_slice(answer.body.as_whole().unwrap()).unwrap();
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        (status, text(&body["errors"][0]["pointer"]), text(&body["detail"]))
    }

    #[test]
    fn each_wrong_field_is_named() {
        let whole = "must be a whole number from 1 to 9999999";
        for (body, pointer, says) in [
            (r#"{"amount":0}"#, "/amount", whole),
            (r#"{"amount":-5}"#, "/amount", whole),
            (r#"{"amount":1980.0}"#, "/amount", whole),
            (r#"{"amount":1e3}"#, "/amount", whole),
            (r#"{"amount":10000000}"#, "/amount", whole),
            (r#"{"amount":99999999999999999999999}"#, "/amount", whole),
            (r#"{"amount":"1980"}"#, "/amount", whole),
            (r#"{"amount":null}"#, "/amount", whole),
            (r#"{}"#, "/amount", "is missing"),
            (r#"{"amount":1,"amount":2}"#, "/amount", "is there twice"),
            (r#"{"amount":1,"amuont":2}"#, "/amuont", "known here: `amount`"),
            (r#"{"amount":1,"merchant":{}}"#, "/merchant/id", "is missing"),
            (r#"{"amount":1,"merchant":{"id":"a b"}}"#, "/merchant/id", "may hold only"),
            (r#"{"amount":1,"merchant":{"id":7}}"#, "/merchant/id", "must be a string"),
            (r#"{"amount":1,"merchant":{"id":"a","x/y":7}}"#, "/merchant/x~1y", "not a field"),
            (r#"{"amount":1,"birth_date":null}"#, "/birth_date", "must be a string"),
            (r#"{"amount":1,"birth_date":"2021-02-29"}"#, "/birth_date", "YYYY-MM-DD"),
            ("[1]", "", "must be an object"),
            ("7", "", "must be an object"),
            (r#"{"amount":1,"merchant":["mrc"]}"#, "/merchant", "must be an object"),
        ] {
            let (status, at, detail) = refused(body);
            assert_eq!(status, 422, "{body}");
            assert_eq!(at, pointer, "{body}: {detail}");
            assert!(detail.contains(says), "{body}: {detail}");
        }
    }

    #[test]
    fn a_number_beyond_all_numbers_is_a_number_out_of_range() {
        let digits = "9".repeat(400);
        let whole = "must be a whole number from 1 to 9999999";
        for number in [digits.as_str(), &format!("-{digits}"), "1e999", "-1E+400", &format!("{digits}.5")] {
            for (body, pointer, says) in [
                (format!(r#"{{"amount":{number}}}"#), "/amount", whole),
                (format!(r#"{{"amount":1,"merchant":{{"id":{number}}}}}"#), "/merchant/id", "must be a string"),
                (format!(r#"{{"amount":1,"merchant":{number}}}"#), "/merchant", "must be an object"),
                (format!(r#"{{"amount":1,"x\"1e999":{number}}}"#), "/x\"1e999", "not a field"),
            ] {
                let (status, at, detail) = refused(&body);
                assert_eq!((status, at.as_str()), (422, pointer), "{body}: {detail}");
                assert!(detail.contains(says), "{body}: {detail}");
            }
        }
        for broken in [format!(r#"{{"amount":0{digits}}}"#), format!(r#"{{"amount":{digits}e}}"#)] {
            assert_eq!(refused(&broken).0, 400, "{broken}");
        }
    }

    #[test]
    fn where_the_path_may_say_all_a_body_may_be_absent() {
        #[derive(Debug, Default, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Nothing {}
        assert!(read_if_any::<Nothing>(b"").is_ok() && read_if_any::<Nothing>(b" {} ").is_ok());
        for wrong in [r#"{"amount":5}"#, "[]", "5"] {
            assert_eq!(
                read_if_any::<Nothing>(wrong.as_bytes()).map(drop).map_err(|problem| problem.status()),
                Err(422),
                "{wrong}"
            );
        }
    }

    #[test]
    fn what_is_not_json_is_malformed() {
        for body in ["", "{", "{\"amount\":1}}", "{\"amount\":01}", "{\"amount\":NaN}", "nonsense", "{\"amount\":1} x"]
        {
            assert_eq!(refused(body).0, 400, "{body}");
        }
        assert!(read::<Form>(b"{\"amount\":\xff}").is_err());
        let deep = "[".repeat(10_000);
        assert!(read::<Form>(deep.as_bytes()).is_err());
    }
}

//! Values that are written in a form of their own: lengths of time, merchants, words.

use std::fmt::{self, Display};

use serde::Deserialize;
use serde::de::{self, Deserializer, SeqAccess, Visitor};

use crate::code::Form;
use crate::domain::model::time::{DAY, HOUR, MINUTE, SECOND};
use crate::iso8583::frame::LengthForm;

pub const FORMS: [(&str, Form); 2] = [("l24", Form::L24), ("tok19", Form::Tok19)];
pub const LENGTH_FORMS: [(&str, LengthForm); 2] = [("binary", LengthForm::Binary), ("ascii", LengthForm::Ascii)];

/// What a word stands for.
pub fn meaning<T: Copy>(word: &str, words: &[(&str, T)]) -> Result<T, String> {
    let found = words.iter().find(|(name, _)| *name == word).map(|(_, meaning)| *meaning);
    found.ok_or_else(|| format!("unknown variant `{word}`, expected {}", any_of(words.iter().map(|(name, _)| *name))))
}

/// Names as the parser of TOML lists what it expects.
pub fn any_of<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    if names.len() <= 2 { names.join(" or ") } else { format!("one of {}", names.join(", ")) }
}

/// `"*"`, or a list.
pub enum MerchantNames {
    All,
    Listed(Vec<String>),
}

impl<'de> Deserialize<'de> for MerchantNames {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = MerchantNames;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"*\" or a list of merchant ids")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<MerchantNames, E> {
                match text {
                    "*" => Ok(MerchantNames::All),
                    _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
                }
            }

            fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<MerchantNames, A::Error> {
                Deserialize::deserialize(de::value::SeqAccessDeserializer::new(items)).map(MerchantNames::Listed)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// A length of time in milliseconds, written like `500ms`, `300s`, `15m`, `48h` or `7d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
pub struct Length(pub i64);

/// Largest first, as they are shown.
const UNITS: [(&str, i64); 5] = [("d", DAY), ("h", HOUR), ("m", MINUTE), ("s", SECOND), ("ms", 1)];

impl Length {
    fn parse(text: &str) -> Option<Self> {
        let unit_at = text.find(|c: char| !c.is_ascii_digit())?;
        let (number, unit) = text.split_at_checked(unit_at)?;
        let unit = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, ms)| *ms)?;
        number.parse::<i64>().ok()?.checked_mul(unit).map(Self)
    }
}

/// In the largest unit that leaves no rest, but hours up to two days.
impl Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |(name, ms): &&(&str, i64)| self.0 % ms == 0 && (*name != "d" || self.0 > 2 * ms);
        let (name, ms) = UNITS.iter().find(fits).unwrap_or(&("ms", 1));
        write!(f, "{}{name}", self.0 / ms)
    }
}

impl<'de> Deserialize<'de> for Length {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Length;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as \"500ms\", \"300s\", \"15m\", \"48h\" or \"7d\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Length, E> {
                Length::parse(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_any(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_number_and_a_unit() {
        let cases = [("500ms", 500), ("300s", 300_000), ("15m", 900_000), ("48h", 172_800_000), ("7d", 604_800_000)];
        for (text, ms) in cases {
            assert_eq!(Length::parse(text), Some(Length(ms)), "{text}");
            assert_eq!(Length::parse(&Length(ms).to_string()), Some(Length(ms)));
        }
        for text in ["", "5", "s", "-5s", "1.5h", "5 s", "5S", "9223372036854775807d", "99999999999999999999s", "５s"]
        {
            assert_eq!(Length::parse(text), None, "{text}");
        }
    }
}

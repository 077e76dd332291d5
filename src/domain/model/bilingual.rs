//! A text in Japanese with English beside it, its places filled in.

use std::borrow::Cow;

use serde::Serialize;

use super::denial::Words;

/// A text in both languages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Bilingual {
    pub ja: Cow<'static, str>,
    pub en: Cow<'static, str>,
}

impl Bilingual {
    pub fn plain(words: Words) -> Self {
        Self { ja: words.ja.into(), en: words.en.into() }
    }

    /// With each place, `{shop}` for one, filled in by what stands beside its name.
    pub fn filled(words: Words, places: &[(&str, &str)]) -> Self {
        Self { ja: fill(words.ja, places).into(), en: fill(words.en, places).into() }
    }
}

/// What is filled in is not read again: a shop's name may hold braces.
fn fill(text: &str, places: &[(&str, &str)]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        let place = after.split_once('}');
        let filling = place.and_then(|(name, after)| Some((places.iter().find(|(place, _)| *place == name)?.1, after)));
        let (filling, after) = filling.unwrap_or(("{", after));
        out.push_str(filling);
        rest = after;
    }
    out.push_str(rest);
    out
}

/// 12345 as "12,345".
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::model::denial::Reason;

    #[test]
    fn figures_are_grouped_as_people_read_them() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn a_place_is_filled_once_whatever_it_is_filled_with() {
        let words = Reason::OverInStoreLimit.row().customer;
        let words = Bilingual::filled(words, &[("amount", "{room}"), ("room", "1,000")]);
        assert_eq!(words.en, "You can spend 1,000 yen in store ({room} yen this time).");
        assert_eq!(fill("{who} {a} {", &[("a", "{who}")]), "{who} {who} {", "what has no filling stays");
    }
}

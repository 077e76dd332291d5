//! What the headers of a signed request say: `Signature-Input`, `Signature` and `Content-Digest`, which are
//! structured fields (RFC 9651).

use std::borrow::Cow;
use std::convert::Infallible;

use hyper::header::{HeaderMap, HeaderName};
use sfv::visitor::{DictionaryVisitor, EntryVisitor, Ignored, InnerListVisitor, ItemVisitor, ParameterVisitor};
use sfv::{BareItemFromInput, KeyRef, Parser, StringRef};
use smallvec::SmallVec;

/// Most components of a signature; the needed ones are five.
const MOST_COMPONENTS: usize = 32;

type Text<'a> = Cow<'a, StringRef>;

/// The one signature that a request announces.
#[derive(Default)]
pub(crate) struct Input<'a> {
    pub(crate) label: &'a str,
    /// Components and parameters as they were sent: the last line of the signature's base.
    pub(crate) params: &'a str,
    pub(crate) components: SmallVec<[Text<'a>; 8]>,
    pub(crate) created: Option<i64>,
    pub(crate) expires: Option<i64>,
    pub(crate) nonce: Option<Text<'a>>,
    pub(crate) key_id: Option<Text<'a>>,
    pub(crate) algorithm: Option<Text<'a>>,
    /// What it says that nobody should: the first such thing.
    wrong: Option<&'static str>,
}

impl<'a> Input<'a> {
    /// Reads the value of `Signature-Input`.
    pub(crate) fn read(value: &'a str) -> Result<Self, String> {
        let mut input = Self::default();
        let read = Parser::new(value).parse_dictionary_with_visitor(&mut input);
        read.map_err(|error| format!("`Signature-Input` cannot be read: {error}"))?;
        if let Some(wrong) = input.wrong {
            return Err(format!("`Signature-Input`: {wrong}"));
        }
        let (label, params) = value.trim_ascii().split_once('=').unwrap_or_default();
        (input.label, input.params) = (label, params);
        Ok(input)
    }

    fn wrong(&mut self, what: &'static str) {
        self.wrong.get_or_insert(what);
    }

    pub(crate) fn covers(&self, component: &str) -> bool {
        self.components.iter().any(|name| name.as_str() == component)
    }
}

impl<'a> DictionaryVisitor<'a> for &mut Input<'a> {
    type Out = ();
    type Error = Infallible;

    fn entry(&mut self, key: &'a KeyRef) -> Result<impl EntryVisitor<'a>, Infallible> {
        if !self.label.is_empty() {
            self.wrong("send one signature, not several");
        }
        self.label = key.as_str();
        Ok(Member(self))
    }

    fn finish(self) -> Result<(), Infallible> {
        if self.label.is_empty() {
            self.wrong("there is no signature in it");
        }
        Ok(())
    }
}

/// The member of the label.
struct Member<'i, 'a>(&'i mut Input<'a>);

impl<'a> EntryVisitor<'a> for Member<'_, 'a> {
    type Error = Infallible;

    fn item(self) -> Result<impl ItemVisitor<'a>, Infallible> {
        self.0.wrong("list the signed components in brackets");
        Ok(Ignored)
    }

    fn inner_list(self) -> Result<impl InnerListVisitor<'a>, Infallible> {
        Ok(self)
    }
}

impl<'a> InnerListVisitor<'a> for Member<'_, 'a> {
    type Error = Infallible;

    fn item(&mut self) -> Result<impl ItemVisitor<'a>, Infallible> {
        Ok(Component(self.0))
    }

    fn finish(self) -> Result<impl ParameterVisitor<'a>, Infallible> {
        Ok(self)
    }
}

/// One name in the brackets.
struct Component<'i, 'a>(&'i mut Input<'a>);

impl<'a> ItemVisitor<'a> for Component<'_, 'a> {
    type Out = ();
    type Error = Infallible;

    fn bare_item(self, item: BareItemFromInput<'a>) -> Result<impl ParameterVisitor<'a, Out = ()>, Infallible> {
        match item {
            BareItemFromInput::String(name) if self.0.covers(name.as_str()) => {
                self.0.wrong("a component may be listed once only");
            }
            BareItemFromInput::String(_) if self.0.components.len() >= MOST_COMPONENTS => {
                self.0.wrong("list at most 32 components");
            }
            BareItemFromInput::String(name) => self.0.components.push(name),
            _ => self.0.wrong("names of components are strings in quotes"),
        }
        Ok(self)
    }
}

impl<'a> ParameterVisitor<'a> for Component<'_, 'a> {
    type Out = ();
    type Error = Infallible;

    fn parameter(&mut self, _: &'a KeyRef, _: BareItemFromInput<'a>) -> Result<(), Infallible> {
        self.0.wrong("parameters of components, such as `;sf` or `;req`, are not supported");
        Ok(())
    }

    fn finish(self) -> Result<(), Infallible> {
        Ok(())
    }
}

impl<'a> ParameterVisitor<'a> for Member<'_, 'a> {
    type Out = ();
    type Error = Infallible;

    fn parameter(&mut self, key: &'a KeyRef, value: BareItemFromInput<'a>) -> Result<(), Infallible> {
        let input = &mut *self.0;
        match (key.as_str(), value) {
            ("created", BareItemFromInput::Integer(time)) => input.created = Some(time.into()),
            ("expires", BareItemFromInput::Integer(time)) => input.expires = Some(time.into()),
            ("nonce", BareItemFromInput::String(text)) => input.nonce = Some(text),
            ("keyid", BareItemFromInput::String(text)) => input.key_id = Some(text),
            ("alg", BareItemFromInput::String(text)) => input.algorithm = Some(text),
            ("created" | "expires", _) => input.wrong("`created` and `expires` are whole Unix seconds"),
            ("nonce" | "keyid" | "alg", _) => input.wrong("`nonce`, `keyid` and `alg` are strings in quotes"),
            // It is signed as it stands; what it means is between others.
            (_, _) => {}
        }
        Ok(())
    }

    fn finish(self) -> Result<(), Infallible> {
        Ok(())
    }
}

/// Byte sequences by their keys, as in `Signature` and `Content-Digest`.
pub(crate) struct Bytes<'a>(SmallVec<[(&'a str, Vec<u8>); 2]>);

impl<'a> Bytes<'a> {
    pub(crate) fn read(name: &str, value: &'a str) -> Result<Self, String> {
        let mut bytes = Self(SmallVec::new());
        let read = Parser::new(value).parse_dictionary_with_visitor(&mut bytes);
        read.map_err(|error| format!("`{name}` cannot be read: {error}"))?;
        Ok(bytes)
    }

    /// The last of this key, as structured fields have it.
    pub(crate) fn get(&self, key: &str) -> Option<&[u8]> {
        self.0.iter().rev().find(|(other, _)| *other == key).map(|(_, bytes)| bytes.as_slice())
    }

    /// The key, if there is one only.
    pub(crate) fn only_key(&self) -> Option<&'a str> {
        if let [(key, _)] = self.0.as_slice() { Some(key) } else { None }
    }
}

impl<'a> DictionaryVisitor<'a> for &mut Bytes<'a> {
    type Out = ();
    type Error = Infallible;

    fn entry(&mut self, key: &'a KeyRef) -> Result<impl EntryVisitor<'a>, Infallible> {
        self.0.push((key.as_str(), Vec::new()));
        Ok(Sequence(self))
    }

    fn finish(self) -> Result<(), Infallible> {
        Ok(())
    }
}

struct Sequence<'b, 'a>(&'b mut Bytes<'a>);

impl<'a> EntryVisitor<'a> for Sequence<'_, 'a> {
    type Error = Infallible;

    fn item(self) -> Result<impl ItemVisitor<'a>, Infallible> {
        Ok(self)
    }

    fn inner_list(self) -> Result<impl InnerListVisitor<'a>, Infallible> {
        Ok(Ignored)
    }
}

impl<'a> ItemVisitor<'a> for Sequence<'_, 'a> {
    type Out = ();
    type Error = Infallible;

    fn bare_item(self, item: BareItemFromInput<'a>) -> Result<impl ParameterVisitor<'a, Out = ()>, Infallible> {
        // What is no byte sequence stays empty, which no digest and no signature is.
        if let (BareItemFromInput::ByteSequence(came), Some((_, bytes))) = (item, self.0.0.last_mut()) {
            *bytes = came;
        }
        Ok(Ignored)
    }
}

/// The value of a header that is there once; `Ok(None)` if it is not there at all.
pub(crate) fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, String> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => match value.to_str() {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(format!("`{name}` must be ASCII")),
        },
        (Some(_), Some(_)) => Err(format!("send one `{name}` header, not several")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_input_is_read() {
        let value = r#" sig-b25=("date" "@authority" "content-type");created=1618884473;keyid="k\"";tag="x" "#;
        let input = Input::read(value).unwrap();
        assert_eq!(input.label, "sig-b25");
        assert_eq!(input.params, r#"("date" "@authority" "content-type");created=1618884473;keyid="k\"";tag="x""#);
        assert!(input.covers("@authority") && !input.covers("@method"));
        assert_eq!((input.created, input.expires, input.nonce.is_none()), (Some(1_618_884_473), None, true));
        assert_eq!(input.key_id.unwrap().as_str(), "k\"");
    }

    #[test]
    fn what_nobody_should_say_is_named() {
        for (value, expected) in [
            ("", "there is no signature"),
            ("a=(), b=()", "one signature"),
            ("a=(), a=()", "one signature"),
            ("a=\"x\"", "brackets"),
            ("a", "brackets"),
            ("a=(date)", "strings in quotes"),
            ("a=(\"date\" \"date\")", "once only"),
            ("a=(\"date\";sf)", "not supported"),
            ("a=();created=\"1\"", "whole Unix seconds"),
            ("a=();created=1.5", "whole Unix seconds"),
            ("a=();nonce=1", "strings in quotes"),
            ("a=(", "cannot be read"),
            ("a=()=", "cannot be read"),
        ] {
            let Err(error) = Input::read(value) else { panic!("{value} was taken") };
            assert!(error.contains(expected), "{value}: {error}");
        }
        let many: Vec<_> = (0..=MOST_COMPONENTS).map(|n| format!("\"x{n}\"")).collect();
        assert!(Input::read(&format!("a=({})", many.join(" "))).is_err_and(|error| error.contains("at most 32")));
    }

    #[test]
    fn byte_sequences_are_found_by_their_keys() {
        let bytes = Bytes::read("Content-Digest", "sha-256=:AQI=:, sha-512=:AQ==:").unwrap();
        assert_eq!(
            (bytes.get("sha-256"), bytes.get("sha-512"), bytes.get("md5")),
            (Some(&[1, 2][..]), Some(&[1][..]), None)
        );
        assert_eq!(bytes.only_key(), None);
        assert_eq!(Bytes::read("Signature", "a=1, a=:AQ==:").unwrap().get("a"), Some(&[1][..]));
        assert_eq!(Bytes::read("Signature", "a=(:AQ==:)").unwrap().get("a"), Some(&[][..]));
        assert!(Bytes::read("Signature", "a=:A:").is_err());
    }
}

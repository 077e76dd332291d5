//! What the headers of a signed request say: `Signature-Input`, `Signature` and `Content-Digest`, which are
//! structured fields (RFC 9651).

use hyper::header::{HeaderMap, HeaderName};
use sfv::{BareItem, Dictionary, Item, KeyRef, List, ListEntry, Parameters, Parser};

/// Most components of a signature; the needed ones are five.
const MOST_COMPONENTS: usize = 32;

/// The one signature that a request announces.
pub(crate) struct Input<'a> {
    pub(crate) label: String,
    /// Components and parameters as they were sent: the last line of the signature's base.
    pub(crate) params: &'a str,
    pub(crate) components: Vec<String>,
    pub(crate) created: Option<i64>,
    pub(crate) expires: Option<i64>,
    pub(crate) nonce: Option<String>,
    pub(crate) key_id: Option<String>,
    pub(crate) algorithm: Option<String>,
}

impl<'a> Input<'a> {
    /// Reads the value of `Signature-Input`.
    pub(crate) fn read(value: &'a str) -> Result<Self, String> {
        let members = dictionary("Signature-Input", value)?;
        Self::of(members, value).map_err(|wrong| format!("`Signature-Input`: {wrong}"))
    }

    fn of(members: Dictionary, value: &'a str) -> Result<Self, &'static str> {
        const SEVERAL: &str = "send one signature, not several";
        let mut members = members.into_iter();
        let (label, member) = members.next().ok_or("there is no signature in it")?;
        if members.next().is_some() {
            return Err(SEVERAL);
        }
        let ListEntry::InnerList(list) = member else { return Err("list the signed components in brackets") };
        let (_, params) = value.trim_ascii().split_once('=').unwrap_or_default();
        // Of a label that is sent twice the dictionary has the last alone.
        if Parser::new(params).parse::<List>().map_or(0, |members| members.len()) != 1 {
            return Err(SEVERAL);
        }
        Ok(Self {
            label: label.into(),
            params,
            components: components(list.items)?,
            created: seconds(&list.params, "created")?,
            expires: seconds(&list.params, "expires")?,
            nonce: text(&list.params, "nonce")?,
            key_id: text(&list.params, "keyid")?,
            algorithm: text(&list.params, "alg")?,
        })
    }

    pub(crate) fn covers(&self, component: &str) -> bool {
        self.components.iter().any(|name| name == component)
    }
}

fn components(items: Vec<Item>) -> Result<Vec<String>, &'static str> {
    if items.len() > MOST_COMPONENTS {
        return Err("list at most 32 components");
    }
    let mut names: Vec<String> = Vec::with_capacity(items.len());
    for item in items {
        let BareItem::String(name) = item.bare_item else { return Err("names of components are strings in quotes") };
        if names.iter().any(|other| *other == name.as_str()) {
            return Err("a component may be listed once only");
        }
        if !item.params.is_empty() {
            return Err("parameters of components, such as `;sf` or `;req`, are not supported");
        }
        names.push(name.into());
    }
    Ok(names)
}

fn parameter<'p>(params: &'p Parameters, name: &'static str) -> Option<&'p BareItem> {
    params.get(KeyRef::constant(name))
}

fn seconds(params: &Parameters, name: &'static str) -> Result<Option<i64>, &'static str> {
    let Some(value) = parameter(params, name) else { return Ok(None) };
    let seconds = value.as_integer().ok_or("`created` and `expires` are whole Unix seconds")?;
    Ok(Some(seconds.into()))
}

fn text(params: &Parameters, name: &'static str) -> Result<Option<String>, &'static str> {
    let Some(value) = parameter(params, name) else { return Ok(None) };
    let text = value.as_string().ok_or("`nonce`, `keyid` and `alg` are strings in quotes")?;
    Ok(Some(text.as_str().to_owned()))
}

fn dictionary(name: &str, value: &str) -> Result<Dictionary, String> {
    Parser::new(value).parse().map_err(|error| format!("`{name}` cannot be read: {error}"))
}

/// Byte sequences by their keys, as in `Signature` and `Content-Digest`.
pub(crate) struct Bytes(Dictionary);

impl Bytes {
    pub(crate) fn read(name: &str, value: &str) -> Result<Self, String> {
        dictionary(name, value).map(Self)
    }

    /// The last of this key, as structured fields have it. What is no byte sequence is empty, which no digest and no
    /// signature is.
    pub(crate) fn get(&self, key: &str) -> Option<&[u8]> {
        match self.0.get(KeyRef::from_str(key).ok()?)? {
            ListEntry::Item(item) => Some(item.bare_item.as_byte_sequence().unwrap_or_default()),
            ListEntry::InnerList(_) => Some(&[]),
        }
    }

    /// The key, if there is one only.
    pub(crate) fn only_key(&self) -> Option<&str> {
        self.0.keys().next().filter(|_| self.0.len() == 1).map(|key| key.as_str())
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
        assert_eq!(input.key_id.unwrap(), "k\"");
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

//! The few members of an answer that are judged, without building the rest: answers come by the hundred thousand, and
//! what reading them costs is taken from the server beside us. Whatever is not plainly JSON is an error.

use memchr::{memchr, memchr2};

/// The text is no JSON object.
#[derive(Debug, PartialEq, Eq)]
pub struct BadJson;

/// The value of a member, as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value<'a>(&'a [u8]);

impl<'a> Value<'a> {
    /// A string without escapes: what is judged here never has any.
    pub fn text(self) -> Option<&'a str> {
        let inner = self.0.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
        if memchr(b'\\', inner).is_some() {
            return None;
        }
        std::str::from_utf8(inner).ok()
    }

    pub fn number(self) -> Option<u32> {
        std::str::from_utf8(self.0).ok()?.parse().ok()
    }

    pub fn truth(self) -> Option<bool> {
        match self.0 {
            b"true" => Some(true),
            b"false" => Some(false),
            _ => None,
        }
    }

    pub fn is_null(self) -> bool {
        self.0 == b"null"
    }
}

/// The members of the outermost object, in order: name and value.
pub struct Members<'a> {
    rest: &'a [u8],
    /// Nothing has been read yet.
    is_first: bool,
    is_over: bool,
}

pub fn members(object: &[u8]) -> Members<'_> {
    Members { rest: object, is_first: true, is_over: false }
}

/// Value of a member that is a string.
pub fn text<'a>(object: &'a [u8], name: &[u8]) -> Option<&'a str> {
    members(object).map_while(Result::ok).find(|(found, _)| *found == name)?.1.text()
}

impl<'a> Members<'a> {
    fn blank(&mut self) {
        self.rest = self.rest.trim_ascii_start();
    }

    fn byte(&mut self) -> Result<u8, BadJson> {
        self.blank();
        let (byte, rest) = self.rest.split_first().ok_or(BadJson)?;
        self.rest = rest;
        Ok(*byte)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], BadJson> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(BadJson)?;
        self.rest = rest;
        Ok(taken)
    }

    fn member(&mut self) -> Result<Option<(&'a [u8], Value<'a>)>, BadJson> {
        let opens = std::mem::take(&mut self.is_first);
        match (opens, self.byte()?) {
            (true, b'{') => {
                self.blank();
                if self.rest == b"}" {
                    return Ok(None);
                }
            }
            (false, b',') => (),
            (false, b'}') if self.rest.trim_ascii().is_empty() => return Ok(None),
            _ => return Err(BadJson),
        }
        self.blank();
        let length = string(self.rest)?;
        let name = self.take(length)?.get(1..length - 1).unwrap_or_default();
        if self.byte()? != b':' {
            return Err(BadJson);
        }
        self.blank();
        let length = value(self.rest)?;
        let value = Value(self.take(length)?);
        Ok(Some((name, value)))
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = Result<(&'a [u8], Value<'a>), BadJson>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let member = self.member().transpose();
        self.is_over = !matches!(member, Some(Ok(_)));
        member
    }
}

/// Length of the string at the begin, with its quotes.
fn string(text: &[u8]) -> Result<usize, BadJson> {
    if text.first() != Some(&b'"') {
        return Err(BadJson);
    }
    let mut at = 1;
    loop {
        at += memchr2(b'"', b'\\', text.get(at..).unwrap_or_default()).ok_or(BadJson)?;
        if text.get(at) == Some(&b'"') {
            return Ok(at + 1);
        }
        at += 2;
    }
}

/// Length of the value at the begin. What is inside of an inner object or array is passed over.
fn value(text: &[u8]) -> Result<usize, BadJson> {
    match text.first() {
        Some(b'"') => string(text),
        Some(b'{' | b'[') => {
            let mut at = 0;
            let mut depth = 0_u32;
            loop {
                match text.get(at).ok_or(BadJson)? {
                    b'"' => at += string(text.get(at..).unwrap_or_default())?,
                    byte => {
                        match byte {
                            b'{' | b'[' => depth += 1,
                            b'}' | b']' => depth -= 1,
                            _ => (),
                        }
                        at += 1;
                    }
                }
                if depth == 0 {
                    return Ok(at);
                }
            }
        }
        _ => {
            let end = text.iter().position(|byte| matches!(byte, b',' | b'}') || byte.is_ascii_whitespace());
            end.filter(|end| *end > 0).ok_or(BadJson)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &[u8] = r#" {"id" : "aut_1","amount":1980, "statement":{"id":"x}","due":["a\"]"]},"reason":null,
        "clerk":"お\"支\\","last":true} "#
        .as_bytes();

    #[test]
    fn the_outermost_members_come_in_order() {
        let all: Vec<_> = members(ANSWER).map(Result::unwrap).collect();
        let names: Vec<_> = all.iter().map(|(name, _)| std::str::from_utf8(name).unwrap()).collect();
        assert_eq!(names, ["id", "amount", "statement", "reason", "clerk", "last"]);
        let [id, amount, statement, reason, clerk, last] = all.try_into().unwrap();
        assert_eq!((id.1.text(), id.1.number(), id.1.truth()), (Some("aut_1"), None, None));
        assert_eq!((amount.1.number(), amount.1.text()), (Some(1_980), None));
        assert_eq!(statement.1, Value(br#"{"id":"x}","due":["a\"]"]}"#));
        assert!(reason.1.is_null() && !last.1.is_null());
        assert_eq!((clerk.1.text(), last.1.truth()), (None, Some(true)));
        assert_eq!((text(ANSWER, b"id"), text(ANSWER, b"due"), text(ANSWER, b"amount")), (Some("aut_1"), None, None));
    }

    #[test]
    fn it_reads_what_serde_reads() {
        let parsed: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(ANSWER).unwrap();
        for member in members(ANSWER) {
            let (name, value) = member.unwrap();
            let value: serde_json::Value = serde_json::from_slice(value.0).unwrap();
            assert_eq!(parsed.get(std::str::from_utf8(name).unwrap()), Some(&value));
        }
    }

    #[test]
    fn an_answer_cut_anywhere_is_an_error() {
        let end = ANSWER.trim_ascii_end().len();
        for cut in 0..end {
            assert!(members(&ANSWER[..cut]).any(|member| member.is_err()), "cut at {cut}");
        }
        for wrong in ["[]", "{\"a\":}", "{\"a\" 1}", "{a:1}", "{\"a\":1}}", "{\"a\":1} x", "{\"a\":1,}", "\"a\""] {
            assert!(members(wrong.as_bytes()).any(|member| member.is_err()), "{wrong}");
        }
        assert_eq!(members(b"{}").count(), 0);
    }
}

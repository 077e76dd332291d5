//! Element 48: a letter, then values with a two-digit tag and a two-digit length, such as `R90011`.

/// The customer confirmed that they really buy the same basket twice: `1`.
pub const CONFIRM_REPEAT: &[u8; 2] = b"90";
/// The network approved this itself while we were silent: `1`.
pub const STAND_IN: &[u8; 2] = b"91";
/// The terminal of the original, where it is not that of this message.
pub const ORIGINAL_TERMINAL: &[u8; 2] = b"92";

/// The values of a request. What is not in this form says nothing to us: networks send baskets here too.
#[derive(Clone, Copy, Debug, Default)]
pub struct Private<'a>(&'a [u8]);

impl<'a> Private<'a> {
    pub fn read(element: Option<&'a [u8]>) -> Self {
        let values = element.and_then(|bytes| bytes.strip_prefix(b"R")).unwrap_or_default();
        let mut rest = values;
        while !rest.is_empty() {
            let Some((_, _, after)) = first(rest) else { return Self::default() };
            rest = after;
        }
        Self(values)
    }

    pub fn get(self, tag: &[u8; 2]) -> Option<&'a [u8]> {
        let mut rest = self.0;
        while let Some((found, value, after)) = first(rest) {
            if found == tag {
                return Some(value);
            }
            rest = after;
        }
        None
    }

    pub fn is_set(self, tag: &[u8; 2]) -> bool {
        self.get(tag) == Some(b"1")
    }
}

/// The first tag, its value, and what is behind it.
fn first(values: &[u8]) -> Option<(&[u8; 2], &[u8], &[u8])> {
    let (tag, rest) = values.split_first_chunk::<2>()?;
    let ([tens @ b'0'..=b'9', ones @ b'0'..=b'9'], rest) = rest.split_first_chunk::<2>()? else { return None };
    let (value, rest) = rest.split_at_checked(usize::from((tens - b'0') * 10 + (ones - b'0')))?;
    Some((tag, value, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get<'a>(element: &'a str, tag: &[u8; 2]) -> Option<&'a [u8]> {
        Private::read(Some(element.as_bytes())).get(tag)
    }

    #[test]
    fn tagged_values_are_found() {
        assert_eq!(get("R90011", CONFIRM_REPEAT), Some(&b"1"[..]));
        assert_eq!(get("R9205T001790011", ORIGINAL_TERMINAL), Some(&b"T0017"[..]));
        assert!(Private::read(Some(b"R9205T001790011")).is_set(CONFIRM_REPEAT));
        assert!(!Private::read(Some(b"R90010")).is_set(CONFIRM_REPEAT));
        assert!(!Private::read(None).is_set(STAND_IN));
    }

    #[test]
    fn what_is_not_in_this_form_says_nothing() {
        for text in ["", "R", "R9", "R9001", "R90021", "Rxx1x", "90011", "milk 198 yen", "R9001190", "R90011910"] {
            assert_eq!(get(text, CONFIRM_REPEAT), None, "{text}");
        }
    }
}

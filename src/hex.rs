//! 32 bytes as 64 hexadecimal digits.

use std::fmt::Write;

use zeroize::Zeroizing;

/// Either case; `None` unless there are exactly 64 digits.
pub fn decode(text: &str) -> Option<Zeroizing<[u8; 32]>> {
    let mut bytes = Zeroizing::new([0; 32]);
    let pairs = text.as_bytes().chunks_exact(2);
    if text.len() != 64 {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(pairs) {
        let [high, low] = pair else { return None };
        let digit = |ascii: u8| char::from(ascii).to_digit(16);
        *byte = u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()?;
    }
    Some(bytes)
}

/// Lower case. The text is wiped when dropped, for it may be a secret.
pub fn encode(bytes: &[u8; 32]) -> Zeroizing<String> {
    // Its final size from the start: a growing string would leave copies behind.
    let mut text = Zeroizing::new(String::with_capacity(64));
    for byte in bytes {
        // Writing to a string can't fail.
        write!(text, "{byte:02x}").ok();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let bytes: [u8; 32] = std::array::from_fn(|at| u8::try_from(at * 8).unwrap());
        let text = encode(&bytes);
        assert_eq!(*decode(&text).unwrap(), bytes);
        assert_eq!(*decode(&text.to_uppercase()).unwrap(), bytes);
        for wrong in ["", "00", &text[1..], &text.replace('0', "g"), &"０".repeat(64)] {
            assert!(decode(wrong).is_none(), "{wrong}");
        }
    }
}

//! Bytes as hexadecimal digits; keys and hashes have 32 bytes.

use std::fmt::Write;

use zeroize::Zeroizing;

/// Either case; `None` unless there are exactly 64 digits.
pub fn decode(text: &str) -> Option<Zeroizing<[u8; 32]>> {
    let all = decode_any(text)?;
    let mut bytes = Zeroizing::new([0; 32]);
    if all.len() != bytes.len() {
        return None;
    }
    bytes.copy_from_slice(&all);
    Some(bytes)
}

/// Any number of bytes; `None` if anything but pairs of digits is there.
pub fn decode_any(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    // Its final size from the start: a growing list would leave copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len() / 2));
    for pair in text.as_bytes().chunks(2) {
        let [high, low] = pair else { return None };
        let digit = |ascii: u8| char::from(ascii).to_digit(16);
        bytes.push(u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()?);
    }
    Some(bytes)
}

/// Lower case. The text is wiped when dropped, for it may be a secret.
pub fn encode(bytes: &[u8]) -> Zeroizing<String> {
    // Its final size from the start: a growing string would leave copies behind.
    let mut text = Zeroizing::new(String::with_capacity(2 * bytes.len()));
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
        assert_eq!(*decode_any("0aFf").unwrap(), [10, 255]);
        assert!(decode_any("0aF").is_none() && decode_any("0x").is_none());
    }
}

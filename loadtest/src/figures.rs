//! How times and counts are shown.

/// A time in ms; what was never answered is infinite.
pub fn ms(value: Option<f64>) -> String {
    value.map_or_else(|| "∞".to_owned(), |ms| format!("{ms:.3}"))
}

/// A count with commas.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A figure to the nearest whole number, with commas. A negative one is zero.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast of a float saturates")]
pub fn whole(value: f64) -> String {
    count(value.round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_commas_and_infinity_its_sign() {
        assert_eq!((count(7), count(1_000), count(1_234_567)), ("7".into(), "1,000".into(), "1,234,567".into()));
        assert_eq!((ms(None), ms(Some(1.5))), ("∞".into(), "1.500".into()));
    }
}

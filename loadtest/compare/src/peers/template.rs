//! Requests as patterns: all of it is there, and a few digits are filled in.

use std::ops::Range;

use super::Ask;

/// Stand for one digit each, where they are written in a pattern; none of the protocols has so many of such bytes.
pub const CUSTOMER: char = '\u{1}';
pub const ORDER: char = '\u{2}';
pub const AMOUNT: char = '\u{3}';
pub const CODE: char = '\u{4}';

/// How many digits each has.
const CUSTOMER_DIGITS: usize = 6;
const ORDER_DIGITS: usize = 10;
const AMOUNT_DIGITS: usize = 4;
/// A barcode's.
const CODE_DIGITS: usize = 24;

/// A run of `hole`, as long as its digits.
pub fn hole(hole: char) -> String {
    let digits = match hole {
        CUSTOMER => CUSTOMER_DIGITS,
        ORDER => ORDER_DIGITS,
        AMOUNT => AMOUNT_DIGITS,
        _ => CODE_DIGITS,
    };
    hole.to_string().repeat(digits)
}

pub struct Template {
    pattern: Vec<u8>,
    customer: Range<usize>,
    order: Range<usize>,
    amount: Range<usize>,
    code: Range<usize>,
}

impl Template {
    pub fn new(pattern: Vec<u8>) -> Self {
        let find = |one: char| {
            // All of it: a bitmap may hold one such byte.
            let digits = hole(one);
            let start = pattern.windows(digits.len()).position(|place| place == digits.as_bytes());
            start.map_or(0..0, |start| start..start + digits.len())
        };
        let (customer, order, amount, code) = (find(CUSTOMER), find(ORDER), find(AMOUNT), find(CODE));
        Self { customer, order, amount, code, pattern }
    }

    /// Appends the pattern with its holes filled. A hole that is not there is passed over.
    pub fn write(&self, ask: &Ask, code: &str, out: &mut Vec<u8>) {
        let base = out.len();
        out.extend_from_slice(&self.pattern);
        let Some(out) = out.get_mut(base..) else { return };
        digits(out, &self.customer, u64::from(ask.customer));
        digits(out, &self.order, ask.order);
        digits(out, &self.amount, u64::from(ask.amount));
        if let Some(hole) = out.get_mut(self.code.clone()).filter(|hole| hole.len() == code.len()) {
            hole.copy_from_slice(code.as_bytes());
        }
    }
}

/// The last digits of `number`, with zeros before them.
fn digits(out: &mut [u8], hole: &Range<usize>, mut number: u64) {
    for place in out.get_mut(hole.clone()).unwrap_or_default().iter_mut().rev() {
        *place = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_filled_with_all_their_digits() {
        let pattern = format!("c{}o{}a{}k{}.", hole(CUSTOMER), hole(ORDER), hole(AMOUNT), hole(CODE));
        let template = Template::new(pattern.into_bytes());
        let ask = Ask { order: 1_234, customer: 999_999, amount: 1_980 };
        let mut out = b"before ".to_vec();
        template.write(&ask, "900012345678901234567890", &mut out);
        let expected = "before c999999o0000001234a1980k900012345678901234567890.";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn a_hole_that_is_not_there_is_passed_over() {
        let mut out = Vec::new();
        Template::new(b"ping".to_vec()).write(&Ask { order: 1, customer: 2, amount: 3 }, "", &mut out);
        assert_eq!(out, b"ping");
    }
}

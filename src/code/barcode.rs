//! The barcode: L24 (24 digits) and its Code 128 picture.

use std::fmt::Write;

use code128::Code128;

use super::body::{BODY_DIGITS, Body, decimal, digits_text};

/// Digits of an L24.
pub const L24_DIGITS: usize = 24;
/// White on each side, in modules, as Code 128 demands.
const QUIET_ZONE: u32 = 10;
/// Height of the picture in modules: 30 % of an L24's width, twice the least the standard asks, so
/// that a hand-held scanner may tilt.
const HEIGHT: u32 = 56;
/// The most digits drawn. Ours have 19 or 24.
const MAX_DIGITS: usize = 48;

/// The 24 digits: body and six digits of MAC.
pub(super) fn l24(body: &Body, mac: u64) -> String {
    let mac: [u8; L24_DIGITS - BODY_DIGITS] = decimal(mac);
    let mut text = digits_text(&body.ascii());
    text.push_str(&digits_text(&mac));
    text
}

/// An SVG of the digits in Code 128, quiet zones included, `width_px` wide and as high as follows.
/// `None` if the text is not digits. The digits themselves are not written into the picture.
///
/// Edges are sharpest if the width is a multiple of the modules (187 for 24 digits).
pub fn svg(digits: &str, width_px: u32) -> Option<String> {
    let is_drawable = (1..=MAX_DIGITS).contains(&digits.len());
    if !is_drawable || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let code = Code128::encode(digits.as_bytes());
    let mut path = String::new();
    let mut x = QUIET_ZONE;
    for bar in code.bars() {
        let width = bar.width;
        write!(path, "M{x} 0h{width}v{HEIGHT}h-{width}z").ok()?;
        x += u32::from(width) + u32::from(bar.space);
    }
    let modules = x + QUIET_ZONE;
    let height_px = u64::from(width_px) * u64::from(HEIGHT) / u64::from(modules);
    Some(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" width=\"{width_px}\" \
         height=\"{height_px}\" viewBox=\"0 0 {modules} {HEIGHT}\" shape-rendering=\"crispEdges\">\
         <title>お支払い用バーコード / Payment barcode</title>\
         <rect width=\"{modules}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\
         <path fill=\"#000\" d=\"{path}\"/></svg>"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const L24: &str = "900099991314159265005632";
    const TOK19: &str = "9000999913141592657";

    /// Widths of bars and spaces in turn, quiet zones left out.
    fn widths(text: &str) -> Vec<u8> {
        Code128::encode(text.as_bytes()).bars().flat_map(|bar| [bar.width, bar.space]).collect()
    }

    #[test]
    fn widths_in_modules_are_those_of_code_set_c() {
        for (digits, modules) in [(16, 123), (18, 134), (19, 156), (20, 145), (22, 156), (24, 167)] {
            let text = &L24[..digits];
            let total: u32 = widths(text).into_iter().map(u32::from).sum();
            assert_eq!(total, modules, "{digits} digits");
            let picture = svg(text, 374).unwrap();
            assert!(picture.contains(&format!("viewBox=\"0 0 {} 56\"", modules + 20)));
        }
    }

    #[test]
    fn published_check_symbols() {
        // Start C is 211232; a stop is 2331112; before it stands the check symbol.
        // Patterns 64 and 8 of the Code 128 table: 111422 and 132212.
        for (text, check) in [(L24, [1, 1, 1, 4, 2, 2]), (TOK19, [1, 3, 2, 2, 1, 2])] {
            let all = widths(text);
            assert_eq!(all[..6], [2, 1, 1, 2, 3, 2], "starts in set C");
            let tail = &all[all.len() - 14..];
            assert_eq!(tail[..6], check);
            assert_eq!(tail[6..], [2, 3, 3, 1, 1, 1, 2, 0]);
        }
    }

    #[test]
    fn pictures_do_not_spell_the_code_out() {
        let picture = svg(L24, 561).unwrap();
        assert!(picture.contains("role=\"img\"") && picture.contains("width=\"561\""));
        assert!(picture.contains("height=\"168\""));
        assert!(!picture.contains("900099"));
        assert!(picture.contains("M10 0h2v56h-2z"), "the quiet zone is 10 modules");
    }

    #[test]
    fn only_digits_are_drawn() {
        let long = "1".repeat(49);
        for text in ["", "12a4", "<svg>", "１２", &long] {
            assert_eq!(svg(text, 100), None);
        }
    }
}

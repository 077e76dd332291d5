//! Text and numbers appended to a request that is being written.

use std::fmt;
use std::io::Write;

/// Appends a number, without the machinery of formatting.
pub fn put_number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Appends formatted text.
pub fn put(out: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    // A vector takes everything.
    out.write_fmt(text).ok();
}

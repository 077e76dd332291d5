//! The outer depth.
pub fn run(_name: &str, _text: &str) {}

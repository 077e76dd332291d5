//! Where reports go: named files and the standard output.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::Serialize;

/// Writes what was found, if a file for it was named.
pub fn write_json(file: Option<&PathBuf>, found: &impl Serialize) -> Result<()> {
    write(file, &serde_json::to_string_pretty(found)?)
}

/// Writes a page, if a file for it was named.
pub fn write(file: Option<&PathBuf>, text: &str) -> Result<()> {
    let Some(file) = file else { return Ok(()) };
    std::fs::write(file, text).with_context(|| format!("write {}", file.display()))
}

pub fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    // A closed pipe is not worth a failure.
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).ok();
}

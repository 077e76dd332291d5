//! A file of merchants for `sokketsu cluster apply`: a line each, JSON as `PUT /v1/merchants/{merchant_id}` answers it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::domain::model::merchant::Merchant;
use crate::http::calls::merchants;

/// All of them, or the line that is wrong and what it must be.
pub fn read(file: &Path) -> Result<Vec<Merchant>, String> {
    let shown = file.display();
    let text = fs::read(file).map_err(|error| format!("--merchants: {shown} cannot be read: {error}"))?;
    let mut ids = BTreeSet::new();
    let mut read = Vec::new();
    for (number, line) in text.split(|byte| *byte == b'\n').enumerate() {
        if line.trim_ascii().is_empty() {
            continue;
        }
        let wrong = |why: &str| format!("--merchants: {shown}:{}: {why}", number + 1);
        let merchant = merchants::read(line).map_err(|problem| wrong(&problem.in_words()))?;
        if !ids.insert(merchant.id) {
            return Err(wrong(&format!("{} is there twice: leave one out", merchant.id)));
        }
        read.push(merchant);
    }
    Ok(read)
}

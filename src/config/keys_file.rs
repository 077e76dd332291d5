//! The file of signing keys: its format, how it is read, checked and written. Key bytes are never shown and stand in no
//! error text.

use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use zeroize::Zeroizing;

use super::problem::position;
use crate::code::{GenerationKeys, KeyState, Keyring, SecretKey};
use crate::domain::model::time::Millis;
use crate::files;
use crate::files::{Access, SecretError};
use crate::hex;

const HEADER: &str = "\
# Signing keys of Sokketsu: whoever reads this file can make codes. Keep it out of backups that others read.
# Written by `sokketsu keys`; `active` issues and verifies, `verify_only` verifies, `retired` has no keys any more.
";

/// Why the file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum KeysFileError {
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error("{}:{line}:{column}: not a file of signing keys: each [[generation]] has number, state, since, and unless \
             retired barcode and qr", .path.display())]
    Form { path: PathBuf, line: usize, column: usize },
    #[error("{}: {message}", .path.display())]
    Content { path: PathBuf, message: String },
}

/// A generation and the time of its last change.
pub struct Generation {
    pub keys: GenerationKeys,
    pub since: Millis,
}

pub struct KeysFile {
    pub generations: Vec<Generation>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    generation: Vec<RawGeneration>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawGeneration {
    number: u8,
    #[serde(with = "RawState")]
    state: KeyState,
    since: String,
    barcode: Option<Zeroizing<String>>,
    qr: Option<Zeroizing<String>>,
}

#[derive(Deserialize)]
#[serde(remote = "KeyState", rename_all = "snake_case")]
enum RawState {
    Active,
    VerifyOnly,
    Retired,
}

const fn state_name(state: KeyState) -> &'static str {
    match state {
        KeyState::Active => "active",
        KeyState::VerifyOnly => "verify_only",
        KeyState::Retired => "retired",
    }
}

/// The signing keys of a service.
pub fn read_keyring(path: &Path) -> Result<Keyring, KeysFileError> {
    let keys = read_generations(path)?.into_iter().map(|generation| generation.keys);
    let content = |message: String| KeysFileError::Content { path: path.to_owned(), message };
    Keyring::new(keys).map_err(|error| content(error.to_string()))
}

fn read_generations(path: &Path) -> Result<Vec<Generation>, KeysFileError> {
    let text = files::read_secret(path, Access::Owner)?;
    let raw: RawFile = toml::from_str(&text).map_err(|error| {
        // The error's own text may show what was written there: a key.
        let (line, column) = position(&text, error.span().map_or(0, |span| span.start));
        KeysFileError::Form { path: path.to_owned(), line, column }
    })?;
    raw.generation.into_iter().map(|raw| generation(raw, path)).collect()
}

fn generation(raw: RawGeneration, path: &Path) -> Result<Generation, KeysFileError> {
    let number = raw.number;
    let wrong = |key: &str, what: &str| KeysFileError::Content {
        path: path.to_owned(),
        message: format!("generation {number}: `{key}` must be {what}"),
    };
    let secret = |key: &str, text: Option<Zeroizing<String>>| -> Result<SecretKey, KeysFileError> {
        text.and_then(|text| hex::decode(&text)).ok_or_else(|| wrong(key, "64 hexadecimal digits"))
    };
    let since = Millis::parse(&raw.since).ok_or_else(|| wrong("since", "a time"))?;
    let keys = match raw.state {
        KeyState::Retired => GenerationKeys::retired(number),
        state => GenerationKeys::new(number, state, secret("barcode", raw.barcode)?, secret("qr", raw.qr)?),
    };
    Ok(Generation { keys, since })
}

impl KeysFile {
    /// For a change. What gives no keyring as it stands is refused, so that no change makes a broken file worse.
    pub fn read(path: &Path) -> Result<Self, KeysFileError> {
        read_keyring(path)?;
        Ok(Self { generations: read_generations(path)? })
    }

    /// A file that is there already is left alone.
    pub fn create(&self, path: &Path) -> io::Result<()> {
        files::create(path, self.text().as_bytes())
    }

    pub fn replace(&self, path: &Path) -> io::Result<()> {
        files::replace(path, self.text().as_bytes())
    }

    fn text(&self) -> Zeroizing<String> {
        // Its final size from the start: a growing string would leave copies of keys behind.
        let mut text = Zeroizing::new(String::with_capacity(HEADER.len() + 256 * self.generations.len()));
        text.push_str(HEADER);
        for Generation { keys, since } in &self.generations {
            let state = state_name(keys.state);
            let number = keys.generation;
            text.push_str(&format!("\n[[generation]]\nnumber = {number}\nstate = \"{state}\"\nsince = \"{since}\"\n"));
            if keys.state != KeyState::Retired {
                for (name, key) in [("barcode", &keys.barcode), ("qr", &keys.qr)] {
                    for part in [name, " = \"", &hex::encode(key.as_slice()), "\"\n"] {
                        text.push_str(part);
                    }
                }
            }
        }
        text
    }

    pub fn get(&mut self, number: u8) -> Option<&mut Generation> {
        self.generations.iter_mut().find(|generation| generation.keys.generation == number)
    }

    pub fn state(&self, number: u8) -> Option<KeyState> {
        let mut states = self.generations.iter().map(|generation| &generation.keys);
        states.find(|keys| keys.generation == number).map(|keys| keys.state)
    }
}

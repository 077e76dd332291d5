//! What is wrong with a configuration, and where it was written.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use toml::de::{DeTable, DeValue};

/// Everything that could be found wrong at once.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ConfigError {
    pub problems: Vec<Problem>,
}

impl ConfigError {
    /// `EX_CONFIG` of sysexits.
    pub fn exit_code(&self) -> u8 {
        78
    }

    /// One problem for each key: a key that could not be read is not also missing.
    pub(super) fn add(&mut self, place: Place, key: &str, message: impl Into<String>) {
        let is_known = |other: &Problem| !other.key.is_empty() && is_at_or_below(key, &other.key);
        if !self.problems.iter().any(is_known) {
            self.problems.push(Problem { place, key: key.to_owned(), message: message.into() });
        }
    }

    /// In the order of the file, then the rest.
    pub(super) fn sorted(mut self) -> Self {
        self.problems.sort_by_key(|problem| match &problem.place {
            Place::Line { line, column, .. } => (0, *line, *column),
            Place::File(_) | Place::Nowhere => (1, 0, 0),
            Place::Variable(_) => (2, 0, 0),
            Place::Flag(_) => (3, 0, 0),
        });
        self
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.problems.iter().map(Problem::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for ConfigError {}

/// One thing to put right. Never holds a value that may be a secret.
#[derive(Debug, PartialEq, Eq)]
pub struct Problem {
    pub place: Place,
    /// The key, like `server.http` or `key[0].hash` (the first is 0); empty if none is to blame.
    pub key: String,
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        if !self.key.is_empty() {
            write!(f, "`{}`: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    Line {
        file: PathBuf,
        line: usize,
        column: usize,
    },
    /// Not in the file, but it belongs there.
    File(PathBuf),
    /// An environment variable.
    Variable(String),
    Flag(&'static str),
    /// There is no file.
    Nowhere,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line { file, line, column } => write!(f, "{}:{line}:{column}", file.display()),
            Self::File(file) => write!(f, "{}", file.display()),
            Self::Variable(name) => write!(f, "environment {name}"),
            Self::Flag(name) => f.write_str(name),
            Self::Nowhere => f.write_str("configuration"),
        }
    }
}

/// Where each key was written: the last writer wins.
#[derive(Debug)]
pub struct Places {
    file: Option<PathBuf>,
    written: BTreeMap<String, Place>,
}

impl Places {
    pub fn new(file: Option<PathBuf>) -> Self {
        Self { file, written: BTreeMap::new() }
    }

    /// Reads a TOML text, notes where its keys are, and lists what is wrong with its syntax.
    pub fn read(&mut self, text: &str) -> Vec<Problem> {
        let (table, errors) = DeTable::parse_recoverable(text);
        self.note_table("", table.get_ref(), text);
        let problem = |error: &toml::de::Error| Problem {
            place: self.at(text, error.span().map_or(0, |span| span.start)),
            key: String::new(),
            message: error.message().replace('\n', ", "),
        };
        errors.iter().map(problem).collect()
    }

    fn note_table(&mut self, path: &str, table: &DeTable<'_>, text: &str) {
        for (key, value) in table {
            let path = join(path, key.get_ref());
            self.written.insert(path.clone(), self.at(text, key.span().start));
            self.note_value(&path, value.get_ref(), text);
        }
    }

    fn note_value(&mut self, path: &str, value: &DeValue<'_>, text: &str) {
        match value {
            DeValue::Table(table) => self.note_table(path, table, text),
            DeValue::Array(items) => {
                for (at, item) in items.iter().enumerate() {
                    let path = format!("{path}[{at}]");
                    self.written.insert(path.clone(), self.at(text, item.span().start));
                    self.note_value(&path, item.get_ref(), text);
                }
            }
            _ => {}
        }
    }

    /// The variable has written this key and all below it.
    pub fn note_variable(&mut self, path: &str, name: &str) {
        self.written.retain(|other, _| !is_at_or_below(other, path));
        self.written.insert(path.to_owned(), Place::Variable(name.to_owned()));
    }

    pub fn note_flag(&mut self, path: &str, name: &'static str) {
        self.written.insert(path.to_owned(), Place::Flag(name));
    }

    /// Where the key was written, or else the nearest thing around it.
    pub fn of(&self, path: &str) -> Place {
        let mut at = path;
        while !at.is_empty() {
            // A section that only variables speak of is where the first of them is.
            let below = || self.written.iter().find(|(key, _)| is_at_or_below(key, at)).map(|(_, place)| place);
            if let Some(place) = self.written.get(at).or_else(below) {
                return place.clone();
            }
            at = parent(at);
        }
        self.file.clone().map_or(Place::Nowhere, Place::File)
    }

    /// The place of a byte of `text`.
    pub fn at(&self, text: &str, byte: usize) -> Place {
        let (line, column) = position(text, byte);
        let line = |file: &PathBuf| Place::Line { file: file.clone(), line, column };
        self.file.as_ref().map_or(Place::Nowhere, line)
    }
}

/// `a.b` in `a`, `a[1]` at place 1 of `a`.
pub fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// What a key or an item of a list is in; empty at the top.
pub fn parent(path: &str) -> &str {
    path.rfind(['.', '[']).and_then(|end| path.get(..end)).unwrap_or_default()
}

/// A key without what it is in.
pub fn name(path: &str) -> &str {
    path.strip_prefix(parent(path)).unwrap_or_default().trim_start_matches('.')
}

/// Whether `path` is `above` or inside it.
pub fn is_at_or_below(path: &str, above: &str) -> bool {
    path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// Line and column of a byte, both from 1; columns are characters.
pub fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1;
    (line, column)
}

//! The file with the environment laid over it, read key by key. Each key is read where it is checked; what nobody asked
//! for is an unknown key.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;
use toml::{Table, Value};

use super::problem::{ConfigError, Place, Places, is_at_or_below, join, name, parent};
use super::values::any_of;

/// `SOKKETSU_SERVER__HTTP` is `server.http`; `SOKKETSU_KEY__0__HASH` is the hash of the first `[[key]]`.
const ENVIRONMENT_PREFIX: &str = "SOKKETSU_";
/// The log's filter: needed before there is a configuration, so not a part of it.
const LOG_FILTER: &str = "SOKKETSU_LOG";

/// The merged tree and what is known about it.
pub struct Source {
    /// What has been read is taken out.
    tree: Value,
    pub places: Places,
    pub found: ConfigError,
    /// Values of variables that are still text: whether they are meant as text or as TOML, the key's type decides.
    texts: BTreeMap<String, String>,
    /// All keys that were asked for.
    known: BTreeSet<String>,
}

impl Source {
    /// Reads the file's text. With a syntax error nothing else is said: the rest would be guesswork.
    pub fn new(mut places: Places, text: &str) -> Self {
        let found = ConfigError { problems: places.read(text) };
        let tree = Value::Table(toml::from_str(text).unwrap_or_default());
        Self { tree, places, found, texts: BTreeMap::new(), known: BTreeSet::new() }
    }

    /// Lays the environment over the file.
    pub fn overlay(&mut self, environment: Vec<(OsString, OsString)>) {
        let ours = |(name, value): (OsString, OsString)| {
            let name = name.into_string().ok()?;
            (name.starts_with(ENVIRONMENT_PREFIX) && name != LOG_FILTER).then_some((name, value))
        };
        let mut variables: Vec<_> = environment.into_iter().filter_map(ours).collect();
        // Shallow before deep, and items of a list in their order.
        variables.sort_by_cached_key(|(name, _)| {
            let steps: Vec<_> = name.split("__").map(|step| format!("{step:0>6}")).collect();
            (steps.len(), steps)
        });
        for (variable, value) in variables {
            let text = value.into_string().map_err(|_| "is not UTF-8".to_owned());
            if let Err(problem) = text.and_then(|text| self.set(&variable, text)) {
                self.found.add(Place::Variable(variable), "", problem);
            }
        }
    }

    fn set(&mut self, variable: &str, text: String) -> Result<(), String> {
        let key = variable.strip_prefix(ENVIRONMENT_PREFIX).unwrap_or_default().to_ascii_lowercase();
        let steps: Vec<&str> = key.split("__").collect();
        if steps.contains(&"") {
            return Err(format!("names no key: {ENVIRONMENT_PREFIX}SECTION__KEY is expected"));
        }
        let mut path = String::new();
        let mut at = &mut self.tree;
        for (depth, step) in steps.iter().enumerate() {
            // What holds the next step: a list if that is its first place, else a table.
            let next_is_first = steps.get(depth + 1) == Some(&"0");
            let empty = if next_is_first { Value::Array(Vec::new()) } else { Value::Table(Table::new()) };
            at = slot(at, step, &mut path, empty)?;
        }
        *at = Value::String(text.clone());
        self.places.note_variable(&path, variable);
        self.texts.retain(|other, _| !is_at_or_below(other, &path));
        self.texts.insert(path, text);
        Ok(())
    }

    /// The value of a key if it is written. What can't be read as what is wanted is noted, and is as if it was not there.
    pub fn read<T: DeserializeOwned>(&mut self, key: &str) -> Option<T> {
        self.known.insert(key.to_owned());
        let value = find(&mut self.tree, parent(key))?.as_table_mut()?.remove(name(key))?;
        self.as_wanted(key, value)
    }

    fn as_wanted<T: DeserializeOwned>(&mut self, key: &str, value: Value) -> Option<T> {
        let Some(text) = self.texts.remove(key) else { return self.typed(key, value) };
        if let Ok(read) = T::deserialize(value.clone()) {
            return Some(read);
        }
        // Text of a variable may be meant as a number, a list or a table.
        let parsed = toml::de::ValueDeserializer::parse(&text).and_then(Value::deserialize);
        self.typed(key, parsed.ok().filter(|meant| !meant.is_str()).unwrap_or(value))
    }

    fn typed<T: DeserializeOwned>(&mut self, key: &str, value: Value) -> Option<T> {
        let error = match serde_path_to_error::deserialize(value) {
            Ok(typed) => return Some(typed),
            Err(error) => error,
        };
        let mut path = key.to_owned();
        for segment in error.path() {
            match segment {
                Segment::Map { key } => path = join(&path, key),
                Segment::Seq { index } => path = format!("{path}[{index}]"),
                Segment::Enum { .. } | Segment::Unknown => break,
            }
        }
        self.found.add(self.places.of(&path), &path, error.inner().message().replace('\n', ", "));
        None
    }

    /// Call it before the keys of a section are read; whether the section is written.
    pub fn section(&mut self, key: &str) -> bool {
        let table: Option<Table> = self.read(key);
        let is_there = table.is_some();
        self.put(key, Value::Table(table.unwrap_or_default()));
        is_there
    }

    /// Call it before the keys of a list of sections are read; how many there are.
    pub fn sections(&mut self, key: &str) -> usize {
        let items: Vec<Value> = self.read(key).unwrap_or_default();
        // A wrong item leaves its place to an empty one: the others must not move.
        let table = |(at, item)| Value::Table(self.as_wanted(&format!("{key}[{at}]"), item).unwrap_or_default());
        let tables: Vec<Value> = items.into_iter().enumerate().map(table).collect();
        let count = tables.len();
        self.put(key, Value::Array(tables));
        count
    }

    fn put(&mut self, key: &str, value: Value) {
        if let Some(table) = find(&mut self.tree, parent(key)).and_then(Value::as_table_mut) {
            table.insert(name(key).to_owned(), value);
        }
    }

    /// Notes what nobody asked for, once all that there may be was read.
    pub fn note_unknown(&mut self) {
        let mut left = Vec::new();
        self.left_in("", &self.tree, &mut left);
        for path in left {
            let beside = self.known.iter().filter(|key| parent(key) == parent(&path) && !key.ends_with(']'));
            let names = any_of(beside.map(|key| name(key)));
            let message = format!("unknown field `{}`, expected {names}", name(&path));
            self.found.add(self.places.of(&path), &path, message);
        }
    }

    fn left_in(&self, path: &str, value: &Value, left: &mut Vec<String>) {
        match value {
            Value::Table(table) if path.is_empty() || path.ends_with(']') || self.known.contains(path) => {
                table.iter().for_each(|(key, value)| self.left_in(&join(path, key), value, left));
            }
            Value::Array(items) if self.known.contains(path) => {
                let items = items.iter().enumerate();
                items.for_each(|(at, item)| self.left_in(&format!("{path}[{at}]"), item, left));
            }
            _ => left.push(path.to_owned()),
        }
    }
}

/// What is at this path; all of it at the empty one.
fn find<'a>(tree: &'a mut Value, path: &str) -> Option<&'a mut Value> {
    let mut at = tree;
    for step in path.split(['.', '[']).filter(|step| !step.is_empty()) {
        at = match at {
            Value::Table(table) => table.get_mut(step)?,
            Value::Array(items) => items.get_mut(step.trim_end_matches(']').parse::<usize>().ok()?)?,
            _ => return None,
        };
    }
    Some(at)
}

/// The place of one step, made if it is not there; `path` becomes its name.
fn slot<'a>(at: &'a mut Value, step: &str, path: &mut String, empty: Value) -> Result<&'a mut Value, String> {
    match at {
        Value::Table(table) => {
            *path = join(path, step);
            Ok(table.entry(step.to_owned()).or_insert(empty))
        }
        Value::Array(items) => {
            let entries = items.len();
            let none = || format!("`{path}` has {entries} entries, and `{step}` is not the number of one or the next");
            let place = step.parse::<usize>().ok().filter(|place| *place <= entries).ok_or_else(none)?;
            if place == entries {
                items.push(empty);
            }
            *path = format!("{path}[{place}]");
            items.get_mut(place).ok_or_else(|| format!("`{path}` is not there"))
        }
        _ => Err(format!("`{path}` is a value, not a section")),
    }
}

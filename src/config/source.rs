//! From a file and the environment to a [`RawConfig`], with every key that can't be read.
//!
//! Serde stops at the first error. So that one look shows all of them, a value that can't be read is noted, taken
//! out, and the rest is read again; nothing is required at this step, so taking out never adds a problem.

use std::collections::BTreeMap;
use std::ffi::OsString;

use serde::Deserialize;
use serde_path_to_error::Segment;
use toml::{Table, Value};

use super::problem::{Place, Places, Problems, is_at_or_below, join};
use super::raw::RawConfig;

/// `SOKKETSU_SERVER__HTTP` is `server.http`; `SOKKETSU_KEY__0__HASH` is the hash of the first `[[key]]`.
pub const ENVIRONMENT_PREFIX: &str = "SOKKETSU_";
/// The log's filter: needed before there is a configuration, so not a part of it.
const LOG_FILTER: &str = "SOKKETSU_LOG";

/// The merged tree and what is known about it.
pub struct Source {
    tree: Table,
    pub places: Places,
    pub problems: Problems,
    /// Values of variables that are still text: whether they are meant as text or as TOML, the target decides.
    texts: BTreeMap<String, String>,
}

impl Source {
    /// Reads the file's text. With a syntax error nothing else is said: the rest would be guesswork.
    pub fn new(mut places: Places, text: &str) -> Self {
        let problems = Problems::from(places.read(text));
        let tree = toml::from_str(text).unwrap_or_default();
        Self { tree, places, problems, texts: BTreeMap::new() }
    }

    /// Lays the environment over the file.
    pub fn overlay(&mut self, environment: impl IntoIterator<Item = (OsString, OsString)>) {
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
        for (name, value) in variables {
            let outcome = match value.into_string() {
                Ok(text) => self.set(&name, text),
                Err(_) => Err("is not UTF-8".to_owned()),
            };
            if let Err(problem) = outcome {
                self.problems.add(Place::Variable(name), "", problem);
            }
        }
    }

    fn set(&mut self, name: &str, text: String) -> Result<(), String> {
        let key = name.strip_prefix(ENVIRONMENT_PREFIX).unwrap_or_default().to_ascii_lowercase();
        let steps: Vec<&str> = key.split("__").collect();
        if steps.contains(&"") {
            return Err(format!("names no key: {ENVIRONMENT_PREFIX}SECTION__KEY is expected"));
        }
        let mut path = String::new();
        *place(&mut self.tree, &steps, &mut path)? = Value::String(text.clone());
        self.places.note_variable(&path, name);
        self.texts.retain(|other, _| !is_at_or_below(other, &path));
        self.texts.insert(path, text);
        Ok(())
    }

    /// Reads the tree; what can't be read is noted and left out.
    pub fn read(&mut self) -> RawConfig {
        loop {
            let tree = Value::Table(self.tree.clone());
            let error = match serde_path_to_error::deserialize::<_, RawConfig>(tree) {
                Ok(raw) => return raw,
                Err(error) => error,
            };
            let segments: Vec<&Segment> = error.path().iter().collect();
            let (path, steps) = self.resolve(&segments);
            if self.retry_as_toml(&path) {
                continue;
            }
            let message = error.inner().message().replace('\n', ", ");
            self.problems.add(self.places.of(&path), &path, message);
            if !self.take_out(&steps) {
                return RawConfig::default();
            }
        }
    }

    /// The path as far as the tree has it, as text and as steps.
    fn resolve<'a>(&self, segments: &[&'a Segment]) -> (String, Vec<&'a Segment>) {
        let (mut path, mut steps) = (String::new(), Vec::new());
        let mut at: Option<&Value> = None;
        for segment in segments {
            let next = match (segment, at) {
                (Segment::Map { key }, None) => self.tree.get(key),
                (Segment::Map { key }, Some(Value::Table(table))) => table.get(key),
                (Segment::Seq { index }, Some(Value::Array(items))) => items.get(*index),
                _ => None,
            };
            let Some(next) = next else { break };
            match segment {
                Segment::Map { key } => path = join(&path, key),
                Segment::Seq { index } => path = format!("{path}[{index}]"),
                _ => {}
            }
            steps.push(*segment);
            at = Some(next);
        }
        (path, steps)
    }

    /// Text of a variable that is not what the key wants may be meant as a number, a list or a table.
    fn retry_as_toml(&mut self, path: &str) -> bool {
        let Some((key, text)) = self.texts.remove_entry(path) else { return false };
        let parsed = toml::de::ValueDeserializer::parse(&text).and_then(Value::deserialize);
        match parsed {
            Ok(value) if !value.is_str() => self.put(&key, value),
            _ => false,
        }
    }

    fn put(&mut self, path: &str, value: Value) -> bool {
        let steps = path.replace('[', ".").replace(']', "");
        let mut steps = steps.split('.');
        let mut at = steps.next().and_then(|first| self.tree.get_mut(first));
        for step in steps {
            at = match at {
                Some(Value::Table(table)) => table.get_mut(step),
                Some(Value::Array(items)) => step.parse::<usize>().ok().and_then(|place| items.get_mut(place)),
                _ => None,
            };
        }
        at.map(|slot| *slot = value).is_some()
    }

    /// Takes a value out so that the rest can be read. Places in lists must not move: of a list of values all go,
    /// and a wrong table in a list becomes an empty one.
    fn take_out(&mut self, steps: &[&Segment]) -> bool {
        let Some((Segment::Map { key }, rest)) = steps.split_first() else { return false };
        let Some(mut at) = self.tree.get_mut(key) else { return false };
        let mut steps = rest;
        loop {
            match (steps, at) {
                ([Segment::Seq { index }], Value::Array(items)) if rest.len() == 1 => {
                    let item = items.get_mut(*index).filter(|item| !is_empty(item));
                    // An empty table is no progress: it is the list itself that is out of place.
                    let Some(item) = item else { break };
                    *item = Value::Table(Table::new());
                    return true;
                }
                ([Segment::Map { key }] | [Segment::Map { key }, Segment::Seq { .. }], Value::Table(table)) => {
                    return table.remove(key).is_some();
                }
                ([Segment::Map { key }, deeper @ ..], Value::Table(table)) if table.contains_key(key) => {
                    let Some(next) = table.get_mut(key) else { return false };
                    (at, steps) = (next, deeper);
                }
                ([Segment::Seq { index }, deeper @ ..], Value::Array(items)) => {
                    let Some(next) = items.get_mut(*index) else { return false };
                    (at, steps) = (next, deeper);
                }
                _ => break,
            }
        }
        self.tree.remove(key).is_some()
    }
}

fn is_empty(value: &Value) -> bool {
    value.as_table().is_some_and(Table::is_empty)
}

/// The place that the steps lead to, made if it is not there; `path` becomes its name.
fn place<'a>(tree: &'a mut Table, steps: &[&str], path: &mut String) -> Result<&'a mut Value, String> {
    let Some((first, rest)) = steps.split_first() else { return Err("names no key".to_owned()) };
    *path = (*first).to_owned();
    let mut at = tree.entry(*first).or_insert_with(|| empty(rest));
    for (depth, step) in rest.iter().enumerate() {
        let below = rest.get(depth + 1..).unwrap_or_default();
        at = slot(at, step, path, empty(below))?;
    }
    Ok(at)
}

/// What holds the next step: a list if it is its first place, else a table.
fn empty(next: &[&str]) -> Value {
    if next.first() == Some(&"0") { Value::Array(Vec::new()) } else { Value::Table(Table::new()) }
}

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

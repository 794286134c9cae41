//! Takes typed values out of a TOML table and gathers every fault on the way, so that an operator mends all of them at
//! once instead of one per restart.

use std::fmt;

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::keys::Key;

/// One fault: where it is and what is wrong there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Path of the key, such as `gateway.listen`.
    pub path: String,
    /// A sentence for the operator.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// The faults found so far.
#[derive(Debug, Default)]
pub struct Problems(Vec<Problem>);

impl Problems {
    pub(super) fn add(&mut self, path: &str, message: impl Into<String>) {
        self.0.push(Problem { path: path.to_owned(), message: message.into() });
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// All faults, in the order in which they were found.
    pub fn into_vec(self) -> Vec<Problem> {
        self.0
    }
}

/// Reads the settings of `known` out of one table; whatever else the table holds is a fault.
pub(super) struct Reader<'a> {
    table: Table,
    known: &'a [Key],
    prefix: String,
    pub(super) problems: &'a mut Problems,
}

impl<'a> Reader<'a> {
    pub(super) fn new(table: Table, known: &'a [Key], prefix: &str, problems: &'a mut Problems) -> Self {
        let mut reader = Self { table, known, prefix: prefix.to_owned(), problems };
        reader.refuse_unknown();
        reader
    }

    /// The value of `path`, or its default. `None` if it is absent and has no default, or is wrong (then a fault was noted).
    pub(super) fn take<T: DeserializeOwned>(&mut self, path: &str) -> Option<T> {
        let found = lookup(&self.table, path).cloned();
        let value = match found {
            Some(value) => value,
            None => scalar(self.known.iter().find(|key| key.path == path)?.default?)?,
        };
        match convert(value) {
            Ok(value) => Some(value),
            Err(message) => {
                self.fault(path, message);
                None
            }
        }
    }

    /// Like `take`, with a rule that the value must pass.
    pub(super) fn parse<T: DeserializeOwned, U>(
        &mut self,
        path: &str,
        parse: impl FnOnce(T) -> Result<U, String>,
    ) -> Option<U> {
        let value = self.take(path)?;
        match parse(value) {
            Ok(value) => Some(value),
            Err(message) => {
                self.fault(path, message);
                None
            }
        }
    }

    /// A whole number between `least` and `most`.
    pub(super) fn number(&mut self, path: &str, least: u64, most: u64) -> Option<u64> {
        self.parse(path, |value: i64| match u64::try_from(value) {
            Ok(value) if (least..=most).contains(&value) => Ok(value),
            _ => Err(format!("{value} is out of bounds; it must be from {least} to {most}")),
        })
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(&mut self, path: &str, words: &[(&str, T)]) -> Option<T> {
        self.parse(path, |value: String| {
            words.iter().find(|(word, _)| *word == value).map(|(_, meaning)| *meaning).ok_or_else(|| {
                let offered: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
                format!("`{value}` is not one of: {}", offered.join(", "))
            })
        })
    }

    pub(super) fn fault(&mut self, path: &str, message: impl Into<String>) {
        self.problems.add(&format!("{}{path}", self.prefix), message);
    }

    fn refuse_unknown(&mut self) {
        for path in leaves(&self.table) {
            if !self.known.iter().any(|key| key.path == path) {
                let message = match closest(&path, self.known) {
                    Some(near) => format!("unknown setting; did you mean `{near}`?"),
                    None => "unknown setting".to_owned(),
                };
                self.fault(&path, message);
            }
        }
    }
}

fn lookup<'t>(table: &'t Table, path: &str) -> Option<&'t Value> {
    match path.split_once('.') {
        Some((section, name)) => table.get(section)?.as_table()?.get(name),
        None => table.get(path),
    }
}

fn leaves(table: &Table) -> Vec<String> {
    let mut paths = Vec::new();
    for (name, value) in table {
        match value {
            Value::Table(section) => paths.extend(section.keys().map(|key| format!("{name}.{key}"))),
            _ => paths.push(name.clone()),
        }
    }
    paths
}

/// Environment and flags bring text where the setting wants a number or a truth value.
fn convert<T: DeserializeOwned>(value: Value) -> Result<T, String> {
    let text = value.as_str().map(str::to_owned);
    value.try_into::<T>().or_else(|error| {
        text.and_then(|text| scalar(&text))
            .and_then(|value| value.try_into().ok())
            .ok_or_else(|| error.message().to_owned())
    })
}

fn scalar(text: &str) -> Option<Value> {
    toml::from_str::<Table>(&format!("value = {text}")).ok()?.remove("value")
}

/// The known key that an unknown one was most likely meant to be: the same name in another section, or nearly the same text.
fn closest<'k>(path: &str, known: &'k [Key]) -> Option<&'k str> {
    let name = path.rsplit('.').next()?;
    let same_name = known.iter().find(|key| key.path.rsplit('.').next() == Some(name));
    let alike = || known.iter().find(|key| strsim::damerau_levenshtein(key.path, path) <= 3);
    same_name.or_else(alike).map(|key| key.path)
}

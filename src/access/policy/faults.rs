//! What is wrong with a policy: all of it at once, each with its file and line.

use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};

/// Faults kept for the report; a file of a million bad rows must not fill memory or a terminal.
const KEPT: usize = 100;

/// Where something stands in the policy directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The file's name, without its directory.
    pub file: Arc<str>,
    /// The line, from 1; 0 when the whole file is meant.
    pub line: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 { f.write_str(&self.file) } else { write!(f, "{}:{}", self.file, self.line) }
    }
}

impl Serialize for Place {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Where.
    pub place: Place,
    /// What, and how it should be.
    pub what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

/// Everything that is wrong with a policy; a policy with a fault is not used at all.
#[derive(Debug, Clone, Default, PartialEq, Eq, thiserror::Error)]
pub struct PolicyFaults {
    faults: Vec<Fault>,
    beyond: usize,
}

impl PolicyFaults {
    pub(super) fn add(&mut self, place: Place, what: impl Into<String>) {
        if self.faults.len() < KEPT {
            self.faults.push(Fault { place, what: what.into() });
        } else {
            self.beyond += 1;
        }
    }

    pub(super) fn about(&mut self, file: &str, what: impl Into<String>) {
        self.add(Place { file: file.into(), line: 0 }, what);
    }

    /// The faults, in the order in which files and lines were read; at most 100.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// How many there were, those beyond the first 100 included.
    pub fn count(&self) -> usize {
        self.faults.len() + self.beyond
    }

    /// What to do next.
    pub fn hint(&self) -> &'static str {
        "correct the lines named; until then the gateway keeps the policy it has, and without one it doesn't start"
    }

    pub(super) fn none_or<T>(self, value: T) -> Result<T, Self> {
        if self.faults.is_empty() { Ok(value) } else { Err(self) }
    }
}

impl fmt::Display for PolicyFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.count();
        write!(f, "the policy has {count} fault{}", if count == 1 { "" } else { "s" })?;
        for fault in &self.faults {
            write!(f, "\n  {fault}")?;
        }
        if self.beyond > 0 {
            write!(f, "\n  and {} more", self.beyond)?;
        }
        Ok(())
    }
}

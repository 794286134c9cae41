//! Legal holds: what must stay whatever its age, because somebody asked for it.
//!
//! A hold is placed and lifted by records, so the ledger itself tells which holds there are, since when, and
//! who placed them (personal values, so as commitments). A hold that cannot be understood holds everything.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use crate::kind::Kind;
use crate::record::{Draft, Outcome, Record, Seq};
use crate::selection::Selection;

/// The longest name of a hold, in bytes.
const MAX_NAME_BYTES: usize = 64;

/// A legal hold that was not lifted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// What it is called, such as a case number.
    pub name: String,
    /// What it holds.
    pub selection: Selection,
    /// When it was placed.
    pub since: Timestamp,
    /// The record that placed it.
    pub placed: Seq,
}

/// The holds of a ledger: a fold over its records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holds(BTreeMap<String, Hold>);

impl Holds {
    /// Folds one record in; records of other kinds change nothing.
    pub fn apply(&mut self, record: &Record) {
        let name = record.details.get("hold").and_then(Value::as_str).unwrap_or_default();
        match record.kind {
            Kind::RetentionHeld => {
                let selection = record.details.get("selection");
                // What cannot be read selects everything: to keep too much can be mended.
                let selection = selection.and_then(|value| serde_json::from_value(value.clone()).ok());
                let hold = Hold {
                    name: name.to_owned(),
                    selection: selection.unwrap_or_default(),
                    since: record.time,
                    placed: record.seq,
                };
                // A second hold of the same name does not replace the first: it could hold less.
                let mut free = name.to_owned();
                while self.0.contains_key(&free) {
                    free.push('+');
                }
                self.0.insert(free, hold);
            }
            Kind::RetentionReleased if record.result == Outcome::Success => {
                self.0.retain(|_, hold| hold.name != name);
            }
            _ => {}
        }
    }

    /// The first hold that selects this record.
    pub fn on(&self, record: &Record) -> Option<&Hold> {
        self.0.values().find(|hold| hold.selection.matches(record))
    }

    /// The hold of this name.
    pub fn get(&self, name: &str) -> Option<&Hold> {
        self.0.get(name)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Hold> {
        self.0.values()
    }
}

/// The draft that places a hold. The caller adds who does it.
pub fn held_draft(
    name: &str,
    reason: &str,
    selection: &Selection,
    holds: &Holds,
) -> Result<Draft, HoldError> {
    check_name(name)?;
    if holds.get(name).is_some() {
        return Err(HoldError::Exists { name: name.to_owned() });
    }
    if reason.trim().is_empty() {
        return Err(HoldError::Reason);
    }
    selection.bounded().map_err(|error| HoldError::Selection(error.to_string()))?;
    let selection =
        serde_json::to_value(selection).map_err(|error| HoldError::Selection(error.to_string()))?;
    Ok(Draft::new(Kind::RetentionHeld, Outcome::Success)
        .detail("hold", name)
        .detail("selection", selection)
        .reason(reason))
}

/// The draft that lifts a hold. The caller adds who does it.
pub fn released_draft(name: &str, reason: &str, holds: &Holds) -> Result<Draft, HoldError> {
    check_name(name)?;
    if holds.get(name).is_none() {
        return Err(HoldError::Unknown { name: name.to_owned() });
    }
    if reason.trim().is_empty() {
        return Err(HoldError::Reason);
    }
    Ok(Draft::new(Kind::RetentionReleased, Outcome::Success).detail("hold", name).reason(reason))
}

/// A name stands in records in plain, so it must be a handle and not a person.
fn check_name(name: &str) -> Result<(), HoldError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if (1..=MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(allowed) {
        return Ok(());
    }
    Err(HoldError::Name { name: name.to_owned() })
}

/// Why a hold cannot be placed or lifted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HoldError {
    /// Not a name.
    #[error("{name:?} is not a name of a hold: use 1 to {MAX_NAME_BYTES} letters, digits, dots and dashes")]
    Name {
        /// What was given.
        name: String,
    },
    /// It is there already.
    #[error("there is a hold `{name}` already")]
    Exists {
        /// Its name.
        name: String,
    },
    /// It is not there.
    #[error("there is no hold `{name}`")]
    Unknown {
        /// What was given.
        name: String,
    },
    /// Nobody said why.
    #[error("a hold is placed and lifted for a reason")]
    Reason,
    /// The selection has no JSON form.
    #[error("the selection cannot be written: {0}")]
    Selection(String),
}

impl HoldError {
    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Name { .. } => {
                "choose a handle such as a case number; the reason is kept sealed, the name is not"
            }
            Self::Exists { .. } => {
                "choose another name; to change a hold, place a new one and lift the old one"
            }
            Self::Unknown { .. } => "`sallyportd retention list` shows the holds",
            Self::Reason => "give --reason",
            Self::Selection(_) => "give fewer conditions",
        }
    }
}

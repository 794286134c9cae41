//! What a kind of record is called in the languages of SIEMs: a table, `mapping.toml`, read once.

use std::{collections::BTreeMap, sync::LazyLock};

use crate::kind::Kind;

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
pub struct Mapping(u32, u32, String, String, String);

impl Mapping {
    /// OCSF's class.
    pub fn class(&self) -> u32 {
        self.0
    }

    /// OCSF's activity within the class; 99 where none fits.
    pub fn activity(&self) -> u32 {
        self.1
    }

    /// ECS' `event.category`.
    pub fn categories(&self) -> impl Iterator<Item = &str> {
        self.2.split(' ')
    }

    /// ECS' `event.type`.
    pub fn types(&self) -> impl Iterator<Item = &str> {
        self.3.split(' ')
    }

    /// A name for people.
    pub fn name(&self) -> &str {
        &self.4
    }
}

static TABLE: LazyLock<BTreeMap<String, Mapping>> =
    LazyLock::new(|| toml::from_str(include_str!("mapping.toml")).unwrap_or_default());

/// Of a kind without a line (a test allows none) no more is said than that something happened to a log.
static UNKNOWN: LazyLock<Mapping> =
    LazyLock::new(|| Mapping(1008, 99, "configuration".to_owned(), "info".to_owned(), "Record".to_owned()));

/// The line of this kind.
pub fn of(kind: Kind) -> &'static Mapping {
    TABLE.get(kind.as_str()).unwrap_or(&UNKNOWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_line_and_no_line_is_of_a_kind_that_there_is_not() {
        let kinds: Vec<String> = Kind::ALL.iter().map(ToString::to_string).collect();
        let missing: Vec<_> = kinds.iter().filter(|kind| !TABLE.contains_key(*kind)).collect();
        let stale: Vec<_> = TABLE.keys().filter(|kind| !kinds.contains(kind)).collect();
        assert!(missing.is_empty() && stale.is_empty(), "missing {missing:?}, stale {stale:?}");
    }
}

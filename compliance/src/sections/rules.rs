//! What tables find that the organisation has to explain: every rule with its name, so that a framework's control can take
//! it for its own.

use serde::de::{Deserialize, Deserializer, Error as _};

/// One rule of one table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableRule {
    /// The table's short name.
    pub table: &'static str,
    /// The rule's, within it.
    pub name: &'static str,
    /// What should not happen, in words.
    pub what: &'static str,
}

const fn rule(table: &'static str, name: &'static str, what: &'static str) -> TableRule {
    TableRule { table, name, what }
}

/// All of them, in the order of the tables.
pub(crate) const RULES: &[TableRule] = &[
    rule("requests", "quick", "answered within five seconds of being asked"),
    rule("duties", "without", "grants that no approval was needed for"),
    rule("duties", "unapproved", "policies taken into use without another person's approval"),
    rule("glass", "unreviewed", "break-glass that nobody had reviewed at the end of the period"),
    rule("glass", "unjustified", "break-glass that its reviewer found unjustified"),
    rule("reviews", "overdue", "reviews past their deadline and not closed"),
    rule("reviews", "unreviewed", "items that nobody reviewed in time, and that were therefore ended"),
    rule("changes", "unapproved", "policy changed without a recorded approval by another person"),
    rule("sessions", "without-policy", "sessions whose record names no policy"),
    rule("kills", "late", "sessions that passed bytes more than one second after the decision"),
    rule("kills", "held-on", "sessions that were not let go of in time"),
    rule("canaries", "failed", "canaries that were not held back, or could not be tried"),
    rule("canaries", "silent", "controls that were not tried for more than twice their interval"),
    rule("canaries", "never", "controls that were never tried although others were"),
    rule("integrity", "clock", "the clock was set"),
    rule("integrity", "repaired", "the ledger was repaired, rebuilt or resumed"),
    rule("integrity", "damaged", "reading the ledger again found damage"),
    rule("integrity", "unwitnessed", "too few witnesses answered"),
    rule("integrity", "provider", "the key provider was away"),
    rule("sinks", "lost", "sinks whose receiver was lost at the end of the period"),
    rule("sinks", "quarantined", "records that a receiver would not take"),
    rule("sinks", "late", "times that records waited for a receiver for longer than they may"),
];

impl<'de> Deserialize<'de> for TableRule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::named(&text).ok_or_else(|| D::Error::custom(format_args!("{text:?} is no rule of a table")))
    }
}

impl TableRule {
    /// The rule of this name, as framework files spell it: `changes.unapproved`.
    pub(crate) fn named(text: &str) -> Option<Self> {
        let (table, name) = text.split_once('.')?;
        RULES.iter().find(|rule| (rule.table, rule.name) == (table, name)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_has_one_name_that_the_documents_tell() {
        let documents = include_str!("../../../docs/compliance.md");
        for rule in RULES {
            let name = format!("{}.{}", rule.table, rule.name);
            assert_eq!(TableRule::named(&name), Some(*rule));
            assert!(documents.contains(&format!("`{name}`")), "{name}");
        }
        assert_eq!(TableRule::named("changes"), None);
    }
}

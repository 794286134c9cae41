//! For how long each kind of record must be there.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::digest::Digest;
use crate::kind::Kind;

/// A set of rules from outside that asks for a minimum age.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Framework {
    /// SOC 2. The criteria name no number; a year is what one examination usually covers.
    Soc2,
    /// ISO 27001. The standard leaves the number to the organisation; three years are one certification cycle.
    Iso27001,
    /// HIPAA, 45 CFR 164.316(b)(2)(i): documentation is kept for six years. Whether raw logs are documentation is
    /// disputed; here they count as such.
    Hipaa,
    /// PCI DSS 4.0.1, 10.5.1: twelve months, the last three at hand. What is not pruned is at hand.
    Pci,
}

impl Framework {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Soc2, Self::Iso27001, Self::Hipaa, Self::Pci];

    /// How old a record must be before it may go, in days; leap days count for it.
    pub const fn days(self) -> u32 {
        match self {
            Self::Soc2 | Self::Pci => 366,
            Self::Iso27001 => 3 * 365 + 1,
            Self::Hipaa => 6 * 365 + 2,
        }
    }

    /// The name in settings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Soc2 => "soc2",
            Self::Iso27001 => "iso27001",
            Self::Hipaa => "hipaa",
            Self::Pci => "pci",
        }
    }
}

impl fmt::Display for Framework {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Soc2 => "SOC 2",
            Self::Iso27001 => "ISO 27001",
            Self::Hipaa => "HIPAA",
            Self::Pci => "PCI DSS",
        })
    }
}

impl FromStr for Framework {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<Self, PolicyError> {
        let found = Self::ALL.into_iter().find(|framework| framework.as_str() == text);
        found.ok_or_else(|| PolicyError::Framework { text: text.to_owned() })
    }
}

/// The greatest number of days that a rule may name: a hundred years.
const MAX_DAYS: u32 = 36_525;

/// The rules of one organisation. The longest that applies to a record counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Policy {
    frameworks: BTreeSet<Framework>,
    /// Days for every record.
    minimum_days: u32,
    /// Days for single kinds; they can only lengthen.
    kind_days: BTreeMap<Kind, u32>,
}

impl Policy {
    /// Under these frameworks, with at least `minimum_days` for all records, and for single kinds what
    /// `kind_days` says, each as in `http.request=730`.
    ///
    /// A policy under which a record of today could go today is refused.
    pub fn new(
        frameworks: impl IntoIterator<Item = Framework>,
        minimum_days: u32,
        kind_days: &[String],
    ) -> Result<Self, PolicyError> {
        let frameworks: BTreeSet<_> = frameworks.into_iter().collect();
        if frameworks.is_empty() && minimum_days == 0 {
            return Err(PolicyError::Nothing);
        }
        let kind_days = kind_days.iter().map(|text| kind_rule(text)).collect::<Result<_, _>>()?;
        if minimum_days > MAX_DAYS {
            return Err(PolicyError::TooLong { days: minimum_days });
        }
        Ok(Self { frameworks, minimum_days, kind_days })
    }

    /// The rule that asks for the longest time for records of this kind, in days and in words.
    pub fn longest(&self, kind: Kind) -> (u32, String) {
        let frameworks = self.frameworks.iter().map(|framework| (framework.days(), framework.to_string()));
        let all = (self.minimum_days, "the organisation's own minimum".to_owned());
        let own = self.kind_days.get(&kind).map(|days| (*days, format!("the rule for {kind}")));
        frameworks.chain([all]).chain(own).max_by_key(|(days, _)| *days).unwrap_or_default()
    }

    /// The time before which a record of this kind must have been written to be old enough. `None` when no
    /// time is that long ago.
    pub fn limit(&self, kind: Kind, now: Timestamp) -> Option<Timestamp> {
        let (days, _) = self.longest(kind);
        now.checked_sub(SignedDuration::from_hours(i64::from(days) * 24)).ok()
    }

    /// What names these rules in records: the same rules have the same digest.
    pub fn digest(&self) -> Digest {
        // A struct of numbers and words always has a JSON form, with its keys in one order.
        Digest::of(&[&serde_json::to_vec(self).unwrap_or_default()])
    }

    /// The frameworks that apply.
    pub fn frameworks(&self) -> impl Iterator<Item = Framework> {
        self.frameworks.iter().copied()
    }
}

fn kind_rule(text: &str) -> Result<(Kind, u32), PolicyError> {
    let rule = text.split_once('=').and_then(|(kind, days)| {
        Some((Kind::parse(kind.trim())?, days.trim().parse().ok().filter(|days| *days <= MAX_DAYS)?))
    });
    rule.ok_or_else(|| PolicyError::Rule { text: text.to_owned() })
}

/// Why rules cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// A framework that is not known.
    #[error("`{text}` is not one of: soc2, iso27001, hipaa, pci")]
    Framework {
        /// What was given.
        text: String,
    },
    /// No rule at all.
    #[error("no framework and no minimum: then every record could go at once; name at least one")]
    Nothing,
    /// Not a rule for one kind.
    #[error("`{text}` is not KIND=DAYS with a kind of docs/events.md and at most {MAX_DAYS} days")]
    Rule {
        /// What was given.
        text: String,
    },
    /// A number of days beyond all reason.
    #[error("{days} days are more than {MAX_DAYS}")]
    TooLong {
        /// How many.
        days: u32,
    },
}

//! Which records a line of a report is about, in a form that an auditor can read and repeat.

use std::fmt;

use sallyport_audit::{Kind, Outcome, Record};
use serde::{Deserialize, Serialize};

/// Records of some kinds, with some results, that have or lack some fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Query {
    /// One of these happened; never empty.
    pub kinds: Vec<Kind>,
    /// It ended in one of these ways; empty for any.
    #[serde(default)]
    pub results: Vec<Outcome>,
    /// All of these fields are there.
    #[serde(default)]
    pub has: Vec<Field>,
    /// At least one of these fields is not there.
    #[serde(default)]
    pub lacks: Vec<Field>,
}

/// A field of a record that may be absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Field {
    /// What was done.
    Action,
    /// To what.
    Object,
    /// In which session.
    Session,
    /// By which grant.
    Grant,
    /// By which policy.
    Policy,
    /// For which cause.
    Correlation,
}

impl Field {
    fn of(self, record: &Record) -> Option<&String> {
        match self {
            Self::Action => record.action.as_ref(),
            Self::Object => record.object.as_ref(),
            Self::Session => record.session.as_ref(),
            Self::Grant => record.grant.as_ref(),
            Self::Policy => record.policy.as_ref(),
            Self::Correlation => record.correlation.as_ref(),
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Action => "action",
            Self::Object => "object",
            Self::Session => "session",
            Self::Grant => "grant",
            Self::Policy => "policy",
            Self::Correlation => "correlation",
        }
    }
}

impl Query {
    /// Whether `record` is one of them.
    pub fn matches(&self, record: &Record) -> bool {
        self.kinds.contains(&record.kind)
            && (self.results.is_empty() || self.results.contains(&record.result))
            && self.has.iter().all(|field| field.of(record).is_some())
            && (self.lacks.is_empty() || self.lacks.iter().any(|field| field.of(record).is_none()))
    }
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let join = |words: Vec<&str>| words.join(" or ");
        write!(f, "kind is {}", join(self.kinds.iter().map(|kind| kind.as_str()).collect()))?;
        if !self.results.is_empty() {
            write!(f, "; result is {}", join(self.results.iter().map(|result| result.as_str()).collect()))?;
        }
        for field in &self.has {
            write!(f, "; has {}", field.as_str())?;
        }
        if !self.lacks.is_empty() {
            write!(f, "; lacks {}", join(self.lacks.iter().map(|field| field.as_str()).collect()))?;
        }
        Ok(())
    }
}

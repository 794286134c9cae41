//! What people are told of: a closed set, by whose names operators choose what goes which way.

use std::fmt;
use std::str::FromStr;

/// Something of which people are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Event {
    /// A request waits: to those who can decide on it.
    Request,
    /// A request was put before further people: to those.
    Escalation,
    /// A request was granted: to whoever asked.
    Granted,
    /// A request was refused: to whoever asked.
    Rejected,
    /// Nobody answered a request in time: to whoever asked.
    Expired,
    /// A grant was taken back: to whose it was.
    Revoked,
    /// Somebody breaks the glass: to each who would have had to approve.
    Glass,
    /// A breaking of the glass was reviewed: to whoever broke it.
    GlassReviewed,
    /// An access review began: to its reviewers.
    Review,
    /// An access review ends soon and isn't done: to its reviewers.
    ReviewDue,
    /// A grant ends soon: to whose it is.
    GrantDue,
    /// A key is to be replaced: to those who administer keys.
    KeyDue,
    /// A rule found something in the records: to those who may read the ledger.
    Detection,
    /// The pack of a month that is over is made: to those who may audit the ledger.
    Report,
}

impl Event {
    /// Every event, in the order of the documents.
    pub const ALL: &'static [Self] = &[
        Self::Request,
        Self::Escalation,
        Self::Granted,
        Self::Rejected,
        Self::Expired,
        Self::Revoked,
        Self::Glass,
        Self::GlassReviewed,
        Self::Review,
        Self::ReviewDue,
        Self::GrantDue,
        Self::KeyDue,
        Self::Detection,
        Self::Report,
    ];

    /// Whether time tells of it, and no record does.
    pub(super) fn is_reminder(self) -> bool {
        matches!(self, Self::ReviewDue | Self::GrantDue)
    }

    /// Its name in the configuration, in records and for templates.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Escalation => "escalation",
            Self::Granted => "granted",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Glass => "glass",
            Self::GlassReviewed => "glass-reviewed",
            Self::Review => "review",
            Self::ReviewDue => "review-due",
            Self::GrantDue => "grant-due",
            Self::KeyDue => "key-due",
            Self::Detection => "detection",
            Self::Report => "report",
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Event {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.iter().copied().find(|event| event.as_str() == text).ok_or_else(|| {
            let all: Vec<_> = Self::ALL.iter().map(|event| event.as_str()).collect();
            format!("`{text}` is none of: {}", all.join(", "))
        })
    }
}

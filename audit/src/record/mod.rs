//! One event, as it stands in the ledger: canonical JSON that has exactly one spelling.
//!
//! A record is signed and hashed as bytes, so the bytes must follow from the content alone: RFC 8785
//! (sorted keys, no spaces, one way to write each string and number). A reader refuses bytes that it would
//! not have written itself: two programs can then never see different things in the same record.
//!
//! Numbers in `details` are integers of at most 2^53 − 1 in size, the range in which every JSON reader
//! agrees (RFC 7493 section 2.2); fractions are written as text or in a smaller unit.
//!
//! [`Draft`] is what the program wants to say; `Prepared` is a draft in canonical form that lacks only its
//! place in the ledger; [`Record`] is what a reader gets back, [`RecordView`] the same without copies.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::commitment::Personal;
use crate::digest::Digest;
use crate::kind::Kind;

mod canonical;
mod draft;
#[cfg(any(test, feature = "ledger", feature = "testing"))]
mod prepared;
mod reading;
mod spelling;

pub use canonical::time_text;
pub use draft::Draft;
#[cfg(any(test, feature = "ledger", feature = "testing"))]
pub use prepared::Prepared;
pub use reading::{RecordReader, RecordView};

/// The record format that this program writes and reads.
pub const FORMAT_VERSION: u64 = 1;

/// The largest record in bytes, so that its length fits the 16 bits of a tlog-tiles entry bundle.
pub const MAX_RECORD_BYTES: usize = 65_535;

/// How deep arrays and objects in `details` may be nested.
pub const MAX_DETAIL_DEPTH: usize = 8;

/// The largest integer in `details`, either way: 2^53 − 1.
pub const MAX_INTEGER: i64 = (1 << 53) - 1;

/// How much personal text one record may have beside it, in bytes over all fields.
pub const MAX_PERSONAL_BYTES: usize = 32_768;

/// A record's number. The first record is 0, and there are no gaps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seq(u64);

impl Seq {
    /// The first record.
    pub const ZERO: Self = Self(0);

    /// Record number `n`.
    pub const fn new(n: u64) -> Self {
        Self(n)
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The record after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// How the event ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It was done.
    Success,
    /// It was not allowed.
    Denied,
    /// It was allowed, or not a matter of leave, and did not work.
    Failure,
}

impl Outcome {
    /// The text in the record.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Denied => "denied",
            Self::Failure => "failure",
        }
    }

    /// Reads the text of a record.
    fn parse(text: &str) -> Option<Self> {
        [Self::Success, Self::Denied, Self::Failure].into_iter().find(|outcome| outcome.as_str() == text)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One record, read back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The format version, [`FORMAT_VERSION`].
    pub v: u64,
    /// Its number.
    pub seq: Seq,
    /// When it was numbered: UTC with nanoseconds, written with nine digits.
    #[serde(serialize_with = "canonical::serialize_time")]
    pub time: Timestamp,
    /// The leaf hash of the record before it, or [`Digest::ZERO`] in the first.
    pub prev: Digest,
    /// What happened.
    pub kind: Kind,
    /// How it ended.
    pub result: Outcome,
    /// What was done, such as `connect`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// To what it was done, such as `tunnel:demo`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// The session it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// The grant that allowed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<String>,
    /// The digest of the policy that decided it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// An id which ties it to other records of the same cause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation: Option<String>,
    /// The gateway that wrote it.
    pub node: String,
    /// Commitments to the personal values; see [`crate::commitment`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub personal: BTreeMap<Personal, Digest>,
    /// What else is to be said about this kind of event.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub details: Map<String, Value>,
}

impl Record {
    /// Reads a record, and refuses bytes which are not the one spelling of what they say.
    pub fn parse(bytes: &[u8]) -> Result<Self, RecordError> {
        RecordReader::default().read(bytes).map(|record| record.to_record())
    }

    /// The canonical bytes.
    pub fn to_bytes(&self) -> Result<Vec<u8>, RecordError> {
        canonical::check_details(&self.details)?;
        let mut bytes = Vec::with_capacity(512);
        self.write_canonical(&mut bytes)?;
        if bytes.len() > MAX_RECORD_BYTES {
            return Err(RecordError::TooLarge { bytes: bytes.len() });
        }
        Ok(bytes)
    }

    fn write_canonical(&self, out: &mut Vec<u8>) -> Result<(), RecordError> {
        let front = canonical::Front {
            action: self.action.as_deref(),
            correlation: self.correlation.as_deref(),
            details: &self.details,
            grant: self.grant.as_deref(),
            kind: self.kind,
            node: &self.node,
            object: self.object.as_deref(),
            personal: &self.personal,
            policy: self.policy.as_deref(),
        };
        front.write(out)?;
        let session = self.session.as_deref().map(canonical::json_string).transpose()?;
        canonical::Place { seq: self.seq, time: &time_text(self.time), prev: self.prev }.write(
            self.result,
            session.as_deref(),
            out,
        );
        Ok(())
    }
}

/// Why bytes are not a record, or a draft cannot become one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Not JSON, a field missing, unknown, twice, or of the wrong type.
    #[error("it is not a record: {reason}")]
    Malformed {
        /// The JSON reader's words.
        reason: String,
    },
    /// It says the right thing in the wrong spelling.
    #[error("it is not in canonical form (RFC 8785), so somebody other than the ledger wrote these bytes")]
    NotCanonical,
    /// Written by a newer program.
    #[error("it is written in record format {found}, and this program reads format {FORMAT_VERSION}")]
    Version {
        /// The version it names.
        found: u64,
    },
    /// Too long.
    #[error("it has {bytes} bytes, and a record may have {MAX_RECORD_BYTES}")]
    TooLarge {
        /// How long it is.
        bytes: usize,
    },
    /// Too much text in the personal fields.
    #[error("its personal fields have {bytes} bytes together, and may have {MAX_PERSONAL_BYTES}")]
    PersonalTooLarge {
        /// How much there is.
        bytes: usize,
    },
    /// A number that other readers could read as another number.
    #[error("the number {number} in its details is not an integer of at most 2^53-1 in size")]
    Number {
        /// The number.
        number: String,
    },
    /// Nested too deeply.
    #[error("its details are nested more than {MAX_DETAIL_DEPTH} deep")]
    TooDeep,
}

impl RecordError {
    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Malformed { .. } | Self::NotCanonical => {
                "run `auditctl verify` on the ledger, and compare with an earlier copy or checkpoint"
            }
            Self::Version { .. } => "use a newer auditctl",
            Self::TooLarge { .. } | Self::PersonalTooLarge { .. } => {
                "shorten what is recorded, or split it over several records"
            }
            Self::Number { .. } => "write the number as text, or as an integer in a smaller unit",
            Self::TooDeep => "flatten the details",
        }
    }
}

#[cfg(test)]
mod tests;

//! The answer, in parts.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::epoch::Epoch;
use crate::record::Seq;

/// How one question was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Yes.
    Pass,
    /// No.
    Fail,
    /// It could not be asked with what was given.
    NotEvaluated,
}

impl State {
    /// The word for people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "FAIL",
            Self::NotEvaluated => "not evaluated",
        }
    }
}

/// One question's answer with a sentence that explains it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The answer.
    pub state: State,
    /// Why.
    pub sentence: String,
}

impl Part {
    pub(super) fn pass(sentence: impl Into<String>) -> Self {
        Self { state: State::Pass, sentence: sentence.into() }
    }

    pub(super) fn fail(sentence: impl Into<String>) -> Self {
        Self { state: State::Fail, sentence: sentence.into() }
    }

    pub(super) fn not_evaluated(sentence: impl Into<String>) -> Self {
        Self { state: State::NotEvaluated, sentence: sentence.into() }
    }
}

/// The first place where a ledger is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Break {
    /// The record.
    pub seq: Seq,
    /// What is wrong with it, as the end of a sentence that begins with "record N:".
    pub what: String,
    /// The segment file in which it was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segment: Option<String>,
    /// Where in that file the group of the record begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<usize>,
}

/// What was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// The ledger's name in its heads.
    pub origin: Option<String>,
    /// Its epochs, of which all but the first begin after a declared gap.
    pub epochs: Vec<Epoch>,
    /// How many records were checked.
    pub records: u64,
    /// How many of them were pruned: their places were checked, and what they said was not read.
    pub pruned: u64,
    /// The record that declares it, if any does.
    pub pruned_by: Option<Seq>,
    /// Under how many signed heads.
    pub heads: u64,
    /// In how many segment files.
    pub segments: u64,
    /// The time of the first record.
    pub first_time: Option<Timestamp>,
    /// The time of the last record.
    pub last_time: Option<Timestamp>,
    /// The root over all of them.
    pub root: Option<Digest>,
    /// Bytes of an unfinished group at the end.
    pub unfinished_bytes: u64,
}

/// What to tell a script that wants one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overall {
    /// Integrity, completeness, authenticity and key trust pass, and nothing fails.
    Verified,
    /// Something fails.
    Broken,
    /// Nothing fails, and something that matters could not be evaluated.
    NotEvaluated,
}

impl Overall {
    /// The exit code of `auditctl verify`.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Verified => 0,
            Self::Broken => 1,
            Self::NotEvaluated => 3,
        }
    }
}

/// What can be said about a ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Is every record as it was written, and in its place?
    pub integrity: Part,
    /// Is none missing, up to what others know of the ledger?
    pub completeness: Part,
    /// Was every head signed by a given key?
    pub authenticity: Part,
    /// Is the given key the one that the ledger itself names, and a strong one?
    pub key_trust: Part,
    /// Is the last record as young as it should be?
    pub freshness: Part,
    /// Does time run forwards, or say why not?
    pub clock: Part,
    /// The first place where something is wrong.
    pub first_break: Option<Break>,
    /// What was looked at.
    pub ledger: Summary,
    /// What this check does not prove.
    pub not_proved: Vec<String>,
}

impl Verdict {
    /// The parts with their names, in the order in which they are shown.
    pub fn parts(&self) -> [(&'static str, &Part); 6] {
        [
            ("integrity", &self.integrity),
            ("completeness", &self.completeness),
            ("authenticity", &self.authenticity),
            ("key trust", &self.key_trust),
            ("freshness", &self.freshness),
            ("clock", &self.clock),
        ]
    }

    /// One answer for a script. People should read the parts.
    pub fn overall(&self) -> Overall {
        if self.parts().iter().any(|(_, part)| part.state == State::Fail) {
            return Overall::Broken;
        }
        let needed = [&self.integrity, &self.completeness, &self.authenticity, &self.key_trust];
        if needed.iter().all(|part| part.state == State::Pass) {
            Overall::Verified
        } else {
            Overall::NotEvaluated
        }
    }
}

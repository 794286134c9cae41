//! The report: what the records of a period say about each control, and the tables beside it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use sallyport_audit::{Checkpoint, Digest, verify::Verdict};
use serde::{Deserialize, Serialize};

use crate::coverage::{Gap, Silence};
use crate::cryptography::Cryptography;
use crate::framework::{Limit, Method};
use crate::period::Period;
use crate::scope::Scope;
use crate::sections::Sheet;
use crate::tally::Sum;

/// The form of the document, with its version.
pub(crate) const FORMAT: &str = "sallyport-report/2";

/// What the records of a period say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The form of this document.
    pub format: &'static str,
    /// Version of the program that made it.
    pub tool: &'static str,
    /// The framework's short name.
    pub framework: String,
    /// Its full name.
    pub title: String,
    /// Which edition.
    pub edition: String,
    /// SHA-256 of the framework's content as it was used.
    pub framework_digest: String,
    /// What a reader must know first.
    pub notice: String,
    /// The time it is about.
    pub period: Period,
    /// The time zone in which days begin, as the IANA database names it.
    pub time_zone: String,
    /// The signed head that it stands under.
    pub head: Head,
    /// The numbers of the records that it shows in full; none if the period holds no record.
    pub scope: Option<Scope>,
    /// What the verifier said of the ledger.
    pub verdict: Verdict,
    /// Why nothing may be concluded from the tables, if so.
    pub unproved: Option<String>,
    /// The records it rests on.
    pub population: Population,
    /// Numbers that are not in the period.
    pub gaps: Vec<Gap>,
    /// Times of more than 15 minutes in which nothing was recorded.
    pub silences: Vec<Silence>,
    /// Keys, and how sessions were protected.
    pub cryptography: Cryptography,
    /// How much there is to explain.
    pub to_explain: ToExplain,
    /// Each control.
    pub controls: Vec<ControlReport>,
    /// The tables that do not depend on the framework.
    pub sheets: Vec<Sheet>,
    /// What this report does not prove.
    pub not_proved: Vec<String>,
}

/// A signed head, without its signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// The ledger's name.
    pub origin: String,
    /// How many records it covers.
    pub size: u64,
    /// The root over them.
    pub root: Digest,
}

impl From<&Checkpoint> for Head {
    fn from(checkpoint: &Checkpoint) -> Self {
        let Checkpoint { origin, size, root } = checkpoint;
        Self { origin: origin.clone(), size: *size, root: *root }
    }
}

/// How much the organisation has to explain, over all controls and tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ToExplain {
    /// Records that are exceptions of at least one control: each counts once.
    pub records: u64,
    /// What tables found that no single record shows.
    pub findings: u64,
}

/// The records of the period.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Population {
    /// Which records, in words.
    pub query: String,
    /// How many, from where to where.
    #[serde(flatten)]
    pub sum: Sum,
    /// How many of each kind.
    pub kinds: BTreeMap<&'static str, u64>,
}

/// What can be said about one control.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ControlReport {
    /// As in the standard.
    pub id: String,
    /// What it is about.
    pub about: String,
    /// What the records are claimed to show.
    pub claim: String,
    /// How the evidence was gained.
    pub method: Method,
    /// `required` or `addressable`, where the standard says so.
    pub standing: Option<String>,
    /// The outcome.
    pub state: Standing,
    /// Records that are evidence.
    pub evidence: Vec<Table>,
    /// Records that are exceptions.
    pub exceptions: Vec<Listing>,
    /// What tables found that is an exception of this control, too.
    pub tables: Vec<FromTable>,
    /// What is left to others.
    pub not_evaluated: Vec<Limit>,
}

/// The outcome for a control. There is no "passed": that is the auditor's word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Standing {
    /// There is evidence, and nothing speaks against it.
    Evidence,
    /// Some records, or findings of tables, have to be explained.
    Exceptions {
        /// How many.
        count: u64,
    },
    /// Nothing can be concluded.
    NotEvaluated {
        /// Why.
        reason: String,
    },
}

/// The records of one query, counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Table {
    /// What they show.
    pub shows: String,
    /// The query in words.
    pub query: String,
    /// How many, from where to where.
    #[serde(flatten)]
    pub sum: Sum,
}

/// The records of one rule, counted and listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listing {
    /// What should not happen, and the records where it did.
    #[serde(flatten)]
    pub table: Table,
    /// The first of them.
    pub rows: Vec<Row>,
    /// How many more there are.
    pub more: u64,
}

/// What one table found by one rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FromTable {
    /// The table's short name.
    pub table: &'static str,
    /// The rule's, within it.
    pub rule: &'static str,
    /// What should not happen.
    pub what: &'static str,
    /// How often it did.
    pub count: u64,
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// Its number.
    pub seq: u64,
    /// When.
    pub time: Timestamp,
    /// What.
    pub kind: &'static str,
    /// How it ended.
    pub result: &'static str,
    /// To what.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// In which session, by which grant, for which cause: the first that is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// Its leaf hash.
    pub leaf: Digest,
}

impl Row {
    pub(crate) fn of(record: &sallyport_audit::Record, leaf: Digest) -> Self {
        let reference = record.session.as_ref().or(record.grant.as_ref()).or(record.correlation.as_ref());
        Self {
            seq: record.seq.get(),
            time: record.time,
            kind: record.kind.as_str(),
            result: record.result.as_str(),
            object: record.object.clone(),
            reference: reference.cloned(),
            leaf,
        }
    }
}

impl Report {
    /// As JSON, indented, with a line break at the end.
    pub fn json(&self) -> Result<String, serde_json::Error> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        Ok(text)
    }

    /// Whether anything at all could be evaluated.
    pub fn is_evaluated(&self) -> bool {
        self.unproved.is_none() && self.population.sum.count > 0
    }

    /// Records that are exceptions and are listed, each once, by number: at most `most` of them.
    pub fn exceptional(&self, most: usize) -> Vec<u64> {
        let listed = self.controls.iter().flat_map(|control| &control.exceptions);
        let numbers: std::collections::BTreeSet<u64> =
            listed.flat_map(|listing| &listing.rows).map(|row| row.seq).collect();
        numbers.into_iter().take(most).collect()
    }
}

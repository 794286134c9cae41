//! The report: what the records of a period say about each control.
//!
//! A fold over the records, in the order of their numbers, so that a ledger need not fit into memory. Nothing of the
//! machine or the hour goes in: framework, records, period, bounds and verdict decide every byte.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use sallyport_audit::{
    Digest, Record,
    chain::Chain,
    verify::{Overall, Verdict},
};
use serde::Serialize;

use crate::{
    coverage::{Coverage, Gap, Silence},
    cryptography::{self, Cryptography},
    framework::{Framework, Limit, Method},
    period::Period,
    query::Query,
    tally::{Sum, Tally},
};

/// Exceptions listed per rule; all are counted.
const ROWS: usize = 1_000;

/// A time without records that is worth saying.
const SILENCE: SignedDuration = SignedDuration::from_mins(15);

const NO_RECORD: &str = "the period holds no record";

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
    /// Each control.
    pub controls: Vec<ControlReport>,
    /// What this report does not prove.
    pub not_proved: Vec<String>,
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
    /// What is left to others.
    pub not_evaluated: Vec<Limit>,
}

/// The outcome for a control. There is no "passed": that is the auditor's word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Standing {
    /// There is evidence, and nothing speaks against it.
    Evidence,
    /// Some records have to be explained.
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

/// Makes a report: [`Self::take`] every record of the ledger, then [`Self::finish`].
pub struct Reporter<'a> {
    framework: &'a Framework,
    period: Period,
    chain: Chain,
    coverage: Coverage,
    cryptography: cryptography::Gathering,
    population: Tally,
    kinds: BTreeMap<&'static str, u64>,
    controls: Vec<Counted>,
}

/// What was counted for one control, in the order of its queries.
struct Counted {
    evidence: Vec<Tally>,
    exceptions: Vec<(Tally, Vec<Row>)>,
}

impl<'a> Reporter<'a> {
    /// Begins a report.
    pub fn new(framework: &'a Framework, period: Period) -> Self {
        let controls = framework.controls.iter().map(|control| {
            let evidence = control.evidence.iter().map(|_| Tally::default()).collect();
            let exceptions = control.exception.iter().map(|_| (Tally::default(), Vec::new())).collect();
            Counted { evidence, exceptions }
        });
        Self {
            framework,
            period,
            chain: Chain::genesis(),
            coverage: Coverage::new(period, SILENCE),
            cryptography: cryptography::Gathering::new(period),
            population: Tally::default(),
            kinds: BTreeMap::new(),
            controls: controls.collect(),
        }
    }

    /// The next record of the ledger, from the first on, whatever its time. `leaf` is its leaf hash.
    pub fn take(&mut self, record: &Record, leaf: Digest) {
        self.chain.extend(leaf);
        self.coverage.take(record);
        self.cryptography.take(record, leaf);
        if !self.period.contains(record.time) {
            return;
        }
        self.population.take(record, leaf);
        let of_kind = self.kinds.entry(record.kind.as_str()).or_default();
        *of_kind = of_kind.saturating_add(1);
        for (control, counted) in self.framework.controls.iter().zip(&mut self.controls) {
            for (shown, tally) in control.evidence.iter().zip(&mut counted.evidence) {
                if shown.query.matches(record) {
                    tally.take(record, leaf);
                }
            }
            for (rule, (tally, rows)) in control.exception.iter().zip(&mut counted.exceptions) {
                if rule.query.matches(record) {
                    tally.take(record, leaf);
                    if rows.len() < ROWS {
                        rows.push(Row::of(record, leaf));
                    }
                }
            }
        }
    }

    /// The report. `verdict` is what the verifier said of the same ledger.
    pub fn finish(mut self, verdict: Verdict) -> Report {
        self.coverage.finish();
        let unproved = unproved(&verdict, &self.chain);
        let records = self.population.count;
        let unproved_or_empty = unproved.as_deref().or((records == 0).then_some(NO_RECORD));
        let cryptography = self.cryptography.finish(unproved_or_empty);
        let controls = self.framework.controls.iter().zip(self.controls).map(|(control, counted)| {
            let evidence: Vec<Table> = control
                .evidence
                .iter()
                .zip(counted.evidence)
                .map(|(shown, tally)| Table::of(&shown.shows, &shown.query, tally))
                .collect();
            let exceptions: Vec<Listing> = control
                .exception
                .iter()
                .zip(counted.exceptions)
                .map(|(rule, (tally, rows))| {
                    let more = tally.count.saturating_sub(rows.len() as u64);
                    Listing { table: Table::of(&rule.rule, &rule.query, tally), rows, more }
                })
                .collect();
            ControlReport {
                id: control.id.clone(),
                about: control.about.clone(),
                claim: control.claim.clone(),
                method: control.method,
                standing: control.standing.clone(),
                state: standing(unproved.as_deref(), records, &evidence, &exceptions),
                evidence,
                exceptions,
                not_evaluated: control.not_evaluated.clone(),
            }
        });
        let controls = controls.collect();
        let mut not_proved = vec![
            "that a control is designed or works as it should: that is for the auditor to judge".to_owned(),
            "anything that people did outside the gateway".to_owned(),
        ];
        not_proved.extend(verdict.not_proved.iter().cloned());
        let query = format!("time is at or after {} and before {}", self.period.from, self.period.to);
        Report {
            format: "sallyport-report/1",
            tool: concat!("auditctl ", env!("CARGO_PKG_VERSION")),
            framework: self.framework.id.clone(),
            title: self.framework.title.clone(),
            edition: self.framework.edition.clone(),
            framework_digest: self.framework.digest.clone(),
            notice: self.framework.notice.clone(),
            period: self.period,
            verdict,
            unproved,
            population: Population { query, sum: self.population.sum(), kinds: self.kinds },
            cryptography,
            gaps: self.coverage.gaps,
            silences: self.coverage.silences,
            controls,
            not_proved,
        }
    }
}

/// Why the records may not be taken for evidence, if so.
fn unproved(verdict: &Verdict, chain: &Chain) -> Option<String> {
    match verdict.overall() {
        Overall::Broken => return Some("the ledger did not verify".to_owned()),
        Overall::NotEvaluated => return Some("the ledger could not be verified".to_owned()),
        Overall::Verified => {}
    }
    // Verifier and report read the files one after the other; both must have seen the same records.
    let read = (chain.size() > 0).then(|| chain.frontier().root());
    (read != verdict.ledger.root)
        .then(|| "the records that were read are not those that were verified".to_owned())
}

fn standing(unproved: Option<&str>, records: u64, evidence: &[Table], exceptions: &[Listing]) -> Standing {
    let not_evaluated = |reason: &str| Standing::NotEvaluated { reason: reason.to_owned() };
    let count: u64 = exceptions.iter().map(|listing| listing.table.sum.count).sum();
    if let Some(reason) = unproved {
        not_evaluated(reason)
    } else if records == 0 {
        not_evaluated(NO_RECORD)
    } else if count > 0 {
        Standing::Exceptions { count }
    } else if evidence.is_empty() {
        not_evaluated("a gateway's ledger cannot show it")
    } else if evidence.iter().all(|table| table.sum.count == 0) {
        not_evaluated("no record of the period bears on it")
    } else {
        Standing::Evidence
    }
}

impl Table {
    fn of(shows: &str, query: &Query, tally: Tally) -> Self {
        Self { shows: shows.to_owned(), query: query.to_string(), sum: tally.sum() }
    }
}

impl Row {
    pub(crate) fn of(record: &Record, leaf: Digest) -> Self {
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

    /// All exceptions together.
    pub fn exceptions(&self) -> u64 {
        self.controls
            .iter()
            .flat_map(|control| &control.exceptions)
            .map(|listing| listing.table.sum.count)
            .sum()
    }
}

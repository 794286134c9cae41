//! Makes a report: a fold over the records in the order of their numbers, so that a ledger need not fit into memory.
//!
//! Nothing of the machine or the hour goes in: framework, records, period, time zone, head and verdict decide every byte.
//! Of a whole ledger only the records of the [scope](crate::scope) are looked at, so that a pack, which has only those,
//! gives the same report.

use std::collections::BTreeMap;

use jiff::{SignedDuration, tz::TimeZone};
use sallyport_audit::record::{RecordError, RecordReader};
use sallyport_audit::snapshot::Shown;
use sallyport_audit::tree::Frontier;
use sallyport_audit::verify::{Overall, Verdict};
use sallyport_audit::{Checkpoint, Digest, Record};

use crate::coverage::Coverage;
use crate::cryptography;
use crate::csv_file;
use crate::framework::{Control, Framework};
use crate::period::Period;
use crate::query::Query;
use crate::report::{
    ControlReport, FORMAT, FromTable, Listing, Population, Report, Row, Standing, Table, ToExplain,
};
use crate::scope::{HISTORY, Scope};
use crate::sections::{self, End, Section, Seen, Sheet, TableRule};
use crate::tally::Tally;

/// Exceptions listed per rule; all are counted.
const ROWS: usize = 1_000;

/// A time without records that is worth saying.
const SILENCE: SignedDuration = SignedDuration::from_mins(15);

/// What makes reports, and packs of them.
pub(crate) const TOOL: &str = concat!("auditctl ", env!("CARGO_PKG_VERSION"));

const NO_RECORD: &str = "the period holds no record";

/// Makes a report: [`Self::take`] every record of the ledger, then [`Self::finish`].
pub struct Reporter<'a> {
    framework: &'a Framework,
    period: Period,
    zone: TimeZone,
    scope: Option<Scope>,
    reader: RecordReader,
    frontier: Frontier,
    sections: Vec<Box<dyn Section>>,
    coverage: Coverage,
    cryptography: cryptography::Gathering,
    population: Tally,
    kinds: BTreeMap<&'static str, u64>,
    controls: Vec<Counted>,
    /// Records that are an exception of at least one control.
    exceptional: u64,
}

/// What was counted for one control, in the order of its queries.
struct Counted {
    evidence: Vec<Tally>,
    exceptions: Vec<(Tally, Vec<Row>)>,
}

impl<'a> Reporter<'a> {
    /// Begins a report. `scope` is what [`Survey`](crate::Survey) found for this period; `zone` is where days begin.
    pub fn new(framework: &'a Framework, period: Period, zone: &TimeZone, scope: Option<Scope>) -> Self {
        let controls = framework.controls.iter().map(|control| {
            let evidence = control.evidence.iter().map(|_| Tally::default()).collect();
            let exceptions = control.exception.iter().map(|_| (Tally::default(), Vec::new())).collect();
            Counted { evidence, exceptions }
        });
        Self {
            framework,
            period,
            zone: zone.clone(),
            scope,
            reader: RecordReader::default(),
            frontier: Frontier::default(),
            sections: sections::all(period, zone),
            coverage: Coverage::new(period, SILENCE),
            cryptography: cryptography::Gathering::new(period),
            population: Tally::default(),
            kinds: BTreeMap::new(),
            controls: controls.collect(),
            exceptional: 0,
        }
    }

    /// The next record of the ledger, or run of pruned ones, from the first on.
    pub fn take(&mut self, shown: Shown<'_>) -> Result<(), RecordError> {
        match shown {
            Shown::Record { seq, bytes, leaf } => {
                self.frontier.push(leaf);
                let within = self.scope.is_some_and(|scope| scope.holds(seq));
                if !within && self.scope.is_none_or(|scope| seq.get() > scope.first) {
                    return Ok(());
                }
                self.look(bytes, leaf, within)
            }
            // What does not fit is told by the root at the end.
            Shown::Omitted(run) => {
                let _ = self.frontier.push_subtree(run.height, run.root);
                Ok(())
            }
        }
    }

    /// A record from before the scope that left something behind, as a pack has it: those of the scope follow, by
    /// [`Self::take`].
    pub fn remember(&mut self, bytes: &[u8], leaf: Digest) -> Result<(), RecordError> {
        self.look(bytes, leaf, false)
    }

    fn look(&mut self, bytes: &[u8], leaf: Digest, within: bool) -> Result<(), RecordError> {
        let view = self.reader.read(bytes)?;
        if !within && !HISTORY.contains(&view.kind) {
            return Ok(());
        }
        let record = view.to_record();
        if within {
            self.coverage.take(&record);
        }
        let inside = within && self.period.contains(record.time);
        if inside || record.time < self.period.from {
            let seen = Seen { record: &record, leaf, inside };
            for section in &mut self.sections {
                section.take(&seen);
            }
            self.cryptography.take(&record, leaf);
        }
        if inside {
            self.count(&record, leaf);
        }
        Ok(())
    }

    fn count(&mut self, record: &Record, leaf: Digest) {
        self.population.take(record, leaf);
        let of_kind = self.kinds.entry(record.kind.as_str()).or_default();
        *of_kind = of_kind.saturating_add(1);
        let mut exceptional = false;
        for (control, counted) in self.framework.controls.iter().zip(&mut self.controls) {
            for (shown, tally) in control.evidence.iter().zip(&mut counted.evidence) {
                if shown.query.matches(record) {
                    tally.take(record, leaf);
                }
            }
            for (rule, (tally, rows)) in control.exception.iter().zip(&mut counted.exceptions) {
                if rule.query.matches(record) {
                    exceptional = true;
                    tally.take(record, leaf);
                    if rows.len() < ROWS {
                        rows.push(Row::of(record, leaf));
                    }
                }
            }
        }
        self.exceptional += u64::from(exceptional);
    }

    /// The report. `verdict` is what the verifier said of the same ledger, `head` the signed head up to which its records
    /// were taken.
    pub fn finish(mut self, verdict: Verdict, head: &Checkpoint) -> Report {
        self.coverage.finish();
        let unproved = unproved(&verdict, head, &self.frontier);
        let records = self.population.count;
        let cryptography =
            self.cryptography.finish(unproved.as_deref().or((records == 0).then_some(NO_RECORD)));
        let end = End { period: self.period, zone: &self.zone, silences: &self.coverage.silences };
        let sheets: Vec<Sheet> =
            self.sections.into_iter().map(|section| csv_file::sealed(section.finish(&end))).collect();
        let found = sheets.iter().flat_map(|sheet| &sheet.exceptions);
        let to_explain =
            ToExplain { records: self.exceptional, findings: found.map(|found| found.count).sum() };
        let controls = self.framework.controls.iter().zip(self.controls).map(|(control, counted)| {
            let evidence: Vec<Table> = control
                .evidence
                .iter()
                .zip(counted.evidence)
                .map(|(shown, tally)| table(tally, &shown.shows, &shown.query))
                .collect();
            let exceptions: Vec<Listing> = control
                .exception
                .iter()
                .zip(counted.exceptions)
                .map(|(rule, (tally, rows))| {
                    let more = tally.count.saturating_sub(rows.len() as u64);
                    Listing { table: table(tally, &rule.rule, &rule.query), rows, more }
                })
                .collect();
            let tables = from_tables(control, &sheets);
            ControlReport {
                id: control.id.clone(),
                about: control.about.clone(),
                claim: control.claim.clone(),
                method: control.method,
                standing: control.standing.clone(),
                state: standing(unproved.as_deref(), records, &evidence, explain(&exceptions, &tables)),
                evidence,
                exceptions,
                tables,
                not_evaluated: control.not_evaluated.clone(),
            }
        });
        let controls: Vec<ControlReport> = controls.collect();
        let mut not_proved = vec![
            "that a control is designed or works as it should: that is for the auditor to judge".to_owned(),
            "anything that people did outside the gateway".to_owned(),
        ];
        not_proved.extend(verdict.not_proved.iter().cloned());
        let query = format!("time is at or after {} and before {}", self.period.from, self.period.to);
        Report {
            format: FORMAT,
            tool: TOOL,
            framework: self.framework.id.clone(),
            title: self.framework.title.clone(),
            edition: self.framework.edition.clone(),
            framework_digest: self.framework.digest.clone(),
            notice: self.framework.notice.clone(),
            period: self.period,
            time_zone: self.zone.iana_name().unwrap_or("UTC").to_owned(),
            head: head.into(),
            scope: self.scope,
            verdict,
            unproved,
            population: Population { query, sum: self.population.sum(), kinds: self.kinds },
            gaps: self.coverage.gaps,
            silences: self.coverage.silences,
            cryptography,
            to_explain,
            controls,
            sheets,
            not_proved,
        }
    }
}

/// Why the records may not be taken for evidence, if so.
fn unproved(verdict: &Verdict, head: &Checkpoint, read: &Frontier) -> Option<String> {
    match verdict.overall() {
        Overall::Broken => return Some("the ledger did not verify".to_owned()),
        Overall::NotEvaluated => return Some("the ledger could not be verified".to_owned()),
        Overall::Verified => {}
    }
    // Verifier and report read the files one after the other; both must have seen the same records.
    let same = read.size() == head.size
        && read.root() == head.root
        && head.size <= verdict.ledger.records
        && (head.size < verdict.ledger.records || Some(head.root) == verdict.ledger.root);
    (!same).then(|| "the records that were read are not those that were verified".to_owned())
}

fn table(tally: Tally, shows: &str, query: &Query) -> Table {
    Table { shows: shows.to_owned(), query: query.to_string(), sum: tally.sum() }
}

/// What the tables found by the rules that a control takes for its own.
fn from_tables(control: &Control, sheets: &[Sheet]) -> Vec<FromTable> {
    let found = |table: &str, name: &str| {
        let sheet = sheets.iter().find(|sheet| sheet.id == table)?;
        sheet.exceptions.iter().find(|found| found.rule == name).map(|found| found.count)
    };
    let one = |rule: &TableRule| FromTable {
        table: rule.table,
        rule: rule.name,
        what: rule.what,
        count: found(rule.table, rule.name).unwrap_or(0),
    };
    control.tables.iter().map(one).collect()
}

/// How much there is to explain: records, and what tables found.
fn explain(exceptions: &[Listing], tables: &[FromTable]) -> u64 {
    let records: u64 = exceptions.iter().map(|listing| listing.table.sum.count).sum();
    records.saturating_add(tables.iter().map(|found| found.count).sum())
}

fn standing(unproved: Option<&str>, records: u64, evidence: &[Table], count: u64) -> Standing {
    let not_evaluated = |reason: &str| Standing::NotEvaluated { reason: reason.to_owned() };
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

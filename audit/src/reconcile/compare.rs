//! Rows held against the population.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{Item, Population};
use crate::{digest::Digest, filter::Filter};

/// Of each sort of finding so many are listed; all are counted.
const LISTED: usize = 100;

/// What is wrong with one row or record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The row, from 1.
    pub row: u64,
    /// The record's number, as far as it is known.
    pub seq: Option<u64>,
    /// What is wrong.
    pub what: String,
}

/// The answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Reconciled {
    /// Nothing is missing, altered or foreign, and nothing stands out of order.
    pub contiguous: bool,
    /// `contiguous`, or what is wrong: `altered`, `gap`, `foreign`, `reordered`.
    pub verdict: Vec<&'static str>,
    /// The ledger.
    pub origin: String,
    /// The sink whose rows were looked at.
    pub sink: Option<String>,
    /// The filter by which its records were chosen.
    pub filter: String,
    /// The first number that must be there.
    pub from: u64,
    /// Behind the last number that must be there.
    pub upto: u64,
    /// Rows read.
    pub rows: u64,
    /// Records that arrived as they are in the ledger, each counted once.
    pub proved: u64,
    /// Records of which only number and hash arrived, and are the ledger's.
    pub claimed: u64,
    /// Of these, pointers to records that were too large.
    pub pointers: u64,
    /// Rows that brought a record again.
    pub duplicates: u64,
    /// Records in the range that the filter leaves out.
    pub left_out: u64,
    /// Records that are missing.
    pub missing: u64,
    /// Their numbers, as ranges of first and last.
    pub gaps: Vec<(u64, u64)>,
    /// Records that were changed.
    pub altered: u64,
    /// Which.
    pub alterations: Vec<Finding>,
    /// Rows that are of another ledger, or of no record that there is.
    pub foreign: u64,
    /// Which.
    pub foreigners: Vec<Finding>,
    /// Records that stand behind one with a higher number.
    pub reordered: u64,
    /// The newest stands first.
    pub newest_first: bool,
    /// Rows in which nothing of ours was found.
    pub unreadable: u64,
}

/// Takes rows in the order in which the SIEM gives them.
pub struct Reconciler<'p> {
    population: &'p Population,
    sink: Option<String>,
    answer: Reconciled,
    /// In the order of their first arrival.
    order: Vec<u64>,
    seen: BTreeMap<u64, bool>,
    sinks: BTreeSet<String>,
    pointers: BTreeSet<u64>,
    altered: BTreeSet<u64>,
}

impl<'p> Reconciler<'p> {
    /// Against this population; rows of other sinks are passed over if `sink` is given.
    pub fn new(population: &'p Population, sink: Option<&str>) -> Self {
        Self {
            population,
            sink: sink.map(str::to_owned),
            answer: Reconciled::default(),
            order: Vec::new(),
            seen: BTreeMap::new(),
            sinks: BTreeSet::new(),
            pointers: BTreeSet::new(),
            altered: BTreeSet::new(),
        }
    }

    /// The next row; `None` when nothing of ours was found in it.
    pub fn row(&mut self, item: Option<&Item>) {
        self.answer.rows += 1;
        let Some(item) = item else {
            self.answer.unreadable += 1;
            return;
        };
        if let (Some(wanted), Some(sink)) = (&self.sink, &item.sink)
            && wanted != sink
        {
            self.answer.rows -= 1;
            return;
        }
        self.sinks.extend(item.sink.clone());
        if let Some(origin) = &item.origin
            && !self.population.origin.is_empty()
            && !same_ledger(origin, &self.population.origin)
        {
            self.foreign(item, format!("it is of the ledger {origin}"));
            return;
        }
        match &item.text {
            Some(text) => self.record(item, Digest::leaf(text)),
            None => self.claim(item),
        }
    }

    fn record(&mut self, item: &Item, leaf: Digest) {
        let Some(seq) = self.population.number(&leaf) else {
            let known = item.seq.or(item.own_seq);
            match known.filter(|seq| self.population.leaf(*seq).is_some()) {
                Some(seq) => self.altered(seq, "its text is not that of the record".to_owned()),
                None => self.foreign(item, "the ledger has no such record".to_owned()),
            }
            return;
        };
        if item.seq.is_some_and(|said| said != seq) {
            self.altered(seq, format!("it is said to be record {}", item.seq.unwrap_or_default()));
        } else if item.leaf.is_some_and(|said| said != leaf) {
            self.altered(seq, "another hash is said of it than its own".to_owned());
        } else {
            self.arrived(seq, true);
        }
    }

    /// No text, but what is said of it.
    fn claim(&mut self, item: &Item) {
        let Some(seq) = item.seq else {
            self.answer.unreadable += 1;
            return;
        };
        match (self.population.leaf(seq), item.leaf) {
            (None, _) => self.foreign(item, "the ledger has no record of this number".to_owned()),
            (Some(leaf), Some(said)) if leaf != said => {
                self.altered(seq, "another hash is said of it than the ledger's".to_owned());
            }
            (Some(_), None) => self.altered(seq, "neither its text nor its hash is there".to_owned()),
            (Some(_), Some(_)) => {
                if item.pointer {
                    self.pointers.insert(seq);
                }
                self.arrived(seq, false);
            }
        }
    }

    fn arrived(&mut self, seq: u64, proved: bool) {
        if let Some(before) = self.seen.get_mut(&seq) {
            *before |= proved;
            self.answer.duplicates += 1;
        } else {
            self.seen.insert(seq, proved);
            self.order.push(seq);
        }
    }

    fn altered(&mut self, seq: u64, what: String) {
        self.altered.insert(seq);
        self.answer.altered += 1;
        let finding = Finding { row: self.answer.rows, seq: Some(seq), what };
        if self.answer.alterations.len() < LISTED {
            self.answer.alterations.push(finding);
        }
    }

    fn foreign(&mut self, item: &Item, what: String) {
        self.answer.foreign += 1;
        if self.answer.foreigners.len() < LISTED {
            let seq = item.seq.or(item.own_seq);
            self.answer.foreigners.push(Finding { row: self.answer.rows, seq, what });
        }
    }

    /// The sinks whose rows were seen.
    pub fn sinks(&self) -> &BTreeSet<String> {
        &self.sinks
    }

    /// The answer for the records `from..upto`. Without `upto`: as far as the sink's last receipt says, or as what arrived
    /// reaches. Without `filter`: the one that the ledger says the sink has.
    pub fn finish(mut self, from: u64, upto: Option<u64>, filter: Option<&Filter>) -> Reconciled {
        let sink = self.sink.clone().or_else(|| self.sinks.first().cloned());
        let own = sink
            .as_deref()
            .and_then(|sink| self.population.filter_of(sink))
            .filter(|filter| *filter != "all");
        let own = own.and_then(|words| Filter::parse(words).ok()).unwrap_or_default();
        let filter = filter.unwrap_or(&own);
        let from = from.max(self.population.first());
        let reached = self.seen.keys().next_back().map_or(from, |last| last + 1);
        let said = sink.as_deref().and_then(|sink| self.population.delivered_by(sink)).unwrap_or_default();
        let upto = upto.unwrap_or_else(|| reached.max(said)).min(self.population.end());
        let answer = &mut self.answer;
        for seq in from..upto {
            if self.seen.contains_key(&seq) || self.altered.contains(&seq) {
                continue;
            }
            if !self.population.passes(seq, filter) {
                answer.left_out += 1;
                continue;
            }
            answer.missing += 1;
            let listed = answer.gaps.len();
            match answer.gaps.last_mut() {
                Some((_, last)) if *last + 1 == seq => *last = seq,
                _ if listed < LISTED => answer.gaps.push((seq, seq)),
                _ => {}
            }
        }
        answer.proved = self.seen.values().filter(|proved| **proved).count() as u64;
        answer.claimed = self.seen.len() as u64 - answer.proved;
        answer.pointers = self.pointers.len() as u64;
        answer.newest_first = self.order.len() > 1 && self.order.is_sorted_by(|a, b| a > b);
        if !answer.newest_first {
            let mut highest = 0;
            for seq in &self.order {
                answer.reordered += u64::from(*seq < highest);
                highest = highest.max(*seq);
            }
        }
        for (is, word) in [
            (answer.altered > 0, "altered"),
            (answer.missing > 0, "gap"),
            (answer.foreign > 0, "foreign"),
            (answer.reordered > 0, "reordered"),
        ] {
            if is {
                answer.verdict.push(word);
            }
        }
        // Nothing compared is nothing shown.
        answer.contiguous = answer.verdict.is_empty() && !self.seen.is_empty();
        if answer.contiguous {
            answer.verdict.push("contiguous");
        } else if answer.verdict.is_empty() {
            answer.verdict.push("nothing");
        }
        answer.origin.clone_from(&self.population.origin);
        answer.sink = sink;
        filter.as_str().clone_into(&mut answer.filter);
        (answer.from, answer.upto) = (from, upto);
        self.answer
    }
}

/// Epochs of one ledger are one ledger here: the numbers and hashes decide.
fn same_ledger(one: &str, other: &str) -> bool {
    crate::epoch::split(one).0 == crate::epoch::split(other).0
}

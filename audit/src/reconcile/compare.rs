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
    /// `contiguous`, or what is wrong: `altered`, `gap`, `foreign`, `reordered`, `unproved`.
    pub verdict: Vec<&'static str>,
    /// The ledger.
    pub origin: String,
    /// The sink whose rows were looked at.
    pub sink: Option<String>,
    /// The filter by which its records were chosen; several, with the number from which on each held.
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
    /// Of these, pointers to records that were too large for the sink, as the ledger says of it, too.
    pub pointers: u64,
    /// Rows that brought a record again.
    pub duplicates: u64,
    /// Records in the range that the filter leaves out.
    pub left_out: u64,
    /// Records in the range that were pruned from the ledger: whether they must be there can't be said.
    pub pruned: u64,
    /// Rows of records that were pruned from the ledger: not compared.
    pub pruned_rows: u64,
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
    /// Rows with higher numbers than the ledger had when it was read: not compared.
    pub newer: u64,
    /// Records that stand behind one with a higher number.
    pub reordered: u64,
    /// The newest stands first.
    pub newest_first: bool,
    /// Rows in which nothing of ours was found.
    pub unreadable: u64,
}

/// What of a row is compared.
#[derive(Clone, Copy)]
struct Row {
    /// From 1.
    number: u64,
    /// What is said of the record: its number and its hash.
    seq: Option<u64>,
    leaf: Option<Digest>,
    /// The number that the record says itself.
    own_seq: Option<u64>,
    /// The hash of its text, if that is there.
    text: Option<Digest>,
}

impl Row {
    fn known(&self) -> Option<u64> {
        self.seq.or(self.own_seq)
    }
}

/// Takes rows in the order in which the SIEM gives them.
pub struct Reconciler {
    population: Population,
    sink: Option<String>,
    answer: Reconciled,
    /// Each record with the row in which it arrived first.
    order: Vec<(u64, u64)>,
    seen: BTreeMap<u64, bool>,
    sinks: BTreeSet<String>,
    /// Rows that say that they are pointers, by record and the sink that they name.
    pointers: BTreeSet<(u64, Option<String>)>,
    altered: BTreeSet<u64>,
    /// Rows with numbers beyond the population's end.
    ahead: Vec<Row>,
    /// Whether the ledger was read up to its end once all rows were there.
    has_read_on: bool,
}

impl Reconciler {
    /// Against this population; rows of other sinks are passed over if `sink` is given.
    pub fn new(population: Population, sink: Option<&str>) -> Self {
        Self {
            population,
            sink: sink.map(str::to_owned),
            answer: Reconciled::default(),
            order: Vec::new(),
            seen: BTreeMap::new(),
            sinks: BTreeSet::new(),
            pointers: BTreeSet::new(),
            altered: BTreeSet::new(),
            ahead: Vec::new(),
            has_read_on: false,
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
        let row = Row {
            number: self.answer.rows,
            seq: item.seq,
            leaf: item.leaf,
            own_seq: item.own_seq,
            text: item.text.as_deref().map(Digest::leaf),
        };
        if let Some(origin) = &item.origin
            && !self.population.origin.is_empty()
            && !same_ledger(origin, &self.population.origin)
        {
            self.foreign(row, format!("it is of the ledger {origin}"));
        } else if self.is_ahead(row) {
            self.ahead.push(row);
        } else {
            self.compare(row);
        }
        // Whether they are is asked last: what the ledger says of it comes behind the record.
        if let Some(seq) = item.seq.filter(|_| item.pointer) {
            self.pointers.insert((seq, item.sink.clone()));
        }
    }

    /// Whether the row is of a record that a ledger may have made after it was read.
    fn is_ahead(&self, row: Row) -> bool {
        row.known().is_some_and(|seq| seq >= self.population.end())
            && row.text.is_none_or(|leaf| self.population.number(&leaf).is_none())
    }

    /// The first and the last record that have to be read for the rows that are ahead of what was read.
    pub fn ahead(&self) -> Option<(u64, u64)> {
        let last = self.ahead.iter().filter_map(Row::known).max()?;
        Some((self.population.end(), last))
    }

    /// Has the ledger's records from [`Reconciler::ahead`] on added, as they stand in the ledger now that all rows are there: what came
    /// back was in the ledger before. So whatever is still ahead the ledger never held, or holds no more.
    ///
    /// # Errors
    ///
    /// Those of `read`.
    pub fn read_on<E>(&mut self, read: impl FnOnce(&mut Population) -> Result<(), E>) -> Result<(), E> {
        read(&mut self.population)?;
        self.has_read_on = true;
        Ok(())
    }

    fn compare(&mut self, row: Row) {
        let is_there = row.text.is_some_and(|leaf| self.population.number(&leaf).is_some());
        if !is_there && row.known().is_some_and(|seq| self.population.was_pruned(seq)) {
            self.answer.pruned_rows += 1;
            return;
        }
        match row.text {
            Some(leaf) => self.record(row, leaf),
            None => self.claim(row),
        }
    }

    fn record(&mut self, row: Row, leaf: Digest) {
        let Some(seq) = self.population.number(&leaf) else {
            match row.known().filter(|seq| self.population.leaf(*seq).is_some()) {
                Some(seq) => self.altered(row, seq, "its text is not that of the record".to_owned()),
                None => self.foreign(row, "the ledger has no such record".to_owned()),
            }
            return;
        };
        if row.seq.is_some_and(|said| said != seq) {
            self.altered(row, seq, format!("it is said to be record {}", row.seq.unwrap_or_default()));
        } else if row.leaf.is_some_and(|said| said != leaf) {
            self.altered(row, seq, "another hash is said of it than its own".to_owned());
        } else {
            self.arrived(row, seq, true);
        }
    }

    /// No text, but what is said of it.
    fn claim(&mut self, row: Row) {
        let Some(seq) = row.seq else {
            self.answer.unreadable += 1;
            return;
        };
        match (self.population.leaf(seq), row.leaf) {
            (None, _) => self.foreign(row, "the ledger has no record of this number".to_owned()),
            (Some(leaf), Some(said)) if leaf != said => {
                self.altered(row, seq, "another hash is said of it than the ledger's".to_owned());
            }
            (Some(_), None) => self.altered(row, seq, "neither its text nor its hash is there".to_owned()),
            (Some(_), Some(_)) => self.arrived(row, seq, false),
        }
    }

    fn arrived(&mut self, row: Row, seq: u64, proved: bool) {
        if let Some(before) = self.seen.get_mut(&seq) {
            *before |= proved;
            self.answer.duplicates += 1;
        } else {
            self.seen.insert(seq, proved);
            self.order.push((row.number, seq));
        }
    }

    fn altered(&mut self, row: Row, seq: u64, what: String) {
        self.altered.insert(seq);
        self.answer.altered += 1;
        let finding = Finding { row: row.number, seq: Some(seq), what };
        if self.answer.alterations.len() < LISTED {
            self.answer.alterations.push(finding);
        }
    }

    fn foreign(&mut self, row: Row, what: String) {
        self.answer.foreign += 1;
        if self.answer.foreigners.len() < LISTED {
            self.answer.foreigners.push(Finding { row: row.number, seq: row.known(), what });
        }
    }

    /// The sinks whose rows were seen.
    pub fn sinks(&self) -> &BTreeSet<String> {
        &self.sinks
    }

    /// The answer for the records `from..upto`. Without `upto`: as far as the sink's last receipt says, or as what arrived
    /// reaches. Without `filter`: those that the ledger says the sink had, each for the records of its time.
    pub fn finish(mut self, from: u64, upto: Option<u64>, filter: Option<&Filter>) -> Reconciled {
        for row in std::mem::take(&mut self.ahead) {
            if self.has_read_on || !self.is_ahead(row) {
                self.compare(row);
            } else {
                self.answer.newer += 1;
            }
        }
        // Those that were ahead were compared last, and stand where their rows stand.
        self.order.sort_unstable();
        let sink = self.sink.clone().or_else(|| self.sinks.first().cloned());
        let from = from.max(self.population.first());
        let reached = self.seen.keys().next_back().map_or(from, |last| last + 1);
        let said = sink.as_deref().and_then(|sink| self.population.delivered_by(sink)).unwrap_or_default();
        let upto = upto.unwrap_or_else(|| reached.max(said)).min(self.population.end());
        let answer = &mut self.answer;
        for seq in from..upto {
            if self.seen.contains_key(&seq) || self.altered.contains(&seq) {
                continue;
            }
            if self.population.was_pruned(seq) {
                answer.pruned += 1;
                continue;
            }
            let went = match filter {
                Some(filter) => self.population.passes(seq, filter),
                None => self.population.passed(seq, sink.as_deref()),
            };
            if !went {
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
        // Whoever takes a text away can call the rest a pointer: the ledger has to say so, too, and of the same sink.
        let is_told = |(seq, named): &&(u64, Option<String>)| {
            self.seen.get(seq) == Some(&false)
                && self.population.may_be_pointer(*seq, named.as_deref().or(sink.as_deref()))
        };
        let told: BTreeSet<u64> = self.pointers.iter().filter(is_told).map(|(seq, _)| *seq).collect();
        answer.pointers = told.len() as u64;
        answer.newest_first = self.order.len() > 1 && self.order.is_sorted_by(|a, b| a.1 > b.1);
        if !answer.newest_first {
            let mut highest = 0;
            for (_, seq) in &self.order {
                answer.reordered += u64::from(*seq < highest);
                highest = highest.max(*seq);
            }
        }
        for (is, word) in [
            (answer.altered > 0, "altered"),
            (answer.missing > 0, "gap"),
            (answer.foreign > 0, "foreign"),
            (answer.reordered > 0, "reordered"),
            // The text may have been there, and is what would show that it was changed.
            (answer.claimed > answer.pointers, "unproved"),
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
        let own = || sink.as_deref().and_then(|sink| self.population.filters_of(sink, from, upto));
        answer.filter =
            filter.map(|filter| filter.as_str().to_owned()).or_else(own).unwrap_or_else(|| "all".to_owned());
        answer.sink = sink;
        (answer.from, answer.upto) = (from, upto);
        self.answer
    }
}

/// Epochs of one ledger are one ledger here: the numbers and hashes decide.
fn same_ledger(one: &str, other: &str) -> bool {
    crate::epoch::split(one).0 == crate::epoch::split(other).0
}

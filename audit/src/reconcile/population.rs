//! The ledger's side: which records there are, and what it says of its sinks.
//!
//! The beginning of a ledger may have been pruned, and holds only some of its numbers then; up to where, a record of the ledger
//! declares. A number that is away from behind there is one that the ledger lost.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;

use crate::{
    digest::Digest,
    filter::Filter,
    kind::Kind,
    prefix::Declaration,
    record::{Outcome, Record},
};

/// Every record's leaf hash, kind and result, and what the records say of sinks.
#[derive(Clone, Debug, Default)]
pub struct Population {
    pub(super) origin: String,
    records: BTreeMap<u64, (Digest, Kind, Outcome)>,
    /// Of the numbers before this one, those that aren't there were pruned.
    pruned: u64,
    by_leaf: HashMap<Digest, u64>,
    filters: BTreeMap<String, Filters>,
    delivered: BTreeMap<String, u64>,
    /// By sink: records that were too large for it, as it says, so that it sent pointers in their place.
    pointers: BTreeMap<String, BTreeSet<u64>>,
}

/// The filters that a sink had, one after the other.
///
/// A sink says its filter, and the number of the record at which it was started with it (`from`): all from there on went by that
/// filter, until it was started with the next. Records of sinks that do not say `from` only say where the sink stood then; of what lies
/// between where it stood for certain before and there, only what passes both filters must have been sent.
#[derive(Clone, Debug, Default)]
pub(super) struct Filters {
    spans: Vec<Span>,
    /// All before this was delivered, by the last record that says so.
    settled: u64,
}

#[derive(Clone, Debug)]
struct Span {
    from: u64,
    words: String,
    /// All of them hold.
    filters: Vec<Filter>,
}

impl Filters {
    fn said(&mut self, words: &str, from: Option<u64>, next: Option<u64>) {
        let filter = (words != "all").then(|| Filter::parse(words).ok()).flatten().unwrap_or_default();
        let span = |from, filters| Span { from, words: words.to_owned(), filters };
        let Some(last) = self.spans.last() else {
            self.spans.push(span(0, vec![filter]));
            return;
        };
        if last.words == words {
            return;
        }
        let (before, start) = (last.filters.clone(), from.or(next).unwrap_or_default());
        let sure = from.unwrap_or_else(|| self.settled.min(start));
        self.spans.retain(|span| span.from < sure);
        if sure < start {
            let both = before.into_iter().chain([filter.clone()]).collect();
            self.spans.push(span(sure, both));
        }
        self.spans.push(span(start, vec![filter]));
    }

    /// Whether a record went by the filter of its time.
    fn pass(&self, seq: u64, kind: Kind, result: Outcome) -> bool {
        let at = self.spans.partition_point(|span| span.from <= seq);
        let span = at.checked_sub(1).and_then(|at| self.spans.get(at));
        span.is_none_or(|span| span.filters.iter().all(|filter| filter.takes(kind, result)))
    }

    /// The filters of these records, in words.
    fn words(&self, from: u64, upto: u64) -> Option<String> {
        let first = self.spans.partition_point(|span| span.from <= from).saturating_sub(1);
        let mut last = self.spans.get(first)?.words.as_str();
        let mut words = last.to_owned();
        for span in self.spans.iter().skip(first + 1).filter(|span| span.from < upto) {
            if span.words != last {
                words = format!("{words}; from {} on {}", span.from, span.words);
                last = &span.words;
            }
        }
        Some(words)
    }
}

impl Population {
    /// Of the ledger with this origin; records are added in the order of their numbers.
    pub fn new(origin: &str) -> Self {
        Self { origin: origin.to_owned(), ..Self::default() }
    }

    /// The next record. The first one may have any number, and of those that were pruned none need come.
    pub fn add(&mut self, record: &Record, bytes: &[u8]) {
        let seq = record.seq.get();
        let leaf = Digest::leaf(bytes);
        self.by_leaf.insert(leaf, seq);
        self.records.insert(seq, (leaf, record.kind, record.result));
        if let Some(declaration) = Declaration::of(record) {
            self.pruned = self.pruned.max(declaration.size);
        }
        let sink = record.object.as_deref().and_then(|object| object.strip_prefix("sink:"));
        let Some(sink) = sink else { return };
        let number = |name: &str| record.details.get(name).and_then(Value::as_u64);
        let next = number("next");
        // What the receiver refused went whole, if it went.
        if record.kind == Kind::SinkQuarantined && record.details.get("pointer") == Some(&Value::Bool(true)) {
            self.pointers.entry(sink.to_owned()).or_default().extend(number("record"));
        }
        if let Some(words) = record.details.get("filter").and_then(Value::as_str) {
            let filters = self.filters.entry(sink.to_owned()).or_default();
            filters.said(words, number("from"), next);
            if matches!(record.kind, Kind::SinkDelivered | Kind::SinkFailed) {
                filters.settled = next.unwrap_or(filters.settled);
            }
        }
        if record.kind == Kind::SinkDelivered
            && let Some(next) = next
        {
            self.delivered.insert(sink.to_owned(), next);
        }
    }

    /// The ledger's name, if it is known.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The first number.
    pub fn first(&self) -> u64 {
        self.records.keys().next().copied().unwrap_or_default()
    }

    /// Behind the last number.
    pub fn end(&self) -> u64 {
        self.records.keys().next_back().map_or(0, |last| last + 1)
    }

    /// Whether the ledger once had a record of this number, and holds it no more.
    pub fn was_pruned(&self, seq: u64) -> bool {
        seq < self.pruned && !self.records.contains_key(&seq)
    }

    /// Whether this sink may have sent a pointer in this record's place: the ledger says so, or never does, for a record about a
    /// sink makes no other.
    pub(super) fn may_be_pointer(&self, seq: u64, sink: Option<&str>) -> bool {
        let about_a_sink = |(_, kind, _): &(Digest, Kind, Outcome)| kind.as_str().starts_with("sink.");
        self.records.get(&seq).is_some_and(about_a_sink)
            || sink.and_then(|sink| self.pointers.get(sink)).is_some_and(|told| told.contains(&seq))
    }

    /// The leaf hash of this number.
    pub fn leaf(&self, seq: u64) -> Option<Digest> {
        self.records.get(&seq).map(|(leaf, ..)| *leaf)
    }

    /// The number of the record with this leaf hash.
    pub fn number(&self, leaf: &Digest) -> Option<u64> {
        self.by_leaf.get(leaf).copied()
    }

    /// Whether this record passed the filter that the sink had at its time. Of a sink of which nothing is said: it did.
    pub(super) fn passed(&self, seq: u64, sink: Option<&str>) -> bool {
        let filters = sink.and_then(|sink| self.filters.get(sink));
        // A filter leaves out by what stands in the record, and of one that the ledger lost nothing is known.
        self.records
            .get(&seq)
            .is_none_or(|(_, kind, result)| filters.is_none_or(|filters| filters.pass(seq, *kind, *result)))
    }

    /// Whether this record passes the filter.
    pub(super) fn passes(&self, seq: u64, filter: &Filter) -> bool {
        self.records.get(&seq).is_none_or(|(_, kind, result)| filter.takes(*kind, *result))
    }

    /// The filters that the sink said it had for the records `from..upto`, in words.
    pub fn filters_of(&self, sink: &str, from: u64, upto: u64) -> Option<String> {
        self.filters.get(sink).and_then(|filters| filters.words(from, upto))
    }

    /// Up to where the sink last said that it had delivered.
    pub fn delivered_by(&self, sink: &str) -> Option<u64> {
        self.delivered.get(sink).copied()
    }
}

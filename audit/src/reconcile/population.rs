//! The ledger's side: which records there are, and what it says of its sinks.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use crate::{
    digest::Digest,
    filter::Filter,
    kind::Kind,
    record::{Outcome, Record},
};

/// Every record's leaf hash, kind and result, and what the records say of sinks.
#[derive(Clone, Debug, Default)]
pub struct Population {
    pub(super) origin: String,
    first: u64,
    records: Vec<(Digest, Kind, Outcome)>,
    by_leaf: HashMap<Digest, u64>,
    filters: BTreeMap<String, String>,
    delivered: BTreeMap<String, u64>,
}

impl Population {
    /// Of the ledger with this origin; records are added in the order of their numbers.
    pub fn new(origin: &str) -> Self {
        Self { origin: origin.to_owned(), ..Self::default() }
    }

    /// The next record. The first one may have any number: those before it were pruned.
    pub fn add(&mut self, record: &Record, bytes: &[u8]) {
        let seq = record.seq.get();
        if self.records.is_empty() {
            self.first = seq;
        }
        let leaf = Digest::leaf(bytes);
        self.by_leaf.insert(leaf, seq);
        self.records.push((leaf, record.kind, record.result));
        let sink = record.object.as_deref().and_then(|object| object.strip_prefix("sink:"));
        let Some(sink) = sink else { return };
        match record.kind {
            Kind::SinkConnected => {
                let filter = record.details.get("filter").and_then(Value::as_str).unwrap_or("all");
                self.filters.insert(sink.to_owned(), filter.to_owned());
            }
            Kind::SinkDelivered => {
                if let Some(next) = record.details.get("next").and_then(Value::as_u64) {
                    self.delivered.insert(sink.to_owned(), next);
                }
            }
            _ => {}
        }
    }

    /// The ledger's name, if it is known.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The first number.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// Behind the last number.
    pub fn end(&self) -> u64 {
        self.first + self.records.len() as u64
    }

    /// The leaf hash of this number.
    pub fn leaf(&self, seq: u64) -> Option<Digest> {
        self.at(seq).map(|(leaf, ..)| *leaf)
    }

    /// The number of the record with this leaf hash.
    pub fn number(&self, leaf: &Digest) -> Option<u64> {
        self.by_leaf.get(leaf).copied()
    }

    /// Whether this record passes the filter.
    pub(super) fn passes(&self, seq: u64, filter: &Filter) -> bool {
        self.at(seq).is_some_and(|(_, kind, result)| filter.takes(*kind, *result))
    }

    fn at(&self, seq: u64) -> Option<&(Digest, Kind, Outcome)> {
        self.records.get(usize::try_from(seq.checked_sub(self.first)?).ok()?)
    }

    /// The filter that the sink last said it has.
    pub fn filter_of(&self, sink: &str) -> Option<&str> {
        self.filters.get(sink).map(String::as_str)
    }

    /// Up to where the sink last said that it had delivered.
    pub fn delivered_by(&self, sink: &str) -> Option<u64> {
        self.delivered.get(sink).copied()
    }
}

//! The SIEM's side: one row of whatever it exports, and the record in it.
//!
//! A row may be the event itself, one that wraps it (`_source`, `_raw`, `result`, `body`), a line of text, or the cells of a
//! table. So it is searched for a record wherever that stands, and for the names of its place beside it.

use serde_json::{Map, Value};

use super::text;
use crate::{digest::Digest, record::Record};

/// How deep rows are searched.
const DEPTH: usize = 12;
/// How many values of a row are looked at.
const VALUES: usize = 20_000;

/// What a row holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Item {
    /// A record's canonical bytes, or what stands in their place.
    pub text: Option<Vec<u8>>,
    /// The number that the record itself says.
    pub own_seq: Option<u64>,
    /// The number that is said of it.
    pub seq: Option<u64>,
    /// The leaf hash that is said of it.
    pub leaf: Option<Digest>,
    /// The ledger that it is said to be of.
    pub origin: Option<String>,
    /// The sink that sent it.
    pub sink: Option<String>,
    /// The sink's own number.
    pub sinkseq: Option<u64>,
    /// Only a pointer was sent, for the record was too large.
    pub pointer: bool,
}

impl Item {
    /// Reads a row; `None` when nothing in it is of us.
    pub fn read(row: &Value) -> Option<Self> {
        let mut reader = Reader { item: Self::default(), left: VALUES };
        reader.value(row, DEPTH);
        let item = reader.item;
        let of_us =
            item.text.is_some() || (item.seq.is_some() && (item.leaf.is_some() || item.sinkseq.is_some()));
        of_us.then_some(item)
    }
}

struct Reader {
    item: Item,
    left: usize,
}

impl Reader {
    fn value(&mut self, value: &Value, depth: usize) {
        let Some(left) = self.left.checked_sub(1) else { return };
        self.left = left;
        let Some(depth) = depth.checked_sub(1) else { return };
        match value {
            Value::Object(object) => self.object(object, depth),
            Value::Array(values) => values.iter().for_each(|value| self.value(value, depth)),
            Value::String(text) => self.text(text, depth),
            _ => {}
        }
    }

    fn object(&mut self, object: &Map<String, Value>, depth: usize) {
        // Also one from which a name was taken away; what stands around a record names its leaf hash.
        let names =
            ["v", "seq", "time", "prev", "kind", "result"].iter().filter(|key| object.contains_key(**key));
        if names.count() >= 4 && !object.contains_key("leaf") {
            if let Ok(bytes) = serde_json_canonicalizer::to_vec(object) {
                self.record(bytes);
            }
            return;
        }
        if let Some(leaf) =
            object.get("attestation").and_then(|attestation| attestation.pointer("/fingerprint/value"))
        {
            self.place("leaf", leaf.as_str().unwrap_or_default());
        }
        for (key, value) in object {
            // What a record says of others, or a person said, is no place of its own.
            if matches!(key.as_str(), "attestation" | "details" | "who") {
                continue;
            }
            // A table's columns, and Splunk's fields, are named by whole paths.
            let name = key.rsplit('.').next().unwrap_or(key);
            match value {
                Value::String(text) => self.place(name, text),
                Value::Number(number) => self.place(name, &number.to_string()),
                _ => {}
            }
            self.value(value, depth);
        }
    }

    fn text(&mut self, text: &str, depth: usize) {
        let Some(depth) = depth.checked_sub(1) else { return };
        let text = text.trim_start_matches('\u{feff}').trim();
        if text.starts_with('{') {
            if Record::parse(text.as_bytes()).is_ok() {
                self.record(text.as_bytes().to_vec());
            } else if let Ok(value) = serde_json::from_str(text) {
                self.value(&value, depth);
            } else if text.contains("\"prev\":") && self.item.text.is_none() {
                // It stands where a record stood, and is none any more.
                self.item.text = Some(text.as_bytes().to_vec());
            }
            return;
        }
        let Some(found) = text::read(text) else { return };
        for (name, value) in &found.places {
            self.place(name, value);
        }
        if let Some(inner) = &found.inner {
            self.text(inner, depth);
            if self.item.text.is_none() && inner.starts_with('{') {
                // It stands where the record stood, and is none any more.
                self.item.text = Some(inner.clone().into_bytes());
            }
        }
    }

    fn record(&mut self, bytes: Vec<u8>) {
        if self.item.text.is_some() {
            return;
        }
        let seq = serde_json::from_slice::<Value>(&bytes).ok();
        self.item.own_seq = seq.as_ref().and_then(|value| value.get("seq")).and_then(Value::as_u64);
        self.item.text = Some(bytes);
    }

    fn place(&mut self, name: &str, text: &str) {
        let item = &mut self.item;
        match name {
            "seq" if item.seq.is_none() => item.seq = text.parse().ok(),
            "sinkseq" if item.sinkseq.is_none() => item.sinkseq = text.parse().ok(),
            "leaf" if item.leaf.is_none() => item.leaf = Digest::parse(text),
            "origin" if item.origin.is_none() => item.origin = Some(text.to_owned()),
            "sink" if item.sink.is_none() => item.sink = Some(text.to_owned()),
            // The second is OCSF's name for it.
            "oversize" | "untruncated_size" => item.pointer = true,
            _ => {}
        }
    }
}

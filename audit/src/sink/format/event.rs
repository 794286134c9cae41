//! What every shape says of a record: its place in the ledger, how grave it is, and who it is about.

use std::fmt::Write as _;

use serde_json::{Map, Value as Json};

use crate::{Digest, commitment::Personal, ledger::Entry, record::Record, sidecar::Value};

use super::{super::options::PersonalView, Format, severity};

/// One record to be written.
pub(super) struct Event<'e> {
    pub(super) origin: &'e str,
    pub(super) sink: &'e str,
    pub(super) sequence: u64,
    pub(super) record: &'e Record,
    /// The record's canonical bytes; nothing in a pointer.
    pub(super) text: Option<&'e str>,
    pub(super) leaf: Digest,
    pub(super) severity: u8,
    /// The message's size, where only a pointer is sent.
    pub(super) oversize: Option<usize>,
    entry: &'e Entry,
    people: bool,
}

impl<'e> Event<'e> {
    pub(super) fn new(format: &'e Format, entry: &'e Entry, sequence: u64, oversize: Option<usize>) -> Self {
        let record = &entry.record;
        // Canonical JSON is UTF-8; a record that were not could not have been read.
        let text = std::str::from_utf8(&entry.bytes).ok().filter(|_| oversize.is_none());
        Self {
            origin: &format.origin,
            sink: format.sink.as_str(),
            sequence,
            record,
            text,
            leaf: entry.digest(),
            severity: severity(record.kind, record.result),
            oversize,
            entry,
            people: format.personal == PersonalView::Values && oversize.is_none(),
        }
    }

    /// A personal value, if it may be sent and can be read.
    pub(super) fn person(&self, field: Personal) -> Option<&'e str> {
        if self.people { self.entry.personal.text(field) } else { None }
    }

    /// The readable personal values, and beside them the names of those that were erased or are withheld.
    pub(super) fn people(&self) -> Map<String, Json> {
        let mut people = Map::new();
        if !self.people {
            return people;
        }
        let (mut erased, mut withheld) = (Vec::new(), Vec::new());
        for (field, value) in self.entry.personal.iter() {
            match value {
                Value::Readable { text, .. } => {
                    people.insert(field.as_str().to_owned(), text.as_str().into());
                }
                Value::Erased { .. } => erased.push(field.as_str()),
                Value::Unreadable { .. } => withheld.push(field.as_str()),
            }
        }
        for (name, fields) in [("erased", erased), ("withheld", withheld)] {
            if !fields.is_empty() {
                people.insert(name.to_owned(), fields.into());
            }
        }
        people
    }
}

/// A record's canonical text without the few characters that some reader takes for the end of a line (DEL, the C1 controls, and
/// U+2028 and U+2029, which RFC 8785 leaves as they are): written as JSON may write them too. Brought into canonical
/// form again it is what it was.
pub(super) fn in_one_line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') {
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    out
}

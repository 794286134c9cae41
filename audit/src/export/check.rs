//! Checks an export with nothing but public keys.

use std::io::{self, BufRead, Read as _};

use jiff::Timestamp;
use serde::Serialize;

use super::{EXPORT_VERSION, HeadLine, OmittedLine, Run};
use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::digest::Digest;
use crate::kind::Kind;
use crate::note::{MAX_NOTE_BYTES, NoteError, PublicKey};
use crate::prefix::Declaration;
use crate::record::{MAX_RECORD_BYTES, Outcome, Record, RecordError, Seq};
use crate::selection::{Selection, TooMany};
use crate::signers::LEDGER_ROLE;
use crate::snapshot::Shown;
use crate::tree::{Frontier, Subtree};

/// The longest line that is read: a note in JSON with a long selection.
const MAX_LINE_BYTES: usize = 4 * MAX_NOTE_BYTES;

/// What a good export shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// The ledger's name.
    pub origin: String,
    /// How many records the head covers.
    pub size: u64,
    /// The head's root, which the lines led to.
    pub root: Digest,
    /// What was selected, as the exporter says; every shown record fits it.
    pub selection: Selection,
    /// How many records are shown.
    pub shown: u64,
    /// How many were left out although their numbers are in the selection's range.
    pub left_out: u64,
    /// The time of the first record that is shown.
    pub first_time: Option<Timestamp>,
    /// The time of the last record that is shown.
    pub last_time: Option<Timestamp>,
    /// What this check does not prove.
    pub not_proved: Vec<String>,
}

/// Checks an export; `keys` must not be empty.
pub fn check(input: impl BufRead, keys: &[PublicKey]) -> Result<Checked, ExportError> {
    replay(input, keys, &mut |_| {})
}

/// Checks an export and shows `visit` what it holds, in the order of the numbers.
///
/// What `visit` made of it counts only when this returns `Ok`: that what was shown leads to the signed root is known
/// at the end.
pub fn replay(
    input: impl BufRead,
    keys: &[PublicKey],
    visit: &mut dyn FnMut(Shown<'_>),
) -> Result<Checked, ExportError> {
    let mut lines = Lines { input, number: 0, line: Vec::new() };
    if !lines.next()? {
        return Err(lines.fault(Fault::Empty));
    }
    let head = head(&lines.line).map_err(|fault| lines.fault(fault))?;
    let (checkpoint, note) =
        Checkpoint::from_note(&head.checkpoint).map_err(|error| lines.fault(error.into()))?;
    head.selection.bounded().map_err(|error| lines.fault(error.into()))?;
    if keys.is_empty() {
        return Err(lines.fault(Fault::NoKey));
    }
    note.verify_any(keys).map_err(|error| lines.fault(Fault::Authenticity(error)))?;
    if checkpoint.size == 0 {
        return Err(lines.fault(Fault::Empty));
    }
    let mut walk = Walk::new(&head.selection, checkpoint.size);
    while lines.next()? {
        walk.line(&lines.line, visit).map_err(|fault| lines.fault(fault))?;
    }
    // A key that these very records retire could not sign a head that covers more than its retirement.
    let (retired, may): (Vec<_>, Vec<_>) =
        keys.iter().cloned().partition(|key| walk.retired.contains(&key.to_string()));
    if may.is_empty() || note.verify_any(&may).is_err() {
        let key = retired.iter().find(|key| note.names(key)).map_or("", PublicKey::name);
        return Err(lines.fault(Fault::Retired { key: key.to_owned() }));
    }
    walk.finish(checkpoint).map_err(|fault| lines.fault(fault))
}

fn head(line: &[u8]) -> Result<super::Head, Fault> {
    let form = |error: serde_json::Error| Fault::Head(error.to_string());
    let value: serde_json::Value = serde_json::from_slice(line).map_err(form)?;
    match value.pointer("/export/format").and_then(serde_json::Value::as_u64) {
        Some(found) if found != EXPORT_VERSION => Err(Fault::Version { found }),
        _ => Ok(serde_json::from_value::<HeadLine>(value).map_err(form)?.export),
    }
}

/// Lines with a bound on their length.
struct Lines<R> {
    input: R,
    number: u64,
    line: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    /// Reads the next line; `false` at the end.
    fn next(&mut self) -> Result<bool, ExportError> {
        self.line.clear();
        let bound = MAX_LINE_BYTES as u64;
        self.input.by_ref().take(bound).read_until(b'\n', &mut self.line).map_err(ExportError::Read)?;
        self.number += 1;
        match self.line.pop() {
            None => Ok(false),
            Some(b'\n') => Ok(true),
            Some(_) => Err(self.fault(Fault::Unfinished)),
        }
    }

    fn fault(&self, fault: Fault) -> ExportError {
        ExportError::Bad { line: self.number, fault }
    }
}

struct Walk<'a> {
    selection: &'a Selection,
    size: u64,
    frontier: Frontier,
    /// The leaf hash of the record before the next one, where it is known.
    before: Option<Digest>,
    /// The ledger's keys that a record before the last one replaces.
    retired: Vec<String>,
    shown: u64,
    left_out: u64,
    /// The first and the number after the last record that were left out although no filter is stated.
    unexplained: Option<(u64, u64)>,
    /// Records before this number were pruned, as a shown record declares.
    pruned: u64,
    first_time: Option<Timestamp>,
    last_time: Option<Timestamp>,
}

impl<'a> Walk<'a> {
    fn new(selection: &'a Selection, size: u64) -> Self {
        Self {
            selection,
            size,
            frontier: Frontier::default(),
            before: Some(Digest::ZERO),
            retired: Vec::new(),
            shown: 0,
            left_out: 0,
            unexplained: None,
            pruned: 0,
            first_time: None,
            last_time: None,
        }
    }

    fn line(&mut self, line: &[u8], visit: &mut dyn FnMut(Shown<'_>)) -> Result<(), Fault> {
        if self.frontier.size() >= self.size {
            return Err(Fault::TooMany { size: self.size });
        }
        // No record begins so: its first key is one that this is not.
        let shown = if line.starts_with(b"{\"omitted\":") { self.omitted(line) } else { self.record(line) };
        shown.map(visit)
    }

    fn record<'l>(&mut self, line: &'l [u8]) -> Result<Shown<'l>, Fault> {
        if line.len() > MAX_RECORD_BYTES {
            return Err(Fault::Record(RecordError::TooLarge { bytes: line.len() }));
        }
        let expected = Seq::new(self.frontier.size());
        let record = Record::parse(line).map_err(Fault::Record)?;
        if record.seq != expected {
            return Err(Fault::Gap { expected, found: record.seq });
        }
        if self.before.is_some_and(|before| before != record.prev) {
            return Err(Fault::Unlinked { seq: expected });
        }
        if !self.selection.matches(&record) {
            return Err(Fault::NotSelected { seq: expected });
        }
        let leaf = Digest::leaf(line);
        self.frontier.push(leaf);
        let text = |key: &str| record.details.get(key).and_then(serde_json::Value::as_str);
        let replaced = record.kind == Kind::KeyRotated && record.result == Outcome::Success;
        if replaced && text("role") == Some(LEDGER_ROLE) && self.frontier.size() < self.size {
            self.retired.extend(text("old").map(str::to_owned));
        }
        self.before = Some(leaf);
        if let Some(declaration) = Declaration::of(&record) {
            self.pruned = self.pruned.max(declaration.size);
        }
        self.shown += 1;
        self.first_time.get_or_insert(record.time);
        self.last_time = Some(record.time);
        Ok(Shown::Record { seq: expected, bytes: line, leaf })
    }

    fn omitted<'l>(&mut self, line: &'l [u8]) -> Result<Shown<'l>, Fault> {
        let line: OmittedLine =
            serde_json::from_slice(line).map_err(|error| Fault::Omitted(error.to_string()))?;
        let Run { count, first, root } = line.omitted;
        let expected = Seq::new(self.frontier.size());
        if first != expected.get() {
            return Err(Fault::Gap { expected, found: Seq::new(first) });
        }
        if !count.is_power_of_two() || count > self.size - first {
            return Err(Fault::Omitted(format!("{count} records cannot be left out here")));
        }
        let within = self.within(first, count);
        if within > 0 && self.selection.is_range() {
            // Right only if a record that comes later says that it was pruned.
            let since = self.unexplained.map_or(first.max(self.selection.from.get()), |(since, _)| since);
            self.unexplained = Some((since, first + count));
        }
        if !self.frontier.push_subtree(count.trailing_zeros(), root) {
            return Err(Fault::Omitted(format!("{count} records cannot be left out from {first} on")));
        }
        self.left_out += within;
        self.before = (count == 1).then_some(root);
        Ok(Shown::Omitted(Subtree { first, height: count.trailing_zeros(), root }))
    }

    /// How many of these numbers are in the selection's range.
    fn within(&self, first: u64, count: u64) -> u64 {
        let end = self.selection.to.map_or(u64::MAX, |to| to.next().get());
        first.saturating_add(count).min(end).saturating_sub(first.max(self.selection.from.get()))
    }

    fn finish(self, checkpoint: Checkpoint) -> Result<Checked, Fault> {
        if self.frontier.size() < self.size {
            return Err(Fault::CutShort { found: self.frontier.size(), size: self.size });
        }
        if self.frontier.root() != checkpoint.root {
            return Err(Fault::OtherRoot);
        }
        if let Some((since, end)) = self.unexplained
            && end > self.pruned
        {
            return Err(Fault::LeftOut { first: Seq::new(since) });
        }
        let mut not_proved = vec![
            "that what was recorded is true, or that everything that happened was recorded".to_owned(),
            "that the given key is the organisation's own: that must be known from elsewhere".to_owned(),
            "that the ledger has no later records than this export's head covers".to_owned(),
        ];
        let (_, epoch) = crate::epoch::split(&checkpoint.origin);
        if epoch > 1 {
            not_proved.push(format!(
                "that no record is missing between epochs: this ledger is in its epoch {epoch}, and the records of \
                 kind ledger.resumed declare what was lost (`auditctl verify` tells)"
            ));
        }
        if self.unexplained.is_some() {
            not_proved.push(format!(
                "what the {} records said that were pruned, or that the right ones were: ask for the archive",
                self.left_out
            ));
        } else if self.left_out > 0 {
            not_proved.push(format!(
                "that none of the {} records which were left out fits the selection: ask for the proof of \
                 any of them (`auditctl prove`), or for the whole ledger",
                self.left_out
            ));
        }
        Ok(Checked {
            origin: checkpoint.origin,
            size: checkpoint.size,
            root: checkpoint.root,
            selection: self.selection.clone(),
            shown: self.shown,
            left_out: self.left_out,
            first_time: self.first_time,
            last_time: self.last_time,
            not_proved,
        })
    }
}

/// Why an export is not to be relied on.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// It could not be read.
    #[error("it cannot be read: {0}")]
    Read(#[source] io::Error),
    /// A line is not right.
    #[error("line {line}: {fault}")]
    Bad {
        /// Which line, from 1.
        line: u64,
        /// What is wrong with it.
        fault: Fault,
    },
}

/// What is wrong with a line, or at the end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// No line at all, or a head over no record.
    #[error("it is empty, and proves nothing")]
    Empty,
    /// A line without an end, or too long.
    #[error("the line does not end, or is longer than {MAX_LINE_BYTES} bytes")]
    Unfinished,
    /// The first line is not a head.
    #[error("it is not the head of an export: {0}")]
    Head(String),
    /// Its conditions are too long to be held against each record.
    #[error("{0}")]
    Selection(#[from] TooMany),
    /// Written by a newer program.
    #[error("it is written in export format {found}, and this program reads format {EXPORT_VERSION}")]
    Version {
        /// The version it names.
        found: u64,
    },
    /// The head's checkpoint cannot be read.
    #[error("its checkpoint cannot be used: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// Nobody to believe.
    #[error("no public key was given")]
    NoKey,
    /// The head is not signed by a given key, or falsely.
    #[error("its checkpoint: {0}")]
    Authenticity(NoteError),
    /// By a key that had been replaced before.
    #[error("its checkpoint is signed by {key} alone, a key that a record in this export replaces")]
    Retired {
        /// Its name.
        key: String,
    },
    /// Not a record.
    #[error("{0}")]
    Record(RecordError),
    /// A number is missing, double, or out of order.
    #[error("record {expected} is missing: {found} stands in its place")]
    Gap {
        /// The number that comes next.
        expected: Seq,
        /// The number found.
        found: Seq,
    },
    /// The link to the record before is broken.
    #[error("the `prev` of record {seq} is not the digest of the record before it")]
    Unlinked {
        /// The record.
        seq: Seq,
    },
    /// A record that does not fit the selection in the head.
    #[error("record {seq} does not fit the selection that the export states")]
    NotSelected {
        /// The record.
        seq: Seq,
    },
    /// Something was left out, and no filter is stated that could be the reason.
    #[error(
        "record {first} was left out although everything in its range was selected, and no record that is shown \
         says that it was pruned"
    )]
    LeftOut {
        /// The first of them.
        first: Seq,
    },
    /// A line of left-out records is not one.
    #[error("it is not a run of records left out: {0}")]
    Omitted(String),
    /// More lines than the head covers records.
    #[error("it stands behind the last of the {size} records which the checkpoint covers")]
    TooMany {
        /// How many the head covers.
        size: u64,
    },
    /// The end is missing.
    #[error("the export ends after {found} of {size} records: its end was cut off")]
    CutShort {
        /// How many it speaks of.
        found: u64,
        /// How many the head covers.
        size: u64,
    },
    /// The lines do not lead to the signed root.
    #[error(
        "records and left-out runs do not lead to the root that was signed: something in them was changed"
    )]
    OtherRoot,
}

impl ExportError {
    /// What to do next.
    pub fn hint(&self) -> &'static str {
        let Self::Bad { fault, .. } = self else { return "give a readable file" };
        match fault {
            Fault::Version { .. } => "use a newer auditctl",
            Fault::NoKey => "give the ledger's public key with --key or --key-file",
            Fault::Empty | Fault::Head(_) | Fault::Checkpoint(_) => {
                "give the file that `auditctl export` wrote, unchanged"
            }
            Fault::Authenticity(_) | Fault::Retired { .. } => {
                "compare the key with the one that the ledger's owner published; if it is the same, do not \
                 believe this export"
            }
            _ => "do not rely on this export; ask for it again, and for the ledger itself",
        }
    }
}

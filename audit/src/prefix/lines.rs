//! The lines of a prefix, one after the other: each must fit what stands before it.

use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::{CoverLine, Head, HeadLine, PREFIX_VERSION, PrefixFault, SealedLine, tallest};
use crate::checkpoint::Checkpoint;
use crate::digest::Digest;
use crate::export::OmittedLine;
use crate::note::SignedNote;
use crate::record::{RecordReader, Seq};
use crate::tree::{Frontier, Subtree};

#[derive(Clone, Debug)]
pub(super) enum Line {
    Record { seq: Seq, record: Range<usize>, sealed: Vec<u8> },
    Omitted(Subtree),
    Head(Box<(Checkpoint, SignedNote)>),
}

/// The line that begins at `at`, without its end; `None` at the end of the file.
pub(super) fn next_line(bytes: &[u8], at: &mut usize) -> Result<Option<Range<usize>>, PrefixFault> {
    let rest = bytes.get(*at..).unwrap_or_default();
    if rest.is_empty() {
        return Ok(None);
    }
    let length = rest.iter().position(|&byte| byte == b'\n').ok_or(PrefixFault::Unfinished)?;
    let line = *at..*at + length;
    *at = line.end + 1;
    Ok(Some(line))
}

pub(super) fn parse_head(line: &[u8]) -> Result<Head, PrefixFault> {
    let form = |error: serde_json::Error| PrefixFault::Head(error.to_string());
    let value: serde_json::Value = serde_json::from_slice(line).map_err(form)?;
    match value.pointer("/pruned/format").and_then(serde_json::Value::as_u64) {
        Some(found) if found != PREFIX_VERSION => Err(PrefixFault::Version { found }),
        _ => Ok(serde_json::from_value::<HeadLine>(value).map_err(form)?.pruned),
    }
}

pub(super) struct Reading {
    reader: RecordReader,
    size: u64,
    pub(super) frontier: Frontier,
    /// The leaf hash of the record before the next one, where it is known.
    pub(super) before: Option<Digest>,
    pub(super) lines: Vec<Line>,
    pub(super) digest: Sha256,
    pub(super) kept: u64,
    pub(super) last_time: Option<Timestamp>,
}

impl Reading {
    pub(super) fn new(size: u64, head: &[u8]) -> Self {
        Self {
            reader: RecordReader::default(),
            size,
            frontier: Frontier::default(),
            before: Some(Digest::ZERO),
            lines: Vec::new(),
            digest: Sha256::new_with_prefix(head),
            kept: 0,
            last_time: None,
        }
    }

    pub(super) fn line(&mut self, range: Range<usize>, line: &[u8]) -> Result<(), PrefixFault> {
        // No record begins so: its first key is one that these are not.
        if line.starts_with(b"{\"sealed\":") {
            return self.sealed(line);
        }
        self.digest.update(line);
        self.digest.update(b"\n");
        if self.frontier.size() >= self.size {
            return Err(PrefixFault::TooMany { size: self.size });
        }
        if line.starts_with(b"{\"omitted\":") {
            self.omitted(line)
        } else if line.starts_with(b"{\"head\":") {
            self.head(line)
        } else {
            self.record(range, line)
        }
    }

    fn sealed(&mut self, line: &[u8]) -> Result<(), PrefixFault> {
        let at = Seq::new(self.frontier.size().saturating_sub(1));
        let fault = || PrefixFault::Sealed { seq: at };
        let Some(Line::Record { sealed, .. }) = self.lines.last_mut() else { return Err(fault()) };
        let value: SealedLine = serde_json::from_slice(line).map_err(|_| fault())?;
        let value = STANDARD.decode(value.sealed).map_err(|_| fault())?;
        if !sealed.is_empty() || value.is_empty() {
            return Err(fault());
        }
        *sealed = value;
        Ok(())
    }

    fn head(&mut self, line: &[u8]) -> Result<(), PrefixFault> {
        let size = self.frontier.size();
        let fault = || PrefixFault::Cover { size };
        let line: CoverLine = serde_json::from_slice(line).map_err(|_| fault())?;
        let (checkpoint, note) = Checkpoint::from_note(&line.head).map_err(|_| fault())?;
        let again = matches!(self.lines.last(), Some(Line::Head(_)));
        if size == 0 || again || (checkpoint.size, checkpoint.root) != (size, self.frontier.root()) {
            return Err(fault());
        }
        self.lines.push(Line::Head(Box::new((checkpoint, note))));
        Ok(())
    }

    fn record(&mut self, range: Range<usize>, line: &[u8]) -> Result<(), PrefixFault> {
        let seq = Seq::new(self.frontier.size());
        let record = self.reader.read(line).map_err(|source| PrefixFault::Record { seq, source })?;
        if record.seq != seq {
            return Err(PrefixFault::Gap { expected: seq, found: record.seq });
        }
        if self.before.is_some_and(|before| before != record.prev) {
            return Err(PrefixFault::Unlinked { seq });
        }
        self.last_time = Some(record.time);
        let leaf = Digest::leaf(line);
        self.frontier.push(leaf);
        self.before = Some(leaf);
        self.kept += 1;
        self.lines.push(Line::Record { seq, record: range, sealed: Vec::new() });
        Ok(())
    }

    fn omitted(&mut self, line: &[u8]) -> Result<(), PrefixFault> {
        let expected = Seq::new(self.frontier.size());
        let fault = |what| PrefixFault::Omitted { first: expected, what };
        let line: OmittedLine =
            serde_json::from_slice(line).map_err(|_| fault("it is not of the form of one"))?;
        let run = line.omitted;
        if run.first != expected.get() {
            return Err(PrefixFault::Gap { expected, found: Seq::new(run.first) });
        }
        if !run.count.is_power_of_two() || run.count > self.size - run.first {
            return Err(fault("it has a length that cannot be"));
        }
        let height = run.count.trailing_zeros();
        if height > tallest(run.first, self.size) {
            return Err(fault("it hides roots that later tiles need"));
        }
        if !self.frontier.push_subtree(height, run.root) {
            return Err(fault("no subtree of its length begins there"));
        }
        self.before = (run.count == 1).then_some(run.root);
        self.lines.push(Line::Omitted(Subtree { first: run.first, height, root: run.root }));
        Ok(())
    }
}

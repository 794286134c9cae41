//! Reads a prefix, and believes nothing that does not lead to its signed root.

use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::{CoverLine, Declaration, HeadLine, PREFIX_VERSION, Piece, SealedLine, tallest};
use crate::chain::Chain;
use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::digest::Digest;
use crate::export::OmittedLine;
use crate::journal::{Group, GroupWriter};
use crate::note::SignedNote;
use crate::record::{RecordError, RecordReader, Seq};
use crate::tree::{Frontier, Subtree};

/// A prefix whose lines fit together and lead to the root of its head.
///
/// Not yet looked at: who signed the head, and whether a record declares this prefix.
#[derive(Clone, Debug)]
pub struct Prefix {
    bytes: Vec<u8>,
    lines: Vec<Line>,
    checkpoint: Checkpoint,
    note: SignedNote,
    recorded_from: Seq,
    chain: Chain,
    digest: Digest,
    kept: u64,
    last_time: Option<Timestamp>,
}

#[derive(Clone, Debug)]
enum Line {
    Record { seq: Seq, record: Range<usize>, sealed: Vec<u8> },
    Omitted(Subtree),
    Head(Box<(Checkpoint, SignedNote)>),
}

impl Prefix {
    /// Reads the file `bytes`.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, PrefixFault> {
        let mut at = 0;
        let head = next_line(&bytes, &mut at)?.ok_or(PrefixFault::Empty)?;
        let head = parse_head(bytes.get(head).unwrap_or_default())?;
        let (checkpoint, note) = Checkpoint::from_note(&head.checkpoint)?;
        if checkpoint.size == 0 {
            return Err(PrefixFault::Empty);
        }
        let mut reading = Reading::new(checkpoint.size, bytes.get(..at).unwrap_or_default());
        while let Some(line) = next_line(&bytes, &mut at)? {
            reading.line(line.clone(), bytes.get(line).unwrap_or_default())?;
        }
        let Reading { frontier, before, lines, digest, kept, last_time, .. } = reading;
        if frontier.size() < checkpoint.size {
            return Err(PrefixFault::CutShort { found: frontier.size(), size: checkpoint.size });
        }
        if frontier.root() != checkpoint.root {
            return Err(PrefixFault::OtherRoot { size: checkpoint.size });
        }
        let prev = before.ok_or(PrefixFault::Omitted {
            first: Seq::new(checkpoint.size - 1),
            what: "the last record must be a run of its own",
        })?;
        let digest = Digest::from_bytes(digest.finalize().into());
        let (chain, recorded_from) = (Chain::resume(prev, frontier), head.recorded_from);
        Ok(Self { bytes, lines, checkpoint, note, recorded_from, chain, digest, kept, last_time })
    }

    /// How many records the prefix speaks of that begins with `bytes`; only its head is looked at.
    pub fn size_in(bytes: &[u8]) -> Option<u64> {
        let head = parse_head(bytes.get(next_line(bytes, &mut 0).ok()??)?).ok()?;
        Some(Checkpoint::from_note(&head.checkpoint).ok()?.0.size)
    }

    /// What it says, in order.
    pub fn pieces(&self) -> impl Iterator<Item = Piece<'_>> {
        self.lines.iter().map(|line| match line {
            Line::Record { seq, record, sealed } => {
                Piece::Record { seq: *seq, bytes: self.bytes.get(record.clone()).unwrap_or_default(), sealed }
            }
            Line::Omitted(run) => Piece::Omitted(*run),
            Line::Head(head) => Piece::Head { checkpoint: &head.0, note: &head.1 },
        })
    }

    /// How many records it speaks of: the number of the first record behind it.
    pub fn size(&self) -> u64 {
        self.checkpoint.size
    }

    /// How many of them stand in it whole.
    pub fn kept(&self) -> u64 {
        self.kept
    }

    /// The signed head over exactly these records.
    pub fn note(&self) -> &SignedNote {
        &self.note
    }

    /// What that head says.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Where the ledger stands behind it.
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// The time of the last record that stands in it.
    pub fn last_time(&self) -> Option<Timestamp> {
        self.last_time
    }

    /// What a record must declare for this prefix to be believed.
    pub fn declaration(&self) -> Declaration {
        Declaration { size: self.checkpoint.size, root: self.checkpoint.root, digest: self.digest }
    }

    /// The declaring record has this number or a later one.
    pub fn recorded_from(&self) -> Seq {
        self.recorded_from
    }

    /// The first number that was pruned.
    pub fn first_omitted(&self) -> Option<Seq> {
        self.lines.iter().find_map(|line| match line {
            Line::Omitted(run) => Some(Seq::new(run.first)),
            Line::Record { .. } | Line::Head(_) => None,
        })
    }

    /// The record of this number with what is sealed beside it, if it stands in it whole.
    pub fn record(&self, seq: Seq) -> Option<(&[u8], &[u8])> {
        match self.line(seq)? {
            Line::Record { seq: at, record, sealed } if *at == seq => {
                Some((self.bytes.get(record.clone())?, sealed))
            }
            _ => None,
        }
    }

    /// The line that speaks of this number.
    fn line(&self, seq: Seq) -> Option<&Line> {
        let after = self.lines.partition_point(|line| first(line) <= seq.get());
        let before = self.lines.get(..after)?;
        before.last().filter(|_| seq.get() < self.size())
    }

    /// Whether the record of this number was pruned.
    pub fn omits(&self, seq: Seq) -> bool {
        matches!(self.line(seq), Some(Line::Omitted(_)))
    }

    /// The records that stand in it as groups under its head, one for each stretch without a gap: for a
    /// store that takes groups.
    pub fn groups(&self) -> Vec<Group<Vec<u8>>> {
        let (mut groups, mut open): (Vec<_>, Option<GroupWriter>) = (Vec::new(), None);
        let note = self.note.to_string();
        let mut close =
            |group: Option<GroupWriter>| groups.extend(group.and_then(|group| group.finish(&note)));
        for piece in self.pieces() {
            match piece {
                Piece::Record { seq, bytes, sealed, .. } => {
                    if open.as_ref().is_some_and(|group| group.len() > GROUP_BYTES) {
                        close(open.take());
                    }
                    let group = open.get_or_insert_with(|| GroupWriter::new(seq, bytes.len()));
                    if group.record(|out| out.extend_from_slice(bytes)).is_some() {
                        group.seal(sealed);
                    }
                }
                Piece::Omitted(_) => close(open.take()),
                Piece::Head { .. } => {}
            }
        }
        close(open.take());
        groups
    }
}

/// A group of kept records is closed when it has so many bytes.
const GROUP_BYTES: usize = 4 << 20;

fn first(line: &Line) -> u64 {
    match line {
        Line::Record { seq, .. } => seq.get(),
        Line::Omitted(run) => run.first,
        // It stands before the number that comes next.
        Line::Head(head) => head.0.size,
    }
}

/// The line that begins at `at`, without its end; `None` at the end of the file.
fn next_line(bytes: &[u8], at: &mut usize) -> Result<Option<Range<usize>>, PrefixFault> {
    let rest = bytes.get(*at..).unwrap_or_default();
    if rest.is_empty() {
        return Ok(None);
    }
    let length = rest.iter().position(|&byte| byte == b'\n').ok_or(PrefixFault::Unfinished)?;
    let line = *at..*at + length;
    *at = line.end + 1;
    Ok(Some(line))
}

fn parse_head(line: &[u8]) -> Result<super::Head, PrefixFault> {
    let form = |error: serde_json::Error| PrefixFault::Head(error.to_string());
    let value: serde_json::Value = serde_json::from_slice(line).map_err(form)?;
    match value.pointer("/pruned/format").and_then(serde_json::Value::as_u64) {
        Some(found) if found != PREFIX_VERSION => Err(PrefixFault::Version { found }),
        _ => Ok(serde_json::from_value::<HeadLine>(value).map_err(form)?.pruned),
    }
}

struct Reading {
    reader: RecordReader,
    size: u64,
    frontier: Frontier,
    /// The leaf hash of the record before the next one, where it is known.
    before: Option<Digest>,
    lines: Vec<Line>,
    digest: Sha256,
    kept: u64,
    last_time: Option<Timestamp>,
}

impl Reading {
    fn new(size: u64, head: &[u8]) -> Self {
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

    fn line(&mut self, range: Range<usize>, line: &[u8]) -> Result<(), PrefixFault> {
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

/// Why a file is not a prefix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrefixFault {
    /// No line, or a head over no record.
    #[error("it is empty")]
    Empty,
    /// A last line without an end.
    #[error("its last line does not end")]
    Unfinished,
    /// The first line is not a head.
    #[error("its first line is not the head of a pruned beginning: {0}")]
    Head(String),
    /// Written by a newer program.
    #[error("it is written in prefix format {found}, and this program reads format {PREFIX_VERSION}")]
    Version {
        /// The version it names.
        found: u64,
    },
    /// The head's checkpoint cannot be read.
    #[error("its checkpoint cannot be used: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// Not a record.
    #[error("record {seq}: {source}")]
    Record {
        /// Which should stand there.
        seq: Seq,
        /// Why not.
        source: RecordError,
    },
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
    /// A line of sealed values is not one, or stands behind no record.
    #[error("what stands beside record {seq} are not sealed values")]
    Sealed {
        /// The record.
        seq: Seq,
    },
    /// A run is not one.
    #[error("the run of pruned records from {first} on is not one: {what}")]
    Omitted {
        /// Its first number.
        first: Seq,
        /// What is wrong.
        what: &'static str,
    },
    /// A head within it is not one over what stands before it.
    #[error("what stands behind the first {size} records is not the signed head over them")]
    Cover {
        /// How many stand before it.
        size: u64,
    },
    /// More lines than the head covers records.
    #[error("it goes on behind the last of the {size} records which its head covers")]
    TooMany {
        /// How many the head covers.
        size: u64,
    },
    /// The end is missing.
    #[error("it ends after {found} of {size} records")]
    CutShort {
        /// How many it speaks of.
        found: u64,
        /// How many the head covers.
        size: u64,
    },
    /// The lines do not lead to the signed root.
    #[error("the records and pruned runs before {size} do not lead to the root that was signed")]
    OtherRoot {
        /// How many the head covers.
        size: u64,
    },
}

impl PrefixFault {
    /// The record at which the fault shows.
    pub fn seq(&self) -> Seq {
        match self {
            Self::Record { seq, .. } | Self::Unlinked { seq } | Self::Sealed { seq } => *seq,
            Self::Gap { expected, .. } => *expected,
            Self::Omitted { first, .. } => *first,
            Self::TooMany { size } | Self::OtherRoot { size } | Self::Cover { size } => {
                Seq::new(size.saturating_sub(1))
            }
            Self::CutShort { found, .. } => Seq::new(*found),
            Self::Empty | Self::Unfinished | Self::Head(_) | Self::Version { .. } | Self::Checkpoint(_) => {
                Seq::ZERO
            }
        }
    }
}

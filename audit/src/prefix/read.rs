//! Reads a prefix, and believes nothing that does not lead to its signed root.

use jiff::Timestamp;
use sha2::Digest as _;

use super::lines::{Line, Reading, next_line, parse_head};
use super::{Declaration, Piece, PrefixFault};
use crate::chain::Chain;
use crate::checkpoint::Checkpoint;
use crate::digest::Digest;
use crate::epoch::Epochs;
use crate::journal::{Group, GroupWriter};
use crate::note::SignedNote;
use crate::record::{Record, Seq};

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

    /// The epochs that its records begin, as far as it goes.
    ///
    /// # Errors
    ///
    /// The record that does not declare what it should, and why.
    pub fn epochs(&self) -> Result<Epochs, (Seq, String)> {
        let mut epochs = Epochs::default();
        for piece in self.pieces() {
            match piece {
                Piece::Record { seq, bytes, .. } if epochs.awaits(seq) || Epochs::may_be_in(seq, bytes) => {
                    let record = Record::parse(bytes).map_err(|error| (seq, error.to_string()))?;
                    epochs.loose_record(seq, record.kind, || record.details).map_err(|what| (seq, what))?;
                }
                Piece::Head { checkpoint, .. } => {
                    let last = Seq::new(checkpoint.size.saturating_sub(1));
                    epochs.head(&checkpoint.origin).map_err(|what| (last, what))?;
                }
                Piece::Record { .. } | Piece::Omitted(_) => {}
            }
        }
        let last = Seq::new(self.size().saturating_sub(1));
        epochs.head(&self.checkpoint.origin).map_err(|what| (last, what))?;
        epochs.end_of_loose().map_err(|what| (Seq::new(1), what))?;
        Ok(epochs)
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

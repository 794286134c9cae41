//! Reads the journal as it must be read before anything is added.
//!
//! Every group's checksum, every record's hash and every head's root are checked; the last head's signature
//! vouches for all before it. What is left to `auditctl verify` is what a signed root already covers: the
//! canonical form, the `prev` links, and the signatures of earlier heads.

use std::path::PathBuf;

use jiff::Timestamp;

use super::LedgerError;
use super::pruning::is_declared;
use crate::chain::Chain;
use crate::checkpoint::Checkpoint;
use crate::digest::Digest;
use crate::epoch::{self, Epochs};
use crate::journal::files::{SegmentPath, read_segment};
use crate::journal::{Files, Frame, FrameFault, FrameKind, Group, SegmentHeader};
use crate::note::{NoteError, PublicKey, SignedNote};
use crate::prefix::{NAME, Piece, Prefix, PrefixFault};
use crate::record::{Record, RecordReader, Seq};
use crate::signers::{News, Refused, Signers};

/// What a journal holds.
pub(super) struct Replayed {
    /// Where it stands after its last good group.
    pub(super) chain: Chain,
    /// How many groups there are; when reading began later, at least two.
    pub(super) groups: u64,
    /// Its last signed head; empty when there is no group.
    pub(super) note: String,
    /// The time of its last record.
    pub(super) last_time: Option<Timestamp>,
    /// Under which names it went on.
    pub(super) epochs: Epochs,
    /// The segment to go on with, and how many good bytes it has.
    pub(super) last: Option<(PathBuf, u64)>,
    /// An unfinished end.
    pub(super) torn: Option<Torn>,
    /// Who signed; of the last head only the name was looked at.
    pub(super) signers: Signers,
}

impl Replayed {
    /// Before the first record.
    pub(super) fn genesis(key: &PublicKey) -> Self {
        let (chain, note) = (Chain::genesis(), String::new());
        let (signers, epochs) = (Signers::new(std::slice::from_ref(key)), Epochs::default());
        Self { chain, groups: 0, note, last_time: None, epochs, last: None, torn: None, signers }
    }
}

/// An end of the journal that is no whole group.
#[derive(Debug)]
pub(super) struct Torn {
    pub(super) segment: SegmentPath,
    pub(super) offset: usize,
    pub(super) bytes: Vec<u8>,
    /// What is wrong with it.
    pub(super) what: String,
}

/// Whose ledger it must be.
pub(super) struct Expected<'a> {
    /// Its name in its first epoch.
    pub(super) origin: &'a str,
    pub(super) key: &'a PublicKey,
}

/// Receives what is read.
pub(super) trait Visitor {
    /// Before all records, when the beginning was pruned.
    fn pruned(&mut self, _prefix: &Prefix) {}
    /// After each record.
    fn record(&mut self, chain: &Chain);
    /// After each group, when its root was found right.
    fn group(&mut self, group: &Group<&[u8]>, chain: &Chain);
}

/// Reads these segments, which go on where `state` stands.
pub(super) fn replay(
    files: &Files,
    segments: &[SegmentPath],
    state: Replayed,
    expected: &Expected<'_>,
    visitor: &mut dyn Visitor,
) -> Result<Replayed, LedgerError> {
    let mut replay = Replay { files, expected, visitor, reader: RecordReader::default(), state };
    if replay.state.chain.size() == 0 {
        replay.prefix()?;
    }
    // What the prefix stands for may still lie beside it.
    let begin = replay.state.chain.size();
    let segments: Vec<_> = segments.iter().filter(|segment| segment.first.get() >= begin).collect();
    for (number, segment) in segments.iter().enumerate() {
        let bytes =
            read_segment(&segment.path).map_err(|error| LedgerError::io("read", &segment.path, error))?;
        replay.segment(segment, &bytes, number + 1 == segments.len())?;
    }
    Ok(replay.state)
}

/// A beginning that was taken away, and nothing in the ledger that says so.
fn undeclared() -> LedgerError {
    let what = "records before it are missing, and no record says that exactly these were pruned";
    LedgerError::Damaged { segment: NAME.to_owned(), offset: 0, seq: Seq::ZERO, what: what.to_owned() }
}

struct Replay<'a> {
    files: &'a Files,
    expected: &'a Expected<'a>,
    visitor: &'a mut dyn Visitor,
    reader: RecordReader,
    state: Replayed,
}

impl Replay<'_> {
    /// Begins with what is left of a pruned beginning.
    fn prefix(&mut self) -> Result<(), LedgerError> {
        let path = self.files.prefix();
        let read = self.files.read_prefix().map_err(|error| LedgerError::io("read", path, error))?;
        let prefix = match read {
            None => return Ok(()),
            Some(Ok(prefix)) => prefix,
            Some(Err(fault @ PrefixFault::Version { .. })) => {
                return Err(LedgerError::Newer { segment: NAME.to_owned(), what: fault.to_string() });
            }
            Some(Err(fault)) => {
                let (seq, what) = (fault.seq(), fault.to_string());
                return Err(LedgerError::Damaged { segment: NAME.to_owned(), offset: 0, seq, what });
            }
        };
        self.own(&prefix.checkpoint().origin)?;
        let damaged = |(seq, what)| LedgerError::Damaged { segment: NAME.to_owned(), offset: 0, seq, what };
        self.state.epochs = prefix.epochs().map_err(damaged)?;
        self.prefix_pieces(&prefix)?;
        let declared = is_declared(self.files, &prefix);
        if !declared.map_err(|error| LedgerError::io("read", self.files.journal(), error))? {
            return Err(undeclared());
        }
        self.visitor.pruned(&prefix);
        self.state.chain = prefix.chain().clone();
        self.state.note = prefix.note().to_string();
        self.state.last_time = prefix.last_time();
        // Two stand for all: there was more than one group.
        self.state.groups = 2;
        Ok(())
    }

    /// Follows keys through what is left of the pruned beginning.
    fn prefix_pieces(&mut self, prefix: &Prefix) -> Result<(), LedgerError> {
        let (mut news, mut last) = (News::default(), &[][..]);
        let damaged = |seq, what| LedgerError::Damaged { segment: NAME.to_owned(), offset: 0, seq, what };
        for piece in prefix.pieces() {
            match piece {
                Piece::Record { seq, bytes, .. } => {
                    let record = self.reader.read(bytes).map_err(|error| damaged(seq, error.to_string()))?;
                    news.read(&record);
                    last = bytes;
                }
                Piece::Omitted(_) => {}
                Piece::Head { checkpoint, note } => {
                    self.prefix_head(checkpoint, note, std::mem::take(&mut news), last)?;
                }
            }
        }
        self.prefix_head(prefix.checkpoint(), prefix.note(), news, last)
    }

    fn prefix_head(
        &mut self,
        checkpoint: &Checkpoint,
        note: &SignedNote,
        mut news: News,
        last: &[u8],
    ) -> Result<(), LedgerError> {
        self.state.signers.after_gap();
        // The last record before it may have been pruned; the last one that is there is not younger.
        news.set_last_time(self.reader.read(last).ok().map(|record| record.time));
        let signed = self.state.signers.head(checkpoint.size, note, &news);
        signed.map(drop).map_err(|refused| self.refused(note, refused, (NAME.to_owned(), 0)))
    }

    /// What a head that must not be believed says of the ledger.
    fn refused(
        &self,
        note: &SignedNote,
        refused: Refused,
        (segment, offset): (String, usize),
    ) -> LedgerError {
        match refused {
            Refused::Signature(NoteError::OtherKey { .. }) => LedgerError::ForeignKey {
                directory: self.files.directory().to_owned(),
                found: note.signers(),
                expected: self.expected.key.to_string(),
            },
            refused => LedgerError::Damaged {
                segment,
                offset,
                seq: self.state.chain.next(),
                what: format!("the head over it: {refused}"),
            },
        }
    }

    fn segment(&mut self, segment: &SegmentPath, bytes: &[u8], last: bool) -> Result<(), LedgerError> {
        let mut offset = match Frame::read(bytes, 0) {
            Ok(Some(frame)) if frame.sound && frame.kind == FrameKind::Segment => {
                self.header(segment, frame.bytes)?;
                frame.bytes.len()
            }
            other => return self.unreadable(segment, bytes, 0, fault(other), last),
        };
        let mut last_record = None;
        loop {
            match Frame::read(bytes, offset) {
                Ok(None) => break,
                Ok(Some(frame)) if frame.sound && frame.kind == FrameKind::Group => {
                    last_record = Some(self.group(segment, offset, frame.bytes)?);
                    offset += frame.bytes.len();
                }
                other => {
                    self.unreadable(segment, bytes, offset, fault(other), last)?;
                    break;
                }
            }
        }
        if let Some(record) = last_record {
            let record = Record::parse(record).map_err(|error| {
                let seq = Seq::new(self.state.chain.size().saturating_sub(1));
                LedgerError::Damaged { segment: segment.name(), offset, seq, what: error.to_string() }
            })?;
            self.state.last_time = Some(record.time);
        }
        self.state.last = Some((segment.path.clone(), offset as u64));
        Ok(())
    }

    fn header(&mut self, segment: &SegmentPath, frame: &[u8]) -> Result<(), LedgerError> {
        let header = SegmentHeader::parse(frame).map_err(|error| match error {
            crate::journal::segment::SegmentFault::Version { .. } => {
                LedgerError::Newer { segment: segment.name(), what: error.to_string() }
            }
            crate::journal::segment::SegmentFault::Form => self.damaged(segment, 0, error.to_string()),
        })?;
        self.own(&header.origin)?;
        let next = self.state.chain.next();
        self.state.epochs.header(&header.origin, next).map_err(|what| self.damaged(segment, 0, what))?;
        let state = &self.state;
        if header != SegmentHeader::new(&header.origin, &state.chain, &state.note)
            || segment.first != header.first
        {
            let what = "this segment does not go on where the one before it ends";
            return Err(self.damaged(segment, 0, what.to_owned()));
        }
        Ok(())
    }

    /// Checks one group and returns its last record.
    fn group<'b>(
        &mut self,
        segment: &SegmentPath,
        offset: usize,
        frame: &'b [u8],
    ) -> Result<&'b [u8], LedgerError> {
        let group = Group::parse(frame).map_err(|error| self.damaged(segment, offset, error.to_string()))?;
        if group.first() != self.state.chain.next() {
            let what = format!("a group begins with record {}", group.first());
            return Err(self.damaged(segment, offset, what));
        }
        let first = self.state.chain.next();
        let (mut news, mut last) = (News::default(), &[][..]);
        for (seq, record, _) in group.records() {
            if News::may_be_in(record)
                && let Ok(record) = self.reader.read(record)
            {
                news.read(&record);
            }
            last = record;
            if self.state.epochs.awaits(seq) {
                let record = Record::parse(record).map_err(|error| error.to_string());
                let declared = record
                    .and_then(|record| self.state.epochs.record(record.seq, record.kind, || record.details));
                declared.map_err(|what| self.damaged(segment, offset, what))?;
            }
            self.state.chain.extend(Digest::leaf(record));
            self.visitor.record(&self.state.chain);
        }
        let head = std::str::from_utf8(group.note()).ok().and_then(|note| Checkpoint::from_note(note).ok());
        let Some((head, note)) = head else {
            return Err(self.damaged(segment, offset, "its signed head cannot be read".to_owned()));
        };
        self.own(&head.origin)?;
        self.state.epochs.head(&head.origin).map_err(|what| self.damaged(segment, offset, what))?;
        self.signed(&note, news, last)
            .map_err(|refused| self.refused(&note, refused, (segment.name(), offset)))?;
        if head != self.state.chain.checkpoint(&head.origin) {
            return Err(LedgerError::Damaged {
                segment: segment.name(),
                offset,
                seq: first,
                what: "its records are not those that its head was signed for".to_owned(),
            });
        }
        self.state.groups += 1;
        self.state.note = note.to_string();
        let range = group.record_range(Seq::new(self.state.chain.size() - 1)).unwrap_or_default();
        self.visitor.group(&group, &self.state.chain);
        Ok(frame.get(range).unwrap_or_default())
    }

    /// Who may sign is followed; signatures themselves are checked only where keys change hands.
    fn signed(&mut self, note: &SignedNote, mut news: News, last: &[u8]) -> Result<(), Refused> {
        let (size, signers) = (self.state.chain.size(), &mut self.state.signers);
        if signers.needs_time() {
            news.set_last_time(self.reader.read(last).ok().map(|record| record.time));
        }
        if news.is_empty() {
            signers.head_by_name(size, note, &news).map(drop)
        } else {
            signers.head(size, note, &news).map(drop)
        }
    }

    fn own(&self, origin: &str) -> Result<(), LedgerError> {
        if epoch::split(origin).0 == self.expected.origin {
            return Ok(());
        }
        Err(LedgerError::ForeignOrigin {
            directory: self.files.directory().to_owned(),
            found: origin.to_owned(),
            expected: self.expected.origin.to_owned(),
        })
    }

    /// What cannot be read is an unfinished end only if nothing whole comes after it.
    fn unreadable(
        &mut self,
        segment: &SegmentPath,
        bytes: &[u8],
        offset: usize,
        what: Fault,
        last: bool,
    ) -> Result<(), LedgerError> {
        let what = match what {
            Fault::Newer(what) => return Err(LedgerError::Newer { segment: segment.name(), what }),
            Fault::Damaged(what) => what,
        };
        let rest = bytes.get(offset..).unwrap_or_default();
        if !last || group_follows(rest) {
            return Err(self.damaged(segment, offset, what));
        }
        self.state.torn = Some(Torn { segment: segment.clone(), offset, bytes: rest.to_vec(), what });
        Ok(())
    }

    fn damaged(&self, segment: &SegmentPath, offset: usize, what: String) -> LedgerError {
        LedgerError::Damaged { segment: segment.name(), offset, seq: self.state.chain.next(), what }
    }
}

enum Fault {
    Newer(String),
    Damaged(String),
}

fn fault(read: Result<Option<Frame<'_>>, FrameFault>) -> Fault {
    match read {
        Err(error @ FrameFault::Unknown { .. }) => Fault::Newer(error.to_string()),
        Err(error) => Fault::Damaged(error.to_string()),
        Ok(None) => Fault::Damaged("the file is empty".to_owned()),
        Ok(Some(frame)) if frame.sound => Fault::Damaged("a piece of another kind stands there".to_owned()),
        Ok(Some(_)) => Fault::Damaged("its checksum is wrong".to_owned()),
    }
}

/// Whether a whole group begins anywhere after the first byte.
fn group_follows(bytes: &[u8]) -> bool {
    let magic = FrameKind::Group.magic();
    let candidates = bytes.windows(magic.len()).enumerate().skip(1).filter(|(_, window)| **window == magic);
    candidates.into_iter().any(|(at, _)| matches!(Frame::read(bytes, at), Ok(Some(frame)) if frame.sound))
}

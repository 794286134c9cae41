//! Goes through the journal once, from the first byte to the last.

use jiff::Timestamp;

use super::blame;
use super::{Break, Segment, Unreadable};
use crate::chain::Chain;
use crate::checkpoint::Checkpoint;
use crate::digest::Digest;
use crate::journal::segment::SegmentFault;
use crate::journal::{Frame, FrameFault, FrameKind, Group, SegmentHeader};
use crate::kind::Kind;
use crate::note::{PublicKey, SignedNote};
use crate::record::{Record, RecordError, Seq};

/// Why a walk ended before the end.
pub(super) enum Stop {
    /// Something is not as it was written.
    Broken(Break),
    /// Something is written in a newer format.
    Newer(String),
    /// A file could not be read.
    Unreadable(Unreadable),
}

/// What record 0 says about the ledger.
pub(super) struct Created {
    pub(super) origin: String,
    pub(super) key: String,
}

/// How many statements about its length a ledger is compared with.
pub(super) const MARKS: usize = 4;

/// What was found up to now.
pub(super) struct Walk<'a> {
    keys: &'a [PublicKey],
    /// Sizes at which the root is wanted.
    marks: [Option<u64>; MARKS],
    /// The roots at those sizes.
    pub(super) roots: [Option<Digest>; MARKS],
    pub(super) chain: Chain,
    /// Where an earlier check had come, and this one went on.
    pub(super) resumed: Option<u64>,
    /// While old groups are passed over: how far, and the head of the last.
    passing: Option<(u64, Vec<u8>)>,
    /// How many bytes were gone through, and who wants to know.
    bytes: u64,
    pub(super) note: String,
    pub(super) origin: Option<String>,
    pub(super) created: Option<Created>,
    pub(super) heads: u64,
    pub(super) segments: u64,
    pub(super) first_time: Option<Timestamp>,
    pub(super) last_time: Option<Timestamp>,
    pub(super) last_kind: Option<Kind>,
    pub(super) jumps: u64,
    pub(super) unfinished: u64,
    /// The first head that is not signed by a given key.
    pub(super) forged: Option<Break>,
    /// The first record whose time runs backwards without saying so.
    pub(super) backwards: Option<Break>,
}

/// Where in the files the walk is.
#[derive(Clone, Copy)]
struct Place<'a> {
    segment: &'a str,
    offset: usize,
}

impl Place<'_> {
    fn broken(self, seq: Seq, what: impl Into<String>) -> Stop {
        Stop::Broken(self.found(seq, what))
    }

    fn found(self, seq: Seq, what: impl Into<String>) -> Break {
        Break { seq, what: what.into(), segment: Some(self.segment.to_owned()), offset: Some(self.offset) }
    }
}

impl<'a> Walk<'a> {
    pub(super) fn new(keys: &'a [PublicKey], marks: [Option<u64>; MARKS]) -> Self {
        let chain = Chain::genesis();
        let roots = marks.map(|mark| (mark == Some(0)).then(|| chain.frontier().root()));
        Self {
            keys,
            marks,
            roots,
            chain,
            resumed: None,
            passing: None,
            bytes: 0,
            note: String::new(),
            origin: None,
            created: None,
            heads: 0,
            segments: 0,
            first_time: None,
            last_time: None,
            last_kind: None,
            jumps: 0,
            unfinished: 0,
            forged: None,
            backwards: None,
        }
    }

    pub(super) fn run(
        &mut self,
        segments: impl IntoIterator<Item = Result<Segment, Unreadable>>,
        progress: &mut dyn FnMut(u64),
    ) -> Option<Stop> {
        let mut segments = segments.into_iter().peekable();
        while let Some(segment) = segments.next() {
            let last = segments.peek().is_none();
            let checked =
                segment.map_err(Stop::Unreadable).and_then(|segment| self.segment(&segment, last, progress));
            if let Err(stop) = checked {
                return Some(stop);
            }
        }
        self.passed().err()
    }

    /// Goes on behind the first `size` records: `self` already stands there.
    pub(super) fn skip_to(&mut self, size: u64) {
        self.resumed = Some(size);
        self.passing = Some((0, Vec::new()));
        for (mark, root) in self.marks.iter().zip(&mut self.roots) {
            if *mark == Some(size) {
                *root = Some(self.chain.frontier().root());
            }
        }
    }

    /// Whether `group` was verified before, and is not looked at again.
    fn is_old(&mut self, group: &Group<&[u8]>) -> bool {
        let Some((end, note)) = &mut self.passing else { return false };
        let old = group.end().get() <= self.chain.size();
        if old {
            *end = group.end().get();
            note.clear();
            note.extend_from_slice(group.note());
        }
        old
    }

    /// Old groups end here: they must end where the earlier check did, and under the same head.
    fn passed(&mut self) -> Result<(), Stop> {
        let Some((end, note)) = self.passing.take() else { return Ok(()) };
        let size = self.chain.size();
        let lost = |seq, what: String| {
            Err(Stop::Broken(Break { seq: Seq::new(seq), what, segment: None, offset: None }))
        };
        if end < size {
            return lost(
                end,
                format!("it is missing, and {size} records were there when they were verified"),
            );
        }
        if note != self.note.as_bytes() {
            return lost(size - 1, "the head over it is not the one that was verified earlier".to_owned());
        }
        Ok(())
    }

    fn segment(&mut self, segment: &Segment, last: bool, progress: &mut dyn FnMut(u64)) -> Result<(), Stop> {
        let bytes = segment.bytes.as_slice();
        let mut place = Place { segment: &segment.name, offset: 0 };
        let Some(frame) = self.frame(bytes, place, FrameKind::Segment, last)? else { return Ok(()) };
        self.header(frame, place)?;
        place.offset += frame.bytes.len();
        while let Some(frame) = self.frame(bytes, place, FrameKind::Group, last)? {
            self.group(frame, place)?;
            place.offset += frame.bytes.len();
            progress(self.bytes + place.offset as u64);
        }
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// The next frame; `None` at the end of the file, or where the last file ends within a frame.
    fn frame<'b>(
        &mut self,
        bytes: &'b [u8],
        place: Place<'_>,
        kind: FrameKind,
        last: bool,
    ) -> Result<Option<Frame<'b>>, Stop> {
        let next = self.chain.next();
        match Frame::read(bytes, place.offset) {
            Ok(Some(frame)) if frame.kind == kind => Ok(Some(frame)),
            Ok(Some(_)) => {
                Err(place.broken(next, "a piece of another kind stands where its group should begin"))
            }
            Ok(None) if place.offset > 0 || last => Ok(None),
            Ok(None) => Err(place.broken(next, "the segment that should begin with it is empty")),
            Err(FrameFault::Unfinished { found }) if last => {
                self.unfinished = found as u64;
                Ok(None)
            }
            Err(error @ FrameFault::Unknown { .. }) => {
                Err(Stop::Newer(format!("In {} at byte {}: {error}", place.segment, place.offset)))
            }
            Err(error) => Err(place
                .broken(next, format!("the piece of the journal that begins with it is damaged: {error}"))),
        }
    }

    fn header(&mut self, frame: Frame<'_>, place: Place<'_>) -> Result<(), Stop> {
        let next = self.chain.next();
        if !frame.sound {
            return Err(place.broken(next, "the header of the segment that begins with it is damaged"));
        }
        let header = SegmentHeader::parse(frame.bytes).map_err(|error| match error {
            SegmentFault::Version { .. } => Stop::Newer(format!("{}: {error}", place.segment)),
            SegmentFault::Form => place.broken(next, format!("in the segment that begins with it, {error}")),
        })?;
        self.same_origin(&header.origin, place)?;
        if self.passing.is_some() && header.first < next {
            return Ok(());
        }
        self.passed()?;
        self.segments += 1;
        if header != SegmentHeader::new(&header.origin, &self.chain, &self.note)
            || format!("{:020}.seg", header.first.get()) != place.segment
        {
            return Err(place.broken(
                next,
                format!("segment {} does not go on where the one before it ends", place.segment),
            ));
        }
        Ok(())
    }

    fn same_origin(&mut self, origin: &str, place: Place<'_>) -> Result<(), Stop> {
        match &self.origin {
            None => self.origin = Some(origin.to_owned()),
            Some(known) if known == origin => {}
            Some(known) => {
                let what = format!("it belongs to the ledger {origin:?}, and those before it to {known:?}");
                return Err(place.broken(self.chain.next(), what));
            }
        }
        Ok(())
    }

    fn group(&mut self, frame: Frame<'_>, place: Place<'_>) -> Result<(), Stop> {
        let first = self.chain.next();
        let damaged = if frame.sound { "" } else { " (its checksum is wrong, too)" };
        let group = Group::parse(frame.bytes).map_err(|error| {
            place.broken(first, format!("the group that begins with it is damaged: {error}{damaged}"))
        })?;
        if self.is_old(&group) {
            return Ok(());
        }
        self.passed()?;
        if group.first() != first {
            let what = format!("record {} stands in its place{damaged}", group.first());
            return Err(place.broken(first, what));
        }
        let before = self.chain.clone();
        let head = std::str::from_utf8(group.note()).ok().and_then(|note| Checkpoint::from_note(note).ok());
        let signed = head.as_ref().map(|(_, note)| signed_by_any(note, self.keys));
        let newer = self.records(&group, &before, head.as_ref().map(|(head, _)| head), place)?;
        let last = Seq::new(self.chain.size().saturating_sub(1));
        let (Some((head, note)), Some(signed)) = (head, signed) else {
            return Err(
                place.broken(first, format!("the signed head over it (after record {last}) cannot be read"))
            );
        };
        self.same_origin(&head.origin, place)?;
        if head != self.chain.checkpoint(&head.origin) {
            // With all links within the group right, only its last record or its head can be wrong.
            let genuine = signed.is_ok() && !self.keys.is_empty() && head.size == self.chain.size();
            return Err(if genuine {
                place.broken(last, "it is not the record that its head was signed for")
            } else {
                place.broken(last, "it and the signed head over it do not fit together")
            });
        }
        if let Err(reason) = signed
            && self.forged.is_none()
        {
            self.forged = Some(place.found(first, format!("the head over it: {reason}")));
        }
        if let Some(stop) = newer {
            return Err(stop);
        }
        if !frame.sound {
            let what = format!(
                "the checksum of its group (records {first} to {last}) is wrong, although records and head are \
                 intact: the sealed personal values or the checksum were changed"
            );
            return Err(place.broken(first, what));
        }
        self.heads += 1;
        self.note = note.to_string();
        Ok(())
    }

    /// Checks the records of a group; gives back a stop for later when one is of a newer format.
    fn records(
        &mut self,
        group: &Group<&[u8]>,
        before: &Chain,
        head: Option<&Checkpoint>,
        place: Place<'_>,
    ) -> Result<Option<Stop>, Stop> {
        let mut newer = None;
        for (seq, bytes, _) in group.records() {
            match Record::parse(bytes) {
                Ok(record) => self.record(&record, seq, group, before, head, place)?,
                // Believed only if the head over it was signed for it; a forger gets a plain answer.
                Err(error @ RecordError::Version { .. }) => {
                    newer.get_or_insert((seq, error.to_string()));
                }
                Err(error) => return Err(place.broken(seq, error.to_string())),
            }
            self.extend(Digest::leaf(bytes));
        }
        let fits = head.is_some_and(|head| *head == self.chain.checkpoint(&head.origin));
        match newer {
            Some((seq, error)) if !fits => Err(place.broken(seq, format!("it was changed: {error}"))),
            Some((seq, error)) => Ok(Some(Stop::Newer(format!("Record {seq}: {error}")))),
            None => Ok(None),
        }
    }

    fn record(
        &mut self,
        record: &Record,
        seq: Seq,
        group: &Group<&[u8]>,
        before: &Chain,
        head: Option<&Checkpoint>,
        place: Place<'_>,
    ) -> Result<(), Stop> {
        if record.seq != seq {
            return Err(place.broken(seq, format!("it says that it is record {}", record.seq)));
        }
        if record.prev != self.chain.prev() {
            let (seq, what) = blame::broken_link(group, seq, record, before, head);
            return Err(place.broken(seq, what));
        }
        self.contents(record, place);
        Ok(())
    }

    /// Notes what a record in its right place says.
    fn contents(&mut self, record: &Record, place: Place<'_>) {
        let seq = record.seq;
        if seq == Seq::ZERO {
            self.first_time = Some(record.time);
            self.created = created(record);
        }
        if let Some(last) = self.last_time.filter(|last| *last > record.time) {
            if record.kind == Kind::ClockJumped {
                self.jumps += 1;
            } else if self.backwards.is_none() {
                let what = format!("its time {} is before that of the record before it, {last}", record.time);
                self.backwards = Some(place.found(seq, what));
            }
        }
        self.last_time = Some(record.time);
        self.last_kind = Some(record.kind);
    }

    /// Takes a record that stands in no group, from `name`.
    pub(super) fn single(&mut self, bytes: &[u8], name: &str) -> Result<Digest, Stop> {
        let place = Place { segment: name, offset: 0 };
        let seq = self.chain.next();
        let record = Record::parse(bytes).map_err(|error| match error {
            RecordError::Version { .. } => Stop::Newer(format!("Record {seq}: {error}")),
            error => place.broken(seq, error.to_string()),
        })?;
        if record.seq != seq {
            return Err(place.broken(seq, format!("it says that it is record {}", record.seq)));
        }
        if record.prev != self.chain.prev() {
            return Err(place.broken(seq, "its `prev` is not the digest of the record before it"));
        }
        self.contents(&record, place);
        let leaf = Digest::leaf(bytes);
        self.extend(leaf);
        Ok(leaf)
    }

    fn extend(&mut self, leaf: Digest) {
        self.chain.extend(leaf);
        let size = self.chain.size();
        for (mark, root) in self.marks.iter().zip(&mut self.roots) {
            if *mark == Some(size) {
                *root = Some(self.chain.frontier().root());
            }
        }
    }
}

fn created(record: &Record) -> Option<Created> {
    let text = |key: &str| record.details.get(key)?.as_str().map(str::to_owned);
    (record.kind == Kind::LedgerCreated)
        .then(|| Some(Created { origin: text("origin")?, key: text("key")? }))
        .flatten()
}

/// Whether a note is signed by one of `keys` and by none of them falsely. Without keys everything goes; the
/// verdict then says that authenticity was not evaluated.
pub(super) fn signed_by_any(note: &SignedNote, keys: &[PublicKey]) -> Result<(), String> {
    note.verify_any(keys).map_err(|error| error.to_string())
}

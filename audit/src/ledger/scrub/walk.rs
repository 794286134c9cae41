//! One pass over the journal, and over the store beside it.

use serde::Serialize;

use super::copies::{Copies, Copy};
use super::frames::Frames;
use crate::checkpoint::Checkpoint;
use crate::digest::Digest;
use crate::journal::files::SegmentPath;
use crate::journal::{Files, FrameKind, Group, SegmentHeader};
use crate::prefix::NAME;
use crate::tree::Frontier;

/// How many damaged places are named; of the others it is said how many there are.
const NAMED: usize = 16;

/// A damaged place in the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Damage {
    /// The segment file's name.
    pub segment: String,
    /// Where in it the frame begins that is affected.
    pub offset: u64,
    /// The first record that is affected.
    pub seq: u64,
    /// What is wrong.
    pub what: String,
}

/// What a scrub found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Findings {
    /// The number of the first record in the journal.
    pub first: u64,
    /// The number after the last record that was to be read.
    pub records: u64,
    /// How many segments.
    pub segments: u64,
    /// How many bytes of the journal were read.
    pub bytes: u64,
    /// Damage in the journal.
    pub damage: Vec<Damage>,
    /// How much more there is.
    pub more: u64,
    /// How many records were compared with the store.
    pub compared: u64,
    /// How many of them were missing or different there.
    pub different: u64,
    /// How many of these are now as in the journal.
    pub mended: u64,
    /// The store cannot be mended and is to be made anew.
    pub rebuild: bool,
}

impl Findings {
    /// The scrub itself could not be done.
    pub(super) fn failed(what: String) -> Self {
        let damage = Damage { segment: String::new(), offset: 0, seq: 0, what };
        Self { damage: vec![damage], ..Self::default() }
    }

    /// Whether all is well now.
    pub fn is_good(&self) -> bool {
        self.damage.is_empty() && !self.rebuild
    }

    /// What was found, in a sentence.
    pub fn sentence(&self) -> String {
        let journal = match self.damage.first() {
            None => format!(
                "{} records of the journal are as they were signed",
                self.records - self.first.min(self.records)
            ),
            Some(first) => format!(
                "THE JOURNAL IS DAMAGED in {} places, first in {} at byte {} (record {}): {}",
                self.damage.len() as u64 + self.more,
                first.segment,
                first.offset,
                first.seq,
                first.what
            ),
        };
        let store = match (self.different, self.rebuild) {
            (0, _) => "the store has the same".to_owned(),
            (different, false) => {
                format!("{different} records in the store were not the same and are mended")
            }
            (different, true) => {
                format!(
                    "{different} records in the store are not the same, and it is to be made anew at the next start"
                )
            }
        };
        format!("{journal}; {store}")
    }

    /// What to do next.
    pub fn hint(&self) -> &'static str {
        if self.damage.is_empty() {
            "restart the gateway when it suits: the query store is then made anew from the journal"
        } else {
            "copy the ledger's directory away now; put the segments that are named back from the archive or a backup while the \
             gateway is stopped, and run `auditctl verify`; docs/operator.md says more under \"The scrub\""
        }
    }

    fn damaged(&mut self, segment: &SegmentPath, offset: u64, seq: u64, what: String) {
        if self.damage.len() < NAMED {
            self.damage.push(Damage { segment: segment.name(), offset, seq, what });
        } else {
            self.more += 1;
        }
    }
}

/// Reads all records under `head`; `None` if `go_on` said no.
pub(super) fn walk(
    files: &Files,
    head: &Checkpoint,
    copies: &Copies,
    go_on: &mut dyn FnMut(u64) -> bool,
) -> Option<Findings> {
    let mut walk = Walk { files, head, copies, go_on, reached: None, found: Findings::default() };
    walk.found.records = head.size;
    let segments = match walk.beginning().and_then(|size| files.segments_behind(size)) {
        Ok(segments) => segments,
        Err(error) => return Some(Findings::failed(format!("the journal cannot be listed: {error}"))),
    };
    walk.found.first = segments.first().map_or(0, |first| first.first.get());
    for segment in segments.iter().filter(|segment| segment.first.get() < head.size) {
        walk.found.segments += 1;
        walk.segment(segment)?;
    }
    if let (Some(reached), Some(last)) = (&walk.reached, segments.last())
        && walk.found.damage.is_empty()
    {
        if reached.size() < head.size {
            let what = format!("it ends after {} of {} records", reached.size(), head.size);
            walk.found.damaged(last, 0, reached.size(), what);
        } else if reached.root() != head.root {
            walk.found.damaged(last, 0, 0, "the records are not those of the head in memory".to_owned());
        }
    }
    Some(walk.found)
}

struct Walk<'a> {
    files: &'a Files,
    head: &'a Checkpoint,
    copies: &'a Copies,
    go_on: &'a mut dyn FnMut(u64) -> bool,
    /// The tree over all records so far; `None` behind damage.
    reached: Option<Frontier>,
    found: Findings,
}

impl Walk<'_> {
    /// Reads what is left of a pruned beginning; where it ends, or 0 if there is none.
    fn beginning(&mut self) -> std::io::Result<u64> {
        let (size, begun) = match self.files.read_prefix()? {
            None => (0, Some(Frontier::default())),
            Some(Ok(prefix)) => (prefix.size(), Some(prefix.chain().frontier().clone())),
            Some(Err(fault)) => {
                let (seq, what) = (fault.seq().get(), fault.to_string());
                self.found.damage.push(Damage { segment: NAME.to_owned(), offset: 0, seq, what });
                (self.files.pruned()?, None)
            }
        };
        self.reached = begun;
        Ok(size)
    }

    /// Reads one segment. Damage in it ends it: what comes behind is looked at again from the next header on.
    fn segment(&mut self, segment: &SegmentPath) -> Option<()> {
        let first = segment.first.get();
        let mut frames = match Frames::open(&segment.path) {
            Ok(frames) => frames,
            Err(error) => {
                self.found.damaged(segment, 0, first, format!("it cannot be opened: {error}"));
                self.reached = None;
                return Some(());
            }
        };
        let mut tree: Option<Frontier> = None;
        loop {
            let (offset, at) = (frames.offset, tree.as_ref().map_or(first, Frontier::size));
            if at >= self.head.size {
                break;
            }
            let read = match frames.next() {
                Ok(None) => break,
                Ok(Some((kind, bytes))) => self.frame(kind, bytes, (segment, &mut tree)),
                Err(error) => Err(error.to_string()),
            };
            if let Err(what) = read {
                self.found.damaged(segment, offset, at, what);
                self.reached = None;
                return Some(());
            }
            let bytes = frames.offset - offset;
            self.found.bytes += bytes;
            if !(self.go_on)(bytes) {
                return None;
            }
        }
        self.reached = tree;
        Some(())
    }

    fn frame(
        &mut self,
        kind: FrameKind,
        bytes: Vec<u8>,
        (segment, tree): (&SegmentPath, &mut Option<Frontier>),
    ) -> Result<(), String> {
        match (kind, tree) {
            (FrameKind::Segment, tree @ None) => {
                let header = SegmentHeader::parse(&bytes).map_err(|error| error.to_string())?;
                let begun = Frontier::resume(header.first.get(), header.peaks);
                let begun = begun.filter(|begun| begun.size() == segment.first.get());
                let begun = begun.ok_or("its header is not the one of this segment")?;
                if self.reached.as_ref().is_some_and(|reached| *reached != begun) {
                    return Err("it does not go on where the segment before it ended".to_owned());
                }
                *tree = Some(begun);
                Ok(())
            }
            (FrameKind::Group, Some(tree)) => self.group(bytes, tree),
            _ => Err("it is of a kind that does not belong there".to_owned()),
        }
    }

    fn group(&mut self, bytes: Vec<u8>, tree: &mut Frontier) -> Result<(), String> {
        let group = Group::parse(bytes).map_err(|error| error.to_string())?;
        if group.first().get() != tree.size() {
            return Err(format!("it begins with record {} in the place of {}", group.first(), tree.size()));
        }
        let mut grown = tree.clone();
        group.records().for_each(|(_, record, _)| grown.push(Digest::leaf(record)));
        let note = String::from_utf8_lossy(group.note());
        let (signed, _) = Checkpoint::from_note(&note).map_err(|error| error.to_string())?;
        if signed.size != grown.size() || signed.root != grown.root() {
            return Err("its records are not those that its head was signed for".to_owned());
        }
        *tree = grown;
        match self.copies.compare(self.files, &group) {
            Copy::NotThere => return Ok(()),
            Copy::Same => {}
            Copy::Mended(records) => {
                self.found.different += records;
                self.found.mended += records;
            }
            Copy::Lost(records) => {
                self.found.different += records;
                self.found.rebuild = true;
            }
        }
        self.found.compared += group.count();
        Ok(())
    }
}

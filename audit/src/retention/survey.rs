//! Reads a whole journal to find out which holds there are and what may go.

use std::io;
use std::ops::ControlFlow;

use jiff::Timestamp;

use super::{Holds, Plan, Planner, Policy};
use crate::checkpoint::Checkpoint;
use crate::journal::files::read_segment;
use crate::journal::frame::Frame;
use crate::journal::reading::read_segments;
use crate::journal::scan::{ScanEnd, scan};
use crate::journal::{Files, FrameKind, SegmentHeader};
use crate::note::SignedNote;
use crate::prefix::{Piece, Prefix, PrefixFault, PrefixWriter, Written};
use crate::record::{Record, RecordReader, Seq};
use crate::signers::News;

/// What was found in a journal.
#[derive(Clone, Debug)]
pub struct Survey {
    /// The legal holds that were not lifted.
    pub holds: Holds,
    /// What pruning now would do.
    pub plan: Plan,
    /// How many records the ledger has, with those that were pruned.
    pub records: u64,
    /// The number of the first record that is in a segment.
    pub pruned: u64,
    policy: Policy,
    now: Timestamp,
    unread: u64,
}

/// The legal holds of a ledger.
pub fn holds(files: &Files) -> Result<Holds, SurveyError> {
    const FAMILY: &[u8] = b"\"kind\":\"retention.";
    let mut holds = Holds::default();
    let mut unreadable = None;
    let end = scan(files, Seq::ZERO, &mut |seq, bytes, _| {
        // Most records are of other kinds and need not be parsed.
        if bytes.windows(FAMILY.len()).any(|window| window == FAMILY) {
            match Record::parse(bytes) {
                Ok(record) => holds.apply(&record),
                Err(error) => {
                    unreadable = Some(SurveyError::Damaged { what: format!("record {seq}: {error}") });
                    return ControlFlow::Break(());
                }
            }
        }
        ControlFlow::Continue(())
    })?;
    match unreadable {
        Some(error) => Err(error),
        None => whole(end, true).map(|()| holds),
    }
}

/// Says what may go at `now`. From the record `unread` on everything stays.
pub fn survey(files: &Files, policy: &Policy, now: Timestamp, unread: u64) -> Result<Survey, SurveyError> {
    let holds = holds(files)?;
    let mut planner = Planner::new(policy, &holds, now, unread);
    let mut records = 0;
    let prefix = prefix(files)?;
    let pruned = prefix.as_ref().map_or(0, Prefix::size);
    if let Some(prefix) = &prefix {
        prefix.pieces().for_each(|piece| planner.push(piece));
        planner.boundary();
        records = pruned;
    }
    let segments = files.segments_behind(pruned)?;
    for (number, segment) in segments.iter().enumerate() {
        let read = read_segments(std::slice::from_ref(segment), None, Seq::ZERO, &mut |found| {
            planner.push(Piece::Record { seq: found.seq, bytes: found.record, sealed: found.sealed });
            records = found.seq.next().get();
            ControlFlow::Continue(())
        })?;
        let last = number + 1 == segments.len();
        whole(read.end, last)?;
        if !last {
            planner.boundary();
        }
    }
    let plan = planner.finish();
    Ok(Survey { holds, plan, records, pruned, policy: policy.clone(), now, unread })
}

impl Survey {
    /// The rules that were asked.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Makes the prefix that the plan leads to. `recorded_from` is how many records the ledger has.
    pub fn prefix(&self, files: &Files, recorded_from: Seq) -> Result<(Written, String), SurveyError> {
        let size = self.plan.size;
        let planner = Planner::new(&self.policy, &self.holds, self.now, self.unread);
        let before = prefix(files)?;
        let note = match &before {
            Some(prefix) if prefix.size() == size => prefix.note().to_string(),
            _ => note_before(files, Seq::new(size))?,
        };
        let writer = PrefixWriter::new(&note, size, recorded_from);
        let mut making = Making { planner, writer, news: News::default(), reader: RecordReader::default() };
        if let Some(prefix) = &before {
            prefix.pieces().for_each(|piece| making.push(piece));
            making.head(prefix.checkpoint(), prefix.note());
        }
        let mut segments = files.segments_behind(self.pruned)?;
        segments.retain(|segment| segment.first.get() < size);
        let mut unreadable = None;
        let read = read_segments(&segments, None, Seq::ZERO, &mut |found| {
            making.push(Piece::Record { seq: found.seq, bytes: found.record, sealed: found.sealed });
            let Some(note) = found.head else { return ControlFlow::Continue(()) };
            match Checkpoint::from_note(&String::from_utf8_lossy(note)) {
                Ok((checkpoint, note)) => making.head(&checkpoint, &note),
                Err(error) => {
                    let what = format!("the head behind record {}: {error}", found.seq);
                    unreadable = Some(SurveyError::Damaged { what });
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        })?;
        whole(read.end, false)?;
        unreadable.map_or_else(|| Ok((making.writer.finish(), note)), Err)
    }
}

/// A prefix in the making.
struct Making<'a> {
    planner: Planner<'a>,
    writer: PrefixWriter,
    /// What the records since the last head say about keys.
    news: News,
    reader: RecordReader,
}

impl Making<'_> {
    fn push(&mut self, piece: Piece<'_>) {
        let keep = match piece {
            Piece::Record { seq, bytes, .. } => {
                if News::may_be_in(bytes)
                    && let Ok(record) = self.reader.read(bytes)
                {
                    self.news.read(&record);
                }
                self.planner.verdict(seq, bytes).is_some()
            }
            Piece::Omitted(_) => false,
            Piece::Head { .. } => {
                self.news = News::default();
                true
            }
        };
        self.writer.push(piece, keep);
    }

    /// A head stays where its group changes who may sign.
    fn head(&mut self, checkpoint: &Checkpoint, note: &SignedNote) {
        if !std::mem::take(&mut self.news).is_empty() {
            self.writer.push(Piece::Head { checkpoint, note }, true);
        }
    }
}

fn prefix(files: &Files) -> Result<Option<Prefix>, SurveyError> {
    files.read_prefix()?.transpose().map_err(SurveyError::Prefix)
}

/// The signed head over all records before the segment that begins with `first`.
fn note_before(files: &Files, first: Seq) -> Result<String, SurveyError> {
    let bytes = read_segment(&files.segment(first))?;
    let header = match Frame::read(&bytes, 0) {
        Ok(Some(frame)) if frame.sound && frame.kind == FrameKind::Segment => {
            SegmentHeader::parse(frame.bytes).ok()
        }
        _ => None,
    };
    let what = || format!("the header of the segment that begins with record {first} cannot be read");
    header.map(|header| header.note).ok_or_else(|| SurveyError::Damaged { what: what() })
}

/// Only the last segment may end in an unfinished group, for it is being written.
fn whole(end: ScanEnd, last: bool) -> Result<(), SurveyError> {
    match end {
        ScanEnd::Complete | ScanEnd::Stopped => Ok(()),
        ScanEnd::Unfinished { .. } if last => Ok(()),
        ScanEnd::Unfinished { .. } => Err(SurveyError::Damaged {
            what: "a segment that is not the last ends within a group".to_owned(),
        }),
        ScanEnd::Damaged { segment, offset, what } => {
            Err(SurveyError::Damaged { what: format!("{segment} at byte {offset}: {what}") })
        }
    }
}

/// Why a journal cannot be surveyed.
#[derive(Debug, thiserror::Error)]
pub enum SurveyError {
    /// It cannot be read.
    #[error("the journal cannot be read")]
    Read(#[from] io::Error),
    /// It is damaged: nothing may be pruned that could be evidence of how.
    #[error("the journal is damaged: {what}")]
    Damaged {
        /// Where and how.
        what: String,
    },
    /// Its pruned beginning is.
    #[error("the pruned beginning of the journal cannot be used: {0}")]
    Prefix(PrefixFault),
}

impl SurveyError {
    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Read(_) => "check the ledger's directory and who may read it",
            Self::Damaged { .. } | Self::Prefix(_) => {
                "run `auditctl verify` on the ledger; nothing is pruned before it is whole"
            }
        }
    }
}

//! The largest beginning of the journal that passes the verifier, and what lies behind it.

use std::path::Path;

use crate::digest::Digest;
use crate::epoch;
use crate::journal::files::{SegmentPath, read_segment};
use crate::journal::segment::SegmentFault;
use crate::journal::{Files, Frame, FrameFault, FrameKind, Group, SegmentHeader};
use crate::note::PublicKey;
use crate::prefix::NAME;
use crate::recovery::{Kept, Move, RecoveryError};
use crate::tree::Frontier;
use crate::verify::{Segment, State, Trust, Unreadable, Verdict, verify};

/// A beginning of the journal: so many segments, and of the last so many bytes.
pub(super) struct Prefix {
    /// What is left of a pruned beginning stands before them.
    pruned: bool,
    segments: Vec<SegmentPath>,
    count: usize,
    bytes: u64,
    pub(super) kept: Kept,
    pub(super) findings: Vec<String>,
}

impl Prefix {
    /// Cuts until what is left passes.
    pub(super) fn find(files: &Files, keys: &[PublicKey]) -> Result<Self, RecoveryError> {
        let failed = RecoveryError::io("read", files.prefix());
        let (pruned, size) = (files.prefix().exists(), files.pruned().map_err(failed)?);
        // What the pruned beginning stands for may still lie beside it.
        let segments = files.segments_behind(size).map_err(RecoveryError::io("list", files.journal()))?;
        let (count, bytes) = (segments.len(), u64::MAX);
        let kept = Kept { records: 0, root: Frontier::default().root(), note: String::new() };
        let mut prefix = Self { pruned, segments, count, bytes, kept, findings: Vec::new() };
        loop {
            let groups = prefix.last_groups()?;
            let Some((end, note)) = groups else {
                if prefix.count == 0 {
                    // Nothing is left that declares it: to go on without it would give up what is archived.
                    return if pruned { Err(undeclared(files)) } else { Ok(prefix) };
                }
                // Begun, and nothing written into it that counts.
                (prefix.count, prefix.bytes) = (prefix.count - 1, u64::MAX);
                continue;
            };
            prefix.bytes = end;
            let verdict = prefix.verify(files, keys);
            let broken = verdict.first_break.as_ref();
            if let Some(broken) = broken.filter(|broken| broken.segment.as_deref() == Some(NAME)) {
                if verdict.ledger.pruned_by.is_none() && verdict.integrity.state == State::Pass {
                    return Err(undeclared(files));
                }
                let what = format!("record {}: {}", broken.seq, broken.what);
                return Err(RecoveryError::Pruned { path: files.prefix(), what });
            }
            let place = broken.and_then(|broken| {
                let at = prefix.segments.iter().position(|one| Some(one.name()) == broken.segment)?;
                Some((at, broken.offset?, format!("Record {}: {}.", broken.seq, broken.what)))
            });
            match place {
                Some((at, offset, sentence)) => {
                    prefix.findings.push(sentence);
                    let whole = offset == 0;
                    prefix.count = if whole { at } else { at + 1 };
                    prefix.bytes = if whole { u64::MAX } else { offset as u64 };
                }
                None if verdict.integrity.state == State::Pass
                    && verdict.authenticity.state == State::Pass =>
                {
                    let root = verdict.ledger.root.unwrap_or(Digest::ZERO);
                    prefix.kept = Kept { records: verdict.ledger.records, root, note };
                    return Ok(prefix);
                }
                None => return Err(RecoveryError::Newer(verdict.integrity.sentence)),
            }
        }
    }

    fn verify(&self, files: &Files, keys: &[PublicKey]) -> Verdict {
        let trust = Trust { keys: keys.to_vec(), ..Trust::default() };
        let unreadable =
            |name: String| move |error: std::io::Error| Unreadable { name, reason: error.to_string() };
        let pruned = self.pruned.then(|| {
            let bytes = read_segment(&files.prefix()).map_err(unreadable(NAME.to_owned()))?;
            Ok(Segment { name: NAME.to_owned(), bytes })
        });
        let kept = self.segments.iter().take(self.count).enumerate();
        let read = kept.map(|(at, segment)| {
            let mut bytes = read_segment(&segment.path).map_err(unreadable(segment.name()))?;
            if at + 1 == self.count {
                bytes.truncate(usize::try_from(self.bytes).unwrap_or(usize::MAX));
            }
            Ok(Segment { name: segment.name(), bytes })
        });
        verify(pruned.into_iter().chain(read), None, &trust)
    }

    /// Where the whole groups of the last segment end, and the head over them; `None` if there are none.
    fn last_groups(&self) -> Result<Option<(u64, String)>, RecoveryError> {
        let Some(segment) = self.count.checked_sub(1).and_then(|last| self.segments.get(last)) else {
            return Ok(None);
        };
        let bytes = read(&segment.path)?;
        let (mut offset, mut found) = (0, None);
        while offset < usize::try_from(self.bytes).unwrap_or(usize::MAX) {
            match Frame::read(&bytes, offset) {
                Ok(Some(frame)) if frame.sound && offset == 0 && frame.kind == FrameKind::Segment => {
                    if let Err(fault @ SegmentFault::Version { .. }) = SegmentHeader::parse(frame.bytes) {
                        return Err(RecoveryError::Newer(format!("{}: {fault}", segment.name())));
                    }
                    offset += frame.bytes.len();
                }
                Ok(Some(frame)) if frame.sound && offset > 0 && frame.kind == FrameKind::Group => {
                    let Ok(group) = Group::parse(frame.bytes) else { break };
                    offset += frame.bytes.len();
                    found = Some((offset as u64, String::from_utf8_lossy(group.note()).into_owned()));
                }
                Err(fault @ FrameFault::Unknown { .. }) => {
                    return Err(RecoveryError::Newer(format!("{}: {fault}", segment.name())));
                }
                _ => break,
            }
        }
        Ok(found)
    }

    /// In which epoch it ends.
    pub(super) fn epoch(&self) -> u64 {
        self.kept.note.lines().next().map_or(1, |origin| epoch::split(origin).1)
    }

    /// Whether the journal has hardly begun, so that a blank head file beside it is no loss.
    pub(super) fn is_new(&self) -> bool {
        self.segments.is_empty()
    }

    /// Shows the pieces of the journal that lie behind it, one at a time: they may be as large as the ledger.
    pub(super) fn surplus(&self, visit: &mut dyn FnMut(&[u8])) -> Result<(), RecoveryError> {
        let from = self.count.saturating_sub(1);
        for (at, segment) in self.segments.iter().enumerate().skip(from) {
            let bytes = read(&segment.path)?;
            let start = if at < self.count { usize::try_from(self.bytes).unwrap_or(usize::MAX) } else { 0 };
            if let Some(rest) = bytes.get(start..).filter(|rest| !rest.is_empty()) {
                visit(rest);
            }
        }
        Ok(())
    }

    /// What has to be moved so that nothing but it is left.
    pub(super) fn moves(&self) -> Vec<Move> {
        let path = |segment: &SegmentPath| format!("journal/{}", segment.name());
        let mut moves: Vec<_> =
            self.segments.iter().skip(self.count).map(|segment| Move::Aside(path(segment))).collect();
        if let Some(last) = self.count.checked_sub(1).and_then(|last| self.segments.get(last))
            && last.path.metadata().is_ok_and(|metadata| metadata.len() > self.bytes)
        {
            moves.push(Move::Cut { path: path(last), bytes: self.bytes });
        }
        moves
    }
}

/// The record that says that the beginning was pruned lies behind what is whole, or nowhere.
fn undeclared(files: &Files) -> RecoveryError {
    let what = "the record that declares it is not among what is whole".to_owned();
    RecoveryError::Pruned { path: files.prefix(), what }
}

fn read(path: &Path) -> Result<Vec<u8>, RecoveryError> {
    read_segment(path).map_err(RecoveryError::io("read", path))
}

//! The signed heads that are known of a ledger, wherever they were found.
//!
//! Only those count that a given key signed and that name the ledger: a head that anybody could have written says
//! nothing about what was lost.

use std::ops::ControlFlow;

use super::Prefix;
use crate::checkpoint::Checkpoint;
use crate::digest::Digest;
use crate::epoch::{self, Epochs};
use crate::journal::scan::scan_pieces;
use crate::journal::{Files, Frame, FrameKind, Group, SegmentHeader};
use crate::note::PublicKey;
use crate::prefix::Piece;
use crate::record::RecordReader;
use crate::recovery::RecoveryError;
use crate::recovery::carry::waiting;
use crate::tree::Frontier;

/// One signed head.
#[derive(Clone)]
pub(super) struct Known {
    pub(super) checkpoint: Checkpoint,
    /// With the lines of given keys alone: others may have added lines without bound.
    pub(super) note: String,
    pub(super) found: String,
    standing: Standing,
}

/// What a head is to the records that are kept.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// They lead to it.
    Contained,
    /// It covers more.
    Beyond,
    /// They lead to another root at its size.
    Contradicting,
    /// An earlier epoch lost it, and has said so.
    Declared,
    /// Records around its end were pruned, so that it cannot be compared.
    Pruned,
}

/// All that were found.
pub(super) struct Heads<'a> {
    keys: &'a [PublicKey],
    list: Vec<Known>,
    kept: String,
    pub(super) findings: Vec<String>,
    /// Files, and which of `list` stands in each, if it can be used.
    beside: Vec<(&'static str, Option<usize>)>,
}

impl<'a> Heads<'a> {
    pub(super) fn new(keys: &'a [PublicKey], prefix: &Prefix) -> Self {
        Self {
            keys,
            list: Vec::new(),
            kept: prefix.kept.note.clone(),
            findings: Vec::new(),
            beside: Vec::new(),
        }
    }

    /// Takes a head if a given key signed it and it is of this ledger.
    pub(super) fn take(&mut self, found: &str, note: &str) -> bool {
        let Ok((checkpoint, note)) = Checkpoint::from_note(note) else { return false };
        if self.keys.is_empty() || note.verify_any(self.keys).is_err() {
            return false;
        }
        if self.base().is_some_and(|base| epoch::split(&checkpoint.origin).0 != base) {
            return false;
        }
        let note = note.keeping(self.keys).to_string();
        self.list.push(Known { checkpoint, note, found: found.to_owned(), standing: Standing::Contained });
        true
    }

    /// A checkpoint that the operator brought along.
    pub(super) fn given(&mut self, number: usize, note: &str) -> Result<(), RecoveryError> {
        let unusable = |reason: String| RecoveryError::Checkpoint { number, reason };
        let (_, signed) = Checkpoint::from_note(note).map_err(|error| unusable(error.to_string()))?;
        signed.verify_any(self.keys).map_err(|error| unusable(error.to_string()))?;
        if self.take("a given checkpoint", note) {
            Ok(())
        } else {
            Err(unusable("it is of another ledger".to_owned()))
        }
    }

    /// The heads with others' signatures that lie beside the ledger.
    pub(super) fn beside(&mut self, files: &Files) -> Result<(), RecoveryError> {
        let cosigned = files.read_cosigned().map_err(RecoveryError::io("read", files.cosigned()))?;
        let witnessed = files.read_witnessed().map_err(RecoveryError::io("read", files.witnessed()))?;
        for (name, bytes) in [("cosigned", cosigned), ("witnessed", witnessed)] {
            let Some(bytes) = bytes else { continue };
            let found = format!("the file {name} beside the ledger");
            let at = self.take(&found, &String::from_utf8_lossy(&bytes)).then(|| self.list.len() - 1);
            self.beside.push((name, at));
        }
        Ok(())
    }

    /// The last head within a piece of the journal that cannot be kept.
    pub(super) fn surplus(&mut self, piece: &[u8]) {
        let notes: Vec<_> = notes(piece).collect();
        // The last that holds says all that the earlier ones say.
        let _ = notes.iter().rev().find(|note| self.take("a later piece of the journal", note));
    }

    /// What an earlier recovery knew that the gateway has not recorded yet.
    pub(super) fn earlier_plan(&mut self, files: &Files) -> Result<(), RecoveryError> {
        if let Some(note) = waiting(files)?.and_then(|plan| plan.resumed.lost_head) {
            self.take("an earlier plan", &note);
        }
        Ok(())
    }

    /// The ledger's name in its first epoch.
    pub(super) fn base(&self) -> Option<String> {
        let kept = self.kept.lines().next();
        let origin = kept.or(self.list.first().map(|known| known.checkpoint.origin.as_str()))?;
        Some(epoch::split(origin).0.to_owned())
    }

    /// The last epoch of which a head is known.
    pub(super) fn epoch(&self) -> u64 {
        self.list.iter().map(|known| epoch::split(&known.checkpoint.origin).1).max().unwrap_or(1)
    }

    /// Holds every head against the first `kept` records.
    pub(super) fn compare(&mut self, files: &Files, kept: u64) -> Result<(), RecoveryError> {
        let wanted: std::collections::BTreeSet<u64> =
            self.list.iter().map(|known| known.checkpoint.size).filter(|size| *size <= kept).collect();
        let (mut frontier, mut epochs) = (Frontier::default(), Epochs::default());
        let mut reader = RecordReader::default();
        let mut roots = std::collections::BTreeMap::from([(0, frontier.root())]);
        let mut visit = |piece: Piece<'_>| {
            if frontier.size() >= kept {
                return ControlFlow::Break(());
            }
            match piece {
                Piece::Record { bytes, .. } => {
                    if let Ok(record) = reader.read(bytes) {
                        // The verifier has passed all of this already; only the epochs are wanted.
                        let _ = epochs.loose_record(record.seq, record.kind, || record.details());
                    }
                    frontier.push(Digest::leaf(bytes));
                }
                Piece::Omitted(run) if frontier.push_subtree(run.height, run.root) => {}
                Piece::Omitted(_) => return ControlFlow::Break(()),
                Piece::Head { .. } => {}
            }
            if wanted.contains(&frontier.size()) {
                roots.insert(frontier.size(), frontier.root());
            }
            ControlFlow::Continue(())
        };
        scan_pieces(files, &mut visit).map_err(RecoveryError::io("read", files.journal()))?;
        let pruned = files.pruned().map_err(RecoveryError::io("read", files.prefix()))?;
        for known in &mut self.list {
            let Checkpoint { origin, size, root } = &known.checkpoint;
            let lost_earlier = epochs
                .all()
                .iter()
                .filter_map(|epoch| epoch.resumed.as_ref())
                .any(|resumed| epoch::split(origin).1 < resumed.epoch && *size > resumed.first);
            let own = epochs.at(*size).is_none_or(|epoch| epoch.origin == *origin);
            known.standing = if lost_earlier {
                Standing::Declared
            } else if *size > kept {
                Standing::Beyond
            } else if own && *size < pruned && !roots.contains_key(size) {
                Standing::Pruned
            } else if own && roots.get(size) == Some(root) {
                Standing::Contained
            } else {
                Standing::Contradicting
            };
        }
        Ok(())
    }

    fn largest(&self, standing: Standing) -> Option<&Known> {
        let those = self.list.iter().filter(|known| known.standing == standing);
        those.max_by_key(|known| (epoch::split(&known.checkpoint.origin).1, known.checkpoint.size))
    }

    /// The largest head over more than is kept.
    pub(super) fn beyond(&self) -> Option<&Known> {
        self.largest(Standing::Beyond)
    }

    /// The largest head that tells of another history.
    pub(super) fn contradicting(&self) -> Option<&Known> {
        self.largest(Standing::Contradicting)
    }

    /// The head to be named as lost, of the epoch `origin`; `skipped` if nothing of that epoch is kept.
    pub(super) fn lost(&self, origin: &str, skipped: bool) -> Option<(Checkpoint, String, String)> {
        let lost = |known: &&Known| {
            known.checkpoint.origin == origin
                && (skipped || matches!(known.standing, Standing::Beyond | Standing::Contradicting))
        };
        let largest = self.list.iter().filter(lost).max_by_key(|known| known.checkpoint.size);
        largest.map(|known| (known.checkpoint.clone(), known.note.clone(), known.found.clone()))
    }

    /// The files beside the ledger whose heads would speak against what is kept, or cannot be used.
    pub(super) fn surplus_files(&self) -> impl Iterator<Item = &'static str> {
        let against = |at: &usize| {
            self.list
                .get(*at)
                .is_some_and(|known| matches!(known.standing, Standing::Beyond | Standing::Contradicting))
        };
        self.beside.iter().filter(move |(_, at)| at.as_ref().is_none_or(against)).map(|(name, _)| *name)
    }
}

/// The frames in a piece of a journal, which may be damaged anywhere.
fn frames(bytes: &[u8]) -> impl Iterator<Item = Frame<'_>> {
    let magics = [FrameKind::Group.magic(), FrameKind::Segment.magic()];
    let begins = move |window: &[u8]| magics.iter().any(|magic| window == magic);
    let places = bytes.windows(4).enumerate().filter(move |(_, window)| begins(window));
    places.filter_map(|(at, _)| Frame::read(bytes, at).ok().flatten().filter(|frame| frame.sound))
}

/// Whether a whole group stands in a piece of a journal.
pub(super) fn has_group(bytes: &[u8]) -> bool {
    frames(bytes).any(|frame| frame.kind == FrameKind::Group)
}

/// The signed heads in a piece of a journal.
fn notes(bytes: &[u8]) -> impl Iterator<Item = String> {
    frames(bytes).filter_map(|frame| match frame.kind {
        FrameKind::Segment => SegmentHeader::parse(frame.bytes).ok().map(|header| header.note),
        _ => Group::parse(frame.bytes).ok().map(|group| String::from_utf8_lossy(group.note()).into_owned()),
    })
}

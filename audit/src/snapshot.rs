//! A ledger as it was under one signed head.
//!
//! Proofs, exports and tiles are all made for a head: the records up to its size, and no others, although
//! the gateway may be writing more. They are read from the journal in order; at the end their root must be
//! the head's, or nothing may be made of them.
//!
//! Whether a trusted key signed the head is for whoever receives what is made of it. Here only the hashes
//! are compared.

use std::io;
use std::ops::ControlFlow;

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::digest::Digest;
use crate::journal::Files;
use crate::journal::files::read_header;
use crate::journal::scan::{ScanEnd, last_head, last_note, scan, scan_pieces};
use crate::prefix::Piece;
use crate::record::Seq;
use crate::tree::{Frontier, PathBuilder, Subtree};

/// The records of a ledger up to a head.
#[derive(Clone, Debug)]
pub struct Snapshot {
    files: Files,
    note: String,
    checkpoint: Checkpoint,
}

/// Takes a record with its leaf hash, or a run of records that were pruned.
pub type Take<'a> = dyn FnMut(Shown<'_>) -> io::Result<()> + 'a;

/// What a snapshot has of some numbers.
#[derive(Clone, Copy, Debug)]
pub enum Shown<'a> {
    /// A record.
    Record {
        /// Its number.
        seq: Seq,
        /// Its canonical bytes.
        bytes: &'a [u8],
        /// Its leaf hash.
        leaf: Digest,
    },
    /// Records that were pruned; the subtree that they filled.
    Omitted(Subtree),
}

impl Snapshot {
    /// Under the last head in the journal that the ledger's own key signed.
    pub fn latest(files: Files) -> Result<Self, SnapshotError> {
        let last = last_note(&files)?;
        Self::under(files, last)
    }

    /// Under the last head in the journal, although only a lent key may have signed it.
    pub fn whole(files: Files) -> Result<Self, SnapshotError> {
        let last = last_head(&files)?;
        Self::under(files, last)
    }

    fn under(files: Files, (note, end): (Option<String>, ScanEnd)) -> Result<Self, SnapshotError> {
        if let ScanEnd::Damaged { segment, offset, what } = end {
            // An earlier head would do, and would silently leave out what stands behind the damage.
            return Err(SnapshotError::Damaged { segment, offset, what });
        }
        Self::at(files, note.ok_or(SnapshotError::Empty)?)
    }

    /// Under this head.
    pub fn at(files: Files, note: String) -> Result<Self, SnapshotError> {
        let (checkpoint, _) = Checkpoint::from_note(&note)?;
        Ok(Self { files, note, checkpoint })
    }

    /// What the head says.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The head as it was signed.
    pub fn note(&self) -> &str {
        &self.note
    }

    /// How many records the pruned beginning speaks of; zero if nothing was pruned.
    pub fn pruned(&self) -> io::Result<u64> {
        // What is wrong with it is said when the records are read.
        self.files.pruned()
    }

    /// Shows `take` all records in order, and then compares their root with the head's.
    ///
    /// What `take` made of the records counts only when this returns `Ok`.
    pub fn records(&self, take: &mut Take<'_>) -> Result<(), SnapshotError> {
        self.records_behind(Frontier::default(), take)
    }

    /// The same for the records behind those that led to `frontier`. What it claims is part of what is compared.
    fn records_behind(&self, mut frontier: Frontier, take: &mut Take<'_>) -> Result<(), SnapshotError> {
        let size = self.checkpoint.size;
        let from = Seq::new(frontier.size());
        let mut failed = None;
        let mut pruned = false;
        let mut visit = |piece: Piece<'_>| {
            if frontier.size() == size {
                return ControlFlow::Break(());
            }
            let shown = match piece {
                Piece::Record { seq, .. } if seq.get() != frontier.size() => return ControlFlow::Break(()),
                Piece::Record { seq, bytes, .. } => {
                    let leaf = Digest::leaf(bytes);
                    frontier.push(leaf);
                    Shown::Record { seq, bytes, leaf }
                }
                // A run that goes on behind the head cannot be divided: its records are no longer there.
                Piece::Omitted(run) => {
                    if run.count() > size - frontier.size() || !frontier.push_subtree(run.height, run.root) {
                        pruned = true;
                        return ControlFlow::Break(());
                    }
                    Shown::Omitted(run)
                }
                Piece::Head { .. } => return ControlFlow::Continue(()),
            };
            match take(shown) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            }
        };
        let end = if from == Seq::ZERO {
            scan_pieces(&self.files, &mut visit)?
        } else {
            scan(&self.files, from, &mut |seq, bytes, sealed| visit(Piece::Record { seq, bytes, sealed }))?
        };
        if pruned {
            return Err(SnapshotError::Pruned { size });
        }
        if let Some(error) = failed {
            return Err(SnapshotError::Output(error));
        }
        if frontier.size() < size {
            if let ScanEnd::Damaged { segment, offset, what } = end {
                return Err(SnapshotError::Damaged { segment, offset, what });
            }
            return Err(SnapshotError::Short { size, found: frontier.size() });
        }
        if frontier.root() != self.checkpoint.root {
            return Err(SnapshotError::OtherRoot { size });
        }
        Ok(())
    }

    /// The record of this number and the audit path from it to the head's root.
    pub fn prove(&self, seq: Seq) -> Result<(Vec<u8>, Vec<Digest>), SnapshotError> {
        let size = self.checkpoint.size;
        let missing = SnapshotError::NoRecord { seq, size };
        let Some(mut path) = PathBuilder::inclusion(seq.get(), size) else { return Err(missing) };
        let mut record = None;
        let mut pruned = false;
        self.records(&mut |shown| {
            match shown {
                Shown::Record { seq: at, bytes, leaf } => {
                    path.push(leaf);
                    if at == seq {
                        record = Some(bytes.to_vec());
                    }
                }
                Shown::Omitted(run) => pruned |= !path.push_subtree(run.height, run.root),
            }
            Ok(())
        })?;
        if pruned || record.is_none() {
            return Err(SnapshotError::PrunedRecord { seq });
        }
        record.zip(path.finish()).ok_or(missing)
    }

    /// The proof that the first `old` records are still the first ones under the head. Empty for `old` zero.
    pub fn consistency(&self, old: u64) -> Result<Vec<Digest>, SnapshotError> {
        if old == 0 {
            return Ok(Vec::new());
        }
        let size = self.checkpoint.size;
        let larger = SnapshotError::Short { size: old, found: size };
        let Some(mut path) = PathBuilder::consistency(old, size) else { return Err(larger) };
        // The segment with the last of the old records says in its header what led to it, so that a ledger
        // of years is not read from its beginning for each proof. A false header leads to another root.
        let known = self.before(Seq::new(old - 1))?;
        let heights = (0..u64::BITS).rev().filter(|height| known.size() >> height & 1 == 1);
        for (height, peak) in heights.zip(known.peaks()) {
            if !path.push_subtree(height, *peak) {
                return Err(SnapshotError::OtherRoot { size });
            }
        }
        let mut pruned = false;
        self.records_behind(known, &mut |shown| {
            match shown {
                Shown::Record { leaf, .. } => path.push(leaf),
                Shown::Omitted(run) => pruned |= !path.push_subtree(run.height, run.root),
            }
            Ok(())
        })?;
        if pruned {
            return Err(SnapshotError::Pruned { size: old });
        }
        path.finish().ok_or(larger)
    }

    /// What the header of the segment that holds `seq` says of all records before that segment.
    fn before(&self, seq: Seq) -> Result<Frontier, SnapshotError> {
        let segments = self.files.segments()?;
        let at = segments.partition_point(|segment| segment.first <= seq);
        let Some(segment) = at.checked_sub(1).and_then(|at| segments.get(at)) else {
            return Ok(Frontier::default());
        };
        let header = read_header(&segment.path)?.filter(|header| header.first == segment.first);
        header.and_then(|header| Frontier::resume(header.first.get(), header.peaks)).ok_or_else(|| {
            let what = "its header cannot be read".to_owned();
            SnapshotError::Damaged { segment: segment.name(), offset: 0, what }
        })
    }
}

/// Why nothing can be made of a ledger.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// No group was ever written.
    #[error("the ledger has no signed head yet")]
    Empty,
    /// The head is not a checkpoint.
    #[error("the head cannot be used: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// The journal cannot be read to its end.
    #[error("the journal is damaged in {segment} at byte {offset}: {what}")]
    Damaged {
        /// The segment file's name.
        segment: String,
        /// Where in it.
        offset: usize,
        /// What is wrong.
        what: String,
    },
    /// The journal ends before the head's size.
    #[error("the head is over {size} records, and the ledger has {found}")]
    Short {
        /// How many there should be.
        size: u64,
        /// How many there are.
        found: u64,
    },
    /// The hashes do not fit.
    #[error("the first {size} records are not those that the head was signed for")]
    OtherRoot {
        /// The head's size.
        size: u64,
    },
    /// A size within a run of pruned records.
    #[error(
        "the tree over the first {size} records cannot be made any more: records around there were pruned"
    )]
    Pruned {
        /// The size.
        size: u64,
    },
    /// A record that is no longer there.
    #[error("record {seq} was pruned: it is in the archive, and no longer in the ledger")]
    PrunedRecord {
        /// The number.
        seq: Seq,
    },
    /// A number beyond the end.
    #[error("there is no record {seq}: the head is over {size} records, numbered from 0")]
    NoRecord {
        /// The number.
        seq: Seq,
        /// The head's size.
        size: u64,
    },
    /// The journal cannot be read.
    #[error("the journal cannot be read: {0}")]
    Read(#[from] io::Error),
    /// What was to be made could not be written.
    #[error("cannot write: {0}")]
    Output(io::Error),
}

impl SnapshotError {
    /// Whether something is not as it was signed, as opposed to missing or unreadable.
    pub fn is_broken(&self) -> bool {
        matches!(self, Self::Damaged { .. } | Self::OtherRoot { .. } | Self::Short { .. })
    }

    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Empty => "start the gateway once: it signs the ledger's first record",
            Self::Checkpoint(_) => "give a file that `auditctl checkpoint` printed",
            Self::Damaged { .. } | Self::Short { .. } | Self::OtherRoot { .. } => {
                "run `auditctl verify` on the ledger: it names the first bad record"
            }
            Self::NoRecord { .. } => "`auditctl log` lists what there is",
            Self::Pruned { .. } | Self::PrunedRecord { .. } => {
                "restore the ledger from the archive that `retention.pruned` names, beside what is here, and ask there"
            }
            Self::Read(_) => "copy the whole ledger directory to a good disk and use the copy",
            Self::Output(_) => "check the room on the disk, and who may write there",
        }
    }
}

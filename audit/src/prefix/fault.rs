//! Why a file is not the pruned beginning of a ledger.

use super::PREFIX_VERSION;
use crate::checkpoint::CheckpointError;
use crate::record::{RecordError, Seq};

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

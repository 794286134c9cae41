//! Some records of a ledger in one text that still verifies.
//!
//! A filter takes records away, and so do forgers; whoever gets a filtered list must be able to tell one
//! from the other. An export therefore speaks of every number up to its signed head: a record is shown as
//! it stands, a run of records that was left out is stated by the roots of the subtrees it fills. From both
//! the receiver computes the root that was signed. So no record can be changed, added, moved or dropped
//! without the root failing, and what was left out is stated, with its numbers.
//!
//! Not proved: that what was left out does not fit the filter. The numbers are there, and whoever doubts can
//! ask for the proof of any one of them. An export without a filter leaves nothing out in its range.
//!
//! One JSON object in a line: first the head and the selection, then records and left-out runs in the order
//! of their numbers. The format is specified in `docs/ledger-format.md`.
//!
//! Start with [`Exporter`] for writing and [`check`] for reading.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::selection::Selection;
use crate::tree::Subtree;

mod check;
mod write;

pub use check::{Checked, ExportError, Fault, check, replay};
pub use write::Exporter;

/// The format that this program writes and reads.
pub const EXPORT_VERSION: u64 = 1;

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HeadLine {
    export: Head,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    /// The signed head, with all its signatures.
    checkpoint: String,
    format: u64,
    selection: Selection,
}

/// A line that stands for records which are not shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OmittedLine {
    pub(crate) omitted: Run,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Run {
    pub(crate) count: u64,
    pub(crate) first: u64,
    pub(crate) root: Digest,
}

impl From<Subtree> for OmittedLine {
    fn from(block: Subtree) -> Self {
        Self { omitted: Run { count: block.count(), first: block.first, root: block.root } }
    }
}

#[cfg(test)]
mod tests;

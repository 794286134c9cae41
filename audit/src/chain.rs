//! The running state of a ledger: how many records, the last digest, the tree's right edge.
//!
//! Writer and verifier carry the same value and move it in the same way, so that they cannot disagree
//! about what a head covers.

use crate::checkpoint::Checkpoint;
use crate::digest::Digest;
use crate::record::Seq;
use crate::tree::Frontier;

/// Where a ledger stands after some number of records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    prev: Digest,
    frontier: Frontier,
}

impl Chain {
    /// Before the first record.
    pub fn genesis() -> Self {
        Self { prev: Digest::ZERO, frontier: Frontier::default() }
    }

    /// Goes on behind a record with this digest.
    pub fn resume(prev: Digest, frontier: Frontier) -> Self {
        Self { prev, frontier }
    }

    /// How many records there are.
    pub fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// The number which the next record must have.
    pub fn next(&self) -> Seq {
        Seq::new(self.frontier.size())
    }

    /// The digest of the last record, which the next one must name as `prev`.
    pub fn prev(&self) -> Digest {
        self.prev
    }

    /// The right edge of the tree.
    pub fn frontier(&self) -> &Frontier {
        &self.frontier
    }

    /// Takes one more record, given its leaf hash.
    pub fn extend(&mut self, leaf: Digest) {
        self.frontier.push(leaf);
        self.prev = leaf;
    }

    /// What a head over all records so far says.
    pub fn checkpoint(&self, origin: &str) -> Checkpoint {
        Checkpoint { origin: origin.to_owned(), size: self.size(), root: self.frontier.root() }
    }
}

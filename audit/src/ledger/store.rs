//! The query store, as the ledger sees it.
//!
//! A copy of the journal which can be searched. It may be lost at any time and is then made anew, so its
//! contract is small: a batch is applied whole or not at all, in order, and the store knows how far it is.

use std::ops::Range;

use crate::journal::Group;
use crate::record::Seq;

/// One stored record with the sealed values beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) seq: Seq,
    pub(super) record: Vec<u8>,
    pub(super) sealed: Vec<u8>,
}

/// What the store said, in words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct StoreError(pub(super) String);

/// A searchable copy of the journal.
pub(super) trait Store: Send + Sync {
    /// The signed head over all that it has; `None` when it is empty.
    fn head(&self) -> Result<Option<String>, StoreError>;
    /// Adds groups that follow on what it has, all or nothing, with the head of the last of them.
    fn apply(&self, groups: &[&Group<Vec<u8>>]) -> Result<(), StoreError>;
    /// Writes out what it holds in memory.
    fn flush(&self) -> Result<(), StoreError>;
    /// Which records are stored in one piece with those of `range`, its end open if they are the last: what [`Store::replace`] must be given whole.
    fn together(&self, range: Range<Seq>) -> Result<Range<Seq>, StoreError>;
    /// Puts these records, which follow each other, in the place of what is stored under their numbers.
    fn replace(&self, records: &[Stored]) -> Result<(), StoreError>;
    /// At most `limit` records from `from` on, in order.
    fn range(&self, from: Seq, limit: usize) -> Result<Vec<Stored>, StoreError>;
}

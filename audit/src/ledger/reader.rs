//! Reading what was acknowledged.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::watch;

use super::ReadError;
use super::store::{Store, Stored};
use super::tail::Tail;
use crate::digest::Digest;
use crate::epoch::Epoch;
use crate::journal::Files;
use crate::keys::Vault;
use crate::kind::Kind;
use crate::record::{Record, Seq};
use crate::sidecar::Values;

/// A record with its bytes, and with its personal values as far as they can be read.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The record.
    pub record: Record,
    /// Its canonical bytes.
    pub bytes: Vec<u8>,
    /// What is known of each personal value: readable, erased or unreadable.
    pub personal: Values,
    leaf: Digest,
}

impl Entry {
    /// `record`, whose canonical bytes are `bytes`.
    pub fn new(record: Record, bytes: Vec<u8>, personal: Values) -> Self {
        let leaf = Digest::leaf(&bytes);
        Self { record, bytes, personal, leaf }
    }

    /// The leaf hash of the bytes that the record was read from.
    pub fn digest(&self) -> Digest {
        self.leaf
    }
}

/// Reads the ledger; clones share it. Sees every record from the moment its receipt was given.
///
/// Reading may touch the disk and therefore block.
#[derive(Clone)]
pub struct Reader {
    pub(super) shared: Arc<ReadSide>,
}

pub(super) struct ReadSide {
    pub(super) files: Files,
    pub(super) tail: Arc<Tail>,
    /// Taken out when the ledger is closed or its files are opened again, so that a forgotten reader does not keep the
    /// store open.
    pub(super) store: RwLock<Option<Arc<dyn Store>>>,
    /// Records before this number may be missing.
    pub(super) pruned: u64,
    /// Whether the store comes back.
    pub(super) recovering: AtomicBool,
    pub(super) vault: Arc<dyn Vault>,
    pub(super) heads: watch::Receiver<u64>,
    pub(super) note: watch::Receiver<Arc<str>>,
    pub(super) epochs: Vec<Epoch>,
}

impl Reader {
    /// How many records there are.
    pub fn len(&self) -> u64 {
        *self.shared.heads.borrow()
    }

    /// The ledger's epochs, of which all but the first begin after a declared gap.
    pub fn epochs(&self) -> &[Epoch] {
        &self.shared.epochs
    }

    /// Whether there are none; never so in an open ledger.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The record of this number; `None` when there is none yet, or when it was pruned.
    pub fn get(&self, seq: Seq) -> Result<Option<Entry>, ReadError> {
        Ok(self.range(seq, 1)?.pop().filter(|entry| entry.record.seq == seq))
    }

    /// Records before this number may have been pruned; those that were are passed over.
    pub fn pruned(&self) -> u64 {
        self.shared.pruned
    }

    /// At most `limit` records from `from` on, in order and without gaps but for those that were pruned; fewer only when there
    /// are no more. Where to go on, the last one's number says, not how many they are.
    pub fn range(&self, from: Seq, limit: usize) -> Result<Vec<Entry>, ReadError> {
        if from.get() < self.shared.pruned && limit > 0 {
            let mut kept = self.stored(from, limit)?;
            kept.retain(|stored| stored.seq.get() < self.shared.pruned);
            let known = kept.into_iter().map(|stored| {
                let seq = stored.seq;
                self.entry(stored, seq)
            });
            let mut entries = known.collect::<Result<Vec<_>, _>>()?;
            entries.extend(self.range(Seq::new(self.shared.pruned), limit - entries.len())?);
            return Ok(entries);
        }
        let available = usize::try_from(self.len().saturating_sub(from.get())).unwrap_or(usize::MAX);
        let wanted = limit.min(available);
        if wanted == 0 {
            return Ok(Vec::new());
        }
        let found = self.stored_range(from, wanted)?;
        let numbered = found.into_iter().zip(from.get()..);
        let entries =
            numbered.map(|(stored, seq)| self.entry(stored, Seq::new(seq))).collect::<Result<Vec<_>, _>>()?;
        if entries.len() < wanted {
            return Err(ReadError::Missing { seq: Seq::new(from.get() + entries.len() as u64) });
        }
        Ok(entries)
    }

    /// Of at most `limit` records from `from` on those of a kind that is wanted, and where to go on; none and `from` itself when
    /// there are no more. Every record is read and its kind looked at, so no index can make one disappear; only those that are
    /// wanted have their personal values opened.
    pub fn of_kinds(
        &self,
        from: Seq,
        limit: usize,
        wanted: impl Fn(Kind) -> bool,
    ) -> Result<(Vec<Entry>, Seq), ReadError> {
        let end = Seq::new(from.get().saturating_add(limit as u64).min(self.len()));
        if end <= from {
            return Ok((Vec::new(), from));
        }
        let mut entries = Vec::new();
        // Behind what was pruned there are no gaps.
        let mut expected = from.max(Seq::new(self.shared.pruned));
        for stored in self.stored_between(from, end)? {
            let seq = stored.seq;
            if seq.get() >= self.shared.pruned {
                if seq != expected {
                    return Err(ReadError::Missing { seq: expected });
                }
                expected = seq.next();
            }
            let record = Record::parse(&stored.record).map_err(|source| ReadError::Record { seq, source })?;
            if wanted(record.kind) {
                entries.push(self.joined(record, stored));
            }
        }
        if expected < end {
            return Err(ReadError::Missing { seq: expected });
        }
        Ok((entries, end))
    }

    /// The last signed head, as a signed note.
    pub fn checkpoint(&self) -> String {
        self.shared.note.borrow().to_string()
    }

    /// Follows how many records there are.
    pub fn heads(&self) -> watch::Receiver<u64> {
        self.shared.heads.clone()
    }

    /// Records as they are stored, of which there must be at least `wanted` from `from` on.
    pub(super) fn stored_range(&self, from: Seq, wanted: usize) -> Result<Vec<Stored>, ReadError> {
        // First what trails in memory, then the store: a group leaves memory only when the store has it.
        let tail = self.shared.tail.groups_from(from, wanted);
        let in_store = tail.first().map_or(wanted, |group| {
            let before = group.first().get().saturating_sub(from.get());
            usize::try_from(before).unwrap_or(usize::MAX).min(wanted)
        });
        let mut found = if in_store == 0 { Vec::new() } else { self.stored(from, in_store)? };
        let copies = tail.iter().flat_map(|group| group.records()).filter(|(seq, ..)| *seq >= from);
        let missing = wanted - found.len();
        found.extend(copies.take(missing).map(|(seq, record, sealed)| Stored {
            seq,
            record: record.to_vec(),
            sealed: sealed.to_vec(),
        }));
        Ok(found)
    }

    /// Records as they are stored, of these numbers, which must all have been given; without those that were pruned.
    pub(super) fn stored_between(&self, from: Seq, to: Seq) -> Result<Vec<Stored>, ReadError> {
        let edge = Seq::new(self.shared.pruned).clamp(from, to);
        let count = |from: Seq, to: Seq| usize::try_from(to.get() - from.get()).unwrap_or(usize::MAX);
        let mut found = if from < edge { self.stored(from, count(from, edge))? } else { Vec::new() };
        found.retain(|stored| stored.seq < edge);
        if edge < to {
            found.extend(self.stored_range(edge, count(edge, to))?);
        }
        Ok(found)
    }

    /// The record of this number as it is stored; `None` when there is none yet, or when it was pruned.
    pub(super) fn stored_one(&self, seq: Seq) -> Result<Option<Stored>, ReadError> {
        if seq.get() >= self.len() {
            return Ok(None);
        }
        match self.stored_between(seq, seq.next())?.pop().filter(|stored| stored.seq == seq) {
            None if seq.get() >= self.shared.pruned => Err(ReadError::Missing { seq }),
            found => Ok(found),
        }
    }

    fn stored(&self, from: Seq, limit: usize) -> Result<Vec<Stored>, ReadError> {
        let store = self.shared.store.read().unwrap_or_else(PoisonError::into_inner).clone();
        let comes_back = self.shared.recovering.load(Ordering::SeqCst);
        let store = store.ok_or(if comes_back { ReadError::Recovering } else { ReadError::Closed })?;
        store.range(from, limit).map_err(|error| ReadError::Store { reason: error.0 })
    }

    fn entry(&self, stored: Stored, expected: Seq) -> Result<Entry, ReadError> {
        if stored.seq != expected {
            return Err(ReadError::Missing { seq: expected });
        }
        let record =
            Record::parse(&stored.record).map_err(|source| ReadError::Record { seq: expected, source })?;
        Ok(self.joined(record, stored))
    }

    /// A record with its personal values.
    pub(super) fn joined(&self, record: Record, stored: Stored) -> Entry {
        let leaf = Digest::leaf(&stored.record);
        let personal = Values::open(&*self.shared.vault, &record, leaf, &stored.sealed);
        Entry { record, bytes: stored.record, personal, leaf }
    }
}

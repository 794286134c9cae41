//! The query store, as a scrub sees it: copies that must be what the journal has.

use std::io;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use super::super::Reader;
use super::super::reader::ReadSide;
use super::super::store::{Store, StoreError, Stored};
use crate::checkpoint::Checkpoint;
use crate::journal::scan::scan;
use crate::journal::{Files, Group};
use crate::record::Seq;

/// Lies in the store's directory when it is to be made anew: it is set aside together with it.
const MARK: &str = "rebuild";

fn mark_file(files: &Files) -> PathBuf {
    files.store().join(MARK)
}

/// Has the store made anew at the next opening.
pub(super) fn mark(files: &Files, reason: &str) -> io::Result<()> {
    std::fs::write(mark_file(files), reason)
}

/// Why the store is to be made anew, if a scrub has found that.
pub(in super::super) fn marked(files: &Files) -> Option<String> {
    let reason = std::fs::read(mark_file(files)).ok()?;
    let reason: String = String::from_utf8_lossy(&reason).chars().take(500).collect();
    Some(format!("a scrub had found that it cannot be mended: {reason}"))
}

fn current(read_side: &ReadSide) -> Option<Arc<dyn Store>> {
    read_side.store.read().unwrap_or_else(PoisonError::into_inner).clone()
}

/// The store's copies of the records that it says it has.
pub(super) struct Copies {
    read_side: Arc<ReadSide>,
    /// How many records it had when the scrub began; those after it are on their way.
    size: u64,
}

/// How one group stands in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Copy {
    /// It is on its way, or the store was closed.
    NotThere,
    /// As in the journal.
    Same,
    /// Some of its records were missing or different, and are now as in the journal.
    Mended(u64),
    /// The store does not read them, or does not take them.
    Lost(u64),
}

impl Copies {
    pub(super) fn of(reader: &Reader) -> Self {
        let read_side = Arc::clone(&reader.shared);
        let store = current(&read_side);
        let note = store.as_ref().and_then(|store| store.head().ok().flatten());
        let head = note.and_then(|note| Checkpoint::from_note(&note).ok());
        Self { size: head.map_or(0, |(head, _)| head.size), read_side }
    }

    /// Compares the store's copy of a group with the one in the journal, and mends it.
    pub(super) fn compare(&self, files: &Files, group: &Group<Vec<u8>>) -> Copy {
        // Asked for each time: a store that this kept open could not be opened again after a full disk.
        let Some(store) = current(&self.read_side).filter(|_| group.end().get() <= self.size) else {
            return Copy::NotThere;
        };
        let different = different(store.as_ref(), group);
        if different == 0 {
            return Copy::Same;
        }
        match mend(store.as_ref(), files, group, Seq::new(self.size)) {
            Ok(()) if self::different(store.as_ref(), group) == 0 => Copy::Mended(different),
            Ok(()) => Copy::Lost(different),
            Err(error) => {
                tracing::error!(%error, records = %group.first(), "the query store cannot be mended");
                Copy::Lost(different)
            }
        }
    }
}

/// Replaces what is stored together with this group by what the journal has.
fn mend(store: &dyn Store, files: &Files, group: &Group<Vec<u8>>, size: Seq) -> Result<(), StoreError> {
    let together = store.together(group.first()..group.end())?;
    // What the store takes up meanwhile begins behind what it had when the scrub began.
    let together = together.start..together.end.min(size);
    let mut records = Vec::new();
    let mut take = |seq: Seq, record: &[u8], sealed: &[u8]| {
        if seq >= together.end {
            return ControlFlow::Break(());
        }
        records.push(Stored { seq, record: record.to_vec(), sealed: sealed.to_vec() });
        ControlFlow::Continue(())
    };
    let read = scan(files, together.start, &mut take).map_err(|error| StoreError(error.to_string()))?;
    let wanted = together.end.get().saturating_sub(together.start.get());
    if records.len() as u64 != wanted {
        return Err(StoreError(format!("the journal could not be read again: {read:?}")));
    }
    store.replace(&records)?;
    store.flush()
}

/// How many records of the group are not in the store as they are in the journal.
fn different(store: &dyn Store, group: &Group<Vec<u8>>) -> u64 {
    let count = usize::try_from(group.count()).unwrap_or(usize::MAX);
    let Ok(found) = store.range(group.first(), count) else { return group.count() };
    let mut found = found.into_iter().peekable();
    let mut different = 0;
    for (seq, record, sealed) in group.records() {
        let copy = found.next_if(|copy| copy.seq == seq);
        different += u64::from(copy.is_none_or(|copy| copy.record != record || copy.sealed != sealed));
    }
    different
}

//! Puts acknowledged groups into the query store, behind the owner.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::store::{Store, StoreError, StoreHead};
use super::tail::{Tail, Work};
use crate::checkpoint::Checkpoint;
use crate::journal::Group;

/// The most records that are put into the store at once.
const BATCH_RECORDS: u64 = 4096;

/// Works until the tail is stopped and empty, or the store fails; the tail then knows why.
pub(super) fn run(tail: &Tail, store: &Arc<dyn Store>, flush_interval: Duration) {
    if let Err(error) = feed(tail, store.as_ref(), flush_interval) {
        tracing::error!(%error, "the query store failed");
        tail.fail(format!("the query store failed: {error}"));
    }
}

fn feed(tail: &Tail, store: &dyn Store, flush_interval: Duration) -> Result<(), StoreError> {
    let (mut flushed, mut dirty) = (Instant::now(), false);
    loop {
        match tail.work(BATCH_RECORDS, flush_interval) {
            Work::Groups(groups) => {
                let borrowed: Vec<_> = groups.iter().map(AsRef::as_ref).collect();
                apply(store, &borrowed)?;
                tail.applied(groups.len());
                dirty = true;
            }
            Work::Idle => {}
            Work::Done => return store.flush(),
        }
        if dirty && flushed.elapsed() >= flush_interval {
            store.flush()?;
            (flushed, dirty) = (Instant::now(), false);
        }
    }
}

/// Applies groups with the head that the last of them carries.
pub(super) fn apply(store: &dyn Store, groups: &[&Group<Vec<u8>>]) -> Result<(), StoreError> {
    let Some(last) = groups.last() else { return Ok(()) };
    let head = std::str::from_utf8(last.note()).ok().and_then(|note| Checkpoint::from_note(note).ok());
    let Some((head, _)) = head else {
        return Err(StoreError(format!("the head after record {} cannot be read", last.first())));
    };
    store.apply(groups, StoreHead { size: head.size, root: head.root })
}

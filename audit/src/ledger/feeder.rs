//! Puts acknowledged groups into the query store, behind the owner.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::store::{Store, StoreError};
use super::tail::{Tail, Work};

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
        match tail.work(flush_interval) {
            Work::Groups(groups) => {
                let borrowed: Vec<_> = groups.iter().map(AsRef::as_ref).collect();
                store.apply(&borrowed)?;
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

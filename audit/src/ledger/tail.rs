//! What is acknowledged and not yet in the query store.
//!
//! Readers look here first, so they see a record from the moment it is acknowledged, although the store
//! trails. A group leaves only after the store has it: whoever finds nothing here finds it there.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::journal::Group;
use crate::record::Seq;

/// A group as it was written.
pub(super) type OwnedGroup = Arc<Group<Vec<u8>>>;

/// The groups between owner and store.
#[derive(Default)]
pub(super) struct Tail {
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Default)]
struct Inner {
    groups: VecDeque<OwnedGroup>,
    bytes: usize,
    stopping: bool,
    failure: Option<String>,
}

/// What the feeder shall do next.
pub(super) enum Work {
    /// Put these groups into the store.
    Groups(Vec<OwnedGroup>),
    /// Nothing came for the time it was willing to wait.
    Idle,
    /// Everything is in the store, and nothing will come.
    Done,
}

impl Tail {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a group. Waits while more than `bound` bytes are waiting; fails when the store has.
    pub(super) fn push(&self, group: OwnedGroup, bound: usize) -> Result<(), String> {
        let mut inner = self.lock();
        inner.bytes += group.frame().len();
        inner.groups.push_back(group);
        self.changed.notify_all();
        while inner.bytes > bound && inner.failure.is_none() {
            inner = self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
        inner.failure.clone().map_or(Ok(()), Err)
    }

    /// The oldest groups, up to `records` records but at least one group; they stay here.
    pub(super) fn work(&self, records: u64, patience: Duration) -> Work {
        let mut inner = self.lock();
        if inner.groups.is_empty() && !inner.stopping {
            inner = self.changed.wait_timeout(inner, patience).unwrap_or_else(PoisonError::into_inner).0;
        }
        if inner.groups.is_empty() {
            return if inner.stopping { Work::Done } else { Work::Idle };
        }
        let mut count = 0;
        let take = inner.groups.iter().take_while(|group| {
            let room = count < records;
            count += group.count();
            room
        });
        Work::Groups(take.cloned().collect())
    }

    /// Lets go of the oldest `count` groups, which the store now has.
    pub(super) fn applied(&self, count: usize) {
        let mut inner = self.lock();
        let bytes: usize = inner.groups.drain(..count).map(|group| group.frame().len()).sum();
        inner.bytes -= bytes;
        self.changed.notify_all();
    }

    /// The store failed: nobody waits for it any longer.
    pub(super) fn fail(&self, reason: String) {
        self.lock().failure = Some(reason);
        self.changed.notify_all();
    }

    /// Why the store failed, if it did.
    pub(super) fn failure(&self) -> Option<String> {
        self.lock().failure.clone()
    }

    /// No more groups will come.
    pub(super) fn stop(&self) {
        self.lock().stopping = true;
        self.changed.notify_all();
    }

    /// The groups with records from `from` on, oldest first.
    pub(super) fn groups_from(&self, from: Seq) -> Vec<OwnedGroup> {
        self.lock().groups.iter().filter(|group| group.end() > from).cloned().collect()
    }
}

//! What is acknowledged and not yet in the query store.
//!
//! Readers look here first, so they see a record from the moment it is acknowledged, although the store
//! trails. A group leaves only after the store has it: whoever finds nothing here finds it there.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::journal::Group;
use crate::record::Seq;

/// The most records that are put into the store at once.
const BATCH_RECORDS: u64 = 4096;

/// When nothing has come for so long, what is there is put into the store. Several times as long as a group is kept open for which
/// nobody waits ([`super::LedgerOptions::patience`]): else each of those would go alone.
const QUIET: Duration = Duration::from_millis(100);

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
    /// How many groups have ever come.
    pushed: u64,
    /// From so many bytes on the feeder works although more is coming.
    enough: usize,
    /// The owner waits for room.
    full: bool,
    stopping: bool,
    failure: Option<String>,
}

impl Inner {
    /// Whether the feeder must not wait any longer.
    fn is_pressing(&self) -> bool {
        self.stopping || self.full || (self.bytes > 0 && self.bytes >= self.enough)
    }
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

    /// Adds a group, and wakes the feeder if it has to know. Waits while more than `bound` bytes are waiting, but not
    /// for a store that has failed.
    pub(super) fn push(&self, group: OwnedGroup, bound: usize) {
        let mut inner = self.lock();
        let was_empty = inner.groups.is_empty();
        inner.bytes += group.frame().len();
        inner.pushed += 1;
        inner.enough = bound / 2;
        inner.full |= inner.bytes > bound;
        inner.groups.push_back(group);
        if was_empty || inner.is_pressing() {
            self.changed.notify_all();
        }
        while inner.bytes > bound && inner.failure.is_none() {
            inner.full = true;
            inner = self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The oldest groups, up to a batch but at least one group; they stay here.
    ///
    /// While groups keep coming they are left here, where readers find them, for up to `patience` and up to half
    /// the bound: a burst has the machine to itself, and the store takes many records at once for little more
    /// than one.
    pub(super) fn work(&self, patience: Duration) -> Work {
        let since = Instant::now();
        let mut inner = self.lock();
        while !inner.is_pressing() {
            let left = patience.saturating_sub(since.elapsed());
            if left.is_zero() {
                break;
            }
            let pushed = inner.pushed;
            let wait = if inner.groups.is_empty() { left } else { left.min(QUIET) };
            inner = self.changed.wait_timeout(inner, wait).unwrap_or_else(PoisonError::into_inner).0;
            if inner.pushed == pushed && !inner.groups.is_empty() {
                break;
            }
        }
        if inner.groups.is_empty() {
            return if inner.stopping { Work::Done } else { Work::Idle };
        }
        let mut count = 0;
        let take = inner.groups.iter().take_while(|group| {
            let room = count < BATCH_RECORDS;
            count += group.count();
            room
        });
        Work::Groups(take.cloned().collect())
    }

    /// Lets go of the oldest `count` groups, which the store now has.
    pub(super) fn applied(&self, count: usize) {
        let mut inner = self.lock();
        let done: Vec<_> = inner.groups.drain(..count).collect();
        inner.bytes -= done.iter().map(|group| group.frame().len()).sum::<usize>();
        inner.full = false;
        self.changed.notify_all();
        // Before the groups go: megabytes take a while to free, and nobody shall wait for it.
        drop(inner);
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

    /// Everything is in another store now, and groups come again.
    pub(super) fn begin_again(&self) {
        *self.lock() = Inner::default();
    }

    /// No more groups will come.
    pub(super) fn stop(&self) {
        self.lock().stopping = true;
        self.changed.notify_all();
    }

    /// The groups with records from `from` on, oldest first, until they hold `limit` of those.
    pub(super) fn groups_from(&self, from: Seq, limit: usize) -> Vec<OwnedGroup> {
        let inner = self.lock();
        let start = inner.groups.partition_point(|group| group.end() <= from);
        let end = Seq::new(from.get().saturating_add(limit as u64));
        inner.groups.range(start..).take_while(|group| group.first() < end).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::LedgerOptions;

    #[test]
    fn groups_that_come_as_slowly_as_nobody_waits_for_them_go_into_the_store_together() {
        let usual = LedgerOptions::new("", "example.org/ledger", "gw-1");
        assert!(QUIET >= usual.patience * 3);
        let waits = usual.flush_interval;
        assert!(QUIET * 3 <= waits, "there is time for several");
    }
}

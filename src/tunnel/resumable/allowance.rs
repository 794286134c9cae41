//! What all resumable streams of a link, or of a publisher, may have in memory beyond what a plain stream has.
//!
//! Each is bounded by itself ([`super::end`]), and thousands of them are not: these bounds are for all of them together.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

use super::ask::StreamId;

/// Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Allowances {
    pub(super) aside: Aside,
    pub(super) kept: Kept,
}

/// Bytes that are not acknowledged of which each stream has some: about what a plain one has under way in its own buffers. After so many
/// an acknowledgement is due, so whoever has them waits for nobody else.
pub(super) const FREE: u64 = 256 << 10;
/// Bytes beyond those that all streams may keep.
const MOST_KEPT: u64 = 64 << 20;
/// Of what is left of that each stream may have such a part: whoever comes finds some.
const PART: u64 = 8;
/// Bytes of all streams that may stand aside. As each looks before it takes some, it may be exceeded by a piece of each.
const MOST_ASIDE: u64 = 32 << 20;

/// What was sent and is not acknowledged, beyond [`FREE`] of each stream.
#[derive(Clone, Default)]
pub(super) struct Kept(Arc<AtomicU64>);

impl Kept {
    /// Whether a stream that has so many may have more.
    pub(super) fn has_room(&self, own: u64) -> bool {
        own <= MOST_KEPT.saturating_sub(self.0.load(Ordering::Relaxed)) / PART
    }

    /// A stream that had so many has so many now.
    pub(super) fn change(&self, had: u64, has: u64) {
        if has >= had {
            self.0.fetch_add(has - had, Ordering::Relaxed);
        } else {
            self.0.fetch_sub(had - has, Ordering::Relaxed);
        }
    }
}

/// What nobody has read, taken out of the credit of its connection because an acknowledgement stands behind it. Somebody who sends and does
/// not read would wait for that, where a plain stream goes on.
#[derive(Clone, Default)]
pub(super) struct Aside(Arc<Standing>);

#[derive(Default)]
struct Standing {
    bytes: AtomicU64,
    waiting: Mutex<HashMap<StreamId, Waker>>,
}

impl Aside {
    /// Whether more may stand aside; if not, the stream is woken when it may.
    pub(super) fn has_room(&self, stream: StreamId, cx: &Context<'_>) -> bool {
        let is_left = || self.0.bytes.load(Ordering::SeqCst) < MOST_ASIDE;
        if is_left() {
            return true;
        }
        self.waiting().insert(stream, cx.waker().clone());
        // Either who gives back sees the waker, or what was given back is seen here.
        is_left()
    }

    /// A stream that had so many has so many now.
    pub(super) fn change(&self, had: u64, has: u64) {
        if has >= had {
            self.0.bytes.fetch_add(has - had, Ordering::SeqCst);
            return;
        }
        let left = self.0.bytes.fetch_sub(had - has, Ordering::SeqCst).saturating_sub(had - has);
        if left < MOST_ASIDE {
            let waiting = std::mem::take(&mut *self.waiting());
            waiting.into_values().for_each(Waker::wake);
        }
    }

    /// A stream waits no longer.
    pub(super) fn leave(&self, stream: StreamId) {
        self.waiting().remove(&stream);
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<StreamId, Waker>> {
        // Each change is one step.
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn who_finds_no_room_is_woken_once_when_there_is_some() {
        let (aside, woken, stream) = (Aside::default(), Arc::<Woken>::default(), StreamId::new([1; 16]));
        let waker = Waker::from(Arc::clone(&woken));
        let cx = Context::from_waker(&waker);
        assert!(aside.has_room(stream, &cx));
        aside.change(0, MOST_ASIDE + 2);
        assert!(!aside.has_room(stream, &cx) && !aside.has_room(stream, &cx));
        aside.change(MOST_ASIDE + 2, MOST_ASIDE + 1);
        assert_eq!(woken.0.load(Ordering::SeqCst), 0, "there is none yet");
        aside.change(MOST_ASIDE + 1, 0);
        assert_eq!(woken.0.load(Ordering::SeqCst), 1);
        assert!(aside.has_room(stream, &cx));
    }

    #[test]
    fn however_many_keep_as_much_as_they_may_whoever_comes_finds_some() {
        let (kept, mut all) = (Kept::default(), 0);
        for _ in 0..1000 {
            let mut own = 0;
            while kept.has_room(own) && own < 4 << 20 {
                kept.change(own, own + (1 << 10));
                own += 1 << 10;
            }
            assert!(own > 0, "{all} are kept");
            all += own;
        }
        assert!(all <= MOST_KEPT + (1000 << 10));
    }
}

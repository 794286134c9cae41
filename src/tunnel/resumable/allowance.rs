//! What all resumable streams of a link, or of a publisher, may have in memory beyond what a plain stream has.
//!
//! Each is bounded by itself ([`super::end`]), and thousands of them are not: these bounds are for all of them together.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Waker};

/// Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Allowances {
    /// For what nobody has read, taken out of the credit of its connection because an acknowledgement stands behind it. Somebody who
    /// sends and does not read would wait for that, where a plain stream goes on.
    pub(super) aside: Allowance,
    /// For what was sent and is not acknowledged, by streams that have more of it than [`FREE`].
    pub(super) kept: Allowance,
}

/// Bytes that are not acknowledged of which each stream has some: about what a plain one has under way in its own buffers.
pub(super) const FREE: u64 = 256 << 10;

impl Default for Allowances {
    fn default() -> Self {
        Self { aside: Allowance::of(32 << 20), kept: Allowance::of(64 << 20) }
    }
}

/// Bytes of all streams. As each is looked at before it takes some, it may be exceeded by a piece of each.
#[derive(Debug, Clone)]
pub(super) struct Allowance(Arc<Bytes>);

#[derive(Debug)]
struct Bytes {
    most: u64,
    taken: AtomicU64,
    waiting: Mutex<Vec<Waker>>,
}

impl Allowance {
    fn of(most: u64) -> Self {
        Self(Arc::new(Bytes { most, taken: AtomicU64::new(0), waiting: Mutex::default() }))
    }

    /// Whether more may be taken; if not, who asks is woken when it may.
    pub(super) fn has_room(&self, cx: &Context<'_>) -> bool {
        let all = &*self.0;
        if all.taken.load(Ordering::SeqCst) < all.most {
            return true;
        }
        let mut waiting = all.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
        drop(waiting);
        // Either who gives back sees the waker, or what was given back is seen here.
        all.taken.load(Ordering::SeqCst) < all.most
    }

    /// A stream that had so many has so many now.
    pub(super) fn change(&self, had: u64, has: u64) {
        let all = &*self.0;
        if has >= had {
            all.taken.fetch_add(has - had, Ordering::SeqCst);
            return;
        }
        let before = all.taken.fetch_sub(had - has, Ordering::SeqCst);
        if before.saturating_sub(had - has) < all.most {
            let waiting = std::mem::take(&mut *all.waiting.lock().unwrap_or_else(PoisonError::into_inner));
            waiting.into_iter().for_each(Waker::wake);
        }
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
        let (allowance, woken) = (Allowance::of(10), Arc::<Woken>::default());
        let waker = Waker::from(Arc::clone(&woken));
        let cx = Context::from_waker(&waker);
        assert!(allowance.has_room(&cx));
        allowance.change(0, 12);
        assert!(!allowance.has_room(&cx) && !allowance.has_room(&cx));
        allowance.change(12, 11);
        assert_eq!(woken.0.load(Ordering::SeqCst), 0, "there is none yet");
        allowance.change(11, 0);
        assert_eq!(woken.0.load(Ordering::SeqCst), 1);
        assert!(allowance.has_room(&cx));
    }
}

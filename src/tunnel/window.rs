//! How much one stream may have under way: as much as the way to the other end holds at a good pace, and less where many have something
//! waiting.
//!
//! Less costs pace, and more costs memory when somebody doesn't read, which all streams of the connection pay for. So the window grows
//! with the time that a message takes to the other end and back, as the handshake has shown it, and at most twofold: whoever is behind
//! may then hold half of the connection's credit ([`super::lag`]). And it shrinks while something waits for more than a few
//! ([`shared_window`]): a thousand who come at once and read nothing must not use up the credit before it is seen that they don't
//! read.
//!
//! A window that shrinks below what has come in it leaves the other end with less than nothing (RFC 9113 section 6.9.2). When what has
//! come is taken, the library tells the other end of room only behind a half of the window at that time; so of a reader who had taken
//! all, and less than a half, it would never tell again, and nothing more would come. While windows are small it is reminded
//! ([`Windows::remind`]).

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use futures_util::task::AtomicWaker;
use h2::FlowControl;

/// Bytes a second that one stream shall carry.
const PACE: u128 = 80 << 20;

/// The window of a stream for this round trip: `least`, and more on a long way.
pub(super) fn stream_window(least: u32, round_trip: Option<Duration>) -> u32 {
    let most = least.saturating_mul(2);
    let on_the_way = PACE.saturating_mul(round_trip.unwrap_or_default().as_micros()) / 1_000_000;
    u32::try_from(on_the_way).unwrap_or(most).clamp(least, most)
}

/// For so many streams something may wait before their windows shrink.
const FEW: usize = 16;
/// And below so many bytes they don't.
const SMALLEST: u32 = 128 << 10;
/// A stream of which so much was taken may have less than nothing left when windows shrink.
const MUCH: u64 = 64 << 10;

/// The window of each stream while something waits for so many of them: a quarter with each doubling beyond a few.
fn shared_window(most: u32, holding: usize) -> u32 {
    let doublings = holding.div_ceil(FEW).next_power_of_two().trailing_zeros();
    most.checked_shr(2 * doublings).unwrap_or(0).max(SMALLEST.min(most))
}

/// For how many streams of a connection something waits, and what their windows are.
#[derive(Debug)]
pub(super) struct Windows {
    most: u32,
    holding: AtomicUsize,
    window: AtomicU32,
    /// Wakes whoever tells the other end.
    told: AtomicWaker,
    /// Of streams of which much was taken, by their numbers.
    much: Mutex<HashMap<u64, FlowControl>>,
    numbers: AtomicU64,
}

impl Windows {
    /// Nothing waits for anybody, and `most` bytes may.
    pub(super) fn of(most: u32) -> Arc<Self> {
        let (holding, window) = (AtomicUsize::new(0), AtomicU32::new(most));
        let (told, much, numbers) = (AtomicWaker::new(), Mutex::default(), AtomicU64::new(0));
        Arc::new(Self { most, holding, window, told, much, numbers })
    }

    /// One more stream.
    pub(super) fn enter(self: &Arc<Self>) -> Hold {
        Hold { of: Arc::clone(self), holds: false, taken: 0, number: None }
    }

    /// What the other end was told last.
    pub(super) fn window(&self) -> u32 {
        self.window.load(Ordering::Relaxed)
    }

    /// What it should be told; who asks is woken when that is less.
    pub(super) fn wanted(&self, waker: &Waker) -> u32 {
        self.told.register(waker);
        shared_window(self.most, self.holding.load(Ordering::Relaxed))
    }

    /// The other end is told.
    pub(super) fn tell(&self, window: u32) {
        self.window.store(window, Ordering::Relaxed);
    }

    /// Whether they are smaller than they may be.
    pub(super) fn are_small(&self) -> bool {
        self.window() < self.most
    }

    /// Has the library look again for how much of each stream there is room.
    pub(super) fn remind(&self) {
        for flow in self.much().values_mut() {
            // Nothing is released that was not; refused only for more than came.
            let _looked = flow.release_capacity(0);
        }
    }

    fn much(&self) -> MutexGuard<'_, HashMap<u64, FlowControl>> {
        // Only inserted into and removed from: a panic elsewhere leaves it whole.
        self.much.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether something waits for one stream; not any more when this is dropped.
#[derive(Debug)]
pub(super) struct Hold {
    of: Arc<Windows>,
    holds: bool,
    taken: u64,
    /// Among those of which much was taken.
    number: Option<u64>,
}

impl Hold {
    /// Somebody was given a piece and is yet to ask for the next; or asks, and there is none.
    pub(super) fn set(&mut self, holds: bool) {
        if self.holds == holds {
            return;
        }
        self.holds = holds;
        if !holds {
            self.of.holding.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        let holding = self.of.holding.fetch_add(1, Ordering::Relaxed) + 1;
        if shared_window(self.of.most, holding) < self.of.window() {
            self.of.told.wake();
        }
    }
}

impl Hold {
    /// So many bytes were taken of its stream, which has this.
    pub(super) fn taken(&mut self, bytes: usize, flow: &FlowControl) {
        self.taken += bytes as u64;
        if self.taken >= MUCH && self.number.is_none() {
            let number = self.of.numbers.fetch_add(1, Ordering::Relaxed);
            self.of.much().insert(number, flow.clone());
            self.number = Some(number);
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.set(false);
        if let Some(number) = self.number {
            // The last to hold on to a stream gives it up, which is not done while others wait here.
            let flow = self.of.much().remove(&number);
            drop(flow);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tunnel::Limits;

    const LEAST: u32 = 2 << 20;

    #[test]
    fn the_window_is_whole_for_a_few_and_a_quarter_with_each_doubling() {
        assert_eq!([0, 1, 16].map(|holding| shared_window(LEAST, holding)), [LEAST; 3]);
        assert_eq!([17, 32].map(|holding| shared_window(LEAST, holding)), [LEAST / 4; 2]);
        assert_eq!([33, 64, 65, usize::MAX >> 1].map(|holding| shared_window(LEAST, holding)), [SMALLEST; 4]);
        assert_eq!(shared_window(2 * LEAST, 33), 2 * LEAST / 16);
        assert_eq!(shared_window(1000, 500), 1000, "a small one stays as it is");
    }

    #[test]
    fn all_streams_of_a_connection_that_fill_one_after_the_other_leave_credit_to_others() {
        let limits = Limits::default();
        for most in [limits.stream_window, 2 * limits.stream_window] {
            let streams = 1..=limits.max_streams as usize;
            let all: u64 = streams.map(|holding| u64::from(shared_window(most, holding))).sum();
            assert!(all <= u64::from(limits.connection_window) * 7 / 8, "{} MiB", all >> 20);
        }
    }

    #[test]
    fn who_is_given_something_counts_once_and_until_they_wait_or_are_gone() {
        let windows = Windows::of(LEAST);
        let mut many: Vec<Hold> = (0..=FEW).map(|_| windows.enter()).collect();
        for _ in 0..2 {
            for one in &mut many {
                one.set(true);
            }
        }
        assert_eq!(windows.wanted(Waker::noop()), LEAST / 4);
        many[0].set(false);
        assert_eq!(windows.wanted(Waker::noop()), LEAST);
        drop(many);
        assert_eq!(windows.holding.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_window_holds_what_is_on_the_way_and_is_at_most_doubled() {
        let over = |millis| stream_window(LEAST, Some(Duration::from_millis(millis)));
        assert_eq!([0, 1, 25].map(over), [LEAST; 3]);
        assert_eq!(over(40), 3_355_443);
        assert_eq!([50, 300, u64::MAX].map(over), [2 * LEAST; 3]);
        assert_eq!(stream_window(LEAST, None), LEAST, "a way that is not known is taken for a short one");
        assert_eq!(stream_window(u32::MAX, Some(Duration::from_secs(9))), u32::MAX);
    }
}

//! How long calls into the provider take: for whoever asks whether the token is slow.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;

/// How many calls are looked back upon.
const WINDOW: usize = 1024;

/// The last calls.
#[derive(Default)]
pub(crate) struct Pace(Mutex<Calls>);

#[derive(Default)]
struct Calls {
    count: u64,
    last: VecDeque<u64>,
}

/// How long the last calls (1,024 at most) took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Latency {
    /// Calls since the start.
    pub calls: u64,
    /// Half of them took no longer, in microseconds.
    pub p50_us: u64,
    /// 99 of 100 took no longer, in microseconds.
    pub p99_us: u64,
}

impl Pace {
    pub(crate) fn note(&self, took: Duration) {
        let mut calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        calls.count = calls.count.saturating_add(1);
        if calls.last.len() >= WINDOW {
            calls.last.pop_front();
        }
        calls.last.push_back(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    pub(crate) fn latency(&self) -> Latency {
        let (calls, mut last): (u64, Vec<u64>) = {
            let calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            (calls.count, calls.last.iter().copied().collect())
        };
        last.sort_unstable();
        // The smallest value that so many in a hundred do not exceed.
        let rank = |percent: usize| {
            let rank = (last.len() * percent).div_ceil(100).saturating_sub(1);
            last.get(rank).copied().unwrap_or(0)
        };
        Latency { calls, p50_us: rank(50), p99_us: rank(99) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_and_nearly_all_of_the_last_calls_are_told_and_older_ones_forgotten() {
        let pace = Pace::default();
        assert_eq!(pace.latency(), Latency::default());
        for _ in 0..WINDOW {
            pace.note(Duration::from_secs(9));
        }
        for slow in 1..=1024 {
            pace.note(Duration::from_micros(slow));
        }
        assert_eq!(pace.latency(), Latency { calls: 2048, p50_us: 512, p99_us: 1014 });
    }
}

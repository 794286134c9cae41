//! What the owner keeps in mind while nothing can be written: why, what is to be recorded later, and when to try again.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};

use super::owner::Pending;

/// Pauses between attempts grow to so many times the first one.
const LONGEST_PAUSE: u32 = 32;

/// Since a write or sync failed, until writing works again.
pub(super) struct Trouble {
    /// What failed last.
    pub(super) reason: String,
    /// Enqueued drafts of groups that were not written, in their order.
    pub(super) unwritten: VecDeque<Pending>,
    pauses: ExponentialBackoff,
    longest: Duration,
    due: Instant,
}

impl Trouble {
    pub(super) fn new(reason: String, first_pause: Duration) -> Self {
        let longest = first_pause.saturating_mul(LONGEST_PAUSE);
        let builder = ExponentialBuilder::default().with_min_delay(first_pause).with_max_delay(longest);
        let (pauses, unwritten) = (builder.without_max_times().build(), VecDeque::new());
        let mut trouble = Self { reason, unwritten, pauses, longest, due: Instant::now() };
        trouble.put_off();
        trouble
    }

    /// An attempt failed: the next one comes later.
    pub(super) fn again(&mut self, reason: String) {
        self.reason = reason;
        self.put_off();
    }

    /// How long until the next attempt.
    pub(super) fn left(&self) -> Duration {
        self.due.saturating_duration_since(Instant::now())
    }

    fn put_off(&mut self) {
        let pause = self.pauses.next().unwrap_or(self.longest);
        self.due = Instant::now().checked_add(pause).unwrap_or(self.due);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_never_end() {
        let first = Duration::from_secs(100);
        let mut trouble = Trouble::new("full".to_owned(), first);
        let mut pauses = Vec::new();
        for _ in 0..20 {
            pauses.push((trouble.left().as_millis() + 500) / 1000);
            trouble.again("still full".to_owned());
        }
        assert_eq!(pauses[..4], [100, 200, 400, 800]);
        assert!(pauses[6..].iter().all(|pause| *pause == 3200), "{pauses:?}");
    }
}

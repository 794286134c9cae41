//! How long to wait before the next attempt: exponential, with jitter, pure.
//!
//! Half of each delay is fixed, so that a gateway which just came back is not hit at once; half is random, so that a
//! thousand publishers which lost it together do not come back together.

use std::time::Duration;

/// A schedule of delays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// Longest first delay; default 500 ms.
    pub first: Duration,
    /// Longest delay at all; default 30 s.
    pub longest: Duration,
    /// Failures in a row after which the publisher gives up; default 10. `None`: never. Of several gateways, a round of all of them is
    /// one failure.
    pub give_up_after: Option<u32>,
    /// A connection that lived shorter counts as a failure too; default 10 s.
    pub settled_after: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(500),
            longest: Duration::from_secs(30),
            give_up_after: Some(10),
            settled_after: Duration::from_secs(10),
        }
    }
}

impl Backoff {
    /// The delay after `failures` failures in a row (from 1), or `None` when it is time to give up. `random` is any
    /// number, all equally likely.
    pub fn delay(&self, failures: u32, random: u32) -> Option<Duration> {
        if self.give_up_after.is_some_and(|limit| failures >= limit) {
            return None;
        }
        let doublings = failures.saturating_sub(1).min(31);
        let ceiling = self.first.saturating_mul(1 << doublings).min(self.longest);
        let half = ceiling / 2;
        Some(half + half.mul_f64(f64::from(random) / f64::from(u32::MAX)))
    }
}

impl Backoff {
    /// As many failures as do not end it yet, at most `most`.
    pub fn before_giving_up(&self, most: u32) -> u32 {
        self.give_up_after.map_or(most, |limit| limit.saturating_sub(1).min(most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn delays_double_up_to_the_longest() {
        let backoff = Backoff { give_up_after: None, ..Backoff::default() };
        let longest: Vec<_> = (1..=8).map(|n| backoff.delay(n, u32::MAX).unwrap().as_millis()).collect();
        assert_eq!(longest, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
    }

    #[test]
    fn after_the_last_allowed_failure_there_is_no_delay_but_an_end() {
        let backoff = Backoff { give_up_after: Some(3), ..Backoff::default() };
        assert!(backoff.delay(2, 0).is_some());
        assert_eq!(backoff.delay(3, 0), None);
    }

    proptest! {
        #[test]
        fn every_delay_lies_between_half_of_its_ceiling_and_its_ceiling(failures in 1_u32.., random: u32) {
            let backoff = Backoff { give_up_after: None, ..Backoff::default() };
            let delay = backoff.delay(failures, random).unwrap();
            let ceiling = backoff.delay(failures, u32::MAX).unwrap();
            prop_assert!(delay >= ceiling / 2 && delay <= ceiling && ceiling <= backoff.longest);
        }
    }
}

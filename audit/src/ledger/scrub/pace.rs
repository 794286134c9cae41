//! How long to rest between two steps, so that a bounded number of bytes is read in a second.

use std::time::Duration;

/// Rests shorter than this are saved up: a thread that sleeps for less wakes late anyway.
const SHORTEST: Duration = Duration::from_millis(5);

/// The longest rest; after it the shell looks whether it is to stop.
const LONGEST: Duration = Duration::from_secs(1);

/// Counts what was read. The time is an argument.
#[derive(Debug)]
pub(super) struct Pace {
    bytes_per_second: u64,
    bytes: u64,
}

impl Pace {
    pub(super) fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second: bytes_per_second.max(1), bytes: 0 }
    }

    /// How long to rest after so many more bytes, when `elapsed` has passed since the beginning.
    pub(super) fn after(&mut self, bytes: u64, elapsed: Duration) -> Option<Duration> {
        self.bytes = self.bytes.saturating_add(bytes);
        let nanos = u128::from(self.bytes) * 1_000_000_000 / u128::from(self.bytes_per_second);
        let due = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        Some(due.saturating_sub(elapsed)).filter(|rest| *rest >= SHORTEST).map(|rest| rest.min(LONGEST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gigabyte_at_eight_megabytes_a_second_takes_two_minutes_whatever_the_disk_can_do() {
        let (mut pace, mut clock) = (Pace::new(8_000_000), Duration::ZERO);
        for _ in 0..1_000 {
            let mut bytes = 1_000_000;
            while let Some(rest) = pace.after(bytes, clock) {
                (clock, bytes) = (clock + rest, 0);
            }
        }
        assert!(clock.abs_diff(Duration::from_secs(125)) < Duration::from_millis(10), "{clock:?}");
    }

    #[test]
    fn a_slow_disk_is_not_made_slower() {
        assert_eq!(Pace::new(1_000).after(1_000, Duration::from_secs(2)), None);
    }

    #[test]
    fn one_large_step_is_rested_for_in_pieces() {
        assert_eq!(Pace::new(1).after(u64::MAX, Duration::ZERO), Some(LONGEST));
        assert_eq!(Pace::new(0).after(3, Duration::ZERO), Some(LONGEST));
    }
}

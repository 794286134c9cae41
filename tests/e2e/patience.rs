//! Waiting for conditions.

use std::time::{Duration, Instant};

/// Far longer than anything here takes on a busy machine; only what is broken waits this long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

const BETWEEN: Duration = Duration::from_millis(20);

/// Asks again and again until there is an answer; fails the test with `what` when patience ends.
pub(crate) fn eventually<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = attempt() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(BETWEEN);
    }
}

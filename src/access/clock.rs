//! The time, behind a seam: pure parts take `now`; the shell asks a [`Clock`]; tests move a clock by hand.

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use jiff::Timestamp;

/// Wall-clock time, and waiting for it.
pub trait Clock: Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> Timestamp;
    /// Resolves once `now` may have reached `when`; may be early, never returns late by more than [`LONGEST_SLEEP`]
    /// even if the wall clock is set while it waits.
    fn sleep_until(&self, when: Timestamp) -> BoxFuture<'_, ()>;
}

/// Longest single wait, so that a wall clock that is set forward ends grants soon after.
pub const LONGEST_SLEEP: Duration = Duration::from_secs(5);

/// The computer's own clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the shell that reads the clock for the rest of access"
    )]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn sleep_until(&self, when: Timestamp) -> BoxFuture<'_, ()> {
        let left = Duration::try_from(when.duration_since(self.now())).unwrap_or(Duration::ZERO);
        tokio::time::sleep(left.min(LONGEST_SLEEP)).boxed()
    }
}

//! The only place of the gateway that reads a clock. Pure parts take the time as an argument.

use std::time::Instant;

use jiff::Timestamp;

/// Wall-clock time, UTC.
#[expect(clippy::disallowed_methods, reason = "this is the shell that reads the clock")]
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// Time that never goes back, for measuring.
pub fn monotonic() -> Instant {
    Instant::now()
}

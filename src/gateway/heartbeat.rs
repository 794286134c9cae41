//! Signed silence: a record at intervals says that nothing happened in between, and that the clocks agree.
//!
//! The wall clock is compared with the monotonic one. If they drift apart by more than the bound, somebody set the clock,
//! and that is a record of its own: times in the ledger before and after cannot be compared.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use sallyport_audit::{Draft, Kind, Ledger, Outcome};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::silence::{boot_id, with_boot};
use crate::clock;
use crate::session::{Broker, Routes};

/// Drift between two heartbeats that counts as a jump. A good NTP client corrects by slewing and stays far below.
const JUMP: Duration = Duration::from_secs(2);

/// Writes heartbeats until `stop`.
pub(super) async fn beat(
    ledger: Ledger,
    broker: Broker,
    routes: Routes,
    every: Duration,
    stop: CancellationToken,
) {
    let (mut seen, boot) = ((clock::monotonic(), clock::now()), boot_id());
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(every) => {}
        }
        let (monotonic, wall) = (clock::monotonic(), clock::now());
        let moved = drift(seen, (monotonic, wall));
        let late = late(seen.0, monotonic, every);
        seen = (monotonic, wall);
        if moved.unsigned_abs() > JUMP {
            append(
                &ledger,
                Draft::new(Kind::ClockJumped, Outcome::Failure).detail("drift_ms", milliseconds(moved)),
            )
            .await;
        }
        let draft = Draft::new(Kind::GatewayHeartbeat, Outcome::Success)
            .detail("sessions", broker.live().len() as u64)
            .detail("tunnels", routes.views().len() as u64)
            .detail("drift_ms", milliseconds(moved))
            .detail("late_ms", u64::try_from(late.as_millis()).unwrap_or(u64::MAX).min(1 << 52));
        append(&ledger, with_boot(draft, boot.as_deref())).await;
    }
}

async fn append(ledger: &Ledger, draft: Draft) {
    if let Err(error) = ledger.append(draft).await {
        warn!(%error, "a heartbeat could not be recorded");
    }
}

fn milliseconds(drift: SignedDuration) -> i64 {
    i64::try_from(drift.as_millis()).unwrap_or(i64::MAX)
}

/// How far the wall clock moved beyond what really passed.
fn drift(before: (Instant, Timestamp), now: (Instant, Timestamp)) -> SignedDuration {
    let passed =
        SignedDuration::try_from(now.0.saturating_duration_since(before.0)).unwrap_or(SignedDuration::MAX);
    now.1.duration_since(before.1).saturating_sub(passed)
}

/// How much later than due a heartbeat comes: what the process slept through when it, or the whole machine, was stopped.
fn late(before: Instant, now: Instant, every: Duration) -> Duration {
    now.saturating_duration_since(before).saturating_sub(every)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_says_how_long_the_process_did_not_run() {
        let (start, every) = (clock::monotonic(), Duration::from_mins(1));
        assert_eq!(late(start, start + every, every), Duration::ZERO);
        assert_eq!(late(start, start + every * 61, every), Duration::from_hours(1));
    }

    #[test]
    fn a_clock_that_was_set_shows_as_drift_in_either_direction() {
        let (start, wall) = (clock::monotonic(), Timestamp::UNIX_EPOCH);
        let minute = Duration::from_mins(1);
        let later = |wall_seconds| (start + minute, wall + SignedDuration::from_secs(wall_seconds));
        assert_eq!(drift((start, wall), later(60)), SignedDuration::ZERO);
        assert_eq!(drift((start, wall), later(3660)), SignedDuration::from_hours(1));
        assert_eq!(drift((start, wall), later(-60)), SignedDuration::from_secs(-120));
    }
}

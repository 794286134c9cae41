//! A peer that is gone, told by that nothing comes from it any more.
//!
//! hyper's HTTP/2 server finds that out by its own pings, and then does two things that must not be: it ends the bodies that the peer
//! was sending as if they were whole (RFC 9113 section 8.1 lets a stream be closed with `NO_ERROR`), and it waits until its goodbye
//! is sent, behind whatever else the system still tries to send: a quarter of an hour on TCP. So it only asks, with no limit in time,
//! and whether something came is looked at below it.

use std::time::Duration;

use tokio::time::Instant;

/// What hyper is told instead of a limit in time for the answers to its pings.
pub(crate) const NO_LIMIT: Duration = Duration::from_hours(24 * 365);

/// Returns when `received` has not changed for `bound`, or an eighth of it later.
pub(crate) async fn quiet_for(received: impl Fn() -> u64, bound: Duration) {
    let (mut before, mut since) = (received(), Instant::now());
    let mut beat = tokio::time::interval(bound / 8);
    loop {
        let at = beat.tick().await;
        let now = received();
        if now != before {
            (before, since) = (now, at);
        } else if at.saturating_duration_since(since) >= bound {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[tokio::test]
    async fn who_says_something_now_and_then_is_there_and_who_stops_is_gone() {
        let (received, began) = (AtomicU64::new(0), Instant::now());
        let (bound, times) = (Duration::from_millis(800), 4);
        let speaks = async {
            for _ in 0..times {
                tokio::time::sleep(bound / 2).await;
                received.fetch_add(1, Ordering::Relaxed);
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = speaks => {}
            () = quiet_for(|| received.load(Ordering::Relaxed), bound) => {}
        }
        let took = began.elapsed();
        assert!(took >= bound / 2 * times + bound * 7 / 8, "{took:?}");
    }
}

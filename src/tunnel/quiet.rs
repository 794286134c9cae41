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

/// How exactly a loss is seen: within the heartbeat's bound, and less than a second before it, of 45 s.
pub(crate) const LOOKS: u32 = 64;

/// Returns when `received` has not changed for `bound`, or for one of `looks` parts of it less: it is looked at so many times. More looks
/// tell more exactly, and cost a wake-up each.
pub(crate) async fn quiet_for(received: impl Fn() -> u64, bound: Duration, looks: u32) {
    let mut beat = tokio::time::interval(bound / looks.max(1));
    let mut silence = Silence::since(beat.tick().await, received());
    loop {
        let now = beat.tick().await;
        if silence.at(now, received()) >= bound {
            return;
        }
    }
}

/// For how long nothing may have come.
struct Silence {
    received: u64,
    /// The last look before which something came: perhaps right after it.
    since: Instant,
    looked: Instant,
}

impl Silence {
    fn since(now: Instant, received: u64) -> Self {
        Self { received, since: now, looked: now }
    }

    /// The longest that it can have lasted by `now`.
    fn at(&mut self, now: Instant, received: u64) -> Duration {
        if received != self.received {
            (self.received, self.since) = (received, self.looked);
        }
        self.looked = now;
        now.saturating_duration_since(self.since)
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
            () = quiet_for(|| received.load(Ordering::Relaxed), bound, 8) => {}
        }
        let took = began.elapsed();
        assert!(took >= bound / 2 * times + bound * 7 / 8, "{took:?}");
    }

    #[test]
    fn a_silence_that_began_between_two_looks_is_never_taken_for_shorter_than_it_is() {
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        let mut silence = Silence::since(began, 0);
        // Something came right after the first look, and nothing behind it.
        let lasted: Vec<u64> = [5, 10, 45].map(|now| silence.at(at(now), 1).as_secs()).to_vec();
        assert_eq!(lasted, [5, 10, 45]);
        assert_eq!(silence.at(at(50), 2).as_secs(), 5);
    }
}

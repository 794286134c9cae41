//! How much one stream may have under way: as much as the way to the other end holds at a good pace.
//!
//! Less costs pace, and more costs memory when somebody doesn't read, which all streams of the connection pay for. So the window grows
//! with the time that a message takes to the other end and back, as the handshake has shown it, and at most twofold: whoever is behind
//! may then hold half of the connection's credit ([`super::lag`]).

use std::time::Duration;

/// Bytes a second that one stream shall carry.
const PACE: u128 = 80 << 20;

/// The window of a stream for this round trip: `least`, and more on a long way.
pub(super) fn stream_window(least: u32, round_trip: Option<Duration>) -> u32 {
    let most = least.saturating_mul(2);
    let on_the_way = PACE.saturating_mul(round_trip.unwrap_or_default().as_micros()) / 1_000_000;
    u32::try_from(on_the_way).unwrap_or(most).clamp(least, most)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: u32 = 2 << 20;

    #[test]
    fn a_window_holds_what_is_on_the_way_and_is_at_most_doubled() {
        let over = |millis| stream_window(LEAST, Some(Duration::from_millis(millis)));
        assert_eq!([0, 1, 25].map(over), [LEAST; 3]);
        assert_eq!(over(40), 3_355_443);
        assert_eq!([50, 300, u64::MAX].map(over), [2 * LEAST; 3]);
        assert_eq!(stream_window(LEAST, None), LEAST, "a way that is not known is taken for a short one");
        assert_eq!(stream_window(u32::MAX, Some(Duration::from_secs(9))), u32::MAX);
    }
}

//! What was written to the receiver, and how much of it may be counted as received.
//!
//! Why: syslog over TCP or TLS has no acknowledgement. A write that succeeded means that our kernel holds the
//! bytes; when the receiver dies, the last of them die with it, unseen. So the durable cursor stays behind: a
//! position counts as received only when the receiver's host has acknowledged its bytes (our kernel counts those that are not),
//! and the connection has stayed healthy for a while after, in which the receiver has brought them out of its memory.
//! What is later than that may have been in flight when a connection is lost, and is sent again on the next one; nothing
//! else is. Duplicates carry equal numbers.
//!
//! Pure: time is an argument. Promised: a position never counts earlier than `settle` after it was acknowledged, and
//! never moves back.

use std::{collections::VecDeque, time::Duration, time::Instant};

/// A place in the stream of one sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Number of the ledger record to send next.
    pub next: u64,
    /// The sink's own number for it, from 1: counts what this sink sends, so that a filter makes no false gap.
    pub sequence: u64,
}

/// Marks are at least this far apart (but for the newest), which bounds how many are kept.
const GRAIN: Duration = Duration::from_millis(50);

/// What was sent on the present connection, and up to where the receiver is taken to hold it.
#[derive(Debug)]
pub(super) struct Window {
    settled: Position,
    sent: VecDeque<Mark>,
}

#[derive(Debug)]
struct Mark {
    opened: Instant,
    written: Instant,
    upto: Position,
    /// All that was written on this connection up to here, before encryption.
    octets: u64,
    /// When the receiver's host was first seen to have it.
    reached: Option<Instant>,
}

/// What our kernel says of bytes that were written and that the receiver's host has not acknowledged.
#[derive(Clone, Copy, Debug)]
pub(super) enum Outstanding {
    /// No more than so many octets.
    Octets(u64),
    /// It doesn't say; but a connection with unacknowledged bytes breaks within this time.
    Within(Duration),
}

impl Window {
    /// Starts at what the durable cursor says.
    pub(super) fn new(settled: Position) -> Self {
        Self { settled, sent: VecDeque::new() }
    }

    /// Up to here the receiver is taken to hold everything.
    pub(super) fn settled(&self) -> Position {
        self.settled
    }

    /// All before `upto` has been written in so many octets more, the last of it at `now`.
    pub(super) fn sent(&mut self, upto: Position, octets: u64, now: Instant) {
        let octets = self.octets() + octets;
        if let Some(last) = self.sent.back_mut()
            && now.saturating_duration_since(last.opened) < GRAIN
        {
            // The later time wins, so that merging can only delay.
            (last.upto, last.octets, last.written, last.reached) = (upto, octets, now, None);
            return;
        }
        self.sent.push_back(Mark { opened: now, written: now, upto, octets, reached: None });
    }

    /// What has reached the receiver's host, as our kernel says at `now`, after all that was written.
    ///
    /// Encryption only adds octets: whoever has all but the last `n` on the wire has all but the last `n` of ours.
    pub(super) fn reached(&mut self, outstanding: Outstanding, now: Instant) {
        let written = self.octets();
        let new = self.sent.partition_point(|mark| mark.reached.is_some());
        for mark in self.sent.range_mut(new..) {
            let there = match outstanding {
                Outstanding::Octets(octets) => octets <= written - mark.octets,
                Outstanding::Within(time) => now.saturating_duration_since(mark.written) >= time,
            };
            if !there {
                break;
            }
            mark.reached = Some(now);
        }
    }

    fn octets(&self) -> u64 {
        self.sent.back().map_or(0, |mark| mark.octets)
    }

    /// Counts what was acknowledged at least `settle` before `now` as received. The caller has just seen that the
    /// connection is healthy. True when the position moved.
    pub(super) fn settle(&mut self, now: Instant, settle: Duration) -> bool {
        let before = self.settled;
        while let Some(mark) = self.sent.front()
            && mark.reached.is_some_and(|reached| now.saturating_duration_since(reached) >= settle)
        {
            self.settled = mark.upto;
            self.sent.pop_front();
        }
        self.settled != before
    }

    /// The receiver has said that it holds everything before `upto`.
    pub(super) fn confirmed(&mut self, upto: Position) {
        self.settled = self.settled.max(upto);
    }

    /// The connection is lost: says from where to send again.
    pub(super) fn rewind(&mut self) -> Position {
        self.sent.clear();
        self.settled
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(next: u64) -> Position {
        Position { next, sequence: next + 1 }
    }

    const NOTHING: Outstanding = Outstanding::Octets(0);
    const SETTLE: Duration = Duration::from_secs(5);

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn what_was_written_a_moment_ago_is_sent_again_after_a_break() {
        let start = Instant::now();
        let mut window = Window::new(at(0));
        window.sent(at(10), 100, start);
        window.reached(NOTHING, start);
        window.sent(at(20), 100, start + secs(4));
        window.reached(NOTHING, start + secs(4));
        window.settle(start + secs(6), SETTLE);
        assert_eq!(window.rewind(), at(10));
        assert!(
            !window.settle(start + Duration::from_mins(1), SETTLE),
            "nothing of a lost connection settles later"
        );
    }

    #[test]
    fn what_the_receivers_host_has_not_acknowledged_never_settles() {
        let start = Instant::now();
        let mut window = Window::new(at(0));
        for (number, upto) in (0..4).map(|number| (number, 10 * (number + 1))) {
            window.sent(at(upto), 100, start + secs(number));
        }
        // Encrypted, the last record is of 120 octets: the one before may be on its way as well.
        window.reached(Outstanding::Octets(101), start + secs(4));
        assert!(!window.settle(start + secs(8), SETTLE), "time runs from the acknowledgement");
        window.settle(start + secs(9), SETTLE);
        assert_eq!(window.settled(), at(20));
        assert!(!window.settle(start + secs(3_600), SETTLE));
        window.reached(Outstanding::Octets(1), start + secs(3_600));
        window.settle(start + secs(3_605), SETTLE);
        assert_eq!(window.settled(), at(30));
        assert_eq!(window.rewind(), at(30));
    }

    #[test]
    fn where_the_kernel_does_not_say_the_time_that_a_dead_connection_has_left_comes_on_top() {
        let start = Instant::now();
        let mut window = Window::new(at(0));
        window.sent(at(10), 100, start);
        let unknown = Outstanding::Within(secs(16));
        window.reached(unknown, start + secs(15));
        window.reached(unknown, start + secs(16));
        assert!(!window.settle(start + secs(20), SETTLE));
        assert!(window.settle(start + secs(21), SETTLE));
    }

    /// Records sent for each record that there is, if one comes every 100 ms, all is acknowledged at once, and the connection is lost
    /// every `lost_ms` and back after `away_ms`.
    fn sent_for_each(settle_ms: u64, lost_ms: u64, away_ms: u64) -> f64 {
        let (start, settle, step) = (Instant::now(), Duration::from_millis(settle_ms), 100_u64);
        let mut window = Window::new(at(0));
        let (mut next, mut sent, mut records) = (0_u64, 0_u64, 0_u64);
        for time in (step..=600_000).step_by(100) {
            let now = start + Duration::from_millis(time);
            records += 1;
            if time.is_multiple_of(lost_ms) {
                next = window.rewind().next;
            }
            if time % lost_ms < away_ms {
                continue;
            }
            sent += records - next;
            next = records;
            window.sent(at(next), 1, now);
            window.reached(NOTHING, now);
            window.settle(now, settle);
        }
        f64::from(u32::try_from(sent).unwrap()) / f64::from(u32::try_from(records).unwrap())
    }

    #[test]
    fn a_loss_costs_what_was_sent_within_the_settling_time_and_more_only_where_no_connection_outlives_it() {
        // Two of three seconds of records are sent twice, and no more, however long the run.
        let often = sent_for_each(2_000, 3_000, 0);
        assert!((1.5..1.75).contains(&often), "{often}");
        let seldom = sent_for_each(2_000, 60_000, 0);
        assert!(seldom < 1.05, "{seldom}");
        // A second without the receiver: what came meanwhile goes out once, and what was sent before it again.
        let away = sent_for_each(1_000, 3_000, 1_000);
        assert!((1.2..1.45).contains(&away), "{away}");
        // No connection is as old as the settling time: everything goes again at each loss.
        assert!(sent_for_each(5_000, 3_000, 0) > 50.0);
    }

    proptest! {
        #[test]
        fn nothing_settles_before_its_time_and_nothing_moves_back(
            steps in prop::collection::vec((0_u64..400, 1_u64..50, any::<bool>(), 0_u64..200), 1..200),
            settle_ms in 1_u64..1000,
        ) {
            let settle = Duration::from_millis(settle_ms);
            let start = Instant::now();
            let (mut now, mut next) = (start, 0_u64);
            let mut window = Window::new(at(0));
            let mut written: Vec<(u64, u64, Option<Instant>)> = Vec::new();
            let mut octets = 0;
            for (wait, count, lost, outstanding) in steps {
                now += Duration::from_millis(wait);
                if lost {
                    (next, octets) = (window.rewind().next, 0);
                    written.retain(|(upto, ..)| *upto <= next);
                }
                next += count;
                octets += count;
                // An octet a record. When it was acknowledged is known only from here on.
                window.sent(at(next), count, now);
                written.push((next, octets, None));
                window.reached(Outstanding::Octets(outstanding), now);
                for (_, upto, reached) in &mut written {
                    if reached.is_none() && *upto + outstanding <= octets {
                        *reached = Some(now);
                    }
                }
                let before = window.settled();
                window.settle(now, settle);
                prop_assert!(window.settled() >= before);
                for (upto, _, reached) in &written {
                    let due = reached.is_some_and(|reached| now - reached >= settle);
                    prop_assert!(window.settled().next < *upto || due || before.next >= *upto);
                }
            }
            window.reached(NOTHING, now);
            window.settle(now + settle, settle);
            prop_assert_eq!(window.settled().next, next, "all settles when the connection stays healthy");
        }
    }
}

//! What was written to the receiver, and how much of it may be counted as received.
//!
//! Why: syslog over TCP or TLS has no acknowledgement. A write that succeeded means that the kernel holds the
//! bytes; when the receiver dies, the last of them die with it, unseen. So the durable cursor stays behind: a
//! position counts as received only when the connection it was written to has stayed healthy for a while after,
//! and whatever was written later is sent again on the next connection. Duplicates carry equal numbers.
//!
//! Pure: time is an argument. Promised: a position never counts earlier than `settle` after it was written, and
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

    /// All before `upto` has been written, the last of it at `now`.
    pub(super) fn sent(&mut self, upto: Position, now: Instant) {
        if let Some(last) = self.sent.back_mut()
            && now.saturating_duration_since(last.opened) < GRAIN
        {
            // The later time wins, so that merging can only delay.
            (last.upto, last.written) = (upto, now);
            return;
        }
        self.sent.push_back(Mark { opened: now, written: now, upto });
    }

    /// Counts what was written at least `settle` before `now` as received. The caller has just seen that the
    /// connection is healthy. True when the position moved.
    pub(super) fn settle(&mut self, now: Instant, settle: Duration) -> bool {
        let before = self.settled;
        while let Some(mark) = self.sent.front()
            && now.saturating_duration_since(mark.written) >= settle
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

    #[test]
    fn what_was_written_a_moment_ago_is_sent_again_after_a_break() {
        let start = Instant::now();
        let settle = Duration::from_secs(5);
        let mut window = Window::new(at(0));
        window.sent(at(10), start);
        window.sent(at(20), start + Duration::from_secs(4));
        window.settle(start + Duration::from_secs(6), settle);
        assert_eq!(window.rewind(), at(10));
        assert!(
            !window.settle(start + Duration::from_mins(1), settle),
            "nothing of a lost connection settles later"
        );
    }

    proptest! {
        #[test]
        fn nothing_settles_before_its_time_and_nothing_moves_back(
            steps in prop::collection::vec((0_u64..400, 1_u64..50, any::<bool>()), 1..200),
            settle_ms in 1_u64..1000,
        ) {
            let settle = Duration::from_millis(settle_ms);
            let start = Instant::now();
            let (mut now, mut next) = (start, 0_u64);
            let mut window = Window::new(at(0));
            let mut written = Vec::new();
            for (wait, count, lost) in steps {
                now += Duration::from_millis(wait);
                if lost {
                    next = window.rewind().next;
                    written.retain(|(upto, _)| *upto <= next);
                }
                next += count;
                window.sent(at(next), now);
                written.push((next, now));
                let before = window.settled();
                window.settle(now, settle);
                prop_assert!(window.settled() >= before);
                for (upto, when) in &written {
                    prop_assert!(window.settled().next < *upto || now - *when >= settle || before.next >= *upto);
                }
            }
            window.settle(now + settle, settle);
            prop_assert_eq!(window.settled().next, next, "all settles when the connection stays healthy");
        }
    }
}

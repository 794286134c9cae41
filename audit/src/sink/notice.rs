//! What a sink tells the ledger about itself: that the receiver is reached, lost, or cannot take a record.
//!
//! Why here: a record about delivering is itself delivered, so a careless sink talks to itself for ever. Promised: one
//! record per change, never one per attempt; a receiver that accepts and closes at once, again and again, makes two
//! records, and a connection that never holds for long makes them ever more rarely; a record about a sink
//! (`sink.*`) is never the cause of another.

use std::{future::Future, pin::Pin, time::Duration, time::Instant};

use crate::{kind::Kind, record::Draft};

/// Where a sink's own records go.
pub trait Notice: Send + Sync + 'static {
    /// Hands the record over. The sink waits for at most a few seconds, and goes on without it then.
    fn record(&self, draft: Draft) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// A connection is announced when it has held for this long, at first.
const STEADY: Duration = Duration::from_millis(500);
/// … doubled at each announced loss, up to this.
const STEADY_MOST: Duration = Duration::from_mins(5);
/// A connection that held for this long clears the doubling.
const CALM: Duration = Duration::from_mins(15);

/// Decides which changes are worth a record. Pure: time is an argument.
#[derive(Debug)]
pub(super) struct Announcer {
    told: Told,
    since: Option<Instant>,
    steady: Duration,
}

#[derive(Debug, PartialEq, Eq)]
enum Told {
    Nothing,
    Connected,
    Failed,
}

impl Announcer {
    pub(super) fn new() -> Self {
        Self { told: Told::Nothing, since: None, steady: STEADY }
    }

    /// A connection was made; it is not announced yet.
    pub(super) fn connected(&mut self, now: Instant) {
        self.since = Some(now);
    }

    /// A receiver that answers each request has answered one.
    pub(super) fn answered(&mut self, now: Instant) {
        self.since.get_or_insert(now);
    }

    /// The connection holds still. True when that is to be announced now.
    pub(super) fn holds(&mut self, now: Instant) -> bool {
        let Some(since) = self.since else { return false };
        let held = now.saturating_duration_since(since);
        if held >= CALM {
            self.steady = STEADY;
        }
        if self.told == Told::Connected || held < self.steady {
            return false;
        }
        self.told = Told::Connected;
        true
    }

    /// The connection, or an attempt to make one, failed. True when that is to be announced.
    pub(super) fn failed(&mut self) -> bool {
        self.since = None;
        if self.told == Told::Failed {
            return false;
        }
        if self.told == Told::Connected {
            self.steady = (self.steady * 2).min(STEADY_MOST);
        }
        self.told = Told::Failed;
        true
    }
}

/// Whether a record about a sink is the one in hand: then no further record may come of it.
pub(super) fn about_a_sink(kind: Kind) -> bool {
    kind.as_str().starts_with("sink.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_is_announced_once() {
        let start = Instant::now();
        let mut announcer = Announcer::new();
        assert!(announcer.failed(), "unreachable from the start");
        assert!(!announcer.failed());
        announcer.connected(start);
        assert!(!announcer.holds(start));
        assert!(announcer.holds(start + STEADY));
        assert!(!announcer.holds(start + STEADY * 2));
        assert!(announcer.failed());
    }

    #[test]
    fn a_receiver_that_accepts_and_closes_makes_one_record_however_often_it_does() {
        let mut now = Instant::now();
        let mut announcer = Announcer::new();
        let mut records = 0;
        for _ in 0..1000 {
            announcer.connected(now);
            now += STEADY / 2;
            records += usize::from(announcer.holds(now));
            records += usize::from(announcer.failed());
        }
        assert_eq!(records, 1);
    }

    #[test]
    fn a_connection_that_breaks_every_ten_seconds_makes_few_records_in_a_day() {
        let mut now = Instant::now();
        let mut announcer = Announcer::new();
        let mut records = 0;
        for _ in 0..8640 {
            announcer.connected(now);
            for _ in 0..10 {
                now += Duration::from_secs(1);
                records += usize::from(announcer.holds(now));
            }
            records += usize::from(announcer.failed());
        }
        assert!(records <= 12, "{records} records");
    }
}

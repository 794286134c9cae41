//! When a sink writes into the ledger how far it has delivered.
//!
//! Why: the ledger then says of itself, under its signatures, what left the host and when; whoever compares a SIEM's copy
//! with it knows how far that copy must reach. A receipt speaks of everything before a record, so a lost one is no gap.
//!
//! Pure: time is an argument. Promised: none that has nothing new to say, and none for the sake of records about sinks
//! alone: a receipt is itself delivered, and must not bring forth the next.

use std::time::Duration;

use tokio::time::Instant;

use super::window::Position;

#[derive(Debug)]
pub(super) struct Receipts {
    every: Duration,
    due: Instant,
    last: Position,
    /// Behind the newest record sent that is not about a sink.
    worth: u64,
}

impl Receipts {
    pub(super) fn new(from: Position, every: Duration, now: Instant) -> Self {
        Self { every, due: now + every, last: from, worth: 0 }
    }

    /// A record was sent that is not about a sink.
    pub(super) fn sent(&mut self, seq: u64) {
        self.worth = self.worth.max(seq + 1);
    }

    /// Whether a receipt is to be given now, and since which position it speaks of anything new.
    pub(super) fn due(&mut self, settled: Position, now: Instant) -> Option<Position> {
        let news = self.worth > self.last.next && settled > self.last;
        if now < self.due || !news {
            return None;
        }
        self.due = now + self.every;
        Some(std::mem::replace(&mut self.last, settled))
    }
}

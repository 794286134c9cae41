//! Which records may go, and which stay and why.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Holds, Policy, Stay, is_needed};
use crate::prefix::Piece;
use crate::record::{Record, Seq};

/// What pruning now would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The records before this number become the pruned beginning; zero if there is nothing to do.
    pub size: u64,
    /// How many of them go now.
    pub go: Tally,
    /// How many went at earlier times.
    pub gone: u64,
    /// How many stay, by what keeps them. Also those behind `size`.
    pub stay: BTreeMap<Stay, Tally>,
}

/// Some records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many.
    pub records: u64,
    /// Their bytes, with the sealed values beside them.
    pub bytes: u64,
    /// The first.
    pub first: Option<Seq>,
    /// The last.
    pub last: Option<Seq>,
}

impl Tally {
    fn add(&mut self, seq: Seq, bytes: u64) {
        self.records += 1;
        self.bytes += bytes;
        self.first.get_or_insert(seq);
        self.last = Some(seq);
    }

    fn join(&mut self, other: Self) {
        self.records += other.records;
        self.bytes += other.bytes;
        self.first = self.first.or(other.first);
        self.last = other.last.or(self.last);
    }
}

/// Decides record by record, in order.
pub struct Planner<'a> {
    policy: &'a Policy,
    holds: &'a Holds,
    now: Timestamp,
    /// Records from this number on are needed by somebody who has not read them yet.
    unread: u64,
    plan: Plan,
    /// What was found since the last end of a segment at which something before it goes.
    going: Tally,
    next: u64,
}

impl<'a> Planner<'a> {
    /// With these rules and holds, at `now`. From the record `unread` on everything stays: a sink has not yet
    /// delivered it.
    pub fn new(policy: &'a Policy, holds: &'a Holds, now: Timestamp, unread: u64) -> Self {
        let (plan, going) = (Plan::default(), Tally::default());
        Self { policy, holds, now, unread, plan, going, next: 0 }
    }

    /// What keeps a record, if anything does.
    pub fn verdict(&self, seq: Seq, bytes: &[u8]) -> Option<Stay> {
        let Ok(record) = Record::parse(bytes) else { return Some(Stay::Unreadable) };
        if record.seq != seq {
            return Some(Stay::Unreadable);
        }
        if seq == Seq::ZERO || is_needed(record.kind) {
            return Some(Stay::Needed);
        }
        if let Some(hold) = self.holds.on(&record) {
            return Some(Stay::Hold { name: hold.name.clone() });
        }
        if self.policy.limit(record.kind, self.now).is_none_or(|limit| record.time >= limit) {
            let (days, rule) = self.policy.longest(record.kind);
            return Some(Stay::Young { rule, days });
        }
        (seq.get() >= self.unread).then_some(Stay::Later)
    }

    /// Takes the next record or run.
    pub fn push(&mut self, piece: Piece<'_>) {
        match piece {
            Piece::Omitted(run) => {
                self.plan.gone += run.count();
                self.next = run.first + run.count();
            }
            Piece::Head { .. } => {}
            Piece::Record { seq, bytes, sealed, .. } => {
                let weight = (bytes.len() + sealed.len()) as u64;
                match self.verdict(seq, bytes) {
                    None => self.going.add(seq, weight),
                    Some(stay) => self.plan.stay.entry(stay).or_default().add(seq, weight),
                }
                self.next = seq.next().get();
            }
        }
    }

    /// Pruning may end here: behind a segment that is not the last.
    pub fn boundary(&mut self) {
        // A segment in which all stay is left as it is.
        if self.going.records > 0 {
            self.plan.go.join(std::mem::take(&mut self.going));
            self.plan.size = self.next;
        }
    }

    /// The plan.
    pub fn finish(mut self) -> Plan {
        if self.going.records > 0 {
            self.plan.stay.entry(Stay::Later).or_default().join(self.going);
        }
        self.plan
    }
}

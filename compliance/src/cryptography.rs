//! What the records say of cryptography: which keys there are and where each lives, which were replaced, and how every
//! session and tunnel of the period was protected.
//!
//! The same in every framework's report. Counted is what stands in the records, and a record that doesn't say counts for
//! nobody: "N of N sessions hybrid" is written only where each of the N says so of both its sides.

mod inventory;
mod protection;

use sallyport_audit::{Digest, Record};
use serde::Serialize;

use crate::period::Period;

pub use inventory::{Change, Changes, Inventory, Key, KeyState};
pub use protection::{Protection, Way};

/// Rows listed per table; all records are counted.
const ROWS: usize = 1_000;

/// The crypto inventory of a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cryptography {
    /// The keys, as they were last recorded before the period's end.
    pub inventory: Inventory,
    /// Keys made, replaced, destroyed and due within the period.
    pub changes: Changes,
    /// Sessions of the period.
    pub sessions: Protection,
    /// Registrations of tunnels in the period.
    pub tunnels: Protection,
}

/// Gathers it from the records, in the order of their numbers.
#[derive(Debug)]
pub(crate) struct Gathering {
    period: Period,
    inventory: inventory::Gathering,
    sessions: protection::Gathering,
    tunnels: protection::Gathering,
}

impl Gathering {
    pub(crate) fn new(period: Period) -> Self {
        Self {
            period,
            inventory: inventory::Gathering::default(),
            sessions: protection::Gathering::of_sessions(),
            tunnels: protection::Gathering::of_tunnels(),
        }
    }

    pub(crate) fn take(&mut self, record: &Record, leaf: Digest) {
        // A key that was made before the period is there in it, too.
        if record.time < self.period.to {
            self.inventory.take(record, leaf, self.period.contains(record.time));
        }
        if self.period.contains(record.time) {
            self.sessions.take(record, leaf);
            self.tunnels.take(record, leaf);
        }
    }

    /// `unproved` is why nothing may be concluded from the records, if so.
    pub(crate) fn finish(self, unproved: Option<&str>) -> Cryptography {
        let (inventory, changes) = self.inventory.finish(self.period);
        Cryptography {
            inventory,
            changes,
            sessions: self.sessions.finish(unproved),
            tunnels: self.tunnels.finish(unproved),
        }
    }
}

/// A text among a record's details.
fn text<'a>(record: &'a Record, name: &str) -> Option<&'a str> {
    record.details.get(name)?.as_str()
}

fn flag(record: &Record, name: &str) -> Option<bool> {
    record.details.get(name)?.as_bool()
}

//! Which records of a ledger a report is made from, so that the same report can be made again from those alone.
//!
//! The records of the period, one on either side of them, and, from the time before, only those that leave something
//! behind: a grant that still holds, a policy that is still in force. A pack carries exactly these, and whoever has it
//! needs nothing else to make the report again.

use jiff::Timestamp;
use sallyport_audit::selection::Selection;
use sallyport_audit::{Kind, Seq};
use serde::{Deserialize, Serialize};

use crate::period::Period;

/// Kinds of records that leave something behind: a report needs them from the ledger's beginning on.
pub const HISTORY: &[Kind] = &[
    Kind::LedgerCreated,
    Kind::LedgerResumed,
    Kind::ConfigLoaded,
    Kind::GatewayStarted,
    Kind::PolicyLoaded,
    Kind::PolicyProposed,
    Kind::PolicyApproved,
    Kind::TokenIssued,
    Kind::TokenRevoked,
    Kind::DeviceEnrolled,
    Kind::DeviceRevoked,
    Kind::PasskeyEnrolled,
    Kind::PasskeyRevoked,
    Kind::AccessRequested,
    Kind::AccessApproved,
    Kind::AccessRejected,
    Kind::AccessEscalated,
    Kind::AccessExpired,
    Kind::AccessWithdrawn,
    Kind::GrantIssued,
    Kind::GrantBegun,
    Kind::GrantRevoked,
    Kind::GrantExpired,
    Kind::GlassTold,
    Kind::GlassBroken,
    Kind::GlassReviewed,
    Kind::ShareOffered,
    Kind::ShareAccepted,
    Kind::ShareEnded,
    Kind::ReviewStarted,
    Kind::ReviewDecided,
    Kind::ReviewClosed,
    Kind::CanaryTried,
    Kind::KeyCreated,
    Kind::KeyLoaded,
    Kind::KeyRotated,
    Kind::KeyRetired,
    Kind::KeyDue,
    Kind::SinkConnected,
    Kind::SinkFailed,
    Kind::RetentionPruned,
    Kind::RetentionHeld,
    Kind::RetentionReleased,
];

/// The numbers from the record before the first of the period to the one behind its last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scope {
    /// The first number.
    pub first: u64,
    /// The last number, included.
    pub last: u64,
}

impl Scope {
    /// Whether a record of this number belongs to it.
    pub fn holds(&self, seq: Seq) -> bool {
        self.first <= seq.get() && seq.get() <= self.last
    }

    /// The records of these numbers, for an export.
    pub fn selection(&self) -> Selection {
        Selection { from: Seq::new(self.first), to: Some(Seq::new(self.last)), ..Selection::default() }
    }

    /// What the time before left behind, for an export; `None` if there is no time before.
    pub fn history(&self) -> Option<Selection> {
        let last = self.first.checked_sub(1)?;
        Some(Selection { to: Some(Seq::new(last)), kinds: HISTORY.to_vec(), ..Selection::default() })
    }
}

/// Finds the scope of a period: [`Self::take`] the number and time of every record, in order.
#[derive(Clone, Debug)]
pub struct Survey {
    period: Period,
    before: Option<u64>,
    scope: Option<Scope>,
    /// The last record belonged to the period, so the next one belongs to the scope.
    inside: bool,
    /// Whether the first one of all did.
    first_inside: Option<bool>,
}

impl Survey {
    /// Begins.
    pub fn new(period: Period) -> Self {
        Self { period, before: None, scope: None, inside: false, first_inside: None }
    }

    /// The next record that is there.
    pub fn take(&mut self, seq: Seq, time: Timestamp) {
        let seq = seq.get();
        let inside = self.period.contains(time);
        // A record that was pruned cannot be shown.
        let before = self.before.filter(|before| before.saturating_add(1) == seq);
        match &mut self.scope {
            None if inside => self.scope = Some(Scope { first: before.unwrap_or(seq), last: seq }),
            Some(scope) if inside || self.inside => scope.last = seq,
            _ => {}
        }
        self.inside = inside;
        self.first_inside.get_or_insert(inside);
        self.before = Some(seq);
    }

    /// Of the records of a scope alone, in a ledger of `size` records: whether they are all of the period. One record on
    /// either side shows that it begins and ends there, unless the ledger does.
    pub(crate) fn is_whole(&self, scope: Scope, size: u64) -> bool {
        let begun = scope.first == 0 || self.first_inside == Some(false);
        let ended = scope.last.saturating_add(1) >= size || !self.inside;
        begun && ended && self.scope == Some(scope)
    }

    /// The scope; `None` if the period holds no record.
    pub fn finish(self) -> Option<Scope> {
        self.scope
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(times: &[&str]) -> Option<Scope> {
        let mut survey = Survey::new(Period::parse("2026-01-02", "2026-01-03").unwrap());
        for (seq, day) in (0..).zip(times) {
            survey.take(Seq::new(seq), format!("2026-01-{day}T12:00:00Z").parse().unwrap());
        }
        survey.finish()
    }

    #[test]
    fn one_record_on_either_side_of_the_period_belongs_to_it() {
        assert_eq!(scope(&["01", "01", "02", "03", "04", "04"]), Some(Scope { first: 1, last: 4 }));
        assert_eq!(scope(&["02", "03"]), Some(Scope { first: 0, last: 1 }));
        assert_eq!(scope(&["01", "04"]), None);
    }

    #[test]
    fn records_are_all_of_the_period_if_one_on_either_side_or_the_ledgers_end_shows_it() {
        let period = Period::parse("2026-01-02", "2026-01-03").unwrap();
        let whole = |first: u64, times: &[&str], size: u64| {
            let mut survey = Survey::new(period);
            for (seq, day) in (first..).zip(times) {
                survey.take(Seq::new(seq), format!("2026-01-{day}T12:00:00Z").parse().unwrap());
            }
            let last = first + times.len() as u64 - 1;
            survey.is_whole(Scope { first, last }, size)
        };
        assert!(whole(3, &["01", "02", "03", "04"], 9) && whole(0, &["02", "03"], 2));
        assert!(!whole(3, &["02", "03", "04"], 9), "nothing shows where it begins");
        assert!(!whole(3, &["01", "02", "03"], 9), "nor where it ends");
        assert!(!whole(3, &["01", "01", "02", "04"], 9), "more than one on a side");
    }

    #[test]
    fn records_between_those_of_the_period_belong_to_it_whatever_their_time() {
        assert_eq!(scope(&["01", "02", "05", "05", "03", "04"]), Some(Scope { first: 0, last: 5 }));
    }
}

//! What an approver may bind a grant to: fewer minutes, and conditions of the policy by their names.
//!
//! Conditions are those that rows can name: a window of time, networks, a device, a transport. They are held against the
//! circumstances of every decision; one that the policy knows no longer, or that can't be told, keeps the grant shut.

use jiff::Timestamp;

use super::policy::Policy;
use super::policy::conditions::{Circumstances, Truth, Wanted};

/// Most conditions that one approver adds.
pub(super) const MAX_CONDITIONS: usize = 8;

/// How far one approver agrees.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// At most so many minutes; `None`: as asked.
    pub minutes: Option<u32>,
    /// Only while all of these hold.
    pub conditions: Vec<Wanted>,
    /// For one session and no other.
    pub once: bool,
}

impl Limits {
    /// Fewer minutes and nothing else.
    pub fn minutes(minutes: Option<u32>) -> Self {
        Self { minutes, ..Self::default() }
    }
}

/// Whether all of these hold.
pub(super) fn met<'a>(
    policy: &Policy,
    conditions: impl IntoIterator<Item = &'a Wanted>,
    at: &Circumstances,
) -> bool {
    conditions.into_iter().all(|wanted| {
        match policy.condition(&wanted.name).map(|condition| condition.holds(at)) {
            Some(Truth::Holds) => !wanted.turned,
            Some(Truth::Fails(_)) => wanted.turned,
            Some(Truth::Unknown(_)) | None => false,
        }
    })
}

/// When time next changes one of them.
pub(super) fn closes<'a>(
    policy: &Policy,
    conditions: impl IntoIterator<Item = &'a Wanted>,
    now: Timestamp,
) -> Option<Timestamp> {
    let known = conditions.into_iter().filter_map(|wanted| policy.condition(&wanted.name));
    known.filter_map(|condition| condition.next_change(now)).min()
}

//! A grant: leave to use something for a time.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::Glass;
use crate::access::ids::{GrantId, RequestId};
use crate::access::names::{Subject, Tenant};
use crate::access::object::{Action, Object};
use crate::access::policy::PolicyDigest;
use crate::access::policy::conditions::Wanted;
use crate::access::reason::Reason;
use crate::access::workflow::WorkflowName;

/// What became of a grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum GrantStatus {
    /// It may be used until its end.
    Live,
    /// Taken back.
    Revoked {
        /// When.
        at: Timestamp,
        /// By whom; `None` for the operator.
        by: Option<Subject>,
        /// Why.
        reason: Option<Reason>,
    },
    /// Ended because records of the ledger were lost, which may have revoked it.
    Lapsed {
        /// When the ledger was resumed.
        at: Timestamp,
    },
    /// Its time is over.
    Expired {
        /// When that was recorded.
        at: Timestamp,
    },
}

/// Leave to use something for a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Grant {
    /// Its id.
    pub id: GrantId,
    /// The request that it came of.
    pub request: RequestId,
    /// Whose it is.
    pub subject: Subject,
    /// In which tenant.
    pub tenant: Tenant,
    /// For what.
    pub object: Object,
    /// To do what.
    pub action: Action,
    /// The workflows that were satisfied.
    pub workflows: BTreeSet<WorkflowName>,
    /// From when.
    pub starts: Timestamp,
    /// Until when; every grant has an end. While [`Self::from_first_use`] holds something, until when it must be used first.
    pub ends: Timestamp,
    /// How many minutes will run from the first use; `None` once they run, or if they ran from the approval.
    pub from_first_use: Option<u32>,
    /// Whether it is good for one session and no other; its first use, which is recorded before anything rests on it, spends it.
    pub once: bool,
    /// When it was used first, if that was recorded.
    pub begun: Option<Timestamp>,
    /// Conditions of the policy that must all hold for it to be used.
    pub conditions: BTreeSet<Wanted>,
    /// Set if it came of breaking the glass instead of approvals.
    pub glass: Option<Glass>,
    /// The policy under which it was given.
    pub policy: PolicyDigest,
    /// What became of it.
    pub status: GrantStatus,
}

impl Grant {
    /// Whether it is neither ended nor over.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.status == GrantStatus::Live && self.starts <= now && now < self.ends
    }

    /// Whether a session can rest on it now. One whose time runs from its first use has to be begun before, by a record; one
    /// that is good once carries the session that has begun it, `holds`, and no other.
    pub fn carries(&self, holds: Option<GrantId>, now: Timestamp) -> bool {
        let begun = if self.once { self.begun.is_some() && holds == Some(self.id) } else { true };
        self.is_live(now) && self.from_first_use.is_none() && begun
    }

    /// Whether its one session has been.
    pub fn is_spent(&self) -> bool {
        self.once && self.begun.is_some()
    }

    /// When it ends if it is used first now; `None` if there is nothing to begin.
    pub fn end_from(&self, now: Timestamp) -> Option<Timestamp> {
        if !self.is_live(now) || self.is_spent() {
            return None;
        }
        match self.from_first_use {
            Some(minutes) => {
                Some(now.saturating_add(SignedDuration::from_mins(i64::from(minutes))).unwrap_or(now))
            }
            None => self.once.then_some(self.ends),
        }
    }
}

//! A grant: leave to use something for a time.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Serialize;

use crate::access::ids::{GrantId, RequestId};
use crate::access::names::{Subject, Tenant};
use crate::access::object::{Action, Object};
use crate::access::policy::PolicyDigest;
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
    /// Until when; every grant has an end.
    pub ends: Timestamp,
    /// The policy under which it was given.
    pub policy: PolicyDigest,
    /// What became of it.
    pub status: GrantStatus,
}

impl Grant {
    /// Whether it may be used now.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.status == GrantStatus::Live && self.starts <= now && now < self.ends
    }
}

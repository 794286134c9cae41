//! A grant: leave to use something for a time; and how the state folds it.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::{Glass, State};
use crate::access::fact::{Fact, Stamp};
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

impl State {
    pub(super) fn granted(&mut self, fact: &Fact) {
        let Fact::GrantIssued {
            grant,
            request,
            subject,
            tenant,
            object,
            action,
            workflows,
            approvals: _,
            starts,
            ends,
            from_first_use,
            once,
            conditions,
            policy,
        } = fact
        else {
            return;
        };
        let given = Grant {
            id: *grant,
            request: *request,
            subject: subject.clone(),
            tenant: tenant.clone(),
            object: object.clone(),
            action: *action,
            workflows: workflows.iter().cloned().collect(),
            starts: *starts,
            ends: *ends,
            from_first_use: *from_first_use,
            once: *once,
            begun: None,
            conditions: conditions.iter().cloned().collect(),
            glass: None,
            policy: *policy,
            status: GrantStatus::Live,
        };
        self.give(given);
    }

    /// A grant's time runs from now on.
    pub(super) fn begun(&mut self, stamp: Stamp, id: GrantId, ends: Timestamp) {
        let waits = |grant: &&mut Grant| {
            let unused = grant.from_first_use.is_some() || (grant.once && grant.begun.is_none());
            grant.status == GrantStatus::Live && unused
        };
        let Some(grant) = self.grants.get_mut(&id).filter(waits) else { return };
        self.ends.remove(&(grant.ends, id));
        grant.from_first_use = None;
        grant.begun = Some(stamp.time);
        grant.ends = ends;
        self.ends.insert((ends, id));
    }

    pub(super) fn end(&mut self, id: GrantId, status: GrantStatus) {
        let Some(grant) = self.grants.get_mut(&id).filter(|grant| grant.status == GrantStatus::Live) else {
            return;
        };
        grant.status = status;
        self.ends.remove(&(grant.ends, id));
        let key = (grant.tenant.clone(), grant.subject.clone());
        if let Some(live) = self.live.get_mut(&key) {
            live.remove(&id);
            if live.is_empty() {
                self.live.remove(&key);
            }
        }
    }

    /// A grant by its id.
    pub fn grant(&self, id: GrantId) -> Option<&Grant> {
        self.grants.get(&id)
    }

    /// All grants, oldest first.
    pub fn grants(&self) -> impl DoubleEndedIterator<Item = &Grant> {
        self.grants.values()
    }

    /// A person's grants that are neither revoked nor recorded as expired.
    pub fn live_grants_of(&self, tenant: &Tenant, subject: &Subject) -> impl Iterator<Item = &Grant> {
        let ids = self.live.get(&(tenant.clone(), subject.clone()));
        ids.into_iter().flatten().filter_map(|id| self.grants.get(id))
    }

    /// All grants that are neither revoked nor recorded as expired.
    pub fn live_grants(&self) -> impl Iterator<Item = &Grant> {
        self.live.values().flatten().filter_map(|id| self.grants.get(id))
    }

    /// Grants whose end has come but isn't recorded yet.
    pub fn overdue(&self, now: Timestamp) -> impl Iterator<Item = &Grant> {
        let due = self.ends.iter().take_while(move |(ends, _)| *ends <= now);
        due.filter_map(|(_, id)| self.grants.get(id))
    }
}

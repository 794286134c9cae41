//! A request, its approvals and what became of it; and how the state folds them.

use std::collections::BTreeSet;
use std::net::IpAddr;

use jiff::Timestamp;
use sallyport_audit::Digest;
use serde::Serialize;

use super::State;
use crate::access::fact::{Fact, Stamp};
use crate::access::ids::{GrantId, PasskeyId, RequestId};
use crate::access::names::{Role, Subject, Tenant};
use crate::access::object::{Action, Object};
use crate::access::policy::conditions::Wanted;
use crate::access::reason::{Reason, Ticket};
use crate::access::workflow::WorkflowName;

/// One person's approval of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Approval {
    /// Who approved.
    pub by: Subject,
    /// The roles of theirs that workflows asked for, as recorded.
    pub roles: Vec<Role>,
    /// When.
    pub at: Timestamp,
    /// The most minutes that this approver agrees to.
    pub minutes: Option<u32>,
    /// Conditions of the policy to which they bind the grant.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Wanted>,
    /// Whether they agree to one session and no other.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub once: bool,
    /// Why.
    pub reason: Option<Reason>,
    /// The passkey of theirs that signed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signed: Option<PasskeyId>,
}

/// One person's refusal of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Denial {
    /// Who refused.
    pub by: Subject,
    /// When.
    pub at: Timestamp,
    /// Why.
    pub reason: Option<Reason>,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum RequestStatus {
    /// Waits for approvals.
    Pending,
    /// The workflow is complete.
    Granted {
        /// The grant that came of it.
        grant: GrantId,
    },
    /// As many people as policy wanted said no.
    Rejected {
        /// Who did last.
        by: Subject,
        /// When.
        at: Timestamp,
        /// Why.
        reason: Option<Reason>,
    },
    /// Nobody answered in time.
    Expired {
        /// When that was recorded.
        at: Timestamp,
    },
    /// Ended because records of the ledger were lost, which may have decided it.
    Lapsed {
        /// When the ledger was resumed.
        at: Timestamp,
    },
    /// The requester took it back.
    Withdrawn {
        /// When.
        at: Timestamp,
    },
}

impl RequestStatus {
    /// One word for it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Granted { .. } => "granted",
            Self::Rejected { .. } => "rejected",
            Self::Expired { .. } => "expired",
            Self::Lapsed { .. } => "lapsed",
            Self::Withdrawn { .. } => "withdrawn",
        }
    }
}

/// A request for access.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Request {
    /// Its id.
    pub id: RequestId,
    /// Leaf hash of the record of it: what an approver's passkey signs.
    pub record: Digest,
    /// Who asks.
    pub subject: Subject,
    /// In which tenant.
    pub tenant: Tenant,
    /// For what.
    pub object: Object,
    /// To do what.
    pub action: Action,
    /// The workflows that policy demanded when it was asked; the decision looks at policy again.
    pub workflows: Vec<WorkflowName>,
    /// For how long, in minutes.
    pub minutes: u32,
    /// Why.
    pub reason: Reason,
    /// The ticket named.
    pub ticket: Option<Ticket>,
    /// Roles that somebody outside vouched for when it was asked.
    pub claimed: Vec<Role>,
    /// From where it was asked, if that is known. Not for the API: who may decide sees what it means, not the address.
    #[serde(skip)]
    pub source: Option<IpAddr>,
    /// When it was asked.
    pub at: Timestamp,
    /// When it expires if it isn't decided by then.
    pub answer_by: Timestamp,
    /// The grant that it is to take the place of.
    pub renews: Option<GrantId>,
    /// Whether it is for one session and no other.
    pub once: bool,
    /// The roles that it was put before because nobody had answered.
    pub escalated: BTreeSet<Role>,
    /// Who could have been asked and was told that the glass was broken instead.
    pub told: Vec<Subject>,
    /// Who has approved, in order; one per person.
    pub approvals: Vec<Approval>,
    /// Who has refused, in order; one per person, and nobody who has approved.
    pub denials: Vec<Denial>,
    /// What became of it.
    pub status: RequestStatus,
}

impl State {
    pub(super) fn requested(&mut self, stamp: Stamp, fact: &Fact) {
        let Fact::Requested {
            request,
            subject,
            tenant,
            object,
            action,
            workflows,
            minutes,
            reason,
            ticket,
            answer_by,
            renews,
            once,
            claimed,
            source,
        } = fact
        else {
            return;
        };
        if self.requests.contains_key(request) {
            return;
        }
        self.pending.entry((tenant.clone(), subject.clone())).or_default().insert(*request);
        self.answers.insert((*answer_by, *request));
        let asked = Request {
            id: *request,
            record: stamp.digest,
            subject: subject.clone(),
            tenant: tenant.clone(),
            object: object.clone(),
            action: *action,
            workflows: workflows.clone(),
            minutes: *minutes,
            reason: reason.clone(),
            ticket: ticket.clone(),
            claimed: claimed.clone(),
            source: *source,
            at: stamp.time,
            answer_by: *answer_by,
            renews: *renews,
            once: *once,
            escalated: BTreeSet::new(),
            told: Vec::new(),
            approvals: Vec::new(),
            denials: Vec::new(),
            status: RequestStatus::Pending,
        };
        self.requests.insert(*request, asked);
    }

    /// One person's refusal takes the place of their approval, and enough of them end the request.
    pub(super) fn rejected(&mut self, stamp: Stamp, fact: &Fact) {
        let Fact::Rejected { request: id, by, wanted, reason, .. } = fact else { return };
        let Some(request) = self.pending_mut(*id) else { return };
        request.approvals.retain(|approval| approval.by != *by);
        if !request.denials.iter().any(|denial| denial.by == *by) {
            request.denials.push(Denial { by: by.clone(), at: stamp.time, reason: reason.clone() });
        }
        if u64::try_from(request.denials.len()).is_ok_and(|count| count >= u64::from(*wanted)) {
            let status = RequestStatus::Rejected { by: by.clone(), at: stamp.time, reason: reason.clone() };
            self.settle(*id, status);
        }
    }

    pub(super) fn pending_mut(&mut self, request: RequestId) -> Option<&mut Request> {
        self.requests.get_mut(&request).filter(|request| request.status == RequestStatus::Pending)
    }

    pub(super) fn settle(&mut self, id: RequestId, status: RequestStatus) {
        let Some(request) = self.pending_mut(id) else { return };
        request.status = status;
        let (key, answer_by) = ((request.tenant.clone(), request.subject.clone()), request.answer_by);
        self.answers.remove(&(answer_by, id));
        if let Some(waiting) = self.pending.get_mut(&key) {
            waiting.remove(&id);
            if waiting.is_empty() {
                self.pending.remove(&key);
            }
        }
    }

    /// A request by its id.
    pub fn request(&self, id: RequestId) -> Option<&Request> {
        self.requests.get(&id)
    }

    /// All requests, oldest first.
    pub fn requests(&self) -> impl DoubleEndedIterator<Item = &Request> {
        self.requests.values()
    }

    /// Requests of one person that wait.
    pub fn pending_of(&self, tenant: &Tenant, subject: &Subject) -> impl Iterator<Item = &Request> {
        let ids = self.pending.get(&(tenant.clone(), subject.clone()));
        ids.into_iter().flatten().filter_map(|id| self.requests.get(id))
    }

    /// All requests that wait, whoever asked.
    pub fn pending(&self) -> impl Iterator<Item = &Request> {
        self.pending.values().flatten().filter_map(|id| self.requests.get(id))
    }

    /// Requests that nobody has answered in time, and whose end isn't recorded yet.
    pub fn unanswered(&self, now: Timestamp) -> impl Iterator<Item = &Request> {
        let due = self.answers.iter().take_while(move |(by, _)| *by <= now);
        due.filter_map(|(_, id)| self.requests.get(id))
    }
}

//! Lists: who may see what of others.
//!
//! People see what is theirs; those who decide on an object or audit it see what is about it; nobody sees another
//! tenant. A list looks at what is in force once per entry, because a long list, which asks policy about each entry,
//! must not keep a revocation waiting.

use jiff::Timestamp;
use serde::Serialize;

use super::decide;
use super::handle::Access;
use super::identity::{Caller, Identity};
use super::ids::{GrantId, RequestId};
use super::judge::{Judgement, check_standing, judge};
use super::names::{Subject, Tenant};
use super::object::{Action, Object, Part};
use super::owner::Standing;
use super::policy::{Policy, Ruling};
use super::state::{Grant, Lock, Request, RequestStatus, State, Token};
use super::workflow::Step;

/// Which requests to list.
#[derive(Debug, Clone, Default)]
pub struct RequestFilter {
    /// Only those that wait.
    pub pending: bool,
    /// Only this person's.
    pub subject: Option<Subject>,
    /// Only for this object.
    pub object: Option<Object>,
}

/// Which grants to list.
#[derive(Debug, Clone, Default)]
pub struct GrantFilter {
    /// Only those that may be used now.
    pub live: bool,
    /// Only this person's.
    pub subject: Option<Subject>,
    /// Only for this object.
    pub object: Option<Object>,
}

/// A request with what it waits for, under the policy as it is now.
#[derive(Debug, Clone, Serialize)]
pub struct RequestView {
    /// The request.
    #[serde(flatten)]
    pub request: Request,
    /// What is missing; empty once it is decided.
    pub waits_for: Vec<Step>,
    /// Who can still help it along.
    pub eligible: Vec<Subject>,
}

impl Access {
    /// Requests that the caller may see, newest first: their own, those that they can decide on or have decided on, and for
    /// an auditor of the object all of them; of those that wait no longer, also all that they could have been asked about.
    pub fn requests(&self, by: impl Into<Caller>, filter: &RequestFilter) -> Vec<RequestView> {
        let by = by.into();
        let now = self.now();
        let found = self.wanted_requests(&by, filter);
        found.into_iter().rev().filter_map(|id| self.see_request(&by, id, now)).collect()
    }

    /// The same, oldest first, those behind `after`, and at most `most`: policy is asked about no more than are shown and
    /// passed over.
    pub fn requests_after(
        &self,
        by: impl Into<Caller>,
        filter: &RequestFilter,
        after: Option<RequestId>,
        most: usize,
    ) -> Vec<RequestView> {
        let by = by.into();
        let now = self.now();
        let found = self.wanted_requests(&by, filter);
        let behind = found.into_iter().filter(|id| after.is_none_or(|after| *id > after));
        behind.filter_map(|id| self.see_request(&by, id, now)).take(most).collect()
    }

    /// The request of this person's own that waits for leave to do this.
    pub fn waiting(&self, who: &Identity, object: &Object, action: Action) -> Option<RequestId> {
        self.look(|standing| {
            let mut own = standing.state.pending_of(who.tenant(), who.subject());
            own.find(|request| request.object == *object && request.action == action)
                .map(|request| request.id)
        })
    }

    /// Those of the caller's tenant that fit, oldest first, whether the caller may see them or not.
    fn wanted_requests(&self, by: &Caller, filter: &RequestFilter) -> Vec<RequestId> {
        let wanted = |request: &&Request| {
            (!filter.pending || request.status == RequestStatus::Pending)
                && filter.subject.as_ref().is_none_or(|subject| *subject == request.subject)
                && filter.object.as_ref().is_none_or(|object| *object == request.object)
                && by.person().is_none_or(|who| who.tenant == request.tenant)
        };
        self.look(|standing| standing.state.requests().filter(wanted).map(|request| request.id).collect())
    }

    /// One request, if the caller may see it.
    pub fn find_request(&self, by: impl Into<Caller>, id: RequestId) -> Option<RequestView> {
        self.see_request(&by.into(), id, self.now())
    }

    fn see_request(&self, by: &Caller, id: RequestId, now: Timestamp) -> Option<RequestView> {
        self.look(|standing| {
            let (state, policy) = (&standing.state, &*standing.policy);
            let request = state.request(id)?;
            if !sees(state, policy, by, &request.tenant, &request.subject, &request.object, now) {
                return None;
            }
            let waits = request.status == RequestStatus::Pending;
            let eligible = if waits { decide::eligible(state, policy, request, now) } else { Vec::new() };
            // What waits is put before those who can answer it, and before nobody else who merely approves things.
            if waits && !by.person().is_none_or(|who| is_concerned(policy, who, request, &eligible)) {
                return None;
            }
            Some(RequestView {
                waits_for: if waits { decide::waits_for(state, policy, request, now) } else { Vec::new() },
                eligible,
                request: request.clone(),
            })
        })
    }

    /// Grants that the caller may see, newest first.
    pub fn grants(&self, by: impl Into<Caller>, filter: &GrantFilter) -> Vec<Grant> {
        let by = by.into();
        let now = self.now();
        let found = self.wanted_grants(&by, filter, now);
        found.into_iter().rev().filter_map(|id| self.see_grant(&by, id, now)).collect()
    }

    /// The same, oldest first, those behind `after`, and at most `most`.
    pub fn grants_after(
        &self,
        by: impl Into<Caller>,
        filter: &GrantFilter,
        after: Option<GrantId>,
        most: usize,
    ) -> Vec<Grant> {
        let by = by.into();
        let now = self.now();
        let found = self.wanted_grants(&by, filter, now);
        let behind = found.into_iter().filter(|id| after.is_none_or(|after| *id > after));
        behind.filter_map(|id| self.see_grant(&by, id, now)).take(most).collect()
    }

    /// Those of the caller's tenant that fit, oldest first, whether the caller may see them or not.
    fn wanted_grants(&self, by: &Caller, filter: &GrantFilter, now: Timestamp) -> Vec<GrantId> {
        let wanted = |grant: &&Grant| {
            (!filter.live || grant.is_live(now))
                && filter.subject.as_ref().is_none_or(|subject| *subject == grant.subject)
                && filter.object.as_ref().is_none_or(|object| *object == grant.object)
                && by.person().is_none_or(|who| who.tenant == grant.tenant)
        };
        self.look(|standing| standing.state.grants().filter(wanted).map(|grant| grant.id).collect())
    }

    /// One grant, if the caller may see it.
    pub fn find_grant(&self, by: impl Into<Caller>, id: GrantId) -> Option<Grant> {
        self.see_grant(&by.into(), id, self.now())
    }

    pub(super) fn see_grant(&self, by: &Caller, id: GrantId, now: Timestamp) -> Option<Grant> {
        self.look(|standing| {
            let (state, policy) = (&standing.state, &*standing.policy);
            let grant = state.grant(id)?;
            sees(state, policy, by, &grant.tenant, &grant.subject, &grant.object, now).then(|| grant.clone())
        })
    }

    /// Tokens that the caller may see, newest first: their own, or for an admin of tokens the tenant's.
    pub fn tokens(&self, by: impl Into<Caller>) -> Vec<Token> {
        let (by, now) = (by.into(), self.now());
        self.look(|standing| {
            let all = may_admin(standing, &by, Part::Tokens, now);
            let sees = |token: &&Token| {
                by.person()
                    .is_none_or(|who| who.tenant == token.tenant && (all || who.subject == token.subject))
            };
            standing.state.tokens().rev().filter(sees).cloned().collect()
        })
    }

    /// Locks, for an admin of people: those of the tenant.
    pub fn locks(&self, by: impl Into<Caller>) -> Vec<Lock> {
        let (by, now) = (by.into(), self.now());
        self.look(|standing| {
            if !may_admin(standing, &by, Part::People, now) {
                return Vec::new();
            }
            let sees = |lock: &&Lock| by.person().is_none_or(|who| who.tenant == lock.tenant);
            standing.state.locks().filter(sees).cloned().collect()
        })
    }
}

/// Whether a request that waits is this person's, can be decided by them or was, or is theirs to audit.
fn is_concerned(policy: &Policy, who: &Identity, request: &Request, eligible: &[Subject]) -> bool {
    request.subject == who.subject
        || eligible.contains(&who.subject)
        || request.approvals.iter().any(|approval| approval.by == who.subject)
        || request.denials.iter().any(|denial| denial.by == who.subject)
        || policy.allows(&who.subject, &request.tenant, &request.object, Action::Audit)
}

fn may_admin(standing: &Standing, by: &Caller, part: Part, now: Timestamp) -> bool {
    by.person().is_none_or(|who| {
        let object = Object::gateway(part);
        let judgement = judge(&standing.state, &standing.policy, who, &object, Action::Admin, now);
        matches!(judgement, Judgement::Allowed { .. })
    })
}

/// Whether the caller may see what is another person's: those who approve or audit the object, in its tenant.
fn sees(
    state: &State,
    policy: &Policy,
    by: &Caller,
    tenant: &Tenant,
    subject: &Subject,
    object: &Object,
    now: Timestamp,
) -> bool {
    let Some(who) = by.person() else { return true };
    if who.tenant != *tenant || check_standing(state, policy, who, now).is_err() {
        return false;
    }
    let at = who.circumstances(now);
    // Neither can need an approval.
    who.subject == *subject
        || [Action::Approve, Action::Audit].into_iter().any(|action| {
            let ruling = policy.rule_at(&who.subject, &who.roles, tenant, object, action, &at);
            who.scope.covers(object, action) && matches!(ruling, Ruling::Allow { .. })
        })
}

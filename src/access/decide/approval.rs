//! Asking, and deciding on what was asked: the algebra of approvals.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::{Case, Command, MAX_A_DAY, MAX_APPROVALS, MAX_PENDING, MAX_PENDING_OF_TENANT, Refusal};
use crate::access::backing::Asked;
use crate::access::fact::Fact;
use crate::access::identity::Identity;
use crate::access::ids::{GrantId, RequestId};
use crate::access::judge::{Judgement, check_locks, judge};
use crate::access::limits::{Limits, MAX_CONDITIONS};
use crate::access::names::{Role, Subject, Tenant};
use crate::access::object::{Action, Object};
use crate::access::policy::{Policy, Ruling};
use crate::access::reason::Reason;
use crate::access::state::{GrantStatus, Request, RequestStatus, State};
use crate::access::token::AuthError;
use crate::access::workflow::{Approver, Step, Terms, WorkflowName, missing};

/// Who can still help a request along: people of the roles that its open steps ask for, who may approve it, without
/// the requester and those who are too near to them, those who have decided, and those who are locked.
pub fn eligible(state: &State, policy: &Policy, request: &Request, now: Timestamp) -> Vec<Subject> {
    let case = Case { state, policy, now };
    let Ok(demand) = case.demand(request) else { return Vec::new() };
    let wanted = case.still_missing(request, &demand, None);
    let people: BTreeSet<Subject> = wanted
        .iter()
        .flat_map(Step::roles)
        .flat_map(|role| policy.members_of(role, &request.tenant))
        .collect();
    let decided = |person: &Subject| {
        request.approvals.iter().any(|approval| approval.by == *person)
            || request.denials.iter().any(|denial| denial.by == *person)
    };
    people.into_iter().filter(|person| !decided(person) && case.counts(request, &demand, person)).collect()
}

/// What a request still waits for, under the policy as it is now.
pub fn waits_for(state: &State, policy: &Policy, request: &Request, now: Timestamp) -> Vec<Step> {
    let case = Case { state, policy, now };
    case.demand(request).map(|demand| case.still_missing(request, &demand, None)).unwrap_or_default()
}

/// What policy demands of a request now; its steps as they are for this request.
pub(super) struct Demand {
    pub(super) workflows: Vec<WorkflowName>,
    pub(super) terms: Terms,
}

impl Case<'_> {
    pub(super) fn request(&self, who: &Identity, command: &Command) -> Result<Vec<Fact>, Refusal> {
        let Command::Request { id, object, action, minutes, reason, ticket, renews, once } = command else {
            return Ok(Vec::new());
        };
        let workflows = self.asked_for(who, object, *action, *renews)?;
        let Some(terms) = self.policy.terms_of(&workflows) else {
            return Err(Refusal::NotAllowed { why: "a workflow that policy names is gone".to_owned() });
        };
        if let Some(workflow) = terms.ticket
            && ticket.is_none()
        {
            return Err(Refusal::TicketNeeded { workflow });
        }
        if !(1..=terms.max_minutes).contains(minutes) {
            return Err(Refusal::Minutes { asked: *minutes, most: terms.max_minutes });
        }
        let waiting: Vec<&Request> = self.state.pending_of(&who.tenant, &who.subject).collect();
        if let Some(same) = waiting.iter().find(|other| other.object == *object && other.action == *action) {
            return Err(Refusal::Duplicate { request: same.id });
        }
        if waiting.len() >= MAX_PENDING {
            return Err(Refusal::TooManyPending { waiting: waiting.len() });
        }
        let yesterday = self.now.saturating_sub(SignedDuration::from_hours(24)).unwrap_or(Timestamp::MIN);
        let recent = self.state.requests().rev().take_while(|other| other.at > yesterday);
        let theirs =
            recent.filter(|other| other.subject == who.subject && other.tenant == who.tenant).count();
        if theirs >= MAX_A_DAY {
            return Err(Refusal::TooManyToday { asked: theirs });
        }
        let in_tenant = self.state.pending().filter(|other| other.tenant == who.tenant).count();
        if in_tenant >= MAX_PENDING_OF_TENANT {
            return Err(Refusal::TenantFull { waiting: in_tenant });
        }
        Ok(vec![Fact::Requested {
            request: *id,
            subject: who.subject.clone(),
            tenant: who.tenant.clone(),
            object: object.clone(),
            action: *action,
            workflows,
            minutes: *minutes,
            reason: reason.clone(),
            ticket: ticket.clone(),
            answer_by: self.after(terms.answer_within_minutes),
            renews: *renews,
            once: *once || terms.once,
            claimed: who.roles.to_vec(),
            source: who.source(),
        }])
    }

    /// The workflows that stand before what somebody asks for. With a grant that does already there is nothing to ask for,
    /// but to renew it.
    fn asked_for(
        &self,
        who: &Identity,
        object: &Object,
        action: Action,
        renews: Option<GrantId>,
    ) -> Result<Vec<WorkflowName>, Refusal> {
        if let Some(id) = renews {
            let own = self.state.grant(id).filter(|grant| {
                grant.subject == who.subject
                    && grant.tenant == who.tenant
                    && grant.object == *object
                    && grant.action == action
            });
            own.ok_or(Refusal::NoSuchGrant { grant: id })?;
        }
        match judge(self.state, self.policy, who, object, action, self.now) {
            Judgement::NeedsApproval { explanation } => Ok(explanation.workflows),
            Judgement::Allowed { explanation, .. } if renews.is_some() && explanation.grant.is_some() => {
                Ok(explanation.workflows)
            }
            Judgement::Allowed { .. } => Err(Refusal::NotNeeded { action, object: object.clone() }),
            Judgement::Denied { explanation } => Err(Refusal::NotAllowed { why: explanation.why }),
        }
    }

    pub(super) fn after(&self, minutes: u32) -> Timestamp {
        self.now.saturating_add(SignedDuration::from_mins(i64::from(minutes))).unwrap_or(self.now)
    }

    pub(super) fn approve(&self, who: &Identity, command: &Command) -> Result<Vec<Fact>, Refusal> {
        let Command::Approve { request: id, grant, limits, reason, signed } = command else {
            return Ok(Vec::new());
        };
        let (id, grant) = (*id, *grant);
        let request = self.deciding(who, id)?;
        let demand = self.demand(request)?;
        self.check_near(who, request, &demand)?;
        if let Some(asked) = limits.minutes
            && !(1..=request.minutes).contains(&asked)
        {
            return Err(Refusal::Minutes { asked, most: request.minutes });
        }
        self.check_conditions(limits)?;
        if let Err(AuthError::Locked { target }) = check_locks(
            self.state,
            self.policy,
            &request.subject,
            &request.claimed,
            &request.tenant,
            self.now,
        ) {
            return Err(Refusal::RequesterLocked { request: id, target });
        }
        if request.denials.iter().any(|denial| denial.by == who.subject) {
            return Err(Refusal::AlreadyDenied { request: id });
        }
        let wanted = self.still_missing(request, &demand, None);
        if request.approvals.iter().any(|approval| approval.by == who.subject) {
            return Err(Refusal::AlreadyApproved { request: id, wanted });
        }
        let all = self.counting_roles(&who.subject, &who.tenant, &demand, true);
        if all.is_empty() || request.approvals.len() >= MAX_APPROVALS {
            return Err(Refusal::NotEligible { request: id, wanted });
        }
        if let Some(signed) = signed {
            self.check_signed(who, request, limits, signed)?;
        }
        let roles = self.counting_roles(&who.subject, &who.tenant, &demand, signed.is_some());
        if roles.is_empty() {
            return Err(Refusal::SignatureNeeded { request: id });
        }
        let mut facts = vec![Fact::Approved {
            request: id,
            tenant: request.tenant.clone(),
            object: request.object.clone(),
            requester: request.subject.clone(),
            by: who.subject.clone(),
            roles,
            minutes: limits.minutes,
            conditions: limits.conditions.clone(),
            once: limits.once,
            reason: reason.clone(),
            signed: signed.clone(),
        }];
        if self.still_missing(request, &demand, Some((&who.subject, signed.is_some()))).is_empty() {
            facts.push(self.grant(request, grant, &demand, Some(limits)));
        }
        Ok(facts)
    }

    /// An approver binds a grant to what the policy knows, or it could never be used.
    fn check_conditions(&self, limits: &Limits) -> Result<(), Refusal> {
        if limits.conditions.len() > MAX_CONDITIONS {
            return Err(Refusal::TooManyConditions { most: MAX_CONDITIONS });
        }
        let unknown = limits.conditions.iter().find(|wanted| self.policy.condition(&wanted.name).is_none());
        unknown.map_or(Ok(()), |wanted| Err(Refusal::NoSuchCondition { name: wanted.name.clone() }))
    }

    /// The grant that a completed request becomes. Its time runs from now, the approval that completed it, or from its first use.
    pub(super) fn grant(
        &self,
        request: &Request,
        id: GrantId,
        demand: &Demand,
        last: Option<&Limits>,
    ) -> Fact {
        let minutes = request.approvals.iter().filter_map(|approval| approval.minutes);
        let limit = minutes.chain(last.and_then(|last| last.minutes)).min();
        let conditions = request.approvals.iter().flat_map(|approval| &approval.conditions);
        let conditions: BTreeSet<_> =
            conditions.chain(last.into_iter().flat_map(|last| &last.conditions)).collect();
        let minutes = limit.unwrap_or(request.minutes).min(request.minutes).min(demand.terms.max_minutes);
        let from_first_use = demand.terms.use_within_minutes.map(|_| minutes);
        // Whoever says so, once is once.
        let once = request.once
            || demand.terms.once
            || last.is_some_and(|last| last.once)
            || request.approvals.iter().any(|approval| approval.once);
        let approvals = request.approvals.len() + usize::from(last.is_some());
        Fact::GrantIssued {
            grant: id,
            request: request.id,
            subject: request.subject.clone(),
            tenant: request.tenant.clone(),
            object: request.object.clone(),
            action: request.action,
            workflows: demand.workflows.clone(),
            approvals: u32::try_from(approvals).unwrap_or(u32::MAX),
            starts: self.now,
            ends: self.after(demand.terms.use_within_minutes.unwrap_or(minutes)),
            from_first_use,
            once,
            conditions: conditions.into_iter().cloned().collect(),
            policy: self.policy.digest(),
        }
    }

    pub(super) fn reject(
        &self,
        who: &Identity,
        id: RequestId,
        reason: Option<&Reason>,
    ) -> Result<Vec<Fact>, Refusal> {
        let request = self.deciding(who, id)?;
        if request.denials.iter().any(|denial| denial.by == who.subject) {
            return Err(Refusal::AlreadyDenied { request: id });
        }
        let wanted = match self.demand(request) {
            Ok(demand) => {
                self.check_near(who, request, &demand)?;
                if self.counting_roles(&who.subject, &who.tenant, &demand, true).is_empty() {
                    let wanted = self.still_missing(request, &demand, None);
                    return Err(Refusal::NotEligible { request: id, wanted });
                }
                demand.terms.denials
            }
            // Policy doesn't let it through any more: whoever may approve on the object may clear it away.
            Err(_) => 1,
        };
        Ok(vec![Fact::Rejected {
            request: id,
            tenant: request.tenant.clone(),
            object: request.object.clone(),
            requester: request.subject.clone(),
            by: who.subject.clone(),
            wanted,
            reason: reason.cloned(),
        }])
    }

    pub(super) fn withdraw(
        &self,
        who: &Identity,
        id: RequestId,
        reason: Option<&Reason>,
    ) -> Result<Vec<Fact>, Refusal> {
        // To others' eyes a request that isn't theirs doesn't exist here.
        let request = self
            .state
            .request(id)
            .filter(|request| request.subject == who.subject && request.tenant == who.tenant)
            .filter(|request| who.scope.reaches(&request.object, request.action))
            .ok_or(Refusal::NoSuchRequest { request: id })?;
        self.check_pending(request)?;
        Ok(vec![Fact::Withdrawn {
            request: id,
            tenant: request.tenant.clone(),
            object: request.object.clone(),
            by: who.subject.clone(),
            reason: reason.cloned(),
        }])
    }

    /// A grant's first use: from now on its time runs.
    pub(super) fn begin(&self, who: &Identity, id: GrantId) -> Result<Vec<Fact>, Refusal> {
        let grant = self
            .state
            .grant(id)
            .filter(|grant| grant.subject == who.subject && grant.tenant == who.tenant)
            .ok_or(Refusal::NoSuchGrant { grant: id })?;
        if grant.status != GrantStatus::Live || !grant.is_live(self.now) {
            return Err(Refusal::GrantEnded { grant: id });
        }
        let ends = grant.end_from(self.now).ok_or(Refusal::GrantBegun { grant: id })?;
        Ok(vec![Fact::GrantBegun {
            grant: id,
            request: grant.request,
            tenant: grant.tenant.clone(),
            object: grant.object.clone(),
            subject: grant.subject.clone(),
            ends,
        }])
    }

    /// A request that waits and on which the caller may decide: of their tenant, on an object that they may approve, not
    /// their own.
    fn deciding(&self, who: &Identity, id: RequestId) -> Result<&Request, Refusal> {
        let request = self
            .state
            .request(id)
            .filter(|request| request.tenant == who.tenant)
            .ok_or(Refusal::NoSuchRequest { request: id })?;
        if request.subject == who.subject {
            return Err(Refusal::OwnRequest { request: id });
        }
        self.may(who, &request.object, Action::Approve)?;
        self.check_pending(request)?;
        Ok(request)
    }

    fn check_near(&self, who: &Identity, request: &Request, demand: &Demand) -> Result<(), Refusal> {
        if self.is_too_near(request, demand, &who.subject) {
            let requester = request.subject.clone();
            return Err(Refusal::TooNear { request: request.id, requester });
        }
        Ok(())
    }

    fn is_too_near(&self, request: &Request, demand: &Demand, person: &Subject) -> bool {
        let lines = self.policy.reporting();
        lines.is_too_near(&request.tenant, &request.subject, person, demand.terms.excludes)
    }

    /// What policy demands for a request now; not what it demanded when it was asked.
    pub(super) fn demand(&self, request: &Request) -> Result<Demand, Refusal> {
        let changed = |why: String| Refusal::PolicyChanged { request: request.id, why };
        let ruling = self.policy.rule_with(
            &request.subject,
            &request.claimed,
            &request.tenant,
            &request.object,
            request.action,
        );
        let workflows = match ruling {
            Ruling::Allow { workflows, .. } => workflows,
            // Where no rule speaks of them a share may, as when they asked.
            Ruling::Deny { rule: None, why, .. } => {
                let asked = Asked {
                    state: self.state,
                    policy: self.policy,
                    tenant: &request.tenant,
                    object: &request.object,
                    now: self.now,
                };
                let backing = asked.backing(&request.subject, request.action, None);
                backing.ok_or_else(|| changed(why))?.workflows
            }
            Ruling::Deny { why, .. } => return Err(changed(why)),
        };
        if workflows.is_empty() {
            return Err(changed("it needs no approval any more".to_owned()));
        }
        let mut terms = self
            .policy
            .terms_of(&workflows)
            .ok_or_else(|| changed("a workflow that it names is gone".to_owned()))?;
        for step in &mut terms.steps {
            *step = step.escalated_to(&request.escalated);
        }
        Ok(Demand { workflows: workflows.into_iter().collect(), terms })
    }

    /// What is missing, counting those who have approved as they are now, and `also`.
    pub(super) fn still_missing(
        &self,
        request: &Request,
        demand: &Demand,
        also: Option<(&Subject, bool)>,
    ) -> Vec<Step> {
        // A passkey that was revoked since signs nothing any more.
        let stands = |id| self.state.passkey(id).is_some_and(|passkey| passkey.revoked.is_none());
        let people =
            request.approvals.iter().map(|approval| (&approval.by, approval.signed.is_some_and(stands)));
        let counted: Vec<_> = people
            .chain(also)
            .filter(|(person, _)| self.counts(request, demand, person))
            .map(|(person, signed)| {
                let roles =
                    self.counting_roles(person, &request.tenant, demand, signed).into_iter().collect();
                Approver { roles, signed }
            })
            .collect();
        missing(&demand.terms.steps, &counted)
    }

    /// Whether a person's word counts on a request, whatever their roles.
    fn counts(&self, request: &Request, demand: &Demand, person: &Subject) -> bool {
        *person != request.subject
            && !self.is_too_near(request, demand, person)
            && self.policy.allows(person, &request.tenant, &request.object, Action::Approve)
            && check_locks(self.state, self.policy, person, &[], &request.tenant, self.now).is_ok()
    }

    /// A person's roles that some step asks for, with or without a signature.
    pub(super) fn counting_roles(
        &self,
        person: &Subject,
        tenant: &Tenant,
        demand: &Demand,
        signed: bool,
    ) -> Vec<Role> {
        let asks = |role: &Role| {
            demand.terms.steps.iter().any(|step| step.accepts(role) && (signed || !step.signed))
        };
        self.policy.roles_of(person, tenant).into_iter().filter(asks).collect()
    }

    fn check_pending(&self, request: &Request) -> Result<(), Refusal> {
        let state = match &request.status {
            RequestStatus::Pending if self.now < request.answer_by => return Ok(()),
            RequestStatus::Pending => "expired",
            other => other.as_str(),
        };
        Err(Refusal::NotPending { request: request.id, state })
    }
}

//! Asking, and deciding on what was asked: the algebra of approvals.

use jiff::{SignedDuration, Timestamp};

use super::{Case, Command, MAX_APPROVALS, MAX_PENDING, MAX_PENDING_OF_TENANT, Refusal};
use crate::access::fact::Fact;
use crate::access::identity::Identity;
use crate::access::ids::{GrantId, RequestId};
use crate::access::judge::{Judgement, check_locks, judge};
use crate::access::names::{Role, Subject, Tenant};
use crate::access::object::Action;
use crate::access::policy::{Policy, Ruling};
use crate::access::reason::Reason;
use crate::access::state::{Request, RequestStatus, State};
use crate::access::token::AuthError;
use crate::access::workflow::{MAX_MINUTES, Step, TicketRule, WorkflowName, missing};

/// Who can still help a request along: people of the roles that its open steps ask for, who may approve it, without
/// the requester, those who have approved, and those who are locked.
pub fn eligible(state: &State, policy: &Policy, request: &Request, now: Timestamp) -> Vec<Subject> {
    let case = Case { state, policy, now };
    let Ok(demand) = case.demand(request) else { return Vec::new() };
    let wanted = case.still_missing(request, &demand.steps, None);
    let mut people: Vec<Subject> =
        wanted.iter().flat_map(|step| policy.members_of(&step.role, &request.tenant)).collect();
    people.sort_unstable();
    people.dedup();
    people.retain(|person| {
        *person != request.subject
            && !request.approvals.iter().any(|approval| approval.by == *person)
            && policy.allows(person, &request.tenant, &request.object, Action::Approve)
            && check_locks(state, policy, person, &[], &request.tenant, now).is_ok()
    });
    people
}

/// What a request still waits for, under the policy as it is now.
pub fn waits_for(state: &State, policy: &Policy, request: &Request, now: Timestamp) -> Vec<Step> {
    let case = Case { state, policy, now };
    case.demand(request).map(|demand| case.still_missing(request, &demand.steps, None)).unwrap_or_default()
}

/// What policy demands of a request now.
pub(super) struct Demand {
    workflows: Vec<WorkflowName>,
    pub(super) steps: Vec<Step>,
    max_minutes: u32,
}

impl Case<'_> {
    pub(super) fn request(&self, who: &Identity, command: &Command) -> Result<Vec<Fact>, Refusal> {
        let Command::Request { id, object, action, minutes, reason, ticket } = command else {
            return Ok(Vec::new());
        };
        let explanation = match judge(self.state, self.policy, who, object, *action, self.now) {
            Judgement::NeedsApproval { explanation } => explanation,
            Judgement::Allowed { .. } => {
                return Err(Refusal::NotNeeded { action: *action, object: object.clone() });
            }
            Judgement::Denied { explanation } => return Err(Refusal::NotAllowed { why: explanation.why }),
        };
        let mut most = MAX_MINUTES;
        for name in &explanation.workflows {
            let Some(workflow) = self.policy.workflow(name) else { continue };
            most = most.min(workflow.max_minutes);
            if workflow.ticket == TicketRule::Required && ticket.is_none() {
                return Err(Refusal::TicketNeeded { workflow: name.clone() });
            }
        }
        if !(1..=most).contains(minutes) {
            return Err(Refusal::Minutes { asked: *minutes, most });
        }
        let waiting: Vec<&Request> = self.state.pending_of(&who.tenant, &who.subject).collect();
        if let Some(same) = waiting.iter().find(|other| other.object == *object && other.action == *action) {
            return Err(Refusal::Duplicate { request: same.id });
        }
        if waiting.len() >= MAX_PENDING {
            return Err(Refusal::TooManyPending { waiting: waiting.len() });
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
            workflows: explanation.workflows,
            minutes: *minutes,
            reason: reason.clone(),
            ticket: ticket.clone(),
            claimed: explanation.claimed,
        }])
    }

    pub(super) fn approve(
        &self,
        who: &Identity,
        id: RequestId,
        grant: GrantId,
        minutes: Option<u32>,
        reason: Option<&Reason>,
    ) -> Result<Vec<Fact>, Refusal> {
        let request = self.deciding(who, id)?;
        check_pending(request)?;
        let demand = self.demand(request)?;
        if let Some(asked) = minutes
            && !(1..=request.minutes).contains(&asked)
        {
            return Err(Refusal::Minutes { asked, most: request.minutes });
        }
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
        let wanted = self.still_missing(request, &demand.steps, None);
        if request.approvals.iter().any(|approval| approval.by == who.subject) {
            return Err(Refusal::AlreadyApproved { request: id, wanted });
        }
        let roles = self.counting_roles(&who.subject, &who.tenant, &demand.steps);
        if roles.is_empty() || request.approvals.len() >= MAX_APPROVALS {
            return Err(Refusal::NotEligible { request: id, wanted });
        }
        let mut facts = vec![Fact::Approved {
            request: id,
            tenant: request.tenant.clone(),
            object: request.object.clone(),
            requester: request.subject.clone(),
            by: who.subject.clone(),
            roles,
            minutes,
            reason: reason.cloned(),
        }];
        if self.still_missing(request, &demand.steps, Some(&who.subject)).is_empty() {
            facts.push(self.grant(request, grant, &demand, Some((&who.subject, minutes))));
        }
        Ok(facts)
    }

    /// The grant that a completed request becomes. Its time runs from now: the approval that completed it.
    pub(super) fn grant(
        &self,
        request: &Request,
        id: GrantId,
        demand: &Demand,
        last: Option<(&Subject, Option<u32>)>,
    ) -> Fact {
        let limits = request.approvals.iter().filter_map(|approval| approval.minutes);
        let limit = limits.chain(last.and_then(|(_, minutes)| minutes)).min();
        let minutes = limit.unwrap_or(request.minutes).min(request.minutes).min(demand.max_minutes);
        let ends = self.now.saturating_add(SignedDuration::from_mins(i64::from(minutes))).unwrap_or(self.now);
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
            ends,
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
        check_pending(request)?;
        Ok(vec![Fact::Rejected {
            request: id,
            tenant: request.tenant.clone(),
            object: request.object.clone(),
            requester: request.subject.clone(),
            by: who.subject.clone(),
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
            .filter(|request| who.scope.covers(&request.object, request.action))
            .ok_or(Refusal::NoSuchRequest { request: id })?;
        check_pending(request)?;
        Ok(vec![Fact::Withdrawn {
            request: id,
            tenant: request.tenant.clone(),
            object: request.object.clone(),
            by: who.subject.clone(),
            reason: reason.cloned(),
        }])
    }

    /// A request on which the caller may decide: of their tenant, on an object that they may approve, not their own.
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
        Ok(request)
    }

    /// What policy demands for a request now; not what it demanded when it was asked.
    pub(super) fn demand(&self, request: &Request) -> Result<Demand, Refusal> {
        let changed = |why: String| Refusal::PolicyChanged { request: request.id, why };
        let workflows = match self.policy.rule_with(
            &request.subject,
            &request.claimed,
            &request.tenant,
            &request.object,
            request.action,
        ) {
            Ruling::Deny { why, .. } => return Err(changed(why)),
            Ruling::Allow { workflows, .. } if workflows.is_empty() => {
                return Err(changed("it needs no approval any more".to_owned()));
            }
            Ruling::Allow { workflows, .. } => workflows,
        };
        let steps = self
            .policy
            .steps_of(&workflows)
            .ok_or_else(|| changed("a workflow that it names is gone".to_owned()))?;
        let limits = workflows.iter().filter_map(|name| self.policy.workflow(name)).map(|w| w.max_minutes);
        let max_minutes = limits.min().unwrap_or(MAX_MINUTES);
        Ok(Demand { workflows: workflows.into_iter().collect(), steps, max_minutes })
    }

    /// What is missing, counting those who have approved as they are now, and `also`.
    pub(super) fn still_missing(
        &self,
        request: &Request,
        steps: &[Step],
        also: Option<&Subject>,
    ) -> Vec<Step> {
        let people = request.approvals.iter().map(|approval| &approval.by).chain(also);
        let counted: Vec<_> = people
            .filter(|person| {
                **person != request.subject
                    && self.policy.allows(person, &request.tenant, &request.object, Action::Approve)
                    && check_locks(self.state, self.policy, person, &[], &request.tenant, self.now).is_ok()
            })
            .map(|person| self.counting_roles(person, &request.tenant, steps).into_iter().collect())
            .collect();
        missing(steps, &counted)
    }

    /// A person's roles that some step asks for.
    fn counting_roles(&self, person: &Subject, tenant: &Tenant, steps: &[Step]) -> Vec<Role> {
        let roles = self.policy.roles_of(person, tenant);
        roles.into_iter().filter(|role| steps.iter().any(|step| step.role == *role)).collect()
    }
}

fn check_pending(request: &Request) -> Result<(), Refusal> {
    let state = match request.status {
        RequestStatus::Pending => return Ok(()),
        RequestStatus::Granted { .. } => "granted",
        RequestStatus::Rejected { .. } => "rejected",
        RequestStatus::Withdrawn { .. } => "withdrawn",
        RequestStatus::Lapsed { .. } => "lapsed",
    };
    Err(Refusal::NotPending { request: request.id, state })
}

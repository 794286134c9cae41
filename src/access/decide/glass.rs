//! Breaking the glass: leave at once, without the approval that policy demands, for those whom the workflow names.
//!
//! It costs: the reason is recorded, everyone who would have been asked is told by a record of their own before the grant
//! exists, and nobody breaks it again before somebody else has reviewed the last time.

use std::collections::BTreeSet;

use super::approval::Demand;
use super::{Case, Command, Refusal};
use crate::access::fact::{Actor, Fact};
use crate::access::identity::Identity;
use crate::access::ids::GrantId;
use crate::access::judge::{Judgement, judge};
use crate::access::names::Subject;
use crate::access::object::Action;
use crate::access::reason::Reason;
use crate::access::state::{Grant, Request, RequestStatus, Verdict};
use crate::access::workflow::Step;

/// Most people who are told of one breaking, each by a record. Policy knows no more of those who approve anything; were there more,
/// the record of the breaking says how many.
const MAX_TOLD: usize = 1_024;

impl Case<'_> {
    pub(super) fn break_glass(&self, who: &Identity, command: &Command) -> Result<Vec<Fact>, Refusal> {
        let Command::BreakGlass { id, grant, object, action, minutes, reason } = command else {
            return Ok(Vec::new());
        };
        let workflows = match judge(self.state, self.policy, who, object, *action, self.now) {
            Judgement::NeedsApproval { explanation } => explanation.workflows,
            Judgement::Allowed { .. } => {
                return Err(Refusal::NotNeeded { action: *action, object: object.clone() });
            }
            Judgement::Denied { explanation } => return Err(Refusal::NotAllowed { why: explanation.why }),
        };
        let terms = self.policy.terms_of(&workflows);
        let roles = self.policy.roles_with(&who.subject, &who.roles, &who.tenant);
        let glasses = terms.as_ref().and_then(|terms| terms.break_glass.as_ref()).filter(|glasses| {
            glasses.iter().all(|glass| glass.roles.iter().any(|role| roles.contains(role)))
        });
        let (Some(terms), Some(glasses)) = (&terms, glasses) else {
            return Err(Refusal::NotAllowed {
                why: "its workflow doesn't let you break the glass".to_owned(),
            });
        };
        let most = glasses.iter().map(|glass| glass.max_minutes).min().unwrap_or(0);
        if !(1..=most).contains(minutes) {
            return Err(Refusal::Minutes { asked: *minutes, most });
        }
        if let Some(last) = self.state.unreviewed_of(&who.tenant, &who.subject).next() {
            return Err(Refusal::GlassUnreviewed { grant: last.id });
        }
        // What they have asked for already is what they break the glass for.
        let waiting = self.state.pending_of(&who.tenant, &who.subject);
        let waiting = waiting
            .filter(|other| other.object == *object && other.action == *action)
            .find(|other| self.now < other.answer_by);
        let request = waiting.map_or(*id, |waiting| waiting.id);
        let mut facts = Vec::new();
        if waiting.is_none() {
            facts.push(Fact::Requested {
                request,
                subject: who.subject.clone(),
                tenant: who.tenant.clone(),
                object: object.clone(),
                action: *action,
                workflows: workflows.clone(),
                minutes: *minutes,
                reason: reason.clone(),
                ticket: None,
                answer_by: self.after(terms.answer_within_minutes),
                renews: None,
                once: false,
                claimed: who.roles.to_vec(),
                source: who.source(),
            });
        }
        let skipped = self.skipped(who, object, &terms.steps, terms.excludes);
        facts.extend(skipped.iter().take(MAX_TOLD).map(|approver| Fact::GlassTold {
            request,
            grant: *grant,
            tenant: who.tenant.clone(),
            object: object.clone(),
            subject: who.subject.clone(),
            approver: approver.clone(),
        }));
        facts.push(Fact::GlassBroken {
            grant: *grant,
            request,
            subject: who.subject.clone(),
            tenant: who.tenant.clone(),
            object: object.clone(),
            action: *action,
            workflows,
            skipped: u32::try_from(skipped.len()).unwrap_or(u32::MAX),
            starts: self.now,
            ends: self.after(*minutes),
            policy: self.policy.digest(),
            reason: reason.clone(),
        });
        Ok(facts)
    }

    /// Everyone who could have been asked to approve.
    fn skipped(
        &self,
        who: &Identity,
        object: &crate::access::object::Object,
        steps: &[Step],
        excludes: crate::access::workflow::Nearness,
    ) -> BTreeSet<Subject> {
        let people =
            steps.iter().flat_map(Step::roles).flat_map(|role| self.policy.members_of(role, &who.tenant));
        people
            .filter(|person| {
                *person != who.subject
                    && !self.policy.reporting().is_too_near(&who.tenant, &who.subject, person, excludes)
                    && self.policy.allows(person, &who.tenant, object, Action::Approve)
            })
            .collect()
    }

    /// Somebody else says whether it was right.
    pub(super) fn review_glass(
        &self,
        who: &Identity,
        id: GrantId,
        verdict: Verdict,
        reason: &Reason,
    ) -> Result<Vec<Fact>, Refusal> {
        let found = self.state.grant(id).filter(|grant| grant.tenant == who.tenant && grant.glass.is_some());
        let grant = found.ok_or(Refusal::NoSuchGrant { grant: id })?;
        if grant.subject == who.subject {
            return Err(Refusal::OwnRequest { request: grant.request });
        }
        self.may(who, &grant.object, Action::Approve)?;
        if let Some(demand) = self.reviewers(grant) {
            let near = self.policy.reporting();
            if near.is_too_near(&who.tenant, &grant.subject, &who.subject, demand.terms.excludes) {
                return Err(Refusal::TooNear { request: grant.request, requester: grant.subject.clone() });
            }
            if self.counting_roles(&who.subject, &who.tenant, &demand, true).is_empty() {
                return Err(Refusal::NotEligible { request: grant.request, wanted: demand.terms.steps });
            }
        }
        if grant.glass.as_ref().is_some_and(|glass| glass.review.is_some()) {
            return Err(Refusal::GlassReviewed { grant: id });
        }
        let mut facts = vec![Fact::GlassReviewed {
            grant: id,
            request: grant.request,
            tenant: grant.tenant.clone(),
            object: grant.object.clone(),
            subject: grant.subject.clone(),
            by: who.subject.clone(),
            verdict,
            reason: reason.clone(),
        }];
        if verdict == Verdict::Unjustified && grant.is_live(self.now) {
            facts.push(Fact::GrantRevoked {
                grant: id,
                request: grant.request,
                tenant: grant.tenant.clone(),
                object: grant.object.clone(),
                subject: grant.subject.clone(),
                by: Actor::Person(who.subject.clone()),
                reason: Some(reason.clone()),
            });
        }
        Ok(facts)
    }

    /// Who may review: whoever a step of the workflows that were skipped could have asked, later steps too. `None` if policy
    /// knows the workflows no longer: then whoever may approve on the object.
    fn reviewers(&self, grant: &Grant) -> Option<Demand> {
        let terms = self.policy.terms_of(&grant.workflows)?;
        Some(Demand { workflows: grant.workflows.iter().cloned().collect(), terms })
    }
}

/// Whether the person may see a breaking of the glass because they were told of it.
pub fn was_told(request: Option<&Request>, person: &Subject) -> bool {
    request.is_some_and(|request| {
        request.told.contains(person) && matches!(request.status, RequestStatus::Granted { .. })
    })
}

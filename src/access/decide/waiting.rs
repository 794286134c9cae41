//! What time brings without an order: ends that have come, requests that nobody has answered, and grants whose approvals
//! are complete.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::Case;
use crate::access::fact::Fact;
use crate::access::ids::GrantId;
use crate::access::judge::check_locks;
use crate::access::names::Role;
use crate::access::policy::Policy;
use crate::access::share::ShareEnd;
use crate::access::state::{Request, State};

/// Facts that are due without an order.
///
/// A request is granted as soon as every step holds under the policy in force. Usually that is at an approval; but
/// the gateway may have stopped between the approval's record and the grant's, or a new policy may ask for less.
/// `mint` makes ids.
pub fn due(state: &State, policy: &Policy, now: Timestamp, mut mint: impl FnMut() -> GrantId) -> Vec<Fact> {
    let case = Case { state, policy, now };
    let over = state.overdue(now).map(|grant| Fact::GrantExpired {
        grant: grant.id,
        request: grant.request,
        tenant: grant.tenant.clone(),
        object: grant.object.clone(),
        subject: grant.subject.clone(),
    });
    let unanswered = state.unanswered(now).map(|request| Fact::Expired {
        request: request.id,
        tenant: request.tenant.clone(),
        object: request.object.clone(),
        requester: request.subject.clone(),
    });
    let unshared = state.overdue_shares(now).map(|share| Fact::ShareEnded {
        share: share.id,
        tenant: share.tenant.clone(),
        object: share.object.clone(),
        to: share.to.clone(),
        cause: ShareEnd::Expired,
        by: None,
        reason: None,
    });
    let mut facts: Vec<Fact> = over.chain(unanswered).chain(unshared).collect();
    for review in state.overdue_reviews(now) {
        facts.extend(case.closing(review, None));
    }
    for request in state.pending().filter(|request| now < request.answer_by) {
        if !request.approvals.is_empty()
            && let Ok(demand) = case.demand(request)
            && check_locks(state, policy, &request.subject, &request.claimed, &request.tenant, now).is_ok()
            && case.still_missing(request, &demand, None).is_empty()
        {
            facts.push(case.grant(request, mint(), &demand, None));
            continue;
        }
        let further: BTreeSet<Role> =
            escalations(policy, request).filter(|(at, _)| *at <= now).map(|(_, role)| role.clone()).collect();
        if !further.is_empty() {
            facts.push(Fact::Escalated {
                request: request.id,
                tenant: request.tenant.clone(),
                object: request.object.clone(),
                requester: request.subject.clone(),
                roles: further.into_iter().collect(),
            });
        }
    }
    // Two reviews may end at one time, or a review and what it is about: each thing ends once.
    let (mut grants, mut shares) = (BTreeSet::new(), BTreeSet::new());
    facts.retain(|fact| match fact {
        Fact::GrantExpired { grant, .. } | Fact::GrantRevoked { grant, .. } => grants.insert(*grant),
        Fact::ShareEnded { share, .. } => shares.insert(*share),
        _ => true,
    });
    facts
}

/// When the next request is due to be put before further people.
pub fn next_escalation(state: &State, policy: &Policy) -> Option<Timestamp> {
    state.pending().flat_map(|request| escalations(policy, request)).map(|(at, _)| at).min()
}

/// The roles that a request isn't put before yet, and when it will be. Of the workflows that were demanded when it was asked:
/// whether such a role then counts is decided by those that are demanded at the decision.
fn escalations<'a>(
    policy: &'a Policy,
    request: &'a Request,
) -> impl Iterator<Item = (Timestamp, &'a Role)> + 'a {
    let workflows = request.workflows.iter().filter_map(|name| policy.workflow(name));
    workflows.flat_map(|workflow| &workflow.steps).flat_map(move |step| {
        let at = step
            .after_minutes
            .and_then(|minutes| request.at.checked_add(SignedDuration::from_mins(i64::from(minutes))).ok());
        let further = step.also.iter().filter(|role| !request.escalated.contains(*role));
        further.filter_map(move |role| Some((at?, role)))
    })
}

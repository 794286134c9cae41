//! Orders to access, and what each may cause: a pure function from state, policy and time to facts.
//!
//! The algebra of approvals stands here. A grant exists only because one of these decisions saw, under the policy in
//! force at that moment, that every step of every workflow demanded has enough distinct people: not the requester,
//! nobody twice, nobody who has lost the role or is locked by then.

mod approval;
mod command;
mod devices;
mod erasing;
mod guarding;
mod refusal;

use jiff::Timestamp;

pub use approval::{eligible, waits_for};
pub use command::Command;
pub use refusal::Refusal;

use super::fact::{Actor, Fact, RefusedAttempt};
use super::identity::{Caller, Identity};
use super::ids::GrantId;
use super::judge::{check_locks, check_standing};
use super::object::{Object, Part};
use super::policy::Policy;
use super::state::State;

/// Most requests of one person that may wait at a time.
pub const MAX_PENDING: usize = 10;
/// Most requests of one tenant that may wait at a time.
pub const MAX_PENDING_OF_TENANT: usize = 10_000;
/// Most approvals that one request can collect; more than any workflow can use.
pub const MAX_APPROVALS: usize = 128;

/// Decides one order: the facts that it causes, in order, or why there are none.
///
/// # Errors
///
/// See [`Refusal`]; those that are attempts become a record through [`refused`].
pub fn decide(
    state: &State,
    policy: &Policy,
    by: &Caller,
    command: &Command,
    now: Timestamp,
) -> Result<Vec<Fact>, Refusal> {
    let case = Case { state, policy, now };
    // Whoever enrolls a device has shown a join token, which proves nobody for anything else.
    if let Caller::Person(identity) = by
        && !matches!(command, Command::EnrollDevice { .. })
    {
        if identity.is_anonymous() {
            return Err(Refusal::NotAPerson);
        }
        check_standing(state, policy, identity, now).map_err(Refusal::Standing)?;
    }
    match command {
        Command::Request { .. } => case.request(person(by)?, command),
        Command::Approve { request, grant, minutes, reason } => {
            case.approve(person(by)?, *request, *grant, *minutes, reason.as_ref())
        }
        Command::Reject { request, reason } => case.reject(person(by)?, *request, reason.as_ref()),
        Command::Withdraw { request, reason } => case.withdraw(person(by)?, *request, reason.as_ref()),
        Command::Revoke { grant, reason } => case.revoke(by, *grant, reason.as_ref()),
        Command::Lock { target, tenant, until, reason } => {
            case.lock(by, target, tenant, *until, reason.as_ref())
        }
        Command::Unlock { target, tenant, reason } => case.unlock(by, target, tenant, reason.as_ref()),
        Command::IssueToken { token, purpose, subject, tenant, expires, scope } => {
            case.issue_token(by, (*token, *purpose), subject, tenant, *expires, scope)
        }
        Command::RevokeToken { token, outside, reason } => {
            case.revoke_token(by, *token, outside.as_ref(), reason.as_ref())
        }
        Command::IssuerKeys { issuer, keys, why } => case.issuer_keys(by, issuer, keys, *why),
        Command::EnrollDevice { device, keys } => case.enroll(person(by)?, *device, keys),
        Command::RevokeDevice { device, reason } => case.revoke_device(by, *device, reason.as_ref()),
        Command::RevokeCertificate { certificate, tenant, reason } => {
            case.revoke_certificate(by, *certificate, tenant, reason.as_ref())
        }
        Command::ReloadPolicy => case.admin(by, Part::Policy, None).map(|()| Vec::new()),
        Command::Erase { subject, reason } => case.erase(by, subject, reason),
    }
}

/// Facts that are due without an order: ends that have come, and grants whose approvals are complete.
///
/// A request is granted as soon as every step holds under the policy in force. Usually that is at an approval; but
/// the gateway may have stopped between the approval's record and the grant's, or a new policy may ask for less.
/// `mint` makes ids.
pub fn due(state: &State, policy: &Policy, now: Timestamp, mut mint: impl FnMut() -> GrantId) -> Vec<Fact> {
    let case = Case { state, policy, now };
    let expired = state.overdue(now).map(|grant| Fact::GrantExpired {
        grant: grant.id,
        request: grant.request,
        tenant: grant.tenant.clone(),
        object: grant.object.clone(),
        subject: grant.subject.clone(),
    });
    let mut facts: Vec<Fact> = expired.collect();
    for request in state.pending().filter(|request| !request.approvals.is_empty()) {
        if let Ok(demand) = case.demand(request)
            && check_locks(state, policy, &request.subject, &request.claimed, &request.tenant, now).is_ok()
            && case.still_missing(request, &demand.steps, None).is_empty()
        {
            facts.push(case.grant(request, mint(), &demand, None));
        }
    }
    facts
}

/// The record of an order that was refused because of who gave it.
pub fn refused(by: &Caller, command: &Command, refusal: &Refusal, state: &State) -> Fact {
    let (mut request, mut grant) = (None, None);
    let object;
    match command {
        Command::Request { object: asked, .. } => object = Some(asked.clone()),
        Command::Approve { request: id, .. }
        | Command::Reject { request: id, .. }
        | Command::Withdraw { request: id, .. } => {
            request = Some(*id);
            object = state.request(*id).map(|request| request.object.clone());
        }
        Command::Revoke { grant: id, .. } => {
            grant = Some(*id);
            object = state.grant(*id).map(|grant| grant.object.clone());
        }
        Command::Lock { .. } | Command::Unlock { .. } | Command::Erase { .. } => {
            object = Some(Object::gateway(Part::People));
        }
        Command::IssueToken { .. }
        | Command::RevokeToken { .. }
        | Command::IssuerKeys { .. }
        | Command::EnrollDevice { .. }
        | Command::RevokeDevice { .. }
        | Command::RevokeCertificate { .. } => {
            object = Some(Object::gateway(Part::Tokens));
        }
        Command::ReloadPolicy => object = Some(Object::gateway(Part::Policy)),
    }
    Fact::Refused(RefusedAttempt {
        attempt: command.attempt(),
        by: actor(by),
        tenant: by.person().map(|identity| identity.tenant.clone()),
        request,
        grant,
        object,
        code: refusal.code().to_owned(),
    })
}

fn person(by: &Caller) -> Result<&Identity, Refusal> {
    by.person().ok_or(Refusal::NotAPerson)
}

fn actor(by: &Caller) -> Actor {
    match by {
        Caller::Operator => Actor::Operator,
        Caller::Person(identity) => Actor::Person(identity.subject.clone()),
    }
}

struct Case<'a> {
    state: &'a State,
    policy: &'a Policy,
    now: Timestamp,
}

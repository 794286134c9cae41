//! Orders to access, and what each may cause: a pure function from state, policy and time to facts.
//!
//! The algebra of approvals stands here. A grant exists only because one of these decisions saw, under the policy in
//! force at that moment, that every step of every workflow demanded has enough distinct people: not the requester,
//! nobody twice, nobody who has lost the role or is locked by then.

mod approval;
mod command;
mod devices;
mod erasing;
mod glass;
mod guarding;
mod passkeys;
mod policy_change;
mod refusal;
mod reviewing;
mod sharing;
mod waiting;

use jiff::Timestamp;

pub use approval::{eligible, waits_for};
pub use command::Command;
pub use glass::was_told;
pub use refusal::Refusal;
pub use waiting::{due, next_escalation};

use super::fact::{Actor, Fact, RefusedAttempt};
use super::identity::{Caller, Identity};
use super::judge::check_standing;
use super::object::{Object, Part};
use super::policy::Policy;
use super::state::State;

/// Most requests of one person that may wait at a time.
pub const MAX_PENDING: usize = 10;
/// Most requests of one person within a day: each stays in memory, and each is told to whoever may decide it.
pub const MAX_A_DAY: usize = 500;
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
        Command::Approve { .. } => case.approve(person(by)?, command),
        Command::Reject { request, reason } => case.reject(person(by)?, *request, reason.as_ref()),
        Command::Withdraw { request, reason } => case.withdraw(person(by)?, *request, reason.as_ref()),
        Command::StartReview { review, tenant, reviewers, deadline } => {
            case.start_review(by, (*review, tenant), reviewers, *deadline)
        }
        Command::DecideReview { review, item, keep, reason } => {
            case.decide_review(person(by)?, (*review, *item), *keep, reason)
        }
        Command::CloseReview { review } => case.close_review(by, *review),
        Command::Share { .. } => case.share(by, command),
        Command::AcceptShare { share } => case.accept_share(person(by)?, *share),
        Command::EndShare { share, reason } => case.end_share(by, *share, reason.as_ref()),
        Command::Describe { object, words } => case.describe(person(by)?, object, words),
        Command::DeleteTunnel { object, reason } => case.delete_tunnel(person(by)?, object, reason),
        Command::BreakGlass { .. } => case.break_glass(person(by)?, command),
        Command::ReviewGlass { grant, verdict, reason } => {
            case.review_glass(person(by)?, *grant, *verdict, reason)
        }
        Command::Begin { grant } => case.begin(person(by)?, *grant),
        Command::Revoke { grant, reason } => case.revoke(by, *grant, reason.as_ref()),
        Command::Lock { target, tenant, until, reason } => {
            case.lock(by, target, tenant, *until, reason.as_ref())
        }
        Command::Unlock { target, tenant, reason } => case.unlock(by, target, tenant, reason.as_ref()),
        Command::IssueToken { token, purpose, subject, tenant, expires, scope } => {
            case.issue_token(by, (*token, *purpose), subject, tenant, *expires, scope)
        }
        Command::SignIn { token, place, expires } => case.sign_in(person(by)?, *token, place, *expires),
        Command::RevokeToken { token, outside, reason } => {
            case.revoke_token(by, *token, outside.as_ref(), reason.as_ref())
        }
        Command::IssuerKeys { issuer, keys, why } => case.issuer_keys(by, issuer, keys, *why),
        Command::EnrollDevice { device, keys } => case.enroll(person(by)?, *device, keys),
        Command::RevokeDevice { device, reason } => case.revoke_device(by, *device, reason.as_ref()),
        Command::EnrollPasskey { passkey, new } => case.enroll_passkey(person(by)?, *passkey, new),
        Command::RevokePasskey { passkey, reason } => case.revoke_passkey(by, *passkey, reason.as_ref()),
        Command::RevokeCertificate { certificate, tenant, reason } => {
            case.revoke_certificate(by, *certificate, tenant, reason.as_ref())
        }
        Command::ReloadPolicy => case.admin(by, Part::Policy, None).map(|()| Vec::new()),
        Command::ProposePolicy { digest, rules, summary, reason } => {
            case.propose_policy(person(by)?, (*digest, *rules, summary), reason)
        }
        Command::ApprovePolicy { digest, reason } => {
            case.approve_policy(person(by)?, *digest, reason.as_ref())
        }
        Command::Erase { subject, reason } => case.erase(by, subject, reason),
        Command::ReplaceTokenKey { old, new, tokens_kept, reason } => {
            case.replace_token_key(by, (old, new), *tokens_kept, reason.as_ref())
        }
    }
}

/// The record of an order that was refused because of who gave it.
pub fn refused(by: &Caller, command: &Command, refusal: &Refusal, state: &State) -> Fact {
    let (mut request, mut grant) = (None, None);
    let object;
    match command {
        Command::AcceptShare { share } | Command::EndShare { share, .. } => {
            object = state.share(*share).map(|share| share.object.clone());
        }
        Command::Request { object: asked, .. }
        | Command::BreakGlass { object: asked, .. }
        | Command::Share { object: asked, .. }
        | Command::Describe { object: asked, .. }
        | Command::DeleteTunnel { object: asked, .. } => {
            object = Some(asked.clone());
        }
        Command::SignIn { place, .. } => object = place.object().cloned(),
        Command::Approve { request: id, .. }
        | Command::Reject { request: id, .. }
        | Command::Withdraw { request: id, .. } => {
            request = Some(*id);
            object = state.request(*id).map(|request| request.object.clone());
        }
        Command::Begin { grant: id }
        | Command::ReviewGlass { grant: id, .. }
        | Command::Revoke { grant: id, .. } => {
            grant = Some(*id);
            object = state.grant(*id).map(|grant| grant.object.clone());
        }
        Command::StartReview { .. }
        | Command::DecideReview { .. }
        | Command::CloseReview { .. }
        | Command::Lock { .. }
        | Command::Unlock { .. }
        | Command::Erase { .. } => {
            object = Some(Object::gateway(Part::People));
        }
        Command::IssueToken { .. }
        | Command::RevokeToken { .. }
        | Command::IssuerKeys { .. }
        | Command::EnrollDevice { .. }
        | Command::RevokeDevice { .. }
        | Command::EnrollPasskey { .. }
        | Command::RevokePasskey { .. }
        | Command::RevokeCertificate { .. } => {
            object = Some(Object::gateway(Part::Tokens));
        }
        Command::ReloadPolicy | Command::ProposePolicy { .. } | Command::ApprovePolicy { .. } => {
            object = Some(Object::gateway(Part::Policy));
        }
        Command::ReplaceTokenKey { .. } => object = Some(Object::gateway(Part::Keys)),
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

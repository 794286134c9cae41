//! Facts as ledger records, and back.
//!
//! Who did it, to whom, and why in their words are personal: they stand sealed beside the record, and only
//! commitments in it. All else is plain: ids, tenant, object, action, workflows, times, counts, the policy's digest.
//! What belongs to one request carries the request's id as its correlation id, from the first ask to the last end.
//!
//! Reading back is strict. A record of access that says something this program can't read, or whose personal values
//! can't be had, stops the start: passing over it could forget a lock or a revocation. Only what was erased on purpose is
//! read without its name: it speaks of [`Subject::erased`], the same for everything that one key sealed.

use std::str::FromStr;

use jiff::Timestamp;
use sallyport_audit::{Digest, Draft, KeyId, Kind, Outcome, Personal, Value as Known, Values};
use serde_json::{Map, Value};

use super::device::DeviceKeys;
use super::fact::{Actor, Attempt, Fact, RefusedAttempt, SignIn};
use super::identity::BegunWith;
use super::ids::RequestId;
use super::issuer::{KeyPrint, Outside};
use super::judge::{ConditionRef, Explanation, Outcome as Way, RuleRef};
use super::lock::LockTarget;
use super::names::{Role, Subject};
use super::policy::conditions::Wanted;
use super::reason::Reason;
use super::scope::Scope;
use super::workflow::WorkflowName;

/// The role of the key that signs tokens, as records of keys name it.
const TOKEN_SIGNING: &str = "token-signing";

impl Explanation {
    /// A draft that says what was decided and why: for `access.decided`, `session.opened`, `session.refused` and the
    /// like. The caller adds the session, the source and what else it knows.
    pub fn draft(&self, kind: Kind) -> Draft {
        let outcome = if self.outcome == Way::Allowed { Outcome::Success } else { Outcome::Denied };
        let rules: Vec<String> = self.rules.iter().map(RuleRef::for_record).collect();
        let mut draft = Draft::new(kind, outcome)
            .subject(self.subject.as_str())
            .action(self.action.as_str())
            .object(self.object.as_str())
            .policy(self.policy.to_string())
            .detail("tenant", self.tenant.as_str())
            .detail("decision", self.code)
            .detail("rules", rules)
            // A sentence for people, which may name the visitor: personal.
            .reason(self.why.as_str());
        if !self.conditions.is_empty() {
            let conditions: Vec<String> = self.conditions.iter().map(ConditionRef::for_record).collect();
            draft = draft.detail("conditions", conditions);
        }
        if !self.workflows.is_empty() {
            draft = draft.detail("workflows", names(&self.workflows));
        }
        draft = claimed_roles(draft, &self.claimed);
        if !self.shares.is_empty() {
            draft = draft.detail("shares", texts(&self.shares));
        }
        if let Some(grant) = self.grant {
            draft = draft.grant(grant.to_string());
        }
        draft
    }
}

/// What a session was begun with; `with_key` is there if somebody outside vouched for it by a key.
fn begun_with(draft: Draft, with: BegunWith) -> Draft {
    match with {
        BegunWith::Token(token) => draft.detail("with", token.to_string()),
        BegunWith::Outside(Outside { token, key }) => {
            let key = key.map(|key| key.to_string()).unwrap_or_default();
            draft.detail("with", token.to_string()).detail("with_key", key)
        }
    }
}

/// Roles that somebody outside vouched for, where there are some.
fn claimed_roles(draft: Draft, roles: &[Role]) -> Draft {
    if roles.is_empty() {
        return draft;
    }
    let roles: Vec<String> = roles.iter().map(ToString::to_string).collect();
    draft.detail("claimed_roles", roles)
}

/// The conditions that a grant is bound to, where there are some.
fn bound(draft: Draft, conditions: &[Wanted]) -> Draft {
    if conditions.is_empty() { draft } else { draft.detail("conditions", texts(conditions)) }
}

fn names(workflows: &[WorkflowName]) -> Vec<String> {
    texts(workflows)
}

fn texts<T: ToString>(values: &[T]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

fn by(draft: Draft, actor: &Actor) -> Draft {
    match actor {
        Actor::Operator => draft.detail("by", "operator"),
        Actor::Person(person) => draft.subject(person.as_str()),
    }
}

fn why(draft: Draft, reason: Option<&Reason>) -> Draft {
    match reason {
        None => draft,
        Some(reason) => draft.reason(reason.as_str()),
    }
}

fn about(draft: Draft, request: RequestId) -> Draft {
    draft.correlation(request.to_string())
}

/// The record that a fact becomes.
#[expect(clippy::too_many_lines, reason = "a table: one arm for each fact, each of a few lines")]
pub(super) fn draft_of(fact: &Fact) -> Draft {
    let done = |kind| Draft::new(kind, Outcome::Success);
    match fact {
        Fact::TokenIssued { token, purpose, subject, tenant, expires, scope, sign_in, by: actor } => {
            let draft = by(done(Kind::TokenIssued), actor)
                .target(subject.as_str())
                .detail("token", token.to_string())
                .detail("purpose", purpose.as_str())
                .detail("tenant", tenant.as_str())
                .detail("expires", expires.to_string());
            let draft = if scope.is_whole() { draft } else { draft.detail("scope", scope.words()) };
            match sign_in {
                None => draft,
                Some(sign_in) => claimed_roles(begun_with(draft, sign_in.with), &sign_in.claimed),
            }
        }
        Fact::DeviceEnrolled { device, join, subject, tenant, keys, expires } => {
            let (ed25519, ml_dsa) = keys.to_texts();
            done(Kind::DeviceEnrolled)
                .subject(subject.as_str())
                .detail("device", device.to_string())
                .detail("token", join.to_string())
                .detail("tenant", tenant.as_str())
                .detail("ed25519", ed25519)
                .detail("ml_dsa_65", ml_dsa)
                .detail("expires", expires.to_string())
        }
        Fact::DeviceRevoked { device, tenant, by: actor, reason } => {
            why(by(done(Kind::DeviceRevoked), actor), reason.as_ref())
                .detail("device", device.to_string())
                .detail("tenant", tenant.as_str())
        }
        Fact::CertificateRevoked { certificate, tenant, by: actor, reason } => {
            why(by(done(Kind::CertificateRevoked), actor), reason.as_ref())
                .detail("certificate", certificate.to_string())
                .detail("tenant", tenant.as_str())
        }
        Fact::TokenRevoked { token, tenant, outside, by: actor, reason } => {
            let draft = why(by(done(Kind::TokenRevoked), actor), reason.as_ref())
                .detail("token", token.to_string())
                .detail("tenant", tenant.as_str());
            if *outside { draft.detail("outside", true) } else { draft }
        }
        Fact::IssuerKeys { issuer, keys, withdrawn, why } => {
            let texts = |keys: &[KeyPrint]| keys.iter().map(ToString::to_string).collect::<Vec<String>>();
            done(Kind::IssuerKeys)
                .detail("issuer", issuer.as_str())
                .detail("keys", texts(keys))
                .detail("withdrawn", texts(withdrawn))
                .detail("why", why.as_str())
        }
        Fact::Requested {
            request,
            subject,
            tenant,
            object,
            action,
            workflows,
            minutes,
            reason,
            ticket,
            claimed,
            answer_by,
            renews,
        } => {
            let mut draft = about(done(Kind::AccessRequested), *request)
                .subject(subject.as_str())
                .reason(reason.as_str())
                .action(action.as_str())
                .object(object.as_str())
                .detail("tenant", tenant.as_str())
                .detail("workflows", names(workflows))
                .detail("minutes", *minutes)
                .detail("answer_by", answer_by.to_string());
            draft = claimed_roles(draft, claimed);
            if let Some(ticket) = ticket {
                draft = draft.detail("ticket", ticket.as_str());
            }
            if let Some(renewed) = renews {
                draft = draft.detail("renews", renewed.to_string());
            }
            draft
        }
        Fact::Approved {
            request,
            tenant,
            object,
            requester,
            by: person,
            roles,
            minutes,
            conditions,
            reason,
        } => {
            let draft = why(about(done(Kind::AccessApproved), *request), reason.as_ref())
                .subject(person.as_str())
                .target(requester.as_str())
                .object(object.as_str())
                .detail("tenant", tenant.as_str())
                .detail("roles", texts(roles));
            let draft = bound(draft, conditions);
            match minutes {
                None => draft,
                Some(minutes) => draft.detail("minutes", *minutes),
            }
        }
        Fact::Rejected { request, tenant, object, requester, by: person, wanted, reason } => {
            why(about(done(Kind::AccessRejected), *request), reason.as_ref())
                .subject(person.as_str())
                .target(requester.as_str())
                .object(object.as_str())
                .detail("tenant", tenant.as_str())
                .detail("wanted", *wanted)
        }
        Fact::Escalated { request, tenant, object, requester, roles } => {
            about(done(Kind::AccessEscalated), *request)
                .target(requester.as_str())
                .object(object.as_str())
                .detail("tenant", tenant.as_str())
                .detail("roles", texts(roles))
        }
        Fact::Expired { request, tenant, object, requester } => about(done(Kind::AccessExpired), *request)
            .target(requester.as_str())
            .object(object.as_str())
            .detail("tenant", tenant.as_str()),
        Fact::Withdrawn { request, tenant, object, by: person, reason } => {
            why(about(done(Kind::AccessWithdrawn), *request), reason.as_ref())
                .subject(person.as_str())
                .object(object.as_str())
                .detail("tenant", tenant.as_str())
        }
        Fact::GrantIssued {
            grant,
            request,
            subject,
            tenant,
            object,
            action,
            workflows,
            approvals,
            starts,
            ends,
            from_first_use,
            conditions,
            policy,
        } => {
            let draft = about(done(Kind::GrantIssued), *request)
                .target(subject.as_str())
                .action(action.as_str())
                .object(object.as_str())
                .grant(grant.to_string())
                .policy(policy.to_string())
                .detail("tenant", tenant.as_str())
                .detail("workflows", names(workflows))
                .detail("approvals", *approvals)
                .detail("starts", starts.to_string())
                .detail("ends", ends.to_string());
            let draft = bound(draft, conditions);
            match from_first_use {
                None => draft,
                Some(minutes) => draft.detail("from_first_use", *minutes),
            }
        }
        Fact::GrantBegun { grant, request, tenant, object, subject, ends } => {
            about(done(Kind::GrantBegun), *request)
                .subject(subject.as_str())
                .object(object.as_str())
                .grant(grant.to_string())
                .detail("tenant", tenant.as_str())
                .detail("ends", ends.to_string())
        }
        Fact::GlassTold { request, grant, tenant, object, subject, approver } => {
            about(done(Kind::GlassTold), *request)
                .subject(subject.as_str())
                .target(approver.as_str())
                .object(object.as_str())
                .grant(grant.to_string())
                .detail("tenant", tenant.as_str())
        }
        Fact::GlassBroken {
            grant,
            request,
            subject,
            tenant,
            object,
            action,
            workflows,
            skipped,
            starts,
            ends,
            policy,
            reason,
        } => about(done(Kind::GlassBroken), *request)
            .subject(subject.as_str())
            .reason(reason.as_str())
            .action(action.as_str())
            .object(object.as_str())
            .grant(grant.to_string())
            .policy(policy.to_string())
            .detail("tenant", tenant.as_str())
            .detail("workflows", names(workflows))
            .detail("skipped", *skipped)
            .detail("starts", starts.to_string())
            .detail("ends", ends.to_string()),
        Fact::GlassReviewed { grant, request, tenant, object, subject, by: person, verdict, reason } => {
            about(done(Kind::GlassReviewed), *request)
                .subject(person.as_str())
                .target(subject.as_str())
                .reason(reason.as_str())
                .object(object.as_str())
                .grant(grant.to_string())
                .detail("tenant", tenant.as_str())
                .detail("verdict", verdict.as_str())
        }
        Fact::GrantRevoked { grant, request, tenant, object, subject, by: actor, reason } => {
            why(by(about(done(Kind::GrantRevoked), *request), actor), reason.as_ref())
                .target(subject.as_str())
                .object(object.as_str())
                .grant(grant.to_string())
                .detail("tenant", tenant.as_str())
        }
        Fact::GrantExpired { grant, request, tenant, object, subject } => {
            about(done(Kind::GrantExpired), *request)
                .target(subject.as_str())
                .object(object.as_str())
                .grant(grant.to_string())
                .detail("tenant", tenant.as_str())
        }
        Fact::ShareOffered { share, tenant, object, role, to, by: actor, until, accept_by } => {
            let draft = by(done(Kind::ShareOffered), actor)
                .target(to.as_str())
                .object(object.as_str())
                .detail("share", share.to_string())
                .detail("tenant", tenant.as_str())
                .detail("role", role.as_str())
                .detail("accept_by", accept_by.to_string());
            match until {
                None => draft,
                Some(until) => draft.detail("until", until.to_string()),
            }
        }
        Fact::ShareAccepted { share, tenant, object, by: person } => done(Kind::ShareAccepted)
            .subject(person.as_str())
            .object(object.as_str())
            .detail("share", share.to_string())
            .detail("tenant", tenant.as_str()),
        Fact::ShareEnded { share, tenant, object, to, cause, by: actor, reason } => {
            let draft = why(done(Kind::ShareEnded), reason.as_ref())
                .target(to.as_str())
                .object(object.as_str())
                .detail("share", share.to_string())
                .detail("tenant", tenant.as_str())
                .detail("cause", cause.as_str());
            match actor {
                None => draft,
                Some(actor) => by(draft, actor),
            }
        }
        Fact::ReviewItem { review, tenant, subject, role } => done(Kind::ReviewItem)
            .target(subject.as_str())
            .detail("review", review.to_string())
            .detail("tenant", tenant.as_str())
            .detail("role", role.as_str()),
        Fact::ReviewStarted { review, tenant, by: actor, reviewers, deadline, items, digest } => {
            by(done(Kind::ReviewStarted), actor)
                .detail("review", review.to_string())
                .detail("tenant", tenant.as_str())
                .detail("reviewers", reviewers.as_str())
                .detail("deadline", deadline.to_string())
                .detail("items", *items)
                .detail("digest", digest.to_string())
        }
        Fact::ReviewDecided { review, tenant, item, subject, by: person, keep, took, reason } => {
            done(Kind::ReviewDecided)
                .subject(person.as_str())
                .target(subject.as_str())
                .reason(reason.as_str())
                .detail("review", review.to_string())
                .detail("tenant", tenant.as_str())
                .detail("item", *item)
                .detail("verdict", if *keep { "keep" } else { "revoke" })
                .detail("took", *took)
        }
        Fact::ReviewClosed { review, tenant, by: actor, kept, revoked, unreviewed } => {
            let draft = done(Kind::ReviewClosed)
                .detail("review", review.to_string())
                .detail("tenant", tenant.as_str())
                .detail("kept", *kept)
                .detail("revoked", *revoked)
                .detail("unreviewed", *unreviewed);
            match actor {
                None => draft,
                Some(actor) => by(draft, actor),
            }
        }
        Fact::TunnelDescribed { tenant, object, by: person, words } => done(Kind::TunnelDescribed)
            .subject(person.as_str())
            .reason(words.as_str())
            .object(object.as_str())
            .detail("tenant", tenant.as_str()),
        Fact::TunnelDeleted { tenant, object, by: person, reason } => done(Kind::TunnelDeleted)
            .subject(person.as_str())
            .reason(reason.as_str())
            .object(object.as_str())
            .detail("tenant", tenant.as_str()),
        Fact::Locked { target, tenant, until, by: actor, reason } => {
            let draft = lock(why(by(done(Kind::AccessLocked), actor), reason.as_ref()), target)
                .detail("tenant", tenant.as_str());
            match until {
                None => draft,
                Some(until) => draft.detail("until", until.to_string()),
            }
        }
        Fact::Unlocked { target, tenant, by: actor, reason } => {
            lock(why(by(done(Kind::AccessUnlocked), actor), reason.as_ref()), target)
                .detail("tenant", tenant.as_str())
        }
        Fact::PolicyLoaded { digest, previous, rules, by: actor } => {
            let draft =
                by(done(Kind::PolicyLoaded), actor).policy(digest.to_string()).detail("rules", *rules);
            match previous {
                None => draft,
                Some(previous) => draft.detail("previous", previous.to_string()),
            }
        }
        Fact::PolicyRefused { places, count, by: actor } => {
            by(Draft::new(Kind::PolicyRefused, Outcome::Failure), actor)
                .detail("faults", places.clone())
                .detail("count", *count)
        }
        Fact::PolicyProposed { digest, in_force, rules, summary, tenant, by: person, reason } => {
            done(Kind::PolicyProposed)
                .subject(person.as_str())
                .reason(reason.as_str())
                .policy(digest.to_string())
                .detail("in_force", in_force.to_string())
                .detail("rules", *rules)
                .detail("summary", summary.as_str())
                .detail("tenant", tenant.as_str())
        }
        Fact::PolicyApproved { digest, tenant, proposer, by: person, reason } => {
            why(done(Kind::PolicyApproved), reason.as_ref())
                .subject(person.as_str())
                .target(proposer.as_str())
                .policy(digest.to_string())
                .detail("tenant", tenant.as_str())
        }
        // The ledger writes this record itself, with what it knows of the gap beside it.
        Fact::TokenKeyReplaced { old, new, until, tokens_kept, by: actor, reason } => {
            why(by(done(Kind::KeyRotated), actor), reason.as_ref())
                .object("key:token-signing")
                .detail("role", TOKEN_SIGNING)
                .detail("old", old.to_string())
                .detail("new", new.to_string())
                .detail("old_key", old.key_id())
                .detail("new_key", new.key_id())
                .detail("until", until.to_string())
                .detail("tokens", if *tokens_kept { "kept" } else { "ended" })
        }
        Fact::LedgerResumed { tokens_kept } => {
            done(Kind::LedgerResumed).detail("tokens", if *tokens_kept { "kept" } else { "ended" })
        }
        Fact::Erased { key, by: actor, reason } => {
            why(by(done(Kind::PersonalErased), actor), reason.as_ref()).detail("key", key.to_string())
        }
        Fact::Refused(attempt) => refused(attempt),
    }
}

/// All is named in plain but a person, who stands in it only as a commitment.
fn lock(draft: Draft, target: &LockTarget) -> Draft {
    match target {
        LockTarget::Role(role) => draft.detail("role", role.as_str()),
        LockTarget::Person(person) => draft.target(person.as_str()),
        LockTarget::Device(device) => draft.detail("device", device.to_string()),
        LockTarget::Tunnel(tunnel) => draft.object(tunnel.as_str()),
        LockTarget::Tenant(tenant) => draft.detail("locked_tenant", tenant.as_str()),
    }
}

fn refused(attempt: &RefusedAttempt) -> Draft {
    let kind = match attempt.attempt {
        Attempt::IssueToken | Attempt::SignIn => Kind::TokenIssued,
        Attempt::RevokeToken => Kind::TokenRevoked,
        Attempt::EnrollDevice => Kind::DeviceEnrolled,
        Attempt::RevokeDevice => Kind::DeviceRevoked,
        Attempt::RevokeCertificate => Kind::CertificateRevoked,
        Attempt::Request => Kind::AccessRequested,
        Attempt::Approve => Kind::AccessApproved,
        Attempt::Reject => Kind::AccessRejected,
        Attempt::Withdraw => Kind::AccessWithdrawn,
        Attempt::Begin => Kind::GrantBegun,
        Attempt::StartReview => Kind::ReviewStarted,
        Attempt::DecideReview => Kind::ReviewDecided,
        Attempt::CloseReview => Kind::ReviewClosed,
        Attempt::Share => Kind::ShareOffered,
        Attempt::AcceptShare => Kind::ShareAccepted,
        Attempt::EndShare => Kind::ShareEnded,
        Attempt::Describe => Kind::TunnelDescribed,
        Attempt::DeleteTunnel => Kind::TunnelDeleted,
        Attempt::BreakGlass => Kind::GlassBroken,
        Attempt::ReviewGlass => Kind::GlassReviewed,
        Attempt::Revoke => Kind::GrantRevoked,
        Attempt::Lock => Kind::AccessLocked,
        Attempt::Unlock => Kind::AccessUnlocked,
        Attempt::ReloadPolicy => Kind::PolicyRefused,
        Attempt::ProposePolicy => Kind::PolicyProposed,
        Attempt::ApprovePolicy => Kind::PolicyApproved,
        Attempt::Erase => Kind::PersonalErased,
        Attempt::ReplaceTokenKey => Kind::KeyRotated,
        Attempt::IssuerKeys => Kind::IssuerKeys,
    };
    let mut draft =
        by(Draft::new(kind, Outcome::Denied), &attempt.by).detail("refusal", attempt.code.as_str());
    if let Some(tenant) = &attempt.tenant {
        draft = draft.detail("tenant", tenant.as_str());
    }
    if let Some(request) = attempt.request {
        draft = about(draft, request);
    }
    if let Some(grant) = attempt.grant {
        draft = draft.grant(grant.to_string());
    }
    if let Some(object) = &attempt.object {
        draft = draft.object(object.as_str());
    }
    draft
}

/// The parts of a record from which a fact is read.
pub(super) struct Parts<'a> {
    pub(super) kind: Kind,
    pub(super) result: Outcome,
    pub(super) action: Option<&'a str>,
    pub(super) object: Option<&'a str>,
    pub(super) grant: Option<&'a str>,
    pub(super) policy: Option<&'a str>,
    pub(super) correlation: Option<&'a str>,
    pub(super) details: &'a Map<String, Value>,
    pub(super) personal: &'a Values,
}

/// Whether a record of this kind can tell a fact of access.
pub(super) fn tells(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::TokenIssued
            | Kind::TokenRevoked
            | Kind::IssuerKeys
            | Kind::KeyRotated
            | Kind::DeviceEnrolled
            | Kind::DeviceRevoked
            | Kind::CertificateRevoked
            | Kind::AccessRequested
            | Kind::AccessApproved
            | Kind::AccessRejected
            | Kind::AccessEscalated
            | Kind::AccessExpired
            | Kind::AccessWithdrawn
            | Kind::GrantIssued
            | Kind::GrantBegun
            | Kind::GlassTold
            | Kind::GlassBroken
            | Kind::GlassReviewed
            | Kind::GrantRevoked
            | Kind::GrantExpired
            | Kind::ShareOffered
            | Kind::ShareAccepted
            | Kind::ShareEnded
            | Kind::ReviewItem
            | Kind::ReviewStarted
            | Kind::ReviewDecided
            | Kind::ReviewClosed
            | Kind::TunnelDescribed
            | Kind::TunnelDeleted
            | Kind::AccessLocked
            | Kind::AccessUnlocked
            | Kind::PolicyLoaded
            | Kind::PolicyProposed
            | Kind::PolicyApproved
            | Kind::LedgerResumed
            | Kind::PersonalErased
    )
}

/// The fact that a record tells, or `None` for a record that changes nothing in access.
#[expect(clippy::too_many_lines, reason = "a table: one arm for each kind, each of a few lines")]
pub(super) fn fact_of(parts: &Parts<'_>) -> Result<Option<Fact>, String> {
    if parts.result != Outcome::Success {
        return Ok(None);
    }
    let tenant = || parts.detail("tenant");
    let fact = match parts.kind {
        Kind::TokenIssued => Fact::TokenIssued {
            token: parts.detail("token")?,
            purpose: parts.detail("purpose")?,
            subject: parts.person(Personal::Target)?,
            tenant: tenant()?,
            expires: parts.detail::<Timestamp>("expires")?,
            scope: parts.scope()?,
            sign_in: parts.sign_in()?,
            by: parts.actor()?,
        },
        Kind::TokenRevoked => Fact::TokenRevoked {
            token: parts.detail("token")?,
            tenant: tenant()?,
            outside: parts.details.get("outside").and_then(Value::as_bool).unwrap_or(false),
            by: parts.actor()?,
            reason: parts.reason()?,
        },
        Kind::IssuerKeys => Fact::IssuerKeys {
            issuer: parts.detail("issuer")?,
            keys: parts.list("keys")?,
            withdrawn: parts.list("withdrawn")?,
            why: parts.detail("why")?,
        },
        Kind::DeviceEnrolled => Fact::DeviceEnrolled {
            device: parts.detail("device")?,
            join: parts.detail("token")?,
            subject: parts.person(Personal::Subject)?,
            tenant: tenant()?,
            keys: DeviceKeys::from_texts(
                &parts.detail::<String>("ed25519")?,
                &parts.detail::<String>("ml_dsa_65")?,
            )
            .ok_or("its keys can't be read")?,
            expires: parts.detail("expires")?,
        },
        Kind::DeviceRevoked => Fact::DeviceRevoked {
            device: parts.detail("device")?,
            tenant: tenant()?,
            by: parts.actor()?,
            reason: parts.reason()?,
        },
        Kind::CertificateRevoked => Fact::CertificateRevoked {
            certificate: parts.detail("certificate")?,
            tenant: tenant()?,
            by: parts.actor()?,
            reason: parts.reason()?,
        },
        Kind::AccessRequested => Fact::Requested {
            request: parts.request()?,
            subject: parts.person(Personal::Subject)?,
            tenant: tenant()?,
            object: parse("object", parts.object)?,
            action: parse("action", parts.action)?,
            workflows: parts.list("workflows")?,
            minutes: parts.number("minutes")?.ok_or("it has no minutes")?,
            reason: parts.reason()?.ok_or("it has no reason")?,
            ticket: parts.optional("ticket")?,
            claimed: parts.list_if_any("claimed_roles")?,
            answer_by: parts.detail("answer_by")?,
            renews: parts.optional("renews")?,
        },
        Kind::AccessApproved => Fact::Approved {
            request: parts.request()?,
            tenant: tenant()?,
            object: parse("object", parts.object)?,
            requester: parts.person(Personal::Target)?,
            by: parts.person(Personal::Subject)?,
            roles: parts.list("roles")?,
            minutes: parts.number("minutes")?,
            conditions: parts.list_if_any("conditions")?,
            reason: parts.reason()?,
        },
        Kind::AccessRejected => Fact::Rejected {
            request: parts.request()?,
            tenant: tenant()?,
            object: parse("object", parts.object)?,
            requester: parts.person(Personal::Target)?,
            by: parts.person(Personal::Subject)?,
            wanted: parts.number("wanted")?.ok_or("it doesn't say how many refusals were wanted")?,
            reason: parts.reason()?,
        },
        Kind::AccessEscalated => Fact::Escalated {
            request: parts.request()?,
            tenant: tenant()?,
            object: parse("object", parts.object)?,
            requester: parts.person(Personal::Target)?,
            roles: parts.list("roles")?,
        },
        Kind::AccessExpired => Fact::Expired {
            request: parts.request()?,
            tenant: tenant()?,
            object: parse("object", parts.object)?,
            requester: parts.person(Personal::Target)?,
        },
        Kind::AccessWithdrawn => Fact::Withdrawn {
            request: parts.request()?,
            tenant: tenant()?,
            object: parse("object", parts.object)?,
            by: parts.person(Personal::Subject)?,
            reason: parts.reason()?,
        },
        Kind::GrantIssued => Fact::GrantIssued {
            grant: parse("grant", parts.grant)?,
            request: parts.request()?,
            subject: parts.person(Personal::Target)?,
            tenant: tenant()?,
            object: parse("object", parts.object)?,
            action: parse("action", parts.action)?,
            workflows: parts.list("workflows")?,
            approvals: parts.number("approvals")?.ok_or("it has no approvals")?,
            starts: parts.detail("starts")?,
            ends: parts.detail("ends")?,
            from_first_use: parts.number("from_first_use")?,
            conditions: parts.list_if_any("conditions")?,
            policy: parse("policy", parts.policy)?,
        },
        Kind::GrantBegun => Fact::GrantBegun {
            grant: parse("grant", parts.grant)?,
            request: parts.request()?,
            tenant: tenant()?,
            object: parse("object", parts.object)?,
            subject: parts.person(Personal::Subject)?,
            ends: parts.detail("ends")?,
        },
        Kind::GlassTold => Fact::GlassTold {
            request: parts.request()?,
            grant: parse("grant", parts.grant)?,
            tenant: tenant()?,
            object: parse("object", parts.object)?,
            subject: parts.person(Personal::Subject)?,
            approver: parts.person(Personal::Target)?,
        },
        Kind::GlassBroken => Fact::GlassBroken {
            grant: parse("grant", parts.grant)?,
            request: parts.request()?,
            subject: parts.person(Personal::Subject)?,
            tenant: tenant()?,
            object: parse("object", parts.object)?,
            action: parse("action", parts.action)?,
            workflows: parts.list("workflows")?,
            skipped: parts.number("skipped")?.ok_or("it doesn't say how many were skipped")?,
            starts: parts.detail("starts")?,
            ends: parts.detail("ends")?,
            policy: parse("policy", parts.policy)?,
            reason: parts.reason()?.ok_or("it has no reason")?,
        },
        Kind::GlassReviewed => Fact::GlassReviewed {
            grant: parse("grant", parts.grant)?,
            request: parts.request()?,
            tenant: tenant()?,
            object: parse("object", parts.object)?,
            subject: parts.person(Personal::Target)?,
            by: parts.person(Personal::Subject)?,
            verdict: parts.detail("verdict")?,
            reason: parts.reason()?.ok_or("it has no reason")?,
        },
        Kind::GrantRevoked => Fact::GrantRevoked {
            grant: parse("grant", parts.grant)?,
            request: parts.request()?,
            tenant: tenant()?,
            object: parse("object", parts.object)?,
            subject: parts.person(Personal::Target)?,
            by: parts.actor()?,
            reason: parts.reason()?,
        },
        Kind::GrantExpired => Fact::GrantExpired {
            grant: parse("grant", parts.grant)?,
            request: parts.request()?,
            tenant: tenant()?,
            object: parse("object", parts.object)?,
            subject: parts.person(Personal::Target)?,
        },
        Kind::ShareOffered => Fact::ShareOffered {
            share: parts.detail("share")?,
            tenant: tenant()?,
            object: parse("object", parts.object)?,
            role: parts.detail("role")?,
            to: parts.person(Personal::Target)?,
            by: parts.actor()?,
            until: parts.optional("until")?,
            accept_by: parts.detail("accept_by")?,
        },
        Kind::ShareAccepted => Fact::ShareAccepted {
            share: parts.detail("share")?,
            tenant: tenant()?,
            object: parse("object", parts.object)?,
            by: parts.person(Personal::Subject)?,
        },
        Kind::ShareEnded => Fact::ShareEnded {
            share: parts.detail("share")?,
            tenant: tenant()?,
            object: parse("object", parts.object)?,
            to: parts.person(Personal::Target)?,
            cause: parts.detail("cause")?,
            by: parts.maybe_actor()?,
            reason: parts.reason()?,
        },
        Kind::ReviewItem => Fact::ReviewItem {
            review: parts.detail("review")?,
            tenant: tenant()?,
            subject: parts.person(Personal::Target)?,
            role: parts.detail("role")?,
        },
        Kind::ReviewStarted => Fact::ReviewStarted {
            review: parts.detail("review")?,
            tenant: tenant()?,
            by: parts.actor()?,
            reviewers: parts.detail("reviewers")?,
            deadline: parts.detail("deadline")?,
            items: parts.number("items")?.ok_or("it has no count of items")?,
            digest: parts.digest()?,
        },
        Kind::ReviewDecided => Fact::ReviewDecided {
            review: parts.detail("review")?,
            tenant: tenant()?,
            item: parts.number("item")?.ok_or("it has no item")?,
            subject: parts.person(Personal::Target)?,
            by: parts.person(Personal::Subject)?,
            keep: match parts.details.get("verdict").and_then(Value::as_str) {
                Some("keep") => true,
                Some("revoke") => false,
                _ => return Err("its verdict can't be read".to_owned()),
            },
            took: parts.number("took")?.ok_or("it doesn't say how long it took")?,
            reason: parts.reason()?.ok_or("it has no reason")?,
        },
        Kind::ReviewClosed => Fact::ReviewClosed {
            review: parts.detail("review")?,
            tenant: tenant()?,
            by: parts.maybe_actor()?,
            kept: parts.number("kept")?.ok_or("it has no count")?,
            revoked: parts.number("revoked")?.ok_or("it has no count")?,
            unreviewed: parts.number("unreviewed")?.ok_or("it has no count")?,
        },
        Kind::TunnelDescribed => Fact::TunnelDescribed {
            tenant: tenant()?,
            object: parse("object", parts.object)?,
            by: parts.person(Personal::Subject)?,
            words: parts.reason()?.ok_or("it has no description")?,
        },
        Kind::TunnelDeleted => Fact::TunnelDeleted {
            tenant: tenant()?,
            object: parse("object", parts.object)?,
            by: parts.person(Personal::Subject)?,
            reason: parts.reason()?.ok_or("it has no reason")?,
        },
        Kind::AccessLocked => Fact::Locked {
            target: parts.lock_target()?,
            tenant: tenant()?,
            until: parts.optional("until")?,
            by: parts.actor()?,
            reason: parts.reason()?,
        },
        Kind::AccessUnlocked => Fact::Unlocked {
            target: parts.lock_target()?,
            tenant: tenant()?,
            by: parts.actor()?,
            reason: parts.reason()?,
        },
        Kind::PolicyLoaded => Fact::PolicyLoaded {
            digest: parse("policy", parts.policy)?,
            previous: parts.optional("previous")?,
            rules: parts.number::<u64>("rules")?.ok_or("it has no count of rules")?,
            by: parts.actor()?,
        },
        Kind::KeyRotated if parts.details.get("role").and_then(Value::as_str) == Some(TOKEN_SIGNING) => {
            Fact::TokenKeyReplaced {
                old: parts.detail("old")?,
                new: parts.detail("new")?,
                until: parts.detail("until")?,
                tokens_kept: parts.tokens_kept()?,
                by: parts.actor()?,
                reason: parts.reason()?,
            }
        }
        Kind::PolicyProposed => Fact::PolicyProposed {
            digest: parse("policy", parts.policy)?,
            in_force: parts.detail("in_force")?,
            rules: parts.number::<u64>("rules")?.ok_or("it has no count of rules")?,
            summary: parts.detail("summary")?,
            tenant: tenant()?,
            by: parts.person(Personal::Subject)?,
            reason: parts.reason()?.ok_or("it has no reason")?,
        },
        Kind::PolicyApproved => Fact::PolicyApproved {
            digest: parse("policy", parts.policy)?,
            tenant: tenant()?,
            proposer: parts.person(Personal::Target)?,
            by: parts.person(Personal::Subject)?,
            reason: parts.reason()?,
        },
        Kind::LedgerResumed => Fact::LedgerResumed { tokens_kept: parts.tokens_kept()? },
        Kind::PersonalErased => {
            Fact::Erased { key: parts.erased_key()?, by: parts.actor()?, reason: parts.reason()? }
        }
        _ => return Ok(None),
    };
    Ok(Some(fact))
}

fn parse<T: FromStr>(what: &str, text: Option<&str>) -> Result<T, String> {
    let text = text.ok_or_else(|| format!("it has no {what}"))?;
    // The value isn't shown: it may come from a record that somebody altered.
    text.parse().map_err(|_| format!("its {what} can't be read"))
}

impl Parts<'_> {
    fn tokens_kept(&self) -> Result<bool, String> {
        match self.details.get("tokens").and_then(Value::as_str) {
            Some("kept") => Ok(true),
            Some("ended") => Ok(false),
            _ => Err("it does not say what became of the tokens".to_owned()),
        }
    }

    fn erased_key(&self) -> Result<KeyId, String> {
        let key = self.details.get("key").and_then(Value::as_str).and_then(KeyId::parse);
        key.ok_or_else(|| "its key can't be read".to_owned())
    }

    fn detail<T: FromStr>(&self, key: &str) -> Result<T, String> {
        parse(key, self.details.get(key).and_then(Value::as_str))
    }

    fn number<T: TryFrom<u64>>(&self, key: &str) -> Result<Option<T>, String> {
        let Some(value) = self.details.get(key) else { return Ok(None) };
        let number = value.as_u64().and_then(|number| T::try_from(number).ok());
        number.map(Some).ok_or_else(|| format!("its {key} can't be read"))
    }

    fn list<T: FromStr>(&self, key: &str) -> Result<Vec<T>, String> {
        let values =
            self.details.get(key).and_then(Value::as_array).ok_or_else(|| format!("it has no {key}"))?;
        values.iter().map(|value| parse(key, value.as_str())).collect()
    }

    fn person(&self, field: Personal) -> Result<Subject, String> {
        match self.personal.get(field) {
            Some(Known::Readable { text, .. }) => parse(field.as_str(), Some(text)),
            Some(Known::Erased { key }) => Ok(Subject::erased(*key)),
            Some(Known::Unreadable { why }) => {
                Err(format!("its {field} is sealed and can't be opened: {why}"))
            }
            None => Err(format!("it has no {field}")),
        }
    }

    fn reason(&self) -> Result<Option<Reason>, String> {
        match self.personal.get(Personal::Reason) {
            Some(Known::Readable { text, .. }) => parse("reason", Some(text)).map(Some),
            Some(Known::Erased { .. }) => Ok(Some(Reason::erased())),
            Some(Known::Unreadable { why }) => {
                Err(format!("its reason is sealed and can't be opened: {why}"))
            }
            None => Ok(None),
        }
    }

    fn actor(&self) -> Result<Actor, String> {
        match self.details.get("by").and_then(Value::as_str) {
            Some("operator") => Ok(Actor::Operator),
            Some(_) => Err("its actor can't be read".to_owned()),
            None => self.person(Personal::Subject).map(Actor::Person),
        }
    }

    fn lock_target(&self) -> Result<LockTarget, String> {
        if self.details.contains_key("role") {
            self.detail("role").map(LockTarget::Role)
        } else if self.details.contains_key("device") {
            self.detail("device").map(LockTarget::Device)
        } else if self.details.contains_key("locked_tenant") {
            self.detail("locked_tenant").map(LockTarget::Tenant)
        } else if self.object.is_some() {
            parse("object", self.object).map(LockTarget::Tunnel)
        } else {
            self.person(Personal::Target).map(LockTarget::Person)
        }
    }

    fn scope(&self) -> Result<Scope, String> {
        let words: Vec<String> = self.list_if_any("scope")?;
        Scope::from_words(words.iter().map(String::as_str)).map_err(|_| "its scope can't be read".to_owned())
    }

    fn sign_in(&self) -> Result<Option<SignIn>, String> {
        let Some(token) = self.optional("with")? else { return Ok(None) };
        let with = match self.details.get("with_key").map(|key| key.as_str().unwrap_or_default()) {
            None => BegunWith::Token(token),
            Some("") => BegunWith::Outside(Outside { token, key: None }),
            Some(_) => BegunWith::Outside(Outside { token, key: Some(self.detail("with_key")?) }),
        };
        Ok(Some(SignIn { with, claimed: self.list_if_any("claimed_roles")? }))
    }

    fn optional<T: FromStr>(&self, key: &str) -> Result<Option<T>, String> {
        self.details.get(key).map(|_| self.detail(key)).transpose()
    }

    fn list_if_any<T: FromStr>(&self, key: &str) -> Result<Vec<T>, String> {
        if self.details.contains_key(key) { self.list(key) } else { Ok(Vec::new()) }
    }

    fn digest(&self) -> Result<Digest, String> {
        let digest = self.details.get("digest").and_then(Value::as_str);
        digest.and_then(Digest::parse).ok_or_else(|| "its digest can't be read".to_owned())
    }

    fn maybe_actor(&self) -> Result<Option<Actor>, String> {
        let nobody = !self.details.contains_key("by") && self.personal.get(Personal::Subject).is_none();
        if nobody { Ok(None) } else { self.actor().map(Some) }
    }

    fn request(&self) -> Result<RequestId, String> {
        parse("correlation", self.correlation)
    }
}

#[cfg(test)]
mod tests;

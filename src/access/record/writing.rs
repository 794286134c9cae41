//! What a fact says, as a draft for the ledger: what is personal apart from what is plain.

use sallyport_audit::{Draft, Kind, Outcome};

use super::TOKEN_SIGNING;
use super::explained::refused;
use crate::access::canary;
use crate::access::fact::{Actor, Fact};
use crate::access::identity::BegunWith;
use crate::access::ids::RequestId;
use crate::access::issuer::{KeyPrint, Outside};
use crate::access::lock::LockTarget;
use crate::access::names::{Role, Subject, Tenant};
use crate::access::object::Object;
use crate::access::passkey::to_text;
use crate::access::policy::conditions::Wanted;
use crate::access::policy::drift::Drift;
use crate::access::reason::Reason;

/// A token that the gateway itself tries says so: people are commitments in the ledger, and whoever counts joiners could
/// not tell it from somebody's.
fn canarys(draft: Draft, subject: &Subject, by: &Actor) -> Draft {
    let own = subject.as_str() == canary::SUBJECT && *by == Actor::Operator;
    if own { draft.detail("canary", true) } else { draft }
}

/// Good for one session; it stands in the record only if it is so.
fn only_once(draft: Draft, once: bool) -> Draft {
    if once { draft.detail("once", true) } else { draft }
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
pub(super) fn claimed_roles(draft: Draft, roles: &[Role]) -> Draft {
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

pub(super) fn texts<T: ToString>(values: &[T]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

pub(super) fn by(draft: Draft, actor: &Actor) -> Draft {
    match actor {
        Actor::Operator => draft.detail("by", "operator"),
        Actor::Person(person) => draft.subject(person.as_str()),
    }
}

/// Which way a policy went, and what became wider.
fn gone(record: Draft, drift: &Drift) -> Draft {
    let record = record.detail("change", drift.way.as_str());
    if drift.people == 0 {
        return record;
    }
    record.detail("eased_people", drift.people).detail("eased", drift.leaves.clone())
}

fn why(draft: Draft, reason: Option<&Reason>) -> Draft {
    match reason {
        None => draft,
        Some(reason) => draft.reason(reason.as_str()),
    }
}

pub(super) fn about(draft: Draft, request: RequestId) -> Draft {
    draft.correlation(request.to_string())
}

/// What became of a request, or of what came of it: from the first ask to the last end under the request's id.
fn of_request(kind: Kind, request: RequestId, tenant: &Tenant, object: &Object) -> Draft {
    about(Draft::new(kind, Outcome::Success), request)
        .object(object.as_str())
        .detail("tenant", tenant.as_str())
}

/// The record that a fact becomes.
#[expect(clippy::too_many_lines, reason = "a table: one arm for each fact, each of a few lines")]
pub(in crate::access) fn draft_of(fact: &Fact) -> Draft {
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
            let draft = canarys(draft, subject, actor);
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
        Fact::PasskeyEnrolled { passkey, subject, tenant, new } => done(Kind::PasskeyEnrolled)
            .subject(subject.as_str())
            .detail("passkey", passkey.to_string())
            .detail("tenant", tenant.as_str())
            .detail("approver", new.approver.text())
            .detail("credential", to_text(&new.credential))
            .detail("algorithm", new.key.algorithm())
            .detail("key", new.key.text())
            .detail("rp_id", new.site.rp_id.as_str())
            .detail("origin", new.site.origin.as_str())
            .detail("counter", new.counter),
        Fact::PasskeyRevoked { passkey, tenant, by: actor, reason } => {
            why(by(done(Kind::PasskeyRevoked), actor), reason.as_ref())
                .detail("passkey", passkey.to_string())
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
            source,
            once,
        } => {
            let mut draft = of_request(Kind::AccessRequested, *request, tenant, object)
                .subject(subject.as_str())
                .reason(reason.as_str())
                .action(action.as_str())
                .detail("workflows", texts(workflows))
                .detail("minutes", *minutes)
                .detail("answer_by", answer_by.to_string());
            draft = claimed_roles(draft, claimed);
            if let Some(source) = source {
                draft = draft.source(source.to_string());
            }
            if let Some(ticket) = ticket {
                draft = draft.detail("ticket", ticket.as_str());
            }
            if let Some(renewed) = renews {
                draft = draft.detail("renews", renewed.to_string());
            }
            only_once(draft, *once)
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
            once,
            reason,
            signed,
        } => {
            let draft = why(of_request(Kind::AccessApproved, *request, tenant, object), reason.as_ref())
                .subject(person.as_str())
                .target(requester.as_str())
                .detail("roles", texts(roles));
            let draft = only_once(bound(draft, conditions), *once);
            let draft = match minutes {
                None => draft,
                Some(minutes) => draft.detail("minutes", *minutes),
            };
            match signed {
                None => draft,
                Some(signed) => draft
                    .detail("passkey", signed.passkey.to_string())
                    .detail("client_data", to_text(&signed.client_data))
                    .detail("authenticator_data", to_text(&signed.authenticator_data))
                    .detail("signature", to_text(&signed.signature)),
            }
        }
        Fact::Rejected { request, tenant, object, requester, by: person, wanted, reason } => {
            why(of_request(Kind::AccessRejected, *request, tenant, object), reason.as_ref())
                .subject(person.as_str())
                .target(requester.as_str())
                .detail("wanted", *wanted)
        }
        Fact::Escalated { request, tenant, object, requester, roles } => {
            of_request(Kind::AccessEscalated, *request, tenant, object)
                .target(requester.as_str())
                .detail("roles", texts(roles))
        }
        Fact::Expired { request, tenant, object, requester } => {
            of_request(Kind::AccessExpired, *request, tenant, object).target(requester.as_str())
        }
        Fact::Withdrawn { request, tenant, object, by: person, reason } => {
            why(of_request(Kind::AccessWithdrawn, *request, tenant, object), reason.as_ref())
                .subject(person.as_str())
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
            once,
            conditions,
            policy,
        } => {
            let draft = of_request(Kind::GrantIssued, *request, tenant, object)
                .target(subject.as_str())
                .action(action.as_str())
                .grant(grant.to_string())
                .policy(policy.to_string())
                .detail("workflows", texts(workflows))
                .detail("approvals", *approvals)
                .detail("starts", starts.to_string())
                .detail("ends", ends.to_string());
            let draft = only_once(bound(draft, conditions), *once);
            match from_first_use {
                None => draft,
                Some(minutes) => draft.detail("from_first_use", *minutes),
            }
        }
        Fact::GrantBegun { grant, request, tenant, object, subject, ends } => {
            of_request(Kind::GrantBegun, *request, tenant, object)
                .subject(subject.as_str())
                .grant(grant.to_string())
                .detail("ends", ends.to_string())
        }
        Fact::GlassTold { request, grant, tenant, object, subject, approver } => {
            of_request(Kind::GlassTold, *request, tenant, object)
                .subject(subject.as_str())
                .target(approver.as_str())
                .grant(grant.to_string())
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
        } => of_request(Kind::GlassBroken, *request, tenant, object)
            .subject(subject.as_str())
            .reason(reason.as_str())
            .action(action.as_str())
            .grant(grant.to_string())
            .policy(policy.to_string())
            .detail("workflows", texts(workflows))
            .detail("skipped", *skipped)
            .detail("starts", starts.to_string())
            .detail("ends", ends.to_string()),
        Fact::GlassReviewed { grant, request, tenant, object, subject, by: person, verdict, reason } => {
            of_request(Kind::GlassReviewed, *request, tenant, object)
                .subject(person.as_str())
                .target(subject.as_str())
                .reason(reason.as_str())
                .grant(grant.to_string())
                .detail("verdict", verdict.as_str())
        }
        Fact::GrantRevoked { grant, request, tenant, object, subject, by: actor, reason } => {
            why(by(of_request(Kind::GrantRevoked, *request, tenant, object), actor), reason.as_ref())
                .target(subject.as_str())
                .grant(grant.to_string())
        }
        Fact::GrantExpired { grant, request, tenant, object, subject } => {
            of_request(Kind::GrantExpired, *request, tenant, object)
                .target(subject.as_str())
                .grant(grant.to_string())
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
        Fact::PolicyLoaded { digest, previous, rules, drift, by: actor } => {
            let draft =
                by(done(Kind::PolicyLoaded), actor).policy(digest.to_string()).detail("rules", *rules);
            let draft = match drift {
                None => draft,
                Some(way) => gone(draft, way),
            };
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
        // The ledger writes this record itself, with what it knows of the gap beside it.
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

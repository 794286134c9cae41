//! Records read back into facts, strictly: what can't be read stops the start.

use jiff::Timestamp;
use sallyport_audit::{Kind, Outcome, Personal};
use serde_json::Value;

use super::TOKEN_SIGNING;
use super::parts::{Parts, parse};
use crate::access::device::DeviceKeys;
use crate::access::fact::Fact;

/// Whether a record of this kind can tell a fact of access.
pub(in crate::access) fn tells(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::TokenIssued
            | Kind::TokenRevoked
            | Kind::IssuerKeys
            | Kind::KeyRotated
            | Kind::DeviceEnrolled
            | Kind::DeviceRevoked
            | Kind::PasskeyEnrolled
            | Kind::PasskeyRevoked
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
pub(in crate::access) fn fact_of(parts: &Parts<'_>) -> Result<Option<Fact>, String> {
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
        Kind::PasskeyEnrolled => Fact::PasskeyEnrolled {
            passkey: parts.detail("passkey")?,
            subject: parts.person(Personal::Subject)?,
            tenant: tenant()?,
            new: parts.new_passkey()?,
        },
        Kind::PasskeyRevoked => Fact::PasskeyRevoked {
            passkey: parts.detail("passkey")?,
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
            source: parts.source(),
            once: parts.flag("once")?,
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
            once: parts.flag("once")?,
            reason: parts.reason()?,
            signed: parts.signed()?,
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
            once: parts.flag("once")?,
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
            drift: parts.drift()?,
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

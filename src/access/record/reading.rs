//! Records read back into facts, strictly: what can't be read stops the start.

use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use jiff::Timestamp;
use sallyport_audit::approval::{self, ApprovalKey, ApproverId};
use sallyport_audit::{Digest, KeyId, Kind, Outcome, Personal, Value as Known, Values};
use serde_json::{Map, Value};

use super::TOKEN_SIGNING;
use crate::access::device::DeviceKeys;
use crate::access::fact::{Actor, Fact, SignIn};
use crate::access::identity::BegunWith;
use crate::access::ids::RequestId;
use crate::access::issuer::Outside;
use crate::access::lock::LockTarget;
use crate::access::names::Subject;
use crate::access::passkey::{MOST_CREDENTIAL, NewPasskey, Signed, Site, from_text};
use crate::access::reason::Reason;
use crate::access::scope::Scope;

/// The parts of a record from which a fact is read.
pub(in crate::access) struct Parts<'a> {
    pub(in crate::access) kind: Kind,
    pub(in crate::access) result: Outcome,
    pub(in crate::access) action: Option<&'a str>,
    pub(in crate::access) object: Option<&'a str>,
    pub(in crate::access) grant: Option<&'a str>,
    pub(in crate::access) policy: Option<&'a str>,
    pub(in crate::access) correlation: Option<&'a str>,
    pub(in crate::access) details: &'a Map<String, Value>,
    pub(in crate::access) personal: &'a Values,
}

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

    /// What stands in a record only where it is so.
    fn flag(&self, key: &str) -> Result<bool, String> {
        match self.details.get(key) {
            None => Ok(false),
            Some(value) => value.as_bool().ok_or_else(|| format!("its {key} can't be read")),
        }
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

    /// Not known is as good as not said: nothing is decided by it.
    fn source(&self) -> Option<IpAddr> {
        self.personal.text(Personal::Source)?.parse().ok()
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

    fn bytes(&self, key: &str, most: usize) -> Result<Arc<[u8]>, String> {
        let bytes = from_text(&self.detail::<String>(key)?, most);
        bytes.ok_or_else(|| format!("its {key} can't be read"))
    }

    fn new_passkey(&self) -> Result<NewPasskey, String> {
        let key = ApprovalKey::parse(&self.detail::<String>("algorithm")?, &self.detail::<String>("key")?);
        let approver = ApproverId::parse(&self.detail::<String>("approver")?);
        Ok(NewPasskey {
            approver: approver.ok_or("its approver can't be read")?,
            credential: self.bytes("credential", MOST_CREDENTIAL)?,
            key: key.ok_or("its key can't be read")?,
            site: Site { rp_id: self.detail("rp_id")?, origin: self.detail("origin")? },
            counter: self.number("counter")?.ok_or("it has no counter")?,
        })
    }

    fn signed(&self) -> Result<Option<Signed>, String> {
        let Some(passkey) = self.optional("passkey")? else { return Ok(None) };
        Ok(Some(Signed {
            passkey,
            client_data: self.bytes("client_data", approval::MOST_CLIENT_DATA)?,
            authenticator_data: self.bytes("authenticator_data", approval::MOST_AUTHENTICATOR_DATA)?,
            signature: self.bytes("signature", approval::MOST_SIGNATURE)?,
        }))
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

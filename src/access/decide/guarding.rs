//! Ending and guarding: revocation, locks, tokens, and who may order them.

use jiff::Timestamp;

use super::{Case, Refusal, actor};
use crate::access::browser::Place;
use crate::access::certificate::CertificateId;
use crate::access::fact::{Actor, Fact, Renewal, SignIn};
use crate::access::identity::{BegunWith, Caller, Identity, Proof};
use crate::access::ids::{GrantId, TokenId};
use crate::access::issuer::{IssuerName, KeyPrint};
use crate::access::judge::{Judgement, judge};
use crate::access::lock::LockTarget;
use crate::access::names::{Subject, Tenant};
use crate::access::object::{Action, Object, Part};
use crate::access::reason::Reason;
use crate::access::scope::Scope;
use crate::access::state::GrantStatus;
use crate::access::token::{MAX_LIFE, Purpose, with_leeway};
use crate::access::token_key::TokenKey;

impl Case<'_> {
    pub(super) fn revoke(
        &self,
        by: &Caller,
        id: GrantId,
        reason: Option<&Reason>,
    ) -> Result<Vec<Fact>, Refusal> {
        let missing = Refusal::NoSuchGrant { grant: id };
        let grant = self.state.grant(id).ok_or_else(|| missing.clone())?;
        if let Caller::Person(who) = by {
            if grant.tenant != who.tenant {
                return Err(missing);
            }
            // Giving one's own grant back needs nobody's leave.
            if grant.subject != who.subject || !who.scope.reaches(&grant.object, grant.action) {
                self.may(who, &grant.object, Action::Approve)?;
            }
        }
        if grant.status != GrantStatus::Live {
            return Err(Refusal::GrantEnded { grant: id });
        }
        Ok(vec![Fact::GrantRevoked {
            grant: id,
            request: grant.request,
            tenant: grant.tenant.clone(),
            object: grant.object.clone(),
            subject: grant.subject.clone(),
            by: actor(by),
            reason: reason.cloned(),
        }])
    }

    pub(super) fn lock(
        &self,
        by: &Caller,
        target: &LockTarget,
        tenant: &Tenant,
        until: Option<Timestamp>,
        reason: Option<&Reason>,
    ) -> Result<Vec<Fact>, Refusal> {
        self.admin(by, Part::People, Some(tenant))?;
        if let Caller::Person(who) = by {
            let own = match target {
                LockTarget::Person(person) => *person == who.subject,
                LockTarget::Role(role) => {
                    self.policy.roles_with(&who.subject, &who.roles, tenant).contains(role)
                }
                LockTarget::Device(device) => who.proof == Proof::Device(*device),
                LockTarget::Tunnel(_) | LockTarget::Tenant(_) => false,
            };
            if own {
                return Err(Refusal::OwnLock);
            }
        }
        match target {
            LockTarget::Tenant(other) if other != tenant => {
                return Err(Refusal::LockElsewhere { target: target.clone() });
            }
            // Another tenant's device doesn't exist here.
            LockTarget::Device(id)
                if self.state.device(*id).is_none_or(|device| device.tenant != *tenant) =>
            {
                return Err(Refusal::NoSuchDevice { device: *id });
            }
            _ => {}
        }
        if until.is_some_and(|until| until <= self.now) {
            return Err(Refusal::LockEnd);
        }
        // One that is to end sooner than another one lasts changes nothing.
        let held = self.state.lock(tenant, target, self.now);
        if held.is_some_and(|held| !held.ends_before(until)) {
            return Err(Refusal::LockUnchanged { target: target.clone(), state: "locked" });
        }
        Ok(vec![Fact::Locked {
            target: target.clone(),
            tenant: tenant.clone(),
            until,
            by: actor(by),
            reason: reason.cloned(),
        }])
    }

    pub(super) fn unlock(
        &self,
        by: &Caller,
        target: &LockTarget,
        tenant: &Tenant,
        reason: Option<&Reason>,
    ) -> Result<Vec<Fact>, Refusal> {
        self.admin(by, Part::People, Some(tenant))?;
        if self.state.lock(tenant, target, self.now).is_none() {
            return Err(Refusal::LockUnchanged { target: target.clone(), state: "unlocked" });
        }
        Ok(vec![Fact::Unlocked {
            target: target.clone(),
            tenant: tenant.clone(),
            by: actor(by),
            reason: reason.cloned(),
        }])
    }

    pub(super) fn issue_token(
        &self,
        by: &Caller,
        (token, purpose): (TokenId, Purpose),
        subject: &Subject,
        tenant: &Tenant,
        expires: Timestamp,
        scope: &Scope,
    ) -> Result<Vec<Fact>, Refusal> {
        self.admin(by, Part::Tokens, Some(tenant))?;
        if subject.is_anonymous() {
            return Err(Refusal::NoTokenFor { subject: subject.clone() });
        }
        let life = expires.duration_since(self.now);
        if !life.is_positive() || life > MAX_LIFE {
            return Err(Refusal::TokenLife);
        }
        let (subject, tenant, scope) = (subject.clone(), tenant.clone(), scope.clone());
        let sign_in = None;
        Ok(vec![Fact::TokenIssued {
            token,
            purpose,
            subject,
            tenant,
            expires,
            scope,
            sign_in,
            by: actor(by),
        }])
    }

    /// A session in a browser, for one tunnel or the console: begun with what the person has just shown, and no longer than that.
    pub(super) fn sign_in(
        &self,
        who: &Identity,
        token: TokenId,
        place: &Place,
        expires: Timestamp,
    ) -> Result<Vec<Fact>, Refusal> {
        let with = match who.proof {
            Proof::Token(id) if who.begun_with.is_none() => BegunWith::Token(id),
            Proof::Outside(shown) => BegunWith::Outside(shown),
            _ => return Err(Refusal::NotAPerson),
        };
        if !place.is_within(&who.scope) {
            return Err(Refusal::NotAllowed { why: format!("the token is for nothing but: {}", who.scope) });
        }
        let outlives = matches!(with, BegunWith::Token(_)) && who.expires.is_none_or(|end| end < expires);
        if expires <= self.now || outlives {
            return Err(Refusal::TokenLife);
        }
        Ok(vec![Fact::TokenIssued {
            token,
            purpose: Purpose::Session,
            subject: who.subject.clone(),
            tenant: who.tenant.clone(),
            expires,
            scope: place.scope(),
            sign_in: Some(SignIn { with, claimed: who.roles.to_vec() }),
            by: Actor::Person(who.subject.clone()),
        }])
    }

    pub(super) fn revoke_token(
        &self,
        by: &Caller,
        id: TokenId,
        outside: Option<&Tenant>,
        reason: Option<&Reason>,
    ) -> Result<Vec<Fact>, Refusal> {
        let missing = Refusal::NoSuchToken { token: id };
        if let (Some(tenant), None) = (outside, self.state.token(id)) {
            return self.revoke_outside(by, id, tenant, reason);
        }
        let token = self.state.token(id).ok_or_else(|| missing.clone())?;
        if let Caller::Person(who) = by {
            if token.tenant != who.tenant {
                return Err(missing);
            }
            // A narrowed token ends itself and no other.
            if token.subject != who.subject || !(who.scope.is_whole() || who.proof == Proof::Token(id)) {
                self.may(who, &Object::gateway(Part::Tokens), Action::Admin)?;
            }
        }
        if token.revoked.is_some() {
            return Err(Refusal::TokenRevoked { token: id });
        }
        let tenant = token.tenant.clone();
        Ok(vec![Fact::TokenRevoked {
            token: id,
            tenant,
            outside: false,
            by: actor(by),
            reason: reason.cloned(),
        }])
    }

    /// A token of another issuer, of which nothing is known but its id: one's own, or by an admin of tokens.
    fn revoke_outside(
        &self,
        by: &Caller,
        id: TokenId,
        tenant: &Tenant,
        reason: Option<&Reason>,
    ) -> Result<Vec<Fact>, Refusal> {
        let own = matches!(by, Caller::Person(who) if matches!(who.proof, Proof::Outside(shown) if shown.token == id));
        if !own {
            self.admin(by, Part::Tokens, Some(tenant))?;
        }
        if self.state.is_revoked_outside(id) {
            return Err(Refusal::TokenRevoked { token: id });
        }
        Ok(vec![Fact::TokenRevoked {
            token: id,
            tenant: tenant.clone(),
            outside: true,
            by: actor(by),
            reason: reason.cloned(),
        }])
    }

    /// From now on these keys of an issuer count. The operator's word: what is published, and what is configured.
    pub(super) fn issuer_keys(
        &self,
        by: &Caller,
        issuer: &IssuerName,
        keys: &[KeyPrint],
        why: Renewal,
    ) -> Result<Vec<Fact>, Refusal> {
        if by.person().is_some() {
            return Err(Refusal::NotAllowed { why: "an issuer's keys are the gateway's to tell".to_owned() });
        }
        let before = self.state.issuers_keys(issuer).cloned().unwrap_or_default();
        let withdrawn: Vec<KeyPrint> = before.iter().copied().filter(|key| !keys.contains(key)).collect();
        if withdrawn.is_empty() && keys.iter().all(|key| before.contains(key)) {
            return Ok(Vec::new());
        }
        Ok(vec![Fact::IssuerKeys { issuer: issuer.clone(), keys: keys.to_vec(), withdrawn, why }])
    }

    /// A certificate need not have been seen here: the one that was stolen and not used yet is revoked as well.
    pub(super) fn revoke_certificate(
        &self,
        by: &Caller,
        id: CertificateId,
        tenant: &Tenant,
        reason: Option<&Reason>,
    ) -> Result<Vec<Fact>, Refusal> {
        // Whoever has lost the one that they show must not wait for an admin.
        let own =
            by.person().is_some_and(|who| who.proof() == Proof::Certificate(id) && who.tenant == *tenant);
        if !own {
            self.admin(by, Part::Tokens, Some(tenant))?;
        }
        if self.state.is_certificate_revoked(tenant, id) {
            return Err(Refusal::CertificateRevoked { certificate: id });
        }
        let (by, reason) = (actor(by), reason.cloned());
        Ok(vec![Fact::CertificateRevoked { certificate: id, tenant: tenant.clone(), by, reason }])
    }

    pub(super) fn replace_token_key(
        &self,
        by: &Caller,
        (old, new): (&TokenKey, &TokenKey),
        tokens_kept: bool,
        reason: Option<&Reason>,
    ) -> Result<Vec<Fact>, Refusal> {
        self.admin(by, Part::Keys, None)?;
        // As long as anything that it signed can be shown; not longer.
        let end = self.state.last_token_end().filter(|_| tokens_kept).map(with_leeway);
        Ok(vec![Fact::TokenKeyReplaced {
            old: old.clone(),
            new: new.clone(),
            until: end.map_or(self.now, |end| end.max(self.now)),
            tokens_kept,
            by: actor(by),
            reason: reason.cloned(),
        }])
    }

    /// Whether the caller may run a part of the gateway, in the tenant that the order is about.
    pub(super) fn admin(&self, by: &Caller, part: Part, tenant: Option<&Tenant>) -> Result<(), Refusal> {
        let Caller::Person(who) = by else { return Ok(()) };
        if let Some(other) = tenant
            && *other != who.tenant
        {
            return Err(Refusal::OtherTenant { own: who.tenant.clone(), other: other.clone() });
        }
        self.may(who, &Object::gateway(part), Action::Admin)
    }

    pub(super) fn may(&self, who: &Identity, object: &Object, action: Action) -> Result<(), Refusal> {
        match judge(self.state, self.policy, who, object, action, self.now) {
            Judgement::Allowed { .. } => Ok(()),
            Judgement::NeedsApproval { explanation } | Judgement::Denied { explanation } => {
                Err(Refusal::NotAllowed { why: explanation.why })
            }
        }
    }
}

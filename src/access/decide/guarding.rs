//! Ending and guarding: revocation, locks, tokens, and who may order them.

use jiff::Timestamp;

use super::{Case, Refusal, actor};
use crate::access::certificate::CertificateId;
use crate::access::fact::Fact;
use crate::access::identity::{Caller, Identity, Proof};
use crate::access::ids::{GrantId, TokenId};
use crate::access::judge::{Judgement, judge};
use crate::access::names::{Principal, Subject, Tenant};
use crate::access::object::{Action, Object, Part};
use crate::access::reason::Reason;
use crate::access::state::GrantStatus;
use crate::access::token::{MAX_LIFE, Purpose};

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
            if grant.subject != who.subject {
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
        principal: &Principal,
        tenant: &Tenant,
        reason: Option<&Reason>,
    ) -> Result<Vec<Fact>, Refusal> {
        self.admin(by, Part::People, Some(tenant))?;
        if let Caller::Person(who) = by {
            let own = match principal {
                Principal::Person(person) => *person == who.subject,
                Principal::Role(role) => self.policy.roles_of(&who.subject, tenant).contains(role),
            };
            if own {
                return Err(Refusal::OwnLock);
            }
        }
        if self.state.lock(tenant, principal).is_some() {
            return Err(Refusal::LockUnchanged { principal: principal.clone(), state: "locked" });
        }
        Ok(vec![Fact::Locked {
            principal: principal.clone(),
            tenant: tenant.clone(),
            by: actor(by),
            reason: reason.cloned(),
        }])
    }

    pub(super) fn unlock(
        &self,
        by: &Caller,
        principal: &Principal,
        tenant: &Tenant,
        reason: Option<&Reason>,
    ) -> Result<Vec<Fact>, Refusal> {
        self.admin(by, Part::People, Some(tenant))?;
        if self.state.lock(tenant, principal).is_none() {
            return Err(Refusal::LockUnchanged { principal: principal.clone(), state: "unlocked" });
        }
        Ok(vec![Fact::Unlocked {
            principal: principal.clone(),
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
    ) -> Result<Vec<Fact>, Refusal> {
        self.admin(by, Part::Tokens, Some(tenant))?;
        if subject.is_anonymous() {
            return Err(Refusal::NoTokenFor { subject: subject.clone() });
        }
        let life = expires.duration_since(self.now);
        if !life.is_positive() || life > MAX_LIFE {
            return Err(Refusal::TokenLife);
        }
        let (subject, tenant) = (subject.clone(), tenant.clone());
        Ok(vec![Fact::TokenIssued { token, purpose, subject, tenant, expires, by: actor(by) }])
    }

    pub(super) fn revoke_token(
        &self,
        by: &Caller,
        id: TokenId,
        reason: Option<&Reason>,
    ) -> Result<Vec<Fact>, Refusal> {
        let missing = Refusal::NoSuchToken { token: id };
        let token = self.state.token(id).ok_or_else(|| missing.clone())?;
        if let Caller::Person(who) = by {
            if token.tenant != who.tenant {
                return Err(missing);
            }
            if token.subject != who.subject {
                self.may(who, &Object::gateway(Part::Tokens), Action::Admin)?;
            }
        }
        if token.revoked.is_some() {
            return Err(Refusal::TokenRevoked { token: id });
        }
        let tenant = token.tenant.clone();
        Ok(vec![Fact::TokenRevoked { token: id, tenant, by: actor(by), reason: reason.cloned() }])
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
        if self.state.is_certificate_revoked(id) {
            return Err(Refusal::CertificateRevoked { certificate: id });
        }
        let (by, reason) = (actor(by), reason.cloned());
        Ok(vec![Fact::CertificateRevoked { certificate: id, tenant: tenant.clone(), by, reason }])
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

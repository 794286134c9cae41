//! Passkeys of approvers, as the rest of the gateway orders and sees them.

use sallyport_audit::Digest;
use sallyport_audit::approval::{Agreed, ApproverId};

use super::decide::Command;
use super::error::AccessError;
use super::fact::Fact;
use super::handle::Access;
use super::identity::{Caller, Identity};
use super::ids::{GrantId, PasskeyId, RequestId, random};
use super::judge::{Judgement, judge};
use super::limits::Limits;
use super::object::{Action, Object, Part};
use super::passkey::{NewPasskey, Passkey, Signed};
use super::reason::Reason;
use super::requesting::Approved;

impl Access {
    /// Enrolls a passkey of the caller's own. Its making has been checked.
    ///
    /// # Errors
    ///
    /// A refusal, or the ledger couldn't record it; so with all orders below.
    pub async fn enroll_passkey(&self, by: &Identity, new: NewPasskey) -> Result<PasskeyId, AccessError> {
        let passkey = PasskeyId::new(self.now(), random());
        self.run(by, Command::EnrollPasskey { passkey, new }).await?;
        Ok(passkey)
    }

    /// Revokes a passkey: from now on its signatures count for nothing that isn't granted yet.
    pub async fn revoke_passkey(
        &self,
        by: impl Into<Caller>,
        passkey: PasskeyId,
        reason: Option<Reason>,
    ) -> Result<(), AccessError> {
        self.run(by, Command::RevokePasskey { passkey, reason }).await.map(drop)
    }

    /// Agrees to a request within limits, signed by a passkey of the caller's.
    pub async fn approve_signed(
        &self,
        by: &Identity,
        request: RequestId,
        limits: Limits,
        reason: Option<Reason>,
        signed: Option<Signed>,
    ) -> Result<Approved, AccessError> {
        let grant = GrantId::new(self.now(), random());
        let facts = self.run(by, Command::Approve { request, grant, limits, reason, signed }).await?;
        let granted = facts.iter().any(|fact| matches!(fact, Fact::GrantIssued { .. }));
        Ok(if granted { Approved::Granted(grant) } else { Approved::Counted })
    }

    /// What the caller's passkey is to sign, so that they agree to this request within these limits; `None` if they may not see
    /// it, or have no passkey.
    pub fn approval_challenge(&self, by: &Identity, request: RequestId, limits: &Limits) -> Option<[u8; 32]> {
        let request = self.find_request(by, request)?.request;
        let approver = self.approver_id(by)?;
        Some(limits.challenge(request.record, &approver))
    }

    /// Whether the caller has a passkey that stands.
    pub fn has_passkey(&self, by: &Identity) -> bool {
        self.look(|standing| standing.state.passkeys().any(|key| key.is_of(by)))
    }

    /// What the caller's passkeys call them, if they have had one.
    pub fn approver_id(&self, by: &Identity) -> Option<ApproverId> {
        self.look(|standing| standing.state.approver_id(&by.subject, &by.tenant))
    }

    /// Passkeys that the caller may see, oldest first: their own, or for an admin of people the tenant's.
    pub fn passkeys(&self, by: impl Into<Caller>) -> Vec<Passkey> {
        let (by, now) = (by.into(), self.now());
        self.look(|standing| {
            let people = Object::gateway(Part::People);
            let all = by.person().is_none_or(|who| {
                let judged = judge(&standing.state, &standing.policy, who, &people, Action::Admin, now);
                matches!(judged, Judgement::Allowed { .. })
            });
            let sees = |passkey: &&Passkey| {
                by.person()
                    .is_none_or(|who| who.tenant == passkey.tenant && (all || who.subject == passkey.subject))
            };
            standing.state.passkeys().filter(sees).cloned().collect()
        })
    }

    /// The caller's passkey by what the authenticator calls it.
    pub fn passkey_of(&self, by: &Identity, credential: &[u8]) -> Option<PasskeyId> {
        self.look(|standing| {
            let own = standing.state.passkeys().find(|key| {
                key.subject == by.subject && key.tenant == by.tenant && *key.credential == *credential
            });
            own.map(|key| key.id)
        })
    }
}

impl Limits {
    /// What is signed by whoever agrees to a request, whose record has this hash, within these limits.
    pub(super) fn challenge(&self, request: Digest, approver: &ApproverId) -> [u8; 32] {
        let conditions: Vec<String> = self.conditions.iter().map(ToString::to_string).collect();
        let minutes = self.minutes.map(u64::from);
        Agreed { request, approver, minutes, conditions: &conditions, once: self.once }.challenge()
    }
}

//! Enrolling a device, once per join token, and revoking one.

use super::{Case, Refusal, actor};
use crate::access::device::{DeviceId, DeviceKeys};
use crate::access::fact::Fact;
use crate::access::identity::{Caller, Identity, Proof};
use crate::access::judge::check_locks;
use crate::access::object::{Action, Object, Part};
use crate::access::reason::Reason;
use crate::access::token::{AuthError, MAX_LIFE, Purpose, with_leeway};

impl Case<'_> {
    /// Orders are decided one after the other, each on the state that the one before has left: so of two who show the
    /// same join token at the same time one comes second.
    pub(super) fn enroll(
        &self,
        who: &Identity,
        device: DeviceId,
        keys: &DeviceKeys,
    ) -> Result<Vec<Fact>, Refusal> {
        let Proof::Join(id) = who.proof else { return Err(Refusal::NotAPerson) };
        let token = self
            .state
            .token(id)
            .filter(|token| token.purpose == Purpose::Join)
            .filter(|token| token.subject == who.subject && token.tenant == who.tenant)
            .ok_or(Refusal::Standing(AuthError::Unrecorded))?;
        if token.spent.is_some() {
            return Err(Refusal::JoinSpent { token: id });
        }
        if token.revoked.is_some() {
            return Err(Refusal::Standing(AuthError::Revoked));
        }
        if self.now >= with_leeway(token.expires) {
            return Err(Refusal::Standing(AuthError::Expired { at: token.expires }));
        }
        check_locks(self.state, self.policy, &who.subject, &who.roles, &who.tenant, self.now)
            .map_err(Refusal::Standing)?;
        if self.state.device(device).is_some() {
            return Err(Refusal::DeviceKnown { device });
        }
        Ok(vec![Fact::DeviceEnrolled {
            device,
            join: id,
            subject: who.subject.clone(),
            tenant: who.tenant.clone(),
            keys: keys.clone(),
            expires: self.now.saturating_add(MAX_LIFE).map_err(|_| Refusal::TokenLife)?,
        }])
    }

    pub(super) fn revoke_device(
        &self,
        by: &Caller,
        id: DeviceId,
        reason: Option<&Reason>,
    ) -> Result<Vec<Fact>, Refusal> {
        let missing = Refusal::NoSuchDevice { device: id };
        let device = self.state.device(id).ok_or_else(|| missing.clone())?;
        if let Caller::Person(who) = by {
            if device.tenant != who.tenant {
                return Err(missing);
            }
            // Whoever has lost a device of their own must not wait for an admin; what was given away for something else can't do it.
            if device.subject != who.subject || who.scope.is_for_one_thing() {
                self.may(who, &Object::gateway(Part::Tokens), Action::Admin)?;
            }
        }
        if device.revoked.is_some() {
            return Err(Refusal::DeviceRevoked { device: id });
        }
        let tenant = device.tenant.clone();
        Ok(vec![Fact::DeviceRevoked { device: id, tenant, by: actor(by), reason: reason.cloned() }])
    }
}

//! Enrolling a passkey, revoking one, and whether a signature counts.

use sallyport_audit::approval::{self, Expected};

use super::{Case, Refusal, actor};
use crate::access::fact::Fact;
use crate::access::identity::{Caller, Identity};
use crate::access::ids::PasskeyId;
use crate::access::limits::Limits;
use crate::access::object::{Action, Object, Part};
use crate::access::passkey::{NewPasskey, Signed};
use crate::access::reason::Reason;
use crate::access::state::Request;

/// Most passkeys of one person that stand at a time.
const MAX_PASSKEYS: usize = 10;

impl Case<'_> {
    pub(super) fn enroll_passkey(
        &self,
        who: &Identity,
        passkey: PasskeyId,
        new: &NewPasskey,
    ) -> Result<Vec<Fact>, Refusal> {
        // A narrowed token was given away for something else.
        if who.scope.is_for_one_thing() {
            return Err(Refusal::NotAllowed { why: "the token covers single tunnels alone".to_owned() });
        }
        // Revoked ones too: a key that was given up doesn't come back under another name.
        if self.state.passkeys().any(|known| known.credential == new.credential) {
            return Err(Refusal::PasskeyKnown);
        }
        if self.state.passkeys().filter(|known| known.is_of(who)).count() >= MAX_PASSKEYS {
            return Err(Refusal::TooManyPasskeys { most: MAX_PASSKEYS });
        }
        // One id for all keys of a person, and for nobody else's: what is signed names the approver by it.
        let approver = self.state.approver_id(&who.subject, &who.tenant);
        if approver.is_none() && self.state.passkeys().any(|known| known.approver == new.approver) {
            return Err(Refusal::PasskeyKnown);
        }
        let new = NewPasskey { approver: approver.unwrap_or(new.approver), ..new.clone() };
        Ok(vec![Fact::PasskeyEnrolled {
            passkey,
            subject: who.subject.clone(),
            tenant: who.tenant.clone(),
            new,
        }])
    }

    pub(super) fn revoke_passkey(
        &self,
        by: &Caller,
        id: PasskeyId,
        reason: Option<&Reason>,
    ) -> Result<Vec<Fact>, Refusal> {
        let missing = Refusal::NoSuchPasskey { passkey: id };
        let passkey = self.state.passkey(id).ok_or_else(|| missing.clone())?;
        if let Caller::Person(who) = by {
            if passkey.tenant != who.tenant {
                return Err(missing);
            }
            // Whoever has lost a key of their own must not wait for an admin; what was given away for something else can't do it.
            if passkey.subject != who.subject || who.scope.is_for_one_thing() {
                self.may(who, &Object::gateway(Part::People), Action::Admin)?;
            }
        }
        if passkey.revoked.is_some() {
            return Err(Refusal::PasskeyRevoked { passkey: id });
        }
        let tenant = passkey.tenant.clone();
        Ok(vec![Fact::PasskeyRevoked { passkey: id, tenant, by: actor(by), reason: reason.cloned() }])
    }

    /// A signature that comes with an approval must be good, whether or not it is needed.
    pub(super) fn check_signed(
        &self,
        who: &Identity,
        request: &Request,
        limits: &Limits,
        signed: &Signed,
    ) -> Result<(), Refusal> {
        let own = self.state.passkey(signed.passkey);
        let passkey = own
            .filter(|passkey| passkey.is_of(who))
            .ok_or(Refusal::NoSuchPasskey { passkey: signed.passkey })?;
        let challenge = limits.challenge(request.record, &passkey.approver);
        let expected = Expected {
            ceremony: "webauthn.get",
            challenge: &challenge,
            origin: &passkey.site.origin,
            rp_id: &passkey.site.rp_id,
        };
        approval::check(&passkey.key, &expected, &signed.assertion())
            .and_then(|counter| approval::check_counter(passkey.counter, counter))
            .map_err(|why| Refusal::SignatureWrong { request: request.id, why })
    }
}

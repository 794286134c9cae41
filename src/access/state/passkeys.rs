//! Passkeys of approvers, and the approvals that they sign.

use jiff::Timestamp;
use sallyport_audit::approval::{ApproverId, counter_of};

use super::{Approval, State};
use crate::access::fact::{Fact, Stamp};
use crate::access::ids::PasskeyId;
use crate::access::names::{Subject, Tenant};
use crate::access::passkey::Passkey;

impl State {
    pub(super) fn passkey_enrolled(&mut self, stamp: Stamp, fact: &Fact) {
        let Fact::PasskeyEnrolled { passkey, subject, tenant, new } = fact else { return };
        let enrolled = Passkey {
            id: *passkey,
            subject: subject.clone(),
            tenant: tenant.clone(),
            approver: new.approver,
            credential: new.credential.clone(),
            key: new.key.clone(),
            site: new.site.clone(),
            counter: new.counter,
            enrolled: stamp.time,
            revoked: None,
        };
        self.passkeys.entry(*passkey).or_insert(enrolled);
    }

    pub(super) fn passkey_revoked(&mut self, stamp: Stamp, id: PasskeyId) {
        if let Some(passkey) = self.passkeys.get_mut(&id) {
            passkey.revoked.get_or_insert(stamp.time);
        }
    }

    /// Records were lost that may have revoked any of them.
    pub(super) fn passkeys_lost(&mut self, stamp: Stamp) {
        self.end_passkeys(stamp.time, |_| true);
    }

    pub(super) fn end_passkeys(&mut self, at: Timestamp, whose: impl Fn(&Subject) -> bool) {
        for passkey in self.passkeys.values_mut().filter(|passkey| whose(&passkey.subject)) {
            passkey.revoked.get_or_insert(at);
        }
    }

    pub(super) fn forget_in_passkeys(&mut self, person: &Subject, nobody: &Subject) {
        for passkey in self.passkeys.values_mut().filter(|passkey| passkey.subject == *person) {
            passkey.subject.clone_from(nobody);
        }
    }

    pub(super) fn approved(&mut self, stamp: Stamp, fact: &Fact) {
        let Fact::Approved { request, by, roles, minutes, conditions, once, reason, signed, .. } = fact
        else {
            return;
        };
        if let Some(signed) = signed
            && let Some(passkey) = self.passkeys.get_mut(&signed.passkey)
        {
            passkey.counter = passkey.counter.max(counter_of(&signed.authenticator_data).unwrap_or_default());
        }
        if let Some(request) = self.pending_mut(*request)
            && !request.approvals.iter().any(|approval| approval.by == *by)
            && !request.denials.iter().any(|denial| denial.by == *by)
        {
            request.approvals.push(Approval {
                by: by.clone(),
                roles: roles.clone(),
                at: stamp.time,
                minutes: *minutes,
                conditions: conditions.clone(),
                once: *once,
                reason: reason.clone(),
                signed: signed.as_ref().map(|signed| signed.passkey),
            });
        }
    }

    /// A passkey by its id.
    pub fn passkey(&self, id: PasskeyId) -> Option<&Passkey> {
        self.passkeys.get(&id)
    }

    /// What a person's passkeys call them, if they have had one.
    pub fn approver_id(&self, person: &Subject, tenant: &Tenant) -> Option<ApproverId> {
        let mut own = self.passkeys.values().filter(|key| key.subject == *person && key.tenant == *tenant);
        own.next().map(|key| key.approver)
    }

    /// All passkeys, oldest first.
    pub fn passkeys(&self) -> impl Iterator<Item = &Passkey> {
        self.passkeys.values()
    }
}

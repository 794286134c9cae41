//! Ending what a person has, before their name is erased.

use super::{Case, Refusal, actor};
use crate::access::fact::Fact;
use crate::access::identity::Caller;
use crate::access::names::Subject;
use crate::access::object::{Action, Object, Part};
use crate::access::reason::Reason;
use crate::access::share::ShareEnd;

impl Case<'_> {
    /// The person's tokens, devices and grants, each ended by a record of its own: these can still say whose they were.
    pub(super) fn erase(
        &self,
        by: &Caller,
        subject: &Subject,
        reason: &Reason,
    ) -> Result<Vec<Fact>, Refusal> {
        if let Caller::Person(who) = by {
            self.may(who, &Object::gateway(Part::People), Action::Erase)?;
            if who.subject == *subject {
                return Err(Refusal::OwnErasure);
            }
            // One key seals a person's name in all tenants.
            if self.state.is_known_outside(&who.tenant, subject) {
                return Err(Refusal::ElsewhereToo { subject: subject.clone() });
            }
        }
        if names(reason, subject) {
            return Err(Refusal::ReasonNames);
        }
        if self.state.is_locked_anywhere(subject, self.now) {
            return Err(Refusal::LockHolds { subject: subject.clone() });
        }
        // Not the reason: it would be sealed beside a name, and stands in the record of the erasure itself.
        let tokens = self.state.tokens().filter(|token| token.subject == *subject && token.revoked.is_none());
        let tokens = tokens.map(|token| Fact::TokenRevoked {
            token: token.id,
            tenant: token.tenant.clone(),
            outside: false,
            by: actor(by),
            reason: None,
        });
        let devices =
            self.state.devices().filter(|device| device.subject == *subject && device.revoked.is_none());
        let devices = devices.map(|device| Fact::DeviceRevoked {
            device: device.id,
            tenant: device.tenant.clone(),
            by: actor(by),
            reason: None,
        });
        let passkeys =
            self.state.passkeys().filter(|passkey| passkey.subject == *subject && passkey.revoked.is_none());
        let passkeys = passkeys.map(|passkey| Fact::PasskeyRevoked {
            passkey: passkey.id,
            tenant: passkey.tenant.clone(),
            by: actor(by),
            reason: None,
        });
        let grants = self.state.live_grants().filter(|grant| grant.subject == *subject);
        let grants = grants.map(|grant| Fact::GrantRevoked {
            grant: grant.id,
            request: grant.request,
            tenant: grant.tenant.clone(),
            object: grant.object.clone(),
            subject: grant.subject.clone(),
            by: actor(by),
            reason: None,
        });
        let shares = self.state.shares().filter(|share| {
            share.is_standing() && (share.to == *subject || share.by.as_ref() == Some(subject))
        });
        let shares = shares.map(|share| super::sharing::ended(share, ShareEnd::Erased, by, None));
        Ok(tokens.chain(devices).chain(passkeys).chain(grants).chain(shares).collect())
    }
}

/// Whether the words hold the person's name, as a word.
fn names(reason: &Reason, subject: &Subject) -> bool {
    let name = subject.as_str().trim_start_matches("user:");
    let words = reason.as_str().to_lowercase();
    let end = |letter: Option<char>| letter.is_none_or(|letter| !letter.is_alphanumeric());
    words.match_indices(name).any(|(at, _)| {
        let (before, rest) = words.split_at(at);
        end(before.chars().next_back()) && end(rest.chars().nth(name.chars().count()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_names_a_person_only_as_a_word() {
        let names = |reason: &str, person: &str| names(&reason.parse().unwrap(), &person.parse().unwrap());
        assert!(names("Alice asked for it", "user:alice"));
        assert!(names("asked by user:alice.", "user:alice"));
        assert!(names("see alice@example.com", "user:alice@example.com"));
        assert!(!names("malice and alices", "user:alice"));
        assert!(!names("asked for on paper", "user:a"));
    }
}

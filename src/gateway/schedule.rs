//! When keys are due to be replaced, and what is told about each.
//!
//! A key's age is known if we chose its id, which holds the time; of a key that others made it is not, and then
//! nothing is claimed. When a key was used last no provider tells: a gateway that serves knows of its own uses, and where nothing
//! is known the listing says so rather than invent it.

use jiff::{SignedDuration, Timestamp};
use sallyport_hsm::{KeyInfo, Role};
use serde::Serialize;

use super::config::MaxAge;

/// From this long before it is due, a key is warned of.
const WARN_BEFORE: SignedDuration = SignedDuration::from_hours(30 * 24);

/// A key, as operators and the ledger are told of it.
#[derive(Debug, Clone, Serialize)]
pub struct Listed {
    /// What the provider says.
    #[serde(flatten)]
    pub key: KeyInfo,
    /// When this gateway used it last; providers do not tell.
    pub last_used: Option<Timestamp>,
    /// When it is to be replaced, if it has an age and a limit.
    pub due: Option<Timestamp>,
}

impl Listed {
    /// A key with its date, by the limits in force.
    pub fn new(key: KeyInfo, max_age: &MaxAge) -> Self {
        let due = limit(max_age, key.role)
            .and_then(|limit| key.created?.checked_add(SignedDuration::try_from(limit).ok()?).ok());
        Self { key, last_used: None, due }
    }

    /// What to tell the operator at `now`; `None` while there is time.
    pub fn warning(&self, now: Timestamp) -> Option<String> {
        let due = self.due?;
        let name = rotation_name(self.key.role)?;
        if due.checked_sub(WARN_BEFORE).is_ok_and(|from| now < from) {
            return None;
        }
        let is = if now < due { "is due to be replaced" } else { "was due to be replaced" };
        Some(format!("the {} key {is} at {due:.0}: `sallyport keys rotate {name} --reason …`", self.key.role))
    }
}

/// How the commands call the keys that are replaced together with this one.
pub fn rotation_name(role: Role) -> Option<&'static str> {
    match role {
        Role::Tls | Role::TlsPq => Some("tls"),
        Role::Identity | Role::IdentityPq => Some("identity"),
        Role::Ledger | Role::LedgerPq => Some("ledger"),
        Role::TokenSigning => Some("token-signing"),
        Role::Kek => Some("kek"),
        Role::CertificateAuthority => Some("root-announce"),
    }
}

fn limit(max_age: &MaxAge, role: Role) -> Option<std::time::Duration> {
    match rotation_name(role)? {
        "tls" => max_age.tls,
        "identity" => max_age.identity,
        "ledger" => max_age.ledger,
        "token-signing" => max_age.token_signing,
        "root-announce" => max_age.root,
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use sallyport_hsm::Home;

    use super::*;

    fn key(role: Role, created: Option<Timestamp>) -> KeyInfo {
        let home = Home::Software { file: "keystore.json".into() };
        KeyInfo {
            role,
            algorithm: role.algorithm(),
            id: String::new(),
            created,
            home,
            attestation: None,
            fingerprint: None,
        }
    }

    fn day(day: i64) -> Timestamp {
        Timestamp::from_second(1_767_225_600 + day * 86_400).unwrap()
    }

    #[test]
    fn a_key_is_warned_of_thirty_days_before_it_is_due_and_from_then_on() {
        let max_age = MaxAge { tls: Some(std::time::Duration::from_hours(100 * 24)), ..MaxAge::default() };
        let listed = Listed::new(key(Role::Tls, Some(day(0))), &max_age);
        assert_eq!(listed.due, Some(day(100)));
        assert_eq!(listed.warning(day(69)), None);
        assert!(listed.warning(day(71)).unwrap().contains("is due"));
        assert!(listed.warning(day(101)).unwrap().contains("was due"));
    }

    #[test]
    fn a_key_without_an_age_or_a_limit_is_never_due() {
        let max_age = MaxAge { tls: Some(std::time::Duration::from_hours(24)), ..MaxAge::default() };
        assert_eq!(Listed::new(key(Role::Tls, None), &max_age).due, None);
        assert_eq!(Listed::new(key(Role::Ledger, Some(day(0))), &max_age).due, None);
        assert_eq!(Listed::new(key(Role::Kek, Some(day(0))), &max_age).due, None);
    }
}

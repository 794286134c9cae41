//! The names that policy, tokens and records speak of: people, roles and tenants.
//!
//! casbin compares strings, and to it a user who is called like a role *is* that role. So a person is always
//! `user:NAME`, a role is always `role:NAME`, and the two are different types: neither the compiler nor a policy
//! file can mix them up. Names are lower-case ASCII, so that no two spellings of one name exist.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use sallyport_audit::KeyId;
use serde::{Serialize, Serializer};

/// Longest NAME in bytes: an e-mail address of ordinary length fits.
pub const MAX_NAME: usize = 128;

/// The visitor who shows no token. It has no roles, no tokens, and can ask for nothing. What is recorded of it is sealed
/// under the key of the day.
pub const ANONYMOUS: &str = sallyport_audit::sidecar::ANONYMOUS;

/// A text that isn't the name it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {what}: {rule}")]
pub struct NameError {
    text: String,
    what: &'static str,
    rule: &'static str,
}

impl NameError {
    /// Keeps only the beginning of a text that may come from a peer.
    pub(super) fn new(text: &str, what: &'static str, rule: &'static str) -> Self {
        Self { text: text.chars().take(80).collect(), what, rule }
    }
}

const PERSON_RULE: &str =
    "write `user:NAME`; NAME is 1 to 128 of a-z 0-9 . _ @ + - and begins with a letter or a digit";
const ROLE_RULE: &str =
    "write `role:NAME`; NAME is 1 to 128 of a-z 0-9 . _ @ + - and begins with a letter or a digit";
const TENANT_RULE: &str = "a tenant is 1 to 63 of a-z 0-9 - and begins and ends with a letter or a digit";

fn is_name(name: &str) -> bool {
    let first = name.bytes().next();
    name.len() <= MAX_NAME
        && first.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._@+-".contains(&b))
}

/// A DNS label in lower case (RFC 1123 section 2.1): what tunnels and tenants are called.
pub(super) fn is_label(name: &str) -> bool {
    let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    name.len() <= 63
        && edge(name.bytes().next())
        && edge(name.bytes().last())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $valid:expr, $what:literal, $rule:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The whole text, with its prefix if it has one.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) { Ok(Self(text.into())) } else { Err(NameError::new(text, $what, $rule)) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
    };
}

name!(
    /// One person (or one machine that acts for itself): `user:alice`.
    Subject,
    |text| text.strip_prefix("user:").is_some_and(is_name),
    "a person",
    PERSON_RULE
);
name!(
    /// A set of people that policy speaks of: `role:admin`.
    Role,
    |text| text.strip_prefix("role:").is_some_and(is_name),
    "a role",
    ROLE_RULE
);
name!(
    /// A tenant, which casbin calls a domain: `main`. Nothing crosses from one to another.
    Tenant,
    is_label,
    "a tenant",
    TENANT_RULE
);

impl Subject {
    /// The visitor who shows no token.
    pub fn anonymous() -> Self {
        Self(ANONYMOUS.into())
    }

    /// Who is left when a person was erased: the same for everything that was sealed under the key that is gone, and nobody
    /// else. No text can be read as one, so no token, rule or lock ever names it.
    pub fn erased(key: KeyId) -> Self {
        Self(format!("erased:{key}").into())
    }

    /// Whether this stands for a person who was erased.
    pub fn is_erased(&self) -> bool {
        self.as_str().starts_with("erased:")
    }

    /// Whether this is the visitor who shows no token.
    pub fn is_anonymous(&self) -> bool {
        self.as_str() == ANONYMOUS
    }
}

/// Whom a rule or a lock names: one person or a role.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(untagged)]
pub enum Principal {
    /// One person.
    Person(Subject),
    /// Everyone who has the role.
    Role(Role),
}

impl Principal {
    /// The whole text, with its prefix.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Person(subject) => subject.as_str(),
            Self::Role(role) => role.as_str(),
        }
    }
}

impl FromStr for Principal {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.starts_with("user:") {
            text.parse().map(Self::Person)
        } else if text.starts_with("role:") {
            text.parse().map(Self::Role)
        } else {
            Err(NameError::new(text, "a person or a role", "it must begin with `user:` or `role:`"))
        }
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<Role> for Principal {
    fn from(role: Role) -> Self {
        Self::Role(role)
    }
}

impl From<Subject> for Principal {
    fn from(subject: Subject) -> Self {
        Self::Person(subject)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_is_never_a_role_and_a_role_never_a_person() {
        assert!("role:admin".parse::<Subject>().is_err());
        assert!("user:admin".parse::<Role>().is_err());
        assert!("admin".parse::<Principal>().is_err());
        let nobody = Subject::erased(KeyId::from_bytes([7; 16]));
        assert!(nobody.as_str().parse::<Subject>().is_err() && nobody.as_str().parse::<Principal>().is_err());
        assert_ne!("user:admin".parse::<Principal>().unwrap(), "role:admin".parse::<Principal>().unwrap());
    }

    #[test]
    fn a_name_has_one_spelling_and_a_bound() {
        for bad in [
            "user:",
            "user:Alice",
            "user:é",
            "user:a b",
            "user:a,b",
            "user:*",
            "user:-a",
            "user:a\n",
            " user:a",
            "user:a\"",
        ] {
            assert!(bad.parse::<Subject>().is_err(), "{bad:?}");
        }
        assert!(format!("user:{}", "a".repeat(MAX_NAME)).parse::<Subject>().is_ok());
        assert!(format!("user:{}", "a".repeat(MAX_NAME + 1)).parse::<Subject>().is_err());
        assert!("user:alice@example.com".parse::<Subject>().is_ok());
        for bad in ["", "-a", "a-", "A", "a.b", "*"] {
            assert!(bad.parse::<Tenant>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_error_shows_only_the_beginning_of_a_long_text() {
        let error = "x".repeat(10_000).parse::<Subject>().unwrap_err();
        assert!(error.to_string().len() < 400);
    }
}

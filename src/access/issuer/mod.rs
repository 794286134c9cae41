//! Tokens of other issuers: whom the gateway believes, of whom, and under which name.
//!
//! An organisation has an identity provider already; its people should not need a second credential. What it signs (JWT,
//! RFC 7519) is accepted here, within what the operator wrote down for that issuer: its exact `iss`, our `aud`, the
//! algorithms, which claim is the name and which groups are which roles.
//!
//! Promised: a key verifies with the one algorithm that it is for, whatever the header says (RFC 8725 section 3.1); `none`
//! never passes, HS256 only with a secret from a file; no key and no address in a header is looked at (`jwk`, `jku`,
//! `x5u`, `x5c`); a name of one issuer is never one of another's, of another tenant or a local one, unless the operator
//! mapped it so. Trusted: the issuer, for its own people; the operator's mapping.
//!
//! Pure: keys, token and time in, an answer out. Who fetches the keys is `gateway/issuers`. Start with [`Issuer::verify`].

mod keys;
mod mapping;
#[cfg(test)]
mod tests;
mod verify;

use std::fmt;
use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};
use serde::{Serialize, Serializer};

use super::ids::TokenId;
use super::names::{NameError, Role, Subject, Tenant, is_label};

pub use keys::{KeyPrint, KeySet, MAX_KEYS, UnusableKeys};
pub use mapping::{GroupRules, NameRules};
pub use verify::issuer_of;

/// What the operator calls an issuer: in records, and before the names of its people.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IssuerName(String);

impl IssuerName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for IssuerName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.len() <= 32 && is_label(text) {
            Ok(Self(text.to_owned()))
        } else {
            let rule = "it is 1 to 32 of a-z 0-9 - and begins and ends with a letter or a digit";
            Err(NameError::new(text, "an issuer's name", rule))
        }
    }
}

impl fmt::Display for IssuerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for IssuerName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// How an issuer may sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256, of at least 2,048 bits.
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
    /// HMAC with SHA-256: whoever can check can forge. Only with a secret from a file.
    Hs256,
}

impl Algorithm {
    /// Those that need no shared secret.
    pub const PUBLIC: [Self; 3] = [Self::Rs256, Self::Es256, Self::EdDsa];

    fn of_library(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::Rs256 => jsonwebtoken::Algorithm::RS256,
            Self::Es256 => jsonwebtoken::Algorithm::ES256,
            Self::EdDsa => jsonwebtoken::Algorithm::EdDSA,
            Self::Hs256 => jsonwebtoken::Algorithm::HS256,
        }
    }

    /// As headers and settings write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
            Self::Hs256 => "HS256",
        }
    }
}

impl FromStr for Algorithm {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let all = Self::PUBLIC.into_iter().chain([Self::Hs256]);
        let found = all.into_iter().find(|algorithm| algorithm.as_str() == text);
        found.ok_or_else(|| NameError::new(text, "an algorithm", "it is RS256, ES256, EdDSA or HS256"))
    }
}

/// An issuer, and what of its tokens is believed.
#[derive(Debug, Clone)]
pub struct Issuer {
    /// What the operator calls it.
    pub name: IssuerName,
    /// Exactly what `iss` must say.
    pub issuer: String,
    /// What `aud` must hold: us, as the issuer knows us.
    pub audience: String,
    /// How it may sign.
    pub algorithms: Vec<Algorithm>,
    /// The one tenant that its people are of.
    pub tenant: Tenant,
    /// By how much its clock may differ from ours, either way.
    pub leeway: SignedDuration,
    /// How its claims become a name.
    pub names: NameRules,
    /// How its groups become roles.
    pub groups: GroupRules,
}

/// What an issuer said of somebody, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vouched {
    /// Who.
    pub subject: Subject,
    /// In which tenant.
    pub tenant: Tenant,
    /// Roles of theirs, beside those that policy gives.
    pub roles: Vec<Role>,
    /// The id of what was shown.
    pub proof: Outside,
    /// When the token was issued, as it says; `None` where a controller answered just now.
    pub issued: Option<Timestamp>,
    /// When it ends, leeway included.
    pub expires: Timestamp,
}

/// What was shown that somebody outside vouches for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Outside {
    /// The token's id here: made of its issuer and its `jti`, or of its bytes if it has none.
    pub token: TokenId,
    /// The issuer's key; `None` where a controller answered.
    pub key: Option<KeyPrint>,
}

/// All issuers. Names and `iss` are each unique.
#[derive(Debug, Clone, Default)]
pub struct Issuers(Vec<Issuer>);

impl<'a> IntoIterator for &'a Issuers {
    type Item = &'a Issuer;
    type IntoIter = std::slice::Iter<'a, Issuer>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl Issuers {
    /// These.
    ///
    /// # Errors
    ///
    /// Two with one name, or with one `iss`.
    pub fn new(all: Vec<Issuer>) -> Result<Self, NameError> {
        for (index, one) in all.iter().enumerate() {
            let rest = all.iter().take(index);
            if rest.clone().any(|other| other.name == one.name) {
                return Err(NameError::new(one.name.as_str(), "a name of one issuer", "two have it"));
            }
            if rest.clone().any(|other| other.issuer == one.issuer) {
                return Err(NameError::new(&one.issuer, "the `iss` of one issuer", "two have it"));
            }
        }
        Ok(Self(all))
    }

    /// Each of them.
    pub fn iter(&self) -> std::slice::Iter<'_, Issuer> {
        self.0.iter()
    }

    /// Whose prefix a name has: no local token is made for such a one.
    pub fn owner_of(&self, subject: &Subject) -> Option<&IssuerName> {
        self.iter().map(|issuer| &issuer.name).find(|name| mapping::has_prefix(subject, name))
    }
}

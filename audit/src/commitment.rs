//! Personal values stand in a record as salted commitments.
//!
//! Who, from where, with what, is needed by an auditor and must one day be erased; a record must never
//! change. So the record holds `SHA-256(domain ‖ field ‖ salt ‖ value)`, and salt and value lie sealed
//! beside it. Erasing them leaves every digest, proof and signature as it was; showing one salt and one
//! value proves what the record said, and nothing about the other fields.
//!
//! The salts of the values that are sealed together come from one random seed, so that a salt can be shown
//! without giving away its siblings. Without the 256-bit seed a commitment cannot be searched for by
//! guessing values. What is sealed together, and how, is in [`crate::sidecar`].

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

const COMMITMENT_DOMAIN: &[u8] = b"sallyport.audit/commitment/v1\0";
const SALT_DOMAIN: &[u8] = b"sallyport.audit/salt/v1\0";

/// The fields that hold personal data. Variants stand in the order of their texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Personal {
    /// The program that the person used, such as a browser's user agent.
    Agent,
    /// The path of an HTTP request.
    Path,
    /// Words that a person typed, such as why access is needed.
    Reason,
    /// The network address that the person came from.
    Source,
    /// Who did it, such as `user:alice`.
    Subject,
    /// To whom it was done, such as `user:bob`.
    Target,
}

impl Personal {
    /// Every field, in the order in which they stand in a record.
    pub const ALL: &'static [Personal] =
        &[Self::Agent, Self::Path, Self::Reason, Self::Source, Self::Subject, Self::Target];

    /// The field of this key; `None` for what is no personal field.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|field| field.as_str() == text)
    }

    /// The key in the record.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Path => "path",
            Self::Reason => "reason",
            Self::Source => "source",
            Self::Subject => "subject",
            Self::Target => "target",
        }
    }
}

impl fmt::Display for Personal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The salt of one field of one record. Whoever has it can test guesses at that field's value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Salt([u8; 32]);

impl Salt {
    /// The salt of `field` in the record whose seed is `seed`.
    pub fn derive(seed: &[u8; 32], field: Personal) -> Self {
        Self(*Digest::of(&[SALT_DOMAIN, field.as_str().as_bytes(), &[0], seed]).as_bytes())
    }

    /// A salt that was shown.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes, to be shown to an auditor together with the value.
    pub const fn expose_to_auditor(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Salt(..)")
    }
}

/// `SHA-256(domain ‖ field ‖ 0x00 ‖ salt ‖ value)`, as it stands in the record.
pub fn commit(field: Personal, salt: &Salt, value: &str) -> Digest {
    Digest::of(&[COMMITMENT_DOMAIN, field.as_str().as_bytes(), &[0], &salt.0, value.as_bytes()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_ordered_as_their_texts_are() {
        assert!(
            Personal::ALL.windows(2).all(|pair| pair[0] < pair[1] && pair[0].as_str() < pair[1].as_str())
        );
    }

    #[test]
    fn the_same_value_in_two_fields_or_two_records_gives_different_commitments() {
        let salt = Salt::derive(&[1; 32], Personal::Subject);
        let one = commit(Personal::Subject, &salt, "user:alice");
        assert_ne!(one, commit(Personal::Target, &salt, "user:alice"));
        assert_ne!(one, commit(Personal::Subject, &Salt::derive(&[2; 32], Personal::Subject), "user:alice"));
        assert_ne!(
            Salt::derive(&[1; 32], Personal::Subject).expose_to_auditor(),
            Salt::derive(&[1; 32], Personal::Target).expose_to_auditor()
        );
    }
}

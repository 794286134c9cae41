//! Personal values stand in a record as salted commitments.
//!
//! Who, from where, with what, is needed by an auditor and must one day be erased; a record must never
//! change. So the record holds `SHA-256(domain ‖ field ‖ salt ‖ value)`, and salt and value lie sealed
//! beside it. Erasing them leaves every digest, proof and signature as it was; showing one salt and one
//! value proves what the record said, and nothing about the other fields.
//!
//! One random seed is drawn per record; each field's salt is derived from it, so that a salt can be shown
//! without giving away its siblings. Without the 256-bit seed a commitment cannot be searched for by
//! guessing values.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

const COMMITMENT_DOMAIN: &[u8] = b"sallyport.audit/commitment/v1\0";
const SALT_DOMAIN: &[u8] = b"sallyport.audit/salt/v1\0";
const SIDECAR_VERSION: u8 = 1;

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

    /// The 32 bytes, to be shown to an auditor together with the value.
    pub const fn expose_to_auditor(&self) -> &[u8; 32] {
        &self.0
    }
}

/// `SHA-256(domain ‖ field ‖ 0x00 ‖ salt ‖ value)`, as it stands in the record.
pub fn commit(field: Personal, salt: &Salt, value: &str) -> Digest {
    Digest::of(&[COMMITMENT_DOMAIN, field.as_str().as_bytes(), &[0], &salt.0, value.as_bytes()])
}

/// The commitments to all values of one record.
pub fn commit_all(seed: &[u8; 32], values: &BTreeMap<Personal, String>) -> BTreeMap<Personal, Digest> {
    values.iter().map(|(&field, value)| (field, commit(field, &Salt::derive(seed, field), value))).collect()
}

/// What lies sealed beside a record: the seed and the values.
#[derive(Clone, PartialEq, Eq)]
pub struct Sidecar {
    /// The record's random seed, from which the salts come.
    pub seed: [u8; 32],
    /// The values, by field.
    pub values: BTreeMap<Personal, String>,
}

impl Sidecar {
    /// The plaintext that is sealed: version byte, seed, values as a JSON object.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(64 + self.values.values().map(|v| v.len() + 16).sum::<usize>());
        bytes.push(SIDECAR_VERSION);
        bytes.extend_from_slice(&self.seed);
        // A map with text keys and text values always serialises, and a vector always takes it.
        let _ = serde_json::to_writer(&mut bytes, &self.values);
        bytes
    }

    /// Reads what [`Sidecar::to_bytes`] wrote; `None` when it is anything else.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (&version, rest) = bytes.split_first()?;
        let (seed, values) = rest.split_first_chunk::<32>()?;
        if version != SIDECAR_VERSION {
            return None;
        }
        Some(Self { seed: *seed, values: serde_json::from_slice(values).ok()? })
    }

    /// The values that fit the record's commitments; one that does not fit is left out.
    pub fn matching(self, commitments: &BTreeMap<Personal, Digest>) -> BTreeMap<Personal, String> {
        let seed = self.seed;
        self.values
            .into_iter()
            .filter(|(field, value)| {
                commitments.get(field) == Some(&commit(*field, &Salt::derive(&seed, *field), value))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values() -> BTreeMap<Personal, String> {
        BTreeMap::from([
            (Personal::Subject, "user:alice".to_owned()),
            (Personal::Source, "203.0.113.7:443".to_owned()),
        ])
    }

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

    #[test]
    fn a_sidecar_reads_back_and_its_values_fit_the_commitments() {
        let sidecar = Sidecar { seed: [7; 32], values: values() };
        let read = Sidecar::parse(&sidecar.to_bytes()).unwrap();
        assert_eq!(read.matching(&commit_all(&[7; 32], &values())), values());
    }

    #[test]
    fn a_value_changed_beside_the_record_is_left_out() {
        let commitments = commit_all(&[7; 32], &values());
        let mut changed = Sidecar { seed: [7; 32], values: values() };
        changed.values.insert(Personal::Subject, "user:mallory".to_owned());
        let joined = changed.matching(&commitments);
        assert_eq!(joined.get(&Personal::Subject), None);
        assert!(joined.contains_key(&Personal::Source));
    }

    #[test]
    fn a_sidecar_of_another_version_or_too_short_is_not_read() {
        assert!(Sidecar::parse(&[]).is_none());
        assert!(Sidecar::parse(&[1; 20]).is_none());
        let mut bytes = Sidecar { seed: [7; 32], values: values() }.to_bytes();
        bytes[0] = 2;
        assert!(Sidecar::parse(&bytes).is_none());
    }
}

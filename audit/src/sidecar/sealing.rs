//! The writer's half: personal values sorted by whose they are, committed to, and sealed.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{ANONYMOUS, Fields, VERSION, aad, bit};
use crate::commitment::{Personal, Salt, commit};
use crate::digest::Digest;
use crate::keys::{Owner, Vault, VaultError};

const SEED_DOMAIN: &[u8] = b"sallyport.audit/seed/v1\0";

/// Personal values that are still to be sealed.
pub(crate) struct Sidecar(Vec<Part>);

/// Values with one owner.
struct Part {
    /// The person; `None` when no name is known.
    person: Option<String>,
    fields: Fields,
    /// The seed and the values as a JSON object.
    plaintext: Vec<u8>,
}

impl Sidecar {
    /// Sorts values by their owner, and commits to each. `seed` must be random and used for this record alone.
    pub(crate) fn new(
        mut values: BTreeMap<Personal, String>,
        seed: &[u8; 32],
    ) -> (Option<Self>, BTreeMap<Personal, Digest>) {
        let mut commitments = BTreeMap::new();
        if values.is_empty() {
            return (None, commitments);
        }
        let target = values.get(&Personal::Target).cloned();
        // What nobody is named for but the target (an operator's words about them) is the target's.
        let subject = values.get(&Personal::Subject).or(target.as_ref()).cloned();
        let apart = target.is_some() && subject != target;
        let about_target = if apart {
            values.remove_entry(&Personal::Target).into_iter().collect()
        } else {
            BTreeMap::new()
        };
        let parts = [(subject, values, "subject"), (target, about_target, "target")];
        let parts = parts.into_iter().filter(|(_, values, _)| !values.is_empty());
        let parts = parts.map(|(person, values, role)| {
            // A seed that opened another part's salts would survive the erasure of its key.
            let seed = if apart {
                Digest::of(&[SEED_DOMAIN, role.as_bytes(), seed])
            } else {
                Digest::from_bytes(*seed)
            };
            for (&field, value) in &values {
                commitments.insert(field, commit(field, &Salt::derive(seed.as_bytes(), field), value));
            }
            let mut plaintext = seed.as_bytes().to_vec();
            // A map with text keys and text values always serialises, and a vector always takes it.
            let _ = serde_json::to_writer(&mut plaintext, &values);
            let person = person.filter(|name| name != ANONYMOUS);
            Part { person, fields: values.keys().fold(0, |fields, field| fields | bit(*field)), plaintext }
        });
        let sidecar = Self(parts.collect());
        (Some(sidecar), commitments)
    }

    /// About how much memory it holds, in bytes.
    pub(crate) fn weight(&self) -> usize {
        self.0.iter().map(|part| 128 + part.plaintext.len()).sum()
    }

    /// Whose data keys sealing needs, for a record of this time.
    #[cfg(any(test, feature = "ledger"))]
    pub(crate) fn owners(&self, time: Timestamp) -> impl Iterator<Item = Owner> + use<'_> {
        self.0.iter().map(move |part| part.owner(time))
    }

    /// The bytes that lie beside the record with this leaf hash and time.
    pub(crate) fn seal(
        &self,
        vault: &dyn Vault,
        leaf: Digest,
        time: Timestamp,
    ) -> Result<Vec<u8>, VaultError> {
        let mut bytes =
            Vec::with_capacity(2 + self.0.iter().map(|part| 80 + part.plaintext.len()).sum::<usize>());
        bytes.extend([VERSION, u8::try_from(self.0.len()).unwrap_or(u8::MAX)]);
        for part in &self.0 {
            let (key, sealed) = vault.seal(&part.owner(time), &aad(leaf, part.fields), &part.plaintext)?;
            let length =
                u32::try_from(sealed.len()).map_err(|_| VaultError::new("a sealed value grew too long"))?;
            bytes.push(part.fields);
            bytes.extend_from_slice(key.as_bytes());
            bytes.extend_from_slice(&length.to_le_bytes());
            bytes.extend_from_slice(&sealed);
        }
        Ok(bytes)
    }
}

impl Part {
    fn owner(&self, time: Timestamp) -> Owner {
        match &self.person {
            Some(name) => Owner::Person(name.clone()),
            None => Owner::Day(time.to_zoned(TimeZone::UTC).date()),
        }
    }
}

//! What lies sealed beside a record: its personal values, and the seeds of their salts.
//!
//! Erasing a person means destroying one key. So what a record says about its subject is sealed under the
//! subject's data key, and what it says about its target under the target's: two parts, each with a seed of
//! its own, because whoever has a seed can test guesses at every value whose salt comes from it.
//!
//! The form is that of `docs/ledger-format.md` section 3. Nothing here is covered by a signature, and nothing
//! of it is believed: a value counts if it fits the commitment in the record, and "erased" counts if the
//! vault vouches that these bytes were sealed under the key that is gone.

use std::collections::BTreeMap;

use crate::commitment::{Personal, Salt, commit};
use crate::digest::Digest;
use crate::keys::{KeyId, OpenError, Vault};
use crate::record::Record;

#[cfg(any(test, feature = "ledger", feature = "testing"))]
mod sealing;

#[cfg(any(test, feature = "ledger", feature = "testing"))]
pub(crate) use sealing::Sidecar;

/// The subject of whom nothing is known: what is recorded of it belongs to the day.
pub const ANONYMOUS: &str = "user:anonymous";

const VERSION: u8 = 1;
/// Whether a field stands in a part: one bit each, in the order of [`Personal::ALL`].
type Fields = u8;

fn bit(field: Personal) -> Fields {
    1 << (field as u8)
}

/// What is authenticated with a part: the record it belongs to, and for which fields it speaks.
fn aad(leaf: Digest, fields: Fields) -> [u8; 33] {
    let mut aad = [fields; 33];
    if let Some(front) = aad.first_chunk_mut::<32>() {
        *front = *leaf.as_bytes();
    }
    aad
}

/// One part as it lies beside a record.
struct SealedPart<'a> {
    fields: Fields,
    key: KeyId,
    bytes: &'a [u8],
}

/// Takes the sealed bytes apart; `None` when they are not in the form of the specification.
fn parts(bytes: &[u8]) -> Option<Vec<SealedPart<'_>>> {
    let (&[version, count], mut rest) = bytes.split_first_chunk::<2>()?;
    if version != VERSION || count > 2 {
        return None;
    }
    let mut parts = Vec::new();
    for _ in 0..count {
        let (&fields, after) = rest.split_first()?;
        let (key, after) = after.split_first_chunk::<16>()?;
        let (length, after) = after.split_first_chunk::<4>()?;
        let (bytes, after) = after.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
        parts.push(SealedPart { fields, key: KeyId::from_bytes(*key), bytes });
        rest = after;
    }
    rest.is_empty().then_some(parts)
}

/// The data keys under which a record's personal values are sealed, as the bytes beside it say.
pub fn key_ids(sealed: &[u8]) -> Vec<KeyId> {
    parts(sealed).unwrap_or_default().iter().map(|part| part.key).collect()
}

/// Whose data key speaks for `field` of a record, as the bytes beside it say.
pub(crate) fn key_of(sealed: &[u8], field: Personal) -> Option<KeyId> {
    let parts = parts(sealed)?;
    parts.iter().find(|part| part.fields & bit(field) != 0).map(|part| part.key)
}

/// What is known of one personal value that a record commits to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// It could be opened, and fits the commitment.
    Readable {
        /// The value.
        text: String,
        /// The salt with which it fits.
        salt: Salt,
    },
    /// The data key was destroyed on purpose.
    Erased {
        /// The key that it was sealed under.
        key: KeyId,
    },
    /// It cannot be opened, or does not fit, and nobody erased it.
    Unreadable {
        /// Why, without the value.
        why: String,
    },
}

/// The personal values of one record: each field that it commits to, and no other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Values(BTreeMap<Personal, Value>);

impl Values {
    /// What is known of this field; `None` when the record does not have it.
    pub fn get(&self, field: Personal) -> Option<&Value> {
        self.0.get(&field)
    }

    /// The text, if the record has the field and it can be read.
    pub fn text(&self, field: Personal) -> Option<&str> {
        match self.0.get(&field)? {
            Value::Readable { text, .. } => Some(text),
            Value::Erased { .. } | Value::Unreadable { .. } => None,
        }
    }

    /// Every field that the record has, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Personal, &Value)> {
        self.0.iter().map(|(field, value)| (*field, value))
    }

    /// Values that could all be read, with salts that fit nothing: for tests of whoever shows them.
    #[cfg(any(test, feature = "testing"))]
    pub fn readable(values: BTreeMap<Personal, String>) -> Self {
        let salt = Salt::from_bytes([0; 32]);
        values.into_iter().map(|(field, text)| (field, Value::Readable { text, salt })).collect()
    }

    /// Sets one value, for tests of whoever shows them.
    #[cfg(any(test, feature = "testing"))]
    pub fn set(&mut self, field: Personal, value: Value) {
        self.0.insert(field, value);
    }

    /// Opens what lies beside `record`, whose leaf hash is `leaf`.
    pub fn open(vault: &dyn Vault, record: &Record, leaf: Digest, sealed: &[u8]) -> Self {
        let unreadable = |why: &str| Value::Unreadable { why: why.to_owned() };
        let missing = unreadable("what lies beside the record does not fit it");
        let mut values: BTreeMap<_, _> =
            record.personal.keys().map(|field| (*field, missing.clone())).collect();
        for part in parts(sealed).unwrap_or_default() {
            let failed = match vault.open(part.key, &aad(leaf, part.fields), part.bytes) {
                Ok(plaintext) => {
                    values.extend(matching(&plaintext, &record.personal));
                    continue;
                }
                Err(OpenError::Erased) => Value::Erased { key: part.key },
                Err(OpenError::Unreadable(error)) => unreadable(&error.reason),
            };
            for (field, value) in &mut values {
                if part.fields & bit(*field) != 0 {
                    value.clone_from(&failed);
                }
            }
        }
        Self(values)
    }
}

impl FromIterator<(Personal, Value)> for Values {
    fn from_iter<T: IntoIterator<Item = (Personal, Value)>>(values: T) -> Self {
        Self(values.into_iter().collect())
    }
}

/// The values of an opened part that fit the record's commitments.
fn matching(plaintext: &[u8], commitments: &BTreeMap<Personal, Digest>) -> Vec<(Personal, Value)> {
    let Some((seed, json)) = plaintext.split_first_chunk::<32>() else { return Vec::new() };
    let Ok(values) = serde_json::from_slice::<BTreeMap<Personal, String>>(json) else { return Vec::new() };
    let fitting = values.into_iter().filter_map(|(field, text)| {
        let salt = Salt::derive(seed, field);
        let fits = commitments.get(&field) == Some(&commit(field, &salt, &text));
        fits.then_some((field, Value::Readable { text, salt }))
    });
    fitting.collect()
}

#[cfg(test)]
mod tests;

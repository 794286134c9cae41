//! Public keys as verifiers are given them: `name+hash+base64`.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, VerifyingKey};

use crate::digest::Digest;

/// The signature type of plain Ed25519 in the signed-note specification.
const ED25519: u8 = 0x01;

/// The longest key name, in bytes.
pub const MAX_NAME_BYTES: usize = 255;

/// A public key with the name it signs under, as in `name+hash+base64`.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    name: String,
    id: [u8; 4],
    key: VerifyingKey,
}

impl PublicKey {
    /// A key of 32 bytes under `name`. Weak keys, for which signatures prove nothing, are refused.
    pub fn new(name: &str, bytes: &[u8; 32]) -> Result<Self, KeyError> {
        check_name(name)?;
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| KeyError::NotAPoint)?;
        if key.is_weak() {
            return Err(KeyError::Weak);
        }
        Ok(Self { name: name.to_owned(), id: key_id(name, bytes), key })
    }

    /// Reads `name+hash+base64`; the hash must be that of name and key, and nothing stands around it: a key has one spelling.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(hash), Some(encoded)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(KeyError::Form);
        };
        let bytes = STANDARD.decode(encoded).map_err(|_| KeyError::Form)?;
        let (&kind, bytes) = bytes.split_first().ok_or(KeyError::Form)?;
        if kind != ED25519 {
            return Err(KeyError::Type { found: kind });
        }
        let key = Self::new(name, bytes.try_into().map_err(|_| KeyError::Form)?)?;
        if hash != const_hex::encode(key.id) {
            return Err(KeyError::Hash { found: hash.to_owned(), expected: const_hex::encode(key.id) });
        }
        Ok(key)
    }

    /// The name it signs under.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The four bytes that stand before its signatures.
    pub fn id(&self) -> [u8; 4] {
        self.id
    }

    /// The key itself.
    pub fn to_bytes(&self) -> [u8; 32] {
        self.key.to_bytes()
    }

    /// Whether `signature` over `message` is by this key, in the strict sense of RFC 8032 with small-order
    /// points refused.
    pub fn verify(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        self.key.verify_strict(message, &Signature::from_bytes(signature)).is_ok()
    }
}

impl fmt::Display for PublicKey {
    /// `name+hash+base64`, the form that verifiers take.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = vec![ED25519];
        bytes.extend_from_slice(self.key.as_bytes());
        write!(f, "{}+{}+{}", self.name, const_hex::encode(self.id), STANDARD.encode(bytes))
    }
}

impl serde::Serialize for PublicKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for PublicKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

pub(super) fn check_name(name: &str) -> Result<(), KeyError> {
    let bad = |c: char| c.is_whitespace() || c.is_control() || c == '+';
    if name.is_empty() || name.len() > MAX_NAME_BYTES || name.contains(bad) {
        return Err(KeyError::Name { name: name.to_owned() });
    }
    Ok(())
}

/// The first four bytes of SHA-256(name ‖ newline ‖ type ‖ key).
fn key_id(name: &str, key: &[u8; 32]) -> [u8; 4] {
    let [a, b, c, d, ..] = *Digest::of(&[name.as_bytes(), b"\n", &[ED25519], key]).as_bytes();
    [a, b, c, d]
}

/// Why a text is not a key that can be trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not of the form `name+hash+base64`.
    #[error("the key is not of the form name+hash+base64")]
    Form,
    /// A key name with blanks, a plus sign, or none.
    #[error(
        "{name:?} cannot be a key's name: it must be 1 to {MAX_NAME_BYTES} bytes without blanks and plus signs"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// Another signature algorithm.
    #[error("the key is of type {found:#04x}, and only Ed25519 (0x01) is read here")]
    Type {
        /// The type byte.
        found: u8,
    },
    /// Not a cosigner's key.
    #[error("the key is of type {found:#04x}, and a cosigner's is Ed25519 (0x04) or ML-DSA-44 (0x06)")]
    Cosigner {
        /// The type byte.
        found: u8,
    },
    /// The hash is not that of the name and key, so one of them was mistyped.
    #[error("the key's hash is {found}, but its name and bytes give {expected}")]
    Hash {
        /// The hash in the text.
        found: String,
        /// The hash that follows from name and key.
        expected: String,
    },
    /// Not a point of the curve.
    #[error("the key's bytes are not an Ed25519 public key")]
    NotAPoint,
    /// A key of small order: anybody can make signatures that fit it.
    #[error("the key is weak (of small order): signatures under it prove nothing")]
    Weak,
}

impl KeyError {
    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Weak => "do not use this ledger as evidence; ask its owner how this key came to be",
            Self::Hash { .. } => "copy the key again, whole, from where its owner published it",
            _ => {
                "give the ledger's public key as its owner published it, such as \
                  `example.org/ledger+1a2b3c4d+AQ…`"
            }
        }
    }
}

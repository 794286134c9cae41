//! The keys of an issuer: a JWK set (RFC 7517), of which only what can verify is kept.
//!
//! A set may hold keys for other purposes or of kinds that came later: they are passed over, each counted. What is
//! ambiguous (two keys of one algorithm under one `kid`, or without one), too weak, or holds a private part is passed over too: a key that everybody knows
//! the private half of proves nothing.

use std::fmt;
use std::str::FromStr;

use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse, ThumbprintHash,
};
use serde::{Deserialize, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use super::{Algorithm, IssuerName};
use crate::access::names::NameError;

/// Most keys in one set.
pub const MAX_KEYS: usize = 64;
/// Longest `kid`, in bytes.
const MAX_KID: usize = 256;
/// Shortest secret for HS256, in bytes (RFC 7518 section 3.2).
const MIN_SECRET: usize = 32;

/// Names one key of one issuer: the beginning of a hash of the issuer's name and the key. Shown as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyPrint([u8; 16]);

impl KeyPrint {
    fn of(issuer: &IssuerName, what: &[u8]) -> Self {
        let digest =
            Sha256::new().chain_update(issuer.as_str()).chain_update([0]).chain_update(what).finalize();
        // A digest has more than 16 bytes.
        Self(digest.as_slice().first_chunk().copied().unwrap_or_default())
    }
}

impl fmt::Display for KeyPrint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for KeyPrint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for KeyPrint {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let mut bytes = [0; 16];
        let read = hex::decode_to_slice(text, &mut bytes).ok().map(|()| Self(bytes));
        // One spelling: capitals decode too.
        read.filter(|print| print.to_string() == text)
            .ok_or_else(|| NameError::new(text, "a key's print", "it is 32 hexadecimal digits"))
    }
}

impl Serialize for KeyPrint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One key, and the one algorithm that it verifies with.
#[expect(clippy::struct_field_names, reason = "the key itself, beside what is said of it")]
pub(super) struct Key {
    pub(super) kid: Option<String>,
    pub(super) algorithm: Algorithm,
    pub(super) print: KeyPrint,
    pub(super) key: DecodingKey,
}

/// The keys with which an issuer's tokens are verified now.
#[derive(Default)]
pub struct KeySet {
    keys: Vec<Key>,
    /// How many of the set were passed over.
    pub passed_over: usize,
}

/// Why a set of keys is of no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnusableKeys {
    /// Not JSON with a list `keys`.
    #[error("it is not a JWK set")]
    NotASet,
    /// More than [`MAX_KEYS`].
    #[error("it holds {count} keys; {MAX_KEYS} is the most")]
    TooMany {
        /// How many.
        count: usize,
    },
    /// None that could verify anything.
    #[error("none of its {count} keys can be used")]
    NoneUsable {
        /// How many there were.
        count: usize,
    },
    /// A secret that could be guessed.
    #[error("the secret has {length} bytes; {MIN_SECRET} is the least")]
    ShortSecret {
        /// How many there are.
        length: usize,
    },
}

#[derive(Deserialize)]
struct RawSet {
    keys: Vec<serde_json::Value>,
}

impl KeySet {
    /// Reads a JWK set.
    ///
    /// # Errors
    ///
    /// See [`UnusableKeys`]; single keys that are no good are passed over.
    pub fn parse(issuer: &IssuerName, json: &[u8]) -> Result<Self, UnusableKeys> {
        let set: RawSet = serde_json::from_slice(json).map_err(|_| UnusableKeys::NotASet)?;
        let count = set.keys.len();
        if count > MAX_KEYS {
            return Err(UnusableKeys::TooMany { count });
        }
        let mut keys: Vec<Key> = set.keys.into_iter().filter_map(|value| usable(issuer, value)).collect();
        let names: Vec<_> = keys.iter().map(|key| (key.kid.clone(), key.algorithm)).collect();
        // Which of two a header means, nobody can tell: it names a `kid`, or none, and an algorithm.
        keys.retain(|key| {
            let same = |(kid, algorithm): &&(Option<String>, Algorithm)| {
                *kid == key.kid && *algorithm == key.algorithm
            };
            names.iter().filter(same).count() == 1
        });
        if keys.is_empty() {
            return Err(UnusableKeys::NoneUsable { count });
        }
        Ok(Self { passed_over: count - keys.len(), keys })
    }

    /// The secret of an issuer that signs with HS256.
    ///
    /// # Errors
    ///
    /// [`UnusableKeys::ShortSecret`].
    pub fn of_secret(issuer: &IssuerName, secret: &[u8]) -> Result<Self, UnusableKeys> {
        if secret.len() < MIN_SECRET {
            return Err(UnusableKeys::ShortSecret { length: secret.len() });
        }
        // Not of the secret: a print stands in records.
        let print = KeyPrint::of(issuer, b"shared secret");
        let key = DecodingKey::from_secret(secret);
        Ok(Self { keys: vec![Key { kid: None, algorithm: Algorithm::Hs256, print, key }], passed_over: 0 })
    }

    /// The key that a header's `kid` and `alg` mean. A header without `kid` means the only key of its algorithm.
    pub(super) fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> Option<&Key> {
        let mut fitting = self.keys.iter().filter(|key| key.algorithm == algorithm);
        match kid {
            // A shared secret has no name of its own.
            Some(kid) => fitting.find(|key| key.kid.as_deref() == Some(kid) || algorithm == Algorithm::Hs256),
            None => fitting.next().filter(|_| fitting.next().is_none()),
        }
    }

    /// The prints of all keys, in order.
    pub fn prints(&self) -> Vec<KeyPrint> {
        let mut prints: Vec<KeyPrint> = self.keys.iter().map(|key| key.print).collect();
        prints.sort_unstable();
        prints.dedup();
        prints
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.prints()).finish()
    }
}

fn usable(issuer: &IssuerName, value: serde_json::Value) -> Option<Key> {
    if ["d", "k", "p", "q"].into_iter().any(|private| value.get(private).is_some()) {
        return None;
    }
    let jwk: Jwk = serde_json::from_value(value).ok()?;
    let for_signing =
        jwk.common.public_key_use.as_ref().is_none_or(|purpose| *purpose == PublicKeyUse::Signature)
            && jwk.common.key_operations.as_ref().is_none_or(|all| all.contains(&KeyOperations::Verify));
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::RSA(rsa) if (2_048..=8_192).contains(&bits(&rsa.n)?) => Algorithm::Rs256,
        AlgorithmParameters::EllipticCurve(curve) if curve.curve == EllipticCurve::P256 => Algorithm::Es256,
        AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => Algorithm::EdDsa,
        _ => return None,
    };
    let said = jwk.common.key_algorithm.map(|said| said.to_string());
    if !for_signing || said.is_some_and(|said| said != algorithm.as_str()) {
        return None;
    }
    let kid = jwk.common.key_id.clone();
    if kid.as_ref().is_some_and(|kid| kid.len() > MAX_KID) {
        return None;
    }
    let key = DecodingKey::from_jwk(&jwk).ok()?;
    let thumbprint = jwk.thumbprint(ThumbprintHash::SHA256).ok()?;
    Some(Key { kid, algorithm, print: KeyPrint::of(issuer, thumbprint.as_bytes()), key })
}

/// Length of an RSA modulus.
fn bits(modulus: &str) -> Option<usize> {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(modulus).ok()?;
    let first = bytes.iter().position(|byte| *byte != 0)?;
    let top = bytes.get(first)?;
    Some((bytes.len() - first) * 8 - top.leading_zeros() as usize)
}

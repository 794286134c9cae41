//! One key of the keystore: its stored secret, and the key expanded from it.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, PqdsaKeyPair,
};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::error::{Fault, KeyError};
use crate::info::{Home, KeyInfo, created};
use crate::locked::Secret;
use crate::pq;
use crate::public::PublicKey;
use crate::role::{Algorithm, Role, Term};
use crate::wrapped::NONCE_LEN;

/// A key as it is stored.
pub(super) struct Entry {
    pub(super) role: Role,
    pub(super) term: Term,
    pub(super) id: Uuid,
    /// Ed25519, ML-DSA and AES: 32 bytes. P-256: PKCS #8 (RFC 5958).
    pub(super) secret: Secret,
}

impl Entry {
    pub(super) fn generate(role: Role, term: Term) -> Result<Self, KeyError> {
        let secret = if role.algorithm() == Algorithm::EcdsaP256 {
            let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
                .map_err(|_| KeyError::operation("make a P-256 key", Fault::new("AWS-LC refused")))?;
            Secret::copy_of(made.as_ref())?
        } else {
            Secret::random(32)?
        };
        Ok(Self { role, term, id: Uuid::now_v7(), secret })
    }
}

impl Entry {
    /// The same key for another term.
    pub(super) fn in_term(&self, term: Term) -> Result<Self, KeyError> {
        Ok(Self { role: self.role, term, id: self.id, secret: Secret::copy_of(self.secret.expose())? })
    }
}

/// A key, ready for use. What is kept is its secret, in locked memory; it is expanded for each operation.
pub(super) struct SoftKey {
    entry: Entry,
    public: Option<PublicKey>,
}

enum Expanded {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
    Pq(PqdsaKeyPair),
    Aes(LessSafeKey),
}

impl SoftKey {
    pub(super) fn new(entry: Entry) -> Result<Self, KeyError> {
        let public = match expand(&entry)? {
            Expanded::Ed25519(pair) => {
                let raw = pair.public_key().as_ref().try_into();
                Some(PublicKey::Ed25519(raw.map_err(|_| unusable("an Ed25519 key has 32 bytes"))?))
            }
            Expanded::P256(pair) => {
                let point = pair.public_key().as_ref().try_into();
                Some(PublicKey::P256(point.map_err(|_| unusable("a P-256 point has 65 bytes"))?))
            }
            Expanded::Pq(pair) => Some(pq::public(entry.role, &pair)),
            Expanded::Aes(_) => None,
        };
        Ok(Self { entry, public })
    }

    pub(super) fn entry(&self) -> &Entry {
        &self.entry
    }

    pub(super) fn public(&self) -> Option<&PublicKey> {
        self.public.as_ref()
    }

    pub(super) fn info(&self, home: Home) -> KeyInfo {
        KeyInfo {
            role: self.entry.role,
            algorithm: self.entry.role.algorithm(),
            id: self.entry.id.simple().to_string(),
            created: created(self.entry.id.as_bytes()),
            home,
            attestation: None,
            fingerprint: self.public.as_ref().map(PublicKey::fingerprint),
        }
    }

    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        match expand(&self.entry)? {
            Expanded::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            Expanded::P256(pair) => pair
                .sign(&SystemRandom::new(), message)
                .map(|signature| signature.as_ref().to_vec())
                .map_err(|_| KeyError::operation("sign with P-256", Fault::new("AWS-LC refused"))),
            Expanded::Pq(pair) => pq::sign(&pair, message),
            Expanded::Aes(_) => Err(KeyError::WrongUse { role: self.entry.role, wanted: "sign".into() }),
        }
    }

    pub(super) fn seal(
        &self,
        nonce: [u8; NONCE_LEN],
        aad: &[u8],
        secret: &[u8],
    ) -> Result<Vec<u8>, KeyError> {
        let Expanded::Aes(key) = expand(&self.entry)? else {
            return Err(KeyError::WrongUse { role: self.entry.role, wanted: "seal".into() });
        };
        let mut bytes = secret.to_vec();
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), &mut bytes)
            .map_err(|_| KeyError::operation("seal a secret", Fault::new("AWS-LC refused")))?;
        Ok(bytes)
    }

    /// `None` if it was altered or sealed for something else.
    pub(super) fn open(
        &self,
        nonce: [u8; NONCE_LEN],
        aad: &[u8],
        sealed: &[u8],
    ) -> Result<Option<Secret>, KeyError> {
        let Expanded::Aes(key) = expand(&self.entry)? else { return Ok(None) };
        let mut bytes = Zeroizing::new(sealed.to_vec());
        let nonce = Nonce::assume_unique_for_key(nonce);
        let Ok(opened) = key.open_in_place(nonce, Aad::from(aad), &mut bytes) else { return Ok(None) };
        Secret::copy_of(opened).map(Some)
    }
}

fn expand(entry: &Entry) -> Result<Expanded, KeyError> {
    let secret = entry.secret.expose();
    match entry.role.algorithm() {
        Algorithm::Ed25519 => Ed25519KeyPair::from_seed_unchecked(secret)
            .map(Expanded::Ed25519)
            .map_err(|error| unusable(error.to_string())),
        Algorithm::EcdsaP256 => EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, secret)
            .map(Expanded::P256)
            .map_err(|error| unusable(error.to_string())),
        Algorithm::MlDsa44 | Algorithm::MlDsa65 => pq::expand(entry.role, &entry.secret).map(Expanded::Pq),
        Algorithm::Aes256 => UnboundKey::new(&AES_256_GCM, secret)
            .map(|key| Expanded::Aes(LessSafeKey::new(key)))
            .map_err(|_| unusable("an AES-256 key has 32 bytes")),
    }
}

fn unusable(why: impl Into<String>) -> KeyError {
    KeyError::operation("expand a key of the keystore", Fault::new(why))
}

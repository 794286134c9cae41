//! One key of the keystore: its stored secret, and the key expanded from it.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::error::{Fault, KeyError};
use crate::info::{Home, KeyInfo, created};
use crate::pq::PqKey;
use crate::public::PublicKey;
use crate::role::{Algorithm, Role, Term};
use crate::wrapped::{self, NONCE_LEN};

/// A key as it is stored.
pub(super) struct Entry {
    pub(super) role: Role,
    pub(super) term: Term,
    pub(super) id: Uuid,
    /// Ed25519, ML-DSA and AES: 32 bytes. P-256: PKCS #8 (RFC 5958).
    pub(super) secret: Zeroizing<Vec<u8>>,
}

impl Entry {
    pub(super) fn generate(role: Role, term: Term) -> Result<Self, KeyError> {
        let secret = if role.algorithm() == Algorithm::EcdsaP256 {
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
                .map_err(|_| KeyError::operation("make a P-256 key", Fault::new("AWS-LC refused")))?
                .as_ref()
                .to_vec()
        } else {
            let mut seed = vec![0; 32];
            wrapped::random(&mut seed)?;
            seed
        };
        Ok(Self { role, term, id: Uuid::now_v7(), secret: Zeroizing::new(secret) })
    }
}

impl Entry {
    /// The same key for another term.
    pub(super) fn in_term(&self, term: Term) -> Self {
        Self { role: self.role, term, id: self.id, secret: self.secret.clone() }
    }
}

/// A key, ready for use.
pub(super) struct SoftKey {
    entry: Entry,
    expanded: Expanded,
    public: Option<PublicKey>,
}

enum Expanded {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
    Pq(PqKey),
    Aes(LessSafeKey),
}

impl SoftKey {
    pub(super) fn new(entry: Entry) -> Result<Self, KeyError> {
        let unusable = |why: String| KeyError::operation("expand a key of the keystore", Fault::new(why));
        let (expanded, public) = match entry.role.algorithm() {
            Algorithm::Ed25519 => {
                let pair = Ed25519KeyPair::from_seed_unchecked(&entry.secret)
                    .map_err(|error| unusable(error.to_string()))?;
                let raw = pair.public_key().as_ref().try_into();
                let raw = raw.map_err(|_| unusable("an Ed25519 key has 32 bytes".to_owned()))?;
                (Expanded::Ed25519(pair), Some(PublicKey::Ed25519(raw)))
            }
            Algorithm::EcdsaP256 => {
                let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &entry.secret)
                    .map_err(|error| unusable(error.to_string()))?;
                let point = pair.public_key().as_ref().try_into();
                let point = point.map_err(|_| unusable("a P-256 point has 65 bytes".to_owned()))?;
                (Expanded::P256(pair), Some(PublicKey::P256(point)))
            }
            Algorithm::MlDsa44 | Algorithm::MlDsa65 => {
                let key = PqKey::from_seed(entry.role, entry.id, &entry.secret)?;
                let public = key.public().clone();
                (Expanded::Pq(key), Some(public))
            }
            Algorithm::Aes256 => {
                let key = UnboundKey::new(&AES_256_GCM, &entry.secret)
                    .map_err(|_| unusable("an AES-256 key has 32 bytes".to_owned()))?;
                (Expanded::Aes(LessSafeKey::new(key)), None)
            }
        };
        Ok(Self { entry, expanded, public })
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
        match &self.expanded {
            Expanded::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            Expanded::P256(pair) => pair
                .sign(&SystemRandom::new(), message)
                .map(|signature| signature.as_ref().to_vec())
                .map_err(|_| KeyError::operation("sign with P-256", Fault::new("AWS-LC refused"))),
            Expanded::Pq(key) => key.sign(message),
            Expanded::Aes(_) => Err(KeyError::WrongUse { role: self.entry.role, wanted: "sign" }),
        }
    }

    pub(super) fn seal(
        &self,
        nonce: [u8; NONCE_LEN],
        aad: &[u8],
        secret: &[u8],
    ) -> Result<Vec<u8>, KeyError> {
        let Expanded::Aes(key) = &self.expanded else {
            return Err(KeyError::WrongUse { role: self.entry.role, wanted: "seal" });
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
    ) -> Option<Zeroizing<Vec<u8>>> {
        let Expanded::Aes(key) = &self.expanded else { return None };
        let mut bytes = Zeroizing::new(sealed.to_vec());
        let nonce = Nonce::assume_unique_for_key(nonce);
        let length = key.open_in_place(nonce, Aad::from(aad), &mut bytes).ok()?.len();
        bytes.truncate(length);
        Some(bytes)
    }
}

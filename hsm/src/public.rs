//! Public keys: their raw form, their `SubjectPublicKeyInfo`, and checking a signature with one.

use aws_lc_rs::digest;
use aws_lc_rs::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use rcgen::PublicKeyData;

use crate::error::KeyError;
use crate::role::Algorithm;

/// Length of an uncompressed P-256 point: 0x04 ‖ x ‖ y (SEC 1 §2.3.3).
pub(crate) const P256_POINT: usize = 65;
/// Length of an ML-DSA-44 public key (FIPS 204, table 2).
pub(crate) const ML_DSA_44_PUBLIC: usize = 1312;
/// Length of an ML-DSA-65 public key (FIPS 204, table 2).
pub(crate) const ML_DSA_65_PUBLIC: usize = 1952;

/// A public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublicKey {
    /// Ed25519, as in RFC 8032 §5.1.5.
    Ed25519([u8; 32]),
    /// P-256, as the uncompressed point 0x04 ‖ x ‖ y.
    P256([u8; P256_POINT]),
    /// ML-DSA-44, as in FIPS 204 (1,312 bytes).
    MlDsa44(Vec<u8>),
    /// ML-DSA-65, as in FIPS 204 (1,952 bytes).
    MlDsa65(Vec<u8>),
}

impl PublicKey {
    /// The key's algorithm.
    pub const fn algorithm(&self) -> Algorithm {
        match self {
            Self::Ed25519(_) => Algorithm::Ed25519,
            Self::P256(_) => Algorithm::EcdsaP256,
            Self::MlDsa44(_) => Algorithm::MlDsa44,
            Self::MlDsa65(_) => Algorithm::MlDsa65,
        }
    }

    /// A key in its raw form; `None` if its length is another's.
    pub(crate) fn from_bytes(algorithm: Algorithm, bytes: &[u8]) -> Option<Self> {
        match algorithm {
            Algorithm::Ed25519 => bytes.try_into().ok().map(Self::Ed25519),
            Algorithm::EcdsaP256 => bytes.try_into().ok().map(Self::P256),
            Algorithm::MlDsa44 if bytes.len() == ML_DSA_44_PUBLIC => Some(Self::MlDsa44(bytes.to_vec())),
            Algorithm::MlDsa65 if bytes.len() == ML_DSA_65_PUBLIC => Some(Self::MlDsa65(bytes.to_vec())),
            _ => None,
        }
    }

    /// The raw key, in the form that its variant names.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Ed25519(bytes) => bytes,
            Self::P256(point) => point,
            Self::MlDsa44(bytes) | Self::MlDsa65(bytes) => bytes,
        }
    }

    /// DER of the `SubjectPublicKeyInfo` (RFC 5280 §4.1).
    pub fn spki_der(&self) -> Vec<u8> {
        self.subject_public_key_info()
    }

    /// SHA-256 over [`PublicKey::spki_der`], in hexadecimal: the key's name in listings and records.
    pub fn fingerprint(&self) -> String {
        hex::encode(digest::digest(&digest::SHA256, &self.spki_der()))
    }

    /// Checks a signature in the form that [`Keys::sign`](crate::Keys::sign) gives.
    ///
    /// # Errors
    ///
    /// [`KeyError::BadSignature`], whatever is wrong with it.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), KeyError> {
        let algorithm: &'static dyn VerificationAlgorithm = match self {
            Self::Ed25519(_) => &signature::ED25519,
            Self::P256(_) => &signature::ECDSA_P256_SHA256_FIXED,
            Self::MlDsa44(_) => &signature::ML_DSA_44,
            Self::MlDsa65(_) => &signature::ML_DSA_65,
        };
        UnparsedPublicKey::new(algorithm, self.as_bytes())
            .verify(message, signature)
            .map_err(|_| KeyError::BadSignature)
    }
}

impl PublicKeyData for PublicKey {
    fn der_bytes(&self) -> &[u8] {
        self.as_bytes()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        match self {
            Self::Ed25519(_) => &rcgen::PKCS_ED25519,
            Self::P256(_) => &rcgen::PKCS_ECDSA_P256_SHA256,
            Self::MlDsa44(_) => &rcgen::PKCS_ML_DSA_44,
            Self::MlDsa65(_) => &rcgen::PKCS_ML_DSA_65,
        }
    }
}

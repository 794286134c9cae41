//! One particular key: what it signs is signed by it, and by no other that took its place.
//!
//! Whoever shows a public key beside a signature (a certificate, a handshake, a ledger's head) needs both to be of
//! the same key, also while that key is being replaced. A handle is of the key with one id: it signs while that key
//! waits and while it is in office, and fails when it is destroyed.

use std::sync::Arc;

use crate::error::KeyError;
use crate::info::KeyInfo;
use crate::keys::Keys;
use crate::public::PublicKey;
use crate::tls::TlsKey;

/// A key of a provider. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct KeyHandle {
    keys: Keys,
    info: Arc<KeyInfo>,
    public: Arc<PublicKey>,
}

impl KeyHandle {
    pub(crate) fn new(keys: Keys, info: KeyInfo, public: PublicKey) -> Self {
        Self { keys, info: Arc::new(info), public: Arc::new(public) }
    }

    /// What it is.
    pub fn info(&self) -> &KeyInfo {
        &self.info
    }

    /// Its public half.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs as [`Keys::sign_blocking`] does.
    pub fn sign_blocking(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        self.keys.sign_by_blocking(self.info.role, &self.info.id, message)
    }

    /// Signs as [`Keys::sign`] does.
    pub async fn sign(&self, message: Vec<u8>) -> Result<Vec<u8>, KeyError> {
        self.keys.sign_by(self.info.role, self.info.id.clone(), message).await
    }

    /// The key as rustls sees it; it signs with the one scheme of its kind, such as `ecdsa_secp256r1_sha256`.
    pub fn for_tls(&self) -> Arc<dyn rustls::sign::SigningKey> {
        Arc::new(TlsKey::new(self.clone()))
    }
}

//! What a ledger needs from the key provider, as seen from here.
//!
//! The ledger knows neither tokens nor PINs: it asks for a signature over a head, and for personal values
//! to be sealed. Both may block; both are called on the ledger's own thread only (`Vault::open` also by
//! readers).

/// Signs the ledger's heads. The key never leaves its provider.
pub trait HeadSigner: Send {
    /// The key's name in signature lines; a schema-less URL, best the ledger's origin itself.
    fn origin_key_name(&self) -> &str;
    /// The Ed25519 public key.
    fn public_key(&self) -> [u8; 32];
    /// The Ed25519 signature (RFC 8032) over `message`. May block; must have a time limit of its own.
    fn sign(&mut self, message: &[u8]) -> Result<[u8; 64], SignError>;
}

/// Cosigns the ledger's heads with ML-DSA-44, at intervals. The key never leaves its provider.
pub trait Cosigner: Send {
    /// The key's name in signature lines; best the ledger's origin itself.
    fn name(&self) -> &str;
    /// The ML-DSA-44 public key, 1,312 bytes.
    fn public_key(&self) -> &[u8];
    /// The ML-DSA-44 signature (FIPS 204, empty context) over `message`, 2,420 bytes. May block; must have a
    /// time limit of its own.
    fn sign(&mut self, message: &[u8]) -> Result<Vec<u8>, SignError>;
}

/// Seals personal values at rest, bound to the record they belong to.
pub trait Vault: Send + Sync {
    /// Encrypts and authenticates `plaintext`, and authenticates `aad` with it.
    fn seal(&self, aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, VaultError>;
    /// Gives back the plaintext if neither `aad` nor `sealed` was changed.
    fn open(&self, aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, VaultError>;
    /// A keyed hash of a personal value, by which an index finds it again; the same value always gives the same,
    /// and nobody without the key can try out values. `None` if this vault has no key for that.
    fn search_term(&self, _value: &str) -> Option<[u8; 16]> {
        None
    }
}

/// The key provider did not sign.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{reason}")]
pub struct SignError {
    /// What the provider said, for the operator.
    pub reason: String,
}

impl SignError {
    /// With the provider's own words.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }
}

/// A value could not be sealed or opened.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{reason}")]
pub struct VaultError {
    /// What went wrong, without the value.
    pub reason: String,
}

impl VaultError {
    /// With the vault's own words.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }
}

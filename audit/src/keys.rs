//! What a ledger needs from the key provider, as seen from here.
//!
//! The ledger knows neither tokens nor PINs: it asks for a signature over a head, and for personal values
//! to be sealed. Both may block. Heads are signed on the ledger's own thread only.

use std::fmt;

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

/// Seals personal values at rest, each under the data key of whom it is about.
///
/// Sealing is on the path of every record: it must be cheap while the owner's key is at hand.
pub trait Vault: Send + Sync {
    /// Whether the owner's data key is at hand, so that sealing needs neither disk nor key provider.
    fn is_ready(&self, owner: &Owner) -> bool;
    /// Has the owner's data key at hand, made and durable if there was none. May block.
    fn prepare(&self, owner: &Owner) -> Result<(), VaultError>;
    /// Encrypts and authenticates `plaintext`, and authenticates `aad` with it, under the owner's data key.
    /// The key is durable before this returns, and named in the answer. Blocks only if it is not at hand.
    fn seal(&self, owner: &Owner, aad: &[u8], plaintext: &[u8]) -> Result<(KeyId, Vec<u8>), VaultError>;
    /// Gives back the plaintext if neither key, `aad` nor `sealed` was changed. Says [`OpenError::Erased`] only
    /// of what was sealed under this very key with this `aad`: nobody may pass off damage as an erasure.
    fn open(&self, key: KeyId, aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, OpenError>;
    /// The data key that a person has now; `None` if they never had one, or it was erased. By its name, which
    /// stands beside each record, a person's records are found without opening any.
    fn key_of(&self, person: &str) -> Option<KeyId>;
}

/// Whose data key a value is sealed under.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    /// One person, such as `user:alice`.
    Person(String),
    /// Everybody whom no name is known of, on one day (UTC).
    Day(jiff::civil::Date),
}

/// The name of a data key: random, and says nothing about whose it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; 16]);

impl KeyId {
    /// The id of these bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Reads what `Display` writes, and nothing else.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 16];
        const_hex::decode_to_slice(text, &mut bytes).ok()?;
        let id = Self(bytes);
        (id.to_string() == text).then_some(id)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&const_hex::encode(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
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

/// Why a sealed value could not be opened.
#[derive(Clone, Debug, thiserror::Error)]
pub enum OpenError {
    /// Its data key was destroyed on purpose.
    #[error("its data key was erased")]
    Erased,
    /// The key is not there, the provider does not open it, or the sealed bytes were changed.
    #[error("{0}")]
    Unreadable(#[from] VaultError),
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

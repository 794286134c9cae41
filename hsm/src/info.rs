//! What is told about keys: to operators in listings, to auditors in the ledger. Never key material.

use std::fmt;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::role::{Algorithm, Role};

/// One key, as it is listed and recorded.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KeyInfo {
    /// What it is for.
    pub role: Role,
    /// What it computes.
    pub algorithm: Algorithm,
    /// Its id, in hexadecimal (`CKA_ID` in a token).
    pub id: String,
    /// When it was made, as written at that time; absent for keys that others made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
    /// Where it lives.
    pub home: Home,
    /// What the token says about it; only for keys that are in a token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attestation: Option<Attestation>,
    /// SHA-256 over the public key's `SubjectPublicKeyInfo`, in hexadecimal; absent for the KEK.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
}

/// Where a key lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Home {
    /// In the token; it cannot leave.
    Token {
        /// The token's label.
        label: String,
        /// The token's serial number.
        serial: String,
    },
    /// A seed in a file, sealed by a key in the token, opened only in zeroed memory.
    WrappedByToken {
        /// The file.
        file: PathBuf,
        /// The id of the key in the token that seals it.
        wrapping_key: String,
    },
    /// In a sealed file, opened in this process's memory.
    Software {
        /// The file.
        file: PathBuf,
    },
}

impl fmt::Display for Home {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token { label, serial } => write!(f, "token {label} (serial {serial})"),
            Self::WrappedByToken { .. } => f.write_str("file, wrapped by a key in the token"),
            Self::Software { .. } => f.write_str("SOFTWARE, sealed file (no token)"),
        }
    }
}

/// What a token says about a key; `None` where it does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attestation {
    /// `CKA_SENSITIVE`: its value cannot be read.
    pub sensitive: Option<bool>,
    /// `CKA_EXTRACTABLE`: it may be wrapped and taken out.
    pub extractable: Option<bool>,
    /// `CKA_NEVER_EXTRACTABLE`: it never could be.
    pub never_extractable: Option<bool>,
    /// `CKA_LOCAL`: it was made in the token.
    pub local: Option<bool>,
}

impl Attestation {
    /// Whether the token says that this key was made in it, and never could and cannot leave it.
    pub fn is_token_bound(self) -> bool {
        self.sensitive == Some(true)
            && self.extractable == Some(false)
            && self.never_extractable == Some(true)
            && self.local == Some(true)
    }

    /// Why this key must not be used, if so. A restored key may be not local; no key may be readable.
    pub(crate) fn weakness(self) -> Option<&'static str> {
        if self.sensitive != Some(true) {
            Some("the token does not say that it is sensitive (CKA_SENSITIVE)")
        } else if self.extractable != Some(false) {
            Some("the token does not say that it cannot be extracted (CKA_EXTRACTABLE)")
        } else {
            None
        }
    }
}

/// The provider, as it is shown in status and recorded at start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum ProviderInfo {
    /// A PKCS#11 token.
    Pkcs11 {
        /// The module's path.
        module: PathBuf,
        /// The token's label.
        token: String,
        /// The token's serial number.
        serial: String,
        /// The token's manufacturer.
        manufacturer: String,
        /// The token's model.
        model: String,
    },
    /// A sealed file.
    Software {
        /// The file.
        file: PathBuf,
    },
}

impl ProviderInfo {
    /// Whether keys live in a token. Where this is false, say so loudly.
    pub const fn is_token(&self) -> bool {
        matches!(self, Self::Pkcs11 { .. })
    }
}

impl fmt::Display for ProviderInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pkcs11 { token, serial, manufacturer, model, .. } => {
                write!(f, "PKCS#11 token {token} ({manufacturer} {model}, serial {serial})")
            }
            Self::Software { file } => write!(
                f,
                "SOFTWARE KEYSTORE {}: keys are in a sealed file, NOT in a token; whoever reads this process's memory has them",
                file.display()
            ),
        }
    }
}

/// The time inside a key id that we chose (UUID version 7, RFC 9562 §5.7); `None` for ids of others.
pub(crate) fn created(id: &[u8]) -> Option<Timestamp> {
    let id = uuid::Uuid::from_slice(id).ok()?;
    if id.get_version_num() != 7 {
        return None;
    }
    let (seconds, nanoseconds) = id.get_timestamp()?.to_unix();
    Timestamp::new(i64::try_from(seconds).ok()?, i32::try_from(nanoseconds).ok()?).ok()
}

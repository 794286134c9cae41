//! What can go wrong with keys, told so that an operator knows what to do next.
//!
//! One variant per thing that someone would do differently. [`KeyError::hint`] is the next step. No variant
//! carries a PIN, a passphrase or key material.

use std::borrow::Cow;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::role::Role;

/// The cause as the token, the disk or the library told it.
#[derive(Clone, Debug, thiserror::Error, Serialize, Deserialize)]
#[error("{0}")]
pub struct Fault(String);

impl Fault {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl From<cryptoki::error::Error> for Fault {
    fn from(error: cryptoki::error::Error) -> Self {
        match error {
            // The code alone: the binding's prose for each code quotes the standard and hides the name.
            cryptoki::error::Error::Pkcs11(code, function) => Self(format!("{function}: {code:?}")),
            other => Self(other.to_string()),
        }
    }
}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Self {
        Self(error.to_string())
    }
}

/// Why a key could not be opened, made or used.
/// It crosses the socket of a worker process as it is, so that both sides act on the same error.
#[derive(Clone, Debug, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum KeyError {
    /// There is no file at the module's path.
    #[error("PKCS#11 module {path:?} cannot be loaded")]
    ModuleMissing {
        /// The configured path.
        path: PathBuf,
        /// What the loader said.
        source: Fault,
    },
    /// The file is a library, but not a PKCS#11 module.
    #[error("{path:?} is not a PKCS#11 module")]
    NotAModule {
        /// The configured path.
        path: PathBuf,
        /// What is missing in it.
        source: Fault,
    },
    /// The module loaded, and refused to start; nearly always because it found no configuration.
    #[error("PKCS#11 module {path:?} refuses to start ({configuration})")]
    ConfigurationMissing {
        /// The module.
        path: PathBuf,
        /// What the environment says about the module's configuration file.
        configuration: String,
        /// What the module said.
        source: Fault,
    },
    /// No slot holds a token with this label.
    #[error("token {label:?} is not present (tokens found: {})", if found.is_empty() { "none".to_owned() } else { found.join(", ") })]
    TokenAbsent {
        /// The configured label.
        label: String,
        /// Labels of the tokens that are there.
        found: Vec<String>,
    },
    /// More than one token has this label, so that it names none of them.
    #[error("{count} tokens are labelled {label:?}")]
    TokenAmbiguous {
        /// The configured label.
        label: String,
        /// How many tokens have it.
        count: usize,
    },
    /// In the place of the token is another one with the same label. It is not used, nor given the PIN.
    #[error("token {label:?} is another one now: its serial number is {found}, and was {expected}")]
    TokenExchanged {
        /// The configured label.
        label: String,
        /// The serial number of the token that was opened.
        expected: String,
        /// The serial number of the token that is there.
        found: String,
    },
    /// A token with this label exists already.
    #[error("a token labelled {label:?} exists already")]
    TokenExists {
        /// The label asked for.
        label: String,
    },
    /// A token cannot be made with these values.
    #[error("a token cannot be initialised: {reason}")]
    TokenRefused {
        /// What is wrong with them.
        reason: Cow<'static, str>,
    },
    /// The token refused the PIN. It was tried once, and will not be tried again until the file changes.
    #[error("token {label:?} refused the PIN")]
    WrongPin {
        /// The token.
        label: String,
        /// The token says that one more wrong PIN locks it.
        last_try: bool,
    },
    /// The token has locked its PIN.
    #[error("the PIN of token {label:?} is locked, expired or not set")]
    PinLocked {
        /// The token.
        label: String,
        /// What the token said.
        source: Fault,
    },
    /// The file that holds the PIN cannot be used.
    #[error("PIN file {path:?} cannot be read")]
    PinFile {
        /// The configured path.
        path: PathBuf,
        /// Why.
        source: Fault,
    },
    /// The file that holds the passphrase cannot be used.
    #[error("passphrase file {path:?} cannot be read")]
    PassphraseFile {
        /// The configured path.
        path: PathBuf,
        /// Why.
        source: Fault,
    },
    /// The keystore does not open with this passphrase.
    #[error("keystore {path:?} does not open: the passphrase is wrong, or the file was altered")]
    WrongPassphrase {
        /// The keystore.
        path: PathBuf,
    },
    /// A file in the key directory is not what it should be.
    #[error("key file {path:?} is unusable")]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Fault,
    },
    /// A file or directory could not be read or written.
    #[error("cannot {action} {path:?}")]
    Storage {
        /// What was tried: "read", "write", "create".
        action: Cow<'static, str>,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: Fault,
    },
    /// There is no key for this role.
    #[error("there is no {role} key in {place}")]
    KeyMissing {
        /// The role.
        role: Role,
        /// Where it was looked for.
        place: String,
    },
    /// The token that holds this key no longer offers what it is used with. Nothing stands in for it.
    #[error("the {role} key is in {place}, which no longer offers its algorithm")]
    AbilityLost {
        /// The role.
        role: Role,
        /// Where it lives.
        place: String,
    },
    /// The token holds a key that it would give away, or that is not what it seems.
    #[error("the {role} key in {place} must not be used: {weakness}")]
    WeakKey {
        /// The role.
        role: Role,
        /// Where it lives.
        place: String,
        /// What is wrong with it.
        weakness: Cow<'static, str>,
    },
    /// This role's key does not do that.
    #[error("the {role} key cannot {wanted}")]
    WrongUse {
        /// The role.
        role: Role,
        /// What was asked for: "sign", "show a public key".
        wanted: Cow<'static, str>,
    },
    /// The key that was to take a role's place is not there.
    #[error("no new {role} key waits in the provider")]
    NoSuccessor {
        /// The role.
        role: Role,
    },
    /// The provider failed at an operation.
    #[error("cannot {action}")]
    Operation {
        /// What was tried.
        action: Cow<'static, str>,
        /// What the provider said.
        source: Fault,
    },
    /// The provider did not answer in time.
    #[error("the key provider did not answer within {} ms", after.as_millis())]
    TimedOut {
        /// How long was waited.
        after: Duration,
    },
    /// A call into the provider does not end, and others wait for it.
    #[error("a call into the key provider does not end")]
    Stuck,
    /// The provider is down; recovery goes on by itself.
    #[error("the key provider is down since {since}: {reason}")]
    Down {
        /// Since when.
        since: Timestamp,
        /// What was seen.
        reason: String,
    },
    /// More operations wait than the provider can serve in time.
    #[error("too many operations wait for the key provider")]
    Busy,
    /// The keys were closed.
    #[error("the key provider is closed")]
    Closed,
    /// Sealed bytes were altered, or belong to another key, purpose or context.
    #[error("{what} does not open: it was altered, or sealed for another key or purpose")]
    NotAuthentic {
        /// What was to be opened.
        what: Cow<'static, str>,
    },
    /// A key has sealed as many messages as is safe with random nonces.
    #[error("the data key has sealed 2^32 messages and must be replaced")]
    Exhausted,
    /// A certificate could not be made or used.
    #[error("certificate: {reason}")]
    Certificate {
        /// Why.
        reason: String,
    },
    /// A signature does not verify.
    #[error("the signature does not verify")]
    BadSignature,
}

impl KeyError {
    pub(crate) fn operation(action: &'static str, source: impl Into<Fault>) -> Self {
        Self::Operation { action: action.into(), source: source.into() }
    }

    /// What to do next.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::ModuleMissing { .. } => {
                "install the token's PKCS#11 module (Debian: apt install softhsm2), or correct the module path in the configuration"
            }
            Self::NotAModule { .. } => "name the vendor's PKCS#11 library (SoftHSM: libsofthsm2.so)",
            Self::ConfigurationMissing { .. } => {
                "set SOFTHSM2_CONF (or the vendor's variable) before starting, to a readable file whose token directory exists"
            }
            Self::TokenAbsent { .. } => "insert the token, or correct the token label in the configuration",
            Self::TokenAmbiguous { .. } => "give each token a label of its own",
            Self::TokenExchanged { .. } => "put the first token back, or restart to use the other one",
            Self::TokenExists { .. } => "use the existing token, or choose another label",
            Self::TokenRefused { .. } => {
                "labels have 1 to 32 bytes, PINs 4 to 255; SoftHSM always has a free slot"
            }
            Self::WrongPin { last_try: true, .. } => {
                "stop: one more wrong PIN locks the token; ask its owner before correcting the PIN file"
            }
            Self::WrongPin { .. } => {
                "correct the PIN file; the PIN is not tried again until that file changes"
            }
            Self::PinLocked { .. } => "have the token's security officer unlock or set the user PIN",
            Self::PinFile { .. } => {
                "put the user PIN, alone, into that file, readable by this user only (mode 0600)"
            }
            Self::PassphraseFile { .. } => {
                "put the passphrase, alone, into that file, readable by this user only (mode 0600)"
            }
            Self::WrongPassphrase { .. } => {
                "check the passphrase file; if it is right, restore the keystore from a backup"
            }
            Self::KeyFile { .. } => {
                "restore the file from a backup; it is only good with the token that sealed it"
            }
            Self::Storage { .. } => "check that the directory exists, has room, and belongs to this user",
            Self::KeyMissing { .. } => {
                "create the missing keys (the gateway's `init` does), or check that this is the right token"
            }
            Self::AbilityLost { .. } => {
                "bring back the token's post-quantum mechanisms (its firmware, licence or module); `sallyportd keys probe` tries them"
            }
            Self::WeakKey { .. } => {
                "remove that key and create it in the token, where it is sensitive and not extractable"
            }
            Self::WrongUse { .. } => "use a key whose role allows it",
            Self::NoSuccessor { .. } => "begin the rotation again: it makes the new key first",
            Self::Operation { .. } => "see the token's own log; the operation was not done",
            Self::TimedOut { .. } | Self::Busy => {
                "try again; if it goes on, the token is too slow or is stuck: see its status"
            }
            Self::Stuck => {
                "see whether the token and the way to it are well; if its module stays stuck, restart this program"
            }
            Self::Down { .. } => {
                "bring the token back: recovery is automatic and needs no restart, but a wrong PIN is corrected by you"
            }
            Self::Closed => "start the program again",
            Self::NotAuthentic { .. } => {
                "restore the stored bytes from a backup; they open only with the key that sealed them"
            }
            Self::Exhausted => "make a new data key",
            Self::Certificate { .. } => "check the certificate file and the names and dates asked for",
            Self::BadSignature => "do not trust the signed data; check which key should have signed it",
        }
    }

    /// Whether this may mean that the token, and not this one request, is in trouble.
    pub(crate) const fn is_fault(&self) -> bool {
        matches!(
            self,
            Self::Operation { .. }
                | Self::Stuck
                | Self::KeyMissing { .. }
                | Self::AbilityLost { .. }
                | Self::TokenAbsent { .. }
                | Self::TokenAmbiguous { .. }
                | Self::TokenExchanged { .. }
                | Self::ConfigurationMissing { .. }
        )
    }
}

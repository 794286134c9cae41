//! Why a head is not believed, in sentences.

use jiff::Timestamp;

use super::DELEGATE_SUFFIX;
use crate::note::{NoteError, PublicKey};

/// A key in sentences: name and hash.
pub(super) fn name(key: &PublicKey) -> String {
    format!("{}+{}", key.name(), const_hex::encode(key.id()))
}

/// Why a head is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Not by a key that may sign, or falsely.
    #[error("{0}")]
    Signature(#[from] NoteError),
    /// By a key that was replaced.
    #[error("it is signed by {key}, which was retired after {until} records")]
    Retired {
        /// Name and hash.
        key: String,
        /// How many records there were.
        until: u64,
    },
    /// A rotation needs both hands.
    #[error("it replaces the ledger's key, and {key} has not signed it: the old and the new key both must")]
    RotationHalfSigned {
        /// Name and hash.
        key: String,
    },
    /// The rotation is not about the key in office.
    #[error("it replaces {named}, but the ledger's key is {office}")]
    RotationOfAnother {
        /// Name and hash.
        named: String,
        /// Name and hash.
        office: String,
    },
    /// A key comes back.
    #[error("it makes {key} the ledger's key again: a key has one term of office")]
    Reused {
        /// Name and hash.
        key: String,
    },
    /// A delegated key lends on.
    #[error("it delegates signing, and the ledger's own key has not signed it")]
    DelegationNotOwn,
    /// A delegated key declares records as missing.
    #[error("it begins a new epoch, and the ledger's own key has not signed it")]
    ResumedNotOwn,
    /// A delegated key must be recognised by its name.
    #[error(
        "it delegates signing to {key}, whose name is not the ledger key's with `{DELEGATE_SUFFIX}` behind it"
    )]
    DelegateName {
        /// Name and hash.
        key: String,
    },
    /// After the end of a delegation.
    #[error("it is signed by the delegated key {key} after its end at {not_after}")]
    Expired {
        /// Name and hash.
        key: String,
        /// The end.
        not_after: Timestamp,
    },
    /// More heads than were allowed.
    #[error("it is one head more than the delegated key {key} may sign")]
    Overused {
        /// Name and hash.
        key: String,
    },
    /// A record about keys that no honest writer writes.
    #[error("{0}")]
    Fault(&'static str),
}

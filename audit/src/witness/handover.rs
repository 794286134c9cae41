//! A witness is shown that a ledger which it knows goes on under another key.
//!
//! The protocol has no way to say so, and a witness trusts nobody's word: it is shown the record that names the new key,
//! under the very head that closes its group, which the old and the new key must both have signed. That head is all that a
//! verifier of the whole ledger goes by, too.

use crate::note::{NoteError, PublicKey};
use crate::proof::{Proof, ProofError};
use crate::signers::Rotation;

/// Why no key is followed.
#[derive(Debug, thiserror::Error)]
pub enum NotFollowed {
    /// The proof does not hold.
    #[error("{0}")]
    Proof(#[from] ProofError),
    /// It is about something else.
    #[error("the record that it proves does not hand the ledger over to another key")]
    OtherRecord,
    /// The record names other keys than the ledger's.
    #[error("the record hands over from {old}, which is not a key that was given")]
    OtherKey {
        /// The key that it names.
        old: String,
    },
    /// The new key is not the ledger's by its name.
    #[error("the new key is called {name:?}, and the ledger is {origin:?}")]
    OtherName {
        /// Its name.
        name: String,
        /// The ledger's.
        origin: String,
    },
    /// Proved under a later head, on which the old key says nothing any more.
    #[error(
        "it is proved under a head over {size} records, and not under the one that closes the handover, over {closing}"
    )]
    OtherHead {
        /// The head's.
        size: u64,
        /// What it should be.
        closing: u64,
    },
    /// One of the two has not signed.
    #[error("the head is not signed by both keys: {0}")]
    HalfSigned(NoteError),
}

impl NotFollowed {
    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Proof(error) => error.hint(),
            Self::OtherRecord | Self::OtherHead { .. } => {
                "ask the ledger's owner for `auditctl prove SEQ --closing` of the record key.rotated"
            }
            Self::OtherKey { .. } => {
                "follow the handovers in their order, each from the key that the one before named"
            }
            Self::OtherName { .. } | Self::HalfSigned(_) => {
                "do not take this key; ask the ledger's owner, by another way, what happened"
            }
        }
    }
}

/// The key that follows one of `keys`, which sign a ledger that is watched.
///
/// # Errors
///
/// Whatever is missing between the two.
pub fn follow(proof: &Proof, keys: &[PublicKey]) -> Result<PublicKey, NotFollowed> {
    let shown = proof.check(None, keys)?;
    let Rotation { old, new } = Rotation::of(&shown.record).ok_or(NotFollowed::OtherRecord)?;
    if !keys.contains(&old) {
        return Err(NotFollowed::OtherKey { old: old.to_string() });
    }
    let (origin, _) = crate::epoch::split(&shown.checkpoint.origin);
    if new.name() != origin || old.name() != origin {
        return Err(NotFollowed::OtherName { name: new.name().to_owned(), origin: origin.to_owned() });
    }
    let (size, closing) = (shown.checkpoint.size, shown.record.seq.next().get());
    if size != closing {
        return Err(NotFollowed::OtherHead { size, closing });
    }
    for key in [&old, &new] {
        shown.note.verify(key).map_err(NotFollowed::HalfSigned)?;
    }
    Ok(new)
}

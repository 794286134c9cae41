//! Which keys may sign the next head.
//!
//! Trusted: the keys that the auditor brings along, and nothing that the ledger says of itself.

use crate::note::{PublicKey, SignedNote};

/// The keys whose signature on the next head counts.
pub(super) struct Signers<'a> {
    keys: &'a [PublicKey],
}

impl<'a> Signers<'a> {
    /// The keys that the auditor brought along.
    pub(super) fn trusting(keys: &'a [PublicKey]) -> Self {
        Self { keys }
    }

    /// Whether the head over the records that were read up to now is signed as it must be; an error says
    /// what is wrong. Called for each head in order, after all records under it were read.
    pub(super) fn check(&self, head: &SignedNote) -> Result<(), String> {
        signed_by_any(head, self.keys)
    }

    /// Whether nobody is trusted, so that a signature that holds shows nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

/// Whether a note is signed by one of `keys` and by none of them falsely. Without keys everything goes; the
/// verdict then says that authenticity was not evaluated.
pub(in crate::verify) fn signed_by_any(note: &SignedNote, keys: &[PublicKey]) -> Result<(), String> {
    note.verify_any(keys).map_err(|error| error.to_string())
}

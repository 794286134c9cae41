//! The head file: the second place that knows how long the ledger is, and by whom it was signed.
//!
//! Not trusted: it is compared with the journal, and whoever signed it must be one who could.

use super::CaughtUp;
use crate::checkpoint::Checkpoint;
use crate::epoch;
use crate::journal::Files;
use crate::journal::head::{self, HeadFile};
use crate::ledger::{LedgerError, LedgerOptions};
use crate::note::{NoteError, PublicKey, SignedNote};
use crate::record::Seq;

/// What the head file says.
pub(in crate::ledger) enum Known {
    /// Neither head file nor journal: a new ledger.
    Nothing,
    /// A head file into which nothing was written yet.
    Blank,
    /// The last head that was noted.
    Head { checkpoint: Checkpoint, note: SignedNote, slot: usize },
}

pub(super) fn read_head(files: &Files, options: &LedgerOptions) -> Result<Known, LedgerError> {
    let path = files.head();
    let bytes = files.read_head().map_err(|error| LedgerError::io("read", &path, error))?;
    let segments = files.segments().map_err(|error| LedgerError::io("list", files.journal(), error))?;
    let Some(bytes) = bytes else {
        return if segments.is_empty() {
            Ok(Known::Nothing)
        } else {
            Err(LedgerError::LostHead { path, state: "missing" })
        };
    };
    match head::read(&bytes) {
        HeadFile::Blank => Ok(Known::Blank),
        // The very first start was interrupted while the head file was made.
        HeadFile::Damaged if segments.is_empty() => Ok(Known::Blank),
        HeadFile::Damaged => Err(LedgerError::LostHead { path, state: "unreadable" }),
        HeadFile::Head { checkpoint, note, slot } => {
            if epoch::split(&checkpoint.origin).0 != options.origin {
                return Err(LedgerError::ForeignOrigin {
                    directory: files.directory().to_owned(),
                    found: checkpoint.origin,
                    expected: options.origin.clone(),
                });
            }
            // By whom it must be signed is known when the journal was read.
            Ok(Known::Head { checkpoint, note, slot })
        }
    }
}

/// The last signature vouches for every record, so it must be right, and be made by or for our own key.
pub(super) fn check_heads(
    files: &Files,
    CaughtUp { replayed, known_is_there, checked_from, .. }: &CaughtUp,
    known: &Known,
    key: &PublicKey,
) -> Result<(), LedgerError> {
    let foreign = |found: String| LedgerError::ForeignKey {
        directory: files.directory().to_owned(),
        found,
        expected: key.to_string(),
    };
    let signed =
        |size, note: &SignedNote| replayed.signers.statement(size, note).map_err(|_| foreign(note.signers()));
    if let Some(office) = replayed.signers.own().last().filter(|office| office.key != *key) {
        return Err(foreign(office.key.to_string()));
    }
    let last = SignedNote::parse(&replayed.note);
    if let Known::Head { checkpoint, note, .. } = known {
        if !known_is_there {
            signed(checkpoint.size, note)?;
        }
        // When a ledger is closed its own key signs the head once more, beside the journal. The two were compared; who
        // was lent to before reading began, and signs in the journal, need not be found then.
        let covers_all = checkpoint.size == replayed.chain.size() && note.verify(key).is_ok();
        if covers_all && *checked_from > Seq::ZERO && replayed.signers.knows_no_loan() {
            return last.map_or(Ok(()), |last| match last.verify(key) {
                Ok(()) | Err(NoteError::OtherKey { .. }) => Ok(()),
                Err(_) => Err(foreign(last.signers())),
            });
        }
    }
    match last {
        Ok(note) => signed(replayed.chain.size(), &note),
        Err(_) => Ok(()), // There is no group yet; every group's head was parsed when it was read.
    }
}

//! The head file: the last signed head, kept a second time and apart.
//!
//! A journal cannot show that its own end was cut off. The head file says how far it had come. Two slots
//! are written in turn: the one which is being written is never the one that was last made durable, so a
//! power cut in the middle of a write leaves a head that can be read.
//!
//! Whoever can write both files can put both back together; only a checkpoint on another machine shows
//! that. The head file catches restored backups, half-copied directories, and clumsy hands.

use super::frame::{self, Frame, FrameKind};
use crate::checkpoint::Checkpoint;
use crate::note::SignedNote;

/// The room for one slot, in bytes.
pub const SLOT_BYTES: usize = 4096;

/// The length of a head file, in bytes.
pub const FILE_BYTES: usize = 2 * SLOT_BYTES;

/// One slot, padded with zeros to its full room. `None` when the note is too long for it.
pub fn slot(note: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(SLOT_BYTES);
    frame::open(&mut bytes);
    bytes.extend_from_slice(note.as_bytes());
    frame::close(FrameKind::Head, &mut bytes)?;
    if bytes.len() > SLOT_BYTES {
        return None;
    }
    bytes.resize(SLOT_BYTES, 0);
    Some(bytes)
}

/// What a head file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeadFile {
    /// Made, and no head written yet.
    Blank,
    /// The head with the most records.
    Head {
        /// What it states. Not yet checked against a key.
        checkpoint: Checkpoint,
        /// The note it stands in.
        note: SignedNote,
        /// Which of the two slots it is in.
        slot: usize,
    },
    /// Neither slot can be read.
    Damaged,
}

/// Reads a head file; the slot with the larger ledger counts.
pub fn read(file: &[u8]) -> HeadFile {
    if file.len() == FILE_BYTES && file.iter().all(|&byte| byte == 0) {
        return HeadFile::Blank;
    }
    let slots = file.chunks(SLOT_BYTES).take(2).enumerate();
    slots
        .filter_map(|(slot, bytes)| {
            let frame = Frame::read(bytes, 0).ok()??;
            let text = std::str::from_utf8(frame.body()).ok()?;
            let padding = bytes.get(frame.bytes.len()..)?;
            if !frame.sound || frame.kind != FrameKind::Head || padding.iter().any(|&byte| byte != 0) {
                return None;
            }
            let (checkpoint, note) = Checkpoint::from_note(text).ok()?;
            Some(HeadFile::Head { checkpoint, note, slot })
        })
        .max_by_key(|head| match head {
            HeadFile::Head { checkpoint, .. } => checkpoint.size,
            HeadFile::Blank | HeadFile::Damaged => 0,
        })
        .unwrap_or(HeadFile::Damaged)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::SoftwareSigner;

    fn file(first: u64, second: u64) -> Vec<u8> {
        let signer = SoftwareSigner::new("example.org/ledger", [1; 32]);
        let note = |size| {
            signer
                .sign_checkpoint(&Checkpoint {
                    origin: "example.org/ledger".to_owned(),
                    size,
                    root: crate::Digest::ZERO,
                })
                .to_string()
        };
        [slot(&note(first)).unwrap(), slot(&note(second)).unwrap()].concat()
    }

    fn size(file: &[u8]) -> u64 {
        match read(file) {
            HeadFile::Head { checkpoint, .. } => checkpoint.size,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_larger_head_counts_whichever_slot_it_is_in() {
        assert_eq!(size(&file(7, 9)), 9);
        assert_eq!(size(&file(9, 7)), 9);
    }

    #[test]
    fn a_slot_changed_anywhere_leaves_the_other_one() {
        let whole = file(7, 9);
        for at in SLOT_BYTES..FILE_BYTES {
            let mut torn = whole.clone();
            torn[at] ^= 0xff;
            assert_eq!(size(&torn), 7, "byte {at}");
        }
    }

    #[test]
    fn a_new_file_is_blank_and_a_file_of_anything_else_is_damaged() {
        assert_eq!(read(&[0; FILE_BYTES]), HeadFile::Blank);
        assert_eq!(read(&[1; FILE_BYTES]), HeadFile::Damaged);
        assert_eq!(read(&[]), HeadFile::Damaged);
        assert_eq!(read(&[0; 9]), HeadFile::Damaged);
    }

    #[test]
    fn a_note_that_does_not_fit_is_refused() {
        assert!(slot(&"x".repeat(SLOT_BYTES)).is_none());
    }
}

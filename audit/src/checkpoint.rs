//! What a head says: this ledger has so many records, and this root (c2sp.org/tlog-checkpoint 1.0.0).
//!
//! Three lines: origin, size, base64 of the root. Extension lines are allowed by the specification and
//! discouraged there; this ledger never writes them and refuses them, so that all that is signed is also
//! checked.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::digest::Digest;
use crate::note::{NoteError, PublicKey, SignedNote};

/// The longest origin, in bytes.
pub const MAX_ORIGIN_BYTES: usize = 255;

/// A statement about a ledger of some size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which ledger, such as `sallyport.example/ledger`.
    pub origin: String,
    /// How many records it has.
    pub size: u64,
    /// The RFC 6962 root over their leaf hashes.
    pub root: Digest,
}

impl Checkpoint {
    /// The text that is signed.
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root.as_bytes()))
    }

    /// Reads the text of a note.
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let mut lines = text.strip_suffix('\n').ok_or(CheckpointError::Form)?.split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(CheckpointError::Form);
        };
        if lines.next().is_some() {
            return Err(CheckpointError::Extension);
        }
        check_origin(origin)?;
        let number: u64 = size.parse().map_err(|_| CheckpointError::Form)?;
        let root: [u8; 32] = STANDARD
            .decode(root)
            .map_err(|_| CheckpointError::Form)?
            .try_into()
            .map_err(|_| CheckpointError::Form)?;
        let checkpoint = Self { origin: origin.to_owned(), size: number, root: Digest::from_bytes(root) };
        // One spelling: no plus sign or leading zero in the size, no other base64.
        if checkpoint.text() == text { Ok(checkpoint) } else { Err(CheckpointError::Form) }
    }

    /// Reads a whole signed note, without deciding whom to trust.
    pub fn from_note(note: &str) -> Result<(Self, SignedNote), CheckpointError> {
        let note = SignedNote::parse(note)?;
        Ok((Self::parse(note.text())?, note))
    }

    /// Reads a whole signed note and checks that `key` signed it.
    pub fn from_signed(note: &str, key: &PublicKey) -> Result<Self, CheckpointError> {
        let (checkpoint, note) = Self::from_note(note)?;
        note.verify(key)?;
        Ok(checkpoint)
    }
}

/// Whether a text can be an origin: one non-empty line.
pub fn check_origin(origin: &str) -> Result<(), CheckpointError> {
    if origin.is_empty() || origin.len() > MAX_ORIGIN_BYTES || origin.contains(char::is_control) {
        return Err(CheckpointError::Origin);
    }
    Ok(())
}

/// Why a note is not a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// Not three lines of origin, size and root.
    #[error("it is not a checkpoint: its text must be an origin, a size and a base64 root hash, a line each")]
    Form,
    /// An origin that cannot be.
    #[error("a ledger's origin must be one line of 1 to {MAX_ORIGIN_BYTES} bytes without control characters")]
    Origin,
    /// More lines than three.
    #[error("the checkpoint has extension lines, which this ledger never writes")]
    Extension,
    /// The name of a later epoch, where that of the ledger is wanted.
    #[error("a name that ends in `#` and a number is that of a later epoch of a ledger")]
    Epoch,
    /// The note around it is not right.
    #[error(transparent)]
    Note(#[from] NoteError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_reads_back_from_its_text() {
        let checkpoint =
            Checkpoint { origin: "example.org/ledger".to_owned(), size: 20, root: Digest::leaf(b"r") };
        assert_eq!(Checkpoint::parse(&checkpoint.text()), Ok(checkpoint));
    }

    #[test]
    fn the_example_of_the_specification_is_read() {
        let text = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
        assert_eq!(Checkpoint::parse(text).unwrap().size, 20_852_163);
    }

    #[test]
    fn other_spellings_and_extension_lines_are_refused() {
        let good = Checkpoint { origin: "o".to_owned(), size: 7, root: Digest::ZERO }.text();
        for bad in [
            good.replace("\n7\n", "\n07\n"),
            good.replace("\n7\n", "\n+7\n"),
            good.replace("\n7\n", "\n-7\n"),
            good.replace("o\n", "\n"),
            good.replace('=', ""),
            good.trim_end().to_owned(),
            format!("{good}extension\n"),
            String::new(),
        ] {
            assert!(Checkpoint::parse(&bad).is_err(), "{bad:?}");
        }
        assert_eq!(Checkpoint::parse(&format!("{good}x\n")), Err(CheckpointError::Extension));
    }
}

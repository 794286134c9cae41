//! Reads a segment one frame at a time, so that a scrub never holds a whole segment in memory.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use crate::journal::frame::FRONT_BYTES;
use crate::journal::{Frame, FrameFault, FrameKind};

/// The frames of one segment file, in order.
pub(super) struct Frames {
    file: io::BufReader<File>,
    /// Where the next frame begins.
    pub(super) offset: u64,
}

/// Why the next frame could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    /// The system said so: an error of the disk, as a rule.
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    /// There is no frame.
    #[error("{0}")]
    Frame(#[from] FrameFault),
    /// What stands there is not what was written.
    #[error("its checksum is wrong")]
    Checksum,
}

impl Frames {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { file: io::BufReader::new(File::open(path)?), offset: 0 })
    }

    /// The next frame; `None` at the very end.
    pub(super) fn next(&mut self) -> Result<Option<(FrameKind, Vec<u8>)>, Unreadable> {
        let mut bytes = Vec::with_capacity(FRONT_BYTES);
        self.file.by_ref().take(FRONT_BYTES as u64).read_to_end(&mut bytes)?;
        // The front alone: it is sound, and so its length can be believed, if only the body is found missing.
        match Frame::read(&bytes, 0) {
            Ok(None) => return Ok(None),
            Ok(Some(_)) | Err(FrameFault::Unfinished { .. }) => {}
            Err(fault) => return Err(fault.into()),
        }
        let length = bytes.get(4..8).and_then(|length| length.try_into().ok()).map(u32::from_le_bytes);
        let length = u64::from(length.unwrap_or_default());
        self.file.by_ref().take(length).read_to_end(&mut bytes)?;
        match Frame::read(&bytes, 0)? {
            Some(frame) if frame.sound => {
                let kind = frame.kind;
                self.offset += bytes.len() as u64;
                Ok(Some((kind, bytes)))
            }
            _ => Err(Unreadable::Checksum),
        }
    }
}

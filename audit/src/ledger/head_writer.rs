//! Keeps the last signed head in a file of its own; see [`crate::journal::head`].

use std::io;
use std::path::Path;

use super::LedgerError;
use crate::disk::{Disk, DiskFile};
use crate::journal::head::{FILE_BYTES, SLOT_BYTES, slot};

/// Writes heads into two slots in turn.
pub(super) struct HeadWriter {
    file: Box<dyn DiskFile>,
    /// The slot that may be torn by a power cut: never the one that was last made durable.
    active: u64,
    dirty: bool,
}

impl HeadWriter {
    /// Makes a blank head file, durable before the first segment is.
    pub(super) fn create(disk: &dyn Disk, path: &Path, directory: &Path) -> Result<Self, LedgerError> {
        let make = || -> io::Result<Self> {
            let mut file = disk.create(path)?;
            file.write_at(&[0; FILE_BYTES], 0)?;
            file.sync()?;
            disk.sync_directory(directory)?;
            Ok(Self { file, active: 0, dirty: false })
        };
        make().map_err(|error| LedgerError::io("make the head file", path, error))
    }

    /// Goes on after a head that was read from slot `current`, if any was.
    pub(super) fn open(disk: &dyn Disk, path: &Path, current: Option<usize>) -> Result<Self, LedgerError> {
        let make = || -> io::Result<Self> {
            let mut file = disk.open(path)?;
            file.set_len(FILE_BYTES as u64)?;
            file.sync()?;
            Ok(Self { file, active: u64::from(current == Some(0)), dirty: false })
        };
        make().map_err(|error| LedgerError::io("write to the head file", path, error))
    }

    /// Puts the head that was last acknowledged into both slots of the file, as it is found on the disk now.
    pub(super) fn restore(&self, disk: &dyn Disk, path: &Path, note: &str) -> Result<Self, LedgerError> {
        let make = || -> io::Result<Self> {
            let mut restored = Self { file: disk.open(path)?, active: self.active, dirty: false };
            restored.file.set_len(FILE_BYTES as u64)?;
            // The slot first of which nobody knows what it holds: meanwhile the other one has an earlier head.
            for _ in 0..2 {
                restored.write(note)?;
                restored.sync()?;
            }
            Ok(restored)
        };
        make().map_err(|error| LedgerError::io("write to the head file", path, error))
    }

    /// Notes a head; it survives the end of this process, and a power cut after [`HeadWriter::sync`].
    pub(super) fn write(&mut self, note: &str) -> io::Result<()> {
        let slot =
            slot(note).ok_or_else(|| io::Error::other("the signed head is too long for the head file"))?;
        self.file.write_at(&slot, self.active * SLOT_BYTES as u64)?;
        self.dirty = true;
        Ok(())
    }

    /// Makes the head durable, and turns to the other slot.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.dirty) {
            self.file.sync()?;
            self.active ^= 1;
        }
        Ok(())
    }
}

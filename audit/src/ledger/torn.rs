//! Sets the unfinished end of a journal aside: nothing is thrown away.
//!
//! Such an end was never acknowledged, so it is not part of the ledger; but it is evidence of what was under
//! way when the machine stopped. Its bytes are copied and made durable before the segment is cut.

use std::io;
use std::path::{Path, PathBuf};

use super::replay::Torn;
use super::{LedgerError, TornTail};
use crate::disk::Disk;
use crate::journal::Files;

/// How many set-aside ends of one place are kept apart before opening gives up.
const MAX_COPIES: u32 = 1000;

fn copy(disk: &dyn Disk, file: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut copy = disk.create(file)?;
    copy.write_at(bytes, 0)?;
    copy.sync()
}

/// Copies the torn bytes away and cuts the segment; a segment without a header is moved as a whole.
pub(super) fn set_aside(disk: &dyn Disk, files: &Files, torn: &Torn) -> Result<TornTail, LedgerError> {
    let name = torn.segment.name();
    let free = |copy: u32| -> PathBuf {
        let number = if copy == 0 { String::new() } else { format!(".{copy}") };
        files.journal().join(format!("{name}.{}{number}.torn", torn.offset))
    };
    let file = (0..MAX_COPIES).map(free).find(|path| !path.exists());
    let file = file.ok_or_else(|| {
        let full = io::Error::other("there are too many set-aside ends already");
        LedgerError::io("set the unfinished end aside in", files.journal(), full)
    })?;
    let act = || -> io::Result<()> {
        if torn.offset == 0 {
            disk.rename(&torn.segment.path, &file)?;
        } else {
            // A copy that is not whole would only take room, at every attempt on a full disk.
            copy(disk, &file, &torn.bytes).inspect_err(|_| drop(disk.remove(&file)))?;
            disk.sync_directory(&files.journal())?;
            let mut segment = disk.open(&torn.segment.path)?;
            segment.set_len(torn.offset as u64)?;
            segment.sync()?;
        }
        disk.sync_directory(&files.journal())
    };
    act().map_err(|error| LedgerError::io("set the unfinished end aside as", &file, error))?;
    Ok(TornTail { file, bytes: torn.bytes.len() as u64 })
}

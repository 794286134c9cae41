//! The ground that a ledger stands on: its directory, its lock, and what a killed process left unsynced.
//!
//! A power cut must not take away the names of files in which acknowledged records stand, and no two gateways may
//! write one ledger.

use std::fs::{File, TryLockError};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::Duration;

use crate::disk::Disk;
use crate::journal::Files;
use crate::ledger::LedgerError;

/// A lock outlives who held it for a moment: in a child that has not begun its own program yet, or in a process that is
/// being ended. Half a second tells that from another gateway.
const LOCK_TRIES: u32 = 50;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// Makes the ledger's directory, and its name durable: a power cut must not take the whole ledger away with it.
pub(super) fn make_directory(disk: &dyn Disk, files: &Files) -> Result<(), LedgerError> {
    let directory = files.directory();
    let is_missing = |path: &&Path| !path.as_os_str().is_empty() && !path.exists();
    let missing: Vec<_> = directory.ancestors().take_while(is_missing).collect();
    let make = || {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        for made in &missing {
            disk.sync_directory(parent(made))?;
        }
        // An earlier start may have been interrupted between the two.
        match disk.sync_directory(parent(directory)) {
            // Whoever made the directory in a place that this user may not read has made it to stay.
            Err(error) if missing.is_empty() && error.kind() == std::io::ErrorKind::PermissionDenied => {
                Ok(())
            }
            other => other,
        }
    };
    make().map_err(|error| LedgerError::io("make the ledger directory", directory, error))
}

/// Makes durable what a process that was killed has left in the system's memory: the last segment and its name.
///
/// Without this, what is read now could be gone after a power cut although records behind it were acknowledged.
pub(super) fn settle(disk: &dyn Disk, files: &Files) -> Result<(), LedgerError> {
    let segments = files.segments().map_err(|error| LedgerError::io("list", files.journal(), error))?;
    let Some(last) = segments.last() else { return Ok(()) };
    let sync = || {
        disk.open(&last.path)?.sync()?;
        disk.sync_directory(&files.journal())
    };
    sync().map_err(|error| LedgerError::io("sync the journal's last segment", &last.path, error))
}

/// The directory in which the name of `path` stands.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => path,
    }
}

pub(super) fn make_journal_directory(disk: &dyn Disk, files: &Files) -> Result<(), LedgerError> {
    let make = || {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(files.journal())?;
        disk.sync_directory(files.directory())
    };
    make().map_err(|error| LedgerError::io("make the journal directory", files.journal(), error))
}

/// Refuses if a process holds the ledger in `directory` at this moment: for whoever does something before opening it.
pub fn not_held(directory: &Path) -> Result<(), LedgerError> {
    let files = Files::new(directory);
    if files.lock().exists() { lock(&files).map(drop) } else { Ok(()) }
}

pub(super) fn lock(files: &Files) -> Result<File, LedgerError> {
    let path = files.lock();
    let file = File::options().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = file.map_err(|error| LedgerError::io("write to", &path, error))?;
    let mut waited = 0;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if waited < LOCK_TRIES => {
                waited += 1;
                std::thread::sleep(LOCK_PAUSE);
            }
            Err(TryLockError::WouldBlock) => {
                return Err(LedgerError::Locked { directory: files.directory().to_owned() });
            }
            Err(TryLockError::Error(error)) => return Err(LedgerError::io("lock", &path, error)),
        }
    }
}

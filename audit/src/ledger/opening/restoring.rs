//! Puts a ledger's files back to what was acknowledged, after a write or sync failed while it was open.
//!
//! A group whose write failed may stand in the journal in part, whole, or not at all, and the system may show pages that
//! never reached the disk. Its waiters were told that it was not recorded, so it is set aside like every unfinished
//! end. The head file goes first: it must never know of more than the journal has.

use std::fs::File;
use std::io;
use std::path::Path;

use super::{Disk, Files, LedgerError, torn};
use crate::journal::files::{SegmentPath, read_range, read_segment};
use crate::ledger::head_writer::HeadWriter;
use crate::ledger::replay::Torn;
use crate::ledger::writing::Writing;

/// There must be this much room before anything is touched, in bytes.
const ROOM_BYTES: usize = 1024 * 1024;

/// As much as a system writes at once, at least.
const PAGE_BYTES: u64 = 4096;

/// The files as they were when the last record was acknowledged.
pub(super) struct Restored {
    pub(super) head: HeadWriter,
    /// How many bytes were set aside.
    pub(super) bytes: u64,
    /// As what.
    pub(super) set_aside: Vec<String>,
}

/// See the module's documentation. May be done again after it failed anywhere.
pub(super) fn restore(disk: &dyn Disk, files: &Files, writing: &Writing) -> Result<Restored, LedgerError> {
    try_room(disk, files)?;
    let head = writing.head.restore(disk, &files.head(), &writing.note)?;
    let mut restored = Restored { head, bytes: 0, set_aside: Vec::new() };
    let Some((last, length)) = writing.journal.end() else { return Ok(restored) };
    let segments = files.segments().map_err(|error| LedgerError::io("list", files.journal(), error))?;
    let kept = segments.iter().position(|segment| segment.path == last);
    for (number, segment) in segments.iter().enumerate().skip(kept.unwrap_or(segments.len())).rev() {
        let is_last = Some(number) == kept;
        let bytes = if is_last { read_range(&last, length, u64::MAX) } else { read_segment(&segment.path) };
        let bytes = bytes.map_err(|error| LedgerError::io("read", &segment.path, error))?;
        if is_last && bytes.is_empty() {
            continue;
        }
        let offset = if is_last { usize::try_from(length).unwrap_or(usize::MAX) } else { 0 };
        let what = "it could not be written or synced".to_owned();
        let segment = SegmentPath { first: segment.first, path: segment.path.clone() };
        let tail = torn::set_aside(disk, files, &Torn { segment, offset, bytes, what })?;
        restored.bytes += tail.bytes;
        let name = tail.file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        restored.set_aside.push(name);
    }
    let settle = || settle(disk, files, &last, length);
    settle().map_err(|error| LedgerError::io("sync the journal's last segment", &last, error))?;
    Ok(restored)
}

/// The end of what was acknowledged, on the disk once more: a failed sync may have taken the last page with it.
fn settle(disk: &dyn Disk, files: &Files, last: &Path, length: u64) -> io::Result<()> {
    let from = length.saturating_sub(PAGE_BYTES);
    let end = read_range(last, from, length - from)?;
    let mut file = disk.open(last)?;
    file.write_at(&end, from)?;
    file.set_len(from + end.len() as u64)?;
    file.sync()?;
    disk.sync_directory(&files.journal())?;
    // What is read next comes from the disk and not from the system's memory, as far as the system lets us.
    let _ = rustix::fs::fadvise(File::open(last)?, 0, None, rustix::fs::Advice::DontNeed);
    Ok(())
}

/// Nothing is touched while the disk is still full.
fn try_room(disk: &dyn Disk, files: &Files) -> Result<(), LedgerError> {
    let path = files.room();
    // One that a crash left behind.
    let _ = disk.remove(&path);
    let made = disk.create(&path).and_then(|mut file| {
        file.write_at(&vec![0xff; ROOM_BYTES], 0)?;
        file.sync()
    });
    let removed = disk.remove(&path);
    made.and(removed).map_err(|error| LedgerError::io("find room in", files.directory(), error))
}

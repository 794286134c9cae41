//! Reads records from the segment files without checking them, as for a listing.
//!
//! Only checksums are looked at. Whoever relies on what is shown checks the ledger first.

use std::io;
use std::ops::ControlFlow;

use super::Files;
use super::files::{SegmentPath, read_segment};
use super::frame::{Frame, FrameFault, FrameKind};
use super::group::Group;
use crate::record::Seq;

/// How a scan ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScanEnd {
    /// At the end of the journal.
    Complete,
    /// Where the visitor had seen enough.
    Stopped,
    /// At an unfinished group of so many bytes, which is being written or is left from a crash.
    Unfinished {
        /// How many bytes of it there are.
        bytes: usize,
    },
    /// At a damaged place.
    Damaged {
        /// The segment file's name.
        segment: String,
        /// Where in it.
        offset: usize,
        /// What is wrong.
        what: String,
    },
}

/// Takes a record: its number, its bytes, the sealed values beside it.
pub type Visit<'a> = dyn FnMut(Seq, &[u8], &[u8]) -> ControlFlow<()> + 'a;

/// Shows `visit` every record from `from` on.
pub fn scan(files: &Files, from: Seq, visit: &mut Visit<'_>) -> io::Result<ScanEnd> {
    let read =
        super::reading::read(files, None, from, &mut |found| visit(found.seq, found.record, found.sealed))?;
    Ok(read.end)
}

/// The last signed head in the journal, as it stands there, and how the reading ended: behind a damaged
/// place there may be more.
pub fn last_note(files: &Files) -> io::Result<(Option<String>, ScanEnd)> {
    let mut ended = ScanEnd::Complete;
    for (back, segment) in files.segments()?.iter().rev().enumerate() {
        let mut note = None;
        let end = scan_segment(segment, back == 0, &mut |group| {
            note = Some(String::from_utf8_lossy(group.note()).into_owned());
            ControlFlow::Continue(())
        })?;
        if let Some(end) = end {
            ended = end;
        }
        if note.is_some() {
            return Ok((note, ended));
        }
    }
    Ok((None, ended))
}

fn scan_segment(
    segment: &SegmentPath,
    last: bool,
    visit: &mut dyn FnMut(&Group<&[u8]>) -> ControlFlow<()>,
) -> io::Result<Option<ScanEnd>> {
    let bytes = read_segment(&segment.path)?;
    let mut offset = 0;
    let damaged = |offset, what: String| Some(ScanEnd::Damaged { segment: segment.name(), offset, what });
    loop {
        match Frame::read(&bytes, offset) {
            Ok(None) => return Ok(None),
            Ok(Some(frame)) if !frame.sound => {
                return Ok(damaged(offset, "its checksum is wrong".to_owned()));
            }
            Ok(Some(frame)) => {
                if frame.kind == FrameKind::Group {
                    match Group::parse(frame.bytes) {
                        Ok(group) if visit(&group).is_break() => return Ok(Some(ScanEnd::Stopped)),
                        Ok(_) => {}
                        Err(error) => return Ok(damaged(offset, error.to_string())),
                    }
                }
                offset += frame.bytes.len();
            }
            Err(FrameFault::Unfinished { found }) if last => {
                return Ok(Some(ScanEnd::Unfinished { bytes: found }));
            }
            Err(error) => return Ok(damaged(offset, error.to_string())),
        }
    }
}

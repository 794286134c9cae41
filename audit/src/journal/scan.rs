//! Reads records from the segment files without checking them, as for a listing.
//!
//! Only checksums are looked at. Whoever relies on what is shown checks the ledger first.

use std::io;
use std::ops::ControlFlow;

use super::Files;
use super::files::{SegmentPath, read_segment};
use super::frame::{Frame, FrameFault, FrameKind};
use super::group::Group;
use crate::prefix::{NAME, Piece, PrefixFault};
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

/// Takes what the journal says of some numbers.
pub type VisitPiece<'a> = dyn FnMut(Piece<'_>) -> ControlFlow<()> + 'a;

/// Shows `visit` every record from `from` on that was not pruned.
pub fn scan(files: &Files, from: Seq, visit: &mut Visit<'_>) -> io::Result<ScanEnd> {
    let prefix = match files.read_prefix()? {
        None => return scan_segments(&files.segments()?, from, visit),
        Some(Err(fault)) => return Ok(damaged_prefix(&fault)),
        Some(Ok(prefix)) => prefix,
    };
    for piece in prefix.pieces() {
        if let Piece::Record { seq, bytes, sealed } = piece
            && seq >= from
            && visit(seq, bytes, sealed).is_break()
        {
            return Ok(ScanEnd::Stopped);
        }
    }
    scan_segments(&files.segments_behind(prefix.size())?, from, visit)
}

/// Shows `visit` the whole journal, also what was pruned of it.
pub fn scan_pieces(files: &Files, visit: &mut VisitPiece<'_>) -> io::Result<ScanEnd> {
    let mut size = 0;
    match files.read_prefix()? {
        None => {}
        Some(Err(fault)) => return Ok(damaged_prefix(&fault)),
        Some(Ok(prefix)) => {
            if prefix.pieces().try_for_each(&mut *visit).is_break() {
                return Ok(ScanEnd::Stopped);
            }
            size = prefix.size();
        }
    }
    let mut record = |seq, bytes: &[u8], sealed: &[u8]| visit(Piece::Record { seq, bytes, sealed });
    scan_segments(&files.segments_behind(size)?, Seq::ZERO, &mut record)
}

fn damaged_prefix(fault: &PrefixFault) -> ScanEnd {
    ScanEnd::Damaged { segment: NAME.to_owned(), offset: 0, what: fault.to_string() }
}

/// Shows `visit` every record from `from` on in these segments, which end with the journal's last.
pub fn scan_segments(segments: &[SegmentPath], from: Seq, visit: &mut Visit<'_>) -> io::Result<ScanEnd> {
    // The last segment that begins at or before the wanted record.
    let start = segments.partition_point(|segment| segment.first <= from).saturating_sub(1);
    let wanted = segments.get(start..).unwrap_or_default();
    for (number, segment) in wanted.iter().enumerate() {
        let last = number + 1 == wanted.len();
        let mut records = |group: &Group<&[u8]>| {
            let mut later = group.records().filter(|(seq, ..)| *seq >= from);
            later.try_for_each(|(seq, record, sealed)| visit(seq, record, sealed))
        };
        if let Some(end) = scan_segment(segment, last, &mut records)? {
            return Ok(end);
        }
    }
    Ok(ScanEnd::Complete)
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

//! Reads records from the segment files without checking them, as for a listing.
//!
//! Only checksums are looked at. Whoever relies on what is shown checks the ledger first.

use std::io;
use std::ops::ControlFlow;

use super::Files;
use super::files::{SegmentPath, read_segment};
use super::frame::{Frame, FrameFault, FrameKind};
use super::group::Group;
use super::reading;
use crate::note::SignedNote;
use crate::prefix::{NAME, Piece};
use crate::record::Seq;
use crate::signers::DELEGATE_SUFFIX;

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
    let read = reading::read(files, None, from, &mut |found| visit(found.seq, found.record, found.sealed))?;
    Ok(read.end)
}

/// Shows `visit` the whole journal, also what was pruned of it.
pub fn scan_pieces(files: &Files, visit: &mut VisitPiece<'_>) -> io::Result<ScanEnd> {
    let mut size = 0;
    match files.read_prefix()? {
        None => {}
        Some(Err(fault)) => {
            let what = fault.to_string();
            return Ok(ScanEnd::Damaged { segment: NAME.to_owned(), offset: 0, what });
        }
        Some(Ok(prefix)) => {
            if prefix.pieces().try_for_each(&mut *visit).is_break() {
                return Ok(ScanEnd::Stopped);
            }
            size = prefix.size();
        }
    }
    let read = reading::read_segments(&files.segments_behind(size)?, None, Seq::ZERO, &mut |found| {
        visit(Piece::Record { seq: found.seq, bytes: found.record, sealed: found.sealed })
    })?;
    Ok(read.end)
}

/// The last head in the journal that the ledger's own key signed, as it stands there, and how the reading
/// ended: behind a damaged place there may be more.
///
/// A head that only a lent key signed is passed over: whoever receives what is made for a head knows nothing of
/// lent keys. If there is no other, it is the last of these.
pub fn last_note(files: &Files) -> io::Result<(Option<String>, ScanEnd)> {
    last_note_but(files, is_lent)
}

/// The last head in the journal, whoever signed it.
pub fn last_head(files: &Files) -> io::Result<(Option<String>, ScanEnd)> {
    last_note_but(files, |_| false)
}

/// The head that closes the group in which a record stands; `None` if there is no such group.
pub fn note_closing(files: &Files, seq: Seq) -> io::Result<Option<String>> {
    for segment in files.segments()?.iter().rev() {
        let mut note = None;
        scan_segment(segment, true, &mut |group| {
            if group.first() <= seq && seq < group.end() {
                note = Some(String::from_utf8_lossy(group.note()).into_owned());
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })?;
        if note.is_some() {
            return Ok(note);
        }
    }
    Ok(None)
}

fn last_note_but(files: &Files, passed_over: fn(&str) -> bool) -> io::Result<(Option<String>, ScanEnd)> {
    let (mut ended, mut lent) = (ScanEnd::Complete, None);
    for (back, segment) in files.segments()?.iter().rev().enumerate() {
        let (mut note, mut last_lent) = (None, None);
        let end = scan_segment(segment, back == 0, &mut |group| {
            let text = String::from_utf8_lossy(group.note()).into_owned();
            if passed_over(&text) {
                last_lent = Some(text);
            } else {
                note = Some(text);
            }
            ControlFlow::Continue(())
        })?;
        lent = lent.or(last_lent);
        if let Some(end) = end {
            ended = end;
        }
        if note.is_some() {
            return Ok((note, ended));
        }
    }
    Ok((lent, ended))
}

/// Whether only lent keys signed a head; they are known by their names.
fn is_lent(note: &str) -> bool {
    SignedNote::parse(note)
        .is_ok_and(|note| note.signatures().iter().all(|line| line.name.ends_with(DELEGATE_SUFFIX)))
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

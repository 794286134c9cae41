//! Reads segment files piece by piece, from any place, without holding more than one frame.
//!
//! A search wants a record here and there, and a follower what was added since it looked; neither may read a
//! journal of gigabytes for that. Everything is read at a position (`pread`), nothing is mapped, and what is
//! held is bounded by the longest frame. Only checksums are looked at.

use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::Files;
use super::files::{MAX_SEGMENT_BYTES, SegmentPath};
use super::frame::{FRONT_BYTES, Frame, FrameFault, FrameKind};
use super::group::Group;
use super::records::LENGTHS_BYTES;
use super::scan::ScanEnd;
use crate::prefix::{self, Piece, Prefix};
use crate::record::Seq;

/// How much is read at once where frames are shorter than that, in bytes.
const WINDOW_BYTES: u64 = 256 * 1024;

/// No segment begins with this number: a [`Place`] that names it is in the pruned beginning, and its offset is the
/// number of the record.
pub(super) const PRUNED: Seq = Seq::new(u64::MAX);

/// Where a frame begins in a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The segment, by the number of its first record.
    pub segment: Seq,
    /// Where in its file, in bytes.
    pub offset: u64,
}

/// A record as it was found in the journal.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// Its number.
    pub seq: Seq,
    /// Its bytes.
    pub record: &'a [u8],
    /// The sealed values beside it; empty if it has none.
    pub sealed: &'a [u8],
    /// Where its lengths stand, from which [`super::records::Records`] reads it again.
    pub at: Place,
    /// Where its group begins.
    pub group: Place,
    /// The signed head over it, if it is the last of its group.
    pub head: Option<&'a [u8]>,
}

/// How far a reading came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// Why it ended.
    pub end: ScanEnd,
    /// Behind the last group that was shown whole: where to go on.
    pub place: Option<Place>,
}

/// Takes what is found.
pub type Take<'a> = dyn FnMut(Found<'_>) -> ControlFlow<()> + 'a;

/// Shows `take` every record from `from` on that was not pruned, beginning to read at `start`, which must not lie
/// behind it.
///
/// Without a place, or with one whose segment is gone, it begins with the segment of record `from`.
pub fn read(files: &Files, start: Option<Place>, from: Seq, take: &mut Take<'_>) -> io::Result<Read> {
    // What a pruned beginning stands for may still lie beside it.
    let segments = files.segments_behind(files.pruned()?)?;
    let known = start.is_some_and(|place| segments.iter().any(|one| one.first == place.segment));
    if !known && segments.first().is_none_or(|first| from < first.first) {
        match files.read_prefix()? {
            Some(Ok(prefix)) if show_prefix(&prefix, from, take).is_break() => {
                return Ok(Read { end: ScanEnd::Stopped, place: None });
            }
            Some(Err(fault)) => {
                let what = fault.to_string();
                let end = ScanEnd::Damaged { segment: prefix::NAME.to_owned(), offset: 0, what };
                return Ok(Read { end, place: None });
            }
            Some(Ok(_)) | None => {}
        }
    }
    read_segments(&segments, start, from, take)
}

/// The same of these segments alone, the last of which is the journal's last.
pub fn read_segments(
    segments: &[SegmentPath],
    start: Option<Place>,
    from: Seq,
    take: &mut Take<'_>,
) -> io::Result<Read> {
    let known = start.and_then(|place| segments.binary_search_by_key(&place.segment, |one| one.first).ok());
    let usual = || segments.partition_point(|segment| segment.first <= from).saturating_sub(1);
    let wanted = segments.get(known.unwrap_or_else(usual)..).unwrap_or_default();
    let mut reached = None;
    for (number, segment) in wanted.iter().enumerate() {
        let offset = start.filter(|_| number == 0 && known.is_some()).map_or(0, |place| place.offset);
        let last = number + 1 == wanted.len();
        if let Some(end) = read_segment(segment, offset, last, from, &mut reached, take)? {
            return Ok(Read { end, place: reached });
        }
    }
    Ok(Read { end: ScanEnd::Complete, place: reached })
}

/// Shows the records from `from` on that stand whole in the pruned beginning.
fn show_prefix(prefix: &Prefix, from: Seq, take: &mut Take<'_>) -> ControlFlow<()> {
    for piece in prefix.pieces() {
        if let Piece::Record { seq, bytes, sealed } = piece
            && seq >= from
        {
            let at = Place { segment: PRUNED, offset: seq.get() };
            take(Found { seq, record: bytes, sealed, at, group: at, head: None })?;
        }
    }
    ControlFlow::Continue(())
}

fn read_segment(
    segment: &SegmentPath,
    mut offset: u64,
    last: bool,
    from: Seq,
    reached: &mut Option<Place>,
    take: &mut Take<'_>,
) -> io::Result<Option<ScanEnd>> {
    let mut reader = SegmentReader::open(&segment.path)?;
    let damaged = |offset: u64, what: String| {
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        Some(ScanEnd::Damaged { segment: segment.name(), offset, what })
    };
    loop {
        let frame = match reader.frame(offset)? {
            Ok(None) => return Ok(None),
            Ok(Some(frame)) if !frame.sound => {
                return Ok(damaged(offset, "its checksum is wrong".to_owned()));
            }
            Ok(Some(frame)) => frame,
            Err(FrameFault::Unfinished { found }) if last => {
                return Ok(Some(ScanEnd::Unfinished { bytes: found }));
            }
            Err(error) => return Ok(damaged(offset, error.to_string())),
        };
        let length = frame.bytes.len() as u64;
        if frame.kind == FrameKind::Group {
            let group = match Group::parse(frame.bytes) {
                Ok(group) => group,
                Err(error) => return Ok(damaged(offset, error.to_string())),
            };
            let start = Place { segment: segment.first, offset };
            if group.end() > from && show(&group, start, from, take).is_break() {
                return Ok(Some(ScanEnd::Stopped));
            }
        }
        offset += length;
        *reached = Some(Place { segment: segment.first, offset });
    }
}

/// Shows the records of one group from `from` on.
fn show(group: &Group<&[u8]>, start: Place, from: Seq, take: &mut Take<'_>) -> ControlFlow<()> {
    let mut later = group.records().filter(|(seq, ..)| *seq >= from);
    later.try_for_each(|(seq, record, sealed)| {
        let inside = group.record_range(seq).map_or(0, |range| range.start).saturating_sub(LENGTHS_BYTES);
        let at = Place { offset: start.offset + inside as u64, ..start };
        let head = (seq.next() == group.end()).then(|| group.note());
        take(Found { seq, record, sealed, at, group: start, head })
    })
}

/// One segment file, read at positions through a window.
struct SegmentReader {
    file: File,
    length: u64,
    window: Vec<u8>,
    window_at: u64,
}

impl SegmentReader {
    fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        if length > MAX_SEGMENT_BYTES {
            let reason = format!("it has {length} bytes, and at most {MAX_SEGMENT_BYTES} are read");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, reason));
        }
        Ok(Self { file, length, window: Vec::new(), window_at: 0 })
    }

    /// The frame that begins at `offset`; `None` at the very end of the file as it was when it was opened.
    fn frame(&mut self, offset: u64) -> io::Result<Result<Option<Frame<'_>>, FrameFault>> {
        let left = self.length.saturating_sub(offset);
        if left == 0 {
            return Ok(Ok(None));
        }
        let front = self.bytes(offset, left.min(FRONT_BYTES as u64))?;
        let announced = match Frame::read(front, 0) {
            // The front is whole and sound, and its body is not here yet.
            Err(FrameFault::Unfinished { .. }) => front.get(4..8).and_then(|length| length.try_into().ok()),
            Err(fault) => return Ok(Err(fault)),
            Ok(_) => Some([0; 4]),
        };
        let whole = FRONT_BYTES as u64 + u64::from(announced.map_or(u32::MAX, u32::from_le_bytes));
        if whole > left {
            return Ok(Err(FrameFault::Unfinished { found: usize::try_from(left).unwrap_or(usize::MAX) }));
        }
        Ok(Frame::read(self.bytes(offset, whole)?, 0))
    }

    /// `count` bytes at `offset`, which the file must have.
    fn bytes(&mut self, offset: u64, count: u64) -> io::Result<&[u8]> {
        let end = offset.saturating_add(count);
        let has = self.window_at + self.window.len() as u64;
        if offset < self.window_at || end > has {
            let wanted = count.max(WINDOW_BYTES).min(self.length.saturating_sub(offset));
            self.window.resize(usize::try_from(wanted).unwrap_or_default(), 0);
            self.window_at = offset;
            if let Err(error) = self.file.read_exact_at(&mut self.window, offset) {
                self.window.clear();
                return Err(error);
            }
        }
        let start = usize::try_from(offset - self.window_at).unwrap_or(usize::MAX);
        let bytes = start.checked_add(usize::try_from(count).unwrap_or(usize::MAX));
        let bytes = bytes.and_then(|end| self.window.get(start..end));
        bytes.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))
    }
}

#[cfg(test)]
mod tests;

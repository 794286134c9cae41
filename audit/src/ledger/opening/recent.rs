//! Where reading the journal begins when a ledger is opened.
//!
//! A large journal is not read whole before the gateway may start. Reading begins with a recent segment, whose
//! header holds the right edge of the tree and the head over everything before it. That is believed only
//! if the edge leads to that head and to the last head of all, which our key, or one that it lent to, must have
//! signed: its root stands for every record before it, whichever key was in office then. And only if each older
//! segment still ends with the very head that the next one's header repeats, so that none is missing, cut or exchanged at its
//! end; and if a pruned beginning leads to the first of them and is declared. What lies inside the older segments is
//! read again later ([`crate::ledger::reread`]), and by every `auditctl verify`.
//!
//! Nothing is refused here: if anything does not fit, everything is read from the beginning, and what is wrong is
//! found and named there.

use std::io;
use std::path::Path;

use super::{Expected, Replayed};
use crate::chain::Chain;
use crate::checkpoint::Checkpoint;
use crate::epoch::{self, Epochs};
use crate::journal::files::{SegmentPath, read_range};
use crate::journal::{Files, Frame, FrameKind, SegmentHeader};
use crate::ledger::pruning::is_declared;
use crate::prefix::Prefix;
use crate::record::Seq;
use crate::signers::Signers;
use crate::tree::Frontier;

/// Longer than any header that this program writes.
const MAX_HEADER_BYTES: u64 = 16 * 1024;

/// Where to begin.
pub(super) struct Begin {
    /// With which segment.
    pub(super) from: usize,
    /// Where the ledger stands there.
    pub(super) state: Replayed,
    /// What is left of the beginning, if it was pruned.
    pub(super) prefix: Option<Prefix>,
}

/// Finds a place before record `known`, with at least so many bytes behind it.
pub(super) fn begin(
    files: &Files,
    segments: &[SegmentPath],
    expected: &Expected<'_>,
    known: u64,
    at_least: u64,
) -> Option<Begin> {
    let from = choose(segments, known, at_least)?;
    let headers = segments.get(..=from)?.iter().map(header).collect::<Option<Vec<_>>>()?;
    let (prefix, epochs) = beginning(files, headers.first()?)?;
    let joined =
        segments.iter().zip(headers.iter().skip(1)).all(|(segment, next)| ends_with(segment, &next.note));
    let (last, before) = headers.split_last()?;
    let epochs = epochs.through(before.iter().map(|header| (header.origin.as_str(), header.first)))?;
    let state = resume(last, expected, epochs)?;
    joined.then_some(Begin { from, state, prefix })
}

/// What stands before the first segment: nothing, or a pruned beginning that leads to it and is declared.
fn beginning(files: &Files, first: &SegmentHeader) -> Option<(Option<Prefix>, Epochs)> {
    let Some(prefix) = files.read_prefix().ok()? else {
        return (first.first == Seq::ZERO).then(|| (None, Epochs::default()));
    };
    let prefix = prefix.ok()?;
    let fits = *first == SegmentHeader::new(&first.origin, prefix.chain(), &prefix.note().to_string());
    let declared = fits && is_declared(files, &prefix).ok()?;
    let epochs = declared.then(|| prefix.epochs().ok()).flatten()?;
    Some((Some(prefix), epochs))
}

/// The last segment that begins at or before record `known` and has `at_least` bytes from its beginning on.
fn choose(segments: &[SegmentPath], known: u64, at_least: u64) -> Option<usize> {
    // More than a header, so that there is a group from which the last record's time is known.
    let (mut bytes, at_least) = (0, at_least.max(2 * MAX_HEADER_BYTES));
    for (number, segment) in segments.iter().enumerate().skip(1).rev() {
        bytes += std::fs::metadata(&segment.path).ok()?.len();
        if bytes >= at_least && segment.first.get() <= known {
            return Some(number);
        }
    }
    None
}

/// The header of a segment, if it can be read.
pub(super) fn header(segment: &SegmentPath) -> Option<SegmentHeader> {
    let bytes = read_range(&segment.path, 0, MAX_HEADER_BYTES).ok()?;
    let frame = Frame::read(&bytes, 0).ok()??;
    let header = SegmentHeader::parse(frame.bytes).ok()?;
    (frame.sound && frame.kind == FrameKind::Segment && header.first == segment.first).then_some(header)
}

/// Whether the last group of a segment ends with this head.
fn ends_with(segment: &SegmentPath, note: &str) -> bool {
    let read = |path: &Path| -> io::Result<Vec<u8>> {
        let length = std::fs::metadata(path)?.len();
        read_range(path, length.saturating_sub(note.len() as u64), note.len() as u64)
    };
    read(&segment.path).is_ok_and(|end| end == note.as_bytes())
}

/// The state at the beginning of a segment, if its edge leads to the head that it repeats.
fn resume(header: &SegmentHeader, expected: &Expected<'_>, epochs: Epochs) -> Option<Replayed> {
    let (head, _) = Checkpoint::from_note(&header.note).ok()?;
    let chain = Chain::resume(header.prev, Frontier::resume(header.first.get(), header.peaks.clone())?);
    let ours =
        epoch::split(&head.origin).0 == expected.origin && epochs.origin() == Some(head.origin.as_str());
    let fits = ours && head == chain.checkpoint(&head.origin);
    fits.then(|| Replayed {
        chain,
        note: header.note.clone(),
        groups: 2,
        epochs,
        signers: Signers::behind(expected.key),
        ..Replayed::genesis(expected.key)
    })
}

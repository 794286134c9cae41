//! Reads a ledger's files for [`verify`](super::verify).

use std::io;
use std::path::{Path, PathBuf};

use super::{Overall, Segment, Trust, Unreadable, Verdict, Verified, verify_since};
use crate::journal::Files;
use crate::journal::files::{SegmentPath, read_segment, segments_in};
use crate::prefix::NAME;

/// How far a check has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// How many bytes were gone through.
    pub done: u64,
    /// How many there were at the beginning.
    pub total: u64,
}

/// Checks the ledger in `directory`. Only reads; the ledger may be in use.
///
/// An error means that the directory itself could not be read, so that there was nothing to check.
pub fn directory(directory: &Path, trust: &Trust) -> io::Result<Verdict> {
    Ok(directory_since(directory, trust, None, &mut |_| {})?.0)
}

/// Checks the ledger in `directory` whole, with the segments that were pruned from it, which are in `archive`.
///
/// The ledger is first checked as it is, so that what took the place of those segments is checked, too.
pub fn directory_with_archive(
    directory: &Path,
    archive: &Path,
    trust: &Trust,
    progress: &mut dyn FnMut(Progress),
) -> io::Result<Verdict> {
    let (alone, _) = directory_since(directory, trust, None, progress)?;
    if alone.overall() == Overall::Broken {
        return Ok(alone);
    }
    let files = Files::new(directory);
    let head = files.read_head()?;
    let trust = with_cosigned(&files, trust)?;
    let own = files.segments()?;
    let mut segments = segments_in(archive)?;
    segments.retain(|segment| own.first().is_none_or(|first| segment.first < first.first));
    segments.extend(own);
    Ok(whole(None, &segments, head.as_deref(), &trust, None, progress).0)
}

/// Checks what was added to the ledger in `directory` since `since`, or all of it; gives the state from
/// which the next check can go on, if nothing failed.
pub fn directory_since(
    directory: &Path,
    trust: &Trust,
    since: Option<&Verified>,
    progress: &mut dyn FnMut(Progress),
) -> io::Result<(Verdict, Option<Verified>)> {
    std::fs::read_dir(directory)?;
    let files = Files::new(directory);
    // Before the journal: what is written meanwhile is then only ever ahead of this head.
    let head = files.read_head()?;
    let trust = with_cosigned(&files, trust)?;
    let mut segments = files.segments()?;
    if let Some(since) = since {
        // The one with the last record that was verified comes first, to see that it is still there.
        let keep = segments.partition_point(|segment| segment.first.get() < since.size()).saturating_sub(1);
        segments.drain(..keep);
    }
    let prefix = Some(files.prefix()).filter(|prefix| prefix.exists());
    Ok(whole(prefix, &segments, head.as_deref(), &trust, since, progress))
}

fn with_cosigned(files: &Files, trust: &Trust) -> io::Result<Trust> {
    let mut trust = trust.clone();
    if trust.cosigned.is_none() {
        let cosigned = files.read_cosigned()?;
        trust.cosigned = cosigned.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    }
    if trust.witnessed.is_none() {
        let witnessed = files.read_witnessed()?;
        trust.witnessed = witnessed.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    }
    Ok(trust)
}

/// Checks these files, one after the other.
fn whole(
    prefix: Option<PathBuf>,
    segments: &[SegmentPath],
    head: Option<&[u8]>,
    trust: &Trust,
    since: Option<&Verified>,
    progress: &mut dyn FnMut(Progress),
) -> (Verdict, Option<Verified>) {
    let length = |path: &Path| path.metadata().map_or(0, |metadata| metadata.len());
    let total = segments.iter().map(|segment| length(&segment.path)).sum();
    let read = |name: String, path: &Path| match read_segment(path) {
        Ok(bytes) => Ok(Segment { name, bytes }),
        Err(error) => Err(Unreadable { name, reason: error.to_string() }),
    };
    let prefix = prefix.map(|path| read(NAME.to_owned(), &path));
    let contents =
        prefix.into_iter().chain(segments.iter().map(|segment| read(segment.name(), &segment.path)));
    let mut tell = |done| progress(Progress { done, total });
    verify_since(contents, head, trust, since, &mut tell)
}

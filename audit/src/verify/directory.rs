//! Reads a ledger's files for [`verify`](super::verify).

use std::io;
use std::path::Path;

use super::{Segment, Trust, Unreadable, Verdict, Verified, verify_since};
use crate::journal::Files;
use crate::journal::files::read_segment;
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
    let mut trust = trust.clone();
    if trust.cosigned.is_none() {
        let cosigned = files.read_cosigned()?;
        trust.cosigned = cosigned.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    }
    let mut segments = files.segments()?;
    if let Some(since) = since {
        // The one with the last record that was verified comes first, to see that it is still there.
        let keep = segments.partition_point(|segment| segment.first.get() < since.size()).saturating_sub(1);
        segments.drain(..keep);
    }
    let length = |path: &Path| path.metadata().map_or(0, |metadata| metadata.len());
    let total = segments.iter().map(|segment| length(&segment.path)).sum();
    let read = |name: String, path: &Path| match read_segment(path) {
        Ok(bytes) => Ok(Segment { name, bytes }),
        Err(error) => Err(Unreadable { name, reason: error.to_string() }),
    };
    let prefix = files.prefix();
    let prefix = prefix.exists().then(|| read(NAME.to_owned(), &prefix));
    let contents = prefix.into_iter().chain(segments.iter().map(|segment| read(segment.name(), &segment.path)));
    let mut tell = |done| progress(Progress { done, total });
    Ok(verify_since(contents, head.as_deref(), &trust, since, &mut tell))
}

//! Reads a ledger's files for [`verify`](super::verify).

use std::io;
use std::path::Path;

use super::{Segment, Trust, Unreadable, Verdict, verify};
use crate::journal::Files;
use crate::journal::files::read_segment;

/// Checks the ledger in `directory`. Only reads; the ledger may be in use.
///
/// An error means that the directory itself could not be read, so that there was nothing to check.
pub fn directory(directory: &Path, trust: &Trust) -> io::Result<Verdict> {
    std::fs::read_dir(directory)?;
    let files = Files::new(directory);
    // Before the journal: what is written meanwhile is then only ever ahead of this head.
    let head = files.read_head()?;
    let segments = files.segments()?;
    let contents = segments.iter().map(|segment| match read_segment(&segment.path) {
        Ok(bytes) => Ok(Segment { name: segment.name(), bytes }),
        Err(error) => Err(Unreadable { name: segment.name(), reason: error.to_string() }),
    });
    Ok(verify(contents, head.as_deref(), trust))
}

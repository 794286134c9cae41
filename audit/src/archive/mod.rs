//! Copies of the segments that leave a ledger, kept elsewhere.
//!
//! Nothing leaves a ledger before a whole copy of it lies in an archive and was read back from there and
//! compared. An archive is plain: the segment files under their own names, as they were, and beside them a
//! manifest for each pruning. Copied into a `journal` folder they are the ledger again, with no program of ours.
//!
//! Promised: what [`store`] returned `Ok` for can be read there, byte for byte. Not promised: that it stays
//! there. Whoever keeps the archive keeps it for as long as the rules ask; an object lock or a write-once
//! disk helps. The segments hold personal values as they lie in the ledger: sealed.

use std::io;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

mod copies;
mod directory;

pub use copies::{FetchError, Fetched, PrunedCopy, copies, fetch};
pub use directory::DirectoryArchive;

/// The format of manifests that this program writes and reads.
pub const MANIFEST_VERSION: u64 = 1;

/// The longest file that is put into an archive or taken out of one, in bytes: a segment.
pub use crate::journal::files::MAX_SEGMENT_BYTES as MAX_ARCHIVED_BYTES;

/// A place that keeps files. Calls may block.
pub trait Archive: Send + Sync {
    /// Where it is, for records and people; without credentials.
    fn location(&self) -> String;
    /// Keeps `bytes` under `name`, durably. A file of that name that holds something else is never replaced.
    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), ArchiveError>;
    /// Reads a file back; `None` if there is none of that name.
    fn get(&self, name: &str) -> Result<Option<Vec<u8>>, ArchiveError>;
}

/// What one pruning put into an archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    format: u64,
    /// The ledger's name.
    pub origin: String,
    /// The number of the first record in these segments.
    pub first: u64,
    /// The number after the last.
    pub end: u64,
    /// The signed head over all records before `end`.
    pub note: String,
    /// The segments, in order.
    pub segments: Vec<Archived>,
}

/// One file in an archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Archived {
    /// Its name.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// Its digest.
    pub sha256: Digest,
}

impl Manifest {
    /// An empty one.
    pub fn new(origin: &str, first: u64, end: u64, note: &str) -> Self {
        let (origin, note) = (origin.to_owned(), note.to_owned());
        Self { format: MANIFEST_VERSION, origin, first, end, note, segments: Vec::new() }
    }

    /// Its name in the archive.
    pub fn name(&self) -> String {
        format!("{:020}-{:020}.manifest.json", self.first, self.end)
    }

    /// The text that is kept; the same manifest has the same text.
    pub fn to_text(&self) -> String {
        // A struct of numbers and strings always has a JSON form.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// Reads what [`Manifest::to_text`] wrote; `None` if it is something else.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let manifest: Self = serde_json::from_slice(text).ok()?;
        (manifest.format == MANIFEST_VERSION).then_some(manifest)
    }

    /// Keeps one segment, and notes it here once it was read back.
    pub fn add(&mut self, archive: &dyn Archive, name: &str, bytes: &[u8]) -> Result<(), ArchiveError> {
        let sha256 = store(archive, name, bytes)?;
        self.segments.push(Archived { name: name.to_owned(), bytes: bytes.len() as u64, sha256 });
        Ok(())
    }
}

/// Keeps a file, reads it back and compares; gives its digest.
pub fn store(archive: &dyn Archive, name: &str, bytes: &[u8]) -> Result<Digest, ArchiveError> {
    let digest = Digest::of(&[bytes]);
    let is_there = |found: Option<Vec<u8>>| found.is_some_and(|found| Digest::of(&[&found]) == digest);
    // An earlier run may have been interrupted behind this file.
    if is_there(archive.get(name)?) {
        return Ok(digest);
    }
    archive.put(name, bytes)?;
    if is_there(archive.get(name)?) {
        return Ok(digest);
    }
    Err(ArchiveError::Different { location: archive.location(), name: name.to_owned() })
}

/// Why something is not in an archive.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// A file of that name holds something else.
    #[error("the archive {location} has another {name} already")]
    Exists {
        /// Where.
        location: String,
        /// Which file.
        name: String,
    },
    /// What was read back is not what was written.
    #[error("{name} is not in the archive {location} as it was written there")]
    Different {
        /// Where.
        location: String,
        /// Which file.
        name: String,
    },
    /// It could not be reached, read or written.
    #[error("cannot {doing} {name} in the archive {location}")]
    Io {
        /// "read" or "write".
        doing: &'static str,
        /// Where.
        location: String,
        /// Which file.
        name: String,
        /// The cause.
        source: io::Error,
    },
    /// The service that keeps it refused, or did not answer.
    #[error("cannot {doing} {name} in the archive {location}")]
    Service {
        /// "read" or "write".
        doing: &'static str,
        /// Where.
        location: String,
        /// Which file.
        name: String,
        /// What to do next.
        hint: &'static str,
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl ArchiveError {
    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Exists { .. } => "give each ledger an archive of its own; nothing was pruned",
            Self::Different { .. } => "do not use this archive before it was looked into; nothing was pruned",
            Self::Io { .. } => {
                "check that the archive can be reached and written, then run again; nothing was pruned"
            }
            Self::Service { hint, .. } => hint,
        }
    }
}

//! Appends groups to the last segment, and begins new segments.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::LedgerError;
use crate::chain::Chain;
use crate::disk::{Disk, DiskFile};
use crate::journal::{Files, SegmentHeader};

/// The end of the journal.
pub(super) struct JournalWriter {
    disk: Arc<dyn Disk>,
    files: Files,
    origin: String,
    segment_bytes: u64,
    last: Option<Segment>,
}

struct Segment {
    path: PathBuf,
    file: Box<dyn DiskFile>,
    length: u64,
}

impl JournalWriter {
    /// Goes on at the end of `last` (a segment's path and good length), or begins the first segment.
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        files: Files,
        origin: String,
        segment_bytes: u64,
        last: Option<(PathBuf, u64)>,
    ) -> Result<Self, LedgerError> {
        let last = match last {
            Some((path, length)) => {
                let file = disk.open(&path).map_err(|error| LedgerError::io("write to", &path, error))?;
                Some(Segment { path, file, length })
            }
            None => None,
        };
        Ok(Self { disk, files, origin, segment_bytes, last })
    }

    /// Writes a group behind `chain` and makes it durable. After an error nothing may be appended.
    pub(super) fn append(&mut self, chain: &Chain, note: &str, frame: &[u8]) -> Result<(), LedgerError> {
        if self.last.as_ref().is_none_or(|segment| segment.length >= self.segment_bytes) {
            self.last = Some(self.begin(chain, note)?);
        }
        let Some(segment) = &mut self.last else { return Ok(()) };
        segment
            .file
            .write_at(frame, segment.length)
            .and_then(|()| segment.file.sync())
            .map_err(|error| LedgerError::io("write to", &segment.path, error))?;
        segment.length += frame.len() as u64;
        Ok(())
    }

    /// The last segment, and its good length.
    pub(super) fn end(&self) -> Option<(PathBuf, u64)> {
        self.last.as_ref().map(|segment| (segment.path.clone(), segment.length))
    }

    /// The last group is not to be acknowledged: the journal ends before it.
    pub(super) fn take_back(&mut self, frame: &[u8]) {
        if let Some(segment) = &mut self.last {
            segment.length = segment.length.saturating_sub(frame.len() as u64);
        }
    }

    fn begin(&self, chain: &Chain, note: &str) -> Result<Segment, LedgerError> {
        let path = self.files.segment(chain.next());
        let make = || -> io::Result<Segment> {
            let header = SegmentHeader::new(&self.origin, chain, note)
                .to_frame()
                .ok_or_else(|| io::Error::other("the segment's header is too long"))?;
            let mut file = self.disk.create(&path)?;
            file.write_at(&header, 0)?;
            file.sync()?;
            self.disk.sync_directory(&self.files.journal())?;
            Ok(Segment { path: path.clone(), file, length: header.len() as u64 })
        };
        make().map_err(|error| LedgerError::io("begin the segment", &path, error))
    }
}

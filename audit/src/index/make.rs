//! Makes the index files that are missing, from the journal.
//!
//! Only whole spans get one, so a file never changes for what is added later. One span at a time is held in
//! memory. Whoever makes them may stop at any record and go on later: what is finished stays.

use std::io;
use std::ops::ControlFlow;
use std::path::PathBuf;

use super::directory::{SpanPath, write};
use super::search::open;
use super::span::Span;
use super::{Directories, IndexFault};
use crate::journal::Files;
use crate::journal::reading::{self, Found, Place};
use crate::journal::records::Records;
use crate::journal::scan::ScanEnd;
use crate::record::Seq;

/// Makes index files, and knows how far it has come.
pub struct Maker<'a> {
    files: &'a Files,
    directory: &'a dyn Fn() -> PathBuf,
    span: u64,
    /// The first record that is not known to be covered.
    next: Seq,
    /// Where to begin to read for it.
    place: Option<Place>,
}

/// Why no more index files are made.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    /// The journal cannot be read.
    #[error("the journal cannot be read: {0}")]
    Journal(io::Error),
    /// The journal is damaged.
    #[error("the journal is damaged in {segment} at byte {offset}: {what}")]
    Damaged {
        /// The segment file's name.
        segment: String,
        /// Where in it.
        offset: usize,
        /// What is wrong.
        what: String,
    },
    /// A record of it cannot be indexed.
    #[error(transparent)]
    Record(IndexFault),
    /// The index cannot be written.
    #[error("cannot write an index file to {directory}: {source}")]
    Write {
        /// Where to.
        directory: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl<'a> Maker<'a> {
    /// Writes to `directory`, which is asked for when there is something to write, `span` records to a file (see
    /// [`super::SPAN`]).
    pub fn new(files: &'a Files, directory: &'a dyn Fn() -> PathBuf, span: u64) -> Self {
        Self { files, directory, span: span.clamp(1, super::MAX_SPAN), next: Seq::ZERO, place: None }
    }

    /// The first record that has no index yet.
    pub fn next(&self) -> Seq {
        self.next
    }

    /// Makes what is missing of the first `records` records, until `stop` says so, telling `made` of each file.
    /// Files in `existing` that are whole and of this ledger are left as they are.
    pub fn make(
        &mut self,
        existing: &Directories,
        records: u64,
        stop: &dyn Fn() -> bool,
        made: &mut dyn FnMut(Seq),
    ) -> Result<(), MakeError> {
        // The beginning may have been pruned: a span that is not there in full gets no index.
        let pruned = self.files.pruned().map_err(MakeError::Journal)?;
        let segments = self.files.segments_behind(pruned).map_err(MakeError::Journal)?;
        let first = segments.first().map_or(0, |segment| segment.first.get());
        let whole = Seq::new(first.div_ceil(self.span).saturating_mul(self.span));
        if self.next < whole {
            (self.next, self.place) = (whole, None);
        }
        let spans = existing.spans();
        while self.end_of(self.next) <= records && !stop() {
            if !self.is_made(&spans) {
                self.read(&spans, records, stop, made)?;
                return Ok(());
            }
        }
        Ok(())
    }

    fn end_of(&self, first: Seq) -> u64 {
        first.get().saturating_add(self.span)
    }

    /// Passes over the next span if it has an index that can be used.
    fn is_made(&mut self, spans: &[SpanPath]) -> bool {
        let found = spans.binary_search_by_key(&self.next, |span| span.first).ok();
        let Some(span) = found.and_then(|at| spans.get(at)) else { return false };
        let Ok(index) = open(span, &mut Records::new(self.files)) else { return false };
        let header = &index.header;
        if header.end_seq().get() != self.end_of(self.next) {
            return false;
        }
        (self.next, self.place) = (header.end_seq(), Some(header.groups[1]));
        true
    }

    /// Reads on, and writes a file for each span that lacks one.
    fn read(
        &mut self,
        spans: &[SpanPath],
        records: u64,
        stop: &dyn Fn() -> bool,
        made: &mut dyn FnMut(Seq),
    ) -> Result<(), MakeError> {
        let mut span = Span::new(self.next);
        let mut passing = Seq::ZERO;
        let mut trouble = None;
        let (files, start, from) = (self.files, self.place, self.next);
        let read = reading::read(files, start, from, &mut |found| {
            if found.seq < passing {
                return ControlFlow::Continue(());
            }
            if stop() || self.end_of(self.next) > records {
                return ControlFlow::Break(());
            }
            let result = self.take(&mut span, &found, made);
            match result {
                Ok(false) => {}
                Ok(true) => {
                    // Behind a span that was made may lie some that are there already.
                    while self.end_of(self.next) <= records && self.is_made(spans) {}
                    passing = self.next;
                    span = Span::new(self.next);
                }
                Err(error) => {
                    trouble = Some(error);
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        });
        if let Some(error) = trouble {
            return Err(error);
        }
        match read.map_err(MakeError::Journal)?.end {
            ScanEnd::Damaged { segment, offset, what } => Err(MakeError::Damaged { segment, offset, what }),
            ScanEnd::Complete | ScanEnd::Stopped | ScanEnd::Unfinished { .. } => Ok(()),
        }
    }

    /// Adds a record; whether a span was finished by it.
    fn take(
        &mut self,
        span: &mut Span,
        found: &Found<'_>,
        made: &mut dyn FnMut(Seq),
    ) -> Result<bool, MakeError> {
        span.add(found).map_err(MakeError::Record)?;
        if span.count() < self.span {
            return Ok(false);
        }
        let done = std::mem::replace(span, Span::new(found.seq.next()));
        if let Some(bytes) = done.finish() {
            let directory = (self.directory)();
            write(&directory, self.next, &bytes).map_err(|source| MakeError::Write { directory, source })?;
            made(self.next);
        }
        (self.next, self.place) = (found.seq.next(), Some(found.group));
        Ok(true)
    }
}

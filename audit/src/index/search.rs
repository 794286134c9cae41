//! Answers a query from the journal, with the help of an index where there is one.
//!
//! The journal is taken in pieces, in the order that was asked for: spans that an index file covers, and what
//! lies between and behind them. Of a span only the records are read that its index names, and each is compared
//! with the link that the record after it holds; at the first thing that does not fit, the rest of the span is
//! read whole. What lies between is read whole anyway.

use std::io;
use std::ops::ControlFlow;
use std::path::PathBuf;

use super::directory::SpanPath;
use super::file::IndexFile;
use super::header::Header;
use super::query::Sieve;
use super::{Directories, IndexFault, Query};
use crate::journal::Files;
use crate::journal::reading::Place;
use crate::journal::records::Records;
use crate::journal::scan::ScanEnd;
use crate::record::{Record, RecordError, Seq};

mod named;
mod plain;

#[cfg(feature = "ledger")]
pub(crate) use named::named_by;
pub(super) use named::open;

/// Which records come first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// As they were written.
    #[default]
    OldestFirst,
    /// The other way round.
    NewestFirst,
}

/// A record that fits.
#[derive(Clone, Copy, Debug)]
pub struct Hit<'a> {
    /// The record.
    pub record: &'a Record,
    /// Its bytes.
    pub bytes: &'a [u8],
    /// The sealed values beside it.
    pub sealed: &'a [u8],
}

/// Takes what is found.
pub type Take<'a> = dyn FnMut(Hit<'_>) -> ControlFlow<()> + 'a;

/// How an answer came about.
#[derive(Debug, Default)]
pub struct Searched {
    /// How the reading of the journal's end, or of a piece that is damaged, ended. `None` if only an index was
    /// asked, or the taker had enough.
    pub end: Option<ScanEnd>,
    /// Behind the last group that was read: where to go on for what is added.
    pub place: Option<Place>,
    /// The number after the last record that was looked at.
    pub next: Seq,
    /// How many records an index spoke for.
    pub indexed: u64,
    /// Index files that could not be used, and why.
    pub faults: Vec<(PathBuf, IndexFault)>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// The journal cannot be read.
    #[error("the journal cannot be read: {0}")]
    Journal(#[from] io::Error),
    /// A record in it cannot be read.
    #[error("record {seq}: {source}")]
    Record {
        /// Its number.
        seq: Seq,
        /// Why not.
        source: RecordError,
    },
}

/// Shows `take` the records that fit, in this order, at most `limit`.
pub fn search(
    files: &Files,
    indexes: &Directories,
    query: &Query,
    order: Order,
    limit: Option<u64>,
    take: &mut Take<'_>,
) -> Result<Searched, SearchError> {
    let mut work = Work::new(files, query, order, limit, take);
    if limit != Some(0) {
        match order {
            Order::OldestFirst => work.forwards(&indexes.spans(), None)?,
            Order::NewestFirst => work.backwards(&indexes.spans())?,
        }
    }
    Ok(work.searched)
}

/// Shows `take` the records that fit and lie behind `place`, oldest first: for following a ledger.
pub fn go_on(
    files: &Files,
    place: Option<Place>,
    query: &Query,
    limit: Option<u64>,
    take: &mut Take<'_>,
) -> Result<Searched, SearchError> {
    let mut work = Work::new(files, query, Order::OldestFirst, limit, take);
    work.forwards(&[], place)?;
    Ok(work.searched)
}

/// Whether the search goes on behind a piece.
type Flow = Result<ControlFlow<()>, SearchError>;

const ON: Flow = Ok(ControlFlow::Continue(()));

struct Work<'a, 'b> {
    files: &'a Files,
    records: Records<'a>,
    query: &'a Query,
    sieve: Sieve,
    order: Order,
    left: u64,
    take: &'a mut Take<'b>,
    searched: Searched,
}

impl<'a, 'b> Work<'a, 'b> {
    fn new(
        files: &'a Files,
        query: &'a Query,
        order: Order,
        limit: Option<u64>,
        take: &'a mut Take<'b>,
    ) -> Self {
        Self {
            files,
            records: Records::new(files),
            query,
            sieve: query.sieve(),
            order,
            left: limit.unwrap_or(u64::MAX),
            take,
            searched: Searched::default(),
        }
    }

    /// The number after the last one that can be wanted.
    fn stop(&self) -> Seq {
        self.query.selection.to.map_or(Seq::new(u64::MAX), Seq::next)
    }

    fn forwards(&mut self, spans: &[SpanPath], place: Option<Place>) -> Result<(), SearchError> {
        let (mut at, mut place) = (self.query.selection.from, place);
        for (number, span) in spans.iter().enumerate() {
            let next = spans.get(number + 1).map(|next| next.first);
            if span.first >= self.stop() {
                break;
            }
            // What the next file covers from its beginning on needs no look into this one.
            if next.is_some_and(|next| next <= at) {
                continue;
            }
            let Some(index) = self.open(span) else { continue };
            let end = index.header.end_seq();
            let first_group = index.header.groups[0];
            if end <= at {
                place = Some(index.header.groups[1]);
                continue;
            }
            if span.first > at && self.plain(at, span.first, place)?.is_break() {
                return Ok(());
            }
            at = at.max(span.first);
            let header = index.header.clone();
            if self.indexed(&index, at, self.stop().min(end), first_group)?.is_break() {
                return Ok(());
            }
            (at, place) = (end, Some(header.groups[1]));
        }
        if at < self.stop() {
            let _ = self.plain(at, self.stop(), place)?;
        }
        Ok(())
    }

    fn backwards(&mut self, spans: &[SpanPath]) -> Result<(), SearchError> {
        let from = self.query.selection.from;
        let mut until = self.stop();
        for span in spans.iter().rev() {
            if until <= from {
                return Ok(());
            }
            if span.first >= until {
                continue;
            }
            let Some(index) = self.open(span) else { continue };
            let Header { groups: [first_group, last_group], .. } = index.header;
            let end = index.header.end_seq();
            let after = end.max(from);
            if after < until && self.plain(after, until, Some(last_group))?.is_break() {
                return Ok(());
            }
            if self.indexed(&index, from.max(span.first), until.min(end), first_group)?.is_break() {
                return Ok(());
            }
            until = span.first;
        }
        if from < until {
            let _ = self.plain(from, until, None)?;
        }
        Ok(())
    }

    /// An index file that is whole in front and of this ledger.
    fn open(&mut self, span: &SpanPath) -> Option<IndexFile> {
        match open(span, &mut self.records) {
            Ok(index) => Some(index),
            Err(fault) => {
                self.searched.faults.push((span.path.clone(), fault));
                None
            }
        }
    }

    fn show(&mut self, hit: Hit<'_>) -> ControlFlow<()> {
        show(&mut self.left, self.take, hit)
    }
}

fn show(left: &mut u64, take: &mut Take<'_>, hit: Hit<'_>) -> ControlFlow<()> {
    *left = left.saturating_sub(1);
    take(hit)?;
    if *left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

//! Answers a query from the journal, with the help of an index where there is one.
//!
//! The journal is taken in pieces, in the order that was asked for: spans that an index file covers, and what
//! lies between and behind them. Of a span only the records are read that its index names, and each is compared
//! with the link that the record after it holds; at the first thing that does not fit, the rest of the span is
//! read whole. What lies between is read whole anyway.

use std::collections::VecDeque;
use std::io;
use std::ops::ControlFlow;
use std::path::PathBuf;

use super::bits::Bits;
use super::directory::SpanPath;
use super::file::IndexFile;
use super::header::{BLOCK, Header};
use super::query::Sieve;
use super::{Directories, IndexFault, Query, fields};
use crate::digest::Digest;
use crate::journal::Files;
use crate::journal::reading::{self, Place, Records};
use crate::journal::scan::ScanEnd;
use crate::record::{Record, RecordError, Seq};

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

    /// A span with an index, from one number up to another that is not included.
    fn indexed(&mut self, index: &IndexFile, from: Seq, to: Seq, first_group: Place) -> Flow {
        if from >= to {
            return ON;
        }
        let candidates = match index.candidates(self.query) {
            Ok(candidates) => candidates,
            Err(fault) => {
                self.searched.faults.push((index.path.clone(), fault));
                return self.plain(from, to, Some(first_group));
            }
        };
        // Reading many records one by one takes longer than reading all.
        if candidates.len() > index.header.count / 8 {
            return self.plain(from, to, Some(first_group));
        }
        self.searched.indexed += to.get() - from.get();
        let mut shown = None;
        match self.named(index, &candidates, &mut shown) {
            Ok(flow) => Ok(flow),
            Err(fault) => {
                self.searched.faults.push((index.path.clone(), fault));
                // What was shown before the fault stays shown, and is not shown again.
                match (self.order, shown) {
                    (_, None) => self.plain(from, to, Some(first_group)),
                    (Order::OldestFirst, Some(shown)) => self.plain(shown.next(), to, Some(first_group)),
                    (Order::NewestFirst, Some(shown)) => self.plain(from, shown, Some(first_group)),
                }
            }
        }
    }

    /// The records that an index names.
    fn named(
        &mut self,
        index: &IndexFile,
        candidates: &Bits,
        shown: &mut Option<Seq>,
    ) -> Result<ControlFlow<()>, IndexFault> {
        let mut places = Places { index, block: None };
        let ordinals: Box<dyn Iterator<Item = u32>> = match self.order {
            Order::OldestFirst => Box::new(candidates.iter()),
            Order::NewestFirst => Box::new(candidates.iter().rev()),
        };
        for ordinal in ordinals {
            let seq = Seq::new(index.header.first.get() + u64::from(ordinal));
            let (bytes, sealed) = self.records.at(places.of(ordinal)?)?;
            let wrong = IndexFault::Wrong { seq };
            let link = if ordinal + 1 == index.header.count {
                Some(index.header.end)
            } else {
                fields::prev(&self.records.at(places.of(ordinal + 1)?)?.0)
            };
            if link != Some(Digest::leaf(&bytes)) {
                return Err(wrong);
            }
            let Some(record) = Record::parse(&bytes).ok().filter(|record| record.seq == seq) else {
                return Err(wrong);
            };
            if self.query.matches(&record, &bytes) {
                *shown = Some(seq);
                if self.show(Hit { record: &record, bytes: &bytes, sealed: &sealed }).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Reads everything from one number up to another that is not included.
    fn plain(&mut self, from: Seq, to: Seq, start: Option<Place>) -> Flow {
        match self.order {
            Order::OldestFirst => self.plain_forwards(from, to, start),
            Order::NewestFirst => self.plain_backwards(from, to, start),
        }
    }

    fn plain_forwards(&mut self, mut from: Seq, to: Seq, start: Option<Place>) -> Flow {
        let mut start = start;
        loop {
            let (mut enough, mut trouble) = (false, None);
            let read = {
                let Self { files, query, sieve, left, take, .. } = self;
                reading::read(files, start, from, &mut |found| {
                    if found.seq >= to {
                        return ControlFlow::Break(());
                    }
                    from = found.seq.next();
                    match parse(query, sieve, found.seq, found.record) {
                        Ok(None) => ControlFlow::Continue(()),
                        Ok(Some(record)) => {
                            let hit = Hit { record: &record, bytes: found.record, sealed: found.sealed };
                            let flow = show(left, *take, hit);
                            enough = flow.is_break();
                            flow
                        }
                        Err(error) => {
                            trouble = Some(error);
                            ControlFlow::Break(())
                        }
                    }
                })?
            };
            if let Some(error) = trouble {
                return Err(error);
            }
            let damaged = matches!(read.end, ScanEnd::Damaged { .. });
            if damaged && start.take().is_some() {
                // A wrong index may have said where to begin.
                continue;
            }
            self.searched.place = read.place;
            self.searched.next = self.searched.next.max(from);
            if read.end != ScanEnd::Stopped {
                self.searched.end = Some(read.end);
            }
            return Ok(if enough || damaged { ControlFlow::Break(()) } else { ControlFlow::Continue(()) });
        }
    }

    /// Notes where the wanted records lie, segment by segment, and then shows them from the last on. A place is
    /// short, so that a segment full of them is little; and of more than are wanted the first are forgotten.
    fn plain_backwards(&mut self, from: Seq, to: Seq, start: Option<Place>) -> Flow {
        let segments = self.files.segments()?;
        let after = segments.partition_point(|segment| segment.first <= from);
        let mut bounds: Vec<Seq> = segments.iter().skip(after).map(|segment| segment.first).collect();
        bounds.retain(|bound| *bound < to);
        bounds.insert(0, from);
        let mut until = to;
        for (number, from) in bounds.into_iter().enumerate().rev() {
            let start = start.filter(|_| number == 0);
            if self.one_backwards(from, until, start)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
            until = from;
        }
        ON
    }

    fn one_backwards(&mut self, from: Seq, to: Seq, start: Option<Place>) -> Flow {
        let keep = usize::try_from(self.left).unwrap_or(usize::MAX);
        let mut wanted: VecDeque<(Seq, Place)> = VecDeque::new();
        let (mut trouble, mut next) = (None, from);
        let read = reading::read(self.files, start, from, &mut |found| {
            if found.seq >= to {
                return ControlFlow::Break(());
            }
            next = found.seq.next();
            match parse(self.query, &self.sieve, found.seq, found.record) {
                Ok(None) => {}
                Ok(Some(_)) => {
                    if wanted.len() >= keep {
                        wanted.pop_front();
                    }
                    wanted.push_back((found.seq, found.at));
                }
                Err(error) => {
                    trouble = Some(error);
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        })?;
        if let Some(error) = trouble {
            return Err(error);
        }
        let damaged = matches!(read.end, ScanEnd::Damaged { .. });
        if damaged && start.is_some() {
            return self.one_backwards(from, to, None);
        }
        // Only the last piece reaches the journal's end, and it comes first.
        if read.end != ScanEnd::Stopped {
            self.searched.end.get_or_insert(read.end);
            if next > self.searched.next {
                (self.searched.next, self.searched.place) = (next, read.place);
            }
        }
        for (seq, place) in wanted.into_iter().rev() {
            let (bytes, sealed) = self.records.at(place)?;
            let record = Record::parse(&bytes).map_err(|source| SearchError::Record { seq, source })?;
            if self.show(Hit { record: &record, bytes: &bytes, sealed: &sealed }).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(if damaged { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
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

/// The record if it is wanted.
fn parse(query: &Query, sieve: &Sieve, seq: Seq, bytes: &[u8]) -> Result<Option<Record>, SearchError> {
    if !sieve.passes(bytes) {
        return Ok(None);
    }
    let record = Record::parse(bytes).map_err(|source| SearchError::Record { seq, source })?;
    Ok(query.matches(&record, bytes).then_some(record))
}

/// Which records of a span can fit a query.
#[cfg(feature = "ledger")]
pub(crate) struct Named {
    /// The records.
    pub(crate) records: Vec<Seq>,
    /// The number after the last one of the span.
    pub(crate) end: Seq,
}

/// What an index file says, if it is whole and of the ledger whose records `record` gives.
#[cfg(feature = "ledger")]
pub(crate) fn named_by<E>(
    span: &SpanPath,
    query: &Query,
    record: &dyn Fn(Seq) -> Result<Option<Vec<u8>>, E>,
) -> Result<Option<Named>, E> {
    let Ok(index) = IndexFile::open(&span.path) else { return Ok(None) };
    let Header { first, .. } = index.header;
    let end = index.header.end_seq();
    let Some(last) = record(Seq::new(end.get().saturating_sub(1)))? else { return Ok(None) };
    if first != span.first || index.ends_with(&last).is_err() {
        return Ok(None);
    }
    let Ok(candidates) = index.candidates(query) else { return Ok(None) };
    let records = candidates.iter().map(|ordinal| Seq::new(first.get() + u64::from(ordinal)));
    Ok(Some(Named { records: records.collect(), end }))
}

/// Opens an index file, and makes sure that it is of this ledger as it is now.
pub(super) fn open(span: &SpanPath, records: &mut Records<'_>) -> Result<IndexFile, IndexFault> {
    let index = IndexFile::open(&span.path)?;
    if index.header.first != span.first {
        return Err(IndexFault::Damaged);
    }
    let last = index.header.count - 1;
    let place = Places { index: &index, block: None }.of(last)?;
    // A place that is not in this journal says that the index is not of this ledger.
    let (bytes, _) = records.at(place).map_err(|_| IndexFault::Foreign)?;
    index.ends_with(&bytes)?;
    Ok(index)
}

/// Where records lie, with the block that was read last.
struct Places<'i> {
    index: &'i IndexFile,
    block: Option<(u32, Vec<Place>)>,
}

impl Places<'_> {
    fn of(&mut self, ordinal: u32) -> Result<Place, IndexFault> {
        let block = ordinal / BLOCK;
        if self.block.as_ref().is_none_or(|(number, _)| *number != block) {
            self.block = Some((block, self.index.places(block)?));
        }
        let places = self.block.as_ref().and_then(|(_, places)| places.get((ordinal % BLOCK) as usize));
        places.copied().ok_or(IndexFault::Damaged)
    }
}

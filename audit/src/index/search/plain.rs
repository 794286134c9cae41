//! Pieces of the journal that are read whole: no index speaks for them, or none that can be believed.

use std::collections::VecDeque;
use std::ops::ControlFlow;

use super::{Flow, Hit, ON, Order, SearchError, Work, show};
use crate::index::Query;
use crate::index::query::Sieve;
use crate::journal::reading::{self, Place};
use crate::journal::scan::ScanEnd;
use crate::record::{Record, Seq};

impl Work<'_, '_> {
    /// Reads everything from one number up to another that is not included.
    pub(super) fn plain(&mut self, from: Seq, to: Seq, start: Option<Place>) -> Flow {
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
}

/// The record if it is wanted.
fn parse(query: &Query, sieve: &Sieve, seq: Seq, bytes: &[u8]) -> Result<Option<Record>, SearchError> {
    if !sieve.passes(bytes) {
        return Ok(None);
    }
    let record = Record::parse(bytes).map_err(|source| SearchError::Record { seq, source })?;
    Ok(query.matches(&record, bytes).then_some(record))
}

//! Spans of which an index names the records: only these are read, and each is compared with its link.

use std::ops::ControlFlow;

use super::{Flow, Hit, ON, Order, Work};
use crate::digest::Digest;
use crate::index::bits::Bits;
use crate::index::directory::SpanPath;
use crate::index::file::IndexFile;
use crate::index::header::BLOCK;
use crate::index::{IndexFault, fields};
#[cfg(feature = "ledger")]
use crate::index::{Query, header::Header};
use crate::journal::reading::Place;
use crate::journal::records::Records;
use crate::record::{Record, Seq};

impl Work<'_, '_> {
    /// A span with an index, from one number up to another that is not included.
    pub(super) fn indexed(&mut self, index: &IndexFile, from: Seq, to: Seq, first_group: Place) -> Flow {
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
pub(in crate::index) fn open(span: &SpanPath, records: &mut Records<'_>) -> Result<IndexFile, IndexFault> {
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

//! Gathers what an index file says of a span, record by record.

use std::collections::BTreeMap;

use super::MAX_SPAN;
use super::fields::Fields;
use super::file::IndexFile;
use super::header::{BLOCK, Header, Page, Times};
use super::query::people;
use super::summary::{self, Amount, Group, Summary};
use super::term::{Term, Terms};
use super::{IndexFault, postings};
use crate::digest::Digest;
use crate::journal::reading::{Found, Place};
use crate::record::{RecordReader, Seq};

/// One index file in the making. It holds some megabytes at most, whatever the ledger's size.
pub(super) struct Span {
    first: Seq,
    end: Option<Last>,
    segments: Vec<(u32, Seq)>,
    places: Vec<u32>,
    times: Vec<Times>,
    terms: BTreeMap<Term, Vec<u32>>,
    known: Terms,
    reader: RecordReader,
    summary: Summary,
    /// The record that was added last.
    last: Vec<u8>,
}

struct Last {
    /// The groups that hold the first record and this one.
    groups: [Place; 2],
}

impl Span {
    /// Of the records from `first` on.
    pub(super) fn new(first: Seq) -> Self {
        Self {
            first,
            end: None,
            segments: Vec::new(),
            places: Vec::new(),
            times: Vec::new(),
            terms: BTreeMap::new(),
            known: Terms::default(),
            reader: RecordReader::default(),
            summary: Summary::new(),
            last: Vec::new(),
        }
    }

    /// How many records there are so far.
    pub(super) fn count(&self) -> u64 {
        self.places.len() as u64
    }

    /// Adds the next record, with what it can be found by.
    pub(super) fn add(&mut self, found: &Found<'_>) -> Result<(), IndexFault> {
        let ordinal = u32::try_from(self.places.len()).map_err(|_| IndexFault::Damaged)?;
        if u64::from(ordinal) >= MAX_SPAN || found.seq.get() != self.first.get() + u64::from(ordinal) {
            return Err(IndexFault::Order { seq: found.seq });
        }
        let fields =
            Fields::read(found.record, &mut self.reader).ok_or(IndexFault::Record { seq: found.seq })?;
        self.places.push(u32::try_from(found.at.offset).map_err(|_| IndexFault::Record { seq: found.seq })?);
        if self.segments.last().is_none_or(|(_, segment)| *segment != found.at.segment) {
            self.segments.push((ordinal, found.at.segment));
        }
        let second = fields.time.as_second();
        match self.times.last_mut().filter(|_| !ordinal.is_multiple_of(BLOCK)) {
            Some(times) => {
                *times = Times { first: times.first.min(second), last: times.last.max(second) };
            }
            None => self.times.push(Times { first: second, last: second }),
        }
        let known = &mut self.known;
        let terms = fields.values().map(|(field, value)| known.term(field, value.as_bytes()));
        for term in terms.chain(people(found.sealed)) {
            let records = self.terms.entry(term).or_default();
            // Subject and target may be one person, and two values may fall together.
            if records.last() != Some(&ordinal) {
                records.push(ordinal);
            }
        }
        let group = Group {
            day: summary::day(fields.time),
            kind: fields.kind.into_owned(),
            result: fields.result.into_owned(),
        };
        let amount = Amount::one(fields.time, found.record.len(), found.sealed.len());
        self.summary.entry(group).and_modify(|sum| sum.add(&amount)).or_insert(amount);
        let first = self.end.as_ref().map_or(found.group, |last| last.groups[0]);
        self.end = Some(Last { groups: [first, found.group] });
        self.last.clear();
        self.last.extend_from_slice(found.record);
        Ok(())
    }

    /// The bytes of the file; `None` when there is no record.
    pub(super) fn finish(self) -> Option<Vec<u8>> {
        let (header, mut pages) = self.write()?;
        let mut bytes = header.to_bytes()?;
        bytes.append(&mut pages);
        Some(bytes)
    }

    /// Whether an index file says the same.
    pub(super) fn agrees_with(self, index: &IndexFile) -> Result<(), IndexFault> {
        let wrong = IndexFault::Wrong { seq: self.first };
        index.read_all()?;
        // A page stands in the header with its checksum, so that the same header is the same file.
        let (header, _) = self.write().ok_or(IndexFault::Damaged)?;
        if header == index.header { Ok(()) } else { Err(wrong) }
    }

    fn write(self) -> Option<(Header, Vec<u8>)> {
        let end = self.end?;
        let mut pages = Vec::new();
        let mut page = |bytes: &[u8]| {
            let offset = u32::try_from(pages.len()).ok()?;
            pages.extend_from_slice(bytes);
            Some(Page { offset, length: u32::try_from(bytes.len()).ok()?, crc: crc32c::crc32c(bytes) })
        };
        let places = self.places.chunks(BLOCK as usize).map(|block| {
            let bytes: Vec<u8> = block.iter().flat_map(|place| place.to_le_bytes()).collect();
            page(&bytes)
        });
        let places = places.collect::<Option<_>>()?;
        let summary = page(&summary::to_bytes(&self.summary))?;
        let terms =
            postings::pages(&self.terms).into_iter().map(|(first, bytes)| Some((first, page(&bytes)?)));
        let terms = terms.collect::<Option<_>>()?;
        let header = Header {
            first: self.first,
            count: u32::try_from(self.places.len()).ok()?,
            end: Digest::leaf(&self.last),
            groups: end.groups,
            segments: self.segments,
            times: self.times,
            places,
            summary,
            terms,
        };
        Some((header, pages))
    }
}

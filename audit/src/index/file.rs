//! One index file, read a page at a time.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::bits::Bits;
use super::header::{BLOCK, FRONT_BYTES, Header, Page};
use super::summary::{self, Summary};
use super::term::Term;
use super::{Query, postings};
use crate::digest::Digest;
use crate::journal::reading::Place;
use crate::journal::records::fill;
use crate::record::Seq;

/// Why a span is read without its index.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IndexFault {
    /// It cannot be read, or written.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// A checksum is wrong, or lengths do not fit together.
    #[error("it is damaged")]
    Damaged,
    /// Written by a newer program.
    #[error("it is written in a format that this program does not know")]
    Version,
    /// Its last record is not the journal's.
    #[error("it is of another ledger, or of what this ledger was before")]
    Foreign,
    /// A record does not carry the number that it must have.
    #[error("record {seq} is not where it belongs")]
    Order {
        /// The number that was found.
        seq: Seq,
    },
    /// A record of the journal cannot be indexed.
    #[error("record {seq} of the journal cannot be read")]
    Record {
        /// Its number.
        seq: Seq,
    },
    /// What the index says of a record is not so.
    #[error("it is wrong about record {seq}")]
    Wrong {
        /// Its number.
        seq: Seq,
    },
}

impl PartialEq for IndexFault {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

/// An index file whose header was read.
pub(super) struct IndexFile {
    pub(super) path: PathBuf,
    pub(super) header: Header,
    file: File,
    pages_at: u64,
}

impl IndexFile {
    /// Reads the header.
    pub(super) fn open(path: &Path) -> Result<Self, IndexFault> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        // Most headers are shorter than this, and then one read brings all.
        let mut bytes = vec![0; 8192];
        let mut have = fill(&file, &mut bytes, 0)?;
        let front =
            *bytes.first_chunk::<FRONT_BYTES>().filter(|_| have >= FRONT_BYTES).ok_or(IndexFault::Damaged)?;
        let whole = FRONT_BYTES + Header::announced(&front)?;
        if whole > have {
            bytes.resize(whole, 0);
            have = fill(&file, &mut bytes, 0)?;
        }
        let body = bytes.get(FRONT_BYTES..whole).filter(|_| have >= whole).ok_or(IndexFault::Damaged)?;
        let pages_at = whole as u64;
        let header = Header::parse(&front, body, length.saturating_sub(pages_at))?;
        Ok(Self { path: path.to_owned(), header, file, pages_at })
    }

    fn page(&self, page: &Page) -> Result<Vec<u8>, IndexFault> {
        let mut bytes = vec![0; page.length as usize];
        let have = fill(&self.file, &mut bytes, self.pages_at + u64::from(page.offset))?;
        if have < bytes.len() || crc32c::crc32c(&bytes) != page.crc {
            return Err(IndexFault::Damaged);
        }
        Ok(bytes)
    }

    /// The records of one term.
    pub(super) fn term(&self, term: Term) -> Result<Bits, IndexFault> {
        let after = self.header.terms.partition_point(|(first, _)| *first <= term.0);
        match after.checked_sub(1).and_then(|at| self.header.terms.get(at)) {
            None => Ok(Bits::none(self.header.count)),
            Some((_, page)) => {
                postings::find(&self.page(page)?, term, self.header.count).ok_or(IndexFault::Damaged)
            }
        }
    }

    /// The records that can fit the query; all that do fit it are among them.
    pub(super) fn candidates(&self, query: &Query) -> Result<Bits, IndexFault> {
        let Header { first, count, .. } = self.header;
        let inside =
            |seq: Seq| u32::try_from(seq.get().saturating_sub(first.get())).unwrap_or(u32::MAX).min(count);
        let to = query.selection.to.map_or(count, |to| if to < first { 0 } else { inside(to.next()) });
        let mut found = Bits::range(count, inside(query.selection.from), to);
        let mut in_time = Bits::none(count);
        for (at, times) in (0..).step_by(BLOCK as usize).zip(&self.header.times) {
            if query.may_lie_within(times.first, times.last) {
                in_time.unite(&Bits::range(count, at, at + BLOCK));
            }
        }
        found.intersect(&in_time);
        for any_of in query.terms() {
            if found.is_empty() {
                break;
            }
            let mut either = Bits::none(count);
            for term in any_of {
                either.unite(&self.term(term)?);
            }
            found.intersect(&either);
        }
        Ok(found)
    }

    /// Where the records of one block lie.
    pub(super) fn places(&self, block: u32) -> Result<Vec<Place>, IndexFault> {
        let page = self.header.places.get(block as usize).ok_or(IndexFault::Damaged)?;
        let bytes = self.page(page)?;
        let offsets = bytes.chunks_exact(4).filter_map(|four| four.try_into().ok()).map(u32::from_le_bytes);
        let first = block.saturating_mul(BLOCK);
        let place = |(ordinal, offset): (u32, u32)| {
            Some(Place { segment: self.header.segment(ordinal)?, offset: u64::from(offset) })
        };
        (first..self.header.count).zip(offsets).map(place).collect::<Option<_>>().ok_or(IndexFault::Damaged)
    }

    /// What there is how often.
    pub(super) fn summary(&self) -> Result<Summary, IndexFault> {
        summary::parse(&self.page(&self.header.summary)?).ok_or(IndexFault::Damaged)
    }

    /// Whether the ledger's record at the end of the span is the one that this was made for.
    pub(super) fn ends_with(&self, last: &[u8]) -> Result<(), IndexFault> {
        (Digest::leaf(last) == self.header.end).then_some(()).ok_or(IndexFault::Foreign)
    }

    /// Reads every page, so that a damaged one is found.
    pub(super) fn read_all(&self) -> Result<(), IndexFault> {
        let Header { places, summary, terms, .. } = &self.header;
        let mut pages = places.iter().chain([summary]).chain(terms.iter().map(|(_, page)| page));
        pages.try_for_each(|page| self.page(page).map(drop))
    }
}

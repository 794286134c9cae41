//! The front of an index file: what it covers, which ledger it belongs to, and where its pages are.
//!
//! Pure. Every length is bounded before it is believed, and the whole is checksummed; so is each page.

use crate::digest::Digest;
use crate::journal::frame::Cursor;
use crate::journal::reading::Place;
use crate::record::Seq;

use super::MAX_SPAN;
use super::file::IndexFault;

/// The first three bytes of an index file; the fourth is the version.
const MAGIC: &[u8; 3] = b"SPI";

/// The version that this program writes and reads.
pub(super) const VERSION: u8 = b'1';

/// How long the part before the header's body is, in bytes.
pub(super) const FRONT_BYTES: usize = 16;

/// The longest header that is read, in bytes.
const MAX_HEADER_BYTES: u32 = 4 * 1024 * 1024;

/// The longest page that is read, in bytes.
const MAX_PAGE_BYTES: u32 = 4 * 1024 * 1024;

/// How many records share one range of times, and one page of places.
pub(super) const BLOCK: u32 = 1024;

/// A piece of the file; its offset counts from the end of the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) offset: u32,
    pub(super) length: u32,
    pub(super) crc: u32,
}

/// The times of a block of records, whole seconds: none is before the first, none after the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Times {
    pub(super) first: i64,
    pub(super) last: i64,
}

/// See the module's documentation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// The number of the first record.
    pub(super) first: Seq,
    /// How many records it covers, at least one.
    pub(super) count: u32,
    /// The leaf hash of the last record.
    pub(super) end: Digest,
    /// The groups that hold the first and the last record.
    pub(super) groups: [Place; 2],
    /// From which record of the span on they lie in which segment.
    pub(super) segments: Vec<(u32, Seq)>,
    /// One for each block.
    pub(super) times: Vec<Times>,
    /// One for each block: where its records lie.
    pub(super) places: Vec<Page>,
    /// What there is how often.
    pub(super) summary: Page,
    /// Terms in order, with the first of each page.
    pub(super) terms: Vec<(u64, Page)>,
}

impl Header {
    /// The number after its last record.
    pub(super) fn end_seq(&self) -> Seq {
        Seq::new(self.first.get().saturating_add(u64::from(self.count)))
    }

    /// In which segment a record of the span lies.
    pub(super) fn segment(&self, ordinal: u32) -> Option<Seq> {
        let after = self.segments.partition_point(|(from, _)| *from <= ordinal);
        self.segments.get(after.checked_sub(1)?).map(|(_, segment)| *segment)
    }

    /// The bytes of the front and the body. `None` only if it is absurdly long.
    pub(super) fn to_bytes(&self) -> Option<Vec<u8>> {
        let mut body = Vec::with_capacity(4096);
        put(&mut body, self.first.get());
        body.extend_from_slice(&self.count.to_le_bytes());
        body.extend_from_slice(self.end.as_bytes());
        for group in self.groups {
            put(&mut body, group.segment.get());
            put(&mut body, group.offset);
        }
        put_count(&mut body, self.segments.len())?;
        for (from, segment) in &self.segments {
            body.extend_from_slice(&from.to_le_bytes());
            put(&mut body, segment.get());
        }
        for times in &self.times {
            body.extend_from_slice(&times.first.to_le_bytes());
            body.extend_from_slice(&times.last.to_le_bytes());
        }
        self.places.iter().for_each(|page| put_page(&mut body, page));
        put_page(&mut body, &self.summary);
        put_count(&mut body, self.terms.len())?;
        for (first, page) in &self.terms {
            put(&mut body, *first);
            put_page(&mut body, page);
        }
        let length = u32::try_from(body.len()).ok().filter(|length| *length <= MAX_HEADER_BYTES)?;
        let mut bytes = [MAGIC.as_slice(), &[VERSION], &length.to_le_bytes()].concat();
        bytes.extend_from_slice(&crc32c::crc32c(&body).to_le_bytes());
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        bytes.extend_from_slice(&body);
        Some(bytes)
    }

    /// How long the body is that this front announces.
    pub(super) fn announced(front: &[u8; FRONT_BYTES]) -> Result<usize, IndexFault> {
        let (head, check) = front.split_at(12);
        if crc32c::crc32c(head).to_le_bytes() != *check {
            return Err(IndexFault::Damaged);
        }
        match head {
            [a, b, c, version, l0, l1, l2, l3, ..] if [*a, *b, *c] == *MAGIC => {
                if *version != VERSION {
                    return Err(IndexFault::Version);
                }
                let length = u32::from_le_bytes([*l0, *l1, *l2, *l3]);
                (length <= MAX_HEADER_BYTES).then_some(length as usize).ok_or(IndexFault::Damaged)
            }
            _ => Err(IndexFault::Damaged),
        }
    }

    /// Reads the body behind its front, in a file with so many bytes of pages.
    pub(super) fn parse(front: &[u8; FRONT_BYTES], body: &[u8], page_bytes: u64) -> Result<Self, IndexFault> {
        let [.., c0, c1, c2, c3, _, _, _, _] = *front;
        if crc32c::crc32c(body) != u32::from_le_bytes([c0, c1, c2, c3]) {
            return Err(IndexFault::Damaged);
        }
        Self::parse_body(&mut Cursor::new(body, 0), page_bytes).ok_or(IndexFault::Damaged)
    }

    fn parse_body(cursor: &mut Cursor<'_>, page_bytes: u64) -> Option<Self> {
        let first = Seq::new(cursor.u64()?);
        let count = cursor.u32()?;
        if count == 0 || u64::from(count) > MAX_SPAN || first.get().checked_add(u64::from(count)).is_none() {
            return None;
        }
        let end = Digest::from_bytes(cursor.array()?);
        let groups = [place(cursor)?, place(cursor)?];
        let segments = (0..cursor.u32()?.min(count))
            .map(|_| Some((cursor.u32()?, Seq::new(cursor.u64()?))))
            .collect::<Option<Vec<_>>>()?;
        let blocks = count.div_ceil(BLOCK);
        let times = (0..blocks)
            .map(|_| {
                let first = i64::from_le_bytes(cursor.array()?);
                Some(Times { first, last: i64::from_le_bytes(cursor.array()?) })
            })
            .collect::<Option<Vec<_>>>()?;
        let places = (0..blocks).map(|_| page(cursor, page_bytes)).collect::<Option<Vec<_>>>()?;
        let summary = page(cursor, page_bytes)?;
        // Each takes twenty bytes, and the body is bounded.
        let terms = (0..cursor.u32()?)
            .map(|_| Some((cursor.u64()?, page(cursor, page_bytes)?)))
            .collect::<Option<Vec<_>>>()?;
        let header = Self { first, count, end, groups, segments, times, places, summary, terms };
        cursor.at_end().then_some(header)
    }
}

fn place(cursor: &mut Cursor<'_>) -> Option<Place> {
    Some(Place { segment: Seq::new(cursor.u64()?), offset: cursor.u64()? })
}

fn page(cursor: &mut Cursor<'_>, page_bytes: u64) -> Option<Page> {
    let page = Page { offset: cursor.u32()?, length: cursor.u32()?, crc: cursor.u32()? };
    let inside = u64::from(page.offset) + u64::from(page.length) <= page_bytes;
    (inside && page.length <= MAX_PAGE_BYTES).then_some(page)
}

fn put(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(&number.to_le_bytes());
}

fn put_count(out: &mut Vec<u8>, count: usize) -> Option<()> {
    out.extend_from_slice(&u32::try_from(count).ok()?.to_le_bytes());
    Some(())
}

fn put_page(out: &mut Vec<u8>, page: &Page) {
    for number in [page.offset, page.length, page.crc] {
        out.extend_from_slice(&number.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header() -> Header {
        let page = Page { offset: 4, length: 5, crc: 6 };
        Header {
            first: Seq::new(2048),
            count: 1500,
            end: Digest::leaf(b"x"),
            groups: [
                Place { segment: Seq::ZERO, offset: 9 },
                Place { segment: Seq::new(7), offset: 1 << 33 },
            ],
            segments: vec![(0, Seq::new(7)), (900, Seq::new(2948))],
            times: vec![Times { first: -5, last: 7 }, Times { first: 7, last: 70 }],
            places: vec![page, page],
            summary: page,
            terms: vec![(1, page), (u64::MAX, page)],
        }
    }

    fn parse(bytes: &[u8]) -> Result<Header, IndexFault> {
        let (front, body) = bytes.split_first_chunk().ok_or(IndexFault::Damaged)?;
        let length = Header::announced(front)?;
        Header::parse(front, body.get(..length).ok_or(IndexFault::Damaged)?, 1000)
    }

    #[test]
    fn a_header_reads_back_and_knows_where_its_records_lie() {
        let read = parse(&header().to_bytes().unwrap()).unwrap();
        assert_eq!(read, header());
        assert_eq!(read.segment(0), Some(Seq::new(7)));
        assert_eq!(read.segment(899), Some(Seq::new(7)));
        assert_eq!(read.segment(900), Some(Seq::new(2948)));
    }

    #[test]
    fn a_changed_byte_anywhere_is_found_and_a_later_version_is_named_as_such() {
        let bytes = header().to_bytes().unwrap();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert_eq!(parse(&changed), Err(IndexFault::Damaged), "byte {at}");
        }
        let mut later = bytes;
        later[3] = b'2';
        let check = crc32c::crc32c(&later[..12]).to_le_bytes();
        later[12..16].copy_from_slice(&check);
        assert_eq!(parse(&later), Err(IndexFault::Version));
    }

    #[test]
    fn a_page_that_lies_outside_the_file_is_refused() {
        let mut header = header();
        header.summary = Page { offset: 990, length: 11, crc: 0 };
        assert_eq!(parse(&header.to_bytes().unwrap()), Err(IndexFault::Damaged));
    }

    proptest! {
        #[test]
        fn no_body_makes_the_reader_panic(body in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = Header::parse_body(&mut Cursor::new(&body, 0), 1000);
        }
    }
}

//! The beginning of a segment file: which ledger, and where in it this segment goes on.
//!
//! The header repeats what the segments before it led to (size, last digest, right edge of the tree, last
//! signed head), so that a segment can be checked from its own beginning on, and so that segments from
//! different ledgers or in a wrong order are noticed at once. A verifier that has the earlier segments
//! compares; it never believes the header.

use super::frame::{self, Cursor, FRONT_BYTES, FrameKind, put_string};
use crate::chain::Chain;
use crate::digest::Digest;
use crate::record::Seq;

/// The format of segments that this program writes and reads.
pub const SEGMENT_VERSION: u32 = 1;

/// What stands at the beginning of a segment file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Which ledger, as in its heads.
    pub origin: String,
    /// The number of the first record in this segment.
    pub first: Seq,
    /// The digest of the record before it; [`Digest::ZERO`] in the first segment.
    pub prev: Digest,
    /// The right edge of the tree over all records before it.
    pub peaks: Vec<Digest>,
    /// The signed head over all records before it; empty in the first segment.
    pub note: String,
}

impl SegmentHeader {
    /// The header of a segment that goes on where `chain` stands.
    pub fn new(origin: &str, chain: &Chain, note: &str) -> Self {
        Self {
            origin: origin.to_owned(),
            first: chain.next(),
            prev: chain.prev(),
            peaks: chain.frontier().peaks().to_vec(),
            note: note.to_owned(),
        }
    }

    /// The frame to be written. `None` only if it is absurdly long.
    pub fn to_frame(&self) -> Option<Vec<u8>> {
        let mut bytes = Vec::with_capacity(512);
        frame::open(&mut bytes);
        bytes.extend_from_slice(&SEGMENT_VERSION.to_le_bytes());
        bytes.extend_from_slice(&self.first.get().to_le_bytes());
        bytes.extend_from_slice(self.prev.as_bytes());
        put_string(&mut bytes, self.origin.as_bytes());
        bytes.extend_from_slice(&u32::try_from(self.peaks.len()).ok()?.to_le_bytes());
        for peak in &self.peaks {
            bytes.extend_from_slice(peak.as_bytes());
        }
        put_string(&mut bytes, self.note.as_bytes());
        frame::close(FrameKind::Segment, &mut bytes)?;
        Some(bytes)
    }

    /// Reads a frame of kind [`FrameKind::Segment`].
    pub fn parse(frame: &[u8]) -> Result<Self, SegmentFault> {
        let mut cursor = Cursor::new(frame, FRONT_BYTES);
        let version = cursor.u32().ok_or(SegmentFault::Form)?;
        if version != SEGMENT_VERSION {
            return Err(SegmentFault::Version { found: version });
        }
        Self::parse_rest(&mut cursor).ok_or(SegmentFault::Form)
    }

    fn parse_rest(cursor: &mut Cursor<'_>) -> Option<Self> {
        let first = Seq::new(cursor.u64()?);
        let prev = Digest::from_bytes(cursor.array()?);
        let origin = String::from_utf8(cursor.string()?.to_vec()).ok()?;
        let count = cursor.u32()?;
        if count != first.get().count_ones() {
            return None;
        }
        let peaks = (0..count).map(|_| cursor.array().map(Digest::from_bytes)).collect::<Option<_>>()?;
        let note = String::from_utf8(cursor.string()?.to_vec()).ok()?;
        cursor.at_end().then_some(Self { origin, first, prev, peaks, note })
    }
}

/// Why a frame is not the beginning of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SegmentFault {
    /// The lengths do not fit together.
    #[error("its header cannot be read")]
    Form,
    /// Written by a newer program.
    #[error("it is written in segment format {found}, and this program reads format {SEGMENT_VERSION}")]
    Version {
        /// The version it names.
        found: u32,
    },
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_header_reads_back_at_every_size(size in 0_usize..200, note in ".{0,40}") {
            let mut chain = Chain::genesis();
            for n in 0..size {
                chain.extend(Digest::leaf(&n.to_be_bytes()));
            }
            let header = SegmentHeader::new("example.org/ledger", &chain, &note);
            prop_assert_eq!(SegmentHeader::parse(&header.to_frame().unwrap()), Ok(header));
        }

        #[test]
        fn no_bytes_make_the_header_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = SegmentHeader::parse(&bytes);
        }
    }

    #[test]
    fn a_segment_of_a_later_format_is_refused_with_its_version() {
        let mut frame = SegmentHeader::new("o", &Chain::genesis(), "").to_frame().unwrap();
        frame[FRONT_BYTES] = 2;
        assert_eq!(SegmentHeader::parse(&frame), Err(SegmentFault::Version { found: 2 }));
    }
}

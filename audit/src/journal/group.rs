//! A group: what one `fdatasync` makes durable and one signature covers.
//!
//! Body, all numbers little-endian: number of the first record (8 bytes), how many records (4); for each
//! record its length (2), the length of its sealed personal values (4, zero if it has none), the record,
//! the sealed values; at last the signed head (its length in 4 bytes, then the note).

use std::ops::Range;

use super::frame::{self, Cursor, FRONT_BYTES, FrameKind, put_string};
use crate::record::{MAX_RECORD_BYTES, Seq};

/// Where one record lies in a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Span {
    record: Range<usize>,
    sealed: Range<usize>,
}

/// A group with the bytes of its frame, borrowed from a file or owned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group<B> {
    bytes: B,
    first: Seq,
    spans: Vec<Span>,
    note: Range<usize>,
}

impl<B: AsRef<[u8]>> Group<B> {
    /// Takes a frame of kind [`FrameKind::Group`] apart. The frame's checksum is not looked at here.
    pub fn parse(frame: B) -> Result<Self, GroupFault> {
        let bytes = frame.as_ref();
        let mut cursor = Cursor::new(bytes, FRONT_BYTES);
        let (Some(first), Some(count)) = (cursor.u64(), cursor.u32()) else { return Err(GroupFault) };
        if count == 0 || first.checked_add(u64::from(count)).is_none() {
            return Err(GroupFault);
        }
        // Six bytes at least stand before each record, which bounds what is set aside for the count.
        let mut spans = Vec::with_capacity((count as usize).min(bytes.len() / 6));
        for _ in 0..count {
            spans.push(span(&mut cursor).ok_or(GroupFault)?);
        }
        let note = cursor.string().ok_or(GroupFault)?;
        let note = cursor.at() - note.len()..cursor.at();
        if !cursor.at_end() {
            return Err(GroupFault);
        }
        Ok(Self { first: Seq::new(first), spans, note, bytes: frame })
    }

    /// The number of its first record.
    pub fn first(&self) -> Seq {
        self.first
    }

    /// How many records it has; at least one.
    pub fn count(&self) -> u64 {
        self.spans.len() as u64
    }

    /// The number after its last record.
    pub fn end(&self) -> Seq {
        Seq::new(self.first.get().saturating_add(self.count()))
    }

    /// The whole frame.
    pub fn frame(&self) -> &[u8] {
        self.bytes.as_ref()
    }

    /// Each record with its number and the sealed values beside it, empty if it has none.
    pub fn records(&self) -> impl Iterator<Item = (Seq, &[u8], &[u8])> {
        self.spans
            .iter()
            .zip(self.first.get()..)
            .map(|(span, seq)| (Seq::new(seq), self.slice(&span.record), self.slice(&span.sealed)))
    }

    /// The record of this number and the sealed values beside it.
    pub fn record(&self, seq: Seq) -> Option<(&[u8], &[u8])> {
        let index = usize::try_from(seq.get().checked_sub(self.first.get())?).ok()?;
        let span = self.spans.get(index)?;
        Some((self.slice(&span.record), self.slice(&span.sealed)))
    }

    /// The signed head, as it stands there.
    pub fn note(&self) -> &[u8] {
        self.slice(&self.note)
    }

    /// Where in the frame the record of this number lies.
    pub fn record_range(&self, seq: Seq) -> Option<Range<usize>> {
        let index = usize::try_from(seq.get().checked_sub(self.first.get())?).ok()?;
        self.spans.get(index).map(|span| span.record.clone())
    }

    fn slice(&self, range: &Range<usize>) -> &[u8] {
        self.bytes.as_ref().get(range.clone()).unwrap_or_default()
    }
}

fn span(cursor: &mut Cursor<'_>) -> Option<Span> {
    let record = usize::from(cursor.u16()?);
    let sealed = cursor.u32()? as usize;
    cursor.take(record)?;
    let middle = cursor.at();
    cursor.take(sealed)?;
    Some(Span { record: middle - record..middle, sealed: middle..cursor.at() })
}

/// A frame is sound, or not even that, but its body is not a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("its lengths do not fit together")]
pub struct GroupFault;

/// Builds a group, record by record, in one buffer.
pub struct GroupWriter {
    bytes: Vec<u8>,
    first: Seq,
    spans: Vec<Span>,
}

impl GroupWriter {
    /// An empty group whose first record will have the number `first`.
    pub fn new(first: Seq, capacity: usize) -> Self {
        let mut bytes = Vec::with_capacity(capacity + 1024);
        frame::open(&mut bytes);
        bytes.extend_from_slice(&first.get().to_le_bytes());
        bytes.extend_from_slice(&0_u32.to_le_bytes());
        Self { bytes, first, spans: Vec::new() }
    }

    /// Lets `fill` append one record, and gives back its bytes. `None` if it is too long.
    pub fn record(&mut self, fill: impl FnOnce(&mut Vec<u8>)) -> Option<&[u8]> {
        let lengths = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 6]);
        let start = self.bytes.len();
        fill(&mut self.bytes);
        let length = self.bytes.len() - start;
        if length > MAX_RECORD_BYTES {
            self.bytes.truncate(lengths);
            return None;
        }
        let length = u16::try_from(length).ok()?.to_le_bytes();
        self.bytes.get_mut(lengths..lengths + 2)?.copy_from_slice(&length);
        let end = self.bytes.len();
        self.spans.push(Span { record: start..end, sealed: end..end });
        self.bytes.get(start..end)
    }

    /// Puts sealed values beside the record that was added last.
    pub fn seal(&mut self, sealed: &[u8]) {
        let Some(span) = self.spans.last_mut() else { return };
        let Ok(length) = u32::try_from(sealed.len()) else { return };
        if let Some(field) = self.bytes.get_mut(span.record.start - 4..span.record.start) {
            field.copy_from_slice(&length.to_le_bytes());
        }
        self.bytes.extend_from_slice(sealed);
        span.sealed.end = self.bytes.len();
    }

    /// Takes away the record that was added last, with what is beside it.
    pub fn take_back(&mut self) {
        if let Some(span) = self.spans.pop() {
            self.bytes.truncate(span.record.start.saturating_sub(6));
        }
    }

    /// How many bytes there are so far.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there is no record yet.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Closes the group with its signed head. `None` if it is empty or too long.
    pub fn finish(mut self, note: &str) -> Option<Group<Vec<u8>>> {
        if self.spans.is_empty() {
            return None;
        }
        let count = u32::try_from(self.spans.len()).ok()?.to_le_bytes();
        self.bytes.get_mut(FRONT_BYTES + 8..FRONT_BYTES + 12)?.copy_from_slice(&count);
        put_string(&mut self.bytes, note.as_bytes());
        frame::close(FrameKind::Group, &mut self.bytes)?;
        // It may lie in memory for a while, and what it grew into is up to twice what it needs.
        self.bytes.shrink_to_fit();
        let end = self.bytes.len();
        Some(Group { first: self.first, spans: self.spans, note: end - note.len()..end, bytes: self.bytes })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::journal::Frame;

    fn build(records: &[(Vec<u8>, Vec<u8>)]) -> Group<Vec<u8>> {
        let mut writer = GroupWriter::new(Seq::new(40), 0);
        for (record, sealed) in records {
            writer.record(|out| out.extend_from_slice(record)).unwrap();
            writer.seal(sealed);
        }
        writer.finish("note").unwrap()
    }

    proptest! {
        #[test]
        fn a_group_reads_back_as_it_was_built(records in proptest::collection::vec(
            (proptest::collection::vec(any::<u8>(), 0..40), proptest::collection::vec(any::<u8>(), 0..9)), 1..9
        )) {
            let group = build(&records);
            let frame = Frame::read(group.frame(), 0).unwrap().unwrap();
            prop_assert!(frame.sound);
            let read = Group::parse(frame.bytes).unwrap();
            prop_assert_eq!(read.note(), b"note");
            prop_assert_eq!(read.end(), Seq::new(40 + records.len() as u64));
            let back: Vec<_> = read.records().map(|(_, r, s)| (r.to_vec(), s.to_vec())).collect();
            prop_assert_eq!(back, records);
            prop_assert_eq!(read.record(Seq::new(39)), None);
            prop_assert_eq!(read.record(read.end()), None);
        }

        #[test]
        fn no_body_makes_the_group_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            let _ = Group::parse(bytes.as_slice());
        }

        #[test]
        fn no_change_of_one_byte_makes_the_group_reader_panic(at in 16_usize..100, to in any::<u8>()) {
            let mut bytes = build(&[(vec![1; 30], vec![2; 10]), (vec![3; 9], vec![])]).frame().to_vec();
            if let Some(byte) = bytes.get_mut(at) { *byte = to; }
            let _ = Group::parse(bytes.as_slice());
        }
    }

    #[test]
    fn a_record_that_is_taken_back_leaves_no_trace() {
        let records = [(vec![1; 30], vec![2; 10]), (vec![3; 9], vec![])];
        let mut writer = GroupWriter::new(Seq::new(40), 0);
        for (record, sealed) in &records {
            for other in [vec![7; 50], Vec::new()] {
                writer.record(|out| out.extend_from_slice(&other)).unwrap();
                writer.seal(&other);
                writer.take_back();
            }
            writer.record(|out| out.extend_from_slice(record)).unwrap();
            writer.seal(sealed);
        }
        assert_eq!(writer.finish("note").unwrap(), build(&records));
    }

    #[test]
    fn a_group_without_records_or_with_bytes_left_over_is_refused() {
        assert!(GroupWriter::new(Seq::ZERO, 0).finish("note").is_none());
        let mut bytes = build(&[(vec![1], vec![])]).frame().to_vec();
        bytes.push(0);
        assert_eq!(Group::parse(bytes.as_slice()), Err(GroupFault));
    }
}

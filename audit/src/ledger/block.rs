//! Records of consecutive numbers, packed together for the query store.
//!
//! A store entry costs about the same whether it holds one record or twenty, and neighbouring records repeat
//! most of their text; so what arrives together is stored together, and compressed (LZ4: the feeder shares the
//! machine with the ledger's own thread). Packing is only about room: what is read back is compared with
//! nothing here, as the store is only ever a copy.
//!
//! A packed block is: number of records (4 bytes) ‖ length of the rest before it was compressed (4) ‖ an LZ4
//! block of, for each record, its length (4), the length of its sealed values (4), the record, the sealed values.
//! Numbers are little-endian.

use super::store::Stored;
use crate::record::Seq;

/// A block is closed when it holds so many bytes; compressed it then usually fits one piece of the store.
const RAW_BYTES: usize = 12 * 1024;

/// The most bytes that a block is unpacked to: a full one, and the largest record behind it with room to spare.
const MAX_RAW_BYTES: usize = 1 << 20;

/// Collects records into a block.
#[derive(Default)]
pub(super) struct Packer {
    first: Option<Seq>,
    count: u32,
    raw: Vec<u8>,
}

impl Packer {
    /// Adds a record that follows on the one before it; gives back the block that became full with it.
    pub(super) fn add(&mut self, seq: Seq, record: &[u8], sealed: &[u8]) -> Option<(Seq, Vec<u8>)> {
        self.first.get_or_insert(seq);
        self.count += 1;
        for part in [record, sealed] {
            self.raw.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_le_bytes());
        }
        self.raw.extend_from_slice(record);
        self.raw.extend_from_slice(sealed);
        if self.raw.len() >= RAW_BYTES { self.finish() } else { None }
    }

    /// The block that was begun, with the number of its first record; `None` if none was.
    pub(super) fn finish(&mut self) -> Option<(Seq, Vec<u8>)> {
        let first = self.first.take()?;
        let length = u32::try_from(self.raw.len()).unwrap_or(u32::MAX);
        let mut block = Vec::with_capacity(self.raw.len());
        block.extend_from_slice(&std::mem::take(&mut self.count).to_le_bytes());
        block.extend_from_slice(&length.to_le_bytes());
        block.extend_from_slice(&lz4_flex::block::compress(&self.raw));
        self.raw.clear();
        Some((first, block))
    }
}

/// The records from `from` on of a block whose first has the number `first`; `None` when it is not whole.
pub(super) fn unpack(first: Seq, block: &[u8], from: Seq) -> Option<Vec<Stored>> {
    let (count, rest) = block.split_first_chunk::<4>()?;
    let (length, packed) = rest.split_first_chunk::<4>()?;
    let (count, length) = (u32::from_le_bytes(*count), u32::from_le_bytes(*length) as usize);
    if length > MAX_RAW_BYTES {
        return None;
    }
    let raw = lz4_flex::block::decompress(packed, length).ok().filter(|raw| raw.len() == length)?;
    let mut rest = raw.as_slice();
    let mut records = Vec::new();
    for number in 0..u64::from(count) {
        let (record, after) = rest.split_first_chunk::<4>()?;
        let (sealed, after) = after.split_first_chunk::<4>()?;
        let (record, after) = after.split_at_checked(u32::from_le_bytes(*record) as usize)?;
        let (sealed, after) = after.split_at_checked(u32::from_le_bytes(*sealed) as usize)?;
        let seq = Seq::new(first.get().checked_add(number)?);
        if seq >= from {
            records.push(Stored { seq, record: record.to_vec(), sealed: sealed.to_vec() });
        }
        rest = after;
    }
    (rest.is_empty() && count > 0).then_some(records)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All blocks that these records make.
    fn pack(first: u64, records: &[(Vec<u8>, Vec<u8>)]) -> Vec<(Seq, Vec<u8>)> {
        let mut packer = Packer::default();
        let numbered = records.iter().zip(first..);
        let full = numbered.filter_map(|((record, sealed), seq)| packer.add(Seq::new(seq), record, sealed));
        let mut blocks: Vec<_> = full.collect();
        blocks.extend(packer.finish());
        assert!(packer.finish().is_none());
        blocks
    }

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked_the_same_and_in_order(records in proptest::collection::vec(
            (proptest::collection::vec(any::<u8>(), 0..4000), proptest::collection::vec(any::<u8>(), 0..2000)), 0..30
        )) {
            let blocks = pack(40, &records);
            let back: Vec<_> = blocks.iter().flat_map(|(first, block)| unpack(*first, block, Seq::ZERO).unwrap()).collect();
            let wanted: Vec<_> = records.into_iter().zip(40..)
                .map(|((record, sealed), seq)| Stored { seq: Seq::new(seq), record, sealed }).collect();
            prop_assert_eq!(back, wanted);
        }

        #[test]
        fn no_bytes_make_the_unpacker_panic(first in any::<u64>(), bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = unpack(Seq::new(first), &bytes, Seq::ZERO);
        }

        #[test]
        fn a_block_that_is_cut_is_not_whole(cut in 0_usize..300) {
            let records: Vec<_> = (0_u8..40).map(|n| (vec![n; 40], vec![n ^ 9; 10])).collect();
            let (first, block) = pack(0, &records).remove(0);
            prop_assume!(cut < block.len());
            prop_assert!(unpack(first, &block[..cut], Seq::ZERO).is_none());
        }
    }

    #[test]
    fn a_block_that_says_it_is_huge_is_not_unpacked() {
        let (first, mut block) = pack(0, &[(vec![1; 100], Vec::new())]).remove(0);
        block[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(unpack(first, &block, Seq::ZERO).is_none());
    }

    #[test]
    fn only_the_wanted_records_are_taken_out_of_a_block() {
        let records: Vec<_> = (0_u8..9).map(|n| (vec![n; 40], Vec::new())).collect();
        let (first, block) = pack(100, &records).remove(0);
        let wanted = unpack(first, &block, Seq::new(106)).unwrap();
        assert_eq!(wanted.iter().map(|stored| stored.seq.get()).collect::<Vec<_>>(), [106, 107, 108]);
        assert_eq!(unpack(first, &block, Seq::new(200)), Some(Vec::new()));
    }

    #[test]
    fn neighbouring_records_share_a_block_and_a_block_is_bounded() {
        let records = vec![(vec![b'x'; 700], Vec::new()); 100];
        let blocks = pack(0, &records);
        assert!(blocks.len() > 3 && blocks.len() < 10, "{} blocks", blocks.len());
    }
}

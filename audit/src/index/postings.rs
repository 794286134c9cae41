//! Pages of terms: each with the records of the span that it fits.
//!
//! A page is entries in the order of their terms: the term (8 bytes), how many records, and for each record
//! how many lie between it and the one before it. Counts and gaps are written with seven bits in a byte, the
//! lowest first, and the eighth says that more follow (LEB128).

use std::collections::BTreeMap;

use super::bits::Bits;
use super::term::Term;
use crate::journal::frame::Cursor;

/// A page is closed when it has so many bytes.
const PAGE_BYTES: usize = 4096;

/// Each page's first term and its bytes.
pub(super) fn pages(terms: &BTreeMap<Term, Vec<u32>>) -> Vec<(u64, Vec<u8>)> {
    let mut pages: Vec<(u64, Vec<u8>)> = Vec::new();
    for (term, records) in terms {
        if pages.last().is_none_or(|(_, page)| page.len() >= PAGE_BYTES) {
            pages.push((term.0, Vec::with_capacity(PAGE_BYTES + 64)));
        }
        let Some((_, page)) = pages.last_mut() else { continue };
        page.extend_from_slice(&term.0.to_le_bytes());
        put(page, u32::try_from(records.len()).unwrap_or(u32::MAX));
        let mut next = 0;
        for record in records {
            put(page, record.saturating_sub(next));
            next = record.saturating_add(1);
        }
    }
    pages
}

/// The records of one term, of a span of `count`. `None` when the page cannot be read.
pub(super) fn find(page: &[u8], term: Term, count: u32) -> Option<Bits> {
    let mut found = Bits::none(count);
    let mut cursor = Cursor::new(page, 0);
    while !cursor.at_end() {
        let at = cursor.u64()?;
        let records = get(&mut cursor)?;
        let mut next: u32 = 0;
        // Each takes a byte at least, and the page is bounded.
        for _ in 0..records {
            let record = next.checked_add(get(&mut cursor)?)?;
            if record >= count {
                return None;
            }
            if at == term.0 {
                found.insert(record);
            }
            next = record + 1;
        }
        if at >= term.0 {
            break;
        }
    }
    Some(found)
}

fn put(out: &mut Vec<u8>, mut number: u32) {
    loop {
        let [low, ..] = number.to_le_bytes();
        number >>= 7;
        if number == 0 {
            return out.push(low & 0x7f);
        }
        out.push(low | 0x80);
    }
}

fn get(cursor: &mut Cursor<'_>) -> Option<u32> {
    let mut number = 0_u32;
    for shift in [0, 7, 14, 21, 28] {
        let [byte] = cursor.array()?;
        number |= u32::from(byte & 0x7f).checked_mul(1_u32 << shift)?;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_term_is_found_in_its_page_and_no_other_is(
            sets in proptest::collection::btree_map(0_u64..4000, proptest::collection::btree_set(0_u32..500, 1..60), 1..80)
        ) {
            let terms: BTreeMap<_, Vec<u32>> =
                sets.iter().map(|(term, set)| (Term(*term), set.iter().copied().collect())).collect();
            let pages = pages(&terms);
            for asked in sets.keys().copied().chain(0..20) {
                let page = pages.partition_point(|(first, _)| *first <= asked).checked_sub(1);
                let found = page.map(|page| find(&pages[page].1, Term(asked), 500).unwrap());
                let found: BTreeSet<u32> = found.map(|bits| bits.iter().collect()).unwrap_or_default();
                prop_assert_eq!(found, sets.get(&asked).cloned().unwrap_or_default());
            }
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), term: u64) {
            let _ = find(&bytes, Term(term), 500);
        }

        #[test]
        fn a_number_reads_back(number: u32) {
            let mut bytes = Vec::new();
            put(&mut bytes, number);
            prop_assert_eq!(get(&mut Cursor::new(&bytes, 0)), Some(number));
        }
    }
}

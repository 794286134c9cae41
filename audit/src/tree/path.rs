//! Makes proofs from leaf hashes that pass by once, in order, without keeping them.
//!
//! The hashes of a proof are the roots of ranges that do not overlap; so each range gets a
//! [`Frontier`] of its own and a leaf goes to the one whose range it lies in. Memory is a few kilobytes for
//! a ledger of any size.

use std::ops::Range;

use super::Frontier;
use crate::digest::Digest;

/// Takes the leaf hashes of a tree from the first to the last, and gives one proof.
#[derive(Clone, Debug)]
pub struct PathBuilder {
    size: u64,
    next: u64,
    /// From left to right.
    parts: Vec<Part>,
    /// The part in which the next leaf may lie.
    cursor: usize,
}

#[derive(Clone, Debug)]
struct Part {
    range: Range<u64>,
    /// Where its root stands in the proof, counted from the end.
    depth: usize,
    frontier: Frontier,
}

impl PathBuilder {
    /// For the audit path of RFC 6962 section 2.1.1 of leaf `index` in a tree of `size` leaves. `None` when
    /// there is no such leaf.
    pub fn inclusion(index: u64, size: u64) -> Option<Self> {
        // Here the first range is the largest one.
        audit_ranges(index, size).map(|ranges| Self::new(size, ranges.into_iter().rev().collect()))
    }

    /// For the consistency proof of RFC 6962 section 2.1.2 from the first `old` leaves to all `new`. `None`
    /// when `old` is zero or larger than `new`.
    pub fn consistency(old: u64, new: u64) -> Option<Self> {
        (old > 0 && old <= new).then(|| {
            let mut ranges = Vec::new();
            let mut whole = true;
            let rest = descend(new, |range, middle| {
                (range.end != old).then(|| {
                    whole &= old <= middle;
                    turn(&mut ranges, &range, middle, old <= middle)
                })
            });
            if !whole {
                ranges.push(rest);
            }
            Self::new(new, ranges)
        })
    }

    fn new(size: u64, ranges: Vec<Range<u64>>) -> Self {
        let part = |(depth, range)| Part { range, depth, frontier: Frontier::default() };
        let mut parts: Vec<_> = ranges.into_iter().enumerate().map(part).collect();
        parts.sort_by_key(|part| part.range.start);
        Self { size, next: 0, parts, cursor: 0 }
    }

    /// Takes the next leaf hash. What comes behind the end of the tree is passed over.
    pub fn push(&mut self, leaf: Digest) {
        let at = self.next;
        self.next += 1;
        while self.parts.get(self.cursor).is_some_and(|part| part.range.end <= at) {
            self.cursor += 1;
        }
        if let Some(part) = self.parts.get_mut(self.cursor).filter(|part| part.range.contains(&at)) {
            part.frontier.push(leaf);
        }
    }

    /// Takes a full subtree of `2^height` leaves in place of its leaves. `false` when it cannot begin here or is not
    /// wholly within, or wholly outside of, one of the ranges whose roots are wanted.
    #[must_use]
    pub fn push_subtree(&mut self, height: u32, root: Digest) -> bool {
        if height >= 63 || !self.next.is_multiple_of(1 << height) {
            return false;
        }
        let (first, end) = (self.next, self.next + (1 << height));
        while self.parts.get(self.cursor).is_some_and(|part| part.range.end <= first) {
            self.cursor += 1;
        }
        self.next = end;
        match self.parts.get_mut(self.cursor).filter(|part| part.range.start < end) {
            None => true,
            Some(part) => {
                part.range.start <= first && end <= part.range.end && part.frontier.push_subtree(height, root)
            }
        }
    }

    /// The proof, from the leaf's sibling up to the root's child; `None` when leaves are missing.
    pub fn finish(mut self) -> Option<Vec<Digest>> {
        if self.next < self.size {
            return None;
        }
        self.parts.sort_by_key(|part| std::cmp::Reverse(part.depth));
        Some(self.parts.iter().map(|part| part.frontier.root()).collect())
    }
}

/// The ranges whose roots are the audit path of leaf `index` in a tree of `size` leaves, from the leaf's sibling up to
/// the root's child; `None` when there is no such leaf.
pub(super) fn audit_ranges(index: u64, size: u64) -> Option<Vec<Range<u64>>> {
    (index < size).then(|| {
        let mut ranges = Vec::new();
        descend(size, |range, middle| {
            (range.end - range.start > 1).then(|| turn(&mut ranges, &range, middle, index < middle))
        });
        ranges.reverse();
        ranges
    })
}

/// Goes down from the root as long as `step` gives the half in which to go on; gives the last range.
fn descend(size: u64, mut step: impl FnMut(Range<u64>, u64) -> Option<Range<u64>>) -> Range<u64> {
    let mut range = 0..size;
    loop {
        let middle = range.start + super::split(range.end - range.start);
        match step(range.clone(), middle) {
            Some(half) => range = half,
            None => return range,
        }
    }
}

/// Notes the half that is left aside, and gives the other one.
fn turn(aside: &mut Vec<Range<u64>>, range: &Range<u64>, middle: u64, left: bool) -> Range<u64> {
    let (lower, upper) = (range.start..middle, middle..range.end);
    let (into, other) = if left { (lower, upper) } else { (upper, lower) };
    aside.push(other);
    into
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tree::{consistency_proof, root};

    proptest! {
        #[test]
        fn a_proof_that_begins_behind_known_peaks_is_the_same(
            (first, old, new) in (1..400_u64).prop_flat_map(|new| (1..=new).prop_flat_map(move |old| (0..=old, Just(old), Just(new)))),
        ) {
            let leaves: Vec<_> = (0..new).map(|n| Digest::leaf(&n.to_be_bytes())).collect();
            let whole = consistency_proof(&leaves, usize::try_from(old).unwrap());
            let mut path = PathBuilder::consistency(old, new).unwrap();
            let mut at = 0;
            for height in (0..63).rev().filter(|height| first >> height & 1 == 1) {
                let end = at + (1 << height);
                prop_assert!(path.push_subtree(height, root(&leaves[at..end])));
                at = end;
            }
            leaves[at..].iter().for_each(|leaf| path.push(*leaf));
            prop_assert_eq!(path.finish(), whole);
        }
    }

    #[test]
    fn a_subtree_across_two_wanted_ranges_is_refused() {
        // From 3 to 4 leaves the proof wants the roots of 0..2, 2..3 and 3..4.
        let mut path = PathBuilder::consistency(3, 4).unwrap();
        assert!(!path.push_subtree(2, Digest::ZERO));
        let mut path = PathBuilder::consistency(3, 4).unwrap();
        path.push(Digest::ZERO);
        assert!(!path.push_subtree(1, Digest::ZERO), "it cannot begin at an odd number");
    }
}

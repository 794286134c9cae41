//! Stands in for leaves that are left out: the fewest subtree roots which let the rest be checked.
//!
//! Whoever gets some records of a ledger and, for all others, the roots of the subtrees that they fill, can
//! compute the ledger's root, and so knows of each record where it stood and of each number whether it was
//! shown or left out.

use super::Frontier;
use crate::digest::Digest;

/// The root of a full subtree: 2^`height` leaves, the first of which is a multiple of 2^`height`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subtree {
    /// The number of its first leaf.
    pub first: u64,
    /// The number of levels above the leaves.
    pub height: u32,
    /// Its root.
    pub root: Digest,
}

impl Subtree {
    /// How many leaves it has.
    pub fn count(&self) -> u64 {
        1_u64.checked_shl(self.height).unwrap_or(u64::MAX)
    }
}

/// A run of leaves that are left out, merged as far as a tree allows.
#[derive(Clone, Debug, Default)]
pub struct Omitted(Vec<Subtree>);

impl Omitted {
    /// Leaves out one more leaf; it must be the one after the last.
    pub fn push(&mut self, seq: u64, leaf: Digest) {
        self.push_within(Subtree { first: seq, height: 0, root: leaf }, u32::MAX);
    }

    /// Leaves out one more subtree; it must begin after the last. Nothing is merged to more than `tallest` levels.
    pub fn push_within(&mut self, mut block: Subtree, tallest: u32) {
        while let Some(before) = self.0.pop_if(|before| {
            before.height == block.height
                && block.height < tallest
                && before.first.is_multiple_of(block.count().saturating_mul(2))
        }) {
            let root = Digest::node(&before.root, &block.root);
            block = Subtree { first: before.first, height: block.height + 1, root };
        }
        self.0.push(block);
    }

    /// The subtrees of the run, in order; the next leaf begins a new one.
    pub fn take(&mut self) -> Vec<Subtree> {
        std::mem::take(&mut self.0)
    }
}

impl Frontier {
    /// Adds a full subtree at the right. `false`, and nothing changed, when a subtree of this height cannot
    /// begin there.
    #[must_use]
    pub fn push_subtree(&mut self, height: u32, root: Digest) -> bool {
        if height >= 63 || !self.size.is_multiple_of(1 << height) {
            return false;
        }
        let Some(size) = self.size.checked_add(1 << height) else { return false };
        let mut carry = root;
        for _ in 0..(self.size >> height).trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                carry = Digest::node(&left, &carry);
            }
        }
        self.peaks.push(carry);
        self.size = size;
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tree::root;

    proptest! {
        #[test]
        fn whatever_is_left_out_the_root_comes_out_the_same(shown in proptest::collection::vec(any::<bool>(), 1..300)) {
            let leaves: Vec<_> = (0..shown.len()).map(|n| Digest::leaf(&n.to_be_bytes())).collect();
            let (mut omitted, mut frontier) = (Omitted::default(), Frontier::default());
            let fill = |run: Vec<Subtree>, frontier: &mut Frontier| run.into_iter().all(|block| {
                frontier.size() == block.first && frontier.push_subtree(block.height, block.root)
            });
            for (n, (leaf, shown)) in leaves.iter().zip(&shown).enumerate() {
                if *shown {
                    prop_assert!(fill(omitted.take(), &mut frontier));
                    frontier.push(*leaf);
                } else {
                    omitted.push(n as u64, *leaf);
                }
            }
            prop_assert!(fill(omitted.take(), &mut frontier));
            prop_assert_eq!(frontier.root(), root(&leaves));
            prop_assert_eq!(frontier.size(), leaves.len() as u64);
        }
    }

    #[test]
    fn a_long_run_is_a_few_hashes() {
        let mut omitted = Omitted::default();
        (3..1_000_003).for_each(|n: u64| omitted.push(n, Digest::leaf(&n.to_be_bytes())));
        assert!(omitted.take().len() < 40);
        assert!(omitted.take().is_empty());
    }

    #[test]
    fn a_subtree_fits_only_where_one_of_its_height_can_begin() {
        let mut frontier = Frontier::default();
        frontier.push(Digest::ZERO);
        let before = frontier.clone();
        assert!(!frontier.push_subtree(1, Digest::ZERO));
        assert!(!frontier.push_subtree(64, Digest::ZERO));
        assert_eq!(frontier, before);
        assert!(frontier.push_subtree(0, Digest::ZERO));
    }
}

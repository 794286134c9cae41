//! Makes the audit paths of many records at once, from leaf hashes that pass by once, in order.
//!
//! One [`PathBuilder`](super::PathBuilder) hashes every leaf, so a hundred of them hash a ledger a hundred times. Here
//! each node of the tree is made once, and those that are wanted are kept: memory is that of the proofs.

use std::collections::BTreeMap;
use std::ops::Range;

use super::Subtree;
use super::path::audit_ranges;
use crate::digest::Digest;

/// Takes the leaf hashes of a tree from the first to the last, and gives the audit path of each wanted leaf.
#[derive(Debug)]
pub struct PathsBuilder {
    size: u64,
    next: u64,
    /// Per wanted leaf: the ranges whose roots are its path, from its sibling up to the root's child.
    paths: BTreeMap<u64, Vec<(u64, u64)>>,
    /// Their roots, as far as they are known.
    nodes: BTreeMap<(u64, u64), Option<Digest>>,
    /// The full subtrees that were not merged yet, largest first.
    peaks: Vec<Subtree>,
}

impl PathsBuilder {
    /// For these leaves in a tree of `size` leaves; those that it does not have are passed over.
    pub fn new(wanted: impl IntoIterator<Item = u64>, size: u64) -> Self {
        let pair = |range: Range<u64>| (range.start, range.end);
        let mut paths = BTreeMap::new();
        for index in wanted {
            if let Some(ranges) = audit_ranges(index, size) {
                paths.insert(index, ranges.into_iter().map(pair).collect::<Vec<_>>());
            }
        }
        let nodes = paths.values().flatten().map(|range| (*range, None)).collect();
        Self { size, next: 0, paths, nodes, peaks: Vec::new() }
    }

    /// Takes the next leaf hash. What comes behind the end of the tree is passed over.
    pub fn push(&mut self, leaf: Digest) {
        let block = Subtree { first: self.next, height: 0, root: leaf };
        let _ = self.push_subtree(block.height, block.root);
    }

    /// Takes a full subtree of `2^height` leaves in place of its leaves; `false` when it cannot begin here. Paths that
    /// need a node within it are not made.
    #[must_use]
    pub fn push_subtree(&mut self, height: u32, root: Digest) -> bool {
        if height >= 63 || !self.next.is_multiple_of(1 << height) {
            return false;
        }
        let mut block = Subtree { first: self.next, height, root };
        self.next += block.count();
        if self.next > self.size {
            return true;
        }
        self.note(&block);
        while let Some(left) = self
            .peaks
            .pop_if(|left| left.height == block.height && left.first.is_multiple_of(left.count() * 2))
        {
            let root = Digest::node(&left.root, &block.root);
            block = Subtree { first: left.first, height: block.height + 1, root };
            self.note(&block);
        }
        self.peaks.push(block);
        true
    }

    fn note(&mut self, block: &Subtree) {
        if let Some(node) = self.nodes.get_mut(&(block.first, block.first + block.count())) {
            *node = Some(block.root);
        }
    }

    /// The path of each wanted leaf, from its sibling up to the root's child; without those for which nodes are
    /// missing.
    pub fn finish(mut self) -> BTreeMap<u64, Vec<Digest>> {
        if self.next < self.size {
            return BTreeMap::new();
        }
        // What ends at the tree's own end need not be full: it is made of the last peaks.
        let mut right: Option<Digest> = None;
        for peak in self.peaks.iter().rev() {
            let root = right.map_or(peak.root, |right| Digest::node(&peak.root, &right));
            right = Some(root);
            if let Some(node) = self.nodes.get_mut(&(peak.first, self.size)) {
                *node = Some(root);
            }
        }
        let nodes = &self.nodes;
        let path = |ranges: &[(u64, u64)]| -> Option<Vec<Digest>> {
            ranges.iter().map(|range| nodes.get(range).copied().flatten()).collect()
        };
        self.paths.iter().filter_map(|(index, ranges)| Some((*index, path(ranges)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Omitted, inclusion_proof};
    use super::*;

    fn leaves(n: u64) -> Vec<Digest> {
        (0..n).map(|i| Digest::leaf(&i.to_be_bytes())).collect()
    }

    #[test]
    fn all_paths_of_trees_of_many_sizes_are_those_that_are_made_one_by_one() {
        for size in 1..40 {
            let leaves = leaves(size);
            let mut builder = PathsBuilder::new(0..size + 3, size);
            for leaf in &leaves {
                builder.push(*leaf);
            }
            let paths = builder.finish();
            assert_eq!(paths.len() as u64, size);
            for (index, path) in paths {
                assert_eq!(
                    Some(path),
                    inclusion_proof(&leaves, usize::try_from(index).unwrap()),
                    "{index} of {size}"
                );
            }
        }
    }

    #[test]
    fn subtrees_stand_for_the_leaves_that_are_left_out_between_wanted_ones() {
        let (size, wanted) = (37, [3, 20, 36]);
        let leaves = leaves(size);
        let mut builder = PathsBuilder::new(wanted, size);
        let mut omitted = Omitted::default();
        for (index, leaf) in (0..).zip(&leaves) {
            if wanted.contains(&index) {
                for run in omitted.take() {
                    assert!(builder.push_subtree(run.height, run.root));
                }
                builder.push(*leaf);
            } else {
                omitted.push(index, *leaf);
            }
        }
        let paths = builder.finish();
        for index in wanted {
            let expected = inclusion_proof(&leaves, usize::try_from(index).unwrap());
            assert_eq!(paths.get(&index).cloned(), expected, "{index}");
        }
    }

    #[test]
    fn a_tree_that_is_cut_short_gives_no_path() {
        let mut builder = PathsBuilder::new([1], 4);
        for leaf in leaves(3) {
            builder.push(leaf);
        }
        assert!(builder.finish().is_empty());
    }
}

//! The RFC 6962 Merkle tree: the running right edge, and the two kinds of proof.
//!
//! A signed root over n records commits to each of them in its place. [`Frontier`] keeps what is needed to
//! go on (one hash per set bit of the size); an inclusion proof shows one record under a root, a
//! consistency proof shows that a later root only added to an earlier one. Proof checking follows RFC 9162
//! sections 2.1.3.2 and 2.1.4.2.

mod omitted;
mod path;
mod paths;

use crate::digest::Digest;

pub use omitted::{Omitted, Subtree};
pub use path::PathBuilder;
pub use paths::PathsBuilder;

/// The roots of the full subtrees that a tree of some size consists of, largest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Digest>,
}

impl Frontier {
    /// Goes on from stored peaks; `None` when their number does not fit the size.
    pub fn resume(size: u64, peaks: Vec<Digest>) -> Option<Self> {
        (u32::try_from(peaks.len()).ok()? == size.count_ones()).then_some(Self { size, peaks })
    }

    /// How many leaves there are.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The subtree roots, largest subtree first.
    pub fn peaks(&self) -> &[Digest] {
        &self.peaks
    }

    /// Adds a leaf at the right.
    pub fn push(&mut self, leaf: Digest) {
        let mut carry = leaf;
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                carry = Digest::node(&left, &carry);
            }
        }
        self.peaks.push(carry);
        self.size += 1;
    }

    /// The Merkle tree hash; for an empty tree the SHA-256 of nothing.
    pub fn root(&self) -> Digest {
        let mut from_right = self.peaks.iter().rev();
        from_right.next().map_or_else(
            || Digest::of(&[]),
            |last| from_right.fold(*last, |acc, peak| Digest::node(peak, &acc)),
        )
    }
}

/// The Merkle tree hash over `leaves` (leaf hashes).
pub fn root(leaves: &[Digest]) -> Digest {
    let mut frontier = Frontier::default();
    for leaf in leaves {
        frontier.push(*leaf);
    }
    frontier.root()
}

/// The largest power of two smaller than `n`; zero for `n` below two.
fn split(n: u64) -> u64 {
    n.checked_sub(1).and_then(u64::checked_ilog2).map_or(0, |bits| 1 << bits)
}

/// The audit path of RFC 6962 section 2.1.1 for leaf `index`; `None` when there is no such leaf.
pub fn inclusion_proof(leaves: &[Digest], index: usize) -> Option<Vec<Digest>> {
    walk(PathBuilder::inclusion(index as u64, leaves.len() as u64)?, leaves)
}

/// Whether `path` shows `leaf` at `index` of a tree of `size` leaves with `root`.
pub fn verify_inclusion(leaf: &Digest, index: u64, size: u64, path: &[Digest], root: &Digest) -> bool {
    if index >= size {
        return false;
    }
    let (mut node, mut last, mut hash) = (index, size - 1, *leaf);
    for sibling in path {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            hash = Digest::node(sibling, &hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = Digest::node(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && hash == *root
}

/// The consistency proof of RFC 6962 section 2.1.2 from the first `old` leaves to all of them.
pub fn consistency_proof(leaves: &[Digest], old: usize) -> Option<Vec<Digest>> {
    walk(PathBuilder::consistency(old as u64, leaves.len() as u64)?, leaves)
}

fn walk(mut builder: PathBuilder, leaves: &[Digest]) -> Option<Vec<Digest>> {
    for leaf in leaves {
        builder.push(*leaf);
    }
    builder.finish()
}

/// Whether `path` shows that the tree (`new_size`, `new_root`) only added to (`old_size`, `old_root`).
pub fn verify_consistency(
    (old_size, old_root): (u64, &Digest),
    (new_size, new_root): (u64, &Digest),
    path: &[Digest],
) -> bool {
    if old_size == 0 || old_size > new_size {
        return false;
    }
    if old_size == new_size {
        return path.is_empty() && old_root == new_root;
    }
    let mut steps = path.iter();
    let first = if old_size.is_power_of_two() { Some(old_root) } else { steps.next() };
    let Some(first) = first else { return false };
    let (mut node, mut last) = (old_size - 1, new_size - 1);
    while node & 1 == 1 {
        node >>= 1;
        last >>= 1;
    }
    let (mut old_hash, mut new_hash) = (*first, *first);
    for step in steps {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            old_hash = Digest::node(step, &old_hash);
            new_hash = Digest::node(step, &new_hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            new_hash = Digest::node(&new_hash, step);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && old_hash == *old_root && new_hash == *new_root
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(n: usize) -> Vec<Digest> {
        (0..n).map(|i| Digest::leaf(&i.to_be_bytes())).collect()
    }

    /// The definition in RFC 6962 section 2.1, word for word.
    fn by_definition(leaves: &[Digest]) -> Digest {
        match leaves {
            [] => Digest::of(&[]),
            [one] => *one,
            many => {
                let (left, right) = many.split_at(usize::try_from(split(many.len() as u64)).unwrap());
                Digest::node(&by_definition(left), &by_definition(right))
            }
        }
    }

    #[test]
    fn the_running_root_is_the_root_by_definition_for_every_size() {
        let all = leaves(300);
        let mut frontier = Frontier::default();
        for n in 0..all.len() {
            assert_eq!(frontier.root(), by_definition(&all[..n]), "size {n}");
            frontier.push(all[n]);
        }
    }

    #[test]
    fn the_reference_root_of_eight_leaves_is_reached() {
        // The leaves of the Certificate Transparency reference tests.
        let inputs = [
            "",
            "00",
            "10",
            "2021",
            "3031",
            "40414243",
            "5051525354555657",
            "606162636465666768696a6b6c6d6e6f",
        ];
        let all: Vec<_> = inputs.iter().map(|hex| Digest::leaf(&const_hex::decode(hex).unwrap())).collect();
        let expected = "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328";
        assert_eq!(root(&all).to_string(), expected);
    }

    #[test]
    fn every_leaf_of_every_size_has_a_proof_that_holds_for_it_alone() {
        for n in 1..=70 {
            let all = leaves(n);
            let root = root(&all);
            for i in 0..n {
                let path = inclusion_proof(&all, i).unwrap();
                let check = |leaf: &Digest, index: usize, size: usize, path: &[Digest]| {
                    verify_inclusion(leaf, index as u64, size as u64, path, &root)
                };
                assert!(check(&all[i], i, n, &path), "leaf {i} of {n}");
                assert!(!check(&Digest::leaf(b"another"), i, n, &path));
                assert!(!check(&all[i], i + 1, n, &path), "leaf {i} of {n} at the wrong place");
                if let Some((_, shorter)) = path.split_last() {
                    assert!(!check(&all[i], i, n, shorter));
                }
                let longer = [path.as_slice(), &[root]].concat();
                assert!(!check(&all[i], i, n, &longer));
            }
        }
    }

    #[test]
    fn every_earlier_tree_is_consistent_with_every_later_one_and_no_other() {
        for new in 1..=50 {
            let all = leaves(new);
            let new_root = root(&all);
            for old in 1..=new {
                let old_root = root(&all[..old]);
                let path = consistency_proof(&all, old).unwrap();
                let check = |old_root: &Digest, path: &[Digest]| {
                    verify_consistency((old as u64, old_root), (new as u64, &new_root), path)
                };
                assert!(check(&old_root, &path), "{old} to {new}");
                assert!(!check(&Digest::leaf(b"another history"), &path), "{old} to {new}");
                assert!(!check(&old_root, &[path.as_slice(), &[new_root]].concat()));
            }
        }
    }

    #[test]
    fn a_frontier_resumes_only_from_peaks_that_fit_its_size() {
        let mut frontier = Frontier::default();
        for leaf in leaves(11) {
            frontier.push(leaf);
        }
        let resumed = Frontier::resume(11, frontier.peaks().to_vec()).unwrap();
        assert_eq!(resumed.root(), frontier.root());
        assert_eq!(Frontier::resume(12, frontier.peaks().to_vec()), None);
    }
}

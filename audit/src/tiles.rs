//! A ledger as a tree of files that any web server can serve (c2sp.org/tlog-tiles).
//!
//! Whoever has the folder can check every record and make every proof, with the tools of any transparency
//! log: `checkpoint` is the signed head, `tile/entries/…` hold the records, `tile/0/…` their leaf hashes,
//! and each level above the roots of full tiles below. Full tiles never change.
//!
//! All here is pure. [`Tiler`] makes the files from records that pass by once; a verifier makes them again
//! and compares.

use std::io;

use crate::digest::Digest;
use crate::tree::{Frontier, Subtree, root};

/// How many hashes a full tile has, and how many records a full bundle.
pub const WIDTH: usize = 256;

/// The longest entry bundle, in bytes.
pub const MAX_BUNDLE_BYTES: usize = WIDTH * (2 + crate::record::MAX_RECORD_BYTES);

/// Which file of a tile tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tile {
    /// The level, or `None` for records.
    pub level: Option<u8>,
    /// Its place in the level.
    pub index: u64,
    /// How many hashes or records it has; [`WIDTH`] if it is full.
    pub width: usize,
}

impl Tile {
    /// The path below the folder, such as `tile/0/x001/234` or `tile/entries/000.p/7`.
    pub fn path(&self) -> String {
        let level = self.level.map_or_else(|| "entries".to_owned(), |level| level.to_string());
        let mut number = format!("{:03}", self.index % 1000);
        let mut rest = self.index / 1000;
        while rest > 0 {
            number = format!("x{:03}/{number}", rest % 1000);
            rest /= 1000;
        }
        let partial = if self.width < WIDTH { format!(".p/{}", self.width) } else { String::new() };
        format!("tile/{level}/{number}{partial}")
    }
}

/// The bundles that hold the records of a ledger of this size, in order.
pub fn bundles(size: u64) -> impl Iterator<Item = Tile> {
    let width = WIDTH as u64;
    (0..size.div_ceil(width)).map(move |index| Tile {
        level: None,
        index,
        width: usize::try_from((size - index * width).min(width)).unwrap_or(WIDTH),
    })
}

/// The records of a bundle; `None` when its lengths do not fit together.
pub fn records(mut bundle: &[u8]) -> Option<Vec<&[u8]>> {
    let mut records = Vec::new();
    while !bundle.is_empty() {
        let (length, rest) = bundle.split_first_chunk::<2>()?;
        let (record, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        records.push(record);
        bundle = rest;
    }
    Some(records)
}

/// Takes a file of the tree.
pub type Put<'a> = dyn FnMut(Tile, &[u8]) -> io::Result<()> + 'a;

/// The first record that a tree of files has when records before `size` were pruned: the minimum index of
/// tlog-tiles. Full bundles alone are pruned.
pub fn minimum_index(size: u64) -> u64 {
    size.next_multiple_of(WIDTH as u64)
}

/// Makes the files of a tree from its records.
#[derive(Clone, Debug, Default)]
pub struct Tiler {
    entries: Vec<u8>,
    /// For each level the hashes of its last tile, and that tile's place.
    levels: Vec<(Vec<Digest>, u64)>,
    /// The records before this one are in no file.
    minimum: u64,
    /// While those pass by: for each level from 1 on the tree over the leaves of its next hash.
    below: Vec<Frontier>,
}

impl Tiler {
    /// Makes the files that are needed for the records from `minimum` on, a multiple of 256. The first of them
    /// may be cut off at the front: [`Tiler::skip`] is to be called for all that comes before.
    pub fn from_minimum(minimum: u64) -> Self {
        let levels = if minimum == 0 { 0 } else { 8 };
        Self {
            minimum,
            levels: (0..levels).map(|level| (Vec::new(), minimum >> (8 * (level + 1)).min(63))).collect(),
            below: vec![Frontier::default(); if minimum == 0 { 0 } else { 7 }],
            ..Self::default()
        }
    }

    /// Takes the next leaf or run before the minimum. `false` when a hash is hidden in it that a file needs.
    #[must_use]
    pub fn skip(&mut self, run: Subtree) -> bool {
        let mut whole = true;
        for (level, below) in (1_u32..).zip(&mut self.below) {
            let width = 8 * level;
            let (first, start) = (run.first >> width, self.minimum >> width >> 8 << 8);
            if run.height > width {
                // The hashes of many tiles in one: right only if no file has them.
                whole &= (run.first + run.count()) >> width <= start;
                continue;
            }
            whole &= below.push_subtree(run.height, run.root);
            if below.size() == 1 << width {
                let root = std::mem::take(below).root();
                if let Some((hashes, _)) = self.levels.get_mut(level as usize)
                    && first >= start
                    && first < self.minimum >> width
                {
                    hashes.push(root);
                }
            }
        }
        whole
    }

    /// Takes the next record, of at most 65,535 bytes, and puts every file that is full with it.
    pub fn push(&mut self, record: &[u8], leaf: Digest, put: &mut Put<'_>) -> io::Result<()> {
        let length = u16::try_from(record.len()).map_err(io::Error::other)?;
        self.entries.extend_from_slice(&length.to_be_bytes());
        self.entries.extend_from_slice(record);
        let mut carry = Some(leaf);
        let mut level = 0;
        while let Some(hash) = carry.take() {
            if self.levels.len() == level {
                self.levels.push((Vec::with_capacity(WIDTH), 0));
            }
            let Some((hashes, index)) = self.levels.get_mut(level) else { break };
            hashes.push(hash);
            if hashes.len() == WIDTH {
                let number = u8::try_from(level).map_err(io::Error::other)?;
                if level == 0 {
                    put(Tile { level: None, index: *index, width: WIDTH }, &self.entries)?;
                    self.entries.clear();
                }
                put(Tile { level: Some(number), index: *index, width: WIDTH }, &bytes(hashes))?;
                carry = Some(root(hashes));
                hashes.clear();
                *index += 1;
            }
            level += 1;
        }
        Ok(())
    }

    /// Puts the files that are not full, as they are now.
    pub fn partial(&self, put: &mut Put<'_>) -> io::Result<()> {
        for (level, (hashes, index)) in (0_u8..).zip(&self.levels) {
            let (width, index) = (hashes.len(), *index);
            if width == 0 {
                continue;
            }
            if level == 0 {
                put(Tile { level: None, index, width }, &self.entries)?;
            }
            put(Tile { level: Some(level), index, width }, &bytes(hashes))?;
        }
        Ok(())
    }
}

fn bytes(hashes: &[Digest]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| *hash.as_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn tree(size: u32) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        let mut put = |tile: Tile, bytes: &[u8]| {
            files.insert(tile.path(), bytes.to_vec());
            Ok(())
        };
        let mut tiler = Tiler::default();
        for n in 0..size {
            let record = n.to_be_bytes();
            tiler.push(&record, Digest::leaf(&record), &mut put).unwrap();
        }
        tiler.partial(&mut put).unwrap();
        files
    }

    #[test]
    fn paths_are_those_of_the_specification() {
        let path = |level, index, width| Tile { level, index, width }.path();
        assert_eq!(path(Some(0), 1_234_067, WIDTH), "tile/0/x001/x234/067");
        assert_eq!(path(None, 0, 7), "tile/entries/000.p/7");
        assert_eq!(path(Some(63), 1000, 255), "tile/63/x001/000.p/255");
    }

    #[test]
    fn a_tree_of_70_000_is_the_one_that_the_specification_describes() {
        let files = tree(70_000);
        let count = |prefix: &str, partial: bool| {
            files.keys().filter(|path| path.starts_with(prefix) && path.contains(".p/") == partial).count()
        };
        assert_eq!((count("tile/0/", false), count("tile/1/", false)), (273, 1));
        assert_eq!(files["tile/0/273.p/112"].len(), 112 * 32);
        assert_eq!(files["tile/1/001.p/17"].len(), 17 * 32);
        assert_eq!(files["tile/2/000.p/1"].len(), 32);
        assert_eq!(count("tile/entries/", false), 273);
        assert_eq!(files.len(), 2 * 274 + 2 + 1);
    }

    #[test]
    fn a_full_tile_alone_is_carried_up_once() {
        let files = tree(256);
        let leaves: Vec<_> = (0..256_u32).map(|n| Digest::leaf(&n.to_be_bytes())).collect();
        assert_eq!(files["tile/1/000.p/1"], root(&leaves).as_bytes());
        assert!(!files.contains_key("tile/0/001"));
    }

    #[test]
    fn bundles_are_named_for_the_size_and_give_their_records_back() {
        for size in [0_u32, 1, 255, 256, 257, 600] {
            let files = tree(size);
            let mut all = Vec::new();
            for bundle in bundles(u64::from(size)) {
                all.extend(records(&files[&bundle.path()]).unwrap().into_iter().map(<[u8]>::to_vec));
            }
            let expected: Vec<_> = (0..size).map(|n| n.to_be_bytes().to_vec()).collect();
            assert_eq!(all, expected);
        }
    }

    #[test]
    fn tiles_behind_a_pruned_beginning_are_those_of_the_whole_tree() {
        for (pruned, size) in
            [(1_u32, 300), (255, 700), (256, 700), (700, 66_000), (65_530, 66_000), (66_500, 70_000)]
        {
            let whole = tree(size);
            let minimum = minimum_index(u64::from(pruned));
            let mut files = BTreeMap::new();
            let mut put = |tile: Tile, bytes: &[u8]| {
                files.insert(tile.path(), bytes.to_vec());
                Ok(())
            };
            let mut tiler = Tiler::from_minimum(minimum);
            // As a prefix of this size states what was pruned.
            let mut omitted = crate::tree::Omitted::default();
            let leaf = |n: u32| Digest::leaf(&n.to_be_bytes());
            for n in 0..pruned {
                let (first, pruned) = (u64::from(n), u64::from(pruned));
                let run = Subtree { first, height: 0, root: leaf(n) };
                omitted.push_within(run, crate::prefix::tallest(first, pruned));
            }
            assert!(omitted.take().into_iter().all(|run| tiler.skip(run)), "{pruned} of {size}");
            for n in pruned..size {
                let first = u64::from(n);
                if first < minimum {
                    assert!(tiler.skip(Subtree { first, height: 0, root: leaf(n) }));
                } else {
                    tiler.push(&n.to_be_bytes(), leaf(n), &mut put).unwrap();
                }
            }
            tiler.partial(&mut put).unwrap();
            for (path, bytes) in &files {
                assert_eq!(Some(bytes), whole.get(path), "{path}, {pruned} of {size} pruned");
            }
            // None is missing whose records are not all before the minimum.
            let begin = |path: &str| path.starts_with("tile/entries/") || path.starts_with("tile/0/");
            let first = minimum / 256;
            let expected =
                whole.keys().filter(|path| begin(path)).count() - 2 * usize::try_from(first).unwrap();
            assert_eq!(files.keys().filter(|path| begin(path)).count(), expected, "{pruned} of {size}");
            let needed = |path: &str| !begin(path) && (path != "tile/1/000" || minimum < 65_536);
            for path in whole.keys().filter(|path| needed(path)) {
                assert!(files.contains_key(path), "{path} is missing, {pruned} of {size} pruned");
            }
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_bundle_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = records(&bytes);
        }
    }
}

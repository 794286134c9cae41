//! A disk with a volatile cache, and what may be left on it when the power goes.
//!
//! Of a file, what stood there at its last `fsync` or `fdatasync` is certain. Of every later write each page, or
//! each sector, may have reached the disk or not, on its own and in any order; so may every later change of
//! length. Where a later page arrived and an earlier one did not there are zeros. Of a directory, the names at its
//! last `fsync` are certain, and of the later changes some first ones have arrived. `sync_file_range` is nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::counts::Dice;
use crate::log::Change;

#[derive(Clone, Default)]
struct Contents {
    durable: Vec<u8>,
    pending: Vec<Pending>,
}

#[derive(Clone)]
enum Pending {
    Write { offset: usize, bytes: Vec<u8> },
    Truncate { length: usize },
}

/// What a name stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Node {
    File(u64),
    Directory(u64),
}

#[derive(Clone)]
enum Naming {
    Set(PathBuf, Node),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf),
}

/// The disk after some changes.
#[derive(Default)]
pub(crate) struct Disk {
    files: BTreeMap<u64, Contents>,
    /// Names as the running system sees them.
    names: BTreeMap<PathBuf, Node>,
    /// Names that are certain, and the changes since, by directory.
    durable_names: BTreeMap<PathBuf, Node>,
    pending_names: BTreeMap<PathBuf, Vec<Naming>>,
}

/// How unkind the cut is.
#[derive(Clone, Copy)]
pub(crate) struct Cut {
    /// Of ten unsynced pieces, how many arrive.
    pub(crate) kept_in_ten: u64,
    /// The size of a piece that arrives whole: 4096 (a page) or 512 (a sector).
    pub(crate) piece: usize,
}

fn parent(path: &Path) -> PathBuf {
    path.parent().unwrap_or(path).to_owned()
}

impl Disk {
    /// One more change.
    pub(crate) fn apply(&mut self, change: &Change) {
        match change {
            Change::Create { path, inode } => {
                self.files.insert(*inode, Contents::default());
                self.name(path, Naming::Set(path.clone(), Node::File(*inode)));
            }
            Change::MakeDirectory { path, inode } => {
                self.name(path, Naming::Set(path.clone(), Node::Directory(*inode)));
            }
            Change::Write { inode, offset, bytes } => {
                let offset = usize::try_from(*offset).unwrap();
                self.pend(*inode, Pending::Write { offset, bytes: bytes.clone() });
            }
            Change::Truncate { inode, length } => {
                self.pend(*inode, Pending::Truncate { length: usize::try_from(*length).unwrap() });
            }
            Change::Sync { inode } => self.sync(*inode),
            Change::SyncRange => {}
            Change::Rename { from, to } => self.name(to, Naming::Rename(from.clone(), to.clone())),
            Change::Unlink { path } => self.name(path, Naming::Remove(path.clone())),
        }
    }

    fn pend(&mut self, inode: u64, pending: Pending) {
        self.files.entry(inode).or_default().pending.push(pending);
    }

    fn name(&mut self, path: &Path, naming: Naming) {
        rename(&mut self.names, &naming);
        self.pending_names.entry(parent(path)).or_default().push(naming);
    }

    fn sync(&mut self, inode: u64) {
        if let Some(file) = self.files.get_mut(&inode) {
            for pending in std::mem::take(&mut file.pending) {
                act(&mut file.durable, &pending);
            }
            return;
        }
        let directory = self
            .names
            .iter()
            .find(|(_, node)| **node == Node::Directory(inode))
            .map(|(path, _)| path.clone());
        // The directory that was there before the log began has no name in it: it is the root of all.
        let synced: Vec<_> = match directory {
            Some(directory) => vec![directory],
            None => {
                self.pending_names.keys().filter(|path| !self.names.contains_key(*path)).cloned().collect()
            }
        };
        for directory in synced {
            for naming in self.pending_names.remove(&directory).unwrap_or_default() {
                rename(&mut self.durable_names, &naming);
            }
        }
    }

    /// The files as the running system sees them.
    pub(crate) fn whole(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let contents = |inode: u64| {
            let file = self.files.get(&inode).cloned().unwrap_or_default();
            let mut bytes = file.durable;
            file.pending.iter().for_each(|pending| act(&mut bytes, pending));
            bytes
        };
        files(&self.names).map(|(path, inode)| (path.clone(), contents(inode))).collect()
    }

    /// Writes what a power cut leaves below `target`, taking `root` off each name.
    pub(crate) fn cut(&self, cut: Cut, dice: &mut Dice, root: &Path, target: &Path) {
        let mut names = self.durable_names.clone();
        for namings in self.pending_names.values() {
            let arrived = dice.below(namings.len() as u64 + 1);
            let arrived = if cut.kept_in_ten == 0 { 0 } else { usize::try_from(arrived).unwrap() };
            namings.iter().take(arrived).for_each(|naming| rename(&mut names, naming));
        }
        for (path, node) in &names {
            // A name in a directory whose own name is lost is lost.
            let reachable = path
                .ancestors()
                .skip(1)
                .take_while(|above| *above != root)
                .all(|above| names.contains_key(above));
            if !reachable {
                continue;
            }
            let place = target.join(path.strip_prefix(root).unwrap());
            match node {
                Node::Directory(_) => std::fs::create_dir_all(place).unwrap(),
                Node::File(inode) => {
                    let contents =
                        self.files.get(inode).map(|file| file.after(cut, dice)).unwrap_or_default();
                    std::fs::create_dir_all(place.parent().unwrap()).unwrap();
                    std::fs::write(place, contents).unwrap();
                }
            }
        }
    }
}

impl Contents {
    fn after(&self, cut: Cut, dice: &mut Dice) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        let mut arrives = || dice.below(10) < cut.kept_in_ten;
        for pending in &self.pending {
            match pending {
                Pending::Truncate { .. } => {
                    if arrives() {
                        act(&mut bytes, pending);
                    }
                }
                Pending::Write { offset, bytes: written } => {
                    let mut at = 0;
                    while at < written.len() {
                        let end = (cut.piece - (offset + at) % cut.piece + at).min(written.len());
                        if arrives() {
                            act(
                                &mut bytes,
                                &Pending::Write { offset: offset + at, bytes: written[at..end].to_vec() },
                            );
                        }
                        at = end;
                    }
                }
            }
        }
        // The new length may have arrived although nothing behind it has, or not have arrived.
        if bytes.len() > self.durable.len() && dice.below(4) == 0 {
            let more = dice.below((bytes.len() - self.durable.len()) as u64 + 1);
            bytes.truncate(self.durable.len() + usize::try_from(more).unwrap());
        }
        bytes
    }
}

fn act(bytes: &mut Vec<u8>, pending: &Pending) {
    match pending {
        Pending::Truncate { length } => bytes.resize(*length, 0),
        Pending::Write { offset, bytes: written } => {
            let end = offset + written.len();
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            bytes[*offset..end].copy_from_slice(written);
        }
    }
}

fn rename(names: &mut BTreeMap<PathBuf, Node>, naming: &Naming) {
    match naming {
        Naming::Set(path, node) => {
            names.insert(path.clone(), *node);
        }
        Naming::Remove(path) => {
            names.remove(path);
        }
        Naming::Rename(from, to) => {
            let moved: Vec<_> = names.keys().filter(|path| path.starts_with(from)).cloned().collect();
            for path in moved {
                if let Some(node) = names.remove(&path) {
                    names.insert(to.join(path.strip_prefix(from).unwrap()).components().collect(), node);
                }
            }
        }
    }
}

fn files(names: &BTreeMap<PathBuf, Node>) -> impl Iterator<Item = (&PathBuf, u64)> {
    names.iter().filter_map(|(path, node)| match node {
        Node::File(inode) => Some((path, *inode)),
        Node::Directory(_) => None,
    })
}

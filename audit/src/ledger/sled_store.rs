//! sled 0.34 as the query store, inside its guard rails.
//!
//! sled's `flush` does not survive a power cut, one changed bit can keep it from opening, and a file left
//! over from an interrupted open keeps it from ever opening again. None of that matters for a copy that is
//! made anew from the journal, if it is noticed: left-over snapshot files are removed, opening is done
//! under `catch_unwind`, and what opens is compared with the journal.
//!
//! An entry is a [`block`] of records that arrived together, under the number of its first one: sled's work
//! goes by entries. Values are kept below 8 KiB, because larger ones spill into files that sled never syncs: a
//! longer block is cut into pieces under keys that follow each other.

use std::ops::Range;
use std::os::unix::fs::DirBuilderExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use super::block::{self, Packer};
use super::store::{Store, StoreError, Stored};
use crate::journal::Group;
use crate::record::Seq;

/// The largest value, in bytes.
const PIECE_BYTES: usize = 8000;
/// For so long sled's own lock is waited for, on a machine with much else to do: a store that is taken for damaged
/// is moved away and made anew.
const LOCK_TRIES: u32 = 3000;
const LOCK_PAUSE: Duration = Duration::from_millis(10);
const HEAD_KEY: &[u8] = b"head";
const BLOCK_PREFIX: u8 = b'b';

/// An open sled database.
pub(super) struct SledStore {
    db: sled::Db,
}

impl SledStore {
    /// Opens or makes the store in `path`.
    pub(super) fn open(path: &Path, cache_bytes: u64) -> Result<Self, StoreError> {
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(|error| StoreError(error.to_string()))?;
        remove_unfinished_snapshots(path);
        let config = sled::Config::new().path(path).cache_capacity(cache_bytes).flush_every_ms(None);
        let mut busy = 0;
        let db = loop {
            match guarded(|| config.open())? {
                Ok(db) => break db,
                // sled lets go of its lock a moment after the last handle is dropped, when its own threads come to it.
                // Nobody else can hold it: the ledger's lock is ours.
                Err(sled::Error::Io(error))
                    if error.kind() == std::io::ErrorKind::WouldBlock && busy < LOCK_TRIES =>
                {
                    busy += 1;
                    std::thread::sleep(LOCK_PAUSE);
                }
                Err(error) => return Err(StoreError(error.to_string())),
            }
        };
        Ok(Self { db })
    }
}

/// sled panics on some kinds of damage; here that is an error like others.
fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let words = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("it panicked");
        StoreError(words.to_owned())
    })
}

/// A process killed while sled wrote a snapshot leaves a file with which sled never opens again.
fn remove_unfinished_snapshots(path: &Path) {
    let Ok(entries) = std::fs::read_dir(path) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            // If it cannot be removed sled will refuse to open, and the store is made anew.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

fn key(seq: Seq) -> [u8; 9] {
    let mut key = [BLOCK_PREFIX; 9];
    let (_, number) = key.split_at_mut(1);
    number.copy_from_slice(&seq.get().to_be_bytes());
    key
}

/// Pieces after the first have one more byte in their key, so they sort right behind it.
fn piece_key(seq: Seq, piece: u8) -> [u8; 10] {
    let mut key = [piece; 10];
    let (front, _) = key.split_at_mut(9);
    front.copy_from_slice(&self::key(seq));
    key
}

/// Puts a block into the batch, cut into pieces if it is longer than one.
fn insert(batch: &mut sled::Batch, first: Seq, block: &[u8]) {
    let mut pieces = block.chunks(PIECE_BYTES);
    batch.insert(&key(first), pieces.next().unwrap_or_default());
    for (piece, number) in pieces.zip(1_u8..) {
        batch.insert(&piece_key(first, number), piece);
    }
}

/// The number in a key of a block or of one of its pieces.
fn number(key: &[u8]) -> Option<Seq> {
    let number = key.get(1..9)?.try_into().ok()?;
    Some(Seq::new(u64::from_be_bytes(number)))
}

fn unpacked(first: Seq, block: &[u8], from: Seq) -> Result<Vec<Stored>, StoreError> {
    block::unpack(first, block, from)
        .ok_or_else(|| StoreError(format!("the records from {first} on are not whole")))
}

impl From<sled::Error> for StoreError {
    fn from(error: sled::Error) -> Self {
        Self(error.to_string())
    }
}

impl Store for SledStore {
    fn head(&self) -> Result<Option<String>, StoreError> {
        let Some(value) = guarded(|| self.db.get(HEAD_KEY))?? else { return Ok(None) };
        let note = String::from_utf8(value.to_vec());
        note.map(Some).map_err(|_| StoreError("its head entry is damaged".to_owned()))
    }

    fn apply(&self, groups: &[&Group<Vec<u8>>]) -> Result<(), StoreError> {
        let Some(last) = groups.last() else { return Ok(()) };
        let mut batch = sled::Batch::default();
        let mut packer = Packer::default();
        let mut next = None;
        for group in groups {
            // A block numbers its records from its first one on, so it ends where some were pruned.
            if next.replace(group.end()).is_some_and(|next| next != group.first())
                && let Some((first, block)) = packer.finish()
            {
                insert(&mut batch, first, &block);
            }
            for (seq, record, sealed) in group.records() {
                if let Some((first, block)) = packer.add(seq, record, sealed) {
                    insert(&mut batch, first, &block);
                }
            }
        }
        if let Some((first, block)) = packer.finish() {
            insert(&mut batch, first, &block);
        }
        batch.insert(HEAD_KEY, last.note());
        Ok(guarded(|| self.db.apply_batch(batch))??)
    }

    fn flush(&self) -> Result<(), StoreError> {
        guarded(|| self.db.flush())??;
        Ok(())
    }

    fn together(&self, range: Range<Seq>) -> Result<Range<Seq>, StoreError> {
        let (start, end) = (key(range.start), key(range.end));
        guarded(|| {
            let before =
                self.db.range([BLOCK_PREFIX].as_slice()..=start.as_slice()).next_back().transpose()?;
            let after = self.db.range(end.as_slice()..&[BLOCK_PREFIX + 1]).next().transpose()?;
            let first = before.and_then(|(key, _)| number(&key)).unwrap_or(range.start);
            let next = after.and_then(|(key, _)| number(&key)).unwrap_or(Seq::new(u64::MAX));
            Ok(first..next)
        })?
    }

    fn replace(&self, records: &[Stored]) -> Result<(), StoreError> {
        let (Some(first), Some(last)) = (records.first(), records.last()) else { return Ok(()) };
        let end = key(Seq::new(last.seq.get().saturating_add(1)));
        guarded(|| {
            let mut batch = sled::Batch::default();
            // A damaged block may have left more pieces than the good one has.
            for old in self.db.range(key(first.seq).as_slice()..end.as_slice()).keys() {
                batch.remove(old?);
            }
            let mut packer = Packer::default();
            for stored in records {
                if let Some((first, block)) = packer.add(stored.seq, &stored.record, &stored.sealed) {
                    insert(&mut batch, first, &block);
                }
            }
            if let Some((first, block)) = packer.finish() {
                insert(&mut batch, first, &block);
            }
            self.db.apply_batch(batch)
        })??;
        Ok(())
    }

    fn range(&self, from: Seq, limit: usize) -> Result<Vec<Stored>, StoreError> {
        guarded(|| {
            let mut found = Vec::with_capacity(limit.min(1024));
            // The block that holds `from` is the last one that does not begin behind it.
            let Some(before) = self.db.range(..=key(from).as_slice()).next_back() else { return Ok(found) };
            let begin = number(&before?.0).unwrap_or_default();
            let mut block: Option<(Seq, Vec<u8>)> = None;
            for item in self.db.range(key(begin).as_slice()..&[BLOCK_PREFIX + 1]) {
                let (key, value) = item?;
                let Some(first) = number(&key) else { continue };
                match &mut block {
                    Some((current, bytes)) if *current == first && key.len() > 9 => {
                        bytes.extend_from_slice(&value);
                    }
                    _ => {
                        if let Some((first, bytes)) = block.replace((first, value.to_vec())) {
                            found.extend(unpacked(first, &bytes, from)?);
                        }
                        if found.len() >= limit {
                            found.truncate(limit);
                            return Ok(found);
                        }
                    }
                }
            }
            if let Some((first, bytes)) = block {
                found.extend(unpacked(first, &bytes, from)?);
            }
            found.truncate(limit);
            Ok(found)
        })?
    }
}

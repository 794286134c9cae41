//! sled 0.34 as the query store, inside its guard rails.
//!
//! sled's `flush` does not survive a power cut, one changed bit can keep it from opening, and a file left
//! over from an interrupted open keeps it from ever opening again. None of that matters for a copy that is
//! made anew from the journal, if it is noticed: left-over snapshot files are removed, opening is done
//! under `catch_unwind`, and what opens is compared with the journal.
//!
//! Values are kept below 8 KiB, because larger ones spill into files that sled never syncs: a longer record
//! is cut into pieces under keys that follow each other.

use std::ops::Range;
use std::os::unix::fs::DirBuilderExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use super::store::{Store, StoreError, Stored};
use crate::journal::Group;
use crate::record::Seq;

/// The largest value, in bytes.
const PIECE_BYTES: usize = 8000;
const HEAD_KEY: &[u8] = b"head";
const RECORD_PREFIX: u8 = b'r';

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
                // sled lets go of its lock a moment after the last handle is dropped.
                Err(sled::Error::Io(error))
                    if error.kind() == std::io::ErrorKind::WouldBlock && busy < 100 =>
                {
                    busy += 1;
                    std::thread::sleep(Duration::from_millis(10));
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
    let mut key = [RECORD_PREFIX; 9];
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

fn insert(batch: &mut sled::Batch, seq: Seq, record: &[u8], sealed: &[u8], value: &mut Vec<u8>) {
    value.clear();
    let length = u32::try_from(record.len() + sealed.len()).unwrap_or(u32::MAX);
    value.extend_from_slice(&length.to_le_bytes());
    value.extend_from_slice(&u32::try_from(record.len()).unwrap_or(u32::MAX).to_le_bytes());
    value.extend_from_slice(record);
    value.extend_from_slice(sealed);
    let mut pieces = value.chunks(PIECE_BYTES);
    batch.insert(&key(seq), pieces.next().unwrap_or_default());
    for (piece, number) in pieces.zip(1_u8..) {
        batch.insert(&piece_key(seq, number), piece);
    }
}

/// Takes a record apart again; `None` when pieces are missing.
fn take_apart(seq: Seq, value: &[u8]) -> Option<Stored> {
    let (length, rest) = value.split_first_chunk::<4>()?;
    let (middle, rest) = rest.split_first_chunk::<4>()?;
    if rest.len() != u32::from_le_bytes(*length) as usize {
        return None;
    }
    let (record, sealed) = rest.split_at_checked(u32::from_le_bytes(*middle) as usize)?;
    Some(Stored { seq, record: record.to_vec(), sealed: sealed.to_vec() })
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
        let mut value = Vec::new();
        for group in groups {
            for (seq, record, sealed) in group.records() {
                insert(&mut batch, seq, record, sealed, &mut value);
            }
        }
        batch.insert(HEAD_KEY, last.note());
        Ok(guarded(|| self.db.apply_batch(batch))??)
    }

    fn flush(&self) -> Result<(), StoreError> {
        guarded(|| self.db.flush())??;
        Ok(())
    }

    fn together(&self, range: Range<Seq>) -> Result<Range<Seq>, StoreError> {
        // Each record has keys of its own.
        Ok(range)
    }

    fn replace(&self, records: &[Stored]) -> Result<(), StoreError> {
        let (Some(first), Some(last)) = (records.first(), records.last()) else { return Ok(()) };
        let end = key(Seq::new(last.seq.get().saturating_add(1)));
        guarded(|| {
            let mut batch = sled::Batch::default();
            // A damaged record may have left more pieces than the good one has.
            for old in self.db.range(key(first.seq).as_slice()..end.as_slice()).keys() {
                batch.remove(old?);
            }
            let mut value = Vec::new();
            for stored in records {
                insert(&mut batch, stored.seq, &stored.record, &stored.sealed, &mut value);
            }
            self.db.apply_batch(batch)
        })??;
        Ok(())
    }

    fn range(&self, from: Seq, limit: usize) -> Result<Vec<Stored>, StoreError> {
        guarded(|| {
            let mut found = Vec::with_capacity(limit.min(1024));
            let mut whole: Option<(Seq, Vec<u8>)> = None;
            let mut finish = |whole: &mut Option<(Seq, Vec<u8>)>| -> Result<(), StoreError> {
                if let Some((seq, value)) = whole.take() {
                    let stored = take_apart(seq, &value);
                    found.push(stored.ok_or_else(|| StoreError(format!("record {seq} is not whole")))?);
                }
                Ok(())
            };
            let mut started = 0;
            for item in self.db.range(key(from).as_slice()..&[RECORD_PREFIX + 1]) {
                let (key, value) = item?;
                let Some(number) = key.get(1..9).and_then(|number| number.try_into().ok()) else { continue };
                let seq = Seq::new(u64::from_be_bytes(number));
                match &mut whole {
                    Some((current, bytes)) if *current == seq && key.len() > 9 => {
                        bytes.extend_from_slice(&value);
                    }
                    _ => {
                        finish(&mut whole)?;
                        if started == limit {
                            break;
                        }
                        started += 1;
                        whole = Some((seq, value.to_vec()));
                    }
                }
            }
            finish(&mut whole)?;
            Ok(found)
        })?
    }
}

//! The ring's directory.
//!
//! ```text
//! secret        the wrapped secret under which owners are hashed
//! ID.key        version 1 ‖ the owner's hash (32) ‖ the wrapped data key
//! ID.erased     version 1 ‖ an HMAC over ID (32)
//! ```
//!
//! ID is 32 lower-case hexadecimal digits. Every file is written whole or not at all.

use std::fs;
use std::path::{Path, PathBuf};

use super::{DataKeyId, OwnerHash};
use crate::durable;
use crate::error::{Fault, KeyError};

const VERSION: u8 = 1;
/// Far more than a wrapped key needs.
const MAX_BYTES: u64 = 1024;

pub(super) struct Files {
    directory: PathBuf,
}

/// One key at rest.
pub(super) struct KeyFile {
    pub(super) owner: OwnerHash,
    pub(super) wrapped: Vec<u8>,
}

impl Files {
    pub(super) fn open(directory: &Path) -> Result<Self, KeyError> {
        durable::ensure_directory(directory)?;
        Ok(Self { directory: directory.to_owned() })
    }

    /// The wrapped secret; `None` in a new ring.
    pub(super) fn secret(&self) -> Result<Option<Vec<u8>>, KeyError> {
        let path = self.directory.join("secret");
        let secret = durable::read(&path, MAX_BYTES)?;
        // A new one beside old keys would give every owner another key, and believe no tombstone.
        if secret.is_none() && !(self.ids("key")?.is_empty() && self.ids("erased")?.is_empty()) {
            let source = Fault::new("it is missing, and the data keys that belong to it are there");
            return Err(KeyError::KeyFile { path, source });
        }
        Ok(secret)
    }

    pub(super) fn write_secret(&self, wrapped: &[u8]) -> Result<(), KeyError> {
        durable::replace(&self.directory.join("secret"), wrapped)
    }

    /// A key's file; `None` if there is none.
    pub(super) fn key(&self, id: DataKeyId) -> Result<Option<KeyFile>, KeyError> {
        let path = self.path(id, "key");
        let Some(bytes) = durable::read(&path, MAX_BYTES)? else { return Ok(None) };
        let (version, rest) = bytes.split_first().unwrap_or((&0, &[]));
        match rest.split_first_chunk::<32>() {
            Some((owner, wrapped)) if *version == VERSION => {
                Ok(Some(KeyFile { owner: *owner, wrapped: wrapped.to_vec() }))
            }
            _ => Err(KeyError::KeyFile { path, source: Fault::new("it is not a data key of this version") }),
        }
    }

    pub(super) fn write_key(&self, id: DataKeyId, key: &KeyFile) -> Result<(), KeyError> {
        let bytes = [[VERSION].as_slice(), &key.owner, &key.wrapped].concat();
        durable::replace(&self.path(id, "key"), &bytes)
    }

    pub(super) fn write_tombstone(&self, id: DataKeyId, tag: &[u8]) -> Result<(), KeyError> {
        durable::replace(&self.path(id, "erased"), &[&[VERSION], tag].concat())
    }

    /// Overwrites and removes a key's file. Tells whether there was one.
    pub(super) fn destroy(&self, id: DataKeyId) -> Result<bool, KeyError> {
        let path = self.path(id, "key");
        let there = path.exists();
        durable::destroy(&path)?;
        Ok(there)
    }

    /// The names of all keys.
    pub(super) fn keys(&self) -> Result<Vec<DataKeyId>, KeyError> {
        self.ids("key")
    }

    /// What is told when a key does not open.
    pub(super) fn unopened(&self, id: DataKeyId, error: KeyError) -> KeyError {
        match error {
            KeyError::NotAuthentic { .. } => {
                KeyError::KeyFile { path: self.path(id, "key"), source: Fault::new(error.to_string()) }
            }
            other => other,
        }
    }

    /// Every key with its owner's hash. A file that cannot be read is passed over: what it sealed is unreadable.
    pub(super) fn owners(&self) -> Result<Vec<(DataKeyId, OwnerHash)>, KeyError> {
        let mut owners = Vec::new();
        for id in self.ids("key")? {
            match self.key(id) {
                Ok(Some(file)) => owners.push((id, file.owner)),
                Ok(None) => {}
                Err(error) => tracing::warn!(key = %id, %error, "a data key cannot be read"),
            }
        }
        Ok(owners)
    }

    /// Every tombstone, not yet believed.
    pub(super) fn tombstones(&self) -> Result<Vec<(DataKeyId, Vec<u8>)>, KeyError> {
        let mut found = Vec::new();
        for id in self.ids("erased")? {
            let bytes = durable::read(&self.path(id, "erased"), MAX_BYTES)?.unwrap_or_default();
            found.push((id, bytes.split_first().map(|(_, tag)| tag.to_vec()).unwrap_or_default()));
        }
        Ok(found)
    }

    fn path(&self, id: DataKeyId, extension: &str) -> PathBuf {
        self.directory.join(format!("{id}.{extension}"))
    }

    fn ids(&self, extension: &str) -> Result<Vec<DataKeyId>, KeyError> {
        let unreadable = |error| durable::storage("read", &self.directory, error);
        let mut ids = Vec::new();
        for entry in fs::read_dir(&self.directory).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            if path.extension().is_some_and(|found| found == extension)
                && let Some(stem) = path.file_stem().and_then(|stem| stem.to_str())
            {
                let mut id = [0; 16];
                if hex::decode_to_slice(stem, &mut id).is_ok() {
                    ids.push(DataKeyId(id));
                }
            }
        }
        Ok(ids)
    }
}

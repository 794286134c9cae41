//! Files that are either the old one or the new one, whatever happens while they are written.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use crate::error::{Fault, KeyError};

/// Makes a directory for key files, closed to other users, unless it is there.
pub(crate) fn ensure_directory(path: &Path) -> Result<(), KeyError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|error| storage("create", path, error))
}

/// Replaces a file, mode 0600: written beside it, synced, renamed over it, and the directory synced.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), KeyError> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let write = || -> std::io::Result<()> {
        let mut file = tempfile::Builder::new()
            .prefix(".new-")
            .permissions(Permissions::from_mode(0o600))
            .tempfile_in(directory)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        File::open(directory)?.sync_all()
    };
    write().map_err(|error| storage("write", path, error))
}

/// Puts a file in the place of another, and makes that durable.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<(), KeyError> {
    let directory = to.parent().unwrap_or(Path::new("."));
    let rename = || {
        std::fs::rename(from, to)?;
        File::open(directory)?.sync_all()
    };
    rename().map_err(|error| storage("write", to, error))
}

/// Reads a file of at most `limit` bytes; `None` if there is none.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, KeyError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(storage("read", path, error)),
    };
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(|error| storage("read", path, error))?;
    if bytes.len() as u64 > limit {
        let source = Fault::new(format!("it holds more than {limit} bytes"));
        return Err(KeyError::KeyFile { path: path.to_owned(), source });
    }
    Ok(Some(bytes))
}

/// Destroys a file: overwritten where it lies, unlinked, and the directory synced. What the file system or the
/// disk keeps of it elsewhere (a journal, a snapshot, a spare block) is beyond this. No file is no error.
pub(crate) fn destroy(path: &Path) -> Result<(), KeyError> {
    let overwrite = || -> std::io::Result<()> {
        let file = OpenOptions::new().write(true).open(path)?;
        let length = file.metadata()?.len();
        let zeros = vec![0; usize::try_from(length.min(DESTROYED_AT_MOST)).unwrap_or(0)];
        (&file).write_all(&zeros)?;
        file.sync_all()?;
        std::fs::remove_file(path)?;
        File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
    };
    match overwrite() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        outcome => outcome.map_err(|error| storage("destroy", path, error)),
    }
}

/// Key files are far smaller.
const DESTROYED_AT_MOST: u64 = 64 * 1024;

pub(crate) fn storage(action: &'static str, path: &Path, error: std::io::Error) -> KeyError {
    KeyError::Storage { action: action.into(), path: path.to_owned(), source: error.into() }
}

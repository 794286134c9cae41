//! Files that are either the old one or the new one, whatever happens while they are written.

use std::fs::{DirBuilder, File, Permissions};
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

fn storage(action: &'static str, path: &Path, error: std::io::Error) -> KeyError {
    KeyError::Storage { action, path: path.to_owned(), source: error.into() }
}

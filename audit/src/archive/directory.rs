//! An archive that is a directory, such as a mounted disk.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::{Archive, ArchiveError};
use crate::journal::files::MAX_SEGMENT_BYTES;

/// Files in a directory, readable by their owner alone.
#[derive(Clone, Debug)]
pub struct DirectoryArchive {
    directory: PathBuf,
}

impl DirectoryArchive {
    /// The archive in `directory`, which is made when it is first written to.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    fn error(&self, doing: &'static str, name: &str, source: io::Error) -> ArchiveError {
        ArchiveError::Io { doing, location: self.location(), name: name.to_owned(), source }
    }

    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.directory)?;
        // A file that was cut off by a crash must not lie under a final name.
        let unfinished = self.directory.join(format!("{name}.unfinished"));
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&unfinished, self.directory.join(name))?;
        File::open(&self.directory)?.sync_all()
    }
}

impl Archive for DirectoryArchive {
    fn location(&self) -> String {
        self.directory.display().to_string()
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), ArchiveError> {
        match self.get(name)? {
            Some(found) if found == bytes => Ok(()),
            Some(_) => Err(ArchiveError::Exists { location: self.location(), name: name.to_owned() }),
            None => self.write(name, bytes).map_err(|error| self.error("write", name, error)),
        }
    }

    fn get(&self, name: &str) -> Result<Option<Vec<u8>>, ArchiveError> {
        match read(&self.directory.join(name)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.error("read", name, error)),
        }
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_SEGMENT_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_SEGMENT_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is longer than any segment"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::store;

    #[test]
    fn what_is_stored_is_read_back_and_is_never_replaced_by_something_else() {
        let folder = tempfile::tempdir().unwrap();
        let archive = DirectoryArchive::new(folder.path().join("new/archive"));
        store(&archive, "a.seg", b"one").unwrap();
        store(&archive, "a.seg", b"one").unwrap();
        let error = store(&archive, "a.seg", b"two").unwrap_err();
        assert!(matches!(error, ArchiveError::Exists { .. }), "{error}");
        assert_eq!(archive.get("a.seg").unwrap().unwrap(), b"one");
        assert_eq!(archive.get("b.seg").unwrap(), None);
    }

    #[test]
    fn an_archive_that_gives_back_something_else_is_found_out() {
        struct Liar;
        impl Archive for Liar {
            fn location(&self) -> String {
                "nowhere".to_owned()
            }
            fn put(&self, _: &str, _: &[u8]) -> Result<(), ArchiveError> {
                Ok(())
            }
            fn get(&self, _: &str) -> Result<Option<Vec<u8>>, ArchiveError> {
                Ok(Some(b"something".to_vec()))
            }
        }
        let error = store(&Liar, "a.seg", b"one").unwrap_err();
        assert!(
            matches!(error, ArchiveError::Different { .. }) && error.hint().contains("nothing was pruned")
        );
    }
}

//! What a pack is called while it is written, and what becomes of one that is not finished.
//!
//! A pack gets its name when all of it is there. Until then it lies beside it under a hidden one, and goes with whoever
//! writes it if that fails. What a killed process or a power failure left goes with the next pack of this name, or with
//! [`sweep`]; a lock, which ends with its process, tells it from what another process is writing just now.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::StoreError;

/// How the hidden name ends.
const ENDING: &str = ".unfinished";

/// A pack on its way. Taken away when this is dropped, unless it got its name.
pub(super) struct Unfinished {
    path: PathBuf,
    named: bool,
}

fn hidden(pack: &Path) -> PathBuf {
    let name = pack.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    pack.with_file_name(format!(".{name}{ENDING}"))
}

impl Unfinished {
    /// One that will be a file, and the file, locked. Refused while another process writes it.
    pub(super) fn file(pack: &Path) -> Result<(Self, File), StoreError> {
        let path = hidden(pack);
        if matches!(lock(&path), Err(TryLockError::WouldBlock)) {
            return Err(StoreError::Busy { path: pack.display().to_string() });
        }
        let file = forget(fs::remove_file(&path))
            .and_then(|()| File::create_new(&path))
            .map_err(|error| StoreError::io(&path, error))?;
        // Not every disk can lock; then only `sweep` knows less.
        let _ = file.try_lock();
        Ok((Self { path, named: false }, file))
    }

    /// One that will be a folder, and empty.
    pub(super) fn folder(pack: &Path) -> Result<Self, StoreError> {
        let path = hidden(pack);
        forget(fs::remove_dir_all(&path))
            .and_then(|()| fs::create_dir_all(&path))
            .map_err(|error| StoreError::io(&path, error))?;
        Ok(Self { path, named: false })
    }

    /// Where it lies meanwhile.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// All of it is there.
    pub(super) fn becomes(mut self, pack: &Path) -> Result<(), StoreError> {
        fs::rename(&self.path, pack).map_err(|error| StoreError::io(pack, error))?;
        self.named = true;
        Ok(())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if self.named {
            return;
        }
        // What fails here has failed before, and that is what is told.
        let _ = if self.path.is_dir() { fs::remove_dir_all(&self.path) } else { fs::remove_file(&self.path) };
    }
}

/// Takes away the files that packs left in a folder which nobody writes any more.
pub fn sweep(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let left = name.to_str().is_some_and(|name| name.starts_with('.') && name.ends_with(ENDING));
        if left && entry.file_type().is_ok_and(|kind| kind.is_file()) && lock(&entry.path()).is_ok() {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Whether nobody has it locked.
fn lock(path: &Path) -> Result<(), TryLockError> {
    File::open(path).map_err(TryLockError::Error)?.try_lock()
}

/// What is not there need not be taken away.
fn forget(taken: io::Result<()>) -> io::Result<()> {
    match taken {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_process_left_is_swept_and_what_is_being_written_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let left = folder.path().join(".soc2-1.zip.unfinished");
        for path in [&left, &folder.path().join("soc2-2.zip"), &folder.path().join(".hidden")] {
            fs::write(path, "a").unwrap();
        }
        let (writing, _file) = Unfinished::file(&folder.path().join("soc2-3.zip")).unwrap();
        sweep(folder.path());
        assert!(!left.exists() && writing.path().exists());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
    }

    #[test]
    fn one_that_is_dropped_is_taken_away_and_one_that_got_its_name_stays() {
        let folder = tempfile::tempdir().unwrap();
        let (file, tree) = (folder.path().join("a.zip"), folder.path().join("b"));
        drop(Unfinished::file(&file).unwrap());
        let unfinished = Unfinished::folder(&tree).unwrap();
        fs::write(unfinished.path().join("c"), "c").unwrap();
        drop(unfinished);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        let (unfinished, _file) = Unfinished::file(&file).unwrap();
        unfinished.becomes(&file).unwrap();
        assert!(file.exists());
    }
}

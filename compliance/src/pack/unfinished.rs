//! What a pack is called while it is written, and what becomes of one that is not finished.
//!
//! A pack gets its name when all of it is there. Until then it lies beside it under a hidden one, and goes with whoever
//! writes it if that fails. What a killed process or a power failure left goes with the next pack of this name, or with
//! [`sweep`]; a lock, which ends with its process, tells it from what another process is writing just now. So a file or folder
//! is emptied, named or taken away only by whoever has it locked, and only if the hidden name is still its own: between the
//! opening and the lock it may have become a pack.

use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::StoreError;

/// How the hidden name ends.
const ENDING: &str = ".unfinished";
/// So often what has the hidden name may become another's while it is opened.
const TRIES: usize = 16;

/// A pack on its way. Taken away when this is dropped, unless it got its name.
pub(super) struct Unfinished {
    path: PathBuf,
    named: bool,
    /// Locked for as long as this is.
    held: File,
}

fn hidden(pack: &Path) -> PathBuf {
    let name = pack.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    pack.with_file_name(format!(".{name}{ENDING}"))
}

impl Unfinished {
    /// One that will be a file, and the file, empty. Refused while another process writes it.
    pub(super) fn file(pack: &Path) -> Result<(Self, File), StoreError> {
        let unfinished = Self::hold(pack, open_file)?;
        let emptied = unfinished.held.set_len(0).and_then(|()| unfinished.held.try_clone());
        let file = emptied.map_err(|error| StoreError::io(&unfinished.path, error))?;
        Ok((unfinished, file))
    }

    /// One that will be a folder, and empty. Refused while another process writes it.
    pub(super) fn folder(pack: &Path) -> Result<Self, StoreError> {
        let unfinished = Self::hold(pack, open_folder)?;
        empty(&unfinished.path).map_err(|error| StoreError::io(&unfinished.path, error))?;
        Ok(unfinished)
    }

    fn hold(pack: &Path, open: impl Fn(&Path) -> io::Result<File>) -> Result<Self, StoreError> {
        let path = hidden(pack);
        for _ in 0..TRIES {
            let held = match open(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                opened => opened.map_err(|error| StoreError::io(&path, error))?,
            };
            // Not every disk can lock; then only the name tells whose it is.
            if matches!(held.try_lock(), Err(TryLockError::WouldBlock)) {
                return Err(StoreError::Busy { path: pack.display().to_string() });
            }
            if has_name(&held, &path) {
                return Ok(Self { path, named: false, held });
            }
        }
        Err(StoreError::io(&path, io::ErrorKind::AlreadyExists.into()))
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
        if self.named || !has_name(&self.held, &self.path) {
            return;
        }
        // What fails here has failed before, and that is what is told.
        let _ = if self.path.is_dir() { fs::remove_dir_all(&self.path) } else { fs::remove_file(&self.path) };
    }
}

/// Takes away the files that packs left in a folder which nobody writes any more.
pub fn sweep(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let (name, path) = (entry.file_name(), entry.path());
        let left = name.to_str().is_some_and(|name| name.starts_with('.') && name.ends_with(ENDING));
        if left
            && entry.file_type().is_ok_and(|kind| kind.is_file())
            && let Ok(held) = File::open(&path)
            && held.try_lock().is_ok()
            && has_name(&held, &path)
        {
            let _ = fs::remove_file(&path);
        }
    }
}

/// As it is, for it may be another's.
fn open_file(path: &Path) -> io::Result<File> {
    match File::create_new(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            OpenOptions::new().write(true).open(path)
        }
        created => created,
    }
}

fn open_folder(path: &Path) -> io::Result<File> {
    fs::create_dir_all(path)?;
    File::open(path)
}

fn empty(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Whether what is open is what this name leads to, by itself and not by a link.
fn has_name(open: &File, path: &Path) -> bool {
    let both = open.metadata().and_then(|open| Ok((open, path.symlink_metadata()?)));
    both.is_ok_and(|(open, named)| is_same(&open, &named))
}

#[cfg(unix)]
fn is_same(one: &Metadata, other: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

#[cfg(not(unix))]
fn is_same(one: &Metadata, other: &Metadata) -> bool {
    one.file_type() == other.file_type() && one.created().ok() == other.created().ok()
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

    #[test]
    fn whoever_comes_while_a_pack_gets_its_name_leaves_the_pack_as_it_is() {
        let place = tempfile::tempdir().unwrap();
        for (name, open) in [("a.zip", open_file as fn(&Path) -> io::Result<File>), ("a", open_folder)] {
            let pack = place.path().join(name);
            let unfinished = Unfinished::hold(&pack, |hidden| {
                let file = open(hidden)?;
                // Opened, and then the other is done.
                if !pack.exists() {
                    fs::rename(hidden, &pack)?;
                }
                Ok(file)
            })
            .unwrap();
            assert!(unfinished.path().exists() && !has_name(&unfinished.held, &pack), "{name}");
            drop(unfinished);
            assert!(pack.exists() && !hidden(&pack).exists(), "{name}");
        }
    }

    #[test]
    fn a_pack_is_written_by_one_at_a_time_and_what_one_left_is_gone_for_the_next() {
        let place = tempfile::tempdir().unwrap();
        let (file, tree) = (place.path().join("a.zip"), place.path().join("b"));
        fs::write(hidden(&file), "half").unwrap();
        fs::create_dir_all(hidden(&tree).join("tables")).unwrap();
        fs::write(hidden(&tree).join("tables/c"), "half").unwrap();
        let (first, _file) = Unfinished::file(&file).unwrap();
        let second = Unfinished::folder(&tree).unwrap();
        assert_eq!(first.path().metadata().unwrap().len(), 0);
        assert_eq!(fs::read_dir(second.path()).unwrap().count(), 0);
        fs::write(second.path().join("c"), "c").unwrap();
        assert!(matches!(Unfinished::file(&file), Err(StoreError::Busy { .. })));
        assert!(matches!(Unfinished::folder(&tree), Err(StoreError::Busy { .. })));
        assert!(second.path().join("c").exists());
    }

    #[test]
    fn one_that_is_dropped_takes_away_nothing_that_another_put_in_its_place() {
        let place = tempfile::tempdir().unwrap();
        let (mine, _file) = Unfinished::file(&place.path().join("a.zip")).unwrap();
        let path = mine.path().to_owned();
        fs::write(place.path().join("other"), "other").unwrap();
        fs::rename(place.path().join("other"), &path).unwrap();
        drop(mine);
        assert_eq!(fs::read_to_string(path).unwrap(), "other");
    }

    #[cfg(unix)]
    #[test]
    fn a_link_in_the_hidden_names_place_leads_nowhere() {
        let place = tempfile::tempdir().unwrap();
        let (pack, other) = (place.path().join("a.zip"), place.path().join("other"));
        fs::write(&other, "other").unwrap();
        std::os::unix::fs::symlink(&other, hidden(&pack)).unwrap();
        assert!(Unfinished::file(&pack).is_err());
        assert_eq!(fs::read_to_string(other).unwrap(), "other");
    }
}

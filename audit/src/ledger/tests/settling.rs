//! What a killed process has left unsynced is synced before anything is built on it.

use std::io;
use std::sync::Mutex;

use super::*;
use crate::disk::{Disk, DiskFile, RealDisk};

/// Writes down what is synced, in order.
#[derive(Clone, Default)]
struct WatchedDisk(Arc<Mutex<Vec<PathBuf>>>);

struct WatchedFile(WatchedDisk, PathBuf, Box<dyn DiskFile>);

impl WatchedDisk {
    fn note(&self, path: &Path) {
        self.0.lock().unwrap().push(path.to_owned());
    }

    fn synced(&self) -> Vec<PathBuf> {
        self.0.lock().unwrap().clone()
    }
}

impl Disk for WatchedDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(WatchedFile(self.clone(), path.to_owned(), RealDisk.create(path)?)))
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(WatchedFile(self.clone(), path.to_owned(), RealDisk.open(path)?)))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.note(path);
        RealDisk.remove(path)
    }
    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.note(path);
        RealDisk.sync_directory(path)
    }
}

impl DiskFile for WatchedFile {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.2.write_at(bytes, offset)
    }
    fn set_len(&mut self, length: u64) -> io::Result<()> {
        self.2.set_len(length)
    }
    fn sync(&mut self) -> io::Result<()> {
        self.0.note(&self.1);
        self.2.sync()
    }
}

async fn synced_by_opening(directory: &Path) -> Vec<PathBuf> {
    let disk = WatchedDisk::default();
    let watched = Arc::new(disk.clone());
    let (ledger, _) =
        Ledger::open_on(options(directory), Box::new(signer()), Arc::new(PlainVault), watched).unwrap();
    let synced = disk.synced();
    ledger.close().await.unwrap();
    synced
}

#[tokio::test]
async fn the_names_of_new_directories_are_durable_before_a_ledger_is_made_in_them() {
    let folder = tempfile::tempdir().unwrap();
    let synced = synced_by_opening(&folder.path().join("new/ledger")).await;
    for above in [folder.path().to_owned(), folder.path().join("new"), folder.path().join("new/ledger")] {
        assert!(synced.contains(&above), "{} is not in {synced:?}", above.display());
    }
}

#[tokio::test]
async fn the_last_segment_and_its_name_are_durable_before_a_ledger_goes_on_behind_it() {
    let directory = filled(3).await;
    let synced = synced_by_opening(directory.path()).await;
    let parent = directory.path().parent().unwrap().to_owned();
    let first = [parent, first_segment(directory.path()), directory.path().join("journal")];
    assert!(synced.starts_with(&first), "{synced:?}");
}

#[tokio::test]
async fn a_ledger_in_a_relative_directory_can_be_made() {
    // Relative to wherever the tests run; the name is only made if it is missing.
    let folder = tempfile::tempdir_in(".").unwrap();
    let name = PathBuf::from(folder.path().file_name().unwrap());
    let synced = synced_by_opening(&name.join("ledger")).await;
    assert!(synced.contains(&name), "{synced:?}");
    assert!(!synced.contains(&PathBuf::new()), "{synced:?}");
}

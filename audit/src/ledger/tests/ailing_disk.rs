//! A disk that fails from one operation on, for so many operations, and is well again afterwards.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::disk::{Disk, DiskFile, RealDisk};

/// How an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ill {
    /// Nothing was done, and half of a write.
    Half,
    /// All was done, and an error returned all the same.
    All,
}

#[derive(Clone)]
pub(super) struct AilingDisk {
    count: Arc<AtomicUsize>,
    from: Arc<AtomicUsize>,
    dies: Arc<AtomicUsize>,
    lasts: usize,
    ill: Ill,
}

struct AilingFile(AilingDisk, Box<dyn DiskFile>);

impl AilingDisk {
    /// Well until told otherwise.
    pub(super) fn new(lasts: usize, ill: Ill) -> Self {
        let never = || Arc::new(AtomicUsize::new(usize::MAX));
        Self { count: Arc::default(), from: never(), dies: never(), lasts, ill }
    }

    /// Fails from the `operation`th operation from now on.
    pub(super) fn falls_ill_at(&self, operation: usize) {
        self.from.store(self.count().saturating_add(operation), Ordering::SeqCst);
    }

    fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    /// Whether anything has failed.
    pub(super) fn has_failed(&self) -> bool {
        self.count() > self.from.load(Ordering::SeqCst)
    }

    /// From the `operation`th operation from now on it does nothing any more; of that one it does what an ill one does.
    pub(super) fn dies_at(&self, operation: usize) {
        self.dies.store(self.count().saturating_add(operation), Ordering::SeqCst);
    }

    pub(super) fn has_died(&self) -> bool {
        self.count() > self.dies.load(Ordering::SeqCst)
    }

    fn step(&self, work: impl FnOnce(bool) -> io::Result<()>) -> io::Result<()> {
        let now = self.count.fetch_add(1, Ordering::SeqCst);
        let from = self.from.load(Ordering::SeqCst);
        let dies = self.dies.load(Ordering::SeqCst);
        if now > dies {
            return Err(io::ErrorKind::Other.into());
        }
        if now < dies && (now < from || now - from >= self.lasts) {
            return work(false);
        }
        let half = self.ill == Ill::Half;
        work(half).and(Err(io::ErrorKind::StorageFull.into()))
    }

    fn file(&self, make: impl FnOnce() -> io::Result<Box<dyn DiskFile>>) -> io::Result<Box<dyn DiskFile>> {
        let mut file = None;
        self.step(|half| {
            if !half {
                file = Some(make()?);
            }
            Ok(())
        })?;
        file.map(|file| Box::new(AilingFile(self.clone(), file)) as Box<dyn DiskFile>)
            .ok_or(io::ErrorKind::Other.into())
    }
}

impl Disk for AilingDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.file(|| RealDisk.create(path))
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.file(|| RealDisk.open(path))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step(|half| if half { Ok(()) } else { RealDisk.rename(from, to) })
    }
    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.step(|half| if half { Ok(()) } else { RealDisk.sync_directory(path) })
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.step(|half| if half { Ok(()) } else { RealDisk.remove(path) })
    }
}

impl DiskFile for AilingFile {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let Self(disk, file) = self;
        disk.step(|half| file.write_at(if half { &bytes[..bytes.len() / 2] } else { bytes }, offset))
    }
    fn set_len(&mut self, length: u64) -> io::Result<()> {
        let Self(disk, file) = self;
        disk.step(|half| if half { Ok(()) } else { file.set_len(length) })
    }
    fn sync(&mut self) -> io::Result<()> {
        let Self(disk, file) = self;
        disk.step(|half| if half { Ok(()) } else { file.sync() })
    }
}

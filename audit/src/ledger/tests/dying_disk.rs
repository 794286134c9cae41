//! A disk that dies at one operation: half of it is done, and nothing works from then on.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::disk::{Disk, DiskFile, RealDisk};

#[derive(Clone)]
pub(super) struct DyingDisk {
    count: Arc<AtomicUsize>,
    dies_at: usize,
}

struct DyingFile(DyingDisk, Box<dyn DiskFile>);

impl DyingDisk {
    pub(super) fn at(step: usize) -> Self {
        Self { count: Arc::default(), dies_at: step }
    }

    pub(super) fn has_died(&self) -> bool {
        self.count.load(Ordering::SeqCst) > self.dies_at
    }

    fn step(&self, work: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        match self.count.fetch_add(1, Ordering::SeqCst).cmp(&self.dies_at) {
            std::cmp::Ordering::Less => work(),
            _ => Err(io::ErrorKind::Other.into()),
        }
    }

    fn file(&self, make: impl FnOnce() -> io::Result<Box<dyn DiskFile>>) -> io::Result<Box<dyn DiskFile>> {
        let mut file = None;
        self.step(|| {
            file = Some(make()?);
            Ok(())
        })?;
        file.map(|file| Box::new(DyingFile(self.clone(), file)) as Box<dyn DiskFile>)
            .ok_or(io::ErrorKind::Other.into())
    }
}

impl Disk for DyingDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.file(|| RealDisk.create(path))
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.file(|| RealDisk.open(path))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step(|| RealDisk.rename(from, to))
    }
    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.step(|| RealDisk.sync_directory(path))
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.step(|| RealDisk.remove(path))
    }
}

impl DiskFile for DyingFile {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let dying = self.0.count.load(Ordering::SeqCst) == self.0.dies_at;
        if dying {
            self.1.write_at(&bytes[..bytes.len() / 2], offset)?;
        }
        let Self(disk, file) = self;
        disk.step(|| file.write_at(bytes, offset))
    }
    fn set_len(&mut self, length: u64) -> io::Result<()> {
        let Self(disk, file) = self;
        disk.step(|| file.set_len(length))
    }
    fn sync(&mut self) -> io::Result<()> {
        let Self(disk, file) = self;
        disk.step(|| file.sync())
    }
}

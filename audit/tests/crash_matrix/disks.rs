//! Disks that fail: each operation in turn and in several ways, and a file system that is really full.

use std::io;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sallyport_audit::ledger::{Disk, DiskFile, RealDisk};
use sallyport_audit::testing::PlainVault;
use sallyport_audit::{AppendError, Ledger, Seq};

use crate::sample::{block_on, draft, named, open, options, signer, survives};
use crate::{Counts, Effort};

const SEGMENT_BYTES: u64 = 1500;

/// How an operation fails.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// Nothing was done.
    Nothing,
    /// Half of a write was done.
    Half,
    /// It was done, and an error was returned all the same.
    All,
    /// Half of it was done, and nothing works from then on.
    Dead,
}

#[derive(Clone)]
struct Plan {
    count: Arc<AtomicUsize>,
    at: usize,
    fault: Fault,
    kind: io::ErrorKind,
}

impl Plan {
    /// Runs `work` as far as the plan lets it: `half` says whether only half of it is to be done.
    fn step(&self, work: impl FnOnce(bool) -> io::Result<()>) -> io::Result<()> {
        let now = self.count.fetch_add(1, Ordering::SeqCst);
        match self.fault {
            Fault::Dead if now > self.at => Err(self.kind.into()),
            _ if now != self.at => work(false),
            Fault::Nothing => Err(self.kind.into()),
            Fault::All => work(false).and(Err(self.kind.into())),
            Fault::Half | Fault::Dead => work(true).and(Err(self.kind.into())),
        }
    }
}

struct FailingDisk(Plan);
struct FailingFile(Plan, Box<dyn DiskFile>);

impl FailingDisk {
    fn file(&self, make: impl FnOnce() -> io::Result<Box<dyn DiskFile>>) -> io::Result<Box<dyn DiskFile>> {
        let mut opened = None;
        self.0.step(|half| {
            if !half {
                opened = Some(make()?);
            }
            Ok(())
        })?;
        opened
            .map(|inner| Box::new(FailingFile(self.0.clone(), inner)) as Box<dyn DiskFile>)
            .ok_or(io::ErrorKind::Other.into())
    }
}

impl Disk for FailingDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.file(|| RealDisk.create(path))
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.file(|| RealDisk.open(path))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.step(|half| if half { Ok(()) } else { RealDisk.rename(from, to) })
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.step(|half| if half { Ok(()) } else { RealDisk.remove(path) })
    }
    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.0.step(|half| if half { Ok(()) } else { RealDisk.sync_directory(path) })
    }
}

impl DiskFile for FailingFile {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let Self(plan, file) = self;
        plan.step(|half| file.write_at(if half { &bytes[..bytes.len() / 2] } else { bytes }, offset))
    }
    fn set_len(&mut self, length: u64) -> io::Result<()> {
        let Self(plan, file) = self;
        plan.step(|half| if half { Ok(()) } else { file.set_len(length) })
    }
    fn sync(&mut self) -> io::Result<()> {
        let Self(plan, file) = self;
        plan.step(|half| if half { Ok(()) } else { file.sync() })
    }
}

pub(crate) fn run(effort: &Effort, counts: &mut Counts) {
    let untouched = tempfile::tempdir().unwrap();
    let (known, operations) = life(untouched.path(), usize::MAX, Fault::Nothing, io::ErrorKind::Other);
    assert_eq!(known.len(), 6, "a disk that does not fail");
    let faults = [Fault::Nothing, Fault::Half, Fault::All, Fault::Dead];
    let kinds = [io::ErrorKind::StorageFull, io::ErrorKind::Other];
    for at in 0..operations {
        for (number, fault) in faults.into_iter().enumerate() {
            for kind in kinds {
                if !effort.full && (at + number) % 3 > 0 {
                    continue;
                }
                let folder = tempfile::tempdir().unwrap();
                let (known, _) = life(folder.path(), at, fault, kind);
                counts.acknowledged += known.len() as u64;
                let what = format!("operation {at} fails ({fault:?}, {kind})");
                survives(folder.path(), SEGMENT_BYTES, &known, &what, counts);
                counts.case(match kind {
                    io::ErrorKind::StorageFull => "a disk operation fails with ENOSPC",
                    _ => "a disk operation fails with another error",
                });
            }
        }
    }
    really_full(counts);
}

/// Opens, appends over several segments, closes, opens again and appends, all on a disk that fails once.
fn life(path: &Path, at: usize, fault: Fault, kind: io::ErrorKind) -> (Vec<(Seq, String)>, usize) {
    let plan = Plan { count: Arc::default(), at, fault, kind };
    let mut known = Vec::new();
    for start in [0, 3] {
        let disk = Arc::new(FailingDisk(plan.clone()));
        let opened =
            Ledger::open_on(options(path, SEGMENT_BYTES), Box::new(signer()), Arc::new(PlainVault), disk);
        let Ok((ledger, _)) = opened else { continue };
        block_on(async {
            for n in start..start + 3 {
                match ledger.append(draft(n)).await {
                    Ok(receipt) => known.push(named(&receipt)),
                    Err(AppendError::Failed { .. }) => {}
                    Err(other) => panic!("{other}"),
                }
            }
            let _ = ledger.close().await;
        });
    }
    (known, plan.count.load(Ordering::SeqCst))
}

/// A small file system that is written full, and made larger afterwards. Needs leave to mount one.
fn really_full(counts: &mut Counts) {
    let folder = tempfile::tempdir().unwrap();
    let mount = |options: &str| {
        let done =
            Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(folder.path()).output();
        done.is_ok_and(|output| output.status.success())
    };
    if !mount("size=2m") {
        println!("Not tried, for want of leave to mount a file system: one that is really full.");
        return;
    }
    let path = folder.path().join("ledger");
    let mut known = Vec::new();
    let mut refused = None;
    if let Ok((ledger, _)) = open(options(&path, 200_000)) {
        block_on(async {
            for n in 0..10_000 {
                match ledger.append(draft(n).reason("r".repeat(1000))).await {
                    Ok(receipt) => known.push(named(&receipt)),
                    Err(error) => {
                        refused = Some(error);
                        break;
                    }
                }
            }
            let _ = ledger.close().await;
        });
    }
    counts.acknowledged += known.len() as u64;
    assert!(
        refused.is_some_and(|error| error.hint().contains("disk")),
        "the disk got full, and that is said"
    );
    assert!(mount("remount,size=64m"), "it can be made larger");
    survives(&path, 200_000, &known, "a file system that was really full", counts);
    counts.case("a file system that is really full");
    let unmounted = Command::new("umount").arg(folder.path()).output().unwrap();
    assert!(unmounted.status.success());
}

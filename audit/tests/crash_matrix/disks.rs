//! Disks that fail: each operation in turn and in several ways, and a file system that is really full.

use std::io;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sallyport_audit::ledger::{Disk, DiskFile, RealDisk};
use sallyport_audit::testing::PlainVault;
use sallyport_audit::{AppendError, Ledger, LedgerStatus, Seq};

use crate::sample::{block_on, draft, holds, named, open, options, signer, survives};
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
    going_on(effort, counts);
    really_full(counts);
}

/// Each operation of a life fails once, in each way but for good, and the ledger goes on by itself.
fn going_on(effort: &Effort, counts: &mut Counts) {
    for (number, fault) in [Fault::Nothing, Fault::Half, Fault::All].into_iter().enumerate() {
        for at in 0.. {
            if !effort.full && (at + number) % 3 > 0 {
                continue;
            }
            let folder = tempfile::tempdir().unwrap();
            let what = format!("operation {at} fails ({fault:?}), and the ledger goes on");
            let Some(known) = patient_life(folder.path(), at, fault, &what, counts) else { break };
            counts.acknowledged += known.len() as u64;
            survives(folder.path(), SEGMENT_BYTES, &known, &what, counts);
            counts.case("a disk operation fails, and the ledger goes on");
        }
    }
}

/// Opens on a disk that works, appends while it fails once, and goes on; nothing if it had no more to do that could fail.
fn patient_life(
    path: &Path,
    at: usize,
    fault: Fault,
    what: &str,
    counts: &mut Counts,
) -> Option<Vec<(Seq, String)>> {
    open(options(path, SEGMENT_BYTES)).ok().map(|(ledger, _)| block_on(ledger.close()).unwrap())?;
    let plan = Plan { count: Arc::default(), at, fault, kind: io::ErrorKind::StorageFull };
    let mut options = options(path, SEGMENT_BYTES);
    options.retry_interval = Duration::from_millis(1);
    let disk = Arc::new(FailingDisk(plan.clone()));
    let Ok((ledger, _)) = Ledger::open_on(options, Box::new(signer()), Arc::new(PlainVault), disk) else {
        return Some(Vec::new());
    };
    let mut known = Vec::new();
    block_on(async {
        for n in 0..6 {
            loop {
                ledger.status().wait_for(LedgerStatus::is_open).await.unwrap();
                match ledger.append(draft(n)).await {
                    Ok(receipt) => break known.push(named(&receipt)),
                    Err(AppendError::Recovering { .. }) => {}
                    Err(other) => panic!("{what}: {other}"),
                }
            }
        }
        holds(&ledger, &known, what, counts);
        let _ = ledger.close().await;
    });
    (plan.count.load(Ordering::SeqCst) > at).then_some(known)
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
                    Err(AppendError::Recovering { .. }) => {}
                    Err(other) => panic!("{other}"),
                }
            }
            let _ = ledger.close().await;
        });
    }
    (known, plan.count.load(Ordering::SeqCst))
}

/// A small file system that is written full, and made larger while the ledger is open. Needs leave to mount one.
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
            assert!(mount("remount,size=64m"), "it can be made larger");
            ledger.status().wait_for(LedgerStatus::is_open).await.unwrap();
            let receipt = ledger.append(draft(10_000)).await.unwrap();
            known.push(named(&receipt));
            holds(&ledger, &known, "a file system with room again", counts);
            ledger.close().await.unwrap();
        });
    }
    counts.acknowledged += known.len() as u64;
    assert!(
        refused.is_some_and(|error| error.hint().contains("disk")),
        "the disk got full, and that is said"
    );
    survives(&path, 200_000, &known, "a file system that was really full", counts);
    counts.case("a file system that is really full");
    let unmounted = Command::new("umount").arg(folder.path()).output().unwrap();
    assert!(unmounted.status.success());
}

//! Every write, sync, rename and creation of a ledger's life is made to fail once, and the ledger is opened anew then.
//! That it can go on without that is tried in `opening_again`.

use std::io;
use std::sync::atomic::AtomicUsize;

use super::*;
use crate::disk::{Disk, DiskFile, RealDisk};

/// A disk on which one operation fails; a write that fails leaves half of its bytes.
pub(super) struct FaultyDisk {
    count: Arc<AtomicUsize>,
    fails: usize,
    kind: io::ErrorKind,
}

impl FaultyDisk {
    fn step(&self) -> io::Result<()> {
        step(&self.count, self.fails, self.kind)
    }
}

fn step(count: &AtomicUsize, fails: usize, kind: io::ErrorKind) -> io::Result<()> {
    if count.fetch_add(1, Ordering::SeqCst) == fails {
        return Err(kind.into());
    }
    Ok(())
}

impl Disk for FaultyDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.step()?;
        let (count, fails, kind) = (Arc::clone(&self.count), self.fails, self.kind);
        Ok(Box::new(FaultyFile { file: RealDisk.create(path)?, count, fails, kind }))
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.step()?;
        let (count, fails, kind) = (Arc::clone(&self.count), self.fails, self.kind);
        Ok(Box::new(FaultyFile { file: RealDisk.open(path)?, count, fails, kind }))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step()?;
        RealDisk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        RealDisk.remove(path)
    }
    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        RealDisk.sync_directory(path)
    }
}

struct FaultyFile {
    file: Box<dyn DiskFile>,
    count: Arc<AtomicUsize>,
    fails: usize,
    kind: io::ErrorKind,
}

impl DiskFile for FaultyFile {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if let Err(error) = step(&self.count, self.fails, self.kind) {
            self.file.write_at(&bytes[..bytes.len() / 2], offset)?;
            return Err(error);
        }
        self.file.write_at(bytes, offset)
    }
    fn set_len(&mut self, length: u64) -> io::Result<()> {
        step(&self.count, self.fails, self.kind)?;
        self.file.set_len(length)
    }
    fn sync(&mut self) -> io::Result<()> {
        step(&self.count, self.fails, self.kind)?;
        self.file.sync()
    }
}

/// A disk whose operation number `fails` does, and how many there were.
pub(super) fn faulty(fails: usize, kind: io::ErrorKind) -> (FaultyDisk, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    (FaultyDisk { count: Arc::clone(&count), fails, kind }, count)
}

fn open_faulty(
    options: LedgerOptions,
    fails: usize,
    kind: io::ErrorKind,
) -> (Result<(Ledger, Opened), LedgerError>, Arc<AtomicUsize>) {
    let (disk, count) = faulty(fails, kind);
    let surroundings = Surroundings { disk: Arc::new(disk), ..Surroundings::real() };
    // It is not given the time to go on by itself.
    let options = LedgerOptions { retry_interval: std::time::Duration::from_hours(1), ..options };
    (opening::open(options, Box::new(signer()), Arc::new(PlainVault), surroundings), count)
}

/// Opens, appends and closes; gives back what was acknowledged and how many operations there were.
async fn life(options: LedgerOptions, fails: usize, kind: io::ErrorKind) -> (Vec<u64>, usize) {
    let (opened, count) = open_faulty(options, fails, kind);
    let mut acknowledged = Vec::new();
    match opened {
        Err(error) => assert!(!error.hint().is_empty()),
        Ok((ledger, _)) => {
            for n in 1..=4 {
                match ledger.append(draft(n)).await {
                    Ok(_) => acknowledged.push(n),
                    Err(error) => assert!(matches!(error, AppendError::Recovering { .. }), "{error}"),
                }
            }
            let failed = matches!(&*ledger.status().borrow(), LedgerStatus::Recovering { .. });
            assert_eq!(failed, acknowledged.len() < 4);
            // The reader goes on while the gateway is told.
            assert_eq!(numbers(&ledger), acknowledged);
            let _ = ledger.close().await;
        }
    }
    (acknowledged, count.load(Ordering::SeqCst))
}

#[tokio::test]
async fn whichever_disk_operation_fails_nothing_acknowledged_is_lost_and_the_ledger_opens_again() {
    let tight = |directory: &Path| LedgerOptions { segment_bytes: 1500, ..options(directory) };
    let healthy = tempfile::tempdir().unwrap();
    let (all, operations) = life(tight(healthy.path()), usize::MAX, io::ErrorKind::Other).await;
    assert_eq!(all, [1, 2, 3, 4]);
    assert!(operations > 20, "{operations}");
    for fails in 0..operations {
        for kind in [io::ErrorKind::StorageFull, io::ErrorKind::Other] {
            let directory = tempfile::tempdir().unwrap();
            let (acknowledged, _) = life(tight(directory.path()), fails, kind).await;
            let (ledger, opened) = try_open(tight(directory.path()))
                .unwrap_or_else(|error| panic!("operation {fails} ({kind}): {error}: {:?}", error.hint()));
            let kept = numbers(&ledger);
            assert!(
                kept.starts_with(&acknowledged),
                "operation {fails}: {acknowledged:?} in {kept:?}, {opened:?}"
            );
            ledger.append(draft(5)).await.unwrap();
            ledger.close().await.unwrap();
            assert_verified(directory.path());
        }
    }
}

#[tokio::test]
async fn recovery_itself_may_be_interrupted_anywhere() {
    let good = filled(2).await;
    let length = std::fs::read(first_segment(good.path())).unwrap().len();
    let tear = |directory: &Path| {
        let path = first_segment(directory);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.extend_from_slice(b"SPG1 and no more");
        std::fs::write(&path, bytes).unwrap();
    };
    for fails in 0..20 {
        let directory = tempfile::tempdir().unwrap();
        copy(good.path(), directory.path());
        tear(directory.path());
        let (opened, _) = open_faulty(options(directory.path()), fails, io::ErrorKind::Other);
        if let Ok((ledger, _)) = opened {
            let _ = ledger.close().await;
        }
        let (ledger, _) =
            try_open(options(directory.path())).unwrap_or_else(|error| panic!("{fails}: {error}"));
        assert_eq!(numbers(&ledger), [1, 2], "operation {fails}");
        ledger.close().await.unwrap();
        assert_verified(directory.path());
        let kept = std::fs::read_dir(directory.path().join("journal"))
            .unwrap()
            .any(|entry| std::fs::read(entry.unwrap().path()).unwrap().ends_with(b"SPG1 and no more"));
        assert!(kept, "operation {fails}: the torn bytes are somewhere; the good ones end at {length}");
    }
}

#[tokio::test]
async fn a_full_disk_is_named_and_every_waiter_is_told() {
    let directory = filled(1).await;
    // Opening takes as many operations as opening and closing without a record; then a group's write fails.
    let (opened, before) = open_faulty(options(directory.path()), usize::MAX, io::ErrorKind::StorageFull);
    opened.unwrap().0.close().await.unwrap();
    let before = before.load(Ordering::SeqCst);
    let (opened, _) = open_faulty(options(directory.path()), before, io::ErrorKind::StorageFull);
    let Ok((ledger, _)) = opened else { panic!("it opens") };
    let mut waiters: Vec<_> = (0..8).map(|n| Box::pin(ledger.append(draft(n)))).collect();
    for waiter in &mut waiters {
        let error = waiter.await.unwrap_err();
        assert!(matches!(&error, AppendError::Recovering { reason } if reason.contains(".seg")), "{error}");
        assert!(error.hint().contains("disk"));
    }
    let status = ledger.status().borrow().clone();
    assert!(matches!(status, LedgerStatus::Recovering { .. }), "{status:?}");
    assert!(ledger.close().await.is_err());
    open(directory.path()).0.close().await.unwrap();
}

#[tokio::test]
async fn a_head_that_a_lent_key_signed_is_not_signed_at_the_end_over_a_group_that_was_not_written() {
    use crate::ledger::Lending;
    use std::time::Duration;
    let lent = |directory: &Path| LedgerOptions {
        lending: Some(Lending {
            lifetime: Duration::from_hours(1),
            heads: 1000,
            own_every: Duration::from_hours(1),
        }),
        ..options(directory)
    };
    let healthy = tempfile::tempdir().unwrap();
    let (_, operations) = life(lent(healthy.path()), usize::MAX, io::ErrorKind::Other).await;
    let mut refused = Vec::new();
    for fails in 0..operations {
        let directory = tempfile::tempdir().unwrap();
        let (acknowledged, _) = life(lent(directory.path()), fails, io::ErrorKind::StorageFull).await;
        match try_open(lent(directory.path())) {
            Ok((ledger, _)) => {
                assert!(numbers(&ledger).starts_with(&acknowledged), "operation {fails}");
                ledger.close().await.unwrap();
            }
            Err(error) => refused.push((fails, acknowledged, error.to_string())),
        }
    }
    assert!(refused.is_empty(), "{refused:#?}");
}

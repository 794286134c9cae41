//! Numbering, signing and writing go on at the same time, and nothing is given to anybody too early.

use std::future::poll_fn;
use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::Poll;
use std::time::Duration;

use super::*;
use crate::SignError;
use crate::disk::{Disk, DiskFile, RealDisk};

/// A signer that tells when it is asked, and signs or not as it is told.
struct Guided {
    signer: SoftwareSigner,
    asked: Sender<()>,
    verdicts: Receiver<bool>,
}

impl HeadSigner for Guided {
    fn origin_key_name(&self) -> &str {
        self.signer.origin_key_name()
    }
    fn public_key(&self) -> [u8; 32] {
        self.signer.public_key()
    }
    fn sign(&mut self, message: &[u8]) -> Result<[u8; 64], SignError> {
        let _ = self.asked.send(());
        // When the test no longer decides, everything is signed.
        if self.verdicts.recv().unwrap_or(true) {
            self.signer.sign(message)
        } else {
            Err(SignError::new("no"))
        }
    }
}

/// A disk on which a segment is synced only when that is allowed.
struct SlowDisk(Arc<Mutex<Receiver<()>>>);

struct SlowFile(Box<dyn DiskFile>, Option<Arc<Mutex<Receiver<()>>>>);

impl SlowDisk {
    fn file(&self, path: &Path, file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        let segment = path.extension().is_some_and(|end| end == "seg");
        Box::new(SlowFile(file, segment.then(|| Arc::clone(&self.0))))
    }
}

impl Disk for SlowDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(self.file(path, RealDisk.create(path)?))
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(self.file(path, RealDisk.open(path)?))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)
    }
    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        RealDisk.sync_directory(path)
    }
}

impl DiskFile for SlowFile {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_at(bytes, offset)
    }
    fn set_len(&mut self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }
    fn sync(&mut self) -> io::Result<()> {
        if let Some(allowed) = &self.1 {
            // When the test no longer decides, everything is synced.
            let _ = allowed.lock().unwrap().recv();
        }
        self.0.sync()
    }
}

struct World {
    directory: tempfile::TempDir,
    ledger: Ledger,
    asked: Receiver<()>,
    verdicts: Sender<bool>,
    syncs: Sender<()>,
}

/// A new ledger whose signer and disk do what the test says.
fn world() -> World {
    world_with(Duration::ZERO)
}

/// One that keeps a group open for so long while nobody waits for it.
fn world_with(patience: Duration) -> World {
    let directory = tempfile::tempdir().unwrap();
    let (asking, asked) = channel();
    let (verdicts, deciding) = channel();
    let (syncs, allowed) = channel();
    // The first record: its head is signed, and the new segment synced twice.
    verdicts.send(true).unwrap();
    syncs.send(()).unwrap();
    syncs.send(()).unwrap();
    let guided = Guided { signer: signer(), asked: asking, verdicts: deciding };
    let disk = Arc::new(SlowDisk(Arc::new(Mutex::new(allowed))));
    let options = LedgerOptions {
        group_records: 8,
        patience,
        retry_interval: patience.max(Duration::from_secs(1)),
        ..options(directory.path())
    };
    let (ledger, _) = Ledger::open_on(options, Box::new(guided), Arc::new(PlainVault), disk).unwrap();
    asked.recv().unwrap();
    World { directory, ledger, asked, verdicts, syncs }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_is_signed_while_the_one_before_it_is_written_and_is_acknowledged_after_it() {
    let World { directory, ledger, asked, verdicts, syncs } = world();
    let append = |n| {
        tokio::spawn({
            let ledger = ledger.clone();
            async move { ledger.append(draft(n)).await.unwrap().seq }
        })
    };
    let first = append(1);
    asked.recv().unwrap();
    verdicts.send(true).unwrap();
    // The first group is not synced yet, and the second one is being signed.
    let second = append(2);
    asked.recv().unwrap();
    verdicts.send(true).unwrap();
    assert!(!first.is_finished() && !second.is_finished(), "nothing is durable");
    assert_eq!(ledger.reader().len(), 1, "nothing is shown");
    syncs.send(()).unwrap();
    assert_eq!(first.await.unwrap(), Seq::new(1));
    assert!(!second.is_finished(), "the second group is not synced");
    syncs.send(()).unwrap();
    assert_eq!(second.await.unwrap(), Seq::new(2));
    drop((verdicts, syncs));
    ledger.close().await.unwrap();
    assert_verified(directory.path());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_numbered_behind_a_group_that_could_not_be_signed_is_taken_back_in_order() {
    let World { directory, ledger, asked, verdicts, syncs } = world();
    drop(syncs);
    ledger.enqueue(draft(1)).await.unwrap();
    asked.recv().unwrap();
    // More than one group's worth of drafts arrives while the first is at the signer; one caller waits.
    for n in 2..=12 {
        ledger.enqueue(draft(n)).await.unwrap();
    }
    // Asked for once, it stands in the queue: a task of its own might come after what is tried later.
    let mut waits = Box::pin(ledger.append(draft(13)));
    assert!(poll_fn(|context| Poll::Ready(waits.as_mut().poll(context))).await.is_pending());
    let mut status = ledger.status();
    verdicts.send(false).unwrap();
    status.wait_for(|status| !status.is_open()).await.unwrap();
    // Whatever is tried from now on is signed.
    drop(verdicts);
    let receipt = ledger.append(draft(14)).await.unwrap();
    // Whoever waited is told that it was taken back; what nobody waited for is recorded all the same.
    waits.await.unwrap_err();
    let wanted: Vec<_> = (1..=12).chain([14]).collect();
    assert_eq!(numbers(&ledger), wanted);
    assert_eq!(receipt.seq, Seq::new(wanted.len() as u64), "no number is left out");
    ledger.close().await.unwrap();
    assert_verified(directory.path());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drafts_that_nobody_waits_for_are_signed_together_and_at_once_when_somebody_waits() {
    let World { directory, ledger, asked, verdicts, syncs } = world_with(Duration::from_hours(1));
    drop((verdicts, syncs));
    for n in 0..6 {
        ledger.enqueue(draft(n)).await.unwrap();
    }
    assert_eq!(ledger.append(draft(6)).await.unwrap().seq, Seq::new(7));
    assert_eq!(asked.try_iter().count(), 1, "one signature for all seven");
    for n in 7..15 {
        ledger.enqueue(draft(n)).await.unwrap();
    }
    asked.recv().expect("a full group is signed though nobody waits for it");
    ledger.enqueue(draft(15)).await.unwrap();
    ledger.close().await.unwrap();
    assert_verified(directory.path());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drafts_that_nobody_waits_for_are_signed_when_patience_is_at_its_end() {
    let World { ledger, asked, verdicts, syncs, .. } = world_with(Duration::from_millis(5));
    drop((verdicts, syncs));
    ledger.enqueue(draft(0)).await.unwrap();
    asked.recv().expect("nobody comes, and it is signed");
    ledger.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signer_that_failed_is_asked_again_at_once_when_a_draft_comes_though_nobody_waits_for_it() {
    let World { ledger, asked, verdicts, syncs, .. } = world_with(Duration::from_hours(1));
    drop(syncs);
    verdicts.send(false).unwrap();
    ledger.append(draft(0)).await.unwrap_err();
    asked.recv().unwrap();
    drop(verdicts);
    ledger.enqueue(draft(1)).await.unwrap();
    asked.recv().expect("patience is for a signer that signs");
    ledger.status().wait_for(|status| matches!(status, LedgerStatus::Open { .. })).await.unwrap();
    ledger.close().await.unwrap();
}

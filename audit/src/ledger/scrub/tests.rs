//! A ledger in use, with bytes changed under it.

use std::path::Path;

use super::*;
use crate::journal::files::read_segment;
use crate::ledger::store::{Store, Stored};
use crate::ledger::{LedgerOptions, StoreState};
use crate::record::Seq;
use crate::testing::{PlainVault, SoftwareSigner};

const ORIGIN: &str = "example.org/ledger";

fn open(folder: &Path) -> (Ledger, crate::ledger::Opened) {
    let signer = Box::new(SoftwareSigner::new(ORIGIN, [1; 32]));
    let options = LedgerOptions {
        segment_bytes: 2000,
        flush_interval: Duration::from_millis(1),
        ..LedgerOptions::new(folder, ORIGIN, "gw-1")
    };
    Ledger::open(options, signer, Arc::new(PlainVault)).unwrap()
}

fn draft(n: u64) -> Draft {
    Draft::new(Kind::HttpRequest, Outcome::Success).subject("user:alice").detail("n", n)
}

fn store(ledger: &Ledger) -> Arc<dyn Store> {
    ledger.reader().shared.store.read().unwrap().clone().unwrap()
}

/// Waits until the store has everything.
async fn settled(ledger: &Ledger) {
    let files_size = ledger.reader().len();
    let store = store(ledger);
    loop {
        let head = store.head().unwrap().and_then(|note| Checkpoint::from_note(&note).ok());
        if head.is_some_and(|(head, _)| head.size == files_size) {
            return;
        }
        tokio::task::yield_now().await;
    }
}

/// A ledger in use with 60 records in several segments, all of them in the store.
async fn filled(folder: &Path) -> Ledger {
    let (ledger, _) = open(folder);
    for n in 1..60 {
        ledger.append(draft(n)).await.unwrap();
    }
    settled(&ledger).await;
    ledger
}

fn scrubbed(ledger: &Ledger, folder: &Path) -> Findings {
    scrub(&ledger.reader(), &Files::new(folder), &mut |_| true).unwrap()
}

#[tokio::test]
async fn a_good_ledger_in_use_is_found_good_up_to_its_last_head() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = filled(folder.path()).await;
    let found = scrubbed(&ledger, folder.path());
    assert!(found.is_good() && found.segments > 3, "{found:?}");
    assert_eq!((found.first, found.records, found.compared, found.different), (0, 60, 60, 0));
    let length: u64 = Files::new(folder.path())
        .segments()
        .unwrap()
        .iter()
        .map(|segment| segment.path.metadata().unwrap().len())
        .sum();
    assert_eq!(found.bytes, length);
    assert_eq!(scrub(&ledger.reader(), &Files::new(folder.path()), &mut |_| false), None, "broken off");
    ledger.close().await.unwrap();
}

#[tokio::test]
async fn a_changed_copy_in_the_store_is_mended_from_the_journal() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = filled(folder.path()).await;
    let store = store(&ledger);
    for (place, sealed) in [(17, false), (33, true)] {
        let good = store.range(Seq::new(place), 1).unwrap().remove(0);
        let mut bad: Stored = good.clone();
        let bytes = if sealed { &mut bad.sealed } else { &mut bad.record };
        *bytes.last_mut().unwrap() ^= 1;
        let together = store.together(Seq::new(place)..Seq::new(place + 1)).unwrap();
        let together = together.start..together.end.min(Seq::new(60));
        let count = usize::try_from(together.end.get() - together.start.get()).unwrap();
        let mut all = store.range(together.start, count).unwrap();
        all.iter_mut().filter(|stored| stored.seq == bad.seq).for_each(|stored| *stored = bad.clone());
        store.replace(&all).unwrap();
        assert_eq!(store.range(Seq::new(place), 1).unwrap()[0], bad);

        let found = scrubbed(&ledger, folder.path());
        assert!(found.is_good(), "{found:?}");
        assert_eq!((found.different, found.mended, found.compared), (1, 1, 60));
        assert_eq!(store.range(Seq::new(place), 1).unwrap()[0], good);
    }
    assert_eq!(scrubbed(&ledger, folder.path()).different, 0);
    drop(store);
    ledger.close().await.unwrap();
    assert_eq!(open(folder.path()).1.store, StoreState::Current);
}

/// Changes one byte in the middle of a file.
fn flip(path: &Path) -> usize {
    let mut bytes = read_segment(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).unwrap();
    middle
}

#[tokio::test]
async fn a_changed_byte_in_any_old_segment_is_named_and_the_others_are_still_read() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = filled(folder.path()).await;
    let files = Files::new(folder.path());
    let segments = files.segments().unwrap();
    for segment in &segments[..segments.len() - 1] {
        let good = read_segment(&segment.path).unwrap();
        let middle = flip(&segment.path);
        let found = scrubbed(&ledger, folder.path());
        assert_eq!((found.damage.len(), found.more, found.different), (1, 0, 0), "{found:?}");
        let damage = &found.damage[0];
        assert_eq!(damage.segment, segment.name());
        assert!(damage.offset <= middle as u64 && damage.seq >= segment.first.get(), "{damage:?}");
        assert!(found.sentence().contains("THE JOURNAL IS DAMAGED") && !found.is_good());
        std::fs::write(&segment.path, good).unwrap();
    }
    // A segment that is gone is missed by the one after it.
    let moved = folder.path().join("moved");
    std::fs::rename(&segments[1].path, &moved).unwrap();
    let found = scrubbed(&ledger, folder.path());
    assert_eq!(found.damage[0].segment, segments[2].name());
    std::fs::rename(&moved, &segments[1].path).unwrap();
    // Right checksums do not help: the heads are signed.
    let header = read_segment(&segments[2].path).unwrap();
    std::fs::write(&segments[1].path, header).unwrap();
    assert!(!scrubbed(&ledger, folder.path()).is_good());
    ledger.close().await.unwrap();
}

#[tokio::test]
async fn a_store_that_cannot_be_mended_is_made_anew_at_the_next_opening() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = filled(folder.path()).await;
    ledger.close().await.unwrap();
    copies::mark(&Files::new(folder.path()), "record 7 cannot be read").unwrap();
    let (ledger, opened) = open(folder.path());
    let StoreState::Rebuilt { records: 60, reason, .. } = opened.store else { panic!("{:?}", opened.store) };
    assert!(reason.contains("record 7 cannot be read"), "{reason}");
    settled(&ledger).await;
    assert!(scrubbed(&ledger, folder.path()).is_good());
    ledger.close().await.unwrap();
    assert_eq!(open(folder.path()).1.store, StoreState::Current, "the mark is gone with the old store");
}

#[tokio::test]
async fn a_scrub_is_recorded_when_it_is_due_and_when_somebody_asks_for_one() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = filled(folder.path()).await;
    let options = ScrubOptions {
        directory: folder.path().to_owned(),
        interval: Duration::from_hours(1),
        first: Duration::ZERO,
        bytes_per_second: u64::MAX,
    };
    let scrubbing = Scrubbing::start(ledger.clone(), options);
    let mut status = scrubbing.status();
    let first = status.wait_for(|status| status.time.is_some()).await.unwrap().clone();
    assert!(first.sentence().contains("60 records of the journal are as they were signed"), "{first:?}");
    let segments = Files::new(folder.path()).segments().unwrap();
    flip(&segments[0].path);
    scrubbing.now().begin();
    let second = status.wait_for(|status| status.time > first.time).await.unwrap().clone();
    assert_eq!(second.findings.damage[0].segment, segments[0].name());
    scrubbing.stop().await;
    let records: Vec<_> = ledger
        .reader()
        .range(Seq::ZERO, usize::MAX)
        .unwrap()
        .into_iter()
        .map(|entry| entry.record)
        .filter(|record| record.kind == Kind::LedgerScrubbed)
        .collect();
    let results: Vec<_> = records.iter().map(|record| record.result).collect();
    assert_eq!(results, [Outcome::Success, Outcome::Failure]);
    assert_eq!(records[1].details["damage"][0]["segment"], segments[0].name());
    ledger.close().await.unwrap();
}

//! A signer that goes away and comes back, and what who waits for it is told.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::ailing_disk::{AilingDisk, Ill};
use super::*;

/// A ledger whose signer can be sent away.
fn with(directory: &Path, policy: OnStall) -> (Ledger, Arc<AtomicBool>) {
    let signer = signer();
    let down = signer.down();
    let options = LedgerOptions { retry_interval: Duration::from_millis(5), ..options(directory) };
    let (ledger, _) = Ledger::open(options, Box::new(signer), Arc::new(PlainVault)).unwrap();
    (ledger.on_stall(policy), down)
}

async fn stalled(ledger: &Ledger) {
    let mut status = ledger.status();
    status.wait_for(|status| matches!(status, LedgerStatus::Stalled { .. })).await.unwrap();
}

#[tokio::test]
async fn an_append_that_may_wait_is_recorded_when_the_signer_is_back() {
    let directory = tempfile::tempdir().unwrap();
    let queue = OnStall::Queue { patience: Duration::from_mins(10), places: 8 };
    let (ledger, down) = with(directory.path(), queue);
    down.store(true, Ordering::SeqCst);
    let waiting: Vec<_> = (1..=8)
        .map(|n| {
            let ledger = ledger.clone();
            tokio::spawn(async move { ledger.append(draft(n)).await })
        })
        .collect();
    stalled(&ledger).await;
    down.store(false, Ordering::SeqCst);
    let mut seen = Vec::new();
    for waited in waiting {
        seen.push(waited.await.unwrap().unwrap().seq.get());
    }
    seen.sort_unstable();
    assert_eq!(seen, (1..=8).collect::<Vec<_>>(), "each once, without gaps");
    ledger.close().await.unwrap();
    assert_verified(directory.path());
}

#[tokio::test]
async fn who_waits_too_long_or_finds_no_place_is_refused_and_leaves_no_record() {
    let directory = tempfile::tempdir().unwrap();
    let queue = OnStall::Queue { patience: Duration::from_millis(50), places: 1 };
    let (ledger, down) = with(directory.path(), queue);
    down.store(true, Ordering::SeqCst);
    let refused = |answer: Result<Receipt, AppendError>| {
        assert!(matches!(answer, Err(AppendError::SignerUnavailable { .. })), "{answer:?}");
    };
    let (first, second) = tokio::join!(ledger.append(draft(1)), ledger.append(draft(2)));
    refused(first);
    refused(second);
    down.store(false, Ordering::SeqCst);
    ledger.append(draft(3)).await.unwrap();
    assert_eq!(numbers(&ledger), [3]);
    ledger.close().await.unwrap();
}

#[tokio::test]
async fn what_is_handed_over_patiently_waits_for_a_full_queue_until_the_signer_is_back() {
    let directory = tempfile::tempdir().unwrap();
    let signer = signer();
    let down = signer.down();
    let options = LedgerOptions {
        queue_bytes: 0,
        retry_interval: Duration::from_millis(5),
        ..options(directory.path())
    };
    let (ledger, _) = Ledger::open(options, Box::new(signer), Arc::new(PlainVault)).unwrap();
    down.store(true, Ordering::SeqCst);
    let mut taken = 0;
    let full = loop {
        match ledger.enqueue(draft(taken)).await {
            Ok(()) => taken += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(full, AppendError::SignerUnavailable { .. }), "{full}");
    let waiting = tokio::spawn({
        let ledger = ledger.clone();
        async move { ledger.enqueue_patiently(draft(taken)).await }
    });
    down.store(false, Ordering::SeqCst);
    waiting.await.unwrap().unwrap();
    ledger.append(draft(taken + 1)).await.unwrap();
    assert_eq!(numbers(&ledger), (0..=taken + 1).collect::<Vec<_>>());

    down.store(true, Ordering::SeqCst);
    while ledger.enqueue(draft(0)).await.is_ok() {}
    let waiting = tokio::spawn({
        let ledger = ledger.clone();
        async move { ledger.enqueue_patiently(draft(0)).await }
    });
    // What it could not record, it says.
    assert!(ledger.close().await.is_err());
    assert_eq!(waiting.await.unwrap(), Err(AppendError::Closed), "nobody waits for a ledger that is closed");
}

#[tokio::test]
async fn who_may_not_wait_is_refused_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let (ledger, down) = with(directory.path(), OnStall::Refuse);
    down.store(true, Ordering::SeqCst);
    let answer = ledger.append(draft(1)).await;
    assert!(matches!(answer, Err(AppendError::SignerUnavailable { .. })), "{answer:?}");
    down.store(false, Ordering::SeqCst);
    ledger.append(draft(2)).await.unwrap();
    ledger.close().await.unwrap();
}

#[tokio::test]
async fn an_append_that_may_wait_is_recorded_once_when_the_disk_can_be_written_again() {
    for ill in [Ill::Half, Ill::All] {
        let directory = tempfile::tempdir().unwrap();
        let disk = AilingDisk::new(4, ill);
        let options = LedgerOptions { retry_interval: Duration::from_millis(5), ..options(directory.path()) };
        let surroundings = Surroundings { disk: Arc::new(disk.clone()), ..Surroundings::real() };
        let (ledger, _) =
            opening::open(options, Box::new(signer()), Arc::new(PlainVault), surroundings).unwrap();
        let ledger = ledger.on_stall(OnStall::Queue { patience: Duration::from_mins(10), places: 8 });
        ledger.append(draft(0)).await.unwrap();
        disk.falls_ill_at(1);
        let waiting: Vec<_> = (1..=8)
            .map(|n| {
                let ledger = ledger.clone();
                tokio::spawn(async move { ledger.append(draft(n)).await })
            })
            .collect();
        for waited in waiting {
            waited.await.unwrap().unwrap();
        }
        assert!(disk.has_failed());
        let mut found = numbers(&ledger);
        found.sort_unstable();
        assert_eq!(found, (0..=8).collect::<Vec<_>>(), "each once");
        ledger.close().await.unwrap();
        assert_verified(directory.path());
    }
}

//! A ledger whose disk fails for a while goes on by itself, and nothing acknowledged is lost on the way.

use std::time::Duration;

use super::ailing_disk::{AilingDisk, Ill};
use super::*;

/// Small segments, so that some of what fails is the beginning of one; attempts follow each other quickly.
fn impatient(directory: &Path) -> LedgerOptions {
    let retry_interval = Duration::from_millis(1);
    LedgerOptions { segment_bytes: 1500, retry_interval, ..options(directory) }
}

fn open_on(options: LedgerOptions, disk: &AilingDisk) -> (Ledger, Opened) {
    Ledger::open_on(options, Box::new(signer()), Arc::new(PlainVault), Arc::new(disk.clone())).unwrap()
}

fn recovering(status: &LedgerStatus) -> bool {
    matches!(status, LedgerStatus::Recovering { .. })
}

/// The kinds of all records.
fn kinds(ledger: &Ledger) -> Vec<Kind> {
    ledger.reader().range(Seq::ZERO, usize::MAX).unwrap().iter().map(|entry| entry.record.kind).collect()
}

/// Appends 1 to 6 and then 7 to 9 when the ledger takes records again; gives back what was acknowledged.
async fn append_through(ledger: &Ledger) -> Vec<u64> {
    let mut acknowledged = Vec::new();
    for n in 1..=6 {
        match ledger.append(draft(n)).await {
            Ok(_) => acknowledged.push(n),
            Err(error) => assert!(matches!(error, AppendError::Recovering { .. }), "{error}"),
        }
    }
    for n in 7..=9 {
        loop {
            ledger.status().wait_for(LedgerStatus::is_open).await.unwrap();
            match ledger.append(draft(n)).await {
                Ok(_) => break acknowledged.push(n),
                Err(error) => assert!(matches!(error, AppendError::Recovering { .. }), "{error}"),
            }
        }
    }
    acknowledged
}

#[tokio::test]
async fn whichever_operation_fails_for_however_long_the_ledger_goes_on_with_what_was_acknowledged() {
    let mut tried = 0;
    for lasts in [1, 2, 20] {
        for ill in [Ill::Half, Ill::All] {
            for at in 0.. {
                let directory = tempfile::tempdir().unwrap();
                let disk = AilingDisk::new(lasts, ill);
                let (ledger, _) = open_on(impatient(directory.path()), &disk);
                let reader = ledger.reader();
                disk.falls_ill_at(at);
                let acknowledged = append_through(&ledger).await;
                let what = format!("operation {at} fails, and {lasts} in all ({ill:?})");
                assert_eq!(numbers(&ledger), acknowledged, "{what}: exactly what was acknowledged");
                assert_eq!(reader.len(), ledger.reader().len(), "{what}: readers go on");
                if !disk.has_failed() {
                    break;
                }
                ledger.close().await.unwrap_or_else(|error| panic!("{what}: {error}"));
                assert_verified(directory.path());
                let (ledger, opened) = open(directory.path());
                assert_eq!((numbers(&ledger), opened.torn), (acknowledged.clone(), None), "{what}");
                assert!(kinds(&ledger).contains(&Kind::LedgerRecovered), "{what}");
                ledger.close().await.unwrap();
                tried += 1;
            }
        }
    }
    assert!(tried > 100, "{tried}");
}

#[tokio::test]
async fn while_the_disk_is_full_everybody_is_told_and_afterwards_a_record_tells_it() {
    let directory = tempfile::tempdir().unwrap();
    let disk = AilingDisk::new(usize::MAX / 2, Ill::Half);
    let (ledger, _) = open_on(impatient(directory.path()), &disk);
    ledger.append(draft(1)).await.unwrap();
    disk.falls_ill_at(0);
    let error = ledger.append(draft(2)).await.unwrap_err();
    assert!(matches!(&error, AppendError::Recovering { reason } if reason.contains(".seg")), "{error}");
    assert!(error.hint().contains("make room"));
    let mut status = ledger.status();
    assert!(recovering(&status.borrow()));
    // Several attempts fail; what was acknowledged is read meanwhile.
    for _ in 0..3 {
        status.changed().await.unwrap();
        assert!(recovering(&status.borrow()));
        assert_eq!(numbers(&ledger), [1]);
        assert!(matches!(ledger.append(draft(3)).await, Err(AppendError::Recovering { .. })));
    }
    disk.falls_ill_at(usize::MAX);
    status.wait_for(LedgerStatus::is_open).await.unwrap();
    ledger.append(draft(4)).await.unwrap();
    let entries = ledger.reader().range(Seq::new(2), 9).unwrap();
    let told = &entries[0].record;
    assert_eq!((told.kind, entries.len()), (Kind::LedgerRecovered, 2));
    assert!(told.details["cause"].as_str().unwrap().contains(".seg"), "{told:?}");
    assert!(told.details["bytes"].as_u64().unwrap() > 0, "{told:?}");
    assert!(told.details["when"].as_str().unwrap().ends_with('Z'), "{told:?}");
    let aside = told.details["set_aside"].as_str().unwrap();
    assert!(directory.path().join("journal").join(aside).exists(), "{aside}");
    ledger.close().await.unwrap();
    assert_verified(directory.path());
}

#[tokio::test]
async fn what_was_only_enqueued_is_recorded_when_the_disk_is_well_again_in_its_order() {
    let directory = tempfile::tempdir().unwrap();
    let disk = AilingDisk::new(usize::MAX / 2, Ill::Half);
    let (ledger, _) = open_on(impatient(directory.path()), &disk);
    disk.falls_ill_at(0);
    for n in 1..=20 {
        if ledger.enqueue(draft(n)).await.is_err() {
            panic!("there is room in memory for {n}");
        }
    }
    ledger.status().wait_for(recovering).await.unwrap();
    disk.falls_ill_at(usize::MAX);
    ledger.status().wait_for(LedgerStatus::is_open).await.unwrap();
    ledger.append(draft(21)).await.unwrap();
    assert_eq!(numbers(&ledger), (1..=21).collect::<Vec<_>>());
    ledger.close().await.unwrap();
    assert_verified(directory.path());
}

#[tokio::test]
async fn a_crash_in_the_middle_of_opening_again_leaves_a_ledger_that_opens_with_all_that_was_acknowledged() {
    let mut finished = 0;
    for (at, ill) in (0..40).flat_map(|at| [(at, Ill::Half), (at, Ill::All)]) {
        let directory = tempfile::tempdir().unwrap();
        let disk = AilingDisk::new(1, ill);
        let (ledger, _) = open_on(impatient(directory.path()), &disk);
        ledger.append(draft(1)).await.unwrap();
        disk.falls_ill_at(0);
        disk.dies_at(1 + at);
        ledger.append(draft(2)).await.unwrap_err();
        let mut status = ledger.status();
        while !status.borrow_and_update().is_open() && !disk.has_died() {
            status.changed().await.unwrap();
        }
        finished += usize::from(!disk.has_died());
        disk.dies_at(0);
        let _ = ledger.close().await;
        let (ledger, _) = open(directory.path());
        // A crash before the failed group was set aside may keep it, but only whole.
        let kept = numbers(&ledger);
        assert!(kept == [1] || (ill == Ill::All && kept == [1, 2]), "step {at} ({ill:?}): {kept:?}");
        ledger.append(draft(3)).await.unwrap();
        ledger.close().await.unwrap();
        assert_verified(directory.path());
        assert!(!directory.path().join("room").exists(), "step {at}");
    }
    assert!(finished > 0, "every step was tried");
}

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
            ledger.status().wait_for(|status| !recovering(status)).await.unwrap();
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
    for (lasts, ill) in [(1, Ill::Half), (1, Ill::All), (9, Ill::Half)] {
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
    assert!(tried > 60, "{tried}");
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
    status.wait_for(|status| !recovering(status)).await.unwrap();
    ledger.append(draft(4)).await.unwrap();
    let entries = ledger.reader().range(Seq::new(2), 9).unwrap();
    let told = &entries[0].record;
    let kinds: Vec<_> = entries.iter().map(|entry| entry.record.kind).collect();
    assert_eq!((told.kind, entries.len()), (Kind::LedgerRecovered, 2), "{kinds:?} {entries:?}");
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
        ledger.enqueue(draft(n)).await.unwrap();
    }
    ledger.status().wait_for(recovering).await.unwrap();
    disk.falls_ill_at(usize::MAX);
    ledger.status().wait_for(|status| !recovering(status)).await.unwrap();
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

#[tokio::test]
async fn a_query_store_that_fails_is_opened_again_and_has_everything() {
    let directory = tempfile::tempdir().unwrap();
    let (ledger, _) = open_on(impatient(directory.path()), &AilingDisk::new(0, Ill::Half));
    let reader = ledger.reader();
    ledger.append(draft(1)).await.unwrap();
    reader.shared.tail.fail("the query store failed: no room".to_owned());
    let refused = ledger.append(draft(2)).await.unwrap_err();
    assert!(
        matches!(&refused, AppendError::Recovering { reason } if reason.contains("no room")),
        "{refused}"
    );
    ledger.status().wait_for(|status| !recovering(status)).await.unwrap();
    ledger.append(draft(3)).await.unwrap();
    assert_eq!(numbers(&ledger), [1, 3]);
    assert_eq!(reader.len(), ledger.reader().len(), "a reader from before goes on");
    ledger.close().await.unwrap();
    let (ledger, opened) = open(directory.path());
    assert_eq!((opened.store, numbers(&ledger)), (StoreState::Current, vec![1, 3]));
    ledger.close().await.unwrap();
}

#[tokio::test]
async fn a_handover_that_is_not_written_leaves_the_ledger_with_its_key() {
    let directory = tempfile::tempdir().unwrap();
    for ill in [Ill::Half, Ill::All] {
        let folder = directory.path().join(format!("{ill:?}"));
        let disk = AilingDisk::new(1, ill);
        let (ledger, _) = open_on(impatient(&folder), &disk);
        disk.falls_ill_at(0);
        let successor = SoftwareSigner::new(ORIGIN, [8; 32]);
        let refused = ledger.hand_over(Box::new(successor)).await.unwrap_err();
        assert!(matches!(refused, AppendError::Recovering { .. }), "{refused}");
        ledger.status().wait_for(|status| !recovering(status)).await.unwrap();
        ledger.append(draft(1)).await.unwrap();
        ledger.close().await.unwrap();
        assert_verified(&folder);
        let (ledger, _) = open(&folder);
        assert!(!kinds(&ledger).contains(&Kind::KeyRotated));
        ledger.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_lent_key_that_is_not_written_is_lent_anew() {
    let directory = tempfile::tempdir().unwrap();
    let lending = Lending { lifetime: Duration::from_hours(1), heads: 3, own_every: Duration::from_hours(1) };
    for at in 0..12 {
        let folder = directory.path().join(at.to_string());
        let disk = AilingDisk::new(1, Ill::All);
        let options = LedgerOptions { lending: Some(lending.clone()), ..impatient(&folder) };
        let (ledger, _) = open_on(options, &disk);
        disk.falls_ill_at(at);
        let acknowledged = append_through(&ledger).await;
        assert_eq!(numbers(&ledger), acknowledged);
        let _ = ledger.close().await;
        let verdict = check(&folder);
        assert_eq!(verdict.overall(), Overall::Verified, "operation {at}: {verdict:#?}");
    }
}

#[tokio::test]
async fn a_journal_that_is_not_what_was_acknowledged_ends_the_ledger() {
    let directory = tempfile::tempdir().unwrap();
    let disk = AilingDisk::new(1, Ill::Half);
    let (ledger, _) = open_on(LedgerOptions { segment_bytes: 1 << 20, ..impatient(directory.path()) }, &disk);
    ledger.append(draft(1)).await.unwrap();
    let path = first_segment(directory.path());
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    disk.falls_ill_at(0);
    ledger.append(draft(2)).await.unwrap_err();
    let mut status = ledger.status();
    let failed =
        status.wait_for(|status| matches!(status, LedgerStatus::Failed { .. })).await.unwrap().clone();
    assert!(matches!(&failed, LedgerStatus::Failed { reason } if reason.contains("damaged")), "{failed:?}");
    assert!(matches!(ledger.append(draft(3)).await, Err(AppendError::Failed { .. })));
    assert!(ledger.close().await.is_err());
}

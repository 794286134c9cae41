//! What the ledger promises, with the real disk and sled, and with a disk that fails on command.

use std::path::Path;

use super::opening::Surroundings;
use super::*;
use crate::kind::Kind;
use crate::record::Outcome;
use crate::testing::{PlainVault, SoftwareSigner};
use crate::verify::{Overall, Trust, Verdict};

mod ailing_disk;
mod dying_disk;
mod faults;
mod handover;
mod opening_again;
mod overlap;
mod pruned_history;
mod pruning;
mod recovery;
mod refusals;
mod reopening;
mod resuming;
mod searching;
mod settling;
mod signing;
mod stalling;

const ORIGIN: &str = "gateway.example.org/ledger";

fn signer() -> SoftwareSigner {
    SoftwareSigner::new(ORIGIN, [7; 32])
}

fn options(directory: &Path) -> LedgerOptions {
    LedgerOptions::new(directory, ORIGIN, "gw-1")
}

fn try_open(options: LedgerOptions) -> Result<(Ledger, Opened), LedgerError> {
    Ledger::open(options, Box::new(signer()), Arc::new(PlainVault))
}

fn open(directory: &Path) -> (Ledger, Opened) {
    try_open(options(directory)).unwrap()
}

/// The error of an opening that must not succeed.
fn refused(options: LedgerOptions) -> LedgerError {
    match try_open(options) {
        Ok((_, opened)) => panic!("it opened: {opened:?}"),
        Err(error) => error,
    }
}

fn draft(n: u64) -> Draft {
    Draft::new(Kind::HttpRequest, Outcome::Success).subject("user:alice").path(format!("/{n}")).detail("n", n)
}

/// The `n` of every record that [`draft`] made, in order.
fn numbers(ledger: &Ledger) -> Vec<u64> {
    let entries = ledger.reader().range(Seq::ZERO, usize::MAX).unwrap();
    entries.iter().filter_map(|entry| entry.record.details.get("n")?.as_u64()).collect()
}

fn check(directory: &Path) -> Verdict {
    crate::verify::directory(directory, &Trust { keys: vec![signer().verifier()], ..Trust::default() })
        .unwrap()
}

fn assert_verified(directory: &Path) {
    let verdict = check(directory);
    assert_eq!(verdict.overall(), Overall::Verified, "{verdict:#?}");
}

/// A directory with a ledger of `records` drafts, each in a group of its own.
async fn filled(records: u64) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let (ledger, _) = open(directory.path());
    for n in 1..=records {
        ledger.append(draft(n)).await.unwrap();
    }
    ledger.close().await.unwrap();
    directory
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn first_segment(directory: &Path) -> PathBuf {
    crate::journal::Files::new(directory).segment(Seq::ZERO)
}

#[tokio::test]
async fn what_was_acknowledged_is_read_at_once_and_after_reopening() {
    let directory = tempfile::tempdir().unwrap();
    let (ledger, opened) = open(directory.path());
    assert!(opened.created);
    let reader = ledger.reader();
    for n in 1..=20 {
        let receipt = ledger.append(draft(n)).await.unwrap();
        assert_eq!(receipt.seq, Seq::new(n));
        let entry = reader.get(receipt.seq).unwrap().unwrap();
        assert_eq!(entry.digest(), receipt.digest);
        assert_eq!(entry.record.time, receipt.time);
        assert_eq!(entry.personal.text(crate::Personal::Path), Some(format!("/{n}").as_str()));
    }
    ledger.close().await.unwrap();
    let (ledger, opened) = open(directory.path());
    assert_eq!((opened.created, opened.records, opened.store), (false, 21, StoreState::Current));
    let entries = ledger.reader().range(Seq::ZERO, 100).unwrap();
    assert_eq!(entries.len(), 21);
    assert_eq!(entries[0].record.kind, Kind::LedgerCreated);
    assert!(entries.windows(2).all(|pair| pair[1].record.prev == pair[0].digest()));
    ledger.close().await.unwrap();
    assert_verified(directory.path());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_writers_get_numbers_without_gaps_and_share_groups() {
    let directory = tempfile::tempdir().unwrap();
    let (ledger, _) = open(directory.path());
    let writers: Vec<_> = (0..64_u64)
        .map(|writer| {
            let ledger = ledger.clone();
            tokio::spawn(async move {
                let mut receipts = Vec::new();
                for n in 0..10 {
                    let receipt = ledger.append(draft(writer * 10 + n)).await.unwrap();
                    // Read your writes, also while the store trails.
                    let entry = ledger.reader().get(receipt.seq).unwrap().unwrap();
                    assert_eq!(entry.record.details["n"], writer * 10 + n);
                    receipts.push(receipt.seq);
                }
                assert!(receipts.is_sorted(), "one writer's records keep their order");
                receipts
            })
        })
        .collect();
    let mut all = Vec::new();
    for writer in writers {
        all.extend(writer.await.unwrap());
    }
    all.sort();
    assert_eq!(all, (1..=640).map(Seq::new).collect::<Vec<_>>());
    ledger.close().await.unwrap();
    let verdict = check(directory.path());
    assert_eq!(verdict.overall(), Overall::Verified, "{verdict:#?}");
    assert!(verdict.ledger.heads < 641, "records shared groups: {} heads", verdict.ledger.heads);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ledger_verifies_at_every_moment_while_it_is_being_written() {
    let directory = tempfile::tempdir().unwrap();
    let small = LedgerOptions { segment_bytes: 20_000, ..options(directory.path()) };
    let (ledger, _) = try_open(small).unwrap();
    let writer = tokio::spawn({
        let ledger = ledger.clone();
        async move {
            for n in 0..300 {
                ledger.append(draft(n)).await.unwrap();
            }
        }
    });
    let path = directory.path().to_owned();
    let checks = tokio::task::spawn_blocking(move || (0..25).for_each(|_| assert_verified(&path)));
    checks.await.unwrap();
    writer.await.unwrap();
    ledger.close().await.unwrap();
    assert_verified(directory.path());
}

#[tokio::test]
async fn enqueued_and_appended_drafts_keep_the_order_in_which_they_were_handed_over() {
    let directory = tempfile::tempdir().unwrap();
    let (ledger, _) = open(directory.path());
    for n in 0..30 {
        if n % 3 == 0 { ledger.append(draft(n)).await.map(|_| ()) } else { ledger.enqueue(draft(n)).await }
            .unwrap();
    }
    ledger.close().await.unwrap();
    let (ledger, _) = open(directory.path());
    assert_eq!(numbers(&ledger), (0..30).collect::<Vec<_>>());
    ledger.close().await.unwrap();
}

#[tokio::test]
async fn a_full_journal_goes_on_in_the_next_segment() {
    let directory = tempfile::tempdir().unwrap();
    let small = LedgerOptions { segment_bytes: 2000, ..options(directory.path()) };
    let (ledger, _) = try_open(small.clone()).unwrap();
    for n in 0..20 {
        ledger.append(draft(n)).await.unwrap();
    }
    ledger.close().await.unwrap();
    let segments = crate::journal::Files::new(directory.path()).segments().unwrap();
    assert!(segments.len() > 3, "{segments:?}");
    assert_verified(directory.path());
    let (ledger, opened) = try_open(small).unwrap();
    assert_eq!((opened.records, opened.store), (21, StoreState::Current));
    assert_eq!(numbers(&ledger), (0..20).collect::<Vec<_>>());
    ledger.append(draft(20)).await.unwrap();
    ledger.close().await.unwrap();
    assert_verified(directory.path());
}

#[tokio::test]
async fn the_longest_record_is_kept_whole_in_journal_and_store() {
    let directory = tempfile::tempdir().unwrap();
    let (ledger, _) = open(directory.path());
    let long = "ü".repeat(32_000);
    let receipt =
        ledger.append(draft(1).detail("long", long.as_str()).reason("r".repeat(20_000))).await.unwrap();
    ledger.append(draft(2)).await.unwrap();
    ledger.close().await.unwrap();
    let (ledger, opened) = open(directory.path());
    assert_eq!(opened.store, StoreState::Current);
    let entry = ledger.reader().get(receipt.seq).unwrap().unwrap();
    assert_eq!(entry.record.details["long"], long);
    assert_eq!(entry.personal.text(crate::Personal::Reason).unwrap().len(), 20_000);
    assert_eq!(numbers(&ledger), [1, 2]);
    ledger.close().await.unwrap();
}

#[tokio::test]
async fn a_draft_that_cannot_be_a_record_is_refused_and_leaves_no_gap() {
    let directory = tempfile::tempdir().unwrap();
    let (ledger, _) = open(directory.path());
    let refused = ledger.append(draft(1).detail("share", 0.5)).await.unwrap_err();
    assert!(matches!(refused, AppendError::Draft(_)), "{refused}");
    assert_eq!(ledger.append(draft(2)).await.unwrap().seq, Seq::new(1));
    ledger.close().await.unwrap();
}

#[tokio::test]
async fn a_closed_ledger_says_so_and_closing_twice_is_harmless() {
    let directory = tempfile::tempdir().unwrap();
    let (ledger, _) = open(directory.path());
    let reader = ledger.reader();
    ledger.close().await.unwrap();
    ledger.close().await.unwrap();
    assert_eq!(ledger.append(draft(1)).await, Err(AppendError::Closed));
    assert_eq!(ledger.enqueue(draft(1)).await, Err(AppendError::Closed));
    assert_eq!(reader.get(Seq::ZERO), Err(ReadError::Closed));
    assert_eq!(*ledger.status().borrow(), LedgerStatus::Closed);
    // The directory is free although handles and readers still exist.
    let (again, _) = open(directory.path());
    again.close().await.unwrap();
}

#[tokio::test]
async fn dropping_every_handle_closes_the_ledger_and_keeps_what_was_handed_over() {
    let directory = tempfile::tempdir().unwrap();
    let (ledger, _) = open(directory.path());
    let mut status = ledger.status();
    for n in 0..5 {
        ledger.enqueue(draft(n)).await.unwrap();
    }
    drop(ledger);
    status.wait_for(|status| *status == LedgerStatus::Closed).await.unwrap();
    let (ledger, _) = open(directory.path());
    assert_eq!(numbers(&ledger), [0, 1, 2, 3, 4]);
    ledger.close().await.unwrap();
}

#[tokio::test]
async fn heads_and_checkpoint_follow_what_is_durable() {
    let directory = tempfile::tempdir().unwrap();
    let (ledger, _) = open(directory.path());
    let reader = ledger.reader();
    let mut heads = reader.heads();
    assert_eq!(reader.len(), 1);
    ledger.append(draft(1)).await.unwrap();
    assert_eq!(*heads.wait_for(|records| *records == 2).await.unwrap(), 2);
    let checkpoint = crate::Checkpoint::from_signed(&reader.checkpoint(), &signer().verifier()).unwrap();
    assert_eq!((checkpoint.size, checkpoint.origin.as_str()), (2, ORIGIN));
    assert_eq!(reader.get(Seq::new(2)), Ok(None));
    assert!(reader.range(Seq::new(9), 5).unwrap().is_empty());
    assert_eq!(*ledger.status().borrow(), LedgerStatus::Open { records: 2 });
    ledger.close().await.unwrap();
}

#[tokio::test]
async fn a_clock_that_goes_back_is_recorded_as_a_jump() {
    let directory = tempfile::tempdir().unwrap();
    let seconds = Arc::new(std::sync::atomic::AtomicI64::new(1_800_000_000));
    let clock = Arc::clone(&seconds);
    let surroundings = Surroundings {
        clock: Arc::new(move || {
            jiff::Timestamp::from_second(clock.load(Ordering::SeqCst)).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
        }),
        ..Surroundings::real()
    };
    let parts: (Box<dyn HeadSigner>, Arc<dyn Vault>) = (Box::new(signer()), Arc::new(PlainVault));
    let (ledger, _) = opening::open(options(directory.path()), parts.0, parts.1, surroundings).unwrap();
    ledger.append(draft(1)).await.unwrap();
    seconds.store(1_799_996_400, Ordering::SeqCst);
    ledger.append(draft(2)).await.unwrap();
    let jump = ledger.reader().get(Seq::new(2)).unwrap().unwrap().record;
    assert_eq!((jump.kind, jump.details["back_ms"].as_u64()), (Kind::ClockJumped, Some(3_600_000)));
    ledger.close().await.unwrap();
    let verdict = check(directory.path());
    assert_eq!(verdict.overall(), Overall::Verified, "{verdict:#?}");
    assert!(verdict.clock.sentence.contains("1 place"));
}

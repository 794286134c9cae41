//! What pruning takes away, what it keeps, and that it may be interrupted anywhere.

use jiff::{SignedDuration, Timestamp};

use super::faults::faulty;
use super::*;
use crate::archive::{Archive as _, DirectoryArchive};
use crate::journal::Files;
use crate::ledger::pruning::{Pruned, PruningError, prune};
use crate::proof::Proof;
use crate::retention::{Policy, Survey, held_draft, holds, survey};
use crate::selection::Selection;
use crate::snapshot::{Snapshot, SnapshotError};

fn tight(directory: &Path) -> LedgerOptions {
    LedgerOptions { segment_bytes: 1500, ..options(directory) }
}

fn files(directory: &Path) -> Files {
    Files::new(directory)
}

/// A year from now: everything is old enough.
#[expect(clippy::disallowed_methods, reason = "a test of records that were written just now")]
fn next_year() -> Timestamp {
    Timestamp::now().checked_add(SignedDuration::from_hours(24 * 400)).unwrap()
}

fn surveyed(directory: &Path) -> Survey {
    let policy = Policy::new([], 30, &[]).unwrap();
    survey(&files(directory), &policy, next_year(), u64::MAX).unwrap()
}

/// Records from 1 to `records`, in segments of a few.
async fn old(records: u64) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let (ledger, _) = try_open(tight(directory.path())).unwrap();
    add(&ledger, 1..=records).await;
    ledger.close().await.unwrap();
    directory
}

async fn add(ledger: &Ledger, numbers: std::ops::RangeInclusive<u64>) {
    for n in numbers {
        // Every fifth is one that access state is read from.
        let kind = if n % 5 == 0 { Kind::GrantIssued } else { Kind::HttpRequest };
        ledger.append(Draft { kind, ..draft(n) }).await.unwrap();
    }
}

async fn prune_once(directory: &Path, archive: &Path) -> Result<Pruned, PruningError> {
    let (ledger, _) = try_open(tight(directory)).unwrap();
    let survey = surveyed(directory);
    let archive = DirectoryArchive::new(archive);
    let pruned =
        prune(&ledger, &files(directory), &RealDisk, &survey, &archive, |draft| draft.subject("user:op"))
            .await;
    ledger.close().await.unwrap();
    pruned
}

/// All records that the reader gives, batch by batch.
fn all(ledger: &Ledger) -> Vec<Entry> {
    let (reader, mut from, mut entries) = (ledger.reader(), Seq::ZERO, Vec::new());
    loop {
        let batch = reader.range(from, 7).unwrap();
        let Some(last) = batch.last() else { return entries };
        from = last.record.seq.next();
        entries.extend(batch);
    }
}

#[tokio::test]
async fn what_goes_is_archived_first_and_what_stays_is_read_verified_and_proved_as_before() {
    let directory = old(40).await;
    let archive = tempfile::tempdir().unwrap();
    let before = Snapshot::latest(files(directory.path())).unwrap();
    let whole = directory.path().join("whole");
    copy(&files(directory.path()).journal(), &whole);
    let pruned = prune_once(directory.path(), archive.path()).await.unwrap();
    let (ledger, opened) = try_open(tight(directory.path())).unwrap();
    assert!(matches!(opened.store, StoreState::Rebuilt { .. }), "what went is not in the store either");

    let entries = all(&ledger);
    let prefix = files(directory.path()).read_prefix().unwrap().unwrap().unwrap();
    let size = prefix.size();
    assert!(size > 20 && ledger.reader().pruned() == size);
    for n in 0..=40 {
        let found = entries.iter().find(|entry| entry.record.seq == Seq::new(n));
        assert_eq!(found.is_some(), n >= size || n % 5 == 0, "record {n}");
        assert_eq!(ledger.reader().get(Seq::new(n)).unwrap().is_some(), found.is_some());
        // A kept record is whole: also what lay sealed beside it.
        if let Some(entry) = found.filter(|_| n > 0) {
            assert_eq!(entry.personal.text(crate::Personal::Path), Some(format!("/{n}").as_str()));
        }
    }
    let record = &ledger.reader().get(pruned.receipt.seq).unwrap().unwrap().record;
    assert_eq!(record.details["kept"], prefix.kept());
    add(&ledger, 41..=45).await;
    ledger.close().await.unwrap();

    let verdict = check(directory.path());
    assert_eq!(verdict.overall(), Overall::Verified, "{verdict:#?}");
    assert_eq!(verdict.ledger.pruned, size - prefix.kept());
    assert!(verdict.completeness.sentence.contains("were pruned"), "{}", verdict.completeness.sentence);
    assert!(verdict.not_proved[0].contains("pruned"));

    // Proofs of what is there are good under the newest head; of what went there is none.
    let snapshot = Snapshot::latest(files(directory.path())).unwrap();
    for seq in [0, 5, size, size + 1, 43] {
        let (record, path) = snapshot.prove(Seq::new(seq)).unwrap();
        let note = snapshot.note().to_owned();
        let proof = Proof { record: Some(record), index: Seq::new(seq), path, note };
        proof.check(None, &[signer().verifier()]).unwrap();
    }
    assert!(matches!(snapshot.prove(Seq::new(6)), Err(SnapshotError::PrunedRecord { .. })));
    // And the head from before pruning is one that the ledger still grows from.
    let grown = snapshot.consistency(before.checkpoint().size).unwrap();
    let (old, new) = (before.checkpoint(), snapshot.checkpoint());
    assert!(crate::tree::verify_consistency((old.size, &old.root), (new.size, &new.root), &grown));

    // The archive is the segments as they were.
    let kept = DirectoryArchive::new(archive.path());
    for segment in std::fs::read_dir(&whole).unwrap().map(|entry| entry.unwrap().file_name()) {
        let name = segment.to_str().unwrap();
        let original = std::fs::read(whole.join(name)).unwrap();
        let first: u64 = name.strip_suffix(".seg").unwrap().parse().unwrap();
        let archived = kept.get(name).unwrap();
        assert_eq!(archived.is_some(), first < size, "{name}");
        assert!(archived.is_none_or(|archived| archived == original));
    }
    assert!(kept.get(&pruned.manifest).unwrap().is_some());
}

#[tokio::test]
async fn a_page_is_full_as_long_as_there_are_records_also_over_the_end_of_what_was_pruned() {
    let directory = old(40).await;
    let archive = tempfile::tempdir().unwrap();
    prune_once(directory.path(), archive.path()).await.unwrap();
    let (ledger, _) = try_open(tight(directory.path())).unwrap();
    let (reader, numbers) = (ledger.reader(), |entries: Vec<Entry>| -> Vec<u64> {
        entries.iter().map(|entry| entry.record.seq.get()).collect()
    });
    let whole = numbers(reader.range(Seq::ZERO, usize::MAX).unwrap());
    let all = numbers(all(&ledger));
    assert!(whole == all && *all.last().unwrap() == ledger.reader().len() - 1, "{whole:?} {all:?}");
    for limit in 1..=all.len() {
        for (at, first) in all.iter().enumerate() {
            let page = numbers(reader.range(Seq::new(*first), limit).unwrap());
            assert_eq!(page, all[at..all.len().min(at + limit)], "{limit} from {first}");
        }
    }
}

#[tokio::test]
async fn a_pruned_ledger_is_pruned_again_and_again() {
    let directory = old(30).await;
    let archive = tempfile::tempdir().unwrap();
    let mut size = 0;
    for round in 1..4 {
        prune_once(directory.path(), archive.path()).await.unwrap();
        let (ledger, _) = try_open(tight(directory.path())).unwrap();
        add(&ledger, round * 100..=round * 100 + 30).await;
        ledger.close().await.unwrap();
        assert_verified(directory.path());
        let prefix = files(directory.path()).read_prefix().unwrap().unwrap().unwrap();
        assert!(prefix.size() > size);
        size = prefix.size();
    }
    let archived = std::fs::read_dir(archive.path()).unwrap().count();
    assert!(archived > 6, "{archived}");
}

#[tokio::test]
async fn nothing_under_a_hold_goes_until_it_is_lifted() {
    let directory = old(30).await;
    let archive = tempfile::tempdir().unwrap();
    let (ledger, _) = try_open(tight(directory.path())).unwrap();
    let held = Selection { from: Seq::new(3), to: Some(Seq::new(8)), ..Selection::default() };
    let none = holds(&files(directory.path())).unwrap();
    ledger.append(held_draft("case-7", "a court asked", &held, &none).unwrap()).await.unwrap();
    ledger.close().await.unwrap();
    prune_once(directory.path(), archive.path()).await.unwrap();
    let (ledger, _) = try_open(tight(directory.path())).unwrap();
    for seq in 0..=10 {
        let there = ledger.reader().get(Seq::new(seq)).unwrap().is_some();
        assert_eq!(there, (3..=8).contains(&seq) || seq % 5 == 0, "record {seq}");
    }
    let standing = holds(&files(directory.path())).unwrap();
    ledger.append(crate::retention::released_draft("case-7", "settled", &standing).unwrap()).await.unwrap();
    ledger.close().await.unwrap();
    prune_once(directory.path(), archive.path()).await.unwrap();
    let (ledger, _) = try_open(tight(directory.path())).unwrap();
    assert!(ledger.reader().get(Seq::new(4)).unwrap().is_none());
    ledger.close().await.unwrap();
    assert_verified(directory.path());
}

#[tokio::test]
async fn whichever_disk_operation_of_pruning_fails_nothing_is_lost_and_running_again_completes() {
    let good = old(30).await;
    let expected = {
        let directory = tempfile::tempdir().unwrap();
        copy(good.path(), directory.path());
        prune_once(directory.path(), &directory.path().join("archive")).await.unwrap();
        open(directory.path()).0.close().await.unwrap();
        files(directory.path()).read_prefix().unwrap().unwrap().unwrap().size()
    };
    let (mut fails, mut interrupted) = (0, 0);
    loop {
        let directory = tempfile::tempdir().unwrap();
        copy(good.path(), directory.path());
        let archive = DirectoryArchive::new(directory.path().join("archive"));
        let (ledger, _) = try_open(tight(directory.path())).unwrap();
        let survey = surveyed(directory.path());
        // The draft's operations fail in the first part, those of its taking the place in the second.
        let (disk, count) = faulty(fails, std::io::ErrorKind::Other);
        let result = prune(&ledger, &files(directory.path()), &disk, &survey, &archive, |draft| draft).await;
        ledger.close().await.unwrap();
        let completed = crate::ledger::pruning::complete(&disk, &files(directory.path()));
        let ended = count.load(Ordering::SeqCst) <= fails;
        interrupted += u64::from(result.is_err() || completed.is_err());

        // Whatever happened, everything that is not in the ledger is in the archive, and the ledger is whole.
        if result.is_err() {
            assert_verified(directory.path());
        }
        let (ledger, _) = try_open(tight(directory.path()))
            .unwrap_or_else(|error| panic!("operation {fails}: {error}: {:?}", error.hint()));
        ledger.close().await.unwrap();
        assert_verified(directory.path());
        if result.is_err() {
            prune_once(directory.path(), &directory.path().join("archive")).await.unwrap();
            open(directory.path()).0.close().await.unwrap();
        }
        let prefix = files(directory.path()).read_prefix().unwrap().unwrap().unwrap();
        assert_eq!(prefix.size(), expected, "operation {fails}");
        assert!(
            files(directory.path()).segments().unwrap().iter().all(|segment| segment.first.get() >= expected)
        );
        assert!(!files(directory.path()).prefix_draft().exists());
        assert_verified(directory.path());
        if ended {
            break;
        }
        fails += 1;
    }
    assert!(interrupted > 8, "{interrupted} of {fails} operations stopped it");
}

#[tokio::test]
async fn an_archive_that_cannot_be_written_stops_pruning_before_anything_changes() {
    let directory = old(20).await;
    let blocked = directory.path().join("a file");
    std::fs::write(&blocked, "in the way").unwrap();
    let error = prune_once(directory.path(), &blocked).await.unwrap_err();
    assert!(matches!(error, PruningError::Archive(_)) && error.hint().contains("nothing was pruned"));
    open(directory.path()).0.close().await.unwrap();
    assert!(files(directory.path()).read_prefix().unwrap().is_none());
    assert_verified(directory.path());
}

#[tokio::test]
async fn a_beginning_that_no_record_declares_is_refused() {
    let directory = old(30).await;
    let archive = tempfile::tempdir().unwrap();
    prune_once(directory.path(), archive.path()).await.unwrap();
    open(directory.path()).0.close().await.unwrap();
    let path = files(directory.path()).prefix();
    let genuine = std::fs::read_to_string(&path).unwrap();

    // A kept record is stated by its hash, as if it had been pruned: the tree is the same.
    let kept =
        genuine.lines().find(|line| line.contains("grant.issued") && line.contains("\"seq\":5,")).unwrap();
    let leaf = Digest::leaf(kept.as_bytes());
    let run = format!("{{\"omitted\":{{\"count\":1,\"first\":5,\"root\":\"{leaf}\"}}}}");
    let sealed = genuine.lines().skip_while(|line| *line != kept).nth(1).unwrap();
    let dropped = genuine.replace(&format!("{kept}\n{sealed}\n"), &format!("{run}\n"));
    assert!(crate::prefix::Prefix::parse(dropped.clone().into_bytes()).is_ok());
    std::fs::write(&path, dropped).unwrap();
    let verdict = check(directory.path());
    assert_eq!(verdict.completeness.state, crate::verify::State::Fail, "{verdict:#?}");
    assert!(
        matches!(refused(tight(directory.path())), LedgerError::Damaged { segment, .. } if segment == "pruned")
    );

    // Another root.
    let at = genuine.find("\"root\":\"").unwrap() + 8;
    let mut other = genuine.clone();
    let digit = if other[at..].starts_with('a') { "b" } else { "a" };
    other.replace_range(at..=at, digit);
    std::fs::write(&path, other).unwrap();
    assert_eq!(check(directory.path()).overall(), Overall::Broken);
    assert!(matches!(refused(tight(directory.path())), LedgerError::Damaged { .. }));

    // The record that declares it is cut off with what follows, and the head file put back to before it.
    std::fs::remove_file(&path).unwrap();
    assert_eq!(check(directory.path()).overall(), Overall::Broken);
    assert!(matches!(refused(tight(directory.path())), LedgerError::Damaged { .. }));
    std::fs::write(&path, genuine).unwrap();
    assert_verified(directory.path());
}

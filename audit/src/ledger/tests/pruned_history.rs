//! A pruned ledger whose key was replaced and lent, which lost records once, which is searched, scrubbed, recovered.

use std::ops::ControlFlow;

use jiff::{SignedDuration, Timestamp};

use super::*;
use crate::archive::DirectoryArchive;
use crate::index::Directories;
use crate::index::make::Maker;
use crate::index::query::Query;
use crate::index::search::{Order, search};
use crate::journal::Files;
use crate::ledger::pruning::prune;
use crate::ledger::{Lending, Search};
use crate::recovery::{Evidence, RecoveryError, carry_out};
use crate::retention::{Policy, survey};
use crate::selection::Selection;

fn successor() -> SoftwareSigner {
    SoftwareSigner::new(ORIGIN, [8; 32])
}

fn last() -> SoftwareSigner {
    SoftwareSigner::new(ORIGIN, [9; 32])
}

fn files(directory: &Path) -> Files {
    Files::new(directory)
}

fn open_by(
    directory: &Path,
    by: SoftwareSigner,
    lending: Option<Lending>,
) -> Result<(Ledger, Opened), LedgerError> {
    let options = LedgerOptions { segment_bytes: 1500, lending, ..options(directory) };
    Ledger::open(options, Box::new(by), Arc::new(PlainVault))
}

fn lending() -> Lending {
    let hour = std::time::Duration::from_hours(1);
    Lending { lifetime: hour, heads: 1000, own_every: hour }
}

async fn add(ledger: &Ledger, numbers: std::ops::Range<u64>) {
    for n in numbers {
        // Every fifth is one that access state is read from.
        let kind = if n % 5 == 0 { Kind::GrantIssued } else { Kind::HttpRequest };
        ledger.append(Draft { kind, ..draft(n) }).await.unwrap();
    }
}

#[expect(clippy::disallowed_methods, reason = "a test of records that were written just now")]
fn next_year() -> Timestamp {
    Timestamp::now().checked_add(SignedDuration::from_hours(24 * 400)).unwrap()
}

/// Prunes what can be pruned, and opens once more, which completes it.
async fn pruned(directory: &Path, by: &SoftwareSigner) {
    let (ledger, _) = open_by(directory, by.clone(), None).unwrap();
    let policy = Policy::new([], 30, &[]).unwrap();
    let survey = survey(&files(directory), &policy, next_year(), u64::MAX).unwrap();
    let archive = DirectoryArchive::new(directory.join("archive"));
    prune(&ledger, &files(directory), &RealDisk, &survey, &archive, |draft| draft).await.unwrap();
    ledger.close().await.unwrap();
    open_by(directory, by.clone(), None).unwrap().0.close().await.unwrap();
}

fn size(directory: &Path) -> u64 {
    files(directory).read_prefix().unwrap().unwrap().unwrap().size()
}

fn verdict(directory: &Path, keys: &[SoftwareSigner], accept_epoch: Option<u64>) -> Verdict {
    let keys = keys.iter().map(SoftwareSigner::verifier).collect();
    let trust = Trust { keys, ..Trust::default() };
    let epochs = crate::verify::directory(directory, &trust).unwrap().ledger.epochs;
    let accepted = epochs.iter().find(|found| accept_epoch == Some(found.number));
    let accept_epoch = accepted.and_then(crate::epoch::Epoch::declaration);
    crate::verify::directory(directory, &Trust { accept_epoch, ..trust }).unwrap()
}

/// A ledger that was lent, handed over, lent again and handed over again, and pruned beyond all of that.
async fn handed_over() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let (ledger, _) = open_by(directory.path(), signer(), Some(lending())).unwrap();
    add(&ledger, 1..10).await;
    let first = ledger.hand_over(Box::new(successor())).await.unwrap();
    add(&ledger, 10..20).await;
    let second = ledger.hand_over(Box::new(last())).await.unwrap();
    add(&ledger, 20..40).await;
    ledger.close().await.unwrap();
    pruned(directory.path(), &last()).await;
    assert!(size(directory.path()) > second.seq.get() && second.seq > first.seq);
    directory
}

#[tokio::test]
async fn a_handover_in_the_pruned_part_is_followed_from_whichever_key_is_given() {
    let directory = handed_over().await;
    for given in [signer(), successor(), last()] {
        let verdict = verdict(directory.path(), &[given], None);
        assert_eq!(verdict.overall(), Overall::Verified, "{verdict:#?}");
    }
    let stranger = SoftwareSigner::new(ORIGIN, [1; 32]);
    assert_eq!(verdict(directory.path(), &[stranger], None).overall(), Overall::Broken);
    // A retired key opens nothing, and the one in office goes on.
    let refused = open_by(directory.path(), signer(), None).map(drop).unwrap_err();
    assert!(matches!(refused, LedgerError::ForeignKey { .. }), "{refused}");
    let (ledger, _) = open_by(directory.path(), last(), Some(lending())).unwrap();
    add(&ledger, 40..80).await;
    ledger.close().await.unwrap();
    // Pruned again, what the first pruning left of the keys' history stays.
    let before = size(directory.path());
    pruned(directory.path(), &last()).await;
    assert!(size(directory.path()) > before);
    for given in [signer(), successor(), last()] {
        assert_eq!(verdict(directory.path(), &[given], None).overall(), Overall::Verified);
    }
}

#[tokio::test]
async fn a_handover_in_the_pruned_part_that_both_keys_did_not_sign_is_refused() {
    let directory = handed_over().await;
    let path = files(directory.path()).prefix();
    let genuine = std::fs::read_to_string(&path).unwrap();
    let heads: Vec<&str> = genuine.lines().filter(|line| line.starts_with("{\"head\":")).collect();
    assert!(heads.len() >= 4, "record 0, two handovers, and delegations: {heads:?}");
    let refused = |text: String, what: &str| {
        std::fs::write(&path, text).unwrap();
        for given in [signer(), successor(), last()] {
            assert_eq!(verdict(directory.path(), &[given], None).overall(), Overall::Broken, "{what}");
        }
        let opened = open_by(directory.path(), last(), None).map(drop);
        assert!(
            matches!(opened, Err(LedgerError::Damaged { .. } | LedgerError::ForeignKey { .. })),
            "{what}"
        );
    };
    for head in &heads {
        refused(genuine.replace(&format!("{head}\n"), ""), "a head is missing");
    }
    // Whoever holds the new key alone, and signs the head over the handover without the old.
    let two = heads.iter().find(|head| head.matches("— ").count() == 2).unwrap();
    let (front, lines) = two.split_once("\\n\\n").unwrap();
    let one: Vec<&str> = lines.split_inclusive("\\n").collect();
    for signature in &one[..2] {
        refused(genuine.replace(*two, &format!("{front}\\n\\n{signature}\"}}")), "half signed");
    }
    refused(genuine.replace("{\"head\":", "{\"heap\":"), "another line");
    std::fs::write(&path, genuine).unwrap();
    assert_eq!(verdict(directory.path(), &[signer()], None).overall(), Overall::Verified);
}

#[tokio::test]
async fn an_epoch_in_the_pruned_part_or_at_its_end_is_declared_as_before() {
    let directory = tempfile::tempdir().unwrap();
    let (ledger, _) = open_by(directory.path(), signer(), None).unwrap();
    add(&ledger, 1..20).await;
    ledger.close().await.unwrap();
    // The end is lost, and declared.
    lose_the_end(directory.path());
    // A lent key signs the heads behind the declaration, and must not sign the one over it.
    let (ledger, _) = open_by(directory.path(), signer(), Some(lending())).unwrap();
    add(&ledger, 20..40).await;
    ledger.close().await.unwrap();
    let seen = verdict(directory.path(), &[signer()], Some(2));
    assert_eq!(seen.overall(), Overall::Verified, "{seen:#?}");
    pruned(directory.path(), &signer()).await;
    let (ledger, _) = open_by(directory.path(), signer(), None).unwrap();
    let epochs: Vec<_> = ledger.reader().epochs().iter().map(|epoch| epoch.number).collect();
    assert_eq!(epochs, [1, 2]);
    ledger.close().await.unwrap();

    let seen = verdict(directory.path(), &[signer()], None);
    assert_eq!(seen.overall(), Overall::Broken, "a gap is no silent pass: {seen:#?}");
    let seen = verdict(directory.path(), &[signer()], Some(2));
    assert_eq!(seen.overall(), Overall::Verified, "{seen:#?}");
    assert!(seen.completeness.sentence.contains("declared gap"), "{seen:#?}");
    // The declaration cannot be pruned away.
    let path = files(directory.path()).prefix();
    let genuine = std::fs::read_to_string(&path).unwrap();
    let resumed = genuine.lines().find(|line| line.contains("ledger.resumed")).unwrap();
    let sealed = genuine.lines().skip_while(|line| *line != resumed).nth(1).unwrap();
    let seq: u64 = resumed.split("\"seq\":").nth(1).unwrap().split(',').next().unwrap().parse().unwrap();
    let leaf = Digest::leaf(resumed.as_bytes());
    let run = format!("{{\"omitted\":{{\"count\":1,\"first\":{seq},\"root\":\"{leaf}\"}}}}");
    std::fs::write(&path, genuine.replace(&format!("{resumed}\n{sealed}\n"), &format!("{run}\n"))).unwrap();
    assert_eq!(verdict(directory.path(), &[signer()], Some(2)).overall(), Overall::Broken);
    assert!(matches!(open_by(directory.path(), signer(), None).map(drop), Err(LedgerError::Damaged { .. })));
}

/// Takes the last segment away, and recovers as `auditctl recover --apply` does it.
fn lose_the_end(directory: &Path) {
    let segment = files(directory).segments().unwrap().pop().unwrap();
    std::fs::remove_file(&segment.path).unwrap();
    let found = recovery(directory).unwrap();
    let plan = found.plan(&files(directory), "user:olga", "the disk was replaced", false).unwrap();
    carry_out(&RealDisk, &files(directory), &plan).unwrap();
}

fn recovery(directory: &Path) -> Result<crate::recovery::Survey, RecoveryError> {
    let evidence = Evidence { keys: vec![signer().verifier()], ..Evidence::default() };
    crate::recovery::survey(&files(directory), &evidence)
}

#[tokio::test]
async fn a_pruned_ledger_that_loses_its_end_is_recovered() {
    let directory = old().await;
    let (ledger, _) = open_by(directory.path(), signer(), None).unwrap();
    add(&ledger, 40..60).await;
    ledger.close().await.unwrap();
    assert_eq!(recovery(directory.path()).unwrap().cause, None);
    lose_the_end(directory.path());
    let (ledger, _) = open_by(directory.path(), signer(), None).unwrap();
    add(&ledger, 60..62).await;
    ledger.close().await.unwrap();
    let seen = verdict(directory.path(), &[signer()], Some(2));
    assert_eq!(seen.overall(), Overall::Verified, "{seen:#?}");
}

#[tokio::test]
async fn a_pruned_beginning_that_is_damaged_or_no_longer_declared_is_not_given_up_but_put_back() {
    let directory = old().await;
    let path = files(directory.path()).prefix();
    let genuine = std::fs::read(&path).unwrap();
    let mut damaged = genuine.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    std::fs::write(&path, damaged).unwrap();
    let error = recovery(directory.path()).unwrap_err();
    assert!(matches!(&error, RecoveryError::Pruned { .. }) && error.hint().contains("archive"), "{error}");

    std::fs::write(&path, genuine).unwrap();
    for segment in files(directory.path()).segments().unwrap() {
        std::fs::remove_file(segment.path).unwrap();
    }
    let error = recovery(directory.path()).unwrap_err();
    assert!(matches!(&error, RecoveryError::Pruned { .. }), "{error}");
    // What the hint says.
    for entry in std::fs::read_dir(directory.path().join("archive")).unwrap() {
        let entry = entry.unwrap();
        if entry.path().extension().is_some_and(|extension| extension == "seg") {
            std::fs::copy(entry.path(), files(directory.path()).journal().join(entry.file_name())).unwrap();
        }
    }
    std::fs::rename(&path, directory.path().join("pruned.aside")).unwrap();
    let found = recovery(directory.path()).unwrap();
    let plan = found.plan(&files(directory.path()), "user:olga", "the disk was replaced", false).unwrap();
    carry_out(&RealDisk, &files(directory.path()), &plan).unwrap();
    open_by(directory.path(), signer(), None).unwrap().0.close().await.unwrap();
    assert_eq!(verdict(directory.path(), &[signer()], Some(2)).overall(), Overall::Verified);
}

/// A ledger of 40 records that was pruned.
async fn old() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let (ledger, _) = open_by(directory.path(), signer(), None).unwrap();
    add(&ledger, 1..40).await;
    ledger.close().await.unwrap();
    pruned(directory.path(), &signer()).await;
    directory
}

#[tokio::test]
async fn what_stands_in_the_pruned_beginning_is_found_with_an_index_and_without_one() {
    let directory = old().await;
    let files = files(directory.path());
    let size = size(directory.path());
    let (ledger, _) = open_by(directory.path(), signer(), None).unwrap();
    add(&ledger, 40..80).await;
    let reader = ledger.reader();
    let all = reader.range(Seq::ZERO, 1000).unwrap().into_iter();
    let expected: Vec<u64> = all
        .filter(|entry| entry.record.kind == Kind::GrantIssued)
        .map(|entry| entry.record.seq.get())
        .collect();
    assert!(expected.len() == 15 && expected.iter().any(|n| *n < size), "{expected:?}");
    for round in ["without", "with"] {
        for order in [Order::OldestFirst, Order::NewestFirst] {
            let mut expected = expected.clone();
            if order == Order::NewestFirst {
                expected.reverse();
            }
            let grants = Selection { kinds: vec![Kind::GrantIssued], ..Selection::default() };
            let query = Query { selection: grants.clone(), ..Query::default() };
            let mut found = Vec::new();
            let indexes = Directories::of(&files, []);
            search(&files, &indexes, &query, order, None, &mut |hit| {
                found.push(hit.record.seq.get());
                ControlFlow::Continue(())
            })
            .unwrap();
            assert_eq!(found, expected, "{round} {order:?}");
            let by_alice = Search {
                selection: grants,
                subjects: vec!["user:alice".to_owned()],
                order,
                limit: 1000,
                ..Search::default()
            };
            let page = reader.search(&by_alice).unwrap();
            let found: Vec<_> = page.entries.iter().map(|entry| entry.record.seq.get()).collect();
            assert_eq!((found, page.next), (expected, None), "{round} {order:?}");
        }
        let target = || files.index();
        let mut maker = Maker::new(&files, &target, 8);
        maker.make(&Directories::of(&files, []), reader.len(), &|| false, &mut |_| ()).unwrap();
        let spans = Directories::of(&files, []).spans();
        assert!(!spans.is_empty() && spans.iter().all(|span| span.first.get() >= size), "{spans:?}");
    }
    ledger.close().await.unwrap();
}

#[tokio::test]
async fn an_index_from_before_the_pruning_goes_with_what_it_speaks_of() {
    let directory = tempfile::tempdir().unwrap();
    let (ledger, _) = open_by(directory.path(), signer(), None).unwrap();
    add(&ledger, 1..40).await;
    ledger.close().await.unwrap();
    let files = files(directory.path());
    let target = || files.index();
    Maker::new(&files, &target, 8).make(&Directories::of(&files, []), 40, &|| false, &mut |_| ()).unwrap();
    // A reader with a cache of its own still has it.
    let cache = tempfile::tempdir().unwrap();
    copy(&files.index(), cache.path());
    pruned(directory.path(), &signer()).await;
    let size = size(directory.path());
    assert!(Directories::of(&files, []).spans().is_empty());
    for order in [Order::OldestFirst, Order::NewestFirst] {
        let mut found = Vec::new();
        let indexes = Directories::of(&files, [cache.path().to_owned()]);
        let requests = Selection { kinds: vec![Kind::HttpRequest], ..Selection::default() };
        let query = Query { selection: requests, ..Query::default() };
        search(&files, &indexes, &query, order, None, &mut |hit| {
            found.push(hit.record.seq.get());
            ControlFlow::Continue(())
        })
        .unwrap();
        found.sort_unstable();
        let expected: Vec<u64> = (1..40).filter(|n| n % 5 != 0 && *n >= size).collect();
        assert_eq!(found, expected, "{order:?}");
    }
}

#[tokio::test]
async fn a_scrub_of_a_pruned_ledger_finds_it_good_and_a_damaged_beginning_damaged() {
    let directory = handed_over().await;
    let files = files(directory.path());
    let (ledger, _) = open_by(directory.path(), last(), None).unwrap();
    let scrubbed = || crate::ledger::scrub::scrub(&ledger.reader(), &files, &mut |_| true).unwrap();
    let found = scrubbed();
    assert!(found.is_good(), "{found:?}");
    assert_eq!(found.first, size(directory.path()));
    let genuine = std::fs::read(files.prefix()).unwrap();
    let mut damaged = genuine.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    std::fs::write(files.prefix(), damaged).unwrap();
    assert_eq!(scrubbed().damage[0].segment, "pruned");
    std::fs::remove_file(files.prefix()).unwrap();
    assert!(!scrubbed().is_good(), "a beginning that is gone is damage, too");
    std::fs::write(files.prefix(), genuine).unwrap();
    assert!(scrubbed().is_good());
    ledger.close().await.unwrap();
}

#[tokio::test]
async fn a_pruned_ledger_is_opened_from_its_recent_part_and_only_behind_a_beginning_that_is_declared() {
    let directory = handed_over().await;
    let sparing = || LedgerOptions { segment_bytes: 20_000, reread_bytes: 0, ..options(directory.path()) };
    let open_sparing = || Ledger::open(sparing(), Box::new(last()), Arc::new(PlainVault));
    let (ledger, _) = open_sparing().unwrap();
    add(&ledger, 40..240).await;
    ledger.close().await.unwrap();
    let (ledger, opened) = open_sparing().unwrap();
    assert_eq!(opened.store, StoreState::Current);
    assert_eq!(opened.read, opened.records - opened.checked_from.get());
    assert!(opened.read < 80 && opened.checked_from > Seq::new(100), "{opened:?}");
    assert!(ledger.reader().get(Seq::new(239)).unwrap().is_some());
    let size = ledger.reader().pruned();
    assert_eq!(size, self::size(directory.path()));
    add(&ledger, 240..241).await;
    reread(directory.path(), ORIGIN, &last().verifier(), opened.checked_from).unwrap();
    ledger.close().await.unwrap();
    assert_eq!(verdict(directory.path(), &[last()], None).overall(), Overall::Verified);

    // The beginning as somebody else would have it: a kept record less, whose hash says that it was pruned.
    let path = files(directory.path()).prefix();
    let genuine = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<_> = genuine.lines().collect();
    for number in 0..lines.len() {
        let mut changed = lines.clone();
        let stated;
        if changed[number].starts_with("{\"action") || changed[number].starts_with("{\"details") {
            let record = crate::Record::parse(changed[number].as_bytes()).unwrap();
            let root = Digest::leaf(changed[number].as_bytes());
            let seq = record.seq;
            stated = format!("{{\"omitted\":{{\"count\":1,\"first\":{seq},\"root\":\"{root}\"}}}}");
            changed[number] = &stated;
        } else if number > 0 {
            changed.remove(number);
        } else {
            continue;
        }
        std::fs::write(&path, changed.join("\n") + "\n").unwrap();
        // What is sealed beside a record is under no hash: that line may go.
        match open_sparing() {
            Ok((ledger, _)) => {
                assert!(
                    lines[number].starts_with("{\"sealed"),
                    "line {number} was changed: {}",
                    lines[number]
                );
                ledger.close().await.unwrap();
            }
            Err(LedgerError::Damaged { .. }) => {}
            // Without a record about keys nobody knows whose the heads behind it are.
            Err(error) => assert!(matches!(error, LedgerError::ForeignKey { .. }), "line {number}: {error}"),
        }
    }
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(open_sparing().map(drop), Err(LedgerError::Damaged { .. })));
    std::fs::write(&path, genuine).unwrap();
    open_sparing().unwrap().0.close().await.unwrap();
}

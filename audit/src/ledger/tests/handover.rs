//! The ledger's key is replaced while it is written, and lent to a key in memory.

use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::SignedDuration;

use super::*;
use crate::journal::Files;
use crate::ledger::Lending;
use crate::signers::{DELEGATE_SUFFIX, Delegation};
use crate::testing::JournalBuilder;

fn successor() -> SoftwareSigner {
    SoftwareSigner::new(ORIGIN, [8; 32])
}

fn reopen(directory: &Path, signer: SoftwareSigner) -> Result<(Ledger, Opened), LedgerError> {
    Ledger::open(options(directory), Box::new(signer), Arc::new(PlainVault))
}

fn verdict(directory: &Path, keys: &[SoftwareSigner], own_key_only: bool) -> Verdict {
    let keys = keys.iter().map(SoftwareSigner::verifier).collect();
    crate::verify::directory(directory, &Trust { keys, own_key_only, ..Trust::default() }).unwrap()
}

fn lending() -> Lending {
    Lending { lifetime: Duration::from_hours(1), heads: 1000, own_every: Duration::from_hours(1) }
}

async fn append(ledger: &Ledger, numbers: std::ops::Range<u64>) {
    for n in numbers {
        ledger.append(draft(n)).await.unwrap();
    }
}

#[tokio::test]
async fn a_ledger_that_was_handed_over_verifies_with_either_key_and_opens_with_the_new_one_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (ledger, _) = open(folder.path());
    append(&ledger, 0..3).await;
    let receipt = ledger.hand_over(Box::new(successor())).await.unwrap();
    append(&ledger, 3..6).await;
    ledger.close().await.unwrap();

    for keys in [&[signer()][..], &[successor()], &[signer(), successor()]] {
        let verdict = verdict(folder.path(), keys, false);
        assert_eq!(verdict.overall(), Overall::Verified, "{verdict:#?}");
        let handed = format!("by record {}", receipt.seq);
        assert!(verdict.key_trust.sentence.contains(&handed), "{}", verdict.key_trust.sentence);
    }
    let stranger = SoftwareSigner::new(ORIGIN, [9; 32]);
    assert_eq!(verdict(folder.path(), &[stranger], false).overall(), Overall::Broken);

    let refused = reopen(folder.path(), signer()).map(drop).unwrap_err();
    assert!(matches!(refused, LedgerError::ForeignKey { .. }), "{refused}");
    let (ledger, opened) = reopen(folder.path(), successor()).unwrap();
    assert_eq!(opened.store, StoreState::Current);
    assert_eq!(numbers(&ledger), (0..6).collect::<Vec<_>>());
    append(&ledger, 6..7).await;
    ledger.close().await.unwrap();
    assert_eq!(verdict(folder.path(), &[signer()], false).overall(), Overall::Verified);
}

#[tokio::test]
async fn a_handover_that_one_of_the_keys_does_not_sign_has_not_happened() {
    let folder = tempfile::tempdir().unwrap();
    let (ledger, _) = open(folder.path());
    append(&ledger, 0..2).await;
    let absent = successor();
    absent.down().store(true, Ordering::SeqCst);
    let error = ledger.hand_over(Box::new(absent)).await.unwrap_err();
    assert!(matches!(error, AppendError::SignerUnavailable { .. }), "{error}");
    append(&ledger, 2..4).await;
    ledger.close().await.unwrap();
    assert_verified(folder.path());
    let (ledger, _) = open(folder.path());
    assert_eq!(numbers(&ledger), (0..4).collect::<Vec<_>>());
    ledger.close().await.unwrap();
}

#[tokio::test]
async fn a_lent_key_signs_most_heads_and_the_own_key_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let options = LedgerOptions { lending: Some(lending()), ..options(folder.path()) };
    let (ledger, _) = try_open(options.clone()).unwrap();
    append(&ledger, 0..20).await;
    ledger.close().await.unwrap();
    let seen = verdict(folder.path(), &[signer()], true);
    assert_eq!(seen.overall(), Overall::Verified, "{seen:#?}");
    assert!(seen.authenticity.sentence.contains("signed 2 of 21 heads itself"), "{seen:#?}");

    // Whatever signed last, the ledger goes on; with another key it does not.
    let (ledger, opened) = try_open(options.clone()).unwrap();
    assert_eq!((opened.records, opened.store), (22, StoreState::Current));
    append(&ledger, 20..22).await;
    ledger.hand_over(Box::new(successor())).await.unwrap();
    append(&ledger, 22..24).await;
    ledger.close().await.unwrap();
    for keys in [signer(), successor()] {
        let seen = verdict(folder.path(), &[keys], true);
        assert_eq!(seen.overall(), Overall::Verified, "{seen:#?}");
    }
    assert!(matches!(try_open(options).map(drop), Err(LedgerError::ForeignKey { .. })));
}

#[tokio::test]
async fn the_own_key_signs_at_its_interval_and_lends_anew_before_the_lent_key_is_used_up() {
    let folder = tempfile::tempdir().unwrap();
    let often = Lending { heads: 10, ..lending() };
    let options = LedgerOptions { lending: Some(often), ..options(folder.path()) };
    let (ledger, _) = try_open(options.clone()).unwrap();
    append(&ledger, 0..40).await;
    ledger.close().await.unwrap();
    let seen = verdict(folder.path(), &[signer()], true);
    assert_eq!(seen.overall(), Overall::Verified, "{seen:#?}");
    assert!(seen.authenticity.sentence.contains("at most 8 in a row"), "{seen:#?}");

    let always = Lending { own_every: Duration::ZERO, ..lending() };
    let options = LedgerOptions { lending: Some(always), ..options };
    let (ledger, _) = try_open(options).unwrap();
    append(&ledger, 40..44).await;
    assert_eq!(verdict(folder.path(), &[signer()], true).overall(), Overall::Verified, "before it is closed");
    ledger.close().await.unwrap();
}

#[tokio::test]
async fn a_ledger_whose_process_died_under_a_lent_key_opens_and_verifies() {
    let folder = tempfile::tempdir().unwrap();
    let copy = tempfile::tempdir().unwrap();
    let options = LedgerOptions { lending: Some(lending()), ..options(folder.path()) };
    let (ledger, _) = try_open(options).unwrap();
    append(&ledger, 0..5).await;
    // What a process that is killed here leaves behind.
    std::fs::create_dir(copy.path().join("journal")).unwrap();
    for file in std::fs::read_dir(folder.path().join("journal")).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), copy.path().join("journal").join(file.file_name())).unwrap();
    }
    std::fs::copy(folder.path().join("head"), copy.path().join("head")).unwrap();
    ledger.close().await.unwrap();

    assert_eq!(verdict(copy.path(), &[signer()], false).overall(), Overall::Verified);
    assert_eq!(
        verdict(copy.path(), &[signer()], true).overall(),
        Overall::Broken,
        "nobody else signed the end"
    );
    let (ledger, _) = open(copy.path());
    assert_eq!(numbers(&ledger), (0..5).collect::<Vec<_>>());
    append(&ledger, 5..6).await;
    ledger.close().await.unwrap();
    assert_eq!(verdict(copy.path(), &[signer()], true).overall(), Overall::Verified);
}

fn lent_to() -> SoftwareSigner {
    SoftwareSigner::new(&format!("{ORIGIN}{DELEGATE_SUFFIX}"), [90; 32])
}

fn heartbeat() -> Draft {
    Draft::new(Kind::GatewayHeartbeat, Outcome::Success)
}

/// A ledger whose key lends by record 1, for two heads and ten seconds.
fn lent() -> JournalBuilder {
    let mut journal = JournalBuilder::new(ORIGIN, signer());
    journal.group([Draft::new(Kind::LedgerCreated, Outcome::Success)
        .detail("origin", ORIGIN)
        .detail("key", signer().verifier().to_string())
        .detail("format", 1)]);
    let not_after = journal.time + SignedDuration::from_secs(10);
    journal.group([Delegation { key: lent_to().verifier(), not_after, heads: 2 }.draft()]);
    journal
}

fn written(journal: &JournalBuilder) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let files = Files::new(folder.path());
    std::fs::create_dir(files.journal()).unwrap();
    for (name, bytes) in &journal.segments {
        std::fs::write(files.journal().join(name), bytes).unwrap();
    }
    std::fs::write(files.head(), journal.head_file()).unwrap();
    folder
}

#[tokio::test]
async fn the_gateway_believes_a_lent_key_exactly_as_far_as_the_verifier_does() {
    let by_lent = |journal: &mut JournalBuilder| {
        journal.group_by([heartbeat()], &[&lent_to()]);
    };
    let mut within = lent();
    by_lent(&mut within);
    by_lent(&mut within);
    let mut overused = within.clone();
    by_lent(&mut overused);
    let mut late = lent();
    late.time += SignedDuration::from_secs(11);
    by_lent(&mut late);
    // The own key signs past the end of the loan, and then the clock is set back.
    let mut brought_back = lent();
    let before = brought_back.time;
    brought_back.time += SignedDuration::from_secs(3600);
    brought_back.group([heartbeat()]);
    let past = brought_back.clone();
    brought_back.time = before;
    brought_back
        .group_by([Draft::new(Kind::ClockJumped, Outcome::Success), heartbeat()], &[&lent_to()])
        .group([heartbeat()]);
    for (what, journal, believed) in [
        ("within its bounds", &within, true),
        ("past its end, by the own key", &past, true),
        ("one head too many", &overused, false),
        ("after its end", &late, false),
        ("brought back by a clock that was set back", &brought_back, false),
    ] {
        let folder = written(journal);
        let seen = verdict(folder.path(), &[signer()], false);
        assert_eq!(seen.overall() == Overall::Verified, believed, "{what}: {seen:#?}");
        match try_open(options(folder.path())) {
            Ok((ledger, _)) => {
                ledger.close().await.unwrap();
                assert!(believed, "{what}: it opened");
            }
            Err(error) => {
                assert!(!believed && matches!(error, LedgerError::Damaged { .. }), "{what}: {error}");
            }
        }
    }
}

use super::dying_disk::DyingDisk;
use super::*;
use crate::epoch::{Cause, Epoch, Resumed};
use crate::journal::{Files, Frame};
use crate::recovery::{Evidence, Plan, RecoveryError, Survey, carry_out, survey};

fn files(directory: &Path) -> Files {
    Files::new(directory)
}

fn evidence() -> Evidence {
    Evidence { keys: vec![signer().verifier()], ..Evidence::default() }
}

fn looked_at(directory: &Path) -> Survey {
    survey(&files(directory), &evidence()).unwrap()
}

fn planned(directory: &Path, evidence: &Evidence) -> Plan {
    let found = survey(&files(directory), evidence).unwrap();
    found.plan(&files(directory), "user:olga", "the disk was replaced", false).unwrap()
}

/// As `auditctl recover --apply` does it.
fn recover(directory: &Path) -> Plan {
    let plan = planned(directory, &evidence());
    carry_out(&RealDisk, &files(directory), &plan).unwrap();
    plan
}

/// Cuts the first segment off behind so many groups.
fn cut_to_groups(directory: &Path, groups: usize) {
    let path = first_segment(directory);
    let bytes = std::fs::read(&path).unwrap();
    let mut offset = 0;
    for _ in 0..=groups {
        offset += Frame::read(&bytes, offset).unwrap().unwrap().bytes.len();
    }
    std::fs::write(&path, &bytes[..offset]).unwrap();
}

fn check_accepting(directory: &Path, epoch: u64, checkpoint: Option<String>) -> Verdict {
    let keys = vec![signer().verifier()];
    let trust = Trust { keys, checkpoint, ..Trust::default() };
    let epochs = crate::verify::directory(directory, &trust).unwrap().ledger.epochs;
    let declared = epochs.iter().find(|found| found.number == epoch).and_then(Epoch::declaration);
    let trust = Trust { accept_epoch: declared, ..trust };
    crate::verify::directory(directory, &trust).unwrap()
}

/// The ledger opens after a recovery, says what happened, goes on, and passes if and only if that is accepted.
#[track_caller]
fn goes_on(directory: &Path, epoch: u64) -> Resumed {
    let (ledger, opened) = open(directory);
    let at = Seq::new(opened.records + u64::from(opened.created));
    let entry = ledger.reader().get(at).unwrap().unwrap();
    let resumed = Resumed::of(&entry.record).unwrap();
    assert_eq!((resumed.epoch, resumed.origin.as_str()), (epoch, format!("{ORIGIN}#{epoch}").as_str()));
    assert_eq!(entry.personal.text(crate::Personal::Reason), Some("the disk was replaced"));
    assert_eq!(entry.personal.text(crate::Personal::Subject), Some("user:olga"));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        ledger.append(draft(100)).await.unwrap();
        ledger.close().await.unwrap();
    });
    assert!(!files(directory).recovery().exists(), "the plan named a person: it is taken away");
    let verdict = check(directory);
    assert_eq!(verdict.overall(), Overall::Broken, "a gap is no silent pass: {verdict:#?}");
    assert!(verdict.completeness.sentence.contains(&format!("--accept-epoch {epoch}")), "{verdict:#?}");
    let verdict = check_accepting(directory, epoch, None);
    assert_eq!(verdict.overall(), Overall::Verified, "{verdict:#?}");
    assert!(verdict.completeness.sentence.contains("declared gap"), "{verdict:#?}");
    // And it opens again, without a plan and in the same epoch.
    let (ledger, opened) = open(directory);
    assert!(!opened.created);
    runtime.block_on(ledger.close()).unwrap();
    assert_eq!(check_accepting(directory, epoch, None).overall(), Overall::Verified);
    resumed
}

fn filled_now(records: u64) -> tempfile::TempDir {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(filled(records))
}

#[test]
fn a_ledger_that_is_well_needs_no_recovery_and_gets_none() {
    let directory = filled_now(5);
    let found = looked_at(directory.path());
    assert_eq!((found.cause, found.kept.records, found.lost), (None, 6, None));
    // An unfinished end was never acknowledged: the gateway deals with it by itself.
    let path = first_segment(directory.path());
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.extend_from_slice(b"SPG1 and no more");
    std::fs::write(&path, bytes).unwrap();
    assert_eq!(looked_at(directory.path()).cause, None);
    open(directory.path());
}

#[test]
fn a_cut_off_end_is_declared_with_the_head_that_tells_of_it() {
    let directory = filled_now(6);
    cut_to_groups(directory.path(), 4);
    assert!(matches!(refused(options(directory.path())), LedgerError::Behind { journal: 4, known: 7, .. }));
    let plan = recover(directory.path());
    assert_eq!((plan.resumed.cause, plan.kept.records), (Cause::EndMissing, 4));
    assert!(directory.path().join("set-aside/epoch-2/head").exists(), "nothing is deleted");
    let resumed = goes_on(directory.path(), 2);
    assert_eq!((resumed.first, resumed.at_least), (4, 3));
    let lost = resumed.lost_head.clone().unwrap();
    assert_eq!(resumed.lost().map(|(head, _)| head.size), Some(7));
    // Whoever kept that head is told what became of it.
    let verdict = check_accepting(directory.path(), 2, Some(lost));
    assert_eq!(verdict.overall(), Overall::Verified, "{verdict:#?}");
    assert!(verdict.completeness.sentence.contains("3 are in the declared gap"), "{verdict:#?}");
}

#[test]
fn a_head_that_shows_more_than_was_declared_is_never_explained_away() {
    let (directory, elsewhere) = (filled_now(6), tempfile::tempdir().unwrap());
    copy(directory.path(), elsewhere.path());
    let (ledger, _) = open(elsewhere.path());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async { ledger.append(draft(7)).await.unwrap() });
    let later = ledger.reader().checkpoint();
    runtime.block_on(ledger.close()).unwrap();
    cut_to_groups(directory.path(), 4);
    recover(directory.path());
    goes_on(directory.path(), 2);
    let verdict = check_accepting(directory.path(), 2, Some(later));
    assert_eq!(verdict.overall(), Overall::Broken, "{verdict:#?}");
    assert!(verdict.completeness.sentence.contains("declares only 3"), "{verdict:#?}");
    // Another head over as many records as were lost is a second history.
    let forged = crate::Checkpoint { origin: ORIGIN.to_owned(), size: 7, root: Digest::ZERO };
    let forged = signer().sign_checkpoint(&forged).to_string();
    let verdict = check_accepting(directory.path(), 2, Some(forged));
    assert!(verdict.completeness.sentence.contains("two histories"), "{verdict:#?}");
}

#[test]
fn a_checkpoint_kept_elsewhere_makes_the_declaration_as_large_as_the_loss() {
    let (directory, elsewhere) = (filled_now(6), tempfile::tempdir().unwrap());
    copy(directory.path(), elsewhere.path());
    let (ledger, _) = open(elsewhere.path());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async { ledger.append(draft(7)).await.unwrap() });
    let later = ledger.reader().checkpoint();
    runtime.block_on(ledger.close()).unwrap();
    cut_to_groups(directory.path(), 4);
    let given = Evidence { checkpoints: vec![later.clone()], ..evidence() };
    let plan = planned(directory.path(), &given);
    carry_out(&RealDisk, &files(directory.path()), &plan).unwrap();
    assert_eq!(goes_on(directory.path(), 2).at_least, 4);
    assert_eq!(check_accepting(directory.path(), 2, Some(later)).overall(), Overall::Verified);
    // A checkpoint that nobody of ours signed is refused, and so is one of another ledger.
    let stranger = SoftwareSigner::new(ORIGIN, [66; 32]);
    let head = crate::Checkpoint { origin: ORIGIN.to_owned(), size: 9, root: Digest::ZERO };
    let other = crate::Checkpoint { origin: "other.example.org".to_owned(), ..head.clone() };
    for note in [stranger.sign_checkpoint(&head), signer().sign_checkpoint(&other)] {
        let given = Evidence { checkpoints: vec![note.to_string()], ..evidence() };
        let refused = survey(&files(directory.path()), &given);
        assert!(matches!(refused, Err(RecoveryError::Checkpoint { number: 1, .. })), "{refused:?}");
    }
}

#[test]
fn damage_in_the_middle_keeps_what_stands_before_it_and_throws_nothing_away() {
    let directory = filled_now(6);
    let path = first_segment(directory.path());
    let whole = std::fs::read(&path).unwrap();
    for at in [whole.len() / 4, whole.len() / 2, whole.len() - 40] {
        let scratch = tempfile::tempdir().unwrap();
        copy(directory.path(), scratch.path());
        let mut bytes = whole.clone();
        bytes[at] ^= 4;
        std::fs::write(first_segment(scratch.path()), &bytes).unwrap();
        assert!(matches!(refused(options(scratch.path())), LedgerError::Damaged { .. }), "byte {at}");
        let plan = recover(scratch.path());
        assert_eq!(plan.resumed.cause, Cause::Damaged, "byte {at}");
        let aside = scratch.path().join(&plan.resumed.set_aside).join("00000000000000000000.seg");
        assert_eq!(std::fs::read(aside).unwrap(), bytes, "byte {at}");
        let resumed = goes_on(scratch.path(), 2);
        assert_eq!(resumed.first + resumed.at_least, 7, "byte {at}");
    }
}

#[test]
fn a_missing_segment_and_a_journal_that_is_gone_are_declared() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let small = LedgerOptions { segment_bytes: 1000, ..options(directory.path()) };
    let (ledger, _) = try_open(small).unwrap();
    runtime.block_on(async {
        for n in 0..10 {
            ledger.append(draft(n)).await.unwrap();
        }
        ledger.close().await.unwrap();
    });
    let gone = tempfile::tempdir().unwrap();
    copy(directory.path(), gone.path());
    let segments = files(directory.path()).segments().unwrap();
    std::fs::remove_file(&segments[1].path).unwrap();
    let plan = recover(directory.path());
    assert_eq!((plan.resumed.cause, plan.kept.records), (Cause::Damaged, segments[1].first.get()));
    goes_on(directory.path(), 2);

    std::fs::remove_dir_all(gone.path().join("journal")).unwrap();
    assert!(matches!(refused(options(gone.path())), LedgerError::Behind { journal: 0, .. }));
    let plan = recover(gone.path());
    assert_eq!((plan.resumed.cause, plan.kept.records), (Cause::EndMissing, 0));
    assert_eq!(goes_on(gone.path(), 2).at_least, 11);
}

#[test]
fn a_lost_head_file_is_a_gap_of_unknown_size_unless_a_checkpoint_says_more() {
    let stranger = SoftwareSigner::new(ORIGIN, [66; 32]);
    let foreign = crate::Checkpoint { origin: ORIGIN.to_owned(), size: 4, root: Digest::ZERO };
    let mut of_another = crate::journal::head::slot(&stranger.sign_checkpoint(&foreign).to_string()).unwrap();
    of_another.resize(crate::journal::head::FILE_BYTES, 0);
    for damage in [
        None,
        Some(vec![9; crate::journal::head::FILE_BYTES]),
        Some(vec![0; crate::journal::head::FILE_BYTES]),
        Some(vec![0; 2 * crate::journal::head::FILE_BYTES]),
        Some(of_another),
    ] {
        let directory = filled_now(3);
        let head = directory.path().join("head");
        match &damage {
            None => std::fs::remove_file(&head).unwrap(),
            Some(bytes) => std::fs::write(&head, bytes).unwrap(),
        }
        refused(options(directory.path()));
        let plan = recover(directory.path());
        assert_eq!((plan.resumed.cause, plan.kept.records), (Cause::HeadLost, 4));
        let resumed = goes_on(directory.path(), 2);
        assert_eq!((resumed.at_least, resumed.lost_head), (0, None));
        let aside = directory.path().join("set-aside/epoch-2/head");
        assert_eq!(std::fs::read(aside).ok(), damage);
    }
}

#[test]
fn another_history_that_the_key_signed_is_named_and_not_forgotten() {
    let (one, other) = (filled_now(3), filled_now(3));
    std::fs::copy(one.path().join("head"), other.path().join("head")).unwrap();
    assert!(matches!(refused(options(other.path())), LedgerError::Forked { .. }));
    let plan = recover(other.path());
    assert_eq!((plan.resumed.cause, plan.kept.records), (Cause::Forked, 4));
    assert!(goes_on(other.path(), 2).lost_head.is_some());
}

#[test]
fn a_restored_backup_goes_on_only_when_the_operator_says_so_and_the_store_tells_what_it_knows() {
    let directory = filled_now(3);
    let old = tempfile::tempdir().unwrap();
    copy(directory.path(), old.path());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (ledger, _) = open(directory.path());
    runtime.block_on(async {
        ledger.append(draft(4)).await.unwrap();
        ledger.close().await.unwrap();
    });
    // Journal and head file come from the backup; the query store is that of today.
    std::fs::copy(first_segment(old.path()), first_segment(directory.path())).unwrap();
    std::fs::copy(old.path().join("head"), directory.path().join("head")).unwrap();
    let error = refused(options(directory.path()));
    assert!(matches!(&error, LedgerError::Behind { witness, .. } if witness.ends_with("store")), "{error}");
    assert_eq!(looked_at(directory.path()).cause, None, "nothing that it can read shows it");
    let given = Evidence { restored: true, ..evidence() };
    let plan = planned(directory.path(), &given);
    assert_eq!(plan.resumed.cause, Cause::Restored);
    carry_out(&RealDisk, &files(directory.path()), &plan).unwrap();
    let resumed = goes_on(directory.path(), 2);
    assert_eq!((resumed.first, resumed.at_least), (4, 1));
    assert!(directory.path().join("set-aside/epoch-2/store/db").exists());
}

#[test]
fn an_epoch_can_be_lost_as_well_and_the_next_one_says_that_it_existed() {
    let directory = filled_now(6);
    cut_to_groups(directory.path(), 4);
    recover(directory.path());
    goes_on(directory.path(), 2);
    // All of epoch 2 is gone, but for the head file.
    let segments = files(directory.path()).segments().unwrap();
    std::fs::remove_file(&segments[1].path).unwrap();
    assert!(matches!(refused(options(directory.path())), LedgerError::Behind { .. }));
    let plan = recover(directory.path());
    assert_eq!((plan.resumed.epoch, plan.resumed.first), (3, 4));
    let resumed = goes_on(directory.path(), 3);
    assert_eq!(resumed.origin_before, format!("{ORIGIN}#2"));
    // And once more, with the beginning of the third epoch kept.
    std::fs::remove_file(directory.path().join("head")).unwrap();
    recover(directory.path());
    goes_on(directory.path(), 4);
    let verdict = check_accepting(directory.path(), 3, None);
    assert_eq!(verdict.overall(), Overall::Broken, "the fourth was not accepted: {verdict:#?}");
}

#[test]
fn a_plan_is_followed_only_for_the_ledger_that_it_was_made_for() {
    let directory = filled_now(6);
    cut_to_groups(directory.path(), 4);
    recover(directory.path());
    let path = files(directory.path()).recovery();
    let good = std::fs::read(&path).unwrap();
    let text = String::from_utf8(good.clone()).unwrap();
    for bad in [
        "no plan".to_owned(),
        text.replace("\"records\":4", "\"records\":3"),
        text.replace("\"format\":1", "\"format\":2"),
        text.replace("gateway.example.org/ledger#2", "other.example.org/ledger#2"),
        text.replace("set-aside/epoch-2", "../epoch-2"),
    ] {
        assert_ne!(bad, text);
        std::fs::write(&path, bad).unwrap();
        let error = refused(options(directory.path()));
        assert!(matches!(error, LedgerError::RecoveryPlan { .. }), "{error}");
        assert!(error.hint().contains("auditctl recover"), "{}", error.hint());
    }
    std::fs::write(&path, good).unwrap();
    // The journal changed after the plan was made: again refused, and a new plan has the way out.
    cut_to_groups(directory.path(), 3);
    refused(options(directory.path()));
    let plan = recover(directory.path());
    assert_eq!((plan.resumed.epoch, plan.kept.records, plan.resumed.at_least), (2, 3, 4));
    assert_eq!(plan.resumed.set_aside, "set-aside/epoch-2.2");
    goes_on(directory.path(), 2);
}

#[test]
fn a_newer_format_and_a_stranger_s_key_are_left_alone() {
    let directory = filled_now(2);
    let stranger = Evidence { keys: vec![SoftwareSigner::new(ORIGIN, [66; 32]).verifier()], ..evidence() };
    let refused = survey(&files(directory.path()), &stranger);
    assert!(matches!(refused, Err(RecoveryError::Unknown { .. })), "{refused:?}");
    let path = first_segment(directory.path());
    let mut bytes = std::fs::read(&path).unwrap();
    let header = Frame::read(&bytes, 0).unwrap().unwrap().bytes.len();
    bytes[crate::journal::frame::FRONT_BYTES] = 2;
    crate::journal::frame::close(crate::journal::FrameKind::Segment, &mut bytes[..header]).unwrap();
    std::fs::write(&path, bytes).unwrap();
    let refused = survey(&files(directory.path()), &evidence());
    assert!(matches!(refused, Err(RecoveryError::Newer(_))), "{refused:?}");
}

/// Everything that was ever in the directory, by content.
fn contents(directory: &Path, out: &mut Vec<Vec<u8>>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            contents(&path, out);
        } else {
            out.push(std::fs::read(&path).unwrap());
        }
    }
}

#[test]
fn recovery_and_the_first_start_after_it_go_on_after_a_fault_at_every_step_of_the_disk() {
    let damaged = filled_now(6);
    let path = first_segment(damaged.path());
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 4;
    std::fs::write(&path, bytes).unwrap();
    let mut evidence_before = Vec::new();
    contents(&damaged.path().join("journal"), &mut evidence_before);
    evidence_before.push(std::fs::read(damaged.path().join("head")).unwrap());

    let mut step = 0;
    loop {
        let scratch = tempfile::tempdir().unwrap();
        copy(damaged.path(), scratch.path());
        // One life of both programs on a disk that dies at this step; what it had not begun is not done.
        let disk = DyingDisk::at(step);
        let plan = planned(scratch.path(), &evidence());
        let first = carry_out(&disk, &files(scratch.path()), &plan).is_ok()
            && Ledger::open_on(
                options(scratch.path()),
                Box::new(signer()),
                Arc::new(PlainVault),
                Arc::new(disk.clone()),
            )
            .is_ok();
        assert_eq!(first, !disk.has_died(), "step {step}");
        if first {
            assert!(step > 25, "so many steps were tried: {step}");
            break;
        }
        // Then the operator does the same again.
        let files = files(scratch.path());
        let again = crate::recovery::interrupted(&files).unwrap();
        match again {
            Some(plan) => carry_out(&RealDisk, &files, &plan).unwrap(),
            None if files.recovery().exists() => {}
            None => {
                if let Some(plan) =
                    looked_at(scratch.path()).plan(&files, "user:olga", "the disk was replaced", false)
                {
                    carry_out(&RealDisk, &files, &plan).unwrap();
                }
            }
        }
        let (ledger, _) =
            try_open(options(scratch.path())).unwrap_or_else(|error| panic!("step {step}: {error}"));
        let kept = numbers(&ledger);
        assert!(kept.starts_with(&[1, 2]), "step {step}: {kept:?}");
        drop(ledger);
        let verdict = check_accepting(scratch.path(), 2, None);
        assert_eq!(verdict.overall(), Overall::Verified, "step {step}: {verdict:#?}");
        assert_eq!(verdict.ledger.epochs.len(), 2, "step {step}: {verdict:#?}");
        let mut evidence_after = Vec::new();
        contents(scratch.path(), &mut evidence_after);
        for piece in &evidence_before {
            assert!(evidence_after.contains(piece), "step {step}: a file was lost");
        }
        step += 1;
    }
}

#[test]
fn whatever_the_clock_and_the_lent_key_ask_for_the_declaration_is_the_first_word_of_an_epoch() {
    use crate::ledger::Lending;
    let directory = filled_now(6);
    cut_to_groups(directory.path(), 4);
    recover(directory.path());
    let lending = Lending {
        lifetime: std::time::Duration::from_hours(1),
        heads: 100,
        own_every: std::time::Duration::from_hours(1),
    };
    let options = LedgerOptions { lending: Some(lending), ..options(directory.path()) };
    // The machine came back with a clock of long ago.
    let surroundings = Surroundings {
        clock: std::sync::Arc::new(|| "2020-01-01T00:00:00Z".parse().unwrap()),
        ..Surroundings::real()
    };
    let (ledger, _) =
        crate::ledger::opening::open(options, Box::new(signer()), Arc::new(PlainVault), surroundings)
            .unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        ledger.append(draft(7)).await.unwrap();
        ledger.close().await.unwrap();
    });
    let verdict = check_accepting(directory.path(), 2, None);
    assert_eq!(verdict.overall(), Overall::Verified, "{verdict:#?}");
    assert!(verdict.clock.sentence.contains("1 place"), "the jump is told: {verdict:#?}");
}

fn successor() -> SoftwareSigner {
    SoftwareSigner::new(ORIGIN, [8; 32])
}

fn verdict_for(directory: &Path, keys: &[SoftwareSigner], accept_epoch: Option<String>) -> Verdict {
    let keys = keys.iter().map(SoftwareSigner::verifier).collect();
    crate::verify::directory(directory, &Trust { keys, accept_epoch, ..Trust::default() }).unwrap()
}

/// A ledger that was handed over, and of which only what stands before that is left.
async fn handover_lost() -> tempfile::TempDir {
    let directory = filled(4).await;
    let before = std::fs::read(first_segment(directory.path())).unwrap();
    let (ledger, _) = open(directory.path());
    ledger.hand_over(Box::new(successor())).await.unwrap();
    ledger.append(draft(50)).await.unwrap();
    ledger.close().await.unwrap();
    std::fs::write(first_segment(directory.path()), before).unwrap();
    directory
}

#[tokio::test]
async fn a_ledger_that_lost_the_record_of_its_handover_goes_on_under_the_new_key_and_says_so() {
    let directory = handover_lost().await;
    let path = directory.path();
    let both = Evidence { keys: vec![signer().verifier(), successor().verifier()], ..Evidence::default() };
    let found = survey(&files(path), &both).unwrap();
    assert!(found.findings.iter().any(|finding| finding.contains("--handed-over-to")), "{found:?}");
    // Without that word there is a plan, which neither key can follow.
    carry_out(&RealDisk, &files(path), &planned(path, &both)).unwrap();
    let by = |signer: SoftwareSigner| Ledger::open(options(path), Box::new(signer), Arc::new(PlainVault));
    let refused = by(successor()).map(drop).unwrap_err();
    assert!(
        matches!(&refused, LedgerError::RecoveryPlan { what, .. } if what.contains("--handed-over-to")),
        "{refused}"
    );
    for (key, given) in [(signer(), &both), (SoftwareSigner::new(ORIGIN, [9; 32]), &both)] {
        let wrong = Evidence { handed_over_to: Some(key.verifier()), ..given.clone() };
        let error = survey(&files(path), &wrong).unwrap_err();
        assert!(matches!(error, RecoveryError::Key { .. }), "{error}");
    }
    let told = Evidence { handed_over_to: Some(successor().verifier()), ..both };
    let plan = planned(path, &told);
    assert_eq!(plan.resumed.key, Some(successor().verifier()));
    carry_out(&RealDisk, &files(path), &plan).unwrap();
    assert!(matches!(by(signer()).map(drop), Err(LedgerError::RecoveryPlan { .. })), "not under the old key");

    let (ledger, opened) = by(successor()).unwrap();
    ledger.append(draft(100)).await.unwrap();
    reread(path, ORIGIN, &successor().verifier(), opened.checked_from).unwrap();
    ledger.close().await.unwrap();
    let declared = verdict_for(path, &[successor()], None).ledger.epochs.last().and_then(Epoch::declaration);
    assert!(declared.is_some());
    for (keys, accepted, passes) in [
        (vec![signer(), successor()], declared.clone(), true),
        (vec![successor()], declared.clone(), true),
        (vec![signer(), successor()], None, false),
        (vec![signer()], declared.clone(), false),
        (vec![SoftwareSigner::new(ORIGIN, [9; 32])], declared.clone(), false),
    ] {
        let verdict = verdict_for(path, &keys, accepted);
        assert_eq!(verdict.overall() == Overall::Verified, passes, "{verdict:#?}");
        if passes {
            assert!(verdict.key_trust.sentence.contains("declared as lost"), "{verdict:#?}");
        }
    }
    // And it opens again, is handed over again, and the key after that vouches for it as well.
    let third = SoftwareSigner::new(ORIGIN, [10; 32]);
    let (ledger, _) = by(successor()).unwrap();
    ledger.hand_over(Box::new(third.clone())).await.unwrap();
    ledger.close().await.unwrap();
    let (ledger, _) = by(third.clone()).unwrap();
    ledger.append(draft(101)).await.unwrap();
    ledger.close().await.unwrap();
    assert_eq!(verdict_for(path, &[third], declared.clone()).overall(), Overall::Verified);
    assert_ne!(verdict_for(path, &[signer()], declared).overall(), Overall::Verified);
}

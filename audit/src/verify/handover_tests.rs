//! A ledger that outlives its keys: handed over, and lent for a time.

use jiff::SignedDuration;

use super::*;
use crate::kind::Kind;
use crate::record::{Draft, Outcome};
use crate::signers::{DELEGATE_SUFFIX, Delegation};
use crate::testing::{JournalBuilder, SoftwareSigner};

const ORIGIN: &str = "gateway.example.org/ledger";

fn key(seed: u8) -> SoftwareSigner {
    SoftwareSigner::new(ORIGIN, [seed; 32])
}

fn delegate() -> SoftwareSigner {
    SoftwareSigner::new(&format!("{ORIGIN}{DELEGATE_SUFFIX}"), [90; 32])
}

fn plain() -> Draft {
    Draft::new(Kind::GatewayHeartbeat, Outcome::Success)
}

fn begun() -> JournalBuilder {
    let mut journal = JournalBuilder::new(ORIGIN, key(1));
    journal.group([Draft::new(Kind::LedgerCreated, Outcome::Success)
        .detail("origin", ORIGIN)
        .detail("key", key(1).verifier().to_string())
        .detail("format", 1)]);
    journal.group([plain(), plain()]);
    journal
}

/// Begun by key 1, handed to key 2 by record 3 and to key 3 by record 6.
fn handed_over() -> JournalBuilder {
    let mut journal = begun();
    journal.hand_over(key(2)).group([plain()]).rotate();
    journal.group([plain()]);
    journal.hand_over(key(3)).group([plain()]);
    journal
}

/// Lent to a delegated key by record 3, for 3 heads and ten seconds.
fn lent() -> JournalBuilder {
    let mut journal = begun();
    let not_after = journal.time + SignedDuration::from_secs(10);
    let delegation = Delegation { key: delegate().verifier(), not_after, heads: 3 };
    journal.group([delegation.draft(), plain()]);
    journal
}

fn trusting(seeds: &[u8]) -> Trust {
    Trust { keys: seeds.iter().map(|seed| key(*seed).verifier()).collect(), ..Trust::default() }
}

fn check(journal: &JournalBuilder, trust: &Trust) -> Verdict {
    check_since(journal, trust, None).0
}

fn check_since(
    journal: &JournalBuilder,
    trust: &Trust,
    since: Option<&Verified>,
) -> (Verdict, Option<Verified>) {
    let segments = journal.segments.clone();
    let segments = segments.into_iter().map(|(name, bytes)| Ok(Segment { name, bytes }));
    verify_since(segments, Some(&journal.head_file()), trust, since, &mut |_| {})
}

/// That the ledger is refused, and why, in the words of the part on authenticity.
fn refused(journal: &JournalBuilder, trust: &Trust) -> String {
    let verdict = check(journal, trust);
    assert_eq!(verdict.overall(), Overall::Broken, "{verdict:#?}");
    assert_eq!(verdict.authenticity.state, State::Fail, "{verdict:#?}");
    verdict.authenticity.sentence
}

#[test]
fn a_ledger_that_was_handed_over_passes_for_whoever_knows_any_of_its_keys() {
    for given in [&[1][..], &[2], &[3], &[1, 2], &[1, 3], &[3, 2, 1], &[9, 2]] {
        let verdict = check(&handed_over(), &trusting(given));
        assert_eq!(verdict.overall(), Overall::Verified, "{given:?}: {verdict:#?}");
        assert!(verdict.key_trust.sentence.contains("by record 3"), "{}", verdict.key_trust.sentence);
        assert!(verdict.key_trust.sentence.contains("by record 6"), "{}", verdict.key_trust.sentence);
    }
    let sentence = refused(&handed_over(), &trusting(&[9]));
    assert!(sentence.contains("not signed by a given key"), "{sentence}");
    let verdict = check(&handed_over(), &trusting(&[9]));
    assert_eq!(verdict.key_trust.state, State::Fail);
    assert_eq!(verdict.completeness.state, State::Fail, "its head file is by a stranger, too");
}

#[test]
fn a_head_by_the_retired_key_after_the_handover_is_refused() {
    for given in [&[1][..], &[2], &[3], &[1, 2, 3]] {
        let mut journal = handed_over();
        journal.signer = key(1);
        journal.group([plain()]);
        let sentence = refused(&journal, &trusting(given));
        assert!(sentence.contains("which was retired after 4 records"), "{given:?}: {sentence}");
    }
}

#[test]
fn a_handover_forged_by_somebody_without_the_old_key_is_refused() {
    let rotation = crate::signers::Rotation { old: key(1).verifier(), new: key(9).verifier() };
    for hands in [&[&key(9)][..], &[&key(9), &key(2)], &[&key(1)]] {
        let mut journal = begun();
        journal.group_by([rotation.draft()], hands);
        journal.signer = key(9);
        journal.group([plain()]);
        for given in [&[1][..], &[9], &[1, 9]] {
            let sentence = refused(&journal, &trusting(given));
            assert!(sentence.contains("the old and the new key both must"), "{given:?}: {sentence}");
        }
    }
}

#[test]
fn a_handover_must_close_its_group() {
    let rotation = crate::signers::Rotation { old: key(1).verifier(), new: key(2).verifier() };
    let mut journal = begun();
    journal.group_by([rotation.draft(), plain()], &[&key(1), &key(2)]);
    journal.signer = key(2);
    journal.group([plain()]);
    let sentence = refused(&journal, &trusting(&[1, 2]));
    assert!(sentence.contains("a rotation must close its group"), "{sentence}");
}

#[test]
fn a_rotation_of_another_role_or_one_that_did_not_happen_changes_nothing() {
    let rotation = crate::signers::Rotation { old: key(1).verifier(), new: key(2).verifier() };
    let mut journal = begun();
    let mut failed = rotation.draft();
    failed.result = Outcome::Failure;
    journal.group([failed, rotation.draft().detail("role", "tls"), plain()]);
    assert_eq!(check(&journal, &trusting(&[1])).overall(), Overall::Verified);
}

#[test]
fn a_checkpoint_from_before_the_handover_still_binds_the_ledger() {
    let early = begun();
    let kept = |given: &[u8]| Trust { checkpoint: Some(early.note.clone()), ..trusting(given) };
    for given in [&[1][..], &[3], &[1, 3]] {
        let verdict = check(&handed_over(), &kept(given));
        assert_eq!(verdict.overall(), Overall::Verified, "{given:?}: {verdict:#?}");
        assert!(verdict.completeness.sentence.contains("The given checkpoint covers 3"));
    }
    // The holder of a retired key can sign what he likes, and is not believed about later sizes.
    let other = begun().chain.checkpoint(ORIGIN);
    let late = crate::Checkpoint { size: 7, ..other };
    let forged = Trust { checkpoint: Some(key(1).sign_checkpoint(&late).to_string()), ..trusting(&[1, 3]) };
    assert_eq!(check(&handed_over(), &forged).completeness.state, State::Fail);
}

#[test]
fn a_kept_state_from_before_the_handover_is_gone_on_from_and_one_from_behind_it_too() {
    for given in [&[1][..], &[3], &[1, 3]] {
        let before = begun();
        let (_, state) = check_since(&before, &trusting(&[1]), None);
        let state = Verified::parse(&state.unwrap().to_text()).unwrap();
        let (verdict, later) = check_since(&handed_over(), &trusting(given), Some(&state));
        assert_eq!(verdict.overall(), Overall::Verified, "{given:?}: {verdict:#?}");
        let mut grown = handed_over();
        grown.group([plain()]);
        let (verdict, _) = check_since(&grown, &trusting(&[3]), later.as_ref());
        assert_eq!(verdict.overall(), Overall::Verified, "{verdict:#?}");
        grown.group_by([plain()], &[&key(2)]);
        let (verdict, _) = check_since(&grown, &trusting(&[3]), later.as_ref());
        assert!(verdict.authenticity.sentence.contains("retired"), "{verdict:#?}");
    }
}

#[test]
fn a_given_key_that_the_ledger_does_not_name_is_mentioned() {
    let verdict = check(&begun(), &trusting(&[1, 2]));
    assert_eq!(verdict.overall(), Overall::Verified);
    assert!(verdict.key_trust.sentence.contains("not its present end"), "{}", verdict.key_trust.sentence);
}

#[test]
fn a_lent_key_signs_within_its_bounds_and_the_verdict_says_how_much() {
    let mut journal = lent();
    journal.group_by([plain()], &[&delegate()]).group_by([plain()], &[&delegate()]);
    let verdict = check(&journal, &trusting(&[1]));
    assert_eq!(verdict.overall(), Overall::Verified, "{verdict:#?}");
    let sentence = &verdict.authenticity.sentence;
    assert!(sentence.contains("signed 3 of 5 heads itself (60 %)"), "{sentence}");
    assert!(sentence.contains("the last 2 are delegated"), "{sentence}");
    let strict = Trust { own_key_only: true, ..trusting(&[1]) };
    assert!(refused(&journal, &strict).contains("only the ledger's own key was to be believed"));
    journal.group([plain()]);
    assert_eq!(check(&journal, &strict).overall(), Overall::Verified);
}

#[test]
fn a_head_file_by_the_own_key_over_all_records_ends_a_lent_stretch() {
    let mut journal = lent();
    journal.group_by([plain()], &[&delegate()]);
    journal.note = key(1).sign_checkpoint(&journal.chain.checkpoint(ORIGIN)).to_string();
    let strict = Trust { own_key_only: true, ..trusting(&[1]) };
    assert_eq!(check(&journal, &strict).overall(), Overall::Verified);
}

#[test]
fn a_lent_key_that_is_expired_overused_or_not_lent_by_the_own_key_is_refused() {
    let mut overused = lent();
    for _ in 0..4 {
        overused.group_by([plain()], &[&delegate()]);
    }
    assert!(refused(&overused, &trusting(&[1])).contains("one head more than the delegated key"));

    let mut expired = lent();
    expired.time += SignedDuration::from_secs(11);
    expired.group_by([plain()], &[&delegate()]);
    assert!(refused(&expired, &trusting(&[1])).contains("after its end at"));

    let mut strange = begun();
    let not_after = strange.time + SignedDuration::from_secs(10);
    let delegation = Delegation { key: delegate().verifier(), not_after, heads: 3 };
    strange.group_by([delegation.draft()], &[&delegate()]);
    assert!(refused(&strange, &trusting(&[1])).contains("the ledger's own key has not signed it"));

    let mut long = begun();
    let delegation = Delegation { not_after: long.time + SignedDuration::from_hours(25), ..delegation };
    long.group([delegation.draft()]);
    assert!(refused(&long, &trusting(&[1])).contains("24 hours or less"));
}

#[test]
fn an_own_head_that_a_declared_gap_explains_away_is_no_end_under_the_own_key() {
    use crate::epoch::{Cause, Resumed};
    // The genuine ledger: lent by record 3, and six more records, the last under the own key.
    let mut genuine = lent();
    genuine.group([plain(), plain()]).group([plain(), plain()]);
    let (own, size) = (genuine.note.clone(), genuine.chain.size());
    // Whoever holds only the lent key drops all behind the delegation, and writes as many others.
    let mut forged = lent();
    let first = forged.chain.size();
    forged.resume(&format!("{ORIGIN}#2"));
    forged.signer = delegate();
    let resumed = Resumed {
        epoch: 2,
        origin: format!("{ORIGIN}#2"),
        origin_before: ORIGIN.to_owned(),
        cause: Cause::EndMissing,
        first,
        at_least: size - first,
        lost_head: Some(own.clone()),
        set_aside: "set-aside/epoch-2".to_owned(),
        tokens_kept: true,
        key: None,
    };
    forged.group([resumed.draft(), plain(), plain(), plain()]);
    assert_eq!(forged.chain.size(), size);
    let trust = Trust { own_key_only: true, accept_epoch: declared(&forged), ..trusting(&[1]) };
    assert_eq!(check(&forged, &trust).overall(), Overall::Broken, "without a head of the own key");
    let trust = Trust { cosigned: Some(own), ..trust };
    let verdict = check(&forged, &trust);
    assert_eq!(verdict.authenticity.state, State::Fail, "{verdict:#?}");
}

#[test]
fn a_lent_key_whose_time_is_over_is_not_brought_back_by_a_clock_that_is_set_back() {
    let mut journal = lent();
    let before = journal.time;
    journal.time = before + SignedDuration::from_secs(3600);
    journal.group([plain()]);
    assert_eq!(check(&journal, &trusting(&[1])).overall(), Overall::Verified);
    let kept = journal.note.clone();
    journal.signer = delegate();
    journal.time = before;
    journal.group([Draft::new(Kind::ClockJumped, Outcome::Success), plain()]);
    let trust = Trust { checkpoint: Some(kept), ..trusting(&[1]) };
    refused(&journal, &trust);
}

#[test]
fn a_last_record_of_a_far_day_does_not_pass_for_a_young_one() {
    let mut journal = begun();
    let now = journal.time;
    journal.time = now + SignedDuration::from_hours(24 * 365);
    journal.group([plain()]);
    let max_age = Some(SignedDuration::from_hours(1));
    let trust = Trust { now: Some(now + SignedDuration::from_hours(24 * 30)), max_age, ..trusting(&[1]) };
    let verdict = check(&journal, &trust);
    assert_eq!(verdict.overall(), Overall::Broken, "{verdict:#?}");
}

#[test]
fn a_lent_key_declares_no_records_as_missing() {
    use crate::epoch::{Cause, Resumed};
    let mut journal = lent();
    let first = journal.chain.size();
    // A head over more than all, made up by the lent key, would explain every checkpoint away.
    let lost =
        Checkpoint { origin: ORIGIN.to_owned(), size: first + 1000, root: crate::Digest::leaf(b"made up") };
    let lost_head = Some(delegate().sign_checkpoint(&lost).to_string());
    let resumed = Resumed {
        epoch: 2,
        origin: format!("{ORIGIN}#2"),
        origin_before: ORIGIN.to_owned(),
        cause: Cause::EndMissing,
        first,
        at_least: 1000,
        lost_head,
        set_aside: "set-aside/epoch-2".to_owned(),
        tokens_kept: true,
        key: None,
    };
    journal.resume(&format!("{ORIGIN}#2"));
    let own = journal.signer.clone();
    let mut by_own = journal.clone();
    by_own.group_by([resumed.draft()], &[&own]);
    journal.group_by([resumed.draft()], &[&delegate()]);
    let trust = Trust { accept_epoch: declared(&by_own), ..trusting(&[1]) };
    assert_eq!(check(&by_own, &trust).overall(), Overall::Verified);
    let trust = Trust { accept_epoch: declared(&journal), ..trust };
    let sentence = refused(&journal, &trust);
    assert!(sentence.contains("begins a new epoch"), "{sentence}");
}

#[test]
fn the_end_of_a_delegation_is_read_in_one_spelling() {
    let mut journal = begun();
    let not_after = journal.time + SignedDuration::from_secs(10);
    let delegation = Delegation { key: delegate().verifier(), not_after, heads: 3 };
    let draft = delegation.draft().detail("not_after", not_after.to_string().replace('Z', "+00:00"));
    journal.group([draft]);
    refused(&journal, &trusting(&[1]));
}

/// What the last declaration in it would be accepted by.
fn declared(journal: &JournalBuilder) -> Option<String> {
    check(journal, &trusting(&[1])).ledger.epochs.last().and_then(crate::epoch::Epoch::declaration)
}

#[test]
fn an_accepted_epoch_is_the_declaration_that_was_judged_and_no_other_of_its_number() {
    use crate::epoch::{Cause, Resumed};
    let resumed = |kept: usize, set_aside: &str| {
        let mut journal = begun();
        for _ in 0..kept {
            journal.group([plain()]);
        }
        let origin = format!("{ORIGIN}#2");
        let resumed = Resumed {
            epoch: 2,
            origin: origin.clone(),
            origin_before: ORIGIN.to_owned(),
            cause: Cause::Restored,
            first: journal.chain.size(),
            at_least: 0,
            lost_head: None,
            set_aside: set_aside.to_owned(),
            tokens_kept: true,
            key: None,
        };
        journal.resume(&origin);
        journal.group([resumed.draft()]);
        journal
    };
    let journal = resumed(3, "set-aside/epoch-2");
    let judged = declared(&journal).unwrap();
    let accepting = |text: &str| Trust { accept_epoch: Some(text.to_owned()), ..trusting(&[1]) };
    assert_eq!(check(&journal, &accepting(&judged)).overall(), Overall::Verified);
    for other in [resumed(1, "set-aside/epoch-2"), resumed(3, "set-aside/other")] {
        assert_eq!(check(&other, &accepting(&judged)).completeness.state, State::Fail);
    }
    for text in ["2", "", "3", &judged[..judged.len() - 1], &judged.to_uppercase().replace('A', "B")] {
        let verdict = check(&journal, &accepting(text));
        assert_eq!(verdict.completeness.state, State::Fail, "{text}");
        assert!(verdict.completeness.sentence.contains(&format!("--accept-epoch {judged}")), "{verdict:#?}");
    }
}

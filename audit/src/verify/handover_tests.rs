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

//! Checking again: from where an earlier check ended, against an earlier copy, and from tiles.

#![expect(clippy::unwrap_used, reason = "a test that meets the unexpected fails")]

use std::path::Path;

use sallyport_audit::testing::{JournalBuilder, SoftwareSigner};
use sallyport_audit::{Draft, Kind, Outcome};

mod world;

use world::{Ledger, ORIGIN, assert_code, auditctl, err, out};

fn heartbeat() -> Draft {
    Draft::new(Kind::GatewayHeartbeat, Outcome::Success)
}

/// A ledger of another history under the same key and name.
fn other_history() -> JournalBuilder {
    let signer = SoftwareSigner::new(ORIGIN, [7; 32]);
    let mut journal = JournalBuilder::new(ORIGIN, signer.clone());
    journal.group([Draft::new(Kind::LedgerCreated, Outcome::Success)
        .detail("origin", ORIGIN)
        .detail("key", signer.verifier().to_string())
        .detail("format", 1)]);
    journal.group((0..20).map(|_| heartbeat()));
    journal
}

/// A ledger that was verified, with the state that this left behind.
fn verified() -> (Ledger, tempfile::TempDir, String) {
    let ledger = Ledger::new();
    let elsewhere = tempfile::tempdir().unwrap();
    let state = elsewhere.path().join("state").to_str().unwrap().to_owned();
    assert_code(&ledger.verify(&["--save-state", &state]), 0);
    (ledger, elsewhere, state)
}

#[test]
fn only_what_is_new_is_read_and_it_must_stand_on_what_was_verified() {
    for rotated in [false, true] {
        let (mut ledger, _elsewhere, state) = verified();
        let output = ledger.verify(&["--since", &state]);
        assert_code(&output, 0);
        assert!(out(&output).contains("Nothing was added"), "{}", out(&output));
        if rotated {
            ledger.journal.rotate();
        }
        ledger.journal.group([heartbeat(), heartbeat()]).group([heartbeat()]);
        ledger.write(&ledger.journal);
        // The old part is damaged: a check that goes on from the state does not look, and says so.
        let mut bytes = std::fs::read(ledger.segment()).unwrap();
        let at = bytes.windows(6).position(|window| window == b"sess-3").unwrap();
        bytes[at + 5] = b'4';
        std::fs::write(ledger.segment(), bytes).unwrap();
        assert_code(&ledger.verify(&[]), 1);
        let output = ledger.verify(&["--since", &state, "--save-state", &state]);
        assert_code(&output, 0);
        assert!(out(&output).contains("The 3 new records, from 8 on"), "{}", out(&output));
        assert!(out(&output).contains("were not read again"), "{}", out(&output));
        assert!(out(&output).contains("11 records under"), "{}", out(&output));
        let output = ledger.verify(&["--since", &state]);
        assert!(out(&output).contains("Nothing was added"), "the state went on: {}", out(&output));
    }
}

#[test]
fn a_ledger_rewritten_or_cut_off_since_the_last_check_does_not_pass() {
    let (ledger, _elsewhere, state) = verified();
    ledger.write(&other_history());
    assert_code(&ledger.verify(&[]), 0);
    assert_code(&ledger.verify(&["--since", &state]), 1);
    let mut shorter = other_history();
    shorter.segments.truncate(1);
    let signer = SoftwareSigner::new(ORIGIN, [7; 32]);
    let mut shorter = JournalBuilder::new(ORIGIN, signer);
    shorter.group([heartbeat()]);
    ledger.write(&shorter);
    let output = ledger.verify(&["--since", &state]);
    assert_code(&output, 1);
    assert!(out(&output).contains("8 records were there when they were verified"), "{}", out(&output));
    std::fs::remove_dir_all(ledger.path().join("journal")).unwrap();
    assert_code(&ledger.verify(&["--since", &state]), 1);
}

#[test]
fn a_new_record_that_was_changed_is_found_by_the_check_that_goes_on() {
    let (mut ledger, _elsewhere, state) = verified();
    ledger.journal.group([heartbeat().session("sess-9")]);
    ledger.write(&ledger.journal);
    let mut bytes = std::fs::read(ledger.segment()).unwrap();
    let at = bytes.windows(6).position(|window| window == b"sess-9").unwrap();
    bytes[at + 5] = b'8';
    std::fs::write(ledger.segment(), bytes).unwrap();
    let output = ledger.verify(&["--since", &state]);
    assert_code(&output, 1);
    assert!(out(&output).contains("First bad record: 8"), "{}", out(&output));
}

#[test]
fn a_state_of_another_ledger_key_or_form_is_not_gone_on_from() {
    let (ledger, elsewhere, state) = verified();
    let stranger = SoftwareSigner::new(ORIGIN, [9; 32]).verifier().to_string();
    assert_code(&ledger.run("verify", &["--key", &stranger, "--since", &state]), 1);
    let good = std::fs::read_to_string(&state).unwrap();
    let changed = elsewhere.path().join("changed");
    for (from, to) in [
        ("\"format\": 1", "\"format\": 2"),
        ("\"size\": 8", "\"size\": 7"),
        ("\"peaks\": [", "\"peaks\": [\"00\","),
        ("{", "["),
    ] {
        std::fs::write(&changed, good.replace(from, to)).unwrap();
        let output = ledger.verify(&["--since", changed.to_str().unwrap()]);
        assert_code(&output, 3);
        assert!(err(&output).contains("without --since"), "{from}: {}", err(&output));
    }
    let state: serde_json::Value = serde_json::from_str(&good).unwrap();
    for foreign in [
        good.replace(ORIGIN, "other.example.org/ledger"),
        good.replace(state["key"].as_str().unwrap(), &stranger),
    ] {
        std::fs::write(&changed, foreign).unwrap();
        let code = ledger.verify(&["--since", changed.to_str().unwrap()]).status.code();
        assert!(matches!(code, Some(1 | 3)), "{code:?}");
    }
    assert_code(&ledger.verify(&["--since", "/nowhere/at/all"]), 3);
}

#[test]
fn a_state_is_written_only_if_the_ledger_passed() {
    let ledger = Ledger::new();
    std::fs::remove_file(ledger.path().join("head")).unwrap();
    let state = ledger.path().join("state");
    assert_code(&ledger.verify(&["--save-state", state.to_str().unwrap()]), 3);
    assert!(!state.exists());
}

#[test]
fn a_ledger_must_contain_its_earlier_copy() {
    let mut ledger = Ledger::new();
    let copy = Ledger::new();
    let earlier = copy.path().to_str().unwrap().to_owned();
    ledger.journal.group([heartbeat()]);
    ledger.write(&ledger.journal);
    let output = ledger.verify(&["--earlier", &earlier]);
    assert_code(&output, 0);
    assert!(out(&output).contains("The head of the earlier copy covers 8 of 9 records"), "{}", out(&output));
    let output = copy.verify(&["--earlier", ledger.path().to_str().unwrap()]);
    assert_code(&output, 1);
    assert!(out(&output).contains("cut off"), "{}", out(&output));
    ledger.write(&other_history());
    assert_code(&ledger.verify(&[]), 0);
    assert_code(&ledger.verify(&["--earlier", &earlier]), 1);
    assert_code(&ledger.verify(&["--earlier", "/nowhere/at/all"]), 3);
}

fn tiles(ledger: &Ledger, folder: &Path) -> i32 {
    ledger.run("tiles", &[folder.to_str().unwrap()]).status.code().unwrap()
}

#[test]
fn tiles_verify_like_the_ledger_they_are_made_of_and_grow_with_it() {
    let mut ledger = Ledger::new();
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..3 {
        assert_eq!(tiles(&ledger, folder.path()), 0);
        let folder = folder.path().to_str().unwrap();
        let output = auditctl(&["verify", folder, "--key", &ledger.key()]);
        assert_code(&output, 0);
        let stranger = SoftwareSigner::new(ORIGIN, [9; 32]).verifier().to_string();
        assert_code(&auditctl(&["verify", folder, "--key", &stranger]), 1);
        assert_code(&ledger.verify(&["--earlier", folder]), 0);
        ledger.journal.group((0..300).map(|_| heartbeat()));
        ledger.write(&ledger.journal);
    }
    assert!(folder.path().join("tile/0/001").is_file() && folder.path().join("tile/1/000.p/2").is_file());
}

#[test]
fn a_byte_changed_in_any_file_of_a_tile_tree_is_found() {
    let mut ledger = Ledger::new();
    ledger.journal.group((0..300).map(|_| heartbeat()));
    ledger.write(&ledger.journal);
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(tiles(&ledger, folder.path()), 0);
    for name in [
        "checkpoint",
        "tile/entries/000",
        "tile/entries/001.p/52",
        "tile/0/000",
        "tile/0/001.p/52",
        "tile/1/000.p/1",
    ] {
        let path = folder.path().join(name);
        let good = std::fs::read(&path).unwrap();
        let mut bad = good.clone();
        let at = bad.len() / 2;
        bad[at] ^= 1;
        std::fs::write(&path, &bad).unwrap();
        let verify = || auditctl(&["verify", folder.path().to_str().unwrap(), "--key", &ledger.key()]);
        let output = verify();
        assert!(matches!(output.status.code(), Some(1 | 3)), "{name}: {}{}", out(&output), err(&output));
        if name != "checkpoint" {
            assert_code(&output, 1);
            std::fs::remove_file(&path).unwrap();
            assert_code(&verify(), 1);
        }
        std::fs::write(&path, good).unwrap();
    }
}

#[test]
fn tiles_of_another_history_are_not_mixed() {
    let ledger = Ledger::new();
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(tiles(&ledger, folder.path()), 0);
    let mut other = other_history();
    other.group((0..300).map(|_| heartbeat()));
    ledger.write(&other);
    assert_eq!(tiles(&ledger, folder.path()), 0, "nothing full is in common yet");
    ledger.write(&other_history());
    assert_eq!(tiles(&ledger, folder.path()), 2, "an earlier state never replaces a later one");
}

#[test]
fn a_ledger_must_contain_the_lent_end_of_its_earlier_copy_too() {
    let (ledger, mut copy) = (Ledger::new(), Ledger::new());
    let lent = SoftwareSigner::new(&format!("{ORIGIN}/delegate"), [90; 32]);
    let not_after = copy.journal.time + jiff::SignedDuration::from_hours(1);
    let delegation = sallyport_audit::signers::Delegation { key: lent.verifier(), not_after, heads: 5 };
    copy.journal.group([delegation.draft()]);
    ledger.write(&copy.journal);
    copy.journal.signer = lent;
    copy.journal.group([heartbeat()]).group([heartbeat()]);
    copy.write(&copy.journal);
    // The ledger was rolled back to the last head of its own key.
    let output = ledger.verify(&["--earlier", copy.path().to_str().unwrap()]);
    assert_code(&output, 1);
    assert!(out(&output).contains("cut off"), "{}", out(&output));
}

//! Heads that others have seen.

#![expect(clippy::unwrap_used, reason = "a test that meets the unexpected fails")]

use sallyport_audit::testing::SoftwareCosigner;
use sallyport_audit::{Checkpoint, Cosigner as _};

mod world;

use world::{Ledger, ORIGIN, assert_code, auditctl, err, out};

/// A ledger with its last head cosigned beside it, and the cosigner's key.
fn cosigned() -> (Ledger, String) {
    let ledger = Ledger::new();
    let mut cosigner = SoftwareCosigner::new(ORIGIN, [5; 32]);
    let key = cosigner.verifier();
    let (checkpoint, mut note) = Checkpoint::from_note(&ledger.journal.note).unwrap();
    let signature = cosigner.sign(&key.message(&checkpoint, 1_700_000_000)).unwrap();
    note.add(key.line(1_700_000_000, &signature));
    std::fs::write(ledger.path().join("cosigned"), note.to_string()).unwrap();
    (ledger, key.to_string())
}

#[test]
fn a_post_quantum_cosignature_is_demanded_and_found() {
    let (ledger, key) = cosigned();
    let output = ledger.verify(&["--cosigner", &key]);
    assert_code(&output, 0);
    assert!(out(&output).contains("1 of 1 given cosigners signed a head of this ledger"), "{}", out(&output));
    let stranger = SoftwareCosigner::new(ORIGIN, [6; 32]).verifier().to_string();
    let output = ledger.verify(&["--cosigner", &key, "--cosigner", &stranger]);
    assert_code(&output, 1);
    assert!(out(&output).contains("2 are needed"), "{}", out(&output));
    assert_code(&ledger.verify(&["--cosigner", &key, "--cosigner", &stranger, "--quorum", "1"]), 0);
    let file = ledger.path().join("cosigned");
    let note = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, note.replacen("\n8\n", "\n7\n", 1)).unwrap();
    assert_code(&ledger.verify(&["--cosigner", &key]), 1);
    std::fs::remove_file(&file).unwrap();
    assert_code(&ledger.verify(&["--cosigner", &key]), 1);
}

#[test]
fn one_cosigner_given_twice_is_no_quorum_of_two() {
    let (ledger, key) = cosigned();
    let output = ledger.verify(&["--cosigner", &key, "--cosigner", &key, "--quorum", "2"]);
    assert_code(&output, 2);
    assert!(err(&output).contains("cannot be reached by 1"), "{}", err(&output));
    assert_code(&ledger.verify(&["--cosigner", &ledger.key()]), 2);
}

#[test]
fn a_proof_under_a_cosigned_head_shows_both() {
    let (ledger, key) = cosigned();
    let folder = tempfile::tempdir().unwrap();
    let proof = |name: &str, rest: &[&str]| {
        let file = folder.path().join(name).to_str().unwrap().to_owned();
        assert_code(&ledger.run("prove", &[&["3", "--out", &file], rest].concat()), 0);
        auditctl(&["check-proof", &file, "--key", &ledger.key(), "--cosigner", &key])
    };
    assert_code(&proof("plain", &[]), 1);
    let cosigned = ledger.path().join("cosigned");
    assert_code(&proof("cosigned", &["--checkpoint", cosigned.to_str().unwrap()]), 0);
}

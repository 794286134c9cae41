//! A ledger that was handed over to another key: what was made before stays good, what is made now is good, too.

#![expect(clippy::unwrap_used, reason = "a test that meets the unexpected fails")]

use sallyport_audit::testing::{JournalBuilder, SoftwareSigner};
use sallyport_audit::{Draft, Kind, Outcome};

mod world;

use world::{Ledger, ORIGIN, assert_code, auditctl, err, out};

fn successor() -> SoftwareSigner {
    SoftwareSigner::new(ORIGIN, [8; 32])
}

/// The sample, its old key, and what becomes of it when it is handed over.
struct Handover {
    ledger: Ledger,
    old: String,
    new: String,
    elsewhere: tempfile::TempDir,
}

impl Handover {
    fn new() -> Self {
        let ledger = Ledger::new();
        let (old, new) = (ledger.key(), successor().verifier().to_string());
        Self { ledger, old, new, elsewhere: tempfile::tempdir().unwrap() }
    }

    fn happens(&mut self) {
        self.ledger.journal.hand_over(successor());
        let retired = Draft::new(Kind::KeyRetired, Outcome::Success).object("key:ledger");
        self.ledger.journal.group([retired]).rotate();
        self.ledger.journal.group([Draft::new(Kind::GatewayStopped, Outcome::Success)]);
        self.ledger.write(&self.ledger.journal);
    }

    fn file(&self, name: &str) -> String {
        self.elsewhere.path().join(name).to_str().unwrap().to_owned()
    }

    /// Runs it with the old, the new and both keys, and expects these codes.
    #[track_caller]
    fn with_keys(&self, arguments: &[&str], codes: [i32; 3]) {
        let (old, new) = (self.old.as_str(), self.new.as_str());
        let keys: [&[&str]; 3] = [&["--key", old], &["--key", new], &["--key", old, "--key", new]];
        for (keys, code) in keys.into_iter().zip(codes) {
            assert_code(&auditctl(&[arguments, keys].concat()), code);
        }
    }
}

#[test]
fn verify_passes_with_the_old_key_with_the_new_one_and_with_both_and_with_neither_it_does_not() {
    let mut handover = Handover::new();
    handover.happens();
    let path = handover.ledger.path().to_str().unwrap();
    handover.with_keys(&["verify", path], [0, 0, 0]);
    let stranger = SoftwareSigner::new(ORIGIN, [9; 32]).verifier().to_string();
    assert_code(&auditctl(&["verify", path, "--key", &stranger]), 1);
    let said = out(&auditctl(&["verify", path, "--key", &handover.old]));
    assert!(said.contains("was handed over to gateway.example.org/ledger+"), "{said}");
    assert!(said.contains("by record 8"), "{said}");
}

#[test]
fn proofs_and_exports_from_before_the_handover_stay_good_and_later_ones_are_good_with_the_new_key() {
    let mut handover = Handover::new();
    let (proof, export) = (handover.file("before.tlog-proof"), handover.file("before.jsonl"));
    assert_code(&handover.ledger.run("prove", &["3", "--out", &proof]), 0);
    assert_code(&handover.ledger.run("export", &["--out", &export]), 0);
    handover.happens();
    handover.with_keys(&["check-proof", &proof], [0, 1, 0]);
    handover.with_keys(&["verify-export", &export], [0, 1, 0]);

    let (proof, export) = (handover.file("after.tlog-proof"), handover.file("after.jsonl"));
    assert_code(&handover.ledger.run("prove", &["3", "--out", &proof]), 0);
    assert_code(&handover.ledger.run("export", &["--out", &export]), 0);
    handover.with_keys(&["check-proof", &proof], [1, 0, 0]);
    handover.with_keys(&["verify-export", &export], [1, 0, 0]);
}

#[test]
fn tiles_are_checked_with_the_key_that_signed_them_whichever_record_0_names() {
    let mut handover = Handover::new();
    handover.happens();
    let tiles = handover.file("tiles");
    assert_code(&handover.ledger.run("tiles", &[&tiles]), 0);
    // Nothing in tiles shows that the old key agreed: there is one head, by the new one.
    handover.with_keys(&["verify", &tiles], [1, 0, 0]);
}

#[test]
fn a_check_goes_on_over_the_handover_with_the_old_key_and_with_the_new_one() {
    let mut handover = Handover::new();
    let (state, later) = (handover.file("state"), handover.file("later"));
    assert_code(&handover.ledger.verify(&["--save-state", &state]), 0);
    handover.happens();
    let path = handover.ledger.path().to_str().unwrap().to_owned();
    handover.with_keys(&["verify", &path, "--since", &state, "--save-state", &later], [0, 0, 0]);
    handover.ledger.journal.group([Draft::new(Kind::GatewayStarted, Outcome::Success)]);
    handover.ledger.write(&handover.ledger.journal);
    handover.with_keys(&["verify", &path, "--since", &later], [0, 0, 0]);
}

#[test]
fn a_checkpoint_kept_from_before_the_handover_finds_a_ledger_that_was_written_anew() {
    let mut handover = Handover::new();
    let kept = handover.file("checkpoint");
    std::fs::write(&kept, &handover.ledger.journal.note).unwrap();
    handover.happens();
    let path = handover.ledger.path().to_str().unwrap().to_owned();
    handover.with_keys(&["verify", &path, "--checkpoint", &kept], [0, 0, 0]);
    // The owner of both keys tells another story.
    let mut journal = JournalBuilder::new(ORIGIN, handover_signer());
    journal.group([Draft::new(Kind::LedgerCreated, Outcome::Success)
        .detail("origin", ORIGIN)
        .detail("key", handover.old.as_str())
        .detail("format", 1)]);
    journal.group((0..8).map(|_| Draft::new(Kind::GatewayHeartbeat, Outcome::Success)));
    journal.hand_over(successor());
    handover.ledger.write(&journal);
    handover.with_keys(&["verify", &path], [0, 0, 0]);
    handover.with_keys(&["verify", &path, "--checkpoint", &kept], [1, 1, 1]);
}

fn handover_signer() -> SoftwareSigner {
    SoftwareSigner::new(ORIGIN, [7; 32])
}

#[test]
fn an_end_that_only_a_lent_key_signed_passes_unless_the_own_key_is_demanded_and_proofs_end_before_it() {
    let mut handover = Handover::new();
    let lent = SoftwareSigner::new(&format!("{ORIGIN}/delegate"), [90; 32]);
    let not_after = handover.ledger.journal.time + jiff::SignedDuration::from_secs(10);
    let delegation = sallyport_audit::signers::Delegation { key: lent.verifier(), not_after, heads: 5 };
    let journal = &mut handover.ledger.journal;
    journal.group([delegation.draft()]);
    journal.group_by([Draft::new(Kind::GatewayStopped, Outcome::Success)], &[&lent]);
    handover.ledger.write(&handover.ledger.journal);
    let output = handover.ledger.verify(&[]);
    assert_code(&output, 0);
    assert!(out(&output).contains("signed 4 of 5 heads itself (80 %)"), "{}", out(&output));
    assert_code(&handover.ledger.verify(&["--own-key-only"]), 1);
    let proof = handover.file("proof");
    assert_code(&handover.ledger.run("prove", &["8", "--out", &proof]), 0);
    assert_code(&auditctl(&["check-proof", &proof, "--key", &handover.old]), 0);
    let output = handover.ledger.run("prove", &["9", "--out", &proof]);
    assert!(!output.status.success(), "{}", err(&output));
}

#[test]
fn a_witness_follows_a_handover_that_both_keys_signed_and_no_other() {
    let mut handover = Handover::new();
    handover.happens();
    let proof = |name: &str, rest: &[&str]| {
        let file = handover.file(name);
        assert_code(&handover.ledger.run("prove", &[rest, &["--out", &file]].concat()), 0);
        file
    };
    // The sample has eight records before the one that hands over.
    let good = proof("good", &["8", "--closing"]);
    let followed = auditctl(&["witness", "follow", &good, "--key", &handover.old]);
    assert_code(&followed, 0);
    assert_eq!(out(&followed).trim(), handover.new);
    // The new key alone knows nothing of the old one; a stranger's knows neither.
    assert_code(&auditctl(&["witness", "follow", &good, "--key", &handover.new]), 1);
    let stranger = SoftwareSigner::new(ORIGIN, [9; 32]).verifier().to_string();
    assert_code(&auditctl(&["witness", "follow", &good, "--key", &stranger]), 1);
    // Under a later head the old key says nothing any more, and another record hands nothing over.
    let later = proof("later", &["8"]);
    let refused = auditctl(&["witness", "follow", &later, "--key", &handover.old, "--key", &handover.new]);
    assert_code(&refused, 1);
    assert!(err(&refused).contains("closes the handover"), "{}", err(&refused));
    let other = proof("other", &["3", "--closing"]);
    let refused = auditctl(&["witness", "follow", &other, "--key", &handover.old]);
    assert_code(&refused, 1);
    assert!(err(&refused).contains("does not hand the ledger over"), "{}", err(&refused));
    // The head without the new key's line: half signed.
    let text = std::fs::read_to_string(&good).unwrap();
    let (_, new_line) = text.trim_end().rsplit_once('\n').unwrap();
    let half = handover.file("half");
    std::fs::write(&half, text.replace(&format!("{new_line}\n"), "")).unwrap();
    let refused = auditctl(&["witness", "follow", &half, "--key", &handover.old]);
    assert_code(&refused, 1);
    assert!(err(&refused).contains("both keys"), "{}", err(&refused));
}

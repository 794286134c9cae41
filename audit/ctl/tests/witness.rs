//! A witness that works by files.

#![expect(clippy::unwrap_used, reason = "a test that meets the unexpected fails")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Output;

use sallyport_audit::testing::{JournalBuilder, SoftwareSigner};
use sallyport_audit::{Draft, Kind, Outcome};

mod world;

use world::{Ledger, ORIGIN, assert_code, auditctl, err, out};

/// A ledger and a witness who watches it.
struct Watched {
    ledger: Ledger,
    folder: tempfile::TempDir,
    keys: PathBuf,
}

impl Watched {
    fn new() -> Self {
        let (ledger, folder) = (Ledger::new(), tempfile::tempdir().unwrap());
        let witness = folder.path().join("witness");
        let output =
            auditctl(&["witness", "init", witness.to_str().unwrap(), "--name", "witness.example.net/w1"]);
        assert_code(&output, 0);
        let keys = folder.path().join("witness.vkeys");
        std::fs::write(&keys, &output.stdout).unwrap();
        Self { ledger, folder, keys }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn grow(&mut self, records: u64) {
        self.ledger.journal.group((0..records).map(|_| Draft::new(Kind::GatewayHeartbeat, Outcome::Success)));
        self.ledger.write(&self.ledger.journal);
    }

    fn cosign_by(&self, key: &str, old: u64) -> Output {
        let (witness, request, cosigned) =
            (self.path("witness"), self.path("request"), self.path("cosigned"));
        let ledger = self.ledger.path().to_str().unwrap();
        let made = auditctl(&["witness", "request", ledger, "--old", &old.to_string(), "--out", &request]);
        assert_code(&made, 0);
        auditctl(&["witness", "cosign", &witness, &request, "--key", key, "--out", &cosigned])
    }

    fn cosign(&self, old: u64) -> Output {
        self.cosign_by(&self.ledger.key(), old)
    }
}

#[test]
fn a_ledger_that_grows_is_cosigned_each_time_and_verifies_with_the_witness_as_quorum() {
    let mut watched = Watched::new();
    let mut old = 0;
    for size in [8, 9, 13] {
        assert_code(&watched.cosign(old), 0);
        let (checkpoint, keys) = (watched.path("cosigned"), watched.keys.to_str().unwrap().to_owned());
        let output = watched.ledger.verify(&["--checkpoint", &checkpoint, "--cosigner-file", &keys]);
        assert_code(&output, 0);
        assert!(out(&output).contains("2 of 2 given cosigners"), "{}", out(&output));
        old = size;
        assert!(!out(&output).contains("not the last one"), "{}", out(&output));
        watched.grow(if size == 8 { 1 } else { 4 });
        // What came after the cosigned head was seen by nobody, however old that head is.
        let output = watched.ledger.verify(&["--checkpoint", &checkpoint, "--cosigner-file", &keys]);
        assert_code(&output, 0);
        assert!(out(&output).contains("not the last one"), "{}", out(&output));
    }
}

#[test]
fn a_second_history_is_never_cosigned_however_it_is_asked_for() {
    let watched = Watched::new();
    assert_code(&watched.cosign(0), 0);
    let mut other = JournalBuilder::new(ORIGIN, SoftwareSigner::new(ORIGIN, [7; 32]));
    other.group((0..20).map(|_| Draft::new(Kind::GatewayHeartbeat, Outcome::Success)));
    watched.ledger.write(&other);
    assert_code(&watched.cosign(8), 1);
    let output = watched.cosign(0);
    assert_code(&output, 3);
    assert!(err(&output).contains("covers 8 records"), "{}", err(&output));
}

#[test]
fn a_stranger_and_an_unwatched_ledger_are_refused_and_leave_no_trace() {
    let watched = Watched::new();
    for key in [
        SoftwareSigner::new(ORIGIN, [9; 32]).verifier().to_string(),
        SoftwareSigner::new("other.example.org/ledger", [7; 32]).verifier().to_string(),
    ] {
        assert_code(&watched.cosign_by(&key, 0), 1);
    }
    let remembered = std::fs::read_dir(watched.folder.path().join("witness/cosigned")).unwrap().count();
    assert_eq!(remembered, 0);
    assert!(!std::fs::exists(watched.path("cosigned")).unwrap());
}

#[test]
fn a_witness_that_cannot_read_what_it_remembers_cosigns_nothing() {
    let watched = Watched::new();
    assert_code(&watched.cosign(0), 0);
    let folder = watched.folder.path().join("witness/cosigned");
    let file = std::fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
    let good = std::fs::read_to_string(&file).unwrap();
    for bad in [String::new(), good.replacen("\n8\n", "\n7\n", 1), watched.ledger.journal.note.clone()] {
        std::fs::write(&file, bad).unwrap();
        let output = watched.cosign(8);
        assert_code(&output, 3);
        assert!(err(&output).contains("do not delete it"), "{}", err(&output));
    }
}

#[test]
fn the_witness_s_key_is_for_its_owner_alone_and_is_never_replaced() {
    let watched = Watched::new();
    let key = watched.folder.path().join("witness/key");
    assert_eq!(key.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let witness = watched.path("witness");
    let again = auditctl(&["witness", "init", &witness, "--name", "witness.example.net/w1"]);
    assert_code(&again, 3);
    let keys = auditctl(&["witness", "keys", &witness]);
    assert_eq!(keys.stdout, std::fs::read(&watched.keys).unwrap());
    assert_code(&auditctl(&["witness", "init", &watched.path("w2"), "--name", "a b"]), 2);
}

#[test]
fn lines_that_a_stranger_adds_to_a_head_do_not_make_the_witness_forget() {
    let mut watched = Watched::new();
    let (witness, request, cosigned) =
        (watched.path("witness"), watched.path("request"), watched.path("cosigned"));
    let ledger = watched.ledger.path().to_str().unwrap().to_owned();
    assert_code(&auditctl(&["witness", "request", &ledger, "--out", &request]), 0);
    let text = std::fs::read_to_string(&request).unwrap();
    std::fs::write(&request, text + &"\u{2014} stranger AAAAAAAA\n".repeat(62)).unwrap();
    let key = watched.ledger.key();
    assert_code(&auditctl(&["witness", "cosign", &witness, &request, "--key", &key, "--out", &cosigned]), 0);
    watched.grow(3);
    assert_code(&watched.cosign(8), 0);
}

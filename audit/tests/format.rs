//! `docs/ledger-format.md` says what the code does: every example in it is made here again.
#![cfg(feature = "testing")]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that meets the unexpected fails")]

use std::collections::BTreeMap;
use std::fmt::Write as _;

use sallyport_audit::commitment::{Salt, commit};
use sallyport_audit::journal::{Frame, Group};
use sallyport_audit::testing::{JournalBuilder, SoftwareSigner};
use sallyport_audit::{Digest, Draft, Kind, Outcome, Personal};

const ORIGIN: &str = "gateway.example.org/ledger";

/// The example ledger's values, by the name of their place.
fn examples() -> BTreeMap<&'static str, String> {
    let signer = SoftwareSigner::new(ORIGIN, [7; 32]);
    let mut journal = JournalBuilder::new(ORIGIN, signer.clone());
    journal.group([
        Draft::new(Kind::LedgerCreated, Outcome::Success)
            .detail("origin", ORIGIN)
            .detail("key", signer.verifier().to_string())
            .detail("format", 1),
        Draft::new(Kind::SessionOpened, Outcome::Success)
            .subject("user:alice")
            .action("connect")
            .object("tunnel:demo")
            .session("sess-1"),
    ]);
    let bytes = &journal.segments[0].1;
    let header = Frame::read(bytes, 0).unwrap().unwrap().bytes.len();
    let group = Group::parse(Frame::read(bytes, header).unwrap().unwrap().bytes).unwrap();
    let records: Vec<_> = group.records().map(|(_, record, _)| record.to_vec()).collect();
    let seed = Digest::of(&[&1_u64.to_be_bytes()]);
    let salt = Salt::derive(seed.as_bytes(), Personal::Subject);
    let commitment = commit(Personal::Subject, &salt, "user:alice");
    let mut kinds = String::new();
    for kind in Kind::ALL {
        writeln!(kinds, "| `{kind}` | {} |", kind.meaning().trim()).unwrap();
    }
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    BTreeMap::from([
        ("RECORD0", text(&records[0])),
        ("RECORD1", text(&records[1])),
        ("KEY", signer.verifier().to_string()),
        ("SEED", seed.to_string()),
        ("SALT", Digest::from_bytes(*salt.expose_to_auditor()).to_string()),
        ("COMMITMENT", commitment.to_string()),
        ("LEAF0", Digest::leaf(&records[0]).to_string()),
        ("LEAF1", Digest::leaf(&records[1]).to_string()),
        ("ROOT", journal.chain.frontier().root().to_string()),
        ("NOTE", journal.note.trim_end().to_owned()),
        ("KINDS", kinds.trim_end().to_owned()),
    ])
}

#[test]
fn every_example_of_the_specification_is_what_the_code_makes() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/ledger-format.md");
    let document = std::fs::read_to_string(path).unwrap();
    for (name, value) in examples() {
        assert!(document.contains(&value), "{name} must stand in docs/ledger-format.md as\n{value}");
    }
    let commitment = &examples()["COMMITMENT"];
    assert!(examples()["RECORD1"].contains(commitment), "the example's commitment is the one in its record");
    let rows = document.lines().filter(|line| line.starts_with("| `") && line.contains('.')).count();
    assert!(rows >= Kind::ALL.len());
}

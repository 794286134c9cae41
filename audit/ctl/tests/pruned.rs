//! A ledger whose beginning was pruned, read and checked by the auditor's program.

#![expect(clippy::unwrap_used, reason = "a test that meets the unexpected fails")]
use std::path::{Path, PathBuf};

use sallyport_audit::prefix::{Piece, PrefixWriter};
use sallyport_audit::testing::{JournalBuilder, SoftwareSigner};
use sallyport_audit::{Draft, Kind, Outcome, Seq};
use serde_json::Value;

mod world;

use world::{Ledger, ORIGIN, assert_code, auditctl, err, out};

/// How many records are before the end of the pruned beginning.
const SIZE: u64 = 700;

struct Pruned {
    ledger: Ledger,
    /// The segments as they were.
    archive: tempfile::TempDir,
    /// The head before pruning, over all that then was.
    earlier: String,
}

impl Pruned {
    /// A thousand records, of which every tenth of the first seven hundred was kept.
    fn new() -> Self {
        let signer = SoftwareSigner::new(ORIGIN, [7; 32]);
        let mut journal = JournalBuilder::new(ORIGIN, signer.clone());
        let visit =
            |n: u64| Draft::new(Kind::HttpRequest, Outcome::Success).subject("user:alice").detail("n", n);
        journal.group([Draft::new(Kind::LedgerCreated, Outcome::Success)
            .detail("origin", ORIGIN)
            .detail("key", signer.verifier().to_string())
            .detail("format", 1)]);
        journal.group((1..300).map(visit)).rotate();
        journal.group((300..SIZE).map(visit));
        let archive = tempfile::tempdir().unwrap();
        for (name, bytes) in &journal.segments {
            std::fs::write(archive.path().join(name), bytes).unwrap();
        }
        let mut writer = PrefixWriter::new(&journal.note, SIZE, Seq::new(SIZE));
        for (bytes, seq) in journal.records().iter().zip(0..) {
            writer.push(Piece::Record { seq: Seq::new(seq), bytes, sealed: b"sealed" }, seq % 10 == 0);
        }
        let written = writer.finish();
        let root = journal.chain.frontier().root();
        journal.rotate();
        journal.group((SIZE..800).map(visit));
        let earlier = journal.note.clone();
        journal.group([Draft::new(Kind::RetentionPruned, Outcome::Success)
            .detail("size", SIZE)
            .detail("root", root.to_string())
            .detail("digest", written.digest.to_string())]);
        journal.group((801..1000).map(visit));
        let behind = journal.segments.split_off(2);
        journal.segments = behind;
        let ledger = Ledger { directory: tempfile::tempdir().unwrap(), journal };
        ledger.write(&ledger.journal);
        std::fs::write(ledger.path().join("journal/pruned"), written.bytes).unwrap();
        Self { ledger, archive, earlier }
    }

    fn archive(&self) -> &str {
        self.archive.path().to_str().unwrap()
    }

    fn first_archived(&self) -> PathBuf {
        self.archive.path().join("00000000000000000000.seg")
    }
}

#[test]
fn the_verdict_says_what_was_pruned_and_by_which_record() {
    let pruned = Pruned::new();
    let output = pruned.ledger.verify(&[]);
    assert_code(&output, 0);
    let text = out(&output);
    assert!(text.contains("630 were pruned and 70 were kept, as record 800 declares"), "{text}");
    assert!(text.contains("what the pruned records said"), "{text}");
    let json: Value = serde_json::from_slice(&pruned.ledger.verify(&["--json"]).stdout).unwrap();
    assert_eq!(
        (json["ledger"]["records"].as_u64(), json["ledger"]["pruned"].as_u64()),
        (Some(1000), Some(630))
    );
    // A head from before pruning is one that the ledger still contains.
    let file = pruned.archive.path().join("earlier.txt");
    std::fs::write(&file, &pruned.earlier).unwrap();
    assert_code(&pruned.ledger.verify(&["--checkpoint", file.to_str().unwrap()]), 0);
}

#[test]
fn with_the_archive_every_payload_is_read_and_a_changed_archive_is_found() {
    let pruned = Pruned::new();
    let output = pruned.ledger.verify(&["--archive", pruned.archive()]);
    assert_code(&output, 0);
    assert!(out(&output).contains("All 1000 records are in canonical form"), "{}", out(&output));
    assert!(!out(&output).contains("what the pruned records said"));
    let mut bytes = std::fs::read(pruned.first_archived()).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(pruned.first_archived(), bytes).unwrap();
    assert_code(&pruned.ledger.verify(&["--archive", pruned.archive()]), 1);
    std::fs::remove_file(pruned.first_archived()).unwrap();
    assert_code(&pruned.ledger.verify(&["--archive", pruned.archive()]), 1);
    assert_code(&pruned.ledger.verify(&["--archive", "/nowhere/at/all"]), 3);
}

#[test]
fn a_beginning_that_is_away_or_was_changed_is_broken() {
    let pruned = Pruned::new();
    let path = pruned.ledger.path().join("journal/pruned");
    let whole = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, whole.replacen("\"n\":10}", "\"n\":11}", 1)).unwrap();
    assert_code(&pruned.ledger.verify(&[]), 1);
    std::fs::remove_file(&path).unwrap();
    assert_code(&pruned.ledger.verify(&[]), 1);
}

#[test]
fn what_is_there_is_proved_and_what_went_is_named() {
    let pruned = Pruned::new();
    let file = pruned.archive.path().join("proof");
    let file = file.to_str().unwrap();
    for seq in ["0", "10", "690", "700", "999"] {
        assert_code(&pruned.ledger.run("prove", &[seq, "--out", file]), 0);
        assert_code(&auditctl(&["check-proof", file, "--key", &pruned.ledger.key()]), 0);
    }
    for command in [["prove", "11", "--out", file].as_slice(), ["show", "11"].as_slice()] {
        let output = pruned.ledger.run(command[0], &command[1..]);
        assert_code(&output, 3);
        assert!(
            err(&output).contains("record 11 was pruned") && err(&output).contains("archive"),
            "{}",
            err(&output)
        );
    }
    assert_code(&pruned.ledger.run("show", &["20"]), 0);
    let listed = out(&pruned.ledger.run("log", &["--to", "49", "--json"]));
    assert_eq!(listed.lines().count(), 5);
    assert!(out(&pruned.ledger.run("stats", &[])).contains("370 records"));
}

#[test]
fn an_export_of_it_verifies_if_it_shows_who_declared_the_pruning() {
    let pruned = Pruned::new();
    let file = pruned.archive.path().join("export");
    let file = file.to_str().unwrap();
    let check = || auditctl(&["verify-export", file, "--key", &pruned.ledger.key()]);
    assert_code(&pruned.ledger.run("export", &["--out", file]), 0);
    assert_code(&check(), 0);
    assert!(out(&check()).contains("that were pruned"), "{}", out(&check()));
    // As far as the record that declares it, no further: nothing then says why records are missing.
    assert_code(&pruned.ledger.run("export", &["--to", "100", "--out", file]), 0);
    assert_code(&check(), 1);
    assert!(err(&check()).contains("says that it was pruned"), "{}", err(&check()));
    assert_code(&pruned.ledger.run("export", &["--kind", "http", "--to", "100", "--out", file]), 0);
    assert_code(&check(), 0);
}

#[test]
fn no_pack_is_made_of_a_period_whose_beginning_the_pruning_took_and_the_report_says_so() {
    let pruned = Pruned::new();
    let (ledger, place) = (&pruned.ledger, tempfile::tempdir().unwrap());
    let (path, key) = (ledger.path().to_str().unwrap(), ledger.key());
    let pack = place.path().join("pack").to_str().unwrap().to_owned();
    // Record 700 is of this period, record 699 may have been, and record 690 was not.
    let first = "2026-01-01T00:00:00.695Z";
    let report = |from: &str, rest: &[&str]| {
        let words = ["report", "soc2", path, "--key", &key, "--from", from, "--to", "2026-01-31"];
        auditctl(&[&words[..], rest].concat())
    };
    let refused = report(first, &["--out", &pack]);
    assert_code(&refused, 3);
    assert!(
        err(&refused).contains("record 699, the one before the first of the period, was pruned"),
        "{}",
        err(&refused)
    );
    assert!(!Path::new(&pack).exists());
    let json: Value = serde_json::from_slice(&report("2025-12-01", &["--json"]).stdout).unwrap();
    assert_eq!(json["silences"][0]["cause"], "before_first", "record 0 was kept");
    assert_code(&report("2026-01-01T00:00:00.701Z", &["--out", &pack]), 0);
    assert_code(&auditctl(&["verify-pack", &pack, "--key", &key]), 0);
}

#[test]
fn an_earlier_check_is_gone_on_from_over_a_pruning() {
    let pruned = Pruned::new();
    let state = pruned.archive.path().join("state");
    let state = state.to_str().unwrap();
    assert_code(&pruned.ledger.verify(&["--save-state", state]), 0);
    assert_code(&pruned.ledger.verify(&["--since", state]), 0);
    // One that had not come as far as the pruning has nothing to go on from, and is told so.
    let old = Ledger { directory: tempfile::tempdir().unwrap(), journal: short() };
    old.write(&old.journal);
    assert_code(&old.verify(&["--save-state", state]), 0);
    let output = pruned.ledger.verify(&["--since", state]);
    assert_code(&output, 3);
    assert!(out(&output).contains("were pruned since"), "{}", out(&output));
}

/// The first three hundred records of the same ledger.
fn short() -> JournalBuilder {
    let signer = SoftwareSigner::new(ORIGIN, [7; 32]);
    let mut journal = JournalBuilder::new(ORIGIN, signer.clone());
    let visit = |n: u64| Draft::new(Kind::HttpRequest, Outcome::Success).subject("user:alice").detail("n", n);
    journal.group([Draft::new(Kind::LedgerCreated, Outcome::Success)
        .detail("origin", ORIGIN)
        .detail("key", signer.verifier().to_string())
        .detail("format", 1)]);
    journal.group((1..300).map(visit));
    journal
}

#[test]
fn tiles_begin_behind_what_was_pruned_and_are_those_of_the_whole_ledger() {
    let pruned = Pruned::new();
    let (part, whole) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let folder = |folder: &Path| folder.to_str().unwrap().to_owned();
    assert_code(&pruned.ledger.run("tiles", &[&folder(part.path())]), 0);
    for entry in std::fs::read_dir(pruned.archive.path()).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), pruned.ledger.path().join("journal").join(entry.file_name())).unwrap();
    }
    std::fs::remove_file(pruned.ledger.path().join("journal/pruned")).unwrap();
    assert_code(&pruned.ledger.verify(&[]), 0);
    assert_code(&pruned.ledger.run("tiles", &[&folder(whole.path())]), 0);
    for tile in ["tile/entries/003.p/232", "tile/0/003.p/232", "tile/1/000.p/3", "checkpoint"] {
        let read = |folder: &Path| std::fs::read(folder.join(tile)).unwrap();
        assert_eq!(read(part.path()), read(whole.path()), "{tile}");
    }
    assert!(whole.path().join("tile/entries/002").exists() && !part.path().join("tile/entries/002").exists());
    let output = auditctl(&["verify", &folder(part.path()), "--key", &pruned.ledger.key()]);
    assert_code(&output, 3);
    assert!(out(&output).contains("begin at record 768"), "{}", out(&output));
}

#[test]
fn a_copy_of_it_is_compared_by_what_is_left_and_a_gap_behind_the_pruning_is_found() {
    let pruned = Pruned::new();
    let listed = out(&pruned.ledger.run("log", &["--json"]));
    let file = pruned.archive.path().join("copy.ndjson");
    let copy = file.to_str().unwrap();
    let lacking = |first: u64, last: u64| {
        let is_there = |line: &&str| {
            let record: Value = serde_json::from_str(line).unwrap();
            record["seq"].as_u64().is_some_and(|seq| seq < first || seq > last)
        };
        std::fs::write(&file, listed.lines().filter(is_there).collect::<Vec<_>>().join("\n")).unwrap();
    };
    lacking(1000, 1000);
    let output = pruned.ledger.run("reconcile", &[copy, "--json"]);
    assert_code(&output, 0);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let numbers = ["upto", "proved", "pruned"].map(|name| answer[name].as_u64().unwrap());
    assert_eq!(numbers, [1000, 370, 630], "{answer}");
    // Against an export, which shows who declared the pruning.
    let export = pruned.archive.path().join("export");
    let export = export.to_str().unwrap();
    assert_code(&pruned.ledger.run("export", &["--out", export]), 0);
    assert_code(&auditctl(&["reconcile", export, copy, "--key", &pruned.ledger.key()]), 0);

    lacking(750, 760);
    for more in [["--from", "700"], ["--from", "0"]] {
        let output = pruned.ledger.run("reconcile", &[&[copy], &more[..]].concat());
        assert_code(&output, 1);
        assert!(out(&output).contains("750 to 760"), "{}", out(&output));
    }
}

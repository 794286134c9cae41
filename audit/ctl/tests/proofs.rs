//! What leaves the ledger and still verifies: proofs of one record, and exports.

use sallyport_audit::Digest;
use sallyport_audit::testing::SoftwareSigner;
use serde_json::Value;

mod world;

use world::{Ledger, ORIGIN, assert_code, auditctl, err, out};

#[test]
fn a_record_is_shown_by_one_file_without_the_ledger() {
    let ledger = Ledger::new();
    let elsewhere = tempfile::tempdir().unwrap();
    for seq in 0..8 {
        let file = elsewhere.path().join(format!("{seq}.tlog-proof"));
        let file = file.to_str().unwrap();
        assert_code(&ledger.run("prove", &[&seq.to_string(), "--out", file]), 0);
        let output = auditctl(&["check-proof", file, "--key", &ledger.key()]);
        assert_code(&output, 0);
        let shown = format!("this is record {seq} of the ledger {ORIGIN}");
        assert!(out(&output).contains(&shown) && out(&output).contains("does not prove"), "{}", out(&output));
        let json = auditctl(&["check-proof", file, "--key", &ledger.key(), "--json"]);
        let json: Value = serde_json::from_slice(&json.stdout).unwrap();
        assert_eq!((json["record"]["seq"].as_u64(), json["size"].as_u64()), (Some(seq), Some(8)));
    }
}

#[test]
fn a_record_may_lie_beside_its_proof() {
    let ledger = Ledger::new();
    let elsewhere = tempfile::tempdir().unwrap();
    let path = |name: &str| elsewhere.path().join(name).to_str().unwrap().to_owned();
    let (file, record) = (path("3.tlog-proof"), path("3.json"));
    assert_code(&ledger.run("prove", &["3", "--out", &file, "--record", &record]), 0);
    assert!(!std::fs::read_to_string(&file).unwrap().contains("extra "));
    let check =
        |rest: &[&str]| auditctl(&[&["check-proof", file.as_str(), "--key", &ledger.key()], rest].concat());
    assert_code(&check(&["--record", &record]), 0);
    assert_code(&check(&[]), 3);
    let changed = std::fs::read_to_string(&record).unwrap().replace("sess-3", "sess-4");
    std::fs::write(&record, changed).unwrap();
    let output = check(&["--record", &record]);
    assert_code(&output, 1);
    assert!(err(&output).contains("do not believe the record"), "{}", err(&output));
}

#[test]
fn a_proof_that_was_changed_or_is_by_a_stranger_is_refused() {
    let ledger = Ledger::new();
    let elsewhere = tempfile::tempdir().unwrap();
    let file = elsewhere.path().join("2.tlog-proof");
    let name = file.to_str().unwrap();
    assert_code(&ledger.run("prove", &["2", "--out", name]), 0);
    let stranger = SoftwareSigner::new(ORIGIN, [9; 32]).verifier().to_string();
    assert_code(&auditctl(&["check-proof", name, "--key", &stranger]), 1);
    let good = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, good.replace("index 2", "index 3")).unwrap();
    assert_code(&auditctl(&["check-proof", name, "--key", &ledger.key()]), 1);
    assert_code(&auditctl(&["check-proof", "/nowhere/at/all", "--key", &ledger.key()]), 3);
    assert_code(&auditctl(&["check-proof", name]), 2);
}

#[test]
fn what_a_ledger_does_not_have_or_was_not_signed_for_is_not_proved() {
    let ledger = Ledger::new();
    let file = ledger.path().join("proof");
    let file = file.to_str().unwrap();
    let output = ledger.run("prove", &["8", "--out", file]);
    assert_code(&output, 3);
    assert!(err(&output).contains("there is no record 8"), "{}", err(&output));
    let mut bytes = std::fs::read(ledger.segment()).unwrap();
    let at = bytes.windows(6).position(|window| window == b"sess-3").unwrap();
    bytes[at + 5] = b'4';
    std::fs::write(ledger.segment(), bytes).unwrap();
    for arguments in [["prove", "1"], ["export", "--from=1"]] {
        let output = ledger.run(arguments[0], &[arguments[1], "--out", file]);
        assert_code(&output, 1);
        assert!(err(&output).contains("auditctl verify"), "{}", err(&output));
    }
}

#[test]
fn a_filtered_export_verifies_and_says_what_it_left_out() {
    let ledger = Ledger::new();
    let file = ledger.path().join("export.ndjson");
    let name = file.to_str().unwrap();
    assert_code(
        &ledger.run("export", &["--kind", "session.opened", "--session", "sess-2", "--out", name]),
        0,
    );
    let output = auditctl(&["verify-export", name, "--key", &ledger.key()]);
    assert_code(&output, 0);
    let text = out(&output);
    assert!(text.contains("shown         1 record") && text.contains("left out      7 records"), "{text}");
    assert!(text.contains("that none of the 7 records which were left out fits"), "{text}");

    let good = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, good.replace("tunnel:demo", "tunnel:prod")).unwrap();
    assert_code(&auditctl(&["verify-export", name, "--key", &ledger.key()]), 1);
    let last = good.trim_end().rfind('\n').unwrap();
    std::fs::write(&file, &good[..=last]).unwrap();
    let output = auditctl(&["verify-export", name, "--key", &ledger.key()]);
    assert_code(&output, 1);
    assert!(err(&output).contains("cut off"), "{}", err(&output));
}

#[test]
fn a_record_hidden_from_an_unfiltered_export_is_missed() {
    let ledger = Ledger::new();
    let text = out(&ledger.run("export", &["--from", "2", "--to", "5"]));
    let file = ledger.path().join("export.ndjson");
    let verify = |text: &str| {
        std::fs::write(&file, text).unwrap();
        auditctl(&["verify-export", file.to_str().unwrap(), "--key", &ledger.key(), "--json"])
    };
    let output = verify(&text);
    assert_code(&output, 0);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((json["shown"].as_u64(), json["left_out"].as_u64()), (Some(4), Some(0)));
    let hidden = text.lines().find(|line| line.contains("\"seq\":4,")).unwrap();
    let stated = format!(
        "{{\"omitted\":{{\"count\":1,\"first\":4,\"root\":\"{}\"}}}}",
        Digest::leaf(hidden.as_bytes())
    );
    let output = verify(&text.replace(hidden, &stated));
    assert_code(&output, 1);
    assert!(err(&output).contains("record 4 was left out"), "{}", err(&output));
}

#[test]
fn searching_combines_its_filters() {
    let ledger = Ledger::new();
    let lines = |rest: &[&str]| out(&ledger.run("search", rest)).lines().count();
    assert_eq!(lines(&["--session", "sess-1", "--session", "sess-2"]), 2);
    assert_eq!(lines(&["--session", "sess-1", "--result", "denied"]), 0);
    assert_eq!(lines(&["--object", "tunnel:demo", "--from", "3", "--to", "4"]), 2);
    assert_eq!(lines(&["--from-time", "2026-01-01", "--to-time", "2026-01-01"]), 8);
    assert_eq!(lines(&["--from-time", "2026-01-02"]), 0);
    assert_code(&ledger.run("search", &["--result", "perhaps"]), 2);
}

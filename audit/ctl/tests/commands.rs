//! The real program on real files: what it prints, and with which exit code it ends.

use std::io::{BufRead as _, BufReader};
use std::process::Command;

use sallyport_audit::testing::{JournalBuilder, SoftwareSigner};
use sallyport_audit::{Draft, Kind, Outcome};
use serde_json::Value;

mod world;

use world::{Ledger, ORIGIN, assert_code, auditctl, err, out};

#[test]
fn a_good_ledger_is_verified_in_parts_with_what_that_does_not_prove() {
    let output = Ledger::new().verify(&[]);
    assert_code(&output, 0);
    let text = out(&output);
    for part in ["integrity", "completeness", "authenticity", "key trust", "freshness", "clock"] {
        assert!(text.contains(part), "{text}");
    }
    assert!(text.contains("does not prove"), "{text}");
    assert!(text.contains("8 records"), "{text}");
    assert!(text.contains("Verified:"), "{text}");
}

#[test]
fn one_changed_byte_breaks_it_and_the_record_is_named() {
    let ledger = Ledger::new();
    let mut bytes = std::fs::read(ledger.segment()).unwrap();
    let at = bytes.windows(6).position(|window| window == b"sess-3").unwrap();
    bytes[at + 5] = b'4';
    std::fs::write(ledger.segment(), bytes).unwrap();
    let output = ledger.verify(&[]);
    assert_code(&output, 1);
    assert!(out(&output).contains("First bad record: 3"), "{}", out(&output));
    assert!(out(&output).contains("BROKEN: integrity"), "{}", out(&output));
    let json: Value = serde_json::from_slice(&ledger.verify(&["--json"]).stdout).unwrap();
    assert_eq!((json["first_break"]["seq"].as_u64(), json["exit_code"].as_u64()), (Some(3), Some(1)));
    assert_eq!(json["overall"], "broken");
}

#[test]
fn another_key_does_not_verify_it() {
    let ledger = Ledger::new();
    let stranger = SoftwareSigner::new(ORIGIN, [9; 32]).verifier().to_string();
    let output = ledger.run("verify", &["--key", &stranger]);
    assert_code(&output, 1);
    assert!(out(&output).contains("authenticity  FAIL"), "{}", out(&output));
}

#[test]
fn a_ledger_that_was_cut_short_does_not_match_a_checkpoint_kept_elsewhere() {
    let ledger = Ledger::new();
    let checkpoint = ledger.path().join("kept-elsewhere");
    let printed = ledger.run("checkpoint", &[]);
    assert_code(&printed, 0);
    std::fs::write(&checkpoint, &printed.stdout).unwrap();
    let given = ["--checkpoint", checkpoint.to_str().unwrap()];
    let output = ledger.verify(&given);
    assert_code(&output, 0);
    assert!(!out(&output).contains("--checkpoint"), "nothing is left to ask for: {}", out(&output));

    // Journal and head file are cut together, as by somebody who knows both.
    let mut shorter = JournalBuilder::new(ORIGIN, ledger.journal.signer.clone());
    shorter.group([Draft::new(Kind::LedgerCreated, Outcome::Success)
        .detail("origin", ORIGIN)
        .detail("key", ledger.key())
        .detail("format", 1)]);
    ledger.write(&shorter);
    assert_code(&ledger.verify(&[]), 0);
    let output = ledger.verify(&given);
    assert_code(&output, 1);
    assert!(out(&output).contains("cut off"), "{}", out(&output));
    assert!(out(&output).contains("First bad record: 1"), "{}", out(&output));
}

#[test]
fn what_cannot_be_evaluated_is_no_pass_and_no_break() {
    let ledger = Ledger::new();
    let nowhere = ledger.path().join("nowhere");
    let output = auditctl(&["verify", nowhere.to_str().unwrap(), "--key", &ledger.key()]);
    assert_code(&output, 3);
    assert!(err(&output).contains("hint:"), "{}", err(&output));

    let empty = tempfile::tempdir().unwrap();
    assert_code(&auditctl(&["verify", empty.path().to_str().unwrap(), "--key", &ledger.key()]), 3);
    assert_code(&ledger.verify(&["--checkpoint", nowhere.to_str().unwrap()]), 3);
    std::fs::write(&nowhere, "not a checkpoint").unwrap();
    assert_code(&ledger.verify(&["--checkpoint", nowhere.to_str().unwrap()]), 3);
    std::fs::remove_file(ledger.path().join("head")).unwrap();
    let output = ledger.verify(&[]);
    assert_code(&output, 3);
    assert!(out(&output).contains("Not verified: completeness"), "{}", out(&output));
}

#[test]
fn a_wrong_command_line_is_told_apart() {
    let ledger = Ledger::new();
    assert_code(&ledger.run("verify", &[]), 2);
    assert_code(&ledger.run("verify", &["--key", "not-a-key"]), 2);
    assert_code(&ledger.run("verify", &["--key-file", "/nowhere/at/all"]), 2);
    assert_code(&ledger.run("log", &["--kind", "session.imagined"]), 2);
    assert_code(&auditctl(&["prophesy"]), 2);
    let mistyped = ledger.key().replace("ledger+", "ledgers+");
    let output = ledger.run("verify", &["--key", &mistyped]);
    assert_code(&output, 2);
    assert!(err(&output).contains("copy the key again"), "{}", err(&output));
}

#[test]
fn keys_may_stand_in_a_file() {
    let ledger = Ledger::new();
    let file = ledger.path().join("keys");
    std::fs::write(&file, format!("# the ledger's key\n\n{}\n", ledger.key())).unwrap();
    assert_code(&ledger.run("verify", &["--key-file", file.to_str().unwrap()]), 0);
    std::fs::write(&file, "# nothing\n").unwrap();
    assert_code(&ledger.run("verify", &["--key-file", file.to_str().unwrap()]), 2);
}

#[test]
fn an_old_last_record_fails_only_if_an_age_was_asked_for() {
    let ledger = Ledger::new();
    assert_code(&ledger.verify(&["--max-age", "876000h"]), 0);
    let output = ledger.verify(&["--max-age", "1s"]);
    assert_code(&output, 1);
    assert!(out(&output).contains("freshness     FAIL"), "{}", out(&output));
}

#[test]
fn a_group_that_is_being_written_is_mentioned_and_does_not_disturb() {
    let ledger = Ledger::new();
    let mut bytes = std::fs::read(ledger.segment()).unwrap();
    bytes.extend_from_slice(b"SPG1");
    std::fs::write(ledger.segment(), bytes).unwrap();
    let output = ledger.verify(&[]);
    assert_code(&output, 0);
    assert!(out(&output).contains("unfinished"), "{}", out(&output));
    let output = ledger.run("log", &[]);
    assert_code(&output, 0);
    assert!(err(&output).contains("unfinished"), "{}", err(&output));
}

#[test]
fn log_lists_filters_and_bounds_and_says_that_it_does_not_check() {
    let ledger = Ledger::new();
    let output = ledger.run("log", &[]);
    assert_code(&output, 0);
    assert_eq!(out(&output).lines().count(), 8);
    assert!(err(&output).contains("not checked"), "{}", err(&output));
    assert!(!out(&output).contains('\u{1b}'), "a record must not command the terminal");
    let lines = |rest: &[&str]| out(&ledger.run("log", rest)).lines().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(lines(&["--kind", "session.opened", "--from", "2", "--limit", "3"]).len(), 3);
    assert_eq!(lines(&["--kind", "session", "--kind", "connection"]).len(), 6);
    let records: Vec<Value> =
        lines(&["--json", "--from", "6"]).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(records[0]["seq"], 6);
    assert_eq!(records.len(), 2);
    assert!(lines(&["--from", "99"]).is_empty());
}

#[test]
fn show_gives_one_record_with_its_digest_and_without_personal_values() {
    let ledger = Ledger::new();
    let output = ledger.run("show", &["3"]);
    assert_code(&output, 0);
    let text = out(&output);
    assert!(text.contains("Record 3: session.opened, success"), "{text}");
    assert!(text.contains("sess-3") && text.contains("digest") && text.contains("sealed"), "{text}");
    assert!(!text.contains("alice"), "{text}");
    let json: Value = serde_json::from_slice(&ledger.run("show", &["3", "--json"]).stdout).unwrap();
    let next: Value = serde_json::from_slice(&ledger.run("show", &["4", "--json"]).stdout).unwrap();
    assert_eq!(json["record"]["session"], "sess-3");
    assert_eq!(json["digest"], next["record"]["prev"]);
    let output = ledger.run("show", &["8"]);
    assert_code(&output, 3);
    assert!(err(&output).contains("there is no record 8"), "{}", err(&output));
}

#[test]
fn listing_a_damaged_ledger_says_so() {
    let ledger = Ledger::new();
    let mut bytes = std::fs::read(ledger.segment()).unwrap();
    let at = bytes.windows(6).position(|window| window == b"sess-3").unwrap();
    bytes[at] = b'S';
    std::fs::write(ledger.segment(), bytes).unwrap();
    let output = ledger.run("log", &[]);
    assert_code(&output, 1);
    assert_eq!(out(&output).lines().count(), 1, "what stands before the damage is shown");
    assert!(err(&output).contains("auditctl verify"), "{}", err(&output));
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let ledger = Ledger::new();
    let mut child = Command::new(env!("CARGO_BIN_EXE_auditctl"))
        .args(["log", ledger.path().to_str().unwrap()])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn stats_count_by_kind_and_result() {
    let ledger = Ledger::new();
    let output = ledger.run("stats", &[]);
    assert_code(&output, 0);
    assert!(out(&output).starts_with("8 records, "), "{}", out(&output));
    assert!(err(&output).contains("not checked"), "{}", err(&output));
    let json: Value = serde_json::from_slice(&ledger.run("stats", &["--json"]).stdout).unwrap();
    assert_eq!(json["kinds"]["session.opened"]["success"], 5);
    assert_eq!(json["kinds"]["connection.refused"]["denied"], 1);
    let json: Value =
        serde_json::from_slice(&ledger.run("stats", &["--json", "--kind", "session"]).stdout).unwrap();
    assert_eq!(json["records"], 5);
}

#[test]
fn following_lists_what_is_added_until_it_is_ended() {
    for from in [&["--from", "7"][..], &["--last", "1"]] {
        let mut ledger = Ledger::new();
        let mut child = Command::new(env!("CARGO_BIN_EXE_auditctl"))
            .args(["log", ledger.path().to_str().unwrap(), "--follow", "--json"])
            .args(from)
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut next = || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap();
        assert_eq!(next()["seq"], 7);
        for seq in [8, 9] {
            ledger.journal.group([Draft::new(Kind::GatewayHeartbeat, Outcome::Success)]);
            // Appended as the gateway does it: what is there stays.
            let bytes = &ledger.journal.segments[0].1;
            std::fs::write(ledger.path().join("grown"), bytes).unwrap();
            std::fs::rename(ledger.path().join("grown"), ledger.segment()).unwrap();
            assert_eq!(next()["seq"], seq);
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

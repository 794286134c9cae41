//! `auditctl recover`: shows, and does only what it is told; and how the other commands speak of what it leaves.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that meets the unexpected fails")]

use std::path::Path;

use sallyport_audit::epoch::{Cause, Resumed};
use sallyport_audit::testing::{JournalBuilder, SoftwareSigner};
use sallyport_audit::{Draft, Kind, Outcome};

mod world;

use world::{Ledger, ORIGIN, assert_code, auditctl, err, out};

/// A ledger whose last group is cut off.
fn cut_short() -> (Ledger, Vec<u8>) {
    let ledger = Ledger::new();
    let bytes = std::fs::read(ledger.segment()).unwrap();
    let last = bytes.windows(4).rposition(|window| window == b"SPG1").unwrap();
    std::fs::write(ledger.segment(), &bytes[..last]).unwrap();
    (ledger, bytes)
}

fn recover(ledger: &Ledger, rest: &[&str]) -> std::process::Output {
    ledger.run("recover", &[&["--key", &ledger.key()], rest].concat())
}

const APPLY: [&str; 5] = ["--apply", "--by", "user:olga", "--reason", "the disk was replaced"];

fn listing(directory: &Path) -> Vec<String> {
    let mut all: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_str().unwrap().to_owned())
        .collect();
    all.sort();
    all
}

#[test]
fn without_apply_it_shows_what_is_kept_and_what_is_lost_and_changes_nothing() {
    let (ledger, _) = cut_short();
    let before = listing(ledger.path());
    for dry in [&[][..], &["--dry-run"]] {
        let output = recover(&ledger, dry);
        assert_code(&output, 1);
        let text = out(&output);
        for said in [
            "6 records",
            "Best known lost head: 8 records",
            "root ",
            "records 6 to 7 are missing",
            "every token",
            "Nothing was changed",
            "--checkpoint",
        ] {
            assert!(text.contains(said), "{said}: {text}");
        }
    }
    assert_eq!(listing(ledger.path()), before);
}

#[test]
fn a_ledger_that_is_well_is_left_alone_also_with_apply() {
    let ledger = Ledger::new();
    let before = listing(&ledger.path().join("journal"));
    let output = recover(&ledger, &APPLY);
    assert_code(&output, 0);
    assert!(out(&output).contains("Nothing to recover"), "{}", out(&output));
    assert_eq!(listing(&ledger.path().join("journal")), before);
    assert!(!ledger.path().join("set-aside").exists());
}

#[test]
fn with_apply_it_moves_what_is_in_the_way_and_leaves_a_plan_for_the_gateway() {
    let (ledger, _) = cut_short();
    let head = std::fs::read(ledger.path().join("head")).unwrap();
    let output = recover(&ledger, &APPLY);
    assert_code(&output, 0);
    assert!(out(&output).contains(&format!("goes on as {ORIGIN}#2")), "{}", out(&output));
    assert_eq!(std::fs::read(ledger.path().join("set-aside/epoch-2/head")).unwrap(), head);
    let plan = std::fs::read_to_string(ledger.path().join("recovery")).unwrap();
    assert!(plan.contains("the disk was replaced"), "{plan}");
    // Asked again it has nothing left to do, and says what is still to be done.
    let output = recover(&ledger, &APPLY);
    assert_code(&output, 0);
    assert!(out(&output).contains("A plan lies ready"), "{}", out(&output));
}

#[test]
fn an_interrupted_recovery_goes_on_with_what_was_found_before_anything_was_moved() {
    let (ledger, _) = cut_short();
    assert_code(&recover(&ledger, &APPLY), 0);
    // As if the power had gone before the last two steps.
    std::fs::rename(ledger.path().join("recovery"), ledger.path().join("recovery.unfinished")).unwrap();
    std::fs::remove_file(ledger.path().join("head")).unwrap();
    let output = recover(&ledger, &[]);
    assert_code(&output, 1);
    assert!(out(&output).contains("not finished"), "{}", out(&output));
    assert_code(&recover(&ledger, &APPLY), 0);
    assert!(ledger.path().join("head").exists());
    assert_eq!(listing(ledger.path()), ["head", "journal", "lock", "recovery", "set-aside"]);
}

#[test]
fn it_refuses_while_a_gateway_runs_and_a_reason_that_is_none() {
    let (ledger, _) = cut_short();
    let lock = std::fs::File::create(ledger.path().join("lock")).unwrap();
    lock.lock().unwrap();
    let output = recover(&ledger, &APPLY);
    assert_code(&output, 3);
    assert!(err(&output).contains("stop the gateway"), "{}", err(&output));
    drop(lock);
    assert_code(&recover(&ledger, &["--apply"]), 2);
    assert_code(&recover(&ledger, &["--apply", "--by", "user:olga", "--reason", "two\nlines"]), 2);
    let stranger = SoftwareSigner::new(ORIGIN, [9; 32]).verifier().to_string();
    let output = ledger.run("recover", &["--key", &stranger]);
    assert_code(&output, 3);
    assert!(err(&output).contains("nothing in"), "{}", err(&output));
}

/// A ledger that went on in epoch 2 after its sixth record, and the last head of what it lost.
fn resumed() -> (Ledger, String) {
    let ledger = Ledger::new();
    let lost = ledger.journal.note().to_owned();
    let mut journal = JournalBuilder::new(ORIGIN, ledger.journal.signer.clone());
    journal.group([Draft::new(Kind::LedgerCreated, Outcome::Success)
        .detail("origin", ORIGIN)
        .detail("key", ledger.key())
        .detail("format", 1)]);
    journal.group((1..6).map(|n| {
        Draft::new(Kind::SessionOpened, Outcome::Success)
            .subject("user:alice")
            .action("connect")
            .object("tunnel:demo")
            .session(format!("sess-{n}"))
    }));
    let resumed = Resumed {
        epoch: 2,
        origin: format!("{ORIGIN}#2"),
        origin_before: ORIGIN.to_owned(),
        cause: Cause::EndMissing,
        first: 6,
        at_least: 2,
        lost_head: Some(lost.clone()),
        set_aside: "set-aside/epoch-2".to_owned(),
        tokens_kept: false,
        key: None,
    };
    journal.resume(&resumed.origin);
    journal.group([resumed.draft(), Draft::new(Kind::GatewayStarted, Outcome::Success)]);
    ledger.write(&journal);
    (ledger, lost)
}

/// What the verdict says the declared gap is accepted with.
fn accepted_by(text: &str) -> String {
    let told = text.split_once("says so with `--accept-epoch ").and_then(|(_, rest)| rest.split_once('`'));
    assert!(told.is_some(), "{text}");
    told.unwrap_or_default().0.to_owned()
}

#[test]
fn a_declared_gap_is_told_in_words_and_passes_only_when_it_is_accepted() {
    let (ledger, lost) = resumed();
    let output = ledger.verify(&[]);
    assert_code(&output, 1);
    let text = out(&output);
    assert!(text.contains("records 6 to 7 are missing"), "{text}");
    let accept = &accepted_by(&text);
    assert!(accept.starts_with("2:6:"), "{text}");
    // The number alone would accept whatever is declared under it.
    let output = ledger.verify(&["--accept-epoch", "2"]);
    assert_code(&output, 1);
    assert_eq!(accepted_by(&out(&output)), *accept);
    assert!(text.contains("First bad record: 6"), "{text}");
    assert_code(&ledger.verify(&["--accept-epoch", accept]), 0);
    let json: serde_json::Value =
        serde_json::from_slice(&ledger.verify(&["--json", "--accept-epoch", accept]).stdout).unwrap();
    let epoch = &json["ledger"]["epochs"][1];
    assert_eq!((epoch["number"].as_u64(), epoch["start"].as_u64()), (Some(2), Some(6)));
    assert_eq!(epoch["resumed"]["at_least"], 2);
    assert_eq!(json["exit_code"], 0);

    // A checkpoint of what was lost is explained by the gap, and not hidden.
    let kept = ledger.path().join("kept-elsewhere");
    std::fs::write(&kept, lost).unwrap();
    let output = ledger.verify(&["--accept-epoch", accept, "--checkpoint", kept.to_str().unwrap()]);
    assert_code(&output, 0);
    assert!(out(&output).contains("2 are in the declared gap"), "{}", out(&output));
}

#[test]
fn what_was_verified_before_the_loss_cannot_be_gone_on_from_and_after_it_can() {
    let before = Ledger::new();
    let elsewhere = tempfile::tempdir().unwrap();
    let state = elsewhere.path().join("state").to_str().unwrap().to_owned();
    assert_code(&before.verify(&["--save-state", &state]), 0);
    let (ledger, _) = resumed();
    let accept = &accepted_by(&out(&ledger.verify(&[])));
    let output = ledger.verify(&["--since", &state, "--accept-epoch", accept]);
    assert_code(&output, 1);
    assert!(out(&output).contains("verify the whole ledger"), "{}", out(&output));
    assert_code(&ledger.verify(&["--accept-epoch", accept, "--save-state", &state]), 0);
    assert_code(&ledger.verify(&["--since", &state, "--accept-epoch", accept]), 0);
    assert_code(&ledger.verify(&["--since", &state]), 1);
}

#[test]
fn proofs_exports_tiles_and_witnesses_work_across_epochs() {
    let (ledger, _) = resumed();
    let elsewhere = tempfile::tempdir().unwrap();
    let path = |name: &str| elsewhere.path().join(name).to_str().unwrap().to_owned();
    let key = ledger.key();
    for seq in ["3", "6"] {
        assert_code(&ledger.run("prove", &[seq, "--out", &path("proof")]), 0);
        let output = auditctl(&["check-proof", &path("proof"), "--key", &key]);
        assert_code(&output, 0);
        assert!(out(&output).contains(&format!("{ORIGIN}#2")), "{}", out(&output));
    }
    assert_code(&ledger.run("export", &["--out", &path("export"), "--kind", "session.opened"]), 0);
    let output = auditctl(&["verify-export", &path("export"), "--key", &key]);
    assert_code(&output, 0);
    assert!(out(&output).contains("epoch 2"), "{}", out(&output));
    assert_code(&ledger.run("tiles", &[&path("tiles")]), 0);
    let output = auditctl(&["verify", &path("tiles"), "--key", &key]);
    assert_code(&output, 1);
    let accept = &accepted_by(&out(&output));
    assert_code(&auditctl(&["verify", &path("tiles"), "--key", &key, "--accept-epoch", accept]), 0);

    // A witness has seen the first epoch; the second is another log to it, and no second history.
    let (witness, before) = (path("witness"), Ledger::new());
    assert_code(&auditctl(&["witness", "init", &witness, "--name", "witness.example.net/w1"]), 0);
    for ledger in [&before, &ledger] {
        let (request, answer) = (path("request"), path("cosigned"));
        let place = ledger.path().to_str().unwrap();
        assert_code(&auditctl(&["witness", "request", place, "--out", &request]), 0);
        assert_code(
            &auditctl(&["witness", "cosign", &witness, &request, "--key", &key, "--out", &answer]),
            0,
        );
    }
    // But once it has seen the second, the first has ended: nobody grows both.
    let mut before = before;
    before.journal.group([Draft::new(Kind::GatewayHeartbeat, Outcome::Success)]);
    before.write(&before.journal);
    let (request, place) = (path("request"), before.path().to_str().unwrap());
    assert_code(&auditctl(&["witness", "request", place, "--old", "8", "--out", &request]), 0);
    let answer = path("cosigned");
    let output = auditctl(&["witness", "cosign", &witness, &request, "--key", &key, "--out", &answer]);
    assert_code(&output, 1);
    assert!(err(&output).contains("an epoch that ended"), "{}", err(&output));
}

#[test]
fn a_lost_handover_is_noticed_and_followed_only_if_it_is_named() {
    let ledger = Ledger::new();
    let before = ledger.journal.clone();
    let successor = SoftwareSigner::new(ORIGIN, [8; 32]);
    let mut after = before.clone();
    after.hand_over(successor.clone()).group([Draft::new(Kind::GatewayStopped, Outcome::Success)]);
    ledger.write(&after);
    let (head, new) = (std::fs::read(ledger.path().join("head")).unwrap(), successor.verifier().to_string());
    ledger.write(&before);
    std::fs::write(ledger.path().join("head"), head).unwrap();

    let both = ["--key", new.as_str()];
    let output = recover(&ledger, &both);
    assert_code(&output, 1);
    assert!(out(&output).contains("--handed-over-to"), "{}", out(&output));
    let stranger = SoftwareSigner::new(ORIGIN, [9; 32]).verifier().to_string();
    for wrong in ["no key", stranger.as_str(), &ledger.key()] {
        let output = recover(&ledger, &[&both[..], &["--handed-over-to", wrong]].concat());
        assert_code(&output, 2);
        assert!(!ledger.path().join("recovery").exists(), "{}", err(&output));
    }
    let output = recover(&ledger, &[&both[..], &["--handed-over-to", &new], &APPLY].concat());
    assert_code(&output, 0);
    assert!(out(&output).contains("nothing but its own heads vouches"), "{}", out(&output));
    assert!(std::fs::read_to_string(ledger.path().join("recovery")).unwrap().contains(&new));
}

//! `auditctl dossier`, `check-dossier` and `sample` on real files, from a ledger and from a pack of it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

mod world;

use std::fs;

use sallyport_audit::testing::{JournalBuilder, SoftwareSigner};
use sallyport_audit::{Draft, Kind, Outcome};
use serde_json::Value;
use world::{Ledger, ORIGIN, assert_code, auditctl, err, out};

/// Two grants with sessions each, among records of other kinds.
fn ledger() -> Ledger {
    let signer = SoftwareSigner::new(ORIGIN, [7; 32]);
    let mut journal = JournalBuilder::new(ORIGIN, signer.clone());
    let done = |kind| Draft::new(kind, Outcome::Success);
    journal.group([
        done(Kind::LedgerCreated).detail("origin", ORIGIN).detail("key", signer.verifier().to_string()),
        done(Kind::PolicyLoaded).policy("p0"),
        done(Kind::PolicyLoaded).policy("p1"),
    ]);
    for n in 1..=2 {
        let (request, grant) = (format!("req-{n}"), format!("grant-{n}"));
        let session = |s: u32| format!("sess-{n}{s}");
        journal.group([
            done(Kind::AccessRequested).correlation(&*request).object("tunnel:demo").action("connect"),
            Draft::new(Kind::AccessApproved, Outcome::Denied)
                .correlation(&*request)
                .detail("refusal", "own-request"),
            done(Kind::AccessApproved).correlation(&*request),
            done(Kind::GrantIssued)
                .correlation(&*request)
                .grant(&*grant)
                .policy("p1")
                .detail("ends", "2026-02-01T00:00:00Z"),
        ]);
        for s in 1..=3 {
            journal.group([
                done(Kind::SessionOpened)
                    .session(session(s))
                    .grant(&*grant)
                    .policy("p1")
                    .object("tunnel:demo"),
                done(Kind::HttpRequest).session(session(s)),
                done(Kind::SessionClosed)
                    .session(session(s))
                    .grant(&*grant)
                    .detail("bytes_up", 10)
                    .detail("bytes_down", 100)
                    .detail("reason", "idle"),
            ]);
        }
        journal.group([
            done(Kind::GrantRevoked).correlation(&*request).grant(&*grant),
            done(Kind::GatewayHeartbeat),
        ]);
    }
    journal.group([done(Kind::GatewayStopped)]);
    let ledger = Ledger { directory: tempfile::tempdir().unwrap(), journal };
    ledger.write(&ledger.journal);
    ledger
}

fn pack(ledger: &Ledger) -> String {
    let pack = ledger.path().join("pack.zip").to_str().unwrap().to_owned();
    let words = ["--from", "2026-01-01", "--to", "2026-01-31", "--out", &pack];
    let path = ledger.path().to_str().unwrap();
    assert_code(&auditctl(&[&["report", "soc2", path, "--key", &ledger.key()], &words[..]].concat()), 0);
    pack
}

#[test]
fn a_grants_dossier_joins_request_approval_policy_sessions_and_end_and_is_checked_offline() {
    let ledger = ledger();
    let key = ledger.key();
    let sources = [ledger.path().to_str().unwrap().to_owned(), pack(&ledger)];
    let mut files = Vec::new();
    for (source, about) in sources.iter().flat_map(|source| [(source, "grant-1"), (source, "req-1")]) {
        let file = ledger.path().join(format!("{about}.json"));
        let file = file.to_str().unwrap();
        let made = auditctl(&["dossier", about, source, "--key", &key, "--out", file]);
        assert_code(&made, 0);
        assert!(out(&made).contains("3, 30 bytes up, 300 bytes down"), "{}", out(&made));
        let checked = auditctl(&["check-dossier", file, "--key", &key, "--against", source, "--json"]);
        assert_code(&checked, 0);
        let shown: Value = serde_json::from_slice(&checked.stdout).unwrap();
        // Policy, request, refused and good answer, grant, three sessions of two records, revocation.
        assert_eq!(shown["records"], 12, "{shown}");
        assert_eq!(shown["story"]["approvals"], 1);
        assert_eq!(shown["story"]["refused_answers"], 1);
        assert_eq!(shown["story"]["open"], serde_json::json!([]));
        files.push(fs::read_to_string(file).unwrap());
    }
    assert_eq!(files[0], files[2], "ledger and pack give the same dossier");
}

#[test]
fn a_sessions_dossier_has_that_session_alone_and_what_it_rests_on() {
    let ledger = ledger();
    let file = ledger.path().join("dossier.json");
    let file = file.to_str().unwrap();
    let made = auditctl(&[
        "dossier",
        "sess-22",
        ledger.path().to_str().unwrap(),
        "--key",
        &ledger.key(),
        "--out",
        file,
    ]);
    assert_code(&made, 0);
    assert!(out(&made).contains("grant-2") && out(&made).contains("req-2"), "{}", out(&made));
    assert!(out(&made).contains("1, 10 bytes up"), "{}", out(&made));
    assert_code(&auditctl(&["check-dossier", file, "--key", &ledger.key()]), 0);
}

#[test]
fn every_byte_that_is_altered_and_every_session_that_is_dropped_is_found() {
    let ledger = ledger();
    let key = ledger.key();
    let path = ledger.path().join("dossier.json");
    let file = path.to_str().unwrap();
    let source = ledger.path().to_str().unwrap();
    assert_code(&auditctl(&["dossier", "grant-1", source, "--key", &key, "--out", file]), 0);
    let good: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let check = |value: &Value, rest: &[&str]| {
        fs::write(&path, serde_json::to_vec(value).unwrap()).unwrap();
        auditctl(&[&["check-dossier", file, "--key", &key], rest].concat())
    };
    assert_code(&check(&good, &[]), 0);
    let count = good["items"].as_array().unwrap().len();
    for at in 0..count {
        for (field, change) in [
            (
                "record",
                Value::from(good["items"][at]["record"].as_str().unwrap().replace("success", "denied_")),
            ),
            ("part", Value::from("asked again")),
            ("seq", Value::from(40)),
            ("path", Value::from(Vec::<String>::new())),
        ] {
            let mut changed = good.clone();
            if changed["items"][at][field] == change {
                continue;
            }
            changed["items"][at][field] = change;
            assert_code(&check(&changed, &[]), 1);
        }
        // Whatever is dropped: the story no longer follows, or the ledger names what is missing.
        let mut dropped = good.clone();
        dropped["items"].as_array_mut().unwrap().remove(at);
        let output = check(&dropped, &["--against", source]);
        assert_code(&output, 1);
    }
    // A whole session with its story: good in itself, and named when it is held against the ledger.
    let mut without = good.clone();
    let is_of = |item: &Value| item["record"].as_str().unwrap().contains("\"sess-12\"");
    without["items"].as_array_mut().unwrap().retain(|item| !is_of(item));
    without["story"]["sessions"].as_array_mut().unwrap().retain(|session| session["session"] != "sess-12");
    without["story"]["bytes_up"] = 20.into();
    without["story"]["bytes_down"] = 200.into();
    let alone = check(&without, &[]);
    assert_code(&alone, 0);
    assert!(out(&alone).contains("that no other record belongs to it"), "{}", out(&alone));
    let held = check(&without, &["--against", source]);
    assert_code(&held, 1);
    assert!(err(&held).contains("are not in it: 10, 12"), "{}", err(&held));
    // Signed by somebody else.
    let stranger = SoftwareSigner::new(ORIGIN, [8; 32]).verifier().to_string();
    fs::write(&path, serde_json::to_vec(&good).unwrap()).unwrap();
    assert_code(&auditctl(&["check-dossier", file, "--key", &stranger]), 1);
}

/// The dossiers of one ledger about these, by what each is about.
fn dossiers<const N: usize>(ledger: &Ledger, about: [&str; N]) -> [Value; N] {
    about.map(|about| {
        let path = ledger.path().join("one.json");
        let (file, source) = (path.to_str().unwrap(), ledger.path().to_str().unwrap());
        assert_code(&auditctl(&["dossier", about, source, "--key", &ledger.key(), "--out", file]), 0);
        serde_json::from_slice(&fs::read(&path).unwrap()).unwrap()
    })
}

/// A dossier of some items of others, in the order of their numbers.
fn mixed(about: &str, story: &Value, checkpoint: &Value, items: &[&Value]) -> Value {
    let mut items: Vec<Value> = items.iter().map(|item| (*item).clone()).collect();
    items.sort_by_key(|item| item["seq"].as_u64());
    serde_json::json!({
        "format": "sallyport-dossier/1", "about": about, "story": story, "checkpoint": checkpoint, "items": items,
    })
}

#[test]
fn a_session_under_one_grant_is_not_joined_with_the_approvals_of_another() {
    let ledger = ledger();
    let [session, grant] = dossiers(&ledger, ["sess-11", "grant-2"]);
    let items = |of: &'static [&'static str], dossier: &'_ Value| -> Vec<Value> {
        let all = dossier["items"].as_array().unwrap().iter();
        all.filter(|item| of.contains(&item["part"].as_str().unwrap())).cloned().collect()
    };
    let ours = items(&["session opened", "session closed"], &session);
    let mut story = grant["story"].clone();
    story["sessions"] = session["story"]["sessions"].clone();
    (story["bytes_up"], story["bytes_down"]) = (10.into(), 100.into());
    (story["refused_answers"], story["ended"]) = (1.into(), Value::Null);
    let no_policy = "the record that took a policy into use is not here";
    story["open"] = serde_json::json!([no_policy, "leave had not ended by a record of its own"]);
    // All of the other grant; and its request alone, which names no grant that could be another one.
    let whole = items(&["asked", "answered", "granted"], &grant);
    let request = items(&["asked", "answered"], &grant);
    let mut asked = story.clone();
    (asked["grant"], asked["granted"], asked["ends"]) = ("grant-1".into(), Value::Null, Value::Null);
    asked["open"] = serde_json::json!(["the record that gave leave is not here", no_policy]);
    for (theirs, story, said) in
        [(whole, story, "does not belong to it"), (request, asked, "says that its grant came of its request")]
    {
        let all: Vec<&Value> = ours.iter().chain(&theirs).collect();
        let path = ledger.path().join("mixed.json");
        let mix = mixed("sess-11", &story, &session["checkpoint"], &all);
        fs::write(&path, serde_json::to_vec(&mix).unwrap()).unwrap();
        let checked = auditctl(&["check-dossier", path.to_str().unwrap(), "--key", &ledger.key()]);
        assert_code(&checked, 1);
        assert!(err(&checked).contains(said), "{}", err(&checked));
    }
}

#[test]
fn what_is_not_there_has_no_dossier() {
    let ledger = ledger();
    let file = ledger.path().join("dossier.json");
    let words = ["--key", &ledger.key(), "--out", file.to_str().unwrap()];
    let output = auditctl(&[&["dossier", "grant-9", ledger.path().to_str().unwrap()], &words[..]].concat());
    assert_code(&output, 3);
    assert!(err(&output).contains("no record names grant-9") && !file.exists());
}

#[test]
fn a_sample_is_the_same_for_everybody_and_drawn_only_from_what_was_committed_to() {
    let ledger = ledger();
    let key = ledger.key();
    let pack = pack(&ledger);
    let run = |source: &str, rest: &[&str]| {
        auditctl(
            &[&["sample", source, "--key", &key, "--population", "session.opened", "--json"], rest].concat(),
        )
    };
    let period = ["--from", "2026-01-01", "--to", "2026-01-31"];
    let source = ledger.path().to_str().unwrap();
    let first = run(source, &period);
    assert_code(&first, 0);
    let committed: Value = serde_json::from_slice(&first.stdout).unwrap();
    assert_eq!(committed["population"]["count"], 6);
    let commitment = committed["population"]["commitment"].as_str().unwrap();
    let draw = |source: &str, seed: &str, rest: &[&str]| {
        let words = ["--commitment", commitment, "--size", "2", "--seed", seed];
        let output = run(source, &[&words[..], rest].concat());
        assert_code(&output, 0);
        serde_json::from_slice::<Value>(&output.stdout).unwrap()["sample"].clone()
    };
    let proofs = ledger.path().join("proofs");
    let drawn = draw(source, "dice 3 1 4", &[&period[..], &["--proofs", proofs.to_str().unwrap()]].concat());
    assert_eq!(drawn, draw(&pack, "dice 3 1 4", &[]), "the ledger and a pack of it give the same");
    assert_eq!(drawn.as_array().unwrap().len(), 2);
    assert!(
        ["a", "b", "c", "d", "e"].iter().any(|seed| draw(&pack, seed, &[]) != drawn),
        "another seed, another sample"
    );
    for record in drawn.as_array().unwrap() {
        let proof = proofs.join(format!("{}.tlog-proof", record["seq"]));
        assert_code(&auditctl(&["check-proof", proof.to_str().unwrap(), "--key", &key]), 0);
    }
    let other = ["--commitment", commitment, "--size", "2", "--seed", "x", "--result", "success"];
    let refused = run(&pack, &other);
    assert_code(&refused, 1);
    assert!(err(&refused).contains("not the one that was committed to"), "{}", err(&refused));
    assert_code(&run(&pack, &["--size", "2", "--seed", "x"]), 2);
}

#[test]
fn a_pack_gives_no_sample_of_a_time_that_it_does_not_hold_and_says_what_a_dossier_from_it_may_lack() {
    let ledger = ledger();
    let (key, pack) = (ledger.key(), pack(&ledger));
    let sample = |pack: &str, rest: &[&str]| {
        let words = ["sample", pack, "--key", &key, "--population", "session.opened"];
        auditctl(&[&words[..], rest].concat())
    };
    assert_code(&sample(&pack, &["--from", "2026-01-01", "--to", "2026-01-31"]), 0);
    for outside in [["--from", "2025-12-01"], ["--to", "2026-02-01"]] {
        let refused = sample(&pack, &outside);
        assert_code(&refused, 2);
        assert!(err(&refused).contains("outside the pack's period"), "{}", err(&refused));
    }
    let file = ledger.path().join("dossier.json");
    let file = file.to_str().unwrap();
    let made = auditctl(&["dossier", "grant-1", &pack, "--key", &key, "--out", file]);
    assert!(err(&made).contains("it may not hold all that belongs to it"), "{}", err(&made));
    let lacks = "a pack has no sessions of before 2026-01-01T00:00:00Z";
    let against = |source: &str| out(&auditctl(&["check-dossier", file, "--key", &key, "--against", source]));
    assert!(against(&pack).contains(lacks), "{}", against(&pack));
    assert!(!against(ledger.path().to_str().unwrap()).contains("no other record belongs to it"));
}

#[test]
fn a_pack_that_names_other_records_than_it_holds_gives_neither_sample_nor_dossier() {
    let ledger = ledger();
    let (key, place) = (ledger.key(), tempfile::tempdir().unwrap());
    let source = ledger.path().to_str().unwrap();
    let make = |name: &str, from: &str| {
        let pack = place.path().join(name).to_str().unwrap().to_owned();
        let words = ["--from", from, "--to", "2026-01-31", "--out", &pack];
        assert_code(&auditctl(&[&["report", "soc2", source, "--key", &key], &words[..]].concat()), 0);
        pack
    };
    let (whole, narrow) = (make("whole", "2026-01-01"), make("narrow", "2026-01-01T00:00:00.010Z"));
    let draw = || auditctl(&["sample", &whole, "--key", &key, "--population", "session.opened"]);
    assert_code(&draw(), 0);
    let text = |pack: &str, name: &str| fs::read_to_string(format!("{pack}/{name}")).unwrap();
    let put = |name: &str, text: &str| fs::write(format!("{whole}/{name}"), text).unwrap();
    // Fewer records under the old scope; then under their own, which is not all of the period that is named.
    put("records.jsonl", &text(&narrow, "records.jsonl"));
    put("history.jsonl", &text(&narrow, "history.jsonl"));
    assert_code(&draw(), 1);
    let named = text(&narrow, "pack.json").replace("2026-01-01T00:00:00.01Z", "2026-01-01T00:00:00Z");
    assert!(named != text(&narrow, "pack.json"));
    put("pack.json", &named);
    let drawn = draw();
    assert_code(&drawn, 1);
    assert!(err(&drawn).contains("not all of the pack's period"), "{}", err(&drawn));
    let file = place.path().join("dossier.json");
    let words = ["dossier", "grant-2", &whole, "--key", &key, "--out", file.to_str().unwrap()];
    assert_code(&auditctl(&words), 1);
}

#[test]
fn the_documented_algorithm_draws_the_same_sample() {
    let ledger = ledger();
    let (key, source) = (ledger.key(), ledger.path().to_str().unwrap());
    let words = ["sample", source, "--key", &key, "--population", "session.opened", "--json"];
    let committed: Value = serde_json::from_slice(&auditctl(&words).stdout).unwrap();
    let population = &committed["population"];
    let text = |name: &str| population[name].as_str().unwrap().to_owned();
    let digest = |text: &str| sallyport_audit::Digest::of(&[text.as_bytes()]).to_string();
    let (origin, root, query) = (text("origin"), text("root"), text("query"));
    let leaves: Vec<_> = ledger
        .journal
        .records()
        .into_iter()
        .filter(|bytes| String::from_utf8(bytes.clone()).unwrap().contains("\"session.opened\""))
        .map(|bytes| sallyport_audit::Digest::leaf(&bytes))
        .collect();
    let all: Vec<&[u8]> = leaves.iter().map(|leaf| leaf.as_bytes().as_slice()).collect();
    let checksum = sallyport_audit::Digest::of(&all);
    let size = population["size"].as_u64().unwrap();
    let commitment =
        digest(&format!("sallyport-sample/1\n{origin}\n{size}\n{root}\n{query}\n6\n{checksum}\n"));
    assert_eq!(commitment, text("commitment"));
    let mut scores: Vec<_> =
        leaves.iter().map(|leaf| (digest(&format!("{commitment}\nseed\n{leaf}\n")), leaf)).collect();
    scores.sort();
    let rest = ["--commitment", &commitment, "--seed", "seed", "--size", "3"];
    let drawn: Value = serde_json::from_slice(&auditctl(&[&words[..], &rest[..]].concat()).stdout).unwrap();
    let drawn: Vec<_> = drawn["sample"]
        .as_array()
        .unwrap()
        .iter()
        .map(|record| record["leaf"].as_str().unwrap().to_owned())
        .collect();
    let expected: Vec<_> = scores.iter().take(3).map(|(_, leaf)| leaf.to_string()).collect();
    assert_eq!(drawn, expected);
}

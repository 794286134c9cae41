//! `auditctl report --out` and `auditctl verify-pack` on real files: a pack is checked in an empty environment, and
//! whatever is changed, removed or added in it is found.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

mod world;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use jiff::tz::TimeZone;
use sallyport_audit::testing::{JournalBuilder, SoftwareSigner};
use sallyport_audit::verify::Trust;
use sallyport_audit::{Draft, Kind, Outcome};
use sallyport_compliance::pack::PackWriter;
use sallyport_compliance::{Basis, Builtin, Framework, Period};
use serde_json::Value;
use world::{Ledger, ORIGIN, assert_code, auditctl, err, out};

/// From the documentation of Go's golang.org/x/mod/sumdb/note.
const SIGNER: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const SIGNING: &str = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";

const JANUARY: [&str; 4] = ["--from", "2026-01-02", "--to", "2026-01-31"];

/// A ledger with a grant that began before the period, a session, an exception, and hostile names.
fn ledger() -> Ledger {
    let signer = SoftwareSigner::new(ORIGIN, [7; 32]);
    let mut journal = JournalBuilder::new(ORIGIN, signer.clone());
    let done = |kind| Draft::new(kind, Outcome::Success);
    journal.group([
        done(Kind::LedgerCreated).detail("origin", ORIGIN).detail("key", signer.verifier().to_string()),
        done(Kind::GatewayStarted).detail("version", "1").detail("binary_sha256", "b1"),
        done(Kind::PolicyLoaded).policy("p1").detail("rules", 3),
        done(Kind::AccessRequested).correlation("req-1").subject("user:alice").object("tunnel:demo"),
        done(Kind::AccessApproved).correlation("req-1").subject("user:bob").target("user:alice"),
        done(Kind::GrantIssued)
            .correlation("req-1")
            .grant("grant-1")
            .target("user:alice")
            .action("connect")
            .object("tunnel:=HYPERLINK(\"x\")<b>")
            .policy("p1")
            .detail("approvals", 1)
            .detail("ends", "2026-03-01T00:00:00Z"),
        done(Kind::GatewayHeartbeat),
        done(Kind::GatewayHeartbeat),
    ]);
    journal.time = "2026-01-05T10:00:00Z".parse().unwrap();
    journal.group([
        done(Kind::SessionOpened).session("sess-1").grant("grant-1").policy("p1").object("tunnel:demo"),
        done(Kind::SessionClosed)
            .session("sess-1")
            .grant("grant-1")
            .object("tunnel:demo")
            .detail("bytes_up", 10)
            .detail("bytes_down", 20)
            .detail("requests", 1)
            .detail("duration_ms", 1500)
            .detail("cause", "grant-revoked")
            .detail("last_byte_after_us", 900),
        done(Kind::SessionOpened).session("sess-2").object("=1+1<script>"),
        Draft::new(Kind::AccessApproved, Outcome::Denied)
            .correlation("req-2")
            .detail("refusal", "own-request"),
        Draft::new(Kind::AuthFailed, Outcome::Denied).detail("reason", "unknown-token"),
    ]);
    journal.time = "2026-02-02T00:00:00Z".parse().unwrap();
    journal.group([done(Kind::GatewayHeartbeat), done(Kind::GatewayStopped)]);
    let ledger = Ledger { directory: tempfile::tempdir().unwrap(), journal };
    ledger.write(&ledger.journal);
    ledger
}

fn report(ledger: &Ledger, pack: &Path, rest: &[&str]) -> Output {
    let path = ledger.path().to_str().unwrap();
    let key = ledger.key();
    let words =
        [&["report", "soc2", path, "--key", &key, "--out", pack.to_str().unwrap()], &JANUARY[..], rest];
    world::auditctl(&words.concat())
}

/// `auditctl` with no environment at all, in the pack's own folder.
fn verify(pack: &Path, rest: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_auditctl"))
        .env_clear()
        .current_dir(pack.parent().unwrap())
        .arg("verify-pack")
        .arg(pack.file_name().unwrap())
        .args(rest)
        .output()
        .unwrap()
}

/// All files of a folder, by their way from it.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    fn walk(root: &Path, folder: &Path, found: &mut Vec<(String, Vec<u8>)>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(root, &path, found);
            } else {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                found.push((name, fs::read(&path).unwrap()));
            }
        }
    }
    let mut found = Vec::new();
    walk(folder, folder, &mut found);
    found.sort();
    found
}

fn write(folder: &Path, files: &[(String, Vec<u8>)]) -> PathBuf {
    let pack = folder.join("pack");
    let _ = fs::remove_dir_all(&pack);
    for (name, bytes) in files {
        let path = pack.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    pack
}

/// The list of files as whoever forges a pack would write it anew.
fn with_sums(mut files: Vec<(String, Vec<u8>)>) -> Vec<(String, Vec<u8>)> {
    files.retain(|(name, _)| name != "SHA256SUMS");
    let named = files.iter().filter(|(name, _)| name != "SHA256SUMS.note");
    let lines = named.map(|(name, bytes)| format!("{}  {name}", sallyport_audit::Digest::of(&[bytes])));
    let sums = lines.collect::<Vec<_>>().join("\n") + "\n";
    files.push(("SHA256SUMS".to_owned(), sums.into_bytes()));
    files
}

#[test]
fn a_pack_is_checked_in_an_empty_environment_with_the_ledgers_key_alone() {
    let (ledger, place) = (ledger(), tempfile::tempdir().unwrap());
    for name in ["pack", "pack.zip"] {
        let pack = place.path().join(name);
        assert_code(&report(&ledger, &pack, &[]), 0);
        let checked = verify(&pack, &["--key", &ledger.key(), "--json"]);
        assert_code(&checked, 0);
        let answer: Value = serde_json::from_slice(&checked.stdout).unwrap();
        assert_eq!(answer["figures"]["records"], 5);
        assert_eq!(answer["figures"]["exceptions"], 2);
        let not_proved = answer["not_proved"].to_string();
        assert!(not_proved.contains("no record before or behind the packed ones"), "{not_proved}");
        let text = verify(&pack, &["--key", &ledger.key()]);
        assert!(
            out(&text).contains("Verified: the pack follows from records of the ledger"),
            "{}",
            out(&text)
        );
        assert!(out(&text).contains("not signed, and says so"), "{}", out(&text));
    }
}

#[test]
fn the_same_ledger_gives_the_same_pack_byte_by_byte() {
    let (ledger, place) = (ledger(), tempfile::tempdir().unwrap());
    let paths = ["first", "second", "first.zip", "second.zip"].map(|name| place.path().join(name));
    for path in &paths {
        assert_code(&report(&ledger, path, &["--timezone", "Europe/Berlin"]), 0);
    }
    assert_eq!(files(&paths[0]), files(&paths[1]));
    assert_eq!(fs::read(&paths[2]).unwrap(), fs::read(&paths[3]).unwrap());
    let sums =
        Command::new("sha256sum").args(["--check", "--quiet", "SHA256SUMS"]).current_dir(&paths[0]).output();
    assert!(sums.unwrap().status.success(), "sha256sum reads the list, too");
}

#[test]
fn without_a_key_from_elsewhere_nobody_is_told_that_all_is_well() {
    let (ledger, place) = (ledger(), tempfile::tempdir().unwrap());
    let pack = place.path().join("pack");
    assert_code(&report(&ledger, &pack, &[]), 0);
    let checked = verify(&pack, &[]);
    assert_code(&checked, 3);
    assert!(out(&checked).contains("those that came with the pack were used"), "{}", out(&checked));
    let stranger = SoftwareSigner::new(ORIGIN, [8; 32]).verifier().to_string();
    assert_code(&verify(&pack, &["--key", &stranger]), 1);
}

#[test]
fn each_file_that_is_changed_removed_or_added_is_named() {
    let (ledger, place) = (ledger(), tempfile::tempdir().unwrap());
    let made = place.path().join("made");
    assert_code(&report(&ledger, &made, &[]), 0);
    let whole = files(&made);
    let key = ledger.key();
    let check = |files: &[(String, Vec<u8>)]| verify(&write(place.path(), files), &["--key", &key]);
    assert_code(&check(&whole), 0);
    for (index, (name, _)) in whole.iter().enumerate() {
        let mut changed = whole.clone();
        let bytes = &mut changed[index].1;
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        let output = check(&changed);
        assert_code(&output, 1);
        let named = out(&output).contains(name) || name == "SHA256SUMS";
        assert!(named, "{name} changed: {}", out(&output));
        let mut fewer = whole.clone();
        fewer.remove(index);
        let output = check(&fewer);
        assert_code(&output, 1);
        assert!(out(&output).contains(name), "{name} removed: {}", out(&output));
    }
    for name in ["extra.csv", "tables/extra.csv", "SHA256SUMS.note", ".hidden"] {
        let mut more = whole.clone();
        more.push((name.to_owned(), b"=1+1".to_vec()));
        let output = check(&more);
        assert_code(&output, 1);
        assert!(out(&output).contains(name), "{name} added: {}", out(&output));
    }
}

#[test]
fn whoever_changes_a_file_and_writes_the_list_anew_is_found_because_everything_follows_from_the_records() {
    let (ledger, place) = (ledger(), tempfile::tempdir().unwrap());
    let made = place.path().join("made");
    assert_code(&report(&ledger, &made, &[]), 0);
    let whole = files(&made);
    let key = ledger.key();
    let check =
        |files: Vec<(String, Vec<u8>)>| verify(&write(place.path(), &with_sums(files)), &["--key", &key]);
    assert_code(&check(whole.clone()), 0);
    for (index, (name, _)) in whole.iter().enumerate().filter(|(_, (name, _))| name != "SHA256SUMS") {
        // Of the keys that came with it a pack makes no use, and the maker's own verdict stands in pack.json alone.
        if name == "ledger-keys.txt" {
            continue;
        }
        let mut changed = whole.clone();
        let bytes = &mut changed[index].1;
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        let output = check(changed);
        assert_code(&output, 1);
        let mut fewer = whole.clone();
        fewer.remove(index);
        assert_code(&check(fewer), 1);
    }
    let mut more = whole.clone();
    more.push(("tables/extra.csv".to_owned(), b"a".to_vec()));
    assert_code(&check(more), 1);
}

#[test]
fn records_of_the_period_cannot_be_left_out_of_a_pack() {
    let (ledger, place) = (ledger(), tempfile::tempdir().unwrap());
    let made = place.path().join("made");
    assert_code(&report(&ledger, &made, &[]), 0);
    // Another period of the same ledger, whose records are fewer, under the name of the first one.
    let narrow = place.path().join("narrow");
    let path = ledger.path().to_str().unwrap();
    let key = ledger.key();
    let words =
        ["--from", "2026-01-05T10:00:00.002Z", "--to", "2026-01-31", "--out", narrow.to_str().unwrap()];
    assert_code(&world::auditctl(&[&["report", "soc2", path, "--key", &key], &words[..]].concat()), 0);
    let mut forged = files(&made);
    let narrow = files(&narrow);
    for name in ["records.jsonl", "history.jsonl", "pack.json"] {
        let other = narrow.iter().find(|(other, _)| other == name).unwrap().1.clone();
        forged.iter_mut().find(|(own, _)| own == name).unwrap().1 = other;
    }
    let info = forged.iter_mut().find(|(name, _)| name == "pack.json").unwrap();
    let text = String::from_utf8(info.1.clone()).unwrap();
    info.1 = text.replace("2026-01-05T10:00:00.002Z", "2026-01-02T00:00:00Z").into_bytes();
    let output = verify(&write(place.path(), &with_sums(forged)), &["--key", &key]);
    assert_code(&output, 1);
    assert!(out(&output).contains("are not all of the period"), "{}", out(&output));
}

#[test]
fn a_pack_says_that_nothing_shows_what_was_left_out_of_the_time_before() {
    let (ledger, place) = (ledger(), tempfile::tempdir().unwrap());
    let made = place.path().join("made");
    assert_code(&report(&ledger, &made, &[]), 0);
    let checked = verify(&made, &["--key", &ledger.key()]);
    let text = out(&checked);
    assert!(text.contains("Records of the time before: 6, each as it was signed; left out: 1."), "{text}");
    assert!(text.contains("of history.jsonl: that none of the 1 records which were left out"), "{text}");
    assert!(fs::read_to_string(made.join("README.txt")).unwrap().contains("show that none was left out"));
}

#[test]
fn a_mapping_that_is_not_the_programs_own_is_found_although_everything_follows_from_it() {
    let (ledger, place) = (ledger(), tempfile::tempdir().unwrap());
    let key = ledger.key();
    let lenient = Builtin::Soc2.source().replace("lacks = [\"policy\"]", "lacks = [\"object\"]");
    let lenient = Framework::parse(&lenient).unwrap();
    let trust = Trust { keys: vec![ledger.journal.signer.verifier()], ..Trust::default() };
    let basis = Basis::verify(ledger.path(), &trust, &mut |_| {}).unwrap();
    let period = Period::parse("2026-01-02", "2026-01-31").unwrap();
    let report = basis.report(&lenient, period, &TimeZone::UTC, &mut |_| {}).unwrap();
    let made = place.path().join("made");
    basis.pack(&made, (&lenient, &report), None, &mut |_| {}).unwrap();
    let checked = verify(&made, &["--key", &key]);
    assert_code(&checked, 1);
    assert!(out(&checked).contains("not the mapping \"soc2\" that comes with"), "{}", out(&checked));
    // Of another version nobody here knows the mapping.
    let mut other = files(&made);
    let info = other.iter_mut().find(|(name, _)| name == "pack.json").unwrap();
    let text = String::from_utf8(info.1.clone()).unwrap();
    info.1 = text.replace(report.tool, "auditctl 0.0.9").into_bytes();
    let checked = verify(&write(place.path(), &with_sums(other)), &["--key", &key]);
    assert_code(&checked, 3);
    assert!(out(&checked).contains("compare it with that version's own"), "{}", out(&checked));
}

#[test]
fn a_pack_of_a_version_that_chose_its_history_by_other_kinds_is_no_forged_one() {
    let (ledger, place) = (ledger(), tempfile::tempdir().unwrap());
    let key = ledger.key();
    let made = place.path().join("made");
    assert_code(&report(&ledger, &made, &[]), 0);
    let change = |name: &str, from: &str, to: &str, files: &mut Vec<(String, Vec<u8>)>| {
        let file = files.iter_mut().find(|(own, _)| own == name).unwrap();
        let text = String::from_utf8(file.1.clone()).unwrap();
        assert!(text.contains(from), "{name}: {text}");
        file.1 = text.replace(from, to).into_bytes();
    };
    let mut other = files(&made);
    change("history.jsonl", "\"canary.tried\",", "", &mut other);
    // Of this version it would be another choice than its own.
    let pack = write(place.path(), &with_sums(other.clone()));
    assert_code(&verify(&pack, &["--key", &key]), 1);
    let sample = |pack: &Path| {
        auditctl(&["sample", pack.to_str().unwrap(), "--key", &key, "--population", "session.opened"])
    };
    assert_code(&sample(&pack), 1);

    let tool = serde_json::from_slice::<Value>(&fs::read(made.join("pack.json")).unwrap()).unwrap();
    let tool = tool["tool"].as_str().unwrap();
    change("pack.json", tool, "auditctl 0.0.9", &mut other);
    let pack = write(place.path(), &with_sums(other.clone()));
    let checked = verify(&pack, &["--key", &key]);
    assert_code(&checked, 3);
    assert!(out(&checked).contains("chose them by other kinds"), "{}", out(&checked));
    assert_code(&sample(&pack), 0);
    // All else than the kinds is the same in every version.
    change("history.jsonl", "\"selection\":{", "\"selection\":{\"results\":[\"success\"],", &mut other);
    let pack = write(place.path(), &with_sums(other));
    assert_code(&verify(&pack, &["--key", &key]), 1);
    assert_code(&sample(&pack), 1);
}

#[test]
fn a_pack_that_cannot_be_finished_leaves_nothing_behind() {
    let (ledger, place) = (ledger(), tempfile::tempdir().unwrap());
    for name in ["pack", "pack.zip"] {
        let unfinished = PackWriter::create(&place.path().join(name)).unwrap();
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
        let busy = report(&ledger, &place.path().join(name), &[]);
        assert_code(&busy, 3);
        assert!(err(&busy).contains("is being written by another process"), "{}", err(&busy));
        drop(unfinished);
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0, "{name}");
    }
}

#[test]
fn a_signed_pack_stands_under_its_signers_key_and_loses_that_only_openly() {
    let (ledger, place) = (ledger(), tempfile::tempdir().unwrap());
    let secret = place.path().join("secret");
    fs::write(&secret, SIGNING).unwrap();
    let made = place.path().join("made");
    assert_code(&report(&ledger, &made, &["--sign-key", secret.to_str().unwrap()]), 0);
    let key = ledger.key();
    let good = verify(&made, &["--key", &key, "--signer", SIGNER]);
    assert_code(&good, 0);
    assert!(out(&good).contains("The given key (PeterNeumann) signed"), "{}", out(&good));
    assert_code(&verify(&made, &["--key", &key, "--signer", &key]), 1);
    let mut unsigned = files(&made);
    unsigned.retain(|(name, _)| name != "SHA256SUMS.note");
    assert_code(&verify(&write(place.path(), &unsigned), &["--key", &key]), 1);
    // Made again without a signature: good in itself, and not what the signer was asked to answer for.
    let again = place.path().join("again");
    assert_code(&report(&ledger, &again, &[]), 0);
    assert_code(&verify(&again, &["--key", &key]), 0);
    assert_code(&verify(&again, &["--key", &key, "--signer", SIGNER]), 1);
}

#[test]
fn what_strangers_called_themselves_is_no_markup_and_no_formula() {
    let (ledger, place) = (ledger(), tempfile::tempdir().unwrap());
    let made = place.path().join("made");
    assert_code(&report(&ledger, &made, &[]), 0);
    for (name, bytes) in files(&made) {
        let text = String::from_utf8(bytes).unwrap();
        if Path::new(&name).extension().is_some_and(|kind| kind == "html") {
            assert!(!text.contains("<script") && !text.contains("(\"x\")<b>"), "{name}");
        }
        if Path::new(&name).extension().is_some_and(|kind| kind == "csv") {
            assert!(
                !text.contains(",=") && !text.contains("\n=") && !text.contains(",\"="),
                "{name}: {text}"
            );
            // Whatever a spreadsheet splits at, a quoted cell stays one.
            let quoted = |line: &str| line.is_empty() || line.starts_with('"') && line.ends_with('"');
            assert!(text.split("\r\n").all(quoted), "{name}: {text}");
        }
    }
    let access = fs::read_to_string(made.join("tables/access.csv")).unwrap();
    assert!(
        access.contains("grant-1"),
        "what was given before the period and still holds is listed: {access}"
    );
}

#[test]
fn nothing_is_packed_of_an_empty_period_or_over_what_is_there() {
    let (ledger, place) = (ledger(), tempfile::tempdir().unwrap());
    let made = place.path().join("made");
    fs::create_dir(&made).unwrap();
    let output = report(&ledger, &made, &[]);
    assert_code(&output, 3);
    assert!(err(&output).contains("is there already"), "{}", err(&output));
    let path = ledger.path().to_str().unwrap();
    let key = ledger.key();
    let empty = place.path().join("empty");
    let words = ["--from", "2020-01-01", "--to", "2020-01-31", "--out", empty.to_str().unwrap()];
    let output = world::auditctl(&[&["report", "soc2", path, "--key", &key], &words[..]].concat());
    assert_code(&output, 3);
    assert!(err(&output).contains("holds no record") && !empty.exists(), "{}", err(&output));
}

#[test]
fn what_is_no_pack_is_refused_with_a_reason() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("pack.zip");
    fs::write(&file, b"PK nonsense").unwrap();
    assert_code(&verify(&file, &[]), 3);
    assert_code(&verify(&place.path().join("absent"), &[]), 3);
    let folder = place.path().join("folder");
    fs::create_dir(&folder).unwrap();
    assert_code(&verify(&folder, &[]), 1);
}

#[test]
fn keys_what_became_of_them_and_protection_each_have_a_file_that_a_spreadsheet_may_open() {
    let signer = SoftwareSigner::new(ORIGIN, [7; 32]);
    let mut journal = JournalBuilder::new(ORIGIN, signer.clone());
    let done = |kind| Draft::new(kind, Outcome::Success);
    let key = |kind, name: &str| {
        done(kind)
            .detail("role", "tls")
            .detail("algorithm", "=cmd()")
            .detail("fingerprint", name)
            .detail("home", serde_json::json!({ "kind": "software" }))
    };
    journal.group([
        done(Kind::LedgerCreated).detail("origin", ORIGIN).detail("key", signer.verifier().to_string()),
        key(Kind::KeyCreated, "old"),
        key(Kind::KeyLoaded, "old"),
    ]);
    journal.time = "2026-01-05T10:00:00Z".parse().unwrap();
    journal.group([
        key(Kind::KeyCreated, "new"),
        done(Kind::KeyRotated).detail("role", "tls").detail("old", "old").detail("new", "new"),
        done(Kind::SessionOpened)
            .session("sess-1")
            .policy("p1")
            .object("=1+1")
            .detail("tls_version", "1.3")
            .detail("tls_group", "X25519")
            .detail("tls_hybrid", false),
    ]);
    let ledger = Ledger { directory: tempfile::tempdir().unwrap(), journal };
    ledger.write(&ledger.journal);
    let place = tempfile::tempdir().unwrap();
    let pack = place.path().join("pack");
    assert_code(&report(&ledger, &pack, &[]), 0);
    let table = |name: &str| fs::read_to_string(pack.join(format!("tables/{name}.csv"))).unwrap();
    let keys = table("keys");
    assert!(keys.starts_with("\"role\",\"key\",\"algorithm\",\"lives in\","), "{keys}");
    assert!(keys.contains("\"tls\",\"new\",\"'=cmd()\",\"SOFTWARE: sealed file, no token\","), "{keys}");
    assert_eq!(keys.lines().count(), 3);
    let changes = table("key-changes");
    assert!(changes.contains(",\"key.rotated\",\"tls\",\"old\",\"new\","), "{changes}");
    assert_eq!(changes.lines().count(), 3, "what was made before the period is no change of it: {changes}");
    let protection = table("protection");
    assert!(
        protection.contains("\"session\",\"TLS 1.3, X25519\",\"the record does not say\",\"1\"\r\n"),
        "{protection}"
    );
    let others = table("not-hybrid");
    assert!(others.contains(",\"'=1+1\",\"sess-1\","), "{others}");
    assert_code(&verify(&pack, &["--key", &ledger.key()]), 0);
}

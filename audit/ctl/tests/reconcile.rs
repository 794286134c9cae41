//! `auditctl reconcile`: the program's words and exit codes; what it finds is tested where it is decided.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that meets the unexpected fails")]

mod world;

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use sallyport_audit::{Draft, Kind, Outcome};
use serde_json::{Value, json};
use world::{Ledger, ORIGIN, assert_code, err, out};

/// The ledger's records as a sink sends them.
fn rows(ledger: &Ledger) -> Vec<Value> {
    let listed = out(&ledger.run("log", &["--json"]));
    listed
        .lines()
        .zip(1_u64..)
        .map(|(line, sinkseq)| {
            let record: Value = serde_json::from_str(line).unwrap();
            let leaf = sallyport_audit::Digest::leaf(line.as_bytes()).to_string();
            json!({ "origin": ORIGIN, "seq": record["seq"], "leaf": leaf, "sink": "soc", "sinkseq": sinkseq, "record": record })
        })
        .collect()
}

fn file(ledger: &Ledger, name: &str, text: &str) -> PathBuf {
    let path = ledger.path().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

fn ndjson(rows: &[Value]) -> String {
    rows.iter().fold(String::new(), |mut text, row| {
        writeln!(text, "{row}").unwrap();
        text
    })
}

#[test]
fn a_whole_copy_is_contiguous_as_ndjson_json_csv_and_an_answer_of_elasticsearch() {
    let ledger = Ledger::new();
    let rows = rows(&ledger);
    let csv = rows.iter().fold("_time,_raw\n".to_owned(), |mut text, row| {
        let cell = row.to_string().replace('"', "\"\"");
        writeln!(text, "x,\"{cell}\"").unwrap();
        text
    });
    let hits: Vec<Value> = rows.iter().map(|row| json!({ "_source": row })).collect();
    for (name, text) in [
        ("copy.ndjson", ndjson(&rows)),
        ("copy.json", json!(rows).to_string()),
        ("copy.csv", csv),
        ("hits.json", json!({ "hits": { "hits": hits } }).to_string()),
    ] {
        let path = file(&ledger, name, &text);
        let output = ledger.run("reconcile", &[path.to_str().unwrap(), "--json"]);
        assert_code(&output, 0);
        let answer: Value = serde_json::from_str(&out(&output)).unwrap();
        assert_eq!(
            (&answer["verdict"], &answer["proved"]),
            (&json!(["contiguous"]), &json!(8)),
            "{name}: {answer}"
        );
        assert_eq!(answer["sink"], "soc");
    }
}

#[test]
fn what_is_missing_or_changed_is_named_and_the_exit_code_says_so() {
    let ledger = Ledger::new();
    let mut rows = rows(&ledger);
    rows.remove(3);
    rows[5]["record"]["details"]["why"] = "nothing".into();
    let path = file(&ledger, "copy.ndjson", &ndjson(&rows));
    let output = ledger.run("reconcile", &[path.to_str().unwrap()]);
    assert_code(&output, 1);
    let said = out(&output);
    assert!(
        said.contains("3 to 3") && said.contains("record 6") && said.contains("Verdict: altered, gap"),
        "{said}"
    );
}

#[test]
fn rows_of_two_sinks_need_a_choice_and_a_file_without_records_is_not_evaluated() {
    let ledger = Ledger::new();
    let mut rows = rows(&ledger);
    rows[1]["sink"] = "other".into();
    let path = file(&ledger, "copy.ndjson", &ndjson(&rows));
    let output = ledger.run("reconcile", &[path.to_str().unwrap()]);
    assert_code(&output, 2);
    assert!(err(&output).contains("--sink"));
    assert_code(&ledger.run("reconcile", &[path.to_str().unwrap(), "--sink", "soc"]), 1);

    let nothing = file(&ledger, "nothing.csv", "a,b\n1,2\n");
    assert_code(&ledger.run("reconcile", &[nothing.to_str().unwrap()]), 3);
    let broken = file(&ledger, "broken.json", "[{");
    assert_code(&ledger.run("reconcile", &[broken.to_str().unwrap()]), 3);
    assert_code(&ledger.run("reconcile", &[ledger.path().join("absent").to_str().unwrap()]), 3);
}

#[test]
fn a_copy_can_be_held_against_an_export_without_the_ledger() {
    let ledger = Ledger::new();
    let copy = file(&ledger, "copy.ndjson", &ndjson(&rows(&ledger)));
    let export = ledger.path().join("export.jsonl");
    assert_code(&ledger.run("export", &["--out", export.to_str().unwrap()]), 0);
    let run = |more: &[&str]| {
        world::auditctl(&[&["reconcile", export.to_str().unwrap(), copy.to_str().unwrap()], more].concat())
    };
    assert_code(&run(&["--key", &ledger.key()]), 0);
    assert_code(&run(&[]), 2);
    std::fs::write(&export, std::fs::read_to_string(&export).unwrap().replacen("sess-1", "sess-9", 1))
        .unwrap();
    assert_code(&run(&["--key", &ledger.key()]), 1);
}

/// Two more records, as a gateway that runs adds them.
fn grow(ledger: &mut Ledger) {
    ledger.journal.group((0..2).map(|_| Draft::new(Kind::GatewayHeartbeat, Outcome::Success)));
    ledger.write(&ledger.journal);
}

#[test]
fn what_a_running_gateway_adds_between_the_reading_of_its_ledger_and_of_the_copy_is_compared_too() {
    let mut ledger = Ledger::new();
    let copy = ledger.path().join("copy.ndjson");
    assert!(Command::new("mkfifo").arg(&copy).status().unwrap().success());
    let directory = ledger.path().to_owned();
    let running = Command::new(env!("CARGO_BIN_EXE_auditctl"))
        .arg("reconcile")
        .args([&directory, &copy])
        .arg("--json")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A pipe opens when its other end does, which is when the ledger was read.
    let mut pipe = OpenOptions::new().write(true).open(&copy).unwrap();
    grow(&mut ledger);
    pipe.write_all(ndjson(&rows(&ledger)).as_bytes()).unwrap();
    drop(pipe);
    let output = running.wait_with_output().unwrap();
    assert_code(&output, 0);
    let answer: Value = serde_json::from_str(&out(&output)).unwrap();
    assert_eq!((&answer["proved"], &answer["newer"], &answer["foreign"]), (&json!(10), &json!(0), &json!(0)));

    // A ledger that has them no more, as after it was set back, shows it.
    let longer = file(&ledger, "longer.ndjson", &ndjson(&rows(&ledger)));
    ledger.write(&Ledger::new().journal);
    let output = ledger.run("reconcile", &[longer.to_str().unwrap()]);
    assert_code(&output, 1);
    assert!(out(&output).contains("Foreign: 2 rows"), "{}", out(&output));
}

#[test]
fn rows_newer_than_an_export_are_said_to_be_newer_and_not_compared() {
    let mut ledger = Ledger::new();
    let export = ledger.path().join("export.jsonl");
    assert_code(&ledger.run("export", &["--out", export.to_str().unwrap()]), 0);
    grow(&mut ledger);
    let copy = file(&ledger, "copy.ndjson", &ndjson(&rows(&ledger)));
    let key = ledger.key();
    let output =
        world::auditctl(&["reconcile", export.to_str().unwrap(), copy.to_str().unwrap(), "--key", &key]);
    assert_code(&output, 0);
    let said = out(&output);
    assert!(said.contains("Newer: 2 rows") && said.contains("Verdict: contiguous"), "{said}");
}

#[test]
fn a_copy_that_keeps_no_text_proves_nothing_unless_number_and_hash_are_to_do() {
    let ledger = Ledger::new();
    let mut rows = rows(&ledger);
    rows[3]["record"] = "gone".into();
    let path = file(&ledger, "copy.ndjson", &ndjson(&rows));
    let copy = path.to_str().unwrap();
    let output = ledger.run("reconcile", &[copy]);
    assert_code(&output, 3);
    assert!(out(&output).contains("Verdict: unproved"), "{}", out(&output));
    assert!(err(&output).contains("of 1 record only number and hash"), "{}", err(&output));
    assert_code(&ledger.run("reconcile", &[copy, "--accept-claims"]), 0);
    // What is worse is not passed over.
    rows.remove(5);
    let path = file(&ledger, "copy.ndjson", &ndjson(&rows));
    let output = ledger.run("reconcile", &[path.to_str().unwrap()]);
    assert_code(&output, 1);
    assert!(out(&output).contains("Verdict: gap, unproved"), "{}", out(&output));
    assert_code(&ledger.run("reconcile", &[path.to_str().unwrap(), "--accept-claims"]), 1);
}

//! `auditctl report` on real files: the verdict comes first, and the same question gets the same bytes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
};

use sallyport_audit::{
    Draft, Kind, Outcome,
    testing::{JournalBuilder, SoftwareSigner},
};
use serde_json::Value;
use tempfile::TempDir;

const ORIGIN: &str = "gateway.example.org/ledger";

struct Ledger {
    directory: TempDir,
    key: String,
}

impl Ledger {
    /// One session as it should be, one without its policy; all on 2026-01-01.
    fn new() -> Self {
        let signer = SoftwareSigner::new(ORIGIN, [7; 32]);
        let key = signer.verifier().to_string();
        let mut journal = JournalBuilder::new(ORIGIN, signer);
        journal.group([
            Draft::new(Kind::LedgerCreated, Outcome::Success)
                .detail("origin", ORIGIN)
                .detail("key", key.clone()),
            Draft::new(Kind::SessionOpened, Outcome::Success).session("sess-1").policy("p1"),
            Draft::new(Kind::SessionOpened, Outcome::Success).session("sess-2").object("tunnel:<b>demo</b>"),
            Draft::new(Kind::GatewayStopped, Outcome::Success),
        ]);
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path().join("journal");
        fs::create_dir_all(&folder).unwrap();
        for (name, bytes) in &journal.segments {
            fs::write(folder.join(name), bytes).unwrap();
        }
        fs::write(directory.path().join("head"), journal.head_file()).unwrap();
        Self { directory, key }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn report(&self, framework: &str, rest: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_auditctl"))
            .args(["report", framework])
            .arg(self.directory.path())
            .args(["--key", &self.key])
            .args(rest)
            .output()
            .unwrap()
    }
}

const JANUARY: [&str; 4] = ["--from", "2026-01-01", "--to", "2026-01-31"];

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn the_same_question_gets_the_same_bytes() {
    let ledger = Ledger::new();
    for framework in ["soc2", "iso27001", "hipaa", "pci", "nist"] {
        let (first, second) = (ledger.file("first.html"), ledger.file("second.html"));
        let outputs = [&first, &second].map(|path| {
            let output = ledger
                .report(framework, &[&JANUARY[..], &["--json", "--html", path.to_str().unwrap()]].concat());
            assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
            output.stdout
        });
        assert_eq!(outputs[0], outputs[1]);
        assert_eq!(fs::read(&first).unwrap(), fs::read(&second).unwrap());
        let report: Value = serde_json::from_slice(&outputs[0]).unwrap();
        assert_eq!(report["population"]["count"], 4);
        assert_eq!(report["verdict"]["integrity"]["state"], "pass");
    }
}

#[test]
fn the_verdict_is_stated_and_exceptions_are_named() {
    let output = Ledger::new().report("soc2", &JANUARY);
    assert!(text(&output.stderr).starts_with("Verified: "), "{}", text(&output.stderr));
    let summary = text(&output.stdout);
    assert!(summary.contains("4 records, numbers 0 to 3"), "{summary}");
    assert!(summary.contains("CC6.1                    1 to explain"), "{summary}");
    assert!(summary.contains("the first is 2"), "{summary}");
    assert!(summary.contains("does not prove"), "{summary}");
}

#[test]
fn what_a_publisher_called_itself_is_text_on_the_page() {
    let ledger = Ledger::new();
    let page = ledger.file("page.html");
    ledger.report("soc2", &[&JANUARY[..], &["--html", page.to_str().unwrap()]].concat());
    let page = fs::read_to_string(page).unwrap();
    assert!(page.contains("tunnel:&#60;b&#62;demo"), "escaped");
    assert!(!page.contains("<b>demo"));
}

#[test]
fn an_empty_period_could_not_be_evaluated() {
    let output = Ledger::new().report("hipaa", &["--from", "2020-01-01", "--to", "2020-12-31"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stdout).contains("not evaluated: the period holds no record"));
}

#[test]
fn one_changed_byte_makes_everything_not_evaluated_and_the_exit_code_one() {
    let ledger = Ledger::new();
    let path = ledger.file("journal/00000000000000000000.seg");
    let mut bytes = fs::read(&path).unwrap();
    let place = bytes.windows(6).position(|window| window == b"sess-1").unwrap();
    bytes[place + 5] = b'9';
    fs::write(&path, bytes).unwrap();
    let output = ledger.report("soc2", &JANUARY);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("BROKEN"), "{}", text(&output.stderr));
    let summary = text(&output.stdout);
    assert!(summary.contains("NOTHING MAY BE CONCLUDED"), "{summary}");
    assert!(!summary.contains(" evidence\n") && !summary.contains("to explain"), "{summary}");
}

#[test]
fn a_question_that_makes_no_sense_is_a_usage_error() {
    let ledger = Ledger::new();
    for (framework, rest) in [
        ("cobit", &JANUARY[..]),
        ("soc2", &["--from", "2026-02-01", "--to", "2026-01-01"]),
        ("soc2", &["--from", "January", "--to", "2026-01-01"]),
        ("soc2", &["--from", "2026-01-01"]),
    ] {
        let output = ledger.report(framework, rest);
        assert_eq!(output.status.code(), Some(2), "{framework} {rest:?}");
        assert!(!output.stderr.is_empty());
    }
}

#[test]
fn a_page_that_cannot_be_written_is_an_error_that_names_it() {
    let output =
        Ledger::new().report("soc2", &[&JANUARY[..], &["--html", "/nonexistent/page.html"]].concat());
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stderr).contains("/nonexistent/page.html"), "{}", text(&output.stderr));
}

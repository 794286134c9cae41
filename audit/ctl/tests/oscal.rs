//! The OSCAL of a pack, read by a program that is not ours.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

mod world;

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use world::{Ledger, assert_code, auditctl, err, out};

/// compliance-trestle, in an environment of its own.
fn trestle(workspace: &Path, words: &[&str]) -> Output {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/oscal/bin/trestle");
    assert!(program.exists(), "compliance-trestle is not there: run scripts/prepare test");
    Command::new(program).args(words).current_dir(workspace).output().unwrap()
}

#[test]
fn compliance_trestle_takes_the_oscal_of_every_framework() {
    let ledger = Ledger::new();
    let place = tempfile::tempdir().unwrap();
    let workspace = place.path().join("workspace");
    std::fs::create_dir(&workspace).unwrap();
    assert_code(&trestle(&workspace, &["init"]), 0);
    for framework in ["soc2", "iso27001", "hipaa", "pci", "nist"] {
        let pack = place.path().join(framework);
        let (path, key) = (ledger.path().to_str().unwrap(), ledger.key());
        let words = ["--from", "2026-01-01", "--to", "2026-01-31", "--out", pack.to_str().unwrap()];
        assert_code(&auditctl(&[&["report", framework, path, "--key", &key], &words[..]].concat()), 0);
        for (file, model) in [("assessment-plan", "ap"), ("assessment-results", "ar")] {
            let document = pack.join(format!("oscal/{file}.json"));
            let name = format!("{model}-{framework}");
            let imported = trestle(&workspace, &["import", "-f", document.to_str().unwrap(), "-o", &name]);
            assert_code(&imported, 0);
        }
        let text = std::fs::read(pack.join("oscal/assessment-results.json")).unwrap();
        let results: Value = serde_json::from_slice(&text).unwrap();
        let result = &results["assessment-results"]["results"][0];
        assert!(!result["observations"].as_array().unwrap().is_empty());
        assert!(result.get("findings").is_none(), "whether a control is met is not ours to say");
    }
    let valid = trestle(&workspace, &["validate", "-a"]);
    assert_code(&valid, 0);
    // It does find faults: a document with one field taken out.
    let document = place.path().join("soc2/oscal/assessment-results.json");
    let mut value: Value = serde_json::from_slice(&std::fs::read(&document).unwrap()).unwrap();
    value["assessment-results"].as_object_mut().unwrap().remove("import-ap");
    std::fs::write(&document, value.to_string()).unwrap();
    let broken = trestle(&workspace, &["import", "-f", document.to_str().unwrap(), "-o", "broken"]);
    assert_ne!(broken.status.code(), Some(0), "{}{}", out(&broken), err(&broken));
}

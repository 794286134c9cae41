//! The catalogue of events in `docs/events.md` is what the code says.
//!
//! `SALLYPORT_WRITE_DOCS=1 cargo test -p sallyport-audit --all-features --test events` writes it anew.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

use std::{fmt::Write as _, fs, path::Path};

use sallyport_audit::{Kind, Outcome, Personal, severity::severity};

const HEAD: &str = "\
# Events

What a Sallyport ledger can hold: a closed set of kinds. A verifier refuses a record of a kind that it does not know.

This page is generated from the code (`audit/src/kind.rs`, `audit/src/severity.rs`) and compared with it by a test.
The layout of a record is specified in [ledger-format.md](ledger-format.md); how records reach a SIEM, in [siem.md](siem.md).

The three numbers are the syslog severities (RFC 5424 table 2) of the kind when it ends in `success`, `denied` and
`failure`: 2 critical, 3 error, 4 warning, 5 notice, 6 informational.
";

#[test]
fn the_catalogue_of_events_is_what_the_code_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/events.md");
    let wanted = catalogue();
    if std::env::var_os("SALLYPORT_WRITE_DOCS").is_some() {
        fs::write(&path, &wanted).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(found == wanted, "docs/events.md is out of date: run this test with SALLYPORT_WRITE_DOCS=1");
}

fn catalogue() -> String {
    let mut text = HEAD.to_owned();
    let mut family = "";
    for kind in Kind::ALL {
        let (this, _) = kind.as_str().split_once('.').unwrap();
        if this != family {
            family = this;
            write!(text, "\n## {family}\n\n| Kind | What it says | Severity |\n|---|---|---|\n").unwrap();
        }
        let [success, denied, failure] =
            [Outcome::Success, Outcome::Denied, Outcome::Failure].map(|result| severity(*kind, result));
        let meaning = kind.meaning().trim();
        writeln!(text, "| `{kind}` | {meaning} | {success} · {denied} · {failure} |").unwrap();
    }
    text.push_str(
        "\n## Personal fields\n\nIn the record as salted commitments, readable values beside it, sealed.\n\n",
    );
    for field in Personal::ALL {
        writeln!(text, "- `{field}`").unwrap();
    }
    text
}

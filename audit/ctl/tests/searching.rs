//! Searching a ledger of more than one span: with the index, without it, with a spoilt one, where none may be written.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that meets the unexpected fails")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::OnceLock;

use sallyport_audit::testing::{JournalBuilder, SoftwareSigner};
use sallyport_audit::{Draft, Kind, Outcome};
use serde_json::Value;

mod world;

use world::{ORIGIN, assert_code, err, out};

const RECORDS: u64 = 34_000;

struct Ledger {
    folder: tempfile::TempDir,
}

fn files() -> &'static [(String, Vec<u8>)] {
    static SEGMENTS: OnceLock<Vec<(String, Vec<u8>)>> = OnceLock::new();
    SEGMENTS.get_or_init(|| {
        let mut journal = JournalBuilder::new(ORIGIN, SoftwareSigner::new(ORIGIN, [7; 32]));
        for first in (0..RECORDS).step_by(1000) {
            journal.group((first..first + 1000).map(|n| {
                let (kind, result) = match n % 1000 {
                    7 => (Kind::SessionRefused, Outcome::Denied),
                    _ => (Kind::HttpRequest, Outcome::Success),
                };
                Draft::new(kind, result).object("tunnel:demo").session(format!("sess-{}", n / 100))
            }));
            if first % 10_000 == 9_000 {
                journal.rotate();
            }
        }
        let segments =
            journal.segments.iter().map(|(name, bytes)| (format!("journal/{name}"), bytes.clone()));
        segments.chain([("head".to_owned(), journal.head_file())]).collect()
    })
}

impl Ledger {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("ledger/journal")).unwrap();
        for (name, bytes) in files() {
            fs::write(folder.path().join("ledger").join(name), bytes).unwrap();
        }
        Self { folder }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("ledger")
    }

    fn run(&self, words: &[&str]) -> Output {
        let ledger = self.path().display().to_string();
        let words: Vec<_> =
            words.iter().map(|word| if *word == "LEDGER" { ledger.as_str() } else { word }).collect();
        Command::new(env!("CARGO_BIN_EXE_auditctl"))
            .args(words)
            .env("XDG_CACHE_HOME", self.folder.path().join("cache"))
            .output()
            .unwrap()
    }

    fn numbers(&self, words: &[&str]) -> (Vec<u64>, String) {
        let output = self.run(&[&["search", "LEDGER", "--json"], words].concat());
        assert_code(&output, 0);
        let number = |line: &str| serde_json::from_str::<Value>(line).unwrap()["seq"].as_u64().unwrap();
        (out(&output).lines().map(number).collect(), err(&output))
    }
}

#[test]
fn the_first_search_makes_an_index_and_later_ones_find_the_same_with_it() {
    let ledger = Ledger::new();
    let refused: Vec<u64> = (0..34).map(|n| n * 1000 + 7).collect();
    let (found, said) = ledger.numbers(&["--kind", "session.refused"]);
    assert_eq!(found, refused);
    assert!(said.contains("making an index"), "{said}");
    let (again, said) = ledger.numbers(&["--kind", "session.refused"]);
    assert_eq!(again, refused);
    assert!(!said.contains("making an index") && said.contains("not checked"), "{said}");
    assert_eq!(fs::read_dir(ledger.path().join("index")).unwrap().count(), 2);
    assert_eq!(ledger.numbers(&["--kind", "session.refused", "--no-index"]).0, refused);

    let (newest, _) = ledger.numbers(&["--session", "sess-3", "--newest", "--limit", "3"]);
    assert_eq!(newest, [399, 398, 397]);
    assert_eq!(ledger.numbers(&["--session", "sess-3", "--last", "3"]).0, [397, 398, 399]);
    assert_eq!(
        ledger.numbers(&["--result", "denied", "--from", "30000"]).0,
        [30_007, 31_007, 32_007, 33_007]
    );
    let output = ledger.run(&["search", "LEDGER", "--session", "sess-170", "--count"]);
    assert_eq!(out(&output), "100\n");
    assert_eq!(ledger.numbers(&["--text", "sess-201\"", "--limit", "1"]).0, [] as [u64; 0]);
    assert_eq!(ledger.numbers(&["--text", "sess-201", "--limit", "1"]).0, [20_100]);
}

#[test]
fn counting_by_the_index_says_so_and_is_what_reading_everything_counts() {
    let ledger = Ledger::new();
    let json = |words: &[&str]| -> (Value, String) {
        let output = ledger.run(&[&["stats", "LEDGER", "--json"], words].concat());
        assert_code(&output, 0);
        (serde_json::from_str(&out(&output)).unwrap(), err(&output))
    };
    for filter in
        [&[][..], &["--kind", "session"], &["--session", "sess-3"], &["--from", "100", "--to", "33000"]]
    {
        let (mut quick, _) = json(filter);
        let (mut exact, said) = json(&[filter, &["--exact"]].concat());
        assert!(!said.contains("by the index"), "{said}");
        assert_eq!(exact["counted_by_index"], 0);
        quick["counted_by_index"] = 0.into();
        exact["counted_by_index"] = 0.into();
        assert_eq!(quick, exact, "{filter:?}");
    }
    let (all, said) = json(&[]);
    assert_eq!((all["counted_by_index"].as_u64(), all["refusals"].as_u64()), (Some(32_768), Some(34)));
    assert!(said.contains("32,768 records were counted by the index, which is not verified"), "{said}");
}

#[test]
fn a_spoilt_index_is_named_and_the_answer_is_right() {
    let ledger = Ledger::new();
    let (expected, _) = ledger.numbers(&["--session", "sess-3"]);
    let file = ledger.path().join("index/00000000000000000000.idx");
    let good = fs::read(&file).unwrap();
    let flipped = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        bytes
    };
    for bad in [flipped(40), flipped(good.len() / 2), good[..good.len() / 3].to_vec(), Vec::new()] {
        fs::write(&file, &bad).unwrap();
        // A directory that nobody may write to keeps it from being mended.
        let elsewhere = ledger.folder.path().join("file");
        fs::write(&elsewhere, "").unwrap();
        let elsewhere = elsewhere.display().to_string();
        let (found, said) = ledger.numbers(&["--session", "sess-3", "--index-dir", &elsewhere]);
        assert_eq!(found, expected);
        let warned = said.contains("warning:") && said.contains("00000000000000000000.idx");
        assert!(warned || bad.len() == good.len(), "{said}");
    }
    let checked = ledger.run(&["index", "check", "LEDGER"]);
    assert_code(&checked, 1);
    assert!(out(&checked).contains("wrong:"), "{}", out(&checked));
    assert_code(&ledger.run(&["index", "make", "LEDGER"]), 0);
    let checked = ledger.run(&["index", "check", "LEDGER"]);
    assert_code(&checked, 0);
    assert!(out(&checked).contains("2 index files over 32,768 records"), "{}", out(&checked));
    assert_eq!(fs::read(&file).unwrap(), good);
}

#[test]
fn a_ledger_of_somebody_else_is_indexed_in_the_cache() {
    let ledger = Ledger::new();
    // Root may write anywhere, so the place itself is taken: the name cannot be a directory.
    fs::write(ledger.path().join("index"), "").unwrap();
    fs::set_permissions(ledger.path(), fs::Permissions::from_mode(0o555)).unwrap();
    let place = ledger.folder.path().join("given").display().to_string();
    let (found, said) = ledger.numbers(&["--session", "sess-3", "--index-dir", &place]);
    assert_eq!(found.len(), 100);
    assert!(said.contains("making an index"), "{said}");
    let (again, said) = ledger.numbers(&["--session", "sess-3", "--index-dir", &place]);
    assert_eq!(again, found);
    assert!(!said.contains("making"), "{said}");
    fs::set_permissions(ledger.path(), fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn conditions_that_nothing_can_meet_are_refused_with_the_reason() {
    let ledger = Ledger::new();
    for (words, reason) in [
        (&["--from", "9", "--to", "3"][..], "from 9 to 3"),
        (&["--from-time", "2026-02-01", "--to-time", "2026-01-01"], "no time lies between"),
        (&["--kind", "session.imagined"], "no such kind"),
        (&["--newest", "--follow"], "cannot be used with"),
        (&["--no-index", "--index-dir", "x"], "cannot be used with"),
    ] {
        let output = ledger.run(&[&["search", "LEDGER"], words].concat());
        assert_code(&output, 2);
        assert!(err(&output).contains(reason), "{}", err(&output));
    }
}

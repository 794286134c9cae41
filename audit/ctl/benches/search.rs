//! How long `auditctl` takes to answer on a large ledger: each question by a process of its own, with the index
//! and, for comparison, without.
//!
//! `cargo bench -p auditctl --bench search -- --records 1000000`. The last line is one line of JSON: for each
//! question the least and the middle of the milliseconds over `--runs` runs.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a program for ourselves")]

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use sallyport_audit::testing::{JournalBuilder, SoftwareSigner};
use sallyport_audit::{Draft, Kind, Outcome};
use serde_json::{Map, Value, json};

const GROUP: usize = 500;
const EACH: u64 = GROUP as u64;

/// What a gateway records: sessions of eight requests, now and then a refusal, now and then an approval.
fn draft(n: u64) -> Draft {
    let session = format!("sess-{:032x}", n / 10);
    let (kind, result) = match n % 10 {
        0 => (Kind::SessionOpened, Outcome::Success),
        9 => (Kind::SessionClosed, Outcome::Success),
        5 if n % 5000 == 5 => (Kind::SessionRefused, Outcome::Denied),
        _ => (Kind::HttpRequest, Outcome::Success),
    };
    Draft::new(kind, result)
        .subject(format!("user:{}", n / 10 % 997))
        .source("203.0.113.7:44321")
        .path("/reports/2026/january?page=4")
        .action("GET")
        .object(format!("tunnel:{}", n / 10 % 40))
        .grant(format!("grant-{}", n / 10_000))
        .correlation(format!("{n:032x}"))
        .session(session)
        .detail("status", 200)
        .detail("bytes", n)
}

fn fill(directory: &Path, records: u64) {
    let origin = "gateway.example.org/ledger";
    let mut journal = JournalBuilder::new(origin, SoftwareSigner::new(origin, [7; 32]));
    std::fs::create_dir_all(directory.join("journal")).unwrap();
    for first in (0..records).step_by(GROUP) {
        journal.group((first..records.min(first + EACH)).map(draft));
        if journal.segments.last().is_some_and(|(_, bytes)| bytes.len() > 64 << 20) || first + EACH >= records
        {
            let (name, bytes) = journal.segments.pop().unwrap();
            std::fs::write(directory.join("journal").join(name), bytes).unwrap();
            if first + EACH < records {
                journal.rotate();
            }
        }
    }
    std::fs::write(directory.join("head"), journal.head_file()).unwrap();
}

fn run(words: &[&str]) -> (f64, usize) {
    let before = Instant::now();
    let output = Command::new(env!("CARGO_BIN_EXE_auditctl")).args(words).output().expect("it runs");
    let elapsed = before.elapsed().as_secs_f64() * 1000.0;
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    (elapsed, String::from_utf8_lossy(&output.stdout).lines().count())
}

fn main() {
    let arguments: Vec<_> = std::env::args().collect();
    let number = |name: &str, usual: u64| {
        let at = arguments.iter().position(|argument| argument == name);
        at.and_then(|at| arguments.get(at + 1)?.parse().ok()).unwrap_or(usual)
    };
    let (records, runs) = (number("--records", 1_000_000), number("--runs", 5));
    let folder = tempfile::tempdir().unwrap();
    let ledger = folder.path().display().to_string();
    fill(folder.path(), records);
    let (make, _) = run(&["index", "make", &ledger]);
    println!("{records} records; index made in {make:.0} ms");
    let last = format!("{}", records - 100_000.min(records));
    let session = format!("sess-{:032x}", records / 23);
    let cause = format!("{:032x}", records / 3);
    let questions: [(&str, Vec<&str>); 9] = [
        ("session", vec!["--session", &session]),
        ("correlation", vec!["--correlation", &cause]),
        ("grant-newest-20", vec!["--grant", "grant-3", "--newest", "--limit", "20"]),
        ("kind-refused", vec!["--kind", "session.refused"]),
        ("object-and-result", vec!["--object", "tunnel:5", "--result", "denied"]),
        ("object-limit-20", vec!["--object", "tunnel:5", "--limit", "20"]),
        ("time-newest-20", vec!["--from-time", "2026-01-01T00:10:00Z", "--newest", "--limit", "20"]),
        ("kind-from", vec!["--kind", "session.refused", "--from", &last]),
        ("nothing", vec!["--session", "sess-none"]),
    ];
    let mut answers = Map::new();
    let mut ask = |name: &str, words: &[&str]| {
        let mut taken: Vec<_> = (0..runs).map(|_| run(words)).collect();
        taken.sort_by(|one, other| one.0.total_cmp(&other.0));
        let (quickest, lines) = taken.first().copied().unwrap_or_default();
        let middle = taken.get(taken.len() / 2).map_or(0.0, |middle| middle.0);
        println!("{name:<32} least {quickest:>9.1} ms   middle {middle:>9.1} ms   {lines} lines");
        answers.insert(name.to_owned(), json!({ "least_ms": quickest, "middle_ms": middle, "lines": lines }));
    };
    for (name, words) in &questions {
        ask(name, &[&["search", &ledger][..], words].concat());
    }
    ask("stats", &["stats", &ledger]);
    ask("stats-exact", &["stats", &ledger, "--exact"]);
    ask("session-no-index", &["search", &ledger, "--session", &session, "--no-index"]);
    let bytes = |folder: &str| -> u64 {
        let files = std::fs::read_dir(Path::new(&ledger).join(folder)).unwrap();
        files.flatten().filter_map(|file| Some(file.metadata().ok()?.len())).sum()
    };
    let per = |folder: &str| Value::from(bytes(folder) / records.max(1));
    println!(
        "{}",
        json!({
            "bench": "search", "records": records, "index_make_ms": make, "answers": answers,
            "journal_bytes_per_record": per("journal"), "index_bytes_per_record": per("index"),
        })
    );
}

//! How long a report over a large ledger takes, and how much memory: the report alone, the pack, and checking the pack.
//!
//! `cargo bench -p auditctl --bench report -- --records 1000000`. The last line is one line of JSON. With `--keep FOLDER`
//! ledger and pack stay there, to be looked at.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a program for ourselves")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use sallyport_audit::testing::{JournalBuilder, SoftwareSigner};
use sallyport_audit::{Draft, Kind, Outcome};
use serde_json::json;

const ORIGIN: &str = "gateway.example.org/ledger";
const GROUP: u64 = 100;
const DAYS: u64 = 31;

/// What a gateway records in a hundred records: a request, its approval, sessions, refusals, signs of life.
#[expect(clippy::too_many_lines, reason = "a list of records")]
fn drafts(n: u64) -> Vec<Draft> {
    let done = |kind| Draft::new(kind, Outcome::Success).detail("tenant", "main");
    let (request, grant) = (format!("req-{n:032x}"), format!("grant-{n:032x}"));
    let object = format!("tunnel:service-{}", n % 40);
    let mut all = vec![
        done(Kind::GatewayHeartbeat).detail("sessions", n % 17),
        done(Kind::TokenIssued)
            .target(format!("user:{}", n % 997))
            .detail("token", format!("tok-{n:032x}"))
            .detail("purpose", "access")
            .detail("expires", "2026-03-01T00:00:00Z"),
        done(Kind::AccessRequested)
            .correlation(&*request)
            .subject(format!("user:{}", n % 997))
            .object(&*object)
            .action("connect")
            .detail("minutes", 60),
    ];
    if n % 7 == 3 {
        all.push(
            Draft::new(Kind::AccessApproved, Outcome::Denied)
                .correlation(&*request)
                .detail("refusal", "own-request"),
        );
    }
    all.push(
        done(Kind::AccessApproved)
            .correlation(&*request)
            .subject("user:alice")
            .target(format!("user:{}", n % 997)),
    );
    all.push(
        done(Kind::GrantIssued)
            .correlation(&*request)
            .grant(&*grant)
            .object(&*object)
            .action("connect")
            .target(format!("user:{}", n % 997))
            .policy("p1")
            .detail("approvals", 1)
            .detail("ends", "2026-01-20T00:00:00Z"),
    );
    for (control, answer) in [
        ("self-approval", "own-request"),
        ("expired-grant", "grant-expired"),
        ("revoked-token", "revoked"),
        ("altered-record", "found"),
    ] {
        if n.is_multiple_of(24) {
            all.push(
                done(Kind::CanaryTried)
                    .detail("control", control)
                    .detail("answer", answer)
                    .detail("every_secs", 86_400),
            );
        }
    }
    match n % 50 {
        1 => all.push(
            Draft::new(Kind::SinkFailed, Outcome::Failure)
                .object("sink:splunk")
                .detail("reason", "connection refused"),
        ),
        2 => all.push(done(Kind::SinkConnected).object("sink:splunk")),
        7 => all.push(
            done(Kind::GlassBroken)
                .grant(&*grant)
                .object(&*object)
                .action("connect")
                .policy("p1")
                .detail("skipped", 2),
        ),
        9 => all.push(
            done(Kind::PolicyLoaded)
                .policy(format!("p{}", n / 50))
                .detail("rules", 12)
                .detail("previous", "p0"),
        ),
        _ => {}
    }
    for failed in 0..n % 5 {
        let reason = if failed == 0 { "expired" } else { "signature" };
        all.push(
            Draft::new(Kind::AuthFailed, Outcome::Denied).source("203.0.113.7:4432").detail("reason", reason),
        );
    }
    let sessions = 8;
    for s in 0..sessions {
        let session = format!("sess-{:032x}", n * sessions + s);
        all.push(
            done(Kind::SessionOpened)
                .session(&*session)
                .grant(&*grant)
                .object(&*object)
                .policy("p1")
                .subject(format!("user:{}", n % 997))
                .source("203.0.113.7:4432")
                .detail("credential", format!("tok-{n:032x}")),
        );
        for page in 0..8 {
            all.push(
                done(Kind::HttpRequest)
                    .session(&*session)
                    .object(&*object)
                    .action("GET")
                    .path("/reports/january")
                    .detail("status", 200)
                    .detail("page", page),
            );
        }
        let mut closed = done(Kind::SessionClosed)
            .session(&*session)
            .grant(&*grant)
            .object(&*object)
            .detail("bytes_up", 900)
            .detail("bytes_down", 70_000)
            .detail("requests", 8)
            .detail("duration_ms", 61_000 + n);
        if s == 0 {
            closed = closed
                .detail("cause", if n.is_multiple_of(3) { "locked" } else { "grant-expired" })
                .detail("last_byte_after_us", 400 + n % 900);
        }
        all.push(closed);
    }
    all
}

/// A ledger of a month.
fn fill(directory: &Path, records: u64) -> String {
    let signer = SoftwareSigner::new(ORIGIN, [7; 32]);
    let key = signer.verifier().to_string();
    let mut journal = JournalBuilder::new(ORIGIN, signer);
    std::fs::create_dir_all(directory.join("journal")).unwrap();
    let done = |kind| Draft::new(kind, Outcome::Success);
    journal.group([
        done(Kind::LedgerCreated).detail("origin", ORIGIN).detail("key", key.clone()),
        done(Kind::GatewayStarted).detail("version", "0.1.0").detail("binary_sha256", "b1"),
        done(Kind::ConfigLoaded).detail("sha256", "c1"),
        done(Kind::PolicyLoaded).policy("p1").detail("rules", 12),
    ]);
    let begin = journal.time;
    let groups = records.div_ceil(GROUP).max(1);
    let step = SignedDuration::from_secs(i64::try_from(DAYS * 86_400 / groups.max(1)).unwrap());
    for n in 0..groups {
        journal.time = begin.checked_add(step * i32::try_from(n + 1).unwrap()).unwrap();
        journal.group(drafts(n));
        if journal.segments.last().is_some_and(|(_, bytes)| bytes.len() > 64 << 20) {
            let (name, bytes) = journal.segments.pop().unwrap();
            std::fs::write(directory.join("journal").join(name), bytes).unwrap();
            journal.rotate();
        }
    }
    let (name, bytes) = journal.segments.pop().unwrap();
    std::fs::write(directory.join("journal").join(name), bytes).unwrap();
    std::fs::write(directory.join("head"), journal.head_file()).unwrap();
    key
}

/// Seconds and the most memory in MiB that a run of `auditctl` took.
fn run(words: &[&str]) -> (f64, u64) {
    let before = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_auditctl"))
        .args(words)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it runs");
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    let exit = loop {
        if let Ok(text) = std::fs::read_to_string(&status) {
            let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
            peak = peak.max(kib.unwrap_or(0));
        }
        match child.try_wait().unwrap() {
            Some(exit) => break exit,
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    assert!(exit.success(), "{words:?}: {exit}");
    (before.elapsed().as_secs_f64(), peak >> 10)
}

fn main() {
    let arguments: Vec<_> = std::env::args().collect();
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name);
        at.and_then(|at| arguments.get(at + 1)).cloned()
    };
    let records = value("--records").and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    let temporary = tempfile::tempdir().unwrap();
    let folder = value("--keep").map_or_else(|| temporary.path().to_owned(), PathBuf::from);
    let key = fill(&folder.join("ledger"), records);
    std::fs::write(folder.join("ledger.vkey"), &key).unwrap();
    let text = |name: &str| folder.join(name).display().to_string();
    let (ledger, zip, pack) = (text("ledger"), text("pack.zip"), text("pack"));
    let about = ["--key", &key, "--from", "2026-01-01", "--to", "2026-01-31"];
    let mut answers = serde_json::Map::new();
    let mut measure = |name: &str, words: &[&str]| {
        let (seconds, mib) = run(words);
        println!("{name:<12} {seconds:>8.2} s   {mib:>6} MiB at most");
        answers.insert(name.to_owned(), json!({ "seconds": seconds, "peak_mib": mib }));
    };
    measure("verify", &["verify", &ledger, "--key", &key]);
    measure("report", &[&["report", "soc2", &ledger][..], &about].concat());
    measure("pack", &[&["report", "soc2", &ledger, "--out", &zip][..], &about].concat());
    if value("--keep").is_some() {
        measure("folder", &[&["report", "soc2", &ledger, "--out", &pack][..], &about].concat());
    }
    measure("verify-pack", &["verify-pack", &zip, "--key", &key]);
    measure("sample", &["sample", &zip, "--key", &key, "--population", "session.opened"]);
    let grant = format!("grant-{:032x}", 5);
    measure("dossier", &["dossier", &grant, &zip, "--key", &key, "--out", &text("dossier.json")]);
    let bytes = std::fs::metadata(&zip).unwrap().len();
    println!("{}", json!({ "bench": "report", "records": records, "runs": answers, "zip_bytes": bytes }));
}

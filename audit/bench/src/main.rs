//! The ledger beside what it could be replaced by, in one run on one disk.
//!
//! Each subject takes records of the same size from the same number of writers, each of which waits until its
//! record is durable before it goes on; all of them commit in groups of what has arrived, up to 4,096 records.
//!
//! - `plain`: a file, appended to and `fdatasync`ed once per group. The physical limit.
//! - `ledger`: canonical records, hash chain, tree, heads signed by a key in memory, journal, and sled behind it.
//! - `ledger-softhsm`: the same with heads signed in a SoftHSM token, through the gateway's own key provider.
//! - `sqlite`: WAL with `synchronous=FULL`, one transaction per group.
//! - `sled`: one batch and one `flush` per group. Its flush does not survive a power cut.
//!
//! Each subject runs in a process of its own, so that its memory is its own. The last line is one line of JSON.
//!
//! `--seconds N` per point (3), `--sustained N` seconds (60), `--records N` for reopening and verifying
//! (1000000), `--directory DIR` where to write (the system's temporary directory).

mod committer;
mod large;
mod load;
mod subject;

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use subject::Subject;

const WRITERS: [usize; 5] = [1, 16, 64, 256, 1024];
const SUBJECTS: [&str; 5] = ["plain", "ledger", "ledger-softhsm", "sqlite", "sled"];

struct Arguments(Vec<String>);

impl Arguments {
    fn after(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .position(|argument| argument == name)
            .and_then(|at| self.0.get(at + 1))
            .map(String::as_str)
    }

    fn number(&self, name: &str, usual: u64) -> u64 {
        self.after(name).map_or(usual, |text| text.parse().expect("a number"))
    }
}

fn main() {
    let arguments = Arguments(std::env::args().collect());
    let directory = arguments.after("--directory").map_or_else(std::env::temp_dir, PathBuf::from);
    let seconds = arguments.number("--seconds", 3);
    if let Some(name) = arguments.after("--subject") {
        println!("{}", one_subject(name, &directory, seconds, arguments.number("--sustained", 0)));
        return;
    }
    if let Some(fill) = arguments.after("--fill") {
        large::fill_and_die(&PathBuf::from(fill), arguments.number("--records", 0));
    }
    if let Some(reopen) = arguments.after("--reopen") {
        println!("{}", large::reopen(&PathBuf::from(reopen)));
        return;
    }

    let folder = tempfile::tempdir_in(&directory).expect("a directory to write to");
    let token = sallyport_hsm::testing::TestToken::create();
    let child = |more: &[&str]| -> Value {
        let output = Command::new(std::env::current_exe().expect("a path"))
            .args(more)
            .args(["--directory", &folder.path().display().to_string(), "--seconds", &seconds.to_string()])
            .env("SOFTHSM2_CONF", token.conf())
            .env("BENCH_PIN_FILE", token.pin_file())
            .env("BENCH_TOKEN", token.label())
            .stderr(std::process::Stdio::inherit())
            .output()
            .expect("it runs");
        let text = String::from_utf8_lossy(&output.stdout);
        text.lines().last().and_then(|line| serde_json::from_str(line).ok()).unwrap_or(Value::Null)
    };
    let wanted = arguments.after("--only").unwrap_or("");
    let sustained = arguments.number("--sustained", 60).to_string();
    let mut results = serde_json::Map::new();
    println!(
        "{:<16}{:>9}{:>12}{:>10}{:>10}{:>9}",
        "subject", "writers", "records/s", "p50 us", "p99 us", "group"
    );
    for name in SUBJECTS.into_iter().filter(|name| name.contains(wanted)) {
        let lasting = if ["ledger", "sled"].contains(&name) { sustained.as_str() } else { "0" };
        let result = child(&["--subject", name, "--sustained", lasting]);
        for point in result["points"].as_array().into_iter().flatten() {
            println!(
                "{name:<16}{:>9}{:>12}{:>10}{:>10}{:>9}",
                point["writers"], point["records_per_s"], point["p50_us"], point["p99_us"], point["group"]
            );
        }
        println!(
            "{name:<16}  {} bytes on disk per record of {} bytes; {} MB of memory at most; sustained {} records/s",
            result["disk_bytes_per_record"],
            result["record_bytes"],
            result["memory_mb"],
            result["sustained_per_s"]
        );
        results.insert(name.to_owned(), result);
    }
    let records = arguments.number("--records", 1_000_000);
    let large = if records > 0 {
        let ledger = folder.path().join("large");
        let path = ledger.display().to_string();
        child(&["--fill", &path, "--records", &records.to_string()]);
        let large = child(&["--reopen", &path]);
        println!(
            "{} records: reopened after a kill in {} ms, then in {} ms; verified at {} records/s on one core; scanned at {} records/s; {} MB",
            large["records"],
            large["reopen_ms"],
            large["reopen_again_ms"],
            large["verified_per_s"],
            large["scanned_per_s"],
            large["memory_mb"]
        );
        large
    } else {
        Value::Null
    };
    let ratios = ratios(&results);
    println!("ledger/plain, records/s by writers: {ratios}");
    println!(
        "{}",
        json!({ "bench": "ledger", "seconds": seconds, "subjects": results, "large": large, "ledger_to_plain": ratios })
    );
}

fn one_subject(name: &str, directory: &std::path::Path, seconds: u64, sustained: u64) -> Value {
    let folder = tempfile::tempdir_in(directory).expect("a directory to write to");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let subject = Subject::open(name, folder.path());
    let mut points = Vec::new();
    let mut total = 0;
    for writers in WRITERS {
        let point = runtime.block_on(load::run(&subject, writers, seconds));
        total += point.records;
        points.push(json!({
            "writers": writers, "records_per_s": point.per_second(), "p50_us": point.percentile(50),
            "p99_us": point.percentile(99), "group": subject.group_size(),
        }));
    }
    let mut sustained_per_s = Value::Null;
    if sustained > 0 {
        let point = runtime.block_on(load::run(&subject, 256, sustained));
        total += point.records;
        sustained_per_s = json!(point.per_second());
    }
    runtime.block_on(subject.close());
    let disk = load::disk_bytes(folder.path());
    json!({
        "points": points, "sustained_per_s": sustained_per_s, "record_bytes": subject::RECORD_BYTES,
        "disk_bytes_per_record": disk / total.max(1),
        "journal_bytes_per_record": load::disk_bytes(&folder.path().join("ledger/journal")) / total.max(1),
        "memory_mb": load::memory_mb(),
    })
}

fn ratios(results: &serde_json::Map<String, Value>) -> Value {
    let rate = |name: &str, at: usize| results.get(name)?["points"][at]["records_per_s"].as_f64();
    let ratio = |name: &str| -> Value {
        let by = WRITERS.iter().enumerate().filter_map(|(at, writers)| {
            let ratio = rate(name, at)? / rate("plain", at)?;
            Some((writers.to_string(), json!((ratio * 100.0).round() / 100.0)))
        });
        Value::Object(by.collect())
    };
    json!({ "software": ratio("ledger"), "softhsm": ratio("ledger-softhsm") })
}

//! The ledger beside what it could be replaced by, in one run on one disk.
//!
//! Each subject takes records of the same size from the same number of writers, each of which waits until its
//! record is durable before it goes on; all of them commit in groups, up to 4,096 records.
//!
//! - `plain`: a file, appended to and `fdatasync`ed once per group of what has arrived. The physical limit.
//! - `plain-gathering`: the same, where a group waits for those who were answered last, as the ledger's does.
//! - `ledger`: canonical records, hash chain, tree, heads signed by a key in memory, journal, and sled behind it.
//! - `ledger-softhsm`: the same with heads signed in a SoftHSM token and personal values sealed under data keys which
//!   it wraps, through the gateway's own key provider.
//! - `ledger-lent`: the same, where the token lends to a key in memory and signs once a second itself.
//! - `sqlite`: WAL with `synchronous=FULL`, one transaction per group.
//! - `sled`: one batch and one `flush` per group. Its flush does not survive a power cut.
//!
//! Each subject runs in a process of its own, so that its memory is its own. The last line is one line of JSON.
//!
//! `--seconds N` per point (3), `--sustained N` seconds (60), `--records N` for reopening and verifying
//! (1000000), `--quick` for less of each (1, 5, 100000), `--only NAME` for subjects of that name,
//! `--directory DIR` where to write (the system's temporary directory).

mod committer;
mod large;
mod load;
mod parts;
mod subject;
mod token;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use sallyport_hsm::testing::TestToken;

use serde_json::{Value, json};

use subject::Subject;

const WRITERS: [usize; 5] = [1, 16, 64, 256, 1024];
const SUBJECTS: [&str; 7] =
    ["plain", "plain-gathering", "ledger", "ledger-softhsm", "ledger-lent", "sqlite", "sled"];

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
    let quick = arguments.0.iter().any(|argument| argument == "--quick");
    let usual = |long: u64, short: u64| if quick { short } else { long };
    let seconds = arguments.number("--seconds", usual(3, 1));
    if let Some(name) = arguments.after("--subject") {
        println!("{}", one_subject(name, &directory));
        return;
    }
    if arguments.after("--parts").is_some() {
        println!("{}", parts::measure(&directory));
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
    let token = TestToken::create();
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
    let parts = child(&["--parts", "all"]);
    println!("steps of a commit, the middle of each: {parts}");
    let wanted = arguments.after("--only").unwrap_or("");
    let mut subjects: Vec<Side> = SUBJECTS
        .into_iter()
        .filter(|name| name.contains(wanted))
        .map(|name| Side::start(name, folder.path(), &token))
        .collect();
    // In turns of half a second each, so that whatever else the machine does meets all of them alike.
    for writers in WRITERS {
        for _ in 0..seconds * 2 {
            subjects.iter_mut().for_each(|side| drop(side.run(&format!("run {writers} 500"))));
        }
    }
    let sustained = arguments.number("--sustained", usual(60, 5));
    if sustained > 0 {
        for side in
            subjects.iter_mut().filter(|side| ["ledger", "ledger-softhsm", "sled"].contains(&side.name))
        {
            side.run(&format!("sustain 256 {}", sustained * 1000));
        }
    }
    let mut results = serde_json::Map::new();
    println!(
        "{:<16}{:>9}{:>12}{:>10}{:>10}{:>16}",
        "subject", "writers", "records/s", "p50 us", "p99 us", "CPU us/record"
    );
    for side in subjects {
        let (name, result) = side.end();
        for point in result["points"].as_array().into_iter().flatten() {
            let text = |key: &str| point[key].to_string();
            println!(
                "{name:<16}{:>9}{:>12}{:>10}{:>10}{:>16}",
                text("writers"),
                text("records_per_s"),
                text("p50_us"),
                text("p99_us"),
                text("cpu_us_per_record"),
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
    let records = arguments.number("--records", usual(1_000_000, 100_000));
    let large = if records > 0 {
        let ledger = folder.path().join("large");
        let path = ledger.display().to_string();
        child(&["--fill", &path, "--records", &records.to_string()]);
        let large = child(&["--reopen", &path]);
        let text = |key: &str| large[key].to_string();
        println!(
            "{} records of {} bytes, under {} heads",
            text("records"),
            text("record_bytes"),
            text("heads")
        );
        println!("  all copies        {} x record bytes", text("copies"));
        println!("  open after kill   {} ms, then {} ms", text("reopen_ms"), text("reopen_again_ms"));
        println!(
            "  verified          {} records/s on one core; chain alone {}",
            text("verified_per_s"),
            text("chained_per_s")
        );
        println!(
            "  scanned           {} records/s; one at a time {} us",
            text("scanned_per_s"),
            text("get_us")
        );
        println!("  search, proof     {} ms without an index, {} ms", text("search_ms"), text("prove_ms"));
        println!("  memory            {} MB", text("memory_mb"));
        large
    } else {
        Value::Null
    };
    let aims = aims(&results, &large);
    println!("aims: {aims:#}");
    println!(
        "{}",
        json!({ "bench": "ledger", "seconds": seconds, "parts": parts, "subjects": results, "large": large, "aims": aims })
    );
}

/// A subject in a process of its own, which does what it is told line by line.
struct Side {
    name: &'static str,
    child: std::process::Child,
    answers: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Side {
    fn start(name: &'static str, directory: &Path, token: &TestToken) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("a path"))
            .args(["--subject", name, "--directory"])
            .arg(directory)
            .env("SOFTHSM2_CONF", token.conf())
            .env("BENCH_PIN_FILE", token.pin_file())
            .env("BENCH_TOKEN", token.label())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it runs");
        let answers = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        Self { name, child, answers }
    }

    fn run(&mut self, command: &str) -> String {
        writeln!(self.child.stdin.as_mut().expect("a pipe"), "{command}").expect("it listens");
        self.answers.next().expect("it answers").expect("it answers")
    }

    fn end(mut self) -> (&'static str, Value) {
        let answer = self.run("end");
        self.child.wait().expect("it ends");
        (self.name, serde_json::from_str(&answer).expect("JSON"))
    }
}

fn one_subject(name: &str, directory: &Path) -> Value {
    let folder = tempfile::tempdir_in(directory).expect("a directory to write to");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let subject = Subject::open(name, folder.path());
    let (mut points, mut sustained) = (BTreeMap::<usize, load::Point>::new(), Value::Null);
    for command in std::io::stdin().lines() {
        let command = command.expect("a line");
        let words: Vec<_> = command.split(' ').collect();
        let number = |at: usize| words[at].parse::<u64>().expect("a number");
        match words[0] {
            "end" => break,
            what => {
                let before = load::cpu();
                let mut point = runtime.block_on(load::run(
                    &subject,
                    number(1) as usize,
                    Duration::from_millis(number(2)),
                ));
                point.cpu = load::cpu() - before;
                if what == "sustain" {
                    sustained = json!(point.per_second());
                }
                // A long run is also a point of its own, which is not shown: writers 0.
                let at = if what == "sustain" { 0 } else { number(1) as usize };
                points.entry(at).or_default().add(point);
                println!("done");
            }
        }
    }
    let total: u64 = points.values().map(|point| point.records).sum();
    points.remove(&0);
    runtime.block_on(subject.close());
    let points: Vec<_> = points
        .iter_mut()
        .map(|(writers, point)| {
            json!({
                "writers": writers, "records_per_s": point.per_second(), "p50_us": point.percentile(50),
                "p99_us": point.percentile(99), "cpu_us_per_record": point.cpu_per_record(),
            })
        })
        .collect();
    json!({
        "points": points, "sustained_per_s": sustained, "record_bytes": subject::RECORD_BYTES,
        "disk_bytes_per_record": load::disk_bytes(folder.path()) / total.max(1),
        "journal_bytes_per_record": load::disk_bytes(&folder.path().join("ledger/journal")) / total.max(1),
        "memory_mb": load::memory_mb(), "records": total,
    })
}

/// What was wanted of the ledger with SoftHSM, and what was reached.
fn aims(results: &serde_json::Map<String, Value>, large: &Value) -> Value {
    let ratio = |what: &str, name: &str, at: usize| -> Value {
        let value = |name: &str| results.get(name)?["points"][at][what].as_f64();
        rounded(value(name).zip(value("plain")).map(|(ours, plain)| ours / plain))
    };
    let by_writers = |what: &str, name: &str| -> Value {
        let each =
            WRITERS.iter().enumerate().map(|(at, writers)| (writers.to_string(), ratio(what, name, at)));
        Value::Object(each.collect())
    };
    let sustained = |name: &str| results.get(name)?["sustained_per_s"].as_f64();
    let sustained =
        |name: &str| rounded(sustained(name).zip(sustained("sled")).map(|(ours, sled)| ours / sled));
    json!({
        "records_per_s_to_plain": {
            "wanted": "0.6 with 1 and 16 writers, 0.7 with more",
            "softhsm": by_writers("records_per_s", "ledger-softhsm"), "key_in_memory": by_writers("records_per_s", "ledger"),
            "lent": by_writers("records_per_s", "ledger-lent"),
        },
        "p99_to_plain": {
            "wanted": "at most 2",
            "softhsm": by_writers("p99_us", "ledger-softhsm"), "key_in_memory": by_writers("p99_us", "ledger"),
            "lent": by_writers("p99_us", "ledger-lent"),
        },
        "sustained_to_sled": { "wanted": 0.8, "softhsm": sustained("ledger-softhsm"), "key_in_memory": sustained("ledger") },
        "verified_per_s": { "wanted": 500_000, "reached": large["verified_per_s"] },
        "reopen_ms": { "wanted": "less than 2000", "reached": large["reopen_ms"] },
        "copies": { "wanted": "at most 2.5", "reached": large["copies"] },
        "memory_mb": {
            "wanted": "less than 300", "reached": large["memory_mb"],
            "in_the_runs": results.get("ledger-softhsm").map(|result| result["memory_mb"].clone()),
        },
    })
}

fn rounded(ratio: Option<f64>) -> Value {
    ratio.map_or(Value::Null, |ratio| json!((ratio * 100.0).round() / 100.0))
}

//! A power cut, not only a kill: everything that a ledger does to its files is written down, and the disk is put
//! into states in which a power cut could have left it. Nothing that was acknowledged by then may be lost.
//!
//! Real: the ledger, its journal, head file and sled store, and the order of their writes, syncs and renames,
//! taken from the running process by a shim that is loaded before libc. Simulated: the disk and the file system
//! (see `disk`). Not shown: a drive that lies about flushing, or a file system that does so.
//!
//! `--full` tries 1,200 states, otherwise 40; `--states N`, `--seed N`. The last line is one line of JSON.
#![cfg(all(feature = "ledger", feature = "testing"))]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that meets the unexpected fails"
)]

#[path = "../crash_matrix/counts.rs"]
mod counts;
mod disk;
mod log;
#[path = "../crash_matrix/sample.rs"]
mod sample;

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use counts::{Counts, Dice};
use disk::{Cut, Disk};
use log::Change;
use sallyport_audit::Seq;

const SEGMENT_BYTES: u64 = 30_000;
/// Each log is of a ledger from its first start on, with this many lives.
const LIVES: u64 = 4;
const STATES_PER_LOG: u64 = 240;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let after = |name: &str| {
        arguments.iter().position(|argument| argument == name).and_then(|at| arguments.get(at + 1))
    };
    if let Some(root) = after("--write") {
        return write(Path::new(root), after("--life").unwrap().parse().unwrap());
    }
    let full = arguments.iter().any(|argument| argument == "--full");
    let number = |name, usual| after(name).map_or(usual, |text| text.parse().unwrap());
    let (states, seed) = (number("--states", if full { 1200 } else { 40 }), number("--seed", 1));

    std::panic::set_hook(Box::new(|panic| {
        if !panic.location().is_some_and(|location| location.file().contains("sled")) {
            eprintln!("{panic}");
        }
    }));
    let folder = tempfile::tempdir().unwrap();
    let shim = folder.path().join("shim.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/power_cut/shim.c");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&shim)
        .arg(source)
        .arg("-ldl")
        .status();
    assert!(built.unwrap().success(), "the shim is built");
    let mut dice = Dice(seed);
    let mut counts = Counts::default();
    let (mut tried, mut changes_seen) = (0, 0);
    while tried < states {
        let changes = record(folder.path(), &shim, tried);
        changes_seen += changes.len();
        let here = STATES_PER_LOG.min(states - tried);
        for _ in 0..here {
            state(folder.path(), &changes, &mut dice, &mut counts);
        }
        tried += here;
    }
    for (kind, what) in counts.problems() {
        println!("{kind}: {what}");
    }
    println!(
        "{tried} states after power cuts, {} changes of files logged, {} acknowledged records looked for: {} lost, {} gaps, {} that did not open (seed {seed})",
        changes_seen,
        counts.acknowledged,
        counts.lost.len(),
        counts.gaps.len(),
        counts.not_opened.len(),
    );
    let figures = serde_json::json!({
        "bench": "power-cut", "full": full, "seed": seed, "states": tried, "changes": changes_seen,
        "acknowledged_looked_for": counts.acknowledged, "lost": counts.lost.len(), "gaps": counts.gaps.len(),
        "not_opened": counts.not_opened.len(),
        "stores_rebuilt": counts.stores_rebuilt, "torn_ends": counts.torn_ends, "cases": counts.cases,
    });
    println!("{figures}");
    if counts.problems().next().is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs a ledger through some lives, and reads what was written down.
///
/// A kill may fall between a write and the line in the log that tells of it; then the lives are run again. A shim that misses
/// something misses it every time.
fn record(folder: &Path, shim: &Path, number: u64) -> Vec<Change> {
    let mut missed = String::new();
    for _ in 0..5 {
        match record_once(folder, shim, number) {
            Ok(changes) => return changes,
            Err(path) => missed = path,
        }
    }
    panic!("the log does not lead to {missed}");
}

/// One run, each life ended on purpose or by a kill; the file that the log does not lead to, if there is one.
fn record_once(folder: &Path, shim: &Path, number: u64) -> Result<Vec<Change>, String> {
    let root = folder.join("root");
    let _ = std::fs::remove_dir_all(&root);
    std::fs::create_dir(&root).unwrap();
    let mut changes = Vec::new();
    for life in 0..LIVES {
        // Each life has a log of its own: an entry that a kill cut off must have nothing behind it.
        let log = folder.join("log");
        let _ = std::fs::remove_file(&log);
        let status = Command::new(std::env::current_exe().unwrap())
            .arg("--write")
            .arg(&root)
            .args(["--life", &(number * LIVES + life).to_string()])
            .env("LD_PRELOAD", shim)
            .env("POWER_CUT_ROOT", &root)
            .env("POWER_CUT_LOG", &log)
            .status()
            .unwrap();
        assert!(
            status.code() == Some(0) || status.code().is_none(),
            "it ended on purpose or was killed: {status}"
        );
        changes.extend(log::read(&std::fs::read(&log).unwrap()));
    }
    // The log must lead to the files that are really there, or the shim has missed something.
    let mut disk = Disk::default();
    for change in &changes {
        disk.apply(change);
    }
    for (path, bytes) in disk.whole() {
        if std::fs::read(&path).ok().as_deref() != Some(bytes.as_ref()) {
            return Err(path.display().to_string());
        }
    }
    Ok(changes)
}

/// The process under the shim.
fn write(root: &Path, life: u64) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let mut options = sample::options(&root.join("ledger"), SEGMENT_BYTES);
        // So often that every phase of the head file and of the store falls between two cuts.
        options.flush_interval = Duration::from_millis(if life.is_multiple_of(2) { 5 } else { 200 });
        let Ok((ledger, _)) = sample::open(options) else { return ExitCode::FAILURE };
        let acks =
            std::fs::OpenOptions::new().append(true).create(true).open(root.join("acknowledged")).unwrap();
        let acks = Arc::new(Mutex::new(acks));
        let mut writers = tokio::task::JoinSet::new();
        for writer in 0..6 {
            let (ledger, acks) = (ledger.clone(), Arc::clone(&acks));
            writers.spawn(async move {
                for n in 0..12 {
                    let draft = sample::draft(n)
                        .detail("by", writer)
                        .reason("r".repeat(usize::try_from(n * 150).unwrap()));
                    let (seq, digest) = sample::named(&ledger.append(draft).await.unwrap());
                    acks.lock().unwrap().write_all(format!("{seq} {digest}\n").as_bytes()).unwrap();
                }
            });
        }
        while writers.join_next().await.is_some() {
            // Every other life ends in the middle.
            if life % 2 == 1 && writers.len() == 2 {
                std::process::abort();
            }
        }
        ledger.close().await.unwrap();
        ExitCode::SUCCESS
    })
}

/// One cut: the ledger is opened on what is left, and everything acknowledged before the cut is looked for.
fn state(folder: &Path, changes: &[Change], dice: &mut Dice, counts: &mut Counts) {
    let root = folder.join("root");
    let at = usize::try_from(1 + dice.below(changes.len() as u64)).unwrap();
    let mut disk = Disk::default();
    for change in &changes[..at] {
        disk.apply(change);
    }
    let acks = disk.whole().remove(&root.join("acknowledged")).unwrap_or_default();
    let known: Vec<(Seq, String)> = String::from_utf8(acks)
        .unwrap()
        .lines()
        .map(|line| {
            line.split_once(' ')
                .map(|(seq, digest)| (Seq::new(seq.parse().unwrap()), digest.to_owned()))
                .unwrap()
        })
        .collect();
    let cut = Cut {
        kept_in_ten: [0, 1, 5, 9, 10][usize::try_from(dice.below(5)).unwrap()],
        piece: if dice.below(2) == 0 { 4096 } else { 512 },
    };
    let target = folder.join("left");
    let _ = std::fs::remove_dir_all(&target);
    std::fs::create_dir(&target).unwrap();
    disk.cut(cut, dice, &root, &target);
    counts.acknowledged += known.len() as u64;
    counts.case(match cut.kept_in_ten {
        0 => "nothing that was not synced arrived",
        10 => "everything that was not synced arrived",
        _ => "some of what was not synced arrived",
    });
    let what = format!("cut after change {at} of {} ({} of 10 kept)", changes.len(), cut.kept_in_ten);
    sample::survives(&target.join("ledger"), SEGMENT_BYTES, &known, &what, counts);
}

//! What a ledger must survive: kills, failing disks, torn and damaged files, lost and foreign head files.
//!
//! Nothing that was acknowledged may be lost, no gap may appear, and no damaged ledger may pass the verifier. With
//! `--full` there are 500 kills and every byte is tried, otherwise a share of them; `--kills N` sets the number,
//! `--seed N` repeats a run. The last line is one line of JSON.
#![cfg(all(feature = "sinks", feature = "testing"))]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that meets the unexpected fails"
)]

mod beside;
mod counts;
mod damage;
mod disks;
mod kills;
mod sample;

use std::process::ExitCode;

use counts::{Counts, Dice};

/// How much is tried.
struct Effort {
    full: bool,
    kills: u64,
    seed: u64,
}

impl Effort {
    /// Every how many bytes a file is damaged.
    fn stride(&self, full: usize, short: usize) -> usize {
        if self.full { full } else { short }
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let after = |name: &str| {
        arguments.iter().position(|argument| argument == name).and_then(|at| arguments.get(at + 1))
    };
    if let Some(directory) = after("--write") {
        return kills::write_until_killed(std::path::Path::new(directory));
    }
    let full = arguments.iter().any(|argument| argument == "--full");
    let number = |name, usual| after(name).map_or(usual, |text| text.parse().unwrap());
    let effort =
        Effort { full, kills: number("--kills", if full { 500 } else { 15 }), seed: number("--seed", 1) };

    // sled panics on some kinds of damage, where the ledger catches it.
    std::panic::set_hook(Box::new(|panic| {
        if !panic.location().is_some_and(|location| location.file().contains("sled")) {
            eprintln!("{panic}");
        }
    }));
    let mut counts = Counts::default();
    kills::run(&effort, &mut counts);
    disks::run(&effort, &mut counts);
    beside::run(&mut counts);
    damage::run(&effort, &mut counts);
    for (class, cases) in &counts.cases {
        println!("{cases:>7}  {class}");
    }
    for (kind, what) in counts.problems() {
        println!("{kind}: {what}");
    }
    let cases: u64 = counts.cases.values().sum();
    println!(
        "{cases} cases, {} records acknowledged: {} lost, {} gaps, {} false passes, {} that did not open again (seed {})",
        counts.acknowledged,
        counts.lost.len(),
        counts.gaps.len(),
        counts.false_passes.len(),
        counts.not_opened.len(),
        effort.seed
    );
    let figures = serde_json::json!({
        "bench": "crash-matrix", "full": full, "seed": effort.seed, "cases": counts.cases,
        "acknowledged": counts.acknowledged, "lost": counts.lost.len(), "gaps": counts.gaps.len(),
        "false_passes": counts.false_passes.len(), "not_opened": counts.not_opened.len(),
        "stores_rebuilt": counts.stores_rebuilt, "torn_ends": counts.torn_ends,
    });
    println!("{figures}");
    if counts.problems().next().is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

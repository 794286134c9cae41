//! What a ledger must survive: kills, failing disks, torn and damaged files, lost and foreign head files.
//!
//! Nothing that was acknowledged may be lost, no gap may appear, and no damaged ledger may pass the verifier. With
//! `--full` there are 500 kills and every byte is tried, otherwise a share of them; `--kills N` sets the number,
//! `--seed N` repeats a run. The last line is one line of JSON.
#![cfg(all(feature = "ledger", feature = "testing"))]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that meets the unexpected fails"
)]

mod damage;
mod disks;
mod kills;
mod sample;

use std::process::ExitCode;

/// What was tried, and what must stay zero.
#[derive(Default)]
struct Counts {
    cases: std::collections::BTreeMap<&'static str, u64>,
    acknowledged: u64,
    lost: Vec<String>,
    gaps: Vec<String>,
    false_passes: Vec<String>,
    not_opened: Vec<String>,
}

impl Counts {
    fn case(&mut self, class: &'static str) {
        *self.cases.entry(class).or_default() += 1;
    }

    fn problems(&self) -> impl Iterator<Item = (&'static str, &String)> {
        self.lost
            .iter()
            .map(|what| ("LOST", what))
            .chain(self.gaps.iter().map(|what| ("GAP", what)))
            .chain(self.false_passes.iter().map(|what| ("FALSE PASS", what)))
            .chain(self.not_opened.iter().map(|what| ("DOES NOT OPEN", what)))
    }
}

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

/// A small generator of numbers that can be repeated (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
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
    });
    println!("{figures}");
    if counts.problems().next().is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

//! Writers that each wait for their record to be durable before they write the next.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::subject::Subject;

/// What some writers got done.
#[derive(Default)]
pub struct Point {
    pub records: u64,
    elapsed: Duration,
    /// What this process used of the processors meanwhile.
    pub cpu: Duration,
    /// Microseconds that each record took.
    waits: Vec<u32>,
}

impl Point {
    pub fn add(&mut self, other: Self) {
        self.records += other.records;
        self.elapsed += other.elapsed;
        self.cpu += other.cpu;
        self.waits.extend(other.waits);
    }

    pub fn per_second(&self) -> u64 {
        (self.records as f64 / self.elapsed.as_secs_f64()) as u64
    }

    /// In microseconds, to a tenth.
    pub fn cpu_per_record(&self) -> f64 {
        (self.cpu.as_micros() as f64 * 10.0 / self.records.max(1) as f64).round() / 10.0
    }

    pub fn percentile(&mut self, percent: usize) -> u32 {
        self.waits.sort_unstable();
        self.waits.get(self.waits.len() * percent / 100).copied().unwrap_or_default()
    }
}

pub async fn run(subject: &Subject, writers: usize, time: Duration) -> Point {
    let start = Instant::now();
    let end = start + time;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..writers {
        let subject = subject.clone();
        tasks.spawn(async move {
            let mut waits = Vec::with_capacity(4096);
            let mut n = 0;
            loop {
                let before = Instant::now();
                if before >= end {
                    return waits;
                }
                subject.append(n).await;
                n += 1;
                waits.push(u32::try_from(before.elapsed().as_micros()).unwrap_or(u32::MAX));
            }
        });
    }
    let mut waits = Vec::new();
    while let Some(done) = tasks.join_next().await {
        waits.extend(done.expect("a writer"));
    }
    let elapsed = start.elapsed();
    Point { records: waits.len() as u64, elapsed, cpu: Duration::ZERO, waits }
}

/// What the files below `path` take on the disk, in bytes.
pub fn disk_bytes(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let Ok(entries) = std::fs::read_dir(path) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(found) if found.is_dir() => disk_bytes(&entry.path()),
            Ok(found) => found.blocks() * 512,
            Err(_) => 0,
        })
        .sum()
}

/// The most memory that this process has had, in MB.
pub fn memory_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).unwrap_or_default() / 1024
}

/// What all threads of this process have used of the processors, in steps of 10 ms.
pub fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name in parentheses may hold blanks; behind it, user and system time are the 12th and 13th word.
    let words = text.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: u64 = words.skip(11).take(2).filter_map(|word| word.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

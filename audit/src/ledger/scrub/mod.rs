//! Reads journal and query store again from end to end, slowly, while the ledger is in use.
//!
//! Why: a bit that rots in an old segment is found by nobody until an auditor comes, and by then the last good copy may be
//! gone; sled can return what nobody put in. So at intervals each record is read and hashed again, the tree that comes out is
//! compared with the heads in the journal and with the one in memory, and the store's copy is compared with the journal.
//!
//! What is wrong in the store is mended from the journal at once, or, if sled does not take it, the store is marked to be
//! made anew at the next opening. What is wrong in the journal cannot be mended here: it is said loudly, with segment and
//! place, so that a good copy can be put back while there is one.
//!
//! It must not be felt: frames are read one at a time, and between two of them there is a pause, so that no more than a
//! bounded number of bytes is read in a second. How long the pauses are is decided by `pace`, which is pure.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use super::{Ledger, Reader};
use crate::checkpoint::Checkpoint;
use crate::journal::Files;
use crate::kind::Kind;
use crate::record::{Draft, Outcome};

mod copies;
mod frames;
mod pace;
#[cfg(test)]
mod tests;
mod walk;

pub(super) use copies::marked as store_marked;
pub use walk::{Damage, Findings};

use copies::Copies;
use pace::Pace;
use walk::walk;

/// So many bytes are read between two words about how far it is.
const STEP: u64 = 1 << 18;

/// When and how fast a ledger is scrubbed.
#[derive(Clone, Debug)]
pub struct ScrubOptions {
    /// The ledger's directory.
    pub directory: PathBuf,
    /// The time from the end of one scrub to the beginning of the next.
    pub interval: Duration,
    /// How long after the start the first one begins.
    pub first: Duration,
    /// At most so many bytes of the journal are read in a second.
    pub bytes_per_second: u64,
}

/// What the last scrub found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Scrubbed {
    /// Whether one is under way.
    pub running: bool,
    /// How many bytes of the journal that one has read.
    pub done: u64,
    /// How many there were when it began.
    pub total: u64,
    /// When the last one ended.
    pub time: Option<Timestamp>,
    /// What it found.
    pub findings: Findings,
}

impl Scrubbed {
    /// A sentence for the operator.
    pub fn sentence(&self) -> String {
        let Some(time) = self.time else { return "not scrubbed since the start".to_owned() };
        format!("scrubbed at {time:.0}: {}", self.findings.sentence())
    }

    /// How much of it the one that is under way has read, in hundredths.
    pub fn percent(&self) -> Option<u64> {
        self.running.then(|| self.done.saturating_mul(100).checked_div(self.total).unwrap_or(100).min(100))
    }
}

/// A task that scrubs a ledger.
pub struct Scrubbing {
    wake: Arc<Notify>,
    stop: Arc<AtomicBool>,
    task: JoinHandle<()>,
    status: watch::Receiver<Scrubbed>,
}

/// Has a scrub begin now.
#[derive(Clone)]
pub struct ScrubNow(Arc<Notify>);

impl ScrubNow {
    /// Begins one, or another one when the one under way is through.
    pub fn begin(&self) {
        self.0.notify_one();
    }
}

impl Scrubbing {
    /// Begins to wait for the first scrub.
    pub fn start(ledger: Ledger, options: ScrubOptions) -> Self {
        let (tell, status) = watch::channel(Scrubbed::default());
        let (wake, stop) = (Arc::new(Notify::new()), Arc::new(AtomicBool::new(false)));
        let work = Work { ledger, options, tell, wake: Arc::clone(&wake), stop: Arc::clone(&stop) };
        Self { wake, stop, task: tokio::spawn(work.run()), status }
    }

    /// Follows what was found.
    pub fn status(&self) -> watch::Receiver<Scrubbed> {
        self.status.clone()
    }

    /// A handle with which a scrub can be asked for.
    pub fn now(&self) -> ScrubNow {
        ScrubNow(Arc::clone(&self.wake))
    }

    /// Breaks off what is under way; what it had found by then is not recorded.
    pub async fn stop(self) {
        self.stop.store(true, Ordering::SeqCst);
        self.wake.notify_one();
        let _ = self.task.await;
    }
}

struct Work {
    ledger: Ledger,
    options: ScrubOptions,
    tell: watch::Sender<Scrubbed>,
    wake: Arc<Notify>,
    stop: Arc<AtomicBool>,
}

impl Work {
    async fn run(self) {
        let mut pause = self.options.first;
        loop {
            // A scrub that is asked for, and the end, cut the waiting short.
            let _ = tokio::time::timeout(pause, self.wake.notified()).await;
            pause = self.options.interval;
            if self.stop.load(Ordering::SeqCst) {
                return;
            }
            self.tell.send_modify(|status| (status.running, status.done, status.total) = (true, 0, 0));
            let begun = Instant::now();
            let findings = self.scrub().await;
            self.tell.send_modify(|status| status.running = false);
            let Some(findings) = findings else { continue };
            self.note(findings, begun.elapsed()).await;
        }
    }

    /// One scrub; `None` if it was broken off.
    async fn scrub(&self) -> Option<Findings> {
        let (reader, files) = (self.ledger.reader(), Files::new(&self.options.directory));
        let (rate, stop) = (self.options.bytes_per_second, Arc::clone(&self.stop));
        let tell = self.tell.clone();
        let scrubbed = tokio::task::spawn_blocking(move || {
            let (begun, mut pace) = (Instant::now(), Pace::new(rate));
            let total = size(&files);
            let mut done = 0_u64;
            scrub(&reader, &files, &mut |bytes| {
                let mut bytes = bytes;
                let before = done;
                done = done.saturating_add(bytes);
                // Whoever follows it is woken for a step that can be seen.
                if done == bytes || done / STEP != before / STEP {
                    tell.send_modify(|status| (status.done, status.total) = (done, total.max(done)));
                }
                while !stop.load(Ordering::SeqCst) {
                    match pace.after(std::mem::take(&mut bytes), begun.elapsed()) {
                        Some(pause) => std::thread::sleep(pause),
                        None => return true,
                    }
                }
                false
            })
        });
        let findings = scrubbed.await.unwrap_or_else(|error| {
            Some(Findings::failed(format!("the scrub met a fault in the program: {error}")))
        });
        if let Some(findings) = &findings
            && findings.rebuild
            && let Err(error) = copies::mark(&Files::new(&self.options.directory), &findings.sentence())
        {
            tracing::error!(%error, "the query store cannot be marked to be made anew: move it away and start again");
        }
        findings
    }

    async fn note(&self, findings: Findings, took: Duration) {
        let sentence = findings.sentence();
        if findings.is_good() {
            tracing::info!(found = sentence, "the ledger was scrubbed");
        } else {
            let hint = findings.hint();
            tracing::error!(found = sentence, hint, "the scrub found damage");
        }
        let draft = draft(&findings, took);
        let time = self.ledger.append(draft).await.map(|receipt| receipt.time);
        if let Err(error) = &time {
            tracing::warn!(%error, "what the scrub found could not be recorded");
        }
        self.tell.send_modify(|status| {
            status.time = time.ok().or(status.time);
            status.findings = findings;
        });
    }
}

/// What there is to read. A segment that cannot be looked at is found by the scrub itself.
fn size(files: &Files) -> u64 {
    let segments = files.segments().unwrap_or_default();
    segments.iter().filter_map(|segment| segment.path.metadata().ok()).map(|found| found.len()).sum()
}

/// Walks all that is acknowledged at this moment. `go_on` is told how many bytes were read, and says whether to go on;
/// `None` if it did not.
pub(super) fn scrub(reader: &Reader, files: &Files, go_on: &mut dyn FnMut(u64) -> bool) -> Option<Findings> {
    let head = match Checkpoint::from_note(&reader.checkpoint()) {
        Ok((head, _)) => head,
        Err(error) => return Some(Findings::failed(format!("the head cannot be used: {error}"))),
    };
    walk(files, &head, &Copies::of(reader), go_on)
}

/// The record about one scrub.
fn draft(findings: &Findings, took: Duration) -> Draft {
    let outcome = if findings.is_good() { Outcome::Success } else { Outcome::Failure };
    let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX).min(1 << 52);
    Draft::new(Kind::LedgerScrubbed, outcome)
        .detail("first", findings.first)
        .detail("records", findings.records)
        .detail("segments", findings.segments)
        .detail("bytes", findings.bytes)
        .detail("duration_ms", millis)
        .detail("damage", serde_json::to_value(&findings.damage).unwrap_or_default())
        .detail("damage_more", findings.more)
        .detail("store_compared", findings.compared)
        .detail("store_different", findings.different)
        .detail("store_mended", findings.mended)
        .detail("store_rebuild", findings.rebuild)
}

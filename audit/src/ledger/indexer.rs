//! Makes the search index of a ledger that is open, behind everything else.
//!
//! A thread of its own looks every now and then whether another span of records is full, and reads it from the
//! journal: no append and no reader ever waits for it. What is missing at start is made then, a span at a time.
//! When it cannot be written that is told once, and tried again later: searches read the journal meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;

use super::background;
use crate::index::Directories;
use crate::index::make::Maker;
use crate::journal::Files;

/// How long it waits between looks, and after a failure.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_AFTER_FAILURE: Duration = Duration::from_mins(1);

/// The thread that makes the index.
pub(super) struct Indexer {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Indexer {
    /// Begins. `heads` tells how many records are durable.
    pub(super) fn start(files: Files, heads: watch::Receiver<u64>, span: u64) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopping = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("ledger-index".to_owned())
            .spawn(move || run(&files, &heads, span, &stopping))?;
        Ok(Self { stop, thread })
    }

    /// Ends, at the next record; what is not finished is made at the next start.
    pub(super) fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
        if self.thread.join().is_err() {
            tracing::error!("the thread that makes the search index met a fault in the program");
        }
    }
}

fn run(files: &Files, heads: &watch::Receiver<u64>, span: u64, stop: &AtomicBool) {
    background::step_back();
    let target = || files.index();
    let mut maker = Maker::new(files, &target, span);
    let mut failing = false;
    while !stop.load(Ordering::Relaxed) {
        let records = *heads.borrow();
        let made = maker.make(
            &Directories::of(files, []),
            records,
            &|| stop.load(Ordering::Relaxed),
            &mut |first| tracing::debug!(%first, "a span of records was indexed"),
        );
        let mut pause = PAUSE;
        if let Err(error) = made {
            if !failing {
                let hint = "searches read the journal instead, which takes longer; nothing is lost";
                tracing::warn!(%error, hint, "the search index is not made");
            }
            (failing, pause) = (true, PAUSE_AFTER_FAILURE);
        } else {
            failing = false;
        }
        std::thread::park_timeout(pause);
    }
}

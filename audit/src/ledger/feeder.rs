//! Puts acknowledged groups into the query store, behind the owner.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::background;
use super::store::{Store, StoreError};
use super::tail::{Tail, Work};

/// The thread that feeds the store.
pub(super) struct Feeder {
    tail: Arc<Tail>,
    flush_interval: Duration,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Feeder {
    /// Begins to feed `store`.
    pub(super) fn start(
        tail: Arc<Tail>,
        flush_interval: Duration,
        store: Arc<dyn Store>,
    ) -> io::Result<Self> {
        let feeder = Self { tail, flush_interval, thread: Mutex::new(None) };
        feeder.feed(store)?;
        Ok(feeder)
    }

    /// Begins to feed another store, which has everything that was in the tail. The one before must have been stopped.
    pub(super) fn start_again(&self, store: Arc<dyn Store>) -> io::Result<()> {
        self.tail.begin_again();
        self.feed(store)
    }

    fn feed(&self, store: Arc<dyn Store>) -> io::Result<()> {
        let (tail, flush_interval) = (Arc::clone(&self.tail), self.flush_interval);
        let run = move || run(&tail, store.as_ref(), flush_interval);
        let thread = std::thread::Builder::new().name("ledger-store".to_owned()).spawn(run)?;
        *self.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        Ok(())
    }

    /// Ends when everything is in the store, or the store has failed; an error says that it had.
    pub(super) fn stop(&self) -> Result<(), String> {
        self.tail.stop();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let panicked = thread.is_some_and(|thread| thread.join().is_err());
        match self.tail.failure() {
            Some(reason) => Err(reason),
            None if panicked => Err("the store's thread met a fault in the program".to_owned()),
            None => Ok(()),
        }
    }
}

/// Works until the tail is stopped and empty, or the store fails; the tail then knows why.
fn run(tail: &Tail, store: &dyn Store, flush_interval: Duration) {
    if let Err(error) = feed(tail, store, flush_interval) {
        tracing::error!(%error, "the query store failed");
        tail.fail(format!("the query store failed: {error}"));
    }
}

fn feed(tail: &Tail, store: &dyn Store, flush_interval: Duration) -> Result<(), StoreError> {
    background::step_back();
    let (mut flushed, mut dirty) = (Instant::now(), false);
    loop {
        match tail.work(flush_interval) {
            Work::Groups(groups) => {
                let borrowed: Vec<_> = groups.iter().map(AsRef::as_ref).collect();
                store.apply(&borrowed)?;
                tail.applied(groups.len());
                dirty = true;
            }
            Work::Idle => {}
            Work::Done => return store.flush(),
        }
        if dirty && flushed.elapsed() >= flush_interval {
            store.flush()?;
            (flushed, dirty) = (Instant::now(), false);
        }
    }
}

//! The ledger's threads, from the first message to letting go of the directory.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::Semaphore;

use crate::ledger::committer::Committer;
use crate::ledger::feeder::Feeder;
use crate::ledger::inbox::Inbox;
use crate::ledger::indexer::Indexer;
use crate::ledger::owner::{Closer, Ended, Message, Owner, describe};
use crate::ledger::publisher::Publisher;
use crate::ledger::reader::ReadSide;
use crate::ledger::{LedgerError, LedgerStatus};

/// A committer's thread.
pub(super) type Worker = JoinHandle<Result<(), String>>;

/// What is let go of when the ledger ends, in this order.
pub(super) struct Ending {
    /// The committers.
    pub(super) workers: Vec<Worker>,
    pub(super) feeder: Arc<Feeder>,
    pub(super) indexer: Option<Indexer>,
    pub(super) read_side: Arc<ReadSide>,
    pub(super) room: Arc<Semaphore>,
    pub(super) lock: File,
}

/// Starts a committer's thread; a panic in it stops the ledger.
pub(super) fn spawn(name: &str, committer: Arc<Committer>) -> io::Result<Worker> {
    std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        catch_unwind(AssertUnwindSafe(|| committer.run())).unwrap_or_else(|_| {
            let reason = "one of the ledger's threads met a fault in the program".to_owned();
            committer.publisher.failed(&reason);
            committer.owner.tell(Message::Broken(reason.clone()));
            Err(reason)
        })
    })
}

/// The life of the owner's thread: work, then let go of everything, then answer who closed it.
pub(super) fn live(owner: Owner, inbox: &Inbox, publisher: &Publisher, ending: Ending) {
    let worked = catch_unwind(AssertUnwindSafe(|| owner.run(inbox)));
    let Ended { close, result, left } = worked.unwrap_or_else(|_| {
        let reason = "the ledger's thread met a fault in the program".to_owned();
        publisher.status.send_replace(LedgerStatus::Failed { reason: reason.clone() });
        Ended { close: None, result: Err(LedgerError::Failed { reason }), left: VecDeque::new() }
    });
    ending.room.close();
    drop(left);
    let finished = ending.finish();
    let result = result.and(finished);
    publisher.closed();
    answer_close(close, result);
}

fn answer_close(close: Option<Closer>, result: Result<(), LedgerError>) {
    match (close, result) {
        (Some(close), result) => {
            let _ = close.send(result);
        }
        (None, Err(error)) => {
            tracing::error!(error = describe(&error), "the ledger did not end well");
        }
        (None, Ok(())) => {}
    }
}

impl Ending {
    /// The owner is gone, so the committers end when they have done what was ordered.
    fn finish(self) -> Result<(), LedgerError> {
        let fault = || Err("one of the ledger's threads met a fault in the program".to_owned());
        let worked: Vec<_> =
            self.workers.into_iter().map(|worker| worker.join().unwrap_or_else(|_| fault())).collect();
        if let Some(indexer) = self.indexer {
            indexer.stop();
        }
        let stored = self.feeder.stop();
        self.read_side.recovering.store(false, Ordering::SeqCst);
        self.read_side.store.write().unwrap_or_else(PoisonError::into_inner).take();
        drop(self.lock);
        let ended = worked.into_iter().chain([stored]).collect::<Result<(), _>>();
        ended.map_err(|reason| LedgerError::Failed { reason })
    }
}

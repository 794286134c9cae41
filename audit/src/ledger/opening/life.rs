//! The life of the ledger's thread from its first message to letting go of the directory.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError, mpsc};

use tokio::sync::Semaphore;

use crate::ledger::indexer::Indexer;
use crate::ledger::owner::{Closer, Ended, Message, Owner, describe};
use crate::ledger::reader::ReadSide;
use crate::ledger::tail::Tail;
use crate::ledger::{LedgerError, LedgerStatus};

/// What is let go of when the ledger ends, in this order.
pub(super) struct Ending {
    pub(super) tail: Arc<Tail>,
    pub(super) feeder: std::thread::JoinHandle<()>,
    pub(super) indexer: Option<Indexer>,
    pub(super) read_side: Arc<ReadSide>,
    pub(super) room: Arc<Semaphore>,
    pub(super) lock: File,
}

/// The life of the ledger's thread: work, then let go of everything, then answer who closed it.
pub(super) fn live(owner: Owner, messages: &mpsc::Receiver<Message>, ending: Ending) {
    let status = owner.publish.status.clone();
    let worked = catch_unwind(AssertUnwindSafe(|| owner.run(messages)));
    let Ended { close, result } = worked.unwrap_or_else(|_| {
        let reason = "the ledger's thread met a fault in the program".to_owned();
        status.send_replace(LedgerStatus::Failed { reason: reason.clone() });
        Ended { close: None, result: Err(LedgerError::Failed { reason }) }
    });
    ending.room.close();
    let stored = ending.finish();
    let result = result.and(stored);
    status.send_if_modified(|status| {
        let failed = matches!(status, LedgerStatus::Failed { .. });
        if !failed {
            *status = LedgerStatus::Closed;
        }
        !failed
    });
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
    fn finish(self) -> Result<(), LedgerError> {
        self.tail.stop();
        if let Some(indexer) = self.indexer {
            indexer.stop();
        }
        let panicked = self.feeder.join().is_err();
        self.read_side.store.write().unwrap_or_else(PoisonError::into_inner).take();
        drop(self.lock);
        match self.tail.failure() {
            Some(reason) => Err(LedgerError::Failed { reason }),
            None if panicked => Err(LedgerError::Failed {
                reason: "the store's thread met a fault in the program".to_owned(),
            }),
            None => Ok(()),
        }
    }
}

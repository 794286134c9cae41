//! What an append does while nothing can be recorded, because the key provider is away or the disk cannot be written: it gives up at once, or it waits, within bounds.
//!
//! Refusing is the default: whoever asks learns at once that nothing can be recorded. Waiting suits a token that is away for
//! seconds, as when it is restarted, or a disk on which somebody makes room: sessions then begin late and not never. What was
//! refused is never found later, so that it may be tried again; nothing is promised while it waits; when the time or the places are used up, the answer is the same as without waiting.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use super::{AppendError, Ledger, Receipt};
use crate::record::Draft;

/// What an append does while the key provider does not sign, or the disk cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnStall {
    /// It fails at once.
    Refuse,
    /// It waits.
    Queue {
        /// For so long at most.
        patience: Duration,
        /// At most so many at a time; the next one fails at once.
        places: usize,
    },
}

/// The appends that wait.
#[derive(Clone)]
pub(super) struct Queue {
    patience: Duration,
    places: Arc<Semaphore>,
}

impl Queue {
    pub(super) fn new(policy: OnStall) -> Option<Self> {
        match policy {
            OnStall::Refuse => None,
            OnStall::Queue { patience, places } => {
                Some(Self { patience, places: Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS))) })
            }
        }
    }

    /// Appends, and tries again whenever the ledger records again.
    pub(super) async fn append(&self, ledger: &Ledger, draft: Draft) -> Result<Receipt, AppendError> {
        let deadline = Instant::now() + self.patience;
        let mut place = None;
        loop {
            let stalled = match ledger.append_once(draft.clone()).await {
                Err(error @ (AppendError::SignerUnavailable { .. } | AppendError::Recovering { .. })) => {
                    error
                }
                other => return other,
            };
            if place.is_none() {
                place = self.places.try_acquire().ok();
            }
            if place.is_none() {
                return Err(stalled);
            }
            let mut status = ledger.status();
            let moved = status.wait_for(|status| !status.may_pass());
            if timeout_at(deadline, moved).await.is_err() {
                return Err(stalled);
            }
        }
    }
}

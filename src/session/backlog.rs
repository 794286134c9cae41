//! Records of requests that wait behind their answers: how many may wait, and by whom they are handed to the ledger.
//!
//! Nobody waits for one of these to be durable, so the ledger takes its time and signs many of them at once.
//!
//! None is given up while the ledger may go on: it waits until its queue moves again, and keeps its place. So an outage that outlasts the
//! queue stops requests, and does not go by unrecorded.

use std::sync::Arc;
use std::time::Duration;

use sallyport_audit::{Draft, Ledger};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::live::Live;

/// Records that may wait, over all sessions: what a crash can lose besides the ledger's queue and the requests that were under
/// way. A fifth of a second of a busy gateway.
const MOST: usize = 4096;
/// How many are taken at once.
const TOGETHER: usize = 512;
/// How long more are waited for where few came: woken for each, the task would cost more than the work, on the thread that serves.
const PAUSE: Duration = Duration::from_millis(3);

/// When the record of a request must be durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Recording {
    /// Behind the answer. While too many records wait, no request goes on.
    #[default]
    Buffered,
    /// Before the first byte of the answer.
    Strict,
}

struct Waiting {
    draft: Draft,
    live: Arc<Live>,
    /// None if it found none: then it is of a request that was under way when they ran out.
    _place: Option<OwnedSemaphorePermit>,
    /// The session is closed in the ledger only when this is dropped.
    _token: TaskTrackerToken,
}

/// The records that wait behind their answers; clones share them.
#[derive(Clone)]
pub(super) struct Backlog {
    sender: mpsc::UnboundedSender<Waiting>,
    places: Arc<Semaphore>,
}

impl Backlog {
    /// Hands what waits to `ledger`, until the last clone is dropped.
    pub(super) fn start(ledger: Ledger) -> Self {
        // Bounded by the places: requests that are under way when those run out are recorded all the same, and are bounded
        // by connections and streams.
        let (sender, inbox) = mpsc::unbounded_channel();
        let places = Arc::new(Semaphore::new(MOST));
        tokio::spawn(hand_over(inbox, ledger));
        Self { sender, places }
    }

    /// Whether there is room for one more.
    pub(super) fn has_room(&self) -> bool {
        self.places.available_permits() > 0
    }

    /// Returns when there is room for one more.
    pub(super) async fn eases(&self) {
        // Nothing closes it, and an error would only mean that nobody counts any more.
        let _room = self.places.acquire().await;
    }

    /// Takes one more, for the session `live`.
    pub(super) fn put(&self, draft: Draft, live: &Arc<Live>, token: TaskTrackerToken) {
        let place = Arc::clone(&self.places).try_acquire_owned().ok();
        let waiting = Waiting { draft, live: Arc::clone(live), _place: place, _token: token };
        if let Err(mpsc::error::SendError(lost)) = self.sender.send(waiting) {
            lost.live.lost_record("the runtime has stopped");
        }
    }

    /// Records that wait now.
    pub(super) fn waiting(&self) -> usize {
        MOST.saturating_sub(self.places.available_permits())
    }
}

async fn hand_over(mut inbox: mpsc::UnboundedReceiver<Waiting>, ledger: Ledger) {
    let mut together = Vec::with_capacity(TOGETHER);
    while inbox.recv_many(&mut together, TOGETHER).await > 0 {
        let few = together.len() < TOGETHER;
        for Waiting { draft, live, _place, _token } in together.drain(..) {
            live.count_record(&ledger.enqueue_patiently(draft).await);
        }
        if few {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use sallyport_audit::{Kind, Outcome};

    use super::super::bed;
    use super::*;

    #[tokio::test]
    async fn an_outage_of_the_keys_that_outlasts_the_queue_stops_requests_and_loses_no_record() {
        let folder = tempfile::tempdir().unwrap();
        let (live, down) = bed::open(folder.path(), "192.0.2.1:1");
        let session = live.handle();
        down.store(true, Ordering::SeqCst);
        let mut written = 0_u64;
        while session.has_room_for_a_record() {
            session.write_behind(Draft::new(Kind::HttpRequest, Outcome::Success));
            written += 1;
            assert_eq!(live.records().1, 0, "lost, of {written}");
            assert!(written < 3 * MOST as u64, "nothing stops them");
            tokio::task::yield_now().await;
        }
        down.store(false, Ordering::SeqCst);
        tokio::time::timeout(Duration::from_mins(1), session.room_for_a_record()).await.unwrap();
        tokio::time::timeout(Duration::from_mins(1), live.records_written()).await.unwrap();
        assert_eq!(live.records(), (written, 0));
    }

    #[tokio::test]
    async fn while_too_many_records_wait_no_request_goes_on() {
        let backlog = Backlog { sender: mpsc::unbounded_channel().0, places: Arc::new(Semaphore::new(MOST)) };
        let mut waiting: Vec<_> =
            (0..MOST).map(|_| Arc::clone(&backlog.places).try_acquire_owned().unwrap()).collect();
        assert!(!backlog.has_room());
        assert_eq!(backlog.waiting(), MOST);
        assert!(tokio::time::timeout(Duration::ZERO, backlog.eases()).await.is_err());
        waiting.pop();
        backlog.eases().await;
        assert!(backlog.has_room());
    }
}

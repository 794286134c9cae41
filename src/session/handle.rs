//! The handle on a session that whoever moves its bytes holds.
//!
//! It is cheap to clone; when the last clone is dropped no byte can move any more, and that instant is what the closing record calls
//! the last byte.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use sallyport_audit::{AppendError, Draft};

use super::lasting::LastingStream;
use super::live::{Ending, Live, SessionId};
use super::readers::{Reader, Reading};
use super::subscriber::subscriber;

struct Holder(Arc<Live>);

impl Drop for Holder {
    fn drop(&mut self) {
        // An `Err` would mean that it was set before, which only this drop does.
        let _ = self.0.released_at.set(Instant::now());
        self.0.released.cancel();
    }
}

/// Leave to move bytes, for as long as [`Session::cut`] has not come.
#[derive(Clone)]
pub struct Session(Arc<Holder>);

impl Session {
    /// The first handle of a session.
    pub(super) fn of(live: Arc<Live>) -> Self {
        Self(Arc::new(Holder(live)))
    }

    /// The session's id.
    pub fn id(&self) -> SessionId {
        self.0.0.id
    }

    /// The subject it belongs to.
    pub fn subject(&self) -> &str {
        &self.0.0.subject
    }

    /// Whose it is, told apart from all others: of visitors without a token, each [`subscriber`] is somebody.
    pub fn person(&self) -> Cow<'_, str> {
        match self.subject() {
            "user:anonymous" => subscriber(self.0.0.source.ip()).to_string().into(),
            subject => subject.into(),
        }
    }

    /// The grant it stands on.
    pub fn grant(&self) -> Option<&str> {
        self.0.0.grant.as_deref()
    }

    /// Whether bytes may still move.
    pub fn is_open(&self) -> bool {
        !self.0.0.cut.is_cancelled()
    }

    /// Resolves when bytes must stop, now.
    pub fn cut(&self) -> tokio_util::sync::WaitForCancellationFutureOwned {
        self.0.0.cut.clone().cancelled_owned()
    }

    /// Resolves when nobody holds the session any more.
    pub fn released(&self) -> tokio_util::sync::WaitForCancellationFutureOwned {
        self.0.0.released.clone().cancelled_owned()
    }

    /// Whether not too many records of requests wait for the ledger.
    pub fn has_room_for_a_record(&self) -> bool {
        self.0.0.backlog.has_room()
    }

    /// Returns when not too many do.
    pub async fn room_for_a_record(&self) {
        self.0.0.backlog.eases().await;
    }

    /// Writes the record of a request, behind what was written before. The session is closed in the ledger only after it, and
    /// its closing record says how many of them the ledger has taken.
    pub fn write_behind(&self, draft: Draft) {
        let live = &self.0.0;
        live.backlog.put(draft, live, live.records.token());
    }

    /// Writes the record of a request, and returns when it is durable under a signed head.
    pub async fn write_now(&self, draft: Draft) -> Result<(), AppendError> {
        let live = Arc::clone(&self.0.0);
        // A task of its own: a visitor who hangs up meanwhile ends the caller, and is recorded all the same.
        let writing = self.0.0.records.spawn(async move {
            let written = live.ledger.append(draft).await;
            live.count_record(&written);
            written.map(|_| ())
        });
        writing.await.unwrap_or(Err(AppendError::Closed))
    }

    /// Counts bytes from the visitor to the publisher.
    pub fn count_up(&self, bytes: usize) {
        self.0.0.up.fetch_add(bytes as u64, Ordering::Relaxed);
        self.0.0.touch();
    }

    /// Counts bytes from the publisher to the visitor.
    pub fn count_down(&self, bytes: usize) {
        self.0.0.down.fetch_add(bytes as u64, Ordering::Relaxed);
        self.0.0.touch();
    }

    /// One more who reads what the publisher sends.
    pub(super) fn reads(&self) -> Reading {
        self.0.0.readers.enter(&Arc::new(Reader(Arc::clone(&self.0.0))))
    }

    /// One more stream that outlives its connection.
    pub fn lasting(&self) -> LastingStream {
        LastingStream::of(&self.0.0)
    }

    /// Counts a datagram of so many bytes from the visitor to the publisher.
    pub(super) fn count_datagram_up(&self, bytes: usize) {
        self.0.0.datagrams_up.fetch_add(1, Ordering::Relaxed);
        self.count_up(bytes);
    }

    /// Counts a datagram of so many bytes from the publisher to the visitor.
    pub(super) fn count_datagram_down(&self, bytes: usize) {
        self.0.0.datagrams_down.fetch_add(1, Ordering::Relaxed);
        self.count_down(bytes);
    }

    /// Returns when nothing has moved for so long.
    pub(super) async fn quiet_for(&self, bound: Duration) {
        self.0.0.quiet_for(bound).await;
    }

    /// Counts one request. To be held until its answer begins.
    pub fn count_request(&self) -> Unanswered {
        let live = Arc::clone(&self.0.0);
        live.requests.fetch_add(1, Ordering::Relaxed);
        live.unanswered.fetch_add(1, Ordering::Relaxed);
        Unanswered(live)
    }

    /// Why it has ended, or is about to.
    pub fn ending(&self) -> Option<Ending> {
        self.0.0.reason.get().copied()
    }

    /// Says why the session is about to end; the first word counts.
    pub fn note_ending(&self, reason: Ending) {
        self.0.0.note_ending(reason);
    }
}

/// A request of a session that waits for its answer: as long as it does the session is not idle.
pub struct Unanswered(Arc<Live>);

impl Drop for Unanswered {
    fn drop(&mut self) {
        self.0.touch();
        self.0.unanswered.fetch_sub(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session({})", self.id())
    }
}

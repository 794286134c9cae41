//! Requests under way on one HTTP/2 connection to an app, which says how many there may be.
//!
//! Why: the library takes any number, and has those beyond the app's bound wait where nobody sees them: for the gateway such an app
//! would be one that doesn't answer, and would be left alone though it is well. So they are counted here, and whoever finds no seat goes
//! elsewhere.
//!
//! Promised: a seat is held until request and answer are both over, whichever of them ends last.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

use super::holding::Holding;

/// A body that holds a seat.
pub(super) type Seated<B> = Holding<B, Seat>;

/// The seats of one connection.
#[derive(Debug)]
pub(super) struct Seats {
    /// The app's word; 0 until it is heard.
    most: AtomicUsize,
    taken: AtomicUsize,
    /// Told when there may be a seat, on this connection or another of the same app.
    freed: Arc<Notify>,
}

impl Seats {
    pub(super) fn new(freed: Arc<Notify>) -> Arc<Self> {
        Arc::new(Self { most: AtomicUsize::new(0), taken: AtomicUsize::new(0), freed })
    }

    /// Hears how many there may be.
    pub(super) fn allow(&self, most: usize) {
        if self.most.swap(most, Ordering::Relaxed) != most {
            self.freed.notify_waiters();
        }
    }

    /// Whether the app has said how many there may be.
    pub(super) fn are_known(&self) -> bool {
        self.most.load(Ordering::Relaxed) > 0
    }

    /// One, if any is left. Until the app has said how many there are it is a single one: who has it hears the app's word.
    pub(super) fn take(self: &Arc<Self>) -> Option<Seat> {
        let most = self.most.load(Ordering::Relaxed).max(1);
        let more = |taken| (taken < most).then_some(taken + 1);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Seat { _taken: Arc::new(Taken(Arc::clone(self))) })
    }
}

#[derive(Debug)]
struct Taken(Arc<Seats>);

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
        self.0.freed.notify_one();
    }
}

/// One of them; clones share it.
#[derive(Debug, Clone)]
pub(super) struct Seat {
    _taken: Arc<Taken>,
}

#[cfg(test)]
mod tests {
    use http_body_util::Empty;

    use super::*;

    #[test]
    fn there_is_one_seat_until_the_app_says_how_many_and_a_seat_is_free_when_request_and_answer_are_over() {
        let seats = Seats::new(Arc::default());
        let first = seats.take().unwrap();
        assert!(seats.take().is_none() && !seats.are_known());
        seats.allow(2);
        let _second = seats.take().unwrap();
        assert!(seats.take().is_none());
        let body = || Empty::<bytes::Bytes>::new();
        let (request, answer) = (Seated::new(body(), first.clone()), Seated::new(body(), first));
        let _body = answer.let_go();
        assert!(seats.take().is_none(), "the request is still sent");
        drop(request);
        assert!(seats.take().is_some());
    }
}

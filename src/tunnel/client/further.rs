//! Further connections to an app of HTTP/2, for what the first has no seat for.
//!
//! Promised: one is made at a time, and whoever needs it waits for that one; there are at most [`MOST`]. One that the app has closed, or
//! that is too old, is let go; the requests that it has are answered.

use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

use super::http2_app::{Connection, Dialled};
use super::seats::Seat;

/// Besides the first. An app that allows a hundred requests on each has eight hundred then.
pub(super) const MOST: usize = 7;

/// What there is for a request.
pub(super) enum Found {
    /// A seat.
    Seat(Connection, Seat),
    /// One is being made.
    Coming(Dialled),
    /// There are as many as there may be.
    None,
}

/// See the module.
#[derive(Default)]
pub(super) struct Further(Mutex<Vec<Dialled>>);

impl Further {
    /// A seat, or a connection that is being made; `dial` begins one.
    pub(super) fn find(&self, now: Instant, dial: impl FnOnce() -> Option<Dialled>) -> Found {
        // Holds whole values, whatever panicked beside it.
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.retain(|dialled| Connection::is_good(dialled, now));
        let (mut coming, mut unheard) = (None, false);
        for dialled in held.iter() {
            match &*dialled.borrow() {
                None => coming = Some(dialled.clone()),
                Some(Ok(connection)) => {
                    if let Some(seat) = connection.seats.take() {
                        return Found::Seat(connection.clone(), seat);
                    }
                    // It may have seats for more, which its app is about to say.
                    unheard |= !connection.seats.are_known();
                }
                Some(Err(_)) => {}
            }
        }
        if let Some(coming) = coming {
            return Found::Coming(coming);
        }
        let has_room = held.len() < MOST && !unheard;
        match has_room.then(dial).flatten() {
            Some(dialled) => {
                held.push(dialled.clone());
                Found::Coming(dialled)
            }
            None => Found::None,
        }
    }
}

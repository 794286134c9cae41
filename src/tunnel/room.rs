//! Who has the streams of a publisher's connections, of which there are only so many.
//!
//! Why: the library has a stream beyond the bound wait, and nobody could tell that from a publisher that does not answer. So one
//! person's many would cost an app its visitors, by the circuit breaker, and a publisher its names, when the gateway asks whether it
//! is there.
//!
//! Promised: whoever finds no place is told so at once; one person has at most three times as many as are left for all others, so
//! that somebody who comes finds one, however many the others have; the gateway's own streams find one whatever visitors have.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Streams of each connection that no visitor gets: the goodbye, and what the gateway asks of the publisher itself.
const OWN: u32 = 16;

/// How many times what is left for all others one person may have.
const SHARE: usize = 3;

/// Who wants a stream.
#[derive(Debug, Clone, Copy)]
pub(super) enum Whose<'a> {
    /// The gateway itself.
    Own,
    /// This visitor's.
    Of(&'a str),
}

/// What visitors may have of one connection.
#[derive(Debug, Clone)]
pub(super) struct Room {
    most: usize,
    left: Arc<Semaphore>,
}

impl Room {
    /// Of a connection that carries so many streams.
    pub(super) fn of(streams: u32) -> Self {
        let most = streams.saturating_sub(OWN).max(1) as usize;
        Self { most, left: Arc::new(Semaphore::new(most)) }
    }

    /// How many visitors may have.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// How many are left.
    pub(super) fn left(&self) -> usize {
        self.left.available_permits()
    }

    pub(super) fn take(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.left).try_acquire_owned().ok()
    }
}

/// How many streams each person has on all connections of a publisher.
#[derive(Debug, Clone, Default)]
pub(super) struct Shares(Arc<Mutex<HashMap<Arc<str>, usize>>>);

impl Shares {
    /// One more for `person`, while `left` are left for everybody.
    pub(super) fn take(&self, person: &str, left: usize) -> Option<Share> {
        let mut all = self.all();
        let person = match all.get_key_value(person) {
            Some((_, has)) if *has >= left.saturating_mul(SHARE) => return None,
            Some((person, _)) => Arc::clone(person),
            None if left == 0 => return None,
            None => person.into(),
        };
        *all.entry(Arc::clone(&person)).or_default() += 1;
        Some(Share { of: self.clone(), person })
    }

    fn all(&self) -> MutexGuard<'_, HashMap<Arc<str>, usize>> {
        // Every change is complete before the lock is let go.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of somebody's streams, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    of: Shares,
    person: Arc<str>,
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut all = self.of.all();
        let Some(has) = all.get_mut(&self.person) else { return };
        *has = has.saturating_sub(1);
        if *has == 0 {
            all.remove(&self.person);
        }
    }
}

/// A place for one stream, given back when both its directions are over.
#[derive(Debug, Clone)]
pub(super) struct Place {
    _held: Arc<(OwnedSemaphorePermit, Share)>,
}

impl Place {
    pub(super) fn new(permit: OwnedSemaphorePermit, share: Share) -> Self {
        Self { _held: Arc::new((permit, share)) }
    }
}

/// One direction of a stream, with its place.
#[derive(Debug)]
pub struct Placed<B> {
    inner: B,
    place: Option<Place>,
}

impl<B> Placed<B> {
    pub(super) fn new(inner: B) -> Self {
        Self { inner, place: None }
    }

    pub(super) fn at(inner: B, place: Option<Place>) -> Self {
        Self { inner, place }
    }

    /// In place of the one that it had, on a connection that broke.
    pub(super) fn put(&mut self, place: Option<Place>) {
        self.place = place;
    }

    pub(super) fn into_parts(self) -> (B, Option<Place>) {
        (self.inner, self.place)
    }
}

impl<B: Body + Unpin> Body for Placed<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes for `person` as many as it gets, of a connection with `room`.
    fn greedy(person: &str, room: &Room, shares: &Shares) -> Vec<Place> {
        let take = || {
            let share = shares.take(person, room.left())?;
            Some(Place::new(room.take()?, share))
        };
        std::iter::from_fn(take).collect()
    }

    #[test]
    fn nobody_gets_more_than_three_times_what_is_left_and_somebody_who_comes_gets_one() {
        let (room, shares) = (Room::of(OWN + 1000), Shares::default());
        let first = greedy("a", &room, &shares);
        assert_eq!((first.len(), room.left()), (750, 250));
        let mut others = Vec::new();
        for person in ["b", "c", "d"] {
            others.extend(greedy(person, &room, &shares));
            assert!(room.left() > 0, "{person} has taken the last");
        }
        drop(first);
        assert!(!greedy("a", &room, &shares).is_empty());
        drop(others);
    }

    #[test]
    fn what_is_given_back_leaves_no_trace() {
        let (room, shares) = (Room::of(OWN + 10), Shares::default());
        drop(greedy("a", &room, &shares));
        assert_eq!(room.left(), 10);
        assert!(shares.all().is_empty());
    }

    #[test]
    fn of_many_who_have_one_each_the_last_place_is_somebodys() {
        let (room, shares) = (Room::of(OWN + 10), Shares::default());
        let take = |person: u32| {
            let share = shares.take(&person.to_string(), room.left())?;
            Some(Place::new(room.take()?, share))
        };
        let taken: Vec<_> = (0..20).map_while(take).collect();
        assert_eq!((taken.len(), room.left()), (10, 0));
        assert_eq!(shares.all().len(), 10, "nothing is remembered of who got none");
    }
}

//! Keeps a part of a page up to date (server-sent events): whenever the ledger has grown, the part is made anew for whoever
//! looks, and sent if it differs. So a change of policy takes away what somebody sees as it takes away what they may do.
//!
//! Bounded: so many streams at a time, and so many of them one person's; each ends with its session and with the gateway. Nothing is recorded
//! here: the page around it was.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use sha2::{Digest as _, Sha256};

use super::viewer::Viewer;
use crate::console::Shared;

/// How many pages are kept up to date at a time.
const ALL: usize = 256;

/// How many of them one person may look at: more than anybody reads, and too few to keep others out.
const EACH: usize = 12;

/// Pages that are kept up to date, by who looks.
#[derive(Default)]
pub struct Streams(Arc<Mutex<HashMap<String, usize>>>);

/// A place for one such page, until it is dropped.
struct Seat {
    taken: Arc<Mutex<HashMap<String, usize>>>,
    subject: String,
}

impl Streams {
    /// A place for this person, if there is one.
    fn take(&self, subject: &str) -> Option<Seat> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = taken.get(subject).copied().unwrap_or(0);
        if own >= EACH || taken.values().sum::<usize>() >= ALL {
            return None;
        }
        taken.insert(subject.to_owned(), own + 1);
        Some(Seat { taken: Arc::clone(&self.0), subject: subject.to_owned() })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = taken.get_mut(&self.subject) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                taken.remove(&self.subject);
            }
        }
    }
}

/// The shortest time between two looks: what happens in between is seen by the second.
const PACE: Duration = Duration::from_millis(200);

/// Streams the part that `make` makes, at least every `every`.
pub(super) fn stream(
    shared: Shared,
    viewer: Viewer,
    every: Duration,
    make: impl FnMut(&Shared, &Viewer) -> Option<String> + Send + 'static,
) -> Response {
    let Some(seat) = shared.streams.take(viewer.caller.identity.subject().as_str()) else {
        return StatusCode::TOO_MANY_REQUESTS.into_response();
    };
    let Viewer { caller, chrome } = viewer;
    let viewer = Viewer { caller: caller.watching(), chrome };
    let heads = shared.ledger.reader().heads();
    let begin = (shared, viewer, heads, make, None::<[u8; 32]>, seat);
    let parts =
        stream::unfold(begin, move |(shared, viewer, mut heads, mut make, mut last, seat)| async move {
            loop {
                if last.is_some() {
                    tokio::select! {
                        () = shared.stop.cancelled() => return None,
                        changed = heads.changed() => changed.ok()?,
                        () = tokio::time::sleep(every) => {}
                    }
                    tokio::time::sleep(PACE).await;
                    heads.borrow_and_update();
                }
                if shared.stop.is_cancelled() || !viewer.caller.stands() {
                    return None;
                }
                let part = make(&shared, &viewer)?;
                let digest: [u8; 32] = Sha256::digest(&part).into();
                if last != Some(digest) {
                    last = Some(digest);
                    let event = Event::default().json_data(part).unwrap_or_default();
                    return Some((Ok::<_, Infallible>(event), (shared, viewer, heads, make, last, seat)));
                }
            }
        });
    let mut response = Sse::new(parts).keep_alive(KeepAlive::default()).into_response();
    response.headers_mut().insert("cache-control", axum::http::HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_takes_the_places_of_all() {
        let streams = Streams::default();
        let mut mine: Vec<Seat> = std::iter::from_fn(|| streams.take("user:greedy")).take(ALL).collect();
        assert_eq!(mine.len(), EACH);
        let other = streams.take("user:admin");
        assert!(other.is_some(), "others have theirs");
        drop(mine.pop());
        assert!(streams.take("user:greedy").is_some(), "a page that is closed makes room");
        drop((mine, other));
        assert!(streams.0.lock().unwrap().is_empty(), "nobody is remembered who does not look");
    }

    #[test]
    fn all_together_have_so_many_and_no_more() {
        let streams = Streams::default();
        let seats: Vec<Option<Seat>> = (0..ALL + 5).map(|who| streams.take(&format!("user:{who}"))).collect();
        assert_eq!(seats.iter().flatten().count(), ALL);
    }
}

//! Keeps a part of a page up to date (server-sent events): whenever the ledger has grown, the part is made anew for whoever
//! looks, and sent if it differs. So a change of policy takes away what somebody sees as it takes away what they may do.
//!
//! Bounded: so many streams at a time, each ends with its session and with the gateway. Nothing is recorded here: the page around it was.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use sha2::{Digest as _, Sha256};

use super::viewer::Viewer;
use crate::console::Shared;

/// How many pages are kept up to date at a time.
pub const STREAMS: usize = 256;

/// The shortest time between two looks: what happens in between is seen by the second.
const PACE: Duration = Duration::from_millis(200);

/// Streams the part that `make` makes, at least every `every`.
pub(super) fn stream(
    shared: Shared,
    viewer: Viewer,
    every: Duration,
    make: impl FnMut(&Shared, &Viewer) -> Option<String> + Send + 'static,
) -> Response {
    let Ok(seat) = Arc::clone(&shared.streams).try_acquire_owned() else {
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

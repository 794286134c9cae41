//! What is left of a caller's minute, told with every answer: `RateLimit-Policy` and `RateLimit`
//! (draft-ietf-httpapi-ratelimit-headers), and `Retry-After` (RFC 9110 section 10.2.3) where it is used up.

use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::Request;
use axum::http::HeaderMap;
use axum::middleware::Next;
use axum::response::Response;

use crate::edge::Left;

/// Where whoever counts a call leaves what is left, for its answer.
#[derive(Clone, Default)]
pub(super) struct Note(Arc<Mutex<Option<(&'static str, Left)>>>);

impl Note {
    /// The tighter of two counts is the one that is told.
    pub(super) fn leave(&self, what: &'static str, left: Left) {
        let mut note = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if note.is_none_or(|(_, known)| left.remaining <= known.remaining) {
            *note = Some((what, left));
        }
    }

    fn write(&self, headers: &mut HeaderMap) {
        let Some((what, left)) = *self.0.lock().unwrap_or_else(PoisonError::into_inner) else { return };
        left.write(what, headers);
    }
}

/// Adds the headers to whatever is answered.
pub(super) async fn tell(mut request: Request, next: Next) -> Response {
    let note = Note::default();
    request.extensions_mut().insert(note.clone());
    let mut response = next.run(request).await;
    note.write(response.headers_mut());
    response
}

//! What is left of a caller's minute, told with every answer: `RateLimit-Policy` and `RateLimit`
//! (draft-ietf-httpapi-ratelimit-headers), and `Retry-After` (RFC 9110 section 10.2.3) where it is used up.

use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::Request;
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;

use crate::edge::Left;

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");

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
        let seconds = |time: std::time::Duration| time.as_secs() + u64::from(time.subsec_nanos() > 0);
        let mut put = |name, text: String| {
            if let Ok(value) = HeaderValue::from_str(&text) {
                headers.insert(name, value);
            }
        };
        put(POLICY, format!("\"{what}\";q={};w=60", left.limit));
        put(LIMIT, format!("\"{what}\";r={};t={}", left.remaining, seconds(left.reset)));
        if !left.wait.is_zero() {
            put(RETRY_AFTER, seconds(left.wait).max(1).to_string());
        }
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

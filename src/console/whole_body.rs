//! The body of a call is read before anything answers the call.
//!
//! Why: behind an answer that comes while its request is still being sent (no credential, another content type) the connection ends,
//! and a client that is still writing sees that end and never the answer.
//!
//! Promised: no more than [`LARGEST_BODY`] bytes of a call are kept, and nobody is waited for longer than [`PATIENCE`].

use std::time::Duration;

use axum::body::{Body, HttpBody as _, to_bytes};
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::LARGEST_BODY;
use super::errors::Problem;
use crate::edge::Correlation;

/// How long the body of a call may take.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) async fn first(request: Request, next: Next) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    let (head, body) = request.into_parts();
    let (status, detail) = match tokio::time::timeout(PATIENCE, to_bytes(body, LARGEST_BODY)).await {
        Ok(Ok(body)) => return next.run(Request::from_parts(head, Body::from(body))).await,
        Ok(Err(error)) => (StatusCode::PAYLOAD_TOO_LARGE, error.to_string()),
        Err(_) => {
            (StatusCode::REQUEST_TIMEOUT, format!("the body did not come within {} s", PATIENCE.as_secs()))
        }
    };
    let correlation = head.extensions.get::<Correlation>().cloned().unwrap_or(Correlation(String::new()));
    let hint = "a call carries a few words, never a document";
    Problem::new(&correlation, status, "bad-body", detail, hint).into_response()
}

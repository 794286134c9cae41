//! The app behind a tunnel as what answers requests, whichever HTTP it speaks.
//!
//! An app of HTTP/1.1 closes connections that rest, and may do so just as one is used again: nobody knows then whether it has seen
//! the request. One of HTTP/2 says which requests it hasn't looked at when it ends a connection. A request that only reads, and has no
//! body, is sent once more (RFC 9110 section 9.2.2); of any other the visitor is told.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::http2_app::Http2App;
use super::pool::{AppPool, PooledBody};
use super::seats::Seated;
use super::upload::UploadBody;

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum AppError {
    /// There is no connection.
    Unreachable(String),
    /// It broke off.
    Broken(String),
    /// The app ended the connection in place of an answer, as it may at any time.
    Closed(String),
    /// The app has as many requests under way as it takes.
    Busy,
}

/// An app and the way to it.
pub(super) enum HttpApp {
    /// HTTP/1.1, over as many connections as requests are under way.
    One(AppPool),
    /// HTTP/2, over one, and over more if the app takes no more on that.
    Two(Http2App),
}

impl HttpApp {
    /// Sends a request and returns the answer when it begins.
    pub(super) async fn request(&self, request: Request<UploadBody>) -> Result<Response<AppBody>, AppError> {
        let again = repeatable(&request);
        match self {
            Self::One(pool) => {
                let answer = match (pool.request(request).await, again) {
                    (Err(AppError::Closed(_)), Some(again)) => pool.request_anew(again).await,
                    (answer, _) => answer,
                };
                Ok(answer?.map(AppBody::One))
            }
            Self::Two(app) => {
                let answer = match (app.request(request).await, again) {
                    (Err(AppError::Closed(_)), Some(again)) => app.request(again).await,
                    (answer, _) => answer,
                };
                Ok(answer?.map(AppBody::Two))
            }
        }
    }
}

/// The same request once more, if it may be made twice.
fn repeatable(request: &Request<UploadBody>) -> Option<Request<UploadBody>> {
    if !request.method().is_safe() || !request.body().is_end_stream() {
        return None;
    }
    let mut again = Request::new(UploadBody::none());
    *again.method_mut() = request.method().clone();
    *again.uri_mut() = request.uri().clone();
    *again.version_mut() = request.version();
    *again.headers_mut() = request.headers().clone();
    Some(again)
}

/// The body of an answer.
pub(super) enum AppBody {
    One(PooledBody),
    Two(Seated<Incoming>),
}

impl Body for AppBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::One(body) => Pin::new(body).poll_frame(cx),
            Self::Two(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::One(body) => body.is_end_stream(),
            Self::Two(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::One(body) => body.size_hint(),
            Self::Two(body) => body.size_hint(),
        }
    }
}

//! The app behind a tunnel as what answers requests, whichever HTTP it speaks.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::http2_app::Http2App;
use super::pool::{AppPool, PooledBody};
use super::upload::UploadBody;

/// Why there is no answer.
pub(super) enum AppError {
    /// There is no connection.
    Unreachable(String),
    /// It broke off.
    Broken(String),
}

/// An app and the way to it.
pub(super) enum HttpApp {
    /// HTTP/1.1, over as many connections as requests are under way.
    One(AppPool),
    /// HTTP/2, over one.
    Two(Http2App),
}

impl HttpApp {
    /// Sends a request and returns the answer when it begins.
    pub(super) async fn request(&self, request: Request<UploadBody>) -> Result<Response<AppBody>, AppError> {
        match self {
            Self::One(pool) => Ok(pool.request(request).await?.map(AppBody::One)),
            Self::Two(app) => Ok(app.request(request).await?.map(AppBody::Two)),
        }
    }
}

/// The body of an answer.
pub(super) enum AppBody {
    One(PooledBody),
    Two(Incoming),
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

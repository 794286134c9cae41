//! A visitor's request body out of HTTP/3, with the length that was announced for it held to.
//!
//! The library does not compare the two (RFC 9114 section 4.1.2 calls a request malformed where they differ): what an app takes for
//! one request could be two.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h3::error::StreamError;
use h3::quic::RecvStream;
use h3::server::RequestStream;
use hyper::body::{Body, Frame, SizeHint};

/// Why a body ends before its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    /// The stream.
    #[error("the visitor's request broke off")]
    Stream(#[source] StreamError),
    /// More or less than was announced.
    #[error("the visitor's request is not as long as it announced")]
    Length,
}

enum Part {
    Data,
    Trailers,
    Over,
}

/// See the module.
pub(super) struct RequestBody<S> {
    stream: RequestStream<S, Bytes>,
    /// Bytes that are still to come, where their number was announced.
    left: Option<u64>,
    /// Data that came before anybody asked for the body.
    early: Option<Bytes>,
    part: Part,
}

impl<S: RecvStream> RequestBody<S> {
    pub(super) fn new(stream: RequestStream<S, Bytes>, announced: Option<u64>) -> Self {
        Self { stream, left: announced, early: None, part: Part::Data }
    }

    /// Waits for the first data or the end, so that a request without a body is known for one.
    pub(super) async fn look(&mut self) -> Result<(), BodyError> {
        self.early = std::future::poll_fn(|cx| self.poll_data(cx)).await?;
        if self.early.is_none() && std::future::poll_fn(|cx| self.stream.poll_recv_trailers(cx)).await.is_ok()
        {
            // Trailers of a request without a body mean nothing to anybody.
            self.part = Part::Over;
        }
        Ok(())
    }

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyError>> {
        let data = match ready!(self.stream.poll_recv_data(cx)) {
            Ok(data) => data.map(|mut data| data.copy_to_bytes(data.remaining())),
            Err(error) => return Poll::Ready(Err(BodyError::Stream(error))),
        };
        let length = data.as_ref().map_or(0, |data| data.len() as u64);
        self.left = match self.left.map(|left| left.checked_sub(length)) {
            Some(None) => return Poll::Ready(Err(BodyError::Length)),
            Some(Some(left)) if data.is_none() && left > 0 => return Poll::Ready(Err(BodyError::Length)),
            left => left.flatten(),
        };
        if data.is_none() {
            self.part = Part::Trailers;
        }
        Poll::Ready(Ok(data))
    }
}

impl<S: RecvStream + Unpin> Body for RequestBody<S> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if let Some(early) = this.early.take() {
            return Poll::Ready(Some(Ok(Frame::data(early))));
        }
        if matches!(this.part, Part::Data) {
            match ready!(this.poll_data(cx)) {
                Ok(Some(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Ok(None) => {}
                Err(error) => {
                    this.part = Part::Over;
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
        if matches!(this.part, Part::Trailers) {
            let trailers = ready!(this.stream.poll_recv_trailers(cx));
            this.part = Part::Over;
            return Poll::Ready(match trailers {
                Ok(trailers) => trailers.map(|trailers| Ok(Frame::trailers(trailers))),
                Err(error) => Some(Err(BodyError::Stream(error))),
            });
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.early.is_none() && matches!(self.part, Part::Over)
    }

    fn size_hint(&self) -> SizeHint {
        if self.is_end_stream() {
            return SizeHint::with_exact(0);
        }
        let early = self.early.as_ref().map_or(0, |early| early.len() as u64);
        self.left.map_or_else(SizeHint::default, |left| SizeHint::with_exact(left + early))
    }
}

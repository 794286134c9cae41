//! An HTTP body that belongs to a session: counted as it passes, ended when the session is cut.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Body, Frame, SizeHint};
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::handle::Session;
use super::readers::Reading;

/// Which way the bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the visitor to the publisher.
    Up,
    /// From the publisher to the visitor.
    Down,
}

/// Why a body ended early.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The session was cut.
    #[error("the session has ended")]
    SessionCut,
    /// The body's own source failed.
    #[error("the other side failed")]
    Source(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Wraps a body; `G` is kept until the body is finished or dropped, and learns of the bytes by [`Counted`].
pub struct SessionBody<G> {
    inner: UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    direction: Direction,
    /// Of a body that goes down and was not over with its first piece.
    reading: Option<Reading>,
    // Dropped in this order: what the guard still writes belongs to the session, which is let go of last.
    guard: G,
    session: Session,
}

/// Something that wants to know how many bytes a body carried.
pub trait Counted: Send + Sync + Unpin + 'static {
    /// `bytes` more have passed.
    fn passed(&mut self, bytes: usize);
    /// The body came to its proper end.
    fn finished(&mut self);
}

impl Counted for () {
    fn passed(&mut self, _bytes: usize) {}
    fn finished(&mut self) {}
}

impl<G: Counted> SessionBody<G> {
    /// A body of `session` that goes in `direction`.
    pub fn new<B>(body: B, session: Session, direction: Direction, mut guard: G) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        use http_body_util::BodyExt as _;
        // Nobody asks for more of what has nothing.
        if body.is_end_stream() {
            guard.finished();
        }
        let cut = Box::pin(session.cut());
        Self {
            inner: UnsyncBoxBody::new(body.map_err(Into::into)),
            session,
            cut,
            direction,
            reading: None,
            guard,
        }
    }
}

impl<G: Counted> Body for SessionBody<G> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        if std::future::Future::poll(this.cut.as_mut(), context).is_ready() {
            return Poll::Ready(Some(Err(BodyError::SessionCut)));
        }
        let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(context) else {
            if let Some(reading) = &this.reading {
                reading.waits();
            }
            return Poll::Pending;
        };
        match frame {
            Some(Ok(frame)) => {
                let length = frame.data_ref().map_or(0, Bytes::len);
                if frame.is_data() {
                    match this.direction {
                        Direction::Up => this.session.count_up(length),
                        Direction::Down => this.session.count_down(length),
                    }
                    this.guard.passed(length);
                }
                if this.inner.is_end_stream() {
                    this.guard.finished();
                    this.reading = None;
                } else if this.direction == Direction::Down {
                    this.reading.get_or_insert_with(|| this.session.reads()).given(length);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(source)) => Poll::Ready(Some(Err(BodyError::Source(source)))),
            None => {
                this.guard.finished();
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

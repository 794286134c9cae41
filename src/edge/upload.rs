//! The body of a visitor's request on its way to an app: when it moved last, and whose turn it is.
//!
//! Why: a request that is not answered in time can be the app's fault or the visitor's, who announced a body and does not send
//! it. Only the first counts against the app; else one visitor could have it left alone for everybody.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};

use crate::clock;

/// Clones look at the same body.
#[derive(Clone)]
pub(super) struct Upload(Arc<Seen>);

struct Seen {
    began: Instant,
    /// Milliseconds after `began` at which something of it came last.
    moved: AtomicU64,
    /// Whether the way to the app is free, and the visitor has sent nothing for it.
    owed: AtomicBool,
    broken: AtomicBool,
}

impl Upload {
    /// One of which nothing has come.
    pub(super) fn begin() -> Self {
        Self(Arc::new(Seen {
            began: clock::monotonic(),
            moved: AtomicU64::new(0),
            owed: AtomicBool::new(false),
            broken: AtomicBool::new(false),
        }))
    }

    /// The same body, looked at as it passes.
    pub(super) fn watch(&self, body: Body) -> Body {
        Body::new(Watched { body, upload: self.clone() })
    }

    /// Returns when nothing has moved for so long: the time for an answer runs from the last byte of a request, so that a long
    /// upload is no timeout.
    pub(super) async fn still_for(&self, bound: Duration) {
        loop {
            let moved = Duration::from_millis(self.0.moved.load(Ordering::Relaxed));
            let still = self.0.began.elapsed().saturating_sub(moved);
            match bound.checked_sub(still) {
                Some(left) if !left.is_zero() => tokio::time::sleep(left).await,
                _ => return,
            }
        }
    }

    /// Whether it is the visitor who is waited for.
    pub(super) fn is_owed(&self) -> bool {
        self.0.owed.load(Ordering::Relaxed)
    }

    /// Whether the visitor broke off, or sent what it had not announced.
    pub(super) fn is_broken(&self) -> bool {
        self.0.broken.load(Ordering::Relaxed)
    }

    fn polled(&self, polled: &Poll<Option<Result<Frame<Bytes>, axum::Error>>>) {
        let seen = &self.0;
        seen.owed.store(polled.is_pending(), Ordering::Relaxed);
        match polled {
            Poll::Ready(Some(Ok(_))) => {
                let elapsed = u64::try_from(seen.began.elapsed().as_millis()).unwrap_or(u64::MAX);
                seen.moved.store(elapsed, Ordering::Relaxed);
            }
            Poll::Ready(Some(Err(_))) => seen.broken.store(true, Ordering::Relaxed),
            Poll::Ready(None) | Poll::Pending => {}
        }
    }
}

struct Watched {
    body: Body,
    upload: Upload,
}

impl hyper::body::Body for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        self.upload.polled(&polled);
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt as _, StreamExt as _, stream};
    use http_body_util::BodyExt as _;

    use super::*;

    fn body(pieces: Vec<Result<&'static str, &'static str>>, ends: bool) -> Body {
        let pieces = stream::iter(pieces.into_iter().map(|piece| piece.map_err(std::io::Error::other)));
        if ends { Body::from_stream(pieces) } else { Body::from_stream(pieces.chain(stream::pending())) }
    }

    #[tokio::test]
    async fn a_body_is_owed_while_somebody_wants_more_of_it_and_nothing_comes() {
        let upload = Upload::begin();
        let mut watched = upload.watch(body(vec![Ok("a")], false));
        assert!(!upload.is_owed(), "nobody has asked for it: the way is not free");
        assert!(watched.frame().await.unwrap().is_ok());
        assert!(!upload.is_owed());
        assert!(watched.frame().now_or_never().is_none());
        assert!(upload.is_owed());
        assert!(!upload.is_broken());
    }

    #[tokio::test]
    async fn a_body_that_is_whole_is_owed_no_more_and_one_that_breaks_off_is_broken() {
        let upload = Upload::begin();
        upload.watch(body(vec![Ok("a")], true)).collect().await.unwrap();
        assert!(!upload.is_owed() && !upload.is_broken());
        upload.watch(body(vec![Err("gone")], true)).collect().await.unwrap_err();
        assert!(!upload.is_owed() && upload.is_broken());
    }

    #[tokio::test]
    async fn the_time_for_an_answer_runs_from_the_last_byte() {
        let upload = Upload::begin();
        assert!(upload.still_for(Duration::ZERO).now_or_never().is_some());
        assert!(upload.still_for(Duration::from_mins(1)).now_or_never().is_none());
    }
}

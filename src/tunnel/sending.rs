//! A request's body on its way to a publisher, by a task of its own while it is not whole.
//!
//! Pieces are asked for one at a time, and the next one not before the stream may carry the last: so who sends waits for whoever takes.
//! A body that breaks off resets its stream, and so does an exchange that is given up before its answer has begun; neither looks
//! whole at the other end.

use std::error::Error;

use bytes::Bytes;
use h2::{Reason, SendStream};
use http::{HeaderMap, HeaderValue, Method, header};
use http_body_util::BodyExt as _;
use hyper::body::Body;
use tokio_util::task::AbortOnDropHandle;

use super::lane::RequestBody;

/// What sends a body. Dropped before the answer begins, it gives the body up.
pub(super) struct Sending(Option<AbortOnDropHandle<()>>);

impl Sending {
    /// Begins; a body that is there already is sent without a task.
    pub(super) async fn begin(body: RequestBody, stream: SendStream<Bytes>) -> Self {
        let mut sending = Box::pin(send(body, stream));
        let polled = std::future::poll_fn(|cx| std::task::Poll::Ready(sending.as_mut().poll(cx))).await;
        Self(polled.is_pending().then(|| AbortOnDropHandle::new(tokio::spawn(sending))))
    }

    /// There is none.
    pub(super) fn nothing() -> Self {
        Self(None)
    }

    /// The answer has begun: the body goes on to its own end.
    pub(super) fn go_on(self) {
        if let Some(task) = self.0 {
            drop(task.detach());
        }
    }
}

/// Announces the length of a body that is known and not announced, where that says something (RFC 9110 section 8.6).
pub(super) fn announce_length(method: &Method, headers: &mut HeaderMap, body: &RequestBody) {
    let Some(length) = body.size_hint().exact() else { return };
    let means_nothing = matches!(*method, Method::GET | Method::HEAD | Method::DELETE);
    if length > 0 || !means_nothing {
        headers.entry(header::CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(length));
    }
}

async fn send(mut body: RequestBody, mut stream: SendStream<Bytes>) {
    loop {
        let frame = tokio::select! {
            biased;
            // The publisher wants no more of it, or is gone.
            _reset = std::future::poll_fn(|cx| stream.poll_reset(cx)) => return,
            frame = body.frame() => frame,
        };
        let frame = match frame {
            None => {
                // Refused only by a stream that is over.
                let _sent = stream.send_data(Bytes::new(), true);
                return;
            }
            Some(Err(error)) => return stream.send_reset(reason_behind(&*error)),
            Some(Ok(frame)) => frame,
        };
        let sent = match frame.into_data() {
            Ok(data) => {
                let is_last = body.is_end_stream();
                if !data.is_empty() && !is_carried(&mut stream).await {
                    return;
                }
                stream.send_data(data, is_last).map(|()| is_last)
            }
            Err(other) => match other.into_trailers() {
                Ok(trailers) => {
                    stream.reserve_capacity(0);
                    stream.send_trailers(trailers).map(|()| true)
                }
                Err(_) => Ok(false),
            },
        };
        if !matches!(sent, Ok(false)) {
            return;
        }
    }
}

/// Waits until the stream carries more; `false` if it never does.
async fn is_carried(stream: &mut SendStream<Bytes>) -> bool {
    // As little as can be asked for: what nobody sends yet must not be kept from others. Giving it a piece asks for the rest.
    stream.reserve_capacity(1);
    while stream.capacity() == 0 {
        let more = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await;
        if !matches!(more, Some(Ok(_))) {
            return false;
        }
    }
    true
}

/// What a body's error says of itself on HTTP/2.
fn reason_behind(error: &(dyn Error + 'static)) -> Reason {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(reason) = error.downcast_ref::<h2::Error>().and_then(h2::Error::reason) {
            return reason;
        }
        next = error.source();
    }
    Reason::INTERNAL_ERROR
}

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
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::AbortOnDropHandle;

use super::lane::RequestBody;

/// What sends a body. Dropped before the answer begins, it gives the body up.
pub(super) struct Sending(Option<(AbortOnDropHandle<()>, DropGuard)>);

/// Whoever takes the answer: dropped before that is over, it gives up the body that is still sent. Nobody asks for the body itself
/// while the publisher takes nothing of it, so it could not say so.
#[derive(Debug)]
pub(super) struct Asker(Option<DropGuard>);

impl Asker {
    /// The answer is over: the body goes on to its own end.
    pub(super) fn is_answered(&mut self) {
        drop(self.0.take().map(DropGuard::disarm));
    }
}

impl Sending {
    /// Begins; a body that is there already is sent without a task.
    pub(super) async fn begin(body: RequestBody, stream: SendStream<Bytes>) -> Self {
        let given_up = CancellationToken::new();
        let mut sending = Box::pin(send(body, stream, given_up.clone()));
        let polled = std::future::poll_fn(|cx| std::task::Poll::Ready(sending.as_mut().poll(cx))).await;
        let goes_on = polled.is_pending();
        Self(goes_on.then(|| (AbortOnDropHandle::new(tokio::spawn(sending)), given_up.drop_guard())))
    }

    /// There is none.
    pub(super) fn nothing() -> Self {
        Self(None)
    }

    /// The answer has begun: the body goes on to its own end, or until the answer is given up.
    pub(super) fn go_on(self) -> Asker {
        Asker(self.0.map(|(task, asker)| {
            drop(task.detach());
            asker
        }))
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

async fn send(mut body: RequestBody, mut stream: SendStream<Bytes>, given_up: CancellationToken) {
    loop {
        let frame = tokio::select! {
            biased;
            () = given_up.cancelled() => return stream.send_reset(Reason::CANCEL),
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
                let carried = data.is_empty()
                    || tokio::select! {
                        biased;
                        () = given_up.cancelled() => return stream.send_reset(Reason::CANCEL),
                        carried = is_carried(&mut stream) => carried,
                    };
                if !carried {
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

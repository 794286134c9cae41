//! A body on its way from a publisher: its pieces, its trailers, and whether it came whole.
//!
//! The library's stream, with two rules about ends. One that the publisher resets is an error, whatever word it gives, but for
//! `NO_ERROR`: by that word a server that has answered says that it wants no more of the question (RFC 9113 section 8.1), and
//! the publisher's library says so behind the answer's end and never before. And while something of it waits to be taken, that is
//! counted ([`Hold`]), so that the many for whom something waits have smaller windows.
//!
//! Trusted of the publisher: nothing. What it may have under way is the library's to hold it to.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use hyper::body::{Body, Frame, SizeHint};

use super::sending::Asker;
use super::window::Hold;

/// See the module.
#[derive(Debug)]
pub struct Arriving {
    stream: RecvStream,
    /// What its head announces.
    length: Option<u64>,
    data_ended: bool,
    hold: Hold,
    asker: Asker,
}

impl Arriving {
    pub(super) fn new(stream: RecvStream, length: Option<u64>, hold: Hold, asker: Asker) -> Self {
        Self { stream, length, data_ended: false, hold, asker }
    }

    /// The next piece of data.
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, h2::Error>>> {
        let Poll::Ready(data) = self.stream.poll_data(cx) else {
            self.hold.set(false);
            return Poll::Pending;
        };
        if let Some(Ok(data)) = &data {
            self.hold.set(true);
            self.length = self.length.map(|length| length.saturating_sub(data.len() as u64));
            let flow = self.stream.flow_control();
            // Refused only for more than came.
            let _released = flow.release_capacity(data.len());
            self.hold.taken(data.len(), flow);
        }
        Poll::Ready(data)
    }
}

impl Body for Arriving {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        let this = self.get_mut();
        if !this.data_ended {
            match ready!(this.poll_data(cx)) {
                Some(Ok(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Some(Err(error)) if wants_no_more(&error) => {
                    this.asker.is_answered();
                    return Poll::Ready(None);
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => {
                    this.data_ended = true;
                    this.asker.is_answered();
                }
            }
        }
        this.hold.set(false);
        match ready!(this.stream.poll_trailers(cx)) {
            Ok(trailers) => Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers)))),
            Err(error) if wants_no_more(&error) => Poll::Ready(None),
            Err(error) => Poll::Ready(Some(Err(error))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        if self.stream.is_end_stream() {
            self.asker.is_answered();
        }
    }
}

fn wants_no_more(error: &h2::Error) -> bool {
    error.reason() == Some(h2::Reason::NO_ERROR)
}

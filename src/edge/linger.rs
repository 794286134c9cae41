//! The end of a connection of HTTP/1.1 whose last answer came before its request was whole.
//!
//! A socket that is closed with unread bytes in it resets the connection, and a reset takes from the peer what it has not read yet: who
//! sends a large upload that is refused would see "connection reset" in place of why. So what still comes is read and thrown away
//! (RFC 9112 section 9.6), within bounds, while the connection keeps its seat.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Body as _, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

/// Bytes that are read so: more than most uploads have, and little work.
pub(super) const MOST: u64 = 64 << 20;
/// The same of one that was no request: a head that is somewhat too large, and not one without end.
const OF_A_HEAD: u64 = 2 << 20;
/// For how long. Programs that read no answer before they have sent all need the time for that.
const LONGEST: Duration = Duration::from_secs(30);
/// And how long nothing may come meanwhile.
const SILENCE: Duration = Duration::from_secs(5);

/// A stream that comes back when whoever it was lent to lets go of it.
pub(super) struct Lent<S> {
    /// Until it is dropped.
    stream: Option<S>,
    back: Option<oneshot::Sender<S>>,
}

impl<S> Lent<S> {
    /// `stream`, and where it comes back to. If nobody waits for it there, it is dropped.
    pub(super) fn new(stream: S) -> (Self, oneshot::Receiver<S>) {
        let (back, returned) = oneshot::channel();
        (Self { stream: Some(stream), back: Some(back) }, returned)
    }
}

impl<S: Unpin> Lent<S> {
    fn stream(self: Pin<&mut Self>) -> io::Result<Pin<&mut S>> {
        self.get_mut().stream.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl<S> Drop for Lent<S> {
    fn drop(&mut self) {
        if let Some((stream, back)) = self.stream.take().zip(self.back.take()) {
            let _nobody_waits = back.send(stream);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lent<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Lent<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.stream()?.poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream()?.poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_shutdown(cx)
    }
}

/// Whether the last request of a connection was read to its end. Clones look at the same connection.
#[derive(Clone, Default)]
pub(super) struct Unread(Arc<AtomicBool>);

impl Unread {
    /// The body of the next request, looked at as it is read.
    pub(super) fn watch(&self, body: Body) -> Body {
        let is_over = body.is_end_stream();
        self.0.store(!is_over, Ordering::Relaxed);
        if is_over { body } else { Body::new(Watched { body, unread: self.clone() }) }
    }

    /// Whether there may be something that nobody has read.
    pub(super) fn is_some(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

struct Watched {
    body: Body,
    unread: Unread,
}

impl hyper::body::Body for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if matches!(polled, Poll::Ready(None)) || self.body.is_end_stream() {
            self.unread.0.store(false, Ordering::Relaxed);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// How many bytes more of a connection that ended so are read, if there may be some that nobody has read: it was answered before all
/// of a request had come, or since it was none.
pub(super) fn due(
    ended: &Result<(), Box<dyn std::error::Error + Send + Sync>>,
    unread: &Unread,
) -> Option<u64> {
    match ended {
        Ok(()) => unread.is_some().then_some(MOST),
        Err(error) => {
            let was_none = error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse);
            was_none.then_some(OF_A_HEAD)
        }
    }
}

/// Reads what still comes on a stream whose own end has been said, until its peer ends it too or it has had its chance.
pub(super) async fn read_out(stream: impl AsyncRead + Unpin, most: u64) {
    read_within(stream, (most, LONGEST, SILENCE)).await;
}

async fn read_within(
    mut stream: impl AsyncRead + Unpin,
    (most, longest, silence): (u64, Duration, Duration),
) {
    let reading = async {
        let (mut buffer, mut left) = (vec![0; 16 << 10], most);
        while left > 0 {
            match tokio::time::timeout(silence, stream.read(&mut buffer)).await {
                Ok(Ok(read @ 1..)) => left = left.saturating_sub(read as u64),
                Ok(_) | Err(_) => return,
            }
        }
    };
    let _in_time = tokio::time::timeout(longest, reading).await;
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    #[tokio::test]
    async fn a_request_is_unread_until_its_body_has_come_to_its_end() {
        let unread = Unread::default();
        let body = unread.watch(Body::from("hello"));
        assert!(unread.is_some());
        drop(body);
        assert!(unread.is_some(), "nobody reads it any more");
        let body = unread.watch(Body::from("hello"));
        assert_eq!(body.collect().await.unwrap().to_bytes(), "hello");
        assert!(!unread.is_some());
        drop(unread.watch(Body::empty()));
        assert!(!unread.is_some());
    }

    #[tokio::test]
    async fn what_was_lent_comes_back_when_it_is_let_go_of() {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let (mut lent, back) = Lent::new(ours);
        lent.write_all(b"hello").await.unwrap();
        drop(lent);
        let mut came = [0; 5];
        theirs.read_exact(&mut came).await.unwrap();
        assert_eq!(&came, b"hello");
        theirs.write_all(b"back").await.unwrap();
        let mut ours = back.await.unwrap();
        ours.read_exact(&mut came[..4]).await.unwrap();
        assert_eq!(&came[..4], b"back");
    }

    #[tokio::test]
    async fn nobody_is_read_out_for_ever() {
        const INSTANT: Duration = Duration::from_millis(20);
        const HOUR: Duration = Duration::from_hours(1);
        // Each of the bounds ends it by itself.
        let (ours, _silent) = tokio::io::duplex(64);
        read_within(ours, (u64::MAX, HOUR, INSTANT)).await;
        let (ours, _silent) = tokio::io::duplex(64);
        read_within(ours, (u64::MAX, INSTANT, HOUR)).await;
        read_within(tokio::io::repeat(7), (1 << 20, HOUR, HOUR)).await;
        let (ours, gone) = tokio::io::duplex(64);
        drop(gone);
        read_within(ours, (u64::MAX, HOUR, HOUR)).await;
    }
}
